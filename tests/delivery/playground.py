"""The toy service on the real broker and database: in this process, or as processes of its own."""

import asyncio
import datetime as dt
import itertools
import os
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from opentelemetry.sdk.trace import TracerProvider

from delivery import Service, Settings, build, new_id
from delivery.app import Runtime
from delivery.envelope import Envelope
from delivery.kafka import create_topics, open_producer
from delivery.migrating import migrate
from deploy.local.child import Child
from deploy.local.issuer import Issuer
from deploy.local.servers import Servers
from tests.delivery.toy import app as toy

ROOT = Path(__file__).resolve().parents[2]


async def until(holds: Callable[[], Awaitable[Any]], *, seconds: float = 20) -> Any:
    """Wait for something to come true; the assertion names how long was waited."""
    deadline = time.monotonic() + seconds
    while not (found := await holds()):
        assert time.monotonic() < deadline, f"did not come true within {seconds} s"
        await asyncio.sleep(0.02)
    return found


@dataclass
class Playground:
    """One database, topics of its own, and a producer that plays the outside world."""

    settings: Settings
    issuer: Issuer
    folder: Path
    producer: AIOKafkaProducer
    sql: "asyncpg.Pool[asyncpg.Record]"
    children: list[Child] = field(default_factory=list)
    names: Any = field(default_factory=itertools.count)

    def with_settings(self, **changed: Any) -> Settings:
        return self.settings.model_copy(update=changed)

    async def ring(self, *rungs: tuple[str, int], times: int = 1, traceparent: str | None = None) -> list[str]:
        """Put `Rung` events on their topic in order, each `times` over with the same id; returns their ids."""
        ids, sent = [], []
        for name, n in rungs:
            rung = toy.Rung(name=name, n=n)
            event_id = str(new_id())
            ids.append(event_id)
            envelope = Envelope(
                event_id=event_id,
                type=rung.event_type,
                source="bells",
                time=dt.datetime.now(dt.UTC),
                key=rung.key,
                correlation_id=event_id,
                traceparent=traceparent,
            )
            sent += [await self._send(rung.key.encode(), rung.write(), envelope.headers()) for _ in range(times)]
        await asyncio.gather(*sent)
        return ids

    async def send_raw(self, key: bytes | None, body: bytes, headers: Sequence[tuple[str, bytes]] = ()) -> None:
        """Put anything on the topic."""
        await (await self._send(key, body, list(headers)))

    async def _send(self, key: bytes | None, body: bytes, headers: list[tuple[str, bytes]]) -> Any:
        return await self.producer.send(
            self.settings.topic_prefix + toy.RUNGS.name, value=body, key=key, headers=headers
        )

    async def seen(self, name: str) -> list[int]:
        """The numbers that took effect for a bell, in the order in which they did."""
        found = await self.sql.fetchval("SELECT seen FROM counted WHERE name = $1", name)
        return list(found or ())

    async def total(self) -> int:
        return int(await self.sql.fetchval("SELECT coalesce(sum(total), 0) FROM counted"))

    async def counted(self, total: int, *, seconds: float = 20) -> None:
        """Wait until so many events took effect and all that was announced has left the outbox."""

        async def done() -> bool:
            rows = await self.sql.fetchval("SELECT count(*) FROM delivery.outbox")
            return await self.total() >= total and rows == 0

        await until(done, seconds=seconds)

    async def announced(self, *, with_doubles: bool = False) -> dict[str, list[int]]:
        """Everything on the output topic, by bell, in topic order; without what an inbox would drop."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.settings.kafka_bootstrap_servers, enable_auto_commit=False)
        await consumer.start()
        try:
            topic = self.settings.topic_prefix + toy.COUNTS.name
            parts = [TopicPartition(topic, n) for n in range(self.settings.topic_partitions)]
            consumer.assign(parts)
            await consumer.seek_to_beginning()
            ends = await consumer.end_offsets(parts)
            found: dict[str, list[int]] = {}
            ids: set[str] = set()
            while {part: await consumer.position(part) for part in parts} != ends:
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    for record in records:
                        event_id = dict(record.headers)["ce_id"].decode()
                        if with_doubles or event_id not in ids:
                            counted = toy.Counted.read(record.value)
                            found.setdefault(counted.name, []).append(counted.n)
                        ids.add(event_id)
            return found
        finally:
            await consumer.stop()

    def process(self, *arguments: str, fault: str | None = None, **settings: Any) -> Child:
        """The toy as a process of its own, with a planted fault or none; not started yet."""
        chosen = self.with_settings(**settings)
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        environment |= {
            name.upper(): str(value) for name, value in chosen.model_dump().items() if value not in (None, "")
        }
        module = ["tests.delivery.toy.faulty", fault] if fault else ["tests.delivery.toy.app"]
        name = f"toy-{next(self.names)}"
        child = Child(
            name,
            [sys.executable, "-m", *module, *arguments],
            log=self.folder / f"{name}.log",
            environment=environment,
            folder=ROOT,
        )
        self.children.append(child)
        return child

    @asynccontextmanager
    async def here(
        self, service: Service = toy.service, *, tracer_provider: TracerProvider | None = None, **settings: Any
    ) -> AsyncIterator["Here"]:
        """The toy in this process, serving until the end of the block."""
        app = build(service, self.with_settings(**settings), tracer_provider=tracer_provider)
        runtime: Runtime = app.state.runtime
        await runtime.start()
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://toy") as client:
            try:
                yield Here(runtime, client, self.issuer)
            finally:
                await runtime.stop()


@dataclass
class Here:
    """A toy in this process."""

    runtime: Runtime
    client: httpx.AsyncClient
    issuer: Issuer

    def headers(self, role: str = "operator") -> dict[str, str]:
        return {
            "Authorization": f"Bearer {self.issuer.mint(role, [role])}",
            "Idempotency-Key": str(uuid.uuid4()),
        }

    async def post(self, path: str, body: Any, *, role: str = "operator", **headers: str) -> httpx.Response:
        return await self.client.post(path, json=body, headers={**self.headers(role), **headers})

    async def get(self, path: str, *, role: str = "supervisor") -> httpx.Response:
        return await self.client.get(path, headers=self.headers(role))

    async def waits_for(self) -> dict[str, str]:
        """What `/health/ready` says is missing."""
        found: dict[str, str] = (await self.client.get("/health/ready")).json()["waits_for"]
        return found

    async def metric(self, line: str) -> float:
        """The value of a metric by its whole name with labels."""
        for found in (await self.client.get("/metrics")).text.splitlines():
            if found.startswith(line + " "):
                return float(found.rpartition(" ")[2])
        return 0.0


@asynccontextmanager
async def playground(
    servers: Servers,
    dsn: str,
    prefix: str,
    folder: Path,
    *,
    topics: Sequence[toy.ToyTopic] = toy.TOPICS,
    **changed: Any,
) -> AsyncIterator[Playground]:
    """Migrate the toy, make `topics`, and clean up every process at the end."""
    issuer = Issuer(folder / "issuer")
    settings = Settings(
        database_dsn=dsn,
        kafka_bootstrap_servers=servers.kafka,
        topic_prefix=prefix,
        token_issuer="batchwise-local",
        token_jwks=str(issuer.jwks),
        environment="local",
        session_timeout_ms=6_000,
        **changed,
    )
    await migrate(dsn, toy.service.package, toy.service.role)
    await create_topics(settings, topics, client="playground")
    producer = await open_producer(settings, client="playground")
    sql = await asyncpg.create_pool(dsn, min_size=1, max_size=3)
    place = Playground(settings, issuer, folder, producer, sql)
    try:
        yield place
    finally:
        for child in place.children:
            await child.kill()
        await producer.stop()
        await sql.close()
        toy.failures.clear()
