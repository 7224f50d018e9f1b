"""What stands on an own topic and is not known here: a copy is nothing new, anything else stops all writing."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import RecordMetadata

from delivery import new_id
from delivery.database import open_pool
from delivery.envelope import Envelope
from delivery.kafka import create_topics
from delivery.relay import RELAY_LOCK, Relay
from delivery.restoring import Restoring
from tests.delivery.playground import Here, Playground, until
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


async def ready(here: Here, *, seconds: float = 20) -> None:
    async def waits_for_nothing() -> bool:
        return await here.waits_for() == {}

    await until(waits_for_nothing, seconds=seconds)


async def an_older_version_says(place: Playground, name: str, n: int) -> None:
    """What a service and its relay did that knew of no marks: the outbox is emptied, and nothing else is written."""
    body, event_id, now = toy.Counted(name=name, n=n).write(), new_id(), dt.datetime.now(dt.UTC)
    async with asyncpg.create_pool(place.settings.database_dsn, min_size=1, max_size=1) as older:
        await older.execute(f"SET ROLE {toy.service.role}")
        await older.execute(
            """
            INSERT INTO delivery.outbox (topic, key, event_id, event_type, said_at, correlation_id, body)
            VALUES ($1, $2, $3, $4, $5, 'by hand', $6)
            """,
            *(toy.COUNTS.name, name, event_id, toy.Counted.event_type, now, body),
        )
        envelope = Envelope(str(event_id), toy.Counted.event_type, "batchwise/toy", now, name, "by hand")
        topic = place.settings.topic_prefix + toy.COUNTS.name
        await place.producer.send_and_wait(topic, body, key=name.encode(), headers=envelope.headers())
        await older.execute("DELETE FROM delivery.outbox WHERE event_id = $1", event_id)


async def test_what_a_relay_said_that_keeps_no_marks_is_not_taken_for_forgotten(place: Playground) -> None:
    async with place.here():
        await place.ring(("a", 1))
        await place.counted(1)
    # Rolled back to the version before, and forward again.
    await an_older_version_says(place, "a", 2)
    await an_older_version_says(place, "b", 1)
    older = await asyncpg.connect(place.settings.database_dsn)
    assert await older.fetchval(RELAY_LOCK)
    async with place.here() as again:
        # It stands by while the older relay is at work, and takes over then.
        await ready(again)
        await an_older_version_says(place, "a", 3)
        await older.close()
        await place.ring(("a", 4))
        await place.counted(2)
        await ready(again)
    assert await place.announced() == {"a": [1, 2, 3, 4], "b": [1]}
    assert await place.sql.fetchval("SELECT count(*) FROM delivery.said_unmarked") == 0
    async with place.here() as later:
        await ready(later)


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


async def test_restoring_takes_copies_for_what_they_are(place: Playground) -> None:
    async with place.here() as here:
        await place.ring(("a", 1), ("b", 1))
        await place.counted(2)
        runtime = here.runtime
    first, second = await said(place)
    await say_again(place, first)
    await say_again(place, second, ce_id=str(new_id()).encode())
    dsn, role = place.settings.database_dsn, toy.service.role
    async with open_pool(dsn, role=role, name="restore", size=2, transaction_idle_ms=60_000) as pool:
        restoring = Restoring(toy.service, place.settings, pool, runtime.clock)
        assert (await restoring.report()).missing == 1
        assert (await restoring.take_up("a test")).missing == 1
        assert (await restoring.report()).missing == 0
    async with place.here() as again:
        await ready(again)


async def test_a_send_whose_place_the_brokers_do_not_tell_is_not_forgotten(place: Playground, monkeypatch: Any) -> None:
    confirmed = Relay._confirmed
    untold: list[Any] = []

    async def first_without_place(self: Relay, sent: Any) -> list[Any]:
        places = await confirmed(self, sent)
        if untold:
            return places
        # What the client makes of "I had that one already", where the broker remembers no more.
        untold.extend(places)
        return [RecordMetadata(*each[:3], -1, *each[4:]) for each in places]

    monkeypatch.setattr(Relay, "_confirmed", first_without_place)
    async with place.here():
        await place.ring(("a", 1))
        await place.counted(1)
    assert untold
    monkeypatch.undo()
    async with place.here() as again:
        await ready(again)
    assert await place.announced() == {"a": [1]}


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


@dataclass
class LateBrokers:
    """An address that is called, and at which nobody answers before brokers `come`."""

    address: str = ""
    called: asyncio.Event = field(default_factory=asyncio.Event)
    come: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def brokers_that_come_late(place: Playground, *, silent: bool) -> AsyncIterator[LateBrokers]:
    """Calls before they come are ended at once; `silent`: taken and not answered."""
    to = urlsplit(f"//{place.settings.kafka_bootstrap_servers}")
    late = LateBrokers()
    ends: list[asyncio.StreamWriter] = []

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends.append(writer)
        late.called.set()
        if not late.come.is_set():
            if silent:
                await reader.read()
            writer.close()
            return
        there, back = await asyncio.open_connection(to.hostname, to.port)
        ends.append(back)
        await asyncio.gather(pass_on(reader, back), pass_on(there, writer), return_exceptions=True)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    late.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield late
    finally:
        for end in ends:
            end.transport.abort()
        server.close()


async def test_a_service_that_starts_before_its_brokers_is_ready_when_they_come(place: Playground) -> None:
    async with place.here():
        await place.ring(("a", 1))
        await place.counted(1)
    async with (
        brokers_that_come_late(place, silent=False) as brokers,
        place.here(kafka_bootstrap_servers=brokers.address) as here,
    ):

        async def it_says_so() -> bool:
            return "brokers do not answer" in (await here.waits_for()).get("memory", "")

        await until(it_says_so)
        refused = await here.post("/rings", {"name": "a", "n": 2})
        assert (refused.status_code, refused.json()["code"]) == (503, "database_incomplete")
        brokers.come.set()
        await ready(here)
        assert (await here.post("/rings", {"name": "a", "n": 2})).status_code == 201
        await place.counted(2)
    assert await place.announced() == {"a": [1, 2]}


async def test_a_service_whose_brokers_take_calls_and_are_silent_at_first_is_ready_when_they_speak(
    place: Playground,
) -> None:
    async with (
        brokers_that_come_late(place, silent=True) as brokers,
        place.here(kafka_bootstrap_servers=brokers.address) as here,
    ):
        await brokers.called.wait()
        assert "memory" in await here.waits_for()
        brokers.come.set()
        await ready(here, seconds=60)
        await place.ring(("a", 1))
        await place.counted(1)


async def test_a_topic_that_the_brokers_do_not_show_is_waited_for_where_something_was_said_on_it(
    place: Playground,
) -> None:
    async with place.here():
        await place.ring(("a", 1))
        await place.counted(1)
    admin = AIOKafkaAdminClient(bootstrap_servers=place.settings.kafka_bootstrap_servers)
    await admin.start()
    await admin.delete_topics([place.settings.topic_prefix + toy.COUNTS.name])
    await admin.close()
    async with place.here() as here:

        async def it_says_so() -> bool:
            return "do not show ['toy.counts.v1']" in (await here.waits_for()).get("memory", "")

        await until(it_says_so)
        await create_topics(place.settings, [toy.COUNTS], client="again")
        await ready(here)
        await place.ring(("a", 2))
        await place.counted(2)
