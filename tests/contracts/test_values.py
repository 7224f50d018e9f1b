"""The ends of what a value may be: of the calendar, and of a number's text."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from pydantic import TypeAdapter, ValidationError

from contracts.values import LONGEST_DECIMAL, Delta, Moment, Quantity
from services.inventory.domain.expiry import expires_at


@pytest.mark.parametrize(
    "text",
    ["0001-01-01T00:00:00+14:00", "0001-01-02T23:59:59Z", "9999-12-31T23:59:59-14:00", "9999-12-29T00:00:01Z"],
)
def test_a_moment_that_some_time_zone_has_no_date_for_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="must be between 0001-01-03 and 9999-12-29"):
        TypeAdapter(Moment).validate_json(f'"{text}"')


@pytest.mark.parametrize("text", ["0001-01-03T00:00:00Z", "9999-12-29T14:00:00+14:00"])
def test_a_moment_at_the_end_of_the_calendar_has_a_date_in_every_time_zone(text: str) -> None:
    moment = TypeAdapter(Moment).validate_json(f'"{text}"')
    for zone in ("Pacific/Kiritimati", "Pacific/Niue", "UTC"):
        assert moment.astimezone(ZoneInfo(zone)).date()


def test_a_batch_that_is_good_through_the_last_day_never_expires() -> None:
    at = expires_at(dt.date.max, ZoneInfo("America/New_York"))
    assert (at.year, at.tzinfo) == (9999, dt.UTC)


def test_the_text_of_a_number_has_an_end() -> None:
    longest = "0." + "5".ljust(LONGEST_DECIMAL - 2, "0")
    assert str(TypeAdapter(Quantity).validate_python(longest).normalize()) == "0.5"
    with pytest.raises(
        ValidationError, match=f"a number of {LONGEST_DECIMAL + 1} characters: {LONGEST_DECIMAL} at most"
    ):
        TypeAdapter(Quantity).validate_python(longest + "0")
    with pytest.raises(ValidationError, match="a number of 1000000 characters"):
        TypeAdapter(Delta).validate_json(b'"' + b"9" * 1_000_000 + b'"')
