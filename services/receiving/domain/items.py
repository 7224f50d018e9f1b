"""Items as receiving sees them, and quantities in their units."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

from contracts.integration import UniqueWithin
from contracts.values import QUANTITY_DIGITS, QUANTITY_PLACES
from services.receiving.domain.reasons import Reason


@dataclass(frozen=True, slots=True)
class Item:
    """What is stocked, with its control flags. `units` has the base units of one unit, as a fraction."""

    item_id: str
    name: str
    base_unit: str
    units: Mapping[str, Fraction] = field(default_factory=dict)
    shelf_life_days: int | None = None
    expiry_required: bool = True
    min_days_at_receipt: int | None = None
    min_percent_at_receipt: int | None = None
    inspection_required: bool = True
    unique_within: UniqueWithin = UniqueWithin.ITEM
    active: bool = True


@dataclass(frozen=True, slots=True)
class Alias:
    """A GTIN is another name of an item in one of its units."""

    gtin: str
    item_id: str
    unit: str


_STEPS = 10**QUANTITY_PLACES
_LARGEST = 10 ** (QUANTITY_DIGITS - QUANTITY_PLACES)


def plain(quantity: Decimal) -> Decimal:
    """The same number without zeros at its end and without an exponent: 100.50 → 100.5, 1E+2 → 100."""
    written = f"{quantity:f}"
    return Decimal(written.rstrip("0").rstrip(".") if "." in written else written)


def in_base_units(quantity: Decimal, unit: str, item: Item) -> Decimal | Reason:
    """`quantity` of `unit` in the item's base unit: exact, or the reason why it cannot be.

    A result that needs more than six decimals is refused and never rounded: stock that was rounded at the dock can
    not be accounted for later.
    """
    if quantity <= 0:
        return Reason("quantity_not_positive", f"quantity {quantity:f} {unit}: it must be more than 0")
    if unit != item.base_unit and unit not in item.units:
        known = ", ".join([item.base_unit, *sorted(item.units)])
        return Reason("unknown_unit", f"unit {unit!r} is not one of item {item.item_id!r}: {known} are known")
    factor = Fraction(1) if unit == item.base_unit else item.units[unit]
    exact = Fraction(quantity) * factor
    steps = exact * _STEPS
    if steps.denominator != 1:
        return Reason(
            "not_exact",
            f"{quantity:f} {unit} are {exact} {item.base_unit} (1 {unit} = {factor} {item.base_unit}): "
            f"that has more than {QUANTITY_PLACES} decimals",
        )
    if exact >= _LARGEST:
        return Reason(
            "quantity_too_large",
            f"{quantity:f} {unit} are more than {_LARGEST - 1} {item.base_unit}, the most that can be booked",
        )
    whole, rest = divmod(steps.numerator, _STEPS)
    return plain(Decimal(f"{whole}.{rest:0{QUANTITY_PLACES}d}"))
