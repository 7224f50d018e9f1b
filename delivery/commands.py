"""HTTP commands: those that wait are gathered into one transaction, and each caller gets its own answer, once."""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import asyncpg
import orjson
import structlog
from fastapi import Depends, Header, Request, Response
from opentelemetry.trace import SpanKind
from pydantic import BaseModel

from delivery.chunks import Clock, causes_of, with_traceparent
from delivery.database import NewRows, Pool, transaction, transaction_by_key, write_together
from delivery.envelope import Envelope, new_id
from delivery.failures import is_slow_down
from delivery.handling import Announcement, CommandHandler, EventLike, Said, Work, locked
from delivery.outbox import Speaker
from delivery.problems import MEDIA_TYPE, FieldProblem, Problem
from delivery.security import Person, requires
from delivery.telemetry import Metrics, Tracing, end_failed, logged_under, traceparent_of

_log = structlog.get_logger("delivery.commands")

_GROUP = 64
_TRIES = 5
_LATELY_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command's caller gets, and what others are told. Kept with its `Idempotency-Key`."""

    body: BaseModel | Mapping[str, Any] | Sequence[Any] | None = None
    status: int = 200
    says: Sequence[Announcement] = ()
    media_type: str = "application/json"

    def content(self) -> bytes:
        """The body as it is sent."""
        if self.body is None:
            return b""
        if isinstance(self.body, BaseModel):
            return self.body.model_dump_json().encode()
        return orjson.dumps(self.body, default=_jsonable)


def _jsonable(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return str(value)


def Refusal(  # noqa: N802 - it reads as what it makes
    status: int, code: str, detail: str, *, field: str | None = None, says: Sequence[Announcement] = ()
) -> Answer:
    """A business "no" as the answer: problem+json with a stable `code` and a `detail` that names value and limit.

    `field` names the one field that it is about, as `lines[0].quantity`, so that a program can mark it.
    """
    fields = [] if field is None else [FieldProblem(field=field, problem=detail)]
    refused = Problem(title="Refused", status=status, code=code, detail=detail, fields=fields)
    return Answer(refused, status, says, MEDIA_TYPE)


@dataclass(slots=True, eq=False)
class _Call:
    """One HTTP write that waits for its answer."""

    command: Any
    envelope: Envelope
    caller: str
    idempotency_key: str
    fingerprint: bytes
    keys: Sequence[str]
    answered: "asyncio.Future[_Given]" = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Given:
    """An answer as it goes out."""

    status: int
    media_type: str
    content: bytes
    again: bool


_Answers = dict[tuple[str, str], tuple[bytes, _Given]]
"""By caller and Idempotency-Key: what was asked, and the answer."""


class Gathering:
    """Runs commands: while one transaction is under way, those that arrive wait and share the next.

    Many callers on one item so cost one lock and one commit, not one each. Each kind of command has its own line.
    """

    def __init__(
        self,
        pool: Pool,
        handlers: Sequence[CommandHandler],
        speaker: Speaker,
        *,
        metrics: Metrics,
        tracing: Tracing,
        clock: Clock,
        said: Callable[[], None],
    ) -> None:
        self._pool = pool
        self._speaker = speaker
        self._metrics = metrics
        self._tracing = tracing
        self._clock = clock
        self._said = said
        self._handlers: dict[type, CommandHandler] = {}
        for handler in handlers:
            for command in getattr(handler, "commands", ()):
                if command in self._handlers:
                    raise ValueError(f"{command.__name__} has two handlers: one command, one handler")
                self._handlers[command] = handler
        self._waiting: dict[CommandHandler, list[_Call]] = {}
        self._running: dict[CommandHandler, asyncio.Task[None]] = {}
        self._called_at = float("-inf")

    def is_called(self) -> bool:
        """Whether somebody waits for an answer, or did a moment ago."""
        return time.monotonic() - self._called_at < _LATELY_SECONDS

    async def do(self, call: _Call) -> _Given:
        """Queue a call and wait for its answer."""
        self._called_at = time.monotonic()
        handler = self._handlers.get(type(call.command))
        if handler is None:
            raise LookupError(f"nobody does {type(call.command).__name__}")
        self._waiting.setdefault(handler, []).append(call)
        if handler not in self._running:
            self._running[handler] = asyncio.create_task(self._line(handler))
        return await asyncio.shield(call.answered)

    async def drain(self) -> None:
        """Wait until every call that was accepted is answered."""
        while self._running:
            await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _line(self, handler: CommandHandler) -> None:
        """Work off one line until it is empty."""
        try:
            while waiting := self._waiting.get(handler):
                group, self._waiting[handler] = waiting[:_GROUP], waiting[_GROUP:]
                await self._settle(handler, group)
        finally:
            del self._running[handler]

    async def _settle(self, handler: CommandHandler, group: Sequence[_Call]) -> None:
        """Give every call of a group an answer or an error; what fails together is tried one by one."""
        try:
            answers = await self._patiently(handler, group)
        except Exception as error:
            if len(group) > 1 and not is_slow_down(error):
                self._metrics.retries.labels("one_by_one").inc()
                for call in group:
                    await self._settle(handler, [call])
                return
            for call in group:
                if not call.answered.done():
                    call.answered.set_exception(error)
                    # A caller that went away never looks at it.
                    call.answered.exception()
            return
        for call, answer in zip(group, answers, strict=True):
            if not call.answered.done():
                call.answered.set_result(answer)

    async def _patiently(self, handler: CommandHandler, group: Sequence[_Call]) -> list[_Given]:
        """A few tries: a deadlock or a lost connection is no reason to send a caller away."""
        for attempt in range(1, _TRIES + 1):
            try:
                return await self._together(handler, group)
            except asyncpg.UniqueViolationError as error:
                # Another replica answered the same Idempotency-Key meanwhile: read its answer.
                if error.table_name != "answer" or attempt == _TRIES:
                    raise
            except Exception as error:
                if not is_slow_down(error) or attempt == _TRIES:
                    raise
                self._metrics.retries.labels("slow_down").inc()
                await asyncio.sleep(0.02 * 2**attempt)
        raise AssertionError("unreachable")

    async def _together(self, handler: CommandHandler, group: Sequence[_Call]) -> list[_Given]:
        """One transaction: earlier answers, then the handler, then outbox and answers."""
        spans = [
            self._tracing.begin(f"do {type(call.command).__name__}", SpanKind.INTERNAL, call.envelope.traceparent)
            for call in group
        ]
        try:
            async with transaction_by_key(self._pool) as db:
                work = Work(db, self._clock())
                given = await _begin(work, group)
                firsts = {
                    name: call for call in reversed(group) if (name := (call.caller, call.idempotency_key)) not in given
                }
                todo = [call for call in group if firsts.get((call.caller, call.idempotency_key)) is call]
                said: list[tuple[EventLike, Envelope]] = []
                if todo:
                    heard = []
                    for call in todo:
                        span = spans[group.index(call)]
                        envelope = with_traceparent(call.envelope, traceparent_of(span, call.envelope.traceparent))
                        work.know(call.command, envelope)
                        heard.append((call.command, envelope))
                    with logged_under(heard[0][1].traceparent if len(heard) == 1 else None):
                        answers = await handler(work, [call.command for call in todo])
                    if len(answers) != len(todo):
                        raise AssertionError(f"{handler} gave {len(answers)} answers to {len(todo)} commands")
                    for call, answer in zip(todo, answers, strict=True):
                        said += causes_of([_because(call, says) for says in answer.says], heard)
                    fresh = {
                        (call.caller, call.idempotency_key): (call.fingerprint, _first_given(answer))
                        for call, answer in zip(todo, answers, strict=True)
                    }
                    await self._speaker.say(work, said, beside=[_to_keep(fresh)])
                    self._metrics.count(self._metrics.said, (event.event_type for event, _ in said))
                    given |= fresh
        except BaseException as error:
            for span in spans:
                end_failed(span, error)
            raise
        for span in spans:
            if span is not None:
                span.end()
        self._metrics.command_group.observe(len(group))
        if said:
            self._said()
        return [_matching(call, given, fresh=call in todo) for call in group]


def _because(call: _Call, says: Announcement) -> Said:
    return says if isinstance(says, Said) else Said(says, call.command)


def _matching(call: _Call, given: _Answers, *, fresh: bool) -> _Given:
    """The answer of a call's Idempotency-Key, unless the key was used for something else."""
    fingerprint, answer = given[call.caller, call.idempotency_key]
    if fingerprint != call.fingerprint:
        return _reused(call.idempotency_key)
    return answer if fresh else _Given(answer.status, answer.media_type, answer.content, again=True)


def _reused(key: str) -> _Given:
    detail = f"Idempotency-Key {key!r} was used for another call: take a new key for a new call"
    other = Refusal(422, "idempotency_key_reused", detail, field="Idempotency-Key")
    return _Given(other.status, other.media_type, other.content(), again=False)


async def _begin(work: Work, group: Sequence[_Call]) -> _Answers:
    """Lock what the calls are about, and read the answers that some of them got before.

    One round trip. What another replica answered while this waited for a lock it does not see: keeping a second answer
    fails, and the group is tried again.
    """
    rows = await work.db.fetch(
        f"""
        WITH held AS MATERIALIZED ({locked(1)})
        SELECT answer.*
        FROM (SELECT count(*) FROM held) AS waited
        LEFT JOIN (unnest($2::text[], $3::text[]) AS asked (caller, idempotency_key)
                   JOIN delivery.answer USING (caller, idempotency_key)) ON true
        """,
        work.take_note(key for call in group for key in call.keys),
        [call.caller for call in group],
        [call.idempotency_key for call in group],
    )
    return {
        (row["caller"], row["idempotency_key"]): (
            row["fingerprint"],
            _Given(row["status"], row["media_type"], row["body"], again=True),
        )
        for row in rows
        if row["caller"] is not None
    }


def _first_given(answer: Answer) -> _Given:
    return _Given(answer.status, answer.media_type, answer.content(), again=False)


def _to_keep(fresh: _Answers) -> NewRows:
    return NewRows(
        "delivery.answer",
        _ANSWER_COLUMNS,
        [
            (*name, fingerprint, given.status, given.media_type, given.content)
            for name, (fingerprint, given) in fresh.items()
        ],
    )


_ANSWER_COLUMNS = {
    "caller": "text", "idempotency_key": "text", "fingerprint": "bytea", "status": "smallint", "media_type": "text",
    "body": "bytea",
}  # fmt: skip


class Desk:
    """Where an endpoint hands in a command for the person who calls."""

    def __init__(self, request: Request, person: Person, idempotency_key: str, correlation_id: str | None) -> None:
        self._request = request
        self.person = person
        self._idempotency_key = idempotency_key
        self._correlation_id = correlation_id

    async def do(self, command: Any, *, keys: Sequence[str] = ()) -> Response:
        """Have a command done, with `keys` locked, in one transaction; the answer is kept with its Idempotency-Key."""
        runtime = self._request.app.state.runtime
        await runtime.may_write()
        request_id = str(new_id())
        envelope = Envelope(
            event_id=request_id,
            type=f"http.{type(command).__name__}",
            source=f"batchwise/{runtime.service.name}",
            time=runtime.clock(),
            key="",
            correlation_id=self._correlation_id or request_id,
            actor=self.person.subject,
            traceparent=self._request.state.traceparent,
            person=self.person,
        )
        call = _Call(
            command=command,
            envelope=envelope,
            caller=self.person.subject,
            idempotency_key=self._idempotency_key,
            fingerprint=await self._fingerprint(),
            keys=keys,
            answered=asyncio.get_running_loop().create_future(),
        )
        return _response(await runtime.gathering.do(call))

    async def once(self, act: Callable[[], Awaitable[Answer]]) -> Response:
        """Have something done that makes transactions of its own (a replay), under the same promise of one answer.

        A crash after the act and before its answer is kept lets the same key act again: `act` must bear that.
        """
        runtime = self._request.app.state.runtime
        await runtime.may_write()
        caller, key = self.person.subject, self._idempotency_key
        fingerprint = await self._fingerprint()
        async with transaction(runtime.pool) as db:
            # This transaction only holds the key, silent for as long as `act` takes.
            await db.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            await Work(db, runtime.clock()).lock([f"answer {caller} {key}"])
            row = await db.fetchrow(
                "SELECT * FROM delivery.answer WHERE caller = $1 AND idempotency_key = $2", caller, key
            )
            if row is not None:
                kept = _Given(row["status"], row["media_type"], row["body"], again=True)
                return _response(kept if row["fingerprint"] == fingerprint else _reused(key))
            given = _first_given(await act())
            await write_together(db, [_to_keep({(caller, key): (fingerprint, given)})])
        runtime.relay.wake()
        return _response(given)

    async def _fingerprint(self) -> bytes:
        """SHA-256 of what makes two calls the same: method, path, query, body."""
        scope = self._request.scope
        asked = f"{scope['method']} {scope['path']}?{scope['query_string'].decode('latin-1')}\n".encode()
        return hashlib.sha256(asked + await self._request.body()).digest()


def _response(given: _Given) -> Response:
    headers = {"Idempotency-Replayed": "true"} if given.again else {}
    return Response(given.content, status_code=given.status, media_type=given.media_type, headers=headers)


def desk(*roles: str) -> Callable[..., Awaitable[Desk]]:
    """A dependency for writes: the caller holds one of `roles` and sends an `Idempotency-Key`."""
    allowed = requires(*roles)

    async def take(
        request: Request,
        person: Annotated[Person, Depends(allowed)],
        idempotency_key: Annotated[
            str,
            Header(
                alias="Idempotency-Key",
                min_length=1,
                max_length=200,
                pattern=r"^[!-~]+$",
                description="Chosen by the caller, new for each new call: the same key and body give the first answer "
                "again, the same key with another body is refused (422).",
                examples=["4f6e2f0e-8d0e-4a56-9b4c-0a3b0a4c8d11"],
            ),
        ],
        correlation_id: Annotated[
            str | None,
            Header(
                alias="X-Correlation-Id",
                max_length=100,
                pattern=r"^[!-~]+$",
                description="Goes with everything that comes of this call; without it the call gets one.",
            ),
        ] = None,
    ) -> Desk:
        return Desk(request, person, idempotency_key, correlation_id)

    take.allowed_roles = allowed.allowed_roles  # type: ignore[attr-defined]
    return take
