"""What people ask of allocation: demands, picks, shipments. Waiting commands of one kind are done together."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from uuid import UUID

from asyncpg import Record

from contracts.allocation import (
    DemandAllocated,
    DemandCancelled,
    PickConfirmed,
    PickRefused,
    ScanVerdict,
    Share,
    ShipmentDispatched,
)
from contracts.values import Strategy
from delivery import Announcement, Answer, Refusal, Work, does, new_id
from delivery.handling import EventLike
from services.allocation import queries
from services.allocation.domain.claims import ClaimStatus
from services.allocation.domain.orders import ORDERS
from services.allocation.domain.picking import Pick, RefusedScan, Scanned, judge, read_scan
from services.allocation.domain.planning import plan
from services.allocation.domain.rules import POLICIES, POLICY
from services.allocation.domain.stock import Stock
from services.allocation.domain.terms import Demand, somewhere_still, wanted_by
from services.allocation.following import floor_of, settle
from services.allocation.promising import Outcome, serve, serve_waiting
from services.allocation.store import AllocationStore, ItemTerms, NewShipment
from services.allocation.views import (
    CancelledView,
    PickView,
    PromiseView,
    RaiseDemand,
    ScanAnswer,
    ShipmentView,
    TypedScan,
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


@dataclass(frozen=True, slots=True)
class ScanPick:
    """A person scanned something for a pick."""

    pick_id: UUID
    scan: str | TypedScan
    location_id: str | None
    quantity: Decimal | None
    to_location_id: str
    allow_swap: bool


@dataclass(frozen=True, slots=True)
class MakeShipment:
    """Put what was picked for a customer at a site into a shipment; of these demands only, if any are named."""

    customer_id: str
    site_id: str
    demand_ids: frozenset[UUID] | None
    carrier: str | None


@dataclass(frozen=True, slots=True)
class DispatchShipment:
    """Send a shipment to the gate."""

    shipment_id: UUID


@does(RaiseDemand)
async def raise_demands(work: Work, commands: Sequence[RaiseDemand]) -> Sequence[Answer]:
    """Promise at once, in the order of the calls."""
    store = AllocationStore(work.db)
    items = await store.items(command.item_id for command in commands)
    refused: dict[int, Answer] = {}
    demands: dict[int, Demand] = {}
    for n, command in enumerate(commands):
        item = items.get(command.item_id)
        if item is None:
            refused[n] = Refusal(
                409, "unknown_item", f"item {command.item_id!r} is neither in the catalog nor on any shelf"
            )
        elif item.base_unit not in (None, command.unit):
            refused[n] = Refusal(
                409,
                "not_the_base_unit",
                f"unit {command.unit!r}: item {command.item_id} is kept in {item.base_unit!r}, say the quantity in it",
            )
        else:
            demands[n] = _demand(command, work.now)
    outcomes = {
        outcome.demand.demand_id: outcome for outcome in await serve(work, store, [*demands.values()], raised=True)
    }
    answers = []
    for n in range(len(commands)):
        if n in refused:
            answers.append(refused[n])
        else:
            outcome = outcomes[demands[n].demand_id]
            answers.append(Answer(promise_view(outcome), 201, outcome.events()))
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
            outcome = outcomes[command.demand_id]
            says = [] if command.demand_id in told else outcome.events()
            told.add(command.demand_id)
            answers[n] = Answer(promise_view(outcome, rows[command.demand_id]), 200, says)
    return _with_more(answers, [event for outcome in waiting for event in outcome.events()])


@does(ScanPick)
async def scan_picks(work: Work, commands: Sequence[ScanPick]) -> Sequence[Answer]:
    """Judge each scan by its pick, in order; what is accepted is picked, what is refused changes nothing."""
    store = AllocationStore(work.db)
    items = await store.items_of_picks(command.pick_id for command in commands)
    await work.lock(items.values())
    picks = await store.picks(items)
    read = [_read(command.scan) for command in commands]
    gtins = {scanned.gtin for scanned in read if isinstance(scanned, Scanned) and scanned.gtin}
    known = await store.items_by_gtin(gtins) if gtins else {}
    tellers = _Tellers(work, store, picks, known)
    return [await tellers.tell(command, scanned) for command, scanned in zip(commands, read, strict=True)]


class _Tellers:
    """One group of scans: the second sees what the first did."""

    def __init__(
        self, work: Work, store: AllocationStore, picks: dict[UUID, Pick], item_of_gtin: dict[str, str]
    ) -> None:
        self._work = work
        self._store = store
        self._picks = picks
        self._item_of_gtin = item_of_gtin
        self._today = somewhere_still(work.now)

    async def tell(self, command: ScanPick, scanned: Scanned | RefusedScan) -> Answer:
        """The answer to one scan."""
        pick = self._picks.get(command.pick_id)
        person = self._work.cause(command).person
        if pick is None:
            return Refusal(404, "unknown_pick", f"there is no pick {command.pick_id}")
        if person is not None and not person.may_at(pick.spot.site_id):
            return Refusal(
                403,
                "wrong_site",
                f"pick {pick.pick_id} is at site {pick.spot.site_id!r}, not among {sorted(person.sites)}",
            )
        if isinstance(scanned, RefusedScan):
            return await self._refuse(command, pick, scanned)
        refused = judge(
            pick,
            scanned,
            location_id=command.location_id,
            today=self._today,
            item_of_gtin=self._item_of_gtin.get(scanned.gtin) if scanned.gtin else None,
        )
        if refused is not None and not (refused.verdict is ScanVerdict.WRONG_BATCH and command.allow_swap):
            return await self._refuse(command, pick, refused)
        quantity = command.quantity or pick.quantity
        if quantity > pick.quantity:
            return Refusal(
                409,
                "more_than_promised",
                f"quantity {quantity:f} {pick.unit}: {pick.quantity:f} at most are promised to pick {pick.pick_id}",
            )
        says: list[Announcement] = []
        if refused is None:
            rest_id = await self._split(pick, quantity) if quantity < pick.quantity else None
        else:
            swapped = await self._swap(pick, scanned.batch_no, quantity)
            if isinstance(swapped, RefusedScan):
                return await self._refuse(command, pick, swapped)
            rest_id, swap_says = swapped
            says += swap_says
            self._picks |= await self._store.picks(self._picks)
        return await self._confirm(command, rest_id, says)

    async def _confirm(self, command: ScanPick, rest_id: UUID | None, says: list[Announcement]) -> Answer:
        work, store = self._work, self._store
        by = work.cause(command).actor or "unknown"
        pick = (await store.picks([command.pick_id]))[command.pick_id]
        await store.confirm_picks([(pick.pick_id, pick.quantity, command.to_location_id, by)], work.now)
        asked = [pick.pick_id] if rest_id is None else [pick.pick_id, rest_id]
        self._picks |= await store.picks(asked)
        views = await queries.picks_by_id(work.db, asked)
        confirmed = PickConfirmed(
            pick_id=pick.pick_id,
            demand_id=pick.demand_id,
            reservation_id=pick.pick_id,
            customer_id=pick.customer_id,
            site_id=pick.spot.site_id,
            item_id=pick.item_id,
            batch_id=pick.spot.batch_id,
            batch_no=pick.batch_no,
            from_location_id=pick.spot.location_id,
            to_location_id=command.to_location_id,
            quantity=pick.quantity,
            unit=pick.unit,
            picked_at=work.now,
        )
        answer = ScanAnswer(
            verdict="accepted",
            reason=f"{pick.quantity:f} {pick.unit} of batch {pick.batch_no} go to {command.to_location_id}",
            pick=pick_view(views[pick.pick_id]),
            rest=None if rest_id is None else pick_view(views[rest_id]),
        )
        return Answer(answer, 200, [*says, confirmed])

    async def _refuse(self, command: ScanPick, pick: Pick, refused: RefusedScan) -> Answer:
        work = self._work
        scanned = command.scan
        text = scanned if isinstance(scanned, str) else f"{scanned.item_id}, batch {scanned.batch_no} (typed)"
        event = PickRefused(
            refusal_id=new_id(),
            pick_id=pick.pick_id,
            demand_id=pick.demand_id,
            item_id=pick.item_id,
            expected_batch_no=pick.batch_no,
            scanned=text.replace("\x1d", "␝").replace("\x00", "␀")[:400],
            verdict=refused.verdict,
            reason=refused.reason[:400],
            refused_at=work.now,
        )
        by = work.cause(command).actor or "unknown"
        await self._store.refuse_scans(
            [(event.refusal_id, pick.pick_id, event.scanned, str(event.verdict), event.reason, by)], work.now
        )
        views = await queries.picks_by_id(work.db, [pick.pick_id])
        answer = ScanAnswer(verdict=refused.verdict, reason=event.reason, pick=pick_view(views[pick.pick_id]))
        return Answer(answer, 200, [event])

    async def _split(self, pick: Pick, quantity: Decimal) -> UUID:
        """Leave the pick `quantity`, and make a new one of the rest."""
        followed = await floor_of(self._store, await self._store.claims(reservation_ids=[pick.pick_id]))
        rest = followed.floor.part_of(followed.floor.claims[pick.pick_id], pick.quantity - quantity)
        await settle(self._work, self._store, followed.floor, followed.known)
        return rest.reservation_id

    async def _swap(
        self, pick: Pick, batch_no: str, quantity: Decimal
    ) -> tuple[UUID | None, list[EventLike]] | RefusedScan:
        """Let the pick have `quantity` of another batch of the same bin, and who had that the pick's batch.

        Returns the new pick of what the pick had more than that, and what is said; or why it may not be.
        """
        store = self._store
        found = await store.stock_of_batch_at(pick.item_id, batch_no, pick.spot)
        mine_stock = await store.stock_of_batch_at(pick.item_id, pick.batch_no, pick.spot)
        wanted_instead = next((stock for stock in found if stock.spot.batch_id != pick.spot.batch_id), None)
        given_instead = next((stock for stock in mine_stock if stock.spot == pick.spot), None)
        if wanted_instead is None or given_instead is None:
            return RefusedScan(
                ScanVerdict.WRONG_BATCH,
                f"batch {batch_no} of {pick.item_id} is not at {pick.spot.location_id}: only the same bin is swapped",
            )
        claims = await store.claims(reservation_ids=[pick.pick_id], batch_ids=[wanted_instead.spot.batch_id])
        followed = await floor_of(store, claims, [wanted_instead.spot, pick.spot])
        floor = followed.floor
        there = [
            claim
            for claim in reversed(floor.at(wanted_instead.spot))
            if claim.status is ClaimStatus.PROMISED and claim.demand_id != pick.demand_id
        ]
        enough = wanted_instead.quantity + sum((claim.quantity for claim in there), Decimal(0))
        if enough < quantity:
            return RefusedScan(
                ScanVerdict.WRONG_BATCH,
                f"of batch {batch_no} at {pick.spot.location_id} {enough:f} {pick.unit} can be swapped, {quantity:f} "
                "are needed: the rest is picked for others already",
            )
        left = quantity - min(quantity, wanted_instead.quantity)
        others = []
        for claim in there:
            if left:
                part = floor.part_of(claim, min(left, claim.quantity))
                others.append(part)
                left -= part.quantity
        against = await self._rules_against(
            [(pick.demand_id, wanted_instead, quantity)]
            + [(claim.demand_id, given_instead, claim.quantity) for claim in others]
        )
        if against is not None:
            return against
        rest_id = None
        if quantity < pick.quantity:
            rest_id = floor.part_of(floor.claims[pick.pick_id], pick.quantity - quantity).reservation_id
        floor.swap(floor.claims[pick.pick_id], wanted_instead.spot, others)
        shelves = await settle(self._work, store, floor, followed.known)
        outcomes = await serve_waiting(self._work, store, shelves, anyway=floor.refreshed)
        return rest_id, [event for outcome in outcomes for event in outcome.events()]

    async def _rules_against(self, exchanges: Sequence[tuple[UUID, Stock, Decimal]]) -> RefusedScan | None:
        """Whether a demand of an exchange may not have the stock that it would get."""
        store = self._store
        demands = {
            demand.demand_id: demand
            for demand in await store.demands((demand_id for demand_id, _, _ in exchanges), cancelled=True)
        }
        items = await store.items(demand.item_id for demand in demands.values())
        rules = await store.life_rules(demand.customer_id for demand in demands.values())
        for demand_id, stock, quantity in exchanges:
            demand = demands[demand_id]
            wanted = wanted_by(
                demand,
                rules.get(demand.customer_id, ()),
                expiry_required=items.get(demand.item_id, ItemTerms()).expiry_required,
                today=self._today,
            )
            # What is promised there now is what would be exchanged, so it counts as free.
            offer = stock._replace(quantity=max(stock.quantity, quantity))
            made = plan(replace(wanted, quantity=quantity), [offer], POLICIES[POLICY], ORDERS[wanted.strategy])
            if made.missing:
                return RefusedScan(
                    ScanVerdict.WRONG_BATCH,
                    f"order {demand.reference} cannot have batch {stock.batch_no}: {made.passed_over[0].text}"[:400],
                )
        return None


@does(MakeShipment)
async def make_shipments(work: Work, commands: Sequence[MakeShipment]) -> Sequence[Answer]:
    """Gather what is picked; what one shipment has the next does not find."""
    store = AllocationStore(work.db)
    orders = {(command.customer_id, command.site_id) for command in commands}
    await work.lock({share.item_id for share in await store.picked_for(orders)})
    left = {share.reservation_id: share for share in await store.picked_for(orders)}
    made: dict[int, NewShipment] = {}
    for n, command in enumerate(commands):
        lines = [
            share
            for share in left.values()
            if (share.customer_id, share.site_id) == (command.customer_id, command.site_id)
            and (command.demand_ids is None or share.demand_id in command.demand_ids)
        ]
        if not lines:
            continue
        for share in lines:
            del left[share.reservation_id]
        made[n] = NewShipment(
            new_id(),
            command.customer_id,
            command.site_id,
            command.carrier,
            work.cause(command).actor or "unknown",
            tuple((new_id(), share.reservation_id) for share in lines),
        )
    if made:
        await store.make_shipments([*made.values()], work.now)
    views = await _shipment_views(work, [shipment.shipment_id for shipment in made.values()])
    return [
        Answer(views[made[n].shipment_id], 201)
        if n in made
        else Refusal(
            409,
            "nothing_picked",
            f"nothing that was picked for customer {command.customer_id!r} at site {command.site_id!r} waits for a "
            "shipment",
        )
        for n, command in enumerate(commands)
    ]


@does(DispatchShipment)
async def dispatch_shipments(work: Work, commands: Sequence[DispatchShipment]) -> Sequence[Answer]:
    """Ask inventory to let every line of a shipment leave."""
    store = AllocationStore(work.db)
    wanted = {command.shipment_id for command in commands}
    await work.lock(await store.items_of_shipments(wanted))
    shipments = await store.lock_shipments(wanted)
    answers: dict[int, Answer] = {}
    says: dict[UUID, list[ShipmentDispatched]] = {}
    first: dict[UUID, int] = {}
    for n, command in enumerate(commands):
        shipment = shipments.get(command.shipment_id)
        person = work.cause(command).person
        if shipment is None:
            answers[n] = Refusal(404, "unknown_shipment", f"there is no shipment {command.shipment_id}")
        elif person is not None and not person.may_at(shipment["site_id"]):
            answers[n] = Refusal(
                403, "wrong_site", f"the shipment is at site {shipment['site_id']!r}, not among {sorted(person.sites)}"
            )
        elif shipment["dispatched_at"] is not None or command.shipment_id in first:
            answers[n] = Refusal(409, "already_dispatched", f"shipment {command.shipment_id} was dispatched already")
        else:
            lines = await store.dispatch([command.shipment_id], work.cause(command).actor or "unknown", work.now)
            first[command.shipment_id] = n
            says[command.shipment_id] = [_dispatched(line, work.now) for line in lines]
    views = await _shipment_views(work, [*first])
    for shipment_id, n in first.items():
        answers[n] = Answer(views[shipment_id], 200, says[shipment_id])
    return [answers[n] for n in range(len(commands))]


def promise_view(outcome: Outcome, row: Record | None = None) -> PromiseView:
    """The promise of an outcome, as its caller gets it; `row` is the demand as it stands now, unless it is new."""
    told = outcome.events()[0]
    assert isinstance(told, DemandAllocated)  # noqa: S101
    fresh = "allocated" if not told.missing else "partly_allocated" if told.allocated else "short"
    return PromiseView(
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


def pick_view(row: Record) -> PickView:
    """A row of `queries.picks` as it is answered."""
    return PickView.model_validate(dict(row))


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
            refused[n] = Refusal(404, "unknown_demand", f"there is no demand {command.demand_id}")
        elif person is not None and not person.may_at(row["site_id"]):
            refused[n] = Refusal(
                403, "wrong_site", f"the demand is at site {row['site_id']!r}, not among {sorted(person.sites)}"
            )
        elif row["status"] == "cancelled":
            refused[n] = _already_cancelled(command.demand_id)
        elif row["status"] in {"shipped", "dispatching"}:
            refused[n] = Refusal(
                409,
                "already_on_its_way",
                f"demand {command.demand_id}: all {row['wanted']:f} {row['unit']} are {row['status']}",
            )
    return refused


def _already_cancelled(demand_id: UUID) -> Answer:
    return Refusal(409, "already_cancelled", f"demand {demand_id} was cancelled already")


def _with_more(answers: dict[int, Answer], says: Sequence[Announcement]) -> list[Answer]:
    """The answers in order; what is said of other demands goes with the first that did something."""
    given = [answers[n] for n in range(len(answers))]
    for n, answer in enumerate(given):
        if says and answer.status < 300:
            given[n] = Answer(answer.body, answer.status, [*answer.says, *says], answer.media_type)
            break
    return given


def _read(scan: str | TypedScan) -> Scanned | RefusedScan:
    return read_scan(scan) if isinstance(scan, str) else Scanned(scan.batch_no, item_id=scan.item_id)


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


def _dispatched(line: Record, now: dt.datetime) -> ShipmentDispatched:
    return ShipmentDispatched(
        shipment_id=line["shipment_id"],
        line_id=line["line_id"],
        demand_id=line["demand_id"],
        reference=line["reference"],
        customer_id=line["customer_id"],
        site_id=line["site_id"],
        item_id=line["item_id"],
        batch_id=line["batch_id"],
        batch_no=line["batch_no"],
        location_id=line["staged_at"],
        quantity=line["quantity"],
        unit=line["unit"],
        carrier=line["carrier"],
        dispatched_at=now,
    )


async def _shipment_views(work: Work, shipment_ids: Sequence[UUID]) -> dict[UUID, ShipmentView]:
    rows = await queries.shipments(work.db, shipment_ids=shipment_ids, limit=len(shipment_ids))
    return {row["shipment_id"]: ShipmentView.model_validate(row) for row in rows}
