"""What receiving answers over HTTP. Decimals are text, times UTC, dates plain dates."""

import datetime as dt
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from contracts.receiving import ConflictDecision
from contracts.values import BatchFacts, Delta, Quality, Signature
from services.receiving.domain.expected import ExpectedStatus


class ReasonView(BaseModel):
    """Why, in a stable code and in words."""

    code: str = Field(examples=["too_few_days_left"])
    text: str = Field(examples=["120 days are left on 2026-03-02 (expires 2026-06-30): 270 are required"])


class LineView(BaseModel):
    """What became of a line. `quantity` is in the item's base unit; `reasons` also hold what is only worth knowing."""

    line_no: int
    outcome: Literal["received", "conflict", "refused"]
    item_id: str | None = None
    batch_id: UUID | None = None
    batch_no: str | None = None
    quality: Quality | None = None
    quantity: Delta | None = None
    conflict_id: UUID | None = None
    expected_receipt_id: UUID | None = Field(
        default=None, description="What it counts for: as named, or the only one that fits (`matched_expectation`)."
    )
    reasons: list[ReasonView] = []


class ReceiptAnswer(BaseModel):
    """A receipt, line by line."""

    receipt_id: UUID
    lines: list[LineView]


class ReceiptView(ReceiptAnswer):
    """A receipt as it was entered."""

    site_id: str
    location_id: str
    partner_id: str | None
    reference: str | None
    received_at: dt.datetime
    recorded_at: dt.datetime
    entered_by: str


class ExpectedReceiptView(BaseModel):
    """Goods that were announced. `quantity` in `unit`; `received` in the item's base unit."""

    expected_receipt_id: UUID
    origin: str
    item_id: str
    quantity: Delta
    unit: str
    received: Delta
    base_unit: str | None = Field(description="None while the item is not in the catalog.")
    status: ExpectedStatus
    site_id: str
    due_on: dt.date
    partner_id: str | None
    batch_no: str | None
    supplier_batch_no: str | None
    manufactured_on: dt.date | None
    expires_on: dt.date | None
    best_before: dt.date | None
    reference: str | None
    withdrawn_reason: str | None
    given_back: bool = Field(description="Material that production took and did not use.")


class ElementView(BaseModel):
    """One application identifier and its value."""

    ai: str = Field(examples=["17"])
    value: str = Field(examples=["270820"])


class ScannedItem(BaseModel):
    """The item that the label names, in the unit of its GTIN."""

    item_id: str
    name: str
    unit: str
    base_unit: str


class KnownBatch(BaseModel):
    """A registered batch."""

    batch_id: UUID
    item_id: str
    batch: BatchFacts


class ScanView(BaseModel):
    """What a label says. Refused labels say why; what could be read of them is there all the same."""

    verdict: Literal["accepted", "refused"]
    reasons: list[ReasonView] = Field(default=[], description="Why it is refused, or what should be looked at.")
    text: str | None = Field(default=None, description="The human-readable form.")
    elements: list[ElementView] = []
    repaired: list[str] = Field(default=[], description="What the scanner profile had to repair.")
    gtin: str | None = None
    sscc: str | None = None
    serial: str | None = None
    item: ScannedItem | None = None
    batch_no: str | None = None
    manufactured_on: dt.date | None = None
    expires_on: dt.date | None = None
    expiry_precision: str | None = None
    best_before: dt.date | None = None
    count: int | None = None
    net_weight_kg: Delta | None = None
    batches: list[KnownBatch] = Field(default=[], description="Registered batches of this item and number.")
    expected_receipts: list[ExpectedReceiptView] = Field(default=[], description="Open ones of the item, due first.")


class PastedLineView(BaseModel):
    """A pasted line as it was understood."""

    text_line: int
    batch_no: str
    quantity: Delta | None
    problem: ReasonView | None


class PastedView(BaseModel):
    """All pasted lines; nothing was received yet."""

    usable: bool = Field(description="Whether every line can be used as it is.")
    lines: list[PastedLineView]


class NumbersView(BaseModel):
    """Numbers that are handed out once and to nobody else."""

    item_id: str
    batch_nos: list[str]


class ConflictView(BaseModel):
    """A label that contradicts the batch on record, and what was decided about it."""

    conflict_id: UUID
    receipt_id: UUID
    line_no: int
    item_id: str
    batch_id: UUID
    site_id: str
    existing: BatchFacts
    claimed: BatchFacts
    differs: list[str]
    quantity: Delta = Field(description="In the item's base unit.")
    unit: str
    found_at: dt.datetime
    open: bool
    decision: ConflictDecision | None
    reason: str | None
    settled_at: dt.datetime | None
    settled_by: str | None
    received_as: UUID | None = Field(description="The batch that the goods were received on.")


class SettledView(BaseModel):
    """What a settlement led to."""

    conflict_id: UUID
    decision: ConflictDecision
    outcome: Literal["received", "refused"]
    batch_id: UUID | None
    batch_no: str | None
    quantity: Delta | None


class InspectionDue(BaseModel):
    """Pending goods that nobody has decided about. `pending` in the item's base unit."""

    batch_id: UUID
    item_id: str
    item_name: str | None
    site_id: str
    batch: BatchFacts
    received: Delta
    pending: Delta
    unit: str
    since: dt.datetime


class InspectionView(BaseModel):
    """A signed decision. `signature_holds` is false when the record is no longer what was signed."""

    inspection_id: UUID
    batch_id: UUID
    item_id: str
    site_id: str
    released: Delta
    rejected: Delta
    unit: str
    reason: str | None
    certificate: str | None
    signature: Signature
    signature_holds: bool


class BatchView(KnownBatch):
    """A registered batch."""

    registered_at: dt.datetime


class ReceivedView(BaseModel):
    """A quantity of the batch that arrived."""

    receipt_id: UUID
    line_no: int
    site_id: str
    location_id: str
    quantity: Delta
    unit: str
    entered_quantity: Delta
    entered_unit: str
    quality: Quality
    origin: str
    partner_id: str | None
    expected_receipt_id: UUID | None
    reference: str | None
    received_at: dt.datetime


class DecisionView(BaseModel):
    """Who decided what, when and why, with what was before and after."""

    kind: str = Field(examples=["facts_corrected"])
    decided_by: str
    name: str
    decided_at: dt.datetime
    reason: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class WholeBatchView(BatchView):
    """A batch with its history, newest first; of each kind the newest five hundred."""

    model_config = ConfigDict(title="WholeBatch")

    received: Delta = Field(description="All that ever arrived of it, in the item's base unit.")
    receipts: list[ReceivedView]
    inspections: list[InspectionView]
    conflicts: list[ConflictView]
    decisions: list[DecisionView]
