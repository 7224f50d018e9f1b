"""Receipts, inspections, picks, the gate, consumption and recalls, on the real database."""

import datetime as dt
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from contracts.inventory import (
    AlertKind,
    HoldLifted,
    HoldPlaced,
    IssueRefused,
    MovementReason,
    StockAlertRaised,
    StockMoved,
)
from contracts.values import Origin, PlaceKind, Purpose, Quality
from delivery import new_id
from services.inventory.app import service
from services.inventory.views import ItemStockView
from tests.inventory.words import MORNING, Lot, bin_, build, carry, moves, where
from tests.service_harness import Running, running

D = Decimal


@pytest.fixture
async def at(database: str, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(service, database, tmp_path) as started:
        await build(started)
        yield started


async def test_a_receipt_moves_goods_from_the_supplier_to_the_dock_and_says_so_with_all_that_listeners_need(
    at: Running,
) -> None:
    lot = Lot("L1")
    received = lot.received("10", quality=Quality.PENDING)
    await at.hear(received, actor="olga")
    (moved,) = await at.said()
    assert isinstance(moved, StockMoved)
    assert (moved.sequence, moved.quantity, moved.unit, moved.reason) == (1, D(10), "C62", "receipt")
    assert (moved.from_place.kind, moved.from_place.partner_id) == (PlaceKind.SUPPLIER, "SUPPLY-CO")
    assert (moved.to_place.location_id, moved.to_place.purpose) == ("DOCK", Purpose.RECEIVING)
    assert moved.to_place.quality is Quality.PENDING
    assert moved.reference == f"{received.receipt_id}/1"
    # 09:00 in UTC is 17:00 of the same day in Shanghai.
    assert moved.batch.received_on == dt.date(2026, 3, 2)
    line = (await at.get("/movements", batch_id=str(lot.batch_id))).json()["items"][0]
    assert (line["actor"], line["quantity"], line["sequence"]) == ("olga", "10", 1)


async def test_a_receipt_heard_five_times_and_said_again_under_another_event_id_is_booked_once(at: Running) -> None:
    lot = Lot("L1")
    received = lot.received("10")
    await at.hear(received, times=5)
    await at.hear(received)
    await at.hear(received, received, lot.received("1"))
    assert await where(at, lot) == {("DOCK", "released"): D(11)}
    assert len(moves(await at.said())) == 2


# 3.2 #32, #34
async def test_the_day_of_the_first_receipt_stays_whatever_is_received_or_moved_later(at: Running) -> None:
    lot = Lot("L1")
    await bin_(at, "A-1")
    first, later = MORNING, MORNING + dt.timedelta(days=5)
    await at.hear(lot.received("1", received_at=first))
    await at.hear(lot.received("1", received_at=later))
    assert (await carry(at, lot, "2", "A-1")).status_code == 201
    said = [event for event in await at.said() if isinstance(event, StockMoved)]
    assert [event.batch.received_on for event in said] == [first.date()] * 3
    assert await where(at, lot) == {("A-1", "released"): D(2)}


async def test_goods_at_a_place_that_nobody_described_are_booked_there_and_a_person_is_told_once(at: Running) -> None:
    lot = Lot("L1")
    await at.hear(lot.received("5", at="NEW-DOCK"), lot.received("6", at="NEW-DOCK"), lot.received("7", site="S9"))
    said = await at.said()
    alerts = [event for event in said if isinstance(event, StockAlertRaised)]
    assert [(alert.kind, alert.site_id, alert.location_id) for alert in alerts] == [
        (AlertKind.UNKNOWN_LOCATION, "S1", "NEW-DOCK"),
        (AlertKind.UNKNOWN_LOCATION, "S9", "DOCK"),
    ]
    place = (await at.get("/sites/S1/locations/NEW-DOCK")).json()
    assert (place["zone_id"], place["purpose"], place["set_up"], place["filled"]) == ("IN", "receiving", False, "11")
    assert [(site["site_id"], site["set_up"]) for site in (await at.get("/sites")).json()] == [
        ("S1", True),
        ("S9", False),
    ]
    await at.hear(lot.received("1", at="NEW-DOCK"))
    assert [type(event) for event in await at.said()] == [StockMoved]


# 3.4 #59 and 3.1 #6
async def test_the_same_batch_at_two_sites_is_reported_apart_and_an_item_by_site(at: Running) -> None:
    lot = Lot("L1")
    await build(at, site="S2", time_zone="Europe/Berlin")
    await bin_(at, "A-1")
    await at.hear(lot.received("10"), lot.received("20", site="S2"), lot.received("1", at="A-1"))
    stock = (await at.get("/items/MILK/stock")).json()
    assert [(row["site_id"], row["on_hand"], row["spots"]) for row in stock["batches"]] == [
        ("S1", "11", 2),
        ("S2", "20", 1),
    ]
    assert (stock["on_hand"], stock["usable"], stock["sequence"], stock["unit"]) == ("31", "31", 3, "C62")
    assert (await at.get("/items/MILK/stock", site_id="S2")).json()["on_hand"] == "20"
    assert (await at.get("/items/NOTHING/stock")).json()["batches"] == []
    ItemStockView.model_validate(stock)


async def test_inspection_releases_and_rejects_pending_goods_location_by_location_and_says_what_was_not_there(
    at: Running,
) -> None:
    lot = Lot("L1")
    await bin_(at, "A-1")
    await at.hear(lot.received("6", quality=Quality.PENDING), lot.received("4", at="A-1", quality=Quality.PENDING))
    await at.said()
    await at.hear(lot.inspected(released="7", rejected="2"), times=3)
    assert await where(at, lot) == {
        ("A-1", "released"): D(4),
        ("DOCK", "pending"): D(1),
        ("DOCK", "rejected"): D(2),
        ("DOCK", "released"): D(3),
    }
    assert [event.sequence for event in await at.said()] == [3, 4, 5]
    await at.hear(lot.inspected(released="5"))
    moved, alert = await at.said()
    assert isinstance(moved, StockMoved)
    assert isinstance(alert, StockAlertRaised)
    assert (moved.quantity, alert.kind, alert.quantity) == (D(1), AlertKind.INSPECTION_DIFFERENCE, D(4))


async def test_a_pick_is_always_booked_and_what_the_books_did_not_have_is_found_first_and_said(at: Running) -> None:
    lot = Lot("L1")
    await bin_(at, "A-1")
    await at.hear(lot.received("8", at="A-1"))
    await at.said()
    pick = lot.picked("10", at="A-1")
    await at.hear(pick, times=2)
    await at.hear(pick)
    assert await where(at, lot) == {("STAGE", "released"): D(10)}
    found, alert, picked = await at.said()
    assert isinstance(found, StockMoved)
    assert isinstance(alert, StockAlertRaised)
    assert isinstance(picked, StockMoved)
    assert (found.reason, found.quantity, found.from_place.kind) == ("adjustment", D(2), PlaceKind.ADJUSTMENT)
    assert (alert.kind, alert.quantity, alert.location_id) == (AlertKind.PICK_DIFFERENCE, D(2), "A-1")
    assert (picked.reason, picked.reference, picked.to_place.purpose) == ("pick", str(pick.pick_id), Purpose.STAGING)


async def test_found_goods_of_a_batch_that_still_waits_for_inspection_do_not_become_released_by_being_picked(
    at: Running,
) -> None:
    lot = Lot("L1")
    await bin_(at, "A-1")
    await at.hear(lot.received("5", quality=Quality.PENDING), lot.received("3", at="A-1"))
    await at.hear(lot.picked("4", at="A-1"))
    assert await where(at, lot) == {
        ("DOCK", "pending"): D(5),
        ("STAGE", "pending"): D(1),
        ("STAGE", "released"): D(3),
    }


async def test_a_pick_to_and_from_unknown_locations_of_an_unknown_batch_is_still_booked(at: Running) -> None:
    lot = Lot("NEVER-SEEN")
    await at.hear(lot.picked("2", at="NOWHERE", to="LANE-7"))
    assert await where(at, lot) == {("LANE-7", "released"): D(2)}
    assert (await at.get("/sites/S1/locations/LANE-7")).json()["purpose"] == "staging"


@pytest.mark.parametrize(("cage", "purpose"), [("CAGE", "rejected"), ("QC-1", "quarantine")])
async def test_a_pick_to_a_cage_is_booked_and_said_and_does_not_leave_from_there(
    at: Running, cage: str, purpose: str
) -> None:
    lot = Lot("L1")
    await at.hear(lot.received("5"))
    await at.said()
    pick = lot.picked("4", at="DOCK", to=cage)
    await at.hear(pick, times=2)
    moved, alert = await at.said()
    assert isinstance(moved, StockMoved)
    assert isinstance(alert, StockAlertRaised)
    assert (alert.kind, alert.location_id, alert.quantity) == (AlertKind.PICK_DIFFERENCE, cage, D(4))
    assert f"is for {purpose}, not staging" in alert.text
    await at.hear(lot.dispatched("4", at=cage))
    (refused,) = await at.said()
    assert isinstance(refused, IssueRefused)
    assert refused.code == "rejected"
    assert f"{cage!r} of site 'S1', which is for {purpose} goods" in refused.reason
    assert await where(at, lot) == {("DOCK", "released"): D(1), (cage, "released"): D(4)}
    carried = await carry(at, lot, "4", "STAGE", from_=cage, path="/transfers")
    assert carried.status_code == 201, carried.text
    await at.hear(lot.dispatched("4"))
    assert await where(at, lot) == {("DOCK", "released"): D(1)}


async def test_a_pick_to_a_storage_location_is_booked_and_said_and_may_leave(at: Running) -> None:
    lot = Lot("L1")
    await bin_(at, "A-1")
    await at.hear(lot.received("5"))
    await at.said()
    await at.hear(lot.picked("4", at="DOCK", to="A-1"), lot.dispatched("4", at="A-1"))
    assert [(type(event), getattr(event, "reason", None)) for event in await at.said()] == [
        (StockMoved, "pick"),
        (StockAlertRaised, None),
        (StockMoved, "issue"),
    ]


# 3.1 #19
async def test_stock_of_four_tenths_shipped_in_two_parts_leaves_exactly_nothing(at: Running) -> None:
    lot = Lot("L1")
    await at.hear(lot.received("0.4"), lot.picked("0.3", at="DOCK"), lot.picked("0.1", at="DOCK"))
    await at.hear(lot.dispatched("0.3"), lot.dispatched("0.1"))
    assert await where(at, lot) == {}
    issued = [event for event in await at.said() if isinstance(event, StockMoved) and event.reason == "issue"]
    assert sum(event.quantity for event in issued) == D("0.4")


async def test_the_gate_lets_released_goods_leave_once_however_often_the_line_is_said(at: Running) -> None:
    lot = Lot("L1")
    await at.hear(lot.received("10", at="STAGE"))
    await at.said()
    line = lot.dispatched("4")
    await at.hear(line, times=5)
    await at.hear(line, line)
    (moved,) = await at.said()
    assert isinstance(moved, StockMoved)
    assert (moved.reason, moved.reference, moved.to_place.kind) == ("issue", str(line.line_id), PlaceKind.CUSTOMER)
    assert moved.to_place.partner_id == "SHOP"
    assert await where(at, lot) == {("STAGE", "released"): D(6)}


# 3.1 #8, 3.4 #57 (do otherwise: refused, and said)
@pytest.mark.parametrize(
    ("stands", "asked", "code", "words"),
    [
        ({"quality": Quality.RELEASED, "quantity": "100"}, "5000", "not_there", "100 of 5000"),
        ({"quality": Quality.PENDING, "quantity": "9"}, "9", "pending", "9 are pending"),
        ({"quality": Quality.REJECTED, "quantity": "9"}, "9", "rejected", "9 are rejected"),
    ],
)
async def test_the_gate_names_what_is_missing(
    at: Running, stands: dict[str, str], asked: str, code: str, words: str
) -> None:
    lot = Lot("L1")
    await at.hear(lot.received(stands["quantity"], at="STAGE", quality=Quality(stands["quality"])))
    before = await where(at, lot)
    await at.said()
    await at.hear(lot.dispatched(asked))
    (refused,) = await at.said()
    assert isinstance(refused, IssueRefused)
    assert (refused.code, refused.sequence) == (code, 1)
    assert words in refused.reason
    assert "'L1'" in refused.reason
    assert await where(at, lot) == before


async def test_the_gate_refuses_an_expired_batch_although_no_watch_has_locked_it_yet(at: Running) -> None:
    lot = Lot("L1", expires_on=dt.date(2026, 3, 2))
    await at.hear(lot.received("5", at="STAGE"))
    # 15:59 in UTC is still the last good day in Shanghai; a minute later it is over.
    at.clock.at = dt.datetime(2026, 3, 2, 15, 59, tzinfo=dt.UTC)
    await at.hear(lot.dispatched("1"))
    at.clock.at = dt.datetime(2026, 3, 2, 16, 0, tzinfo=dt.UTC)
    await at.hear(lot.dispatched("1"))
    _, issued, refused = await at.said()
    assert isinstance(issued, StockMoved)
    assert isinstance(refused, IssueRefused)
    assert (refused.code, refused.reason) == (
        "expired",
        "batch 'L1' expired on 2026-03-02; it is 2026-03-03 at site 'S1'",
    )


async def test_a_line_that_was_refused_can_leave_when_it_is_asked_again_later(at: Running) -> None:
    lot = Lot("L1")
    line = lot.dispatched("4")
    await at.hear(line)
    await at.hear(lot.received("4", at="STAGE"))
    await at.hear(line)
    assert [type(event) for event in await at.said()] == [IssueRefused, StockMoved, StockMoved]


async def test_two_lines_of_one_chunk_do_not_both_get_what_is_there_once(at: Running) -> None:
    lot = Lot("L1")
    await at.hear(lot.received("5", at="STAGE"))
    await at.said()
    await at.hear(lot.dispatched("3"), lot.dispatched("3"), lot.dispatched("2"))
    assert [type(event) for event in await at.said()] == [StockMoved, IssueRefused, StockMoved]
    assert await where(at, lot) == {}


async def test_consumption_takes_released_goods_first_and_says_what_the_books_lack(at: Running) -> None:
    lot = Lot("L1")
    await bin_(at, "A-1")
    await at.hear(lot.received("3", quality=Quality.PENDING), lot.received("4", at="A-1"))
    await at.said()
    await at.hear(lot.consumed("4"), times=2)
    assert [event.reason for event in await at.said() if isinstance(event, StockMoved)] == ["consumption"]
    assert await where(at, lot) == {("DOCK", "pending"): D(3)}
    await at.hear(lot.consumed("5"))
    moved, short, unusable = await at.said()
    assert isinstance(moved, StockMoved)
    assert isinstance(short, StockAlertRaised)
    assert isinstance(unusable, StockAlertRaised)
    assert (moved.quantity, moved.to_place.kind) == (D(3), PlaceKind.PRODUCTION)
    assert (short.kind, short.quantity, unusable.kind) == (
        AlertKind.CONSUMPTION_SHORT,
        D(2),
        AlertKind.UNUSABLE_CONSUMED,
    )


async def test_consumption_of_a_batch_nobody_knows_is_an_alert_and_of_a_suppliers_number_finds_the_batch(
    at: Running,
) -> None:
    lot, other = Lot("L1", supplier_batch_no="SUP-77"), Lot("L2")
    await at.hear(lot.received("3"), other.received("9"))
    await at.said()
    await at.hear(lot.consumed("1", batch_no="NOBODY"), lot.consumed("2", batch_no="X", supplier_batch_no="SUP-77"))
    alert, moved = await at.said()
    assert isinstance(alert, StockAlertRaised)
    assert isinstance(moved, StockMoved)
    assert (alert.kind, alert.batch_id) == (AlertKind.CONSUMPTION_SHORT, None)
    assert (moved.batch_id, moved.quantity) == (lot.batch_id, D(2))


async def test_consumption_that_is_heard_before_the_goods_it_took_is_booked_when_they_are_heard_of(at: Running) -> None:
    lot = Lot("L1", supplier_batch_no="SUP-77")
    early = lot.consumed("4", consumed_at=MORNING + dt.timedelta(hours=2))
    by_supplier = lot.consumed("1", batch_no="X", supplier_batch_no="SUP-77", consumed_at=early.consumed_at)
    await at.hear(early, by_supplier, times=2)
    assert [event.kind for event in await at.said() if isinstance(event, StockAlertRaised)] == [
        AlertKind.CONSUMPTION_SHORT
    ] * 2
    await at.hear(lot.received("10", quality=Quality.PENDING), lot.inspected(released="10"), times=2)
    assert await where(at, lot) == {("DOCK", "released"): D(5)}
    said = await at.said()
    assert not [event for event in said if isinstance(event, StockAlertRaised)]
    used = [event for event in said if isinstance(event, StockMoved) and event.reason is MovementReason.CONSUMPTION]
    assert {(event.reference, event.quantity) for event in used} == {
        (str(early.consumption_id), D(4)),
        (str(by_supplier.consumption_id), D(1)),
    }
    assert {event.effective_at for event in used} == {early.consumed_at}


async def test_what_is_received_after_a_consumption_was_not_what_it_took(at: Running) -> None:
    lot = Lot("L1")
    await at.hear(lot.received("3"))
    await at.hear(lot.consumed("5", consumed_at=MORNING + dt.timedelta(hours=1)))
    await at.hear(lot.received("10", received_at=MORNING + dt.timedelta(hours=2)))
    assert await where(at, lot) == {("DOCK", "released"): D(10)}
    await at.hear(lot.received("1"))
    await at.hear(lot.received("7"))
    assert await where(at, lot) == {("DOCK", "released"): D(16)}


async def test_held_goods_that_were_consumed_are_booked_since_it_is_a_fact_and_an_alert_is_raised(at: Running) -> None:
    lot = Lot("L1")
    await at.hear(lot.received("3"))
    await at.hear(lot.recalled(new_id()))
    await at.said()
    await at.hear(lot.consumed("3"))
    moved, alert = await at.said()
    assert isinstance(moved, StockMoved)
    assert isinstance(alert, StockAlertRaised)
    assert alert.kind is AlertKind.UNUSABLE_CONSUMED
    assert "held" in alert.text


async def test_a_recall_holds_a_batch_everywhere_also_before_it_arrives_and_lets_it_go_by_itself(at: Running) -> None:
    lot, recall, other_recall = Lot("L1"), new_id(), new_id()
    await at.hear(lot.recalled(recall), lot.recalled(recall), lot.recalled(other_recall))
    await at.hear(lot.received("3", at="STAGE"), lot.dispatched("1"))
    await at.hear(lot.let_go(recall), lot.dispatched("1"))
    await at.hear(lot.let_go(other_recall), lot.dispatched("1"))
    said = await at.said()
    assert [type(event) for event in said] == [
        HoldPlaced,
        HoldPlaced,
        StockMoved,
        IssueRefused,
        HoldLifted,
        IssueRefused,
        HoldLifted,
        StockMoved,
    ]
    assert said[0].model_dump()["reference"] == str(recall)
    numbered = [event.sequence for event in said if not isinstance(event, IssueRefused)]
    assert numbered == [1, 2, 3, 4, 5, 6]


# 3.7 #103
async def test_goods_that_were_shipped_and_come_back_stand_where_they_were_received(at: Running) -> None:
    lot = Lot("L1")
    await at.hear(lot.received("5", at="STAGE"), lot.dispatched("5"))
    await at.hear(lot.received("2", origin=Origin.CUSTOMER, partner_id="SHOP", quality=Quality.PENDING))
    assert await where(at, lot) == {("DOCK", "pending"): D(2)}
    last = [event for event in await at.said() if isinstance(event, StockMoved)][-1]
    assert (last.from_place.kind, last.from_place.partner_id) == (PlaceKind.CUSTOMER, "SHOP")


async def test_a_quantity_in_another_unit_than_the_batch_is_kept_in_is_parked_with_both_units_named(
    at: Running,
) -> None:
    lot = Lot("L1")
    await at.hear(lot.received("5", at="STAGE"))
    with pytest.raises(Exception, match="is in KGM, batch 'L1' of item 'MILK' is kept in C62"):
        await at.hear(lot.dispatched("1", unit="KGM"))
    assert await where(at, lot) == {("STAGE", "released"): D(5)}
