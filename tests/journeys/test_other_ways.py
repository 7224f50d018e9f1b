"""What the main job does not tell: the ways on which goods come back, are missed, are let go, and services are away.

Each journey has an item of its own, on one system beside that of the story, and ends when all books agree on the item.
"""

import asyncio
import copy
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest_asyncio

from deploy.local.play.arriving import deliver, put_away_from_dock, release_at_dock
from deploy.local.play.input import Consumed, Produced, Purchase, Wanted
from deploy.local.play.mes import report_of
from deploy.local.play.people import Arrival, arrival_of, at_once
from deploy.local.play.scene import Scene
from deploy.local.servers import Servers
from tests.journeys.conftest import all_services, stage

CUSTOMER = "CU-HARBOUR"
"""One without rules about shelf life."""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def scene(servers: Servers) -> AsyncIterator[Scene]:
    """Five services with the sites and the catalog of the story, and no goods yet."""
    beside = copy.copy(servers)
    beside.topic_prefix = f"{servers.topic_prefix}beside."
    beside.database_prefix = f"{servers.database_prefix}beside_"
    async with all_services(beside) as system, stage(system) as scene:
        await asyncio.gather(scene.people.set_up_sites(), scene.people.import_catalog())
        yield scene


def purchase(scene: Scene, like: str, batch_no: str, quantity: str, **other: Any) -> Purchase:
    """A line like the story's purchase `like`, of another batch, in the unit of that line."""
    (model,) = [one for one in scene.given.purchases if one.batch_no == like and one.site_id == "SZ1"]
    told = {"batch_no": batch_no, "reference": f"PO-{batch_no}", "quantity": Decimal(quantity), "tells": "", **other}
    return replace(model, **told)


async def buy(scene: Scene, *purchases: Purchase) -> None:
    """Order, receive, release what needs it, and put all away."""
    await scene.people.order(purchases)
    await deliver(scene, purchases)
    keys = {one.key for one in purchases}
    if purchases[0].item.inspected:
        await release_at_dock(scene, keys)
    await put_away_from_dock(scene, keys, quality="released")


def wanted(scene: Scene, item_id: str, reference: str, quantity: str) -> Wanted:
    """A demand in the item's base unit."""
    item = scene.given.items[item_id]
    model = next(one for one in scene.given.wanted if one.site_id == "SZ1" and one.strategy == "fefo")
    told = {"reference": reference, "customer_id": CUSTOMER, "item": item, "unit": item.base_unit}
    return replace(model, **told, quantity=Decimal(quantity), batch_no=None)


async def promised(scene: Scene, one: Wanted) -> dict[str, Any]:
    """Raise a demand and wait until nothing is missing."""
    await scene.people.raise_by_hand(one)
    return await whole(scene, one.reference)


async def whole(scene: Scene, reference: str) -> dict[str, Any]:
    return await scene.people.until_demand(reference, "has all it wants", lambda demand: not Decimal(demand["missing"]))


async def leaves(scene: Scene, demand: dict[str, Any]) -> None:
    """Pick, load, ask at the gate, and wait until it has left."""
    demand_id = demand["demand_id"]
    await scene.people.until_staged(await scene.people.pick_all([demand_id]))
    shipment = await scene.people.ship(CUSTOMER, "SZ1", [demand_id])
    await scene.people.dispatch(shipment["shipment_id"])
    await scene.people.until_demand(demand["reference"], "has left", lambda found: found["status"] == "shipped")


def shares(demand: dict[str, Any]) -> dict[str, Decimal]:
    """What a demand has, by batch number."""
    found: dict[str, Decimal] = defaultdict(Decimal)
    for share in demand["shares"]:
        found[share["batch_no"]] += Decimal(share["quantity"])
    return dict(found)


async def posted(scene: Scene, item_id: str, kind: str) -> list[Decimal]:
    """The quantities of an item's postings of a kind; when their values are learnt depends on what is heard first."""
    rows = await scene.world.all("integration", "/postings", item_id=item_id, kind=kind)
    return [Decimal(row["quantity"]) for row in rows]


async def books(scene: Scene, item_id: str) -> dict[str, dict[str, Decimal]]:
    """What each service has of an item's batches, by batch number."""
    numbers = {batch_id: batch_no for (item, batch_no), batch_id in scene.people.batches.items() if item == item_id}
    stock = await scene.people.stock(item_id=item_id)
    shelf = await scene.world.all("allocation", f"/items/{item_id}/availability")
    pages = await at_once(scene.world.find("trace", f"/batches/{each}/custody") for each in numbers)
    costs = await at_once(scene.world.find("integration", f"/batches/{each}/cost") for each in numbers)
    told = {
        "inventory": [(one.batch_id, one.quantity) for one in stock],
        "allocation": [(str(row["batch_id"]), Decimal(row["on_hand"])) for row in shelf],
        "trace": [(str(page["batch"]["id"]), Decimal(page["account"]["on_hand"])) for page in pages if page],
        "integration": [(str(cost["batch_id"]), Decimal(cost["quantity"])) for cost in costs if cost],
    }
    added: dict[str, dict[str, Decimal]] = {}
    for service, rows in told.items():
        has: dict[str, Decimal] = defaultdict(Decimal)
        for batch_id, quantity in rows:
            has[numbers[batch_id]] += quantity
        added[service] = {batch_no: quantity for batch_no, quantity in has.items() if quantity}
    return added


async def all_have(scene: Scene, item_id: str, stock: dict[str, int], *, worth: Decimal | None = None) -> None:
    """Wait until all services have exactly `stock` of an item, by batch number, and ERP and ledger the same value.

    Nothing is on its way then: every posting is acknowledged.
    """

    async def money() -> dict[str, Any]:
        reconciled = await scene.world.all("integration", "/reconciliation", item_id=item_id)
        rows = await scene.world.all("integration", "/postings", item_id=item_id)
        return {
            "ledger": [Decimal(row["value"]) for row in reconciled if row["holds"]],
            "erp": scene.erp.value_of(item_id),
            "open": [row["posting_id"] for row in rows if row["status"] != "accepted"],
        }

    async def ask() -> bool:
        found, value = await books(scene, item_id), await money()
        agreed = value["erp"] if worth is None else worth
        return all(has == stock for has in found.values()) and value == {"ledger": [agreed], "erp": agreed, "open": []}

    async def now() -> object:
        return await books(scene, item_id), await money()

    await scene.world.until(f"all books have {stock} of {item_id}", ask, now=now)


async def test_what_a_customer_sends_back_waits_for_inspection_and_then_leaves_again(scene: Scene) -> None:
    canister = "FG-0089-0175"
    bought = purchase(scene, "K-201", "K-901", "100")
    await buy(scene, bought)
    await leaves(scene, await promised(scene, wanted(scene, canister, "SO-R1/10", "60")))
    back = {
        "origin": "customer",
        "item_id": canister,
        "quantity": "20",
        "unit": "XCI",
        "site_id": "SZ1",
        "due_on": scene.given.today,
        "partner_id": CUSTOMER,
        "reference": "RMA-1",
    }
    expected = (await scene.world.post("integration", "/expected-receipts", back, by="mei"))["expected_receipt_id"]
    await scene.people.expected(lambda row: row["expected_receipt_id"] == expected, 1, "the return is expected")
    arrival = Arrival(
        bought.item, "K-901", bought.made_on, bought.expires_on, Decimal(20), "XCI", expected_receipt_id=expected
    )
    (line,) = await scene.people.receive([arrival], site_id="SZ1")
    assert (line["outcome"], line["quality"], line["batch_id"]) == (
        "received",
        "pending",
        scene.people.batches[bought.key],
    )
    waiting = await scene.people.raise_by_hand(wanted(scene, canister, "SO-R2/10", "60"))
    assert (Decimal(waiting["allocated"]), Decimal(waiting["missing"])) == (40, 20)
    await release_at_dock(scene, {bought.key})
    await leaves(scene, await whole(scene, "SO-R2/10"))
    await all_have(scene, canister, {}, worth=Decimal(0))
    assert await posted(scene, canister, "return") == [20]
    page = await scene.world.get("trace", f"/batches/{scene.people.batches[bought.key]}/custody")
    (there,) = page["customers"]
    assert [there[each] for each in ("shipped", "returned", "still_there")] == ["120", "20", "100"]
    assert page["account"]["unaccounted"] == "0"


async def test_a_count_that_finds_less_costs_the_promise_and_the_next_batch_takes_its_place(scene: Scene) -> None:
    vial = "FG-11532-3002"
    first, second = purchase(scene, "V-4401", "V-901", "1"), purchase(scene, "V-4401", "V-902", "1")
    second = replace(second, expires_on=first.expires_on.replace(year=first.expires_on.year + 1))
    await buy(scene, first, second)
    assert shares(await promised(scene, wanted(scene, vial, "SO-C1/10", "400"))) == {"V-901": 400}
    (standing,) = await scene.people.stock(item_id=vial, batch_no="V-901")
    counted = {
        "batch_id": standing.batch_id,
        "item_id": vial,
        "site_id": standing.site_id,
        "location_id": standing.location_id,
        "quality": "released",
        "counted": "300",
        "expected": "400",
        "reason": "cycle count of the cold room",
    }
    await scene.world.post("inventory", "/adjustments", counted, by="sofia")
    demand = await scene.people.until_demand(
        "SO-C1/10", "has some of the other batch", lambda found: shares(found) == {"V-901": 300, "V-902": 100}
    )
    assert demand["status"] == "allocated"
    await all_have(scene, vial, {"V-901": 300, "V-902": 400}, worth=700 * Decimal("6.5"))
    assert await posted(scene, vial, "adjustment") == [-100]


async def test_a_batch_that_a_recall_lets_go_is_promised_again_to_who_lost_it(scene: Scene) -> None:
    syringe = "FG-0002-1401"
    bought = purchase(scene, "SY-882", "SY-901", "1")
    await buy(scene, bought)
    demand = await promised(scene, wanted(scene, syringe, "SO-L1/10", "100"))
    seed = {"batch_id": scene.people.batches[bought.key]}
    await scene.world.until(
        "trace has heard of the batch",
        lambda: scene.world.find("trace", f"/batches/{seed['batch_id']}"),
        service="trace",
    )
    opened = await scene.world.post("trace", "/recalls", {**seed, "reason": "needles may be bent"}, by="qiang")
    path = f"/recalls/{opened['recall_id']}"
    await scene.people.until_demand("SO-L1/10", "has lost it", lambda found: found["status"] == "short")
    (hold,) = await scene.world.until(
        "inventory holds the batch",
        lambda: _some(scene, "inventory", "/holds", **seed, open="true"),
        service="inventory",
    )
    assert (hold["kind"], hold["reference"]) == ("recall", opened["recall_id"])
    await scene.world.post("trace", f"{path}/lift", {**seed, "reason": "made on the other line"}, by="qiang")
    again = await whole(scene, "SO-L1/10")
    assert (again["demand_id"], shares(again)) == (demand["demand_id"], {"SY-901": 100})
    closed = await scene.world.post("trace", f"{path}/close", {"reason": "nothing was affected"}, by="qiang")
    assert (closed["status"], closed["unaccounted"]) == ("closed", [])
    await all_have(scene, syringe, {"SY-901": 1440})


async def _some(scene: Scene, service: str, path: str, **query: Any) -> list[Any] | None:
    return await scene.world.all(service, path, **query) or None


async def test_callers_from_every_side_at_once_are_never_promised_the_same_goods(scene: Scene) -> None:
    pouch = "FG-51114-0220"
    await buy(scene, purchase(scene, "E-1102", "E-901", "5"))
    asked = [wanted(scene, pouch, f"SO-M{number}/10", "7") for number in range(20)]
    await asyncio.gather(
        *(scene.erp.raise_demand(one) for one in asked[:10]), *(scene.people.raise_by_hand(one) for one in asked[10:])
    )
    demands = [await scene.people.until_demand(one.reference, "is known") for one in asked]
    assert sum(Decimal(demand["allocated"]) for demand in demands) == 5 * 24
    assert sum(Decimal(demand["missing"]) for demand in demands) == 20
    assert all(Decimal(demand["allocated"]) + Decimal(demand["missing"]) == 7 for demand in demands)
    (row,) = await scene.world.all("allocation", f"/items/{pouch}/availability")
    assert (row["reserved"], row["free"]) == ("120", "0")
    await all_have(scene, pouch, {"E-901": 120})


async def test_a_corrected_report_leads_to_what_was_used_at_its_cost_and_what_was_not_comes_back(
    scene: Scene,
) -> None:
    raw, bulk = "RM-0078-0853", "BK-0456-1222"
    dear = purchase(scene, "B-0302", "B-902", "1", unit_cost=Decimal(15000))
    await buy(scene, purchase(scene, "B-0301", "B-901", "1"), dear)
    made = replace(
        next(one for one in scene.given.produced if one.item.item_id == bulk),
        message_id="MES-9001",
        work_order="WO-9001",
        batch_no="CB-901",
        conversion_cost=Decimal(0),
        consumed=(Consumed(scene.given.items[raw], "B-901", Decimal(100)),),
    )
    await scene.mes.say(report_of(made))
    await receive_made(scene, made)
    put_right = replace(made, message_id="MES-9002", consumed=(replace(made.consumed[0], batch_no="B-902"),))
    await scene.mes.say({**report_of(put_right), "corrects": "MES-9001"})
    (back,) = await scene.people.expected(
        lambda row: row["item_id"] == raw and row["origin"] == "production", 1, "what was not used is expected back"
    )
    assert (back["batch_no"], Decimal(back["quantity"])) == ("B-901", 100)
    await all_have(scene, raw, {"B-901": 50, "B-902": 50})
    unused = arrival_of(purchase(scene, "B-0301", "B-901", "100", unit="KGM"), back["expected_receipt_id"])
    (line,) = await scene.people.receive([unused], site_id="SZ1")
    assert line["outcome"] == "received", str(line)
    await all_have(scene, raw, {"B-901": 150, "B-902": 50}, worth=Decimal(9750 + 5000))
    await all_have(scene, bulk, {"CB-901": int(made.quantity)}, worth=100 * Decimal(15000) / 150)
    graph = await scene.world.get("trace", f"/batches/{scene.people.batches[bulk, 'CB-901']}/upstream")
    assert {node["batch_no"] for node in graph["nodes"]} == {"CB-901", "B-902"}


async def receive_made(scene: Scene, made: Produced) -> None:
    """Wait until the made batch is expected, and scan it at the dock."""
    (expected,) = await scene.people.expected(
        lambda row: row["batch_no"] == made.batch_no, 1, f"{made.batch_no} is expected"
    )
    (line,) = await scene.people.receive([arrival_of(made, expected["expected_receipt_id"])], site_id="SZ1")
    assert line["outcome"] == "received", str(line)


async def test_receiving_goes_on_while_all_others_are_dead_and_they_catch_up(scene: Scene) -> None:
    substance = "RM-0009-0026"
    drums = [purchase(scene, "AL-26031", f"AL-90{number}", "2") for number in range(3)]
    others = [name for name in scene.world.system.services if name != "receiving"]
    await scene.people.order(drums)
    ordered = {one.reference for one in drums}
    await scene.people.expected(lambda row: row["reference"] in ordered, 3, "the orders are expected")
    await asyncio.gather(*(scene.world.system.kill(name) for name in others))
    await deliver(scene, drums)
    for one in drums:
        batch = await scene.world.get("receiving", f"/batches/{scene.people.batches[one.key]}")
        assert [Decimal(receipt["quantity"]) for receipt in batch["receipts"]] == [200]
    await asyncio.gather(*(scene.world.system.restart(name) for name in others))
    await all_have(scene, substance, {one.batch_no: 200 for one in drums}, worth=3 * Decimal(82400))
    assert await posted(scene, substance, "receipt") == [200] * 3
