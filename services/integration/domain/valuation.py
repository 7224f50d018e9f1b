"""What stock is worth: each batch at its own average cost, in the order of the ledger.

Rounding: a value has four decimal places, halves away from zero. Each inflow with a cost of its own is worth
`quantity × unit cost`, rounded once. An outflow takes its share of what the batch is worth, `value × out / on hand`,
rounded once; the last unit takes all that is left, so that nothing is worth nothing. A unit cost is kept as an exact
fraction. What one movement is rounded by is at most half of 0.0001 and stays in the batch until its last unit leaves.

An unknown cost is unknown, not zero: from the first inflow without a cost nothing of the batch is valued, until the
cost is learnt; then every movement since gets the value it would have had (`learn`). Order is that of the ledger's
sequence, never that of a clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

from contracts.integration import PostingKind
from contracts.values import PlaceKind

VALUE_PLACES = 4
UNIT_COST_PLACES = 8
ZERO = Decimal(0)
LARGEST_VALUE = 10**15
"""What one receipt or batch may be worth must be less: postings hold no more, and it would be a slip of the finger."""


def rounded(exact: Fraction, places: int = VALUE_PLACES) -> Decimal:
    """`exact` to `places` decimal places, halves away from zero; no float and no context precision on the way."""
    scaled = abs(exact) * 10**places
    whole = (2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator)
    return Decimal((int(exact < 0 and whole != 0), tuple(int(digit) for digit in str(whole)), -places))


@dataclass(frozen=True, slots=True)
class Priced:
    """An inflow with a cost of its own, per base unit."""

    unit_cost: Fraction


@dataclass(frozen=True, slots=True)
class AtOwnCost:
    """What leaves, comes back or is counted: worth what the batch's units are worth."""


@dataclass(frozen=True, slots=True)
class NotYetPriced:
    """An inflow whose cost nobody has said yet."""


@dataclass(frozen=True, slots=True)
class Undoing:
    """A reversal: worth exactly what the reversed movement was worth, with the other sign."""

    movement_id: UUID


Basis = Priced | AtOwnCost | NotYetPriced | Undoing


@dataclass(frozen=True, slots=True)
class Change:
    """A movement as valuation sees it: `quantity` is the signed change of stock in base units, never zero."""

    movement_id: UUID
    quantity: Decimal
    basis: Basis


@dataclass(frozen=True, slots=True)
class BatchValue:
    """What a batch is worth. `value` is the sum of all that was posted for it.

    While `unknown`, `quantity` goes on and `value` stands still. `unit_cost` is what the last inflow with a cost of its
    own made it, and stays when the batch is empty, for what is found or comes back later.
    """

    quantity: Decimal = ZERO
    value: Decimal = ZERO
    unit_cost: Fraction | None = None
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class Valued:
    """A movement's value, or None while it is unknown.

    `correction` is what must be posted beside it so that the batch is not worth less than nothing, and nothing when it
    is empty: only after a reversal that restored a value which others had changed since. `own_price`: it came in at a
    cost of its own.
    """

    movement_id: UUID
    value: Decimal | None
    correction: Decimal = ZERO
    own_price: bool = False


class BelowZero(ValueError):
    """A movement takes more than the batch has: ledger and valuation do not tell the same story."""


def apply(before: BatchValue, change: Change, values: Mapping[UUID, Decimal]) -> tuple[BatchValue, Valued]:
    """The batch after `change`, and what the change is worth. `values` holds what earlier movements were worth.

    Raises `BelowZero`.
    """
    quantity = before.quantity + change.quantity
    if quantity < 0:
        raise BelowZero(f"movement {change.movement_id} takes {-change.quantity}, the batch has {before.quantity}")
    worth = None if before.unknown else _worth(before, change, values)
    if worth is None:
        return replace(before, quantity=quantity, unknown=True), Valued(change.movement_id, None)
    value = before.value + worth
    correction = -value if quantity == 0 or value < 0 else ZERO
    value += correction
    unit_cost = before.unit_cost
    own_cost = isinstance(change.basis, Priced) or (isinstance(change.basis, Undoing) and change.quantity < 0)
    if own_cost and quantity:
        unit_cost = Fraction(value) / Fraction(quantity)
    elif isinstance(change.basis, Priced):
        unit_cost = change.basis.unit_cost
    return (
        BatchValue(quantity, value, unit_cost),
        Valued(change.movement_id, worth, correction, isinstance(change.basis, Priced)),
    )


def _worth(before: BatchValue, change: Change, values: Mapping[UUID, Decimal]) -> Decimal | None:
    match change.basis:
        case Undoing(movement_id):
            original = values.get(movement_id)
            return None if original is None else -original
        case NotYetPriced():
            return None
        case Priced(unit_cost):
            return rounded(Fraction(change.quantity) * unit_cost)
        case AtOwnCost() if change.quantity > 0:
            return None if before.unit_cost is None else rounded(Fraction(change.quantity) * before.unit_cost)
        case AtOwnCost():
            # All that is on hand takes all that it is worth: the share is then exactly one.
            return rounded(Fraction(before.value) * Fraction(change.quantity) / Fraction(before.quantity))


def learn(
    now: BatchValue, waiting: Sequence[Change], values: Mapping[UUID, Decimal], otherwise: Priced | None = None
) -> tuple[BatchValue, list[Valued]]:
    """Value what waits, in the ledger's order, up to the first movement whose cost is still unknown.

    `otherwise` is the cost that a person gave for every inflow of the batch that has none.
    """
    at = replace(now, quantity=now.quantity - sum((change.quantity for change in waiting), ZERO), unknown=False)
    known = dict(values)
    learnt: list[Valued] = []
    for change in waiting:
        after, valued = apply(at, change, known)
        if valued.value is None and otherwise is not None and change.quantity > 0:
            after, valued = apply(at, replace(change, basis=otherwise), known)
        if valued.value is None:
            return replace(at, quantity=now.quantity, unknown=True), learnt
        at = after
        known[change.movement_id] = valued.value
        learnt.append(valued)
    return at, learnt


def revalued(now: BatchValue, unit_cost: Fraction) -> tuple[BatchValue, Decimal]:
    """The batch at another cost, and by how much its value changes. What has left keeps the value it left with."""
    value = rounded(Fraction(now.quantity) * unit_cost)
    return BatchValue(now.quantity, value, unit_cost), value - now.value


def variance(*, arrived: Decimal, on_hand: Decimal, was: Fraction, now: Fraction) -> Decimal:
    """What goods that left a lot at its earlier unit cost `was` would have been worth more at `now`.

    They keep the value they left with, so with `revalued` this is all that the lot's new cost changes.
    """
    return rounded((now - was) * Fraction(max(arrived - on_hand, ZERO)))


@dataclass(frozen=True, slots=True)
class Ingredient:
    """One consumed batch of a lot: what its reports say, what the ledger booked, and what that was worth."""

    reported: Decimal
    booked: Decimal
    value: Decimal | None


def lot_cost(
    *, final: bool, produced: Decimal, ingredients: Sequence[Ingredient], conversion: Decimal | None
) -> Fraction | None:
    """What one base unit of a production lot costs: material at its value, plus conversion, over what was made.

    Known only when the last report is there, every reported consumption is booked in full and has a value. A lot that
    names neither material nor conversion has no known cost.
    """
    if not final or produced <= 0 or (not ingredients and conversion is None):
        return None
    total = Fraction(conversion or 0)
    for each in ingredients:
        if each.value is None or each.booked <= 0 or each.booked < each.reported:
            return None
        total += Fraction(each.value) * Fraction(each.reported) / Fraction(each.booked)
    return total / Fraction(produced)


def crossing(from_kind: PlaceKind, to_kind: PlaceKind) -> int:
    """+1 for what comes in over the company's border, −1 for what leaves, 0 for what stays inside or outside."""
    return (to_kind is PlaceKind.LOCATION) - (from_kind is PlaceKind.LOCATION)


_CAME_IN = {
    PlaceKind.SUPPLIER: PostingKind.RECEIPT,
    PlaceKind.PRODUCTION: PostingKind.PRODUCTION,
    PlaceKind.CUSTOMER: PostingKind.RETURN,
    PlaceKind.SCRAP: PostingKind.SCRAP,
}
_WENT_OUT = {
    PlaceKind.SUPPLIER: PostingKind.RETURN,
    PlaceKind.PRODUCTION: PostingKind.CONSUMPTION,
    PlaceKind.CUSTOMER: PostingKind.ISSUE,
    PlaceKind.SCRAP: PostingKind.SCRAP,
}


def posting_kind(from_kind: PlaceKind, to_kind: PlaceKind, *, reversal: bool) -> PostingKind:
    """What the ERP calls a movement over the border: told by the place outside, which no reason can contradict."""
    if reversal:
        return PostingKind.REVERSAL
    if crossing(from_kind, to_kind) > 0:
        return _CAME_IN.get(from_kind, PostingKind.ADJUSTMENT)
    return _WENT_OUT.get(to_kind, PostingKind.ADJUSTMENT)
