"""Small words for the tests of inventory: a warehouse, and the events that others say about it."""

import datetime as dt
from decimal import Decimal
from typing import Any
from uuid import UUID

from contracts.allocation import PickConfirmed, ShipmentDispatched
from contracts.integration import ItemDefined, MaterialConsumed
from contracts.inventory import StockMoved
from contracts.receiving import BatchInspected, BatchReceived
from contracts.trace import BatchRecalled, BatchRecallLifted
from contracts.values import BatchFacts, Climate, Origin, Quality, Signature
from delivery import new_id
from tests.service_harness import Running

MORNING = dt.datetime(2026, 3, 2, 9, 0, tzinfo=dt.UTC)


class Lot:
    """A batch as the others know it."""

    def __init__(
        self,
        batch_no: str,
        *,
        item_id: str = "MILK",
        expires_on: dt.date | None = dt.date(2026, 9, 1),
        supplier_batch_no: str | None = None,
    ) -> None:
        self.batch_id: UUID = new_id()
        self.batch_no = batch_no
        self.item_id = item_id
        self.facts = BatchFacts(
            batch_no=batch_no, origin=Origin.SUPPLIER, expires_on=expires_on, supplier_batch_no=supplier_batch_no
        )

    def received(
        self,
        quantity: str,
        *,
        at: str = "DOCK",
        site: str = "S1",
        quality: Quality = Quality.RELEASED,
        origin: Origin = Origin.SUPPLIER,
        received_at: dt.datetime = MORNING,
        **more: Any,
    ) -> BatchReceived:
        known: dict[str, Any] = {
            "receipt_id": new_id(),
            "line_no": 1,
            "batch_id": self.batch_id,
            "item_id": self.item_id,
            "batch": self.facts,
            "quantity": Decimal(quantity),
            "unit": "C62",
            "entered_quantity": Decimal(quantity),
            "entered_unit": "C62",
            "site_id": site,
            "location_id": at,
            "quality": quality,
            "origin": origin,
            "partner_id": "SUPPLY-CO",
            "received_at": received_at,
        }
        return BatchReceived(**{**known, **more})

    def inspected(self, *, released: str, rejected: str = "0", site: str = "S1") -> BatchInspected:
        return BatchInspected(
            inspection_id=new_id(),
            batch_id=self.batch_id,
            item_id=self.item_id,
            site_id=site,
            released=Decimal(released),
            rejected=Decimal(rejected),
            unit="C62",
            signature=Signature(
                signer="ines", signer_name="Ines", meaning="approval", signed_at=MORNING, record_hash="0" * 64
            ),
            inspected_at=MORNING,
        )

    def picked(self, quantity: str, *, at: str, to: str = "STAGE", site: str = "S1", **more: Any) -> PickConfirmed:
        known: dict[str, Any] = {
            "pick_id": new_id(),
            "demand_id": new_id(),
            "reservation_id": new_id(),
            "customer_id": "SHOP",
            "site_id": site,
            "item_id": self.item_id,
            "batch_id": self.batch_id,
            "batch_no": self.batch_no,
            "from_location_id": at,
            "to_location_id": to,
            "quantity": Decimal(quantity),
            "unit": "C62",
            "picked_at": MORNING,
        }
        return PickConfirmed(**{**known, **more})

    def dispatched(self, quantity: str, *, at: str = "STAGE", site: str = "S1", **more: Any) -> ShipmentDispatched:
        known: dict[str, Any] = {
            "shipment_id": new_id(),
            "line_id": new_id(),
            "demand_id": new_id(),
            "reference": "SO-1/1",
            "customer_id": "SHOP",
            "site_id": site,
            "item_id": self.item_id,
            "batch_id": self.batch_id,
            "batch_no": self.batch_no,
            "location_id": at,
            "quantity": Decimal(quantity),
            "unit": "C62",
            "dispatched_at": MORNING,
        }
        return ShipmentDispatched(**{**known, **more})

    def consumed(self, quantity: str, *, site: str = "S1", **more: Any) -> MaterialConsumed:
        known: dict[str, Any] = {
            "consumption_id": new_id(),
            "report_id": new_id(),
            "item_id": self.item_id,
            "batch_no": self.batch_no,
            "quantity": Decimal(quantity),
            "unit": "C62",
            "site_id": site,
            "into_item_id": "CHEESE",
            "into_batch_no": "C-1",
            "work_order": "WO-1",
            "consumed_at": MORNING,
        }
        return MaterialConsumed(**{**known, **more})

    def recalled(self, recall_id: UUID) -> BatchRecalled:
        return BatchRecalled(
            recall_id=recall_id,
            item_id=self.item_id,
            batch_id=self.batch_id,
            batch_no=self.batch_no,
            seed=True,
            reason="glass found",
            recalled_at=MORNING,
        )

    def let_go(self, recall_id: UUID) -> BatchRecallLifted:
        return BatchRecallLifted(
            recall_id=recall_id, item_id=self.item_id, batch_id=self.batch_id, reason="not affected", lifted_at=MORNING
        )


def item(item_id: str = "MILK", *, revision: int = 1, near_expiry_days: int | None = None, **more: Any) -> ItemDefined:
    return ItemDefined(
        item_id=item_id,
        name=item_id.title(),
        base_unit="C62",
        revision=revision,
        near_expiry_days=near_expiry_days,
        climate=more.pop("climate", Climate.AMBIENT),
        **more,
    )


ZONES = {
    "IN": "receiving",
    "STORE": "storage",
    "QC": "quarantine",
    "REJ": "rejected",
    "OUT": "staging",
}


async def build(at: Running, *, site: str = "S1", time_zone: str = "Asia/Shanghai", without: str = "") -> None:
    """A site with a zone of each purpose, a dock, a staging location, and the bins that the tests name."""
    made = [await at.put(f"/sites/{site}", {"name": "Main", "time_zone": time_zone}, role="supervisor")]
    for zone_id, purpose in ZONES.items():
        if zone_id != without:
            path = f"/sites/{site}/zones/{zone_id}"
            made.append(await at.put(path, {"name": zone_id.title(), "purpose": purpose}, role="supervisor"))
    for location_id, zone_id in (("DOCK", "IN"), ("STAGE", "OUT"), ("CAGE", "REJ"), ("QC-1", "QC")):
        if zone_id != without:
            made.append(await bin_(at, location_id, zone_id, site=site))
    assert [answer.status_code for answer in made] == [201] * len(made), [answer.text for answer in made]
    await at.said()  # of the building


async def bin_(
    at: Running,
    location_id: str,
    zone_id: str = "STORE",
    *,
    site: str = "S1",
    capacity: str | None = None,
    single_item: bool = False,
) -> Any:
    body: dict[str, Any] = {"zone_id": zone_id, "single_item": single_item}
    if capacity is not None:
        body["capacity"] = capacity
    return await at.put(f"/sites/{site}/locations/{location_id}", body, role="supervisor")


async def carry(
    at: Running,
    lot: Lot,
    quantity: str,
    to: str,
    *,
    from_: str = "DOCK",
    quality: str = "released",
    path: str = "/put-aways",
    site: str = "S1",
    **more: Any,
) -> Any:
    """Put away (or transfer) by HTTP."""
    return await at.post(
        path,
        {
            "batch_id": str(lot.batch_id),
            "site_id": site,
            "from_location_id": from_,
            "to_location_id": to,
            "quality": quality,
            "quantity": quantity,
            **more,
        },
        role="operator",
    )


async def where(at: Running, lot: Lot, **query: Any) -> dict[tuple[str, str], Decimal]:
    """Where a batch stands: (location, quality) → quantity."""
    answer = await at.get("/stock", batch_id=str(lot.batch_id), **query)
    assert answer.status_code == 200, answer.text
    return {(row["location_id"], row["quality"]): Decimal(row["quantity"]) for row in answer.json()["items"]}


def moves(said: list[Any]) -> list[tuple[str, str, Decimal]]:
    """The movements among what was said: reason, batch number, quantity."""
    return [(event.reason, event.batch.batch_no, event.quantity) for event in said if isinstance(event, StockMoved)]
