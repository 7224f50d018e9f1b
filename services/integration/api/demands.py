"""Demands of the ERP over HTTP."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, Field

from contracts.integration import DemandWithdrawn
from contracts.values import Code
from delivery import Desk, Page, Pool, desk, problem_responses, reading, requires
from services.integration import queries
from services.integration.api.lists import OFFICE, WRITERS, Limit
from services.integration.api.receipts import Reason
from services.integration.handlers.demands import RaiseDemand, WithdrawDemand
from services.integration.messages import DemandMessage, Name

router = APIRouter(tags=["demands"])


class DemandAnswer(BaseModel):
    """The demand's id in this system."""

    demand_id: UUID
    reference: str
    already_known: bool = Field(description="True: the same line came before, nothing was done again.")


@router.post(
    "/demands",
    status_code=201,
    response_model=DemandAnswer,
    responses={
        200: {"model": DemandAnswer, "description": "The same line came before"},
        **problem_responses(401, 403, 409, 422),
    },
    summary="Raise a demand",
)
async def raise_demand(body: DemandMessage, request: Request, at: Annotated[Desk, Depends(desk(*WRITERS))]) -> Response:
    """The same lines as on topic `erp.demands.v1`. The reference with other content is refused (409)."""
    at.person.require_site(body.site_id)
    return await at.do(RaiseDemand(body, (await request.body()).decode()), keys=[body.item_id])


@router.post(
    "/demands/{demand_id}/withdrawal",
    response_model=DemandWithdrawn,
    responses=problem_responses(401, 403, 404, 409, 422),
    summary="Withdraw a demand",
)
async def withdraw_demand(
    demand_id: Annotated[UUID, Path(description="As the answer to the demand said.")],
    body: Reason,
    at: Annotated[Desk, Depends(desk(*WRITERS))],
) -> Response:
    """Allocation frees what was promised to it."""
    return await at.do(WithdrawDemand(demand_id, body.reason))


@router.get(
    "/demands",
    response_model=Page[queries.DemandView],
    responses=problem_responses(401, 403, 422),
    dependencies=[Depends(requires(*OFFICE))],
    summary="List demands",
)
async def list_demands(
    db: Annotated[Pool, Depends(reading)],
    item_id: Annotated[Code | None, Query(description="Only of this item.")] = None,
    reference: Annotated[Name | None, Query(description="Order and line.")] = None,
    status: Annotated[Literal["raised", "withdrawn"] | None, Query(description="Whether it still counts.")] = None,
    after: Annotated[UUID | None, Query(description="`next` of the page before.")] = None,
    limit: Limit = 100,
) -> Page[queries.DemandView]:
    """Those that came from the ERP, oldest first."""
    return await queries.demands(db, item_id=item_id, reference=reference, status=status, after=after, limit=limit)
