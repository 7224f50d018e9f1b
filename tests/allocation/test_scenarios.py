"""What other systems' own tests ask of promises, where no test of ours has their numbers (docs/scenarios.md)."""

from typing import Any

import pytest

from contracts.allocation import AllocationRevoked, DemandAllocated, PassedOverCode
from contracts.inventory import MovementReason
from contracts.values import Place, PlaceKind, Strategy
from services.allocation.domain.orders import ORDERS
from services.allocation.domain.planning import plan
from services.allocation.domain.rules import POLICIES, POLICY
from tests.allocation.conftest import ITEM, SITE, World, demand, place, staging
from tests.allocation.shelves import batch, wanting


async def shelf(world: World) -> dict[str, tuple[str, str, str]]:
    """On hand, reserved and free of each batch."""
    rows = (await world.at.get(f"/items/{ITEM}/availability", site_id=SITE)).json()["items"]
    return {row["batch_no"]: (row["on_hand"], row["reserved"], row["free"]) for row in rows}


async def told(world: World, demand_id: object) -> dict[str, Any]:
    return dict((await world.at.get(f"/demands/{demand_id}")).json())


async def pick_one(world: World, demand_id: object, **scanned: Any) -> dict[str, Any]:
    """Scan the only open pick of a demand, as promised or as said."""
    (pick,) = (await world.at.get("/picks", demand_id=str(demand_id), status="open")).json()["items"]
    body = {"scan": {"item_id": ITEM, "batch_no": pick["batch_no"]}, **scanned}
    answer = await world.at.post(f"/picks/{pick['pick_id']}/scans", body, role="operator")
    assert answer.json()["verdict"] == "accepted", answer.text
    return dict(answer.json()["pick"])


# 2
async def test_ten_with_nine_promised_and_one_with_one_promised_leave_one_free(world: World) -> None:
    await world.stock("A", 10, "A-1", expires="2026-06-01")
    await world.stock("B", 1, "A-2", expires="2026-07-01")
    await world.at.hear(
        demand(9, reference="1", strategy=Strategy.SPECIFIED, batch_no="A"),
        demand(1, reference="2", strategy=Strategy.SPECIFIED, batch_no="B"),
    )
    assert await shelf(world) == {"A": ("10", "9", "1"), "B": ("1", "1", "0")}


# 3, 4 (done otherwise: never less than nothing is free, a promise without goods is taken back)
async def test_a_promise_of_twenty_over_ten_is_cut_to_what_there_is_and_the_rest_moves_to_what_is_free(
    world: World,
) -> None:
    await world.stock("A", 20, expires="2026-06-01")
    await world.stock("B", 5, expires="2026-07-01")
    wanted = demand(20)
    await world.at.hear(wanted)
    lost = Place(kind=PlaceKind.ADJUSTMENT)
    await world.at.hear(world.moved("A", 10, lost, frm=place("A-1"), reason=MovementReason.ADJUSTMENT))
    assert await shelf(world) == {"A": ("10", "10", "0"), "B": ("5", "5", "0")}
    assert (await told(world, wanted.demand_id))["missing"] == "5"
    other = demand(1, reference="2")
    await world.at.hear(other)
    assert await world.shares(other.demand_id) == {}
    assert await world.balance() == []


# 14: nothing is without a batch here, so the two kinds are two batches
async def test_two_of_one_batch_and_three_of_another_are_two_picks_for_five(world: World) -> None:
    await world.stock("A", 2, expires="2026-06-01")
    await world.stock("B", 3, expires="2026-07-01")
    wanted = demand(5)
    await world.at.hear(wanted)
    picks = (await world.at.get("/picks", demand_id=str(wanted.demand_id))).json()["items"]
    assert sorted((pick["batch_no"], pick["quantity"]) for pick in picks) == [("A", "2"), ("B", "3")]


# 25: its states in order; what leaves is never more than what was promised
async def test_a_demand_of_fifty_is_short_then_promised_in_parts_then_whole_picked_and_shipped(world: World) -> None:
    wanted = demand(50)
    states = []

    async def state() -> None:
        now = await told(world, wanted.demand_id)
        states.append((now["status"], now["allocated"], now["shipped"], now["missing"]))

    async def booked(quantity: str, to: Place, frm: Place, reason: MovementReason, reference: str) -> None:
        await world.at.hear(world.moved("A", quantity, to, frm=frm, reason=reason, reference=reference))

    await world.at.hear(wanted)
    await state()
    await world.stock("A", 20, expires="2026-06-01")
    await state()
    await world.stock("A", 40)
    await state()
    picks = (await world.at.get("/picks", demand_id=str(wanted.demand_id), status="open")).json()["items"]
    for pick in picks:
        path, scan = f"/picks/{pick['pick_id']}/scans", {"scan": {"item_id": ITEM, "batch_no": "A"}}
        more = await world.at.post(path, {**scan, "quantity": str(int(pick["quantity"]) + 1)}, role="operator")
        assert (more.status_code, more.json()["code"]) == (409, "more_than_promised")
        assert (await world.at.post(path, scan, role="operator")).json()["verdict"] == "accepted"
        await booked(pick["quantity"], staging(), place("A-1"), MovementReason.PICK, pick["pick_id"])
    await state()
    made = await world.at.post("/shipments", {"customer_id": "C-1", "site_id": SITE}, role="operator")
    sent = await world.at.post(f"/shipments/{made.json()['shipment_id']}/dispatch", {}, role="operator")
    first, second = sent.json()["lines"]
    for line in (first, second):
        await booked(line["quantity"], Place(kind=PlaceKind.CUSTOMER), staging(), MovementReason.ISSUE, line["line_id"])
        await state()
    assert {first["quantity"], second["quantity"]} == {"20", "30"}
    assert states == [
        ("short", "0", "0", "50"),
        ("partly_allocated", "20", "0", "30"),
        ("allocated", "50", "0", "0"),
        ("picked", "50", "0", "0"),
        ("dispatching", second["quantity"], first["quantity"], "0"),
        ("shipped", "0", "50", "0"),
    ]
    assert await shelf(world) == {"A": ("10", "0", "10")}
    assert await world.balance() == []


# 39 (done otherwise: neither the smallest nor the largest pile first, but the first to expire, then the first received)
@pytest.mark.parametrize(
    ("piles", "taken"),
    [
        ((batch("OLD", free=5, received="2026-01-01"), batch("NEW", free=100)), {"OLD": "5", "NEW": "10"}),
        ((batch("OLD", free=100, received="2026-01-01"), batch("NEW", free=5)), {"OLD": "15"}),
    ],
)
def test_fifteen_of_piles_of_five_and_a_hundred_follow_the_day_of_receipt(piles: Any, taken: dict[str, str]) -> None:
    made = plan(wanting(15), piles, POLICIES[POLICY], ORDERS[Strategy.FEFO])
    assert {share.stock.batch_no: f"{share.quantity:f}" for share in made.taken} == taken


# 49 (done otherwise: nobody is asked whether expired goods may leave)
async def test_of_four_good_and_four_expired_only_the_good_ones_are_promised(world: World) -> None:
    await world.stock("GOOD", 4, expires="2026-06-01")
    await world.stock("EXPIRED", 4, expires="2026-03-04")
    wanted = demand(8)
    await world.at.hear(wanted)
    (allocated, _short) = await world.at.said()
    assert isinstance(allocated, DemandAllocated)
    assert [(share.batch_no, share.quantity) for share in allocated.shares] == [("GOOD", 4)]
    assert {passed.batch_no: passed.code for passed in allocated.passed_over} == {"EXPIRED": PassedOverCode.EXPIRED}
    assert allocated.missing == 4


# 51
async def test_the_expiry_at_a_pick_is_that_of_the_batch_that_is_taken_also_when_it_has_none(world: World) -> None:
    await world.item(expiry_required=False)
    await world.stock("DATED", 2, expires="2026-06-01")
    await world.stock("NONE", 2)
    wanted = demand(2)
    await world.at.hear(wanted)
    (share,) = (await told(world, wanted.demand_id))["shares"]
    assert share["expires_on"] == "2026-06-01"
    pick = await pick_one(world, wanted.demand_id, scan={"item_id": ITEM, "batch_no": "NONE"}, allow_swap=True)
    assert (pick["batch_no"], pick["expires_on"]) == ("NONE", None)
    (share,) = (await told(world, wanted.demand_id))["shares"]
    assert share.get("expires_on") is None


# 104 (done otherwise: a hold does not wait until nobody has a promise)
async def test_a_batch_can_be_held_while_it_is_promised_and_is_promised_to_nobody_then(world: World) -> None:
    await world.stock("A", 5, expires="2026-06-01")
    wanted = demand(5)
    await world.at.hear(wanted)
    await world.at.said()
    hold = await world.hold("A")
    assert await shelf(world) == {"A": ("5", "0", "5")}
    assert [event.quantity for event in await world.at.said() if isinstance(event, AllocationRevoked)] == [5]
    await world.lift(hold)
    assert await shelf(world) == {"A": ("5", "5", "0")}
