"""Items and partners: defined one by one, or imported as a list."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel, Field

from contracts.integration import ItemDefined, PartnerDefined
from delivery import Answer, Work, does
from services.integration.domain.catalog import Unchanged, define_item, define_partner
from services.integration.domain.imports import Row, RowRefused
from services.integration.domain.refused import Refused
from services.integration.handlers.refusals import refusal
from services.integration.store.catalog import CatalogStore

CATALOG_LOCK = "catalog/"
"""One definition at a time: a GTIN must not go to two items, and a lock for each row of a list would be too many."""

Definition = TypeVar("Definition", ItemDefined, PartnerDefined)


@dataclass(frozen=True, slots=True)
class DefineItem:
    """Define an item as this; its revision is ours to count."""

    definition: ItemDefined


@dataclass(frozen=True, slots=True)
class DefinePartner:
    """Define a partner as this."""

    definition: PartnerDefined


@dataclass(frozen=True, slots=True)
class Import(Generic[Definition]):
    """Take the good rows of a list; with `dry_run` only say what would come of it."""

    rows: Sequence[Row[Definition]]
    dry_run: bool


class ImportItems(Import[ItemDefined]):
    """A list of items."""


class ImportPartners(Import[PartnerDefined]):
    """A list of partners."""


class RowResult(BaseModel):
    """What came of one row."""

    line: int = Field(description="Of the file; the first line is 1.")
    name: str = Field(description="The item or partner of the row.")
    result: str = Field(description="accepted, unchanged or refused.")
    column: str | None = None
    value: str | None = Field(default=None, description="What stood there.")
    limit: str | None = Field(default=None, description="What is allowed there.")


class ImportResult(BaseModel):
    """What came of a list. With `dry_run` nothing was changed."""

    dry_run: bool
    accepted: int
    unchanged: int
    refused: int
    rows: list[RowResult]


Decision = ItemDefined | PartnerDefined | Unchanged | Refused


async def _items(work: Work, wanted: Sequence[ItemDefined], *, dry_run: bool = False) -> list[Decision]:
    """Decide about items in order, each seeing what the ones before it did; save what changed."""
    await work.lock([CATALOG_LOCK])
    store = CatalogStore(work.db)
    current = await store.items(item.item_id for item in wanted)
    # Whether an item is in use matters only where its units change; nobody may begin to use it meanwhile.
    await work.lock(
        item.item_id
        for item in wanted
        if (before := current.get(item.item_id)) and (before.base_unit, before.units) != (item.base_unit, item.units)
    )
    in_use = await store.in_use(current)
    owners = await store.gtin_owners(alias.gtin for item in wanted for alias in item.gtins)
    decisions: list[Decision] = []
    changed: dict[str, ItemDefined] = {}
    for item in wanted:
        before = current.get(item.item_id)
        decision = define_item(item, before, in_use=item.item_id in in_use, gtin_owners=owners)
        if isinstance(decision, ItemDefined):
            for alias in before.gtins if before else ():
                owners.pop(alias.gtin, None)
            owners |= {alias.gtin: item.item_id for alias in decision.gtins}
            current[item.item_id] = changed[item.item_id] = decision
        decisions.append(decision)
    if changed and not dry_run:
        await store.save_items(list(changed.values()), work.now)
    return decisions


async def _partners(work: Work, wanted: Sequence[PartnerDefined], *, dry_run: bool = False) -> list[Decision]:
    await work.lock([CATALOG_LOCK])
    store = CatalogStore(work.db)
    current = await store.partners(partner.partner_id for partner in wanted)
    decisions: list[Decision] = []
    changed: dict[str, PartnerDefined] = {}
    for partner in wanted:
        decision = define_partner(partner, current.get(partner.partner_id))
        if isinstance(decision, PartnerDefined):
            current[partner.partner_id] = changed[partner.partner_id] = decision
        decisions.append(decision)
    if changed and not dry_run:
        await store.save_partners(list(changed.values()), work.now)
    return decisions


def _answer(wanted: ItemDefined | PartnerDefined, decision: Decision) -> Answer:
    match decision:
        case Refused():
            return refusal(decision)
        case Unchanged(revision):
            return Answer(wanted.model_copy(update={"revision": revision}))
        case _:
            return Answer(decision, 201 if decision.revision == 1 else 200, [decision])


@does(DefineItem)
async def define_items(work: Work, commands: Sequence[DefineItem]) -> Sequence[Answer]:
    """Give each item its next revision where something changed."""
    wanted = [command.definition for command in commands]
    return [_answer(*each) for each in zip(wanted, await _items(work, wanted), strict=True)]


@does(DefinePartner)
async def define_partners(work: Work, commands: Sequence[DefinePartner]) -> Sequence[Answer]:
    """Give each partner its next revision where something changed."""
    wanted = [command.definition for command in commands]
    return [_answer(*each) for each in zip(wanted, await _partners(work, wanted), strict=True)]


@does(ImportItems)
async def import_items(work: Work, commands: Sequence[ImportItems]) -> Sequence[Answer]:
    """Take the good rows of each list."""
    return [
        _import_answer(command, await _items(work, _good(command), dry_run=command.dry_run)) for command in commands
    ]


@does(ImportPartners)
async def import_partners(work: Work, commands: Sequence[ImportPartners]) -> Sequence[Answer]:
    """Take the good rows of each list."""
    return [
        _import_answer(command, await _partners(work, _good(command), dry_run=command.dry_run)) for command in commands
    ]


def _good(command: Import[Definition]) -> list[Definition]:
    return [row.means for row in command.rows if not isinstance(row.means, RowRefused)]


def _import_answer(command: Import[Definition], decisions: Sequence[Decision]) -> Answer:
    left = iter(decisions)
    results = []
    for row in command.rows:
        decision = row.means if isinstance(row.means, RowRefused) else next(left)
        match decision:
            case RowRefused():
                results.append(
                    RowResult(
                        line=row.line,
                        name=row.name,
                        result="refused",
                        column=decision.column,
                        value=decision.value,
                        limit=decision.limit,
                    )
                )
            case Refused():
                column = decision.field and decision.field.partition("[")[0]  # of `gtins[0].gtin`, the list's cell
                results.append(
                    RowResult(line=row.line, name=row.name, result="refused", column=column, limit=decision.detail)
                )
            case Unchanged():
                results.append(RowResult(line=row.line, name=row.name, result="unchanged"))
            case _:
                results.append(RowResult(line=row.line, name=row.name, result="accepted"))
    counted = [result.result for result in results]
    return Answer(
        ImportResult(
            dry_run=command.dry_run,
            accepted=counted.count("accepted"),
            unchanged=counted.count("unchanged"),
            refused=counted.count("refused"),
            rows=results,
        ),
        says=[] if command.dry_run else [each for each in decisions if isinstance(each, ItemDefined | PartnerDefined)],
    )
