"""Every topic that a service hears, with what no honest speaker sends: parked or answered, never a stopped consumer.

The services run as processes, after the story of the demo: what it left is what the wrong records are made of.
"""

import asyncio
import contextlib
import importlib
import json
import random
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from contracts.topics import TOPICS
from delivery.chunks import Ears
from deploy.local.play.scene import Scene
from deploy.local.processes import SERVICES
from tests.delivery.playground import until
from tests.hostile.conftest import FULL
from tests.hostile.records import LARGE, Record, again, wrong_ones

GROUP = 20
"""Wrong records in a row, at most: fewer than PARKED_IN_A_ROW, so that a consumer goes on by itself."""

OURS = [topic.name for topic in TOPICS if not topic.foreign]
FOREIGN = [topic.name for topic in TOPICS if topic.foreign]

HEARD = {
    name: Ears(service.topics, service.hears)
    for name in SERVICES
    for service in [importlib.import_module(f"services.{name}.app").service]
}


class Line:
    """What the tests know of the running system: its topics, its databases, its parked messages."""

    def __init__(self, scene: Scene, producer: AIOKafkaProducer, databases: dict[str, Any], admin: AIOKafkaAdminClient):
        self.system = scene.world.system
        self.prefix = self.system.servers.topic_prefix
        self.producer = producer
        self.databases = databases
        self.admin = admin
        self.token = self.system.issuer.mint("admin", ["admin"])
        self.client = httpx.AsyncClient(timeout=60, headers={"Authorization": f"Bearer {self.token}"})

    def listeners(self, topic: str) -> list[str]:
        """The services that hear a topic."""
        return [name for name, ears in HEARD.items() if topic in ears.topics]

    async def records(self, topic: str) -> list[Record]:
        """All that stands on a topic now."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.system.servers.kafka,
            enable_auto_commit=False,
            fetch_max_bytes=4 * LARGE,
            max_partition_fetch_bytes=2 * LARGE,
        )
        await consumer.start()
        try:
            name = self.prefix + topic
            parts = [TopicPartition(name, part) for part in consumer.partitions_for_topic(name) or ()] or [
                TopicPartition(name, part) for part in range(6)
            ]
            consumer.assign(parts)
            await consumer.seek_to_beginning()
            ends = await consumer.end_offsets(parts)
            found = []
            while {part: await consumer.position(part) for part in parts} != ends:
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    found += [Record("nothing", each.key, each.value, tuple(each.headers)) for each in records]
        finally:
            await consumer.stop()
        return found

    async def send(self, topic: str, records: Sequence[Record]) -> list[tuple[int, int]]:
        """Put records on a topic; their partitions and offsets."""
        sent = [
            await self.producer.send(self.prefix + topic, value=each.value, key=each.key, headers=list(each.headers))
            for each in records
        ]
        return [(done.partition, done.offset) for done in await asyncio.gather(*sent)]

    async def heard(self, topic: str) -> None:
        """Wait until every service that hears a topic has acknowledged all that stands on it."""
        name = self.prefix + topic
        consumer = AIOKafkaConsumer(bootstrap_servers=self.system.servers.kafka)
        await consumer.start()
        try:
            parts = [TopicPartition(name, part) for part in range(6)]
            ends = await consumer.end_offsets(parts)
        finally:
            await consumer.stop()

        async def caught_up() -> bool:
            for service in self.listeners(topic):
                group = f"{self.prefix}batchwise.{service}"
                at = await self.admin.list_consumer_group_offsets(group, partitions=parts)
                if any(end and (part not in at or at[part].offset < end) for part, end in ends.items()):
                    assert self.system[service].pid is not None, f"{service} ended: {self.system[service].last_words()}"
                    return False
            return True

        try:
            await until(caught_up, seconds=60)
        except AssertionError:
            raise AssertionError(f"{topic} is not heard to its end: {await self.waits()}") from None

    async def waits(self) -> dict[str, Any]:
        """What each service waits for."""
        return {
            name: (await self.client.get(f"{url}/health/ready")).json()["waits_for"]
            for name, url in self.system.urls.items()
        }

    async def parked(self, service: str) -> list[dict[str, Any]]:
        """All that is parked in a service, page by page."""
        found: list[dict[str, Any]] = []
        while True:
            after = found[-1]["id"] if found else 0
            answer = await self.client.get(f"{self.system.urls[service]}/parked?limit=500&after={after}")
            assert answer.status_code == 200, answer.text
            if not (page := answer.json()):
                return found
            found += page

    async def took_effect(self, service: str, record: Record) -> bool:
        """Whether a service took a record in; one that is parked fails at once, with the reason."""
        database = self.databases[service]
        why = await database.fetchval("SELECT error FROM delivery.parked WHERE event_id = $1", record.event_id)
        assert why is None, f"{service} parked a good event: {why}; {record.value[:500]!r}"
        return bool(
            await database.fetchval(
                "SELECT EXISTS (SELECT FROM delivery.inbox WHERE event_id = $1)", uuid.UUID(record.event_id)
            )
        )


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def line(played_apart: Scene) -> AsyncIterator[Line]:
    servers = played_apart.world.system.servers
    admin = AIOKafkaAdminClient(bootstrap_servers=servers.kafka)
    await admin.start()
    producer = AIOKafkaProducer(
        bootstrap_servers=servers.kafka, max_request_size=2 * LARGE, request_timeout_ms=60_000, acks="all"
    )
    await producer.start()
    async with contextlib.AsyncExitStack() as stack:
        databases = {
            name: await stack.enter_async_context(asyncpg.create_pool(servers.dsn(name), min_size=1, max_size=2))
            for name in SERVICES
        }
        # Brokers take 1 MiB by default; what comes through where somebody has raised that must not hurt either.
        await admin.alter_configs(
            [
                ConfigResource(
                    ConfigResourceType.TOPIC,
                    servers.topic_prefix + topic.name,
                    {"max.message.bytes": str(2 * LARGE), "retention.ms": "-1"},
                )
                for topic in TOPICS
            ]
        )
        yield Line(played_apart, producer, databases, admin)
    await producer.stop()
    await admin.close()


def chosen(records: Sequence[Record], chance: random.Random) -> list[Record]:
    """Many in a long run, some in a short one, in any order; of the largest only a few."""
    large = [each for each in records if len(each.value or b"") > LARGE / 2]
    small = [each for each in records if len(each.value or b"") <= LARGE / 2]
    some, few = (600, 6) if FULL else (36, 1)
    drawn = [*chance.sample(small, min(len(small), some)), *chance.sample(large, min(len(large), few))]
    chance.shuffle(drawn)
    return drawn


async def well_formed(line: Line, topic: str) -> dict[str, Record]:
    """One record of each type that stands on a topic."""
    found: dict[str, Record] = {}
    for record in await line.records(topic):
        with contextlib.suppress(ValueError):
            if isinstance(json.loads(record.value or b""), dict):
                found.setdefault(dict(record.headers).get("ce_type", b"").decode("utf-8", "replace"), record)
    return found


@pytest.mark.timeout(900)
@pytest.mark.parametrize("topic", OURS)
async def test_what_nobody_honest_says_on_a_topic_of_ours_is_parked_and_a_good_event_still_takes_effect(
    line: Line, start: int, topic: str
) -> None:
    chance = random.Random(f"{start}{topic}")
    listeners = line.listeners(topic)
    assert listeners, f"nobody hears {topic}: it need not be a topic"
    good = await well_formed(line, topic)
    assert good, f"nothing stands on {topic}: the story of the demo does not reach it"
    heard = [record for kind, record in good.items() if any(kind in HEARD[name]._handlers for name in listeners)]
    storm = chosen([bad for record in heard for bad in wrong_ones(record, chance)], chance)
    before = {name: len(await line.parked(name)) for name in listeners}
    sent: list[tuple[int, int]] = []
    for begin in range(0, len(storm), GROUP):
        sent += await line.send(topic, storm[begin : begin + GROUP])
        # One of the real ones, said again: dropped everywhere, and the row of parked ones goes on.
        await line.heard(topic)
        await _good_event_takes_effect(line, topic, heard, chance)
    assert await line.waits() == {name: {} for name in SERVICES}
    for name in listeners:
        parked = (await line.parked(name))[before[name] :]
        assert {each["kind"] for each in parked} <= {"malformed", "never_works"}, _bugs(parked)
        assert len({(each["topic"], each["partition"], each["offset"]) for each in parked}) == len(parked)
        mine = {(each["partition"], each["offset"]) for each in parked if each["topic"] == topic}
        assert mine <= set(sent), (
            f"{name} parked what was good: {[each for each in parked if each['topic'] == topic][:2]}"
        )
    await _nothing_came_of_what_is_parked(line)


async def _good_event_takes_effect(line: Line, topic: str, heard: Sequence[Record], chance: random.Random) -> None:
    """An event of everybody's own, about something new."""
    # The catalog is heard by everyone and needs nothing that was there before.
    real = next((each for each in heard if b"Defined" in dict(each.headers)["ce_type"]), None)
    where = topic
    if real is None:
        where = "integration.catalog.v1"
        real = (await well_formed(line, where))["integration.ItemDefined"]
    record = again(real, f"GOOD-{chance.getrandbits(48):012x}")
    body = json.loads(record.value or b"{}") | ({"gtins": []} if b"Item" in dict(record.headers)["ce_type"] else {})
    record = Record("nothing", record.key, json.dumps(body).encode(), record.headers)
    await line.send(where, [record])
    kind = dict(record.headers)["ce_type"].decode()
    for name in SERVICES:
        if kind in HEARD[name]._handlers:
            try:
                await until(lambda name=name: line.took_effect(name, record), seconds=30)
            except AssertionError as error:
                raise AssertionError(f"{name}: {kind} {record.event_id} {error}; {await line.waits()}") from None


@pytest.mark.timeout(900)
@pytest.mark.parametrize("topic", FOREIGN)
async def test_an_outsider_who_sends_only_rubbish_stops_nobody(line: Line, start: int, topic: str) -> None:
    chance = random.Random(f"{start}{topic}")
    real = await _taken_before(line, topic)
    storm = chosen([*wrong_ones(real, chance)], chance)
    rubbish = [
        Record("rubbish", f"R{chance.getrandbits(64):x}".encode(), chance.randbytes(chance.choice((1, 100, 3_000))))
        for _ in range(120)
    ]
    before = len(await line.parked("integration"))
    # Far more in a row than PARKED_IN_A_ROW, and nothing good between them.
    sent = await line.send(topic, [*storm, *rubbish])
    await line.heard(topic)
    assert await line.waits() == {name: {} for name in SERVICES}
    parked = (await line.parked("integration"))[before:]
    assert len(parked) > 100
    assert {each["kind"] for each in parked} <= {"malformed", "never_works", "behind"}, _bugs(parked)
    assert {(each["partition"], each["offset"]) for each in parked if each["topic"] == topic} <= set(sent)
    await _good_word_takes_effect(line, topic, real, chance)
    await _nothing_came_of_what_is_parked(line)


async def _taken_before(line: Line, topic: str) -> Record:
    """A record of the story that was taken, whole."""
    refused = {(each["topic"], each["key"]) for each in await line.parked("integration")}
    for record in reversed(await line.records(topic)):
        with contextlib.suppress(ValueError):
            body = json.loads(record.value or b"")
            if isinstance(body, dict) and len(body) > 2 and (topic, (record.key or b"").decode()) not in refused:
                return record
    raise AssertionError(f"nothing good stands on {topic}")


async def _good_word_takes_effect(line: Line, topic: str, real: Record, chance: random.Random) -> None:
    """A new word of the same speaker, about something new."""
    body = json.loads(real.value or b"{}")
    name = f"GOOD{chance.getrandbits(40):010X}"
    path = ""
    if topic.startswith("mes."):
        lot = {**body["producedLot"], "lotId": name}
        gone = {"sequence", "corrects"}
        body = {each: value for each, value in body.items() if each not in gone} | {
            "messageId": name,
            "workOrderId": name,
            "producedLot": lot,
            "consumed": [],
        }
        path = f"/mes/reports?work_order={name}"
    elif topic == "erp.demands.v1":
        body |= {"reference": name, "message_id": name}
        path = f"/demands?reference={name}"
    key = real.key if topic.startswith("erp.ack") else name.encode()
    [(partition, offset)] = await line.send(topic, [Record("nothing", key, json.dumps(body).encode(), real.headers)])
    await line.heard(topic)
    inbox_id = uuid.uuid5(uuid.NAMESPACE_URL, f"{topic}#{topic}/{partition}/{offset}")
    assert await line.databases["integration"].fetchval(
        "SELECT EXISTS (SELECT FROM delivery.inbox WHERE event_id = $1)", inbox_id
    )
    mine = [
        each
        for each in await line.parked("integration")
        if (each["topic"], each["partition"], each["offset"]) == (topic, partition, offset)
    ]
    assert mine == []
    if path:
        answer = await line.client.get(f"{line.system.urls['integration']}{path}")
        assert len(answer.json()["items"]) == 1, answer.text


@pytest.mark.timeout(300)
async def test_what_is_parked_is_listed_shown_read_whole_replayed_or_given_up(line: Line, start: int) -> None:
    chance = random.Random(start)
    url = f"{line.system.urls['integration']}/parked"
    key = f"LARGE{chance.getrandbits(40):x}"
    large = chance.randbytes(LARGE)
    real = await _taken_before(line, "erp.demands.v1")
    good = json.dumps(json.loads(real.value or b"{}") | {"reference": key, "message_id": key}).encode()
    await line.send("erp.demands.v1", [Record("10 MB", key.encode(), large), Record("nothing", key.encode(), good)])
    await line.heard("erp.demands.v1")
    first, behind = [each for each in await line.parked("integration") if each["key"] == key]
    assert (first["kind"], behind["kind"]) == ("never_works", "behind")
    shown = (await line.client.get(f"{url}/{first['id']}")).json()
    assert shown["body_bytes"] == LARGE
    assert len(shown["body"]) < 500_000
    assert (await line.client.get(f"{url}/{first['id']}/body")).content == large

    async def settle(parked_id: int, verb: str, body: dict[str, Any]) -> httpx.Response:
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        return await line.client.post(f"{url}/{parked_id}/{verb}", json=body, headers=headers)

    again_refused = (await settle(first["id"], "replay", {})).json()
    assert (again_refused["replayed"], again_refused["still_parked"]) == ([], first["id"])
    assert (await settle(first["id"], "discard", {"reason": "noise"})).status_code == 204
    assert (await settle(behind["id"], "replay", {})).json() == {
        "replayed": [behind["id"]],
        "still_parked": None,
        "error": None,
    }
    demands = await line.client.get(f"{line.system.urls['integration']}/demands?reference={key}")
    assert [each["reference"] for each in demands.json()["items"]] == [key]
    # Every other one too, in every service: each can be looked at, and given up or tried again.
    for name in SERVICES:
        all_parked = await line.parked(name)
        for each in all_parked if FULL else chance.sample(all_parked, min(len(all_parked), 25)):
            answer = await line.client.get(f"{line.system.urls[name]}/parked/{each['id']}")
            assert answer.status_code == 200, answer.text
            verb, body = chance.choice((("replay", {}), ("discard", {"reason": "noise"})))
            headers = {"Idempotency-Key": str(uuid.uuid4())}
            settled = await line.client.post(
                f"{line.system.urls[name]}/parked/{each['id']}/{verb}", json=body, headers=headers
            )
            assert settled.status_code in {200, 204, 409}, settled.text


@pytest.mark.timeout(300)
async def test_after_all_of_it_the_books_still_agree(line: Line, played_apart: Scene) -> None:
    answer = await line.client.post(
        f"{line.system.urls['inventory']}/checks", json={}, headers={"Idempotency-Key": str(uuid.uuid4())}
    )
    assert answer.json()["holds"], answer.text
    assert await line.waits() == {name: {} for name in SERVICES}


def _bugs(parked: Sequence[dict[str, Any]]) -> str:
    """What is no verdict on a message but a fault of ours, each kind once."""
    kinds = {each["error"][:200]: each for each in parked if each["kind"] not in {"malformed", "never_works"}}
    return "; ".join(f"{each['kind']} {each['topic']} {each['event_type']}: {error}" for error, each in kinds.items())


async def _nothing_came_of_what_is_parked(line: Line) -> None:
    """A parked message is not in the inbox as done and again in the row, and nothing was said because of it."""
    ids = {each["event_id"] for name in SERVICES for each in await line.parked(name) if each["event_id"]}
    for name in SERVICES:
        caused = await line.databases[name].fetchval(
            "SELECT count(*) FROM delivery.outbox WHERE causation_id = ANY($1::text[])", list(ids)
        )
        assert caused == 0
