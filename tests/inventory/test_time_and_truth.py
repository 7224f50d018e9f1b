"""What time makes happen, what the checker finds, and what no two transactions can do to each other."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from contracts.inventory import AlertKind, HoldLifted, HoldPlaced, IssueRefused, StockAlertRaised, StockMoved
from contracts.receiving import BatchDatesCorrected
from contracts.values import HoldKind
from services.inventory.app import service
from services.inventory.checker import OPEN_DIFFERENCES
from tests.inventory.words import MORNING, Lot, bin_, build, carry, item, where
from tests.service_harness import Running, running

D = Decimal


@pytest.fixture
async def at(database: str, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(service, database, tmp_path) as started:
        await build(started)
        yield started


def corrected(lot: Lot, expires_on: dt.date | None) -> BatchDatesCorrected:
    after = lot.facts.model_copy(update={"expires_on": expires_on})
    return BatchDatesCorrected(
        batch_id=lot.batch_id,
        item_id=lot.item_id,
        before=lot.facts,
        after=after,
        reason="the label was misread",
        corrected_at=MORNING,
    )


async def said_by(at: Running, watch: str) -> list[Any]:
    await at.said()
    await at.watch(watch)
    return await at.said()


# Expiry


# 3.3 #46, #47: the warning, then the lock, each at its own site's midnight
async def test_a_batch_is_locked_at_each_sites_own_midnight_and_only_once(at: Running) -> None:
    await build(at, site="S2", time_zone="America/New_York")
    lot = Lot("L1", expires_on=dt.date(2026, 3, 7))
    await at.hear(lot.received("10"), lot.received("5", site="S2"))
    # The night to the 8th in Shanghai: 16:00 in UTC. In New York the 7th ends 13 hours later (and clocks change).
    at.clock.at = dt.datetime(2026, 3, 7, 15, 59, tzinfo=dt.UTC)
    assert await said_by(at, "expiry") == []
    at.clock.at = dt.datetime(2026, 3, 7, 16, 0, tzinfo=dt.UTC)
    (placed,) = await said_by(at, "expiry")
    assert isinstance(placed, HoldPlaced)
    assert (placed.kind, placed.site_id, placed.sequence) == (HoldKind.EXPIRY, "S1", 3)
    assert await said_by(at, "expiry") == []
    at.clock.at = dt.datetime(2026, 3, 8, 4, 59, tzinfo=dt.UTC)
    assert await said_by(at, "expiry") == []
    at.clock.at = dt.datetime(2026, 3, 8, 5, 0, tzinfo=dt.UTC)
    (placed,) = await said_by(at, "expiry")
    assert placed.model_dump()["site_id"] == "S2"
    assert (await at.get("/items/MILK/stock")).json()["usable"] == "0"


async def test_after_a_pause_of_months_everything_that_expired_is_locked_and_nothing_is_said_to_be_near(
    at: Running,
) -> None:
    await at.hear(item(near_expiry_days=30))
    lots = [Lot(f"L{n}", expires_on=dt.date(2026, 4, 1) + dt.timedelta(days=n)) for n in range(20)]
    await at.hear(*(lot.received("1") for lot in lots))
    at.clock.at = dt.datetime(2026, 4, 11, 9, 0, tzinfo=dt.UTC)
    said = await said_by(at, "expiry")
    locked = {event.batch_id for event in said if isinstance(event, HoldPlaced)}
    assert locked == {lot.batch_id for lot in lots[:10]}
    near = [event for event in said if isinstance(event, StockAlertRaised)]
    assert {alert.batch_id for alert in near} == {lot.batch_id for lot in lots[10:]}
    assert {alert.kind for alert in near} == {AlertKind.NEAR_EXPIRY}
    at.clock.at = dt.datetime(2026, 12, 1, tzinfo=dt.UTC)
    assert [type(event) for event in await said_by(at, "expiry")] == [HoldPlaced] * 10


async def test_near_expiry_is_said_once_per_batch_and_site_and_follows_a_changed_warning_time(at: Running) -> None:
    lot = Lot("L1", expires_on=dt.date(2026, 3, 20))
    await at.hear(item(near_expiry_days=5, revision=1), lot.received("7"))
    assert await said_by(at, "expiry") == []
    await at.hear(item(near_expiry_days=30, revision=3))
    await at.hear(item(near_expiry_days=1, revision=2))
    (alert,) = await said_by(at, "expiry")
    assert isinstance(alert, StockAlertRaised)
    assert (alert.kind, alert.quantity, alert.site_id) == (AlertKind.NEAR_EXPIRY, D(7), "S1")
    assert "18 days are left" in alert.text
    at.clock.at += dt.timedelta(days=2)
    assert await said_by(at, "expiry") == []


async def test_what_left_before_it_expired_is_not_spoken_of_until_it_comes_back(at: Running) -> None:
    lot = Lot("L1", expires_on=dt.date(2026, 3, 3))
    await at.hear(lot.received("7", at="STAGE"), lot.dispatched("7"))
    at.clock.at = dt.datetime(2026, 3, 9, tzinfo=dt.UTC)
    assert await said_by(at, "expiry") == []
    await at.hear(lot.received("2"))
    (placed,) = await said_by(at, "expiry")
    assert isinstance(placed, HoldPlaced)
    assert await said_by(at, "expiry") == []


async def test_a_batch_without_expiry_is_never_locked(at: Running) -> None:
    await at.hear(Lot("SALT", expires_on=None).received("7"))
    at.clock.at = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
    assert await said_by(at, "expiry") == []


# 3.3 #47 as far as inventory goes
async def test_a_corrected_expiry_lifts_and_places_the_lock_and_is_said_with_the_next_movement(at: Running) -> None:
    lot = Lot("L1", expires_on=dt.date(2026, 3, 1))
    await bin_(at, "A-1")
    await at.hear(lot.received("7", at="STAGE"))
    await at.watch("expiry")
    await at.said()
    await at.hear(corrected(lot, dt.date(2026, 5, 1)))
    (lifted,) = await at.said()
    assert isinstance(lifted, HoldLifted)
    assert "the label was misread" in lifted.reason
    await at.hear(lot.dispatched("1"))
    (issued,) = await at.said()
    assert isinstance(issued, StockMoved)
    assert issued.batch.expires_on == dt.date(2026, 5, 1)
    assert issued.batch.received_on == dt.date(2026, 3, 2)
    await at.hear(corrected(lot, dt.date(2026, 3, 1)), times=2)
    (placed,) = await at.said()
    assert isinstance(placed, HoldPlaced)
    assert await said_by(at, "expiry") == []
    await at.hear(corrected(lot, None))
    assert [type(event) for event in await at.said()] == [HoldLifted]
    await at.hear(corrected(lot, dt.date(2026, 3, 4)))
    assert await said_by(at, "expiry") == []
    at.clock.at = dt.datetime(2026, 3, 5, tzinfo=dt.UTC)
    assert [type(event) for event in await said_by(at, "expiry")] == [HoldPlaced]


async def test_dates_of_a_batch_that_never_came_are_no_business_of_ours(at: Running) -> None:
    await at.hear(corrected(Lot("L9"), dt.date(2026, 3, 1)))
    assert await at.said() == []
    assert await at.parked() == []


# History cannot change


async def test_the_services_role_can_neither_change_nor_remove_lines_of_the_ledger(at: Running) -> None:
    lot = Lot("L1")
    await at.hear(lot.received("7"))
    parts = await at.runtime.pool.fetch(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'movement'::regclass"
    )
    tables = ["movement", *(row["inhrelid"] for row in parts)]
    assert len(tables) == 13
    for table in [*tables, "booking", "count_result"]:
        column = {"booking": "booked_at = booked_at", "count_result": "reason = reason"}.get(table, "quantity = 1")
        for statement in (f"UPDATE {table} SET {column}", f"DELETE FROM {table}", f"TRUNCATE {table}"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await at.runtime.pool.execute(statement)
    assert await where(at, lot) == {("DOCK", "released"): D(7)}


async def test_the_database_itself_refuses_balances_below_zero_and_lines_that_are_no_movement(at: Running) -> None:
    lot = Lot("L1")
    await at.hear(lot.received("7"))
    with pytest.raises(asyncpg.CheckViolationError):
        await at.runtime.pool.execute("UPDATE balance SET quantity = quantity - 8")
    copy = "INSERT INTO movement SELECT (jsonb_populate_record(movement, $1)).* FROM movement"
    for wrong in ({"quantity": -1}, {"to_quality": None}, {"from_kind": "location"}, {"reason": "reversal"}):
        with pytest.raises(asyncpg.CheckViolationError):
            await at.runtime.pool.execute(copy, {"movement_id": str(lot.batch_id), "sequence": 2, **wrong})


# The checker


async def test_the_checker_raises_an_alarm_at_the_first_difference_once_and_settles_it_when_it_is_gone(
    at: Running, database: str
) -> None:
    lot, other = Lot("L1"), Lot("T1", item_id="TEA")
    await at.hear(lot.received("7"), other.received("5"), lot.picked("2", at="DOCK"), lot.recalled(lot.batch_id))
    assert await said_by(at, "checker") == []
    assert (await at.get("/checks")).json()["holds"] is True
    superuser = await asyncpg.connect(database)
    await superuser.execute("UPDATE balance SET quantity = 6 WHERE batch_id = $1", other.batch_id)
    try:
        assert await said_by(at, "checker") == []  # the round that had come to its end
        (alert,) = await said_by(at, "checker")
        assert isinstance(alert, StockAlertRaised)
        assert (alert.kind, alert.item_id, alert.batch_id) == (AlertKind.LEDGER_DIFFERENCE, "TEA", other.batch_id)
        assert "the ledger says 5, the balance kept is 6" in alert.text
        for _ in range(3):
            assert await said_by(at, "checker") == []
        assert OPEN_DIFFERENCES._value.get() == 1
        found = (await at.get("/checks")).json()
        assert (found["holds"], [each["ledger"] for each in found["differences"]]) == (False, ["5"])
        await superuser.execute("UPDATE balance SET quantity = 5 WHERE batch_id = $1", other.batch_id)
        now = await at.post("/checks", {}, role="auditor")
        assert (now.status_code, now.json()["holds"]) == (200, True)
        assert OPEN_DIFFERENCES._value.get() == 0
    finally:
        await superuser.close()


@pytest.mark.parametrize(
    ("tampering", "words"),
    [
        ("DELETE FROM movement WHERE sequence = 2", "sequence"),
        ("DELETE FROM balance WHERE location_id = 'STAGE'", "the ledger says 2, the balance kept is 0"),
        ("UPDATE balance SET location_id = 'CAGE' WHERE location_id = 'STAGE'", "CAGE"),
        ("UPDATE movement SET quantity = 8 WHERE sequence = 1", "the ledger says 6, the balance kept is 5"),
        ("UPDATE item_sequence SET last = 9", "the sequence kept is 9"),
        ("DELETE FROM hold", "sequence"),
        ("WITH gone AS (DELETE FROM hold) DELETE FROM movement", "the ledger says 0, the sequence kept is"),
        ("INSERT INTO item_sequence VALUES ('GHOST', 3)", "the ledger says 0, the sequence kept is 3"),
    ],
)
async def test_whatever_is_tampered_with_by_hand_is_found(
    at: Running, database: str, tampering: str, words: str
) -> None:
    lot = Lot("L1")
    await at.hear(lot.received("7"), lot.picked("2", at="DOCK"))
    await at.hear(lot.recalled(lot.batch_id))
    await at.said()
    superuser = await asyncpg.connect(database)
    await superuser.execute(tampering)
    await superuser.close()
    answer = await at.post("/checks", {}, role="supervisor")
    assert answer.json()["holds"] is False
    assert any(words in event.text for event in await at.said() if isinstance(event, StockAlertRaised))


async def test_the_checkers_metric_stands_beside_the_others(at: Running) -> None:
    await at.watch("checker")
    assert "inventory_ledger_differences 0.0" in (await at.client.get("/metrics")).text


# Cost


async def test_the_number_of_statements_does_not_grow_with_the_chunk(
    at: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements: list[str] = []

    def counted(real: Any) -> Any:
        def call(self: Any, query: str, *values: Any, **more: Any) -> Any:
            statements.append(query)
            return real(self, query, *values, **more)

        return call

    for name in ("fetch", "fetchrow", "fetchval", "execute", "copy_records_to_table"):
        monkeypatch.setattr(asyncpg.Connection, name, counted(getattr(asyncpg.Connection, name)))

    async def cost(*events: Any) -> int:
        statements.clear()
        await at.hear(*events)
        return len(statements)

    few, many = ([Lot(f"L{n}", item_id=f"I{n % 40}") for n in range(size)] for size in (2, 200))
    costs = {}
    for kind, say in {
        "receipts": lambda lot: lot.received("9"),
        "picks": lambda lot: lot.picked("6", at="DOCK"),
        "issues": lambda lot: lot.dispatched("2"),
        "consumptions": lambda lot: lot.consumed("1"),
        "inspections": lambda lot: lot.inspected(released="1"),
        "recalls": lambda lot: lot.recalled(lot.batch_id),
    }.items():
        costs[kind] = (await cost(*map(say, few)), await cost(*map(say, many)))
    assert {kind: small - large for kind, (small, large) in costs.items()} == dict.fromkeys(costs, 0), costs
    assert max(large for _, large in costs.values()) <= 15, costs


# Side by side


async def test_nothing_leaves_after_a_hold_whatever_runs_side_by_side(at: Running) -> None:
    lot = Lot("L1")
    await at.hear(lot.received("1000", at="STAGE"))
    await at.said()
    body = {"batch_id": str(lot.batch_id), "kind": "manual", "reason": "glass found"}

    async def ship(lines: int) -> None:
        for _ in range(lines):
            await at.hear(lot.dispatched("1"), lot.dispatched("1"))

    async def hold_in_the_midst() -> Any:
        left = D(1000)
        while left > D(980):
            left = (await where(at, lot))["STAGE", "released"]
        return await at.post("/holds", body, role="quality")

    placed, *_ = await asyncio.gather(hold_in_the_midst(), ship(15), ship(15), ship(15))
    assert placed.status_code == 201
    said = await at.said()
    held_at = next(event.sequence for event in said if isinstance(event, HoldPlaced))
    issued = [event.sequence for event in said if isinstance(event, StockMoved)]
    refused = [event for event in said if isinstance(event, IssueRefused)]
    assert held_at == placed.json()["placed_sequence"]
    # Both happened, so that this test shows something: some left before the hold, and none after it.
    assert issued
    assert refused
    assert max(issued) < held_at
    assert {event.code for event in refused} == {"held"}
    assert len(issued) + len(refused) == 90
    assert await where(at, lot) == {("STAGE", "released"): D(1000 - len(issued))}


# 3.1 #5
async def test_two_replicas_that_work_on_one_item_lose_nothing_and_count_without_gaps(
    at: Running, database: str, tmp_path: Path
) -> None:
    lot = Lot("L1")
    for location_id in ("A-1", "A-2"):
        await bin_(at, location_id)
    await at.hear(lot.received("100"))
    async with running(service, database, tmp_path / "second") as other:

        async def work_on(one: Running, to: str) -> None:
            for _ in range(10):
                await one.hear(lot.received("1"))
                answer = await carry(one, lot, "3", to)
                assert answer.status_code == 201, answer.text
                await one.hear(lot.picked("1", at=to))

        await asyncio.gather(work_on(at, "A-1"), work_on(other, "A-2"))
        checked = await other.post("/checks", {}, role="auditor")
    assert checked.json()["holds"] is True
    assert await where(at, lot) == {
        ("DOCK", "released"): D(60),
        ("A-1", "released"): D(20),
        ("A-2", "released"): D(20),
        ("STAGE", "released"): D(20),
    }
    sequences = [event.sequence for event in await at.said() if isinstance(event, StockMoved)]
    assert sequences == list(range(1, 62))


async def test_two_replicas_that_fill_one_bin_with_different_items_do_not_overfill_it(
    at: Running, database: str, tmp_path: Path
) -> None:
    lots = [Lot(f"L{n}", item_id=f"I{n}") for n in range(20)]
    for n in range(5):
        await bin_(at, f"B-{n}", capacity="3")
    await at.hear(*(lot.received("10") for lot in lots))
    async with running(service, database, tmp_path / "second") as other:
        for n in range(5):
            answers = await asyncio.gather(
                *(carry((at, other)[m % 2], lots[4 * n + m], "2", f"B-{n}") for m in range(4))
            )
            assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    filled = (await at.get("/sites/S1/locations", zone_id="STORE")).json()["items"]
    assert [place["filled"] for place in filled] == ["2"] * 5


async def test_a_bin_does_not_change_its_purpose_while_goods_are_on_their_way_into_it(at: Running) -> None:
    lots = [Lot(f"L{n}", item_id=f"I{n}") for n in range(12)]
    for n in range(12):
        await bin_(at, f"B-{n}")
    await at.hear(*(lot.received("1") for lot in lots))
    await at.said()
    answers = await asyncio.gather(
        *(carry(at, lot, "1", f"B-{n}") for n, lot in enumerate(lots)),
        *(bin_(at, f"B-{n}", "REJ") for n in range(12)),
    )
    put, changed = answers[:12], answers[12:]
    for n in range(12):
        # One of the two was first; the other one saw it.
        assert (put[n].status_code, changed[n].status_code) in {(201, 409), (409, 200)}
    for event in await at.said():
        assert isinstance(event, StockMoved)
        assert event.to_place.purpose == "storage"
