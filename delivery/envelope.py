"""The envelope of an event: CloudEvents 1.0 in Kafka's binary mode, and what identifies it in an inbox."""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple, cast
from uuid import NAMESPACE_URL, UUID, uuid5

import uuid_utils
from asyncpg.pgproto import pgproto

if TYPE_CHECKING:
    from delivery.security import Person


def new_id() -> UUID:
    """A UUIDv7: unique, and growing with time."""
    return _uuid(uuid_utils.uuid7().bytes)


# The database driver's own kind of UUID, which is several times cheaper to make.
_uuid = cast("Callable[[str | bytes], UUID]", pgproto.UUID)


class Envelope(NamedTuple):
    """Who said what, when, and because of what. Also stands for the HTTP call or the watch that caused something.

    `correlation_id` is that of the first cause; `causation_id` names the direct one; `actor` is the person or service
    that the fact is owed to; `traceparent` is W3C trace context. `person` is set for HTTP calls only.
    """

    event_id: str
    type: str
    source: str
    time: dt.datetime
    key: str
    correlation_id: str
    causation_id: str | None = None
    actor: str | None = None
    traceparent: str | None = None
    person: "Person | None" = None

    @property
    def inbox_id(self) -> UUID:
        """What the inbox remembers: the event's own id, or a stable one made from source and id."""
        try:
            return _uuid(self.event_id)
        except ValueError:
            return self._other_inbox_id()

    def _other_inbox_id(self) -> UUID:
        """Of an id that is a UUID in a form that only Python knows (in braces, say), or none at all."""
        try:
            return UUID(self.event_id)
        except ValueError:
            return uuid5(NAMESPACE_URL, f"{self.source}#{self.event_id}")

    def headers(self) -> list[tuple[str, bytes]]:
        """The Kafka headers of this envelope."""
        headers = [
            _SPECIFICATION,
            ("ce_id", self.event_id.encode()),
            ("ce_source", self.source.encode()),
            ("ce_type", self.type.encode()),
            ("ce_time", self.time.isoformat().encode()),
            ("ce_subject", self.key.encode()),
            ("ce_correlationid", self.correlation_id.encode()),
        ]
        if self.causation_id is not None:
            headers.append(("ce_causationid", self.causation_id.encode()))
        if self.actor is not None:
            headers.append(("ce_actor", self.actor.encode()))
        if self.traceparent is not None:
            headers.append(("traceparent", self.traceparent.encode()))
        headers.append(_CONTENT_TYPE)
        return headers


_SPECIFICATION = ("ce_specversion", b"1.0")
_CONTENT_TYPE = ("content-type", b"application/json")


class NotAnEnvelope(ValueError):
    """The headers are not a CloudEvent's; the text names the header and what is wrong with it."""


def text_headers(headers: Iterable[tuple[str, bytes | None]]) -> dict[str, str]:
    """Headers as text; bytes that are no UTF-8 are kept visible (`\\xff`), so that nothing is lost by reading."""
    return {name: (value or b"").decode("utf-8", "backslashreplace") for name, value in headers}


LONGEST_HEADER = 2_000
"""Characters of a header that is kept with what it caused."""

_KEPT = ("ce_id", "ce_source", "ce_type", "ce_correlationid", "ce_causationid", "ce_actor", "traceparent")
_YEARS = range(2, 9999)
"""A moment within them has a date in every time zone."""


def is_kept(header: str) -> bool:
    """Whether a database can hold a header, and what it causes can carry it on."""
    return len(header) <= LONGEST_HEADER and "\x00" not in header


def read_envelope(headers: Mapping[str, str], key: bytes | None) -> Envelope:
    """The envelope in a record's headers.

    Raises `NotAnEnvelope` naming the missing or malformed header.
    """
    for name in ("ce_id", "ce_source", "ce_type", "ce_time"):
        if not headers.get(name):
            raise NotAnEnvelope(f"header {name!r} is missing: an event carries ce_id, ce_source, ce_type and ce_time")
    kept = [headers.get(name, "") for name in _KEPT]
    if not is_kept("".join(kept)):  # one look at all instead of one at each; only together they may be too long
        for name, header in zip(_KEPT, kept, strict=True):
            if not is_kept(header):
                raise NotAnEnvelope(
                    f"header {name!r} has {len(header)} characters, {header[:40]!r} …: "
                    f"at most {LONGEST_HEADER}, and no NUL"
                )
    said_at = headers["ce_time"]
    try:
        time = dt.datetime.fromisoformat(said_at)
    except ValueError:
        raise NotAnEnvelope(f"header 'ce_time' is {said_at[:80]!r}: not an RFC 3339 time") from None
    if time.tzinfo is None:
        raise NotAnEnvelope(f"header 'ce_time' is {said_at!r}: it has no offset from UTC")
    if time.year not in _YEARS:
        raise NotAnEnvelope(f"header 'ce_time' is {said_at!r}: the year must be {_YEARS[0]} to {_YEARS[-1]}")
    return Envelope(
        event_id=headers["ce_id"],
        type=headers["ce_type"],
        source=headers["ce_source"],
        time=time,
        key=(key or b"").decode("utf-8", "backslashreplace"),
        correlation_id=headers.get("ce_correlationid") or headers["ce_id"],
        causation_id=headers.get("ce_causationid"),
        actor=headers.get("ce_actor"),
        traceparent=headers.get("traceparent"),
    )
