"""Whatever happens in whatever order: never more is promised than there is, and everything adds up."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from contracts.allocation import RevocationCode
from contracts.values import Strategy
from delivery import new_id
from services.allocation.domain.claims import (
    OF_THE_DEMAND,
    OPEN,
    Claim,
    ClaimStatus,
    Floor,
    Leaving,
    OpenHold,
    TakesTooMuch,
)
from services.allocation.domain.orders import ORDERS
from services.allocation.domain.planning import plan
from services.allocation.domain.rules import POLICIES, POLICY
from services.allocation.domain.stock import Spot, Stock
from tests.allocation.shelves import SITE, TODAY, batch_id, wanting

PURPOSES = {"A-1": "storage", "A-2": "storage", "D-1": "receiving", "STAGE": "staging", "Q-1": "quarantine"}
batch_nos = st.sampled_from(["A", "B", "C"])
places = st.sampled_from(sorted(PURPOSES))
some = st.integers(1, 12).map(Decimal)


def spot(batch_no: str, location: str, quality: str = "released") -> Spot:
    return Spot(batch_id(batch_no), SITE, location, quality)


class Reservations(RuleBasedStateMachine):
    """The service's state, in memory; `on_hand` and `demands` are counted independently of the rules under test."""

    claims_made = Bundle("claims_made")
    demands_raised = Bundle("demands_raised")

    def __init__(self) -> None:
        super().__init__()
        self.free: dict[Spot, Decimal] = {}
        self.claims: dict[UUID, Claim] = {}
        self.on_hand: dict[Spot, Decimal] = {}
        self.wanted: dict[UUID, Decimal] = {}
        self.missing: dict[UUID, Decimal] = {}
        self.holds: dict[tuple[UUID, UUID], OpenHold] = {}
        self.over: set[UUID] = set()
        self.issued: dict[UUID, tuple[UUID, Spot, Decimal]] = {}
        self.age = 0

    def floor(self) -> Floor:
        return Floor(
            dict(self.free),
            {key: claim for key, claim in self.claims.items() if claim.status in OPEN | {ClaimStatus.SHIPPED}},
            new_id,
            dict(self.holds),
            self.over,
        )

    def is_held(self, at: Spot) -> bool:
        return any(hold.covers(at) for hold in self.holds.values())

    def keep(self, floor: Floor) -> None:
        self.free = floor.free
        self.claims |= floor.changed_claims
        for demand_id, quantity in floor.lost.items():
            self.missing[demand_id] += quantity

    def moves(
        self, source: Spot | None, target: Spot | None, quantity: Decimal, undoes: bool = False, **cause: UUID
    ) -> Floor:
        floor = self.floor()
        purpose = PURPOSES[target.location_id] if target else None
        floor.moved(Leaving(source, target, purpose, quantity, "test", undoes=undoes, **cause))
        for end, sign in ((source, -1), (target, 1)):
            if end is not None:
                self.on_hand[end] = self.on_hand.get(end, Decimal(0)) + sign * quantity
        self.keep(floor)
        return floor

    @rule(batch_no=batch_nos, location=places, quantity=some, quality=st.sampled_from(["released", "pending"]))
    def receive(self, batch_no: str, location: str, quantity: Decimal, quality: str) -> None:
        self.moves(None, spot(batch_no, location, quality), quantity)

    @rule(target=demands_raised, quantity=some)
    def demand(self, quantity: Decimal) -> UUID:
        demand_id = new_id()
        self.wanted[demand_id] = self.missing[demand_id] = quantity
        self.serve(demand_id)
        return demand_id

    @rule(target=claims_made, demand_id=demands_raised)
    def serve(self, demand_id: UUID) -> object:
        shelf = [
            Stock(at, str(at.batch_id), PURPOSES[at.location_id], free, TODAY, TODAY + dt.timedelta(days=30))
            for at, free in self.free.items()
            if free and not self.is_held(at)
        ]
        made = plan(wanting(self.missing[demand_id]), shelf, POLICIES[POLICY], ORDERS[Strategy.FEFO])
        new = []
        for stock, quantity in made.taken:
            self.age += 1
            claim = Claim(new_id(), demand_id, stock.spot, quantity, ClaimStatus.PROMISED, (self.age,))
            self.claims[claim.reservation_id] = claim
            self.free[stock.spot] -= quantity
            new.append(claim.reservation_id)
        self.missing[demand_id] = made.missing
        return multiple(*new)

    @rule(batch_no=batch_nos, source=places, goal=places, quantity=some, out=st.booleans(), bad=st.booleans())
    def somebody_moves(self, batch_no: str, source: str, goal: str, quantity: Decimal, out: bool, bad: bool) -> None:
        start = spot(batch_no, source)
        there = self.on_hand.get(start, Decimal(0))
        end = None if out else spot(batch_no, goal, "rejected" if bad else "released")
        if end == start:
            return
        if quantity > there:
            with pytest.raises(TakesTooMuch):
                self.moves(start, end, quantity)
            return
        self.moves(start, end, quantity)

    @rule(claim_id=claims_made, quantity=some)
    def pick(self, claim_id: UUID, quantity: Decimal) -> None:
        claim = self.claims[claim_id]
        if claim.status is ClaimStatus.PROMISED:
            floor = self.floor()
            if quantity < claim.quantity:
                floor.part_of(claim, claim.quantity - quantity)
            self.keep(floor)
            claim = self.claims[claim_id]
            self.claims[claim_id] = Claim(
                claim_id, claim.demand_id, claim.spot, claim.quantity, ClaimStatus.PICKED, claim.order
            )

    @rule(claim_id=claims_made)
    def our_pick_is_booked(self, claim_id: UUID) -> None:
        claim = self.claims[claim_id]
        if claim.status in {ClaimStatus.PICKED, ClaimStatus.STOPPED} and claim.spot.location_id != "STAGE":
            target = claim.spot._replace(location_id="STAGE")
            floor = self.moves(claim.spot, target, claim.quantity, pick_id=claim_id)
            assert self.claims[claim_id].spot == target
            assert bool(floor.revoked) is (claim.status is ClaimStatus.PICKED and self.is_held(target))

    @rule(claim_id=claims_made)
    def dispatch(self, claim_id: UUID) -> None:
        claim = self.claims[claim_id]
        if claim.status is ClaimStatus.PICKED and claim.spot.location_id == "STAGE":
            self.claims[claim_id] = Claim(
                claim_id, claim.demand_id, claim.spot, claim.quantity, ClaimStatus.DISPATCHING, claim.order, new_id()
            )

    @rule(claim_id=claims_made, passes=st.booleans())
    def the_gate_decides(self, claim_id: UUID, passes: bool) -> None:
        claim = self.claims[claim_id]
        if claim.status is not ClaimStatus.DISPATCHING or claim.line_id is None:
            return
        if passes:
            self.moves(claim.spot, None, claim.quantity, line_id=claim.line_id)
            assert self.claims[claim_id].status is ClaimStatus.SHIPPED
            self.issued[claim_id] = claim.line_id, claim.spot, claim.quantity
        else:
            floor = self.floor()
            floor.refused_at_gate(claim.line_id, "held")
            self.keep(floor)
            assert self.claims[claim_id].status is ClaimStatus.STOPPED

    @rule(claim_id=claims_made)
    def the_issue_is_undone(self, claim_id: UUID) -> None:
        if claim_id not in self.issued:
            return
        line_id, at, quantity = self.issued.pop(claim_id)
        demand_id = self.claims[claim_id].demand_id
        floor = self.moves(None, at, quantity, undoes=True, line_id=line_id)
        kept = {ClaimStatus.PICKED} if not (self.is_held(at) or demand_id in self.over) else {ClaimStatus.STOPPED}
        assert {claim.status for claim in floor.changed_claims.values() if claim.line_id is None} == kept
        assert [claim.code for claim in floor.changed_claims.values() if claim.line_id] == ["issue_undone"]

    @rule(claim_id=claims_made)
    def the_pick_is_undone(self, claim_id: UUID) -> None:
        claim = self.claims[claim_id]
        if claim.status in {ClaimStatus.PICKED, ClaimStatus.STOPPED} and claim.spot.location_id == "STAGE":
            home = claim.spot._replace(location_id="A-1")
            self.moves(claim.spot, home, claim.quantity, undoes=True, pick_id=claim_id)
            assert self.claims[claim_id].status is ClaimStatus.FREED

    @rule(batch_no=batch_nos, location=st.none() | places)
    def hold(self, batch_no: str, location: str | None) -> None:
        floor = self.floor()
        site = None if location is None else SITE
        floor.held(new_id(), OpenHold(batch_id(batch_no), site, location, RevocationCode.HELD, "odd"))
        self.holds = floor.holds
        assert all(revoked.picked is (revoked.claim.status is ClaimStatus.PICKED) for revoked in floor.revoked)
        self.keep(floor)

    @rule(batch_no=batch_nos)
    def lift(self, batch_no: str) -> None:
        self.holds = {key: hold for key, hold in self.holds.items() if hold.batch_id != batch_id(batch_no)}

    @rule(demand_id=consumes(demands_raised))
    def cancel(self, demand_id: UUID) -> None:
        floor = self.floor()
        before = sum(self.free.values())
        freed = floor.cancelled(demand_id, "no")
        self.keep(floor)
        self.over.add(demand_id)
        assert sum(self.free.values()) == before + freed
        assert not [claim for claim in self.of(demand_id) if claim.status in {ClaimStatus.PROMISED, ClaimStatus.PICKED}]

    @rule(mine=claims_made, theirs=claims_made)
    def swap(self, mine: UUID, theirs: UUID) -> None:
        one, other = self.claims[mine], self.claims[theirs]
        if (
            one.status is other.status is ClaimStatus.PROMISED
            and one.spot != other.spot
            and not self.is_held(other.spot)
            and other.quantity <= one.quantity
            and self.free.get(other.spot, Decimal(0)) >= one.quantity - other.quantity
        ):
            floor = self.floor()
            floor.swap(one, other.spot, [other])
            self.keep(floor)

    def of(self, demand_id: UUID) -> Iterable[Claim]:
        return [claim for claim in self.claims.values() if claim.demand_id == demand_id]

    @invariant()
    def nothing_is_promised_that_is_not_there(self) -> None:
        assert all(free >= 0 for free in self.free.values())
        assert all(claim.quantity > 0 for claim in self.claims.values())
        claimed: dict[Spot, Decimal] = {}
        for claim in self.claims.values():
            if claim.status in OPEN:
                claimed[claim.spot] = claimed.get(claim.spot, Decimal(0)) + claim.quantity
        for at in self.on_hand.keys() | self.free.keys() | claimed.keys():
            there = self.free.get(at, Decimal(0)) + claimed.get(at, Decimal(0))
            assert there == self.on_hand.get(at, Decimal(0))

    @invariant()
    def what_a_demand_wants_is_missing_promised_or_shipped(self) -> None:
        for demand_id, wanted in self.wanted.items():
            has = sum(
                (
                    claim.quantity
                    for claim in self.of(demand_id)
                    if claim.status in OF_THE_DEMAND or claim.status is ClaimStatus.SHIPPED
                ),
                Decimal(0),
            )
            assert self.missing[demand_id] + has == wanted

    @invariant()
    def nothing_held_stays_promised_or_on_its_way(self) -> None:
        for claim in self.claims.values():
            if self.is_held(claim.spot):
                assert claim.status not in {ClaimStatus.PROMISED, ClaimStatus.PICKED}

    @invariant()
    def nothing_is_promised_where_it_may_not_be_picked(self) -> None:
        for claim in self.claims.values():
            if claim.status is ClaimStatus.PROMISED:
                assert claim.spot.quality == "released"
                assert PURPOSES[claim.spot.location_id] in {"storage", "receiving"}


Reservations.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestReservations = Reservations.TestCase


def test_freeing_more_than_was_promised_is_no_way_there_is() -> None:
    # 3.1 #12: a promise is given back whole, once; a second time there is nothing to give back
    at = spot("A", "A-1")
    demand_id = new_id()
    claim = Claim(new_id(), demand_id, at, Decimal(4), ClaimStatus.PROMISED, (1,))
    floor = Floor({at: Decimal(6)}, {claim.reservation_id: claim}, new_id)
    assert floor.cancelled(demand_id, "no") == 4
    assert floor.cancelled(demand_id, "no") == 0
    assert floor.free == {at: Decimal(10)}


def test_a_pick_that_was_moved_before_it_was_booked_takes_its_claim_from_where_it_was_booked() -> None:
    here, there, stage = spot("A", "A-1"), spot("A", "A-2"), spot("A", "STAGE")
    claim = Claim(new_id(), new_id(), here, Decimal(4), ClaimStatus.PICKED, (1,))
    floor = Floor({here: Decimal(0)}, {claim.reservation_id: claim}, new_id)
    floor.moved(Leaving(here, there, "storage", Decimal(4), "transfer"))
    assert floor.claims[claim.reservation_id].spot == there
    floor.moved(Leaving(None, here, "storage", Decimal(4), "pick difference"))
    floor.moved(Leaving(here, stage, "staging", Decimal(4), "pick", pick_id=claim.reservation_id))
    assert floor.claims[claim.reservation_id].spot == stage
    assert floor.free[there] == 4
    assert floor.free[here] == 0
    assert not floor.revoked


def test_two_lines_change_places_when_the_goods_of_one_were_moved_before_the_gate_let_it_go() -> None:
    stage, aside, line = spot("A", "STAGE"), spot("A", "A-2"), new_id()
    first = Claim(new_id(), new_id(), stage, Decimal(5), ClaimStatus.DISPATCHING, (2,), line_id=line)
    other = Claim(new_id(), new_id(), stage, Decimal(5), ClaimStatus.DISPATCHING, (1,), line_id=new_id())
    floor = Floor({stage: Decimal(0)}, {claim.reservation_id: claim for claim in (first, other)}, new_id)
    floor.moved(Leaving(stage, aside, "storage", Decimal(5), "transfer"))
    assert floor.claims[first.reservation_id].spot == aside
    floor.moved(Leaving(stage, None, None, Decimal(5), "issue", line_id=line))
    assert floor.claims[first.reservation_id].status is ClaimStatus.SHIPPED
    assert floor.claims[other.reservation_id] == replace(other, spot=aside)
    assert not floor.revoked
    assert not any(floor.free.values())


def test_a_promise_on_goods_that_left_as_another_line_is_taken_back_and_what_that_left_behind_is_free() -> None:
    stage, aside, line = spot("A", "STAGE"), spot("A", "A-2"), new_id()
    mine = Claim(new_id(), new_id(), aside, Decimal(5), ClaimStatus.DISPATCHING, (1,), line_id=line)
    promised = Claim(new_id(), new_id(), stage, Decimal(4), ClaimStatus.PROMISED, (2,))
    claims = {claim.reservation_id: claim for claim in (mine, promised)}
    floor = Floor({stage: Decimal(2), aside: Decimal(0)}, claims, new_id)
    floor.moved(Leaving(stage, None, None, Decimal(5), "issue", line_id=line))
    assert floor.claims[mine.reservation_id].status is ClaimStatus.SHIPPED
    assert [(each.code, each.claim.quantity) for each in floor.revoked] == [(RevocationCode.MOVED, Decimal(3))]
    assert floor.free == {stage: Decimal(0), aside: Decimal(5)}
    assert floor.claims[promised.reservation_id].quantity == 1


def test_a_part_of_a_pick_that_is_booked_as_pending_is_stopped_and_the_rest_goes_on() -> None:
    # Inventory found 4 of the 10 that a person carried, and could not say that they were released.
    good, found, stage = spot("A", "A-1"), spot("A", "A-1", "pending"), spot("A", "STAGE")
    doubtful = stage._replace(quality="pending")
    claim = Claim(new_id(), new_id(), good, Decimal(10), ClaimStatus.PICKED, (1,))
    floor = Floor({good: Decimal(0)}, {claim.reservation_id: claim}, new_id)
    floor.moved(Leaving(None, found, "storage", Decimal(4), "a person picked more than the books had there"))
    floor.moved(Leaving(found, doubtful, "staging", Decimal(4), "pick", pick_id=claim.reservation_id))
    floor.moved(Leaving(good, stage, "staging", Decimal(6), "pick", pick_id=claim.reservation_id))
    stands = {(each.spot, each.status, each.quantity) for each in floor.claims.values()}
    assert stands == {(stage, ClaimStatus.PICKED, Decimal(6)), (doubtful, ClaimStatus.STOPPED, Decimal(4))}
    assert [(each.picked, each.code, each.reason) for each in floor.revoked] == [
        (True, RevocationCode.MOVED, "its quality is pending now (pick)")
    ]
    assert floor.lost == {claim.demand_id: Decimal(4)}


def test_a_swap_exchanges_what_others_have_and_takes_the_rest_from_what_is_free() -> None:
    here, there = spot("A", "A-1"), spot("B", "A-1")
    mine = Claim(new_id(), new_id(), here, Decimal(5), ClaimStatus.PROMISED, (1,))
    other = Claim(new_id(), new_id(), there, Decimal(3), ClaimStatus.PROMISED, (2,))
    floor = Floor(
        {here: Decimal(1), there: Decimal(4)}, {claim.reservation_id: claim for claim in (mine, other)}, new_id
    )
    floor.swap(mine, there, [other])
    assert floor.free == {here: Decimal(3), there: Decimal(2)}
    assert floor.claims[mine.reservation_id].spot == there
    assert floor.claims[other.reservation_id].spot == here
    assert floor.refreshed == {mine.demand_id, other.demand_id}
