"""When a batch expires: at the midnight that ends its last day, where it stands."""

import datetime as dt
from dataclasses import dataclass
from enum import Enum
from zoneinfo import ZoneInfo


def local_day(now: dt.datetime, zone: ZoneInfo) -> dt.date:
    """The calendar day at a site. `now` carries an offset."""
    if now.tzinfo is None:
        raise ValueError(f"{now.isoformat()} has no offset from UTC: nobody knows which day that is at a site")
    return now.astimezone(zone).date()


def is_expired(expires_on: dt.date | None, today: dt.date) -> bool:
    """`expires_on` is inclusive: on that day the batch is still good. A batch without expiry never expires."""
    return expires_on is not None and expires_on < today


def expires_at(expires_on: dt.date, zone: ZoneInfo) -> dt.datetime:
    """The first moment (UTC) at which a batch is expired at a site: the start of the next local day.

    Where clocks skip midnight, the day starts when they arrive: 01:00. After the last day of the calendar, which stands
    for "never", nothing follows.
    """
    if expires_on == dt.date.max:
        return dt.datetime.max.replace(tzinfo=dt.UTC)
    following = dt.datetime.combine(expires_on + dt.timedelta(days=1), dt.time(), tzinfo=zone)
    # A local time that does not exist is read with the offset before the gap, and that is exactly when the gap begins.
    return following.astimezone(dt.UTC)


def days_left(expires_on: dt.date | None, today: dt.date) -> int | None:
    """Remaining days: 0 on the last good day, negative afterwards, none without an expiry."""
    return None if expires_on is None else (expires_on - today).days


class ShelfLife(Enum):
    """What the watch does about a batch at a site today."""

    WAIT = "wait"
    SAY_NEAR = "say_near"
    LOCK = "lock"


@dataclass(frozen=True, slots=True)
class Watched:
    """A batch at a site: its last good day, and whether it was said before that this day is near."""

    expires_on: dt.date
    near_on: dt.date | None
    near_said: bool


def what_is_due(watched: Watched, today: dt.date) -> ShelfLife:
    """Lock what is expired; say once what soon will be. What expired during a pause is locked, without that word."""
    if is_expired(watched.expires_on, today):
        return ShelfLife.LOCK
    if watched.near_on is not None and watched.near_on <= today and not watched.near_said:
        return ShelfLife.SAY_NEAR
    return ShelfLife.WAIT
