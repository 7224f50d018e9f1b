"""Shelf life at receipt, at the boundary day."""

import datetime as dt
import math
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from services.receiving.domain.items import Item
from services.receiving.domain.shelf_life import computed_expiry, has_expired, remaining_days, too_short

TODAY = dt.date(2026, 3, 2)
DAYS = st.dates(min_value=dt.date(1990, 1, 1), max_value=dt.date(2090, 1, 1))


def item(**changed: int | None) -> Item:
    return Item("WMP-25", "Milk powder", "KGM", **changed)  # type: ignore[arg-type]


def day(offset: int) -> dt.date:
    return TODAY + dt.timedelta(days=offset)


# Scenario 46.
def test_expiry_today_is_not_expired_and_expiry_five_days_ago_is() -> None:
    assert not has_expired(TODAY, TODAY)
    assert has_expired(day(-5), TODAY)
    assert has_expired(day(-1), TODAY)


# SAP's worked example: 20 days in all, made on 1 July, received on 10 July, 10 days required: 11 are left.
def test_eleven_days_left_are_enough_where_ten_are_required() -> None:
    made, on = dt.date(2026, 7, 1), dt.date(2026, 7, 10)
    expires = computed_expiry(made, 20)
    assert (expires, remaining_days(expires, on)) == (dt.date(2026, 7, 21), 11)
    assert too_short(item(min_days_at_receipt=10), made, expires, on) == []


@given(DAYS, DAYS, st.integers(0, 5_000))
def test_the_boundary_day_is_enough_and_one_day_less_is_not(expires: dt.date, on: dt.date, wanted: int) -> None:
    short = too_short(item(min_days_at_receipt=wanted), None, expires, on)
    assert bool(short) == ((expires - on).days < wanted)
    assert all(str(wanted) in reason.text and str((expires - on).days) in reason.text for reason in short)
    assert too_short(item(min_days_at_receipt=(expires - on).days), None, expires, on) == [] if expires >= on else True


@given(DAYS, st.integers(1, 4_000), st.integers(-100, 4_000), st.integers(0, 100))
def test_percent_is_compared_exactly(made: dt.date, total: int, age: int, percent: int) -> None:
    expires, on = made + dt.timedelta(days=total), made + dt.timedelta(days=age)
    short = too_short(item(min_percent_at_receipt=percent), made, expires, on)
    left = Fraction((expires - on).days, total)
    assert bool(short) == (left < Fraction(percent, 100))
    for reason in short:
        assert f"{math.ceil(Fraction(percent, 100) * total)} days" in reason.text


@given(DAYS, DAYS, st.integers(0, 3_000), st.integers(0, 400), st.integers(0, 100))
def test_what_is_enough_today_was_enough_yesterday(
    made: dt.date, on: dt.date, total: int, days: int, percent: int
) -> None:
    strict = item(min_days_at_receipt=days, min_percent_at_receipt=percent)
    expires = made + dt.timedelta(days=total)
    if not too_short(strict, made, expires, on):
        assert not too_short(strict, made, expires, on - dt.timedelta(days=1))


def test_without_a_manufacture_date_the_items_own_life_counts_and_without_both_nobody_can_tell() -> None:
    half = item(min_percent_at_receipt=50, shelf_life_days=100)
    assert too_short(half, None, day(50), TODAY) == []
    assert [reason.code for reason in too_short(half, None, day(49), TODAY)] == ["too_few_percent_left"]
    unknown = too_short(item(min_percent_at_receipt=50), None, day(49), TODAY)
    assert [reason.code for reason in unknown] == ["total_life_unknown"]


def test_an_expiry_beyond_the_calendar_is_its_end() -> None:
    assert computed_expiry(dt.date(9999, 1, 1), 36_500) == dt.date.max
