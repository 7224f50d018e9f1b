"""The shelf heard again. Demands, promises and picks are allocation's own: what the shelf lacks is taken from them."""

from collections.abc import Sequence
from decimal import Decimal

from contracts.integration import ItemDefined, PartnerDefined
from contracts.inventory import HoldLifted, HoldPlaced, StockMoved
from contracts.receiving import BatchDatesCorrected
from contracts.trace import BatchRecalled, BatchRecallLifted
from delivery import Announcement, Announcements, Connection, Derived, Rehear, Work, hears
from services.allocation.domain.claims import Leaving
from services.allocation.domain.stock import Spot
from services.allocation.following import (
    batch_seen,
    floor_of,
    hold_seen,
    open_hold,
    save_floor,
    spot_at,
    taken_back,
)
from services.allocation.promising import serve_waiting
from services.allocation.store import COPIES, AllocationStore

_WHY = "the shelf was heard again from the beginning"

Heard = (
    ItemDefined
    | PartnerDefined
    | StockMoved
    | HoldPlaced
    | HoldLifted
    | BatchRecalled
    | BatchRecallLifted
    | BatchDatesCorrected
)


@hears(
    ItemDefined,
    PartnerDefined,
    StockMoved,
    HoldPlaced,
    HoldLifted,
    BatchRecalled,
    BatchRecallLifted,
    BatchDatesCorrected,
)
async def hear_again(work: Work, heard: Sequence[Heard]) -> Announcements:
    """Stock, batches, holds and the catalog, into copies where nothing is promised."""
    store = AllocationStore(work.db)
    if items := {event.item_id: event for event in heard if isinstance(event, ItemDefined)}:
        await store.define_items(items.values())
    if partners := {event.partner_id: event for event in heard if isinstance(event, PartnerDefined)}:
        await store.define_customers(partners.values())
    moved = [event for event in heard if isinstance(event, StockMoved)]
    if moved:
        await store.see_batches({event.batch_id: batch_seen(event) for event in moved}.values())
        changes: list[tuple[str, Spot, str, Decimal]] = []
        for event in moved:
            if (source := spot_at(event, event.from_place)) is not None:
                changes.append((event.item_id, source, "", -event.quantity))
            if (target := spot_at(event, event.to_place)) is not None:
                changes.append((event.item_id, target, str(event.to_place.purpose or "unknown"), event.quantity))
        await store.add_spots(changes)
    if corrected := {event.batch_id: event for event in heard if isinstance(event, BatchDatesCorrected)}:
        await store.correct_dates([batch_seen(event) for event in corrected.values()], work.now)
    placed = [hold_seen(event) for event in heard if isinstance(event, HoldPlaced | BatchRecalled)]
    lifted = [
        (event.batch_id, event.hold_id if isinstance(event, HoldLifted) else event.recall_id)
        for event in heard
        if isinstance(event, HoldLifted | BatchRecallLifted)
    ]
    if placed or lifted:
        await store.hold(placed, lifted, work.now)
    reached = {
        event.item_id: event.sequence for event in heard if isinstance(event, StockMoved | HoldPlaced | HoldLifted)
    }
    if reached:
        await store.reached(reached)
    return []


async def take_over_times(db: Connection) -> None:
    """What the copies cannot know."""
    await AllocationStore(db).take_over_times()


async def set_shelf_right(work: Work) -> tuple[Sequence[str], Announcements]:
    """Let what was not heard leave the shelf, and what was heard arrive: promises follow as with any movement."""
    store = AllocationStore(work.db)
    await work.lock({item_id for item_id, *_ in await store.astray()} | await store.items_misread())
    astray = await store.astray()
    refreshed = await store.refresh_shelf()
    held = {spot.batch_id for spot, is_held in refreshed if is_held}
    told = [
        f"batch {spot.batch_id}, {spot.quality} at {spot.location_id!r} of site {spot.site_id!r}: "
        f"{kept:f} were counted, {heard:f} were heard of"
        for _, spot, _, heard, kept in astray
    ]
    told += [
        f"batch {spot.batch_id} at {spot.location_id!r} of site {spot.site_id!r}: its facts" for spot, _ in refreshed
    ]
    spots = [spot for _, spot, *_ in astray]
    claims = await store.claims(spots=spots, batch_ids=held)
    followed = await floor_of(store, claims, spots)
    floor = followed.floor
    purposes = {spot: purpose for _, spot, purpose, heard, kept in astray if heard > kept}
    for _, spot, purpose, heard, kept in astray:
        if heard < kept:
            floor.moved(Leaving(spot, None, None, kept - heard, _WHY))
        else:
            floor.moved(Leaving(None, spot, purpose, heard - kept, _WHY))
    for hold in await store.open_holds(held):
        floor.held(hold.hold_id, open_hold(hold))
    await save_floor(work, store, followed, purposes)
    said: list[Announcement] = [*await taken_back(work, store, floor)]
    shelves = await store.sites_of({spot.batch_id for spot in [*spots, *(spot for spot, _ in refreshed)]})
    for outcome in await serve_waiting(work, store, shelves, anyway={*floor.lost, *floor.refreshed}):
        said += outcome.events()
    return told, said


SHELF = Rehear(
    "shelf",
    "inventory's, receiving's, trace's and integration's topics",
    tables=(
        Derived("item", ("item_id",)),
        Derived("customer", ("customer_id",)),
        Derived("batch", ("batch_id",)),
        Derived("hold", ("batch_id", "hold_id")),
    ),
    hears=(hear_again,),
    copies=COPIES,
    finish=take_over_times,
    settle=set_shelf_right,
)
