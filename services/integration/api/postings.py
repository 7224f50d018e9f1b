"""Postings, batch costs and reconciliation over HTTP."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from contracts.values import Code, Currency
from delivery import Desk, Page, Pool, desk, problem_responses, reading, requires
from services.integration import queries
from services.integration.api.lists import OFFICE, WRITERS, Limit, found_or_404
from services.integration.handlers.acknowledgements import Acknowledge
from services.integration.handlers.valuation import SetCost
from services.integration.messages import AcknowledgementBody, Amount, Words

router = APIRouter(tags=["value"])

PostingId = Annotated[UUID, Path(description="As the list and the topic say.")]
BatchId = Annotated[UUID, Path(description="The internal id that never changes.")]

Kind = Literal[
    "receipt", "production", "issue", "consumption", "adjustment", "return", "scrap", "revaluation", "reversal"
]


class CostBody(BaseModel):
    """What one base unit of a batch costs."""

    model_config = ConfigDict(extra="forbid")

    unit_cost: Amount = Field(description="Decimal text, per base unit.", examples=["3.4167"])
    currency: Currency = Field(examples=["CNY"])
    reason: Words = Field(examples=["Invoice 2026-118 came"])


class CostAnswer(BaseModel):
    """The batch as it is worth now, and the postings that made it so."""

    batch_id: UUID
    item_id: str
    batch_no: str
    quantity: str
    unit: str
    value: str
    currency: str
    postings: list[UUID]


class Recorded(BaseModel):
    """The posting's status by the ERP's answer."""

    posting_id: UUID
    status: str = Field(description="accepted or rejected.")


@router.get(
    "/postings",
    response_model=Page[queries.PostingView],
    responses=problem_responses(401, 403, 422),
    dependencies=[Depends(requires(*OFFICE))],
    summary="List postings",
)
async def list_postings(
    db: Annotated[Pool, Depends(reading)],
    item_id: Annotated[Code | None, Query(description="Only of this item.")] = None,
    batch_id: Annotated[UUID | None, Query(description="Only of this batch.")] = None,
    status: Annotated[
        Literal["in_flight", "accepted", "rejected"] | None, Query(description="What the ERP has said of them.")
    ] = None,
    kind: Annotated[Kind | None, Query(description="What they are for.")] = None,
    after: Annotated[int, Query(ge=0, lt=2**63, description="`next` of the page before.")] = 0,
    limit: Limit = 100,
) -> Page[queries.PostingView]:
    """In the order in which they were made."""
    return await queries.postings(
        db, item_id=item_id, batch_id=batch_id, status=status, kind=kind, after=after, limit=limit
    )


@router.get(
    "/postings/{posting_id}",
    response_model=queries.PostingWhole,
    responses=problem_responses(401, 403, 404),
    dependencies=[Depends(requires(*OFFICE))],
    summary="Show a posting",
)
async def show_posting(posting_id: PostingId, db: Annotated[Pool, Depends(reading)]) -> queries.PostingWhole:
    """With every answer of the ERP."""
    return found_or_404(await queries.posting(db, posting_id), f"posting {posting_id}", field="posting_id")


@router.post(
    "/postings/{posting_id}/acknowledgement",
    response_model=Recorded,
    responses=problem_responses(401, 403, 404, 409, 422),
    summary="Say what the ERP did with a posting",
)
async def acknowledge(
    posting_id: PostingId, body: AcknowledgementBody, at: Annotated[Desk, Depends(desk(*WRITERS))]
) -> Response:
    """As on topic `erp.acknowledgements.v1`: accepted with its document, or rejected with a code or text.

    The first answer counts; another one is kept and flagged (409).
    """
    return await at.do(Acknowledge(posting_id, body), keys=[f"posting/{posting_id}"])


@router.put(
    "/batches/{batch_id}/cost",
    response_model=CostAnswer,
    responses=problem_responses(401, 403, 404, 422),
    summary="Say what a batch costs",
)
async def set_cost(batch_id: BatchId, body: CostBody, at: Annotated[Desk, Depends(desk(*WRITERS))]) -> Response:
    """An unknown cost is learnt: every movement since gets its value by a revaluation of its own. A known cost is
    replaced: what is on hand is revalued, what has left keeps the value it left with."""
    return await at.do(SetCost(batch_id, body.unit_cost, body.currency, body.reason))


@router.get(
    "/batches/{batch_id}/cost",
    response_model=queries.BatchCost,
    responses=problem_responses(401, 403, 404),
    dependencies=[Depends(requires(*OFFICE))],
    summary="Show what a batch is worth, and why",
)
async def show_cost(batch_id: BatchId, db: Annotated[Pool, Depends(reading)]) -> queries.BatchCost:
    """Its value, cost layers, and the movements that wait for a value."""
    return found_or_404(
        await queries.batch_cost(db, batch_id), f"batch {batch_id} whose stock has moved", field="batch_id"
    )


@router.get(
    "/reconciliation",
    response_model=Page[queries.ItemReconciled],
    responses=problem_responses(401, 403, 422),
    dependencies=[Depends(requires(*OFFICE))],
    summary="Compare ledger, valuation and postings",
)
async def reconcile(
    db: Annotated[Pool, Depends(reading)],
    item_id: Annotated[Code | None, Query(description="Only of this item.")] = None,
    after: Annotated[str, Query(max_length=40, pattern=r"^[!-~]*$", description="`next` of the page before.")] = "",
    limit: Annotated[int, Query(ge=1, le=100, description="How many at most.")] = 50,
) -> Page[queries.ItemReconciled]:
    """Added up anew at each call. `holds` is false where figures differ; what is in flight or rejected is listed."""
    return await queries.reconciliation(db, item_id=item_id, after=after, limit=limit)
