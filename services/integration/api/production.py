"""Production reports over HTTP."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from pydantic import BaseModel, Field

from delivery import Desk, Page, Pool, desk, problem_responses, reading, requires
from services.integration import queries
from services.integration.api.lists import OFFICE, WRITERS, Limit, found_or_404
from services.integration.handlers.production import DEFAULT_SOURCE, TakeReport
from services.integration.messages import Name, ProductionReport

router = APIRouter(prefix="/mes", tags=["production"])


class ReportAnswer(BaseModel):
    """What became of a report."""

    report_id: UUID
    status: str = Field(description="taken, waiting or already_known.", examples=["taken"])
    waits_for_sequence: int | None = Field(default=None, description="Which number of the lot must come first.")
    released: list[UUID] = Field(default=[], description="Waiting reports that this one let through.")


@router.post(
    "/production-reports",
    status_code=201,
    response_model=ReportAnswer,
    responses={
        200: {"model": ReportAnswer, "description": "The same message came before: nothing was done again"},
        202: {"model": ReportAnswer, "description": "Kept; waits for an earlier report of its lot"},
        **problem_responses(401, 403, 409, 422),
    },
    summary="Report production",
)
async def report_production(
    body: ProductionReport,
    request: Request,
    at: Annotated[Desk, Depends(desk(*WRITERS))],
    x_source: Annotated[
        str,
        Header(pattern=r"^[!-~]{1,40}$", description="Which MES, where the message does not say so."),
    ] = DEFAULT_SOURCE,
) -> Response:
    """The same reports as on topic `mes.production-reports.v1`; a message may come both ways and counts once.

    Refused (422): expiry before manufacture, an unknown item or unit, a report that says nothing. Refused (409): the
    messageId came before with other content, the lot is of another item, its number was taken, or it is closed.
    """
    at.person.require_site(body.site)
    return await at.do(TakeReport(body, (await request.body()).decode(), x_source))


@router.get(
    "/reports",
    response_model=Page[queries.ReportView],
    responses=problem_responses(401, 403, 422),
    dependencies=[Depends(requires(*OFFICE))],
    summary="List production reports",
)
async def list_reports(
    db: Annotated[Pool, Depends(reading)],
    status: Annotated[
        Literal["taken", "waiting", "replaced", "outlived"] | None, Query(description="What became of them.")
    ] = None,
    work_order: Annotated[Name | None, Query(description="Only of this work order.")] = None,
    after: Annotated[UUID | None, Query(description="`next` of the page before.")] = None,
    limit: Limit = 100,
) -> Page[queries.ReportView]:
    """Oldest first. `status=waiting` are those held back by a gap in their lot's sequence."""
    return await queries.reports(db, status=status, work_order=work_order, after=after, limit=limit)


@router.get(
    "/reports/{report_id}",
    response_model=queries.ReportWhole,
    responses=problem_responses(401, 403, 404),
    dependencies=[Depends(requires(*OFFICE))],
    summary="Show a production report",
)
async def show_report(
    report_id: Annotated[UUID, Path(description="As the answer to the report said.")],
    db: Annotated[Pool, Depends(reading)],
) -> queries.ReportWhole:
    """The message as it came, and what came of it."""
    return found_or_404(await queries.report(db, report_id), f"report {report_id}", field="report_id")
