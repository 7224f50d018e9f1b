"""Recalls over HTTP: see what one would reach, open it, watch it, lift batches out, close it."""

import datetime as dt
from typing import Annotated, Any, Self
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from contracts.values import BatchNo, Code, Text
from delivery import Answer, Connection, Desk, Pool, desk, problem_responses, reading, requires, snapshot
from delivery.problems import Problem, ProblemRaised, problem
from services.trace import views
from services.trace.commands import CloseRecall, LiftBatch, OpenRecall, seed_among
from services.trace.domain.genealogy import Direction
from services.trace.domain.recalls import fingerprint, progress_of, scope_of
from services.trace.queries import (
    Row,
    find_deliveries,
    find_genealogy,
    find_members,
    find_named,
    find_nodes,
    find_recall,
    find_scope,
    find_standings,
    list_recalls,
    open_recall_of,
)
from services.trace.reading import (
    READERS,
    Readable,
    answer,
    as_csv,
    cursor_of,
    moment_of,
    no_cursor,
    parts_of,
)

router = APIRouter(tags=["recalls"], responses=problem_responses(401, 403, 422))

Db = Annotated[Pool, Depends(reading)]
SomeRecall = Annotated[UUID, Path(description="The recall's id.")]

_CSV_COLUMNS = (
    "partner_id",
    "partner_name",
    "reference",
    "item_id",
    "batch_no",
    "quantity",
    "unit",
    "shipped_at",
    "carrier",
    "shipment_id",
    "demand_id",
    "batch_id",
)


Reason = Annotated[Text, Readable]


class Seed(BaseModel):
    """The batch to recall: by its id, or by item and number (also of one that nobody registered here)."""

    model_config = ConfigDict(extra="forbid")

    batch_id: UUID | None = None
    item_id: Code | None = Field(default=None, examples=["WMP-25"])
    batch_no: BatchNo | None = Field(default=None, examples=["WMP2602A"])

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        by_name = self.item_id is not None and self.batch_no is not None
        mixed = self.batch_id is not None and (self.item_id is not None or self.batch_no is not None)
        if mixed or not (self.batch_id is not None or by_name):
            raise ValueError("give either batch_id, or item_id and batch_no")
        return self


class PreviewRecall(Seed):
    """What would a recall of this batch reach?"""

    reason: Reason | None = None


class RaiseRecall(Seed):
    """Recall this batch and everything made from it, or practise that."""

    reason: Reason = Field(examples=["Moisture 3.9 %, the limit is 3.5 %"])
    preview_hash: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        default=None, description="Of the preview that was looked at: refused (409) if the scope has changed since."
    )
    drill: bool = Field(
        default=False, description="Practise: the scope is frozen, timed and accounted for; nobody is told."
    )


class Lift(BaseModel):
    """Take a batch out of the scope."""

    model_config = ConfigDict(extra="forbid")

    batch_id: UUID = Field(examples=["01890a5d-ac96-774b-bcce-b302099a8057"])
    reason: Reason = Field(examples=["Made on another line"])


class Close(BaseModel):
    """End the recall."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason = Field(examples=["All 4 batches are accounted for"])


@router.post(
    "/recalls/preview",
    response_model=views.PreviewView,
    dependencies=[Depends(requires(*READERS))],
    responses=problem_responses(404, 409),
)
async def preview(body: PreviewRecall, db: Db) -> Response:
    """What a recall would reach: every batch, what is on hand, promised, picked, at the gate, and with which customers.

    Nothing is changed, and no Idempotency-Key is needed. Hand `preview_hash` in when opening the recall.
    """
    async with snapshot(db, by_key=True) as connection:
        if body.batch_id is not None:
            nodes, asked = await find_nodes(connection, body.batch_id), f"batch {body.batch_id}"
        else:
            item_id, batch_no = body.item_id or "", body.batch_no or ""
            nodes, asked = await find_named(connection, item_id, batch_no), f"batch {batch_no!r} of item {item_id!r}"
        seed = seed_among(nodes, asked)
        if isinstance(seed, Answer):
            raise _raised(seed)
        found = await find_genealogy(connection, [seed], Direction.DOWN)
        scope = scope_of(found.genealogy, seed.node)
        members = [found.nodes[reached.node] for reached in scope]
        standings = await find_standings(connection, members, found)
        already = await open_recall_of(connection, seed.node)
    return answer(
        {
            "preview_hash": fingerprint(reached.node for reached in scope),
            "seed": views.batch_view(seed),
            "already_open": already,
            "batches": [
                views.scope_batch_view(node, reached, standings[node.node], seed=node.node == seed.node)
                for node, reached in zip(members, scope, strict=True)
            ],
            "totals": views.scope_totals(members, standings),
        }
    )


def _raised(refusal: Answer) -> ProblemRaised:
    if not isinstance(refusal.body, Problem):
        raise TypeError(f"a refusal carries a problem, not {refusal.body!r}")
    return ProblemRaised(refusal.body)


@router.post(
    "/recalls",
    status_code=201,
    response_model=views.RecallOpenedView,
    responses=problem_responses(404, 409),
)
async def open_recall(body: RaiseRecall, at: Annotated[Desk, Depends(desk("quality"))]) -> Response:
    """Open a recall: the scope is frozen in one transaction, inventory holds it, allocation takes its promises back.

    Batches that production names and nobody has registered yet are in the scope, and recalled when they are. What is
    made from the scope while the recall is open joins it.

    A `drill` holds nothing and revokes nothing: it shows how long it takes to find everything, from opening to closing.
    """
    return await at.do(
        OpenRecall(body.batch_id, body.item_id, body.batch_no, body.reason, body.preview_hash, body.drill)
    )


@router.get("/recalls", response_model=views.RecallPage, dependencies=[Depends(requires(*READERS))])
async def recalls(
    db: Db,
    open_only: Annotated[bool, Query(description="Only those that nobody has closed.")] = False,
    after: Annotated[str | None, Query(max_length=300, description="`next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=500, description="How many at most.")] = 100,
) -> Response:
    """Recalls, the latest first."""
    past = _cursor(after)
    async with db.acquire(timeout=10) as connection:
        rows = await list_recalls(connection, open_only=open_only, after=past, limit=limit + 1)
    shown = rows[:limit]
    following = cursor_of(shown[-1]["opened_at"], shown[-1]["recall_id"]) if len(rows) > limit else None
    return answer({"items": [views.recall_row(row, row["batches"]) for row in shown], "next": following})


def _cursor(after: str | None) -> tuple[dt.datetime, UUID] | None:
    if after is None:
        return None
    at, recall_id = parts_of(after, 2, "recalls")
    try:
        return moment_of(at), UUID(recall_id)
    except ValueError:
        raise no_cursor(after, "recalls") from None


@router.get(
    "/recalls/{recall_id}",
    response_model=views.RecallView,
    dependencies=[Depends(requires(*READERS))],
    responses=problem_responses(404),
)
async def recall(recall_id: SomeRecall, db: Db) -> Response:
    """How a recall stands: what is held, revoked and stopped, who has what, and what is not accounted for."""
    async with snapshot(db, by_key=True) as connection:
        row = await _the_recall(connection, recall_id)
        scope = await find_scope(connection, recall_id)
        nodes = await find_members(connection, scope)
        links_out = await find_genealogy(connection, nodes, Direction.DOWN, depth=1)
        standings = await find_standings(connection, nodes, links_out, recall=(recall_id, row["opened_at"]))
    in_scope = [(member, node) for member, node in zip(scope, nodes, strict=True) if member["lifted_at"] is None]
    progress = progress_of(
        row["opened_at"],
        [
            (member["said_at"], views.held_at(member, standings[node.node]))
            for member, node in in_scope
            if member["said_at"] is not None
        ],
    )
    revocations = [revoked for node in nodes for revoked in standings[node.node].revocations]
    return answer(
        {
            **views.recall_row(row, len(scope)),
            "progress": {
                "batches": progress.batches,
                "held": progress.held,
                "to_hold": progress.to_hold,
                "waiting_for_registration": sum(node.batch_id is None for _, node in in_scope),
                "lifted": len(scope) - len(in_scope),
                "all_held_after_ms": progress.all_held_after_ms,
                "reservations_revoked": len({revoked["reservation_id"] for revoked in revocations}),
                "picks_stopped": sum(revoked["picked"] for revoked in revocations),
            },
            "totals": views.scope_totals([node for _, node in in_scope], standings),
            "batches": [
                views.recalled_batch_view(member, node, standings[node.node])
                for member, node in zip(scope, nodes, strict=True)
            ],
            "customers": [
                view for _, node in in_scope for view in views.delivery_views(node, standings[node.node].deliveries)
            ],
        }
    )


async def _the_recall(db: Connection, recall_id: UUID) -> Row:
    row = await find_recall(db, recall_id)
    if row is None:
        raise problem(404, "unknown_recall", f"recall {recall_id} does not exist", field="recall_id")
    return row


_CSV_TOO: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/csv": {"schema": {"type": "string"}}}, "description": "JSON, or CSV if asked for."}
}


@router.get(
    "/recalls/{recall_id}/customers",
    response_model=views.CustomerList,
    dependencies=[Depends(requires(*READERS))],
    responses={**_CSV_TOO, **problem_responses(404)},
)
async def customers(recall_id: SomeRecall, db: Db, request: Request) -> Response:
    """Every delivery of the scope: who got what, when. As CSV with `Accept: text/csv`."""
    rows = await _deliveries(db, recall_id)
    if "text/csv" in request.headers.get("accept", ""):
        return as_csv(rows, _CSV_COLUMNS, f"recall-{recall_id}-customers.csv")
    return answer({"recall_id": recall_id, "items": rows})


@router.get(
    "/recalls/{recall_id}/customers.csv",
    dependencies=[Depends(requires(*READERS))],
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}, **problem_responses(404)},
    response_class=Response,
)
async def customers_csv(recall_id: SomeRecall, db: Db) -> Response:
    """Every delivery of the scope as CSV, to be sent on."""
    return as_csv(await _deliveries(db, recall_id), _CSV_COLUMNS, f"recall-{recall_id}-customers.csv")


async def _deliveries(db: Pool, recall_id: UUID) -> list[views.Filled]:
    async with snapshot(db, by_key=True) as connection:
        await _the_recall(connection, recall_id)
        scope = [row for row in await find_scope(connection, recall_id) if row["lifted_at"] is None]
        nodes = await find_members(connection, scope)
        deliveries = await find_deliveries(connection, [node.node for node in nodes])
    return [view for node in nodes for view in views.delivery_views(node, deliveries.get(node.node, ()))]


@router.post("/recalls/{recall_id}/lift", response_model=views.LiftedView, responses=problem_responses(404, 409))
async def lift(recall_id: SomeRecall, body: Lift, at: Annotated[Desk, Depends(desk("quality"))]) -> Response:
    """Take one batch out of the scope, with a reason; what was made from it stays in until it is lifted too."""
    return await at.do(LiftBatch(recall_id, body.batch_id, body.reason))


@router.post("/recalls/{recall_id}/close", response_model=views.RecallClosedView, responses=problem_responses(404, 409))
async def close(recall_id: SomeRecall, body: Close, at: Annotated[Desk, Depends(desk("quality"))]) -> Response:
    """End the recall, with a reason; the answer names what is unaccounted for. Holds stay until batches are lifted."""
    return await at.do(CloseRecall(recall_id, body.reason))
