"""What a service wrote while something was measured: the rows of its tables by the transaction that wrote them last.

The database's own counters (`pg_stat_user_tables`) are told late by whoever is busy; the rows themselves are not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

_TABLES = """
    SELECT table_of.oid::regclass::text AS name,
           array_agg(quote_ident(attname) ORDER BY attnum) AS columns,
           array_agg(format_type(atttypid, NULL) ORDER BY attnum) AS kinds
    FROM pg_class AS table_of
    JOIN pg_attribute ON attrelid = table_of.oid AND attnum > 0 AND NOT attisdropped
                     AND attgenerated = '' AND attidentity = ''
    WHERE relkind = 'r' AND relnamespace IN ('public'::regnamespace, 'delivery'::regnamespace)
      AND table_of.oid <> 'delivery.outbox'::regclass
    GROUP BY table_of.oid
    HAVING NOT bool_or(format_type(atttypid, NULL) LIKE '%[]') -- items and sites, which are no load
    ORDER BY name
"""

_BETWEEN = "xmin::text::bigint > $1 AND xmin::text::bigint <= $2"


@dataclass(frozen=True, slots=True)
class Kept:
    """Rows of one table; `columns` are names with PostgreSQL types, without those that the database makes itself."""

    name: str
    columns: dict[str, str]
    rows: Sequence[Sequence[Any]]


async def moment(dsn: str) -> int:
    """Now, as `kept_between` takes it: a transaction's number."""
    database = await asyncpg.connect(dsn)
    try:
        return int(await database.fetchval("SELECT pg_current_xact_id()::text::bigint"))
    finally:
        await database.close()


async def kept_between(dsn: str, since: int, until: int) -> list[Kept]:
    """The rows last written between two moments; without announcements, which are gone when sent."""
    database = await asyncpg.connect(dsn)
    try:
        kept = []
        for table in await database.fetch(_TABLES):
            rows = await database.fetch(
                f"SELECT {', '.join(table['columns'])} FROM {table['name']} WHERE {_BETWEEN}", since, until
            )
            if rows:
                columns = dict(zip(table["columns"], table["kinds"], strict=True))
                kept.append(Kept(table["name"], columns, [tuple(row) for row in rows]))
        return kept
    finally:
        await database.close()


async def rows_between(dsn: str, since: int, until: int) -> int:
    """How many rows `kept_between` gives."""
    database = await asyncpg.connect(dsn)
    try:
        return sum(
            [
                await database.fetchval(f"SELECT count(*) FROM {table['name']} WHERE {_BETWEEN}", since, until)
                for table in await database.fetch(_TABLES)
            ]
        )
    finally:
        await database.close()
