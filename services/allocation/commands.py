"""What people ask about demands. Waiting commands of one kind are done together."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from asyncpg import Record

from contracts.allocation import (
    DemandAllocated,
    DemandCancelled,
    DemandShort,
    Share,
)
from contracts.values import Strategy
from delivery import Announcement, Answer, Refusal, Work, does, new_id
from services.allocation import queries
from services.allocation.domain.claims import ClaimStatus
from services.allocation.domain.terms import Demand, somewhere_still
from services.allocation.following import floor_of, settle
from services.allocation.promising import serve, serve_waiting
from services.allocation.store import AllocationStore, CustomerTerms, ItemTerms
from services.allocation.views import (
    CancelledView,
    PromiseView,
    RaiseDemand,
)


@dataclass(frozen=True, slots=True)
class CancelDemand:
    """The demand wants nothing more."""

    demand_id: UUID
    reason: str


@dataclass(frozen=True, slots=True)
class ReplanDemand:
    """Give back what is promised and not picked, and plan again from the stock of now."""

    demand_id: UUID


@does(RaiseDemand)
async def raise_demands(work: Work, commands: Sequence[RaiseDemand]) -> Sequence[Answer]:
    """Promise at once, in the order of the calls."""
    store = AllocationStore(work.db)
    terms = await store.terms(
        (command.item_id for command in commands),
        (command.customer_id for command in commands),
        (command.reference for command in commands),
    )
    taken = dict(terms.referred_to)
    refused: dict[int, Answer] = {}
    demands: dict[int, Demand] = {}
    for n, command in enumerate(commands):
        no = _not_raised(
            command,
            terms.items.get(command.item_id),
            known_customer=terms.customers.get(command.customer_id, CustomerTerms()).active,
            taken_by=taken.get(command.reference),
            today=somewhere_still(work.now),
        )
        if no is not None:
            refused[n] = no
        else:
            demands[n] = _demand(command, work.now)
            taken[command.reference] = demands[n].demand_id
    served = await serve(work, store, [*demands.values()], raised=True, terms=terms)
    outcomes = {outcome.demand.demand_id: outcome for outcome in served}
    answers = []
    for n in range(len(commands)):
        if n in refused:
            answers.append(refused[n])
        else:
            told = outcomes[demands[n].demand_id].events()
            answers.append(Answer(promise_view(told), 201, told))
    return answers


@does(CancelDemand)
async def cancel_demands(work: Work, commands: Sequence[CancelDemand]) -> Sequence[Answer]:
    """Free what was promised, stop what was picked, and serve those that wait for it."""
    store = AllocationStore(work.db)
    rows = await _locked_demands(work, store, commands)
    refused = _not_changeable(work, commands, rows)
    going = {command.demand_id: n for n, command in reversed([*enumerate(commands)]) if n not in refused}
    followed = await floor_of(store, await store.claims(demand_ids=going))
    answers: dict[int, Answer] = dict(refused)
    says: list[Announcement] = []
    for demand_id, n in going.items():
        reason = commands[n].reason
        freed = followed.floor.cancelled(demand_id, reason)
        cancelled = DemandCancelled(
            demand_id=demand_id,
            item_id=rows[demand_id]["item_id"],
            freed=freed,
            unit=rows[demand_id]["unit"],
            reason=reason,
            cancelled_at=work.now,
        )
        answers[n] = Answer(CancelledView(demand_id=demand_id, freed=freed, reason=reason), 200, [cancelled])
    await store.cancel(((demand_id, commands[n].reason) for demand_id, n in going.items()), work.now)
    shelves = await settle(work, store, followed.floor, followed.known)
    for outcome in await serve_waiting(work, store, shelves):
        says += outcome.events()
    for n, command in enumerate(commands):
        answers.setdefault(n, _already_cancelled(command.demand_id))
    return _with_more(answers, says)


@does(ReplanDemand)
async def replan_demands(work: Work, commands: Sequence[ReplanDemand]) -> Sequence[Answer]:
    """Give back what is not picked and plan again; then serve those that wait for what was given back."""
    store = AllocationStore(work.db)
    rows = await _locked_demands(work, store, commands)
    answers = _not_changeable(work, commands, rows)
    going = dict.fromkeys(command.demand_id for n, command in enumerate(commands) if n not in answers)
    followed = await floor_of(store, await store.claims(demand_ids=going))
    for claim in [*followed.floor.claims.values()]:
        if claim.status is ClaimStatus.PROMISED:
            followed.floor.release(claim, "planned again")
    shelves = await settle(work, store, followed.floor, followed.known)
    outcomes = {
        outcome.demand.demand_id: outcome
        for outcome in await serve(work, store, await store.demands(going), anyway=going)
    }
    waiting = await serve_waiting(work, store, shelves)
    rows = await queries.demands_by_id(work.db, [*going])
    told: set[UUID] = set()
    for n, command in enumerate(commands):
        if n not in answers:
            events = outcomes[command.demand_id].events()
            says = [] if command.demand_id in told else events
            told.add(command.demand_id)
            answers[n] = Answer(promise_view(events, rows[command.demand_id]), 200, says)
    return _with_more(answers, [event for outcome in waiting for event in outcome.events()])


def promise_view(events: Sequence[DemandAllocated | DemandShort], row: Record | None = None) -> PromiseView:
    """The promise of an outcome's events, as its caller gets it; `row` is the demand as it is now, unless it is new."""
    told = events[0]
    assert isinstance(told, DemandAllocated)  # noqa: S101
    fresh = "allocated" if not told.missing else "partly_allocated" if told.allocated else "short"
    # All of it was checked as an event, a moment ago.
    return PromiseView.model_construct(
        demand_id=told.demand_id,
        reference=told.reference,
        customer_id=told.customer_id,
        site_id=told.site_id,
        item_id=told.item_id,
        unit=told.unit,
        strategy=told.strategy,
        needed_on=told.needed_on,
        status=row["status"] if row else fresh,
        wanted=told.wanted,
        allocated=told.allocated,
        shipped=row["shipped"] if row else Decimal(0),
        missing=told.missing,
        shares=[*told.shares],
        passed_over=[*told.passed_over],
        plan_id=told.plan_id,
    )


def share_view(row: Record) -> Share:
    """A row of `queries.shares` as it is answered."""
    return Share.model_validate(dict(row))


async def _locked_demands(
    work: Work, store: AllocationStore, commands: Sequence[CancelDemand | ReplanDemand]
) -> dict[UUID, Record]:
    """The demands that commands name, with what they have, their items locked."""
    items = await store.items_of(command.demand_id for command in commands)
    await work.lock(items.values())
    return await queries.demands_by_id(work.db, [*items])


def _not_changeable(
    work: Work, commands: Sequence[CancelDemand | ReplanDemand], rows: dict[UUID, Record]
) -> dict[int, Answer]:
    """Why commands cannot be done, by their place."""
    refused = {}
    for n, command in enumerate(commands):
        row = rows.get(command.demand_id)
        person = work.cause(command).person
        if row is None:
            refused[n] = Refusal(404, "unknown_demand", f"there is no demand {command.demand_id}", field="demand_id")
        elif person is not None and not person.may_at(row["site_id"]):
            refused[n] = Refusal(
                403,
                "wrong_site",
                f"the demand is at site {row['site_id']!r}, not among {sorted(person.sites)}",
                field="demand_id",
            )
        elif row["status"] == "cancelled":
            refused[n] = _already_cancelled(command.demand_id)
        elif row["status"] in {"shipped", "dispatching"}:
            refused[n] = Refusal(
                409,
                "already_on_its_way",
                f"demand {command.demand_id}: all {row['wanted']:f} {row['unit']} are {row['status']}",
                field="demand_id",
            )
    return refused


def _already_cancelled(demand_id: UUID) -> Answer:
    return Refusal(409, "already_cancelled", f"demand {demand_id} was cancelled already", field="demand_id")


def _with_more(answers: dict[int, Answer], says: Sequence[Announcement]) -> list[Answer]:
    """The answers in order; what is said of other demands goes with the first that did something."""
    given = [answers[n] for n in range(len(answers))]
    for n, answer in enumerate(given):
        if says and answer.status < 300:
            given[n] = Answer(answer.body, answer.status, [*answer.says, *says], answer.media_type)
            break
    return given


def _not_raised(
    command: RaiseDemand, item: ItemTerms | None, *, known_customer: bool, taken_by: UUID | None, today: dt.date
) -> Answer | None:
    """Why a demand cannot be raised. What integration raised was checked there and is a fact."""
    if item is None:
        return Refusal(
            409,
            "unknown_item",
            f"item {command.item_id!r} is neither in the catalog nor on any shelf",
            field="item_id",
        )
    if item.base_unit not in (None, command.unit):
        return Refusal(
            409,
            "not_the_base_unit",
            f"unit {command.unit!r}: item {command.item_id} is kept in {item.base_unit!r}, say the quantity in it",
            field="unit",
        )
    if not known_customer:
        return Refusal(
            409,
            "unknown_customer",
            f"customer {command.customer_id!r} is no active customer of the catalog: correct it, or define it in "
            f"integration first (PUT /partners/{command.customer_id} with role 'customer')",
            field="customer_id",
        )
    if command.needed_on < today:
        return Refusal(
            422,
            "needed_in_the_past",
            f"needed_on {command.needed_on} is over everywhere on Earth: {today} is the earliest day that can be asked",
            field="needed_on",
        )
    if taken_by is not None:
        return Refusal(
            409,
            "reference_taken",
            f"reference {command.reference!r} is that of demand {taken_by}: cancel that one first, or say another",
            field="reference",
        )
    return None


def _demand(command: RaiseDemand, now: dt.datetime) -> Demand:
    named = Strategy.SPECIFIED if command.batch_no is not None else Strategy.FEFO
    return Demand(
        demand_id=new_id(),
        reference=command.reference,
        customer_id=command.customer_id,
        site_id=command.site_id,
        item_id=command.item_id,
        unit=command.unit,
        quantity=command.quantity,
        missing=command.quantity,
        needed_on=command.needed_on,
        strategy=command.strategy or named,
        batch_no=command.batch_no,
        min_days_left=command.min_days_left,
        min_percent_left=command.min_percent_left,
        raised_at=now,
    )
