"""Expected receipts over HTTP."""

import datetime as dt
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from contracts.integration import ExpectedReceiptWithdrawn
from contracts.values import BatchNo, Code, Currency, Origin, Quantity, Unit
from delivery import Desk, Page, Pool, desk, problem_responses, reading, requires
from services.integration import queries
from services.integration.api.lists import EVERYONE, WRITERS, Limit, found_or_404
from services.integration.handlers.receipts import ExpectReceipt, WithdrawExpected
from services.integration.messages import Amount, Name, Words

router = APIRouter(tags=["expected receipts"])


ExpectedReceiptId = Annotated[UUID, Path(description="As the answer to the announcement said.")]


class ExpectedBody(BaseModel):
    """Goods that will come from a supplier, or back from a customer."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "origin": "supplier",
                    "item_id": "WMP-25",
                    "quantity": "4",
                    "unit": "BX",
                    "site_id": "HRB-1",
                    "due_on": "2026-03-02",
                    "partner_id": "S-0117",
                    "reference": "PO-88121",
                    "unit_cost": "850.00",
                    "currency": "CNY",
                }
            ]
        },
    )

    origin: Literal["supplier", "customer"]
    item_id: Code
    quantity: Quantity
    unit: Unit = Field(description="Any unit of the item; converted exactly to its base unit.")
    site_id: Code
    due_on: dt.date
    partner_id: Code
    batch_no: BatchNo | None = None
    supplier_batch_no: Name | None = None
    manufactured_on: dt.date | None = None
    expires_on: dt.date | None = None
    best_before: dt.date | None = None
    reference: Name | None = Field(default=None, description="Purchase order or return number.")
    unit_cost: Amount | None = Field(
        default=None,
        description="Decimal text, per `unit` as given here (850.00 for one BX, not for one KGM). Absent: not known, "
        "which is not zero. A return has none: it is worth what its batch is worth.",
    )
    currency: Currency | None = Field(default=None, description="Of unit_cost; must be the company's.")


class Reason(BaseModel):
    """Why."""

    model_config = ConfigDict(extra="forbid")

    reason: Words = Field(examples=["Order cancelled by purchasing"])


@router.post(
    "/expected-receipts",
    status_code=201,
    response_model=queries.ExpectedReceiptView,
    responses=problem_responses(401, 403, 409, 422),
    summary="Expect goods",
)
async def expect(body: ExpectedBody, at: Annotated[Desk, Depends(desk(*WRITERS))]) -> Response:
    """As `GET` shows it from now on. Receiving is told in base units; the cost stays here until goods are valued."""
    at.person.require_site(body.site_id)
    command = ExpectReceipt(**{**dict(body), "origin": Origin(body.origin)})
    return await at.do(command, keys=[body.item_id])


@router.post(
    "/expected-receipts/{expected_receipt_id}/withdrawal",
    response_model=ExpectedReceiptWithdrawn,
    responses=problem_responses(401, 403, 404, 409, 422),
    summary="No longer expect goods",
)
async def withdraw(
    expected_receipt_id: ExpectedReceiptId, body: Reason, at: Annotated[Desk, Depends(desk(*WRITERS))]
) -> Response:
    """What has arrived stays; what has arrived in full cannot be withdrawn (409)."""
    return await at.do(WithdrawExpected(expected_receipt_id, body.reason))


@router.get(
    "/expected-receipts",
    response_model=Page[queries.ExpectedReceiptView],
    responses=problem_responses(401, 403, 422),
    dependencies=[Depends(requires(*EVERYONE))],
    summary="List expected receipts",
)
async def list_expected(
    db: Annotated[Pool, Depends(reading)],
    item_id: Annotated[Code | None, Query(description="Only of this item.")] = None,
    status: Annotated[
        Literal["open", "received", "withdrawn"] | None, Query(description="What has become of them.")
    ] = None,
    after: Annotated[UUID | None, Query(description="`next` of the page before.")] = None,
    limit: Limit = 100,
) -> Page[queries.ExpectedReceiptView]:
    """Oldest first."""
    return await queries.expected_receipts(db, item_id=item_id, status=status, after=after, limit=limit)


@router.get(
    "/expected-receipts/{expected_receipt_id}",
    response_model=queries.ExpectedReceiptView,
    responses=problem_responses(401, 403, 404),
    dependencies=[Depends(requires(*EVERYONE))],
    summary="Show an expected receipt",
)
async def show_expected(
    expected_receipt_id: ExpectedReceiptId, db: Annotated[Pool, Depends(reading)]
) -> queries.ExpectedReceiptView:
    """With how much of it has arrived."""
    found = await queries.expected_receipt(db, expected_receipt_id)
    return found_or_404(found, f"expected receipt {expected_receipt_id}", field="expected_receipt_id")
