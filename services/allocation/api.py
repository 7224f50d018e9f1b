"""HTTP: what people and the ERP ask of allocation."""

import datetime as dt
from collections.abc import Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Path, Query, Request, Response

from contracts.values import Code, Purpose, Quality, Reference
from delivery import Desk, Page, Person, Pool, desk, problem_responses, reading, requires
from delivery.problems import problem
from services.allocation import queries
from services.allocation.commands import (
    CancelDemand,
    ReplanDemand,
    share_view,
)
from services.allocation.domain.planning import Plan
from services.allocation.domain.record import outcome_of, replay
from services.allocation.domain.stock import PICKABLE
from services.allocation.domain.terms import somewhere_still
from services.allocation.picking import ScanPick, pick_view
from services.allocation.promising import passed_over_parts
from services.allocation.shipping import DispatchShipment, MakeShipment
from services.allocation.views import (
    AvailabilityRow,
    CancelledView,
    DemandRow,
    DemandView,
    ExplainedRow,
    ExplanationView,
    MakeShipmentBody,
    PickView,
    PlanView,
    PromiseView,
    RaiseDemand,
    Reason,
    ReplayView,
    ScanAnswer,
    ScanBody,
    ShipmentView,
)

router = APIRouter()

Reading = Annotated[Pool, Depends(reading)]
Reader = Annotated[
    Person, Depends(requires("operator", "supervisor", "planner", "quality", "integrator", "inspector", "auditor"))
]
PlannerDesk = Annotated[Desk, Depends(desk("planner", "integrator"))]
OperatorDesk = Annotated[Desk, Depends(desk("operator", "supervisor"))]
ShippingDesk = Annotated[Desk, Depends(desk("operator", "supervisor", "planner", "integrator"))]
Limit = Annotated[int, Query(ge=1, le=1000, description="Rows of a page at most.")]
After = Annotated[str | None, Query(max_length=300, description="`next` of the page before.")]
OfItem = Annotated[Code | None, Query(description="Only of this item.")]
OfCustomer = Annotated[Code | None, Query(description="Only of this customer.")]
OfSite = Annotated[Code | None, Query(description="Only at this site.")]
ItemId = Annotated[Code, Path(description="The company's own code.")]
DemandId = Annotated[UUID, Path(description="As the answer to the demand said.")]
PlanId = Annotated[UUID, Path(description="As the demand and its explanation say.")]
PickId = Annotated[UUID, Path(description="As the list of picks says.")]
ShipmentId = Annotated[UUID, Path(description="As the answer to the shipment said.")]

DemandStatus = Literal["short", "partly_allocated", "allocated", "picked", "dispatching", "shipped", "cancelled"]
PickStatus = Literal["open", "picked", "dispatching", "shipped", "stopped", "cancelled"]


@router.post(
    "/demands",
    status_code=201,
    tags=["demands"],
    response_model=PromiseView,
    summary="Raise a demand and get its promise",
    responses=problem_responses(401, 403, 409, 422),
)
async def raise_demand(body: RaiseDemand, at: PlannerDesk) -> Response:
    """The promise comes at once: which batches from where, what is missing, and why other batches were passed over.

    A shortage is no error: the demand waits and is served when stock arrives, oldest first. Refused are an item or
    customer that the catalog does not know, a day that is over, and a reference that another demand has
    (`reference_taken`, unless that one is cancelled).
    """
    at.person.require_site(body.site_id)
    # Two calls with one reference may be about different items.
    return await at.do(body, keys=[body.item_id, f"reference {body.reference}"])


@router.post(
    "/demands/{demand_id}/cancellation",
    tags=["demands"],
    response_model=CancelledView,
    summary="Cancel a demand",
    responses=problem_responses(401, 403, 404, 409, 422),
)
async def cancel_demand(demand_id: DemandId, body: Reason, at: PlannerDesk) -> Response:
    """What was promised and not picked is free again at once; what was picked is stopped and waits for a person."""
    return await at.do(CancelDemand(demand_id, body.reason))


@router.post(
    "/demands/{demand_id}/replan",
    tags=["demands"],
    response_model=PromiseView,
    summary="Plan a demand again",
    responses=problem_responses(401, 403, 404, 409, 422),
)
async def replan_demand(demand_id: DemandId, at: PlannerDesk) -> Response:
    """Gives back what is promised and not picked, and promises again from the stock and by the rules of now."""
    return await at.do(ReplanDemand(demand_id))


@router.get(
    "/demands",
    tags=["demands"],
    response_model=Page[DemandRow],
    summary="Demands, oldest first",
    responses=problem_responses(401, 403, 422),
)
async def list_demands(
    db: Reading,
    person: Reader,
    item_id: OfItem = None,
    customer_id: OfCustomer = None,
    site_id: OfSite = None,
    status: Annotated[DemandStatus | None, Query(description="How it stands.")] = None,
    reference: Annotated[Reference | None, Query(description="Order and line, as it was raised with.")] = None,
    after: After = None,
    limit: Limit = 100,
) -> Page[DemandRow]:
    """With what each has and misses."""
    rows = await queries.demands(
        db,
        item_id=item_id,
        customer_id=customer_id,
        site_id=site_id,
        status=status,
        reference=reference,
        after=_uuid_after(after),
        limit=limit,
    )
    return Page(
        items=[DemandRow.model_validate(dict(row)) for row in rows],
        next=str(rows[-1]["demand_id"]) if len(rows) == limit else None,
    )


@router.get(
    "/demands/{demand_id}",
    tags=["demands"],
    response_model=DemandView,
    summary="One demand and its promise",
    responses=problem_responses(401, 403, 404),
)
async def show_demand(demand_id: DemandId, db: Reading, person: Reader) -> DemandView:
    """What it has, what it misses, and why."""
    row = (await queries.demands_by_id(db, [demand_id])).get(demand_id)
    if row is None:
        raise problem(404, "unknown_demand", f"there is no demand {demand_id}", field="demand_id")
    latest = await queries.plan(db, demand_id=demand_id, decided=True)
    passed_over = []
    if latest is not None:
        _, made = replay(latest["policy"], latest["inputs"])
        passed_over = [*passed_over_parts(made.passed_over)]
    shares = await queries.shares(db, demand_id, ["promised", "picked", "dispatching"])
    stopped = await queries.shares(db, demand_id, ["stopped"])
    return DemandView(
        **{name: row[name] for name in DemandView.model_fields if name in row},
        shares=[share_view(each) for each in shares],
        stopped=[share_view(each) for each in stopped],
        passed_over=passed_over,
        plan_id=latest["plan_id"] if latest else None,
    )


@router.get(
    "/demands/{demand_id}/explanation",
    tags=["demands"],
    response_model=ExplanationView,
    summary="Why a demand got what it got",
    responses=problem_responses(401, 403, 404),
)
async def explain_demand(demand_id: DemandId, db: Reading, person: Reader) -> ExplanationView:
    """Every candidate that its latest plan looked at, in order, with verdict, reason and sort keys."""
    kept = await queries.plan(db, demand_id=demand_id, decided=True)
    if kept is None:
        raise problem(404, "unknown_demand", f"there is no plan of a demand {demand_id}", field="demand_id")
    _, made = replay(kept["policy"], kept["inputs"])
    return ExplanationView(
        demand_id=demand_id,
        plan_id=kept["plan_id"],
        policy=kept["policy"],
        inventory_sequence=kept["inventory_sequence"],
        decided_at=kept["decided_at"],
        asked=kept["inputs"]["wanted"],
        rows=_explained(made),
        missing=made.missing,
    )


@router.get(
    "/plans/{plan_id}",
    tags=["plans"],
    response_model=PlanView,
    summary="A plan as it was kept",
    responses=problem_responses(401, 403, 404),
)
async def show_plan(plan_id: PlanId, db: Reading, person: Reader) -> PlanView:
    """What was asked, every candidate as it was seen, and what came out (candidates named by place, first 0)."""
    return PlanView.model_validate(await _plan(db, plan_id))


@router.get(
    "/plans/{plan_id}/replay",
    tags=["plans"],
    response_model=ReplayView,
    summary="Decide a plan again and compare",
    responses=problem_responses(401, 403, 404),
)
async def replay_plan(plan_id: PlanId, db: Reading, person: Reader) -> ReplayView:
    """By the rules of the policy that decided it, from what was seen then."""
    kept = await _plan(db, plan_id)
    _, made = replay(kept["policy"], kept["inputs"])
    recomputed = outcome_of(made)
    return ReplayView(
        plan_id=plan_id,
        policy=kept["policy"],
        equal=recomputed == kept["outcome"],
        recorded=kept["outcome"],
        recomputed=recomputed,
    )


@router.get(
    "/items/{item_id}/availability",
    tags=["stock"],
    response_model=Page[AvailabilityRow],
    summary="What of an item can be promised",
    responses=problem_responses(401, 403, 422),
)
async def availability(
    item_id: ItemId,
    request: Request,
    db: Reading,
    person: Reader,
    site_id: OfSite = None,
    after: After = None,
    limit: Limit = 200,
) -> Page[AvailabilityRow]:
    """Per batch and location: on hand, reserved, free, and what stands against promising it. By batch number."""
    rows = await queries.availability(db, item_id, site_id, _stock_after(after), limit)
    today = somewhere_still(request.app.state.runtime.clock())
    last = rows[-1] if len(rows) == limit else None
    return Page(
        items=[_available(row, today) for row in rows],
        next=None
        if last is None
        else _next(last["batch_no"], last["batch_id"], last["site_id"], last["location_id"], last["quality"]),
    )


@router.get(
    "/picks",
    tags=["picks"],
    response_model=Page[PickView],
    summary="What to fetch, in walking order",
    responses=problem_responses(401, 403, 422),
)
async def list_picks(
    db: Reading,
    person: Reader,
    site_id: OfSite = None,
    status: Annotated[PickStatus | None, Query(description="How it stands.")] = None,
    demand_id: Annotated[UUID | None, Query(description="Only of this demand.")] = None,
    after: After = None,
    limit: Limit = 200,
) -> Page[PickView]:
    """Every promise is a pick, open until it was scanned. Ordered by location."""
    if site_id is not None:
        person.require_site(site_id)
    rows = await queries.picks(
        db,
        site_id=site_id,
        status=status,
        demand_id=demand_id,
        shipment_id=None,
        after=_pick_after(after),
        limit=limit,
    )
    last = rows[-1] if len(rows) == limit else None
    return Page(
        items=[pick_view(row) for row in rows],
        next=None if last is None else _next(last["site_id"], last["location_id"], last["pick_id"]),
    )


@router.get(
    "/picks/{pick_id}",
    tags=["picks"],
    response_model=PickView,
    summary="One pick",
    responses=problem_responses(401, 403, 404),
)
async def show_pick(pick_id: PickId, db: Reading, person: Reader) -> PickView:
    """However it stands."""
    row = (await queries.picks_by_id(db, [pick_id])).get(pick_id)
    if row is None:
        raise problem(404, "unknown_pick", f"there is no pick {pick_id}", field="pick_id")
    return pick_view(row)


@router.post(
    "/picks/{pick_id}/scans",
    tags=["picks"],
    response_model=ScanAnswer,
    summary="Scan what was fetched",
    responses=problem_responses(401, 403, 404, 409, 422),
)
async def scan_pick(pick_id: PickId, body: ScanBody, at: OperatorDesk) -> Response:
    """`accepted` books the quantity to staging; any other verdict changes nothing and says why."""
    return await at.do(
        ScanPick(pick_id, body.scan, body.location_id, body.quantity, body.to_location_id, body.allow_swap)
    )


@router.post(
    "/shipments",
    status_code=201,
    tags=["shipments"],
    response_model=ShipmentView,
    summary="Make a shipment of what was picked",
    responses=problem_responses(401, 403, 409, 422),
)
async def make_shipment(body: MakeShipmentBody, at: ShippingDesk) -> Response:
    """All that was picked for the customer at the site, or for the named demands, and is in no shipment yet."""
    at.person.require_site(body.site_id)
    demand_ids = None if body.demand_ids is None else frozenset(body.demand_ids)
    return await at.do(MakeShipment(body.customer_id, body.site_id, demand_ids, body.carrier))


@router.post(
    "/shipments/{shipment_id}/dispatch",
    tags=["shipments"],
    response_model=ShipmentView,
    summary="Send a shipment to the gate",
    responses=problem_responses(401, 403, 404, 409, 422),
)
async def dispatch_shipment(shipment_id: ShipmentId, at: ShippingDesk) -> Response:
    """Each line is asked of inventory, which lets it leave (`shipped`) or refuses it (`stopped`, and planned again)."""
    return await at.do(DispatchShipment(shipment_id))


@router.get(
    "/shipments",
    tags=["shipments"],
    response_model=Page[ShipmentView],
    summary="Shipments, newest first",
    responses=problem_responses(401, 403, 422),
)
async def list_shipments(
    db: Reading,
    person: Reader,
    customer_id: OfCustomer = None,
    site_id: OfSite = None,
    after: After = None,
    limit: Limit = 50,
) -> Page[ShipmentView]:
    """With their lines."""
    rows = await queries.shipments(db, customer_id=customer_id, site_id=site_id, after=_uuid_after(after), limit=limit)
    return Page(
        items=[ShipmentView.model_validate(row) for row in rows],
        next=str(rows[-1]["shipment_id"]) if len(rows) == limit else None,
    )


@router.get(
    "/shipments/{shipment_id}",
    tags=["shipments"],
    response_model=ShipmentView,
    summary="One shipment",
    responses=problem_responses(401, 403, 404),
)
async def show_shipment(shipment_id: ShipmentId, db: Reading, person: Reader) -> ShipmentView:
    """With its lines as they stand."""
    rows = await queries.shipments(db, shipment_ids=[shipment_id])
    if not rows:
        raise problem(404, "unknown_shipment", f"there is no shipment {shipment_id}", field="shipment_id")
    return ShipmentView.model_validate(rows[0])


async def _plan(db: Pool, plan_id: UUID) -> dict[str, Any]:
    kept = await queries.plan(db, plan_id=plan_id)
    if kept is None:
        raise problem(404, "unknown_plan", f"there is no plan {plan_id}", field="plan_id")
    return kept


def _explained(made: Plan) -> list[ExplainedRow]:
    taken = {share.stock.spot: share.quantity for share in made.taken}
    passed_over = {passed.stock.spot: passed for passed in made.passed_over}
    rows = []
    for place, stock in enumerate(made.considered, start=1):
        passed = passed_over.get(stock.spot)
        got = taken.get(stock.spot)
        rows.append(
            ExplainedRow(
                place=place,
                batch_id=stock.spot.batch_id,
                batch_no=stock.batch_no,
                site_id=stock.spot.site_id,
                location_id=stock.spot.location_id,
                verdict="passed_over" if got is None else "taken" if passed is None else "taken_in_part",
                taken=got or 0,
                not_taken=passed.quantity if passed else 0,
                code=passed.code if passed else None,
                reason=passed.text if passed else None,
                sort_keys={
                    "use_by": stock.expires_on.isoformat() if stock.expires_on else None,
                    "received_on": stock.received_on.isoformat(),
                    "batch_no": stock.batch_no,
                    "batch_id": str(stock.spot.batch_id),
                    "location_id": stock.spot.location_id,
                    "quantity": f"{stock.quantity:f}",
                },
            )
        )
    return rows


def _available(row: Any, today: dt.date) -> AvailabilityRow:
    why_not = []
    if row["quality"] != Quality.RELEASED:
        why_not.append(f"quality is {row['quality']}")
    if row["held_for"]:
        why_not.append(f"held: {row['held_for']}")
    if row["purpose"] not in PICKABLE:
        purpose = "an unknown purpose" if row["purpose"] == Purpose.UNKNOWN else row["purpose"]
        why_not.append(f"location {row['location_id']} is for {purpose}")
    if row["expires_on"] is not None and row["expires_on"] < today:
        why_not.append(f"was usable through {row['expires_on']}")
    if row["expires_on"] is None and row["expiry_required"]:
        why_not.append("its expiry date is not known, and the item requires one")
    return AvailabilityRow(
        **{name: row[name] for name in AvailabilityRow.model_fields if name in row},
        promisable=0 if why_not else row["free"],
        why_not=why_not,
    )


def _next(*keys: object) -> str:
    return orjson.dumps([str(key) for key in keys]).decode()


def _uuid_after(after: str | None) -> UUID | None:
    try:
        return UUID(after) if after else None
    except ValueError:
        raise _bad_after(after) from None


def _pick_after(after: str | None) -> tuple[str, str, UUID] | None:
    site_id, location_id, pick_id = _keys(after, 3) or (None, None, None)
    return (site_id, location_id, UUID(pick_id)) if site_id and location_id and pick_id else None


def _stock_after(after: str | None) -> tuple[str, UUID, str, str, str] | None:
    keys = _keys(after, 5)
    return (keys[0], UUID(keys[1]), keys[2], keys[3], keys[4]) if keys else None


def _keys(after: str | None, count: int) -> Sequence[str] | None:
    if not after:
        return None
    try:
        keys = orjson.loads(after)
        valid = isinstance(keys, list) and len(keys) == count and all(isinstance(key, str) for key in keys)
        if valid:
            UUID(keys[1 if count == 5 else 2])
    except ValueError:
        valid = False
    if not valid:
        raise _bad_after(after)
    return keys  # type: ignore[no-any-return]


def _bad_after(after: str | None) -> Exception:
    return problem(422, "invalid_after", f"after {after!r} is not the `next` of a page", field="after")
