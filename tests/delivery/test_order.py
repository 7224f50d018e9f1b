"""Order per key is kept end to end: several producers, two relays, chunks that are retried, members that leave."""

import asyncio
import dataclasses
import json
import time
import uuid
from collections.abc import Sequence

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.partitioner import DefaultPartitioner

from delivery import Announcements, Work, hears
from tests.delivery.playground import Here, Playground, until
from tests.delivery.toy import app as toy


async def test_order_per_key_is_commit_order_with_many_writers_and_two_relays(place: Playground) -> None:
    async def writer(at: Here, start: int) -> None:
        for n in range(start, start + 40):
            answer = await at.post("/rings", {"name": f"bell{n % 3}", "n": n})
            assert answer.status_code == 201, answer.text

    async with place.here() as one, place.here() as two:
        events = [(f"bell{n % 3}", n) for n in range(10_000, 10_300)]
        async with asyncio.TaskGroup() as group:
            for n, at in enumerate((one, two, one, two)):
                group.create_task(writer(at, n * 1_000))
            for start in range(0, 300, 60):
                group.create_task(_ring(place, events[start : start + 60]))
        await place.counted(160 + 300, seconds=40)
        active = [await at.metric("delivery_relay_active") for at in (one, two)]
        assert sorted(active) == [0, 1], "exactly one relay of a service is active"
    announced = await place.announced()
    for bell in ("bell0", "bell1", "bell2"):
        assert announced[bell] == await place.seen(bell), "what is on the topic is what was committed, in that order"


async def _ring(place: Playground, events: list[tuple[str, int]]) -> None:
    await place.ring(*events)


async def test_a_chunk_that_is_retried_item_by_item_keeps_the_order_of_every_key(place: Playground) -> None:
    toy.failures["bell1"] = [ZeroDivisionError("once"), ZeroDivisionError("twice")]
    async with place.here() as here:
        await place.ring(*((f"bell{n % 3}", n) for n in range(150)))
        await place.counted(150)
        assert await here.metric('delivery_retries_total{why="item_by_item"}') >= 1
    expected = {f"bell{bell}": [n for n in range(150) if n % 3 == bell] for bell in range(3)}
    assert {name: await place.seen(name) for name in expected} == expected
    assert await place.announced() == expected


async def test_a_long_queue_is_taken_side_by_side_and_every_key_keeps_its_order(place: Playground) -> None:
    both = asyncio.Barrier(2)
    met: list[set[str]] = []
    waited: list[bool] = []

    @hears(toy.Rung)
    async def count_together(work: Work, rungs: Sequence[toy.Rung]) -> Announcements:
        met.append({rung.name for rung in rungs})
        if len(waited) < 2:
            waited.append(True)
            await asyncio.wait_for(both.wait(), 20)  # passed by two at once only
        return await toy.count(work, rungs)

    bells = [f"bell-{n}" for n in range(12)]
    await place.ring(*((bell, n) for n in range(60) for bell in bells))
    abreast = dataclasses.replace(toy.service, hears=(count_together,), side_by_side=2)
    async with place.here(abreast, chunk_records=50):
        await place.counted(60 * len(bells))
    assert not met[0] & met[1], "a bell in both"
    expected = {bell: [*range(60)] for bell in bells}
    assert {bell: await place.seen(bell) for bell in bells} == expected
    assert await place.announced() == expected


async def test_what_stopped_is_told_although_what_is_taken_beside_it_goes_well(place: Playground) -> None:
    partitions = [*range(place.settings.topic_partitions)]
    bells = [f"bell-{n}" for n in range(60)]
    broken = {bell for bell in bells if DefaultPartitioner()(bell.encode(), partitions, partitions) == 0}
    await place.ring(*((bell, 1) for bell in bells))
    goes_on = asyncio.Event()

    @hears(toy.Rung)
    async def count_most(work: Work, rungs: Sequence[toy.Rung]) -> Announcements:
        if any(rung.name in broken for rung in rungs):
            raise ZeroDivisionError("all of one partition")
        await goes_on.wait()
        return await toy.count(work, rungs)

    abreast = dataclasses.replace(toy.service, hears=(count_most,), side_by_side=6)
    async with place.here(abreast, chunk_records=5, parked_in_a_row=3, chunk_attempts=1) as here:

        async def stopped() -> bool:
            return "in a row" in (await here.waits_for()).get("consumer", "")

        await until(stopped)
        goes_on.set()

        async def counted_beside() -> bool:
            return await place.total() > 0

        await until(counted_beside)
        await until(stopped)
        assert await place.total() <= 25, "nothing new is begun"


async def test_another_relay_takes_over_within_a_second_of_a_death(place: Playground) -> None:
    first = place.process("relay")
    first.start()
    await until(lambda: _relay_holds_its_lock(place, 1))
    second = place.process("relay")
    second.start()
    await until(lambda: _relays(place, 2))
    await first.kill()
    died = time.monotonic()
    async with place.sql.acquire() as connection, connection.transaction():
        await connection.execute(
            """
            INSERT INTO delivery.outbox (topic, key, event_id, event_type, said_at, correlation_id, body)
            VALUES ($1, 'a', $2, 'toy.Counted', now(), 'test', $3)
            """,
            toy.COUNTS.name,
            uuid.uuid4(),
            toy.Counted(name="a", n=1).write(),
        )
    await place.counted(0, seconds=5)
    # The lock is asked for every half second; starting a producer takes the rest.
    assert time.monotonic() - died < 2.0
    assert await place.announced() == {"a": [1]}


async def test_a_graceful_stop_finishes_the_chunk_and_hands_over_in_under_a_second(place: Playground) -> None:
    leaving = place.process("serve", http_port=0)
    leaving.start()
    await place.ring(("a", 1))
    await place.counted(1)
    staying = place.process("serve", http_port=0)
    staying.start()
    await until(lambda: _consumers(place, 2))
    # Rebalanced: both have partitions. Keys that fall to either are rung; then one leaves in the middle of the load.
    names = [f"bell{n}" for n in range(12)]
    await place.ring(*((name, n) for n in range(50) for name in names))
    asked = time.monotonic()
    stopping = asyncio.create_task(leaving.stop(grace=5))
    await place.ring(*((name, 50) for name in names))
    await stopping
    stopped = time.monotonic() - asked
    await place.counted(1 + 12 * 51, seconds=5)
    assert leaving.exit_code == 0
    assert stopped < 1.0, f"the stop took {stopped:.2f} s"
    assert {name: await place.seen(name) for name in names} == {name: list(range(51)) for name in names}
    assert "could not be acknowledged" not in leaving.log.read_text(), "the chunk was acknowledged before the hand-over"


async def test_what_the_brokers_refuse_holds_up_its_own_key_and_is_not_overtaken(
    place: Playground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("delivery.relay._REFUSED_SECONDS", 1.0)
    await _limit_announcements(place, bytes_at_most=150_000)
    await _announce(place, ("a", 1, 200_000), ("b", 1, 10), ("a", 2, 100_000), ("c", 1, 10), ("a", 3, 10))
    async with place.here() as here:

        async def only_one_key_waits() -> bool:
            rows = await place.sql.fetch("SELECT key, count(*) FROM delivery.outbox GROUP BY key")
            return [tuple(row) for row in rows] == [("a", 3)]

        await until(only_one_key_waits)
        assert await place.announced() == {"b": [1], "c": [1]}
        await until(lambda: here.metric("delivery_relay_refused_keys"))
        assert await here.waits_for() == {}, "one key that waits does not make the service unready"
        await _limit_announcements(place, bytes_at_most=1_000_000)
        await place.counted(0)
    assert await place.announced() == {"a": [1, 2, 3], "b": [1], "c": [1]}


async def _limit_announcements(place: Playground, *, bytes_at_most: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=place.settings.kafka_bootstrap_servers)
    await admin.start()
    topic = place.settings.topic_prefix + toy.COUNTS.name
    limit = {"max.message.bytes": str(bytes_at_most)}
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=limit)])
    await admin.close()


async def _announce(place: Playground, *announcements: tuple[str, int, int]) -> None:
    """Put (name, n, bytes of padding) in the outbox, as a commit would."""
    for name, n, size in announcements:
        await place.sql.execute(
            """
            INSERT INTO delivery.outbox (topic, key, event_id, event_type, said_at, correlation_id, body)
            VALUES ($1, $2, $3, 'toy.Counted', now(), 'test', $4)
            """,
            toy.COUNTS.name,
            name,
            uuid.uuid4(),
            json.dumps({"name": name, "n": n, "padding": "x" * size}).encode(),
        )


async def _relay_holds_its_lock(place: Playground, count: int) -> bool:
    held = await place.sql.fetchval(
        """
        SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
        WHERE locktype = 'advisory' AND application_name = 'toy-relay' AND datname = current_database()
        """
    )
    return bool(held == count)


async def _relays(place: Playground, count: int) -> bool:
    return await _sessions(place, "toy-relay") == count


async def _consumers(place: Playground, count: int) -> bool:
    """Both members have partitions: seen from their logs, since Kafka's own answer lags."""
    ready = [child for child in place.children if '"partitions assigned"' in child.log.read_text()]
    return len(ready) == count


async def _sessions(place: Playground, name: str) -> int:
    return int(
        await place.sql.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1", name
        )
    )
