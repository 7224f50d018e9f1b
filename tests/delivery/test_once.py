"""Each event takes effect once: under duplicates, restarts, crashes, and two members at once."""

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.delivery.playground import Playground, until
from tests.delivery.toy import app as toy


async def test_five_deliveries_of_one_event_take_effect_once(place: Playground) -> None:
    async with place.here() as here:
        await place.ring(("a", 1), ("b", 1), ("a", 2), times=5)
        await place.ring(("end", 1))
        await until(lambda: place.seen("end"))
        await place.counted(4)
        assert await place.seen("a") == [1, 2]
        assert await place.seen("b") == [1]

        async def all_dropped() -> bool:
            return await here.metric("delivery_events_dropped_total") == 12

        await until(all_dropped)
    assert await place.announced(with_doubles=True) == {"a": [1, 2], "b": [1], "end": [1]}


async def test_a_redelivery_after_a_restart_takes_no_effect(place: Playground) -> None:
    async with place.here():
        await place.ring(("a", 1), ("a", 2))
        await place.counted(2)
    await rewind(place)
    async with place.here() as again:
        await place.ring(("a", 3))
        await place.counted(3)
        assert await again.metric("delivery_events_dropped_total") == 2
    assert await place.seen("a") == [1, 2, 3]


async def rewind(place: Playground) -> None:
    """Make the group forget what it acknowledged."""
    topic = place.settings.topic_prefix + toy.RUNGS.name
    group = f"{place.settings.topic_prefix}batchwise.toy"
    consumer = AIOKafkaConsumer(bootstrap_servers=place.settings.kafka_bootstrap_servers, group_id=group)
    await consumer.start()
    partitions = [TopicPartition(topic, n) for n in range(place.settings.topic_partitions)]
    consumer.assign(partitions)
    await consumer.commit(dict.fromkeys(partitions, 0))
    await consumer.stop()


@pytest.mark.parametrize(
    "moment",
    ["killed-before-transaction", "killed-in-transaction", "killed-before-acknowledgement", "killed-before-delete"],
)
async def test_a_crash_at_any_moment_loses_nothing_and_doubles_nothing(place: Playground, moment: str) -> None:
    rungs = [(f"bell{n % 7}", n) for n in range(300)]
    await place.ring(*rungs)
    doomed = place.process("serve", fault=moment, http_port=0, chunk_records=50)
    doomed.start()
    assert await doomed.ended(seconds=30) == -9
    healthy = place.process("serve", http_port=0, chunk_records=50)
    healthy.start()
    await place.counted(300, seconds=30)
    expected = {f"bell{bell}": [n for n in range(300) if n % 7 == bell] for bell in range(7)}
    assert {name: await place.seen(name) for name in expected} == expected
    assert await place.announced() == expected


async def test_a_frozen_consumer_that_lost_its_partitions_and_then_commits_doubles_nothing(place: Playground) -> None:
    frozen = place.process("serve", fault="frozen-in-transaction", http_port=0, transaction_idle_ms=60_000)
    frozen.start()
    await place.ring(("a", 1))
    # It stopped itself with its transaction open: effect and inbox row are written, not committed.
    await until(lambda: _idle_in_transaction(place))
    second = place.process("serve", http_port=0)
    second.start()
    # The second member got the partitions after the session time-out and waits for the key.
    await until(lambda: _waits_for_a_lock(place), seconds=30)
    frozen.thaw()
    await place.counted(1)
    await place.ring(("a", 2), ("a", 3))
    await place.counted(3)
    assert await place.seen("a") == [1, 2, 3]
    assert await place.announced() == {"a": [1, 2, 3]}


async def test_a_consumer_frozen_for_good_in_its_transaction_does_not_block_the_one_that_took_over(
    place: Playground,
) -> None:
    frozen = place.process("serve", fault="frozen-in-transaction", http_port=0, transaction_idle_ms=2_000)
    frozen.start()
    await place.ring(("a", 1))
    await until(lambda: _idle_in_transaction(place))
    second = place.process("serve", http_port=0)
    second.start()
    await until(lambda: place.seen("a"), seconds=30)
    assert await place.seen("a") == [1]
    frozen.thaw()
    await place.ring(("a", 2))
    await place.counted(2, seconds=30)
    assert await place.seen("a") == [1, 2]
    assert await place.announced() == {"a": [1, 2]}


async def test_a_consumer_frozen_before_its_transaction_wakes_up_to_work_that_is_done(place: Playground) -> None:
    frozen = place.process("serve", fault="frozen-before-transaction", http_port=0)
    frozen.start()
    await until(lambda: _is_serving(place))
    await place.ring(("a", 1), ("a", 2))
    second = place.process("serve", http_port=0)
    second.start()
    await until(lambda: place.seen("a"), seconds=30)
    frozen.thaw()
    await place.ring(("a", 3))
    await place.counted(3, seconds=30)
    assert await place.seen("a") == [1, 2, 3]


async def _idle_in_transaction(place: Playground) -> bool:
    return bool(
        await place.sql.fetchval(
            """
            SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND state = 'idle in transaction' AND application_name = 'toy'
              AND state_change < now() - interval '0.3 s'
            """
        )
    )


async def _waits_for_a_lock(place: Playground) -> bool:
    return bool(
        await place.sql.fetchval(
            """
            SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock' AND application_name = 'toy'
            """
        )
    )


async def _is_serving(place: Playground) -> bool:
    return bool(
        await place.sql.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'toy'"
        )
    )
