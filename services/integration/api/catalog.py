"""Items and partners over HTTP."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.datastructures import UploadFile

from contracts.integration import (
    GtinAlias,
    ItemDefined,
    PartnerDefined,
    PartnerRole,
    ShelfLifeRule,
    UniqueWithin,
    UnitConversion,
)
from contracts.values import Climate, Code, Listed, Unit
from delivery import Desk, Page, Pool, desk, problem_responses, reading, requires
from delivery.limits import LARGEST_REQUEST
from delivery.problems import problem
from services.integration import queries
from services.integration.api.lists import EVERYONE, WRITERS, Limit, found_or_404
from services.integration.domain.imports import (
    ITEM_COLUMNS,
    PARTNER_COLUMNS,
    Definition,
    NotAList,
    Row,
    read_items,
    read_partners,
)
from services.integration.handlers.catalog import (
    CATALOG_LOCK,
    DefineItem,
    DefinePartner,
    ImportItems,
    ImportPartners,
    ImportResult,
)
from services.integration.messages import Words

router = APIRouter(tags=["catalog"])

ListedWord = TypeVar("ListedWord", bound=Listed)


def _known(word: ListedWord) -> ListedWord:
    """A listener reads a word it does not know as `unknown`; a person who writes one has made a mistake."""
    if word == "unknown":
        raise ValueError(f"must be one of {', '.join(each for each in type(word) if each != 'unknown')}")
    return word


class ItemBody(BaseModel):
    """An item as it shall be. Days are calendar days, percents 0 to 100."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "name": "Whole milk powder, 26 % fat",
                    "base_unit": "KGM",
                    "units": [{"unit": "BX", "numerator": 25, "denominator": 1}],
                    "gtins": [{"gtin": "06901234567892", "unit": "BX"}],
                    "shelf_life_days": 546,
                    "expiry_required": True,
                    "climate": "ambient",
                    "inspection_required": True,
                }
            ]
        },
    )

    name: Words
    base_unit: Unit = Field(description="What stock is counted in. It stays once the item is in use.")
    units: tuple[UnitConversion, ...] = Field(
        default=(), max_length=50, description="One unit is exactly numerator/denominator base units."
    )
    gtins: tuple[GtinAlias, ...] = Field(default=(), max_length=100)
    shelf_life_days: int | None = Field(default=None, gt=0, le=36_500)
    expiry_required: bool = True
    min_days_at_receipt: int | None = Field(default=None, ge=0, le=36_500)
    min_percent_at_receipt: int | None = Field(default=None, ge=0, le=100)
    near_expiry_days: int | None = Field(default=None, ge=0, le=36_500)
    climate: Annotated[Climate, AfterValidator(_known)] = Climate.AMBIENT
    inspection_required: bool = True
    batch_no_unique_within: Annotated[UniqueWithin, AfterValidator(_known)] = UniqueWithin.ITEM
    active: bool = True


class PartnerBody(BaseModel):
    """A supplier or customer as it shall be."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "name": "Northern Dairies Ltd.",
                    "roles": ["supplier"],
                    "gln": "6901234000009",
                    "shelf_life_rules": [],
                }
            ]
        },
    )

    name: Words
    roles: tuple[Annotated[PartnerRole, AfterValidator(_known)], ...] = Field(min_length=1, max_length=2)
    gln: str | None = Field(default=None, pattern=r"^[0-9]{13}$")
    shelf_life_rules: tuple[ShelfLifeRule, ...] = Field(
        default=(), max_length=500, description="What this customer wants left; without item_id: of any item."
    )
    active: bool = True


ItemId = Annotated[Code, Path(description="The company's own code.", examples=["WMP-25"])]
PartnerId = Annotated[Code, Path(description="The company's own code.", examples=["S-0117"])]
Active = Annotated[bool | None, Query(description="Only those in use, or only those that are not.")]
After = Annotated[str, Query(max_length=40, pattern=r"^[!-~]*$", description="`next` of the page before.")]


@router.put(
    "/items/{item_id}",
    response_model=ItemDefined,
    responses={201: {"model": ItemDefined, "description": "New"}, **problem_responses(401, 403, 409, 422)},
    summary="Define an item",
)
async def define_item(item_id: ItemId, body: ItemBody, at: Annotated[Desk, Depends(desk(*WRITERS))]) -> Response:
    """The whole definition; what is left out takes its default. The same again changes nothing and says nothing.

    Refused: a wrong GTIN check digit (422), another item's GTIN (409), and, once the item is in use, another base unit
    or factor (409).
    """
    definition = ItemDefined.model_validate({**dict(body), "item_id": item_id, "revision": 1})
    return await at.do(DefineItem(definition), keys=[CATALOG_LOCK])


@router.put(
    "/partners/{partner_id}",
    response_model=PartnerDefined,
    responses={201: {"model": PartnerDefined, "description": "New"}, **problem_responses(401, 403, 422)},
    summary="Define a supplier or customer",
)
async def define_partner(
    partner_id: PartnerId, body: PartnerBody, at: Annotated[Desk, Depends(desk(*WRITERS))]
) -> Response:
    """The whole definition; the same again changes nothing and says nothing."""
    definition = PartnerDefined.model_validate({**dict(body), "partner_id": partner_id, "revision": 1})
    return await at.do(DefinePartner(definition), keys=[CATALOG_LOCK])


@router.get(
    "/items",
    response_model=Page[ItemDefined],
    responses=problem_responses(401, 403, 422),
    dependencies=[Depends(requires(*EVERYONE))],
    summary="List items",
)
async def list_items(
    db: Annotated[Pool, Depends(reading)], after: After = "", limit: Limit = 100, active: Active = None
) -> Page[ItemDefined]:
    """By item_id."""
    return await queries.items(db, after=after, limit=limit, active=active)


@router.get(
    "/items/{item_id}",
    response_model=ItemDefined,
    responses=problem_responses(401, 403, 404),
    dependencies=[Depends(requires(*EVERYONE))],
    summary="Show an item",
)
async def show_item(item_id: ItemId, db: Annotated[Pool, Depends(reading)]) -> ItemDefined:
    """As it is now."""
    return found_or_404(await queries.item(db, item_id), f"item {item_id!r}", field="item_id")


@router.get(
    "/partners",
    response_model=Page[PartnerDefined],
    responses=problem_responses(401, 403, 422),
    dependencies=[Depends(requires(*EVERYONE))],
    summary="List partners",
)
async def list_partners(
    db: Annotated[Pool, Depends(reading)], after: After = "", limit: Limit = 100, active: Active = None
) -> Page[PartnerDefined]:
    """By partner_id."""
    return await queries.partners(db, after=after, limit=limit, active=active)


@router.get(
    "/partners/{partner_id}",
    response_model=PartnerDefined,
    responses=problem_responses(401, 403, 404),
    dependencies=[Depends(requires(*EVERYONE))],
    summary="Show a partner",
)
async def show_partner(partner_id: PartnerId, db: Annotated[Pool, Depends(reading)]) -> PartnerDefined:
    """As it is now."""
    return found_or_404(await queries.partner(db, partner_id), f"partner {partner_id!r}", field="partner_id")


def _list_body(columns: Mapping[str, object], example: str) -> dict[str, Any]:
    about = f"UTF-8. The first line names columns, of: {', '.join(columns)}."
    return {
        "requestBody": {
            "required": True,
            "content": {
                "text/csv": {
                    "schema": {"type": "string", "maxLength": LARGEST_REQUEST, "description": about},
                    "example": example,
                },
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["file"],
                        "properties": {
                            "file": {
                                "type": "string",
                                "format": "binary",
                                "maxLength": LARGEST_REQUEST,
                                "description": about,
                            }
                        },
                    }
                },
            },
        }
    }


DryRun = Annotated[bool, Query(description="Only say what would come of it; nothing is changed.")]


@router.post(
    "/items/import",
    response_model=ImportResult,
    responses=problem_responses(401, 403, 422),
    summary="Import a list of items (CSV)",
    openapi_extra=_list_body(
        ITEM_COLUMNS,
        "item_id,name,base_unit,units,gtins,shelf_life_days\nWMP-25,Milk powder,KGM,BX=25,06901234567892:BX,546\n",
    ),
)
async def import_items(
    request: Request, at: Annotated[Desk, Depends(desk(*WRITERS))], dry_run: DryRun = False
) -> Response:
    """Every good row is taken; each other one is refused by itself, with its line, column, value and limit.

    `units`: `BX=25 TU=1/3` (one BX is 25 base units). `gtins`: `06901234567892:BX`. Yes/no columns take yes, no, true,
    false, 1, 0. At most 3 000 rows. Comma, semicolon or tab.
    """
    rows = await _rows(request, read_items)
    return await at.do(ImportItems(rows, dry_run))


@router.post(
    "/partners/import",
    response_model=ImportResult,
    responses=problem_responses(401, 403, 422),
    summary="Import a list of partners (CSV)",
    openapi_extra=_list_body(
        PARTNER_COLUMNS, "partner_id,name,roles,shelf_life_rules\nC-2041,Harbin Foods,customer,*:180:33\n"
    ),
)
async def import_partners(
    request: Request, at: Annotated[Desk, Depends(desk(*WRITERS))], dry_run: DryRun = False
) -> Response:
    """As for items. `roles`: `supplier customer`. `shelf_life_rules`: `item-or-*:days:percent`, such as `*:180:33`."""
    rows = await _rows(request, read_partners)
    return await at.do(ImportPartners(rows, dry_run))


async def _rows(request: Request, read: Callable[[str], Iterator[Row[Definition]]]) -> list[Row[Definition]]:
    body = await request.body()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        async with request.form(max_files=1, max_fields=10) as form:
            file = form.get("file")
            if not isinstance(file, UploadFile):
                raise problem(422, "no_file", "the form has no file in its field 'file'", field="file")
            body = await file.read()
    elif kind not in {"text/csv", "text/plain", "application/csv"}:
        raise problem(
            422, "not_a_list", f"content type {kind!r}: text/csv or multipart/form-data is needed", field="Content-Type"
        )
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise problem(
            422, "not_a_list", f"byte {error.start} is {body[error.start]:#04x}: the list must be UTF-8", field="body"
        ) from None
    try:
        # Thousands of rows take a moment: other calls go on meanwhile.
        return await asyncio.to_thread(lambda: list(read(text)))
    except NotAList as error:
        raise problem(422, "not_a_list", str(error), field="body") from None
