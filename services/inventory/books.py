"""What one transaction knows of stock and what it books: sequence numbers, announcements, and one save at the end."""

import datetime as dt
from collections.abc import Collection, Iterable
from dataclasses import replace
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

import structlog

from contracts.inventory import AlertKind, HoldLifted, HoldPlaced, MovementReason, StockAlertRaised, StockMoved
from contracts.values import HoldKind, Place, PlaceKind, Purpose
from delivery import Announcement, NeverWorks, Said, Work, new_id
from services.inventory.domain.expiry import is_expired, local_day
from services.inventory.domain.holds import Hold, covering, following
from services.inventory.domain.ledger import Booked, End, Movement, Outside, Spot, Stock
from services.inventory.domain.matrix import Status, statuses
from services.inventory.domain.owed import Owed
from services.inventory.store import (
    Arrival,
    Batch,
    Bin,
    Booking,
    Counted,
    Entry,
    InventoryStore,
    Lifted,
    Placed,
)

_log = structlog.get_logger("inventory.books")

TIME = object()
"""The cause of what no event and no command caused."""

_OURSELVES = "batchwise/inventory"


class Books:
    """The stock of the items that a transaction has locked: loaded for the whole chunk, changed here, saved at once.

    Every change is numbered in the order in which it is made here and announced with its cause.
    """

    def __init__(self, work: Work) -> None:
        self.now = work.now
        self.store = InventoryStore(work.db)
        self.stock = Stock()
        self.batches: dict[UUID, Batch] = {}
        self.zones: dict[str, ZoneInfo] = {}
        self.purposes: dict[Bin, Purpose] = {}
        self.said: list[Announcement] = []
        self._work = work
        self._holds: dict[UUID, dict[UUID, Hold]] = {}
        self._last: dict[str, int] = {}
        self._changed: dict[str, None] = {}
        self._booked: set[Booking] = set()
        self._books: dict[Booking, None] = {}
        self._entries: list[Entry] = []
        self._placed: list[Placed] = []
        self._lifted: list[Lifted] = []
        self._counts: list[Counted] = []
        self._still: set[str] = set()
        self._owed: dict[UUID, Owed] = {}
        self._owed_now: dict[UUID, Owed] = {}

    # Load

    async def load_items(self, items: Iterable[str], bookings: Iterable[Booking] = ()) -> None:
        """Where the numbering of items stands, and which of these lines of business are booked already."""
        known = await self.store.known(set(items), set(bookings))
        self._last.update(known.sequences)
        self._booked |= known.bookings

    async def load_batches(self, batch_ids: Iterable[UUID]) -> None:
        """Facts of batches."""
        wanted = set(batch_ids) - self.batches.keys()
        if wanted:
            self.batches.update(await self.store.batches(wanted))

    async def load_stock(self, batches_at: Iterable[tuple[UUID, str]]) -> None:
        """Where batches stand at sites."""
        wanted = set(batches_at)
        await self._keep_building_still({site_id for _, site_id in wanted})
        balances, purposes = await self.store.balances(wanted)
        self.stock.add(balances)
        self.purposes.update(purposes)

    async def load_holds(self, batch_ids: Iterable[UUID]) -> None:
        """The open holds on batches."""
        for hold in await self.store.open_holds(set(batch_ids)):
            self._holds.setdefault(hold.batch_id, {})[hold.hold_id] = hold

    async def load_owed(self, items_at: Iterable[tuple[str, str]]) -> None:
        """What was consumed of items at sites before the books had it."""
        self._owed = {owed.consumption_id: owed for owed in await self.store.owed(set(items_at))}

    async def enter(self, bins: Collection[Bin]) -> None:
        """Learn what locations are for, and see to it that this stays so until the commit."""
        await self._keep_building_still({site_id for site_id, _ in bins})
        purposes, zones = await self.store.purposes(bins)
        self.purposes.update(purposes)
        self.zones.update(zones)

    async def enter_or_open(self, bins: Collection[Bin], purpose: Purpose) -> frozenset[Bin]:
        """As `enter`, for goods that are there already: unknown locations are opened for `purpose`, nothing is lost.

        Returns what had to be opened.
        """
        await self.enter(bins)
        unknown = sorted(found for found in set(bins) if found not in self.purposes)
        if unknown:
            _log.warning("goods came to locations that nobody described; they were opened", locations=unknown)
            await self.store.open_bins(dict.fromkeys(unknown, purpose))
            await self.enter(unknown)
        return frozenset(unknown)

    async def _keep_building_still(self, sites: set[str]) -> None:
        if sites - self._still:
            await self.store.keep_building_still(sites - self._still)
            self._still |= sites

    # Ask

    def is_booked(self, booking: Booking) -> bool:
        """Whether this line of business took effect before, in this chunk too."""
        return booking in self._booked

    def sequence(self, item_id: str) -> int:
        """The item's last number; 0 before its first movement."""
        return self._last.get(item_id, 0)

    def open_holds(self, batch_id: UUID) -> list[Hold]:
        """The open holds on a batch, oldest first."""
        return list(self._holds.get(batch_id, {}).values())

    def holds_on(self, batch_id: UUID, spot: Spot) -> list[Hold]:
        """The open holds that cover stock of a batch at a spot."""
        return covering(self.open_holds(batch_id), batch_id, spot)

    def today(self, site_id: str) -> dt.date:
        """The date at a site that was entered; UTC where nobody said a time zone."""
        return local_day(self.now, self.zones.get(site_id) or ZoneInfo("UTC"))

    def statuses(self, batch_id: UUID, spot: Spot) -> frozenset[Status]:
        """The words for stock of a batch at a spot."""
        return statuses(
            spot.quality,
            (hold.kind for hold in self.holds_on(batch_id, spot)),
            expired=is_expired(self.batches[batch_id].facts.expires_on, self.today(spot.site_id)),
        )

    def check_unit(self, batch_id: UUID, unit: str, what: str) -> None:
        """Refuse for good what is said in another unit than the batch is kept in."""
        batch = self.batches.get(batch_id)
        if batch is not None and batch.unit != unit:
            raise NeverWorks(
                f"{what} is in {unit}, batch {batch.facts.batch_no!r} of item {batch.item_id!r} is kept in {batch.unit}"
            )

    # Change

    def book(self, booking: Booking) -> None:
        """Remember that a line of business took effect."""
        self._booked.add(booking)
        self._books[booking] = None

    def move(self, movement: Movement, because: object) -> Booked:
        """Let stock move, and say so. Raises `Overdrawn` when it is not there: look first."""
        self.stock.fold(movement)
        batch = self.batches[movement.batch_id]
        booked = Booked(new_id(), self._number(movement.item_id), self.now, movement)
        self._entries.append(Entry(booked, batch.unit, self._actor(because)))
        self._say(
            StockMoved(
                movement_id=booked.movement_id,
                sequence=booked.sequence,
                item_id=movement.item_id,
                batch_id=movement.batch_id,
                batch=batch.facts,
                quantity=movement.quantity,
                unit=batch.unit,
                from_place=self._place(movement.source),
                to_place=self._place(movement.target),
                reason=movement.reason,
                reason_text=movement.reason_text,
                reference=movement.reference,
                effective_at=movement.effective_at,
                recorded_at=self.now,
                reverses=movement.reverses,
            ),
            because,
        )
        return booked

    def take_along(self, batch_id: UUID, source: Spot, target: Spot, because: object) -> None:
        """Place at the target what holds the stock at the source's bin: a move does not lift a hold."""
        for hold in following(self.open_holds(batch_id), batch_id, source, target):
            self.place(
                Hold(
                    new_id(),
                    hold.item_id,
                    batch_id,
                    hold.kind,
                    f"came from {source.location_id}, held there: {hold.reason}"[:400],
                    target.site_id,
                    target.location_id,
                    hold.reference,
                ),
                because,
            )

    def owe(self, owed: Owed) -> None:
        """Remember that something was consumed that the books do not have."""
        self._owed_now[owed.consumption_id] = owed

    def settle_owed(self, batch_id: UUID, spot: Spot, quantity: Decimal, since: dt.datetime, because: object) -> None:
        """Book consumption that was heard before `quantity` of a batch, usable at a spot `since` then, was."""
        batch = self.batches[batch_id]
        left = quantity
        for owed in [*self._owed.values()]:
            if not left:
                return
            if owed.unit != batch.unit or not owed.was_of(batch.item_id, batch.facts, spot.site_id, since):
                continue
            part = min(left, owed.quantity)
            left -= part
            still = replace(owed, quantity=owed.quantity - part)
            self._owed_now[owed.consumption_id] = still
            if still.quantity:
                self._owed[owed.consumption_id] = still
            else:
                del self._owed[owed.consumption_id]
            self.move(
                Movement(
                    batch.item_id,
                    batch_id,
                    part,
                    spot,
                    Outside(PlaceKind.PRODUCTION),
                    MovementReason.CONSUMPTION,
                    owed.consumed_at,
                    reference=str(owed.consumption_id),
                    reason_text=f"into batch {owed.into_batch_no} of item {owed.into_item_id}",
                ),
                because,
            )

    def place(self, hold: Hold, because: object) -> int:
        """Place a hold, and say so; returns its number within the item."""
        sequence = self._number(hold.item_id)
        self._holds.setdefault(hold.batch_id, {})[hold.hold_id] = hold
        self._placed.append(Placed(hold, sequence, self._actor(because)))
        self._say(
            HoldPlaced(
                hold_id=hold.hold_id,
                sequence=sequence,
                item_id=hold.item_id,
                batch_id=hold.batch_id,
                kind=hold.kind,
                site_id=hold.site_id,
                location_id=hold.location_id,
                reason=hold.reason,
                reference=hold.reference,
                placed_at=self.now,
            ),
            because,
        )
        return sequence

    def lift(self, hold: Hold, why: str, because: object) -> int:
        """Lift an open hold, and say so; returns the number of that within the item."""
        sequence = self._number(hold.item_id)
        del self._holds[hold.batch_id][hold.hold_id]
        self._lifted.append(Lifted(hold, sequence, self._actor(because), why))
        self._say(
            HoldLifted(
                hold_id=hold.hold_id,
                sequence=sequence,
                item_id=hold.item_id,
                batch_id=hold.batch_id,
                kind=hold.kind,
                site_id=hold.site_id,
                location_id=hold.location_id,
                reason=why,
                lifted_at=self.now,
            ),
            because,
        )
        return sequence

    def lock_expired(self, batch_id: UUID, item_id: str, site_id: str, expires_on: dt.date, because: object) -> None:
        """Hold an expired batch at a site, unless it is held for that already."""
        if not any(hold.kind is HoldKind.EXPIRY and hold.site_id == site_id for hold in self.open_holds(batch_id)):
            reason = f"expired on {expires_on}, which ended at site {site_id}"
            self.place(Hold(new_id(), item_id, batch_id, HoldKind.EXPIRY, reason, site_id), because)

    def count(self, counted: Counted) -> None:
        """Keep what a person counted."""
        self._counts.append(counted)

    def alert(
        self,
        kind: AlertKind,
        text: str,
        because: object,
        *,
        item_id: str,
        batch_id: UUID | None = None,
        site_id: str | None = None,
        location_id: str | None = None,
        quantity: Decimal | None = None,
        unit: str | None = None,
        reference: str | None = None,
    ) -> None:
        """Tell people that something should be looked at."""
        self._say(
            StockAlertRaised(
                alert_id=new_id(),
                kind=kind,
                item_id=item_id,
                batch_id=batch_id,
                site_id=site_id,
                location_id=location_id,
                quantity=quantity,
                unit=unit,
                text=text[:400],
                reference=reference,
                raised_at=self.now,
            ),
            because,
        )

    def alert_opened(self, opened: frozenset[Bin], by: Iterable[tuple[Bin, str, object]]) -> None:
        """Tell people once of each location that was opened; `by` names bins with the item and the cause."""
        waiting = set(opened)
        for place, item_id, because in by:
            if place in waiting:
                waiting.remove(place)
                site_id, location_id = place
                self.alert(
                    AlertKind.UNKNOWN_LOCATION,
                    f"goods stand at location {location_id!r} of site {site_id!r}, which nobody described: it was "
                    f"opened for {self.purposes[place]}; describe it",
                    because,
                    item_id=item_id,
                    site_id=site_id,
                    location_id=location_id,
                )

    # Save

    async def save(self) -> None:
        """Write everything: holds, lifts and counts where there are any, and the ledger in one statement."""
        # A hold that was placed and lifted in the same chunk needs its row first.
        if self._placed:
            await self.store.place_holds(self._placed, self.now)
        if self._lifted:
            await self.store.lift_holds(self._lifted, self.now)
        if self._counts:
            await self.store.keep_counts(self._counts)
        if self._owed_now:
            await self.store.keep_owed(self._owed_now.values())
        await self.store.write(
            self._entries,
            arrivals=self._arrivals(),
            sequences={item_id: self._last[item_id] for item_id in self._changed},
            bookings=list(self._books),
            now=self.now,
        )

    def because_of(self, cause: object) -> list[Announcement]:
        """What was announced because of one event or command."""
        return [said for said in self.said if isinstance(said, Said) and said.because is cause]

    def _arrivals(self) -> set[Arrival]:
        """Batches with an expiry that came from outside to a site."""
        arrivals = set()
        for entry in self._entries:
            movement = entry.booked.movement
            expires_on = self.batches[movement.batch_id].facts.expires_on
            if expires_on is not None and isinstance(movement.target, Spot) and not isinstance(movement.source, Spot):
                arrivals.add((movement.batch_id, movement.target.site_id, movement.item_id, expires_on))
        return arrivals

    def _say(self, event: StockMoved | HoldPlaced | HoldLifted | StockAlertRaised, because: object) -> None:
        self.said.append(event if because is TIME else Said(event, because))

    def _number(self, item_id: str) -> int:
        self._last[item_id] = number = self._last.get(item_id, 0) + 1
        self._changed[item_id] = None
        return number

    def _actor(self, because: object) -> str:
        if because is TIME:
            return _OURSELVES
        cause = self._work.cause(because)
        return cause.actor or cause.source

    def _place(self, end: End) -> Place:
        if isinstance(end, Spot):
            return Place(
                kind=PlaceKind.LOCATION,
                site_id=end.site_id,
                location_id=end.location_id,
                purpose=self.purposes[end.site_id, end.location_id],
                quality=end.quality,
            )
        return Place(kind=end.kind, partner_id=end.partner_id)
