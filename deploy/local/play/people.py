"""What people do in the warehouse, each deed in the few calls it takes. The story and the journeys let them work."""

import asyncio
import csv
import datetime as dt
import io
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeVar

from deploy.local.play.erp import demand_of
from deploy.local.play.input import Input, Item, Produced, Purchase, Wanted, label
from deploy.local.play.world import World

Done = TypeVar("Done")

DOCK = "DOCK"
STAGE = "STAGE"

_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Arrival:
    """Goods at the dock as a person sees them: the label, how much, and the expectation that they fit."""

    item: Item
    batch_no: str
    made_on: dt.date
    expires_on: dt.date
    quantity: Decimal
    unit: str
    expected_receipt_id: str

    @property
    def line(self) -> dict[str, Any]:
        """The line of a receipt: the scan says what it is, the person types how much."""
        return {
            "expected_receipt_id": self.expected_receipt_id,
            "scan": label(self.item, self.batch_no, made_on=self.made_on, expires_on=self.expires_on),
            "quantity": self.quantity,
            "unit": self.unit,
        }


def arrival_of(one: Purchase | Produced, expected_receipt_id: str) -> Arrival:
    """What is written on the packages of a delivery or a production batch."""
    return Arrival(one.item, one.batch_no, one.made_on, one.expires_on, one.quantity, one.unit, expected_receipt_id)


@dataclass(frozen=True, slots=True)
class Standing:
    """A quantity of a batch at a location with a quality, in the base unit."""

    item_id: str
    batch_id: str
    batch_no: str
    site_id: str
    location_id: str
    quality: str
    quantity: Decimal

    @property
    def key(self) -> tuple[str, str]:
        """Item and batch number."""
        return self.item_id, self.batch_no


@dataclass(slots=True)
class People:
    """Everybody with a scanner or a screen. `batches` remembers the batch id of each item and number they met."""

    world: World
    given: Input
    batches: dict[tuple[str, str], str] = field(default_factory=dict)

    # --- the building and the catalog

    async def set_up_sites(self) -> int:
        """Sofia, the supervisor, describes the sites; returns how many locations they have."""
        for site in self.given.sites:
            path = f"/sites/{site.site_id}"
            await self._describe(path, name=site.name, time_zone=site.time_zone)
            await at_once(
                self._describe(
                    f"{path}/zones/{zone.zone_id}", name=zone.name, purpose=zone.purpose, climate=zone.climate
                )
                for zone in site.zones
            )
            await at_once(
                self._describe(f"{path}/locations/{location}", zone_id=zone.zone_id, capacity=zone.capacity)
                for zone in site.zones
                for location in zone.locations
            )
        return sum(len(zone.locations) for site in self.given.sites for zone in site.zones)

    async def _describe(self, path: str, **words: Any) -> None:
        await self.world.put("inventory", path, words, by="sofia")

    async def import_catalog(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Mei, the integrator, imports items and partners from CSV; returns what became of the rows of each."""
        lists = (("/items/import", item_list(self.given)), ("/partners/import", partner_list(self.given)))
        items, partners = [
            await self.world.post_text("integration", path, text, kind="text/csv", by="mei") for path, text in lists
        ]
        return items, partners

    # --- goods in

    async def order(self, purchases: Iterable[Purchase]) -> None:
        """The ERP's purchase orders are announced."""
        await at_once(
            self.world.post(
                "integration",
                "/expected-receipts",
                {
                    "origin": "supplier",
                    "item_id": one.item.item_id,
                    "quantity": one.quantity,
                    "unit": one.unit,
                    "site_id": one.site_id,
                    "due_on": self.given.today,
                    "partner_id": one.supplier_id,
                    "reference": one.reference,
                    "unit_cost": one.unit_cost,
                    "currency": "CNY" if one.unit_cost is not None else None,
                },
                by="mei",
            )
            for one in purchases
        )

    async def expected(
        self, wanted: Callable[[dict[str, Any]], bool], count: int, awaited: str
    ) -> list[dict[str, Any]]:
        """Wait until receiving expects `count` open receipts that are `wanted`, and return them."""

        async def ask() -> list[dict[str, Any]] | None:
            rows = await self.world.all("receiving", "/expected-receipts", open="true", limit=500)
            found = [row for row in rows if wanted(row)]
            return found if len(found) >= count else None

        return await self.world.until(awaited, ask, service="receiving")

    async def receive(
        self, arrivals: Sequence[Arrival], *, site_id: str, at: dt.datetime | None = None, **receipt: Any
    ) -> list[dict[str, Any]]:
        """Olivia scans what stands at the dock: one receipt, a line for each arrival; what became of each line."""
        body = {
            "site_id": site_id,
            "location_id": DOCK,
            "received_at": at.isoformat() if at else None,
            "lines": [arrival.line for arrival in arrivals],
            **receipt,
        }
        status, answer = await self.world.attempt("receiving", "/receipts", body, by="olivia")
        lines: list[dict[str, Any]] | None = answer.get("lines")
        if lines is None:
            raise self.world.failed(f"POST /receipts was answered {status}: {answer.get('detail')}", "receiving")
        for arrival, line in zip(arrivals, lines, strict=True):
            if line.get("batch_id"):
                self.batches[arrival.item.item_id, arrival.batch_no] = line["batch_id"]
        return lines

    async def inspect(
        self, standing: Standing, *, rejected: Decimal = Decimal(0), reason: str | None = None
    ) -> dict[str, Any]:
        """Ivan, the inspector, decides about a pending quantity and signs."""
        answer: dict[str, Any] = await self.world.post(
            "receiving",
            "/inspections",
            {
                "batch_id": standing.batch_id,
                "site_id": standing.site_id,
                "released": standing.quantity - rejected,
                "rejected": rejected,
                "reason": reason,
                "certificate": f"COA-{standing.batch_no}",
                "meaning": "approval",
            },
            by="ivan",
        )
        return answer

    async def stock(self, **query: Any) -> list[Standing]:
        """What stands where, as inventory's balances have it."""
        rows = await self.world.all("inventory", "/stock", limit=500, **query)
        return [
            Standing(
                row["item_id"],
                str(row["batch_id"]),
                row["batch_no"],
                row["site_id"],
                row["location_id"],
                row["quality"],
                Decimal(row["quantity"]),
            )
            for row in rows
        ]

    async def until_stock(
        self, awaited: str, so: Callable[[list[Standing]], list[Standing] | None], **query: Any
    ) -> list[Standing]:
        """Wait until inventory's stock is `so`, and return what it chose."""

        async def ask() -> list[Standing] | None:
            return so(await self.stock(**query))

        return await self.world.until(awaited, ask, service="inventory")

    async def standing_at_dock(
        self, batches: Collection[tuple[str, str]], *, quality: str | None = None
    ) -> list[Standing]:
        """Wait until every one of `batches` (item, number) stands at its dock, wholly in `quality`, and return it."""
        wanted = set(batches)

        def so(stock: list[Standing]) -> list[Standing] | None:
            here = [one for one in stock if one.key in wanted and one.location_id == DOCK]
            there = {one.key for one in here}
            unlike = [one for one in here if quality is not None and one.quality != quality]
            return here if there == wanted and not unlike else None

        what = f"{len(wanted)} batches stand at the dock{f' {quality}' if quality else ''}"
        return await self.until_stock(what, so)

    async def proposal(self, standing: Standing) -> dict[str, Any]:
        """Where inventory would put goods, why, and why nowhere else."""
        found: dict[str, Any] = await self.world.get(
            "inventory",
            "/put-away/proposals",
            by="olivia",
            batch_id=standing.batch_id,
            site_id=standing.site_id,
            from_location_id=standing.location_id,
            quality=standing.quality,
            quantity=str(standing.quantity),
        )
        return found

    async def put_away(self, standing: Standing, location_id: str | None = None) -> str:
        """Olivia carries goods to the proposed location, or to `location_id`, and scans it; returns where to."""
        if location_id is None:
            proposed = await self.proposal(standing)
            location_id = proposed["proposed"]
            if location_id is None:
                raise self.world.failed(f"nowhere to put {standing.batch_no!r}: {proposed['reason']}", "inventory")
        await self.world.post(
            "inventory",
            "/put-aways",
            {
                "batch_id": standing.batch_id,
                "site_id": standing.site_id,
                "from_location_id": standing.location_id,
                "to_location_id": location_id,
                "quality": standing.quality,
                "quantity": standing.quantity,
            },
            by="olivia",
        )
        return location_id

    async def put_all_away(self, standings: Iterable[Standing]) -> dict[str, str]:
        """One after the other, as one person does; returns the location of each batch number."""
        return {standing.batch_no: await self.put_away(standing) for standing in standings}

    # --- goods out

    async def raise_by_hand(self, wanted: Wanted) -> dict[str, Any]:
        """Pavel, the planner, raises a demand in the item's base unit; the promise comes at once."""
        body = demand_of(wanted) | {
            "quantity": wanted.item.in_base_units(wanted.quantity, wanted.unit),
            "unit": wanted.item.base_unit,
        }
        answer: dict[str, Any] = await self.world.post("allocation", "/demands", body, by="pavel")
        return answer

    async def demand(self, reference: str) -> dict[str, Any] | None:
        """A demand as allocation has it, by the ERP's order and line; None while it does not know it."""
        rows = await self.world.all("allocation", "/demands", reference=reference)
        return await self.world.get("allocation", f"/demands/{rows[0]['demand_id']}") if rows else None

    async def until_demand(
        self, reference: str, awaited: str, so: Callable[[dict[str, Any]], bool] = lambda demand: True
    ) -> dict[str, Any]:
        """Wait until allocation knows a demand and it is `so`."""
        last: dict[str, Any] | None = None

        async def ask() -> dict[str, Any] | None:
            nonlocal last
            last = await self.demand(reference)
            return last if last is not None and so(last) else None

        async def now() -> object:
            return None if last is None else {name: last.get(name) for name in ("status", "allocated", "missing")}

        return await self.world.until(f"demand {reference} {awaited}", ask, service="allocation", now=now)

    async def picks(self, demand_ids: Iterable[str], status: str = "open") -> list[dict[str, Any]]:
        """The picks of some demands, in the order in which a person walks."""
        found = [
            await self.world.all("allocation", "/picks", demand_id=demand_id, status=status) for demand_id in demand_ids
        ]
        return sorted((pick for some in found for pick in some), key=lambda pick: str(pick["location_id"]))

    async def scan_at_pick(self, pick: dict[str, Any], batch_no: str, *, item_id: str | None = None) -> dict[str, Any]:
        """Olivia scans a package at a pick, of the item to be picked or of another one; the verdict."""
        item = self.given.items[item_id or pick["item_id"]]
        answer: dict[str, Any] = await self.world.post(
            "allocation",
            f"/picks/{pick['pick_id']}/scans",
            {"scan": label(item, batch_no), "to_location_id": STAGE},
            by="olivia",
        )
        return answer

    async def pick_all(self, demand_ids: Iterable[str]) -> list[dict[str, Any]]:
        """Fetch all that is promised to some demands; returns the picks."""
        picks = await self.picks(demand_ids)
        for pick in picks:
            verdict = await self.scan_at_pick(pick, pick["batch_no"])
            if verdict["verdict"] != "accepted":
                why = f"the right scan was refused: {verdict['verdict']}: {verdict.get('reason')}"
                raise self.world.failed(why, "allocation")
        return picks

    async def until_staged(self, picks: Iterable[dict[str, Any]]) -> None:
        """Wait until inventory has booked picked quantities to staging, pick by pick."""

        async def booked(pick: dict[str, Any]) -> None:
            async def ask() -> bool:
                return bool(
                    await self.world.all("inventory", "/movements", item_id=pick["item_id"], reference=pick["pick_id"])
                )

            await self.world.until(f"the pick of {pick['batch_no']} stands at {STAGE}", ask, service="inventory")

        await at_once(booked(pick) for pick in picks)

    async def ship(self, customer_id: str, site_id: str, demand_ids: Sequence[str]) -> dict[str, Any]:
        """A shipment of what was picked, at the gate; it leaves when inventory lets it."""
        shipment: dict[str, Any] = await self.world.post(
            "allocation",
            "/shipments",
            {"customer_id": customer_id, "site_id": site_id, "demand_ids": list(demand_ids), "carrier": "Grey Fox"},
            by="olivia",
        )
        return shipment

    async def dispatch(self, shipment_id: str) -> bool:
        """The truck asks to leave: whether anything of its shipment may ask at the gate at all."""
        status, answer = await self.world.attempt("allocation", f"/shipments/{shipment_id}/dispatch", {}, by="olivia")
        return status < 300 and any(line["status"] != "stopped" for line in answer["lines"])

    async def hold(self, batch_id: str, reason: str) -> dict[str, Any]:
        """Qiang, of quality, stops a batch everywhere."""
        answer: dict[str, Any] = await self.world.post(
            "inventory", "/holds", {"batch_id": batch_id, "kind": "manual", "reason": reason}, by="qiang"
        )
        return answer


async def at_once(deeds: Iterable[Awaitable[Done]]) -> list[Done]:
    """Do them at the same time, but not more than some at once; the results in their order."""
    free = asyncio.Semaphore(_AT_ONCE)

    async def one(deed: Awaitable[Done]) -> Done:
        async with free:
            return await deed

    return list(await asyncio.gather(*(one(deed) for deed in deeds)))


def item_list(given: Input) -> str:
    """The items as the CSV list that integration imports."""
    rows = []
    for item in given.items.values():
        units = " ".join(
            f"{unit}={factor.numerator}" + (f"/{factor.denominator}" if factor.denominator != 1 else "")
            for unit, factor in item.units.items()
        )
        rows.append(
            {
                "item_id": item.item_id,
                "name": item.name,
                "base_unit": item.base_unit,
                "units": units,
                "gtins": f"{item.gtin}:{item.label_unit}",
                "shelf_life_days": item.shelf_life_days,
                "expiry_required": "yes",
                "min_percent_at_receipt": item.min_percent_at_receipt or "",
                "climate": item.climate,
                "inspection_required": "yes" if item.inspected else "no",
            }
        )
    return _as_csv(rows)


def partner_list(given: Input) -> str:
    """The partners as the CSV list that integration imports."""
    return _as_csv(
        [
            {
                "partner_id": partner.partner_id,
                "name": partner.name,
                "roles": partner.role,
                "shelf_life_rules": " ".join(
                    f"{rule.item_id or '*'}:{rule.min_days or ''}:{rule.min_percent or ''}" for rule in partner.rules
                ),
            }
            for partner in given.partners.values()
        ]
    )


def _as_csv(rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
