"""The words that several owners' events share: quantities, codes, places, and the closed lists."""

import datetime as dt
import re
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, PlainSerializer, StringConstraints

from contracts.event import Part

QUANTITY_DIGITS = 21
QUANTITY_PLACES = 6


LONGEST_DECIMAL = 400
"""Characters of one decimal's text, with the zeros that mean nothing."""

_PLAIN_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def _plainly_written(value: object) -> object:
    """Refuse a binary float (0.1 + 0.2 is not 0.3 there), and text that only a computer would call a number."""
    if isinstance(value, str):
        if len(value) > LONGEST_DECIMAL:
            raise ValueError(f"a number of {len(value)} characters: {LONGEST_DECIMAL} at most")
        if _PLAIN_DECIMAL.fullmatch(value) is None:
            raise ValueError("not a plain decimal number, such as 12.5")
    elif isinstance(value, float):
        raise ValueError(f"{value!r} is a binary float: send decimals as text, such as '{value}'")
    return value


def plain(value: Decimal) -> str:
    """A decimal as text without an exponent: `100`, not `1E+2`."""
    text = str(value)  # several times cheaper than a format, and nearly always the same
    return format(value, "f") if "E" in text else text


def _as_text(digits: int, places: int, sign: str) -> tuple[BeforeValidator, PlainSerializer]:
    """How a decimal stands in JSON: as text, whose form OpenAPI shows with its limits."""
    form = rf"^{sign}[0-9]{{1,{digits - places}}}(\.[0-9]{{1,{places}}}0*)?$"
    text = Annotated[str, StringConstraints(max_length=LONGEST_DECIMAL, pattern=form)]
    return (
        BeforeValidator(_plainly_written, json_schema_input_type=text),
        PlainSerializer(plain, return_type=str, when_used="json"),
    )


_UNSIGNED = _as_text(QUANTITY_DIGITS, QUANTITY_PLACES, "")
_SIGNED = _as_text(QUANTITY_DIGITS, QUANTITY_PLACES, "-?")

Quantity = Annotated[Decimal, Field(gt=0, max_digits=QUANTITY_DIGITS, decimal_places=QUANTITY_PLACES), *_UNSIGNED]
"""More than zero, in the unit named beside it; at most 15 digits before and 6 after the point; decimal text in JSON."""

QuantityOrZero = Annotated[Decimal, Field(ge=0, max_digits=QUANTITY_DIGITS, decimal_places=QUANTITY_PLACES), *_UNSIGNED]
"""Zero or more; otherwise as `Quantity`."""

Delta = Annotated[Decimal, Field(max_digits=QUANTITY_DIGITS, decimal_places=QUANTITY_PLACES), *_SIGNED]
"""A signed change of a quantity."""

Money = Annotated[Decimal, Field(max_digits=24, decimal_places=8), *_as_text(24, 8, "-?")]
"""Signed; in the currency named beside it. An unknown amount is absent, never zero."""

Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
"""ISO 4217, three capital letters."""

Unit = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{2,3}$")]
"""A unit of measure by its UN/ECE Rec 20 code: C62 (piece), KGM, LTR, BX, ..."""

Code = Annotated[str, StringConstraints(min_length=1, max_length=40, pattern=r"^[!-~]+$")]
"""A company's own code of an item, partner, site or location: 1 to 40 printable ASCII characters, no space."""

BatchNo = Annotated[str, StringConstraints(pattern="^[!\"%&'()*+,\\-./0-9:;<=>?A-Z_a-z]{1,20}$")]
"""What the label says: 1 to 20 characters of the GS1 AI-10 set. Upper and lower case differ."""

_NO_NUL = r"^[^\x00]*$"

Text = Annotated[str, StringConstraints(min_length=1, max_length=400, pattern=_NO_NUL)]
"""Words for people: a reason, a name, an explanation. Every character but NUL, which no database text can hold."""

Reference = Annotated[str, StringConstraints(min_length=1, max_length=80, pattern=_NO_NUL)]
"""An outside document's number: purchase order, work order, sales order and line."""

Gtin = Annotated[str, StringConstraints(pattern=r"^[0-9]{14}$")]
"""A GTIN in its 14-digit form."""

EARLIEST = dt.datetime(1, 1, 3, tzinfo=dt.UTC)
LATEST = dt.datetime(9999, 12, 29, tzinfo=dt.UTC)


def _known_everywhere(moment: dt.datetime) -> dt.datetime:
    """Refuse a moment that has no date in some time zone: computers count the years 1 to 9999."""
    if not EARLIEST <= moment <= LATEST:
        raise ValueError(f"must be between {EARLIEST.date()} and {LATEST.date()}")
    return moment


Moment = Annotated[AwareDatetime, AfterValidator(_known_everywhere)]
"""A time with an offset, at least two days from the ends of the calendar; we write UTC."""


class Listed(StrEnum):
    """A closed list for the speaker; a listener reads a value it does not know as `unknown`."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        return cls("unknown") if isinstance(value, str) and value != "unknown" else None


class Quality(Listed):
    """What inspection decided: 待检, 合格, 不合格."""

    PENDING = "pending"
    RELEASED = "released"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


class HoldKind(Listed):
    """Why stock may not be used now. Holds stack."""

    RECALL = "recall"
    EXCURSION = "excursion"
    EXPIRY = "expiry"
    COUNT = "count"
    MANUAL = "manual"
    UNKNOWN = "unknown"


class Origin(Listed):
    """Where goods arrive from."""

    SUPPLIER = "supplier"
    PRODUCTION = "production"
    CUSTOMER = "customer"
    UNKNOWN = "unknown"


class Strategy(Listed):
    """In which order batches leave: first expired, first in, last in, or the one that was asked for."""

    FEFO = "fefo"
    FIFO = "fifo"
    LIFO = "lifo"
    SPECIFIED = "specified"
    UNKNOWN = "unknown"


class Climate(Listed):
    """What an item needs and a zone gives: 15–25 °C, 8–15 °C, 2–8 °C, −18 °C or colder."""

    AMBIENT = "ambient"
    COOL = "cool"
    COLD = "cold"
    FROZEN = "frozen"
    UNKNOWN = "unknown"


class Purpose(Listed):
    """What a zone is for."""

    RECEIVING = "receiving"
    STORAGE = "storage"
    QUARANTINE = "quarantine"
    REJECTED = "rejected"
    STAGING = "staging"
    UNKNOWN = "unknown"


class PlaceKind(Listed):
    """A location of ours, or one of the places outside the company's shelves (the ledger is double-entry)."""

    LOCATION = "location"
    SUPPLIER = "supplier"
    PRODUCTION = "production"
    CUSTOMER = "customer"
    ADJUSTMENT = "adjustment"
    SCRAP = "scrap"
    UNKNOWN = "unknown"


class DatePrecision(Listed):
    """How exactly a date was given. A month-precise expiry means the last day of that month."""

    DAY = "day"
    MONTH = "month"
    MINUTE = "minute"
    UNKNOWN = "unknown"


class DateSource(Listed):
    """Where a date came from."""

    LABEL = "label"
    ENTERED = "entered"
    COMPUTED = "computed"
    RETEST = "retest"
    MES = "mes"
    UNKNOWN = "unknown"


class Place(Part):
    """One end of a movement. A location has site, purpose and quality; an outside place has a partner or none."""

    kind: PlaceKind
    site_id: Code | None = None
    location_id: Code | None = None
    purpose: Purpose | None = None
    quality: Quality | None = None
    partner_id: Code | None = None


class BatchFacts(Part):
    """What a listener needs to know of a batch to decide about it, repeated where it is needed.

    `expires_on` is inclusive: the batch is usable through that day at its site.
    """

    batch_no: BatchNo
    origin: Origin
    supplier_id: Code | None = None
    supplier_batch_no: Reference | None = None
    manufactured_on: dt.date | None = None
    expires_on: dt.date | None = None
    expiry_precision: DatePrecision | None = None
    expiry_source: DateSource | None = None
    best_before: dt.date | None = None
    received_on: dt.date | None = Field(default=None, description="Day of the first receipt: the FIFO date.")


class Signature(Part):
    """Who signed what, when and meaning what; `record_hash` is the SHA-256 (hex) of the canonical signed record."""

    signer: Code
    signer_name: Text
    meaning: Text
    signed_at: Moment
    record_hash: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
