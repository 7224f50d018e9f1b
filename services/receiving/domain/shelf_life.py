"""How long goods still live when they arrive. `expires_on` is inclusive: on that day the batch is still usable."""

import datetime as dt

from services.receiving.domain.items import Item
from services.receiving.domain.reasons import Reason


def remaining_days(expires_on: dt.date, on: dt.date) -> int:
    """Days left on the day `on`: 0 on the last usable day, negative once expired."""
    return (expires_on - on).days


def computed_expiry(manufactured_on: dt.date, shelf_life_days: int) -> dt.date:
    """The last usable day of goods made on `manufactured_on`; the calendar's end where it lies beyond it."""
    try:
        return manufactured_on + dt.timedelta(days=shelf_life_days)
    except OverflowError:
        return dt.date.max


def total_days(item: Item, manufactured_on: dt.date | None, expires_on: dt.date) -> int | None:
    """The whole life in days: between the batch's own dates, else as the item says; None when neither is known."""
    return item.shelf_life_days if manufactured_on is None else (expires_on - manufactured_on).days


def has_expired(expires_on: dt.date, on: dt.date) -> bool:
    """Whether the last usable day lies before `on`."""
    return remaining_days(expires_on, on) < 0


def too_short(item: Item, manufactured_on: dt.date | None, expires_on: dt.date, on: dt.date) -> list[Reason]:
    """What the item's minimum life at receipt says against these dates; the boundary day is enough.

    Percent is compared in whole numbers (left × 100 against required × total), so no rounding decides.
    """
    left = remaining_days(expires_on, on)
    reasons = []
    wanted = item.min_days_at_receipt
    if wanted is not None and left < wanted:
        reasons.append(
            Reason("too_few_days_left", f"{left} days are left on {on} (expires {expires_on}): {wanted} are required")
        )
    percent = item.min_percent_at_receipt
    if percent is not None:
        total = total_days(item, manufactured_on, expires_on)
        if total is None:
            reasons.append(
                Reason(
                    "total_life_unknown",
                    f"{percent} % of the shelf life are required, and neither a manufacture date nor the item's shelf "
                    "life is known",
                )
            )
        elif left * 100 < percent * total:
            reasons.append(
                Reason(
                    "too_few_percent_left",
                    f"{left} of {total} days are left on {on} (expires {expires_on}): {percent} % are required, "
                    f"{-(-percent * total // 100)} days",
                )
            )
    return reasons
