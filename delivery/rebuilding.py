"""Rebuilding: what a service derives is derived again while it serves, and put right where it differs.

Two kinds. A `Refold` folds a service's own history again, key by key, each under its lock. A `Rehear` hears the topics
of others again from the beginning, into empty copies of its tables in a schema of their own, as far as the service
itself has heard; then, while no event takes effect for a moment, it compares and changes only what differs.

Killed at any moment, nothing was changed but copies, and the next run goes on with them.
"""

import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import asyncpg
import structlog

from delivery.chunks import Arrival, Clock, Ears, Position, Understood, causes_of, hear_alone, waves
from delivery.database import Connection, Pool, columns, transaction, write_together
from delivery.envelope import Envelope, new_id
from delivery.failures import DeliveryError, is_slow_down
from delivery.handling import Announcements, EventHandler, Work
from delivery.outbox import Speaker
from delivery.rereading import Marks, Past, past_of
from delivery.settings import Settings

if TYPE_CHECKING:
    from delivery.app import Service

_log = structlog.get_logger("delivery.rebuilding")

_AT_ONCE = 500
_LAST = 200
"""Events that may be left to hear while the service waits for the comparison."""
_KEYS = 20
_TOLD = 50
"""Differences that are named one by one; the rest is counted."""
_ROUNDS = 20
"""After so many rounds of catching up the rest is heard while the service waits, however much it is."""
_LOCK = "SELECT pg_try_advisory_lock(hashtextextended('delivery.rebuild', 0))"
_UNLOCK = "SELECT pg_advisory_unlock(hashtextextended('delivery.rebuild', 0))"


class NotNow(DeliveryError):
    """Another rebuild of this database is at work."""


@dataclass(frozen=True, slots=True)
class Refolded:
    """What folding some keys again came to: how many keys, and each thing that was put right."""

    keys: int
    mended: Sequence[str]


@dataclass(frozen=True, slots=True)
class Refold:
    """What is folded from the service's own history.

    `keys` gives the keys after one, in order, so many at most. `fold` puts right what differs for some keys, in one
    transaction, with their locks where it has to.
    """

    name: str
    of: str
    keys: Callable[[Connection, str, int], Awaitable[list[str]]]
    fold: Callable[[Work, Sequence[str]], Awaitable[Refolded]]


@dataclass(frozen=True, slots=True)
class Derived:
    """A table that heard events alone make. `key` tells its rows apart and is never NULL.

    `but` are columns that are not derived: they stay as they are, and a row that is added has their defaults. `rows` is
    an SQL condition for the rows that are derived, where not all are.
    """

    table: str
    key: Sequence[str]
    but: Sequence[str] = ()
    rows: str = "true"


@dataclass(frozen=True, slots=True)
class Rehear:
    """What is made of others' events. In the copies only `tables` can be written, and `reads` can be read.

    `hears` are handlers as elsewhere; what they announce is not said. `finish` makes of the copies what needs the
    service's own tables (in schema `public`), and `settle` does what must follow from what was changed.
    """

    name: str
    of: str
    tables: Sequence[Derived]
    hears: Sequence[EventHandler]
    copies: Sequence[str] = ()
    finish: Callable[[Connection], Awaitable[None]] | None = None
    settle: Callable[[Work], Awaitable[tuple[Sequence[str], Announcements]]] | None = None

    @property
    def schema(self) -> str:
        """Where the copies are while it is rebuilt."""
        return f"rebuilding_{self.name}"


@dataclass(slots=True)
class Rebuilt:
    """What a rebuild came to."""

    name: str
    of: str
    looked_at: int = 0
    differences: int = 0
    mended: list[str] = field(default_factory=list)
    not_heard: list[str] = field(default_factory=list)

    def tell(self, differences: Sequence[str]) -> None:
        """Count differences, and name the first of them."""
        self.differences += len(differences)
        self.mended += differences[: max(0, _TOLD - len(self.mended))]

    def as_json(self) -> dict[str, Any]:
        """As it is printed."""
        return {
            "rebuilt": self.name,
            "from": self.of,
            "looked_at": self.looked_at,
            "differences_mended": self.differences,
            "first_differences": self.mended,
            "could_not_be_heard_again": self.not_heard,
        }


class Rebuilding:
    """One service's database. `pool` works as its owner: copies are made and dropped, and history is compared too."""

    def __init__(self, service: "Service", settings: Settings, pool: Pool, clock: Clock) -> None:
        self._service = service
        self._settings = settings
        self._pool = pool
        self._clock = clock
        self._speaker = Speaker(
            f"batchwise/{service.name}",
            {event.event_type: topic.name for topic in service.says for event in topic.events},
        )

    async def rebuild(self, what: Refold | Rehear) -> Rebuilt:
        """Rebuild one thing.

        Raises:
            NotNow: another rebuild is at work here.
        """
        async with self._pool.acquire() as holding:
            if not await holding.fetchval(_LOCK):
                raise NotNow(f"another rebuild of {self._service.name}'s database is at work")
            try:
                return await (self._fold(what) if isinstance(what, Refold) else self._hear(what))
            finally:
                with contextlib.suppress(Exception):
                    await holding.execute(_UNLOCK)

    # Its own history

    async def _fold(self, what: Refold) -> Rebuilt:
        rebuilt = Rebuilt(what.name, what.of)
        after = ""
        while True:
            async with transaction(self._pool) as db:
                keys = await what.keys(db, after, _KEYS)
            if not keys:
                return rebuilt
            # Key by key: a lock is never held for the history of others.
            for key in keys:
                async with transaction(self._pool) as db:
                    folded = await what.fold(Work(db, self._clock()), [key])
                rebuilt.looked_at += folded.keys
                rebuilt.tell(folded.mended)
            after = keys[-1]

    # What others said

    async def _hear(self, what: Rehear) -> Rebuilt:
        rebuilt = Rebuilt(what.name, what.of)
        ears = Ears(self._service.topics, what.hears)
        await self._make_copies(what)
        async with past_of(self._settings, ears.topics, client=f"{self._service.name}-rebuild") as past:
            for _ in range(_ROUNDS):
                await self._catch_up(what, ears, past, rebuilt)
                if await self._left(what, ears) <= _LAST:
                    break
            async with transaction(self._pool) as db:
                # From here on no event takes effect, so that what the copies still lack is known and little.
                await hear_alone(db)
                until = await _heard_up_to(db, ears.topics)
                async for arrivals in past.between(await _reached(db, what), until, at_once=_AT_ONCE):
                    await self._take(db, what, ears, arrivals, rebuilt)
                await self._take_replayed(db, what, ears, rebuilt)
                await self._settle(db, what, rebuilt)
                await db.execute(f"DROP SCHEMA {what.schema} CASCADE")
        return rebuilt

    async def _left(self, what: Rehear, ears: Ears) -> int:
        """How many records the service has heard and the copies have not."""
        async with transaction(self._pool) as db:
            heard, reached = await _heard_up_to(db, ears.topics), await _reached(db, what)
        return sum(max(0, end - reached.get(where, 0)) for where, end in heard.items())

    async def _catch_up(self, what: Rehear, ears: Ears, past: Past, rebuilt: Rebuilt) -> None:
        """Let the copies hear what the service has heard by now, a chunk at a time."""
        async with transaction(self._pool) as db:
            until, reached = await _heard_up_to(db, ears.topics), await _reached(db, what)
        async for arrivals in past.between(reached, until, at_once=_AT_ONCE):
            async with transaction(self._pool) as db:
                await self._take(db, what, ears, arrivals, rebuilt)
        # A compacted topic may lack the last record.
        async with transaction(self._pool) as db:
            await _keep_reached(db, what, until)

    async def _make_copies(self, what: Rehear) -> None:
        """Empty copies of the tables; those of a run that was killed are gone on with."""
        async with transaction(self._pool) as db:
            applied = await db.fetch("SELECT package, digest FROM delivery.schema_migration ORDER BY package, number")
            made_of = hashlib.sha256(repr([*map(tuple, applied), what.copies, what.tables]).encode()).hexdigest()
            begun = await db.fetchval("SELECT to_regclass($1) IS NOT NULL", f"{what.schema}.made_of")
            if begun and await db.fetchval(f"SELECT digest FROM {what.schema}.made_of") == made_of:
                _log.info("going on with the copies of a run that ended early", rebuild=what.name)
                return
            await db.execute(f"DROP SCHEMA IF EXISTS {what.schema} CASCADE")
            await db.execute(f"CREATE SCHEMA {what.schema}")
            for derived in what.tables:
                await db.execute(
                    f"CREATE TABLE {what.schema}.{derived.table} (LIKE public.{derived.table} INCLUDING ALL)"
                )
            await db.execute(f"SET LOCAL search_path = {what.schema}")
            for statement in what.copies:
                await db.execute(statement)
            await db.execute(
                """
                CREATE TABLE made_of (digest text NOT NULL);
                CREATE TABLE took (event_id uuid PRIMARY KEY);
                CREATE TABLE reached (topic text, partition integer, next bigint NOT NULL,
                                      PRIMARY KEY (topic, partition));
                CREATE TABLE passed_by (parked_id bigint PRIMARY KEY)
                """
            )
            await db.execute("INSERT INTO made_of VALUES ($1)", made_of)

    async def _take(
        self, db: Connection, what: Rehear, ears: Ears, arrivals: Sequence[Arrival], rebuilt: Rebuilt
    ) -> None:
        """Let the copies hear records, but what is parked, and remember how far they came."""
        parked = await db.fetch(
            """
            SELECT parked.id, parked.status, parked.edited_body, n
            FROM unnest($1::text[], $2::int[], $3::bigint[], $4::int[]) AS came (topic, partition, "offset", n)
            JOIN delivery.parked USING (topic, partition, "offset")
            """,
            *columns(
                ((at.topic, at.partition, at.offset, n) for n, at in enumerate(each.position for each in arrivals)), 4
            ),
        )
        of_record = {row["n"]: row for row in parked}
        heard = []
        for n, arrival in enumerate(arrivals):
            row = of_record.get(n)
            if row is not None and row["status"] != "replayed":
                continue
            edited = row["edited_body"] if row is not None else None
            found = ears.understand(arrival if edited is None else arrival._replace(body=edited))
            if isinstance(found, Understood):
                heard.append(found)
        await db.execute(
            f"INSERT INTO {what.schema}.passed_by SELECT unnest($1::bigint[]) ON CONFLICT DO NOTHING",
            [row["id"] for row in parked if row["status"] != "replayed"],
        )
        await self._let_hear(db, what, heard, rebuilt)
        ends: Marks = {}
        for position in (arrival.position for arrival in arrivals):
            ends[position.topic, position.partition] = position.offset + 1
        await _keep_reached(db, what, ends)

    async def _take_replayed(self, db: Connection, what: Rehear, ears: Ears, rebuilt: Rebuilt) -> None:
        """What was parked when it was passed by, and has taken effect since."""
        rows = await db.fetch(
            f"""
            SELECT parked.* FROM delivery.parked JOIN {what.schema}.passed_by ON parked_id = id
            WHERE status = 'replayed' ORDER BY id
            """
        )
        heard = [found for row in rows if isinstance(found := ears.understand(_replayed(row)), Understood)]
        await self._let_hear(db, what, heard, rebuilt)

    async def _let_hear(self, db: Connection, what: Rehear, heard: Sequence[Understood], rebuilt: Rebuilt) -> None:
        """Each event once, in order per key; one that fails is named and left out."""
        rows = await db.fetch(
            f"""
            INSERT INTO {what.schema}.took SELECT DISTINCT unnest($1::uuid[]) ON CONFLICT DO NOTHING RETURNING event_id
            """,
            [each.envelope.inbox_id for each in heard],
        )
        new = {row["event_id"] for row in rows}
        fresh = []
        for each in heard:
            if each.envelope.inbox_id in new:
                new.discard(each.envelope.inbox_id)
                fresh.append(each)
        rebuilt.looked_at += len(fresh)
        await db.execute(f"SET LOCAL search_path = {what.schema}")
        try:
            async with db.transaction():
                await self._handle(db, fresh)
        except Exception as error:
            if is_slow_down(error) or not fresh:
                raise
            for each in fresh:
                try:
                    async with db.transaction():
                        await self._handle(db, [each])
                except Exception as one:
                    if is_slow_down(one):
                        raise
                    rebuilt.not_heard.append(f"{each.arrival.position}: {type(one).__name__}: {one}"[:400])
        await db.execute("SET LOCAL search_path = public")

    async def _handle(self, db: Connection, heard: Sequence[Understood]) -> None:
        work = Work(db, self._clock())
        for handler, wave in waves(heard):
            for each in wave:
                work.know(each.message, each.envelope)
            await handler(work, [each.message for each in wave])
            await write_together(db, work.take_at_end())

    async def _settle(self, db: Connection, what: Rehear, rebuilt: Rebuilt) -> None:
        """Make the tables what the copies are, and say what follows from that."""
        if what.finish is not None:
            await db.execute(f"SET LOCAL search_path = {what.schema}")
            await what.finish(db)
            await db.execute("SET LOCAL search_path = public")
        compared = [_Compared(what.schema, each, await _columns(db, each)) for each in what.tables]
        for each in reversed(compared):
            rebuilt.tell(await each.remove(db))
        for each in compared:
            rebuilt.tell(await each.correct(db))
            rebuilt.tell(await each.add(db))
        if what.settle is not None:
            work = Work(db, self._clock())
            told, announcements = await what.settle(work)
            rebuilt.tell(told)
            await self._speaker.say(work, causes_of(announcements, [(what, self._cause(what, work))]))

    def _cause(self, what: Rehear, work: Work) -> Envelope:
        run_id = str(new_id())
        source = f"batchwise/{self._service.name}"
        return Envelope(run_id, f"rebuild.{what.name}", source, work.now, "", run_id, actor=source)


class _Compared:
    """A table and its copy: three statements, each of which changes only what differs."""

    def __init__(self, schema: str, derived: Derived, names: Sequence[str]) -> None:
        self._derived = derived
        self._names = names
        self._kept, self._copy = f"public.{derived.table}", f"{schema}.{derived.table}"
        self._rest = [name for name in names if name not in derived.key]
        self._key = ", ".join(f"kept.{name}" for name in derived.key)
        self._same = f"({self._key}) = ({', '.join(f'copy.{name}' for name in derived.key)})"

    async def remove(self, db: Connection) -> list[str]:
        """Rows that no event tells of."""
        rows = await db.fetch(
            f"""
            DELETE FROM {self._kept} AS kept
            WHERE ({self._derived.rows}) AND NOT EXISTS (SELECT FROM {self._copy} AS copy WHERE {self._same})
            RETURNING {self._key}
            """
        )
        return [f"{self._named(row)}: no event tells of it" for row in rows]

    async def correct(self, db: Connection) -> list[str]:
        """Rows that events tell otherwise."""
        if not self._rest:
            return []
        rows = await db.fetch(
            f"""
            UPDATE {self._kept} AS kept
            SET {", ".join(f"{name} = copy.{name}" for name in self._rest)}
            FROM {self._copy} AS copy, {self._kept} AS before
            WHERE {self._same} AND kept.ctid = before.ctid
              AND ROW({", ".join(f"kept.{name}" for name in self._rest)})
                  IS DISTINCT FROM ROW({", ".join(f"copy.{name}" for name in self._rest)})
            RETURNING {self._key}, to_jsonb(before) AS was, to_jsonb(copy) AS now
            """
        )
        return [f"{self._named(row)}: {self._changes(row)}" for row in rows]

    async def add(self, db: Connection) -> list[str]:
        """Rows that events tell of and that are not there."""
        names = ", ".join(self._names)
        rows = await db.fetch(
            f"""
            INSERT INTO {self._kept} AS kept ({names})
            SELECT {names} FROM {self._copy} AS copy
            WHERE NOT EXISTS (SELECT FROM {self._kept} AS kept WHERE {self._same})
            RETURNING {self._key}
            """
        )
        return [f"{self._named(row)}: it was missing" for row in rows]

    def _named(self, row: asyncpg.Record) -> str:
        return f"{self._derived.table} {', '.join(str(row[name]) for name in self._derived.key)}"

    def _changes(self, row: asyncpg.Record) -> str:
        was, now = row["was"], row["now"]
        return ", ".join(f"{name} was {was[name]}, is {now[name]}" for name in self._rest if was[name] != now[name])[
            :400
        ]


async def _columns(db: Connection, derived: Derived) -> list[str]:
    """The columns of a table that are derived and can be written."""
    rows = await db.fetch(
        """
        SELECT attname FROM pg_attribute
        WHERE attrelid = ('public.' || $1)::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
        ORDER BY attnum
        """,
        derived.table,
    )
    return [row["attname"] for row in rows if row["attname"] not in derived.but]


async def _heard_up_to(db: Connection, topics: Sequence[str]) -> Marks:
    rows = await db.fetch("SELECT * FROM delivery.heard_up_to WHERE topic = ANY($1::text[])", list(topics))
    return {(row["topic"], row["partition"]): row["next"] for row in rows}


async def _reached(db: Connection, what: Rehear) -> Marks:
    rows = await db.fetch(f"SELECT topic, partition, next FROM {what.schema}.reached")
    return {(row["topic"], row["partition"]): row["next"] for row in rows}


async def _keep_reached(db: Connection, what: Rehear, ends: Marks) -> None:
    await db.execute(
        f"""
        INSERT INTO {what.schema}.reached AS kept (topic, partition, next)
        SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[])
        ON CONFLICT (topic, partition) DO UPDATE SET next = greatest(kept.next, excluded.next)
        """,
        *columns(((*where, end) for where, end in ends.items()), 3),
    )


def _replayed(row: Any) -> Arrival:
    """A parked message as it took effect."""
    return Arrival(
        Position(row["topic"], row["partition"], row["offset"]),
        None if row["key"] is None else row["key"].encode(),
        row["headers"],
        row["body"] if row["edited_body"] is None else row["edited_body"],
    )
