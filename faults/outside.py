"""The world outside over Kafka: an ERP that keeps on through every outage, and a line that says things twice."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any
from uuid import UUID

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from contracts.integration import CostPosted
from contracts.topics import ERP_ACKNOWLEDGEMENTS, POSTINGS, TOPICS

Headers = Sequence[tuple[str, bytes]]
_AWAY = (KafkaError, OSError, TimeoutError, RuntimeError)
_WITHIN = 10.0


class Wire:
    """Says things on topics until the brokers have them: an unknown outcome is said again."""

    def __init__(self, kafka: str, prefix: str) -> None:
        self._kafka = kafka
        self._prefix = prefix
        self._producer: AIOKafkaProducer | None = None
        self._opening = asyncio.Lock()

    async def say(self, topic: str, key: bytes, body: bytes, headers: Headers = ()) -> None:
        """Returns when the brokers have it."""
        while True:
            try:
                async with asyncio.timeout(_WITHIN):
                    producer = await self._open()
                    await producer.send_and_wait(self._prefix + topic, body, key=key, headers=list(headers))
            except _AWAY:
                await self._close()
                await asyncio.sleep(0.3)
            else:
                return

    async def close(self) -> None:
        """Hang up."""
        await self._close()

    async def _open(self) -> AIOKafkaProducer:
        async with self._opening:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self._kafka, acks="all", enable_idempotence=True, request_timeout_ms=8_000
                )
                try:
                    await producer.start()
                except BaseException:
                    await _stopped(producer.stop())
                    raise
                self._producer = producer
            return self._producer

    async def _close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await _stopped(producer.stop())


async def _stopped(stopping: Awaitable[Any]) -> None:
    with suppress(*_AWAY, asyncio.CancelledError):
        await asyncio.wait_for(stopping, 2)


async def listening(
    kafka: str,
    topics: Sequence[str],
    heard: Callable[[Any], Awaitable[None]],
    *,
    group: str | None,
) -> None:
    """Give every record of topics to `heard`, in order, until cancelled; begin again after each outage.

    With a group, a record is acknowledged after it was heard. Without one, each beginning is at the topics' start.
    """
    while True:
        consumer = AIOKafkaConsumer(
            *topics,
            bootstrap_servers=kafka,
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=6_000,
            heartbeat_interval_ms=1_500,
            metadata_max_age_ms=5_000,
        )
        try:
            async with asyncio.timeout(30):
                await consumer.start()
            while True:
                async with asyncio.timeout(30):
                    polled: dict[TopicPartition, list[Any]] = await consumer.getmany(timeout_ms=300, max_records=100)
                for records in polled.values():
                    for record in records:
                        await heard(record)
                if polled and group is not None:
                    async with asyncio.timeout(10):
                        await consumer.commit()
        except _AWAY:
            await asyncio.sleep(0.5)
        finally:
            await _stopped(consumer.stop())


class Erp:
    """Books every cost posting once, whatever Kafka brings how often, and acknowledges each; some twice."""

    def __init__(self, kafka: str, prefix: str, wire: Wire, dice: random.Random) -> None:
        self.documents: dict[UUID, str] = {}
        self.postings: dict[UUID, CostPosted] = {}
        self.heard: Counter[UUID] = Counter()
        self.group = f"{prefix}little-erp"
        self._kafka = kafka
        self._topic = prefix + POSTINGS.name
        self._wire = wire
        self._dice = dice

    async def run(self) -> None:
        """Until cancelled."""
        await listening(self._kafka, [self._topic], self._book, group=self.group)

    def value_of(self, item_id: str) -> Decimal:
        """What the item's stock is worth in this book."""
        return sum(
            (each.value for each in self.postings.values() if each.item_id == item_id and each.value is not None),
            Decimal(0),
        )

    async def _book(self, record: Any) -> None:
        if record.key.startswith(b"malformed/"):
            return
        posting = CostPosted.read(record.value)
        self.heard[posting.posting_id] += 1
        if posting.posting_id not in self.documents:
            self.documents[posting.posting_id] = f"49{len(self.documents) + 1:08}"
            self.postings[posting.posting_id] = posting
        answer = {
            "posting_id": str(posting.posting_id),
            "accepted": True,
            "erp_document": self.documents[posting.posting_id],
            "erp_year": 2026,
        }
        key = str(posting.posting_id).encode()
        for _ in range(2 if self._dice.random() < 0.05 else 1):
            await self._wire.say(ERP_ACKNOWLEDGEMENTS.name, key, json.dumps(answer).encode())


class Echo:
    """A line that brings our own events again, word for word, much later: what a mirror or a replay does.

    Not those of compacted topics: there the last word counts, and an echo would be it.
    """

    def __init__(self, kafka: str, prefix: str, wire: Wire) -> None:
        self.echoed = 0
        self._kafka = kafka
        self._prefix = prefix
        self._wire = wire
        self._heard: list[tuple[str, bytes, bytes, Headers]] = []

    async def run(self) -> None:
        """Until cancelled: hear what is said."""
        ours = [self._prefix + topic.name for topic in TOPICS if not topic.foreign and not topic.compacted]
        await listening(self._kafka, ours, self._remember, group=f"{self._prefix}echo")

    async def repeat(self, draw: float) -> None:
        """Say one of the last few hundred again; `draw` in [0, 1) chooses."""
        if self._heard:
            topic, key, body, headers = self._heard[int(draw * len(self._heard))]
            await self._wire.say(topic, key, body, headers)
            self.echoed += 1

    async def _remember(self, record: Any) -> None:
        if record.key is not None and not record.key.startswith((b"malformed/", b"unheard/")):
            self._heard.append((record.topic.removeprefix(self._prefix), record.key, record.value, record.headers))
            del self._heard[:-400]
