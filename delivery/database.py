"""The database of a service: one pool, its codecs, and time-outs that keep a frozen process from blocking others."""

import functools
import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import asyncpg
import orjson
from asyncpg.pool import PoolConnectionProxy

if TYPE_CHECKING:
    Connection = PoolConnectionProxy[asyncpg.Record]
    Pool = asyncpg.Pool[asyncpg.Record]
else:
    Connection = PoolConnectionProxy
    Pool = asyncpg.Pool


async def _codecs(connection: Any) -> None:
    """JSON columns are Python values on our side."""
    for name in ("json", "jsonb"):
        await connection.set_type_codec(
            name,
            schema="pg_catalog",
            encoder=lambda value: orjson.dumps(value, default=str).decode(),
            decoder=orjson.loads,
        )


async def _keep_as_is(_connection: Any) -> None:
    """Our connections keep no session state, so the pool need not spend a round trip on resetting them."""


def open_pool(
    dsn: str, *, role: str | None, name: str, size: int, transaction_idle_ms: int, statement_seconds: int = 60
) -> Pool:
    """A pool that connects when it is first used (await it once); serving works as the least-privileged `role`.

    A process that is frozen in mid-transaction loses that transaction after `transaction_idle_ms`, so that whoever took
    over its partitions does not wait for it for ever.
    """
    server_settings = {
        "application_name": name,
        "idle_in_transaction_session_timeout": str(transaction_idle_ms),
        "lock_timeout": "20s",
        "statement_timeout": f"{statement_seconds}s",
        "jit": "off",
    }
    if role:
        server_settings["role"] = role
    return asyncpg.create_pool(
        dsn,
        min_size=0,
        max_size=size,
        init=_codecs,
        reset=_keep_as_is,
        command_timeout=statement_seconds + 30,
        timeout=5,
        server_settings=server_settings,
    )


@asynccontextmanager
async def transaction(pool: Pool) -> AsyncIterator[Connection]:
    """A connection in a transaction that commits at the end of the block, or rolls back."""
    async with pool.acquire(timeout=10) as connection, connection.transaction():
        yield connection


_BY_KEY = " ".join(f"SET LOCAL enable_{walk} = off;" for walk in ("seqscan", "hashjoin", "mergejoin"))


@asynccontextmanager
async def transaction_by_key(pool: Pool) -> AsyncIterator[Connection]:
    """As `transaction`, for chunks and commands: what they read and write they find by key, whatever a plan's cost.

    Their statements are planned once and kept, maybe while a table is still empty: walking through it seems cheap then,
    and is not any more when a million rows have come.
    """
    async with _begun(pool, f"BEGIN; {_BY_KEY}") as connection:
        yield connection


@asynccontextmanager
async def snapshot(pool: Pool, *, by_key: bool = False) -> AsyncIterator[Connection]:
    """A connection that only reads and on which every statement sees the same moment.

    `by_key`: its statements find rows as those of `transaction_by_key` do, and are never planned for one call.
    """
    how = f"{_BY_KEY} SET LOCAL plan_cache_mode = force_generic_plan" if by_key else ""
    async with _begun(pool, f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {how}") as connection:
        yield connection


@asynccontextmanager
async def _begun(pool: Pool, begin: str) -> AsyncIterator[Connection]:
    async with pool.acquire(timeout=10) as connection:
        try:
            await connection.execute(begin)
            yield connection
        except BaseException:
            await _roll_back(connection)
            raise
        await connection.execute("COMMIT")


async def _roll_back(connection: Connection) -> None:
    try:
        if not connection.is_closed():
            await connection.execute("ROLLBACK")
    except Exception:
        # In no state to be used again; what it was about is told by what led here.
        connection.terminate()


def columns(rows: Iterable[Sequence[Any]], width: int) -> list[list[Any]]:
    """Turn rows into `width` columns for `unnest`; no rows give `width` empty columns."""
    turned = [list(column) for column in zip(*rows, strict=True)]
    return turned or [[] for _ in range(width)]


def unseen(place: int, kind: str) -> str:
    """SQL of the array argument `$place` whose length the planner cannot look at.

    It then finds a plan made for this call no better than one for all, and after some calls plans no more.
    """
    return f"(SELECT ${place}::{kind}[])::{kind}[]"


class Write(NamedTuple):
    """An INSERT, UPDATE or DELETE of one table, without RETURNING, and its arguments.

    Whoever knows how many `rows` it must write says so: another number is an `AssertionError`.
    """

    sql: str
    args: Sequence[Any]
    rows: int | None = None


class NewRows(NamedTuple):
    """Rows to put into a table, in their order. `columns` are names with PostgreSQL types, as wide as each row."""

    table: str
    columns: Mapping[str, str]
    rows: Sequence[Sequence[Any]]


_COPIED = 50
"""So many rows are copied in, at a third of the cost; fewer are not worth the round trips of their own."""


async def write_together(db: Connection, parts: Sequence[Write | NewRows]) -> None:
    """Write all `parts`, in one round trip unless there are many rows.

    None sees what another did, so each must be of a table of its own (`ValueError`). Many rows of one table come last,
    so that their FOREIGN KEYs find what else is written.
    """
    at_once: list[Write] = []
    copied: list[NewRows] = []
    for part in parts:
        if isinstance(part, Write):
            at_once.append(part)
        elif len(part.rows) >= _COPIED:
            copied.append(part)
        elif part.rows:
            rows = columns(part.rows, len(part.columns))
            at_once.append(Write(_insert(part.table, tuple(part.columns.items())), rows))
    if at_once:
        statement = _one_statement(tuple((write.sql, len(write.args)) for write in at_once))
        counts = await db.fetchrow(statement, *(arg for write in at_once for arg in write.args))
        for write, count in zip(at_once, counts or (), strict=True):
            if write.rows not in {None, count}:
                were = f"{count} {'was' if count == 1 else 'were'}"
                raise AssertionError(f"{write.rows} rows were to be written, and {were}: {write.sql.strip()[:60]}")
    for part in copied:
        schema, _, table = part.table.rpartition(".")
        await db.copy_records_to_table(table, schema_name=schema or None, columns=[*part.columns], records=part.rows)


@functools.lru_cache(maxsize=200)
def _insert(table: str, of: tuple[tuple[str, str], ...]) -> str:
    names = ", ".join(name for name, _ in of)
    arrays = ", ".join(f"${n}::{kind}[]" for n, (_, kind) in enumerate(of, start=1))
    return f"""
        INSERT INTO {table} ({names})
        SELECT {names} FROM unnest({arrays}) WITH ORDINALITY AS new ({names}, nth) ORDER BY nth
    """


@functools.lru_cache(maxsize=200)
def _one_statement(writes: tuple[tuple[str, int], ...]) -> str:
    """All of them as parts of one, which answers with how many rows each wrote."""
    parts, counts, tables = [], [], []
    before = 0
    for n, (sql, args) in enumerate(writes):
        found = _WRITES_TO.match(sql)
        if found is None:
            raise ValueError(f"not a plain INSERT, UPDATE or DELETE: {sql.strip()[:60]!r}")
        tables.append(found[1])
        parts.append(f"written_{n} AS ({_moved(sql, before)} RETURNING 1)")
        counts.append(f"(SELECT count(*)::int FROM written_{n})")
        before += args
    if len({*tables}) < len(tables):
        raise ValueError(f"one statement cannot write twice to a table, and these write to {tables}")
    return f"WITH {', '.join(parts)} SELECT {', '.join(counts)}"


def _moved(sql: str, by: int) -> str:
    """With its arguments behind `by` others, and arrays among them unseen by the planner."""

    def argument(found: re.Match[str]) -> str:
        place = int(found[1]) + by
        return unseen(place, found[2]) if found[2] else f"${place}"

    return _ARGUMENT.sub(argument, sql)


_ARGUMENT = re.compile(r"\$(\d+)(?:::(\w+)\[\])?")
_WRITES_TO = re.compile(r"\s*(?:INSERT\s+INTO|UPDATE|DELETE\s+FROM)\s+([\w.]+)")
