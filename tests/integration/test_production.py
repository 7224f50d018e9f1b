"""Production reports, by HTTP and from the MES's topic: once, in order, and in our words."""

import json
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts.event import Event
from contracts.integration import (
    BatchProduced,
    CostPosted,
    ExpectedReceiptWithdrawn,
    MaterialConsumed,
    PostingKind,
    ReceiptExpected,
)
from contracts.values import Origin, PlaceKind
from delivery import NeverWorks
from services.integration.app import service
from tests.integration.speaking import Warehouse, receive, report, set_up, values
from tests.service_harness import Running, running

D = Decimal
TOPIC = "mes.production-reports.v1"


@pytest.fixture
async def at(database: str, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(service, database, tmp_path) as runs:
        await set_up(runs, "MILK", "SUGAR", "COCOA")
        yield runs


@pytest.fixture
def house() -> Warehouse:
    return Warehouse()


async def send(at: Running, message_id: str, **more: Any) -> httpx.Response:
    return await at.post("/mes/production-reports", report(message_id, **more), role="integrator")


def of(kind: type[Event], said: list[Event]) -> list[Any]:
    return [event for event in said if isinstance(event, kind)]


async def test_a_report_is_said_as_goods_to_come_a_batch_made_and_material_used(at: Running) -> None:
    answer = await send(at, "M-1", quantity="4", consumed={("MILK", "A"): "60.125", ("SUGAR", "X"): "5"})
    assert (answer.status_code, answer.json()["status"]) == (201, "taken"), answer.text
    said = await at.said()
    [expected], [made] = of(ReceiptExpected, said), of(BatchProduced, said)
    assert (expected.origin, expected.item_id, expected.batch_no, expected.quantity) == (
        Origin.PRODUCTION, "COCOA", "CM1", D(4),
    )  # fmt: skip
    assert (made.sequence, made.final, len(made.consumed)) == (1, True, 2)
    used = {
        event.item_id: (event.batch_no, event.quantity, event.into_batch_no) for event in of(MaterialConsumed, said)
    }
    assert used == {"MILK": ("A", D("60.125"), "CM1"), "SUGAR": ("X", D(5), "CM1")}
    whole = (await at.get(f"/mes/reports/{answer.json()['report_id']}")).json()
    assert json.loads(whole["raw"])["messageId"] == "M-1"
    assert len(whole["consumptions"]) == 2


async def test_the_same_message_counts_once_whichever_way_it_comes(at: Running) -> None:
    first = await send(at, "M-1")
    again = await send(at, "M-1")
    assert (again.status_code, again.json()["report_id"]) == (200, first.json()["report_id"])
    reordered = json.dumps(dict(reversed(report("M-1").items())), indent=2)
    await at.hear_foreign(TOPIC, reordered.encode(), key="CM1")
    assert len(of(BatchProduced, await at.said())) == 1
    other = await send(at, "M-1", quantity="99")
    assert (other.status_code, other.json()["code"]) == (409, "message_differs")
    with pytest.raises(NeverWorks, match="other content"):
        await at.hear_foreign(TOPIC, json.dumps(report("M-1", quantity="99")).encode(), key="CM1")


async def test_a_gap_holds_later_reports_back_until_the_missing_one_comes(at: Running) -> None:
    third = await send(at, "M-3", sequence=3, final=True, quantity="30")
    assert (third.status_code, third.json()["waits_for_sequence"]) == (202, 1)
    await send(at, "M-2", sequence=2, final=False, quantity="20")
    assert await at.said() == []
    waiting = (await at.get("/mes/reports", status="waiting")).json()["items"]
    assert [(row["sequence"], row["waits_for_sequence"]) for row in waiting] == [(3, 1), (2, 1)]
    first = await send(at, "M-1", sequence=1, final=False, quantity="10")
    assert (first.status_code, len(first.json()["released"])) == (201, 2)
    assert [(made.sequence, made.quantity) for made in of(BatchProduced, await at.said())] == [
        (1, D(10)),
        (2, D(20)),
        (3, D(30)),
    ]
    assert (await at.get("/mes/reports", status="waiting")).json()["items"] == []
    late = await send(at, "M-4", sequence=2)
    assert (late.status_code, late.json()["code"]) == (409, "lot_closed")


async def test_what_waits_behind_the_last_report_of_its_lot_is_listed_as_outlived(at: Running) -> None:
    await send(at, "M-3", sequence=3, final=False)
    await send(at, "M-1", sequence=1, final=True)
    [outlived] = (await at.get("/mes/reports", status="outlived", work_order="WO-1")).json()["items"]
    assert (outlived["message_id"], outlived["waits_for_sequence"]) == ("M-3", None)
    assert len(of(BatchProduced, await at.said())) == 1


async def test_a_late_report_from_the_topic_releases_those_that_wait(at: Running) -> None:
    for message_id, sequence in (("M-2", 2), ("M-1", 1)):
        body = json.dumps(report(message_id, sequence=sequence, final=False))
        await at.hear_foreign(TOPIC, body.encode(), key="CM1")
    assert [made.sequence for made in of(BatchProduced, await at.said())] == [1, 2]


async def test_two_plants_may_number_alike_but_not_the_same_lot_of_the_same_item(at: Running) -> None:
    assert (await send(at, "M-1", source="plant-1")).status_code == 201
    assert (await send(at, "M-1", source="plant-2", item_id="SUGAR")).status_code == 201
    answer = await send(at, "M-2", source="plant-2", lot="CM1", item_id="COCOA", sequence=2)
    assert (answer.status_code, answer.json()["code"]) == (409, "lot_of_another_source")


async def test_a_number_that_was_taken_is_not_taken_again(at: Running) -> None:
    await send(at, "M-1", final=False)
    answer = await send(at, "M-2", sequence=1, final=False)
    assert (answer.status_code, answer.json()["code"]) == (409, "already_taken")
    assert "the next is 2" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("more", "status", "code"),
    [
        ({"produced": {"expiresOn": "2026-02-28"}}, 422, "expires_before_manufacture"),
        ({"item_id": "TEA"}, 422, "unknown_item"),
        ({"consumed": {("TEA", "A"): "1"}}, 422, "unknown_item"),
        ({"quantity": "0", "final": False}, 422, "says_nothing"),
        ({"corrects": "M-0"}, 422, "corrects_unknown"),
        ({"actualEnd": "2026-02-01T00:00:00Z"}, 422, "ends_before_start"),
        ({"conversionCost": {"value": "1", "currency": "USD"}}, 422, "foreign_currency"),
        ({"quantity": "1e-7"}, 422, "invalid_request"),
        ({"colour": "red"}, 422, "invalid_request"),
    ],
)
async def test_a_report_that_breaks_a_rule_is_refused_with_the_reason(
    at: Running, more: dict[str, Any], status: int, code: str
) -> None:
    answer = await send(at, "M-1", **more)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert await at.said() == []
    with pytest.raises(NeverWorks):
        await at.hear_foreign(TOPIC, json.dumps(report("M-1", **more)).encode(), key="CM1")


async def test_a_binary_float_is_no_quantity(at: Running) -> None:
    body = report("M-1")
    body["producedLot"]["quantity"]["value"] = 0.1
    answer = await at.post("/mes/production-reports", body, role="integrator")
    assert answer.status_code == 422
    assert "binary float" in answer.json()["detail"]


async def test_a_lot_number_belongs_to_one_material(at: Running) -> None:
    await send(at, "M-1")
    answer = await send(at, "M-2", item_id="MILK", sequence=2)
    assert (answer.status_code, answer.json()["code"]) == (409, "lot_of_another_item")


async def test_an_aborted_order_used_material_and_made_nothing(at: Running) -> None:
    more = {"responseState": "Aborted"}
    assert (await send(at, "M-1", quantity="0", consumed={("MILK", "A"): "10"}, **more)).status_code == 201
    said = await at.said()
    assert [type(event) for event in said] == [MaterialConsumed]
    assert said[0].quantity == 10  # type: ignore[attr-defined]


async def test_a_correction_takes_back_and_says_only_the_difference(at: Running, house: Warehouse) -> None:
    await send(at, "M-1", quantity="100", consumed={("MILK", "A"): "60", ("SUGAR", "X"): "5"})
    [expected] = of(ReceiptExpected, await at.said())
    await at.hear(
        house.received("COCOA", "CM1", "40", expected=str(expected.expected_receipt_id), origin=Origin.PRODUCTION)
    )
    fixed = {("MILK", "A"): "70", ("SUGAR", "X"): "4", ("SUGAR", "Y"): "1"}
    answer = await send(at, "M-2", sequence=None, corrects="M-1", quantity="90", consumed=fixed)
    assert answer.status_code == 201, answer.text
    said = await at.said()
    [withdrawn], [made] = of(ExpectedReceiptWithdrawn, said), of(BatchProduced, said)
    assert withdrawn.expected_receipt_id == expected.expected_receipt_id
    assert (made.sequence, str(made.corrects)) == (1, (await at.get("/mes/reports")).json()["items"][0]["report_id"])
    assert {(event.batch_no, event.quantity) for event in of(MaterialConsumed, said)} == {("A", D(10)), ("Y", D(1))}
    # 40 of the 90 are here already; 1 of sugar was not used after all and is expected back.
    assert {(event.item_id, event.batch_no, event.quantity) for event in of(ReceiptExpected, said)} == {
        ("COCOA", "CM1", D(50)),
        ("SUGAR", "X", D(1)),
    }
    assert {event.item_id: event.given_back for event in of(ReceiptExpected, said)} == {"COCOA": False, "SUGAR": True}
    assert [row["status"] for row in (await at.get("/mes/reports")).json()["items"]] == ["replaced", "taken"]
    twice = await send(at, "M-3", corrects="M-1")
    assert twice.json()["code"] == "corrects_replaced"


async def produce(at: Running, house: Warehouse, message_id: str, quantity: str, **more: Any) -> None:
    """A report comes, its material is booked, its output is received and booked."""
    await send(at, message_id, quantity=quantity, **more)
    said = await at.said()
    for used in of(MaterialConsumed, said):
        await at.hear(
            house.moved(
                used.item_id,
                used.batch_no,
                f"-{used.quantity}",
                PlaceKind.PRODUCTION,
                reference=str(used.consumption_id),
            )
        )
    for expected in of(ReceiptExpected, said):
        received = house.received(
            expected.item_id,
            expected.batch_no,
            str(expected.quantity),
            expected=str(expected.expected_receipt_id),
            origin=Origin.PRODUCTION,
        )
        await at.hear(received)
        await at.hear(house.booked(received))


async def test_what_is_made_costs_what_went_into_it_and_what_was_added(at: Running, house: Warehouse) -> None:
    await receive(at, house, "MILK", "A", "100", "3")
    await receive(at, house, "SUGAR", "X", "100", "2")
    await at.said()
    more = {"conversionCost": {"value": "25", "currency": "CNY"}}
    await produce(at, house, "M-1", "100", consumed={("MILK", "A"): "50", ("SUGAR", "X"): "25"}, **more)
    assert values(await at.said()) == [D(-150), D(-50), D(225)]


async def test_a_lot_has_no_cost_before_its_last_report_and_then_one_average(at: Running, house: Warehouse) -> None:
    await receive(at, house, "MILK", "A", "100", "3")
    await at.said()
    await produce(at, house, "M-1", "10", final=False, consumed={("MILK", "A"): "10"})
    assert values(await at.said()) == [D(-30), None]
    await produce(at, house, "M-2", "20", sequence=2, final=True, consumed={("MILK", "A"): "50"})
    said = values(await at.said())
    # 60 of milk at 3 in 30 of cocoa: 6 each.
    assert said == [D(-150), D(60), D(120)]
    for item_id in ("MILK", "COCOA"):
        assert (await at.get("/reconciliation", item_id=item_id)).json()["items"][0]["holds"]


async def test_an_unknown_cost_goes_through_production_and_is_learnt_all_the_way(at: Running, house: Warehouse) -> None:
    await receive(at, house, "MILK", "A", "100", None)
    await at.said()
    await produce(at, house, "M-1", "50", consumed={("MILK", "A"): "100"})
    await at.said()
    await produce(at, house, "M-2", "10", lot="SG1", item_id="SUGAR", consumed={("COCOA", "CM1"): "50"})
    await at.hear(house.moved("SUGAR", "SG1", "-4", PlaceKind.CUSTOMER))
    assert set(values(await at.said())) == {None}
    body = {"unit_cost": "2", "currency": "CNY", "reason": "Invoice came"}
    answer = await at.put(f"/batches/{house.batch('A')}/cost", body, role="integrator")
    assert answer.status_code == 200, answer.text
    said = await at.said()
    assert [(event.item_id, event.value) for event in of(CostPosted, said)] == [
        ("MILK", D(200)),
        ("MILK", D(-200)),
        ("COCOA", D(200)),
        ("COCOA", D(-200)),
        ("SUGAR", D(200)),
        ("SUGAR", D(-80)),
    ]
    for item_id in ("MILK", "COCOA", "SUGAR"):
        found = (await at.get("/reconciliation", item_id=item_id)).json()["items"][0]
        assert (found["holds"], found["unknown_cost_batches"]) == (True, [])


async def test_material_that_the_ledger_did_not_find_leaves_the_cost_unknown(at: Running, house: Warehouse) -> None:
    await receive(at, house, "MILK", "A", "6", "3")
    await at.said()
    await send(at, "M-1", consumed={("MILK", "A"): "10"})
    said = await at.said()
    [used], [expected] = of(MaterialConsumed, said), of(ReceiptExpected, said)
    await at.hear(house.moved("MILK", "A", "-6", PlaceKind.PRODUCTION, reference=str(used.consumption_id)))
    received = house.received(
        "COCOA", "CM1", "100", expected=str(expected.expected_receipt_id), origin=Origin.PRODUCTION
    )
    await at.hear(received, house.booked(received))
    assert values(await at.said()) == [D(-18), None]


async def test_a_lot_that_went_into_itself_does_not_hang(at: Running, house: Warehouse) -> None:
    await receive(at, house, "MILK", "A", "100", "3")
    await at.said()
    await produce(at, house, "M-1", "100", final=False, consumed={("MILK", "A"): "100"})
    await produce(at, house, "M-2", "10", sequence=2, consumed={("COCOA", "CM1"): "10"})
    found = (await at.get("/reconciliation", item_id="COCOA")).json()["items"][0]
    assert (found["holds"], found["unknown_cost_batches"]) == (True, ["CM1"])


async def test_a_corrected_consumption_revalues_what_is_on_hand(at: Running, house: Warehouse) -> None:
    await receive(at, house, "MILK", "A", "100", "3")
    await at.said()
    await produce(at, house, "M-1", "10", consumed={("MILK", "A"): "10"})
    await at.hear(house.moved("COCOA", "CM1", "-4", PlaceKind.CUSTOMER))
    await at.said()
    await produce(at, house, "M-2", "10", sequence=None, corrects="M-1", consumed={("MILK", "A"): "20"})
    # Ten more of milk: cocoa now costs 6 instead of 3; 6 of it are here, and 4 left at 3.
    said = await at.said()
    assert values(said) == [D(-30), D(18)]
    assert [posting.variance for posting in of(CostPosted, said)] == [None, D(12)]


async def test_a_correction_after_everything_was_shipped_is_told_as_a_variance(at: Running, house: Warehouse) -> None:
    await receive(at, house, "MILK", "A", "100", "3")
    await at.said()
    await produce(at, house, "M-1", "10", consumed={("MILK", "A"): "10"})
    await at.hear(house.moved("COCOA", "CM1", "-10", PlaceKind.CUSTOMER))
    await at.said()
    await produce(at, house, "M-2", "10", sequence=None, corrects="M-1", consumed={("MILK", "A"): "20"})
    used, varied = of(CostPosted, await at.said())
    # What milk cost more is what cocoa costs more, though no cocoa is here.
    assert (used.value, varied.value, varied.variance) == (D(-30), D(0), D(30))
    assert (varied.kind, varied.quantity, varied.batch_no) == (PostingKind.REVALUATION, 0, "CM1")
    shown = (await at.get("/postings", kind="revaluation")).json()["items"]
    assert [(each["value"], each["variance"]) for each in shown] == [("0.0000", "30.0000")]
    for item_id in ("MILK", "COCOA"):
        assert (await at.get("/reconciliation", item_id=item_id)).json()["items"][0]["holds"]
    # Corrected back, it is taken back.
    await produce(at, house, "M-3", "10", sequence=None, corrects="M-2", consumed={("MILK", "A"): "15"})
    shown = (await at.get("/postings", kind="revaluation")).json()["items"]
    assert [each["variance"] for each in shown] == ["30.0000", "-15.0000"]


async def test_a_malformed_message_is_never_taken(at: Running) -> None:
    with pytest.raises(NeverWorks, match="not a production report"):
        await at.hear_foreign(TOPIC, b'{"messageId": "M-1"}', key="CM1")
    with pytest.raises(NeverWorks, match="not a production report"):
        await at.hear_foreign(TOPIC, b"\xff\xfe", key=None)


async def test_five_hundred_lots_in_one_report(at: Running) -> None:
    consumed = {("MILK", f"L{n}"): "1" for n in range(500)}
    assert (await send(at, "M-1", consumed=consumed)).status_code == 201
    assert len(of(MaterialConsumed, await at.said())) == 500
