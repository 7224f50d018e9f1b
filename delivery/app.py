"""A service: its handlers, its HTTP, its loops, composed the same way for everyone."""

import asyncio
import contextlib
import datetime as dt
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import structlog
from fastapi import APIRouter, FastAPI, Response
from fastapi.dependencies.models import Dependant
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest
from prometheus_client.registry import Collector
from pydantic_settings import BaseSettings
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from delivery import problems
from delivery.chunks import Chunks, Clock, Ears, causes_of, with_traceparent
from delivery.commands import Gathering
from delivery.consumer import Consumer
from delivery.database import Pool, open_pool, transaction, write_together
from delivery.envelope import Envelope, new_id
from delivery.failures import is_slow_down
from delivery.handling import Announcements, CommandHandler, EventHandler, Remembrance, TopicLike, Work
from delivery.limits import LARGEST_REQUEST, LONGEST_QUERY
from delivery.memory import Memory
from delivery.outbox import Speaker
from delivery.parking import Parking, parking_router
from delivery.rebuilding import Refold, Rehear
from delivery.relay import Relay
from delivery.security import Doorkeeper
from delivery.settings import Settings
from delivery.telemetry import Metrics, Pulses, Tracing, describe_http, followed, logged_under, traceparent_of

_log = structlog.get_logger("delivery.app")

_SURVEY_SECONDS = 10.0
_NOT_ASKED = "not asked yet"
_SILENT_SECONDS = 3.0
_ANSWER_SECONDS = 10.0
"""A call that lasts longer while the database does not answer is told to come again."""
_COMPARED_SECONDS = 3.0
"""How long a write waits for the comparison that every start begins with."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Something that time makes happen: `run` is called every `every()` seconds, by one replica at a time.

    Each call is one transaction; what it returns is announced. It must be able to catch up after any pause.
    """

    name: str
    every: Callable[[], float]
    run: Callable[[Work], Awaitable[Announcements]]


@dataclass(frozen=True, slots=True)
class Survey:
    """What a service's own tables tell its operators: every replica asks `query` now and then, outside of any work.

    It answers with one row; each column is shown by the gauge of its place. It must stay cheap however long the history
    is: count what is open, over an index that holds nothing else.
    """

    query: str
    gauges: Sequence[Gauge]

    async def take(self, db: Pool) -> None:
        """Ask, and show the answers; what is NULL counts as 0."""
        row = await db.fetchrow(self.query)
        for gauge, value in zip(self.gauges, row or (), strict=True):
            gauge.set(float(value or 0))


@dataclass(frozen=True, slots=True)
class Service:
    """What a service is made of. `topics` are all topics of the system; it speaks on those it owns.

    `gathers` are the seconds that the brokers may keep a message for it, so that it comes with those that follow: for
    one whom nobody waits for, since many small chunks cost others the processor. A queue is fetched at once.
    Of a long queue it takes up to `side_by_side` chunks at once, each of partitions of its own: one decides while the
    other waits for the database.
    `settings` are its own, beside `delivery.Settings`: they too are read from the environment, and refused at start.
    `metrics` are its own too, made with `registry=None`, and shown at `/metrics` beside those of the delivery layer;
    so are the gauges of its `survey`.
    `rebuilds` are what it derives, from its own history or from what others say, and can derive again.
    After a restore `takes_up` makes rows again of own events; `cannot_know` says in sentences what those do not tell.
    """

    name: str
    about: str
    package: str
    topics: Sequence[TopicLike]
    hears: Sequence[EventHandler] = ()
    does: Sequence[CommandHandler] = ()
    routers: Sequence[APIRouter] = ()
    watches: Sequence[Watch] = ()
    takes_up: Sequence[Remembrance] = ()
    rebuilds: Sequence[Refold | Rehear] = ()
    cannot_know: Sequence[str] = ()
    settings: Sequence[type[BaseSettings]] = ()
    gathers: float = 0.0
    side_by_side: int = 1
    metrics: Sequence[Collector] = ()
    survey: Survey | None = None

    @property
    def says(self) -> tuple[TopicLike, ...]:
        """The topics it owns."""
        return tuple(topic for topic in self.topics if topic.name.partition(".")[0] == self.name)

    @property
    def makes(self) -> tuple[TopicLike, ...]:
        """The topics that its migration creates: its own, and the foreign ones that it listens to."""
        foreign = [found for handler in self.hears if (found := getattr(handler, "foreign_topic", None)) is not None]
        return (*self.says, *dict.fromkeys(foreign))

    @property
    def role(self) -> str:
        """The least-privileged database role, unless the settings name another."""
        return f"batchwise_{self.name}"


class Runtime:
    """A service at work: its pool, its loops, and what its HTTP needs."""

    def __init__(
        self, service: Service, settings: Settings, *, clock: Clock, tracer_provider: TracerProvider | None
    ) -> None:
        self.service = service
        self.settings = settings
        self.clock = clock
        self.metrics = Metrics()
        for metric in dict.fromkeys((*service.metrics, *(service.survey.gauges if service.survey else ()))):
            self.metrics.registry.register(metric)
        self.pulses = Pulses()
        self.tracing = Tracing(service.name, tracer_provider)
        self.doorkeeper = Doorkeeper(settings)
        role = settings.database_role or service.role
        self.pool = open_pool(
            settings.database_dsn,
            role=role,
            name=service.name,
            size=settings.database_pool,
            transaction_idle_ms=settings.transaction_idle_ms,
        )
        self.memory = Memory(settings, service.says, service=service.name, metrics=self.metrics)
        self.relay = Relay(
            settings, service=service.name, role=role, memory=self.memory, metrics=self.metrics, pulses=self.pulses
        )
        speaker = Speaker(
            f"batchwise/{service.name}",
            {event.event_type: topic.name for topic in service.says for event in topic.events},
        )
        self._speaker = speaker
        ears = Ears(service.topics, service.hears)
        self.chunks = Chunks(
            self.pool,
            ears,
            speaker,
            metrics=self.metrics,
            tracing=self.tracing,
            clock=clock,
            parked_in_a_row=settings.parked_in_a_row,
            said=self.relay.wake,
        )
        self.consumer = Consumer(
            settings,
            self.chunks,
            ears.topics,
            service=service.name,
            memory=self.memory,
            metrics=self.metrics,
            pulses=self.pulses,
            gathers=service.gathers,
            side_by_side=service.side_by_side,
            people_wait=lambda: self.gathering.is_called(),
        )
        self.gathering = Gathering(
            self.pool,
            service.does,
            speaker,
            metrics=self.metrics,
            tracing=self.tracing,
            clock=clock,
            said=self.relay.wake,
        )
        self.parking = Parking(self.pool, ears, self.chunks, clock)
        self._stopping = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []
        self._consuming: asyncio.Task[None] | None = None
        self._database_problem: str | None = _NOT_ASKED
        self._database_asked_at: float | None = None
        self._watch_done_at: dict[str, float] = {}

    async def start(self) -> None:
        """Start the loops; none of them needs the database or the brokers to be there already."""
        await self.pool
        self._stopping.clear()
        self._watch_done_at = dict.fromkeys((watch.name for watch in self.service.watches), time.monotonic())
        for watch in self._watch_done_at:
            for outcome in ("done", "failed", "elsewhere"):
                self.metrics.watch_runs.labels(watch, outcome)
        loops = [self.relay.run(), self._look(), *(self._watch(watch) for watch in self.service.watches)]
        self.memory.doubt()
        loops.append(self.memory.watch(self.pool, self._stopping))
        self._loops = [asyncio.create_task(loop) for loop in loops]
        if self.service.survey is not None:
            self._loops.append(asyncio.create_task(self._look_around(self.service.survey)))
        if self.service.hears:
            self._consuming = asyncio.create_task(self.consumer.run())
            self._loops.append(self._consuming)

    async def stop(self) -> None:
        """Finish what is under way: the chunk, the commands, then what they announced; hand everything over."""
        self._stopping.set()
        self.consumer.stop()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.gathering.drain(), _ANSWER_SECONDS)
        if self._consuming is not None:
            await asyncio.wait({self._consuming}, timeout=_ANSWER_SECONDS)
        self.relay.stop()
        _done, late = await asyncio.wait(self._loops, timeout=15) if self._loops else (set(), set())
        for loop in late:
            loop.cancel()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.pool.close(), 3)
        self.tracing.shutdown()

    @property
    def database_answers(self) -> bool:
        """Whether the database answered when it was last asked, if it was."""
        return self._database_problem in (None, _NOT_ASKED)

    def not_ready(self) -> dict[str, str]:
        """What this service needs and waits for, by part; empty when it is ready."""
        return {part: why for part, why in self.waits_for().items() if part != "topics"}

    def waits_for(self) -> dict[str, str]:
        """What this service waits for, by part; it is ready without some of its `topics`."""
        return {part: why for part, why in self._parts().items() if why}

    def _parts(self) -> dict[str, str | None]:
        """Every part that it may wait for, with what is the matter."""
        parts = {"database": self._database_problem, "memory": self.memory.problem, "relay": self.relay.problem}
        if self.service.hears:
            parts["consumer"] = self.consumer.problem
            parts["topics"] = self.consumer.lacking
        return parts

    def exposition(self) -> bytes:
        """All metrics as Prometheus reads them; what is a state of this moment is looked at now."""
        metrics = self.metrics
        for part, why in self._parts().items():
            metrics.waiting_for.labels(part).set(bool(why))
        late = self.pulses.late()
        metrics.loop_late.clear()
        for loop in self.pulses.loops():
            metrics.loop_late.labels(loop).set(loop in late)
        now = time.monotonic()
        for watch, done_at in self._watch_done_at.items():
            metrics.watch_age.labels(watch).set(now - done_at)
        if self._database_asked_at is not None:
            # Still asking: what it took so far, or a silent database would look as quick as its last answer.
            metrics.database_seconds.set(now - self._database_asked_at)
        idle = self.pool.get_idle_size()
        metrics.database_connections.labels("busy").set(self.pool.get_size() - idle)
        metrics.database_connections.labels("idle").set(idle)
        metrics.database_limit.set(self.pool.get_max_size())
        return generate_latest(metrics.registry)

    async def may_write(self) -> None:
        """Raises a problem (503) while the database may not know what this service said before."""
        if self.memory.problem is not None:
            await self.memory.compared(within=_COMPARED_SECONDS)
        if (why := self.memory.problem) is not None:
            raise problems.problem(503, "database_incomplete", why)

    async def run_watch(self, watch: Watch) -> bool:
        """Run a watch once, now, in a transaction of its own; False when another replica is at it."""
        async with transaction(self.pool) as db:
            if not await db.fetchval("SELECT pg_try_advisory_xact_lock(hashtext($1))", f"batchwise.watch.{watch.name}"):
                return False
            work = Work(db, self.clock())
            run_id = str(new_id())
            envelope = Envelope(
                event_id=run_id,
                type=f"watch.{watch.name}",
                source=f"batchwise/{self.service.name}",
                time=work.now,
                key="",
                correlation_id=run_id,
                actor=f"batchwise/{self.service.name}",
                traceparent=followed(None),
            )
            work.know(watch, envelope)
            announcements = await watch.run(work)
            if announcements:
                # A watch that found nothing begins no trace: it runs all day.
                with self.tracing.within(f"watch {watch.name}", SpanKind.INTERNAL, None) as span:
                    envelope = with_traceparent(envelope, traceparent_of(span, envelope.traceparent))
                    await self._speaker.say(work, causes_of(announcements, [(watch, envelope)]))
            else:
                await write_together(db, work.take_at_end())
        self.relay.wake()
        return True

    async def _watch(self, watch: Watch) -> None:
        every = watch.every()
        while not self._stopping.is_set():
            self.pulses.beat(f"watch {watch.name}", within=every + 120)
            if self.memory.problem is not None:
                # What time makes happen, too, waits for a database that knows what was said before.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), min(every, 0.5))
                continue
            try:
                outcome = "done" if await self.run_watch(watch) else "elsewhere"
                if outcome == "done":
                    self._watch_done_at[watch.name] = time.monotonic()
            except Exception as error:
                outcome = "failed"
                level = _log.warning if is_slow_down(error) else _log.exception
                level("a watch failed; it catches up next time", watch=watch.name, error=repr(error))
            self.metrics.watch_runs.labels(watch.name, outcome).inc()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), every)
        self.pulses.forget(f"watch {watch.name}")

    async def _look_around(self, survey: Survey) -> None:
        """Now and then, show what the service's own tables tell."""
        while not self._stopping.is_set():
            self.pulses.beat("survey", within=_SURVEY_SECONDS + 120)
            try:
                await survey.take(self.pool)
            except Exception as error:
                level = _log.warning if is_slow_down(error) else _log.exception
                level("the survey failed: its metrics are old", error=repr(error))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _SURVEY_SECONDS)
        self.pulses.forget("survey")

    async def _look(self) -> None:
        """Once a second, see whether the database answers, and measure outbox and parked messages."""
        while not self._stopping.is_set():
            asking = asyncio.create_task(self._measure())
            self._database_asked_at = asked_at = time.monotonic()
            try:
                # Not a time-out around the question: a driver that gives up on a silent server takes long to clean up.
                while not (await asyncio.wait({asking}, timeout=_SILENT_SECONDS))[0]:
                    self._database_problem = f"no answer within {_SILENT_SECONDS:.0f} s"
                    if self._stopping.is_set():
                        return
                asking.result()
                self._database_problem = None
                self._database_asked_at = None
                self.metrics.database_seconds.set(time.monotonic() - asked_at)
            except Exception as error:
                self._database_problem = f"{type(error).__name__}: {error}"
            finally:
                asking.cancel()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), 1.0)

    async def _measure(self) -> None:
        row = await self.pool.fetchrow(
            """
            SELECT (SELECT count(*) FROM (SELECT FROM delivery.outbox LIMIT 100000) AS rows) AS outbox,
                   (SELECT coalesce(extract(epoch FROM clock_timestamp() - said_at), 0)::float8
                    FROM delivery.outbox ORDER BY id LIMIT 1) AS age,
                   waiting.parked, waiting.parked_age
            FROM (SELECT count(*) AS parked,
                         extract(epoch FROM clock_timestamp() - min(parked_at))::float8 AS parked_age
                  FROM delivery.parked WHERE status = 'parked') AS waiting
            """
        )
        self.metrics.outbox_rows.set(row["outbox"] if row else 0)
        self.metrics.outbox_age.set(max(0.0, (row["age"] if row else None) or 0.0))
        self.metrics.parked_open.set(row["parked"] if row else 0)
        self.metrics.parked_age.set(max(0.0, (row["parked_age"] if row else None) or 0.0))


class _Observed:
    """Around every HTTP call: a span, a metric, limits on body and time, and a problem instead of a bare 500."""

    def __init__(self, app: ASGIApp, runtime: Runtime) -> None:
        self._app = app
        self._runtime = runtime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        if not length.isdigit():
            await _no_length(length)(scope, receive, send)
            return
        if len(length) > 18 or int(length) > LARGEST_REQUEST:
            await _too_large()(scope, receive, send)
            return
        runtime = self._runtime
        status = 500
        answered = False
        given_up = False
        began = time.perf_counter()
        received = 0

        async def watched_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > LARGEST_REQUEST:
                # What FastAPI lets through while it reads a body; anything else becomes its own 400.
                raise HTTPException(413, f"the body has more than {LARGEST_REQUEST} bytes")
            return message

        async def watched_send(message: Message) -> None:
            nonlocal status, answered
            if given_up:
                return
            if message["type"] == "http.response.start":
                status, answered = message["status"], True
            await send(message)

        carried = headers.get(b"traceparent", b"").decode("ascii", "replace")
        name = f"{scope['method']} {scope['path']}"
        with (
            runtime.tracing.within(name, SpanKind.SERVER, carried) as span,
            logged_under(traceparent := traceparent_of(span, None) or followed(carried)),
        ):
            scope.setdefault("state", {})["traceparent"] = traceparent
            call = asyncio.ensure_future(self._app(scope, watched_receive, watched_send))
            try:
                while not (await asyncio.wait({call}, timeout=1.0))[0]:
                    if answered:
                        continue
                    lasted = time.perf_counter() - began
                    if lasted > _ANSWER_SECONDS and not runtime.database_answers:
                        _log.warning("a call met a database that is silent", call=name)
                        given_up, status = True, 503
                        await problems.away()(scope, receive, send)
                        return
                    if lasted > runtime.settings.answer_seconds:
                        _log.warning("a call took too long", call=name, seconds=round(lasted, 1))
                        given_up, status = True, 504
                        await problems.too_slow(runtime.settings.answer_seconds)(scope, receive, send)
                        return
                call.result()
            except Exception as error:
                if answered:
                    raise
                if is_slow_down(error):
                    _log.warning("a call met a database that is away", call=name, error=repr(error))
                    await problems.away()(scope, receive, watched_send)
                else:
                    _log.exception("a call failed", call=name)
                    await problems.fault()(scope, receive, watched_send)
            finally:
                # What it still waits for ends in its own time; nobody waits for it.
                call.cancel()
                call.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
                route = scope.get("route")
                path = getattr(route, "path", "unmatched")
                runtime.metrics.http_seconds.labels(scope["method"], path, status).observe(time.perf_counter() - began)
                if span is not None:
                    describe_http(span, scope["method"], route=path, path=scope["path"], status=status)


def _too_large() -> Response:
    refused = problems.problem(413, "too_large", f"the body has more than {LARGEST_REQUEST} bytes", field="body")
    return problems.problem_response(refused.problem)


def _no_length(given: bytes) -> Response:
    detail = f"header 'content-length' is {given[:40].decode('latin-1')!r}: a number of bytes is needed"
    return problems.problem_response(problems.problem(400, "bad_request", detail, field="Content-Length").problem)


def _utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def build(
    service: Service,
    settings: Settings,
    *,
    clock: Clock = _utc_now,
    tracer_provider: TracerProvider | None = None,
) -> FastAPI:
    """The whole service as an ASGI app; its `lifespan` starts and stops the loops. `app.state.runtime` is its Runtime.

    Raises `ValueError` when a route asks for no token.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await app.state.runtime.start()
        try:
            yield
        finally:
            await app.state.runtime.stop()

    app = FastAPI(
        title=f"Batchwise {service.name}",
        version="1.0",
        description=service.about,
        lifespan=lifespan,
        separate_input_output_schemas=False,
        docs_url=None,
        redoc_url=None,
    )
    app.state.runtime = runtime = Runtime(service, settings, clock=clock, tracer_provider=tracer_provider)
    problems.install(app)
    problems.describe(app, body_bytes=LARGEST_REQUEST, query_bytes=LONGEST_QUERY, seconds=settings.answer_seconds)
    routers = (*service.routers, parking_router())
    for router in routers:
        app.include_router(router)
    app.state.doors = doors = {door: roles for router in routers for door, roles in doors_of(router)}
    shown = {(method.upper(), path) for path, operations in app.openapi()["paths"].items() for method in operations}
    unprotected = sorted({door for door, roles in doors.items() if not roles} | (shown - doors.keys()))
    if unprotected:
        raise ValueError(f"{service.name}: these routes ask for no token: {unprotected}")
    app.openapi_schema = None
    app.include_router(_health_router(runtime))
    _show_docs(app)
    app.add_middleware(_Observed, runtime=runtime)
    return app


_PAGES = "/docs/files"


def _show_docs(app: FastAPI) -> None:
    """`/docs` and `/redoc`, with their scripts from a package: they open where the outside world cannot be reached."""
    document = app.openapi_url or ""

    @app.get("/docs", include_in_schema=False)
    async def swagger() -> Response:
        return get_swagger_ui_html(
            openapi_url=document,
            title=app.title,
            swagger_js_url=f"{_PAGES}/swagger-ui-bundle.js",
            swagger_css_url=f"{_PAGES}/swagger-ui.css",
            swagger_favicon_url=f"{_PAGES}/favicon.png",
        )

    @app.get("/redoc", include_in_schema=False)
    async def redoc() -> Response:
        return get_redoc_html(
            openapi_url=document,
            title=app.title,
            redoc_js_url=f"{_PAGES}/redoc.standalone.js",
            redoc_favicon_url=f"{_PAGES}/favicon.png",
            with_google_fonts=False,
        )

    app.mount(_PAGES, StaticFiles(packages=[("fastapi_offline", "static")]))


Door = tuple[str, str]
"""Method and path."""


def doors_of(router: APIRouter, prefix: str = "") -> Iterator[tuple[Door, frozenset[str]]]:
    """Every route below a router, with the roles that may pass; no roles where it asks for no token.

    FastAPI keeps an included router whole, so the walk goes down itself; what it might miss is found by comparing with
    the OpenAPI document.
    """
    found: list[Any] = list(router.routes)
    for route in found:
        if isinstance(route, APIRoute):
            for method in route.methods or ():
                yield (method, prefix + route.path), _roles_of(route.dependant)
        elif (inner := getattr(route, "original_router", None)) is not None:
            yield from doors_of(inner, prefix + route.include_context.prefix)


def _roles_of(dependant: Dependant) -> frozenset[str]:
    """The roles that pass every `requires(...)` and `desk(...)` among a route's dependencies."""
    own: frozenset[str] | None = getattr(dependant.call, "allowed_roles", None)
    inner = [roles for found in dependant.dependencies if (roles := _roles_of(found))]
    asked = inner if own is None else [own, *inner]
    return frozenset.intersection(*asked) if asked else frozenset()


def _health_router(runtime: Runtime) -> APIRouter:
    """For the platform, without a token: it says nothing about any business."""
    router = APIRouter(tags=["health"])

    @router.get("/health/live")
    async def live() -> Response:
        """Whether every loop moved lately; if not, restart this process."""
        late = runtime.pulses.late()
        return Response(
            orjson.dumps({"live": not late, "late_seconds": late}),
            status_code=503 if late else 200,
            media_type="application/json",
        )

    @router.get("/health/ready")
    async def ready() -> Response:
        """Whether this process can work, and if not, what it waits for."""
        ready = not runtime.not_ready()
        return Response(
            orjson.dumps({"ready": ready, "waits_for": runtime.waits_for()}),
            status_code=200 if ready else 503,
            media_type="application/json",
        )

    @router.get("/metrics")
    async def metrics() -> Response:
        """Prometheus metrics."""
        return Response(runtime.exposition(), media_type=CONTENT_TYPE_LATEST)

    return router
