"""What people do with stock over HTTP: the building, put-away, corrections, holds; on the real database."""

import asyncio
import base64
import datetime as dt
import uuid
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from contracts.gs1 import element_string, parse_bracketed
from contracts.integration import GtinAlias
from contracts.inventory import MOST_PLACES, HoldLifted, HoldPlaced, IssueRefused, SiteDefined, StockMoved
from contracts.values import Climate, Quality
from delivery import new_id
from services.inventory.app import service
from tests.inventory.words import MORNING, Lot, bin_, build, carry, item, moves, where
from tests.service_harness import Running, running

D = Decimal


@pytest.fixture
async def at(database: str, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(service, database, tmp_path) as started:
        await build(started)
        for location_id in ("A-1", "A-2"):
            await bin_(started, location_id)
        yield started


def refused(answer: Any, status: int, code: str, *words: str, field: str | None = None) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    for word in words:
        assert word in answer.json()["detail"]
    if field is not None:
        assert [each["field"] for each in answer.json()["fields"]] == [field]


async def adjust(at: Running, lot: Lot, location_id: str, *, role: str = "supervisor", **what: Any) -> Any:
    body = {
        "batch_id": str(lot.batch_id),
        "item_id": lot.item_id,
        "site_id": "S1",
        "location_id": location_id,
        "quality": "released",
        "reason": "cycle count",
        **what,
    }
    return await at.post("/adjustments", body, role=role)


async def reverse(at: Running, movement_id: Any) -> Any:
    return await at.post("/reversals", {"movement_id": str(movement_id), "reason": "keyed twice"}, role="supervisor")


async def hold(at: Running, lot: Lot, *, kind: str = "manual", role: str = "quality", **where_: str) -> Any:
    body = {"batch_id": str(lot.batch_id), "kind": kind, "reason": "seal of a carton broken", **where_}
    return await at.post("/holds", body, role=role)


# The building


# 3.1 #7 and #21
async def test_a_zone_with_stock_keeps_its_purpose_and_a_location_with_stock_its_zone(at: Running) -> None:
    await at.hear(Lot("L1").received("5", at="A-1"))
    zone = {"name": "Store", "purpose": "rejected"}
    refused(
        await at.put("/sites/S1/zones/STORE", zone, role="supervisor"), 409, "stock_in_zone", "'STORE'", "5", "storage"
    )
    refused(await bin_(at, "A-1", "REJ"), 409, "stock_in_location", "'A-1'", "'STORE'", "5")
    assert (await bin_(at, "A-2", "REJ")).status_code == 200
    assert (await at.put("/sites/S1/zones/STORE", {**zone, "purpose": "storage"}, role="supervisor")).status_code == 200
    assert (await at.get("/sites/S1/locations/A-1")).json()["purpose"] == "storage"


async def test_places_that_cannot_be_are_refused_with_the_value(at: Running) -> None:
    for path, body, status, word in (
        ("/sites/S3", {"name": "X", "time_zone": "Mars/Base"}, 422, "'Mars/Base'"),
        ("/sites/NO/zones/Z", {"name": "X", "purpose": "storage"}, 404, "'NO'"),
        ("/sites/S1/zones/Z", {"name": "X", "purpose": "unknown"}, 422, "unknown"),
        ("/sites/S1/zones/Z", {"name": "X", "purpose": "storage", "climate": "tepid"}, 422, "tepid"),
        ("/sites/S1/locations/B", {"zone_id": "NO"}, 404, "'NO'"),
        ("/sites/S1/locations/B", {"zone_id": "STORE", "capacity": "-1"}, 422, "-1"),
        ("/sites/S1/locations/B", {"zone_id": "STORE", "capacity": 1.5}, 422, "1.5"),
    ):
        answer = await at.put(path, body, role="supervisor")
        assert answer.status_code == status, answer.text
        assert word in answer.json()["detail"]
    assert (await at.put("/sites/S3", {"name": "X", "time_zone": "UTC"}, role="operator")).status_code == 403
    await at.hear(Lot("L1").received("5", at="A-1"), Lot("T1", item_id="TEA").received("5", at="A-1"))
    refused(await bin_(at, "A-1", capacity="9"), 409, "no_room", "10", "9")
    refused(await bin_(at, "A-1", single_item=True), 409, "other_item", "2 items")


# Put-away and transfers


# 3.4 #65 (do otherwise: both ends keep their history, in one line)
async def test_thirty_of_a_hundred_join_a_hundred_of_the_same_batch(at: Running) -> None:
    lot = Lot("L1")
    await at.hear(lot.received("100"), lot.received("100", at="A-1"))
    answer = await carry(at, lot, "30", "A-1", path="/transfers")
    assert answer.status_code == 201, answer.text
    assert await where(at, lot) == {("DOCK", "released"): D(70), ("A-1", "released"): D(130)}
    line = answer.json()
    assert (line["reason"], line["quantity"], line["sequence"], line["actor"]) == ("transfer", "30", 3, "operator")
    for place in ("DOCK", "A-1"):
        lines = (await at.get("/movements", site_id="S1", location_id=place)).json()["items"]
        assert line["movement_id"] in [each["movement_id"] for each in lines]


# 3.5 #70
async def test_a_shelf_for_a_hundred_takes_the_first_hundred_and_the_second_goes_elsewhere(at: Running) -> None:
    lot = Lot("L1")
    await bin_(at, "S-100", capacity="100")
    await at.hear(item(), lot.received("200"))
    asked = {"batch_id": str(lot.batch_id), "site_id": "S1", "from_location_id": "DOCK", "quality": "released"}
    first = (await at.get("/put-away/proposals", **asked, quantity="100")).json()
    assert first["proposed"] == "S-100"
    assert (await carry(at, lot, "100", "S-100")).status_code == 201
    refused(await carry(at, lot, "1", "S-100"), 409, "no_room", "100 of its capacity 100 are taken; 1 more")
    second = (await at.get("/put-away/proposals", **asked)).json()
    assert second["proposed"] == "A-1"
    assert {each["location_id"]: each["code"] for each in second["passed_over"]}["S-100"] == "no_room"
    refused(await at.get("/put-away/proposals", **{**asked, "from_location_id": "A-2"}), 404, "not_there", "'L1'")


# 3.5 #71
async def test_no_way_leads_round_the_rules_of_a_location(at: Running) -> None:
    lot, other, tea = Lot("L1"), Lot("L2"), Lot("T1", item_id="TEA")
    await bin_(at, "ONE", single_item=True)
    await at.put("/sites/S1/zones/COLD", {"name": "C", "purpose": "storage", "climate": "cold"}, role="supervisor")
    await bin_(at, "C-1", "COLD")
    await at.hear(item(), item("TEA"))
    await at.hear(lot.received("9"), other.received("9", at="A-1"), tea.received("9", at="ONE"))
    for path in ("/put-aways", "/transfers"):
        refused(await carry(at, lot, "1", "A-1", path=path), 409, "other_batch", "'L2'", "'L1'")
        refused(await carry(at, lot, "1", "ONE", path=path), 409, "other_item", "'TEA'")
        refused(await carry(at, lot, "1", "C-1", path=path), 409, "wrong_climate", "cold", "ambient")
        refused(await carry(at, lot, "1", "CAGE", path=path), 409, "wrong_purpose", "rejected")
        refused(await carry(at, lot, "1", "DOCK", path=path), 409, "same_location", "'DOCK'")
        refused(await carry(at, lot, "1", "NOPE", path=path), 409, "unknown_location", "'NOPE'", field="to_location_id")
        refused(
            await carry(at, lot, "10", "A-2", path=path),
            409,
            "not_there",
            "10 C62 wanted, 9 C62 are",
            "'L1'",
            field="quantity",
        )
        assert (await carry(at, lot, "0", "A-2", path=path)).status_code == 422
        assert (await carry(at, lot, "-1", "A-2", path=path)).status_code == 422
        refused(await carry(at, Lot("L9"), "1", "A-2", path=path), 404, "unknown_batch")
    assert (await carry(at, tea, "1", "A-1", from_="ONE")).status_code == 201
    assert (await carry(at, lot, "9", "A-2")).status_code == 201


async def test_ten_people_who_fill_one_bin_at_once_do_not_overfill_or_mix_it(at: Running) -> None:
    lots = [Lot(f"L{n}", item_id=f"I{n % 2}") for n in range(4)]
    await bin_(at, "B", capacity="5")
    await at.hear(*(lot.received("10") for lot in lots))
    answers = await asyncio.gather(*(carry(at, lots[n % 4], "2", "B") for n in range(12)))
    place = (await at.get("/sites/S1/locations/B")).json()
    stood = (await at.get("/stock", site_id="S1", location_id="B")).json()["items"]
    assert D(place["filled"]) == 2 * sum(answer.status_code == 201 for answer in answers) == D(4)
    assert len({row["item_id"] for row in stood}) == len(stood)


async def test_the_scan_of_another_batch_or_item_stops_a_put_away(at: Running) -> None:
    lot = Lot("L1")
    await at.hear(item(gtins=(GtinAlias(gtin="09521234567899", unit="C62"),)), lot.received("9"))

    async def scanned(bracketed: str) -> Any:
        return await carry(at, lot, "1", "A-1", scan=element_string(parse_bracketed(bracketed)))

    refused(await scanned("(01)09521234567899(10)L2"), 409, "wrong_batch", "'L2'", "'L1'", field="scan")
    refused(await scanned("(01)04012345678901(10)L1"), 409, "wrong_item", "04012345678901", "09521234567899")
    refused(await carry(at, lot, "1", "A-1", scan="??"), 409, "unreadable_scan")
    assert (await scanned("(01)09521234567899(10)L1")).status_code == 201


async def test_a_transfer_can_be_told_later_but_not_ahead_and_not_across_a_count(at: Running) -> None:
    lot = Lot("L1")
    await at.hear(lot.received("9", received_at=MORNING - dt.timedelta(days=2)))
    yesterday = (MORNING - dt.timedelta(days=1)).isoformat()
    tomorrow = (MORNING + dt.timedelta(days=1)).isoformat()
    refused(
        await carry(at, lot, "1", "A-1", path="/transfers", effective_at=tomorrow),
        409,
        "in_the_future",
        "2026-03-03",
        field="effective_at",
    )
    assert (await carry(at, lot, "1", "A-1", path="/transfers", effective_at=yesterday)).status_code == 201
    assert (await adjust(at, lot, "DOCK", counted="8")).status_code == 200
    refused(await carry(at, lot, "1", "A-1", path="/transfers", effective_at=yesterday), 409, "counted_since", "'L1'")


async def test_the_same_put_away_sent_twice_moves_once(at: Running) -> None:
    lot = Lot("L1")
    await at.hear(lot.received("9"))
    body = {
        "batch_id": str(lot.batch_id),
        "site_id": "S1",
        "from_location_id": "DOCK",
        "to_location_id": "A-1",
        "quality": "released",
        "quantity": "2",
    }
    answers = [await at.post("/put-aways", body, role="operator", key="scan-77") for _ in range(3)]
    assert {answer.text for answer in answers} == {answers[0].text}
    assert await where(at, lot) == {("DOCK", "released"): D(7), ("A-1", "released"): D(2)}


async def test_a_person_of_another_site_moves_nothing_here(at: Running) -> None:
    lot = Lot("L1")
    await at.hear(lot.received("9"))
    headers = {**at.token("operator", sites=["S2"]), "Idempotency-Key": str(uuid.uuid4())}
    body = {
        "batch_id": str(lot.batch_id),
        "site_id": "S1",
        "from_location_id": "DOCK",
        "to_location_id": "A-1",
        "quality": "released",
        "quantity": "2",
    }
    refused(await at.client.post("/put-aways", json=body, headers=headers), 403, "wrong_site", "'S1'")
    headers = {**at.token("supervisor", sites=["S2"]), "Idempotency-Key": str(uuid.uuid4())}
    (line,) = (await at.get("/movements", batch_id=str(lot.batch_id))).json()["items"]
    undo = {"movement_id": line["movement_id"], "reason": "not mine"}
    refused(await at.client.post("/reversals", json=undo, headers=headers), 403, "wrong_site", "'S1'")


async def test_a_person_of_another_site_sees_nothing_of_this_one(at: Running) -> None:
    lot = Lot("L1")
    await build(at, site="S2")
    await at.hear(lot.received("9"), lot.received("4", site="S2"))
    await hold(at, lot, site_id="S1")
    headers = at.token("operator", sites=["S2"])

    async def asked(path: str, **query: str) -> Any:
        return await at.client.get(path, params=query, headers=headers)

    for path in ("/sites/S1", "/sites/S1/zones", "/sites/S1/locations", "/sites/S1/count-list"):
        refused(await asked(path), 403, "wrong_site", "'S1'", "'S2'")
    refused(await asked("/stock", site_id="S1"), 403, "wrong_site", "'S1'", "'S2'")
    for path in ("/stock", "/items/MILK/stock"):
        refused(await asked(path), 403, "wrong_site", "'S2'")
    assert (await asked("/items/MILK/stock", site_id="S2")).json()["on_hand"] == "4"
    assert [row["site_id"] for row in (await asked("/sites")).json()] == ["S2"]
    assert [row["quantity"] for row in (await asked(f"/batches/{lot.batch_id}/locations")).json()] == ["4"]
    assert [row["quantity"] for row in (await asked("/movements", item_id="MILK")).json()["items"]] == ["4"]
    assert (await asked("/holds", item_id="MILK")).json()["items"] == []


# Counting


# 3.5 #75
async def test_a_count_that_agrees_moves_nothing_and_others_move_only_the_difference(at: Running) -> None:
    lot, other = Lot("L1"), Lot("L2", item_id="TEA")
    await at.hear(lot.received("20", at="A-1"), other.received("30", at="A-2"))
    await at.said()
    same = await adjust(at, lot, "A-1", counted="20")
    assert (same.status_code, same.json()["difference"], same.json()["movement"]) == (200, "0", None)
    less = (await adjust(at, lot, "A-1", counted="19")).json()
    more = (await adjust(at, other, "A-2", counted="33")).json()
    assert [less["difference"], more["difference"]] == ["-1", "3"]
    assert moves(await at.said()) == [("adjustment", "L1", D(1)), ("adjustment", "L2", D(3))]
    assert await where(at, lot) == {("A-1", "released"): D(19)}


# 3.5 #77, 3.1 #23 (do otherwise: refused, not clamped), 3.4 #60
async def test_counts_below_nothing_and_adjustments_of_more_than_there_is_change_nothing(at: Running) -> None:
    lot = Lot("L1")
    await at.hear(lot.received("10", at="A-1"))
    before = await where(at, lot)
    assert (await adjust(at, lot, "A-1", counted="-1")).status_code == 422
    refused(
        await adjust(at, lot, "A-1", delta="-25"), 409, "not_there", "25 C62 wanted, 10 C62 are", "'L1'", field="delta"
    )
    refused(await adjust(at, lot, "A-1", delta="1", item_id="TEA"), 409, "wrong_item", "'MILK'", "'TEA'")
    refused(await adjust(at, lot, "NOPE", counted="1"), 409, "unknown_location", "'NOPE'", field="location_id")
    for wrong in ({}, {"counted": "1", "delta": "1"}, {"delta": "0"}, {"counted": "1", "reason": ""}):
        assert (await adjust(at, lot, "A-1", **wrong)).status_code == 422
    assert (await adjust(at, lot, "A-1", counted="1", role="operator")).status_code == 403
    assert await where(at, lot) == before


# 3.4 #63: what somebody saw before is not what is there now
async def test_a_count_that_began_before_goods_moved_is_refused_and_two_corrections_add_up(at: Running) -> None:
    lot = Lot("L1")
    await at.hear(lot.received("100", at="A-1"))
    answers = await asyncio.gather(adjust(at, lot, "A-1", delta="-60"), adjust(at, lot, "A-1", delta="50"))
    assert [answer.status_code for answer in answers] == [201, 201]
    assert await where(at, lot) == {("A-1", "released"): D(90)}
    refused(
        await adjust(at, lot, "A-1", counted="99", expected="100"),
        409,
        "moved_meanwhile",
        "100",
        "90",
        field="expected",
    )


# 3.5 #78
async def test_a_list_to_count_by_goes_by_expiry_then_bin_then_batch(at: Running) -> None:
    late = Lot("LATE", expires_on=dt.date(2027, 1, 1))
    soon = Lot("SOON", item_id="TEA", expires_on=dt.date(2026, 5, 1))
    never = Lot("NEVER", item_id="SALT", expires_on=None)
    await at.hear(never.received("1", at="A-1"), late.received("1", at="A-1"), soon.received("1", at="A-2"))
    await at.hear(soon.received("1", at="A-1"))
    listed = (await at.get("/sites/S1/count-list", zone_id="STORE")).json()
    assert [(line["batch_no"], line["location_id"]) for line in listed] == [
        ("SOON", "A-1"),
        ("SOON", "A-2"),
        ("LATE", "A-1"),
        ("NEVER", "A-1"),
    ]


# Status, reversals


async def test_quality_changes_part_of_a_batch_with_a_reason_and_only_with_the_role(at: Running) -> None:
    lot = Lot("L1")
    await at.hear(lot.received("10", at="A-1"))
    body = {
        "batch_id": str(lot.batch_id),
        "site_id": "S1",
        "location_id": "A-1",
        "quantity": "4",
        "from_quality": "released",
        "to_quality": "rejected",
        "reason": "dented cans",
    }
    assert (await at.post("/status-changes", body, role="operator")).status_code == 403
    assert (await at.post("/status-changes", {**body, "to_quality": "released"}, role="quality")).status_code == 422
    assert (await at.post("/status-changes", {**body, "to_quality": "superb"}, role="quality")).status_code == 422
    assert (await at.post("/status-changes", body, role="quality")).status_code == 201
    refused(await at.post("/status-changes", {**body, "quantity": "7"}, role="quality"), 409, "not_there", "7", "6")
    assert await where(at, lot) == {("A-1", "released"): D(6), ("A-1", "rejected"): D(4)}
    assert (await carry(at, lot, "4", "CAGE", from_="A-1", quality="rejected")).status_code == 201


# 3.4 #58
async def test_a_receipt_that_is_undone_leaves_nothing_and_both_lines_and_is_undone_once(at: Running) -> None:
    lot = Lot("L1")
    await at.hear(lot.received("100"), lot.received("22"))
    _, second = [event for event in await at.said() if isinstance(event, StockMoved)]
    answer = await reverse(at, second.movement_id)
    assert answer.status_code == 201, answer.text
    assert await where(at, lot) == {("DOCK", "released"): D(100)}
    (undone,) = await at.said()
    assert isinstance(undone, StockMoved)
    assert (undone.reason, undone.reverses, undone.sequence) == ("reversal", second.movement_id, 3)
    refused(await reverse(at, second.movement_id), 409, "reversed_before")
    refused(await reverse(at, undone.movement_id), 409, "is_a_reversal")
    refused(await reverse(at, new_id()), 404, "unknown_movement")
    assert len((await at.get("/movements", batch_id=str(lot.batch_id))).json()["items"]) == 3


async def test_a_receipt_whose_goods_have_moved_on_cannot_be_undone_and_an_issue_brings_goods_back(at: Running) -> None:
    lot = Lot("L1")
    await at.hear(lot.received("10"), lot.picked("6", at="DOCK"), lot.dispatched("6"))
    receipt, _, issue = [event for event in await at.said() if isinstance(event, StockMoved)]
    refused(await reverse(at, receipt.movement_id), 409, "not_there", "10 C62 wanted, 4 C62 are")
    assert (await reverse(at, issue.movement_id)).status_code == 201
    assert await where(at, lot) == {("DOCK", "released"): D(4), ("STAGE", "released"): D(6)}


# 3.6 #96
async def test_a_count_stands_when_what_was_before_it_is_undone(at: Running) -> None:
    lot = Lot("L1")
    await at.hear(lot.received("100", at="STAGE", received_at=MORNING - dt.timedelta(hours=3)))
    at.clock.at = MORNING + dt.timedelta(hours=1)
    await at.hear(lot.dispatched("50", dispatched_at=at.clock.at))
    at.clock.at = MORNING + dt.timedelta(hours=2)
    assert (await adjust(at, lot, "STAGE", counted="100")).json()["difference"] == "50"
    at.clock.at = MORNING + dt.timedelta(hours=3)
    await at.hear(lot.dispatched("50", dispatched_at=at.clock.at))
    issue = next(event for event in await at.said() if isinstance(event, StockMoved) and event.reason == "issue")
    answer = (await reverse(at, issue.movement_id)).json()
    assert [line["quantity"] for line in answer["because_of_counts"]] == ["50"]
    assert await where(at, lot) == {("STAGE", "released"): D(50)}
    counted_then = (MORNING + dt.timedelta(hours=2)).isoformat()
    assert await where(at, lot, as_of=counted_then) == {("STAGE", "released"): D(100)}
    before_the_count = (MORNING + dt.timedelta(hours=1, minutes=30)).isoformat()
    assert await where(at, lot, as_of=before_the_count) == {("STAGE", "released"): D(100)}
    assert await where(at, lot, as_of=before_the_count, known_at=counted_then) == {("STAGE", "released"): D(50)}


# Bitemporal, 3.6 #93


async def test_what_stood_there_and_what_was_believed_then_are_two_questions(at: Running) -> None:
    lot = Lot("L1")
    day = dt.timedelta(days=1)
    await at.hear(lot.received("10", at="A-1", received_at=MORNING))
    at.clock.at = MORNING + 2 * day
    # On the third day it is learnt that more had come on the first, and some of it went on the second.
    await at.hear(lot.received("5", at="A-1", received_at=MORNING))
    await carry(at, lot, "3", "A-2", from_="A-1", path="/transfers", effective_at=(MORNING + day).isoformat())
    first, second = MORNING.isoformat(), (MORNING + day).isoformat()
    assert await where(at, lot, as_of=first) == {("A-1", "released"): D(15)}
    assert await where(at, lot, as_of=first, known_at=first) == {("A-1", "released"): D(10)}
    assert await where(at, lot, known_at=second) == {("A-1", "released"): D(10)}
    assert await where(at, lot, as_of=second) == {("A-1", "released"): D(12), ("A-2", "released"): D(3)}
    assert await where(at, lot, as_of=second) == await where(at, lot)
    assert await where(at, lot, as_of=(MORNING - day).isoformat()) == {}
    refused(await at.get("/stock", as_of=first), 422, "invalid_request", "item_id or a batch_id")
    refused(await at.get("/stock", item_id="MILK", as_of="2026-03-02T09:00:00"), 422, "invalid_request")


async def test_equal_times_keep_the_order_of_the_sequence_and_pages_join_without_a_gap(at: Running) -> None:
    lot = Lot("L1")
    await at.hear(*(lot.received(str(n)) for n in range(1, 8)))
    pages, after = [], {}
    while True:
        page = (await at.get("/movements", item_id="MILK", limit=3, **after)).json()
        pages.append([(line["sequence"], line["quantity"]) for line in page["items"]])
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert sum(pages, []) == [(n, str(n)) for n in range(1, 8)]  # noqa: RUF017
    assert [len(page) for page in pages] == [3, 3, 1]
    for nonsense in ("nonsense", base64.urlsafe_b64encode(b'["\\u0000","1"]').decode()):
        refused(await at.get("/movements", item_id="MILK", after=nonsense), 422, "invalid_request", nonsense)
    refused(await at.get("/movements"), 422, "invalid_request", "item_id")
    assert (await at.get("/sequence/MILK")).json() == {"item_id": "MILK", "sequence": 7}


async def test_pages_of_stock_join_without_a_gap(at: Running) -> None:
    lots = [Lot(f"L{n}") for n in range(5)]
    await at.hear(*(lot.received("1") for lot in lots))
    seen, after = [], {}
    while True:
        page = (await at.get("/stock", site_id="S1", limit=2, **after)).json()
        seen += [row["batch_no"] for row in page["items"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert sorted(seen) == ["L0", "L1", "L2", "L3", "L4"]


async def test_the_last_and_the_first_day_of_the_calendar_are_answered_as_days(at: Running) -> None:
    days = {"EVER": dt.date.max, "LAST": dt.date(9999, 12, 30), "FIRST": dt.date.min, "NONE": None}
    await at.hear(*(Lot(number, expires_on=day).received("1", at="A-1") for number, day in days.items()))
    batches = (await at.get("/items/MILK/stock")).json()["batches"]
    told = {"EVER": "9999-12-31", "LAST": "9999-12-30", "FIRST": "0001-01-01", "NONE": None}
    assert {row["batch_no"]: row["expires_on"] for row in batches} == told
    assert [row["batch_no"] for row in batches] == ["FIRST", "LAST", "EVER", "NONE"]


# Holds


async def test_holds_stack_and_stock_shows_each_of_them_and_is_usable_when_all_are_lifted(at: Running) -> None:
    lot = Lot("L1")
    await at.hear(lot.received("10", at="A-1"), lot.received("5", at="DOCK"))
    everywhere = (await hold(at, lot)).json()
    here = (await hold(at, lot, kind="excursion", site_id="S1", location_id="A-1")).json()

    async def usable() -> dict[str, tuple[str, list[str], int]]:
        rows = (await at.get(f"/batches/{lot.batch_id}/locations")).json()
        return {row["location_id"]: (row["usable"], row["status"], len(row["holds"])) for row in rows}

    assert await usable() == {"A-1": ("0", ["released", "held"], 2), "DOCK": ("0", ["released", "held"], 1)}
    assert (await at.get("/items/MILK/stock")).json()["usable"] == "0"
    lift = {"reason": "repacked"}
    assert (await at.post(f"/holds/{everywhere['hold_id']}/lift", lift, role="quality")).status_code == 200
    assert await usable() == {"A-1": ("0", ["released", "held"], 1), "DOCK": ("5", ["released"], 0)}
    assert (await at.get("/items/MILK/stock")).json()["usable"] == "5"
    assert (await at.post(f"/holds/{here['hold_id']}/lift", lift, role="supervisor")).status_code == 200
    assert (await at.get("/items/MILK/stock")).json()["usable"] == "15"
    refused(await at.post(f"/holds/{here['hold_id']}/lift", lift, role="quality"), 409, "lifted_before")
    refused(await at.post(f"/holds/{new_id()}/lift", lift, role="quality"), 404, "unknown_hold")
    holds = [event.sequence for event in await at.said() if isinstance(event, HoldPlaced | HoldLifted)]
    assert holds == [3, 4, 5, 6]
    listed = (await at.get("/holds", batch_id=str(lot.batch_id))).json()["items"]
    assert [(row["kind"], row["placed_by"], row["lifted_by"]) for row in listed] == [
        ("manual", "quality", "quality"),
        ("excursion", "quality", "supervisor"),
    ]
    assert (await at.get("/holds", open="true")).json()["items"] == []


# 3.7 #104
async def test_held_goods_move_only_into_isolation_counted_ones_not_at_all_and_lifting_needs_the_right(
    at: Running,
) -> None:
    lot = Lot("L1")
    await at.hear(lot.received("10", at="A-1"))
    placed = (await hold(at, lot, kind="excursion", site_id="S1", location_id="A-1")).json()
    refused(await carry(at, lot, "1", "A-2", from_="A-1"), 409, "held", "'L1'", "seal of a carton", "quarantine")
    assert (await carry(at, lot, "4", "QC-1", from_="A-1")).status_code == 201
    # The hold came along: it is on the goods in quarantine as well, once.
    assert (await carry(at, lot, "1", "QC-1", from_="A-1")).status_code == 201
    rows = (await at.get("/holds", batch_id=str(lot.batch_id), open="true")).json()["items"]
    assert [(row["kind"], row["location_id"]) for row in rows] == [("excursion", "A-1"), ("excursion", "QC-1")]
    assert (await at.post(f"/holds/{placed['hold_id']}/lift", {"reason": "let me"}, role="operator")).status_code == 403
    assert (await hold(at, lot, kind="count", site_id="S1", location_id="A-1")).status_code == 201
    refused(await carry(at, lot, "1", "QC-1", from_="A-1"), 409, "held", "counting")


async def test_goods_picked_from_under_a_hold_on_their_bin_do_not_leave(at: Running) -> None:
    lot = Lot("L1")
    await at.hear(lot.received("10", at="A-1"))
    await hold(at, lot, kind="excursion", site_id="S1", location_id="A-1")
    await at.said()
    await at.hear(lot.picked("4", at="A-1"), lot.picked("1", at="A-1"))
    await at.hear(lot.dispatched("4"))
    assert [type(event) for event in await at.said()] == [StockMoved, HoldPlaced, StockMoved, IssueRefused]


async def test_a_hold_that_is_a_recalls_or_expirys_is_not_lifted_by_hand_and_bad_holds_are_refused(at: Running) -> None:
    lot = Lot("L1")
    await at.hear(lot.received("10", at="A-1"))
    await at.hear(lot.recalled(new_id()))
    (row,) = (await at.get("/holds", item_id="MILK")).json()["items"]
    refused(await at.post(f"/holds/{row['hold_id']}/lift", {"reason": "I want it"}, role="quality"), 409, "recalled")
    assert (await hold(at, lot, location_id="A-1")).status_code == 422
    assert (await hold(at, lot, kind="recall")).status_code == 422
    assert (await hold(at, lot, role="operator")).status_code == 403
    refused(await hold(at, lot, site_id="NO"), 404, "unknown_site", "'NO'")
    refused(await hold(at, lot, site_id="S1", location_id="NO"), 404, "unknown_location", "'NO'", field="location_id")
    refused(await hold(at, Lot("L9")), 404, "unknown_batch")


async def test_stock_of_another_time_shows_the_holds_of_that_time(at: Running) -> None:
    lot = Lot("L1")
    await at.hear(lot.received("10", at="A-1"))
    at.clock.at = MORNING + dt.timedelta(hours=1)
    placed = (await hold(at, lot)).json()
    at.clock.at = MORNING + dt.timedelta(hours=3)
    await at.post(f"/holds/{placed['hold_id']}/lift", {"reason": "fine after all"}, role="quality")

    async def then(hours: float) -> str:
        asked = {"batch_id": str(lot.batch_id), "as_of": (MORNING + dt.timedelta(hours=hours)).isoformat()}
        return str((await at.get("/stock", **asked)).json()["items"][0]["usable"])

    assert [await then(hours) for hours in (0.5, 1, 2, 3)] == ["10", "0", "0", "10"]


async def test_pending_goods_are_proposed_for_quarantine_and_frozen_ones_for_the_freezer(at: Running) -> None:
    lot, ice = Lot("L1"), Lot("ICE", item_id="ICE")
    await at.put("/sites/S1/zones/FREEZE", {"name": "F", "purpose": "storage", "climate": "frozen"}, role="supervisor")
    await bin_(at, "F-1", "FREEZE")
    await at.hear(item(), item("ICE", climate=Climate.FROZEN))
    await at.hear(lot.received("1", quality=Quality.PENDING), ice.received("1"))

    async def proposed(goods: Lot, quality: str) -> str:
        asked = {"batch_id": str(goods.batch_id), "site_id": "S1", "from_location_id": "DOCK", "quality": quality}
        return str((await at.get("/put-away/proposals", **asked)).json()["proposed"])

    assert (await proposed(lot, "pending"), await proposed(ice, "released")) == ("QC-1", "F-1")


# Sites are told of


def sites(said: list[Any]) -> list[SiteDefined]:
    return [event for event in said if isinstance(event, SiteDefined)]


async def test_a_site_is_said_when_it_is_described_and_again_when_its_docks_or_staging_change(at: Running) -> None:
    berlin = {"name": "New", "time_zone": "Europe/Berlin"}
    await at.put("/sites/S9", berlin, role="supervisor")
    (said,) = sites(await at.said())
    known = (await at.get("/sites")).json()
    assert (said.site_id, said.revision, said.time_zone, said.sites) == ("S9", 1, "Europe/Berlin", len(known))
    assert (said.set_up, said.docks, said.staging) == (True, (), ())
    await at.put("/sites/S9/zones/Z", {"name": "Gate", "purpose": "receiving"}, role="supervisor")
    await at.put("/sites/S9", berlin, role="supervisor")
    await bin_(at, "A-3")  # a storage location is nobody's business
    assert sites(await at.said()) == []
    for n, location_id in enumerate(("DOCK-2", "DOCK-1"), start=2):
        await bin_(at, location_id, "Z", site="S9")
        (said,) = sites(await at.said())
        assert said.revision == n
    assert said.docks == ("DOCK-1", "DOCK-2")
    await at.put("/sites/S9/zones/Z", {"name": "Gate", "purpose": "staging"}, role="supervisor")
    (said,) = sites(await at.said())
    assert (said.revision, said.docks, said.staging) == (4, (), ("DOCK-1", "DOCK-2"))


async def test_sites_that_were_there_before_and_those_that_goods_opened_are_said_by_the_watch_once(at: Running) -> None:
    await at.said()
    # As an older version of this service left it, or described it meanwhile.
    await at.runtime.pool.execute("UPDATE site SET said = NULL, revision = 0 WHERE site_id = 'S1'")
    await at.hear(Lot("L1").received("5", at="GATE", site="NEW"))
    assert sites(await at.said()) == []
    await at.watch("sites")
    said = {site.site_id: site for site in sites(await at.said())}
    assert (said["S1"].docks, said["S1"].set_up) == (("DOCK",), True)
    # Nobody described its dock, so it is not the only one where goods may arrive.
    assert (said["NEW"].docks, said["NEW"].set_up, said["NEW"].revision) == ((), False, 1)
    await at.watch("sites")
    assert sites(await at.said()) == []
    await bin_(at, "GATE-2", "auto-receiving", site="NEW")
    (described,) = sites(await at.said())
    assert described.docks == ("GATE", "GATE-2")


async def test_a_site_with_more_docks_than_an_event_holds_names_none(at: Running) -> None:
    await at.said()
    await at.runtime.pool.execute(
        """
        INSERT INTO location (site_id, location_id, zone_id)
        SELECT 'S1', 'D-' || n, 'IN' FROM generate_series(1, $1) AS n
        """,
        MOST_PLACES,
    )
    await at.watch("sites")
    (said,) = sites(await at.said())
    assert (said.docks, said.staging) == ((), ("STAGE",))
