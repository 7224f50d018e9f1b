"""Demands and the ledger, on the real database: what is promised, taken back, followed and served later."""

import datetime as dt

import pytest

from contracts.allocation import (
    AllocationRevoked,
    DemandAllocated,
    DemandCancelled,
    DemandShort,
    PassedOverCode,
    RevocationCode,
)
from contracts.integration import DemandWithdrawn, ShelfLifeRule
from contracts.inventory import MovementReason
from contracts.trace import BatchRecalled, BatchRecallLifted
from contracts.values import HoldKind, Place, PlaceKind, Purpose, Quality, Strategy
from delivery import NeverWorks, new_id
from tests.allocation.conftest import ITEM, NOW, World, demand, place


async def test_a_demand_gets_the_batch_that_expires_first_and_the_rest_from_the_next(world: World) -> None:
    # 3.1 #2, 3.2 #38; complaint 1: always split, never "-2 of the first batch"
    await world.stock("LATE", 9, expires="2026-09-01")
    await world.stock("SOON", 3, expires="2026-06-01")
    wanted = demand(5)
    await world.at.hear(wanted, times=5)
    (said,) = [event for event in await world.at.said() if isinstance(event, DemandAllocated)]
    assert [(share.batch_no, str(share.quantity)) for share in said.shares] == [("SOON", "3"), ("LATE", "2")]
    assert (said.allocated, said.missing, said.inventory_sequence) == (5, 0, 2)
    assert await world.shares(wanted.demand_id) == {"SOON@A-1": "3", "LATE@A-1": "2"}


async def test_a_shortage_is_an_answer_with_reasons_and_is_served_when_stock_is_released(world: World) -> None:
    # 3.1 #107, 3.2 #38
    await world.stock("GOOD", 5, expires="2026-06-01")
    await world.stock("WAITING", 50, expires="2026-06-02", quality=Quality.PENDING, location="D-1")
    await world.stock("OLD", 7, expires="2026-03-04")
    wanted = demand(20)
    await world.at.hear(wanted)
    allocated, short = await world.at.said()
    assert isinstance(allocated, DemandAllocated)
    assert isinstance(short, DemandShort)
    assert {passed.batch_no: passed.code for passed in allocated.passed_over} == {
        "OLD": PassedOverCode.EXPIRED,
        "WAITING": PassedOverCode.PENDING,
    }
    assert (allocated.allocated, short.missing) == (5, 15)
    assert any("usable through 2026-03-04, needed on 2026-03-05" in reason for reason in short.reasons)
    pending = place("D-1", quality=Quality.PENDING)
    await world.at.hear(world.moved("WAITING", 50, place("D-1"), frm=pending, reason=MovementReason.INSPECTION))
    (served,) = await world.at.said()
    assert isinstance(served, DemandAllocated)
    assert (served.allocated, served.missing) == (20, 0)
    assert await world.shares(wanted.demand_id) == {"GOOD@A-1": "5", "WAITING@D-1": "15"}
    assert await world.balance() == []


async def test_waiting_demands_are_served_oldest_first(world: World) -> None:
    young = demand(4, reference="YOUNG", raised_at=NOW)
    old = demand(4, reference="OLD", raised_at=NOW - dt.timedelta(hours=1))
    await world.at.hear(young)
    await world.at.hear(old)
    await world.stock("A", 6, expires="2026-06-01")
    assert await world.shares(old.demand_id) == {"A@A-1": "4"}
    assert await world.shares(young.demand_id) == {"A@A-1": "2"}


async def test_in_one_chunk_the_second_demand_does_not_get_what_the_first_got(world: World) -> None:
    # complaint 20; the shortage names who has it
    await world.stock("A", 10, expires="2026-06-01")
    first, second = demand(7, reference="1"), demand(7, reference="2")
    await world.at.hear(first, second)
    assert await world.shares(first.demand_id) == {"A@A-1": "7"}
    assert await world.shares(second.demand_id) == {"A@A-1": "3"}
    third = demand(1, reference="3")
    await world.at.hear(third)
    told = [event for event in await world.at.said() if isinstance(event, DemandAllocated)][-1]
    assert [(passed.batch_no, passed.code) for passed in told.passed_over] == [("A", PassedOverCode.RESERVED)]


async def test_the_customers_rule_and_the_demands_own_wish_both_hold_and_the_boundary_day_is_enough(
    world: World,
) -> None:
    # complaint 19
    await world.customer("C-1", ShelfLifeRule(min_days=90), ShelfLifeRule(item_id=ITEM, min_days=100))
    await world.stock("99", 5, expires="2026-06-12")  # 2026-03-05 + 99
    await world.stock("100", 5, expires="2026-06-13")
    await world.stock("120", 5, expires="2026-07-03")
    plain, stricter = demand(2), demand(2, min_days=120)
    await world.at.hear(plain)
    await world.at.hear(stricter)
    assert await world.shares(plain.demand_id) == {"100@A-1": "2"}
    assert await world.shares(stricter.demand_id) == {"120@A-1": "2"}
    told = [event for event in await world.at.said() if isinstance(event, DemandAllocated)]
    assert "99 days left on 2026-03-05" in told[0].passed_over[0].text
    assert {passed.batch_no for passed in told[1].passed_over} >= {"99", "100"}


async def test_percent_of_life_needs_a_manufacture_date(world: World) -> None:
    await world.stock("UNKNOWN", 5, expires="2026-04-01")
    await world.stock("HALF", 5, expires="2026-05-04", made="2026-01-04")  # 120 days, 60 left on 2026-03-05
    wanted = demand(2, min_percent=50)
    await world.at.hear(wanted)
    assert await world.shares(wanted.demand_id) == {"HALF@A-1": "2"}
    (told,) = await world.at.said()
    assert isinstance(told, DemandAllocated)
    assert "manufacture date is not known" in told.passed_over[0].text


async def test_an_item_that_requires_expiry_does_not_leave_without_until_the_catalog_says_otherwise(
    world: World,
) -> None:
    # 3.2 #37, done otherwise by policy
    await world.item(expiry_required=True)
    await world.stock("NONE", 5)
    wanted = demand(2)
    await world.at.hear(wanted)
    assert await world.shares(wanted.demand_id) == {}
    await world.item(expiry_required=False)
    assert await world.shares(wanted.demand_id) == {"NONE@A-1": "2"}


async def test_each_strategy_takes_its_own_end_of_the_shelf(world: World) -> None:
    # 3.2 #31
    await world.stock("FIRST", 5, expires="2026-12-01", received="2026-01-05")
    await world.stock("LAST", 5, expires="2026-08-01", received="2026-01-10")
    await world.stock("SOONEST", 5, expires="2026-05-01", received="2026-01-07")
    asked = {
        "SOONEST": demand(1),
        "FIRST": demand(1, strategy=Strategy.FIFO),
        "LAST": demand(1, strategy=Strategy.LIFO),
    }
    await world.at.hear(*asked.values())
    for batch_no, wanted in asked.items():
        assert await world.shares(wanted.demand_id) == {f"{batch_no}@A-1": "1"}
    named = demand(6, strategy=Strategy.SPECIFIED, batch_no="LAST")
    await world.at.hear(named)
    assert await world.shares(named.demand_id) == {"LAST@A-1": "4"}


async def test_ten_over_two_bins_of_five_leaves_nothing_and_both_bins_stay_apart(world: World) -> None:
    # 3.1 #9, complaint 18
    await world.stock("A", 5, "A-1", expires="2026-06-01")
    await world.stock("A", 5, "A-2")
    wanted = demand(10)
    await world.at.hear(wanted)
    assert await world.shares(wanted.demand_id) == {"A@A-1": "5", "A@A-2": "5"}
    assert await world.at.runtime.pool.fetchval("SELECT sum(free) FROM shelf") == 0


async def test_decimals_leave_no_residue(world: World) -> None:
    # 3.1 #19
    await world.stock("A", "0.4", expires="2026-06-01")
    await world.at.hear(demand("0.3", reference="1"), demand("0.1", reference="2"))
    assert await world.at.runtime.pool.fetchval("SELECT free FROM shelf") == 0


async def test_a_hold_takes_the_promise_back_and_plans_again_in_the_same_chunk(world: World) -> None:
    await world.stock("A", 5, expires="2026-06-01")
    await world.stock("B", 5, expires="2026-07-01")
    wanted = demand(4)
    await world.at.hear(wanted)
    await world.at.said()
    hold = await world.hold("A")
    revoked, allocated = await world.at.said()
    assert isinstance(revoked, AllocationRevoked)
    assert (revoked.picked, revoked.code, revoked.quantity) == (False, RevocationCode.HELD, 4)
    assert isinstance(allocated, DemandAllocated)
    assert [(share.batch_no, share.quantity) for share in allocated.shares] == [("B", 4)]
    assert allocated.passed_over[0].code is PassedOverCode.HELD
    assert "looked odd" in allocated.passed_over[0].text
    assert await world.balance() == []
    await world.lift(hold)
    later = demand(1, reference="2")
    await world.at.hear(later)
    assert await world.shares(later.demand_id) == {"A@A-1": "1"}


async def test_holds_stack_and_a_hold_of_one_bin_leaves_the_other_usable(world: World) -> None:
    await world.stock("A", 5, "A-1", expires="2026-06-01")
    await world.stock("A", 5, "A-2")
    one = await world.hold("A", location="A-1")
    two = await world.hold("A", location="A-1", kind=HoldKind.COUNT)
    wanted = demand(8)
    await world.at.hear(wanted)
    assert await world.shares(wanted.demand_id) == {"A@A-2": "5"}
    await world.lift(one)
    assert await world.shares(wanted.demand_id) == {"A@A-2": "5"}
    await world.lift(two)
    assert await world.shares(wanted.demand_id) == {"A@A-1": "3", "A@A-2": "5"}


async def test_a_recall_takes_promises_back_before_inventory_has_placed_its_hold(world: World) -> None:
    await world.stock("A", 5, expires="2026-06-01")
    wanted = demand(4)
    await world.at.hear(wanted)
    await world.at.said()
    recall = new_id()
    recalled = BatchRecalled(
        recall_id=recall,
        item_id=ITEM,
        batch_id=world.batch("A"),
        batch_no="A",
        seed=True,
        reason="glass",
        recalled_at=NOW,
    )
    await world.at.hear(recalled, times=5)
    revoked, allocated, short = await world.at.said()
    assert isinstance(revoked, AllocationRevoked)
    assert (revoked.code, revoked.reason) == (RevocationCode.RECALLED, "recalled: glass")
    assert isinstance(allocated, DemandAllocated)
    assert isinstance(short, DemandShort)
    await world.at.hear(
        BatchRecallLifted(recall_id=recall, item_id=ITEM, batch_id=world.batch("A"), reason="no", lifted_at=NOW)
    )
    assert await world.shares(wanted.demand_id) == {"A@A-1": "4"}


async def test_a_promise_follows_its_batch_to_another_bin(world: World) -> None:
    await world.stock("A", 5, "D-1", expires="2026-06-01", purpose=Purpose.RECEIVING)
    wanted = demand(4)
    await world.at.hear(wanted)
    await world.at.said()
    dock = place("D-1", purpose=Purpose.RECEIVING)
    await world.at.hear(world.moved("A", 5, place("A-7"), frm=dock, reason=MovementReason.PUT_AWAY))
    assert await world.shares(wanted.demand_id) == {"A@A-7": "4"}
    (told,) = await world.at.said()
    assert isinstance(told, DemandAllocated)
    assert [share.location_id for share in told.shares] == ["A-7"]
    assert await world.on_hand() == {"A@A-7/released": "5"}
    assert await world.at.runtime.pool.fetchval("SELECT count(*) FROM shelf") == 1


async def test_what_is_free_moves_first_and_promises_stay_where_they_are(world: World) -> None:
    await world.stock("A", 5, "A-1", expires="2026-06-01")
    wanted = demand(3)
    await world.at.hear(wanted)
    await world.at.said()
    await world.at.hear(world.moved("A", 2, place("A-2"), frm=place("A-1"), reason=MovementReason.TRANSFER))
    assert await world.shares(wanted.demand_id) == {"A@A-1": "3"}
    assert await world.at.said() == []


async def test_stock_that_goes_elsewhere_takes_the_youngest_promise_with_it(world: World) -> None:
    # 3.1 #25
    await world.stock("A", 10, expires="2026-06-01")
    await world.stock("B", 2, expires="2026-07-01")
    old, young = demand(5, reference="OLD"), demand(5, reference="YOUNG")
    await world.at.hear(old, young)
    await world.at.said()
    production = Place(kind=PlaceKind.PRODUCTION)
    await world.at.hear(world.moved("A", 4, production, frm=place("A-1"), reason=MovementReason.CONSUMPTION))
    revoked, allocated, short = await world.at.said()
    assert isinstance(revoked, AllocationRevoked)
    assert (revoked.demand_id, revoked.quantity, revoked.code) == (young.demand_id, 4, RevocationCode.GONE)
    assert isinstance(allocated, DemandAllocated)
    assert (allocated.allocated, allocated.missing) == (3, 2)
    assert isinstance(short, DemandShort)
    assert await world.shares(old.demand_id) == {"A@A-1": "5"}
    assert await world.shares(young.demand_id) == {"A@A-1": "1", "B@A-1": "2"}
    assert await world.balance() == []


async def test_a_count_that_finds_less_makes_the_order_partly_available(world: World) -> None:
    # 3.3 #74, done otherwise: what is found again is promised to who waits for it, at once
    await world.stock("A", 10, expires="2026-06-01")
    wanted = demand(10)
    await world.at.hear(wanted)
    gone = Place(kind=PlaceKind.ADJUSTMENT)
    await world.at.hear(world.moved("A", 2, gone, frm=place("A-1"), reason=MovementReason.ADJUSTMENT))
    assert await world.shares(wanted.demand_id) == {"A@A-1": "8"}
    await world.at.hear(world.moved("A", 2, place("A-1"), frm=gone, reason=MovementReason.ADJUSTMENT))
    assert await world.shares(wanted.demand_id) == {"A@A-1": "10"}


async def test_a_withdrawn_demand_frees_what_it_had_for_who_waits(world: World) -> None:
    await world.stock("A", 5, expires="2026-06-01")
    first, second = demand(5, reference="1"), demand(3, reference="2")
    await world.at.hear(first, second)
    await world.at.said()
    withdrawn = DemandWithdrawn(demand_id=first.demand_id, item_id=ITEM, reason="order cancelled")
    await world.at.hear(withdrawn, times=5)
    cancelled, allocated = await world.at.said()
    assert isinstance(cancelled, DemandCancelled)
    assert cancelled.freed == 5
    assert isinstance(allocated, DemandAllocated)
    assert await world.shares(second.demand_id) == {"A@A-1": "3"}
    assert await world.balance() == []


async def test_stock_that_becomes_rejected_is_not_promised_any_more(world: World) -> None:
    await world.stock("A", 5, expires="2026-06-01")
    wanted = demand(5)
    await world.at.hear(wanted)
    await world.at.said()
    bad = place("A-1", quality=Quality.REJECTED)
    await world.at.hear(world.moved("A", 5, bad, frm=place("A-1"), reason=MovementReason.STATUS_CHANGE))
    revoked, allocated, short = await world.at.said()
    assert isinstance(revoked, AllocationRevoked)
    assert revoked.code is RevocationCode.MOVED
    assert isinstance(allocated, DemandAllocated)
    assert allocated.passed_over[0].code is PassedOverCode.REJECTED
    assert isinstance(short, DemandShort)
    assert await world.on_hand() == {"A@A-1/rejected": "5"}


async def test_a_movement_that_came_by_another_way_already_is_not_counted_twice(world: World) -> None:
    await world.stock("A", 5, expires="2026-06-01")
    world.sequences[ITEM] = 0
    await world.stock("A", 5)
    assert await world.on_hand() == {"A@A-1/released": "5"}


async def test_a_movement_of_stock_that_is_not_there_is_parked_with_both_numbers(world: World) -> None:
    await world.stock("A", 5, expires="2026-06-01")
    await world.at.hear(demand(2))
    consumed = world.moved(
        "A", 6, Place(kind=PlaceKind.PRODUCTION), frm=place("A-1"), reason=MovementReason.CONSUMPTION
    )
    with pytest.raises(NeverWorks, match="6 leave A-1 at HRB-1, where 5 of the batch are known"):
        await world.at.hear(consumed)
    assert await world.on_hand() == {"A@A-1/released": "5"}


async def test_a_shelf_far_longer_than_one_look_is_walked_on_until_the_demand_has_enough(world: World) -> None:
    # The first look reads some ten rows; percent rules are not in any index.
    for number in range(30):
        await world.stock(f"TOO-OLD-{number:02}", 1, expires="2026-05-01", made="2025-01-01")
    await world.stock("FRESH", 5, expires="2026-06-01", made="2026-03-01")
    wanted = demand(3, min_percent=60)
    await world.at.hear(wanted)
    assert await world.shares(wanted.demand_id) == {"FRESH@A-1": "3"}
    many = demand(30, reference="MANY")
    await world.at.hear(many)
    assert len(await world.shares(many.demand_id)) == 30


async def test_other_sites_are_named_but_not_used(world: World) -> None:
    await world.stock("FAR", 5, expires="2026-06-01", site="SHA-1")
    wanted = demand(3)
    await world.at.hear(wanted)
    allocated, _short = await world.at.said()
    assert isinstance(allocated, DemandAllocated)
    assert [(passed.batch_no, passed.code) for passed in allocated.passed_over] == [("FAR", PassedOverCode.OTHER_SITE)]


async def test_a_shortage_of_a_named_batch_or_of_nothing_at_all_says_so(world: World) -> None:
    await world.stock("OTHER", 5, expires="2026-06-01")
    wishes = {
        "nothing of batch MINE is free at HRB-1": demand(1, strategy=Strategy.SPECIFIED, batch_no="MINE"),
        "strategy 'specified' without a batch: no batch was named": demand(1, strategy=Strategy.SPECIFIED),
        "nothing of CHEESE is on the shelf at HRB-1": demand(1, item="CHEESE"),
    }
    await world.at.hear(*wishes.values())
    short = {event.demand_id: event.reasons for event in await world.at.said() if isinstance(event, DemandShort)}
    assert short == {wanted.demand_id: (reason,) for reason, wanted in wishes.items()}


async def test_a_held_batch_that_was_asked_for_by_name_is_explained(world: World) -> None:
    await world.stock("MINE", 5, expires="2026-06-01")
    await world.hold("MINE")
    await world.at.hear(demand(1, strategy=Strategy.SPECIFIED, batch_no="MINE"))
    allocated = next(event for event in await world.at.said() if isinstance(event, DemandAllocated))
    assert [(passed.batch_no, passed.code) for passed in allocated.passed_over] == [("MINE", PassedOverCode.HELD)]
    assert "looked odd" in allocated.passed_over[0].text
