"""Goods at the dock: each line its own result, and the events that tell the others."""

import asyncio
import uuid
from decimal import Decimal

import asyncpg
import pytest

from contracts.integration import ExpectedReceiptWithdrawn, UniqueWithin
from contracts.receiving import BatchReceived, BatchRegistered, ReceiptConflictFound
from contracts.values import DatePrecision, DateSource, Origin, Quality
from tests.receiving.goods import (
    DAIRY,
    GTIN,
    MILK,
    OTHER_DAIRY,
    SHOP,
    codes,
    expectation,
    label,
    line,
    milk,
    receive,
    receive_one,
)
from tests.service_harness import Running


async def test_a_typed_line_registers_the_batch_and_receives_it_as_pending_in_the_base_unit(at: Running) -> None:
    answer = await receive(at, line(supplier_batch_no="ND 2026/02-118"), reference="PO-1", location_id="DOCK-2")

    assert answer["status"] == 201
    [got] = answer["lines"]
    assert (got["outcome"], got["quality"], got["quantity"]) == ("received", "pending", "100")
    registered, received = await at.said()
    assert isinstance(registered, BatchRegistered)
    assert isinstance(received, BatchReceived)
    assert str(received.batch_id) == got["batch_id"] == str(registered.batch_id)
    assert (received.quantity, received.unit, received.entered_quantity, received.entered_unit) == (100, "KGM", 4, "BX")
    assert (received.location_id, received.quality, received.reference) == ("DOCK-2", Quality.PENDING, "PO-1")
    assert received.batch == registered.batch
    assert received.batch.supplier_batch_no == "ND 2026/02-118"
    assert str(received.batch.received_on) == "2026-03-02"


async def test_a_scan_fills_what_is_not_typed_and_a_month_on_the_label_means_its_last_day(at: Running) -> None:
    scanned = {"scan": label(expires="270800"), "quantity": "2"}
    answer = await receive(at, scanned, partner_id=DAIRY)

    assert answer["lines"][0]["quantity"] == "50"
    batch = (await at.said())[0].batch  # type: ignore[attr-defined]
    assert (batch.batch_no, str(batch.manufactured_on), str(batch.expires_on)) == (
        "WMP2602A",
        "2026-02-20",
        "2027-08-31",
    )
    assert (batch.expiry_precision, batch.expiry_source) == (DatePrecision.MONTH, DateSource.LABEL)


async def test_a_good_line_is_received_though_another_is_refused(at: Running) -> None:
    answer = await receive(at, line(quantity="0"), line(), line(item_id="NOPE"), line(unit="LTR"))

    assert answer["status"] == 201
    assert [each["outcome"] for each in answer["lines"]] == ["refused", "received", "refused", "refused"]
    assert codes(answer["lines"][0]) == ["quantity_not_positive"]
    assert codes(answer["lines"][2]) == ["unknown_item"]
    assert answer["lines"][3]["reasons"][0]["text"] == ("unit 'LTR' is not one of item 'WMP-25': KGM, BX, PK are known")
    kept = await at.get(f"/receipts/{answer['receipt_id']}")
    assert [each["outcome"] for each in kept.json()["lines"]] == ["refused", "received", "refused", "refused"]


async def test_when_no_line_can_be_received_the_problem_names_every_line_and_nothing_is_kept(at: Running) -> None:
    answer = await receive(at, line(batch_no=None), line(expires_on="2026-02-01"))

    assert (answer["status"], answer["code"]) == (409, "nothing_received")
    assert codes(answer["lines"][0]) == ["batch_no_missing"]
    assert "expires_before_manufacture" in codes(answer["lines"][1])
    assert await at.said() == []
    assert await at.runtime.pool.fetchval("SELECT count(*) FROM receipt") == 0


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"batch_no": "LOT 7#"}, "batch_no"),
        ({"supplier_id": None}, "supplier_missing"),
        ({"supplier_id": "S-9"}, "unknown_supplier"),
        ({"supplier_id": SHOP}, "not_a_supplier"),
        ({"manufactured_on": None}, "manufacture_date_missing"),
        ({"manufactured_on": "2026-03-04"}, "manufactured_in_future"),
        ({"unit": "PK", "quantity": "1"}, "not_exact"),
        ({"quantity": None}, "quantity_missing"),
        ({"scan": "]d2010690123456789317270820"}, "gs1_check_digit"),
        ({"scan": "]d20110614141000415"}, "unknown_gtin"),
        ({"expected_receipt_id": str(uuid.uuid4())}, "unknown_expectation"),
        ({"quality": "released"}, "inspection_required"),
        ({"quality": "rejected"}, "quality"),
    ],
)
async def test_what_is_wrong_with_a_line_is_named(at: Running, changed: dict[str, object], code: str) -> None:
    got = await receive_one(at, **changed)
    assert (got["outcome"], code in codes(got)) == ("refused", True), got


async def test_an_expiry_that_nobody_states_is_manufacture_date_plus_shelf_life(at: Running) -> None:
    await receive_one(at, expires_on=None)
    batch = (await at.said())[0].batch  # type: ignore[attr-defined]
    assert (str(batch.expires_on), batch.expiry_source) == ("2027-08-20", DateSource.COMPUTED)


# Scenario 50: the life that counts is the life left on the day of receipt.
async def test_a_receipt_of_an_earlier_day_is_judged_by_that_day(at: Running) -> None:
    await at.hear(milk(min_percent_at_receipt=None, revision=2))
    dates = {"manufactured_on": "2025-06-01", "expires_on": "2026-11-27"}  # 270 days after 2 March
    assert (await receive_one(at, **dates))["outcome"] == "received"

    at.clock.at = at.clock.at.replace(day=3)
    late = await receive_one(at, **dates)
    assert codes(late) == ["too_few_days_left"]
    assert late["reasons"][0]["text"] == "269 days are left on 2026-03-03 (expires 2026-11-27): 270 are required"
    earlier = await receive(at, line(**dates), received_at="2026-03-02T08:00:00Z")
    assert earlier["lines"][0]["outcome"] == "received"


async def test_a_supervisor_may_accept_a_short_life_with_a_reason_and_an_operator_may_not(at: Running) -> None:
    short = {"manufactured_on": "2025-06-01", "expires_on": "2026-06-01"}
    refused = await receive_one(at, **short)
    assert codes(refused) == ["too_few_days_left", "too_few_percent_left"]
    wish = {"accept_short_life": {"reason": "Used up this week"}}
    assert "supervisor_needed" in codes(await receive_one(at, **short, **wish))

    taken = await receive_one(at, role="supervisor", **short, **wish)
    assert (taken["outcome"], codes(taken)) == ("received", ["short_life_accepted", "short_life_accepted"])
    history = (await at.get(f"/batches/{taken['batch_id']}")).json()["decisions"]
    accepted = next(each for each in history if each["kind"] == "short_life_accepted")
    assert (accepted["decided_by"], accepted["reason"]) == ("supervisor", "Used up this week")


async def test_expired_goods_are_refused_whoever_asks(at: Running) -> None:
    got = await receive_one(at, role="supervisor", expires_on="2026-03-01", accept_short_life={"reason": "Please"})
    assert codes(got) == ["expired"]


# Scenario 46, at receipt: the last day is still a day.
async def test_goods_that_expire_today_are_not_expired(at: Running) -> None:
    await at.hear(milk(min_days_at_receipt=None, min_percent_at_receipt=None, revision=2))
    assert (await receive_one(at, expires_on="2026-03-02"))["outcome"] == "received"


async def test_goods_that_need_no_inspection_arrive_released(at: Running) -> None:
    await at.hear(milk(inspection_required=False, revision=2))
    assert (await receive_one(at))["quality"] == "released"
    assert (await receive_one(at, quality="pending"))["quality"] == "pending"


# Scenario 51: choosing a batch brings its dates; what the label leaves open is taken from the record.
async def test_a_number_alone_is_enough_for_a_further_receipt_of_a_known_batch(at: Running) -> None:
    first = await receive_one(at)
    again = await receive_one(at, manufactured_on=None, expires_on=None, quantity="1")
    assert (again["outcome"], again["batch_id"]) == ("received", first["batch_id"])
    said = await at.said()
    assert [type(event) for event in said] == [BatchRegistered, BatchReceived, BatchReceived]
    assert str(said[2].batch.expires_on) == "2027-08-20"  # type: ignore[attr-defined]


async def test_two_lines_of_one_batch_in_one_receipt_are_both_received_on_it(at: Running) -> None:
    answer = await receive(at, line(quantity="1"), line(quantity="2"))
    one, two = answer["lines"]
    assert (one["batch_id"], one["quantity"], two["quantity"]) == (two["batch_id"], "25", "50")
    whole = (await at.get(f"/batches/{one['batch_id']}")).json()
    assert (whole["received"], [each["line_no"] for each in whole["receipts"]]) == ("75", [2, 1])


# Peer request 11: one receipt, several expiries.
async def test_one_receipt_may_bring_several_expiries_under_several_numbers_but_not_under_one(at: Running) -> None:
    answer = await receive(
        at,
        line(),
        line(batch_no="WMP2602B", expires_on="2027-08-21"),
        line(expires_on="2027-08-21"),
    )
    assert [each["outcome"] for each in answer["lines"]] == ["received", "received", "conflict"]


async def test_another_date_under_a_known_number_is_a_conflict_and_changes_nothing(at: Running) -> None:
    first = await receive_one(at)
    await at.said()
    got = await receive_one(at, expires_on="2027-09-20")

    assert (got["outcome"], got["batch_id"]) == ("conflict", first["batch_id"])
    [found] = await at.said()
    assert isinstance(found, ReceiptConflictFound)
    assert (found.differs, str(found.existing.expires_on), str(found.claimed.expires_on)) == (
        ("expires_on",),
        "2027-08-20",
        "2027-09-20",
    )
    whole = (await at.get(f"/batches/{first['batch_id']}")).json()
    assert (whole["batch"]["expires_on"], whole["received"]) == ("2027-08-20", "100")
    [open_one] = (await at.get("/conflicts", open="true")).json()["items"]
    assert open_one["conflict_id"] == got["conflict_id"]


# Scenario 53 and peer request 2: the scope of a number is the item, or the item and its supplier, as the catalog says.
async def test_another_suppliers_batch_of_the_same_number_is_a_conflict_or_another_batch(at: Running) -> None:
    first = await receive_one(at)
    assert (await receive_one(at, supplier_id=OTHER_DAIRY))["outcome"] == "conflict"

    await at.hear(milk(batch_no_unique_within=UniqueWithin.ITEM_AND_SUPPLIER, revision=2))
    apart = await receive_one(at, supplier_id=OTHER_DAIRY)
    assert apart["outcome"] == "received"
    assert apart["batch_id"] != first["batch_id"]
    assert (await receive_one(at))["batch_id"] == first["batch_id"]
    found = (await at.get("/batches", item_id=MILK, batch_no="WMP2602A")).json()["items"]
    assert [each["batch"]["supplier_id"] for each in found] == [DAIRY, OTHER_DAIRY]


async def test_the_same_number_of_another_item_is_another_batch(at: Running) -> None:
    await at.hear(milk(item_id="SMP-1", gtins=(), revision=1))
    first, other = await receive_one(at), await receive_one(at, item_id="SMP-1")
    assert (other["outcome"], other["batch_id"] != first["batch_id"]) == ("received", True)


# Scenario 55, where it fits: an item's control flags hold at every entry.
async def test_an_item_that_is_no_longer_active_takes_no_batch(at: Running) -> None:
    await at.hear(milk(active=False, revision=2))
    assert codes(await receive_one(at)) == ["item_inactive"]


async def test_an_older_revision_of_an_item_never_replaces_a_newer_one(at: Running) -> None:
    await at.hear(milk(revision=5, inspection_required=False))
    await at.hear(milk(revision=4))
    assert (await receive_one(at))["quality"] == "released"


async def test_expected_goods_come_in_parts_up_to_ten_percent_more_and_no_further(at: Running) -> None:
    expected = expectation()
    await at.hear(expected)
    wish = {"expected_receipt_id": str(expected.expected_receipt_id), "unit": "KGM"}

    async def status() -> tuple[str, str]:
        found = (await at.get(f"/expected-receipts/{expected.expected_receipt_id}")).json()
        return found["status"], found["received"]

    assert await status() == ("open", "0")
    await receive_one(at, **wish, quantity="99.5")
    assert await status() == ("partly", "99.5")
    refused = await receive_one(at, **wish, quantity="10.500001")
    assert refused["reasons"][0] == {
        "code": "too_much",
        "text": "99.5 + 10.500001 KGM are more than the 100 KGM expected and 10 % over: 10.5 KGM may still come",
    }
    answer = await receive(at, line(**wish, quantity="10.5"), line(**wish, quantity="0.000001"))
    assert [each["outcome"] for each in answer["lines"]] == ["received", "refused"]
    assert await status() == ("complete", "110")
    assert (await at.get("/expected-receipts", item_id=MILK, open="true")).json()["items"] == []
    assert len((await at.get("/expected-receipts", site_id="HRB-1")).json()["items"]) == 1


async def test_what_was_announced_fills_the_line_and_names_supplier_and_reference(at: Running) -> None:
    expected = expectation(batch_no="X1", manufactured_on="2026-02-20", partner_id="S-NEW")
    await at.hear(expected)
    answer = await receive(
        at, {"expected_receipt_id": str(expected.expected_receipt_id), "quantity": "4", "unit": "BX"}
    )
    assert answer["lines"][0]["outcome"] == "received", answer
    received = (await at.said())[1]
    assert isinstance(received, BatchReceived)
    assert (received.batch.batch_no, received.batch.supplier_id, received.partner_id) == ("X1", "S-NEW", "S-NEW")
    assert (received.reference, received.expected_receipt_id) == ("PO-88213", expected.expected_receipt_id)


async def test_withdrawn_goods_and_goods_of_another_site_supplier_or_item_are_refused(at: Running) -> None:
    gone, elsewhere, theirs = expectation(), expectation(site_id="SHA-1"), expectation(partner_id=OTHER_DAIRY)
    await at.hear(gone, elsewhere, theirs)
    await at.hear(
        ExpectedReceiptWithdrawn(
            expected_receipt_id=gone.expected_receipt_id, item_id=MILK, reason="Order cancelled by purchasing"
        )
    )
    await at.hear(milk(item_id="SMP-1", gtins=()))
    for expected, code, changed in (
        (gone, "expectation_withdrawn", {}),
        (elsewhere, "wrong_site", {}),
        (theirs, "wrong_supplier", {}),
        (expectation(), "unknown_expectation", {}),
        (gone, "wrong_item", {"item_id": "SMP-1"}),
    ):
        got = await receive_one(at, expected_receipt_id=str(expected.expected_receipt_id), **changed)
        assert code in codes(got), (code, got)


async def test_an_announcement_heard_five_times_is_one_and_what_has_come_stays_counted(at: Running) -> None:
    expected = expectation()
    await at.hear(expected, times=5)
    await receive_one(at, expected_receipt_id=str(expected.expected_receipt_id), quantity="2")
    await at.hear(expected.model_copy(update={"quantity": Decimal("50.0")}))
    [found] = (await at.get("/expected-receipts")).json()["items"]
    assert (found["quantity"], found["received"], found["status"]) == ("50", "50", "complete")


async def test_a_production_receipt_registers_the_batch_as_made_here(at: Running) -> None:
    made = {
        "origin": Origin.PRODUCTION,
        "partner_id": None,
        "batch_no": "CM260302",
        "manufactured_on": "2026-03-02",
        "expires_on": "2027-03-02",
        "reference": "WO-55120",
    }
    first, more = expectation(**made), expectation(**made)
    await at.hear(first, more)
    lines = [{"expected_receipt_id": str(e.expected_receipt_id), "quantity": "4", "unit": "BX"} for e in (first, more)]
    answer = await receive(at, *lines)
    one, two = answer["lines"]
    assert (one["outcome"], two["outcome"], one["batch_id"] == two["batch_id"]) == ("received", "received", True)
    batch = (await at.said())[0].batch  # type: ignore[attr-defined]
    assert (batch.origin, batch.supplier_id, batch.expiry_source) == (Origin.PRODUCTION, None, DateSource.MES)

    other = await receive(at, {**lines[0], "batch_no": "CM260303", "quantity": "1"})
    assert "not_the_expected_batch" in codes(other["lines"][0])


async def test_what_a_customer_returns_is_the_batch_that_left_and_must_be_inspected(at: Running) -> None:
    await at.hear(milk(inspection_required=False, revision=2))
    first = await receive_one(at)
    back = expectation(origin=Origin.CUSTOMER, partner_id=SHOP, quantity="10")
    await at.hear(back)
    answer = await receive(
        at, {"expected_receipt_id": str(back.expected_receipt_id), "scan": label(), "quantity": "5", "unit": "KGM"}
    )
    [got] = answer["lines"]
    assert (got["batch_id"], got["quality"], got["quantity"]) == (first["batch_id"], "pending", "5")
    received = (await at.said())[-1]
    assert isinstance(received, BatchReceived)
    assert (received.origin, received.partner_id, received.batch.supplier_id) == (Origin.CUSTOMER, SHOP, DAIRY)


@pytest.mark.parametrize("scope", [UniqueWithin.ITEM, UniqueWithin.ITEM_AND_SUPPLIER])
async def test_material_that_production_gives_back_is_the_suppliers_batch_it_was(
    at: Running, scope: UniqueWithin
) -> None:
    await at.hear(milk(batch_no_unique_within=scope, revision=2))
    first = await receive_one(at)
    back = expectation(origin=Origin.PRODUCTION, partner_id=None, batch_no="WMP2602A", quantity="10", given_back=True)
    await at.hear(back)
    at.clock.at = at.clock.at.replace(year=2027)  # too old to be bought, but it was here before
    wish = {"expected_receipt_id": str(back.expected_receipt_id), "scan": label(), "quantity": "5", "unit": "KGM"}
    (got,) = (await receive(at, wish))["lines"]
    assert (got["outcome"], got["batch_id"]) == ("received", first["batch_id"])
    received = (await at.said())[-1]
    assert isinstance(received, BatchReceived)
    assert (received.origin, received.batch.origin, received.batch.supplier_id) == (
        Origin.PRODUCTION,
        Origin.SUPPLIER,
        DAIRY,
    )


async def test_a_receipt_of_another_site_or_of_tomorrow_is_refused_as_a_whole(at: Running) -> None:
    body = {"site_id": "HRB-1", "lines": [line()]}
    headers = {**at.token("operator", sites=["SHA-1"]), "Idempotency-Key": "one"}
    assert (await at.client.post("/receipts", json=body, headers=headers)).json()["code"] == "wrong_site"
    assert (await receive(at, line(), received_at="2026-03-03T00:00:00Z"))["code"] == "received_in_future"
    assert (await receive(at, line(), scanner="none"))["code"] == "unknown_scanner"
    assert (await at.post("/receipts", body, role="planner")).status_code == 403


async def test_a_text_that_no_database_can_hold_is_refused_and_is_no_fault(at: Running) -> None:
    answer = await receive(at, line(), line(scan="]d201\x00"))
    assert (answer["status"], answer["fields"][0]["field"]) == (422, "lines[1].scan")
    assert "NUL at 5" in answer["detail"]
    assert (await at.get("/batches", supplier_batch_no="\x00")).status_code == 422
    assert (await at.get("/batches", batch_no="\x00")).status_code == 422


async def test_the_same_call_again_gets_the_first_answer_and_receives_nothing_more(at: Running) -> None:
    body = {"site_id": "HRB-1", "lines": [line()]}
    answers = [(await at.post("/receipts", body, role="operator", key="k")).json() for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
    assert [type(event) for event in await at.said()] == [BatchRegistered, BatchReceived]


async def test_callers_that_come_together_each_get_their_own_answer_about_one_batch(at: Running) -> None:
    got = await asyncio.gather(*(receive_one(at, quantity="1") for _ in range(20)))
    assert {each["outcome"] for each in got} == {"received"}
    assert len({each["batch_id"] for each in got}) == 1
    said = await at.said()
    assert sum(isinstance(event, BatchRegistered) for event in said) == 1
    assert sum(event.quantity for event in said if isinstance(event, BatchReceived)) == 500


async def test_a_scan_names_item_batch_and_what_is_expected(at: Running) -> None:
    expected = expectation(site_id="HRB-1", quantity="500")
    await at.hear(expected, expectation(site_id="SHA-1"))
    first = await receive_one(at)
    answer = await at.post("/scans", {"scan": label(expires="270920"), "site_id": "HRB-1"}, role="operator")
    found = answer.json()
    assert (answer.status_code, found["verdict"]) == (200, "accepted")
    assert found["item"] == {"item_id": MILK, "name": "Whole milk powder", "unit": "BX", "base_unit": "KGM"}
    assert (found["batch_no"], found["expires_on"], found["gtin"]) == ("WMP2602A", "2027-09-20", GTIN)
    assert [each["batch_id"] for each in found["batches"]] == [first["batch_id"]]
    assert [each["expected_receipt_id"] for each in found["expected_receipts"]] == [str(expected.expected_receipt_id)]
    assert found["reasons"] == [
        {
            "code": "batch_differs",
            "text": "batch 'WMP2602A' is known with other facts: expires_on is 2027-08-20 on record, 2027-09-20 on the "
            "label",
        }
    ]


@pytest.mark.parametrize(
    ("scan", "scanner", "code"),
    [
        ("hello", "default", "gs1_unknown_ai"),
        ("]d2010690123456789317270820", "default", "gs1_check_digit"),
        ("(01)06901234567893", "default", "gs1_check_digit"),
        (f"01{GTIN}10A|17270820", "exact", "gs1_character_set"),
        ("]d20110614141000415", "default", "unknown_gtin"),
        ("\x00", "default", "gs1_unknown_ai"),
    ],
)
async def test_a_label_that_cannot_be_used_is_an_answer_with_the_reason(
    at: Running, scan: str, scanner: str, code: str
) -> None:
    answer = await at.post("/scans", {"scan": scan, "scanner": scanner}, role="operator")
    assert answer.status_code == 200
    assert answer.json()["verdict"] == "refused"
    assert [reason["code"] for reason in answer.json()["reasons"]] == [code]


async def test_a_scanner_profile_repairs_what_the_device_does(at: Running) -> None:
    scan = f"01{GTIN}10A<GS>17270820"
    found = (await at.post("/scans", {"scan": scan, "scanner": "spelled-out"}, role="operator")).json()
    assert (found["verdict"], found["batch_no"], found["expires_on"]) == ("accepted", "A", "2027-08-20")
    assert found["repaired"] == ["replaced '<GS>' by GS 1 time"]


# Scenario 54.
async def test_pasted_lines_are_previewed_as_they_would_be_understood(at: Running) -> None:
    found = (await at.post("/receipts/pasted-lines", {"text": "aze;2\nqsd;4\n\nwxc"}, role="operator")).json()
    assert found["usable"]
    assert [(each["batch_no"], each["quantity"]) for each in found["lines"]] == [
        ("aze", "2"),
        ("qsd", "4"),
        ("wxc", "1"),
    ]
    bad = (await at.post("/receipts/pasted-lines", {"text": "aze;two"}, role="operator")).json()
    assert (bad["usable"], bad["lines"][0]["problem"]["code"]) == (False, "quantity")


async def test_what_has_happened_cannot_be_rewritten_by_the_service_itself(at: Running) -> None:
    await receive_one(at)
    for table, column in (
        ("receipt", "site_id"),
        ("receipt_line", "outcome"),
        ("received", "quantity"),
        ("inspection", "released"),
        ("decision", "reason"),
        ("issued_batch_no", "batch_no"),
    ):
        for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET {column} = {column}"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await at.runtime.pool.execute(statement)
