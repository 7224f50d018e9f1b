"""The ledger: movements between places, the stock they add up to, and how a quantity is found in several places.

Quantities are in the item's base unit. Stock is the sum of movements; nothing else changes it.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from uuid import UUID

from contracts.inventory import MovementReason
from contracts.values import PlaceKind, Quality

NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True, order=True)
class Spot:
    """Where stock stands and what inspection said of it: one column of the ledger, for each batch."""

    site_id: str
    location_id: str
    quality: Quality

    def __str__(self) -> str:
        return f"{self.quality} at {self.location_id!r} of site {self.site_id!r}"


@dataclass(frozen=True, slots=True)
class Outside:
    """A place that is none of our locations: a supplier, production, a customer, what was found or lost."""

    kind: PlaceKind
    partner_id: str | None = None

    def __post_init__(self) -> None:
        if self.kind is PlaceKind.LOCATION:
            raise ValueError("a location is not outside: name its site, its code and the quality there")


FOUND_OR_LOST = Outside(PlaceKind.ADJUSTMENT)
"""The other end of an adjustment."""

End = Spot | Outside
Column = tuple[UUID, Spot]
"""What has a balance: a batch at a spot."""


@dataclass(frozen=True, slots=True)
class Movement:
    """A quantity (> 0) of one batch leaves one end and arrives at the other; at least one of them is ours."""

    item_id: str
    batch_id: UUID
    quantity: Decimal
    source: End
    target: End
    reason: MovementReason
    effective_at: dt.datetime
    reference: str | None = None
    reason_text: str | None = None
    reverses: UUID | None = None

    def __post_init__(self) -> None:
        if self.quantity <= 0:
            raise ValueError(f"a movement of {self.quantity}: a movement has a quantity above 0, and a direction")
        if self.source == self.target:
            raise ValueError(f"a movement from {self.source} to {self.target}: it goes nowhere")
        if not isinstance(self.source, Spot) and not isinstance(self.target, Spot):
            raise ValueError(f"a movement from {self.source} to {self.target}: none of them is ours")

    def changes(self) -> Iterable[tuple[Spot, Decimal]]:
        """The spots that it changes, each with the signed change."""
        if isinstance(self.source, Spot):
            yield self.source, -self.quantity
        if isinstance(self.target, Spot):
            yield self.target, self.quantity


@dataclass(frozen=True, slots=True)
class Booked:
    """A movement as the ledger holds it: when it was learnt, and its number within the item."""

    movement_id: UUID
    sequence: int
    recorded_at: dt.datetime
    movement: Movement


class Overdrawn(ValueError):
    """A movement takes more than there is. A fault of the caller: whoever decides looks first."""


class Stock:
    """Balances of some batches, as a fold of movements: never below zero."""

    __slots__ = ("_of_batch",)

    def __init__(self, balances: Mapping[Column, Decimal] | None = None) -> None:
        self._of_batch: dict[UUID, dict[Spot, Decimal]] = {}
        self.add(balances or {})

    def add(self, balances: Mapping[Column, Decimal]) -> None:
        """Learn what stands where, of batches that were not known yet."""
        for (batch_id, spot), quantity in balances.items():
            self._of_batch.setdefault(batch_id, {})[spot] = quantity

    def there(self, batch_id: UUID, spot: Spot) -> Decimal:
        """How much of a batch stands at a spot."""
        return self._of_batch.get(batch_id, {}).get(spot, NOTHING)

    def fold(self, movement: Movement) -> None:
        """Let a movement happen. Raises `Overdrawn` and changes nothing when it takes more than there is."""
        spots = self._of_batch.setdefault(movement.batch_id, {})
        if isinstance(movement.source, Spot) and spots.get(movement.source, NOTHING) < movement.quantity:
            raise Overdrawn(
                f"batch {movement.batch_id} has {spots.get(movement.source, NOTHING):f} {movement.source}: "
                f"{movement.quantity:f} cannot leave"
            )
        for spot, change in movement.changes():
            spots[spot] = spots.get(spot, NOTHING) + change

    def spots(self, batch_id: UUID, site_id: str | None = None) -> list[tuple[Spot, Decimal]]:
        """Where a batch stands (at one site), with how much, in the order of their codes."""
        return sorted(
            (spot, quantity)
            for spot, quantity in self._of_batch.get(batch_id, {}).items()
            if quantity > 0 and site_id in (None, spot.site_id)
        )

    def balances(self) -> dict[Column, Decimal]:
        """Everything that is there."""
        return {
            (batch_id, spot): quantity
            for batch_id, spots in self._of_batch.items()
            for spot, quantity in spots.items()
            if quantity
        }


def reversal(of: Booked, reason_text: str, effective_at: dt.datetime | None = None) -> Movement:
    """The movement that undoes another: the same quantity back, by default at the time at which that had happened."""
    done = of.movement
    return replace(
        done,
        source=done.target,
        target=done.source,
        reason=MovementReason.REVERSAL,
        reason_text=reason_text,
        effective_at=effective_at or done.effective_at,
        reverses=of.movement_id,
    )


def stock_at(
    history: Iterable[Booked], *, as_of: dt.datetime | None = None, known_at: dt.datetime | None = None
) -> dict[Column, Decimal]:
    """What stood where at `as_of` (when things happened), by what was recorded until `known_at`; both inclusive.

    A fact that was learnt later, about an earlier time, may show less than nothing for that time: what was then
    believed is the answer of an earlier `known_at`.
    """
    balances: dict[Column, Decimal] = {}
    for booked in history:
        if as_of is not None and booked.movement.effective_at > as_of:
            continue
        if known_at is not None and booked.recorded_at > known_at:
            continue
        for spot, change in booked.movement.changes():
            column = (booked.movement.batch_id, spot)
            balances[column] = balances.get(column, NOTHING) + change
    return {column: quantity for column, quantity in balances.items() if quantity}


def gather(wanted: Decimal, spots: Sequence[tuple[Spot, Decimal]]) -> tuple[list[tuple[Spot, Decimal]], Decimal]:
    """Take `wanted` from spots in the given order: the parts, and what is missing in the end."""
    parts = []
    missing = wanted
    for spot, there in spots:
        if missing <= 0:
            break
        part = min(there, missing)
        if part > 0:
            parts.append((spot, part))
            missing -= part
    return parts, missing


_PHYSICAL = {Quality.RELEASED: 0, Quality.PENDING: 1, Quality.REJECTED: 2}


def as_a_person_takes(spots: Iterable[tuple[Spot, Decimal]]) -> list[tuple[Spot, Decimal]]:
    """Spots in the order in which goods that somebody took are booked: released first, then by code of the location."""
    return sorted(spots, key=lambda entry: (_PHYSICAL.get(entry[0].quality, 9), entry[0]))


def quality_of_found(spots: Iterable[tuple[Spot, Decimal]]) -> Quality:
    """The quality of goods that a person holds and the ledger does not: released only where nothing speaks against it.

    While some of the batch at that site waits for inspection, or was rejected, what was found may be that: then it is
    pending, and the gate will ask.
    """
    return Quality.RELEASED if all(spot.quality is Quality.RELEASED for spot, _ in spots) else Quality.PENDING
