"""How reads are answered: in one snapshot where numbers must agree, and written in one go."""

import base64
import csv
import datetime as dt
import io
from collections.abc import Iterable
from typing import Any

import orjson
from fastapi import Response
from pydantic import StringConstraints

from delivery.problems import problem

Readable = StringConstraints(pattern=r"^[^\x00]+$")
"""Any text that the database can hold: all characters but NUL."""

READERS = ("operator", "inspector", "supervisor", "planner", "quality", "auditor")
"""Who may read traces and recalls."""


def answer(body: Any) -> Response:
    """A body as JSON: dates, times (UTC, `Z`) and UUIDs as text."""
    return Response(orjson.dumps(body, default=str, option=orjson.OPT_UTC_Z), media_type="application/json")


def cursor_of(*parts: object) -> str:
    """Where a page ended, as one word that can stand in a URL as it is."""
    written = orjson.dumps([part.isoformat() if isinstance(part, dt.datetime) else str(part) for part in parts])
    return base64.urlsafe_b64encode(written).decode().rstrip("=")


def parts_of(after: str, width: int, what: str) -> list[str]:
    """The parts of a cursor. A problem (422) names what is not one."""
    try:
        parts: Any = orjson.loads(base64.urlsafe_b64decode(after + "=" * (-len(after) % 4)))
    except ValueError:
        parts = None
    texts = [part for part in parts if isinstance(part, str) and "\x00" not in part] if isinstance(parts, list) else []
    if len(texts) != width or len(parts) != width:
        raise no_cursor(after, what)
    return texts


def no_cursor(after: str, what: str) -> Exception:
    """The problem of an `after` that no page gave."""
    return problem(422, "invalid_request", f"after: {after!r} is not the `next` of a page of {what}", field="after")


def moment_of(text: str) -> dt.datetime:
    """A moment in a cursor; raises `ValueError`, also for one without an offset."""
    moment = dt.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no offset from UTC")
    return moment


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
