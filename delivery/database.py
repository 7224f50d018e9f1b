"""The database of a service: one pool, its codecs, and time-outs that keep a frozen process from blocking others."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

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


def columns(rows: Iterable[Sequence[Any]], width: int) -> list[list[Any]]:
    """Turn rows into `width` columns for `unnest`; no rows give `width` empty columns."""
    turned = [list(column) for column in zip(*rows, strict=True)]
    return turned or [[] for _ in range(width)]
