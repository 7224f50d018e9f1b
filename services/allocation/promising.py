"""Serving demands from the shelf: load, decide, save, and say. Handlers and commands share it."""

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from contracts.allocation import DemandAllocated, DemandShort, PassedOverCode
from contracts.allocation import PassedOver as PassedOverPart
from contracts.allocation import Share as SharePart
from contracts.values import Strategy
from delivery import Work, in_turns, new_id
from services.allocation.domain.aisles import Aisles, Asking, Shelf
from services.allocation.domain.orders import ORDERS
from services.allocation.domain.planning import PassedOver, Plan, Wanted, plan
from services.allocation.domain.record import inputs_of, outcome_of
from services.allocation.domain.rules import POLICIES, POLICY
from services.allocation.domain.terms import Demand, somewhere_still, wanted_by
from services.allocation.store import (
    PROMISED_SEEN,
    AllocationStore,
    CustomerTerms,
    ItemTerms,
    Kept,
    NewPlan,
    NewReservation,
    Terms,
)

MOST_SAID = 50
"""Passed-over batches that one event or answer names."""

_WAITING_PAGE = 500


class Outcome(NamedTuple):
    """What one demand has now, and how that was decided. `demand` is as it was before, `plan` says what is missing."""

    plan_id: UUID
    demand: Demand
    shares: tuple[Kept, ...]
    plan: Plan
    sequence: int
    decided_at: dt.datetime

    def events(self) -> list[DemandAllocated | DemandShort]:
        """The promise as it stands, and the shortage if there is one."""
        demand = self.demand
        allocated = DemandAllocated(
            plan_id=self.plan_id,
            demand_id=demand.demand_id,
            reference=demand.reference,
            customer_id=demand.customer_id,
            site_id=demand.site_id,
            item_id=demand.item_id,
            unit=demand.unit,
            strategy=demand.strategy,
            needed_on=demand.needed_on,
            wanted=demand.quantity,
            allocated=sum((share.quantity for share in self.shares), Decimal(0)),
            missing=self.plan.missing,
            shares=tuple(
                SharePart(
                    reservation_id=share.reservation_id,
                    batch_id=share.batch_id,
                    batch_no=share.batch_no,
                    location_id=share.location_id,
                    quantity=share.quantity,
                    expires_on=share.expires_on,
                )
                for share in self.shares
            ),
            passed_over=passed_over_parts(self.plan.passed_over),
            inventory_sequence=self.sequence,
            policy=POLICY,
            decided_at=self.decided_at,
        )
        if not self.plan.missing:
            return [allocated]
        short = DemandShort(
            demand_id=demand.demand_id,
            reference=demand.reference,
            customer_id=demand.customer_id,
            site_id=demand.site_id,
            item_id=demand.item_id,
            unit=demand.unit,
            wanted=demand.quantity,
            missing=self.plan.missing,
            reasons=reasons_of(self.plan.passed_over, demand.unit) or (_nothing_for(demand),),
            decided_at=self.decided_at,
        )
        return [allocated, short]


def passed_over_parts(passed_over: Iterable[PassedOver]) -> tuple[PassedOverPart, ...]:
    """The first `MOST_SAID` of them, as they are said."""
    return tuple(
        PassedOverPart(
            batch_id=passed.stock.spot.batch_id,
            batch_no=passed.stock.batch_no,
            location_id=passed.stock.spot.location_id,
            quantity=passed.quantity,
            code=passed.code,
            text=passed.text,
        )
        for passed in [*passed_over][:MOST_SAID]
    )


def reasons_of(passed_over: Iterable[PassedOver], unit: str) -> tuple[str, ...]:
    """A shortage in sentences: one for each kind of reason, with how much it is about and the first batches."""
    by_code: dict[PassedOverCode, list[PassedOver]] = {}
    for passed in passed_over:
        by_code.setdefault(passed.code, []).append(passed)
    reasons = []
    for code, group in by_code.items():
        quantity = sum((passed.quantity for passed in group), Decimal(0))
        batches = [*dict.fromkeys(passed.stock.batch_no for passed in group)]
        named = ", ".join(batches[:5]) + (f" and {len(batches) - 5} more" if len(batches) > 5 else "")
        word = code.replace("_", " ")
        reasons.append(f"{word}: {quantity:f} {unit} of {named} ({group[0].text})"[:400])
    return tuple(reasons)


def _nothing_for(demand: Demand) -> str:
    """Why a demand is short for which nothing was even looked at."""
    if demand.strategy is not Strategy.SPECIFIED:
        return f"nothing of {demand.item_id} is on the shelf at {demand.site_id}"
    if demand.batch_no is None:
        return "strategy 'specified' without a batch: no batch was named"
    return f"nothing of batch {demand.batch_no} is free at {demand.site_id}"


async def serve(
    work: Work,
    store: AllocationStore,
    demands: Sequence[Demand],
    *,
    raised: bool = False,
    anyway: Collection[UUID] = (),
    terms: Terms | None = None,
) -> list[Outcome]:
    """Promise what there is to `demands`, in the order given, and keep it.

    `raised` demands are new and kept here. Of the others only those get a new plan that get something, or are among
    `anyway` (their promise changed, so it is said again). `terms` are those of its items and customers, if known.
    """
    if not demands:
        return []
    terms = terms or await terms_of(store, demands)
    wishes = wishes_of(work, demands, terms)
    kept = {} if raised else await store.shares_of(demand.demand_id for demand in demands)
    plans = await _plan(store, demands, wishes)
    outcomes: list[Outcome] = []
    decided: list[NewPlan] = []
    reservations: list[NewReservation] = []
    async for demand in in_turns(demands):
        made = plans[demand.demand_id]
        if not (raised or made.taken or demand.demand_id in anyway):
            continue
        plan_id = new_id()
        shares = [*kept.get(demand.demand_id, ())]
        for stock, quantity in made.taken:
            promised = NewReservation(new_id(), demand, plan_id, stock.spot, quantity)
            reservations.append(promised)
            shares.append(
                Kept(
                    promised.reservation_id,
                    stock.spot.batch_id,
                    stock.batch_no,
                    stock.spot.location_id,
                    quantity,
                    stock.expires_on,
                )
            )
        sequence = terms.items.get(demand.item_id, _UNKNOWN_ITEM).sequence
        inputs = inputs_of(wishes[demand.demand_id], made.considered)
        decided.append(NewPlan(plan_id, demand, sequence, POLICY, inputs, outcome_of(made)))
        outcomes.append(Outcome(plan_id, demand, tuple(shares), made, sequence, work.now))
    if outcomes:
        await store.promise(
            decided,
            reservations,
            {outcome.demand.demand_id: outcome.plan.missing for outcome in outcomes},
            raised=demands if raised else (),
            work=work,
        )
    return outcomes


async def terms_of(store: AllocationStore, demands: Collection[Demand]) -> Terms:
    """What is known of the items and customers of demands."""
    return await store.terms((demand.item_id for demand in demands), (demand.customer_id for demand in demands))


def wishes_of(work: Work, demands: Iterable[Demand], terms: Terms) -> dict[UUID, Wanted]:
    """What each demand asks for by the rules of today."""
    today = somewhere_still(work.now)
    return {
        demand.demand_id: wanted_by(
            demand,
            terms.customers.get(demand.customer_id, _UNKNOWN_CUSTOMER).rules,
            expiry_required=terms.items.get(demand.item_id, _UNKNOWN_ITEM).expiry_required,
            today=today,
        )
        for demand in demands
    }


async def serve_waiting(
    work: Work, store: AllocationStore, shelves: Collection[Shelf], *, anyway: Collection[UUID] = ()
) -> list[Outcome]:
    """Something is free on these shelves: serve those that wait for it, oldest first.

    Demands among `anyway` are said again even if they get nothing.
    """
    outcomes: list[Outcome] = []
    told = set(anyway)
    after = None
    while shelves:
        demands = await store.waiting(shelves, after, _WAITING_PAGE)
        outcomes += await serve(work, store, demands, anyway=told)
        told.difference_update(demand.demand_id for demand in demands)
        if len(demands) < _WAITING_PAGE:
            break
        after = (demands[-1].raised_at, demands[-1].demand_id)
        # Many may wait for little: those behind the last of it are not even read.
        shelves = await store.offering(shelves)
    if told:
        outcomes += await serve(work, store, await store.demands(told), anyway=told)
    return outcomes


_UNKNOWN_ITEM = ItemTerms()
_UNKNOWN_CUSTOMER = CustomerTerms()


async def _plan(store: AllocationStore, demands: Sequence[Demand], wishes: dict[UUID, Wanted]) -> dict[UUID, Plan]:
    """A plan for each demand; the shelf is read as far as they need it."""
    rules = POLICIES[POLICY]
    askings = [Asking(demand.demand_id, demand.item_id, wishes[demand.demand_id]) for demand in demands]
    aisles = Aisles(askings)
    nothing_wanted = {
        asking.demand_id: Plan((), (), Decimal(0), ()) for asking in askings if not asking.wanted.quantity
    }
    to_load = aisles.to_load()
    if not to_load:
        return nothing_wanted
    shelves = aisles.shelves
    plans: dict[UUID, Plan] = {}
    while to_load:
        along, withheld = await store.look(to_load, shelves)
        for aisle, found in zip(to_load, along, strict=True):
            aisles.fill(aisle, found)
        for shelf, found in withheld.items():
            aisles.withhold(shelf, found)
        plans = aisles.serve(rules)
        to_load, shelves = aisles.to_load(plans), {}
    short = [asking for asking in askings if asking.wanted.quantity and plans[asking.demand_id].missing]
    if short:
        beside = await store.elsewhere({asking.shelf for asking in short})
        for asking in short:
            made = plans[asking.demand_id]
            considered = (
                *made.considered,
                *aisles.used_up(asking, made)[:PROMISED_SEEN],
                *beside.get(asking.shelf, ()),
            )
            plans[asking.demand_id] = plan(asking.wanted, considered, rules, ORDERS[asking.wanted.strategy])
    return plans | nothing_wanted
