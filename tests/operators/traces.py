"""Traces as a receiver can put them together from spans alone, and those that the ERP's postings belong to."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer

from contracts.topics import POSTINGS
from deploy.local.play.scene import Scene
from tests.operators.otlp import Collector, Received

Step = tuple[str, str]
"""Service and span name."""


@dataclass(frozen=True, slots=True)
class Trace:
    """The spans of one trace, and the span that a posting to the ERP names as its cause."""

    spans: Mapping[str, Received]
    posted_by: str

    @property
    def roots(self) -> set[str]:
        """Names of the spans that nothing caused."""
        return {span.name for span in self.spans.values() if not span.parent_id}

    @property
    def services(self) -> set[str]:
        return {span.service for span in self.spans.values()}

    @property
    def posted_under(self) -> Step:
        span = self.spans[self.posted_by]
        return span.service, span.name

    def is_whole(self) -> bool:
        """Whether every span's parent has come too, and the one that posted."""
        parents = {span.parent_id for span in self.spans.values() if span.parent_id}
        return self.posted_by in self.spans and parents <= self.spans.keys() and len(self.services) == 5

    def spans_of(self, step: Step) -> list[Received]:
        return [span for span in self.spans.values() if (span.service, span.name) == step]

    def under(self, step: Step) -> set[Step]:
        """What these spans caused directly; none of it began before they did."""
        causes = {span.span_id: span for span in self.spans_of(step)}
        caused = [span for span in self.spans.values() if span.parent_id in causes]
        assert all(causes[span.parent_id].began <= span.began for span in caused)
        return {(span.service, span.name) for span in caused}


def traces(collector: Collector, postings: Mapping[str, str]) -> Iterator[Trace]:
    """The traces to which `postings` belong: trace id → span id that a posting names."""
    by_trace: defaultdict[str, dict[str, Received]] = defaultdict(dict)
    for span in list(collector.spans):
        by_trace[span.trace_id][span.span_id] = span
    for trace_id, span_id in postings.items():
        if trace_id in by_trace:
            yield Trace(by_trace[trace_id], span_id)


async def traces_of_postings(scene: Scene) -> dict[str, str]:
    """Trace id → span id, from the header of every posting on the ERP's topic."""
    servers = scene.world.system.servers
    consumer = AIOKafkaConsumer(
        servers.topic_prefix + POSTINGS.name,
        bootstrap_servers=servers.kafka,
        group_id=None,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        parts = sorted(consumer.assignment())
        ends = await consumer.end_offsets(parts)
        found: dict[str, str] = {}
        while {part: await consumer.position(part) for part in parts} != ends:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for record in records:
                    _, trace_id, span_id, _ = dict(record.headers)["traceparent"].decode().split("-")
                    found[trace_id] = span_id
        assert found, "there is no posting"
        return found
    finally:
        await consumer.stop()
