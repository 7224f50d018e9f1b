"""Events as the other services say them, short enough to tell a story with."""

import datetime as dt
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid5

from contracts.allocation import (
    AllocationRevoked,
    DemandAllocated,
    PickConfirmed,
    RevocationCode,
    Share,
    ShipmentDispatched,
)
from contracts.integration import BatchProduced, ConsumedBatch
from contracts.inventory import HoldPlaced, IssueRefused, MovementReason, RefusalCode, StockMoved
from contracts.receiving import BatchReceived, BatchRegistered
from contracts.values import BatchFacts, HoldKind, Origin, Place, PlaceKind, Quality, Strategy

DAY = dt.datetime(2026, 3, 2, 9, 0, tzinfo=dt.UTC)
_IDS = UUID("5a9d4a5c-9b0b-4a86-8a0e-3b1f0f3f7d11")


def an_id(*parts: object) -> UUID:
    """The same id for the same words."""
    return uuid5(_IDS, "/".join(str(part) for part in parts))


def at(hours: float) -> dt.datetime:
    """So many hours after the story begins."""
    return DAY + dt.timedelta(hours=hours)


def batch_id(item_id: str, batch_no: str, supplier_id: str | None = None) -> UUID:
    """The id that receiving gives a batch in these stories."""
    return an_id("batch", item_id, batch_no, supplier_id or "")


def facts(batch_no: str, supplier_id: str | None = None, supplier_batch_no: str | None = None) -> BatchFacts:
    """A supplier's batch when a supplier is named, one of our own production otherwise."""
    return BatchFacts(
        batch_no=batch_no,
        origin=Origin.SUPPLIER if supplier_id else Origin.PRODUCTION,
        supplier_id=supplier_id,
        supplier_batch_no=supplier_batch_no,
        expires_on=dt.date(2028, 1, 1),
    )


def registered(
    item_id: str, batch_no: str, supplier_id: str | None = None, supplier_batch_no: str | None = None
) -> BatchRegistered:
    return BatchRegistered(
        batch_id=batch_id(item_id, batch_no, supplier_id),
        item_id=item_id,
        batch=facts(batch_no, supplier_id, supplier_batch_no),
        registered_at=DAY,
    )


def received(
    item_id: str, batch_no: str, quantity: str, supplier_id: str | None = None, *, hours: float = 0
) -> BatchReceived:
    return BatchReceived(
        receipt_id=an_id("receipt", item_id, batch_no, supplier_id, hours),
        line_no=1,
        batch_id=batch_id(item_id, batch_no, supplier_id),
        item_id=item_id,
        batch=facts(batch_no, supplier_id),
        quantity=Decimal(quantity),
        unit="KGM",
        entered_quantity=Decimal(quantity),
        entered_unit="KGM",
        site_id="HRB-1",
        location_id="DOCK",
        quality=Quality.PENDING,
        origin=Origin.SUPPLIER if supplier_id else Origin.PRODUCTION,
        partner_id=supplier_id,
        received_at=at(hours),
    )


def bin_(location_id: str, quality: Quality = Quality.RELEASED) -> Place:
    return Place(kind=PlaceKind.LOCATION, site_id="HRB-1", location_id=location_id, quality=quality)


def customer(partner_id: str) -> Place:
    return Place(kind=PlaceKind.CUSTOMER, partner_id=partner_id)


SUPPLIER = Place(kind=PlaceKind.SUPPLIER)
PRODUCTION = Place(kind=PlaceKind.PRODUCTION)
SCRAP = Place(kind=PlaceKind.SCRAP)
ADJUSTMENT = Place(kind=PlaceKind.ADJUSTMENT)


def moved(
    item_id: str,
    batch_no: str,
    quantity: str,
    source: Place,
    target: Place,
    reason: MovementReason = MovementReason.TRANSFER,
    *,
    supplier_id: str | None = None,
    hours: float = 1,
    **more: Any,
) -> StockMoved:
    return StockMoved(
        movement_id=more.pop("movement_id", None)
        or an_id("movement", item_id, batch_no, supplier_id, quantity, source, target, reason, hours),
        sequence=1,
        item_id=item_id,
        batch_id=batch_id(item_id, batch_no, supplier_id),
        batch=facts(batch_no, supplier_id),
        quantity=Decimal(quantity),
        unit="KGM",
        from_place=source,
        to_place=target,
        reason=reason,
        effective_at=at(hours),
        recorded_at=at(hours),
        **more,
    )


def produced(
    item_id: str,
    batch_no: str,
    *consumed: tuple[str, str, str],
    quantity: str = "100",
    hours: float = 2,
    sequence: int = 1,
    report: str = "",
    corrects: UUID | None = None,
    supplier_batch_no: str | None = None,
) -> BatchProduced:
    """`consumed`: (item, batch number, quantity)."""
    return BatchProduced(
        report_id=report_id(item_id, batch_no, sequence, report),
        item_id=item_id,
        batch_no=batch_no,
        quantity=Decimal(quantity),
        unit="KGM",
        site_id="HRB-1",
        work_order=f"WO-{batch_no}",
        sequence=sequence,
        final=True,
        manufactured_on=DAY.date(),
        started_at=at(hours),
        ended_at=at(hours + 1),
        consumed=tuple(
            ConsumedBatch(
                item_id=item, batch_no=number, quantity=Decimal(much), unit="KGM", supplier_batch_no=supplier_batch_no
            )
            for item, number, much in consumed
        ),
        corrects=corrects,
    )


def report_id(item_id: str, batch_no: str, sequence: int = 1, report: str = "") -> UUID:
    return an_id("report", item_id, batch_no, sequence, report)


def dispatched(item_id: str, batch_no: str, quantity: str, customer_id: str, reference: str) -> ShipmentDispatched:
    return ShipmentDispatched(
        shipment_id=an_id("shipment", reference),
        line_id=an_id("line", reference, item_id, batch_no),
        demand_id=an_id("demand", reference),
        reference=reference,
        customer_id=customer_id,
        site_id="HRB-1",
        item_id=item_id,
        batch_id=batch_id(item_id, batch_no),
        batch_no=batch_no,
        location_id="STAGE",
        quantity=Decimal(quantity),
        unit="KGM",
        dispatched_at=at(5),
    )


def issued(item_id: str, batch_no: str, quantity: str, customer_id: str, reference: str) -> StockMoved:
    return moved(
        item_id,
        batch_no,
        quantity,
        bin_("STAGE"),
        customer(customer_id),
        MovementReason.ISSUE,
        hours=6,
        reference=str(an_id("line", reference, item_id, batch_no)),
        movement_id=an_id("issue", reference, item_id, batch_no),
    )


def delivered(
    item_id: str, batch_no: str, quantity: str, customer_id: str, reference: str
) -> tuple[ShipmentDispatched, StockMoved]:
    """Sent and let out at the gate."""
    return (
        dispatched(item_id, batch_no, quantity, customer_id, reference),
        issued(item_id, batch_no, quantity, customer_id, reference),
    )


def refused(item_id: str, batch_no: str, quantity: str, reference: str) -> IssueRefused:
    return IssueRefused(
        shipment_id=an_id("shipment", reference),
        line_id=an_id("line", reference, item_id, batch_no),
        demand_id=an_id("demand", reference),
        sequence=9,
        item_id=item_id,
        batch_id=batch_id(item_id, batch_no),
        site_id="HRB-1",
        location_id="STAGE",
        quantity=Decimal(quantity),
        unit="KGM",
        code=RefusalCode.HELD,
        reason="held by a recall",
        refused_at=at(6),
    )


def allocated(
    item_id: str, batch_no: str, quantity: str, customer_id: str, reference: str, *, nothing: bool = False
) -> DemandAllocated:
    share = Share(
        reservation_id=an_id("reservation", reference, batch_no),
        batch_id=batch_id(item_id, batch_no),
        batch_no=batch_no,
        location_id="A-1",
        quantity=Decimal(quantity),
    )
    return DemandAllocated(
        plan_id=an_id("plan", reference, nothing),
        demand_id=an_id("demand", reference),
        reference=reference,
        customer_id=customer_id,
        site_id="HRB-1",
        item_id=item_id,
        unit="KGM",
        strategy=Strategy.FEFO,
        needed_on=dt.date(2026, 3, 20),
        wanted=Decimal(quantity),
        allocated=Decimal(0 if nothing else quantity),
        missing=Decimal(quantity if nothing else 0),
        shares=() if nothing else (share,),
        inventory_sequence=1,
        policy="fefo-1",
        decided_at=at(3),
    )


def picked(item_id: str, batch_no: str, quantity: str, customer_id: str, reference: str) -> PickConfirmed:
    return PickConfirmed(
        pick_id=an_id("pick", reference, batch_no),
        demand_id=an_id("demand", reference),
        reservation_id=an_id("reservation", reference, batch_no),
        customer_id=customer_id,
        site_id="HRB-1",
        item_id=item_id,
        batch_id=batch_id(item_id, batch_no),
        batch_no=batch_no,
        from_location_id="A-1",
        to_location_id="STAGE",
        quantity=Decimal(quantity),
        unit="KGM",
        picked_at=at(4),
    )


def revoked(
    item_id: str, batch_no: str, quantity: str, customer_id: str, reference: str, *, when: dt.datetime
) -> AllocationRevoked:
    return AllocationRevoked(
        reservation_id=an_id("reservation", reference, batch_no),
        demand_id=an_id("demand", reference),
        customer_id=customer_id,
        item_id=item_id,
        batch_id=batch_id(item_id, batch_no),
        batch_no=batch_no,
        location_id="A-1",
        quantity=Decimal(quantity),
        unit="KGM",
        picked=False,
        code=RevocationCode.RECALLED,
        reason="recalled",
        revoked_at=when,
    )


def held(
    item_id: str, batch_no: str, recall_id: object, when: dt.datetime, supplier_id: str | None = None
) -> HoldPlaced:
    return HoldPlaced(
        hold_id=an_id("hold", item_id, batch_no, recall_id),
        sequence=2,
        item_id=item_id,
        batch_id=batch_id(item_id, batch_no, supplier_id),
        kind=HoldKind.RECALL,
        reason="recalled",
        reference=str(recall_id),
        placed_at=when,
    )


def entered(item_id: str, batch_no: str, quantity: str, supplier_id: str | None = None) -> tuple[Any, ...]:
    """Registered, received and booked into bin A-1."""
    source = SUPPLIER if supplier_id else PRODUCTION
    return (
        registered(item_id, batch_no, supplier_id),
        received(item_id, batch_no, quantity, supplier_id),
        moved(
            item_id, batch_no, quantity, source, bin_("A-1"), MovementReason.RECEIPT, supplier_id=supplier_id, hours=0.5
        ),
    )
