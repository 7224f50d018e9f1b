"""A label has two digits for the year; the day it is scanned on says which century they mean."""

from __future__ import annotations

from datetime import date, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.gs1 import Gs1Date, Gs1Error, Precision, Rule, parse
from contracts.gs1.dates import resolve, year_of

ITEM = "0104012345000016"
TODAY = date(2026, 11, 23)


@pytest.mark.parametrize(
    ("label", "scanned_in", "means"),
    [
        (26, 2026, 2026),
        (75, 2026, 2075),
        (76, 2026, 2076),
        (77, 2026, 1977),
        (99, 2026, 1999),
        (0, 2026, 2000),
        (49, 2099, 2100 + 49),
        (50, 2099, 2050),
        (0, 2099, 2100),
        (99, 2100, 2099),
        (51, 2000, 1951),
        (50, 2000, 2050),
    ],
)
def test_the_century_is_the_one_within_49_years_back_and_50_ahead(label: int, scanned_in: int, means: int) -> None:
    assert year_of(label, date(scanned_in, 7, 1)) == means


@given(st.integers(0, 99), st.dates(date(1950, 1, 1), date(2200, 12, 31)))
def test_the_window_is_never_left(two_digits: int, scanned_on: date) -> None:
    year = year_of(two_digits, scanned_on)
    assert year % 100 == two_digits
    assert -49 <= year - scanned_on.year <= 50


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        ("17280229", Gs1Date("280229", Precision.DAY, date(2028, 2, 29))),
        ("17280200", Gs1Date("280200", Precision.MONTH, date(2028, 2, 29))),
        ("17270200", Gs1Date("270200", Precision.MONTH, date(2027, 2, 28))),
        ("70032703311430", Gs1Date("2703311430", Precision.MINUTE, date(2027, 3, 31), time(14, 30))),
    ],
)
def test_an_expiry_keeps_what_the_label_says_beside_what_it_means(element: str, expected: Gs1Date) -> None:
    assert parse(ITEM + element).expires(TODAY) == expected


@pytest.mark.parametrize(
    ("element", "precision", "at"),
    [
        ("800825112014", Precision.HOUR, time(14)),
        ("80082511201430", Precision.MINUTE, time(14, 30)),
        ("8008251120143055", Precision.SECOND, time(14, 30, 55)),
        ("11251120", Precision.DAY, None),
    ],
)
def test_a_production_date_is_as_exact_as_the_label(element: str, precision: Precision, at: time | None) -> None:
    made = parse(ITEM + element).manufactured(TODAY)
    assert made is not None
    assert (made.precision, made.day, made.at) == (precision, date(2025, 11, 20), at)


def test_each_kind_of_date_is_found_under_its_own_name() -> None:
    message = parse(ITEM + "11260101" + "13260102" + "15260103" + "16260104" + "17260105")
    found = [
        moment and moment.day.day
        for moment in (
            message.manufactured(TODAY),
            message.packed(TODAY),
            message.best_before(TODAY),
            message.sell_by(TODAY),
            message.expires(TODAY),
        )
    ]
    assert found == [1, 2, 3, 4, 5]
    assert parse(ITEM).expires(TODAY) is None


def test_of_two_expiries_the_earlier_counts() -> None:
    assert str(parse(f"{ITEM}1727033170032703311430").expires(TODAY)) == "2027-03-31T14:30:00"
    assert str(parse(f"{ITEM}1727033070032703311430").expires(TODAY)) == "2027-03-30"
    assert str(parse(f"{ITEM}17270300").expires(TODAY)) == "2027-03"


def test_the_same_label_means_another_year_when_it_is_read_much_later() -> None:
    message = parse(f"{ITEM}17770101")
    assert [message.expires(day).day.year for day in (TODAY, date(2027, 1, 1))] == [1977, 2077]  # type: ignore[union-attr]


def test_a_29_february_that_the_century_does_not_have_is_refused_when_the_century_is_known() -> None:
    message = parse(f"{ITEM}17000229")
    assert message.expires(TODAY) == Gs1Date("000229", Precision.DAY, date(2000, 2, 29))
    with pytest.raises(Gs1Error, match="2100-02 has 28 days") as raised:
        message.expires(date(2060, 1, 1))
    assert (raised.value.rule, raised.value.ai, raised.value.position) == (Rule.DAY, "17", 22)


@given(st.dates(date(1977, 1, 1), date(2076, 12, 31)))
def test_every_day_within_the_window_is_read_back(day: date) -> None:
    assert resolve(f"{day:%y%m%d}", scanned_on=TODAY).day == day
    assert parse(f"{ITEM}17{day:%y%m%d}").expires(TODAY) == Gs1Date(f"{day:%y%m%d}", Precision.DAY, day)


@given(st.text("0123456789", min_size=6, max_size=6))
def test_a_date_is_accepted_exactly_when_the_calendar_has_it(text: str) -> None:
    year, month, day = 2000 + int(text[:2]), int(text[2:4]), int(text[4:])
    try:
        known = bool(date(year, month, day or 1))
    except ValueError:
        known = False
    for ai, expected in (("17", known), ("7006", known and day > 0)):
        try:
            parse(f"{ITEM}{ai}{text}")
            accepted = True
        except Gs1Error:
            accepted = False
        assert accepted == expected
