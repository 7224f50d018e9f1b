"""After a restore: the ledger, holds and numbers are made again of what inventory said after the backup.

A `StockMoved` tells a line of the ledger whole, with the facts of its batch; holds are told whole too. So the books end
as they were. What no event tells is said by `CANNOT_KNOW`.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from uuid import UUID

from contracts.event import Event
from contracts.inventory import (
    AlertKind,
    HoldLifted,
    HoldPlaced,
    IssueRefused,
    MovementReason,
    SiteDefined,
    StockAlertRaised,
    StockMoved,
)
from contracts.values import HoldKind, Place, PlaceKind, Purpose
from delivery import Work, takes_up
from services.inventory.domain.holds import Hold
from services.inventory.domain.ledger import Booked, End, Movement, Outside, Spot
from services.inventory.store import Batch, Bin, Booking, Entry, Faulty, InventoryStore, Lifted, Placed

CANNOT_KNOW = (
    (
        "Zones and locations that people described after the backup: those that goods moved through are open again "
        "with their purpose (set_up false); describe them again."
    ),
    (
        "What was counted after the backup: differences are in the ledger again, but the figures are not, nor is any "
        "count that agreed with the books."
    ),
    (
        "Consumption that the books lacked (alerts consumption_short after the backup): what was booked of it is "
        "booked again, but the rest is not booked by itself when its goods are heard of late. Adjust by those alerts."
    ),
)

_BOOKED_AS = {
    MovementReason.RECEIPT: "receipt",
    MovementReason.INSPECTION: "inspection",
    MovementReason.PICK: "pick",
    MovementReason.ISSUE: "issue",
    MovementReason.CONSUMPTION: "consumption",
}
_ANSWERED_AS = {AlertKind.INSPECTION_DIFFERENCE: "inspection", AlertKind.PICK_DIFFERENCE: "pick"}

Numbered = StockMoved | HoldPlaced | HoldLifted


@takes_up(StockMoved, HoldPlaced, HoldLifted, IssueRefused, StockAlertRaised)
async def take_up(work: Work, events: Sequence[Event]) -> Sequence[Event]:
    """Book again what was said, under its own ids, numbers and times.

    Raises `Faulty` when numbers are missing on the topic, or were given anew before this ran: then nothing is written.
    """
    store = InventoryStore(work.db)
    numbered = await _not_there(store, [event for event in events if isinstance(event, Numbered)])
    moved = [event for event in numbered if isinstance(event, StockMoved)]
    alerts = [event for event in events if isinstance(event, StockAlertRaised)]
    bookings = {event.movement_id: booking for event in moved if (booking := _booking(event)) is not None}
    answered = {
        (_ANSWERED_AS[alert.kind], alert.reference)
        for alert in alerts
        if alert.kind in _ANSWERED_AS and alert.reference is not None
    }
    known = await store.known({event.item_id for event in numbered}, {*bookings.values(), *answered})
    await _open_places(store, moved)
    await store.keep_batches(list({event.batch_id: _batch(event) for event in moved}.values()))
    last = dict(known.sequences)
    booked: set[Booking] = set(known.bookings)
    for at, together in _transactions(numbered):
        fresh: dict[Booking, None] = {}
        for event in together:
            expected = last.get(event.item_id, 0) + 1
            if event.sequence != expected:
                raise Faulty(
                    f"item {event.item_id!r}: {event.event_type} has number {event.sequence}, the ledger goes on with "
                    f"{expected}: numbers are missing on the topic, or somebody wrote here after the restore"
                )
            last[event.item_id] = event.sequence
            booking = bookings.get(event.movement_id) if isinstance(event, StockMoved) else None
            if booking is not None and booking not in booked:
                booked.add(booking)
                fresh[booking] = None
        await _write(work, store, together, list(fresh), at)
    await store.book(answered - booked, work.now)
    await store.reduce_owed(
        [
            (UUID(booking[1]), event.quantity)
            for event in moved
            if (booking := bookings.get(event.movement_id)) in known.bookings
            and booking is not None
            and booking[0] == "consumption"
        ]
    )
    await _watch_no_more(store, events)
    return [event for event in events if _is_all_of_its_cause(event)]


@takes_up(SiteDefined)
async def take_up_sites(work: Work, events: Sequence[SiteDefined]) -> Sequence[Event]:
    """Sites go on with the revisions that others know; docks that are not described any more are said so afterwards."""
    latest = {event.site_id: event for event in sorted(events, key=lambda event: event.revision)}
    await InventoryStore(work.db).take_up_sites(list(latest.values()))
    return events


async def _write(
    work: Work, store: InventoryStore, together: Sequence[Numbered], bookings: Sequence[Booking], at: dt.datetime
) -> None:
    """What one transaction had written, as it had written it."""
    actors = {id(event): work.cause(event).actor or work.cause(event).source for event in together}
    placed = [
        Placed(_hold(event), event.sequence, actors[id(event)]) for event in together if isinstance(event, HoldPlaced)
    ]
    if placed:
        await store.place_holds(placed, at)
    lifted = [
        Lifted(_hold(event), event.sequence, actors[id(event)], event.reason)
        for event in together
        if isinstance(event, HoldLifted)
    ]
    if lifted:
        await store.lift_holds(lifted, at)
    moved = [event for event in together if isinstance(event, StockMoved)]
    await store.write(
        [Entry(_booked(event), event.unit, actors[id(event)]) for event in moved],
        arrivals={
            (event.batch_id, event.to_place.site_id or "", event.item_id, event.batch.expires_on)
            for event in moved
            if event.to_place.kind is PlaceKind.LOCATION
            and event.from_place.kind is not PlaceKind.LOCATION
            and event.batch.expires_on is not None
        },
        sequences={event.item_id: event.sequence for event in together},
        bookings=bookings,
        now=at,
    )


def _transactions(events: Sequence[Numbered]) -> Iterator[tuple[dt.datetime, list[Numbered]]]:
    """Neighbours that were recorded at the same time: one transaction had written them."""
    together: list[Numbered] = []
    since: dt.datetime | None = None
    for event in events:
        at = _recorded_at(event)
        if since is not None and at != since:
            yield since, together
            together = []
        together.append(event)
        since = at
    if since is not None:
        yield since, together


def _recorded_at(event: Numbered) -> dt.datetime:
    match event:
        case StockMoved():
            return event.recorded_at
        case HoldPlaced():
            return event.placed_at
        case HoldLifted():
            return event.lifted_at


async def _not_there(store: InventoryStore, numbered: Sequence[Numbered]) -> list[Numbered]:
    """Those that the books lack: what they have, under the same id and number, stays as it is."""
    moved = await store.movements([event.movement_id for event in numbered if isinstance(event, StockMoved)])
    held = await store.numbers_of_holds([event.hold_id for event in numbered if not isinstance(event, StockMoved)])
    there = {(movement_id, booked.sequence) for movement_id, booked in moved.items()} | held
    return [
        event
        for event in numbered
        if (event.movement_id if isinstance(event, StockMoved) else event.hold_id, event.sequence) not in there
    ]


def _booking(event: StockMoved) -> Booking | None:
    """The line of business that a movement was booked for, so that it is not booked once more when it comes again."""
    if event.reverses is not None:
        return "reversal", str(event.reverses)
    kind = _BOOKED_AS.get(event.reason)
    return None if kind is None or event.reference is None else (kind, event.reference)


def _is_all_of_its_cause(event: Event) -> bool:
    """Whether what caused this has no other effect than what inventory said because of it.

    Corrected dates are also facts of the batch: they are heard again, and find their holds as they left them. An alert
    alone may be all that consumption left behind: it is heard again, and owed again.
    """
    match event:
        case HoldPlaced() | HoldLifted():
            return event.kind is not HoldKind.EXPIRY
        case StockAlertRaised():
            return event.kind in _ANSWERED_AS
        case _:
            return True


async def _open_places(store: InventoryStore, moved: Sequence[StockMoved]) -> None:
    """Locations that goods moved through and that are not known (any more), with the purpose that they had."""
    purposes: dict[Bin, Purpose] = {}
    for event in moved:
        for place in (event.from_place, event.to_place):
            if place.site_id is not None and place.location_id is not None and place.purpose is not None:
                purposes[place.site_id, place.location_id] = place.purpose
    known, _ = await store.purposes(list(purposes))
    await store.open_bins({place: purpose for place, purpose in purposes.items() if place not in known})


async def _watch_no_more(store: InventoryStore, events: Sequence[Event]) -> None:
    """What the expiry watch had done: locks that it placed, warnings that it gave."""
    states: dict[tuple[UUID, str], str] = {}
    for event in events:
        if isinstance(event, StockAlertRaised) and event.kind is AlertKind.NEAR_EXPIRY:
            if event.batch_id is not None and event.site_id is not None:
                states[event.batch_id, event.site_id] = "near"
        elif isinstance(event, HoldPlaced) and event.kind is HoldKind.EXPIRY and event.site_id is not None:
            states[event.batch_id, event.site_id] = "expired"
    if states:
        await store.settle(states)


def _batch(event: StockMoved) -> Batch:
    return Batch(event.batch_id, event.item_id, event.unit, event.batch)


def _hold(event: HoldPlaced | HoldLifted) -> Hold:
    reference = event.reference if isinstance(event, HoldPlaced) else None
    return Hold(
        event.hold_id,
        event.item_id,
        event.batch_id,
        event.kind,
        event.reason,
        event.site_id,
        event.location_id,
        reference,
    )


def _booked(event: StockMoved) -> Booked:
    movement = Movement(
        event.item_id,
        event.batch_id,
        event.quantity,
        _end(event.from_place),
        _end(event.to_place),
        event.reason,
        event.effective_at,
        reference=event.reference,
        reason_text=event.reason_text,
        reverses=event.reverses,
    )
    return Booked(event.movement_id, event.sequence, event.recorded_at, movement)


def _end(place: Place) -> End:
    if place.kind is not PlaceKind.LOCATION:
        return Outside(place.kind, place.partner_id)
    if place.site_id is None or place.location_id is None or place.quality is None:
        raise Faulty(f"a location of our own making lacks its site, code or quality: {place}")
    return Spot(place.site_id, place.location_id, place.quality)
