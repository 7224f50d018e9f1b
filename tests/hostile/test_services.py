"""Five services meet what no honest caller or speaker sends, over HTTP and on every topic that they hear.

No fault of ours, no answer that OpenAPI does not know, no refusal without a name; on topics parked or answered, never a
stopped consumer, never a half effect. The story of the demo was played before: what it left is what the wrong calls and
records are made of.
"""

import asyncio
import contextlib
import json
import os
import random
import uuid
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from contracts.topics import TOPICS
from deploy.local.play.scene import Scene
from deploy.local.processes import SERVICES
from tests.contracts.bodies import MESSAGES
from tests.delivery.playground import until
from tests.hostile.calls import Known, Storm, learn_all, storm
from tests.hostile.conftest import FULL
from tests.hostile.line import HEARD, Line
from tests.hostile.records import LARGE, Record, again, wrong_ones

CALLS = int(os.environ.get("HOSTILE_CALLS") or (2_000 if FULL else 30))
"""Per service, at least; of every operation one that its document allows and one that it does not, at least."""

OTHERS = ("olivia", "aiko")
"""Some calls are made by an operator and by an auditor."""


GROUP = 20
"""Wrong records in a row, at most: fewer than PARKED_IN_A_ROW, so that a consumer goes on by itself."""

OURS = [
    topic.name for topic in TOPICS if not topic.foreign and any(topic.name in ears.topics for ears in HEARD.values())
]
FOREIGN = [topic.name for topic in TOPICS if topic.foreign]


# Calls


@pytest.mark.timeout(3_000)
async def test_generated_calls_find_no_fault_and_no_answer_that_openapi_does_not_know(
    played_apart: Scene, start: int
) -> None:
    system = played_apart.world.system
    admin = system.issuer.mint("admin", ["admin"])
    tokens = [admin, *(system.token(user) for user in OTHERS)]
    async with httpx.AsyncClient(timeout=30) as client:
        documents = {name: (await client.get(f"{url}/openapi.json")).json() for name, url in system.urls.items()}
    known = Known()
    await asyncio.to_thread(learn_all, known, documents, system.urls, admin)
    assert len(known) > 200, "too little is known for calls to reach anything"
    storms: list[Storm] = []
    for name, document in documents.items():
        storms.append(
            await asyncio.to_thread(storm, name, document, system.urls[name], tokens, known, calls=CALLS, start=start)
        )
        print(storms[-1].told())
    failures = [text for each in storms for text in each.failures.values()]
    assert not failures, f"{len(failures)} kinds of failure\n\n" + "\n\n".join(failures)
    for each in storms:
        assert each.calls >= CALLS
        assert sum(count for status, count in each.statuses.items() if status < 300) > CALLS / 20, each.told()
    assert await _faults_in_the_logs(played_apart) == []


async def _faults_in_the_logs(scene: Scene) -> list[str]:
    """What the services logged as nobody's expectation."""
    found = []
    for name, log in scene.world.system.logs.items():
        text = await asyncio.to_thread(log.read_text, "utf-8", "replace")
        found += [f"{name}: {line}" for line in text.splitlines() if "a call failed" in line]
    return found


# Topics


def chosen(records: Sequence[Record], chance: random.Random) -> list[Record]:
    """Many in a long run, some in a short one, in any order; of the largest only a few."""
    large = [each for each in records if len(each.value or b"") > LARGE / 2]
    small = [each for each in records if len(each.value or b"") <= LARGE / 2]
    some, few = (600, 6) if FULL else (18, 1)
    drawn = [*chance.sample(small, min(len(small), some)), *chance.sample(large, min(len(large), few))]
    chance.shuffle(drawn)
    return drawn


async def well_formed(line: Line, topic: str) -> dict[str, Record]:
    """One record of each type of a topic: one that stands there, else the fullest golden one."""
    found: dict[str, Record] = {}
    for record in await line.records(topic):
        headers_of = dict(record.headers)
        if b"HX-" in headers_of.get("ce_subject", b"HX-") or headers_of["ce_subject"] != record.key:
            continue  # one of ours, wrong in some way
        # What others put there may be nested deeper than can be read.
        with contextlib.suppress(ValueError, RecursionError):
            if isinstance(json.loads(record.value or b""), dict):
                found.setdefault(headers_of.get("ce_type", b"").decode("utf-8", "replace"), record)
    for where, message in sorted(MESSAGES.items(), key=lambda golden: -len(golden[1]["value"])):
        if where.startswith(f"{topic}/"):
            headers = tuple((name, value.encode()) for name, value in message["headers"].items())
            body = json.dumps(message["value"]).encode()
            found.setdefault(message["headers"]["ce_type"], Record("nothing", message["key"].encode(), body, headers))
    return found


@pytest.mark.timeout(900)
@pytest.mark.parametrize("topic", OURS)
async def test_what_nobody_honest_says_on_a_topic_of_ours_is_parked_and_a_good_event_still_takes_effect(
    line: Line, start: int, topic: str
) -> None:
    chance = random.Random(f"{start}{topic}")
    listeners = line.listeners(topic)
    good = await well_formed(line, topic)
    heard = [record for kind, record in good.items() if any(kind in HEARD[name]._handlers for name in listeners)]
    assert heard, f"no event is known that anybody hears on {topic}"
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
    """A record of the story that was taken, whole: nothing of its key was ever parked, also not what was given up."""
    rows = await line.databases["integration"].fetch("SELECT key FROM delivery.parked WHERE topic = $1", topic)
    refused = {row["key"] for row in rows}
    for record in reversed(await line.records(topic)):
        with contextlib.suppress(ValueError, RecursionError):
            body = json.loads(record.value or b"")
            if isinstance(body, dict) and len(body) > 2 and (record.key or b"").decode() not in refused:
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
        for each in all_parked if FULL else chance.sample(all_parked, min(len(all_parked), 10)):
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
