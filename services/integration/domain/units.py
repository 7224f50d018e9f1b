"""Units of an item as exact fractions of its base unit."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from contracts.integration import ItemDefined
from contracts.values import QUANTITY_DIGITS, QUANTITY_PLACES
from services.integration.domain.refused import Refused

_SMALLEST = 10**QUANTITY_PLACES
_TOO_LARGE = 10 ** (QUANTITY_DIGITS - QUANTITY_PLACES)


def exact_decimal(value: Fraction, places: int) -> Decimal | None:
    """`value` as a decimal with at most `places` places, or None where it has none: nothing is rounded."""
    scaled = value * 10**places
    if scaled.denominator != 1:
        return None
    digits = tuple(int(digit) for digit in str(abs(scaled.numerator)))
    written = format(Decimal((int(value < 0), digits, -places)), "f")
    return Decimal(written.rstrip("0").rstrip(".") if "." in written else written)


@dataclass(frozen=True, slots=True)
class Units:
    """The units an item is counted in: each is a fraction of `base` (one of it is so many base units)."""

    item_id: str
    base: str
    factors: Mapping[str, Fraction]

    @classmethod
    def of(cls, item: ItemDefined) -> "Units":
        """The units of a definition; the base unit is one of them."""
        others = {each.unit: Fraction(each.numerator, each.denominator) for each in item.units}
        return cls(item.item_id, item.base_unit, {**others, item.base_unit: Fraction(1)})

    def to_base(self, quantity: Decimal, unit: str) -> Decimal | Refused:
        """`quantity` of `unit` in base units, exactly; refused for an unknown unit or what six places cannot hold."""
        factor = self.factor(unit)
        if isinstance(factor, Refused):
            return factor
        exact = Fraction(quantity) * factor
        found = exact_decimal(exact, QUANTITY_PLACES)
        if found is None:
            return Refused(
                "not_exact",
                f"{quantity} {unit} of item {self.item_id!r} is {exact} {self.base}: "
                f"that has no exact value with {QUANTITY_PLACES} decimal places",
                "quantity",
            )
        if found >= _TOO_LARGE:
            return Refused(
                "too_large",
                f"{quantity} {unit} of item {self.item_id!r} is {found} {self.base}: less than {_TOO_LARGE} is allowed",
                "quantity",
            )
        return found

    def factor(self, unit: str) -> Fraction | Refused:
        """How many base units one `unit` is."""
        found = self.factors.get(unit)
        if found is None:
            known = ", ".join(sorted(self.factors))
            return Refused(
                "unknown_unit", f"unit {unit!r} is not one of item {self.item_id!r}: it is counted in {known}", "unit"
            )
        return found
