"""What other systems' own tests ask of units and values, with their numbers where ours had none (docs/scenarios.md)."""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from contracts.integration import DemandRaised
from contracts.values import PlaceKind
from services.integration.app import service
from tests.integration.speaking import Warehouse, receive, set_up, values
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


async def worth(at: Running, item_id: str = "MILK") -> Decimal:
    """The value of all stock of an item; ledger, values and postings agree on it."""
    (found,) = (await at.get("/reconciliation", item_id=item_id)).json()["items"]
    assert found["holds"], found
    return D(found["value"])


async def costs(at: Running, house: Warehouse, batch_no: str, unit_cost: str) -> None:
    """A person says what a batch costs."""
    body = {"unit_cost": unit_cost, "currency": "CNY", "reason": "The invoice says so"}
    answer = await at.put(f"/batches/{house.batch(batch_no)}/cost", body, role="integrator")
    assert answer.status_code == 200, answer.text


# 17: a line that was ordered in another unit is withdrawn and raised again
async def test_a_dozen_is_twelve_two_are_twenty_four_and_two_pieces_are_two(at: Running) -> None:
    units = [{"unit": "DZN", "numerator": 12, "denominator": 1}]
    body = {"name": "Egg", "base_unit": "C62", "units": units}
    assert (await at.put("/items/EGG", body, role="integrator")).status_code == 201
    await at.said()
    for reference, quantity, unit in (("SO-1/1", "1", "DZN"), ("SO-1/2", "2", "DZN"), ("SO-1/3", "2", "C62")):
        line = {
            "reference": reference,
            "customer_id": "C-1",
            "site_id": "HRB-1",
            "item_id": "EGG",
            "quantity": quantity,
            "unit": unit,
            "needed_on": "2026-03-20",
        }
        assert (await at.post("/demands", line, role="integrator")).status_code == 201
    raised = [(event.quantity, event.unit) for event in await at.said() if isinstance(event, DemandRaised)]
    assert raised == [(12, "C62"), (24, "C62"), (2, "C62")]


# 88 (done otherwise: counting finds quantities and a person sets costs; it comes to the same value)
async def test_a_count_and_a_new_cost_come_to_the_value_of_what_was_counted(at: Running, house: Warehouse) -> None:
    for batch_no, before, at_cost, counted, new_cost in (("A", "10", "100", "5", "50"), ("B", "13", "200", "20", "75")):
        await receive(at, house, "MILK", batch_no, before, at_cost)
        had = await worth(at)
        await at.said()
        await at.hear(house.moved("MILK", batch_no, str(D(counted) - D(before)), PlaceKind.ADJUSTMENT))
        await costs(at, house, batch_no, new_cost)
        posted = [value for value in values(await at.said()) if value is not None]
        came_to = D(counted) * D(new_cost) - D(before) * D(at_cost)
        assert sum(posted) == await worth(at) - had == came_to


# 90 (done otherwise: the order is that in which the ledger learnt it, not that of the dates)
async def test_the_average_is_that_of_what_the_batch_held_when_it_left(at: Running, house: Warehouse) -> None:
    await receive(at, house, "MILK", "A", "1", "10")
    await receive(at, house, "MILK", "A", "1", "20")
    await at.said()
    await at.hear(house.moved("MILK", "A", "-1", PlaceKind.CUSTOMER))
    assert values(await at.said()) == [D(-15)]
    await receive(at, house, "MILK", "A", "1", "30")
    await at.said()
    await at.hear(house.moved("MILK", "A", "-2", PlaceKind.CUSTOMER))
    assert values(await at.said()) == [D(-45)]
    assert await worth(at) == 0


# 91: the value belongs to the batch, so no transfer has to hear of the change
async def test_a_cost_that_is_put_right_holds_wherever_the_goods_were_carried_since(
    at: Running, house: Warehouse
) -> None:
    await receive(at, house, "MILK", "A", "1", "50")
    await at.hear(*(house.moved("MILK", "A", change, PlaceKind.LOCATION) for change in ("-1", "1")))
    for cost, value in (("100", 100), ("50", 50)):
        await costs(at, house, "A", cost)
        assert await worth(at) == value
    await receive(at, house, "MILK", "A", "1", "20")
    assert await worth(at) == 70
    await at.said()
    await at.hear(house.moved("MILK", "A", "-2", PlaceKind.CUSTOMER))
    assert values(await at.said()) == [D(-70)]
