"""Inventory over HTTP: the building, stock at any time, put-away, corrections, holds, and the checker."""

import base64
import binascii
import datetime as dt
from collections.abc import Sequence
from typing import Annotated, Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import orjson
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from contracts.values import BatchNo, Climate, Code, Moment, Purpose, Quality, Quantity, Reference, Text
from delivery import Desk, Page, Person, Pool, desk, problem_responses, reading, requires
from delivery.problems import problem
from services.inventory import queries
from services.inventory.building import PutLocation, PutSite, PutZone
from services.inventory.checker import CheckNow
from services.inventory.commands import (
    Adjust,
    ChangeStatus,
    KnownQuality,
    LiftHold,
    PlaceHold,
    PutAway,
    Reason,
    Reverse,
    Transfer,
)
from services.inventory.domain.ledger import Spot
from services.inventory.domain.put_away import Goods, propose
from services.inventory.views import (
    AdjustmentView,
    CheckView,
    CountLine,
    HoldView,
    ItemStockView,
    LiftedView,
    LocationDescribed,
    LocationView,
    MovementView,
    PassedOverView,
    ProposalView,
    ReversalView,
    SequenceView,
    SiteDescribed,
    SiteView,
    StockView,
    ZoneView,
    exact,
)

_PASSED_OVER_SAID = 100


router = APIRouter()

_ANYBODY = ("operator", "inspector", "supervisor", "planner", "quality", "integrator", "auditor")
Reader = Annotated[Person, Depends(requires(*_ANYBODY))]
Db = Annotated[Pool, Depends(reading)]
SiteId = Annotated[Code, Path(description="The warehouse.", examples=["SH1"])]
ZoneId = Annotated[Code, Path(description="The area, by its code within the site.", examples=["COLD-STORE"])]
LocationId = Annotated[Code, Path(description="The bin, by its code within the site.", examples=["A-01-2"])]
OfItem = Annotated[Code | None, Query(description="Only of this item.")]
OfBatch = Annotated[UUID | None, Query(description="Only of this batch, by its internal id.")]
OfSite = Annotated[Code | None, Query(description="Only at this site; needed where a token reaches some sites only.")]
OfZone = Annotated[Code | None, Query(description="Only in this zone of the site.")]
HoldId = Annotated[UUID, Path(description="As the list of holds says.")]
BatchId = Annotated[UUID, Path(description="The internal id that never changes.")]
Limit = Annotated[int, Query(ge=1, le=1000, description="How many at most.")]
After = Annotated[str | None, Query(max_length=400, description="`next` of the page before.")]
AtTime = Annotated[Moment | None, Query(description="With an offset, such as 2026-03-02T09:00:00Z.")]

_READ = problem_responses(401, 403, 422)
_WRITE = problem_responses(401, 403, 404, 409, 422)


def _seal(key: Sequence[Any]) -> str:
    """Where a page ended, as one opaque word."""
    return base64.urlsafe_b64encode(orjson.dumps([str(part) for part in key])).decode()


def _is_text(part: object) -> bool:
    return isinstance(part, str) and "\x00" not in part


def _unseal(after: str | None, width: int) -> list[str] | None:
    if not after:
        return None
    try:
        key = orjson.loads(base64.urlsafe_b64decode(after))
    except (ValueError, binascii.Error):
        key = None
    if not isinstance(key, list) or len(key) != width or not all(_is_text(part) for part in key):
        raise problem(
            422, "invalid_request", f"after: {after[:80]!r} is not the `next` of a page of this list", field="after"
        )
    return key


def _only_own_site(person: Person, site_id: str | None) -> None:
    """Somebody of some sites asks about one of them; 403 otherwise."""
    if site_id is not None:
        person.require_site(site_id)
    elif "*" not in person.sites:
        raise problem(
            403,
            "wrong_site",
            f"this token reaches {sorted(person.sites)} only: name one of them as site_id",
            field="site_id",
        )


async def _now(request: Request) -> dt.datetime:
    now: dt.datetime = request.app.state.runtime.clock()
    return now


Now = Annotated[dt.datetime, Depends(_now)]


# The building


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is no time zone of the IANA database, such as 'Asia/Shanghai'") from None
    return name


class SiteBody(BaseModel):
    """A warehouse: its batches expire at the midnights of its time zone."""

    model_config = ConfigDict(extra="forbid")

    name: Text = Field(examples=["Shanghai distribution centre"])
    time_zone: Annotated[
        str, Field(min_length=1, max_length=60, examples=["Asia/Shanghai"]), AfterValidator(_time_zone)
    ]


class ZoneBody(BaseModel):
    """An area of a site."""

    model_config = ConfigDict(extra="forbid")

    name: Text = Field(examples=["Cold store"])
    purpose: Literal[Purpose.RECEIVING, Purpose.STORAGE, Purpose.QUARANTINE, Purpose.REJECTED, Purpose.STAGING] = Field(
        examples=["storage"]
    )
    climate: Literal[Climate.AMBIENT, Climate.COOL, Climate.COLD, Climate.FROZEN] = Climate.AMBIENT


class LocationBody(BaseModel):
    """A bin of a zone."""

    model_config = ConfigDict(extra="forbid")

    zone_id: Code = Field(examples=["COLD-STORE"])
    capacity: Quantity | None = Field(
        default=None, description="In base units of what stands there; absent: no limit.", examples=["120"]
    )
    single_item: bool = Field(default=False, description="True: one item at a time.")


Builder = Annotated[Desk, Depends(desk("supervisor"))]


@router.put(
    "/sites/{site_id}",
    tags=["building"],
    response_model=SiteDescribed,
    responses={**_WRITE, 201: {"model": SiteDescribed, "description": "New"}},
)
async def put_site(site_id: SiteId, body: SiteBody, at: Builder) -> Response:
    """Describe a site. 201 when it is new."""
    at.person.require_site(site_id)
    return await at.do(PutSite(site_id, body.name, body.time_zone))


@router.put(
    "/sites/{site_id}/zones/{zone_id}",
    tags=["building"],
    response_model=ZoneView,
    responses={**_WRITE, 201: {"model": ZoneView, "description": "New"}},
)
async def put_zone(site_id: SiteId, zone_id: ZoneId, body: ZoneBody, at: Builder) -> Response:
    """Describe a zone. Its purpose cannot change while stock stands in it (409 stock_in_zone)."""
    at.person.require_site(site_id)
    return await at.do(PutZone(site_id, zone_id, body.name, body.purpose, body.climate))


@router.put(
    "/sites/{site_id}/locations/{location_id}",
    tags=["building"],
    response_model=LocationDescribed,
    responses={**_WRITE, 201: {"model": LocationDescribed, "description": "New"}},
)
async def put_location(site_id: SiteId, location_id: LocationId, body: LocationBody, at: Builder) -> Response:
    """Describe a location. Its code is unique within the site.

    While stock stands there it cannot go to another zone (409 stock_in_location).
    """
    at.person.require_site(site_id)
    return await at.do(PutLocation(site_id, location_id, body.zone_id, body.capacity, body.single_item))


@router.get("/sites", tags=["building"], responses=_READ)
async def list_sites(person: Reader, db: Db) -> list[SiteView]:
    """Every site that the caller's token reaches, with its time zone."""
    return [site for site in await queries.sites(db) if person.may_at(site.site_id)]


@router.get("/sites/{site_id}", tags=["building"], responses=problem_responses(401, 403, 404, 422))
async def read_site(site_id: SiteId, person: Reader, db: Db) -> SiteView:
    """One site."""
    _only_own_site(person, site_id)
    found = next((site for site in await queries.sites(db) if site.site_id == site_id), None)
    if found is None:
        raise problem(404, "unknown_site", f"there is no site {site_id!r}", field="site_id")
    return found


@router.get("/sites/{site_id}/zones", tags=["building"], responses=_READ)
async def list_zones(site_id: SiteId, person: Reader, db: Db) -> list[ZoneView]:
    """The zones of a site."""
    _only_own_site(person, site_id)
    return await queries.zones(db, site_id)


@router.get("/sites/{site_id}/locations", tags=["building"], responses=_READ)
async def list_locations(
    site_id: SiteId,
    person: Reader,
    db: Db,
    zone_id: OfZone = None,
    after: Annotated[Code | None, Query(description="The last location_id of the page before.")] = None,
    limit: Limit = 200,
) -> Page[LocationView]:
    """The locations of a site by code, with how full they are."""
    _only_own_site(person, site_id)
    rows = await queries.locations(db, site_id, zone_id=zone_id, only=None, after=after or "", limit=limit)
    return Page(items=rows, next=rows[-1].location_id if len(rows) == limit else None)


@router.get(
    "/sites/{site_id}/locations/{location_id}", tags=["building"], responses=problem_responses(401, 403, 404, 422)
)
async def read_location(site_id: SiteId, location_id: LocationId, person: Reader, db: Db) -> LocationView:
    """One location, with how full it is."""
    _only_own_site(person, site_id)
    rows = await queries.locations(db, site_id, zone_id=None, only=location_id, after="", limit=1)
    if not rows:
        raise problem(404, "unknown_location", f"site {site_id!r} has no location {location_id!r}", field="location_id")
    return rows[0]


@router.get("/sites/{site_id}/count-list", tags=["counting"], responses=_READ)
async def count_list(
    site_id: SiteId,
    person: Reader,
    db: Db,
    zone_id: OfZone = None,
    limit: Limit = 500,
) -> list[CountLine]:
    """What the books have, to count by: what expires first first, then by location and batch."""
    _only_own_site(person, site_id)
    return await queries.count_lines(db, site_id, zone_id, limit)


# Stock


@router.get("/stock", tags=["stock"], responses=_READ)
async def read_stock(
    person: Reader,
    db: Db,
    now: Now,
    item_id: OfItem = None,
    batch_id: OfBatch = None,
    batch_no: Annotated[BatchNo | None, Query(description="What the label says.")] = None,
    site_id: OfSite = None,
    location_id: Annotated[Code | None, Query(description="Only in locations of this code.")] = None,
    quality: Annotated[KnownQuality | None, Query(description="Only of this quality.")] = None,
    as_of: AtTime = None,
    known_at: AtTime = None,
    after: After = None,
    limit: Limit = 200,
) -> Page[StockView]:
    """Stock by batch, location and quality, with its holds and what may be done with it.

    `as_of` asks what stood there then; `known_at` by what was known then. "What did we believe on the day we shipped?"
    is both on that day. Questions about other times are answered from the ledger and name an item or a batch.
    """
    _only_own_site(person, site_id)
    asked = queries.StockAsked(item_id, batch_id, batch_no, site_id, location_id, quality, as_of, known_at)
    if asked.earlier and item_id is None and batch_id is None:
        raise problem(
            422,
            "invalid_request",
            "as_of and known_at need an item_id or a batch_id: the ledger is read",
            field="item_id",
        )
    key = _unseal(after, 5)
    try:
        start = (key[0], UUID(key[1]), key[2], key[3], key[4]) if key else None
    except ValueError:
        raise problem(422, "invalid_request", "after: not the `next` of a page of this list", field="after") from None
    rows = await queries.stock(db, asked, now, after=start, limit=limit)
    last = rows[-1] if len(rows) == limit else None
    following = _seal((last.item_id, last.batch_id, last.site_id, last.location_id, last.quality)) if last else None
    return Page(items=rows, next=following)


@router.get("/items/{item_id}/stock", tags=["stock"], response_model=ItemStockView, responses=_READ)
async def read_item_stock(
    item_id: Annotated[Code, Path(description="The company's own code.", examples=["MILK-1L"])],
    person: Reader,
    db: Db,
    now: Now,
    site_id: OfSite = None,
) -> Response:
    """An item's stock by batch and site, first expiring first, all of it in one answer."""
    _only_own_site(person, site_id)
    found = await queries.item_stock(db, item_id, now, site_id)
    return Response(found, media_type="application/json")


@router.get("/batches/{batch_id}/locations", tags=["stock"], responses=_READ)
async def read_batch_locations(batch_id: BatchId, person: Reader, db: Db, now: Now) -> list[StockView]:
    """Where a batch stands now; an empty list when nothing of it is left."""
    rows = await queries.stock(db, queries.StockAsked(batch_id=batch_id), now, limit=1000)
    return [row for row in rows if person.may_at(row.site_id)]


@router.get("/movements", tags=["stock"], responses=_READ)
async def list_movements(
    person: Reader,
    db: Db,
    item_id: OfItem = None,
    batch_id: OfBatch = None,
    location_id: Annotated[Code | None, Query(description="Together with its site_id.")] = None,
    site_id: OfSite = None,
    reference: Annotated[Reference | None, Query(description="The receipt line, pick, shipment line, …")] = None,
    after: After = None,
    limit: Limit = 200,
) -> Page[MovementView]:
    """Lines of the ledger by item and sequence, of an item, a batch or a location."""
    if item_id is None and batch_id is None and location_id is None:
        raise problem(
            422, "invalid_request", "name an item_id, a batch_id, or a location_id with its site_id", field="item_id"
        )
    if location_id is not None and site_id is None:
        raise problem(
            422, "invalid_request", f"location_id {location_id!r} without site_id: codes are a site's", field="site_id"
        )
    key = _unseal(after, 2)
    if key and not (key[1].isdecimal() and len(key[1]) < 19):
        raise problem(422, "invalid_request", "after: not the `next` of a page of this list", field="after")
    asked = queries.LinesAsked(item_id, batch_id, location_id, site_id, reference)
    rows = await queries.movements(db, asked, (key[0], int(key[1])) if key else None, limit)
    last = rows[-1] if len(rows) == limit else None
    seen = [row for row in rows if any(person.may_at(site) for site in _sites_of(row))]
    return Page(items=seen, next=_seal((last.item_id, last.sequence)) if last else None)


def _sites_of(line: MovementView) -> list[str]:
    return [place.site_id for place in (line.from_place, line.to_place) if place.site_id is not None]


@router.get("/sequence/{item_id}", tags=["stock"], responses=_READ)
async def read_sequence(
    item_id: Annotated[Code, Path(description="The company's own code.")], _person: Reader, db: Db
) -> SequenceView:
    """The item's last number: how far somebody who listens must have come to know all of it."""
    return SequenceView(item_id=item_id, sequence=await queries.sequence(db, item_id))


# Put-away and corrections


@router.get("/put-away/proposals", tags=["put-away"], responses=problem_responses(401, 403, 404, 422))
async def propose_location(
    person: Reader,
    db: Db,
    batch_id: Annotated[UUID, Query(description="What is to be put away.")],
    site_id: Annotated[Code, Query(description="Where it stands.")],
    from_location_id: Annotated[Code, Query(description="The location where it stands now.")],
    quality: Annotated[KnownQuality, Query(description="Which of it: goods of one quality go together.")],
    quantity: Annotated[Quantity | None, Query(description="Absent: all that stands there.")] = None,
) -> ProposalView:
    """Where these goods should go, by every rule that holds when they are put there; and why not elsewhere."""
    _only_own_site(person, site_id)
    batch = await queries.to_put_away(db, batch_id)
    if batch is None:
        raise problem(404, "unknown_batch", f"batch {batch_id} was never received here", field="batch_id")
    wanted = quantity or await queries.standing(db, batch_id, Spot(site_id, from_location_id, quality))
    if not wanted:
        raise problem(
            404,
            "not_there",
            f"nothing {quality} of batch {batch.batch_no!r} stands at {from_location_id!r} of {site_id!r}",
            field="from_location_id",
        )
    goods = Goods(batch.item_id, batch_id, batch.batch_no, Quality(quality), wanted, batch.climate)
    there = await queries.shelves(db, site_id, batch.item_id, batch_id)
    found = propose(goods, [shelf for shelf in there if shelf.location_id != from_location_id])
    passed_over = [
        PassedOverView(location_id=each.location_id, code=each.code, text=each.text)
        for each in found.passed_over[:_PASSED_OVER_SAID]
    ]
    return ProposalView(proposed=found.location_id, reason=f"{exact(wanted)}: {found.reason}", passed_over=passed_over)


@router.post("/put-aways", tags=["put-away"], status_code=201, response_model=MovementView, responses=_WRITE)
async def put_away(body: PutAway, at: Annotated[Desk, Depends(desk("operator", "supervisor"))]) -> Response:
    """Put goods away. 409 names the rule of the location that refuses them, with value and limit."""
    at.person.require_site(body.site_id)
    return await at.do(body)


@router.post("/transfers", tags=["put-away"], status_code=201, response_model=MovementView, responses=_WRITE)
async def transfer(body: Transfer, at: Annotated[Desk, Depends(desk("operator", "supervisor"))]) -> Response:
    """Move goods within a site; the rules of locations hold here as well."""
    at.person.require_site(body.site_id)
    return await at.do(body)


@router.post(
    "/adjustments",
    tags=["counting"],
    status_code=201,
    response_model=AdjustmentView,
    responses={**_WRITE, 200: {"model": AdjustmentView, "description": "The books were right: nothing moved."}},
)
async def adjust(body: Adjust, at: Annotated[Desk, Depends(desk("supervisor"))]) -> Response:
    """Say what was counted, or by how much the books are wrong. A count that agrees moves nothing (200)."""
    at.person.require_site(body.site_id)
    return await at.do(body, keys=[body.item_id])


@router.post("/status-changes", tags=["quality"], status_code=201, response_model=MovementView, responses=_WRITE)
async def change_status(body: ChangeStatus, at: Annotated[Desk, Depends(desk("quality"))]) -> Response:
    """Change the quality of goods where they stand, with a reason."""
    at.person.require_site(body.site_id)
    return await at.do(body)


@router.post("/reversals", tags=["counting"], status_code=201, response_model=ReversalView, responses=_WRITE)
async def reverse(body: Reverse, at: Annotated[Desk, Depends(desk("supervisor"))]) -> Response:
    """Undo a movement once, as if it had not happened; the ledger keeps both.

    A count that was made after it stands: what was counted is not changed by it.
    """
    return await at.do(body)


# Holds


class LiftBody(BaseModel):
    """Why a hold is over."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason


@router.post("/holds", tags=["quality"], status_code=201, response_model=HoldView, responses=_WRITE)
async def place_hold(body: PlaceHold, at: Annotated[Desk, Depends(desk("quality", "supervisor"))]) -> Response:
    """Hold a batch at a location, at a site, or everywhere. Holds stack; from the answer on nothing of it leaves."""
    if body.site_id is not None:
        at.person.require_site(body.site_id)
    return await at.do(body)


@router.post("/holds/{hold_id}/lift", tags=["quality"], response_model=LiftedView, responses=_WRITE)
async def lift_hold(
    hold_id: HoldId, body: LiftBody, at: Annotated[Desk, Depends(desk("quality", "supervisor"))]
) -> Response:
    """End one hold; others stay. A recall lifts its own holds, and expired batches stay held."""
    return await at.do(LiftHold(hold_id, body.reason))


@router.get("/holds", tags=["quality"], responses=_READ)
async def list_holds(
    person: Reader,
    db: Db,
    batch_id: OfBatch = None,
    item_id: OfItem = None,
    only_open: Annotated[bool | None, Query(alias="open", description="Absent: all.")] = None,
    after: Annotated[UUID | None, Query(description="The last hold_id of the page before.")] = None,
    limit: Limit = 200,
) -> Page[HoldView]:
    """Holds in the order in which they were placed."""
    rows = await queries.holds(db, batch_id=batch_id, item_id=item_id, only_open=only_open, after=after, limit=limit)
    seen = [row for row in rows if row.site_id is None or person.may_at(row.site_id)]
    return Page(items=seen, next=str(rows[-1].hold_id) if len(rows) == limit else None)


# The checker


@router.get("/checks", tags=["checker"], responses=_READ)
async def read_checks(_person: Reader, db: Db) -> CheckView:
    """Whether the balances are the ledger folded, as far as the checker has come."""
    return await queries.last_check(db)


@router.post("/checks", tags=["checker"], response_model=CheckView, responses=_WRITE)
async def check_now(at: Annotated[Desk, Depends(desk("supervisor", "auditor"))]) -> Response:
    """Compare every item with the ledger now."""
    return await at.do(CheckNow())
