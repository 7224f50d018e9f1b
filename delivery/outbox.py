"""The outbox: announcements become rows of the transaction that decided them."""

import datetime as dt
from collections.abc import Mapping, Sequence

from delivery.database import NewRows, Write, write_together
from delivery.envelope import Envelope, new_id
from delivery.handling import EventLike, Work
from delivery.turns import in_turns

LARGEST_BODY = 900_000
"""Bytes of one event's JSON; the brokers take 1 MiB with headers."""

LARGEST_NAMES = 20_000
"""Bytes of an event's key, correlation, causation, actor and trace context together."""

CHANNEL = "delivery_outbox"
"""Where a process whose own relay is not the active one wakes the one that is."""

_COLUMNS = {
    "topic": "text", "key": "text", "event_id": "uuid", "event_type": "text", "said_at": "timestamptz",
    "correlation_id": "text", "causation_id": "text", "actor": "text", "traceparent": "text", "body": "bytea",
}  # fmt: skip


class Speaker:
    """Writes what a service says, under its name, on its own topics only."""

    def __init__(self, source: str, topics: Mapping[str, str]) -> None:
        self._source = source
        self._topics = topics

    async def say(
        self, work: Work, said: Sequence[tuple[EventLike, Envelope]], *, beside: Sequence[Write | NewRows] = ()
    ) -> None:
        """Put events with their causes in the outbox; their keys are locked first, so row order is commit order.

        What `work` left to be written at its end goes along, and what is to be written `beside`. Raises `ValueError`
        for an event of somebody else's topic or one that is too large.
        """
        rows = [self._row(event, cause, work.now) async for event, cause in in_turns(said)]
        if rows:
            await work.lock({event.key for event, _ in said})
        await write_together(work.db, [NewRows("delivery.outbox", _COLUMNS, rows), *work.take_at_end(), *beside])

    def _row(self, event: EventLike, cause: Envelope, now: dt.datetime) -> tuple[object, ...]:
        topic = self._topics.get(event.event_type)
        if topic is None:
            raise ValueError(f"{self._source} may not say {event.event_type!r}: it owns {sorted(set(self._topics))}")
        key = event.key
        body = event.write()
        if len(body) > LARGEST_BODY:
            raise ValueError(
                f"{event.event_type} of key {key!r} has {len(body)} bytes: at most {LARGEST_BODY} fit on a topic"
            )
        names = (key, cause.correlation_id, cause.event_id, cause.actor, cause.traceparent)
        size = len("".join([name or "" for name in names]).encode())
        if size > LARGEST_NAMES:
            raise ValueError(f"{event.event_type}: key and origin have {size} bytes: at most {LARGEST_NAMES} fit")
        return (
            topic,
            key,
            new_id(),
            event.event_type,
            now,
            cause.correlation_id,
            cause.event_id,
            cause.actor,
            cause.traceparent,
            body,
        )
