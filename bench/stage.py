"""Where a work is measured: the run's broker and database, and services as processes with topics of their own."""

import asyncio
import contextlib
import copy
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import asyncpg
import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.producer.message_accumulator import BatchBuilder

from bench.bound import Order
from bench.clients import Request, Result, Spec
from bench.kept import moment, rows_between
from contracts.event import Topic
from contracts.topics import TOPICS
from delivery import Settings
from delivery.kafka import create_topics, open_producer
from delivery.migrating import migrate
from deploy.local.child import Child
from deploy.local.issuer import ISSUER
from deploy.local.ports import free_port
from deploy.local.processes import System
from deploy.local.servers import Servers

_ROOT = Path(__file__).resolve().parents[1]
_READY_WITHIN = 30.0
_PARTITIONER = DefaultPartitioner()
_TOGETHER = 100
"""Messages that are sent in one batch."""


@dataclass(frozen=True, slots=True)
class Load:
    """Messages ready to send to a topic: key, body, headers."""

    topic: Topic
    messages: Sequence[tuple[bytes, bytes, list[tuple[str, bytes]]]]


class Stage:
    """Some services on the run's servers, apart from every other stage by topic prefix and databases."""

    def __init__(self, servers: Servers, folder: Path, mark: str, services: Sequence[str], **settings: str) -> None:
        self.servers = copy.copy(servers)
        self.servers.topic_prefix += f"{mark}."
        self.servers.database_prefix += f"{mark}_"
        self.folder = folder / mark
        self.system = System(self.folder, self.servers, services=services, settings={"LOG_LEVEL": "WARNING"} | settings)
        self.producer: AIOKafkaProducer
        self._bounds = 0

    @property
    def prefix(self) -> str:
        return self.servers.topic_prefix

    async def __aenter__(self) -> Self:
        settings = self._settings()
        await create_topics(settings, TOPICS, client="bench")
        self.producer = await open_producer(settings, client="bench")
        try:
            await self.system.start()
        except BaseException:
            await self.producer.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.producer.stop()
        await self.system.stop()

    def _settings(self) -> Settings:
        return Settings(
            database_dsn="postgresql://nobody@127.0.0.1/none",
            kafka_bootstrap_servers=self.servers.kafka,
            topic_prefix=self.prefix,
            token_issuer=ISSUER,
            token_jwks=str(self.system.issuer.jwks),
            environment="local",
        )

    # Messages

    async def send(self, load: Load) -> None:
        """Put messages on their topic, pipelined, in order per key; returns when the broker has them all.

        In batches of our own making: message by message the load would take as much of a core as the service.
        """
        topic = self.prefix + load.topic.name
        partitions = sorted(await self.producer.partitions_for(topic))
        batches: dict[int, BatchBuilder] = {}
        sent = []
        for key, body, headers in load.messages:
            partition = _PARTITIONER(key, partitions, partitions)
            batch = batches.get(partition) or batches.setdefault(partition, self.producer.create_batch())
            taken = batch.append(timestamp=None, key=key, value=body, headers=headers)
            assert taken is not None, f"{_TOGETHER} messages as long as {len(body)} bytes do not fit into one batch"
            if batch.record_count() == _TOGETHER:
                sent.append(await self.producer.send_batch(batches.pop(partition), topic, partition=partition))
        for partition, batch in batches.items():
            sent.append(await self.producer.send_batch(batch, topic, partition=partition))
        await asyncio.gather(*sent)

    async def took(self, service: str, *loads: Load) -> float:
        """Send, and wait until the service has acknowledged it all; messages a second."""
        began = time.perf_counter()
        for load in loads:
            await self.send(load)
        await self.caught_up(service, [load.topic for load in loads])
        return sum(len(load.messages) for load in loads) / (time.perf_counter() - began)

    async def caught_up(self, service: str, topics: Sequence[Topic], *, seconds: float = 120) -> None:
        """Wait until a service has acknowledged everything on some topics."""
        await caught_up(
            self.servers.kafka,
            f"{self.prefix}batchwise.{service}",
            [self.prefix + topic.name for topic in topics],
            seconds=seconds,
        )

    def listen(self, *topics: Topic) -> "Listener":
        """Hear topics from their ends."""
        return Listener(self.servers.kafka, [self.prefix + topic.name for topic in topics])

    # HTTP

    async def call(
        self,
        service: str,
        requests: Sequence[Request],
        *,
        user: str,
        clients: int = 1,
        rate: float | None = None,
        own: bool = False,
        keep_bodies: bool = False,
        may_refuse: bool = False,
    ) -> Result:
        """Let clients in a process of their own send the requests to a service.

        Raises:
            AssertionError: a call was answered with anything but success, or (with `may_refuse`) a refusal.
        """
        spec = Spec(
            port=int(self.system.urls[service].rpartition(":")[2]),
            token=self.system.token(user),
            requests=[*requests],
            clients=clients,
            rate=rate,
            own=own,
            keep_bodies=keep_bodies,
        )
        result = await self._clients(service, spec)
        refusing = {409} if may_refuse else set[int]()
        failed = {status for status in result.statuses if status >= 300} - refusing
        assert not failed, f"{service} refused: {result.statuses} {result.unexpected}"
        return result

    async def _clients(self, service: str, spec: Spec) -> Result:
        mark = self.folder / f"clients-{uuid4().hex[:8]}"
        asked, answered = mark.with_suffix(".spec.json"), mark.with_suffix(".result.json")
        asked.write_text(spec.model_dump_json())
        child = python(mark.name, ["-m", "bench.clients", str(asked), str(answered)], self.folder)
        child.start()
        try:
            code = await child.ended(seconds=120)
            assert code == 0, child.last_words(20)
        finally:
            await child.kill()
        return Result.model_validate_json(answered.read_bytes())

    # Database

    @contextlib.asynccontextmanager
    async def database(self, service: str) -> AsyncIterator[asyncpg.Connection]:
        """A connection to a service's database, as its owner."""
        connection = await asyncpg.connect(self.servers.dsn(service))
        try:
            yield connection
        finally:
            await connection.close()

    async def moment(self, service: str) -> int:
        """Now, for `rows_between` and `bound`."""
        return await moment(self.servers.dsn(service))

    async def rows_between(self, service: str, since: int, until: int | None = None) -> int:
        """Rows that a service last wrote between two moments, or since one; announcements left out."""
        return await rows_between(self.servers.dsn(service), since, until or await self.moment(service))

    # Our bounds

    async def bound_http(
        self, requests: Sequence[Request], *, clients: int, rows: float, messages: float, size: int, answer: int
    ) -> float:
        """Calls a second of a bare endpoint that keeps as many rows, sends as many messages, and answers as much.

        Nothing else should run meanwhile: stop the services first.
        """
        self._bounds += 1
        name = f"bound{self._bounds}"
        dsn = await self.servers.create_database(name)
        target = Topic(f"bound.out.v{self._bounds}", "As many messages.", (), foreign=True)
        await create_topics(self._settings(), [target], client="bench")
        port = free_port()
        arguments = [str(port), self.servers.kafka, dsn, self.prefix + target.name]
        amounts = [str(rows), str(messages), str(size), str(answer)]
        endpoint = python(name, ["-m", "bench.bound_http", *arguments, *amounts], self.folder)
        endpoint.start()
        try:
            await endpoint.until(partial(_answers, port), seconds=_READY_WITHIN)
            spec = Spec(port=port, token=self.system.token("ada"), requests=[*requests], clients=clients)
            await self._clients(name, spec.model_copy(update={"requests": spec.requests[:100]}))
            return len(requests) / (await self._clients(name, spec)).seconds
        finally:
            await endpoint.stop()

    async def bound(
        self, service: str, since: int, until: int, loads: Sequence[Load], *, messages: float, size: int
    ) -> list[float]:
        """Messages a second of the bare loop, load by load, with the rows that `service` wrote for all.

        That was between two moments. It sends so many `messages` of `size` bytes for each, and starts idle, as the
        service did. Nothing else should run meanwhile: stop the services first.
        """
        self._bounds += 1
        name = f"bound{self._bounds}"
        dsn = await self.servers.create_database(name)
        await migrate(dsn, f"services.{service}", f"batchwise_{service}")
        source = Topic(f"bound.in.v{self._bounds}", "The same messages.", (), foreign=True)
        target = Topic(f"bound.out.v{self._bounds}", "As many answers.", (), foreign=True)
        await create_topics(self._settings(), [source, target], client="bench")
        order = Order(
            brokers=self.servers.kafka,
            group=self.prefix + name,
            source=self.prefix + source.name,
            target=self.prefix + target.name,
            chunk=self._settings().chunk_records,
            dsn=dsn,
            service_dsn=self.servers.dsn(service),
            since=since,
            until=until,
            lines=sum(len(load.messages) for load in loads),
            messages=messages,
            size=size,
        )
        loop = python(name, ["-m", "bench.bound", order.model_dump_json()], self.folder)
        loop.start()
        rates = []
        expected = 0.0

        def came() -> bool:
            return len(heard.heard) >= int(expected) - 1

        try:
            async with self.listen(target) as heard:
                warm = Load(source, loads[0].messages[: round(1 / messages) + 1])
                for load in (warm, *loads):
                    expected += len(load.messages) * messages
                    began = time.perf_counter()
                    sending = asyncio.create_task(self.send(Load(source, load.messages)))
                    ended = await heard.until(came, seconds=300)
                    await sending
                    rates.append(len(load.messages) / (ended - began))
        finally:
            await loop.stop()
        return rates[1:]


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def python(name: str, arguments: Sequence[str], folder: Path) -> Child:
    """A Python process of ours, not started yet."""
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    return Child(name, [sys.executable, *arguments], log=folder / f"{name}.log", environment=environment, folder=_ROOT)


async def caught_up(brokers: str, group: str, topics: Sequence[str], *, seconds: float = 120) -> None:
    """Wait until a group has acknowledged everything on its topics."""
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers)
    reader = AIOKafkaConsumer(bootstrap_servers=brokers)
    await admin.start()
    await reader.start()
    try:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            parts = [TopicPartition(topic, n) for topic in topics for n in reader.partitions_for_topic(topic) or ()]
            if not parts:
                await reader._client.force_metadata_update()
                reader._client.set_topics(topics)
                await asyncio.sleep(0.05)
                continue
            ends = await reader.end_offsets(parts)
            done = await admin.list_consumer_group_offsets(group)
            if all(end == 0 or (part in done and done[part].offset >= end) for part, end in ends.items()):
                return
            await asyncio.sleep(0.02)
        raise TimeoutError(f"{group} did not catch up within {seconds} s")
    finally:
        await admin.close()
        await reader.stop()


@dataclass(frozen=True, slots=True)
class Heard:
    """A message as it came: type, unparsed body, and when (seconds of the monotonic clock)."""

    kind: str
    body: bytes
    at: float

    def read(self) -> Any:
        """The body's JSON."""
        return orjson.loads(self.body)


class Listener:
    """Reads topics from their ends and keeps what comes, unparsed."""

    def __init__(self, brokers: str, topics: Sequence[str]) -> None:
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=brokers, enable_auto_commit=False, fetch_max_bytes=50_000_000
        )
        self._topics = topics
        self.heard: list[Heard] = []

    async def __aenter__(self) -> "Listener":
        await self._consumer.start()
        parts = [TopicPartition(topic, n) for topic in self._topics for n in await self._partitions(topic)]
        self._consumer.assign(parts)
        await self._consumer.seek_to_end()
        for part in parts:
            await self._consumer.position(part)
        return self

    async def _partitions(self, topic: str) -> Sequence[int]:
        self._consumer._client.set_topics(self._topics)
        deadline = time.monotonic() + _READY_WITHIN
        while not (found := self._consumer.partitions_for_topic(topic)):
            assert time.monotonic() < deadline, f"there is no topic {topic}"
            await self._consumer._client.force_metadata_update()
        return sorted(found)

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    async def until(self, done: Callable[[], bool], *, seconds: float) -> float:
        """Read until `done`; the moment of the last message that made it true (monotonic seconds)."""
        deadline = time.perf_counter() + seconds
        while not done():
            polled = await self._consumer.getmany(timeout_ms=200)
            now = time.perf_counter()
            for records in polled.values():
                self.heard += [Heard(dict(r.headers).get("ce_type", b"").decode(), r.value, now) for r in records]
            if now > deadline:
                raise TimeoutError(f"{len(self.heard)} messages came within {seconds} s")
        return time.perf_counter()

    def count(self, kind: str, wanted: int, *containing: bytes) -> Callable[[], bool]:
        """Whether so many messages of a type, with certain texts in each, were heard; counted as they come."""
        seen = position = 0

        def done() -> bool:
            nonlocal seen, position
            fresh = (found.body for found in self.heard[position:] if found.kind == kind)
            seen += sum(1 for body in fresh if all(text in body for text in containing))
            position = len(self.heard)
            return seen >= wanted

        return done
