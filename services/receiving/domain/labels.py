"""What a label says, in the words of a receipt."""

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal

from contracts.gs1 import Gs1Error, Gs1Message, Precision, ScannerProfile, bracketed, normalise, parse, parse_bracketed
from contracts.values import DatePrecision
from services.receiving.domain.items import plain
from services.receiving.domain.reasons import Reason


@dataclass(frozen=True, slots=True)
class Label:
    """A GS1 label that was read. `gtin` is the item's, or the contained item's on a logistic unit.

    `text` is the human-readable form; `changes` say what had to be repaired; `doubts` what a person should look at.
    """

    text: str
    elements: tuple[tuple[str, str], ...]
    gtin: str | None = None
    sscc: str | None = None
    serial: str | None = None
    batch_no: str | None = None
    manufactured_on: dt.date | None = None
    expires_on: dt.date | None = None
    expiry_precision: DatePrecision | None = None
    best_before: dt.date | None = None
    count: int | None = None
    net_weight_kg: Decimal | None = None
    changes: tuple[str, ...] = ()
    doubts: tuple[Reason, ...] = ()


_PRECISION = {Precision.MONTH: DatePrecision.MONTH, Precision.DAY: DatePrecision.DAY}


def read_label(scan: str, profile: ScannerProfile, scanned_on: dt.date) -> Label | Reason:
    """Read an element string, a Digital Link, or typed text in brackets; or say which rule of GS1 it breaks.

    AIs that GS1 wants together may be on several labels of one thing, so none is asked for here.
    """
    try:
        if scan.lstrip().startswith(("(", "（")):
            return _label(parse_bracketed(scan, associations=False), (), scanned_on)
        normalised = normalise(scan, profile)
        return _label(parse(normalised, associations=False), normalised.changes, scanned_on)
    except Gs1Error as error:
        return Reason(f"gs1_{error.rule.value}", str(error))


def _label(message: Gs1Message, changes: tuple[str, ...], scanned_on: dt.date) -> Label:
    made, expires = message.manufactured(scanned_on), message.expires(scanned_on)
    best_before = message.best_before(scanned_on)
    doubts = []
    if message.swallowed is not None:
        doubts.append(
            Reason(
                "separator_lost",
                f"batch number {message.batch_no!r} may have swallowed {message.swallowed!r}, a date whose separator "
                "the scanner lost: compare it with the label",
            )
        )
    return Label(
        text=bracketed(message),
        elements=tuple((element.ai, element.value) for element in message.elements),
        gtin=message.gtin or message.contained_gtin,
        sscc=message.sscc,
        serial=message.serial,
        batch_no=message.batch_no,
        manufactured_on=made.day if made else None,
        expires_on=expires.day if expires else None,
        expiry_precision=_PRECISION.get(expires.precision, DatePrecision.MINUTE) if expires else None,
        best_before=best_before.day if best_before else None,
        count=message.count or None,
        net_weight_kg=None if message.net_weight_kg is None else plain(message.net_weight_kg),
        changes=changes,
        doubts=tuple(doubts),
    )
