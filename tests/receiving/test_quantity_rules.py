"""Quantities in the units of an item, exact or refused; and pasted lines."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.receiving.domain.items import Item, in_base_units, plain
from services.receiving.domain.pasting import pasted_lines
from services.receiving.domain.reasons import Reason

QUANTITIES = st.decimals(min_value="0.000001", max_value=10**12, places=6)
FACTORS = st.fractions(min_value=Fraction(1, 10**6), max_value=10**6, max_denominator=10**6)


def item_with(factor: Fraction) -> Item:
    return Item("WMP-25", "Milk powder", "KGM", {"PK": factor})


@given(QUANTITIES, FACTORS)
def test_a_conversion_is_exact_or_refused_and_never_rounded(quantity: Decimal, factor: Fraction) -> None:
    got = in_base_units(quantity, "PK", item_with(factor))
    exact = Fraction(quantity) * factor
    if isinstance(got, Reason):
        assert (exact * 10**6).denominator != 1 or exact >= 10**15
        assert got.code in ("not_exact", "quantity_too_large")
    else:
        assert Fraction(got) == exact
        assert -got.as_tuple().exponent <= 6  # type: ignore[operator]


@given(QUANTITIES)
def test_the_base_unit_is_itself(quantity: Decimal) -> None:
    assert in_base_units(quantity, "KGM", item_with(Fraction(1, 3))) == quantity


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**15), max_value=10**15, places=6))
def test_a_plain_number_is_the_same_number_without_zeros_at_its_end(number: Decimal) -> None:
    assert plain(number) == number
    assert not ("." in f"{plain(number):f}" and f"{plain(number):f}".endswith(("0", ".")))


def test_hundreds_stay_hundreds() -> None:
    assert [f"{plain(Decimal(each)):f}" for each in ("100", "1E+2", "100.50", "0.000")] == ["100", "100", "100.5", "0"]


# Scenario 17: a dozen of pieces are twelve.
def test_a_dozen_is_twelve_and_three_thirds_are_one() -> None:
    item = Item("X", "X", "C62", {"DZN": Fraction(12), "PK": Fraction(1, 3)})
    assert in_base_units(Decimal(2), "DZN", item) == 24
    assert in_base_units(Decimal(3), "PK", item) == 1


def test_a_third_is_refused_with_what_it_would_be() -> None:
    got = in_base_units(Decimal(10), "PK", item_with(Fraction(1, 3)))
    assert got == Reason("not_exact", "10 PK are 10/3 KGM (1 PK = 1/3 KGM): that has more than 6 decimals")


@pytest.mark.parametrize("quantity", ["0", "-1"])
def test_nothing_and_less_than_nothing_is_no_quantity(quantity: str) -> None:
    got = in_base_units(Decimal(quantity), "KGM", item_with(Fraction(1)))
    assert isinstance(got, Reason)
    assert quantity in got.text


# Scenario 54.
def test_pasted_lines_are_read_with_a_quantity_of_one_where_there_is_none() -> None:
    lines = pasted_lines("aze;2\nqsd;4\nwxc")
    assert [(each.batch_no, each.quantity) for each in lines] == [("aze", 2), ("qsd", 4), ("wxc", 1)]


def test_a_pasted_line_may_have_a_tab_blanks_and_decimals_and_the_wrong_ones_say_where() -> None:
    lines = pasted_lines("\n A \t 2.50 \r\n\nB;1,5\nC D;1\nE;0\nF;1e3\nG;1;2\n;3\nH;\nH;7")
    assert [(each.text_line, each.batch_no, each.quantity) for each in lines if not each.problem] == [
        (2, "A", Decimal("2.5")),
        (10, "H", 1),
        (11, "H", 7),
    ]
    assert [(each.text_line, each.problem.code) for each in lines if each.problem] == [
        (4, "quantity"),
        (5, "batch_no"),
        (6, "quantity"),
        (7, "quantity"),
        (8, "quantity"),
        (9, "batch_no"),
    ]


@given(st.text(max_size=200))
def test_no_pasted_text_is_a_fault(text: str) -> None:
    for line in pasted_lines(text):
        assert (line.problem is None) == (line.quantity is not None)
        assert line.quantity is None or line.quantity > 0
