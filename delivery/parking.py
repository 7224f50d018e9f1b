"""Parked messages: listed, inspected, replayed in order with what waits behind them, or discarded with a reason."""

import datetime as dt
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, Field

from delivery.chunks import Arrival, Chunks, Clock, Ears, Misunderstood, Position, Understood, hear_shared, storable
from delivery.commands import Answer, Desk, Refusal, desk
from delivery.database import Pool, transaction
from delivery.failures import is_slow_down
from delivery.handling import Work
from delivery.problems import problem, problem_responses
from delivery.security import Person, requires

SHOWN_BYTES = 100_000
"""Bytes of a body that are shown beside what is known of its message."""

_LISTED = """id, topic, partition, "offset", key, event_id, event_type, kind, error, attempts, parked_at, status,
             settled_at, settled_by, settled_why"""


class ParkedMessage(BaseModel):
    """A message that waits for a person, or waited."""

    id: int
    topic: str
    partition: int
    offset: int
    key: str | None
    event_id: str | None
    event_type: str | None
    kind: str = Field(description="malformed, never_works, bug, or behind (an earlier message of its key).")
    error: str
    attempts: int
    parked_at: dt.datetime
    status: str
    settled_at: dt.datetime | None
    settled_by: str | None
    settled_why: str | None


class ParkedWhole(ParkedMessage):
    """With its headers and body, as text where it is text."""

    headers: dict[str, str]
    body: str = Field(description=f"Its first {SHOWN_BYTES:,} bytes; `GET /parked/{{parked_id}}/body` gives them all.")
    body_bytes: int = Field(description="How many bytes the whole body has.")
    edited_body: str | None
    waiting_behind: int


class Replayed(BaseModel):
    """What a replay did."""

    replayed: list[int] = Field(description="Took effect now, in this order.")
    still_parked: int | None = Field(description="The message that failed again; what is behind it waits.")
    error: str | None


ParkedId = Annotated[int, Path(ge=1, le=2**62, description="The message's number, as the list shows it.")]


class NotParked(LookupError):
    """There is no such parked message, or another one of its key comes first."""


class Parking:
    """What an operator can do with parked messages."""

    def __init__(self, pool: Pool, ears: Ears, chunks: Chunks, clock: Clock) -> None:
        self._pool = pool
        self._ears = ears
        self._chunks = chunks
        self._clock = clock

    async def listed(self, *, status: str = "parked", after: int = 0, limit: int = 100) -> list[ParkedMessage]:
        """Parked messages by id."""
        # Without headers and bodies: a page of large ones would not fit into memory.
        rows = await self._pool.fetch(
            f"SELECT {_LISTED} FROM delivery.parked WHERE status = $1 AND id > $2 ORDER BY id LIMIT $3",
            status,
            after,
            limit,
        )
        return [ParkedMessage.model_validate(dict(row)) for row in rows]

    async def whole(self, parked_id: int) -> ParkedWhole:
        """One message with everything known of it. Raises `NotParked`."""
        row = await self._pool.fetchrow(
            f"""
            SELECT {_LISTED}, headers, substring(body FOR $2) AS body, octet_length(body) AS body_bytes, edited_body,
                   (SELECT count(*) FROM delivery.parked AS other
                    WHERE other.status = 'parked' AND other.topic = parked.topic AND other.key = parked.key
                      AND other.id > parked.id) AS waiting_behind
            FROM delivery.parked WHERE id = $1
            """,
            parked_id,
            SHOWN_BYTES,
        )
        if row is None:
            raise NotParked(f"no message {parked_id} was ever parked here")
        known = dict(row)
        for name in ("body", "edited_body"):
            known[name] = None if known[name] is None else known[name].decode("utf-8", "backslashreplace")
        return ParkedWhole.model_validate(known)

    async def body(self, parked_id: int) -> bytes:
        """The whole body as it came. Raises `NotParked`."""
        found: bytes | None = await self._pool.fetchval("SELECT body FROM delivery.parked WHERE id = $1", parked_id)
        if found is None:
            raise NotParked(f"no message {parked_id} was ever parked here")
        return found

    async def replay(self, parked_id: int, *, by: str, edited: bytes | None = None) -> Replayed:
        """Let a message take effect now, then those parked behind it, in order, each in its own transaction.

        `edited` replaces the body of the first one; the body that came is kept beside it. Stops at the first failure.
        Raises `NotParked` when it is not parked, or not the first of its key.
        """
        replayed: list[int] = []
        following: int | None = parked_id
        while following is not None:
            current = following
            try:
                following = await self._replay_one(current, by=by, edited=edited if current == parked_id else None)
            except NotParked:
                raise
            except Exception as error:
                if is_slow_down(error):
                    raise
                reason = storable(f"{type(error).__name__}: {error}"[:4000])
                await self._pool.execute(
                    """
                    UPDATE delivery.parked
                    SET attempts = attempts + 1, error = $2, kind = CASE kind WHEN 'behind' THEN 'bug' ELSE kind END
                    WHERE id = $1 AND status = 'parked'
                    """,
                    current,
                    reason,
                )
                return Replayed(replayed=replayed, still_parked=current, error=reason)
            replayed.append(current)
        return Replayed(replayed=replayed, still_parked=None, error=None)

    async def _replay_one(self, parked_id: int, *, by: str, edited: bytes | None) -> int | None:
        """One message; returns the next one of its key."""
        async with transaction(self._pool) as db:
            work = Work(db, self._clock())
            await hear_shared(work)
            row = await self._first_of_its_key(work, parked_id)
            arrival = Arrival(
                Position(row["topic"], row["partition"], row["offset"]),
                None if row["key"] is None else row["key"].encode(),
                row["headers"],
                row["body"] if edited is None else edited,
            )
            found = self._ears.understand(arrival)
            if isinstance(found, Misunderstood):
                raise ValueError(found.error)
            if isinstance(found, Understood) and await self._is_first(work, found, row["kind"]):
                await self._chunks.handle(work, [found])
            await db.execute(
                """
                UPDATE delivery.parked
                SET status = 'replayed', settled_at = $2, settled_by = $3, edited_body = $4, attempts = attempts + 1
                WHERE id = $1
                """,
                parked_id,
                work.now,
                by,
                edited,
            )
            if row["key"] is None:
                return None
            following: int | None = await db.fetchval(
                "SELECT min(id) FROM delivery.parked WHERE status = 'parked' AND topic = $1 AND key = $2",
                row["topic"],
                row["key"],
            )
            return following

    @staticmethod
    async def _is_first(work: Work, found: Understood, kind: str) -> bool:
        """Whether an event that is understood by now has not taken effect, and will not, by another delivery of it.

        What was understood when it was parked has its own place in the inbox; what was malformed takes it now.
        """
        if kind != "malformed":
            return True
        first = await work.db.fetchval(
            "INSERT INTO delivery.inbox (event_id) VALUES ($1) ON CONFLICT DO NOTHING RETURNING event_id",
            found.envelope.inbox_id,
        )
        return first is not None

    async def discard(self, parked_id: int, *, by: str, why: str) -> None:
        """Give a message up, with a reason; it stays readable. What waits behind it can then be replayed.

        Raises `NotParked` when it is not parked, or not the first of its key.
        """
        async with transaction(self._pool) as db:
            work = Work(db, self._clock())
            await self._first_of_its_key(work, parked_id)
            await db.execute(
                """
                UPDATE delivery.parked SET status = 'discarded', settled_at = $2, settled_by = $3, settled_why = $4
                WHERE id = $1
                """,
                parked_id,
                work.now,
                by,
                why,
            )

    async def _first_of_its_key(self, work: Work, parked_id: int) -> Any:
        """The row, with its key locked against the consumer."""
        key = await work.db.fetchval("SELECT key FROM delivery.parked WHERE id = $1", parked_id)
        if key is not None:
            await work.lock([key])
        row = await work.db.fetchrow(
            """
            SELECT parked.*,
                   (SELECT min(id) FROM delivery.parked AS other
                    WHERE other.status = 'parked' AND other.topic = parked.topic AND other.key = parked.key) AS first_id
            FROM delivery.parked WHERE id = $1 FOR UPDATE OF parked
            """,
            parked_id,
        )
        if row is None:
            raise NotParked(f"no message {parked_id} was ever parked here")
        if row["status"] != "parked":
            raise NotParked(f"message {parked_id} was {row['status']} already, by {row['settled_by']}")
        if row["first_id"] is not None and row["first_id"] != parked_id:
            raise NotParked(
                f"message {parked_id} waits behind message {row['first_id']} of its key {row['key']!r}: "
                "settle that first"
            )
        return row


class ReplayParked(BaseModel):
    """How to replay."""

    body: str | None = Field(
        default=None,
        max_length=900_000,
        description="Replaces the body that came; kept beside it. Absent: as it came.",
        examples=['{"name": "great bell", "n": 3}'],
    )


class DiscardParked(BaseModel):
    """Why a message is given up."""

    reason: str = Field(min_length=3, max_length=400, examples=["test message of the MES vendor, confirmed by phone"])


def parking_router() -> APIRouter:
    """The HTTP side, for operators: supervisors and administrators; auditors may read."""
    router = APIRouter(prefix="/parked", tags=["parked messages"])
    read = requires("supervisor", "auditor")

    async def parking(request: Request) -> Parking:
        found: Parking = request.app.state.runtime.parking
        return found

    @router.get("", responses=problem_responses(401, 403, 422))
    async def list_parked(
        place: Annotated[Parking, Depends(parking)],
        _person: Annotated[Person, Depends(read)],
        status: Annotated[Literal["parked", "replayed", "discarded"], Query(description="How they stand.")] = "parked",
        after: Annotated[int, Query(ge=0, le=2**62, description="The last id of the page before.")] = 0,
        limit: Annotated[int, Query(ge=1, le=500, description="How many at most.")] = 100,
    ) -> list[ParkedMessage]:
        """Messages that wait for a person, oldest first."""
        return await place.listed(status=status, after=after, limit=limit)

    @router.get("/{parked_id}", responses=problem_responses(401, 403, 404, 422))
    async def inspect_parked(
        parked_id: ParkedId,
        place: Annotated[Parking, Depends(parking)],
        _person: Annotated[Person, Depends(read)],
    ) -> ParkedWhole:
        """One message with its headers, body and error."""
        try:
            return await place.whole(parked_id)
        except NotParked as error:
            raise problem(404, "not_parked", str(error), field="parked_id") from None

    @router.get(
        "/{parked_id}/body",
        response_class=Response,
        responses={
            200: {
                "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
                "description": "The bytes.",
            },
            **problem_responses(401, 403, 404, 422),
        },
    )
    async def body_of_parked(
        parked_id: ParkedId,
        place: Annotated[Parking, Depends(parking)],
        _person: Annotated[Person, Depends(read)],
    ) -> Response:
        """The whole body of one message, byte by byte as it came."""
        try:
            return Response(await place.body(parked_id), media_type="application/octet-stream")
        except NotParked as error:
            raise problem(404, "not_parked", str(error), field="parked_id") from None

    @router.post("/{parked_id}/replay", response_model=Replayed, responses=problem_responses(401, 403, 409, 422))
    async def replay_parked(
        parked_id: ParkedId,
        how: ReplayParked,
        place: Annotated[Parking, Depends(parking)],
        at: Annotated[Desk, Depends(desk("supervisor"))],
    ) -> Response:
        """Let it take effect now, then what waits behind it."""
        edited = None if how.body is None else how.body.encode()

        async def act() -> Answer:
            try:
                return Answer(await place.replay(parked_id, by=at.person.subject, edited=edited))
            except NotParked as error:
                return Refusal(409, "not_parked", str(error), field="parked_id")

        return await at.once(act)

    @router.post("/{parked_id}/discard", status_code=204, responses=problem_responses(401, 403, 409, 422))
    async def discard_parked(
        parked_id: ParkedId,
        why: DiscardParked,
        place: Annotated[Parking, Depends(parking)],
        at: Annotated[Desk, Depends(desk("supervisor"))],
    ) -> Response:
        """Give it up, with a reason; it stays readable."""

        async def act() -> Answer:
            try:
                await place.discard(parked_id, by=at.person.subject, why=why.reason)
            except NotParked as error:
                return Refusal(409, "not_parked", str(error), field="parked_id")
            return Answer(status=204)

        return await at.once(act)

    return router
