"""Where goods may stand: the rules live inside the location, so no proposal, put-away or transfer goes round them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from contracts.values import Climate, Purpose, Quality
from services.inventory.domain.matrix import HOMES


class PlaceCode(StrEnum):
    """Why goods may not stand at a location; stable, for programs."""

    UNKNOWN_LOCATION = "unknown_location"
    SAME_LOCATION = "same_location"
    WRONG_PURPOSE = "wrong_purpose"
    WRONG_CLIMATE = "wrong_climate"
    OTHER_ITEM = "other_item"
    OTHER_BATCH = "other_batch"
    NO_ROOM = "no_room"
    NOT_PREFERRED = "not_preferred"


RESTING = frozenset({Purpose.STORAGE, Purpose.QUARANTINE})
"""Where goods stay, so that climate and mixing count. Docks, staging and reject cages are shared or passed through."""


@dataclass(frozen=True, slots=True)
class Goods:
    """What wants to stand somewhere; `climate` is none while nobody defined the item. `quantity` in the base unit."""

    item_id: str
    batch_id: UUID
    batch_no: str
    quality: Quality
    quantity: Decimal
    climate: Climate | None = None


@dataclass(frozen=True, slots=True)
class Shelf:
    """A location and what stands there now. `capacity` in base units; none is no limit."""

    location_id: str
    purpose: Purpose
    climate: Climate
    capacity: Decimal | None
    single_item: bool
    filled: Decimal
    holds_same_batch: bool
    other_batches: tuple[str, ...]
    other_items: tuple[str, ...]

    @property
    def room(self) -> Decimal | None:
        """What still fits; none is no limit."""
        return None if self.capacity is None else self.capacity - self.filled


@dataclass(slots=True)
class Location:
    """A location and everything that stands there, by batch: item, batch number, quantity. It follows what is moved."""

    location_id: str
    purpose: Purpose
    climate: Climate
    capacity: Decimal | None
    single_item: bool
    standing: dict[UUID, tuple[str, str, Decimal]]

    def change(self, batch_id: UUID, item_id: str, batch_no: str, by: Decimal) -> None:
        """More or less of a batch stands here."""
        quantity = self.standing.get(batch_id, (item_id, batch_no, Decimal(0)))[2] + by
        if quantity > 0:
            self.standing[batch_id] = (item_id, batch_no, quantity)
        else:
            self.standing.pop(batch_id, None)

    def as_found_by(self, goods: Goods) -> Shelf:
        """What matters here to these goods."""
        return Shelf(
            self.location_id,
            self.purpose,
            self.climate,
            self.capacity,
            self.single_item,
            sum((quantity for _, _, quantity in self.standing.values()), Decimal(0)),
            goods.batch_id in self.standing,
            tuple(
                sorted(
                    batch_no
                    for batch_id, (item_id, batch_no, _) in self.standing.items()
                    if item_id == goods.item_id and batch_id != goods.batch_id
                )
            ),
            tuple(sorted({item_id for item_id, _, _ in self.standing.values() if item_id != goods.item_id})),
        )


@dataclass(frozen=True, slots=True)
class NotHere:
    """Why a location was refused or passed over."""

    location_id: str
    code: PlaceCode
    text: str


def _purpose(goods: Goods, shelf: Shelf) -> str | None:
    if shelf.purpose in HOMES.get(goods.quality, frozenset()):
        return None
    homes = ", ".join(sorted(HOMES.get(goods.quality, frozenset())))
    return f"its zone is for {shelf.purpose}; {goods.quality} goods go to {homes}"


def _climate(goods: Goods, shelf: Shelf) -> str | None:
    if shelf.purpose not in RESTING or goods.climate in (None, Climate.UNKNOWN, shelf.climate):
        return None
    return f"its zone is {shelf.climate}; item {goods.item_id!r} needs {goods.climate}"


def _item(goods: Goods, shelf: Shelf) -> str | None:
    if not shelf.single_item or not shelf.other_items:
        return None
    return f"it takes one item only and holds {shelf.other_items[0]!r}"


def _batch(goods: Goods, shelf: Shelf) -> str | None:
    if shelf.purpose not in RESTING or not shelf.other_batches:
        return None
    return (
        f"it holds batch {shelf.other_batches[0]!r} of item {goods.item_id!r}; "
        f"different batches of an item never share a location, so {goods.batch_no!r} may not stand there"
    )


def _room(goods: Goods, shelf: Shelf) -> str | None:
    if shelf.room is None or goods.quantity <= shelf.room:
        return None
    return f"{shelf.filled:f} of its capacity {shelf.capacity:f} are taken; {goods.quantity:f} more do not fit"


RULES: tuple[tuple[PlaceCode, Callable[[Goods, Shelf], str | None]], ...] = (
    (PlaceCode.WRONG_PURPOSE, _purpose),
    (PlaceCode.WRONG_CLIMATE, _climate),
    (PlaceCode.OTHER_ITEM, _item),
    (PlaceCode.OTHER_BATCH, _batch),
    (PlaceCode.NO_ROOM, _room),
)
"""What a location asks of goods, in the order in which refusals are named."""


def objection(goods: Goods, shelf: Shelf) -> NotHere | None:
    """Why goods may not stand at a location, or None when they may."""
    for code, rule in RULES:
        text = rule(goods, shelf)
        if text is not None:
            return NotHere(shelf.location_id, code, f"location {shelf.location_id!r}: {text}")
    return None


@dataclass(frozen=True, slots=True)
class Proposal:
    """The location for goods, or none; why; and why it is none of the others."""

    location_id: str | None
    reason: str
    passed_over: tuple[NotHere, ...]


def propose(goods: Goods, shelves: Iterable[Shelf]) -> Proposal:
    """The best location that every rule allows. Deterministic.

    Goods go to the zone of their quality: pending to quarantine where there is such a zone, otherwise to storage;
    released to storage; rejected to the rejected zone, otherwise to quarantine. There, first where the batch stands
    already; then an empty location before a shared one, the smallest capacity that suffices, unlimited ones last; then
    by code.
    """
    known = list(shelves)
    purposes = _preferred(goods.quality, {shelf.purpose for shelf in known})
    fitting: list[Shelf] = []
    passed_over: list[NotHere] = []
    for shelf in known:
        against = objection(goods, shelf)
        if against is None and shelf.purpose not in purposes:
            text = (
                f"{goods.quality} goods are put away to {' or '.join(purposes) or 'nowhere here'}, not {shelf.purpose}"
            )
            against = NotHere(shelf.location_id, PlaceCode.WRONG_PURPOSE, f"location {shelf.location_id!r}: {text}")
        if against is None:
            fitting.append(shelf)
        else:
            passed_over.append(against)
    fitting.sort(key=_order)
    if not fitting:
        return Proposal(None, f"no location takes {goods.quantity:f} of batch {goods.batch_no!r}", tuple(passed_over))
    chosen, *others = fitting
    passed_over += [
        NotHere(shelf.location_id, PlaceCode.NOT_PREFERRED, f"location {shelf.location_id!r}: {_why_not(chosen)}")
        for shelf in others
    ]
    return Proposal(chosen.location_id, _why(chosen), tuple(passed_over))


def _preferred(quality: Quality, there: Iterable[Purpose]) -> Sequence[Purpose]:
    known = set(there)
    wish: dict[Quality, Sequence[Purpose]] = {
        Quality.PENDING: (Purpose.QUARANTINE, Purpose.STORAGE),
        Quality.RELEASED: (Purpose.STORAGE,),
        Quality.REJECTED: (Purpose.REJECTED, Purpose.QUARANTINE),
    }
    return [purpose for purpose in wish.get(quality, ()) if purpose in known][:1]


def _order(shelf: Shelf) -> tuple[bool, bool, bool, Decimal, str]:
    capacity = shelf.capacity
    return (
        not shelf.holds_same_batch,
        shelf.filled > 0,
        capacity is None,
        capacity or Decimal(0),
        shelf.location_id,
    )


def _why(shelf: Shelf) -> str:
    if shelf.holds_same_batch:
        return "the batch stands there already and there is room"
    if shelf.capacity is None:
        return "it suits the goods and has no limit of capacity"
    state = "empty" if not shelf.filled else f"filled with {shelf.filled:f}"
    return f"{state}, and the smallest capacity that suffices: {shelf.capacity:f}"


def _why_not(chosen: Shelf) -> str:
    if chosen.holds_same_batch:
        return f"it would do, but the batch stands at {chosen.location_id!r} already"
    return f"it would do, but {chosen.location_id!r} fits closer"
