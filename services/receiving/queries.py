"""All SQL that only reads, as answers."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any
from uuid import UUID

import asyncpg

from contracts.values import BatchFacts
from delivery import Page, Pool
from services.receiving.domain.inspection import Record, signature_holds
from services.receiving.inspections import view_of
from services.receiving.views import (
    BatchView,
    ConflictView,
    DecisionView,
    ExpectedReceiptView,
    InspectionDue,
    InspectionView,
    LineView,
    ReceiptView,
    ReceivedView,
    WholeBatchView,
)

MOST_OF_A_KIND = 500
"""Rows of each kind in a batch's history."""

Row = asyncpg.Record


def _facts(row: Row) -> BatchFacts:
    return BatchFacts(**{name: row[name] for name in BatchFacts.model_fields})


def _page(rows: Sequence[Any], limit: int, key: str) -> str | None:
    return str(getattr(rows[limit - 1], key)) if len(rows) > limit else None


_EXPECTED = """
    SELECT expected_receipt.*, item.base_unit
    FROM expected_receipt LEFT JOIN item USING (item_id)
"""


async def expected_receipts(
    db: Pool,
    *,
    sites: Sequence[str] | None,
    item_id: str | None,
    only_open: bool,
    after: UUID | None,
    limit: int,
) -> Page[ExpectedReceiptView]:
    """What is expected, due first."""
    rows = await db.fetch(
        f"""
        {_EXPECTED}
        WHERE ($1::text[] IS NULL OR site_id = ANY($1))
          AND ($2::text IS NULL OR item_id = $2)
          AND (NOT $3 OR status IN ('open', 'partly'))
          AND ($4::uuid IS NULL OR (due_on, expected_receipt_id) >
                                   (SELECT due_on, expected_receipt_id FROM expected_receipt
                                    WHERE expected_receipt_id = $4))
        ORDER BY due_on, expected_receipt_id
        LIMIT $5
        """,
        sites,
        item_id,
        only_open,
        after,
        limit + 1,
    )
    found = [ExpectedReceiptView.model_validate(dict(row)) for row in rows]
    return Page(items=found[:limit], next=_page(found, limit, "expected_receipt_id"))


async def expected_receipt(db: Pool, expected_receipt_id: UUID) -> ExpectedReceiptView | None:
    """One expected receipt."""
    row = await db.fetchrow(f"{_EXPECTED} WHERE expected_receipt_id = $1", expected_receipt_id)
    return None if row is None else ExpectedReceiptView.model_validate(dict(row))


async def receipt(db: Pool, receipt_id: UUID) -> ReceiptView | None:
    """A receipt with its lines as they were first answered."""
    head = await db.fetchrow("SELECT * FROM receipt WHERE receipt_id = $1", receipt_id)
    if head is None:
        return None
    rows = await db.fetch(
        """
        SELECT line_no, outcome, coalesce(batch.item_id, entered->>'item_id') AS item_id, line.batch_id,
               line.batch_no, quality, quantity, conflict_id, reasons,
               coalesce((SELECT received.expected_receipt_id FROM received
                         WHERE (received.receipt_id, received.line_no) = (line.receipt_id, line.line_no)),
                        (arrival->>'expected_receipt_id')::uuid) AS expected_receipt_id
        FROM receipt_line AS line
        LEFT JOIN batch USING (batch_id)
        LEFT JOIN conflict USING (receipt_id, line_no)
        WHERE receipt_id = $1
        ORDER BY line_no
        """,
        receipt_id,
    )
    return ReceiptView.model_validate({**dict(head), "lines": [LineView.model_validate(dict(row)) for row in rows]})


_CONFLICT = """
    SELECT conflict_id, receipt_id, line_no, item_id, batch_id, site_id, existing, claimed, differs, arrival, found_at,
           decision, reason, settled_at, settled_by, received_as
    FROM conflict
"""


def _conflict(row: Row) -> ConflictView:
    arrival = row["arrival"]
    return ConflictView.model_validate(
        {
            **dict(row),
            "open": row["decision"] is None,
            "quantity": arrival["quantity"],
            "unit": arrival["unit"],
        }
    )


async def conflicts(
    db: Pool, *, sites: Sequence[str] | None, item_id: str | None, only_open: bool, after: UUID | None, limit: int
) -> Page[ConflictView]:
    """Conflicts, oldest first."""
    rows = await db.fetch(
        f"""
        {_CONFLICT}
        WHERE ($1::text[] IS NULL OR site_id = ANY($1))
          AND ($2::text IS NULL OR item_id = $2)
          AND (NOT $3 OR decision IS NULL)
          AND ($4::uuid IS NULL OR (found_at, conflict_id) >
                                   (SELECT found_at, conflict_id FROM conflict WHERE conflict_id = $4))
        ORDER BY found_at, conflict_id
        LIMIT $5
        """,
        sites,
        item_id,
        only_open,
        after,
        limit + 1,
    )
    found = [_conflict(row) for row in rows]
    return Page(items=found[:limit], next=_page(found, limit, "conflict_id"))


async def conflict(db: Pool, conflict_id: UUID) -> ConflictView | None:
    """One conflict."""
    row = await db.fetchrow(f"{_CONFLICT} WHERE conflict_id = $1", conflict_id)
    return None if row is None else _conflict(row)


def _batch(row: Row) -> BatchView:
    return BatchView(
        batch_id=row["batch_id"], item_id=row["item_id"], batch=_facts(row), registered_at=row["registered_at"]
    )


async def batches(
    db: Pool,
    *,
    item_id: str | None,
    batch_no: str | None,
    supplier_id: str | None,
    supplier_batch_no: str | None,
    after: UUID | None,
    limit: int,
) -> Page[BatchView]:
    """Registered batches by any of their names, in the order of their ids, which is that of their registration."""
    rows = await db.fetch(
        """
        SELECT *
        FROM batch
        WHERE ($1::text IS NULL OR item_id = $1)
          AND ($2::text IS NULL OR batch_no = $2)
          AND ($3::text IS NULL OR supplier_id = $3)
          AND ($4::text IS NULL OR supplier_batch_no = $4)
          AND ($5::uuid IS NULL OR batch_id > $5)
        ORDER BY batch_id
        LIMIT $6
        """,
        item_id,
        batch_no,
        supplier_id,
        supplier_batch_no,
        after,
        limit + 1,
    )
    found = [_batch(row) for row in rows]
    return Page(items=found[:limit], next=_page(found, limit, "batch_id"))


async def batch(db: Pool, batch_id: UUID) -> WholeBatchView | None:
    """A batch with its history."""
    row = await db.fetchrow(
        """
        SELECT batch.*, (SELECT coalesce(sum(quantity), 0) FROM received WHERE received.batch_id = batch.batch_id)
                        AS received_in_all
        FROM batch
        WHERE batch_id = $1
        """,
        batch_id,
    )
    if row is None:
        return None
    receipts = await db.fetch(
        "SELECT * FROM received WHERE batch_id = $1 ORDER BY received_at DESC, receipt_id DESC, line_no DESC LIMIT $2",
        batch_id,
        MOST_OF_A_KIND,
    )
    inspections = await db.fetch(
        "SELECT * FROM inspection WHERE batch_id = $1 ORDER BY signed_at DESC, inspection_id DESC LIMIT $2",
        batch_id,
        MOST_OF_A_KIND,
    )
    found = await db.fetch(
        f"{_CONFLICT} WHERE batch_id = $1 OR received_as = $1 ORDER BY found_at DESC, conflict_id DESC LIMIT $2",
        batch_id,
        MOST_OF_A_KIND,
    )
    decisions = await db.fetch(
        """
        SELECT kind, decided_by, name, decided_at, reason, before, after
        FROM decision
        WHERE batch_id = $1
        ORDER BY decided_at DESC, decision_id DESC
        LIMIT $2
        """,
        batch_id,
        MOST_OF_A_KIND,
    )
    return WholeBatchView(
        **dict(_batch(row)),
        received=row["received_in_all"],
        receipts=[ReceivedView.model_validate(dict(each)) for each in receipts],
        inspections=[_inspection(each) for each in inspections],
        conflicts=[_conflict(each) for each in found],
        decisions=[DecisionView.model_validate(dict(each)) for each in decisions],
    )


async def inspections_due(
    db: Pool, *, sites: Sequence[str] | None, item_id: str | None, after: tuple[UUID, str] | None, limit: int
) -> Page[InspectionDue]:
    """Pending goods that nobody has decided about, those that wait longest first. `after` is a batch and a site."""
    rows = await db.fetch(
        """
        SELECT batch.*, item.name AS item_name, pending.site_id, pending.received, pending.since,
               pending.received - pending.decided AS pending,
               (SELECT unit FROM received WHERE received.batch_id = batch.batch_id ORDER BY received_at DESC LIMIT 1)
               AS unit
        FROM pending_stock AS pending
        JOIN batch USING (batch_id)
        LEFT JOIN item USING (item_id)
        WHERE pending.decided < pending.received
          AND ($1::text[] IS NULL OR pending.site_id = ANY($1))
          AND ($2::text IS NULL OR batch.item_id = $2)
          AND ($3::uuid IS NULL OR (pending.since, pending.batch_id, pending.site_id) >
                                   (SELECT since, batch_id, site_id FROM pending_stock
                                    WHERE batch_id = $3 AND site_id = $4))
        ORDER BY pending.since, pending.batch_id, pending.site_id
        LIMIT $5
        """,
        sites,
        item_id,
        *(after or (None, None)),
        limit + 1,
    )
    found = [
        InspectionDue(**{name: row[name] for name in InspectionDue.model_fields if name != "batch"}, batch=_facts(row))
        for row in rows
    ]
    last = f"{found[limit - 1].batch_id}@{found[limit - 1].site_id}" if len(found) > limit else None
    return Page(items=found[:limit], next=last)


def _inspection(row: Row) -> InspectionView:
    record = Record(**{field.name: row[field.name] for field in fields(Record)})
    return view_of(record, row["record_hash"], holds=signature_holds(record, row["record_hash"]))


async def inspection(db: Pool, inspection_id: UUID) -> InspectionView | None:
    """An inspection, with its signature checked against the record as it stands."""
    row = await db.fetchrow("SELECT * FROM inspection WHERE inspection_id = $1", inspection_id)
    return None if row is None else _inspection(row)
