"""What one transaction changes, gathered while it decides and written at its end: one statement a table."""

import datetime as dt
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID

from contracts.receiving import ConflictDecision
from contracts.values import Origin, Quality
from services.receiving.domain.batches import Batch
from services.receiving.domain.expected import Progress
from services.receiving.domain.inspection import Record


@dataclass(frozen=True, slots=True)
class Arrival:
    """What stands at the dock by one line. `quantity` in the base unit `unit`, and as it was entered."""

    site_id: str
    location_id: str
    quantity: Decimal
    unit: str
    entered_quantity: Decimal
    entered_unit: str
    quality: Quality
    origin: Origin
    partner_id: str | None
    expected_receipt_id: UUID | None
    reference: str | None
    received_at: dt.datetime


@dataclass(frozen=True, slots=True)
class ReceiptRow:
    """The paper that the lines belong to."""

    receipt_id: UUID
    site_id: str
    location_id: str
    partner_id: str | None
    reference: str | None
    received_at: dt.datetime
    entered_by: str


@dataclass(frozen=True, slots=True)
class LineRow:
    """A line as it was entered, with its first outcome."""

    receipt_id: UUID
    line_no: int
    outcome: str
    batch_id: UUID | None
    batch_no: str | None
    quality: str | None
    quantity: Decimal | None
    reasons: list[dict[str, str]]
    entered: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ConflictRow:
    """A conflict that was found; `existing` and `claimed` are batch facts as JSON."""

    conflict_id: UUID
    receipt_id: UUID
    line_no: int
    batch: Batch
    existing: dict[str, Any]
    claimed: dict[str, Any]
    differs: tuple[str, ...]
    arrival: dict[str, Any]
    site_id: str


@dataclass(frozen=True, slots=True)
class SettlementRow:
    """What a person decided about a conflict, and the batch that the goods were received as."""

    conflict_id: UUID
    decision: ConflictDecision
    reason: str
    settled_by: str
    received_as: UUID | None


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """Who decided what about a batch, and why; `before` and `after` are batch facts or other JSON."""

    decision_id: UUID
    batch_id: UUID
    kind: str
    decided_by: str
    name: str
    reason: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None


@dataclass(slots=True)
class Changes:
    """Everything that a transaction writes."""

    receipts: list[ReceiptRow] = field(default_factory=list)
    lines: list[LineRow] = field(default_factory=list)
    registered: list[tuple[Batch, str]] = field(default_factory=list)
    """New batches, each with its scope supplier."""
    corrected: list[Batch] = field(default_factory=list)
    received: list[tuple[UUID, int, Batch, Arrival]] = field(default_factory=list)
    progress: dict[UUID, Progress] = field(default_factory=dict)
    conflicts: list[ConflictRow] = field(default_factory=list)
    settlements: list[SettlementRow] = field(default_factory=list)
    inspections: list[tuple[Record, str]] = field(default_factory=list)
    """Records with their hash."""
    decisions: list[DecisionRow] = field(default_factory=list)
    series: dict[tuple[str, str], int] = field(default_factory=dict)
    """The last sequence of each item's series."""
    issued: list[tuple[str, str, str]] = field(default_factory=list)
    """Item, batch number, who asked."""

    def receive(self, receipt_id: UUID, line_no: int, batch: Batch, arrival: Arrival) -> None:
        """Book an arrival."""
        self.received.append((receipt_id, line_no, batch, arrival))
