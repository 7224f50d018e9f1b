"""What the other services say, short: receipts, movements and reports as the tests of integration need them."""

import datetime as dt
import itertools
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from contracts.integration import CostPosted
from contracts.inventory import MovementReason, StockMoved
from contracts.receiving import BatchReceived
from contracts.values import BatchFacts, Origin, Place, PlaceKind, Quality

NOW = dt.datetime(2026, 3, 2, 9, 0, tzinfo=dt.UTC)
SITE = "HRB-1"
SHELF = Place(kind=PlaceKind.LOCATION, site_id=SITE, location_id="DOCK", quality=Quality.PENDING)
OTHER_SHELF = Place(kind=PlaceKind.LOCATION, site_id=SITE, location_id="A-01", quality=Quality.RELEASED)

REASONS = {
    PlaceKind.SUPPLIER: MovementReason.RECEIPT,
    PlaceKind.PRODUCTION: MovementReason.CONSUMPTION,
    PlaceKind.CUSTOMER: MovementReason.ISSUE,
    PlaceKind.ADJUSTMENT: MovementReason.ADJUSTMENT,
    PlaceKind.SCRAP: MovementReason.ADJUSTMENT,
    PlaceKind.LOCATION: MovementReason.TRANSFER,
}


class Warehouse:
    """Speaks for receiving and inventory: numbers movements per item and remembers batches by their number."""

    def __init__(self) -> None:
        self.batches: dict[str, UUID] = {}
        self._sequences: dict[str, itertools.count[int]] = {}
        self.origins: dict[str, Origin] = {}

    def batch(self, batch_no: str) -> UUID:
        return self.batches.setdefault(batch_no, uuid4())

    def received(
        self,
        item_id: str,
        batch_no: str,
        quantity: str,
        *,
        expected: str | None = None,
        origin: Origin = Origin.SUPPLIER,
        receipt_id: UUID | None = None,
    ) -> BatchReceived:
        return BatchReceived(
            receipt_id=receipt_id or uuid4(),
            line_no=1,
            batch_id=self.batch(batch_no),
            item_id=item_id,
            batch=BatchFacts(batch_no=batch_no, origin=origin),
            quantity=Decimal(quantity),
            unit="KGM",
            entered_quantity=Decimal(quantity),
            entered_unit="KGM",
            site_id=SITE,
            location_id="DOCK",
            quality=Quality.PENDING,
            origin=origin,
            expected_receipt_id=UUID(expected) if expected else None,
            received_at=NOW,
        )

    def moved(
        self,
        item_id: str,
        batch_no: str,
        change: str,
        other: PlaceKind,
        *,
        reference: str | None = None,
        reverses: StockMoved | None = None,
        effective_at: dt.datetime = NOW,
    ) -> StockMoved:
        """A movement by its signed change of stock: `+` comes from `other`, `-` goes there."""
        quantity = Decimal(change)
        outside = OTHER_SHELF if other is PlaceKind.LOCATION else Place(kind=other)
        comes_in = quantity > 0
        return StockMoved(
            movement_id=uuid4(),
            sequence=next(self._sequences.setdefault(item_id, itertools.count(1))),
            item_id=item_id,
            batch_id=self.batch(batch_no),
            batch=BatchFacts(batch_no=batch_no, origin=Origin.SUPPLIER),
            quantity=abs(quantity),
            unit="KGM",
            from_place=outside if comes_in else SHELF,
            to_place=SHELF if comes_in else outside,
            reason=MovementReason.REVERSAL
            if reverses
            else (MovementReason.RECEIPT if comes_in and other is not PlaceKind.ADJUSTMENT else REASONS[other]),
            reference=reference,
            effective_at=effective_at,
            recorded_at=NOW,
            reverses=reverses.movement_id if reverses else None,
        )

    def booked(self, received: BatchReceived) -> StockMoved:
        """The movement that inventory books for what was received."""
        kinds = {
            Origin.SUPPLIER: PlaceKind.SUPPLIER,
            Origin.PRODUCTION: PlaceKind.PRODUCTION,
            Origin.CUSTOMER: PlaceKind.CUSTOMER,
        }
        return self.moved(
            received.item_id,
            received.batch.batch_no,
            str(received.quantity),
            kinds[received.origin],
            reference=f"{received.receipt_id}/{received.line_no}",
        )


def item(**more: Any) -> dict[str, Any]:
    """The body of an item counted in KGM, with a box of 25."""
    return {
        "name": "Whole milk powder",
        "base_unit": "KGM",
        "units": [{"unit": "BX", "numerator": 25, "denominator": 1}],
        **more,
    }


async def set_up(at: Any, *item_ids: str) -> None:
    """Items, a supplier and a customer."""
    for item_id in item_ids:
        assert (await at.put(f"/items/{item_id}", item(), role="integrator")).status_code == 201
    for partner_id, role in (("S-1", "supplier"), ("C-1", "customer")):
        body = {"name": partner_id, "roles": [role]}
        assert (await at.put(f"/partners/{partner_id}", body, role="integrator")).status_code == 201
    await at.said()


async def expect(at: Any, item_id: str, quantity: str, unit_cost: str | None, **more: Any) -> str:
    """Expect goods of supplier S-1 at a cost per KGM; returns the expected receipt's id."""
    body = {
        "origin": "supplier",
        "item_id": item_id,
        "quantity": quantity,
        "unit": "KGM",
        "site_id": SITE,
        "due_on": "2026-03-02",
        "partner_id": "S-1",
        **({} if unit_cost is None else {"unit_cost": unit_cost, "currency": "CNY"}),
        **more,
    }
    answer = await at.post("/expected-receipts", body, role="integrator")
    assert answer.status_code == 201, answer.text
    return str(answer.json()["expected_receipt_id"])


async def receive(
    at: Any, warehouse: Warehouse, item_id: str, batch_no: str, quantity: str, unit_cost: str | None
) -> StockMoved:
    """Goods come from the supplier, are received and booked."""
    expected = await expect(at, item_id, quantity, unit_cost)
    received = warehouse.received(item_id, batch_no, quantity, expected=expected)
    booked = warehouse.booked(received)
    await at.hear(received)
    await at.hear(booked)
    return booked


def report(
    message_id: str,
    *,
    lot: str = "CM1",
    quantity: str = "100",
    sequence: int | None = 1,
    final: bool = True,
    consumed: Mapping[tuple[str, str], str] | None = None,
    item_id: str = "COCOA",
    **more: Any,
) -> dict[str, Any]:
    """A production report of COCOA; `consumed` by (item, lot)."""
    lot_more = more.pop("produced", {})
    return {
        "messageId": message_id,
        "workOrderId": "WO-1",
        "site": SITE,
        "responseState": "Completed",
        "final": final,
        **({} if sequence is None else {"sequence": sequence}),
        "actualStart": "2026-03-01T06:00:00+08:00",
        "actualEnd": "2026-03-01T13:00:00+08:00",
        "producedLot": {
            "materialDefinitionId": item_id,
            "lotId": lot,
            "quantity": {"value": quantity, "uom": "KGM"},
            "manufacturedOn": "2026-03-01",
            **lot_more,
        },
        "consumed": [
            {"materialDefinitionId": used, "lotId": used_lot, "quantity": {"value": amount, "uom": "KGM"}}
            for (used, used_lot), amount in (consumed or {}).items()
        ],
        **more,
    }


def values(said: list[Any]) -> list[Decimal | None]:
    """The values of the postings among what was said."""
    return [event.value for event in said if isinstance(event, CostPosted)]
