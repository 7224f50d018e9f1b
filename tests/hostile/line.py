"""The running system as its outsiders and its operators know it: topics, databases, parked messages."""

import asyncio
import contextlib
import importlib
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from contracts.topics import TOPICS
from delivery.chunks import Ears
from deploy.local.play.scene import Scene
from deploy.local.processes import SERVICES
from tests.delivery.playground import until
from tests.hostile.records import LARGE, Record

HEARD = {
    name: Ears(service.topics, service.hears)
    for name in SERVICES
    for service in [importlib.import_module(f"services.{name}.app").service]
}


class Line:
    """What the tests know of the running system: its topics, its databases, its parked messages."""

    def __init__(self, scene: Scene, producer: AIOKafkaProducer, databases: dict[str, Any], admin: AIOKafkaAdminClient):
        self.system = scene.world.system
        self.prefix = self.system.servers.topic_prefix
        self.producer = producer
        self.databases = databases
        self.admin = admin
        self.token = self.system.issuer.mint("admin", ["admin"])
        self.client = httpx.AsyncClient(timeout=60, headers={"Authorization": f"Bearer {self.token}"})

    def listeners(self, topic: str) -> list[str]:
        """The services that hear a topic."""
        return [name for name, ears in HEARD.items() if topic in ears.topics]

    async def records(self, topic: str) -> list[Record]:
        """All that stands on a topic now."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.system.servers.kafka,
            enable_auto_commit=False,
            fetch_max_bytes=4 * LARGE,
            max_partition_fetch_bytes=2 * LARGE,
        )
        await consumer.start()
        try:
            name = self.prefix + topic
            parts = [TopicPartition(name, part) for part in consumer.partitions_for_topic(name) or ()] or [
                TopicPartition(name, part) for part in range(6)
            ]
            consumer.assign(parts)
            await consumer.seek_to_beginning()
            ends = await consumer.end_offsets(parts)
            found = []
            while {part: await consumer.position(part) for part in parts} != ends:
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    found += [Record("nothing", each.key, each.value, tuple(each.headers)) for each in records]
        finally:
            await consumer.stop()
        return found

    async def send(self, topic: str, records: Sequence[Record]) -> list[tuple[int, int]]:
        """Put records on a topic; their partitions and offsets."""
        sent = [
            await self.producer.send(self.prefix + topic, value=each.value, key=each.key, headers=list(each.headers))
            for each in records
        ]
        return [(done.partition, done.offset) for done in await asyncio.gather(*sent)]

    async def heard(self, topic: str) -> None:
        """Wait until every service that hears a topic has acknowledged all that stands on it."""
        name = self.prefix + topic
        consumer = AIOKafkaConsumer(bootstrap_servers=self.system.servers.kafka)
        await consumer.start()
        try:
            parts = [TopicPartition(name, part) for part in range(6)]
            ends = await consumer.end_offsets(parts)
        finally:
            await consumer.stop()

        async def caught_up() -> bool:
            for service in self.listeners(topic):
                group = f"{self.prefix}batchwise.{service}"
                at = await self.admin.list_consumer_group_offsets(group, partitions=parts)
                if any(end and (part not in at or at[part].offset < end) for part, end in ends.items()):
                    assert self.system[service].pid is not None, f"{service} ended: {self.system[service].last_words()}"
                    return False
            return True

        try:
            await until(caught_up, seconds=60)
        except AssertionError:
            raise AssertionError(f"{topic} is not heard to its end: {await self.waits()}") from None

    async def waits(self) -> dict[str, Any]:
        """What each service waits for."""
        return {
            name: (await self.client.get(f"{url}/health/ready")).json()["waits_for"]
            for name, url in self.system.urls.items()
        }

    async def parked(self, service: str) -> list[dict[str, Any]]:
        """All that is parked in a service, page by page."""
        found: list[dict[str, Any]] = []
        while True:
            after = found[-1]["id"] if found else 0
            answer = await self.client.get(f"{self.system.urls[service]}/parked?limit=500&after={after}")
            assert answer.status_code == 200, answer.text
            if not (page := answer.json()):
                return found
            found += page

    async def took_effect(self, service: str, record: Record) -> bool:
        """Whether a service took a record in; one that is parked fails at once, with the reason."""
        database = self.databases[service]
        why = await database.fetchval("SELECT error FROM delivery.parked WHERE event_id = $1", record.event_id)
        assert why is None, f"{service} parked a good event: {why}; {record.value[:500]!r}"
        return bool(
            await database.fetchval(
                "SELECT EXISTS (SELECT FROM delivery.inbox WHERE event_id = $1)", uuid.UUID(record.event_id)
            )
        )


@asynccontextmanager
async def line_to(scene: Scene) -> AsyncIterator[Line]:
    """Speak on the topics of a running system; brokers then take records of any size that the tests send."""
    servers = scene.world.system.servers
    admin = AIOKafkaAdminClient(bootstrap_servers=servers.kafka)
    await admin.start()
    producer = AIOKafkaProducer(
        bootstrap_servers=servers.kafka, max_request_size=2 * LARGE, request_timeout_ms=60_000, acks="all"
    )
    await producer.start()
    async with contextlib.AsyncExitStack() as stack:
        databases = {
            name: await stack.enter_async_context(asyncpg.create_pool(servers.dsn(name), min_size=1, max_size=2))
            for name in SERVICES
        }
        # Brokers take 1 MiB by default; what comes through where somebody has raised that must not hurt either.
        await admin.alter_configs(
            [
                ConfigResource(
                    ConfigResourceType.TOPIC,
                    servers.topic_prefix + topic.name,
                    {"max.message.bytes": str(2 * LARGE), "retention.ms": "-1"},
                )
                for topic in TOPICS
            ]
        )
        yield Line(scene, producer, databases, admin)
    await producer.stop()
    await admin.close()
