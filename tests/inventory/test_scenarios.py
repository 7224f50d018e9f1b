"""What other systems' own tests ask of stock, where no test of ours has their numbers (docs/scenarios.md)."""

import datetime as dt
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from contracts.inventory import AlertKind, HoldPlaced, IssueRefused, RefusalCode, StockAlertRaised, StockMoved
from contracts.receiving import BatchDatesCorrected
from services.inventory.app import service
from tests.inventory.words import MORNING, Lot, bin_, build, carry, item, where
from tests.service_harness import Running, running

D = Decimal


@pytest.fixture
async def at(database: str, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(service, database, tmp_path) as started:
        await build(started)
        for location_id in ("A-1", "A-2"):
            await bin_(started, location_id)
        yield started


async def adjust(at: Running, lot: Lot, location_id: str, delta: str) -> Any:
    body = {
        "batch_id": str(lot.batch_id),
        "item_id": lot.item_id,
        "site_id": "S1",
        "location_id": location_id,
        "quality": "released",
        "delta": delta,
        "reason": "broken in the aisle",
    }
    return await at.post("/adjustments", body, role="supervisor")


async def reverse(at: Running, movement_id: object) -> None:
    body = {"movement_id": str(movement_id), "reason": "it was another one"}
    answer = await at.post("/reversals", body, role="supervisor")
    assert answer.status_code == 201, answer.text


async def lines(at: Running, lot: Lot) -> int:
    """How many lines the ledger has of a batch."""
    return len((await at.get("/movements", batch_id=str(lot.batch_id))).json()["items"])


# 6
async def test_a_site_has_what_stands_in_all_its_bins_and_a_bin_only_its_own(at: Running) -> None:
    lot = Lot("L1")
    await at.hear(lot.received("1"), lot.received("1", at="A-1"))
    assert (await at.get("/items/MILK/stock", site_id="S1")).json()["on_hand"] == "2"
    assert await where(at, lot, site_id="S1", location_id="A-1") == {("A-1", "released"): D(1)}


# 7
async def test_goods_stand_in_locations_and_never_in_the_zone_that_groups_them(at: Running) -> None:
    lot = Lot("L1")
    await at.hear(lot.received("5"))
    answer = await carry(at, lot, "5", "STORE")
    assert (answer.status_code, answer.json()["code"]) == (409, "unknown_location")
    assert await where(at, lot) == {("DOCK", "released"): D(5)}


# 8, 23 (done otherwise: refused, not clamped to what there is)
async def test_what_is_refused_leaves_no_line_in_the_ledger(at: Running) -> None:
    lot = Lot("L1")
    await at.hear(lot.dispatched("1"))
    (refused,) = await at.said()
    assert isinstance(refused, IssueRefused)
    assert refused.code is RefusalCode.NOT_THERE
    assert (await where(at, lot), await lines(at, lot)) == ({}, 0)
    await at.hear(lot.received("10", at="A-1"))
    answer = await adjust(at, lot, "A-1", "-25")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_there")
    assert (await where(at, lot), await lines(at, lot)) == ({("A-1", "released"): D(10)}, 1)


# 34
async def test_the_day_of_receipt_of_each_batch_stays_when_a_transfer_turns_out_to_be_of_the_other_one(
    at: Running,
) -> None:
    first, second = Lot("L1"), Lot("L2")
    monday, saturday = MORNING, MORNING + dt.timedelta(days=5)
    at.clock.at = saturday
    await at.hear(first.received("4", received_at=monday), second.received("4", received_at=saturday))
    wrong = (await carry(at, first, "4", "A-1")).json()
    await reverse(at, wrong["movement_id"])
    assert (await carry(at, second, "4", "A-1")).status_code == 201
    assert (await where(at, first), await where(at, second)) == (
        {("DOCK", "released"): D(4)},
        {("A-1", "released"): D(4)},
    )
    days = {
        (event.batch.batch_no, event.batch.received_on) for event in await at.said() if isinstance(event, StockMoved)
    }
    assert days == {("L1", monday.date()), ("L2", saturday.date())}


# 47: six days of warning; a later expiry moves the warning and the lock along
async def test_a_corrected_expiry_moves_the_warning_and_the_lock_along(at: Running) -> None:
    lot = Lot("L1", expires_on=dt.date(2026, 3, 12))
    await at.hear(item(near_expiry_days=6), lot.received("5"))
    await at.hear(
        BatchDatesCorrected(
            batch_id=lot.batch_id,
            item_id=lot.item_id,
            before=lot.facts,
            after=lot.facts.model_copy(update={"expires_on": dt.date(2026, 4, 11)}),
            reason="thirty days more by the certificate",
            corrected_at=MORNING,
        )
    )
    await at.said()
    spoken: list[tuple[str, type]] = []
    for day in ("2026-03-06", "2026-03-13", "2026-04-04", "2026-04-05", "2026-04-11", "2026-04-12"):
        at.clock.at = dt.datetime.fromisoformat(f"{day}T00:00+08:00")
        await at.watch("expiry")
        spoken += [(day, type(event)) for event in await at.said()]
    assert spoken == [("2026-04-05", StockAlertRaised), ("2026-04-12", HoldPlaced)]


# 49, in production (done otherwise: it has happened, so it is booked, and somebody is told)
async def test_expired_goods_that_production_used_are_booked_and_somebody_is_told(at: Running) -> None:
    lot = Lot("L1", expires_on=dt.date(2026, 3, 1))
    await at.hear(lot.received("4", at="A-1"))
    await at.said()
    await at.hear(lot.consumed("4"))
    moved, alert = await at.said()
    assert isinstance(moved, StockMoved)
    assert isinstance(alert, StockAlertRaised)
    assert alert.kind is AlertKind.UNUSABLE_CONSUMED
    assert "expired" in alert.text
    assert await where(at, lot) == {}


# 58, 60
async def test_part_of_a_batch_stands_apart_and_a_part_of_nothing_or_less_does_not(at: Running) -> None:
    lot, large = Lot("L1"), Lot("L2", item_id="TEA")
    await at.hear(lot.received("100"), large.received("1234"))
    assert (await carry(at, lot, "22", "A-1", path="/transfers")).status_code == 201
    assert (await carry(at, large, "1000", "A-2", path="/transfers")).status_code == 201
    for quantity in ("0", "-1"):
        assert (await carry(at, large, quantity, "A-2", path="/transfers")).status_code == 422
    assert await where(at, lot) == {("DOCK", "released"): D(78), ("A-1", "released"): D(22)}
    assert await where(at, large) == {("DOCK", "released"): D(234), ("A-2", "released"): D(1000)}


# 93
async def test_receipts_of_the_same_instant_count_once_each_and_one_of_them_can_be_undone(at: Running) -> None:
    lot = Lot("L1")
    await at.hear(lot.received("10", at="A-1"), lot.received("1", at="A-1"))
    first, _ = [event for event in await at.said() if isinstance(event, StockMoved)]
    then = MORNING.isoformat()
    assert await where(at, lot, as_of=then) == {("A-1", "released"): D(11)}
    at.clock.at = MORNING + dt.timedelta(hours=1)
    await reverse(at, first.movement_id)
    assert await where(at, lot) == {("A-1", "released"): D(1)}
    assert await where(at, lot, as_of=then, known_at=then) == {("A-1", "released"): D(11)}


# 100
async def test_what_was_used_up_or_scrapped_is_used_again_only_after_it_was_booked_back(at: Running) -> None:
    lot = Lot("L1")
    await at.hear(lot.received("1", at="A-1"))
    await at.said()
    await at.hear(lot.consumed("1"))
    (used,) = await at.said()
    assert isinstance(used, StockMoved)
    await at.hear(lot.consumed("1"))
    (alert,) = await at.said()
    assert isinstance(alert, StockAlertRaised)
    assert (alert.kind, alert.quantity) == (AlertKind.CONSUMPTION_SHORT, D(1))
    await reverse(at, used.movement_id)
    scrapped = (await adjust(at, lot, "A-1", "-1")).json()["movement"]
    assert (await carry(at, lot, "1", "A-2", from_="A-1")).status_code == 409
    await reverse(at, scrapped["movement_id"])
    await at.said()
    await at.hear(lot.consumed("1"))
    (again,) = await at.said()
    assert isinstance(again, StockMoved)
    assert (again.reason, again.quantity) == ("consumption", D(1))
    assert await where(at, lot) == {}


# 103
async def test_an_issue_that_is_booked_back_stands_in_the_bin_it_left_from(at: Running) -> None:
    lot = Lot("L1")
    await at.hear(lot.received("5", at="STAGE"), lot.dispatched("5"))
    issue = next(event for event in await at.said() if isinstance(event, StockMoved) and event.reason == "issue")
    await reverse(at, issue.movement_id)
    assert await where(at, lot) == {("STAGE", "released"): D(5)}
