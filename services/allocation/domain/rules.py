"""What a batch must be for a demand to have it. Each rule refuses with a reason that names the value and the limit."""

import datetime as dt
from collections.abc import Mapping, Sequence

from contracts.allocation import PassedOverCode
from contracts.values import Quality, Strategy
from services.allocation.domain.planning import Refused, Rule, Wanted
from services.allocation.domain.stock import PICKABLE, Stock


def remaining_days(expires_on: dt.date, on: dt.date) -> int:
    """Days of life left on a day. Zero on the last usable day itself, negative after it."""
    return (expires_on - on).days


def at_this_site(wanted: Wanted, stock: Stock) -> Refused | None:
    """Only stock of the demand's own site."""
    if stock.spot.site_id == wanted.site_id:
        return None
    return Refused(PassedOverCode.OTHER_SITE, f"it is at site {stock.spot.site_id}, wanted at {wanted.site_id}")


def the_named_batch(wanted: Wanted, stock: Stock) -> Refused | None:
    """A demand that names its batch gets that one only."""
    if wanted.strategy is not Strategy.SPECIFIED or stock.batch_no == wanted.batch_no:
        return None
    named = f"batch {wanted.batch_no} was asked for" if wanted.batch_no else "no batch was named"
    return Refused(PassedOverCode.OTHER_BATCH_WANTED, f"this is batch {stock.batch_no}; {named}")


def released(_wanted: Wanted, stock: Stock) -> Refused | None:
    """Only what inspection released."""
    quality = stock.spot.quality
    if quality == Quality.RELEASED:
        return None
    if quality == Quality.REJECTED:
        return Refused(PassedOverCode.REJECTED, "inspection rejected it")
    return Refused(PassedOverCode.PENDING, f"its quality is {quality}: only released stock is promised")


def not_held(_wanted: Wanted, stock: Stock) -> Refused | None:
    """Nothing with an open hold."""
    return Refused(PassedOverCode.HELD, f"held: {stock.held_for}"[:400]) if stock.held_for else None


def pickable_here(_wanted: Wanted, stock: Stock) -> Refused | None:
    """Only from zones that stock is picked from."""
    if stock.purpose in PICKABLE:
        return None
    where = f"location {stock.spot.location_id} is for {stock.purpose}"
    return Refused(PassedOverCode.NOT_PICKABLE_HERE, f"{where}: stock is promised from {_words(sorted(PICKABLE))}")


def not_expired(wanted: Wanted, stock: Stock) -> Refused | None:
    """The day of expiry itself is still good."""
    if stock.expires_on is None or stock.expires_on >= wanted.alive_on:
        return None
    return Refused(PassedOverCode.EXPIRED, f"usable through {stock.expires_on}, needed on {wanted.alive_on}")


def expiry_known(wanted: Wanted, stock: Stock) -> Refused | None:
    """An item that must have expiry dates leaves only with one."""
    if stock.expires_on is not None or not wanted.expiry_required:
        return None
    return Refused(PassedOverCode.NO_EXPIRY_KNOWN, "its expiry date is not known, and the item requires one")


def enough_days_left(wanted: Wanted, stock: Stock) -> Refused | None:
    """The least days of life, counted on the day it is needed; exactly as many is enough."""
    if wanted.min_days is None or stock.expires_on is None:
        return None
    left = remaining_days(stock.expires_on, wanted.alive_on)
    if left >= wanted.min_days:
        return None
    return Refused(
        PassedOverCode.TOO_FEW_DAYS_LEFT,
        f"{left} days left on {wanted.alive_on} (expires {stock.expires_on}), at least {wanted.min_days} wanted",
    )


def enough_percent_left(wanted: Wanted, stock: Stock) -> Refused | None:
    """The least share of the whole life (manufacture to expiry) that is left; exactly as much is enough."""
    if not wanted.min_percent or stock.expires_on is None:
        return None
    least = f"at least {wanted.min_percent} % wanted"
    if stock.manufactured_on is None:
        return Refused(
            PassedOverCode.TOO_FEW_PERCENT_LEFT,
            f"its manufacture date is not known, so the share of life left cannot be told; {least}",
        )
    total = remaining_days(stock.expires_on, stock.manufactured_on)
    left = remaining_days(stock.expires_on, wanted.alive_on)
    if total > 0 and left * 100 >= wanted.min_percent * total:
        return None
    return Refused(
        PassedOverCode.TOO_FEW_PERCENT_LEFT, f"{left} of {total} days of life left on {wanted.alive_on}, {least}"
    )


def not_all_promised(_wanted: Wanted, stock: Stock) -> Refused | None:
    """What others were promised is theirs."""
    if stock.quantity > 0:
        return None
    return Refused(PassedOverCode.RESERVED, f"all {stock.promised:f} of it are promised already")


def broken_by_dates(wanted: Wanted, stock: Stock) -> Refused | None:
    """Why a promise that was right may not stay now that the dates of its batch are others."""
    refusals = (rule(wanted, stock) for rule in (not_expired, expiry_known, enough_days_left, enough_percent_left))
    return next((refused for refused in refusals if refused is not None), None)


def _words(values: Sequence[str]) -> str:
    return " or ".join(values)


POLICY = "allocation-1"
"""The version of the rules that decides now. Every plan names the one that decided it."""

POLICIES: Mapping[str, tuple[Rule, ...]] = {
    "allocation-1": (
        at_this_site,
        the_named_batch,
        released,
        not_held,
        pickable_here,
        not_expired,
        expiry_known,
        enough_days_left,
        enough_percent_left,
        not_all_promised,
    )
}
"""All versions that ever decided, so that an old plan is replayed by its own rules. The first refusal is the reason."""
