"""What operators see: one vocabulary of metrics, traces that cross the outbox, structured logs, and pulses."""

import collections
import logging
import os
import random
import re
import sys
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import structlog
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_EXPORTING = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

# When each counter began is a third of all series, and nobody asks for it.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """Every metric that the delivery layer keeps. Services add their own to `registry`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        ProcessCollector(registry=r)
        self.heard = Counter("delivery_events_heard", "Events that took effect.", ["type"], registry=r)
        self.dropped = Counter("delivery_events_dropped", "Events already in the inbox.", registry=r)
        self.ignored = Counter("delivery_events_ignored", "Events of types not heard here.", ["type"], registry=r)
        self.said = Counter("delivery_events_said", "Events written to the outbox.", ["type"], registry=r)
        self.sent = Counter("delivery_events_sent", "Events that the brokers have.", registry=r)
        self.parked = Counter("delivery_events_parked", "Messages parked, by kind.", ["kind"], registry=r)
        self.parked_open = Gauge("delivery_parked_open", "Messages that wait for a person.", registry=r)
        self.parked_age = Gauge("delivery_parked_age_seconds", "Age of the oldest such message.", registry=r)
        self.outbox_rows = Gauge("delivery_outbox_rows", "Announcements not yet on their topic.", registry=r)
        self.outbox_age = Gauge("delivery_outbox_age_seconds", "Age of the oldest such announcement.", registry=r)
        self.lag = Gauge("delivery_consumer_lag", "Messages not yet read.", ["topic", "partition"], registry=r)
        self.chunk_records = Histogram(
            "delivery_chunk_records", "Messages per chunk.", buckets=(1, 5, 20, 100, 250, 500, 1000), registry=r
        )
        self.chunk_seconds = Histogram("delivery_chunk_seconds", "Time of a chunk.", buckets=_SECONDS, registry=r)
        self.retries = Counter("delivery_retries", "Transactions tried again, by why.", ["why"], registry=r)
        self.relay_active = Gauge("delivery_relay_active", "1 where this process moves the outbox.", registry=r)
        self.relay_refused = Gauge(
            "delivery_relay_refused_keys", "Keys that wait since the brokers refuse an announcement.", registry=r
        )
        self.heard_again = Counter(
            "delivery_events_heard_again",
            "Messages that the group had acknowledged and the database does not know: read again.",
            registry=r,
        )
        self.database_older = Gauge(
            "delivery_database_older", "1 while the database does not remember what its service said.", registry=r
        )
        self.consumer_stopped = Gauge("delivery_consumer_stopped", "1 when too many were parked in a row.", registry=r)
        self.waiting_for = Gauge(
            "delivery_waiting_for",
            "1 for each part that this process waits for: it is not ready.",
            ["what"],
            registry=r,
        )
        self.loop_late = Gauge(
            "delivery_loop_late", "1 for each loop that did not move as it promised: not alive.", ["loop"], registry=r
        )
        self.watch_runs = Counter(
            "delivery_watch_runs", "Runs of a watch: done, failed, or elsewhere.", ["watch", "outcome"], registry=r
        )
        self.watch_age = Gauge(
            "delivery_watch_age_seconds", "Since a watch was last done by this process.", ["watch"], registry=r
        )
        self.database_seconds = Gauge(
            "delivery_database_answer_seconds", "How long the database took to answer when last asked.", registry=r
        )
        self.database_connections = Gauge(
            "delivery_database_connections", "Connections of the pool: busy or idle.", ["state"], registry=r
        )
        self.database_limit = Gauge(
            "delivery_database_connections_limit", "Connections that the pool may have.", registry=r
        )
        self.command_group = Histogram(
            "delivery_command_group", "Commands per transaction.", buckets=(1, 2, 4, 8, 16, 32, 64), registry=r
        )
        self.http_seconds = Histogram(
            "http_request_seconds", "Time of an HTTP call.", ["method", "route", "status"], buckets=_SECONDS, registry=r
        )

    @staticmethod
    def count(counter: Counter, labels: Iterable[str]) -> None:
        """Add one to `counter` for each of `labels`."""
        for label, times in collections.Counter(labels).items():
            counter.labels(label).inc(times)


class Pulses:
    """Liveness means that the loops moved, not that the process is up."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, float]] = {}

    def beat(self, name: str, *, within: float) -> None:
        """Loop `name` moved, and promises to move again `within` seconds."""
        self._last[name] = (time.monotonic(), within)

    def forget(self, name: str) -> None:
        """Loop `name` ended as it should."""
        self._last.pop(name, None)

    def loops(self) -> list[str]:
        """The loops that promised to move."""
        return list(self._last)

    def late(self) -> dict[str, float]:
        """The loops that did not keep their promise, with the seconds since they last moved."""
        now = time.monotonic()
        return {name: round(now - last, 1) for name, (last, within) in self._last.items() if now - last > within}


class Tracing:
    """Spans that carry on the trace of what caused them; costs nothing while no exporter is set."""

    def __init__(self, service: str, provider: TracerProvider | None = None) -> None:
        if provider is None and any(os.environ.get(name) for name in _EXPORTING):
            about = {
                "service.name": service,
                "service.namespace": "batchwise",
                "service.instance.id": str(uuid.uuid4()),
            }
            provider = TracerProvider(resource=Resource.create(about))
            provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._provider = provider
        self._tracer = provider.get_tracer("batchwise.delivery") if provider else None

    def begin(
        self, name: str, kind: SpanKind, traceparent: str | None, attributes: Mapping[str, str | int] | None = None
    ) -> Span | None:
        """Start a span below `traceparent` (a new trace where there is none); None while tracing is off."""
        if self._tracer is None:
            return None
        return self._tracer.start_span(
            name, context=_context(traceparent), kind=kind, attributes=dict(attributes or {})
        )

    def begin_hearing(
        self, event_type: str, event_id: str, key: str, traceparent: str | None, topic: str, partition: int, offset: int
    ) -> Span | None:
        """Start the span of one message that is handled, below what caused it to be said."""
        if self._tracer is None:
            return None
        attributes: dict[str, str | int] = {
            "messaging.system": "kafka",
            "messaging.operation.type": "process",
            "messaging.operation.name": "hear",
            "messaging.destination.name": topic,
            "messaging.destination.partition.id": str(partition),
            "messaging.kafka.offset": offset,
            "messaging.kafka.message.key": key,
            "messaging.message.id": event_id,
        }
        return self.begin(f"hear {event_type}", SpanKind.CONSUMER, traceparent, attributes)

    @contextmanager
    def within(
        self, name: str, kind: SpanKind, traceparent: str | None, attributes: Mapping[str, str | int] | None = None
    ) -> Iterator[Span | None]:
        """As `begin`, current for the block and ended after it."""
        span = self.begin(name, kind, traceparent, attributes)
        if span is None:
            yield None
            return
        with trace.use_span(span, end_on_exit=True):
            yield span

    def shutdown(self) -> None:
        """Send what is not yet exported."""
        if self._provider is not None:
            self._provider.force_flush(2_000)


def describe_http(span: Span, method: str, *, route: str, path: str, status: int) -> None:
    """What is known of an HTTP call when it ends. The query is left out: it may hold what people typed."""
    span.update_name(f"{method} {route}")
    span.set_attributes(
        {
            "http.request.method": method,
            "http.route": route,
            "url.path": path,
            "http.response.status_code": status,
        }
    )
    if status >= 500:
        span.set_status(Status(StatusCode.ERROR))


def end_failed(span: Span | None, error: BaseException) -> None:
    """End a span that did not go well."""
    if span is not None:
        span.set_status(Status(StatusCode.ERROR, str(error)[:200]))
        span.end()


def traceparent_of(span: Span | None, otherwise: str | None) -> str | None:
    """W3C trace context of `span`, or `otherwise` while tracing is off."""
    if span is None:
        return otherwise
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def carried(traceparent: str | None) -> str | None:
    """`traceparent` where it holds."""
    return traceparent if traceparent and _context_in(traceparent) is not None else None


_DRAWN = random.Random()  # noqa: S311 - names nobody has to guess; its own state, which no seed elsewhere repeats


def followed(traceparent: str | None) -> str:
    """`traceparent` where it holds, else a new one: so every call, event and log line belongs to a trace.

    A new one says that nothing of it is recorded, so begin a span first, below what really came: a span below this
    would not be recorded either.
    """
    if traceparent and _context_in(traceparent) is not None:
        return traceparent
    drawn = f"{_DRAWN.getrandbits(192):048x}"
    return f"00-{drawn[:32]}-{drawn[32:]}-00"


@contextmanager
def logged_under(traceparent: str | None) -> Iterator[None]:
    """Name this trace in every log line of the block, also while no exporter is set."""
    trace_id = (traceparent or "").split("-")[1:2]
    if not trace_id:
        yield
        return
    with structlog.contextvars.bound_contextvars(trace_id=trace_id[0]):
        yield


def _context(traceparent: str | None) -> Any:
    """The OpenTelemetry context of a `traceparent`; a malformed one starts a new trace."""
    found = _context_in(traceparent or "")
    return trace.set_span_in_context(trace.INVALID_SPAN if found is None else trace.NonRecordingSpan(found))


def _context_in(traceparent: str) -> SpanContext | None:
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None:
        return None
    context = SpanContext(int(match[1], 16), int(match[2], 16), True, TraceFlags(int(match[3], 16)))
    return context if context.is_valid else None


def _add_trace_ids(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Name the current trace in every line, so that a log line leads to its trace and back."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = f"{context.trace_id:032x}"
        event["span_id"] = f"{context.span_id:016x}"
    return event


def configure_logs(service: str, *, level: str, form: str) -> None:
    """Structured lines on standard error: one JSON object each, or readable text."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_trace_ids,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.dict_tracebacks if form == "json" else structlog.processors.ExceptionRenderer(),
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    structlog.contextvars.bind_contextvars(service=service)
    logging.getLogger("aiokafka").setLevel("WARNING")
    logging.getLogger("uvicorn.access").setLevel("WARNING")
