"""The building: what people say of sites, zones and locations. What goods stand on is not changed under them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from contracts.inventory import SiteDefined
from contracts.values import Climate, Purpose
from delivery import Answer, Refusal, Work, does
from services.inventory.store import InventoryStore
from services.inventory.views import exact


@dataclass(frozen=True, slots=True, eq=False)
class PutSite:
    """Describe a site."""

    site_id: str
    name: str
    time_zone: str


@dataclass(frozen=True, slots=True, eq=False)
class PutZone:
    """Describe a zone."""

    site_id: str
    zone_id: str
    name: str
    purpose: Purpose
    climate: Climate


@dataclass(frozen=True, slots=True, eq=False)
class PutLocation:
    """Describe a location; `capacity` in base units, none is no limit."""

    site_id: str
    location_id: str
    zone_id: str
    capacity: Decimal | None
    single_item: bool


Put = PutSite | PutZone | PutLocation


@does(PutSite, PutZone, PutLocation)
async def change_building(work: Work, commands: Sequence[Put]) -> Sequence[Answer]:
    """Describe places, one after the other; nothing moves at their sites meanwhile."""
    store = InventoryStore(work.db)
    sites = {each.site_id for each in commands}
    await work.lock(sites)
    await store.change_building(sites)
    # Places are described rarely and in small numbers, so these need no statement for all of them.
    answers = [await _put(store, each) for each in commands]
    last = {each.site_id: n for n, each in enumerate(commands) if answers[n].status < 300}
    for said in await say_sites(work, store, last):
        n = last[said.site_id]
        answers[n] = replace(answers[n], says=[said])
    return answers


async def say_sites(work: Work, store: InventoryStore, sites: Collection[str]) -> list[SiteDefined]:
    """What there is to say of sites, whose keys are locked: those that are as they were last said are left out."""
    return [
        SiteDefined(
            site_id=now.site_id,
            revision=now.revision,
            name=now.name,
            time_zone=now.time_zone,
            set_up=now.set_up,
            docks=now.docks,
            staging=now.staging,
            sites=now.sites,
            defined_at=work.now,
        )
        for now in (await store.say_sites(sites) if sites else ())
    ]


async def _put(store: InventoryStore, command: Put) -> Answer:
    match command:
        case PutSite():
            new = await store.put_site(command.site_id, command.name, command.time_zone)
            body = {"site_id": command.site_id, "name": command.name, "time_zone": command.time_zone}
            return Answer(body, 201 if new else 200)
        case PutZone():
            return await _put_zone(store, command)
        case PutLocation():
            return await _put_location(store, command)


async def _put_zone(store: InventoryStore, command: PutZone) -> Answer:
    site_known, purpose, filled = await store.zone(command.site_id, command.zone_id)
    if not site_known:
        return Refusal(404, "unknown_site", f"there is no site {command.site_id!r}: describe it first", field="site_id")
    if purpose not in (None, command.purpose) and filled:
        return Refusal(
            409,
            "stock_in_zone",
            f"zone {command.zone_id!r} is for {purpose} and {exact(filled)} stand in it: empty it before it is for "
            f"{command.purpose}",
            field="purpose",
        )
    await store.put_zone(command.site_id, command.zone_id, command.name, command.purpose, command.climate)
    body = {
        "site_id": command.site_id,
        "zone_id": command.zone_id,
        "name": command.name,
        "purpose": command.purpose,
        "climate": command.climate,
    }
    return Answer(body, 201 if purpose is None else 200)


async def _put_location(store: InventoryStore, command: PutLocation) -> Answer:
    _, purpose, _ = await store.zone(command.site_id, command.zone_id)
    if purpose is None:
        return Refusal(
            404,
            "unknown_zone",
            f"site {command.site_id!r} has no zone {command.zone_id!r}: describe it first",
            field="zone_id",
        )
    zone_id, filled, items = await store.location(command.site_id, command.location_id)
    if zone_id not in (None, command.zone_id) and filled:
        return Refusal(
            409,
            "stock_in_location",
            f"location {command.location_id!r} is in zone {zone_id!r} and {exact(filled)} stand there: empty it before "
            f"it is in {command.zone_id!r}",
            field="zone_id",
        )
    if command.single_item and items > 1:
        return Refusal(
            409,
            "other_item",
            f"{items} items stand at location {command.location_id!r}: it cannot be for one item",
            field="single_item",
        )
    if command.capacity is not None and filled > command.capacity:
        return Refusal(
            409,
            "no_room",
            f"{exact(filled)} stand at location {command.location_id!r}: its capacity cannot be "
            f"{exact(command.capacity)}",
            field="capacity",
        )
    await store.put_location(
        command.site_id, command.location_id, command.zone_id, command.capacity, single_item=command.single_item
    )
    body = {
        "site_id": command.site_id,
        "location_id": command.location_id,
        "zone_id": command.zone_id,
        "capacity": None if command.capacity is None else exact(command.capacity),
        "single_item": command.single_item,
    }
    return Answer(body, 201 if zone_id is None else 200)
