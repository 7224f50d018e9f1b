"""What the database remembers of what its service said, compared with what stands on the service's own topics.

A database that was restored from a backup is older than its topics: it would number, promise and post anew what others
have heard long ago. What is on an own topic was either known here when it was sent (`delivery.said_up_to`) or waits in
the outbox to be sent again. Anything else was said by this service and is not remembered: then nothing is written until
a person has decided what becomes of it (`restore`).
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Sequence
from typing import Any

import structlog
from aiokafka.errors import KafkaError

from delivery.chunks import Arrival
from delivery.database import Pool, columns
from delivery.failures import SlowDown
from delivery.handling import TopicLike
from delivery.rereading import Marks, Past, past_of
from delivery.settings import Settings
from delivery.telemetry import Metrics

_log = structlog.get_logger("delivery.memory")

_AT_ONCE = 1_000
_STRANGE_AT_ONCE = 10_000
"""Events that may be copies, for which the whole topic is read once."""
_AGAIN_SECONDS = 2.0
_BLOCKED = "writes wait"
MARK = """
    INSERT INTO delivery.said_up_to (topic, partition, next)
    SELECT * FROM unnest(${}::text[], ${}::int[], ${}::bigint[]) AS mark (topic, partition, next) ORDER BY 1, 2
    ON CONFLICT (topic, partition) DO UPDATE SET next = excluded.next WHERE said_up_to.next < excluded.next
"""
"""What stands before these offsets on own topics is known here; to be given the places of three parameters."""


async def said_up_to(db: Any) -> Marks:
    """Up to where each partition of an own topic is known here."""
    return {
        (row["topic"], row["partition"]): row["next"] for row in await db.fetch("SELECT * FROM delivery.said_up_to")
    }


async def unknown_of(db: Any, arrivals: Sequence[Arrival], source: str) -> list[Arrival]:
    """Those that `source` said and this database neither sent nor is about to send."""
    ours = [arrival for arrival in arrivals if arrival.headers.get("ce_source") == source]
    if not ours:
        return []
    # One statement: a relay that is at work takes rows out of the outbox and moves the mark at once.
    rows = await db.fetch(
        """
        SELECT n
        FROM unnest($1::text[], $2::int[], $3::bigint[], $4::text[], $5::int[])
             AS said (topic, partition, "offset", event_id, n)
        WHERE NOT EXISTS (SELECT FROM delivery.said_up_to AS known
                          WHERE known.topic = said.topic AND known.partition = said.partition
                            AND said."offset" < known.next)
          AND NOT EXISTS (SELECT FROM delivery.outbox WHERE outbox.event_id::text = said.event_id)
          AND NOT EXISTS (SELECT FROM delivery.said_unmarked WHERE said_unmarked.event_id::text = said.event_id)
        ORDER BY n
        """,
        *columns(
            (
                (
                    each.position.topic,
                    each.position.partition,
                    each.position.offset,
                    each.headers.get("ce_id", ""),
                    n,
                )
                for n, each in enumerate(ours)
            ),
            5,
        ),
    )
    return [ours[row["n"]] for row in rows]


async def copies_among(
    db: Any, own: Past, event_ids: Collection[str], *, beat: Callable[[], None] = lambda: None
) -> set[str]:
    """Those of `event_ids` that also stand where the database knows what it said: sent once more, and nothing new.

    A relay that was frozen in mid-send and is believed dead may do so when it wakes, after its successor has sent and
    forgotten the same; a mirror may too. Reads all of the topics up to there: only for events that are in doubt.
    """
    if not event_ids:
        return set()
    until = {where: min(end, own.ends.get(where, 0)) for where, end in (await said_up_to(db)).items()}
    copies: set[str] = set()
    async for arrivals in own.between({}, until, at_once=_AT_ONCE):
        beat()
        copies.update(event_id for each in arrivals if (event_id := each.headers.get("ce_id", "")) in event_ids)
    return copies


class Memory:
    """Whether the database knows what its service said; while it does not, `problem` says so and nothing is written."""

    def __init__(self, settings: Settings, topics: Sequence[TopicLike], *, service: str, metrics: Metrics) -> None:
        self._settings = settings
        self._topics = topics
        self._service = service
        self._source = f"batchwise/{service}"
        self._metrics = metrics
        self._compared = asyncio.Event()
        self._compared.set()
        self._stranger: Arrival | None = None
        self.problem: str | None = None

    def doubt(self) -> None:
        """The database may be another one than before: until it was compared, nothing is written."""
        if self._topics and self.problem is None:
            self.problem = f"the database was not yet compared with what this service said: {_BLOCKED}"
            self._compared.clear()

    async def compared(self, *, within: float) -> None:
        """Wait until the database was compared with the topics, `within` seconds at most; `problem` is the outcome."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._compared.wait(), within)

    async def compare(self, db: "Pool | Any", *, alone: bool = False, beat: Callable[[], None] = lambda: None) -> None:
        """Compare, and set `problem`. `alone`: the caller holds the relay's lock, so nobody else sends meanwhile.

        Raises what the brokers or the database raise while they are away, and `SlowDown` while the brokers do not show
        an own topic; `problem` then stays what it was. `beat` is called now and then: a long topic takes minutes.
        """
        if not self._topics:
            return None
        if self._stranger is not None and await unknown_of(db, [self._stranger], self._source):
            # Nobody has decided yet: the topics need not be read again to know that.
            return self._found(self._stranger)
        names = [topic.name for topic in self._topics]
        async with past_of(self._settings, names, client=f"{self._service}-memory") as own:
            known = await said_up_to(db)
            if await db.fetchval("SELECT pg_sequence_last_value('delivery.outbox_id_seq') IS NOT NULL"):
                _require_shown(names, own)
                if not known:
                    # It has spoken, before versions that keep marks: what it said until now is taken as known.
                    if alone:
                        await know_all(db, own.ends)
                    return self._found(None)
            stranger = await self._first_stranger(db, own, known, beat)
            if alone and stranger is None:
                await know_all(db, own.ends)
        return self._found(stranger)

    async def _first_stranger(self, db: Any, own: Past, known: Marks, beat: Callable[[], None]) -> Arrival | None:
        """An event behind `known` that this database never said, if there is one."""
        reached = dict(known)
        while True:
            strange: dict[str, Arrival] = {}
            async for arrivals in own.between(reached, own.ends, at_once=_AT_ONCE):
                beat()
                for each in await unknown_of(db, arrivals, self._source):
                    strange.setdefault(each.headers.get("ce_id", ""), each)
                for position in (arrival.position for arrival in arrivals):
                    reached[position.topic, position.partition] = position.offset + 1
                if len(strange) >= _STRANGE_AT_ONCE:
                    break
            copies = await copies_among(db, own, strange.keys(), beat=beat)
            for event_id, each in strange.items():
                if event_id not in copies:
                    return each
            if not strange:
                return None

    def _found(self, first: Arrival | None) -> None:
        self._stranger = first
        self._metrics.database_older.set(0 if first is None else 1)
        if first is None:
            if self.problem is not None and "not remember" in self.problem:
                _log.info("the database knows again what this service said")
            self.problem = None
        else:
            before, self.problem = (
                self.problem,
                (
                    f"the database does not remember what this service said at {first.position} "
                    f"({first.headers.get('ce_type')}, {first.headers.get('ce_time')}): it is older than its topics, "
                    f"restored from a backup perhaps. {_BLOCKED.capitalize()} for `python -m services.{self._service} "
                    "restore` (docs/recovery.md)"
                ),
            )
            if before != self.problem:
                _log.error("the database is older than its topics", problem=self.problem)
        self._compared.set()

    async def watch(self, pool: Pool, stopping: asyncio.Event) -> None:
        """Compare until nothing is missing, then stand by: a relay that finds a new database raises doubts again."""
        delay = 0.1
        while not stopping.is_set():
            if self.problem is not None:
                try:
                    await self.compare(pool)
                    delay = _AGAIN_SECONDS
                except SlowDown as waits:
                    delay = min(delay * 2, _AGAIN_SECONDS)
                    if not self._compared.is_set():
                        self.problem = f"{waits}: {_BLOCKED}"
                except (KafkaError, OSError, TimeoutError) as error:
                    delay = min(delay * 2, _AGAIN_SECONDS)
                    if not self._compared.is_set():
                        self.problem = (
                            "whether the database knows all that this service said cannot be seen yet, since the "
                            f"brokers do not answer ({type(error).__name__}): {_BLOCKED}"
                        )
                except Exception as error:
                    delay = min(delay * 2, _AGAIN_SECONDS)
                    _log.warning("the database could not be compared yet", error=repr(error))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), delay if self.problem else 1.0)


def _require_shown(names: Sequence[str], own: Past) -> None:
    """A broker that is starting may not know of all topics yet: what it does not show is not gone."""
    shown = {topic for topic, _ in own.ends}
    if missing := [name for name in names if name not in shown]:
        raise SlowDown(f"the brokers do not show {missing}, on which this service has spoken")


async def know_all(db: Any, ends: Marks) -> None:
    """What stands before these ends of all own topics is known here; the caller holds the relay's lock."""
    await db.execute(
        f"WITH marked AS ({MARK.format(1, 2, 3)}) DELETE FROM delivery.said_unmarked",
        *columns(((topic, partition, end) for (topic, partition), end in ends.items()), 3),
    )


async def move_said_up_to(db: Any, ends: Marks) -> None:
    """What stands before these offsets on own topics is known here."""
    await db.execute(
        MARK.format(1, 2, 3), *columns(((topic, partition, end) for (topic, partition), end in ends.items()), 3)
    )
