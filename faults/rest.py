"""Whether a system is at rest: nothing on its way, anywhere. It has to come there by itself."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from deploy.local.servers import Servers

REST_WITHIN = 120.0
"""Seconds from the last fault until nothing may be on its way any more."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A consumer group and the whole names of the topics it hears; a service has a database too."""

    name: str
    group: str
    topics: tuple[str, ...]
    service: bool = True


@dataclass(frozen=True, slots=True)
class Rest:
    """After how many seconds it was reached; or what was still on its way then."""

    seconds: float
    unrest: tuple[str, ...]


async def until_at_rest(servers: Servers, listeners: Sequence[Listener], *, seconds: float = REST_WITHIN) -> Rest:
    """Wait until outboxes are empty, no group lags, and no transaction is open: twice in a row, a second apart.

    `listeners` are everybody who hears topics.
    """
    began = time.monotonic()
    quiet = 0
    while True:
        try:
            async with asyncio.timeout(20):
                unrest = await _unrest(servers, listeners)
        except (OSError, TimeoutError, KafkaError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            unrest = [f"broker and database do not answer: {error!r}"]
        took = time.monotonic() - began
        quiet = 0 if unrest else quiet + 1
        if quiet == 2:
            return Rest(took, ())
        if took > seconds:
            return Rest(took, tuple(unrest))
        await asyncio.sleep(1.0 if quiet else 0.3)


async def _unrest(servers: Servers, listeners: Sequence[Listener]) -> list[str]:
    lags = await _lags(servers.kafka, listeners)
    found = [f"{name} is {lag} messages behind" for name, lag in lags.items() if lag]
    for name in (listener.name for listener in listeners if listener.service):
        connection = await asyncpg.connect(servers.dsn(name), timeout=5)
        try:
            rows = await connection.fetchval("SELECT count(*) FROM delivery.outbox", timeout=10)
            busy = await connection.fetchval(
                """
                SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
                  AND backend_type = 'client backend' AND xact_start < clock_timestamp() - interval '1 second'
                """,
                timeout=10,
            )
        finally:
            connection.terminate()
        if rows:
            found.append(f"{name}'s outbox has {rows} rows")
        if busy:
            found.append(f"{name} has {busy} open transactions")
    return found


async def _lags(kafka: str, listeners: Sequence[Listener]) -> dict[str, int]:
    """How many messages each group has not acknowledged, over all topics that it hears."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka, request_timeout_ms=8_000)
    probe = AIOKafkaConsumer(bootstrap_servers=kafka, request_timeout_ms=8_000)
    try:
        await admin.start()
        await probe.start()
        lags = {}
        for listener in listeners:
            offsets = await admin.list_consumer_group_offsets(listener.group)
            partitions = [
                TopicPartition(topic["topic"], partition["partition"])
                for topic in await admin.describe_topics(list(listener.topics))
                for partition in topic["partitions"]
            ]
            ends = await probe.end_offsets(partitions)
            lags[listener.name] = sum(
                end - (max(0, offsets[each].offset) if each in offsets else 0) for each, end in ends.items()
            )
        return lags
    finally:
        await probe.stop()
        await admin.close()
