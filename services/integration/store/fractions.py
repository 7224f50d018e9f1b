"""Exact fractions in the database: a numerator and a denominator, both numeric."""

from decimal import Decimal
from fractions import Fraction


def to_fraction(numerator: Decimal | None, denominator: Decimal | None) -> Fraction | None:
    """The fraction in two columns; None where they are empty."""
    return None if numerator is None or denominator is None else Fraction(numerator) / Fraction(denominator)


def from_fraction(fraction: Fraction | None) -> tuple[Decimal | None, Decimal | None]:
    """The two columns of a fraction."""
    return (None, None) if fraction is None else (Decimal(fraction.numerator), Decimal(fraction.denominator))
