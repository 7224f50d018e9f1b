"""The outbox: announcements become rows of the transaction that decided them."""

from collections.abc import Mapping, Sequence

from delivery.database import columns
from delivery.envelope import Envelope, new_id
from delivery.handling import EventLike, Work

LARGEST_BODY = 900_000
"""Bytes of one event's JSON; the brokers take 1 MiB with headers."""

LARGEST_NAMES = 20_000
"""Bytes of an event's key, correlation, causation, actor and trace context together."""

CHANNEL = "delivery_outbox"
"""PostgreSQL notifies the relay here at commit."""


class Speaker:
    """Writes what a service says, under its name, on its own topics only."""

    def __init__(self, source: str, topics: Mapping[str, str]) -> None:
        self._source = source
        self._topics = topics

    async def say(self, work: Work, said: Sequence[tuple[EventLike, Envelope]]) -> None:
        """Put events with their causes in the outbox; their keys are locked first, so row order is commit order.

        Raises `ValueError` for an event of somebody else's topic or one that is too large.
        """
        rows = [self._row(event, cause) for event, cause in said]
        if not rows:
            return
        await work.lock(event.key for event, _ in said)
        await work.db.execute(
            f"""
            WITH put AS (
                INSERT INTO delivery.outbox (topic, key, event_id, event_type, said_at, correlation_id, causation_id,
                                             actor, traceparent, body)
                SELECT topic, key, event_id, event_type, $11, correlation_id, causation_id, actor, traceparent, body
                FROM unnest($1::text[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[],
                            $8::text[], $9::bytea[], $10::int[])
                     AS r (topic, key, event_id, event_type, correlation_id, causation_id, actor, traceparent, body, n)
                ORDER BY n
                RETURNING id
            )
            SELECT pg_notify('{CHANNEL}', max(id)::text) FROM put
            """,
            *columns(((*row, n) for n, row in enumerate(rows)), 10),
            work.now,
        )

    def _row(self, event: EventLike, cause: Envelope) -> tuple[object, ...]:
        topic = self._topics.get(event.event_type)
        if topic is None:
            raise ValueError(f"{self._source} may not say {event.event_type!r}: it owns {sorted(set(self._topics))}")
        body = event.write()
        if len(body) > LARGEST_BODY:
            raise ValueError(
                f"{event.event_type} of key {event.key!r} has {len(body)} bytes: at most {LARGEST_BODY} fit on a topic"
            )
        named = (event.key, cause.correlation_id, cause.event_id, cause.actor, cause.traceparent)
        size = sum(len((name or "").encode()) for name in named)
        if size > LARGEST_NAMES:
            raise ValueError(f"{event.event_type}: key and origin have {size} bytes: at most {LARGEST_NAMES} fit")
        return (
            topic,
            event.key,
            new_id(),
            event.event_type,
            cause.correlation_id,
            cause.event_id,
            cause.actor,
            cause.traceparent,
            body,
        )
