"""How this system connects to Kafka: one place for the client settings that decide whether messages can be lost."""

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError

from delivery.handling import TopicLike
from delivery.settings import Settings

_MAX_POLL_MS = 3_600_000
_REBALANCE_MS = 30_000
_HEARTBEAT_MS = 1_000
"""A member hears with its heartbeat that another came or went: for so long, at most, a hand-over waits for it."""
_FLUSH_SECONDS = 3

_FETCH_WAIT_MS = 50
"""How long brokers keep a fetch that finds nothing.

While records of one partition are worked on, the client fetches from the broker's others, and asks for more of this one
only after that: with the default, half a second in which nobody works.
"""

_GATHERED_BYTES = 250_000
"""For so much, a few hundred records, a fetch of one who gathers does not wait."""

_PARTITION_BYTES = 4_000_000
"""Of one partition in one fetch, so that a long queue of one item seldom has to wait for the next."""

LARGEST_REQUEST = 1_000_000
"""Bytes of one record, and of one batch, that we send; brokers take 1 MiB unless told otherwise."""


def _connection(settings: Settings, client: str) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap_servers.split(","),
        "client_id": client,
        "security_protocol": settings.kafka_security_protocol,
        # A topic of a service that starts later is found within this time.
        "metadata_max_age_ms": 10_000,
    }
    if "SSL" in settings.kafka_security_protocol:
        arguments["ssl_context"] = ssl.create_default_context(cafile=settings.kafka_ca_file or None)
    if "SASL" in settings.kafka_security_protocol:
        arguments["sasl_mechanism"] = settings.kafka_sasl_mechanism
        arguments["sasl_plain_username"] = settings.kafka_sasl_username
        arguments["sasl_plain_password"] = settings.kafka_sasl_password
    return arguments


async def _started(client: Any) -> Any:
    """A consumer or producer that runs; what could not start is closed."""
    try:
        await client.start()
    except BaseException:
        await client.stop()
        raise
    return client


async def missing_topics(settings: Settings, topics: Sequence[str], *, client: str) -> list[str]:
    """Those of `topics` (whole names) that the brokers do not have: their owners were not migrated yet."""
    admin = AIOKafkaAdminClient(**_connection(settings, client))
    try:
        await admin.start()
        there = set(await admin.list_topics())
    finally:
        await admin.close()
    return [topic for topic in topics if topic not in there]


async def open_consumer(
    settings: Settings,
    *,
    group: str,
    topics: Sequence[str],
    client: str,
    listener: ConsumerRebalanceListener,
    gathers: float,
) -> AIOKafkaConsumer:
    """A started member of `group` that reads from the beginning what its group has not yet acknowledged.

    Brokers keep what came for it `gathers` seconds at most, so that it comes together with what follows; 0: not at all.

    The poll interval is long on purpose: during an outage a chunk is kept for ever, and being put out of the group for
    it would only move the same wait to another replica.
    """
    consumer = AIOKafkaConsumer(
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=settings.session_timeout_ms,
        heartbeat_interval_ms=_HEARTBEAT_MS,
        max_poll_interval_ms=_MAX_POLL_MS,
        rebalance_timeout_ms=_REBALANCE_MS,
        fetch_max_wait_ms=round(gathers * 1000) or _FETCH_WAIT_MS,
        fetch_min_bytes=_GATHERED_BYTES if gathers else 1,
        max_partition_fetch_bytes=_PARTITION_BYTES,
        **_connection(settings, client),
    )
    consumer.subscribe(list(topics), listener=listener)
    return await _started(consumer)


async def open_reader(settings: Settings, *, client: str) -> AIOKafkaConsumer:
    """A started consumer of no group, which reads what it is assigned from the beginning."""
    consumer = AIOKafkaConsumer(
        group_id=None, auto_offset_reset="earliest", enable_auto_commit=False, **_connection(settings, client)
    )
    return await _started(consumer)


async def partitions_of(consumer: AIOKafkaConsumer, topics: Sequence[str]) -> list[TopicPartition]:
    """The partitions of those of `topics` (whole names) that are there."""
    # Not `partitions_for_topic`: it knows only what the consumer has asked about before.
    cluster = await consumer._client.fetch_all_metadata()
    return [TopicPartition(topic, n) for topic in topics for n in sorted(cluster.partitions_for_topic(topic) or ())]


async def open_producer(settings: Settings, *, client: str) -> AIOKafkaProducer:
    """A started producer that keeps order per partition and counts a message as sent when all replicas have it."""
    producer = AIOKafkaProducer(
        enable_idempotence=True,
        acks="all",
        linger_ms=0,
        max_batch_size=LARGEST_REQUEST,
        max_request_size=LARGEST_REQUEST,
        request_timeout_ms=15_000,
        **_connection(settings, client),
    )
    return await _started(producer)


async def close_producer(producer: AIOKafkaProducer) -> None:
    """Stop a producer; what it cannot send within three seconds is given up, for the outbox still has it."""
    try:
        async with asyncio.timeout(_FLUSH_SECONDS):
            await producer.stop()
    except TimeoutError:
        # `stop` waits for the brokers for as long as it takes; these are the steps behind that wait.
        await producer.client.close()
        await producer._sender.close()


async def create_topics(settings: Settings, topics: Sequence[TopicLike], *, client: str) -> list[str]:
    """Make the topics that are not there yet; returns their names. Kept for ever, or compacted."""
    admin = AIOKafkaAdminClient(**_connection(settings, client))
    await admin.start()
    try:
        there = set(await admin.list_topics())
        missing = [topic for topic in topics if settings.topic_prefix + topic.name not in there]
        made = []
        for topic in missing:
            kept = {"cleanup.policy": "compact"} if topic.compacted else {"retention.ms": "-1"}
            new = NewTopic(
                settings.topic_prefix + topic.name,
                num_partitions=settings.topic_partitions,
                replication_factor=settings.topic_replicas,
                topic_configs=kept,
            )
            try:
                await admin.create_topics([new])
            except TopicAlreadyExistsError:
                continue
            made.append(new.name)
        return made
    finally:
        await admin.close()
