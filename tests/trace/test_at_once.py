"""Chunks and commands at the same time: nothing is missed, nothing waits for ever."""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contracts.event import Event
from contracts.trace import BatchRecalled
from services.trace.app import service
from services.trace.store import TraceStore
from tests.service_harness import Running, running
from tests.trace.stories import batch_id, entered, produced, registered


@pytest.fixture
async def at(database: str, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(service, database, tmp_path) as trace:
        yield trace


async def test_two_chunks_that_consume_each_others_items_do_not_block_each_other(at: Running) -> None:
    for turn in range(10):
        ours = [produced("X", f"X{turn}", ("Y", f"Y{turn}", "1"), ("Z", f"Z{turn}", "1"), hours=1)]
        theirs = [produced("Y", f"Y{turn}", ("X", f"X{turn}", "1"), ("Z", f"Z{turn}", "1"), hours=1)]
        async with asyncio.timeout(10):
            await asyncio.gather(at.hear(*ours), at.hear(*theirs), at.hear(registered("Z", f"Z{turn}", "S-1")))
    graph = (await at.get(f"/batches/{batch_id('Z', 'Z3', 'S-1')}/downstream")).json()
    assert {node["batch_no"] for node in graph["nodes"]} == {"X3", "Y3", "Z3"}
    assert await at.parked() == []


async def test_whatever_is_learnt_while_a_recall_opens_is_in_its_scope_and_said_once(at: Running) -> None:
    """A chain of five batches, told in any order by chunks of different items, while the recall of its root opens."""
    dice = random.Random(3)
    for turn in range(8):
        items = [f"{letter}{turn}" for letter in "ABCDE"]
        await at.hear(*entered(items[0], "N", "9", "S-1"))
        await at.said()
        events: list[Event] = [registered(item, "N") for item in items[1:]]
        events += [
            produced(lower, "N", (upper, "N", "1"), hours=hour)
            for hour, (upper, lower) in enumerate(itertools.pairwise(items))
        ]
        dice.shuffle(events)
        body = {"batch_id": str(batch_id(items[0], "N", "S-1")), "reason": "x"}
        opening = at.post("/recalls", body, role="quality")
        told = [at.hear(event) for event in events]
        async with asyncio.timeout(20):
            answered, *_ = await asyncio.gather(opening, *told)
        assert answered.status_code == 201
        recalled = Counter(event.item_id for event in await at.said() if isinstance(event, BatchRecalled))
        assert recalled == dict.fromkeys(items, 1)
        shown = (await at.get(f"/recalls/{answered.json()['recall_id']}")).json()
        assert [each["batch"]["item_id"] for each in shown["batches"]] == items
    assert await at.parked() == []


async def test_a_recall_waits_for_whoever_is_adding_links(at: Running) -> None:
    """A chunk that has written its link and not committed is not missed."""
    await at.hear(*entered("A", "N", "9", "S-1"), registered("B", "N"))
    async with at.runtime.pool.acquire() as db, db.transaction():
        store = TraceStore(db)
        assert await store.grow_genealogy() is False
        await store.add_reports([produced("B", "N", ("A", "N", "1"))])
        body = {"batch_id": str(batch_id("A", "N", "S-1")), "reason": "x"}
        opening = asyncio.create_task(at.post("/recalls", body, role="quality"))
        async with asyncio.timeout(10):
            while not await db.fetchval(  # noqa: ASYNC110 (the database does not tell when somebody waits)
                """
                SELECT count(*) FROM pg_locks
                WHERE locktype = 'advisory' AND NOT granted
                  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                """
            ):
                await asyncio.sleep(0.01)
        assert not opening.done()
    assert (await opening).json()["batch_count"] == 2


async def test_two_who_open_the_same_recall_at_once_open_it_once(at: Running) -> None:
    await at.hear(*entered("A", "N", "9", "S-1"))
    body = {"batch_id": str(batch_id("A", "N", "S-1")), "reason": "x"}
    answers = await asyncio.gather(*(at.post("/recalls", body, role="quality") for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409, 409]
    assert len([event for event in await at.said() if isinstance(event, BatchRecalled)]) == 1


async def test_a_call_that_is_sent_again_with_its_key_opens_nothing_new(at: Running) -> None:
    await at.hear(*entered("A", "N", "9", "S-1"))
    body = {"batch_id": str(batch_id("A", "N", "S-1")), "reason": "x"}
    first = await at.post("/recalls", body, role="quality", key="k1")
    again = await at.post("/recalls", body, role="quality", key="k1")
    assert (first.status_code, again.status_code, first.json()) == (201, 201, again.json())
