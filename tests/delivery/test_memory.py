"""What stands on an own topic and is not known here: a copy is nothing new, anything else stops all writing."""

from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from delivery import new_id
from tests.delivery.playground import Playground, until
from tests.delivery.toy import app as toy


async def said(place: Playground) -> list[Any]:
    """The records on the toy's own topic."""
    consumer = AIOKafkaConsumer(bootstrap_servers=place.settings.kafka_bootstrap_servers, enable_auto_commit=False)
    await consumer.start()
    try:
        topic = place.settings.topic_prefix + toy.COUNTS.name
        parts = [TopicPartition(topic, n) for n in range(place.settings.topic_partitions)]
        consumer.assign(parts)
        await consumer.seek_to_beginning()
        ends = await consumer.end_offsets(parts)
        found: list[Any] = []
        while {part: await consumer.position(part) for part in parts} != ends:
            found += [record for some in (await consumer.getmany(timeout_ms=500)).values() for record in some]
        return found
    finally:
        await consumer.stop()


async def say_again(place: Playground, record: Any, **changed: bytes) -> None:
    headers = [(name, changed.get(name, value)) for name, value in record.headers]
    await place.producer.send_and_wait(record.topic, record.value, key=record.key, headers=headers)


async def test_a_copy_of_what_was_said_does_not_make_the_database_look_older(place: Playground) -> None:
    async with place.here():
        await place.ring(("a", 1), ("b", 1), ("a", 2))
        await place.counted(3)
    # As a relay does that was frozen in mid-send, when it wakes after its successor has sent and deleted the rows.
    for record in await said(place):
        await say_again(place, record)
    async with place.here() as again:
        await place.ring(("a", 3))
        await place.counted(4)
        assert await again.waits_for() == {}
    assert await place.announced() == {"a": [1, 2, 3], "b": [1]}


async def test_what_was_never_known_here_stops_all_writing_until_a_person_decides(place: Playground) -> None:
    async with place.here():
        await place.ring(("a", 1))
        await place.counted(1)
    (record,) = await said(place)
    await say_again(place, record, ce_id=str(new_id()).encode())
    async with place.here() as again:

        async def it_says_so() -> bool:
            return any("does not remember" in why for why in (await again.waits_for()).values())

        await until(it_says_so)
        await place.ring(("a", 2))
    assert await place.seen("a") == [1]
