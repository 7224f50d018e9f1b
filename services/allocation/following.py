"""Following the ledger: what movements, holds and the gate do to the shelf and to promises. Load, decide, save."""

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from uuid import UUID

from contracts.allocation import AllocationRevoked, RevocationCode
from contracts.inventory import HoldLifted, HoldPlaced, IssueRefused, MovementReason, StockMoved
from contracts.receiving import BatchDatesCorrected
from contracts.trace import BatchRecalled, BatchRecallLifted
from contracts.values import HoldKind, Place, PlaceKind, Purpose, Quality
from delivery import NeverWorks, Work, new_id
from delivery.handling import EventLike
from services.allocation.domain.aisles import Shelf
from services.allocation.domain.claims import Claim, ClaimStatus, Floor, Leaving, OpenHold, TakesTooMuch
from services.allocation.domain.rules import broken_by_dates
from services.allocation.domain.stock import PICKABLE, Spot, Stock
from services.allocation.promising import serve_waiting, terms_of, wishes_of
from services.allocation.store import AllocationStore, BatchSeen, HoldSeen, KnownSpot

StockEvent = (
    StockMoved | HoldPlaced | HoldLifted | IssueRefused | BatchRecalled | BatchRecallLifted | BatchDatesCorrected
)


@dataclass(slots=True)
class Followed:
    """A floor after a change, and what must be known to save it and to tell of it."""

    floor: Floor
    known: dict[Spot, KnownSpot]

    @property
    def changes(self) -> dict[Spot, Decimal]:
        """What was added to the free quantity of each spot, or taken from it."""
        before = self.known
        return {
            spot: free - (before[spot].free if spot in before else Decimal(0)) for spot, free in self.floor.free.items()
        }


async def follow(work: Work, store: AllocationStore, heard: Sequence[StockEvent]) -> list[EventLike]:
    """Let stock events take effect in their order; returns what was taken back and what replaces it.

    Raises `NeverWorks` for a movement of stock that is not known to be there.
    """
    items = await store.items({event.item_id for event in heard})
    reached = {item_id: terms.sequence for item_id, terms in items.items()}
    fresh: list[StockEvent] = []
    for event in heard:
        if isinstance(event, StockMoved | HoldPlaced | HoldLifted):
            if event.sequence <= reached.get(event.item_id, 0):
                continue
            reached[event.item_id] = event.sequence
        fresh.append(event)
    movements = {id(event): _leaving(event) for event in fresh if isinstance(event, StockMoved)}
    followed = await _floor(store, [*movements.values()], fresh)
    floor = followed.floor
    purposes: dict[Spot, str] = {}
    corrected: dict[UUID, BatchDatesCorrected] = {}
    for event in fresh:
        match event:
            case StockMoved():
                movement = movements[id(event)]
                try:
                    floor.moved(movement)
                except TakesTooMuch as error:
                    raise NeverWorks(f"movement {event.movement_id}, sequence {event.sequence}: {error}") from error
                if movement.target is not None and movement.target_purpose is not None:
                    purposes[movement.target] = movement.target_purpose
            case HoldPlaced():
                floor.held(event.hold_id, open_hold(hold_seen(event)))
            case BatchRecalled():
                floor.held(event.recall_id, replace(open_hold(hold_seen(event)), reason=f"recalled: {event.reason}"))
            case IssueRefused():
                floor.refused_at_gate(event.line_id, f"{event.code}: {event.reason}")
            case BatchDatesCorrected():
                corrected[event.batch_id] = event
            case HoldLifted():
                floor.lifted(event.batch_id, event.hold_id)
            case BatchRecallLifted():
                floor.lifted(event.batch_id, event.recall_id)
    if fresh:
        await store.see_batches(_batches(fresh))
    if corrected:
        await _correct_dates(work, store, floor, corrected)
    await save_floor(work, store, followed, purposes)
    placed = [hold_seen(event) for event in fresh if isinstance(event, HoldPlaced | BatchRecalled)]
    lifted = [
        (event.batch_id, event.hold_id if isinstance(event, HoldLifted) else event.recall_id)
        for event in fresh
        if isinstance(event, HoldLifted | BatchRecallLifted)
    ]
    if placed or lifted:
        await store.hold(placed, lifted, work.now)
    if reached:
        await store.reached(reached)
    shelves = _freed(followed, fresh, purposes)
    if lifted:
        shelves |= await store.sites_of({batch_id for batch_id, _ in lifted})
    if corrected:
        shelves |= await store.sites_of(corrected)
    said: list[EventLike] = [*await taken_back(work, store, floor)]
    for outcome in await serve_waiting(work, store, shelves, anyway={*floor.lost, *floor.refreshed}):
        said += outcome.events()
    return said


async def settle(work: Work, store: AllocationStore, floor: Floor, known: dict[Spot, KnownSpot]) -> set[Shelf]:
    """Keep what people (not the ledger) did to claims; returns the shelves where something became free."""
    followed = Followed(floor, known)
    await save_floor(work, store, followed, {})
    freed = [spot for spot, change in followed.changes.items() if change > 0]
    return await store.sites_of({spot.batch_id for spot in freed}) if freed else set()


async def floor_of(store: AllocationStore, claims: dict[UUID, Claim], spots: Collection[Spot] = ()) -> Followed:
    """A floor that holds these claims, on it their spots and `spots`."""
    known = await store.spots({claim.spot for claim in claims.values()} | {*spots})
    return Followed(Floor({spot: row.free for spot, row in known.items()}, dict(claims), new_id), known)


async def taken_back(work: Work, store: AllocationStore, floor: Floor) -> list[AllocationRevoked]:
    """What was taken back on a floor, as it is said."""
    if not floor.revoked:
        return []
    found = await store.demands((revoked.claim.demand_id for revoked in floor.revoked), cancelled=True)
    demands = {demand.demand_id: demand for demand in found}
    batch_nos = await store.batch_nos(revoked.claim.spot.batch_id for revoked in floor.revoked)
    said = []
    for revoked in floor.revoked:
        claim, demand = revoked.claim, demands[revoked.claim.demand_id]
        said.append(
            AllocationRevoked(
                reservation_id=claim.reservation_id,
                demand_id=claim.demand_id,
                customer_id=demand.customer_id,
                item_id=demand.item_id,
                batch_id=claim.spot.batch_id,
                batch_no=batch_nos[claim.spot.batch_id],
                location_id=claim.spot.location_id,
                quantity=claim.quantity,
                unit=demand.unit,
                picked=revoked.picked,
                code=revoked.code,
                reason=revoked.reason[:400],
                revoked_at=work.now,
            )
        )
    return said


async def _floor(store: AllocationStore, movements: Sequence[Leaving], heard: Sequence[StockEvent]) -> Followed:
    """What the events may touch: their spots, the claims they name, and the claims on stock they may run short of."""
    spots = {spot for movement in movements for spot in (movement.source, movement.target) if spot is not None}
    known = await store.spots(spots) if spots else {}
    named = await store.claims(
        reservation_ids={movement.pick_id for movement in movements if movement.pick_id is not None},
        line_ids={movement.line_id for movement in movements if movement.line_id is not None}
        | {event.line_id for event in heard if isinstance(event, IssueRefused)},
        batch_ids={
            event.batch_id for event in heard if isinstance(event, HoldPlaced | BatchRecalled | BatchDatesCorrected)
        },
    )
    leaves = _met_by(movements, [claim for claim in named.values() if claim.status is not ClaimStatus.PROMISED])
    at_risk = [spot for spot, leaving in leaves.items() if spot in known and leaving > known[spot].free]
    claims = named | (await store.claims(spots=at_risk) if at_risk else {})
    undone = {each.line_id for each in movements if each.undoes and each.line_id is not None}
    shipped, over = await store.shipped_of(undone) if undone else ({}, frozenset[UUID]())
    claims |= shipped
    elsewhere = {claim.spot for claim in claims.values()} - known.keys()
    if elsewhere:
        known |= await store.spots(elsewhere)
    carried = {each.target.batch_id for each in movements if each.target is not None and (each.source or each.line_id)}
    # Who changes places with a line at the gate is carried too.
    carried |= {spot.batch_id for spot in at_risk}
    holds = await store.open_holds(carried) if claims and carried else []
    open_holds = {(hold.batch_id, hold.hold_id): open_hold(hold) for hold in holds}
    return Followed(Floor({spot: row.free for spot, row in known.items()}, claims, new_id, open_holds, over), known)


def _met_by(movements: Sequence[Leaving], fetched: Sequence[Claim]) -> dict[Spot, Decimal]:
    """How much of each spot is taken by movements that may meet claims of others.

    A pick or a line whose claim stands where it is booked from meets nobody. Where one takes more than that, all that
    leaves there may: claims change places.
    """
    own: dict[tuple[UUID, Spot], Decimal] = {}
    for claim in fetched:
        for cause in (claim.reservation_id, claim.line_id):
            if cause is not None:
                own[cause, claim.spot] = own.get((cause, claim.spot), Decimal(0)) + claim.quantity
    leaving: dict[Spot, Decimal] = {}
    met: set[Spot] = set()
    for movement in movements:
        if movement.source is not None:
            leaving[movement.source] = leaving.get(movement.source, Decimal(0)) + movement.quantity
            cause = movement.pick_id or movement.line_id
            if cause is None or own.get((cause, movement.source), Decimal(0)) < movement.quantity:
                met.add(movement.source)
    return {spot: leaving[spot] for spot in met}


async def _correct_dates(
    work: Work, store: AllocationStore, floor: Floor, corrected: dict[UUID, BatchDatesCorrected]
) -> None:
    """Keep corrected dates, and take back the promises that they break. What a person picked is left to the gate."""
    await store.correct_dates([batch_seen(event) for event in corrected.values()], work.now)
    claims = floor.promised_of(corrected)
    demands = {demand.demand_id: demand for demand in await store.demands(claim.demand_id for claim in claims)}
    wishes = wishes_of(work, demands.values(), await terms_of(store, demands.values()))
    for claim in claims:
        facts = corrected[claim.spot.batch_id].after
        stock = Stock(
            claim.spot,
            facts.batch_no,
            Purpose.STORAGE,
            claim.quantity,
            facts.received_on or work.now.date(),
            facts.expires_on,
            facts.manufactured_on,
        )
        refused = broken_by_dates(wishes[claim.demand_id], stock)
        if refused is not None:
            floor.broken(claim, refused.text)


async def save_floor(work: Work, store: AllocationStore, followed: Followed, purposes: dict[Spot, str]) -> None:
    """Keep a floor: spots first, then claims and what demands lost, then sweep what holds nothing any more."""
    floor, known, changes = followed.floor, followed.known, followed.changes
    await store.extend_shelf(
        {
            spot: (purposes.get(spot, Purpose.UNKNOWN), change)
            for spot, change in changes.items()
            if spot not in known and floor.occupied(spot)
        }
        | {
            claim.spot: (purposes.get(claim.spot, Purpose.UNKNOWN), Decimal(0))
            for claim in floor.changed_claims.values()
            if claim.spot not in known and claim.spot not in changes and floor.occupied(claim.spot)
        }
    )
    await store.change_shelf(changes, known.keys())
    await store.repurpose(
        {spot: purpose for spot, purpose in purposes.items() if spot in known and known[spot].purpose != purpose}
    )
    if floor.changed_claims:
        await store.save_claims([*floor.changed_claims.values()], work.now)
    if floor.lost:
        await store.owe(floor.lost)
    await store.sweep([spot for spot in known if not floor.free.get(spot)])


def _freed(followed: Followed, heard: Sequence[StockEvent], purposes: dict[Spot, str]) -> set[Shelf]:
    """The shelves where something that can be promised was added."""
    items = {event.batch_id: event.item_id for event in heard}
    freed = set()
    for spot, change in followed.changes.items():
        purpose = purposes.get(spot) or (followed.known[spot].purpose if spot in followed.known else None)
        repurposed = spot in purposes and spot in followed.known and followed.known[spot].purpose != purposes[spot]
        if (change > 0 or repurposed) and spot.quality == Quality.RELEASED and purpose in PICKABLE:
            freed.add((items[spot.batch_id], spot.site_id))
    return freed


def _leaving(event: StockMoved) -> Leaving:
    """A movement as stock sees it; a reversal names what the movement that it undoes was about.

    Only a pick (from bin to bin) and an issue (to a customer) are ours: the reversal of what was found for a pick, for
    instance, carries the pick's id too.
    """
    reference = _uuid(event.reference)
    undoes = event.reverses is not None
    back_from_customer = undoes and event.from_place.kind is PlaceKind.CUSTOMER
    between_bins = event.from_place.kind is event.to_place.kind is PlaceKind.LOCATION
    return Leaving(
        source=spot_at(event, event.from_place),
        target=spot_at(event, event.to_place),
        target_purpose=event.to_place.purpose,
        quantity=event.quantity,
        why=event.reason_text or event.reason.replace("_", " "),
        pick_id=reference if event.reason is MovementReason.PICK or (undoes and between_bins) else None,
        line_id=reference if event.reason is MovementReason.ISSUE or back_from_customer else None,
        undoes=undoes,
    )


def spot_at(event: StockMoved, place: Place) -> Spot | None:
    """The spot of a movement's end; None outside the company."""
    if place.kind is not PlaceKind.LOCATION:
        return None
    if place.site_id is None or place.location_id is None or place.quality is None:
        raise NeverWorks(
            f"movement {event.movement_id}: a location needs site, location and quality, "
            f"got {place.site_id!r}, {place.location_id!r}, {place.quality!r}"
        )
    return Spot(event.batch_id, place.site_id, place.location_id, str(place.quality))


def _uuid(reference: str | None) -> UUID | None:
    try:
        return UUID(reference) if reference else None
    except ValueError:
        return None


def _batches(heard: Sequence[StockEvent]) -> Collection[BatchSeen]:
    return {event.batch_id: batch_seen(event) for event in heard if isinstance(event, StockMoved)}.values()


def batch_seen(event: StockMoved | BatchDatesCorrected) -> BatchSeen:
    """What an event says of its batch."""
    facts, seen = (
        (event.batch, event.effective_at) if isinstance(event, StockMoved) else (event.after, event.corrected_at)
    )
    return BatchSeen(
        event.batch_id,
        event.item_id,
        facts.batch_no,
        facts.manufactured_on,
        facts.expires_on,
        facts.received_on,
        seen.astimezone(dt.UTC).date(),
    )


def hold_seen(event: HoldPlaced | BatchRecalled) -> HoldSeen:
    """A hold as it is kept; a recall holds at once, before inventory says so."""
    if isinstance(event, HoldPlaced):
        return HoldSeen(
            event.hold_id,
            event.batch_id,
            event.item_id,
            str(event.kind),
            event.site_id,
            event.location_id,
            event.reason,
            event.placed_at,
        )
    return HoldSeen(
        event.recall_id, event.batch_id, event.item_id, HoldKind.RECALL, None, None, event.reason, event.recalled_at
    )


def open_hold(hold: HoldSeen) -> OpenHold:
    """A hold as promises meet it."""
    code = RevocationCode.RECALLED if hold.kind == HoldKind.RECALL else RevocationCode.HELD
    return OpenHold(hold.batch_id, hold.site_id, hold.location_id, code, f"{hold.kind} hold: {hold.reason}")
