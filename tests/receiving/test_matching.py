"""Goods that came without naming what was announced: which expected receipt they count for."""

import uuid
from decimal import Decimal
from typing import Any

import pytest

from contracts.receiving import BatchReceived
from contracts.values import Origin
from services.receiving.settings import ReceivingSettings
from tests.receiving.goods import (
    OTHER_DAIRY,
    TODAY,
    codes,
    expectation,
    line,
    receive,
    receive_one,
)
from tests.service_harness import Running


async def status(at: Running, expected: uuid.UUID) -> tuple[str, str]:
    found = (await at.get(f"/expected-receipts/{expected}")).json()
    return found["status"], found["received"]


async def test_goods_that_name_no_announcement_count_for_the_only_one_that_fits(at: Running) -> None:
    expected = expectation(quantity="200", batch_no="WMP2602A")
    elsewhere, theirs = expectation(site_id="SHA-1"), expectation(partner_id=OTHER_DAIRY)
    other_batch, back = expectation(batch_no="OTHER"), expectation(origin=Origin.CUSTOMER)
    await at.hear(expected, elsewhere, theirs, other_batch, back)

    answer = await receive(at, line())
    [got] = answer["lines"]
    assert got["outcome"] == "received"
    assert got["expected_receipt_id"] == str(expected.expected_receipt_id)
    assert got["reasons"] == [
        {
            "code": "matched_expectation",
            "text": f"counts for expected receipt {expected.expected_receipt_id} (PO-88213, due on {TODAY}), "
            "the only one that fits",
        }
    ]
    assert await status(at, expected.expected_receipt_id) == ("partly", "100")
    received = (await at.said())[1]
    assert isinstance(received, BatchReceived)
    assert (received.expected_receipt_id, received.reference) == (expected.expected_receipt_id, "PO-88213")
    [kept] = (await at.get(f"/receipts/{answer['receipt_id']}")).json()["lines"]
    assert kept["expected_receipt_id"] == got["expected_receipt_id"]


async def test_of_several_that_fit_none_is_taken_and_all_are_named(at: Running) -> None:
    one, two = expectation(), expectation(reference="PO-88214")
    await at.hear(one, two)
    got = await receive_one(at)
    assert (got["outcome"], codes(got), got["expected_receipt_id"]) == ("received", ["several_expectations"], None)
    for expected in (one, two):
        assert f"{expected.expected_receipt_id} ({expected.reference}, due on {TODAY})" in got["reasons"][0]["text"]
        assert await status(at, expected.expected_receipt_id) == ("open", "0")
    assert all(event.expected_receipt_id is None for event in await at.said() if isinstance(event, BatchReceived))


async def test_of_several_that_fit_the_one_with_the_receipts_reference_is_meant(at: Running) -> None:
    one, two = expectation(), expectation(reference="PO-88214")
    await at.hear(one, two)
    [got] = (await receive(at, line(quantity="1"), reference="Delivery note 7"))["lines"]
    assert codes(got) == ["several_expectations"]
    [got] = (await receive(at, line(), reference="PO-88214"))["lines"]
    assert (codes(got), got["expected_receipt_id"]) == (["matched_expectation"], str(two.expected_receipt_id))


async def test_each_line_sees_what_the_lines_before_it_left(at: Running) -> None:
    first, second = expectation(), expectation(quantity="400", reference="PO-88214")
    await at.hear(first, second)
    answer = await receive(at, line(quantity="16"), line(), line(expected_receipt_id=str(first.expected_receipt_id)))
    assert [codes(each) for each in answer["lines"]] == [["matched_expectation"], ["matched_expectation"], ["too_much"]]
    matched = [each["expected_receipt_id"] for each in answer["lines"]]
    assert matched == [str(second.expected_receipt_id), str(first.expected_receipt_id), None], "all of the first came"


@pytest.mark.parametrize(
    ("announced", "changed"),
    [
        ({"quantity": "90"}, {}),  # 10 % over are 99
        ({"batch_no": "WMP2602A"}, {"batch_no": None, "number_batch": True}),
        ({}, {"supplier_id": OTHER_DAIRY}),
        ({"origin": Origin.PRODUCTION, "partner_id": None}, {}),
    ],
)
async def test_goods_that_fit_no_announcement_are_received_without_one(
    at: Running, announced: dict[str, Any], changed: dict[str, Any]
) -> None:
    expected = expectation(**announced)
    await at.hear(expected)
    got = await receive_one(at, **changed)
    assert (got["outcome"], codes(got), got["expected_receipt_id"]) == ("received", [], None)
    assert await status(at, expected.expected_receipt_id) == ("open", "0")


async def test_a_match_adds_no_fact_to_the_batch(at: Running) -> None:
    await at.hear(
        expectation(supplier_batch_no="ND 9", best_before="2027-01-01", expires_on="2027-01-31", reference="PO-1")
    )
    got = await receive_one(at, expires_on=None)
    assert codes(got) == ["matched_expectation"]
    batch = (await at.said())[0].batch  # type: ignore[attr-defined]
    assert (batch.supplier_batch_no, batch.best_before, str(batch.expires_on)) == (None, None, "2027-08-20")


async def test_goods_in_conflict_count_for_their_match_when_the_conflict_is_settled(at: Running) -> None:
    await receive_one(at)
    expected = expectation()
    await at.hear(expected)
    found = await receive_one(at, expires_on="2027-08-21")
    assert (found["outcome"], codes(found)) == ("conflict", ["matched_expectation", "batch_differs"])
    assert await status(at, expected.expected_receipt_id) == ("open", "0")
    settled = await at.post(
        f"/conflicts/{found['conflict_id']}/settlement",
        {"decision": "keep_existing", "reason": "Label misprinted"},
        role="supervisor",
    )
    assert settled.status_code == 200, settled.text
    assert await status(at, expected.expected_receipt_id) == ("complete", "100")


async def test_made_goods_count_for_the_only_report_of_their_batch(at: Running) -> None:
    made = expectation(origin=Origin.PRODUCTION, partner_id=None, batch_no="CM260302", quantity=Decimal(100))
    await at.hear(made)
    got = await receive_one(at, supplier_id=None, production=True, batch_no="CM260302")
    assert (codes(got), got["expected_receipt_id"]) == (["matched_expectation"], str(made.expected_receipt_id))


async def test_the_api_says_what_happens_without_an_expected_receipt(at: Running) -> None:
    schema = (await at.get("/openapi.json")).json()["components"]["schemas"]["ReceiptLine"]["properties"]
    for word in ("matched_expectation", "several_expectations", "cost"):
        assert word in schema["expected_receipt_id"]["description"]


@pytest.mark.parametrize(
    ("zones", "receipt", "says"),
    [
        ({}, {}, "2027-06-20 is later than today anywhere (2026-03-02 is the latest date on Earth now)"),
        ({"HRB-1": "Asia/Shanghai"}, {}, "2027-06-20 is later than today at site 'HRB-1', 2026-03-02"),
        (
            {"HRB-1": "Asia/Shanghai"},
            {"received_at": "2026-02-27T08:00:00Z"},
            "2027-06-20 is later than the day of receipt at site 'HRB-1', 2026-02-27",
        ),
        (
            {},
            {"received_at": "2026-02-27T08:00:00Z"},
            "2027-06-20 is later than the day of receipt anywhere (2026-02-27 was the latest date on Earth then)",
        ),
    ],
)
async def test_a_manufacture_date_in_the_future_is_refused_with_the_day_it_is_compared_with(
    at: Running, monkeypatch: pytest.MonkeyPatch, zones: dict[str, str], receipt: dict[str, str], says: str
) -> None:
    settings = ReceivingSettings(site_time_zones=zones)
    monkeypatch.setattr("services.receiving.receipts.receiving_settings", lambda: settings)
    answer = await receive(at, line(manufactured_on="2027-06-20"), **receipt)
    reasons = {each["code"]: each["text"] for each in answer["lines"][0]["reasons"]}
    assert reasons["manufactured_in_future"] == f"manufacture date {says}"


async def test_a_refusal_about_one_field_names_it(at: Running) -> None:
    batch_id = (await receive_one(at))["batch_id"]
    for path, body, field in (
        (f"/batches/{batch_id}/dates", {"manufactured_on": "2027-06-20", "reason": "Read again"}, "manufactured_on"),
        ("/inspections", {"batch_id": batch_id, "site_id": "HRB-1", "released": "1", "rejected": "2"}, "reason"),
        (
            "/inspections",
            {"batch_id": str(uuid.uuid4()), "site_id": "HRB-1", "released": "1", "rejected": "0"},
            "batch_id",
        ),
    ):
        answer = (await at.post(path, body, role="quality")).json()
        assert [each["field"] for each in answer["fields"]] == [field], answer
    for path, body, field in (
        ("/receipts", {"site_id": "HRB-1", "scanner": "dock-9", "lines": [line()]}, "scanner"),
        ("/receipts", {"site_id": "HRB-1", "received_at": "2027-01-01T00:00:00Z", "lines": [line()]}, "received_at"),
        ("/batch-numbers", {"item_id": "NOPE"}, "item_id"),
    ):
        answer = (await at.post(path, body, role="operator")).json()
        assert [each["field"] for each in answer["fields"]] == [field], answer
        assert "[" not in answer["detail"]
