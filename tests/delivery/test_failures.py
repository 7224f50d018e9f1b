"""Each failure has one place to go: slow down, never works, bug. Other keys go on; metrics and readiness tell."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.record.util import calc_crc32c

from delivery import NeverWorks, Work
from delivery.envelope import new_id
from delivery.kafka import create_topics
from deploy.local.servers import Servers
from tests.delivery.playground import Playground, playground, until
from tests.delivery.test_once import rewind
from tests.delivery.toy import app as toy


async def _parked(place: Playground) -> list[tuple[str | None, str, str]]:
    rows = await place.sql.fetch("SELECT key, kind, status FROM delivery.parked ORDER BY id")
    return [(row["key"], row["kind"], row["status"]) for row in rows]


def _headers(event_type: str = "bells.Rung", **changed: str) -> list[tuple[str, bytes]]:
    given = {"ce_id": str(new_id()), "ce_source": "x", "ce_type": event_type, "ce_time": "2026-01-01T00:00:00+00:00"}
    return [(name, value.encode()) for name, value in (given | changed).items()]


async def test_a_malformed_message_is_parked_with_what_came_and_its_key_waits_while_others_go_on(
    place: Playground,
) -> None:
    async with place.here() as here:
        await place.send_raw(b"a", b'{"name": "a", "n": "many"}', _headers())
        await place.ring(("a", 1), ("b", 1))
        await place.counted(1)
        await until(lambda: _parked_is(place, [("a", "malformed", "parked"), ("a", "behind", "parked")]))
        assert await place.seen("a") == []
        assert await place.seen("b") == [1]
        (waiting, behind) = (await here.get("/parked")).json()
        assert "Input should be a valid integer" in waiting["error"]
        assert behind["error"] == "waits behind an earlier message of its key"
        whole = (await here.get(f"/parked/{waiting['id']}")).json()
        assert whole["body"] == '{"name": "a", "n": "many"}'
        assert whole["headers"]["ce_type"] == "bells.Rung"
        assert whole["waiting_behind"] == 1
        assert await here.waits_for() == {}, "a parked message does not make the service unready"
        await until(lambda: here.metric("delivery_parked_open"))


async def _parked_is(place: Playground, expected: list[tuple[str | None, str, str]]) -> bool:
    return await _parked(place) == expected


@pytest.mark.parametrize(
    ("headers", "body", "reason"),
    [
        ([], b"{}", "'ce_id' is missing"),
        ([("ce_id", b"\xff\xfe")], b"\x00\x01\xff", "'ce_source' is missing"),
        (_headers(ce_time="yesterday"), b"{}", "not an RFC 3339 time"),
        (_headers(ce_time="2026-01-01T00:00:00"), b"{}", "no offset"),
        (_headers(), b'{"name": "oth', "JSON"),
        (_headers(), b'{"name": "other", "n": 1}', "the record's key is 'a', its body's 'other'"),
        (_headers(), b"[" * 100_000, "JSON"),
    ],
)
async def test_whatever_comes_is_parked_and_the_next_message_is_handled(
    place: Playground, headers: list[tuple[str, bytes]], body: bytes, reason: str
) -> None:
    async with place.here():
        await place.send_raw(b"a", body, headers)
        await place.ring(("b", 1))
        await place.counted(1)
        await until(lambda: _parked_is(place, [("a", "malformed", "parked")]))
    assert reason in await place.sql.fetchval("SELECT error FROM delivery.parked")
    assert await place.sql.fetchval("SELECT body FROM delivery.parked") == body


async def test_a_type_that_is_not_known_here_is_passed_over_and_counted(place: Playground) -> None:
    async with place.here() as here:
        await place.send_raw(b"a", b"{}", _headers("bells.Melted"))
        await place.ring(("a", 1))
        await place.counted(1)
        assert await here.metric('delivery_events_ignored_total{type="unknown"}') == 1
    assert await _parked(place) == []


async def test_a_handler_that_always_fails_on_one_event_parks_it_after_three_tries(place: Playground) -> None:
    async with place.here() as here:
        await place.ring(("bug", 1), ("a", 1), ("bug", 2), ("a", 2))
        await place.counted(2)
        await until(lambda: _parked_is(place, [("bug", "bug", "parked"), ("bug", "behind", "parked")]))
        assert await place.seen("a") == [1, 2]
        parked = (await here.get("/parked")).json()
        assert parked[0]["attempts"] == 3
        assert parked[0]["error"] == "ZeroDivisionError: bug"
        assert await here.metric('delivery_events_parked_total{kind="bug"}') == 1


async def test_a_message_that_never_works_is_parked_without_another_try(place: Playground) -> None:
    async with place.here() as here:
        await place.ring(("never", 1), ("a", 1))
        await place.counted(1)
        await until(lambda: _parked_is(place, [("never", "never_works", "parked")]))
        assert (await here.get("/parked")).json()[0]["attempts"] == 1


async def test_a_handler_that_fails_twice_and_then_works_parks_nothing(place: Playground) -> None:
    toy.failures["a"] = [ZeroDivisionError("first"), ZeroDivisionError("second")]
    async with place.here():
        await place.ring(("a", 1), ("a", 2))
        await place.counted(2)
    assert await place.seen("a") == [1, 2]
    assert await _parked(place) == []


async def test_too_many_parked_in_a_row_stop_the_consumer_and_a_restart_finds_all_of_them(place: Playground) -> None:
    async with place.here(parked_in_a_row=5) as here:
        for n in range(20):
            await place.send_raw(f"key{n}".encode(), b"nonsense", _headers())

        async def stopped() -> bool:
            return "in a row" in (await here.waits_for()).get("consumer", "")

        await until(stopped)
        assert await here.metric("delivery_consumer_stopped") == 1
        assert (await here.client.get("/health/ready")).status_code == 503
        assert (await here.client.get("/health/live")).status_code == 200
        assert len(await _parked(place)) < 5
    async with place.here(parked_in_a_row=1_000):
        await until(lambda: _count_is(place, 20))


async def _count_is(place: Playground, count: int) -> bool:
    return len(await _parked(place)) == count


async def test_parked_messages_are_replayed_in_order_with_those_behind_or_discarded_with_a_reason(
    place: Playground,
) -> None:
    async with place.here() as here:
        await place.send_raw(b"a", b'{"name": "a", "n": "many"}', _headers())
        await place.ring(("a", 2), ("a", 3))
        await place.send_raw(b"b", b"nonsense", _headers())
        await place.ring(("b", 2))
        await until(lambda: _count_is(place, 5))
        ids = {(row["key"], row["kind"]): row["id"] for row in (await here.get("/parked")).json()}
        first, behind = ids["a", "malformed"], ids["a", "behind"]

        early = await here.post(f"/parked/{behind}/replay", {}, role="supervisor")
        assert early.status_code == 409
        assert f"waits behind message {first}" in early.json()["detail"]

        again = (await here.post(f"/parked/{first}/replay", {}, role="supervisor")).json()
        assert again["still_parked"] == first
        assert again["replayed"] == []

        edited = {"body": '{"name": "a", "n": 1}'}
        done = (await here.post(f"/parked/{first}/replay", edited, role="supervisor")).json()
        assert len(done["replayed"]) == 3
        assert await place.seen("a") == [1, 2, 3]

        refused = await here.post(f"/parked/{ids['b', 'malformed']}/discard", {"reason": ""}, role="supervisor")
        assert refused.status_code == 422
        why = {"reason": "noise from a test bench"}
        discard = f"/parked/{ids['b', 'malformed']}/discard"
        assert (await here.post(discard, why, role="supervisor")).status_code == 204
        assert (await here.post(discard, why, role="supervisor")).status_code == 409
        await here.post(f"/parked/{ids['b', 'behind']}/replay", {}, role="supervisor")
        assert await place.seen("b") == [2]

        kept = (await here.get("/parked?status=discarded")).json()[0]
        assert (kept["settled_by"], kept["settled_why"]) == ("supervisor", "noise from a test bench")
        # The key is free again.
        await place.ring(("a", 4), ("b", 3))
        await place.counted(6)
    assert await place.announced() == {"a": [1, 2, 3, 4], "b": [2, 3]}


async def test_parked_messages_are_settled_by_command_too(place: Playground) -> None:
    async with place.here():
        await place.send_raw(b"a", b'{"name": "a", "n": "many"}', _headers())
        await place.ring(("a", 2))
        await until(lambda: _count_is(place, 2))

    async def command(*arguments: str) -> tuple[int, str]:
        child = place.process("parked", *arguments)
        child.start()
        code = await child.ended(seconds=20)
        return code, child.log.read_text()

    code, text = await command("list")
    assert code == 0
    first = json.loads(text)[0]["id"]
    assert json.loads((await command("show", str(first)))[1])["waiting_behind"] == 1
    assert (await command("replay", str(first)))[0] == 1
    assert (await command("replay", str(first), "--body", '{"name": "a", "n": 1}'))[0] == 0
    assert await place.seen("a") == [1, 2]
    code, text = await command("discard", str(first), "--reason", "too late")
    assert code == 1
    assert "was replayed already, by command line" in text
    assert sys.executable not in text


@pytest.mark.parametrize("key", [b"nul\x00", b"\xff\xfe", os.urandom(2_000).hex().encode()])
async def test_any_key_can_be_parked_waited_behind_and_settled(place: Playground, key: bytes) -> None:
    async with place.here() as here:
        await place.send_raw(key, b"nonsense", _headers())
        await place.send_raw(key, b"more of it", _headers())
        await place.ring(("b", 1))
        await place.counted(1)
        await until(lambda: _count_is(place, 2))
        first, second = (await here.get("/parked")).json()
        assert first["key"] == second["key"]
        early = await here.post(f"/parked/{second['id']}/discard", {"reason": "noise"}, role="supervisor")
        assert early.status_code == 409
        for parked in (first, second):
            done = await here.post(f"/parked/{parked['id']}/discard", {"reason": "noise"}, role="supervisor")
            assert done.status_code == 204


async def test_a_message_whose_reading_fails_in_an_unforeseen_way_is_parked(
    place: Playground, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = toy.Rung.read

    def divides(body: bytes) -> toy._Fact:
        found = read(body)
        if found.name == "a":
            raise ZeroDivisionError("not a ValueError")
        return found

    monkeypatch.setattr(toy.Rung, "read", divides)
    async with place.here():
        await place.ring(("a", 1), ("b", 1))
        await place.counted(1)
        await until(lambda: _parked_is(place, [("a", "malformed", "parked")]))


async def test_an_error_text_that_no_database_holds_is_parked_all_the_same(place: Playground) -> None:
    toy.failures["a"] = [NeverWorks("lone \ud800 and nul \x00")] * 2
    async with place.here():
        await place.ring(("a", 1), ("b", 1))
        await place.counted(1)
        await until(lambda: _parked_is(place, [("a", "never_works", "parked")]))


async def test_a_fault_that_nobody_foresaw_makes_the_consumer_begin_again_and_not_end(place: Playground) -> None:
    await place.sql.execute("ALTER TABLE delivery.inbox RENAME TO away")
    async with place.here() as here:
        await place.ring(("a", 1))

        async def says_so() -> bool:
            return "inbox" in (await here.waits_for()).get("consumer", "")

        await until(says_so)
        await place.sql.execute("ALTER TABLE delivery.away RENAME TO inbox")
        await place.counted(1)
    assert await place.seen("a") == [1]
    assert await _parked(place) == []


async def test_a_handler_that_fails_on_everything_stops_the_consumer(place: Playground) -> None:
    async with place.here(parked_in_a_row=5, chunk_attempts=1) as here:
        await place.ring(*((f"bug{n}", n) for n in range(20)))

        async def stopped() -> bool:
            return "in a row" in (await here.waits_for()).get("consumer", "")

        await until(stopped)
        assert len(await _parked(place)) < 5


async def test_what_waits_behind_one_bad_message_does_not_stop_the_consumer(place: Playground) -> None:
    async with place.here(parked_in_a_row=5) as here:
        await place.ring(*(("never", n) for n in range(30)))
        await place.ring(("a", 1))
        await place.counted(1)
        assert await here.waits_for() == {}
    assert await _count_is(place, 30)


async def test_a_malformed_message_that_comes_again_after_it_was_settled_does_not_block_its_key_again(
    place: Playground,
) -> None:
    async with place.here() as here:
        await place.send_raw(b"a", b"nonsense", _headers())
        await until(lambda: _count_is(place, 1))
        (parked,) = (await here.get("/parked")).json()
        await here.post(f"/parked/{parked['id']}/discard", {"reason": "noise"}, role="supervisor")
    await rewind(place)
    await place.ring(("a", 1))
    async with place.here():
        await place.counted(1)
    assert await _parked(place) == [("a", "malformed", "discarded")]


async def test_a_malformed_event_that_came_twice_takes_effect_once_when_it_is_replayed_and_replayed(
    place: Playground,
) -> None:
    headers = _headers()
    async with place.here() as here:
        for _ in range(2):
            await place.send_raw(b"a", b'{"name": "a", "n": "many"}', headers)
        await until(lambda: _count_is(place, 2))
        for parked in (await here.get("/parked")).json():
            edited = {"body": '{"name": "a", "n": 1}'}
            answer = await here.post(f"/parked/{parked['id']}/replay", edited, role="supervisor")
            assert answer.json()["replayed"] == [parked["id"]]
    assert await place.seen("a") == [1]


@pytest.fixture
async def disturbed(own_servers: Servers, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Playground]:
    """On servers that this module may disturb."""
    name = f"disturbed_{new_id().hex}"
    async with playground(own_servers, await own_servers.create_database(name), topic_prefix, tmp_path) as made:
        yield made


async def test_the_database_away_for_ten_seconds_costs_nothing_but_time(
    disturbed: Playground, own_servers: Servers
) -> None:
    async with disturbed.here() as here:
        await disturbed.ring(("a", 1))
        await disturbed.counted(1)
        await own_servers.database.kill()
        away_since = time.monotonic()
        await disturbed.ring(("a", 2), ("b", 1))

        async def says_so() -> bool:
            return {"database", "consumer"} <= set(await here.waits_for())

        await until(says_so, seconds=15)
        refused = await here.post("/rings", {"name": "c", "n": 1})
        assert refused.status_code == 503
        assert refused.headers["Retry-After"] == "1"
        assert (await here.client.get("/health/live")).status_code == 200
        await asyncio.sleep(max(0.0, 10 - (time.monotonic() - away_since)))
        await own_servers.database.restart()
        await disturbed.counted(3, seconds=30)

        async def ready() -> bool:
            return await here.waits_for() == {}

        await until(ready)
        assert await here.metric('delivery_retries_total{why="slow_down"}') > 0
    assert await disturbed.seen("a") == [1, 2]
    assert await _parked(disturbed) == []
    assert await disturbed.announced() == {"a": [1, 2], "b": [1]}


async def test_a_restarted_broker_loses_nothing(disturbed: Playground, own_servers: Servers) -> None:
    async with disturbed.here() as here:
        await disturbed.ring(("a", 1))
        await disturbed.counted(1)
        await own_servers.broker.kill()
        # HTTP goes on: the outbox holds what cannot be sent.
        answer = await here.post("/rings", {"name": "a", "n": 2})
        assert answer.status_code == 201
        await own_servers.broker.restart()
        await disturbed.ring(("a", 3))
        await disturbed.counted(3, seconds=60)

        async def ready() -> bool:
            return await here.waits_for() == {}

        await until(ready, seconds=30)
    assert await disturbed.seen("a") == [1, 2, 3]
    assert await disturbed.announced() == {"a": [1, 2, 3]}


async def test_while_the_brokers_are_away_readiness_says_so_and_nobody_is_restarted_for_it(
    disturbed: Playground, own_servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Everything that waits for brokers moves more often than this.
    monkeypatch.setattr("delivery.relay._PULSE_SECONDS", 5.0)
    monkeypatch.setattr("delivery.consumer._PULSE_SECONDS", 8.0)
    async with disturbed.here() as here:
        await disturbed.ring(("a", 1))
        await disturbed.counted(1)
        own_servers.broker.freeze()
        try:
            assert (await here.post("/rings", {"name": "a", "n": 2})).status_code == 201

            async def says_so() -> bool:
                return {"consumer", "relay"} <= set(await here.waits_for())

            await until(says_so, seconds=15)
            frozen_until = time.monotonic() + 10
            while time.monotonic() < frozen_until:
                live = await here.client.get("/health/live")
                assert live.status_code == 200, live.text
                await asyncio.sleep(0.2)
        finally:
            own_servers.broker.thaw()
        await disturbed.ring(("a", 3))
        await disturbed.counted(3, seconds=60)

        async def ready() -> bool:
            return await here.waits_for() == {}

        await until(ready, seconds=30)
    assert await disturbed.seen("a") == [1, 2, 3]
    assert await disturbed.announced() == {"a": [1, 2, 3]}


async def test_a_call_is_answered_within_fifteen_seconds_while_the_database_is_silent(
    disturbed: Playground, own_servers: Servers
) -> None:
    async with disturbed.here() as here:
        assert (await here.post("/rings", {"name": "a", "n": 1})).status_code == 201
        own_servers.database.freeze()
        try:
            asked = time.monotonic()
            key = {"Idempotency-Key": "asked-while-silent"}
            answers = await asyncio.gather(
                here.post("/rings", {"name": "a", "n": 2}, **key),
                here.get("/parked"),
                here.post("/parked/1/discard", {"reason": "noise"}, role="supervisor"),
            )
            took = time.monotonic() - asked
            assert [answer.status_code for answer in answers] == [503, 503, 503]
            assert took < 15, f"an answer took {took:.1f} s"
            assert "database" in await here.waits_for()
        finally:
            own_servers.database.thaw()

        async def same_call_again() -> bool:
            return (await here.post("/rings", {"name": "a", "n": 2}, **key)).status_code == 201

        await until(same_call_again, seconds=30)
        await disturbed.counted(2)
    assert await disturbed.seen("a") == [1, 2]


def _slow(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let the toy take so long for each message."""
    count = toy._count

    async def slowly(work: Work, rungs: Sequence[toy.Rung | toy.Ring]) -> None:
        await asyncio.sleep(seconds * len(rungs))
        await count(work, rungs)

    monkeypatch.setattr(toy, "_count", slowly)


async def test_a_long_replay_is_answered_and_its_answer_is_given_again(
    place: Playground, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place.here(transaction_idle_ms=400) as here:
        await place.send_raw(b"a", b'{"name": "a", "n": "many"}', _headers())
        await place.ring(*(("a", n) for n in range(2, 8)))
        await until(lambda: _count_is(place, 7))
        first = (await here.get("/parked")).json()[0]["id"]
        _slow(monkeypatch, 0.15)
        edited, key = {"body": '{"name": "a", "n": 1}'}, {"Idempotency-Key": "long"}
        for _ in range(2):
            done = await here.post(f"/parked/{first}/replay", edited, role="supervisor", **key)
            assert done.status_code == 200, done.text
            assert len(done.json()["replayed"]) == 7
    assert await place.seen("a") == list(range(1, 8))


async def test_a_chunk_that_is_too_much_for_one_transaction_goes_item_by_item(
    place: Playground, monkeypatch: pytest.MonkeyPatch
) -> None:
    _slow(monkeypatch, 0.05)
    await place.ring(*(("a", n) for n in range(20)))
    async with place.here(transaction_idle_ms=400):
        await place.counted(20)
    assert await place.seen("a") == list(range(20))


async def test_what_the_last_chunk_announced_is_sent_before_the_end(
    place: Playground, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered = asyncio.Event()
    count = toy._count

    async def slowly(work: Work, rungs: Sequence[toy.Rung | toy.Ring]) -> None:
        entered.set()
        await asyncio.sleep(0.5)
        await count(work, rungs)

    monkeypatch.setattr(toy, "_count", slowly)
    async with place.here() as here:
        await until(lambda: here.metric("delivery_relay_active"))
        await place.ring(("a", 1))
        await asyncio.wait_for(entered.wait(), 20)
    assert await place.announced() == {"a": [1]}


async def test_a_message_whose_origin_is_too_long_to_be_carried_on_is_parked(place: Playground) -> None:
    async with place.here():
        await place.send_raw(b"a", b'{"name": "a", "n": 1}', _headers(ce_actor="x" * 900_000))
        await place.ring(("b", 1))
        await place.counted(1)
        await until(lambda: _parked_is(place, [("a", "malformed", "parked")]))
    assert "at most" in await place.sql.fetchval("SELECT error FROM delivery.parked")


async def test_a_record_whose_header_name_is_no_text_is_parked_and_the_next_ones_are_handled(
    place: Playground,
) -> None:
    await place.ring(*(("a", n) for n in range(5)))
    partition = await _send_with_header_name(place, b"a", b"\xff\xfe")
    await place.ring(*(("a", n) for n in range(5, 10)), ("b", 1))
    async with place.here() as here:
        await place.counted(11)
        assert await place.seen("a") == list(range(10))
        (parked,) = (await here.get("/parked")).json()
        assert (parked["partition"], parked["offset"], parked["kind"]) == (partition, 5, "malformed")
        assert "header" in parked["error"]
        assert await here.waits_for() == {}


async def _send_with_header_name(place: Playground, key: bytes, name: bytes) -> int:
    """What other clients can send and ours cannot: built with a name of the same length, then changed in its bytes."""
    producer = AIOKafkaProducer(bootstrap_servers=place.settings.kafka_bootstrap_servers)
    await producer.start()
    topic = place.settings.topic_prefix + toy.RUNGS.name
    await producer.partitions_for(topic)
    partition = int(producer._partition(topic, None, key, b"{}", key, b"{}"))
    batch = producer.create_batch()
    batch.append(key=key, value=b"{}", timestamp=None, headers=[("@@", b"")])
    batch.close()
    raw = bytearray(batch._build())
    at = raw.index(b"@@")
    raw[at : at + 2] = name
    raw[17:21] = calc_crc32c(bytes(raw[21:])).to_bytes(4, "big")
    batch._buffer = bytes(raw)
    await (await producer.send_batch(batch, topic, partition=partition))
    await producer.stop()
    return partition


async def test_a_log_line_about_a_message_names_its_trace(place: Playground) -> None:
    service = place.process("serve", http_port=0, log_format="json")
    service.start()
    await place.ring(("bug", 1), traceparent=f"00-{'ab' * 16}-{'cd' * 8}-00")
    await until(lambda: _count_is(place, 1))

    async def parked_line() -> dict[str, str] | None:
        lines = [json.loads(line) for line in service.log.read_text().splitlines() if line.startswith("{")]
        return next((line for line in lines if line["event"] == "parked"), None)

    line = await until(parked_line)
    assert (line["trace_id"], line["service"], line["level"]) == ("ab" * 16, "toy", "error")


async def test_a_service_that_is_deployed_first_says_which_topics_it_waits_for_and_hears_them_when_they_come(
    servers: Servers, database: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with playground(servers, database, topic_prefix, tmp_path, topics=(toy.COUNTS,)) as place:
        async with place.here() as early:

            async def says_so() -> bool:
                return f"{topic_prefix}bells.rungs.v1" in (await early.waits_for()).get("consumer", "")

            await until(says_so)
            assert (await early.post("/rings", {"name": "a", "n": 1})).status_code == 201
            stopping = time.monotonic()
        assert time.monotonic() - stopping < 2, "waiting for a topic must not hold up a stop"
        async with place.here() as again:
            await until(lambda: again.waits_for())
            await create_topics(place.settings, [toy.RUNGS], client="later")
            await place.ring(("a", 2))
            await place.counted(2)
            assert await place.seen("a") == [1, 2]
