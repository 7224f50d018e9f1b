"""Members of a group come and go while messages flow: whoever has a partition goes on where it stands."""

import asyncio
import dataclasses
import datetime as dt
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from delivery import Announcements, Service, Work, hears, new_id
from delivery.envelope import Envelope
from delivery.kafka import create_topics
from deploy.local.servers import Servers
from tests.delivery.playground import Here, Playground, playground, until
from tests.delivery.toy import app as toy

BELLS = [f"bell-{number}" for number in range(12)]


async def test_members_that_come_and_go_while_messages_flow_leave_none_out(place: Playground) -> None:
    rung = dict.fromkeys(BELLS, 0)
    stopped = asyncio.Event()

    async def ring() -> None:
        while not stopped.is_set():
            for name in BELLS:
                rung[name] += 1
            await place.ring(*((name, rung[name]) for name in BELLS))
            await asyncio.sleep(0.01)

    async with place.here() as stays:
        ringing = asyncio.create_task(ring())
        for _ in range(3):
            async with place.here() as comes:

                async def it_hears_too(comes: Here = comes) -> bool:
                    return await comes.metric('delivery_events_heard_total{type="bells.Rung"}') > 0

                await until(it_hears_too)
            await place.counted(await place.total() + 100)
        stopped.set()
        await ringing
        await place.counted(sum(rung.values()))
        assert await stays.metric("delivery_parked_open") == 0
        for name in BELLS:
            assert await place.seen(name) == [*range(1, rung[name] + 1)], name


async def test_whoever_leaves_has_acknowledged_all_that_took_effect(place: Playground) -> None:
    async with place.here():
        for n in range(1, 21):
            await place.ring(*((name, n) for name in BELLS))
        await place.counted(20 * len(BELLS))
    assert await _unacknowledged(place) == {}


async def test_a_group_that_was_never_told_is_told_where_the_database_stands(place: Playground) -> None:
    # As seen when the first chunk of a partition took effect and the process was killed before it said so.
    async def kept_to_itself(_consumer: AIOKafkaConsumer) -> None:
        pass

    async with place.here() as here:
        here.runtime.consumer._acknowledge = kept_to_itself  # type: ignore[method-assign]
        await place.ring(*((name, 1) for name in BELLS))
        await place.counted(len(BELLS))
    assert await _unacknowledged(place)
    async with place.here():

        async def told() -> bool:
            return await _unacknowledged(place) == {}

        await until(told)
    assert await place.total() == len(BELLS)


async def _unacknowledged(place: Playground) -> dict[int, tuple[int | None, int]]:
    """What the group knows of each partition, and its end, where they differ."""
    group = AIOKafkaConsumer(
        bootstrap_servers=place.settings.kafka_bootstrap_servers,
        group_id=f"{place.settings.topic_prefix}batchwise.toy",
        enable_auto_commit=False,
    )
    await group.start()
    try:
        topic = place.settings.topic_prefix + toy.RUNGS.name
        ends = await group.end_offsets([TopicPartition(topic, n) for n in range(place.settings.topic_partitions)])
        known = {part: await group.committed(part) for part in ends}
        return {part.partition: (known[part], end) for part, end in ends.items() if (known[part] or 0) < end}
    finally:
        await group.stop()


async def test_one_who_gathers_takes_together_what_comes_within_a_while(place: Playground) -> None:
    async with place.here(dataclasses.replace(toy.service, gathers=3.0)) as here:
        for n in range(1, 12):
            await place.ring(("bell", n))
            await asyncio.sleep(0.1)  # far longer than a fetch takes that does not wait
        await place.counted(11)
        assert await place.seen("bell") == [*range(1, 12)]
        assert await here.metric("delivery_chunk_records_count") <= 2, "some were taken as they came"


async def test_one_who_gathers_does_not_wait_when_there_is_much(place: Playground) -> None:
    gathers, began = 20.0, time.monotonic()
    async with place.here(dataclasses.replace(toy.service, gathers=gathers)):
        await place.ring(*(("bell", n) for n in range(1, 2001)))

        async def taken() -> bool:
            return await place.total() > 0

        await until(taken, seconds=2 * gathers)
        assert time.monotonic() - began < gathers


async def test_what_says_nothing_wakes_no_relay(place: Playground) -> None:
    @hears(toy.Rung)
    async def only_hear(work: Work, rungs: Sequence[toy.Rung]) -> Announcements:
        return []

    woken: list[str] = []
    async with place.here(dataclasses.replace(toy.service, hears=(only_hear,))) as here:
        here.runtime.chunks._said = lambda: woken.append("after a chunk")
        await place.ring(("bell", 1), ("bell", 2))

        async def heard() -> bool:
            return await here.metric('delivery_events_heard_total{type="bells.Rung"}') == 2

        await until(heard)
    assert woken == []


async def test_a_client_that_stops_fetching_is_replaced(place: Playground, monkeypatch: pytest.MonkeyPatch) -> None:
    # As seen after broker and database had both been away: polls brought nothing, while two messages were there.
    deaf: list[AIOKafkaConsumer] = []
    fetch = AIOKafkaConsumer.getmany

    async def getmany(self: AIOKafkaConsumer, *partitions: TopicPartition, **rest: Any) -> Any:
        deaf[:] = deaf or [self]
        if self is deaf[0]:
            await asyncio.sleep(0.05)
            return {}
        return await fetch(self, *partitions, **rest)

    monkeypatch.setattr(AIOKafkaConsumer, "getmany", getmany)
    async with place.here() as here:
        await place.ring(("a", 1), ("b", 1))
        await place.counted(2, seconds=40)
        assert await here.metric('delivery_retries_total{why="unfetched"}') == 1
        assert await here.waits_for() == {}


@hears(toy.Rung)
async def count_silently(work: Work, rungs: Sequence[toy.Rung]) -> Announcements:
    await toy._count(work, rungs)
    return []


@hears(toy.Counted)
async def note(work: Work, counts: Sequence[toy.Counted]) -> Announcements:
    await work.db.executemany(
        "INSERT INTO counted (name, total, seen) VALUES ($1, 1, $2)",
        [(f"noted {each.name}", [each.n]) for each in counts],
    )
    return []


async def test_a_version_that_hears_a_topic_of_a_service_that_is_deployed_later_works_until_then(
    servers: Servers, database: str, topic_prefix: str, tmp_path: Path
) -> None:
    newer = Service("newer", "Counts, and notes.", "tests.delivery.toy", toy.TOPICS, hears=(count_silently, note))
    role = toy.service.role
    async with (
        playground(servers, database, topic_prefix, tmp_path, topics=(toy.RUNGS,)) as place,
        place.here(newer, database_role=role) as early,
    ):
        await place.ring(("a", 1))
        await place.counted(1)

        async def ready_without_it() -> bool:
            return list(await early.waits_for()) == ["topics"]

        await until(ready_without_it)
        assert f"{topic_prefix}toy.counts.v1" in (await early.waits_for())["topics"]
        assert (await early.client.get("/health/ready")).status_code == 200
        await create_topics(place.settings, [toy.COUNTS], client="later")
        counted = toy.Counted(name="b", n=7)
        envelope = Envelope(
            event_id=str(new_id()),
            type=counted.event_type,
            source="batchwise/toy",
            time=dt.datetime.now(dt.UTC),
            key=counted.key,
            correlation_id="test",
        )
        topic = topic_prefix + toy.COUNTS.name
        await place.producer.send_and_wait(topic, counted.write(), key=b"b", headers=envelope.headers())
        await place.counted(2)
        assert await place.seen("noted b") == [7]
        assert await early.waits_for() == {}
