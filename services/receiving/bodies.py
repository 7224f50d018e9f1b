"""What receiving takes over HTTP.

A line's own fields are limited here only so far that they can be kept; whether they are right is judged line by line,
so that one bad line does not turn away the others.
"""

import datetime as dt
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from contracts.receiving import ConflictDecision
from contracts.values import BatchNo, Code, DateSource, Delta, Moment, Quality, QuantityOrZero, Reference, Text
from services.receiving.domain.pasting import MOST_LINES

MOST_LINES_OF_A_RECEIPT = 500

Scan = Annotated[str, StringConstraints(min_length=1, max_length=7_100)]
"""What a scanner sends, or a label typed with its AIs in brackets."""

_LABEL = "(01)06901234567892(11)260220(17)270820(10)WMP2602A"


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Kept(_Body):
    """A body whose texts go into the database, which holds every character but one."""

    @field_validator("*", mode="before")
    @classmethod
    def _has_no_nul(cls, value: object) -> object:
        if isinstance(value, str) and "\x00" in value:
            raise ValueError(f"{value[:100]!r} has the character NUL at {value.index(chr(0))}: no text may have it")
        return value


class AcceptShortLife(_Kept):
    """Take the goods although too little life is left; needs a supervisor or quality."""

    reason: Text = Field(examples=["Used up in production this week, agreed with planning"])


class ReceiptLine(_Kept):
    """One batch of one item. What is typed counts before the label, the label before what was announced."""

    expected_receipt_id: UUID | None = Field(
        default=None,
        description="Which announced goods these are: `GET /expected-receipts?open=true` lists them. Absent: the only "
        "open one that fits by item, supplier, site, the batch number that it names, and the quantity still to come "
        "(the answer says `matched_expectation`); of several, the one with this receipt's `reference`. Where that does "
        "not decide, the goods are received without one, the answer names those that fit (`several_expectations`), and "
        "the batch has no cost until somebody states it.",
        examples=["019c8f6e-2f5b-7a0c-9d1e-6b1f0c2a7e55"],
    )
    scan: Scan | None = Field(default=None, examples=[_LABEL])
    item_id: Code | None = Field(default=None, examples=["WMP-25"])
    batch_no: str | None = Field(default=None, max_length=80, examples=["WMP2602A"])
    number_batch: bool = Field(default=False, description="Where no batch number is known: make the next one.")
    supplier_id: Code | None = Field(default=None, examples=["S-0117"])
    supplier_batch_no: Reference | None = Field(default=None, examples=["ND 2026/02-118"])
    manufactured_on: dt.date | None = Field(default=None, examples=["2026-02-20"])
    expires_on: dt.date | None = Field(
        default=None,
        description="The last usable day. Absent: manufacture date + shelf life.",
        examples=["2027-08-20"],
    )
    best_before: dt.date | None = Field(default=None, examples=["2027-06-30"])
    quantity: Delta | None = Field(default=None, description="More than 0, in `unit`.", examples=["4"])
    unit: Annotated[str, StringConstraints(max_length=10)] | None = Field(
        default=None, description="UN/ECE Rec 20; any unit of the item.", examples=["BX"]
    )
    quality: Literal[Quality.PENDING, Quality.RELEASED, Quality.REJECTED] | None = Field(
        default=None, description="Absent: pending, or released where the item needs no inspection."
    )
    production: bool = Field(default=False, description="Made here, and not announced by the MES.")
    accept_short_life: AcceptShortLife | None = None


class ReceiveGoods(_Kept):
    """Goods stand at a dock."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "site_id": "HRB-1",
                    "partner_id": "S-0117",
                    "reference": "PO-88213",
                    "lines": [
                        {"scan": _LABEL, "quantity": "4", "unit": "BX"},
                        {
                            "item_id": "WMP-25",
                            "number_batch": True,
                            "supplier_batch_no": "ND 2026/02-119",
                            "manufactured_on": "2026-02-21",
                            "quantity": "25",
                            "unit": "KGM",
                        },
                    ],
                }
            ]
        },
    )

    site_id: Code = Field(examples=["HRB-1"])
    location_id: Code = Field(default="DOCK", description="Where the goods stand: a location of the receiving zone.")
    partner_id: Code | None = Field(default=None, description="Who delivers.", examples=["S-0117"])
    reference: Reference | None = Field(default=None, examples=["PO-88213"])
    received_at: Moment | None = Field(default=None, description="Absent: now.", examples=["2026-03-02T08:40:00Z"])
    scanner: str = Field(default="default", max_length=40, description="Which scanner profile repairs the scans.")
    lines: tuple[ReceiptLine, ...] = Field(min_length=1, max_length=MOST_LINES_OF_A_RECEIPT)


class ScanLabel(_Body):
    """What does this label say?"""

    scan: Scan = Field(examples=[_LABEL])
    site_id: Code | None = Field(default=None, description="Only what is expected there.", examples=["HRB-1"])
    scanner: str = Field(default="default", max_length=40)


class PastedLines(_Body):
    """Lines copied from somewhere: `batch number;quantity`, one a line."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=100_000)] = Field(
        examples=["WMP2602A;2\nWMP2602B;4\nWMP2602C"], description=f"{MOST_LINES} lines at most."
    )


class SettleConflictBody(_Kept):
    """What a person decides about a conflict."""

    decision: Literal[
        ConflictDecision.KEEP_EXISTING,
        ConflictDecision.CORRECT_EXISTING,
        ConflictDecision.REGISTER_APART,
        ConflictDecision.REFUSE_RECEIPT,
    ] = Field(examples=["correct_existing"])
    reason: Text = Field(examples=["The supplier confirmed the later date in writing"])
    batch_no: BatchNo | None = Field(
        default=None, description="The new batch's number; only with `register_apart`.", examples=["WMP2602A-2"]
    )


class CorrectDatesBody(_Kept):
    """Other dates for a batch, and why."""

    manufactured_on: dt.date | None = Field(default=None, examples=["2026-02-20"])
    expires_on: dt.date | None = Field(default=None, examples=["2027-08-20"])
    source: Literal[DateSource.ENTERED, DateSource.LABEL, DateSource.RETEST] = Field(
        default=DateSource.ENTERED, description="`retest` after a re-test, `label` after reading it again."
    )
    reason: Text = Field(examples=["Label misread at receipt: 20 August, not 2 August"])


class IssueNumbers(_Body):
    """Batch numbers to print on labels before the goods are received."""

    item_id: Code = Field(examples=["WMP-25"])
    supplier_id: Code | None = Field(default=None, examples=["S-0117"])
    site_id: Code | None = Field(default=None, description="Whose today is meant.", examples=["HRB-1"])
    on: dt.date | None = Field(default=None, description="The day in the number. Absent: today.")
    count: int = Field(default=1, ge=1, le=500)


class InspectBatch(_Kept):
    """A decision about pending goods, to be signed. In the item's base unit."""

    batch_id: UUID = Field(examples=["01890a5d-ac96-774b-bcce-b302099a8057"])
    site_id: Code = Field(examples=["HRB-1"])
    released: QuantityOrZero = Field(examples=["97.5"])
    rejected: QuantityOrZero = Field(examples=["2.5"])
    reason: Text | None = Field(
        default=None,
        description="Needed when something is rejected.",
        examples=["Moisture 3.9 %, the limit is 3.5 %"],
    )
    certificate: Reference | None = Field(default=None, examples=["CoA-2026-0312"])
    meaning: Text = Field(default="approval", description="What the signature means.", examples=["approval"])
