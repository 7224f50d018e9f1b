"""Receiving over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from contracts.values import BatchNo, Code
from delivery import Desk, Page, Person, Pool, desk, problem_responses, reading, requires
from delivery.problems import problem
from services.receiving import queries
from services.receiving.bodies import (
    CorrectDatesBody,
    InspectBatch,
    IssueNumbers,
    PastedLines,
    ReceiveGoods,
    ScanLabel,
    SettleConflictBody,
)
from services.receiving.corrections import CorrectDates
from services.receiving.domain.pasting import MOST_LINES, pasted_lines
from services.receiving.scans import scanned
from services.receiving.settings import receiving_settings
from services.receiving.settlements import SettleConflict
from services.receiving.views import (
    BatchView,
    ConflictView,
    ExpectedReceiptView,
    InspectionDue,
    InspectionView,
    KnownBatch,
    NumbersView,
    PastedLineView,
    PastedView,
    ReasonView,
    ReceiptAnswer,
    ReceiptView,
    ScanView,
    SettledView,
    WholeBatchView,
)

READERS = ("operator", "inspector", "supervisor", "planner", "quality", "integrator", "auditor")
DOCK = ("operator", "inspector", "supervisor", "quality", "integrator")

Db = Annotated[Pool, Depends(reading)]
Reader = Annotated[Person, Depends(requires(*READERS))]
After = Annotated[UUID | None, Query(description="The `next` of the page before.")]
AfterDue = Annotated[
    str | None,
    Query(
        pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}@[!-~]{1,40}$", description="The `next` of the page before."
    ),
]
Limit = Annotated[int, Query(ge=1, le=500, description="How many at most.")]
SiteId = Annotated[Code | None, Query(description="Only at this site.", examples=["HRB-1"])]
ItemId = Annotated[Code | None, Query(description="Only of this item.", examples=["WMP-25"])]
ExpectedReceiptId = Annotated[UUID, Path(description="Of the announced goods.")]
ReceiptId = Annotated[UUID, Path(description="As the answer to the receipt said.")]
ConflictId = Annotated[UUID, Path(description="As the receipt's line and the list say.")]
BatchId = Annotated[UUID, Path(description="The internal id that never changes.")]
InspectionId = Annotated[UUID, Path(description="As the answer to the inspection said.")]

expected = APIRouter(tags=["expected receipts"])
receipts = APIRouter(tags=["receipts"])
batches = APIRouter(tags=["batches"])
inspections = APIRouter(tags=["inspections"])


def _sites(person: Person, site_id: str | None) -> list[str] | None:
    """The sites to look at: the one that is asked for, else all that the token reaches (None: every one)."""
    if site_id is not None:
        person.require_site(site_id)
        return [site_id]
    return None if "*" in person.sites else sorted(person.sites)


@expected.get("/expected-receipts", summary="What will arrive", responses=problem_responses(401, 403, 422))
async def list_expected_receipts(
    person: Reader,
    db: Db,
    site_id: SiteId = None,
    item_id: ItemId = None,
    only_open: Annotated[
        bool, Query(alias="open", description="Only those of which something may still come.")
    ] = False,
    after: After = None,
    limit: Limit = 100,
) -> Page[ExpectedReceiptView]:
    """What integration announced, due first."""
    return await queries.expected_receipts(
        db, sites=_sites(person, site_id), item_id=item_id, only_open=only_open, after=after, limit=limit
    )


@expected.get(
    "/expected-receipts/{expected_receipt_id}",
    summary="One expected receipt",
    responses=problem_responses(401, 403, 404, 422),
)
async def get_expected_receipt(expected_receipt_id: ExpectedReceiptId, person: Reader, db: Db) -> ExpectedReceiptView:
    """How much was announced and how much has come."""
    found = await queries.expected_receipt(db, expected_receipt_id)
    if found is None:
        raise problem(
            404,
            "unknown_expectation",
            f"expected receipt {expected_receipt_id} is not known",
            field="expected_receipt_id",
        )
    person.require_site(found.site_id)
    return found


@receipts.post("/scans", summary="What does this label say?", responses=problem_responses(401, 403, 422))
async def scan_label(
    body: ScanLabel, request: Request, person: Annotated[Person, Depends(requires(*DOCK))], db: Db
) -> ScanView:
    """Read a GS1 label: its item, batch and dates, what is known of the batch, and what is expected of the item.

    A label that cannot be used is an answer too: `verdict` is `refused` and `reasons` say why. Changes nothing, so it
    needs no Idempotency-Key.
    """
    settings = receiving_settings()
    if body.scanner not in settings.scanners:
        raise problem(
            422,
            "unknown_scanner",
            f"scanner profile {body.scanner!r}: {', '.join(sorted(settings.scanners))} are set up",
            field="scanner",
        )
    now = request.app.state.runtime.clock()
    return await scanned(db, body, settings, sites=_sites(person, body.site_id), now=now)


@receipts.post(
    "/receipts",
    status_code=201,
    summary="Receive goods",
    response_model=ReceiptAnswer,
    responses=problem_responses(401, 403, 409, 422),
)
async def receive_goods(body: ReceiveGoods, at: Annotated[Desk, Depends(desk(*DOCK))]) -> Response:
    """Receive goods at a dock, every line by itself: `received`, in `conflict`, or `refused` with all its reasons.

    201 when at least one line was received or is in conflict; 409 `nothing_received` when none was (the problem then
    has the `lines` too, and nothing was kept). A scan fills what is not typed, an expected receipt what neither says.
    """
    at.person.require_site(body.site_id)
    return await at.do(body)


@receipts.post(
    "/receipts/pasted-lines",
    summary="Preview of pasted lines",
    responses=problem_responses(401, 403, 422),
)
async def preview_pasted_lines(body: PastedLines, _person: Annotated[Person, Depends(requires(*DOCK))]) -> PastedView:
    """How lines such as `WMP2602A;2` would be understood; without a quantity it is 1. Changes nothing."""
    lines = pasted_lines(body.text)
    if len(lines) > MOST_LINES:
        raise problem(422, "too_many_lines", f"{len(lines)} lines were pasted: {MOST_LINES} at most", field="text")
    return PastedView(
        usable=bool(lines) and all(line.problem is None for line in lines),
        lines=[
            PastedLineView(
                text_line=line.text_line,
                batch_no=line.batch_no,
                quantity=line.quantity,
                problem=line.problem and ReasonView(code=line.problem.code, text=line.problem.text),
            )
            for line in lines
        ],
    )


@receipts.get("/receipts/{receipt_id}", summary="One receipt", responses=problem_responses(401, 403, 404, 422))
async def get_receipt(receipt_id: ReceiptId, person: Reader, db: Db) -> ReceiptView:
    """A receipt with its lines as they were first answered; how a conflict ended is at `/conflicts/{id}`."""
    found = await queries.receipt(db, receipt_id)
    if found is None:
        raise problem(404, "unknown_receipt", f"receipt {receipt_id} is not known", field="receipt_id")
    person.require_site(found.site_id)
    return found


@receipts.get("/conflicts", summary="Labels that contradict a batch", responses=problem_responses(401, 403, 422))
async def list_conflicts(
    person: Reader,
    db: Db,
    site_id: SiteId = None,
    item_id: ItemId = None,
    only_open: Annotated[bool, Query(alias="open", description="Only those that wait for a person.")] = False,
    after: After = None,
    limit: Limit = 100,
) -> Page[ConflictView]:
    """Lines whose batch number is known with another date or supplier, oldest first."""
    return await queries.conflicts(
        db, sites=_sites(person, site_id), item_id=item_id, only_open=only_open, after=after, limit=limit
    )


@receipts.get("/conflicts/{conflict_id}", summary="One conflict", responses=problem_responses(401, 403, 404, 422))
async def get_conflict(conflict_id: ConflictId, person: Reader, db: Db) -> ConflictView:
    """What is on record, what the label claims, and how it was settled."""
    found = await queries.conflict(db, conflict_id)
    if found is None:
        raise problem(404, "unknown_conflict", f"conflict {conflict_id} is not known", field="conflict_id")
    person.require_site(found.site_id)
    return found


@receipts.post(
    "/conflicts/{conflict_id}/settlement",
    summary="Settle a conflict",
    response_model=SettledView,
    responses=problem_responses(401, 403, 404, 409, 422),
)
async def settle_conflict(
    conflict_id: ConflictId, body: SettleConflictBody, at: Annotated[Desk, Depends(desk("supervisor", "quality"))]
) -> Response:
    """Decide about a conflict, with a reason.

    `keep_existing` receives the goods on the batch as it is on record, `correct_existing` after taking over the
    label's facts, `register_apart` as a new batch under `batch_no`; `refuse_receipt` receives nothing.
    """
    return await at.do(SettleConflict(conflict_id, body))


@batches.post(
    "/batch-numbers",
    status_code=201,
    summary="Next batch numbers",
    response_model=NumbersView,
    responses=problem_responses(401, 403, 409, 422),
)
async def issue_batch_numbers(body: IssueNumbers, at: Annotated[Desk, Depends(desk(*DOCK, "planner"))]) -> Response:
    """Numbers for labels that are printed before the goods are received; each is handed out once."""
    return await at.do(body, keys=[body.item_id])


@batches.get("/batches", summary="Find batches", responses=problem_responses(401, 403, 422))
async def list_batches(
    _person: Reader,
    db: Db,
    item_id: ItemId = None,
    batch_no: Annotated[BatchNo | None, Query(description="What the label says.", examples=["WMP2602A"])] = None,
    supplier_id: Annotated[Code | None, Query(description="Who delivered it.", examples=["S-0117"])] = None,
    supplier_batch_no: Annotated[
        str | None,
        Query(min_length=1, max_length=80, pattern=r"^[^\x00]+$", description="The supplier's own number."),
    ] = None,
    after: After = None,
    limit: Limit = 100,
) -> Page[BatchView]:
    """Batches by their number, their item, or the supplier's own number."""
    return await queries.batches(
        db,
        item_id=item_id,
        batch_no=batch_no,
        supplier_id=supplier_id,
        supplier_batch_no=supplier_batch_no,
        after=after,
        limit=limit,
    )


@batches.get("/batches/{batch_id}", summary="One batch, whole", responses=problem_responses(401, 403, 404, 422))
async def get_batch(batch_id: BatchId, _person: Reader, db: Db) -> WholeBatchView:
    """Facts, receipts, inspections, conflicts, and who decided what about it: when, why, from what to what."""
    found = await queries.batch(db, batch_id)
    if found is None:
        raise problem(404, "unknown_batch", f"batch {batch_id} is not known", field="batch_id")
    return found


@batches.post(
    "/batches/{batch_id}/dates",
    summary="Correct a batch's dates",
    response_model=KnownBatch,
    responses=problem_responses(401, 403, 404, 409, 422),
)
async def correct_dates(
    batch_id: BatchId, body: CorrectDatesBody, at: Annotated[Desk, Depends(desk("quality"))]
) -> Response:
    """Replace dates, with a reason; the earlier ones stay readable. A computed expiry follows its manufacture date."""
    return await at.do(CorrectDates(batch_id, body))


@inspections.get("/inspections/due", summary="What waits for inspection", responses=problem_responses(401, 403, 422))
async def list_inspections_due(
    person: Reader, db: Db, site_id: SiteId = None, item_id: ItemId = None, after: AfterDue = None, limit: Limit = 100
) -> Page[InspectionDue]:
    """Pending goods that nobody has decided about, those that wait longest first."""
    batch_id, _, waits_at = (after or "").partition("@")
    begin = (UUID(batch_id), waits_at) if after else None
    return await queries.inspections_due(db, sites=_sites(person, site_id), item_id=item_id, after=begin, limit=limit)


@inspections.post(
    "/inspections",
    status_code=201,
    summary="Release or reject pending goods",
    response_model=InspectionView,
    responses=problem_responses(401, 403, 404, 409, 422),
)
async def inspect_batch(body: InspectBatch, at: Annotated[Desk, Depends(desk("inspector", "quality"))]) -> Response:
    """Decide about a pending quantity, all of it or a part, and sign: who, when, meaning what, over which record."""
    at.person.require_site(body.site_id)
    return await at.do(body)


@inspections.get(
    "/inspections/{inspection_id}", summary="One inspection", responses=problem_responses(401, 403, 404, 422)
)
async def get_inspection(inspection_id: InspectionId, person: Reader, db: Db) -> InspectionView:
    """A signed decision; `signature_holds` compares the record as it stands with what was signed."""
    found = await queries.inspection(db, inspection_id)
    if found is None:
        raise problem(404, "unknown_inspection", f"inspection {inspection_id} is not known", field="inspection_id")
    person.require_site(found.site_id)
    return found


routers = (expected, receipts, batches, inspections)
