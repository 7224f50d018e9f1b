"""Reading topics again, beside the consumer group: bounded, in order per partition, some records at a time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition

from delivery.chunks import Arrival
from delivery.kafka import open_reader, partitions_of
from delivery.settings import Settings

_BROKER_SECONDS = 30.0
_POLL_MS = 500

Marks = dict[tuple[str, int], int]
"""An offset by topic (without prefix) and partition."""


class Past:
    """What stands on topics. `begins` and `ends` are their offsets when this was opened."""

    def __init__(self, consumer: AIOKafkaConsumer, prefix: str, begins: Marks, ends: Marks) -> None:
        self._consumer = consumer
        self._prefix = prefix
        self.begins = begins
        self.ends = ends

    async def between(
        self, first: Mapping[tuple[str, int], int], until: Mapping[tuple[str, int], int], *, at_once: int
    ) -> AsyncIterator[list[Arrival]]:
        """Records from `first` (where absent: the beginning) to before `until` (where absent: none), `at_once` at most.

        Raises `TimeoutError` when the brokers do not give one of them within half a minute.
        """
        to_read: dict[TopicPartition, int] = {}
        starts: dict[TopicPartition, int] = {}
        for where, end in until.items():
            start = max(first.get(where, 0), self.begins.get(where, 0))
            if where in self.begins and start < end:
                part = TopicPartition(self._prefix + where[0], where[1])
                to_read[part], starts[part] = end, start
        self._consumer.assign(list(to_read))
        for part, start in starts.items():
            self._consumer.seek(part, start)
        while to_read:
            arrivals: list[Arrival] = []
            async with asyncio.timeout(_BROKER_SECONDS):
                while not arrivals and to_read:
                    polled = await self._consumer.getmany(*to_read, timeout_ms=_POLL_MS, max_records=at_once)
                    arrivals = [
                        Arrival.of(record, self._prefix)
                        for part, records in polled.items()
                        for record in records
                        if record.offset < to_read[part]
                    ]
                    for part in [part for part, end in to_read.items() if await self._consumer.position(part) >= end]:
                        del to_read[part]
                        self._consumer.pause(part)
            if arrivals:
                yield arrivals


@asynccontextmanager
async def past_of(settings: Settings, topics: Sequence[str], *, client: str) -> AsyncIterator[Past]:
    """The past of `topics` (names without prefix; those that are not there have none).

    Raises `KafkaError`, `OSError` or `TimeoutError` without brokers.
    """
    async with asyncio.timeout(_BROKER_SECONDS):
        consumer = await open_reader(settings, client=client)
    try:
        async with asyncio.timeout(_BROKER_SECONDS):
            parts = await partitions_of(consumer, [settings.topic_prefix + topic for topic in topics])
            # Asked before anything is assigned: a fetch under way would make each question wait for it.
            begins = await consumer.beginning_offsets(parts) if parts else {}
            ends = await consumer.end_offsets(parts) if parts else {}

        def marks(offsets: Mapping[TopicPartition, int]) -> Marks:
            return {
                (part.topic.removeprefix(settings.topic_prefix), part.partition): at for part, at in offsets.items()
            }

        yield Past(consumer, settings.topic_prefix, marks(begins), marks(ends))
    finally:
        with contextlib.suppress(Exception):
            await consumer.stop()
