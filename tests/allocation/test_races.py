"""What people and other services do to stock while promises on it are on their way: each order of events ends well."""

import datetime as dt
from decimal import Decimal

from contracts.allocation import AllocationRevoked, RevocationCode, ShipmentDispatched
from contracts.inventory import HoldPlaced, MovementReason
from contracts.receiving import BatchDatesCorrected
from contracts.values import HoldKind, Place, PlaceKind
from delivery import new_id
from tests.allocation.conftest import ITEM, SITE, World, demand, place, staging
from tests.allocation.test_picks_and_shipments import a_pick, picked_and_booked


async def test_what_was_stopped_is_free_again_when_a_person_puts_it_back(world: World) -> None:
    await world.stock("LOT7", 4, expires="2026-06-01")
    wanted, pick = await a_pick(world)
    await picked_and_booked(world, "LOT7", pick["pick_id"], 4)
    hold = await world.hold("LOT7")
    await world.lift(hold)
    assert (await world.at.get(f"/picks/{pick['pick_id']}")).json()["status"] == "stopped"
    assert await world.shares(wanted.demand_id) == {}
    await world.at.hear(world.moved("LOT7", 4, place("B-1"), frm=staging(), reason=MovementReason.TRANSFER))
    assert await world.shares(wanted.demand_id) == {"LOT7@B-1": "4"}
    assert await world.on_hand() == {"LOT7@B-1/released": "4"}
    assert await world.balance() == []


async def test_what_was_stopped_stays_stopped_wherever_it_stands_in_staging(world: World) -> None:
    await world.stock("LOT7", 4, expires="2026-06-01")
    _, pick = await a_pick(world)
    await picked_and_booked(world, "LOT7", pick["pick_id"], 4)
    await world.hold("LOT7")
    await world.at.hear(world.moved("LOT7", 4, staging("GATE"), frm=staging(), reason=MovementReason.TRANSFER))
    assert (await world.at.get(f"/picks/{pick['pick_id']}")).json()["status"] == "stopped"


async def test_a_promise_whose_stock_is_put_into_a_held_bin_is_taken_back(world: World) -> None:
    await world.stock("LOT7", 2, "A-1", expires="2026-06-01")
    await world.hold("LOT7", location="A-1")
    await world.stock("LOT7", 4, "B-1")
    await world.stock("LOT8", 9, "C-1", expires="2026-07-01")
    wanted = demand(4)
    await world.at.hear(wanted)
    assert await world.shares(wanted.demand_id) == {"LOT7@B-1": "4"}
    await world.at.said()
    await world.at.hear(world.moved("LOT7", 4, place("A-1"), frm=place("B-1"), reason=MovementReason.PUT_AWAY))
    assert await world.shares(wanted.demand_id) == {"LOT8@C-1": "4"}
    revoked = (await world.at.said())[0]
    assert isinstance(revoked, AllocationRevoked)
    assert (revoked.code, "looked odd" in revoked.reason) == (RevocationCode.HELD, True)
    assert await world.balance() == []


async def test_a_hold_and_a_put_away_into_it_in_one_chunk_take_the_promise_back(world: World) -> None:
    await world.stock("LOT7", 4, "B-1", expires="2026-06-01")
    wanted = demand(4)
    await world.at.hear(wanted)
    hold = HoldPlaced(
        hold_id=new_id(),
        sequence=world.next_sequence(),
        item_id=ITEM,
        batch_id=world.batch("LOT7"),
        kind=HoldKind.MANUAL,
        site_id=SITE,
        location_id="A-1",
        reason="looked odd",
        placed_at=world.at.clock(),
    )
    await world.at.hear(hold, world.moved("LOT7", 4, place("A-1"), frm=place("B-1"), reason=MovementReason.PUT_AWAY))
    assert await world.shares(wanted.demand_id) == {}
    assert await world.on_hand() == {"LOT7@A-1/released": "4"}


async def test_parts_of_one_line_that_stand_apart_are_asked_for_by_lines_of_their_own(world: World) -> None:
    await world.stock("LOT7", 5, expires="2026-06-01")
    _, pick = await a_pick(world, 5)
    await picked_and_booked(world, "LOT7", pick["pick_id"], 5)
    made = (await world.at.post("/shipments", {"customer_id": "C-1", "site_id": SITE}, role="operator")).json()
    await world.at.hear(world.moved("LOT7", 2, staging("GATE"), frm=staging(), reason=MovementReason.TRANSFER))
    await world.at.said()
    sent = await world.at.post(f"/shipments/{made['shipment_id']}/dispatch", {}, role="operator")
    assert sent.status_code == 200, sent.text
    lines = [event for event in await world.at.said() if isinstance(event, ShipmentDispatched)]
    assert sorted((line.location_id, line.quantity) for line in lines) == [("GATE", Decimal(2)), ("STAGE", Decimal(3))]
    assert len({line.line_id for line in lines}) == 2
    for line in lines:
        await world.at.hear(
            world.moved(
                "LOT7",
                line.quantity,
                Place(kind=PlaceKind.CUSTOMER, partner_id="C-1"),
                frm=staging(line.location_id),
                reason=MovementReason.ISSUE,
                reference=str(line.line_id),
            )
        )
    shown = (await world.at.get(f"/shipments/{made['shipment_id']}")).json()
    assert shown["status"] == "shipped"
    assert await world.on_hand() == {}


async def test_a_promise_that_is_parted_twice_in_one_chunk_is_whole_in_the_end(world: World) -> None:
    await world.stock("LOT7", 5, "A-1", expires="2026-06-01")
    wanted = demand(5)
    await world.at.hear(wanted)
    await world.at.hear(
        world.moved("LOT7", 3, place("B-1"), frm=place("A-1"), reason=MovementReason.TRANSFER),
        world.moved("LOT7", 1, place("C-1"), frm=place("B-1"), reason=MovementReason.TRANSFER),
    )
    assert await world.shares(wanted.demand_id) == {"LOT7@A-1": "2", "LOT7@B-1": "2", "LOT7@C-1": "1"}
    assert await world.on_hand() == {"LOT7@A-1/released": "2", "LOT7@B-1/released": "2", "LOT7@C-1/released": "1"}
    assert await world.balance() == []


def corrected(world: World, batch_no: str, expires: str) -> BatchDatesCorrected:
    """A person finds that the label was read wrongly. What inventory says meanwhile still has the old date."""
    batch_id, before = world.batches[batch_no]
    after = before.model_copy(update={"expires_on": dt.date.fromisoformat(expires)})
    return BatchDatesCorrected(
        batch_id=batch_id,
        item_id=ITEM,
        before=before,
        after=after,
        reason="the label was read wrongly",
        corrected_at=world.at.clock(),
    )


async def test_a_corrected_expiry_takes_back_the_promise_that_it_breaks_and_plans_again(world: World) -> None:
    await world.stock("A", 4, expires="2026-06-01")
    await world.stock("B", 9, "B-1", expires="2026-09-01")
    fussy, easy = demand(3, min_days=60, reference="SO-1"), demand(1, reference="SO-2")
    await world.at.hear(fussy, easy)
    assert await world.shares(fussy.demand_id) == {"A@A-1": "3"}
    await world.at.said()
    await world.at.hear(corrected(world, "A", "2026-04-01"), times=2)
    assert await world.shares(fussy.demand_id) == {"B@B-1": "3"}
    assert await world.shares(easy.demand_id) == {"A@A-1": "1"}
    revoked = (await world.at.said())[0]
    assert isinstance(revoked, AllocationRevoked)
    assert revoked.code is RevocationCode.DATES_CORRECTED
    assert revoked.reason == "27 days left on 2026-03-05 (expires 2026-04-01), at least 60 wanted"
    assert await world.balance() == []


async def test_a_movement_that_was_on_its_way_does_not_bring_the_old_expiry_back(world: World) -> None:
    await world.stock("A", 4, expires="2026-06-01")
    await world.stock("B", 4, "B-1", expires="2026-07-01")
    await world.at.hear(corrected(world, "A", "2026-08-01"))
    await world.at.hear(world.moved("A", 4, place("C-1"), frm=place("A-1"), reason=MovementReason.TRANSFER))
    wanted = demand(5)
    await world.at.hear(wanted)
    assert await world.shares(wanted.demand_id) == {"A@C-1": "1", "B@B-1": "4"}


async def test_a_correction_that_is_heard_before_the_batch_stands_anywhere_holds(world: World) -> None:
    movement = world.moved("A", 4, place("A-1"), expires="2026-03-04")
    await world.at.hear(corrected(world, "A", "2026-08-01"))
    await world.at.hear(movement)
    wanted = demand(4)
    await world.at.hear(wanted)
    assert await world.shares(wanted.demand_id) == {"A@A-1": "4"}


async def test_who_waits_is_served_when_a_correction_gives_a_batch_more_life(world: World) -> None:
    await world.stock("A", 4, expires="2026-03-20")
    wanted = demand(4, min_days=60)
    await world.at.hear(wanted)
    assert await world.shares(wanted.demand_id) == {}
    await world.at.hear(corrected(world, "A", "2026-09-01"))
    assert await world.shares(wanted.demand_id) == {"A@A-1": "4"}
