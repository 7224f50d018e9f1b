"""Restoring: a database from a backup takes up again, from its own topics, what its service said after the backup.

What it heard after the backup it hears again by itself, since it knows how far it had heard. What it said itself nobody
will tell it again but its own topics. Each event there that a service knows how to take up becomes rows again; of
everything else the report says what it was. The causes of both count as heard, so that nothing is done a second time.
Only when a person has confirmed the report may the service write: its next numbers and ids must not be those that
others know already.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import asyncpg
import structlog

from delivery.app import Service
from delivery.chunks import Arrival, Clock, Ears, Understood, hear_shared, waves
from delivery.database import Pool, transaction, write_together
from delivery.envelope import new_id
from delivery.failures import DeliveryError
from delivery.handling import EventLike, Work
from delivery.memory import copies_among, know_all, move_said_up_to, said_up_to, unknown_of
from delivery.relay import RELAY_LOCK
from delivery.rereading import Marks, Past, past_of
from delivery.settings import Settings

_log = structlog.get_logger("delivery.restoring")

_AT_ONCE = 500
_LOCK_SECONDS = 30.0

ALWAYS_LOST = (
    "Answers to Idempotency-Keys given after the backup: a caller that repeats such a call has it done again.",
    "What was committed in the last moments and had not left the outbox: nobody else ever heard of it.",
    "What people decided about parked messages after the backup: those are parked again when they are heard again.",
)


class NotAlone(DeliveryError):
    """Some process of this service sends announcements: it must stand still while its database is restored."""


@dataclass(slots=True)
class Said:
    """Events of one type that the database does not know."""

    events: int = 0
    first: str = ""
    last: str = ""
    keys: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Report:
    """What this service said and its database does not know."""

    service: str
    taken_up_types: frozenset[str]
    said: dict[str, Said] = field(default_factory=dict)
    by: Counter[str] = field(default_factory=Counter)
    cannot_know: tuple[str, ...] = ()
    copies: set[str] = field(default_factory=set)
    """Ids of events that stand there only because somebody sent them once more: they are known."""

    @property
    def missing(self) -> int:
        """How many events."""
        return sum(said.events for said in self.said.values())

    def add(self, arrival: Arrival) -> None:
        """Count one."""
        headers = arrival.headers
        said = self.said.setdefault(headers.get("ce_type", "?"), Said())
        at = headers.get("ce_time", "")
        said.events += 1
        said.first = min(said.first or at, at)
        said.last = max(said.last, at)
        said.keys.add(arrival.key_text or "")
        self.by[headers.get("ce_actor", "?")] += 1

    def as_json(self) -> dict[str, Any]:
        """As it is printed and kept."""
        return {
            "service": self.service,
            "unknown_events": self.missing,
            "said_and_not_known": [
                {
                    "type": event_type,
                    "events": said.events,
                    "keys": len(said.keys),
                    "first": said.first,
                    "last": said.last,
                    "can_be_taken_up": event_type in self.taken_up_types,
                }
                for event_type, said in sorted(self.said.items())
            ],
            "on_behalf_of": dict(self.by.most_common(50)),
            "cannot_be_known": list(self.cannot_know) if self.missing else [],
        }


class Restoring:
    """One service's database and its own topics."""

    def __init__(self, service: Service, settings: Settings, pool: Pool, clock: Clock) -> None:
        self._service = service
        self._settings = settings
        self._pool = pool
        self._clock = clock
        self._source = f"batchwise/{service.name}"
        self._ears = Ears(service.topics, service.takes_up)

    async def report(self) -> Report:
        """What the database does not know; changes nothing."""
        async with self._past() as past:
            return await self._report(past)

    async def take_up(self, why: str) -> Report:
        """Take up what can be, count the rest as lost, and let the service write again; `why` is kept with the report.

        Each step is a transaction that also moves the mark: killed at any moment, it goes on where it stood.

        Raises:
            NotAlone: a process of the service is sending.
        """
        async with self._alone(), self._past() as past:
            report = await self._report(past)
            if report.missing:
                await self._pool.execute(
                    """
                    INSERT INTO delivery.restoration (restoration_id, confirmed_at, why, report)
                    VALUES ($1, $2, $3, $4)
                    """,
                    new_id(),
                    self._clock(),
                    why,
                    report.as_json(),
                )
            async for arrivals in past.between(await said_up_to(self._pool), past.ends, at_once=_AT_ONCE):
                async with transaction(self._pool) as db:
                    await self.take_up_chunk(Work(db, self._clock()), arrivals, report.copies)
            await know_all(self._pool, past.ends)
            return report

    @asynccontextmanager
    async def _past(self) -> AsyncIterator[Past]:
        names = [topic.name for topic in self._service.says]
        async with past_of(self._settings, names, client=f"{self._service.name}-restore") as past:
            yield past

    async def _report(self, past: Past) -> Report:
        report = Report(
            self._service.name,
            frozenset(event.event_type for handler in self._service.takes_up for event in handler.events),  # type: ignore[attr-defined]
            cannot_know=(*ALWAYS_LOST, *self._service.cannot_know),
        )
        known = await said_up_to(self._pool)
        unknown: set[str] = set()
        async for arrivals in past.between(known, past.ends, at_once=_AT_ONCE):
            unknown |= {_id_of(each) for each in await unknown_of(self._pool, arrivals, self._source)}
        report.copies = await copies_among(self._pool, past, unknown)
        seen = set(report.copies)
        async for arrivals in past.between(known, past.ends, at_once=_AT_ONCE):
            for arrival in await unknown_of(self._pool, arrivals, self._source):
                if (event_id := _id_of(arrival)) not in seen:
                    seen.add(event_id)
                    report.add(arrival)
        return report

    async def take_up_chunk(
        self, work: Work, arrivals: Sequence[Arrival], copies: Collection[str] = frozenset()
    ) -> None:
        """Take up what of some records of own topics the database does not know, all but `copies` (ids of events).

        Part of the transaction of `work`, which also moves the marks.
        """
        await hear_shared(work, (key for arrival in arrivals if (key := arrival.key_text) is not None))
        unknown = [each for each in await unknown_of(work.db, arrivals, self._source) if _id_of(each) not in copies]
        # What the outbox still holds of these is on its topic already.
        await work.db.execute(
            "DELETE FROM delivery.outbox WHERE event_id::text = ANY($1::text[])",
            [_id_of(arrival) for arrival in arrivals],
        )
        fresh = await self._not_taken_up_before(work, unknown)
        # What is not taken up is not done a second time either: its cause counts as heard, and a person has the list.
        settled = [
            cause_id
            for arrival in unknown
            if self._ears.understand(arrival) is None
            and (cause_id := inbox_id_of_cause(arrival.headers.get("ce_causationid"))) is not None
        ]
        for handler, wave in waves(fresh):
            causes = {}
            for each in wave:
                work.know(each.message, each.envelope)
                causes[id(each.message)] = each.envelope.causation_id
            told: Sequence[EventLike] = await handler(work, [each.message for each in wave])  # type: ignore[assignment]
            await write_together(work.db, work.take_at_end())
            settled += [cause_id for event in told if (cause_id := inbox_id_of_cause(causes[id(event)])) is not None]
        await work.db.execute(
            "INSERT INTO delivery.inbox (event_id) SELECT DISTINCT unnest($1::uuid[]) ON CONFLICT DO NOTHING", settled
        )
        ends: Marks = {}
        for arrival in arrivals:
            where = (arrival.position.topic, arrival.position.partition)
            ends[where] = max(ends.get(where, 0), arrival.position.offset + 1)
        await move_said_up_to(work.db, ends)

    async def _not_taken_up_before(self, work: Work, unknown: Sequence[Arrival]) -> list[Understood]:
        """Those that are understood, each event once however often it was sent."""
        found = [each for arrival in unknown if isinstance(each := self._ears.understand(arrival), Understood)]
        rows = await work.db.fetch(
            """
            INSERT INTO delivery.inbox (event_id) SELECT DISTINCT unnest($1::uuid[])
            ON CONFLICT DO NOTHING RETURNING event_id
            """,
            [each.envelope.inbox_id for each in found],
        )
        new = {row["event_id"] for row in rows}
        fresh = []
        for each in found:
            if each.envelope.inbox_id in new:
                new.discard(each.envelope.inbox_id)
                fresh.append(each)
        return fresh

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Hold the relay's lock, so that nobody sends what a restored database might say."""
        connection = await asyncpg.connect(self._settings.database_dsn, timeout=5)
        try:
            deadline = asyncio.get_running_loop().time() + _LOCK_SECONDS
            while not await connection.fetchval(RELAY_LOCK):
                if asyncio.get_running_loop().time() > deadline:
                    raise NotAlone(
                        f"a relay of {self._service.name} held its lock for {_LOCK_SECONDS:.0f} s: stop the service "
                        "before its database is restored"
                    )
                await asyncio.sleep(0.1)
            yield
        finally:
            await connection.close()


def _id_of(arrival: Arrival) -> str:
    return arrival.headers.get("ce_id", "")


def inbox_id_of_cause(causation_id: str | None) -> UUID | None:
    """What an inbox remembers of the event that caused another; of a foreign message its position is its name."""
    if causation_id is None:
        return None
    try:
        return UUID(causation_id)
    except ValueError:
        return uuid5(NAMESPACE_URL, f"{causation_id.partition('/')[0]}#{causation_id}")
