"""What people ask about batches: find them, where they came from, where they went, what happened to them."""

import datetime as dt
from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Response

from contracts.values import BatchNo, Code, Moment, Reference
from delivery import Connection, Page, Pool, problem_responses, reading, requires, snapshot
from delivery.problems import problem
from services.trace import views
from services.trace.domain.genealogy import Direction, tree_of
from services.trace.domain.names import item_subject
from services.trace.queries import (
    Found,
    Node,
    Row,
    find_claims,
    find_deliveries,
    find_flows,
    find_genealogy,
    find_nodes,
    find_open_holds,
    find_receipts,
    find_reports,
    find_timeline,
    find_totals,
    search_batches,
)
from services.trace.queries import Standing as _Standing
from services.trace.reading import READERS, Readable, answer, cursor_of, moment_of, no_cursor, parts_of

LAST_LINE = 2**63 - 1
"""No line of a timeline has a higher number (bigint)."""

DEEPEST = 100
"""Most levels of a tree, and most steps of a trace with a given depth."""

router = APIRouter(
    tags=["batches"], dependencies=[Depends(requires(*READERS))], responses=problem_responses(401, 403, 422)
)

SomeBatch = Annotated[
    UUID, Path(description="A batch's id. The id of a name (shown where a batch is not registered) is understood too.")
]
Db = Annotated[Pool, Depends(reading)]
AtTime = Annotated[
    Moment | None, Query(description="As things had happened by then.", examples=["2026-03-02T09:00:00Z"])
]
After = Annotated[str | None, Query(max_length=300, description="`next` of the page before.")]
Limit = Annotated[int, Query(ge=1, le=500, description="How many at most.")]
Depth = Annotated[int | None, Query(ge=1, le=DEEPEST, description="How many steps to go; all, if absent.")]


async def the_node(db: Connection, some_id: UUID) -> Node:
    """The one node that an id means; a problem (404, 409) otherwise."""
    nodes = await find_nodes(db, some_id)
    if not nodes:
        raise problem(
            404,
            "unknown_batch",
            f"batch {some_id}: trace has not heard that anybody registered, received, consumed or produced it",
            field="batch_id",
        )
    if len(nodes) > 1:
        ids = ", ".join(f"{node.node} (supplier {node.supplier_id or 'unknown'})" for node in nodes)
        raise problem(
            409, "ambiguous_batch", f"{some_id} is a number that {len(nodes)} batches bear: {ids}", field="batch_id"
        )
    return nodes[0]


@router.get("/batches", response_model=Page[views.BatchView])
async def search(
    db: Db,
    item_id: Annotated[Code | None, Query(description="Only of this item.", examples=["WMP-25"])] = None,
    batch_no: Annotated[BatchNo | None, Query(description="What the label says.", examples=["WMP2602A"])] = None,
    supplier_batch_no: Annotated[
        Annotated[Reference, Readable] | None,
        Query(description="The supplier's own number.", examples=["ND 2026/02-118"]),
    ] = None,
    q: Annotated[
        str | None,
        Query(
            min_length=1,
            max_length=40,
            pattern=r"^[^\x00]+$",
            description="How a number or a supplier's number begins, or an item.",
        ),
    ] = None,
    after: After = None,
    limit: Limit = 100,
) -> Response:
    """Find batches by item, number, supplier's number, or how they begin; in the order of item and number.

    A batch that production consumed and nobody registered is found too, by number or `q`; it shows `registered: false`.
    """
    async with db.acquire(timeout=10) as connection:
        nodes = await search_batches(
            connection,
            item_id=item_id,
            batch_no=batch_no,
            supplier_batch_no=supplier_batch_no,
            q=q,
            after=_search_cursor(after),
            limit=limit + 1,
        )
    shown = nodes[:limit]
    last = shown[-1] if len(nodes) > limit else None
    following = cursor_of(last.item_id, last.batch_no, last.node) if last else None
    return answer({"items": [views.batch_view(node) for node in shown], "next": following})


def _search_cursor(after: str | None) -> tuple[str, str, UUID] | None:
    if after is None:
        return None
    item_id, batch_no, node = parts_of(after, 3, "batches")
    try:
        return item_id, batch_no, UUID(node)
    except ValueError:
        raise no_cursor(after, "batches") from None


@router.get("/batches/{batch_id}", response_model=views.BatchPage, responses=problem_responses(404, 409))
async def batch(batch_id: SomeBatch, db: Db) -> Response:
    """A batch: its facts, where its quantity is, its open holds, and whether its genealogy is whole."""
    async with snapshot(db, by_key=True) as connection:
        node = await the_node(connection, batch_id)
        above = await find_genealogy(connection, [node], Direction.UP)
        standing = await _standing(connection, node, await _links_out(connection, node))
        standing.holds = await find_open_holds(connection, node.node)
        reports = await find_reports(connection, node.name_id)
    walk = above.genealogy.walk([node.node], Direction.UP)
    return answer(views.batch_page(node, standing, above, walk, reports))


async def _links_out(db: Connection, node: Node) -> Found:
    return await find_genealogy(db, [node], Direction.DOWN, depth=1)


async def _standing(db: Connection, node: Node, links_out: Found, as_of: dt.datetime | None = None) -> _Standing:
    flows = (await find_flows(db, [node.node], as_of)).get(node.node)
    claimed_unit, claims = (await find_claims(db, [node], links_out, as_of))[node.node]
    unit = flows[0] if flows else claimed_unit or node.base_unit
    return _Standing(unit=unit, flows=flows[1] if flows else {}, claims=claims)


@router.get("/batches/{batch_id}/upstream", response_model=views.GraphView, responses=problem_responses(404, 409))
async def upstream(batch_id: SomeBatch, db: Db, depth: Depth = None, at: AtTime = None) -> Response:
    """What a batch was made from, back to the suppliers and their receipts. Every way that time allows is followed."""
    return await _graph(db, batch_id, Direction.UP, depth, at)


@router.get("/batches/{batch_id}/downstream", response_model=views.GraphView, responses=problem_responses(404, 409))
async def downstream(batch_id: SomeBatch, db: Db, depth: Depth = None, at: AtTime = None) -> Response:
    """What was made from a batch, and every delivery to a customer. Every way that time allows is followed."""
    return await _graph(db, batch_id, Direction.DOWN, depth, at)


async def _graph(db: Pool, batch_id: UUID, direction: Direction, depth: int | None, at: dt.datetime | None) -> Response:
    async with snapshot(db, by_key=True) as connection:
        node = await the_node(connection, batch_id)
        found = await find_genealogy(connection, [node], direction, depth=depth, at=at)
        walk = found.genealogy.walk([node.node], direction, depth=depth)
        reached = list(walk.steps)
        totals = await find_totals(connection, reached)
        deliveries = await find_deliveries(connection, reached, at) if direction is Direction.DOWN else {}
        receipts = await find_receipts(connection, reached) if direction is Direction.UP else {}
    return answer(views.graph_view(node.node, direction, found, walk, totals, deliveries, receipts))


@router.get("/batches/{batch_id}/tree", response_model=views.BranchView, responses=problem_responses(404, 409))
async def tree(
    batch_id: SomeBatch,
    db: Db,
    direction: Annotated[Direction, Query(description="Up to what it was made from, or down.")] = Direction.DOWN,
    depth: Annotated[
        int, Query(ge=1, le=DEEPEST, description="Most levels shown; `cut` marks where there is more.")
    ] = 20,
) -> Response:
    """The trace nested, ready to be drawn. A batch that hangs in several places is opened once."""
    async with snapshot(db, by_key=True) as connection:
        node = await the_node(connection, batch_id)
        found = await find_genealogy(connection, [node], direction, depth=depth + 1)
        walk = found.genealogy.walk([node.node], direction, depth=depth + 1)
        reached = list(walk.steps)
        deliveries = await find_deliveries(connection, reached) if direction is Direction.DOWN else {}
        receipts = await find_receipts(connection, reached) if direction is Direction.UP else {}
    root = tree_of(found.genealogy, node.node, direction, depth=depth, walk=walk)
    return answer(views.branch_view(root, found, deliveries, receipts))


@router.get("/batches/{batch_id}/custody", response_model=views.CustodyView, responses=problem_responses(404, 409))
async def custody(batch_id: SomeBatch, db: Db, as_of: AtTime = None) -> Response:
    """Where every unit of a batch is: on hand, with customers, in other batches, scrapped; what is nowhere is named.

    `as_of` goes by when things happened, not by when they were learnt.
    """
    async with snapshot(db, by_key=True) as connection:
        node = await the_node(connection, batch_id)
        links_out = await _links_out(connection, node)
        standing = await _standing(connection, node, links_out, as_of)
    return answer(views.custody_view(node, standing, links_out, as_of))


@router.get("/batches/{batch_id}/timeline", response_model=views.TimelinePage, responses=problem_responses(404, 409))
async def timeline(batch_id: SomeBatch, db: Db, after: After = None, limit: Limit = 100) -> Response:
    """Everything that happened to a batch, as sentences, oldest first."""
    past = _timeline_cursor(after)
    async with snapshot(db, by_key=True) as connection:
        node = await the_node(connection, batch_id)
        rows = await find_timeline(connection, {node.node, node.name_id}, past, limit + 1)
    return _timeline_page(rows, limit)


@router.get("/items/{item_id}/timeline", response_model=views.TimelinePage)
async def item_timeline(
    item_id: Annotated[Code, Path(description="The company's own code.")],
    db: Db,
    after: After = None,
    limit: Limit = 100,
) -> Response:
    """What concerned an item and no batch of it: definitions, shortages, cancelled demands, alerts; oldest first."""
    past = _timeline_cursor(after)
    async with db.acquire(timeout=10) as connection:
        rows = await find_timeline(connection, {item_subject(item_id)}, past, limit + 1)
    return _timeline_page(rows, limit)


def _timeline_page(rows: Sequence[Row], limit: int) -> Response:
    shown = rows[:limit]
    following = cursor_of(shown[-1]["at"], shown[-1]["id"]) if len(rows) > limit else None
    return answer({"items": [views.timeline_line(row) for row in shown], "next": following})


def _timeline_cursor(after: str | None) -> tuple[dt.datetime, int] | None:
    if after is None:
        return None
    at, line = parts_of(after, 2, "a timeline")
    try:
        if not 0 <= (line_no := int(line)) <= LAST_LINE:
            raise ValueError(line)
        return moment_of(at), line_no
    except ValueError:
        raise no_cursor(after, "a timeline") from None
