"""Dates as labels carry them: two-digit years, months without a day, sometimes a time."""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import date, time
from enum import StrEnum

from contracts.gs1.errors import Gs1Error, Rule


class Precision(StrEnum):
    """How exactly a label says when."""

    MONTH = "month"
    DAY = "day"
    HOUR = "hour"
    MINUTE = "minute"
    SECOND = "second"


_PRECISION_OF_LENGTH = {8: Precision.HOUR, 10: Precision.MINUTE, 12: Precision.SECOND}


@dataclass(frozen=True, slots=True)
class Gs1Date:
    """A date of a label, in the local time of whoever printed it: GS1 carries no time zone.

    `raw` is what the label says (YYMMDD, then HH, HHMM or HHMMSS) and stays beside the answer, because the century is
    an interpretation. `day` is the day; where the label names a month only, its last day. `at` is the time of day,
    None when the label has none.
    """

    raw: str
    precision: Precision
    day: date
    at: time | None = None

    def __str__(self) -> str:
        if self.precision is Precision.MONTH:
            return self.day.isoformat()[:7]
        return self.day.isoformat() if self.at is None else f"{self.day.isoformat()}T{self.at.isoformat()}"


def year_of(two_digits: int, scanned_on: date) -> int:
    """The year a label means by `two_digits`, read on `scanned_on`: at most 49 years back and 50 years ahead.

    This is the sliding window of the GS1 General Specifications. The same label read many years later means another
    year.
    """
    ahead = two_digits - scanned_on.year % 100
    century = scanned_on.year - scanned_on.year % 100
    if ahead >= 51:
        century -= 100
    elif ahead <= -50:
        century += 100
    return century + two_digits


def resolve(raw: str, *, scanned_on: date, ai: str | None = None, position: int = 0) -> Gs1Date:
    """Read the digits of an accepted date value on the day `scanned_on`.

    Raises Gs1Error (DAY) for 29 February of a century's last year that is no leap year: whether 00 is 2000 or 2100 is
    only known here. `ai` and `position` go into that error.
    """
    year, month, day = year_of(int(raw[:2]), scanned_on), int(raw[2:4]), int(raw[4:6])
    last = monthrange(year, month)[1]
    if day > last:
        raise Gs1Error(
            Rule.DAY, f"AI ({ai}) has {raw!r}: {year}-{month:02d} has {last} days", ai=ai, position=position + 4
        )
    clock = raw[6:]
    hour, minute, second = (int(clock[i : i + 2] or 0) for i in (0, 2, 4))
    at = time(hour, minute, second) if clock else None
    if not day:
        return Gs1Date(raw, Precision.MONTH, date(year, month, last), at)
    return Gs1Date(raw, _PRECISION_OF_LENGTH.get(len(raw), Precision.DAY), date(year, month, day), at)
