"""The consumer: reads chunks, lets them take effect, then acknowledges; decides where each failure goes."""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import asyncpg
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from delivery.chunks import Arrival, Chunks, Position
from delivery.failures import NeverWorks, Stopped, is_no_value, is_slow_down
from delivery.kafka import missing_topics, open_consumer
from delivery.memory import Memory
from delivery.settings import Settings
from delivery.telemetry import Metrics, Pulses, logged_under

_log = structlog.get_logger("delivery.consumer")

_POLL_MS = 200
_BROKER_SECONDS = 60.0
"""After so long without an answer, a step that needs the brokers is given up and the consumer begins again."""
_TOPIC_SECONDS = 0.5
_MISSING_SECONDS = 2.0
_PULSE_SECONDS = 200.0
_ASK_SECONDS = 2.0
_ASKED_IN_VAIN = 3
"""So many times the brokers had records that the client did not fetch: then it is replaced. Each time twice as many."""
_ACKNOWLEDGE_SECONDS = 0.2
_RECORDS_BESIDE_PEOPLE = 10
"""Of a chunk, while people wait for answers of this service."""
_HAND_OVER_SECONDS = 20.0


class _HandOver(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is not typed
    """Before partitions go to another member, what is in work is finished; `dealt` is called for new ones."""

    def __init__(self, finish: Callable[[], Awaitable[None]], dealt: Callable[[], None]) -> None:
        self._finish = finish
        self._dealt = dealt

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        if not revoked:
            return
        # A chunk that waits for a database longer than this is taken over by the new owner; the inbox keeps it once.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._finish(), _HAND_OVER_SECONDS)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._dealt()
        _log.info("partitions assigned", partitions=len(assigned))


class Consumer:
    """One member of a service's group, reading all topics that the service hears."""

    def __init__(
        self,
        settings: Settings,
        chunks: Chunks,
        topics: Sequence[str],
        *,
        service: str,
        memory: Memory,
        metrics: Metrics,
        pulses: Pulses,
        gathers: float = 0.0,
        side_by_side: int = 1,
        people_wait: Callable[[], bool] = lambda: False,
    ) -> None:
        self._settings = settings
        self._chunks = chunks
        self._memory = memory
        self._topics = [settings.topic_prefix + topic for topic in topics]
        self._service = service
        self._metrics = metrics
        self._pulses = pulses
        self._gathers = gathers
        self._side_by_side = side_by_side
        self._people_wait = people_wait
        self._busy = asyncio.Lock()
        self._client: AIOKafkaConsumer | None = None
        self._settled: dict[TopicPartition, int] = {}
        self._acknowledged_at = 0.0
        self._stopping = asyncio.Event()
        self._lag_at = 0.0
        self._one_by_one = False
        self._placed = True
        self._missing: list[str] = []
        self._missed_at = 0.0
        self._unfetched: dict[TopicPartition, int] = {}
        self._in_vain = 0
        self._patience = _ASKED_IN_VAIN
        self.problem: str | None = "not started"
        self.lacking: str | None = None

    def stop(self) -> None:
        """Finish the chunk in work, hand the partitions over, and end `run`."""
        self._stopping.set()

    async def run(self) -> None:
        """Consume until stopped, through every outage."""
        delay = 0.1
        while not self._stopping.is_set() and self._topics:
            self._beat()
            if self._memory.problem is not None:
                self.problem = self._memory.problem
                await self._pause(_TOPIC_SECONDS)
                continue
            try:
                async with asyncio.timeout(_BROKER_SECONDS):
                    missing = await missing_topics(self._settings, self._topics, client=self._service)
                self._lacks(missing)
                if len(missing) == len(self._topics):
                    # Whoever owns them was not deployed yet; the client itself would wait for them deaf to a stop.
                    self.problem = self.lacking
                    await self._pause(_TOPIC_SECONDS)
                    continue
                async with asyncio.timeout(_BROKER_SECONDS):
                    consumer = await open_consumer(
                        self._settings,
                        group=f"{self._settings.topic_prefix}batchwise.{self._service}",
                        topics=[topic for topic in self._topics if topic not in missing],
                        client=self._service,
                        listener=_HandOver(self._finish, self._dealt),
                        gathers=self._gathers,
                    )
                self._client, self._settled = consumer, {}
                try:
                    self.problem = None
                    delay = 0.1
                    await self._consume(consumer)
                    await self._acknowledge(consumer)
                finally:
                    self._beat()
                    self._client = None
                    await consumer.stop()
            except (KafkaError, OSError, TimeoutError) as error:
                self.problem = f"{type(error).__name__}: {error}"
                _log.warning("the consumer lost its brokers", error=self.problem, again_in=round(delay, 2))
                await self._pause(delay * random.uniform(0.8, 1.2))  # noqa: S311 - only spreads the retries
                delay = min(delay * 2, 2.0)
            except Exception as error:
                # Nothing of this chunk is acknowledged: begin again where the group stands, in sight of everybody.
                self.problem = f"{type(error).__name__}: {error}"
                _log.exception("the consumer begins again", again_in=round(delay, 2))
                await self._pause(delay * random.uniform(0.8, 1.2))  # noqa: S311 - only spreads the retries
                delay = min(delay * 2, 2.0)
        self._pulses.forget("consumer")

    def _beat(self) -> None:
        self._pulses.beat("consumer", within=_PULSE_SECONDS)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    def _dealt(self) -> None:
        """Partitions were dealt anew: before anything is handled, it is looked up where the database stands on them."""
        self._placed = False

    async def _consume(self, consumer: AIOKafkaConsumer) -> None:
        answered_at = time.monotonic()
        while not self._stopping.is_set() and self._memory.problem is None:
            self._beat()
            if not self._placed:
                self._placed = True
                if not await self._patiently(lambda: self._place(consumer)):
                    return
            # Without partitions (the group is being rebalanced) this waits for them, whatever its own time-out says.
            async with asyncio.timeout(_BROKER_SECONDS):
                polled = await self._poll(consumer)
                beside = await self._beside(consumer, polled)
            if not self._placed:
                # Dealt anew during the poll: what it brought is read again from where the database stands.
                continue
            if polled:
                async with self._busy:
                    ended = await asyncio.gather(*map(self._chunk, (polled, *beside)), return_exceptions=True)
                failures = [failure for failure in ended if failure is not None]
                for failure in failures[1:]:
                    _log.error("what was taken beside it failed too", error=repr(failure))
                if failures:
                    raise failures[0]
                answered_at = time.monotonic()
                self._unfetched, self._patience = {}, _ASKED_IN_VAIN
            elif time.monotonic() - answered_at > _ASK_SECONDS:
                await self._ask_brokers(consumer)
                answered_at = time.monotonic()
            if not polled or time.monotonic() - self._acknowledged_at > _ACKNOWLEDGE_SECONDS:
                await self._acknowledge(consumer)
            self._measure_lag(consumer)
            if self._missing and await self._some_came():
                return

    def _lacks(self, missing: list[str]) -> None:
        """Remember which topics are not there: those of a service, or of a version, that is deployed later."""
        self._missing, self._missed_at = missing, time.monotonic()
        self.lacking = (
            f"topics that are not there yet (their owners' `migrate` makes them): {missing}" if missing else None
        )

    async def _some_came(self) -> bool:
        """Now and then: whether a missing topic is there, so that it is time to begin again with it."""
        if time.monotonic() - self._missed_at < _MISSING_SECONDS:
            return False
        async with asyncio.timeout(_BROKER_SECONDS):
            missing = await missing_topics(self._settings, self._missing, client=self._service)
        came = len(missing) < len(self._missing)
        self._lacks(missing)
        return came

    async def _place(self, consumer: AIOKafkaConsumer) -> None:
        """Begin where the database stands, should the group have acknowledged more: its database was younger then.

        Where the database knows of nothing, it begins at the beginning. A group that was put back is taken at its word;
        one that was never told, by a process that ended before it could, is told where it begins.
        """
        stands = await self._chunks.heard_up_to()
        assigned = sorted(consumer.assignment())
        async with asyncio.timeout(_BROKER_SECONDS):
            committed = await asyncio.gather(*(consumer.committed(partition) for partition in assigned))
        again = 0
        # What was not told before partitions were dealt anew is in `stands`, whoever tells it now.
        self._settled = {}
        for partition, acknowledged in zip(assigned, committed, strict=True):
            topic = partition.topic.removeprefix(self._settings.topic_prefix)
            stand = stands.get((topic, partition.partition), 0)
            begin = stand if acknowledged is None else min(stand, acknowledged)
            # Said for every partition: one that is not is looked up by the client itself, in its own time.
            consumer.seek(partition, begin)
            if acknowledged is None and begin:
                self._settled[partition] = begin
            again += (acknowledged or begin) - begin
        if again:
            self._metrics.heard_again.inc(again)
            _log.warning("the group acknowledged more than the database knows: read again", messages=again)

    async def _beside(
        self, consumer: AIOKafkaConsumer, polled: dict[TopicPartition, list[Any]]
    ) -> list[dict[TopicPartition, list[Any]]]:
        """What there is of other partitions, while chunks are full and nobody waits for an answer of this service.

        A key has a partition of the same number on every topic: chunks that are taken at once share none.
        """
        chunks = [polled]
        if self._one_by_one:
            return []
        full = self._settings.chunk_records
        while len(chunks) < self._side_by_side and sum(map(len, chunks[-1].values())) >= full == self.most_records():
            taken = {partition.partition for chunk in chunks for partition in chunk}
            others = [each for each in consumer.assignment() if each.partition not in taken]
            if not others or not (more := await self._poll(consumer, others)):
                break
            chunks.append(more)
        return chunks[1:]

    async def _poll(
        self, consumer: AIOKafkaConsumer, of: Sequence[TopicPartition] = ()
    ) -> dict[TopicPartition, list[Any]]:
        """The next records, waiting for some; what is there already `of` some partitions.

        One by one on the way to a record that the client cannot read, which is then parked.
        """
        if not self._one_by_one:
            try:
                polled: dict[TopicPartition, list[Any]] = await consumer.getmany(
                    *of, timeout_ms=0 if of else _POLL_MS, max_records=self.most_records()
                )
            except UnicodeDecodeError:
                # The client lost what it had read before that record, so this consumer cannot go on.
                self._one_by_one = True
                raise
            return polled
        for partition in sorted(consumer.assignment()):
            try:
                polled = await consumer.getmany(partition, max_records=1)
            except UnicodeDecodeError as error:
                await self._park_unreadable(consumer, partition, error)
                self._one_by_one = False
                return {}
            if polled:
                return polled
        await self._pause(_POLL_MS / 1000)
        return {}

    def most_records(self) -> int:
        """A chunk holds the keys it is about, and the event loop while it decides: a person is not to wait for both."""
        most = self._settings.chunk_records
        return min(most, _RECORDS_BESIDE_PEOPLE) if self._people_wait() else most

    async def _park_unreadable(
        self, consumer: AIOKafkaConsumer, partition: TopicPartition, error: UnicodeDecodeError
    ) -> None:
        """Park a record by its position alone, and step over it; it stays on its topic."""
        offset = await consumer.position(partition)
        topic = partition.topic.removeprefix(self._settings.topic_prefix)
        arrival = Arrival(Position(topic, partition.partition, offset), None, {}, b"")
        reason = f"a header's name is no UTF-8 ({error}): the record, its key too, can only be read on its topic"
        async with self._busy:
            _log.error("parked", position=str(arrival.position), kind="malformed", error=reason)
            try:
                settled = await self._patiently(lambda: self._chunks.park_one(arrival, "malformed", reason, 1))
            except Stopped as stopped:
                settled = await self._stand_still(stopped)
            if settled:
                consumer.seek(partition, offset + 1)
                self._settled[partition] = offset + 1
                await self._acknowledge(consumer)

    async def _ask_brokers(self, consumer: AIOKafkaConsumer) -> None:
        """A poll without records says nothing: the client hides that the brokers are away, and that it does not fetch.

        Raises `TimeoutError` when records are there and the same were not fetched for several times of asking.
        """
        assigned = consumer.assignment()
        try:
            async with asyncio.timeout(5):
                ends = await consumer.end_offsets(assigned) if assigned else {}
                if not assigned:
                    await consumer.topics()
        except (KafkaError, OSError, TimeoutError) as error:
            if self.problem is None:
                _log.warning("the brokers do not answer", error=repr(error))
            self.problem = f"the brokers do not answer: {type(error).__name__}: {error}"
            return
        self.problem = None
        places = {partition: _place_of(consumer, partition) for partition in ends}
        unfetched = {each: place for each, place in places.items() if place is not None and place < ends[each]}
        self._in_vain = self._in_vain + 1 if unfetched and unfetched == self._unfetched else 0
        self._unfetched = unfetched
        if self._in_vain >= self._patience:
            self._in_vain, self._patience = 0, self._patience * 2
            self._metrics.retries.labels("unfetched").inc()
            raise TimeoutError(f"the client does not fetch what is there, behind {_named(unfetched)}")

    async def _chunk(self, polled: dict[TopicPartition, list[Any]]) -> None:
        """Settle one chunk; one that was given up at a stop is never acknowledged."""
        arrivals = [
            Arrival.of(record, self._settings.topic_prefix) for records in polled.values() for record in records
        ]
        began = time.perf_counter()
        if not await self._settle(arrivals):
            return
        self._settled |= {partition: records[-1].offset + 1 for partition, records in polled.items()}
        self._metrics.chunk_records.observe(len(arrivals))
        self._metrics.chunk_seconds.observe(time.perf_counter() - began)

    async def _acknowledge(self, consumer: AIOKafkaConsumer) -> None:
        """Tell the group what took effect. The database knows it already: what a crash leaves untold is read again."""
        settled, self._settled = self._settled, {}
        self._acknowledged_at = time.monotonic()
        if not settled:
            return
        try:
            # While brokers are away this waits; read again by whoever begins again, the inbox drops the chunk.
            async with asyncio.timeout(_BROKER_SECONDS):
                await consumer.commit(settled)
        except (CommitFailedError, IllegalStateError) as error:
            # The partitions belong to another member by now. It will read the chunk again; the inbox drops it.
            _log.warning("what took effect could not be acknowledged", error=str(error))

    async def _finish(self) -> None:
        """Wait for what is in work, and acknowledge what took effect."""
        async with self._busy:
            if self._client is not None:
                await self._acknowledge(self._client)

    async def _settle(self, arrivals: Sequence[Arrival]) -> bool:
        """Until every arrival took effect or is parked. False: stopped before that."""
        try:
            return await self._patiently(lambda: self._chunks.take(arrivals), as_a_whole=len(arrivals) > 1)
        except Stopped as stopped:
            return await self._stand_still(stopped)
        except Exception as error:
            self._metrics.retries.labels("item_by_item").inc()
            _log.warning("a chunk failed: item by item", error=repr(error), records=len(arrivals))
        for arrival in arrivals:
            try:
                with logged_under(arrival.headers.get("traceparent")):
                    settled = await self._settle_one(arrival)
                if not settled:
                    return False
            except Stopped as stopped:
                return await self._stand_still(stopped)
        return True

    async def _settle_one(self, arrival: Arrival) -> bool:
        """One arrival by itself: a bug is tried again some times, then parked."""
        attempts = 0
        while True:
            attempts += 1
            try:
                return await self._patiently(lambda: self._chunks.take([arrival]))
            except Stopped:
                raise
            except NeverWorks as refused:
                kind, reason = "never_works", str(refused)
            except Exception as error:
                kind, reason = "bug", f"{type(error).__name__}: {error}"
                if is_no_value(error):
                    kind, reason = "never_works", f"a value that the database cannot hold: {error}"
                else:
                    _log.exception("a message failed", position=str(arrival.position), attempt=attempts)
                    if attempts < self._settings.chunk_attempts:
                        self._metrics.retries.labels("bug").inc()
                        await self._pause(min(0.05 * 4**attempts, 5.0))
                        continue
            _log.error("parked", position=str(arrival.position), kind=kind, error=reason)
            return await self._patiently(
                lambda kind=kind, reason=reason, tries=attempts: self._chunks.park_one(  # type: ignore[misc]
                    arrival, kind, reason[:4000], tries
                )
            )

    async def _patiently(self, attempt: Callable[[], Awaitable[None]], *, as_a_whole: bool = False) -> bool:
        """Try for as long as the infrastructure is away. False: stopped while waiting.

        `as_a_whole` raises what may have failed for being too much for one transaction: time-outs and memory depend on
        its size, so that the same again would fail for ever.
        """
        delay = 0.05
        while True:
            self._beat()
            tried_at = time.monotonic()
            try:
                await attempt()
            except Exception as error:
                took_long = (time.monotonic() - tried_at) * 1000 > self._settings.transaction_idle_ms
                too_much = as_a_whole and (took_long or isinstance(error, asyncpg.OutOfMemoryError))
                if too_much or not is_slow_down(error):
                    raise
                self.problem = f"{type(error).__name__}: {error}"
                self._metrics.retries.labels("slow_down").inc()
                _log.warning("the database is away: the chunk is kept", error=self.problem, again_in=round(delay, 2))
                await self._pause(delay * random.uniform(0.8, 1.2))  # noqa: S311 - only spreads the retries
                if self._stopping.is_set():
                    return False
                delay = min(delay * 2, 2.0)
            else:
                self.problem = None
                return True

    async def _stand_still(self, stopped: Stopped) -> bool:
        """Too many parked in a row: keep the chunk, say so, and wait for a restart. Always False."""
        self._metrics.consumer_stopped.set(1)
        _log.error("the consumer stopped", error=str(stopped))
        while not self._stopping.is_set():
            self._beat()
            # Again and again: what is taken beside it may have no problem.
            self.problem = str(stopped)
            await self._pause(1.0)
        return False

    def _measure_lag(self, consumer: AIOKafkaConsumer) -> None:
        """Once a second: how many messages each assigned partition still holds for us."""
        if time.monotonic() - self._lag_at < 1.0:
            return
        self._lag_at = time.monotonic()
        # Partitions that went to another member are that member's to report.
        self._metrics.lag.clear()
        for partition in consumer.assignment():
            end, position = consumer.highwater(partition), _place_of(consumer, partition)
            if end is not None and position is not None:
                self._metrics.lag.labels(partition.topic, partition.partition).set(max(0, end - position))


def _place_of(consumer: AIOKafkaConsumer, partition: TopicPartition) -> int | None:
    """The offset that is read next; None while the client looks it up, for which its own `position` would wait."""
    state = consumer._subscription.subscription.assignment
    place: int | None = state.state_value(partition)._position if state else None
    return place


def _named(places: dict[TopicPartition, int]) -> str:
    return ", ".join(f"{each.topic}/{each.partition}/{place}" for each, place in sorted(places.items())[:5])
