"""The gate: what may leave. It answers inside the transaction that books the issue, so nothing slips between."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from contracts.inventory import RefusalCode
from contracts.values import HoldKind, Purpose, Quality
from services.inventory.domain.expiry import is_expired
from services.inventory.domain.holds import Hold
from services.inventory.domain.ledger import NOTHING, Spot
from services.inventory.domain.matrix import ISOLATION


@dataclass(frozen=True, slots=True)
class Asked:
    """A shipment line at the gate: how much (base unit) of which batch, at which location, and what that is for.

    `purpose` is None where nobody described the location.
    """

    batch_no: str
    quantity: Decimal
    site_id: str
    location_id: str
    purpose: Purpose | None


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a line stays."""

    code: RefusalCode
    reason: str


def refusal(
    asked: Asked,
    there: Sequence[tuple[Spot, Decimal]],
    holds: Sequence[Hold],
    expires_on: dt.date | None,
    today: dt.date,
) -> Refused | None:
    """Why a line may not leave, or None when it may.

    `there` is what stands at the location of the batch, `holds` are those that cover it, `today` is the site's date: an
    expired batch stays even where the watch has not locked it yet. The most telling reason is named: expired, held,
    then where the goods stand, and what inspection said of those at hand.
    """
    if is_expired(expires_on, today):
        return Refused(
            RefusalCode.EXPIRED,
            f"batch {asked.batch_no!r} expired on {expires_on}; it is {today} at site {asked.site_id!r}",
        )
    serious = [hold for hold in holds if hold.kind is not HoldKind.EXPIRY] or list(holds)
    if serious:
        first = serious[0]
        code = RefusalCode.EXPIRED if first.kind is HoldKind.EXPIRY else RefusalCode.HELD
        more = f" (and {len(serious) - 1} more)" if len(serious) > 1 else ""
        return Refused(
            code, f"batch {asked.batch_no!r} is held {first.where} ({first.kind}): {first.reason}{more}"[:400]
        )
    amounts: dict[Quality, Decimal] = {}
    for spot, quantity in there:
        if (spot.site_id, spot.location_id) == (asked.site_id, asked.location_id):
            amounts[spot.quality] = amounts.get(spot.quality, NOTHING) + quantity
    if asked.purpose in ISOLATION and any(amounts.values()):
        return Refused(
            RefusalCode.REJECTED,
            f"batch {asked.batch_no!r} stands at {asked.location_id!r} of site {asked.site_id!r}, which is for "
            f"{asked.purpose} goods: nothing leaves from there",
        )
    released = amounts.get(Quality.RELEASED, NOTHING)
    if released >= asked.quantity:
        return None
    at = f"at {asked.location_id!r} of site {asked.site_id!r}"
    known = f"{released:f} of {asked.quantity:f} released {at}"
    for quality, code in ((Quality.REJECTED, RefusalCode.REJECTED), (Quality.PENDING, RefusalCode.PENDING)):
        if amounts.get(quality):
            return Refused(code, f"batch {asked.batch_no!r}: {known}, {amounts[quality]:f} are {quality}")
    return Refused(RefusalCode.NOT_THERE, f"batch {asked.batch_no!r}: {known}")
