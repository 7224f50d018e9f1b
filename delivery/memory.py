"""What the database remembers of what its service said, compared with what stands on the service's own topics.

A database that was restored from a backup is older than its topics: it would number, promise and post anew what others
have heard long ago. What is on an own topic was either known here when it was sent (`delivery.said_up_to`) or waits in
the outbox to be sent again. Anything else was said by this service and is not remembered: then nothing is written until
a person has decided what becomes of it (`restore`).
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import structlog
from aiokafka.errors import KafkaError

from delivery.chunks import Arrival
from delivery.database import Pool, columns
from delivery.handling import TopicLike
from delivery.rereading import Marks, past_of
from delivery.settings import Settings
from delivery.telemetry import Metrics

_log = structlog.get_logger("delivery.memory")

_AT_ONCE = 1_000
_COPIES_AT_MOST = 10_000
"""Events sent twice that are looked for one by one; more are no accident of a relay."""
_AGAIN_SECONDS = 2.0
_BLOCKED = "writes wait"


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

    async def compare(self, db: "Pool | Any", *, alone: bool = False) -> None:
        """Compare, and set `problem`. `alone`: the caller holds the relay's lock, so nobody else sends meanwhile.

        Raises what the brokers or the database raise while they are away; `problem` then stays what it was.
        """
        if not self._topics:
            return None
        names = [topic.name for topic in self._topics]
        async with past_of(self._settings, names, client=f"{self._service}-memory") as own:
            known = await said_up_to(db)
            if not known and await db.fetchval("SELECT pg_sequence_last_value('delivery.outbox_id_seq') IS NOT NULL"):
                # It has spoken, before versions that keep marks: what it said until now is taken as known.
                if alone:
                    await move_said_up_to(db, own.ends)
                return self._found(None)
            strange: dict[str, Arrival] = {}
            async for arrivals in own.between(known, own.ends, at_once=_AT_ONCE):
                for each in await unknown_of(db, arrivals, self._source):
                    strange.setdefault(each.headers.get("ce_id", ""), each)
                if len(strange) > _COPIES_AT_MOST:
                    break
            if strange:
                # A relay that was frozen in mid-send and is believed dead may send once more what its successor has
                # sent and forgotten; a mirror may too. Such a copy stands where the database knows what it said. This
                # reads the whole topic, so only where there is doubt.
                async for arrivals in own.between({}, await said_up_to(db), at_once=_AT_ONCE):
                    for each in arrivals:
                        strange.pop(each.headers.get("ce_id", ""), None)
                if alone and not strange:
                    await move_said_up_to(db, own.ends)
        return self._found(next(iter(strange.values()), None))

    def _found(self, first: Arrival | None) -> None:
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


async def move_said_up_to(db: Any, ends: Marks) -> None:
    """What stands before these offsets on own topics is known here."""
    await db.execute(
        """
        INSERT INTO delivery.said_up_to (topic, partition, next)
        SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[]) AS mark (topic, partition, next) ORDER BY 1, 2
        ON CONFLICT (topic, partition) DO UPDATE SET next = greatest(said_up_to.next, excluded.next)
        """,
        *columns(((topic, partition, end) for (topic, partition), end in ends.items()), 3),
    )
