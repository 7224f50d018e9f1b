"""What receiving says: the identity of batches, what arrived, what inspection decided, what a person had to settle."""

from uuid import UUID

from pydantic import Field

from contracts.event import Event
from contracts.values import (
    BatchFacts,
    Code,
    Listed,
    Moment,
    Origin,
    Quality,
    Quantity,
    QuantityOrZero,
    Reference,
    Signature,
    Text,
    Unit,
)


class BatchRegistered(Event):
    """A batch exists from now on. `batch_id` never changes; the facts may be corrected by `BatchDatesCorrected`."""

    batch_id: UUID
    item_id: Code
    batch: BatchFacts
    registered_at: Moment


class BatchDatesCorrected(Event):
    """A person replaced a batch's facts with a reason; the earlier facts stay readable here."""

    batch_id: UUID
    item_id: Code
    before: BatchFacts
    after: BatchFacts
    reason: Text
    corrected_at: Moment


class BatchReceived(Event):
    """A quantity of a batch stands at a dock location. `quantity` is in the item's base unit, as entered beside it."""

    receipt_id: UUID
    line_no: int = Field(ge=1)
    batch_id: UUID
    item_id: Code
    batch: BatchFacts
    quantity: Quantity
    unit: Unit
    entered_quantity: Quantity
    entered_unit: Unit
    site_id: Code
    location_id: Code
    quality: Quality
    origin: Origin
    partner_id: Code | None = None
    expected_receipt_id: UUID | None = None
    reference: Reference | None = None
    received_at: Moment


class BatchInspected(Event):
    """An inspector decided about a quantity that was pending: `released` + `rejected`, in the base unit, signed."""

    inspection_id: UUID
    batch_id: UUID
    item_id: Code
    site_id: Code
    released: QuantityOrZero
    rejected: QuantityOrZero
    unit: Unit
    reason: Text | None = None
    certificate: Reference | None = None
    signature: Signature
    inspected_at: Moment


class ConflictDecision(Listed):
    """How a person settled a conflict."""

    KEEP_EXISTING = "keep_existing"
    CORRECT_EXISTING = "correct_existing"
    REGISTER_APART = "register_apart"
    REFUSE_RECEIPT = "refuse_receipt"
    UNKNOWN = "unknown"


class ReceiptConflictFound(Event):
    """The label's batch number is known with another expiry, manufacture date or supplier: nothing was changed."""

    conflict_id: UUID
    item_id: Code
    batch_id: UUID
    existing: BatchFacts
    claimed: BatchFacts
    differs: tuple[str, ...] = Field(min_length=1)
    found_at: Moment


class ReceiptConflictSettled(Event):
    """A person decided about a conflict, with a reason."""

    conflict_id: UUID
    item_id: Code
    batch_id: UUID
    decision: ConflictDecision
    reason: Text
    settled_at: Moment
