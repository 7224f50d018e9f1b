"""All SQL of integration that only reads, and what its answers look like. Quantities and money are decimal text."""

import datetime as dt
from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field, PlainSerializer

from contracts.integration import ItemDefined, PartnerDefined
from delivery import Connection, Page, Pool
from services.integration.domain.reconciliation import BatchBooks, differences
from services.integration.settings import company_currency

DecimalText = Annotated[Decimal, PlainSerializer(lambda value: format(value, "f"), return_type=str, when_used="json")]
"""A decimal, as text in JSON."""


def _page(rows: list[Any], limit: int, key: str) -> tuple[list[Any], str | None]:
    """Cut `limit + 1` rows to a page and name where the next begins."""
    return rows[:limit], str(rows[limit - 1][key]) if len(rows) > limit else None


async def items(db: Pool, *, after: str, limit: int, active: bool | None) -> Page[ItemDefined]:
    """Items by id."""
    rows = await db.fetch(
        """
        SELECT item_id, definition
        FROM item
        WHERE item_id > $1 AND ($3::boolean IS NULL OR active = $3)
        ORDER BY item_id
        LIMIT $2 + 1
        """,
        after,
        limit,
        active,
    )
    found, following = _page(rows, limit, "item_id")
    return Page(items=[ItemDefined.model_validate(row["definition"]) for row in found], next=following)


async def item(db: Pool, item_id: str) -> ItemDefined | None:
    """One item."""
    found = await db.fetchval("SELECT definition FROM item WHERE item_id = $1", item_id)
    return None if found is None else ItemDefined.model_validate(found)


async def partners(db: Pool, *, after: str, limit: int, active: bool | None) -> Page[PartnerDefined]:
    """Partners by id."""
    rows = await db.fetch(
        """
        SELECT partner_id, definition
        FROM partner
        WHERE partner_id > $1 AND ($3::boolean IS NULL OR active = $3)
        ORDER BY partner_id
        LIMIT $2 + 1
        """,
        after,
        limit,
        active,
    )
    found, following = _page(rows, limit, "partner_id")
    return Page(items=[PartnerDefined.model_validate(row["definition"]) for row in found], next=following)


async def partner(db: Pool, partner_id: str) -> PartnerDefined | None:
    """One partner."""
    found = await db.fetchval("SELECT definition FROM partner WHERE partner_id = $1", partner_id)
    return None if found is None else PartnerDefined.model_validate(found)


class ExpectedReceiptView(BaseModel):
    """Goods that will arrive, and how much of them has."""

    expected_receipt_id: UUID
    origin: str
    item_id: str
    quantity: DecimalText = Field(description="In the base unit.")
    unit: str
    entered_quantity: DecimalText
    entered_unit: str
    received: DecimalText = Field(description="In the base unit.")
    site_id: str
    due_on: dt.date
    partner_id: str | None
    batch_no: str | None
    supplier_batch_no: str | None
    manufactured_on: dt.date | None
    expires_on: dt.date | None
    best_before: dt.date | None
    reference: str | None
    report_id: UUID | None
    cost_basis: str = Field(description="given, production, own (what the batch is worth) or unknown.")
    unit_cost: DecimalText | None = Field(description="Per entered unit.")
    currency: str | None
    status: str = Field(description="open, received or withdrawn.")
    expected_at: dt.datetime
    withdrawn_why: str | None


_EXPECTED = """
    SELECT *
    FROM (SELECT expected.*, line.received,
                 CASE WHEN withdrawn_at IS NOT NULL      THEN 'withdrawn'
                      WHEN line.received >= quantity     THEN 'received'
                      ELSE 'open' END AS status
          FROM expected_receipt AS expected
          CROSS JOIN LATERAL (SELECT coalesce(sum(quantity), 0) AS received FROM receipt_line
                              WHERE receipt_line.expected_receipt_id = expected.expected_receipt_id) AS line) AS found
"""


async def expected_receipts(
    db: Pool, *, item_id: str | None, status: str | None, after: UUID | None, limit: int
) -> Page[ExpectedReceiptView]:
    """Expected receipts, oldest first."""
    rows = await db.fetch(
        _EXPECTED
        + """
        WHERE ($1::text IS NULL OR item_id = $1) AND ($2::text IS NULL OR status = $2)
          AND ($3::uuid IS NULL OR expected_receipt_id > $3)
        ORDER BY expected_receipt_id
        LIMIT $4 + 1
        """,
        item_id,
        status,
        after,
        limit,
    )
    found, following = _page(rows, limit, "expected_receipt_id")
    return Page(items=[ExpectedReceiptView.model_validate(dict(row)) for row in found], next=following)


async def expected_receipt(db: Pool, expected_receipt_id: UUID) -> ExpectedReceiptView | None:
    """One expected receipt."""
    row = await db.fetchrow(_EXPECTED + "WHERE expected_receipt_id = $1", expected_receipt_id)
    return None if row is None else ExpectedReceiptView.model_validate(dict(row))


class ReportView(BaseModel):
    """A production report and what became of it."""

    report_id: UUID
    source: str
    message_id: str
    work_order: str
    item_id: str
    batch_no: str
    sequence: int
    final: bool
    quantity: DecimalText = Field(description="In the base unit.")
    status: str = Field(description="taken, waiting, replaced, or outlived (its lot was closed before its turn).")
    waits_for_sequence: int | None = Field(description="Which number of the lot must come first.")
    corrects: UUID | None
    received_at: dt.datetime
    settled_at: dt.datetime | None


class ConsumptionView(BaseModel):
    """What inventory was told to issue, and what it booked. Base units; value positive."""

    consumption_id: UUID
    item_id: str
    batch_no: str
    quantity: DecimalText
    booked: DecimalText
    value: DecimalText | None = Field(description="Absent while the cost of the consumed batch is unknown.")


class ReportWhole(ReportView):
    """With the message as it came, and what came of it."""

    raw: str
    via: str
    expected_receipt: ExpectedReceiptView | None
    consumptions: list[ConsumptionView]


_REPORT = """
    SELECT report.*, raw.received_at, raw.body AS raw, raw.via,
           CASE report.status WHEN 'waiting' THEN (
               SELECT 1 + coalesce(max(other.sequence), 0) FROM production_report AS other
               WHERE (other.source, other.batch_no) = (report.source, report.batch_no)
                 AND other.status IN ('taken', 'replaced') AND other.settled_at IS NOT NULL) END AS waits_for_sequence
    FROM production_report AS report
    JOIN raw_message AS raw ON raw.message_uid = report.report_id
"""


async def reports(
    db: Pool, *, status: str | None, work_order: str | None, after: UUID | None, limit: int
) -> Page[ReportView]:
    """Production reports, oldest first."""
    rows = await db.fetch(
        _REPORT
        + """
        WHERE ($1::text IS NULL OR report.status = $1) AND ($2::text IS NULL OR report.work_order = $2)
          AND ($3::uuid IS NULL OR report.report_id > $3)
        ORDER BY report.report_id
        LIMIT $4 + 1
        """,
        status,
        work_order,
        after,
        limit,
    )
    found, following = _page(rows, limit, "report_id")
    return Page(items=[ReportView.model_validate(dict(row)) for row in found], next=following)


async def report(db: Pool, report_id: UUID) -> ReportWhole | None:
    """One report, whole."""
    row = await db.fetchrow(_REPORT + "WHERE report.report_id = $1", report_id)
    if row is None:
        return None
    consumptions = await db.fetch(
        """
        SELECT consumption.consumption_id, item_id, batch_no, consumption.quantity,
               coalesce(sum(booked.quantity), 0) AS booked,
               CASE WHEN bool_and(booked.value IS NOT NULL) THEN sum(booked.value) END AS value
        FROM consumption
        LEFT JOIN booked_consumption AS booked USING (consumption_id)
        WHERE report_id = $1
        GROUP BY consumption.consumption_id
        ORDER BY item_id, batch_no
        """,
        report_id,
    )
    expected = row["expected_receipt_id"]
    return ReportWhole.model_validate(
        {
            **dict(row),
            "expected_receipt": None if expected is None else await expected_receipt(db, expected),
            "consumptions": [dict(each) for each in consumptions],
        }
    )


class DemandView(BaseModel):
    """A line that the ERP wants out."""

    demand_id: UUID
    reference: str
    customer_id: str
    site_id: str
    item_id: str
    quantity: DecimalText = Field(description="In the base unit.")
    unit: str
    entered_quantity: DecimalText
    entered_unit: str
    needed_on: dt.date
    strategy: str
    batch_no: str | None
    min_days_left: int | None
    min_percent_left: int | None
    status: str = Field(description="raised or withdrawn; what was promised is allocation's to tell.")
    raised_at: dt.datetime
    withdrawn_why: str | None


async def demands(
    db: Pool, *, item_id: str | None, reference: str | None, status: str | None, after: UUID | None, limit: int
) -> Page[DemandView]:
    """Demands, oldest first."""
    rows = await db.fetch(
        """
        SELECT demand.*, CASE WHEN withdrawn_at IS NULL THEN 'raised' ELSE 'withdrawn' END AS status
        FROM demand
        WHERE ($1::text IS NULL OR item_id = $1) AND ($2::text IS NULL OR reference = $2)
          AND ($3::text IS NULL OR (withdrawn_at IS NULL) = ($3 = 'raised'))
          AND ($4::uuid IS NULL OR demand_id > $4)
        ORDER BY demand_id
        LIMIT $5 + 1
        """,
        item_id,
        reference,
        status,
        after,
        limit,
    )
    found, following = _page(rows, limit, "demand_id")
    return Page(items=[DemandView.model_validate(dict(row)) for row in found], next=following)


class AcknowledgementView(BaseModel):
    """What the ERP said of a posting. `counts`: it was the first answer; another one needs a person."""

    accepted: bool
    erp_document: str | None
    erp_year: int | None
    code: str | None
    text: str | None
    counts: bool
    received_at: dt.datetime


class PostingView(BaseModel):
    """A cost fact. `value` is absent where the cost was unknown; a revaluation with the same movement follows then."""

    number: int
    posting_id: UUID
    kind: str
    item_id: str
    batch_id: UUID
    batch_no: str
    quantity: DecimalText
    unit: str
    unit_cost: DecimalText | None
    value: DecimalText | None
    currency: str
    movement_id: UUID | None
    movement_sequence: int | None
    posting_date: dt.date
    reference: str | None
    partner_id: str | None
    reverses: UUID | None
    variance: DecimalText | None = Field(description="What goods that had left would have been worth more; no stock.")
    posted_at: dt.datetime
    status: str = Field(description="in_flight, accepted or rejected.")
    contradicted: bool = Field(description="The ERP answered twice, and not the same.")


class PostingWhole(PostingView):
    """With every answer of the ERP."""

    acknowledgements: list[AcknowledgementView]


_POSTING = """
    SELECT *
    FROM (SELECT posting.*,
                 CASE answer.accepted WHEN true  THEN 'accepted'
                                      WHEN false THEN 'rejected'
                                      ELSE 'in_flight' END AS status,
                 EXISTS (SELECT FROM acknowledgement AS other
                         WHERE other.posting_id = posting.posting_id AND NOT other.counts) AS contradicted
          FROM posting
          LEFT JOIN acknowledgement AS answer ON answer.posting_id = posting.posting_id AND answer.counts) AS found
"""


_FEW = {
    "in_flight": "number IN (SELECT number FROM unanswered_posting WHERE number > $5) AND",
    "rejected": "posting_id IN (SELECT posting_id FROM acknowledgement WHERE counts AND NOT accepted) AND",
}
"""Where few postings have a status, an index knows which."""


async def postings(
    db: Pool,
    *,
    item_id: str | None,
    batch_id: UUID | None,
    status: str | None,
    kind: str | None,
    after: int,
    limit: int,
) -> Page[PostingView]:
    """Postings in the order in which they were made. Those in flight or rejected are found without the others."""
    rows = await db.fetch(
        _POSTING
        + f"""
        WHERE {_FEW.get(status or "", "")} ($3::text IS NULL OR status = $3)
          AND ($1::text IS NULL OR item_id = $1) AND ($2::uuid IS NULL OR batch_id = $2)
          AND ($4::text IS NULL OR kind = $4) AND number > $5
        ORDER BY number
        LIMIT $6 + 1
        """,
        item_id,
        batch_id,
        status,
        kind,
        after,
        limit,
    )
    found, following = _page(rows, limit, "number")
    return Page(items=[PostingView.model_validate(dict(row)) for row in found], next=following)


async def posting(db: Pool, posting_id: UUID) -> PostingWhole | None:
    """One posting with the ERP's answers."""
    row = await db.fetchrow(_POSTING + "WHERE posting_id = $1", posting_id)
    if row is None:
        return None
    answers = await db.fetch(
        "SELECT * FROM acknowledgement WHERE posting_id = $1 ORDER BY received_at, acknowledgement_id", posting_id
    )
    return PostingWhole.model_validate({**dict(row), "acknowledgements": [dict(answer) for answer in answers]})


class LayerView(BaseModel):
    """An inflow with a cost of its own."""

    movement_id: UUID
    sequence: int
    quantity: DecimalText
    value: DecimalText
    source: str = Field(description="expected_receipt, production or person.")
    learnt_at: dt.datetime


class UnvaluedView(BaseModel):
    """A movement that waits for its value."""

    movement_id: UUID
    sequence: int
    quantity: DecimalText
    kind: str


class GivenCostView(BaseModel):
    """A cost that a person gave."""

    unit_cost: DecimalText
    currency: str
    reason: str
    given_by: str
    given_at: dt.datetime


class BatchCost(BaseModel):
    """What a batch is worth and why. While `unknown`, `value` is what was posted before the cost became unknown."""

    batch_id: UUID
    item_id: str
    batch_no: str
    quantity: DecimalText
    unit: str
    value: DecimalText
    unknown: bool
    currency: str
    layers: list[LayerView]
    unvalued: list[UnvaluedView] = Field(description="The first 100, in the ledger's order.")
    given: list[GivenCostView]


async def batch_cost(db: Pool, batch_id: UUID) -> BatchCost | None:
    """One batch's value, layers, and what waits."""
    row = await db.fetchrow("SELECT * FROM batch_value WHERE batch_id = $1", batch_id)
    if row is None:
        return None
    layers = await db.fetch("SELECT * FROM cost_layer WHERE batch_id = $1 ORDER BY sequence", batch_id)
    unvalued = await db.fetch(
        "SELECT * FROM unvalued_movement WHERE batch_id = $1 ORDER BY sequence LIMIT 100", batch_id
    )
    given = await db.fetch("SELECT * FROM given_cost WHERE batch_id = $1 ORDER BY given_at", batch_id)
    return BatchCost.model_validate(
        {
            **dict(row),
            "currency": company_currency(),
            "layers": [dict(each) for each in layers],
            "unvalued": [dict(each) for each in unvalued],
            "given": [dict(each) for each in given],
        }
    )


class DifferenceView(BaseModel):
    """Two figures that must be equal and are not."""

    batch_no: str
    what: str = Field(examples=["value and posted value"])
    one: DecimalText
    other: DecimalText


class PostingCount(BaseModel):
    """Some postings: how many, and what those with a value add up to."""

    postings: int
    value: DecimalText


class ItemReconciled(BaseModel):
    """One item in the three books: ledger, valuation, postings."""

    item_id: str
    unit: str | None
    ledger_quantity: DecimalText
    valued_quantity: DecimalText
    value: DecimalText = Field(description="What its batches are worth, together.")
    posted_value: DecimalText
    currency: str
    holds: bool
    differences: list[DifferenceView]
    batches: int
    unknown_cost_batches: list[str] = Field(description="Batch numbers whose cost is not known yet; the first 100.")
    in_flight: PostingCount = Field(description="Not answered by the ERP yet.")
    rejected: PostingCount = Field(description="The ERP said no: a person has to look.")
    contradicted: int = Field(description="Postings that the ERP answered twice, and not the same.")


async def books(db: Pool | Connection, item_ids: Iterable[str]) -> dict[str, list[BatchBooks]]:
    """Every batch of these items in the three books, added up anew from what is kept."""
    rows = await db.fetch(
        """
        WITH posted AS (
            SELECT item_id, batch_id, min(batch_no) AS batch_no, sum(quantity) AS quantity,
                   coalesce(sum(value), 0) AS value
            FROM posting
            WHERE item_id = ANY($1::text[])
            GROUP BY item_id, batch_id
        )
        SELECT item_id, batch_id, batch_no,
               coalesce(ledger.quantity, 0) AS ledger_quantity, coalesce(valued.quantity, 0) AS valued_quantity,
               coalesce(posted.quantity, 0) AS posted_quantity, coalesce(valued.value, 0)    AS value,
               coalesce(posted.value, 0)    AS posted_value,    coalesce(valued.unknown, false) AS unknown
        FROM      (SELECT * FROM ledger_batch WHERE item_id = ANY($1::text[])) AS ledger
        FULL JOIN (SELECT * FROM batch_value  WHERE item_id = ANY($1::text[])) AS valued
                  USING (item_id, batch_id, batch_no)
        FULL JOIN posted USING (item_id, batch_id, batch_no)
        ORDER BY item_id, batch_id
        """,
        list(item_ids),
    )
    found: dict[str, list[BatchBooks]] = {}
    for row in rows:
        known = {name: value for name, value in row.items() if name != "item_id"}
        found.setdefault(row["item_id"], []).append(BatchBooks(**{**known, "batch_id": str(row["batch_id"])}))
    return found


async def reconciliation(db: Pool, *, item_id: str | None, after: str, limit: int) -> Page[ItemReconciled]:
    """Items with stock in the books, each reconciled now. One item that never moved gives an empty page."""
    listed = await db.fetch(
        """
        SELECT item_id, min(unit) AS unit
        FROM ledger_batch
        WHERE item_id > $1 AND ($2::text IS NULL OR item_id = $2)
        GROUP BY item_id
        ORDER BY item_id
        LIMIT $3 + 1
        """,
        after,
        item_id,
        limit,
    )
    rows, following = _page(listed, limit, "item_id")
    item_ids = [row["item_id"] for row in rows]
    by_item = await books(db, item_ids)
    answers = {
        row["item_id"]: row
        for row in await db.fetch(
            """
            SELECT item_id, in_flight, in_flight_value, rejected, rejected_value, contradicted
            FROM unnest($1::text[]) AS asked (item_id)
            CROSS JOIN LATERAL (
                SELECT count(*) AS in_flight, sum(value) AS in_flight_value
                FROM unanswered_posting
                JOIN posting USING (number)
                WHERE unanswered_posting.item_id = asked.item_id) AS flying
            CROSS JOIN LATERAL (
                SELECT count(*)   FILTER (WHERE answer.counts)     AS rejected,
                       sum(value) FILTER (WHERE answer.counts)     AS rejected_value
                FROM acknowledgement AS answer
                JOIN posting USING (posting_id)
                WHERE NOT answer.accepted AND posting.item_id = asked.item_id) AS refused
            CROSS JOIN LATERAL (
                SELECT count(DISTINCT answer.posting_id) AS contradicted
                FROM acknowledgement AS answer
                JOIN posting USING (posting_id)
                WHERE NOT answer.counts AND posting.item_id = asked.item_id) AS contested
            """,
            item_ids,
        )
    }
    return Page(
        items=[_reconciled(row, by_item.get(row["item_id"], []), answers.get(row["item_id"])) for row in rows],
        next=following,
    )


def _reconciled(listed: Any, batches: list[BatchBooks], answers: Any | None) -> ItemReconciled:
    zero = Decimal(0)
    found = differences(batches)

    def counted(name: str) -> PostingCount:
        if answers is None:
            return PostingCount(postings=0, value=zero)
        return PostingCount(postings=answers[name], value=answers[f"{name}_value"] or zero)

    return ItemReconciled(
        item_id=listed["item_id"],
        unit=listed["unit"],
        ledger_quantity=sum((batch.ledger_quantity for batch in batches), zero),
        valued_quantity=sum((batch.valued_quantity for batch in batches), zero),
        value=sum((batch.value for batch in batches), zero),
        posted_value=sum((batch.posted_value for batch in batches), zero),
        currency=company_currency(),
        holds=not found,
        differences=[DifferenceView(batch_no=d.batch_no, what=d.what, one=d.one, other=d.other) for d in found],
        batches=len(batches),
        unknown_cost_batches=[batch.batch_no for batch in batches if batch.unknown][:100],
        in_flight=counted("in_flight"),
        rejected=counted("rejected"),
        contradicted=answers["contradicted"] if answers is not None else 0,
    )


async def items_that_differ(db: Connection) -> int:
    """Items whose books did not hold when they were last compared."""
    return int(await db.fetchval("SELECT count(*) FROM item_check WHERE NOT holds"))
