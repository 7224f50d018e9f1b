"""The relay: moves outbox rows to Kafka in order, woken by their commit; deletes them when the brokers have them."""

import asyncio
import contextlib
import functools
import random
import time
from collections.abc import Iterator, Sequence
from typing import Any

import asyncpg
import structlog
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, RequestTimedOutError
from aiokafka.partitioner import murmur2
from aiokafka.producer.message_accumulator import BatchBuilder

from delivery.database import columns
from delivery.envelope import Envelope
from delivery.failures import SlowDown, is_slow_down
from delivery.kafka import LARGEST_REQUEST, close_producer, open_producer
from delivery.memory import MARK, Memory
from delivery.outbox import CHANNEL
from delivery.settings import Settings
from delivery.telemetry import Metrics, Pulses

_log = structlog.get_logger("delivery.relay")

_ROWS = 1_000
RELAY_LOCK = "SELECT pg_try_advisory_lock(hashtext('batchwise.relay'))"
# What is deleted is known to be on its topic, up to where: in one statement, so that neither is ever known alone.
_DELETE = f"""
    WITH reached AS ({MARK.format(2, 3, 4)})
    DELETE FROM delivery.outbox WHERE id = ANY($1::bigint[])
"""
_IDLE_SECONDS = 1.0
_TAKE_OVER_SECONDS = 0.5
_PATIENCE_SECONDS = 2.0
_STARTING_SECONDS = 45.0
_REFUSED_SECONDS = 30.0
_PULSE_SECONDS = 60.0
_ROW_OVERHEAD = 600
"""Bytes of one record besides body and names, at most about: its frame and the other headers."""
_NAMES = ("key", "correlation_id", "causation_id", "actor", "traceparent")


class Relay:
    """One of a service's relays is active: the one that holds an advisory lock on its own connection.

    A send whose outcome is unknown is sent again from the first row that is still in the outbox; receivers drop what
    they have by its event id. Rows are sent in `id` order, which is commit order for each key; a row is never on its
    way while an earlier one of its partition may still fail. What the brokers refuse (too large for the topic, say)
    holds up its own key alone, and is tried again every half minute.
    """

    def __init__(
        self, settings: Settings, *, service: str, role: str, memory: Memory, metrics: Metrics, pulses: Pulses
    ) -> None:
        self._settings = settings
        self._memory = memory
        self._role = role
        self._service = service
        self._metrics = metrics
        self._pulses = pulses
        self._woken = asyncio.Event()
        self._stopping = asyncio.Event()
        self._one_by_one = False
        self._refused: dict[tuple[str, str], float] = {}
        self.problem: str | None = "not started"

    def wake(self) -> None:
        """There are new rows: a transaction of this process said something and committed."""
        self._woken.set()

    def stop(self) -> None:
        """Finish what is under way and end `run`."""
        self._stopping.set()
        self._woken.set()

    async def run(self) -> None:
        """Relay until stopped, through every outage."""
        delay = 0.1
        while not self._stopping.is_set():
            self._beat()
            try:
                await self._connected()
                delay = 0.1
            except SlowDown as waits:
                self.problem = str(waits)
                await self._pause(_TAKE_OVER_SECONDS)
            except (KafkaError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
                self.problem = f"{type(error).__name__}: {error}"
                self._metrics.relay_active.set(0)
                level = _log.warning if is_slow_down(error) else _log.error
                level("the relay lost its database or broker", error=self.problem, again_in=round(delay, 2))
                await self._pause(delay * random.uniform(0.8, 1.2))  # noqa: S311 - only spreads the retries
                delay = min(delay * 2, 2.0)
        self._metrics.relay_active.set(0)
        self._pulses.forget("relay")

    def _beat(self) -> None:
        self._pulses.beat("relay", within=_PULSE_SECONDS)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _connected(self) -> None:
        """Hold one connection: wait for the lock, then relay until something breaks."""
        connection = await asyncpg.connect(
            self._settings.database_dsn,
            timeout=5,
            command_timeout=30,
            server_settings={
                "application_name": f"{self._service}-relay",
                "role": self._role,
                # What it deletes moves its mark; of anybody else who deletes, the ids are kept.
                "delivery.keeps_marks": "on",
                # What it forgets to have sent in a crash of the server it finds on the topic, as after its own.
                "synchronous_commit": "off",
                # The lock of a relay whose machine is gone is free after some ten seconds.
                "tcp_keepalives_idle": "5",
                "tcp_keepalives_interval": "2",
                "tcp_keepalives_count": "3",
            },
        )
        try:
            while not await connection.fetchval(RELAY_LOCK):
                self.problem = None
                self._beat()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), _TAKE_OVER_SECONDS)
                if self._stopping.is_set():
                    return
                if self._woken.is_set():
                    self._woken.clear()
                    await connection.execute(f"NOTIFY {CHANNEL}")
            # Nobody else sends now. What was sent and is not known here must not be followed by anything else.
            await self._memory.compare(connection, alone=True, beat=self._beat)
            if self._memory.problem is not None:
                raise SlowDown(self._memory.problem)
            await connection.add_listener(CHANNEL, lambda *_: self._woken.set())
            async with asyncio.timeout(_STARTING_SECONDS):
                producer = await open_producer(self._settings, client=f"{self._service}-relay")
            try:
                self._metrics.relay_active.set(1)
                self.problem = None
                await self._relay(connection, producer)
            finally:
                await close_producer(producer)
        finally:
            with contextlib.suppress(Exception):
                await connection.close(timeout=2)

    async def _relay(self, connection: "asyncpg.Connection[asyncpg.Record]", producer: AIOKafkaProducer) -> None:
        while True:
            self._woken.clear()
            self._beat()
            self._try_refused_again()
            rows = await connection.fetch(
                """
                SELECT * FROM delivery.outbox
                WHERE (topic, key) NOT IN (SELECT * FROM unnest($2::text[], $3::text[]))
                ORDER BY id LIMIT $1
                """
                if self._refused
                else "SELECT * FROM delivery.outbox ORDER BY id LIMIT $1",
                _ROWS,
                *(columns(self._refused, 2) if self._refused else ()),
            )
            if rows:
                for together in [[row] for row in rows] if self._one_by_one else _windows(rows):
                    reached = await self._send(producer, together)
                    await connection.execute(_DELETE, [row["id"] for row in together], *columns(reached, 3))
                    self._metrics.sent.inc(len(together))
                self._one_by_one = False
            # A full read may have left some; what came since the read has woken this.
            if len(rows) == _ROWS:
                continue
            if self._stopping.is_set() and not rows:
                return
            if not self._stopping.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), _IDLE_SECONDS)

    def _try_refused_again(self) -> None:
        now = time.monotonic()
        again = [lane for lane, since in self._refused.items() if now - since > _REFUSED_SECONDS]
        for lane in again:
            del self._refused[lane]
        self._one_by_one = self._one_by_one or bool(again)
        self._metrics.relay_refused.set(len(self._refused))

    async def _send(self, producer: AIOKafkaProducer, rows: Sequence[Any]) -> list[tuple[str, int, int]]:
        """Hand over rows in order, then wait until the brokers have every one; returns how far that goes.

        When the brokers refuse something, rows go one by one from then on, to find which: the next producer (a refusal
        ends the sequence of this one) leaves out its key.
        """
        try:
            ends: dict[TopicPartition, int] = {}
            waiting = rows
            while waiting:
                waiting = await self._send_batches(producer, waiting, ends)
            prefix = self._settings.topic_prefix
            return [(to.topic.removeprefix(prefix), to.partition, end) for to, end in sorted(ends.items())]
        except KafkaError as error:
            if not is_slow_down(error):
                if len(rows) == 1:
                    self._refused[rows[0]["topic"], rows[0]["key"]] = time.monotonic()
                    _log.error("the brokers refuse an announcement: its key waits", id=rows[0]["id"], error=repr(error))
                self._one_by_one = True
            raise

    async def _send_batches(
        self, producer: AIOKafkaProducer, rows: Sequence[Any], ends: dict[TopicPartition, int]
    ) -> list[Any]:
        """One batch a partition, taken or refused as a whole; returns the rows that did not fit, in order.

        `ends` is told the next offset behind what the brokers have.
        """
        prefix = self._settings.topic_prefix
        partitions = {
            topic: len(await producer.partitions_for(prefix + topic)) for topic in {row["topic"] for row in rows}
        }
        batches: dict[TopicPartition, BatchBuilder] = {}
        later: list[Any] = []
        for row in rows:
            key = row["key"].encode()
            to = TopicPartition(prefix + row["topic"], _hash(key) % partitions[row["topic"]])
            batch = batches.get(to)
            if batch is None:
                batch = batches[to] = producer.create_batch()
            if not batch.append(timestamp=None, key=key, value=row["body"], headers=self._envelope(row).headers()):
                later.append(row)
        sizes = [batch.record_count() for batch in batches.values()]
        confirmed = await self._confirmed(
            [await producer.send_batch(batch, to.topic, partition=to.partition) for to, batch in batches.items()]
        )
        for to, size, first in zip(batches, sizes, confirmed, strict=True):
            if first.offset < 0:
                # Sent twice by the client, and the broker has forgotten where the first is: once more, to know a place.
                raise RequestTimedOutError(f"the brokers have a batch of {to.topic}/{to.partition} and not its offset")
            ends[to] = max(first.offset + size, ends.get(to, 0))
        return later

    async def _confirmed(self, sent: Sequence["asyncio.Future[Any]"]) -> list[Any]:
        """Wait for the brokers, however long they are away: that is no reason to restart. Raises the first failure."""
        waiting: set[asyncio.Future[Any]] = set(sent)
        while True:
            _, waiting = await asyncio.wait(waiting, timeout=_PATIENCE_SECONDS)
            self._beat()
            if not waiting:
                break
            self.problem = f"the brokers have not confirmed {len(waiting)} announcements yet"
            self._metrics.relay_active.set(0)
            if self._stopping.is_set():
                raise TimeoutError(self.problem)
        self.problem = None
        self._metrics.relay_active.set(1)
        failures = [error for each in sent if (error := each.exception()) is not None]
        if failures:
            raise failures[0]
        return [each.result() for each in sent]

    def _envelope(self, row: Any) -> Envelope:
        return Envelope(
            event_id=str(row["event_id"]),
            type=row["event_type"],
            source=f"batchwise/{self._service}",
            time=row["said_at"],
            key=row["key"],
            correlation_id=row["correlation_id"],
            causation_id=row["causation_id"],
            actor=row["actor"],
            traceparent=row["traceparent"],
        )


@functools.lru_cache(maxsize=100_000)
def _hash(key: bytes) -> int:
    """As every Kafka client does it, so that whoever says something under a key finds the same partition."""
    return int(murmur2(key)) & 0x7FFFFFFF


def _windows(rows: Sequence[Any]) -> Iterator[list[Any]]:
    """Rows in order, in pieces that fit into one batch even if all are of one partition."""
    window: list[Any] = []
    size = 0
    for row in rows:
        names = sum(len(row[name] or "") for name in _NAMES)
        bytes_of_row = len(row["body"]) + names * 4 + _ROW_OVERHEAD
        if window and size + bytes_of_row > LARGEST_REQUEST:
            yield window
            window, size = [], 0
        window.append(row)
        size += bytes_of_row
    yield window
