"""What stock is worth, as integration hears it: the scenarios of other systems, and what late facts do."""

import datetime as dt
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from contracts.integration import CostPosted, PostingKind
from contracts.values import Origin, PlaceKind
from delivery import NeverWorks, Work
from services.integration.app import service
from services.integration.handlers.valuation import value_movements
from tests.integration.speaking import NOW, Warehouse, expect, receive, set_up, values
from tests.service_harness import Running, running

D = Decimal


@pytest.fixture
async def at(database: str, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(service, database, tmp_path) as runs:
        await set_up(runs, "MILK")
        yield runs


@pytest.fixture
def house() -> Warehouse:
    return Warehouse()


async def books(at: Running, item_id: str = "MILK") -> dict[str, Any]:
    answer = await at.get("/reconciliation", item_id=item_id)
    found = answer.json()["items"][0]
    assert found["holds"], found
    return dict(found)


async def cost(at: Running, house: Warehouse, batch_no: str) -> dict[str, Any]:
    return dict((await at.get(f"/batches/{house.batch(batch_no)}/cost")).json())


async def test_each_batch_leaves_at_its_own_average_cost_as_in_the_worked_example(
    at: Running, house: Warehouse
) -> None:
    await receive(at, house, "MILK", "A", "100", "10")
    await receive(at, house, "MILK", "B", "50", "13")
    await at.said()
    await at.hear(house.moved("MILK", "B", "-30", PlaceKind.CUSTOMER))
    await receive(at, house, "MILK", "A", "20", "11.50")
    await at.hear(
        house.moved("MILK", "A", "-90", PlaceKind.CUSTOMER),
        house.moved("MILK", "B", "5", PlaceKind.ADJUSTMENT),
        house.moved("MILK", "A", "-10", PlaceKind.SCRAP),
    )
    said = await at.said()
    assert values(said) == [D("-390"), D("230"), D("-922.50"), D("65"), D("-102.50")]
    assert [event.kind for event in said if isinstance(event, CostPosted)][-2:] == ["adjustment", "scrap"]
    found = await books(at)
    assert (D(found["ledger_quantity"]), D(found["value"])) == (D(45), D("530.00"))
    assert (D((await cost(at, house, "A"))["value"]), D((await cost(at, house, "B"))["value"])) == (D(205), D(325))


async def test_an_issue_of_one_lot_leaves_the_others_at_their_cost(at: Running, house: Warehouse) -> None:  # 79
    for batch_no, quantity, unit_cost in (("1", "5", "5"), ("2", "5", "5"), ("3", "10", "7")):
        await receive(at, house, "MILK", batch_no, quantity, unit_cost)
    assert D((await books(at))["value"]) / 20 == 6
    await at.hear(house.moved("MILK", "1", "-2", PlaceKind.CUSTOMER))
    assert round(D((await books(at))["value"]) / 18, 4) == D("6.1111")
    assert [D((await cost(at, house, batch_no))["value"]) for batch_no in "123"] == [15, 25, 70]


async def test_a_partial_return_comes_back_at_the_cost_of_its_batch(at: Running, house: Warehouse) -> None:  # 84
    await receive(at, house, "MILK", "A", "10", "9")
    await receive(at, house, "MILK", "B", "10", "4")
    await at.hear(house.moved("MILK", "A", "-10", PlaceKind.CUSTOMER))
    await at.said()
    await at.hear(house.moved("MILK", "A", "3", PlaceKind.CUSTOMER))
    [posting] = await at.said()
    assert isinstance(posting, CostPosted)
    assert (posting.kind, posting.value, posting.unit_cost) == (PostingKind.RETURN, D(27), D(9))


async def test_batches_leave_at_their_cost_in_whatever_order_they_leave(at: Running, house: Warehouse) -> None:  # 86
    await receive(at, house, "MILK", "1", "10", "500")
    await receive(at, house, "MILK", "2", "10", "300")
    await at.said()
    await at.hear(
        house.moved("MILK", "2", "-10", PlaceKind.CUSTOMER),
        house.moved("MILK", "1", "-10", PlaceKind.CUSTOMER),
        times=5,
    )
    assert values(await at.said()) == [D(-3000), D(-5000)]
    assert D((await books(at))["value"]) == 0


async def test_several_receipts_of_one_batch_make_one_average(at: Running, house: Warehouse) -> None:  # 87
    for batch_no, unit_cost in (("X", "100"), ("Y", "50"), ("X", "150"), ("Y", "100")):
        await receive(at, house, "MILK", batch_no, "1", unit_cost)
    await at.said()
    await at.hear(
        house.moved("MILK", "Y", "-1", PlaceKind.CUSTOMER), house.moved("MILK", "X", "-1", PlaceKind.CUSTOMER)
    )
    assert values(await at.said()) == [D(-75), D(-125)]


async def test_what_stays_inside_is_not_posted_and_nothing_is_left_of_an_awkward_price(
    at: Running, house: Warehouse
) -> None:  # 94
    expected = await expect(at, "MILK", "20000", "7.82631")
    received = house.received("MILK", "A", "20000", expected=expected)
    await at.hear(received, house.booked(received))
    await at.said()
    await at.hear(house.moved("MILK", "A", "-1728", PlaceKind.LOCATION))
    assert await at.said() == []
    for change in ("-1728", "-99.9997", "-18172.0003"):
        await at.hear(house.moved("MILK", "A", change, PlaceKind.CUSTOMER))
    assert sum(value for value in values(await at.said()) if value is not None) == D("-156526.2")
    found = await books(at)
    assert (D(found["value"]), D(found["ledger_quantity"])) == (0, 0)


async def test_a_reversal_restores_exactly_what_the_movement_was_worth(at: Running, house: Warehouse) -> None:
    await receive(at, house, "MILK", "A", "3", "3.3333")
    issue = house.moved("MILK", "A", "-1", PlaceKind.CUSTOMER)
    await at.hear(issue)
    await receive(at, house, "MILK", "A", "7", "20")
    *_, before = await at.said()
    await at.hear(house.moved("MILK", "A", "1", PlaceKind.CUSTOMER, reverses=issue))
    [posting] = await at.said()
    assert isinstance(posting, CostPosted)
    assert (posting.kind, posting.value) == (PostingKind.REVERSAL, D("3.3333"))
    original = (await at.get("/postings", item_id="MILK", kind="issue")).json()["items"][0]
    assert str(posting.reverses) == original["posting_id"]
    assert isinstance(before, CostPosted)
    assert before.value == 140


async def test_a_reversed_receipt_leaves_nothing_worth_something(at: Running, house: Warehouse) -> None:
    first = await receive(at, house, "MILK", "A", "10", "10")
    await receive(at, house, "MILK", "A", "10", "20")
    await at.hear(house.moved("MILK", "A", "-10", PlaceKind.CUSTOMER))
    await at.said()
    await at.hear(house.moved("MILK", "A", "-10", PlaceKind.SUPPLIER, reverses=first))
    assert values(await at.said()) == [D(-100), D(-50)]
    assert D((await books(at))["value"]) == 0


async def test_a_movement_that_comes_before_its_receipt_is_valued_when_the_receipt_comes(
    at: Running, house: Warehouse
) -> None:
    expected = await expect(at, "MILK", "10", "6")
    received = house.received("MILK", "A", "10", expected=expected)
    receipt, issue = house.booked(received), house.moved("MILK", "A", "-4", PlaceKind.CUSTOMER)
    await at.hear(receipt, issue)
    assert values(await at.said()) == [None, None]
    assert (await books(at))["unknown_cost_batches"] == ["A"]
    await at.hear(received, times=5)
    said = await at.said()
    assert [(e.kind, e.quantity, e.value, e.movement_id) for e in said if isinstance(e, CostPosted)] == [
        (PostingKind.REVALUATION, 0, D(60), receipt.movement_id),
        (PostingKind.REVALUATION, 0, D(-24), issue.movement_id),
    ]
    found = await books(at)
    assert (D(found["value"]), found["unknown_cost_batches"]) == (D(36), [])


async def test_many_movements_that_come_before_their_receipts_wait_together(at: Running, house: Warehouse) -> None:
    count = 60  # so many rows are copied in, and they refer to batches that are written with them
    expected = await expect(at, "MILK", str(count), "6")
    received = [house.received("MILK", f"A{n}", "1", expected=expected) for n in range(count)]
    await at.hear(*(house.booked(each) for each in received))
    assert values(await at.said()) == [None] * count
    await at.hear(*received)
    assert values(await at.said()) == [D(6)] * count
    assert D((await books(at))["value"]) == 6 * count


async def test_an_unknown_cost_is_not_zero_and_is_learnt_from_a_person(at: Running, house: Warehouse) -> None:
    await receive(at, house, "MILK", "A", "10", "5")
    await at.hear(house.moved("MILK", "A", "-5", PlaceKind.CUSTOMER))
    await receive(at, house, "MILK", "A", "10", None)
    await at.said()
    await at.hear(house.moved("MILK", "A", "-15", PlaceKind.CUSTOMER))
    [posting] = await at.said()
    assert isinstance(posting, CostPosted)
    assert (posting.value, posting.unit_cost) == (None, None)
    body = {"unit_cost": "8", "currency": "CNY", "reason": "Invoice came"}
    answer = await at.put(f"/batches/{house.batch('A')}/cost", body, role="integrator")
    assert answer.status_code == 200, answer.text
    assert values(await at.said()) == [D(80), D(-105)]
    found = await cost(at, house, "A")
    assert (found["unknown"], D(found["value"]), found["given"][0]["reason"]) == (False, 0, "Invoice came")
    await books(at)


async def test_a_known_cost_that_is_put_right_revalues_what_is_on_hand(at: Running, house: Warehouse) -> None:  # 82
    await receive(at, house, "MILK", "1", "10", "6.2")
    await at.said()
    body = {"unit_cost": "7", "currency": "CNY", "reason": "Freight was missing"}
    await at.put(f"/batches/{house.batch('1')}/cost", body, role="integrator")
    assert values(await at.said()) == [D(8)]
    assert D((await books(at))["value"]) == 70


async def test_a_cost_in_another_currency_is_refused_with_both_named(at: Running, house: Warehouse) -> None:
    await receive(at, house, "MILK", "A", "1", None)
    body = {"unit_cost": "7", "currency": "EUR", "reason": "Invoice"}
    answer = await at.put(f"/batches/{house.batch('A')}/cost", body, role="integrator")
    assert (answer.status_code, answer.json()["code"]) == (422, "foreign_currency")
    assert "CNY" in answer.json()["detail"]
    assert "EUR" in answer.json()["detail"]


async def test_a_slip_of_the_finger_is_refused_before_it_is_worth_a_fortune(at: Running, house: Warehouse) -> None:
    await receive(at, house, "MILK", "A", "1000", None)
    body = {"unit_cost": "1000000000000", "currency": "CNY", "reason": "Invoice"}
    answer = await at.put(f"/batches/{house.batch('A')}/cost", body, role="integrator")
    assert (answer.status_code, answer.json()["code"]) == (422, "too_large")
    assert "1000 at 1000000000000 each is 1000000000000000.00" in answer.json()["detail"]


async def test_a_movement_said_late_about_an_earlier_day_is_valued_in_its_turn(at: Running, house: Warehouse) -> None:
    await receive(at, house, "MILK", "A", "10", "10")
    await at.hear(house.moved("MILK", "A", "-5", PlaceKind.CUSTOMER))
    await receive(at, house, "MILK", "A", "5", "30")
    await at.said()
    yesterday = NOW - dt.timedelta(days=1)
    await at.hear(house.moved("MILK", "A", "-1", PlaceKind.CUSTOMER, effective_at=yesterday))
    [posting] = await at.said()
    assert isinstance(posting, CostPosted)
    assert (posting.value, posting.posting_date) == (D(-20), yesterday.date())


async def test_the_cost_per_box_is_converted_without_rounding(at: Running, house: Warehouse) -> None:
    expected = await expect(at, "MILK", "3", "100", unit="BX")
    await at.said()
    received = house.received("MILK", "A", "75", expected=expected)
    await at.hear(received, house.booked(received))
    [posting] = await at.said()
    assert isinstance(posting, CostPosted)
    assert (posting.value, posting.unit_cost, posting.quantity) == (D(300), D(4), D(75))


async def test_more_going_out_than_there_is_is_parked_with_both_figures(at: Running, house: Warehouse) -> None:
    await receive(at, house, "MILK", "A", "10", "10")
    with pytest.raises(NeverWorks, match=r"takes 11, the batch has 10"):
        await at.hear(house.moved("MILK", "A", "-11", PlaceKind.CUSTOMER))


async def test_goods_counted_in_without_any_cost_wait_for_one(at: Running, house: Warehouse) -> None:
    await at.hear(house.moved("MILK", "OLD", "8", PlaceKind.ADJUSTMENT))
    assert values(await at.said()) == [None]
    body = {"unit_cost": "2.5", "currency": "CNY", "reason": "Opening stock"}
    await at.put(f"/batches/{house.batch('OLD')}/cost", body, role="integrator")
    assert values(await at.said()) == [D(20)]
    assert (await cost(at, house, "OLD"))["layers"][0]["source"] == "person"


async def test_a_chunk_of_five_hundred_is_a_handful_of_statements(at: Running, house: Warehouse) -> None:
    await receive(at, house, "MILK", "A", "500", "1")
    await at.said()
    counted = 0

    async def count(*_: object) -> None:
        nonlocal counted
        counted += 1

    moves = [house.moved("MILK", "A", "-1", PlaceKind.CUSTOMER) for _ in range(500)]
    async with at.runtime.pool.acquire() as connection, connection.transaction():
        connection.add_query_logger(count)
        said = await value_movements(Work(connection, NOW), moves)
        connection.remove_query_logger(count)
    assert len(said) == 500
    assert counted <= 10


async def test_a_customer_return_of_an_unknown_batch_has_no_cost(at: Running, house: Warehouse) -> None:
    received = house.received("MILK", "R", "2", origin=Origin.CUSTOMER)
    await at.hear(received, house.booked(received))
    assert values(await at.said()) == [None]


async def test_the_watch_finds_a_difference_and_says_so(at: Running, house: Warehouse) -> None:
    await receive(at, house, "MILK", "A", "10", "10")
    await at.watch("reconciliation")
    assert await at.runtime.pool.fetchval("SELECT holds FROM item_check WHERE item_id = 'MILK'")
    await at.runtime.pool.execute("UPDATE ledger_batch SET quantity = quantity + 1")
    await at.watch("reconciliation")
    row = await at.runtime.pool.fetchrow("SELECT * FROM item_check WHERE item_id = 'MILK'")
    assert row is not None
    assert row["differences"][0]["what"] == "ledger quantity and valued quantity"
    assert "integration_book_differences 1.0" in (await at.client.get("/metrics")).text
    found = (await at.get("/reconciliation", item_id="MILK")).json()["items"][0]
    assert (found["holds"], found["differences"][0]["one"], found["differences"][0]["other"]) == (False, "11", "10")
