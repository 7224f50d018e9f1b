"""What a process shows of itself: its watches, its surveys, what it waits for, and traces that begin here."""

import dataclasses
from contextlib import AsyncExitStack

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import Gauge

from delivery import Announcements, Survey, Watch, Work
from tests.delivery.playground import Here, Playground, until
from tests.delivery.toy import app as toy

NOWHERE = "127.0.0.1:1"
"""No broker is there."""


async def runs(here: Here, outcome: str) -> float:
    return await here.metric(f'delivery_watch_runs_total{{outcome="{outcome}",watch="hourly"}}')


async def test_what_time_makes_happen_begins_a_trace_when_it_announces_something(place: Playground) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    finds: list[list[toy.Counted]] = [[], [toy.Counted(name="a", n=1)]]

    async def strike(work: Work) -> Announcements:
        return finds.pop(0)

    hourly = Watch("hourly", every=lambda: 3600, run=strike)
    service = dataclasses.replace(toy.service, watches=(hourly,))
    async with AsyncExitStack() as stack:
        # Another replica's relay, that does nothing: what is announced stays in the outbox.
        other = await stack.enter_async_context(place.sql.acquire())
        assert await other.fetchval("SELECT pg_try_advisory_lock(hashtext('batchwise.relay'))")
        here = await stack.enter_async_context(place.here(service, tracer_provider=provider))
        await until(lambda: runs(here, "done"))
        assert "watch hourly" not in [span.name for span in exporter.get_finished_spans()]
        assert await here.runtime.run_watch(hourly)
        (span,) = [span for span in exporter.get_finished_spans() if span.name == "watch hourly"]
        assert span.parent is None
        said = await place.sql.fetchval("SELECT traceparent FROM delivery.outbox")
        assert said.startswith(f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-")
        assert int(said[-2:], 16) & 1, "what follows is recorded too"


async def test_a_watch_that_fails_is_counted_and_grows_old_until_it_is_done(place: Playground) -> None:
    broken = True

    async def strike(work: Work) -> Announcements:
        if broken:
            raise ZeroDivisionError("strike")
        return []

    hourly = Watch("hourly", every=lambda: 0.05, run=strike)
    service = dataclasses.replace(toy.service, watches=(hourly,))
    async with place.here(service) as here:

        async def age() -> float:
            return await here.metric('delivery_watch_age_seconds{watch="hourly"}')

        async def failed_often() -> bool:
            return await runs(here, "failed") >= 3

        await until(failed_often)
        assert await runs(here, "done") == 0
        before = await age()
        assert before > 0.1
        assert await age() > before
        broken = False
        await until(lambda: runs(here, "done"))

        async def young() -> bool:
            return await age() < 0.1

        await until(young)


async def test_a_survey_shows_what_the_services_tables_tell_and_nothing_as_zero(place: Playground) -> None:
    bells = Gauge("toy_bells", "Bells that rang.", registry=None)
    loudest = Gauge("toy_loudest", "The most rings of one.", registry=None)
    survey = Survey("SELECT count(*), max(total) FROM counted", (bells, loudest))
    async with place.here(dataclasses.replace(toy.service, survey=survey)) as here:
        shown = (await here.client.get("/metrics")).text
        assert "toy_bells 0.0" in shown
        assert "toy_loudest 0.0" in shown
        await place.ring(("a", 1), ("a", 2), ("b", 1))
        await place.counted(3)
        await survey.take(here.runtime.pool)
        assert (await here.metric("toy_bells"), await here.metric("toy_loudest")) == (2, 2)


@pytest.mark.parametrize("part", ["relay", "consumer", "memory"])
async def test_the_parts_that_wait_for_brokers_are_shown_and_named(place: Playground, part: str) -> None:
    async with place.here(kafka_bootstrap_servers=NOWHERE) as here:
        await until(lambda: here.metric(f'delivery_waiting_for{{what="{part}"}}'))
        assert part in await here.waits_for()
        assert await here.metric('delivery_waiting_for{what="database"}') in (0, 1)
    async with place.here() as here:

        async def works() -> bool:
            shown = (await here.client.get("/metrics")).text
            return f'delivery_waiting_for{{what="{part}"}} 0.0' in shown

        await until(works)
