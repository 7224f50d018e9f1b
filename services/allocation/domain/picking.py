"""What a scan at a pick is worth: the code is read, then judged by the pick it was made for."""

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from contracts.allocation import ScanVerdict
from contracts.gs1 import Gs1Error, ScannerProfile, normalise, parse, parse_bracketed
from services.allocation.domain.claims import ClaimStatus
from services.allocation.domain.stock import Spot


@dataclass(frozen=True, slots=True)
class Pick:
    """A promised quantity to fetch from its spot, for the order `reference`.

    `gtins` are the item's; `staging` is where its site puts what was picked, anywhere if empty; `code` and `reason` say
    why it is over; the last three where it was put, by whom and when, once it is picked.
    """

    pick_id: UUID
    status: ClaimStatus
    code: str | None
    reason: str | None
    demand_id: UUID
    reference: str
    customer_id: str
    item_id: str
    gtins: frozenset[str]
    spot: Spot
    batch_no: str
    expires_on: dt.date | None
    quantity: Decimal
    unit: str
    staging: frozenset[str]
    staged_at: str | None
    picked_by: str | None
    picked_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Scanned:
    """What a person's code names: an item, by its own code or a GTIN, and a batch."""

    batch_no: str
    item_id: str | None = None
    gtin: str | None = None

    def __str__(self) -> str:
        return f"{self.item_id or 'GTIN ' + str(self.gtin)}, batch {self.batch_no}"


@dataclass(frozen=True, slots=True)
class RefusedScan:
    """Why a scan is not the pick's."""

    verdict: ScanVerdict
    reason: str


def read_scan(text: str) -> Scanned | RefusedScan:
    """Read an element string, a Digital Link or bracketed text that names a trade item and its batch."""
    try:
        if text.startswith("("):
            message = parse_bracketed(text)
        else:
            message = parse(normalise(text, ScannerProfile()), associations=False)
    except Gs1Error as error:
        return RefusedScan(ScanVerdict.UNKNOWN_CODE, f"this is no GS1 code: {error}"[:400])
    gtin = message.gtin or message.contained_gtin
    if gtin is None or message.batch_no is None:
        lacks = "no trade item (AI 01 or 02)" if gtin is None else "no batch (AI 10)"
        return RefusedScan(ScanVerdict.UNKNOWN_CODE, f"{message} names {lacks}: scan the label of the batch"[:400])
    return Scanned(message.batch_no, gtin=gtin)


def judge(
    pick: Pick, scanned: Scanned, *, location_id: str | None, today: dt.date, item_of_gtin: str | None
) -> RefusedScan | None:
    """Why a scan does not confirm its pick, or None when it does.

    `item_of_gtin` is the item whose alias the scanned GTIN is, None when no item has it.
    """
    over = _over(pick)
    if over is not None:
        return over
    if scanned.gtin is not None and scanned.gtin not in pick.gtins:
        if item_of_gtin is None:
            reason = f"GTIN {scanned.gtin} belongs to no known item; {pick.item_id} has {_list(pick.gtins)}"
            return RefusedScan(ScanVerdict.UNKNOWN_CODE, reason)
        reason = f"GTIN {scanned.gtin} is item {item_of_gtin}, to be picked is {pick.item_id}"
        return RefusedScan(ScanVerdict.WRONG_ITEM, reason)
    if scanned.item_id is not None and scanned.item_id != pick.item_id:
        return RefusedScan(ScanVerdict.WRONG_ITEM, f"this is item {scanned.item_id}, to be picked is {pick.item_id}")
    if location_id is not None and location_id != pick.spot.location_id:
        reason = f"scanned at {location_id}; the promise is on {pick.batch_no} at {pick.spot.location_id}"
        return RefusedScan(ScanVerdict.NOT_RESERVED_HERE, reason)
    if scanned.batch_no != pick.batch_no:
        reason = f"this is batch {scanned.batch_no}, promised is batch {pick.batch_no} at {pick.spot.location_id}"
        return RefusedScan(ScanVerdict.WRONG_BATCH, reason)
    if pick.expires_on is not None and pick.expires_on < today:
        reason = f"batch {pick.batch_no} was usable through {pick.expires_on}; it is {today}"
        return RefusedScan(ScanVerdict.EXPIRED, reason)
    return None


def _over(pick: Pick) -> RefusedScan | None:
    if pick.status is ClaimStatus.PROMISED:
        return None
    if pick.status in {ClaimStatus.PICKED, ClaimStatus.DISPATCHING, ClaimStatus.SHIPPED}:
        reason = f"{pick.quantity:f} {pick.unit} of batch {pick.batch_no} were picked for it already"
        return RefusedScan(ScanVerdict.ALREADY_PICKED, reason)
    why = pick.reason or "it was taken back"
    if pick.code in {"held", "recalled"}:
        return RefusedScan(ScanVerdict.HELD, f"the promise on batch {pick.batch_no} was taken back: {why}"[:400])
    reason = f"nothing of batch {pick.batch_no} is promised to this pick any more: {why}"[:400]
    return RefusedScan(ScanVerdict.NOT_RESERVED_HERE, reason)


def _list(gtins: frozenset[str]) -> str:
    return ", ".join(sorted(gtins)) or "no GTIN in the catalog"
