"""Raw messages from outside, each once."""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from delivery import Connection, columns


@dataclass(frozen=True, slots=True)
class RawMessage:
    """A message from outside, as it came, with what identifies it."""

    message_uid: UUID
    kind: str
    source: str
    message_id: str
    digest: bytes
    body: str
    via: str


class MessageStore:
    """Raw messages, each once."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    async def known(self, kind: str, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], tuple[UUID, bytes]]:
        """The id and digest of the messages among `(source, message_id)` that came before."""
        rows = await self._db.fetch(
            """
            SELECT raw_message.*
            FROM unnest($2::text[], $3::text[]) AS asked (source, message_id)
            JOIN raw_message ON raw_message.kind = $1 AND raw_message.source = asked.source
                            AND raw_message.message_id = asked.message_id
            """,
            kind,
            *columns(set(keys), 2),
        )
        return {(row["source"], row["message_id"]): (row["message_uid"], row["digest"]) for row in rows}

    async def keep(self, messages: Sequence[RawMessage], now: dt.datetime) -> None:
        """Keep messages for ever."""
        await self._db.execute(
            """
            INSERT INTO raw_message (message_uid, kind, source, message_id, digest, body, via, received_at)
            SELECT message_uid, kind, source, message_id, digest, body, via, $8
            FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::text[], $7::text[])
                 AS r (message_uid, kind, source, message_id, digest, body, via)
            ON CONFLICT (kind, source, message_id) DO NOTHING
            """,
            *columns(((m.message_uid, m.kind, m.source, m.message_id, m.digest, m.body, m.via) for m in messages), 7),
            now,
        )
