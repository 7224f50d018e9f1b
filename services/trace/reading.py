"""How reads are answered: in one snapshot where numbers must agree, and written in one go."""

import csv
import io
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import orjson
from fastapi import Response

from delivery import Connection, Pool

READERS = ("operator", "inspector", "supervisor", "planner", "quality", "auditor")
"""Who may read traces and recalls."""


@asynccontextmanager
async def snapshot(pool: Pool) -> AsyncIterator[Connection]:
    """A connection on which every statement sees the same moment."""
    async with pool.acquire(timeout=10) as db, db.transaction(isolation="repeatable_read", readonly=True):
        yield db


def answer(body: Any) -> Response:
    """A body as JSON: dates, times (UTC, `Z`) and UUIDs as text."""
    return Response(orjson.dumps(body, default=str, option=orjson.OPT_UTC_Z), media_type="application/json")


def as_csv(rows: Iterable[dict[str, Any]], names: tuple[str, ...], filename: str) -> Response:
    """Rows as CSV (RFC 4180, UTF-8), one column per name.

    A text that a spreadsheet would run as a formula gets an apostrophe in front.
    """
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(names)
    writer.writerows([_cell(row[name]) for name in names] for row in rows)
    return Response(
        written.getvalue(),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{filename}"'},
    )


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text
