"""Picks and shipments over HTTP: what a scan is worth, swaps, and the gate."""

import asyncio
from typing import Any
from uuid import UUID

from contracts.allocation import (
    AllocationRevoked,
    DemandAllocated,
    PickConfirmed,
    PickRefused,
    RevocationCode,
    ShipmentDispatched,
)
from contracts.gs1 import digital_link, parse_bracketed
from contracts.integration import DemandWithdrawn, ShelfLifeRule
from contracts.inventory import IssueRefused, MovementReason, RefusalCode, SiteDefined, StockMoved
from contracts.values import Place, PlaceKind
from delivery import new_id
from tests.allocation.conftest import ITEM, SITE, World, demand, place, staging

GTIN = "09521234567899"


async def open_picks(world: World, demand_id: object) -> list[dict[str, Any]]:
    answer = await world.at.get("/picks", demand_id=str(demand_id), status="open")
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


async def scan(world: World, pick_id: str, scanned: object, **more: object) -> dict[str, Any]:
    answer = await world.at.post(f"/picks/{pick_id}/scans", {"scan": scanned, **more}, role="operator")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def typed(batch_no: str, item: str = ITEM) -> dict[str, str]:
    return {"item_id": item, "batch_no": batch_no}


async def a_pick(world: World, quantity: object = 4, **wish: Any) -> tuple[Any, dict[str, Any]]:
    wanted = demand(quantity, **wish)
    await world.at.hear(wanted)
    (pick,) = await open_picks(world, wanted.demand_id)
    return wanted, pick


async def picked_and_booked(world: World, batch_no: str, pick_id: str, quantity: object, frm: str = "A-1") -> None:
    """Scan, and let inventory book it."""
    assert (await scan(world, pick_id, typed(batch_no)))["verdict"] == "accepted"
    await world.at.hear(
        world.moved(batch_no, quantity, staging(), frm=place(frm), reason=MovementReason.PICK, reference=pick_id)
    )


async def a_dispatched_line(world: World, **wish: Any) -> tuple[Any, dict[str, Any], ShipmentDispatched]:
    wanted, pick = await a_pick(world, **wish)
    await picked_and_booked(world, pick["batch_no"], pick["pick_id"], pick["quantity"])
    made = await world.at.post("/shipments", {"customer_id": "C-1", "site_id": SITE}, role="operator")
    assert made.status_code == 201, made.text
    await world.at.said()
    sent = await world.at.post(f"/shipments/{made.json()['shipment_id']}/dispatch", {}, role="operator")
    assert sent.status_code == 200, sent.text
    (dispatched,) = await world.at.said()
    assert isinstance(dispatched, ShipmentDispatched)
    return wanted, sent.json(), dispatched


async def test_every_kind_of_code_that_names_the_promised_batch_is_accepted(world: World) -> None:
    await world.item(gtin=GTIN)
    await world.stock("LOT7", 20, expires="2026-06-01")
    codes = [
        f"]d201{GTIN}10LOT7",
        f"(01){GTIN}(10)LOT7",
        digital_link(parse_bracketed(f"(01){GTIN}(10)LOT7")),
        typed("LOT7"),
    ]
    for code in codes:
        wanted, pick = await a_pick(world)
        await world.at.said()
        told = await scan(world, pick["pick_id"], code, location_id="A-1", to_location_id="STAGE-2")
        assert told["verdict"] == "accepted", told
        assert told["pick"]["status"] == "picked"
        (confirmed,) = await world.at.said()
        assert isinstance(confirmed, PickConfirmed)
        assert (confirmed.demand_id, confirmed.quantity) == (wanted.demand_id, 4)
        assert (confirmed.from_location_id, confirmed.to_location_id) == ("A-1", "STAGE-2")


async def test_a_scan_tells_its_pick_as_it_is_read_again(world: World) -> None:
    """The answer is made of what was read before the scan, so all of it is compared, also of what a swap moved."""
    await world.stock("LOT7", 20, expires="2026-06-01")
    await world.stock("LOT8", 20, expires="2026-07-01")
    _, whole = await a_pick(world, 4, reference="SO-1")
    _, parted = await a_pick(world, 6, reference="SO-2")
    _, swapped = await a_pick(world, 5, reference="SO-3")
    answers = [
        await scan(world, whole["pick_id"], typed("LOT8")),
        await scan(world, whole["pick_id"], typed("LOT7")),
        await scan(world, whole["pick_id"], typed("LOT7")),
        await scan(world, parted["pick_id"], typed("LOT7"), quantity="2"),
        await scan(world, swapped["pick_id"], typed("LOT8"), quantity="3", allow_swap=True),
    ]
    assert [told["verdict"] for told in answers] == [
        "wrong_batch",
        "accepted",
        "already_picked",
        "accepted",
        "accepted",
    ]
    assert answers[0]["pick"] == whole
    told = [pick for answer in answers[1:] for pick in (answer["pick"], answer["rest"]) if pick is not None]
    assert sorted(pick["status"] for pick in told) == ["open", "open", "picked", "picked", "picked", "picked"]
    for pick in told:
        assert pick == (await world.at.get(f"/picks/{pick['pick_id']}")).json()


async def test_scans_that_come_together_see_each_other(world: World) -> None:
    await world.stock("LOT7", 20, expires="2026-06-01")
    _, pick = await a_pick(world)
    told = await asyncio.gather(*(scan(world, pick["pick_id"], typed("LOT7")) for _ in range(5)))
    assert sorted(each["verdict"] for each in told) == ["accepted"] + ["already_picked"] * 4
    now = (await world.at.get(f"/picks/{pick['pick_id']}")).json()
    assert all(each["pick"] == now for each in told)


async def test_a_wrong_scan_changes_nothing_and_says_why(world: World) -> None:
    await world.item(gtin=GTIN)
    await world.item("OTHER", gtin="09506000134352")
    await world.stock("LOT7", 20, expires="2026-06-01")
    wanted, pick = await a_pick(world)
    await world.at.said()
    refused = {
        "wrong_item": ["]d2010950600013435210LOT7", typed("LOT7", "OTHER")],
        "wrong_batch": [f"]d201{GTIN}10LOT8", typed("LOT8")],
        "unknown_code": ["hello", f"]d201{GTIN}", "]d2010614141123452910LOT7"],
    }
    for verdict, codes in refused.items():
        for code in codes:
            told = await scan(world, pick["pick_id"], code)
            assert (told["verdict"], told["pick"]["status"]) == (verdict, "open"), told
            (said,) = await world.at.said()
            assert isinstance(said, PickRefused)
            assert (said.verdict, said.expected_batch_no) == (verdict, "LOT7")
    elsewhere = await scan(world, pick["pick_id"], typed("LOT7"), location_id="Z-9")
    assert elsewhere["verdict"] == "not_reserved_here"
    assert "scanned at Z-9" in elsewhere["reason"]
    too_much = await world.at.post(
        f"/picks/{pick['pick_id']}/scans", {"scan": typed("LOT7"), "quantity": "5"}, role="operator"
    )
    assert (too_much.status_code, too_much.json()["code"]) == (409, "more_than_promised")
    assert [each["field"] for each in too_much.json()["fields"]] == ["quantity"]
    assert await world.shares(wanted.demand_id) == {"LOT7@A-1": "4"}
    assert (await world.at.get("/picks/00000000-0000-7000-8000-000000000000")).status_code == 404


async def test_a_held_batch_is_refused_at_the_scanner_and_an_expired_one_too(world: World) -> None:
    # 3.3 #49, done otherwise: blocked, not asked
    await world.stock("LOT7", 20, expires="2026-06-01")
    _, pick = await a_pick(world)
    await world.hold("LOT7")
    told = await scan(world, pick["pick_id"], typed("LOT7"))
    assert told["verdict"] == "held"
    assert "looked odd" in told["reason"]
    await world.stock("SHORT", 20, expires="2026-03-05")
    _, soon = await a_pick(world)
    world.at.clock.at = world.at.clock.at.replace(day=7)
    assert (await scan(world, soon["pick_id"], typed("SHORT")))["verdict"] == "expired"


async def test_a_pick_is_confirmed_once(world: World) -> None:
    await world.stock("LOT7", 20, expires="2026-06-01")
    _, pick = await a_pick(world)
    assert (await scan(world, pick["pick_id"], typed("LOT7")))["verdict"] == "accepted"
    assert (await scan(world, pick["pick_id"], typed("LOT7")))["verdict"] == "already_picked"


async def test_a_part_is_picked_and_the_rest_stays_open(world: World) -> None:
    await world.stock("LOT7", 20, expires="2026-06-01")
    wanted, pick = await a_pick(world, 5)
    told = await scan(world, pick["pick_id"], typed("LOT7"), quantity="3")
    assert (told["pick"]["quantity"], told["rest"]["quantity"], told["rest"]["status"]) == ("3", "2", "open")
    (rest,) = await open_picks(world, wanted.demand_id)
    assert rest["pick_id"] == told["rest"]["pick_id"]
    assert await world.balance() == []


async def test_our_own_pick_takes_its_promise_along_to_staging(world: World) -> None:
    await world.stock("LOT7", 20, expires="2026-06-01")
    wanted, pick = await a_pick(world)
    await picked_and_booked(world, "LOT7", pick["pick_id"], 4)
    assert not [event for event in await world.at.said() if isinstance(event, AllocationRevoked)]
    assert await world.shares(wanted.demand_id) == {"LOT7@STAGE": "4"}
    assert await world.on_hand() == {"LOT7@A-1/released": "16", "LOT7@STAGE/released": "4"}


async def test_a_hold_on_what_a_person_holds_stops_the_line_and_plans_the_demand_again(world: World) -> None:
    await world.stock("LOT7", 4, expires="2026-06-01")
    await world.stock("LOT8", 9, expires="2026-07-01")
    wanted, pick = await a_pick(world)
    await picked_and_booked(world, "LOT7", pick["pick_id"], 4)
    await world.at.said()
    await world.hold("LOT7")
    revoked, allocated = await world.at.said()
    assert isinstance(revoked, AllocationRevoked)
    assert (revoked.picked, revoked.location_id) == (True, "STAGE")
    assert isinstance(allocated, DemandAllocated)
    assert [share.batch_no for share in allocated.shares] == ["LOT8"]
    told = (await world.at.get(f"/picks/{pick['pick_id']}")).json()
    assert (told["status"], "looked odd" in told["reason"]) == ("stopped", True)
    shown = (await world.at.get(f"/demands/{wanted.demand_id}")).json()
    assert [share["batch_no"] for share in shown["stopped"]] == ["LOT7"]
    assert await world.balance() == []
    # A person puts it back: it is nobody's any more.
    await world.at.hear(world.moved("LOT7", 4, place("A-1"), frm=staging(), reason=MovementReason.TRANSFER))
    assert await world.on_hand() == {"LOT7@A-1/released": "4", "LOT8@A-1/released": "9"}


async def test_what_was_shipped_is_what_was_promised_and_in_the_same_quantities(world: World) -> None:
    # 3.1 #26; complaint 4: a delivery uses its own promise first
    await world.stock("LOT7", 10, expires="2026-06-01")
    other = demand(6, reference="OTHER", customer="C-2")
    await world.at.hear(other)
    wanted, shipment, line = await a_dispatched_line(world)
    assert shipment["status"] == "dispatching"
    again = await world.at.post(f"/shipments/{shipment['shipment_id']}/dispatch", {}, role="operator")
    assert (again.status_code, again.json()["code"]) == (409, "already_dispatched")
    issued = world.moved(
        "LOT7",
        4,
        Place(kind=PlaceKind.CUSTOMER, partner_id="C-1"),
        frm=staging(),
        reason=MovementReason.ISSUE,
        reference=str(line.line_id),
    )
    await world.at.hear(issued, times=5)
    shown = (await world.at.get(f"/shipments/{shipment['shipment_id']}")).json()
    assert shown["status"] == "shipped"
    assert [(each["batch_no"], each["quantity"], each["status"]) for each in shown["lines"]] == [
        ("LOT7", "4", "shipped")
    ]
    told = (await world.at.get(f"/demands/{wanted.demand_id}")).json()
    assert (told["status"], told["shipped"], told["allocated"]) == ("shipped", "4", "0")
    assert await world.shares(other.demand_id) == {"LOT7@A-1": "6"}
    assert await world.balance() == []
    gone = await world.at.post(f"/demands/{wanted.demand_id}/cancellation", {"reason": "late"}, role="planner")
    assert (gone.status_code, gone.json()["code"]) == (409, "already_on_its_way")


async def test_a_line_that_the_gate_refuses_is_stopped_and_its_demand_planned_again(world: World) -> None:
    await world.stock("LOT7", 4, expires="2026-06-01")
    await world.stock("LOT8", 4, expires="2026-07-01")
    wanted, shipment, line = await a_dispatched_line(world)
    await world.at.hear(
        IssueRefused(
            shipment_id=line.shipment_id,
            line_id=line.line_id,
            demand_id=line.demand_id,
            sequence=3,
            item_id=ITEM,
            batch_id=line.batch_id,
            site_id=SITE,
            location_id="STAGE",
            quantity=line.quantity,
            unit="C62",
            code=RefusalCode.HELD,
            reason="count hold",
            refused_at=world.at.clock(),
        ),
        times=5,
    )
    revoked, allocated = await world.at.said()
    assert isinstance(revoked, AllocationRevoked)
    assert (revoked.code, revoked.picked) == (RevocationCode.REFUSED_AT_GATE, True)
    assert isinstance(allocated, DemandAllocated)
    assert await world.shares(wanted.demand_id) == {"LOT8@A-1": "4"}
    shown = (await world.at.get(f"/shipments/{shipment['shipment_id']}")).json()
    assert (shown["status"], shown["lines"][0]["status"]) == ("stopped", "stopped")
    assert "count hold" in shown["lines"][0]["reason"]


async def test_nothing_picked_makes_no_shipment(world: World) -> None:
    await world.stock("LOT7", 4, expires="2026-06-01")
    await a_pick(world)
    answer = await world.at.post("/shipments", {"customer_id": "C-1", "site_id": SITE}, role="operator")
    assert (answer.status_code, answer.json()["code"]) == (409, "nothing_picked")


async def test_scanning_the_other_orders_batch_swaps_the_two_promises(world: World) -> None:
    # 3.1 #27
    await world.stock("A", 10, expires="2026-06-01")
    await world.stock("B", 10, expires="2026-07-01")
    one, two = demand(10, reference="1"), demand(10, reference="2")
    await world.at.hear(one, two)
    (pick,) = await open_picks(world, one.demand_id)
    refused = await scan(world, pick["pick_id"], typed("B"))
    assert refused["verdict"] == "wrong_batch"
    await world.at.said()
    told = await scan(world, pick["pick_id"], typed("B"), allow_swap=True)
    assert (told["verdict"], told["pick"]["batch_no"], told["pick"]["quantity"]) == ("accepted", "B", "10")
    assert await world.shares(one.demand_id) == {"B@A-1": "10"}
    assert await world.shares(two.demand_id) == {"A@A-1": "10"}
    assert await world.balance() == []
    *allocated, confirmed = await world.at.said()
    assert {event.demand_id for event in allocated if isinstance(event, DemandAllocated)} == {
        one.demand_id,
        two.demand_id,
    }
    assert isinstance(confirmed, PickConfirmed)
    assert confirmed.batch_no == "B"


async def test_changing_to_a_free_batch_frees_the_promised_one(world: World) -> None:
    # 3.1 #15
    await world.stock("A", 1, expires="2026-06-01")
    await world.stock("B", 3, expires="2026-07-01")
    wanted, pick = await a_pick(world, 1)
    assert (await scan(world, pick["pick_id"], typed("B"), allow_swap=True))["verdict"] == "accepted"
    assert await world.shares(wanted.demand_id) == {"B@A-1": "1"}
    free = (await world.at.get(f"/items/{ITEM}/availability", site_id=SITE)).json()["items"]
    assert {row["batch_no"]: (row["on_hand"], row["reserved"], row["free"]) for row in free} == {
        "A": ("1", "0", "1"),
        "B": ("3", "1", "2"),
    }


async def test_a_part_of_a_pick_is_swapped_and_the_rest_keeps_its_batch(world: World) -> None:
    await world.stock("A", 5, expires="2026-06-01")
    await world.stock("B", 2, expires="2026-07-01")
    wanted, pick = await a_pick(world, 5)
    told = await scan(world, pick["pick_id"], typed("B"), quantity="2", allow_swap=True)
    assert (told["pick"]["batch_no"], told["pick"]["quantity"], told["rest"]["batch_no"]) == ("B", "2", "A")
    assert await world.shares(wanted.demand_id) == {"A@A-1": "3", "B@A-1": "2"}
    assert await world.balance() == []


async def test_what_another_order_picked_already_is_not_taken_from_it(world: World) -> None:
    # 3.1 #29
    await world.stock("A", 10, expires="2026-06-01")
    await world.stock("B", 10, expires="2026-07-01")
    one, two = demand(10, reference="1"), demand(10, reference="2")
    await world.at.hear(one, two)
    (theirs,) = await open_picks(world, two.demand_id)
    assert (await scan(world, theirs["pick_id"], typed("B")))["verdict"] == "accepted"
    (mine,) = await open_picks(world, one.demand_id)
    told = await scan(world, mine["pick_id"], typed("B"), allow_swap=True)
    assert told["verdict"] == "wrong_batch"
    assert "picked for others" in told["reason"]
    assert await world.shares(one.demand_id) == {"A@A-1": "10"}


async def test_a_batch_from_another_bin_is_not_swapped(world: World) -> None:
    # 3.1 #30
    await world.stock("A", 10, "A-1", expires="2026-06-01")
    await world.stock("B", 10, "A-2", expires="2026-07-01")
    wanted, pick = await a_pick(world, 10)
    told = await scan(world, pick["pick_id"], typed("B"), allow_swap=True)
    assert told["verdict"] == "wrong_batch"
    assert "only the same bin" in told["reason"]
    assert await world.shares(wanted.demand_id) == {"A@A-1": "10"}


async def test_no_swap_gives_a_customer_what_its_rule_forbids(world: World) -> None:
    await world.customer("C-2", ShelfLifeRule(min_days=100))
    await world.stock("A", 10, expires="2026-06-01")
    await world.stock("B", 10, expires="2026-07-01")
    one, two = demand(10, reference="1"), demand(10, reference="2", customer="C-2")
    await world.at.hear(one, two)
    (pick,) = await open_picks(world, one.demand_id)
    told = await scan(world, pick["pick_id"], typed("B"), allow_swap=True)
    assert told["verdict"] == "wrong_batch"
    assert "order 2 cannot have batch A: 88 days left" in told["reason"]
    assert await world.shares(two.demand_id) == {"B@A-1": "10"}


async def test_a_cancelled_demand_stops_what_was_picked_for_it(world: World) -> None:
    await world.stock("A", 10, expires="2026-06-01")
    wanted, pick = await a_pick(world, 6)
    await scan(world, pick["pick_id"], typed("A"), quantity="2")
    answer = await world.at.post(f"/demands/{wanted.demand_id}/cancellation", {"reason": "no"}, role="planner")
    assert (answer.status_code, answer.json()["freed"]) == (200, "4")
    again = await world.at.post(f"/demands/{wanted.demand_id}/cancellation", {"reason": "no"}, role="planner")
    assert (again.status_code, again.json()["code"]) == (409, "already_cancelled")
    assert (await world.at.get(f"/picks/{pick['pick_id']}")).json()["status"] == "stopped"
    assert await world.balance() == []


async def test_somebody_of_another_site_may_not_scan_here(world: World) -> None:
    await world.stock("A", 10, expires="2026-06-01")
    _, pick = await a_pick(world)
    answer = await world.at.client.post(
        f"/picks/{pick['pick_id']}/scans",
        json={"scan": typed("A")},
        headers={**world.at.token("operator", sites=["SHA-1"]), "Idempotency-Key": "k-1"},
    )
    assert (answer.status_code, answer.json()["code"]) == (403, "wrong_site")


async def test_many_pickers_at_once_each_get_their_own_answer(world: World) -> None:
    await world.stock("A", 50, expires="2026-06-01")
    wanted = [demand(5, reference=f"{n}") for n in range(6)]
    await world.at.hear(*wanted)
    picks = [(await open_picks(world, each.demand_id))[0] for each in wanted]
    told = await asyncio.gather(
        *(scan(world, pick["pick_id"], typed("A")) for pick in picks for _ in range(2)),
        scan(world, picks[0]["pick_id"], typed("B")),
    )
    verdicts = sorted(answer["verdict"] for answer in told[:-1])
    assert verdicts == ["accepted"] * 6 + ["already_picked"] * 6
    assert told[-1]["verdict"] in {"wrong_batch", "already_picked"}
    assert all(answer["pick"]["pick_id"] == picks[n // 2]["pick_id"] for n, answer in enumerate(told[:-1]))
    confirmed = [event for event in await world.at.said() if isinstance(event, PickConfirmed)]
    assert {event.pick_id for event in confirmed} == {UUID(pick["pick_id"]) for pick in picks}
    assert len(confirmed) == 6


async def test_what_was_moved_within_staging_is_dispatched_from_where_it_stands(world: World) -> None:
    await world.stock("LOT7", 10, expires="2026-06-01")
    _, pick = await a_pick(world)
    await picked_and_booked(world, "LOT7", pick["pick_id"], 4)
    gate = staging("STAGE-GATE")
    await world.at.hear(world.moved("LOT7", 4, gate, frm=staging(), reason=MovementReason.TRANSFER))
    made = (await world.at.post("/shipments", {"customer_id": "C-1", "site_id": SITE}, role="operator")).json()
    await world.at.said()
    await world.at.post(f"/shipments/{made['shipment_id']}/dispatch", {}, role="operator")
    (dispatched,) = await world.at.said()
    assert isinstance(dispatched, ShipmentDispatched)
    assert dispatched.location_id == "STAGE-GATE"


async def test_a_shipment_of_which_everything_was_taken_back_is_not_dispatched(world: World) -> None:
    await world.stock("LOT7", 4, expires="2026-06-01")
    _, pick = await a_pick(world)
    await picked_and_booked(world, "LOT7", pick["pick_id"], 4)
    made = (await world.at.post("/shipments", {"customer_id": "C-1", "site_id": SITE}, role="operator")).json()
    assert made["status"] == "ready"
    await world.hold("LOT7")
    answer = await world.at.post(f"/shipments/{made['shipment_id']}/dispatch", {}, role="operator")
    assert (answer.status_code, answer.json()["code"]) == (409, "nothing_to_dispatch")
    shown = (await world.at.get(f"/shipments/{made['shipment_id']}")).json()
    assert (shown["status"], shown["dispatched_at"]) == ("stopped", None)


async def test_when_an_issue_is_undone_its_goods_stand_picked_again_and_leave_with_the_next_shipment(
    world: World,
) -> None:
    await world.stock("LOT7", 20, expires="2026-06-01")
    wanted, shipment, line = await a_dispatched_line(world)
    left = world.moved("LOT7", 4, CUSTOMER, frm=staging(), reason=MovementReason.ISSUE, reference=str(line.line_id))
    await world.at.hear(left)
    assert (await world.at.get(f"/demands/{wanted.demand_id}")).json()["shipped"] == "4"
    await world.at.said()
    await world.at.hear(undone(world, left), times=3)
    told = (await world.at.get(f"/demands/{wanted.demand_id}")).json()
    assert (told["status"], told["shipped"], told["allocated"], told["missing"]) == ("picked", "0", "4", "0")
    (said,) = await world.at.said()
    assert isinstance(said, DemandAllocated)
    assert [(share.batch_no, share.location_id, share.quantity) for share in said.shares] == [("LOT7", "STAGE", 4)]
    before = (await world.at.get(f"/shipments/{shipment['shipment_id']}")).json()
    assert before["status"] == "stopped"
    assert [(each["status"], each["reason"]) for each in before["lines"]] == [
        ("gone", "its issue was undone: the driver left without it")
    ]
    assert (await world.on_hand(), await world.balance()) == (
        {"LOT7@A-1/released": "16", "LOT7@STAGE/released": "4"},
        [],
    )
    # The next truck takes it, as a line of its own.
    made = (await world.at.post("/shipments", {"customer_id": "C-1", "site_id": SITE}, role="operator")).json()
    await world.at.post(f"/shipments/{made['shipment_id']}/dispatch", {}, role="operator")
    (again,) = await world.at.said()
    assert isinstance(again, ShipmentDispatched)
    assert again.line_id != line.line_id
    await world.at.hear(
        world.moved("LOT7", 4, CUSTOMER, frm=staging(), reason=MovementReason.ISSUE, reference=str(again.line_id))
    )
    assert (await world.at.get(f"/demands/{wanted.demand_id}")).json()["status"] == "shipped"
    assert (await world.on_hand(), await world.balance(), await world.at.parked()) == (
        {"LOT7@A-1/released": "16"},
        [],
        [],
    )


async def test_an_issue_heard_together_with_its_reversal_ends_picked(world: World) -> None:
    await world.stock("LOT7", 20, expires="2026-06-01")
    wanted, _, line = await a_dispatched_line(world)
    left = world.moved("LOT7", 4, CUSTOMER, frm=staging(), reason=MovementReason.ISSUE, reference=str(line.line_id))
    await world.at.hear(left, undone(world, left))
    assert (await world.at.get(f"/demands/{wanted.demand_id}")).json()["status"] == "picked"
    assert (await world.balance(), await world.at.parked()) == ([], [])


async def test_what_comes_back_under_a_hold_is_stopped_and_its_demand_planned_again(world: World) -> None:
    await world.stock("LOT7", 4, expires="2026-06-01")
    wanted, _, line = await a_dispatched_line(world)
    left = world.moved("LOT7", 4, CUSTOMER, frm=staging(), reason=MovementReason.ISSUE, reference=str(line.line_id))
    await world.at.hear(left)
    await world.stock("LOT8", 9, "A-2", expires="2026-07-01")
    await world.hold("LOT7")
    await world.at.said()
    await world.at.hear(undone(world, left))
    revoked, promised = await world.at.said()
    assert isinstance(revoked, AllocationRevoked)
    assert (revoked.picked, revoked.code, revoked.quantity) == (True, RevocationCode.HELD, 4)
    assert isinstance(promised, DemandAllocated)
    assert await world.shares(wanted.demand_id) == {"LOT8@A-2": "4"}
    assert await world.balance() == []


async def test_what_comes_back_for_a_cancelled_demand_waits_for_a_person(world: World) -> None:
    await world.stock("LOT7", 4, expires="2026-06-01")
    wanted, _, line = await a_dispatched_line(world)
    left = world.moved("LOT7", 4, CUSTOMER, frm=staging(), reason=MovementReason.ISSUE, reference=str(line.line_id))
    await world.at.hear(left)
    await world.at.hear(DemandWithdrawn(demand_id=wanted.demand_id, item_id=ITEM, reason="ordered twice"))
    await world.at.hear(undone(world, left))
    (stopped,) = (await world.at.get("/picks", status="stopped")).json()["items"]
    assert (stopped["quantity"], stopped["to_location_id"]) == ("4", "STAGE")
    assert (await world.at.get("/picks", status="picked")).json()["items"] == []
    # Carried back to its shelf, it is there for everybody.
    await world.at.hear(world.moved("LOT7", 4, place("A-1"), frm=staging(), reason=MovementReason.TRANSFER))
    other, _ = await a_pick(world, reference="SO-2")
    assert await world.shares(other.demand_id) == {"LOT7@A-1": "4"}
    assert await world.at.parked() == []


async def test_when_the_booking_of_a_pick_is_undone_the_pick_is_open_again_under_a_new_id(world: World) -> None:
    # A new one: inventory books each pick once, so a second scan of the old one would never be booked.
    await world.stock("LOT7", 20, expires="2026-06-01")
    wanted, pick = await a_pick(world)
    assert (await scan(world, pick["pick_id"], typed("LOT7")))["verdict"] == "accepted"
    booked = world.moved(
        "LOT7", 4, staging(), frm=place("A-1"), reason=MovementReason.PICK, reference=str(pick["pick_id"])
    )
    await world.at.hear(booked)
    made = await world.at.post("/shipments", {"customer_id": "C-1", "site_id": SITE}, role="operator")
    await world.at.hear(undone(world, booked), times=2)
    (again,) = await open_picks(world, wanted.demand_id)
    assert again["pick_id"] != pick["pick_id"]
    assert (again["location_id"], again["quantity"]) == ("A-1", "4")
    assert (await world.at.get(f"/demands/{wanted.demand_id}")).json()["status"] == "allocated"
    empty = await world.at.post(f"/shipments/{made.json()['shipment_id']}/dispatch", {}, role="operator")
    assert (empty.status_code, empty.json()["code"]) == (409, "nothing_to_dispatch")
    await picked_and_booked(world, "LOT7", again["pick_id"], 4)
    assert (await world.on_hand(), await world.balance(), await world.at.parked()) == (
        {"LOT7@A-1/released": "16", "LOT7@STAGE/released": "4"},
        [],
        [],
    )


async def test_picked_goods_are_put_at_a_staging_location_of_their_site_once_it_is_told_of(world: World) -> None:
    await world.stock("LOT7", 20, expires="2026-06-01")
    site = SiteDefined(
        site_id=SITE,
        revision=2,
        name="Harbin",
        time_zone="Asia/Shanghai",
        set_up=True,
        staging=("STAGE-1", "STAGE-2"),
        sites=1,
        defined_at=world.at.clock(),
    )
    # An older word that comes later, and a site that describes no staging, change nothing.
    await world.at.hear(site, site.model_copy(update={"revision": 1, "staging": ("A-1",)}))
    _, pick = await a_pick(world)
    await world.at.said()
    body = {"scan": typed("LOT7"), "to_location_id": "A-1"}
    refused = await world.at.post(f"/picks/{pick['pick_id']}/scans", body, role="operator")
    assert (refused.status_code, refused.json()["code"]) == (409, "not_staging")
    assert refused.json()["detail"].endswith("its staging locations are STAGE-1, STAGE-2")
    assert await world.at.said() == []
    assert (await scan(world, pick["pick_id"], typed("LOT7"), to_location_id="STAGE-2"))["verdict"] == "accepted"
    await world.at.hear(site.model_copy(update={"revision": 3, "staging": ()}))
    _, other = await a_pick(world, reference="SO-2")
    assert (await scan(world, other["pick_id"], typed("LOT7"), to_location_id="A-1"))["verdict"] == "accepted"


CUSTOMER = Place(kind=PlaceKind.CUSTOMER, partner_id="C-1")


def undone(world: World, movement: StockMoved) -> StockMoved:
    """What inventory says when a person reverses a movement: the same quantity back, under the same reference."""
    return movement.model_copy(
        update={
            "movement_id": new_id(),
            "sequence": world.next_sequence(),
            "from_place": movement.to_place,
            "to_place": movement.from_place,
            "reason": MovementReason.REVERSAL,
            "reason_text": "the driver left without it",
            "reverses": movement.movement_id,
        }
    )
