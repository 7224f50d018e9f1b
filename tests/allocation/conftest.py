"""What allocation's tests say over and over: an item's world, told as events."""

import datetime as dt
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest

from contracts.integration import DemandRaised, ItemDefined, PartnerDefined, PartnerRole, ShelfLifeRule
from contracts.inventory import HoldLifted, HoldPlaced, MovementReason, StockMoved
from contracts.values import (
    BatchFacts,
    HoldKind,
    Origin,
    Place,
    PlaceKind,
    Purpose,
    Quality,
    Strategy,
)
from delivery import new_id
from services.allocation.app import service
from tests.service_harness import Running, running

ITEM = "MILK-1"
SITE = "HRB-1"
NOW = dt.datetime(2026, 3, 2, 9, 0, tzinfo=dt.UTC)


class World:
    """Tells the running service what inventory, integration and trace would say."""

    def __init__(self, at: Running) -> None:
        self.at = at
        self.batches: dict[str, tuple[UUID, BatchFacts]] = {}
        self.sequences: dict[str, int] = {}

    def batch(self, batch_no: str) -> UUID:
        return self.batches[batch_no][0]

    def next_sequence(self, item_id: str = ITEM) -> int:
        self.sequences[item_id] = self.sequences.get(item_id, 0) + 1
        return self.sequences[item_id]

    def moved(
        self,
        batch_no: str,
        quantity: object,
        to: Place,
        *,
        frm: Place | None = None,
        reason: MovementReason = MovementReason.RECEIPT,
        reference: str | None = None,
        item: str = ITEM,
        expires: str | None = None,
        made: str | None = None,
        received: str = "2026-01-10",
    ) -> StockMoved:
        if batch_no not in self.batches:
            facts = BatchFacts(
                batch_no=batch_no,
                origin=Origin.SUPPLIER,
                expires_on=dt.date.fromisoformat(expires) if expires else None,
                manufactured_on=dt.date.fromisoformat(made) if made else None,
                received_on=dt.date.fromisoformat(received),
            )
            self.batches[batch_no] = (new_id(), facts)
        batch_id, facts = self.batches[batch_no]
        return StockMoved(
            movement_id=new_id(),
            sequence=self.next_sequence(item),
            item_id=item,
            batch_id=batch_id,
            batch=facts,
            quantity=Decimal(str(quantity)),
            unit="C62",
            from_place=frm or Place(kind=PlaceKind.SUPPLIER),
            to_place=to,
            reason=reason,
            reference=reference,
            effective_at=self.at.clock(),
            recorded_at=self.at.clock(),
        )

    async def stock(
        self,
        batch_no: str,
        quantity: object,
        location: str = "A-1",
        *,
        site: str = SITE,
        quality: Quality = Quality.RELEASED,
        purpose: Purpose = Purpose.STORAGE,
        **facts: object,
    ) -> None:
        """Put some of a batch somewhere."""
        to = place(location, site=site, quality=quality, purpose=purpose)
        await self.at.hear(self.moved(batch_no, quantity, to, **facts))  # type: ignore[arg-type]

    async def hold(
        self, batch_no: str, *, kind: HoldKind = HoldKind.MANUAL, location: str | None = None, item: str = ITEM
    ) -> HoldPlaced:
        hold = HoldPlaced(
            hold_id=new_id(),
            sequence=self.next_sequence(item),
            item_id=item,
            batch_id=self.batch(batch_no),
            kind=kind,
            site_id=SITE if location else None,
            location_id=location,
            reason="looked odd",
            placed_at=self.at.clock(),
        )
        await self.at.hear(hold)
        return hold

    async def lift(self, hold: HoldPlaced) -> None:
        await self.at.hear(
            HoldLifted(
                hold_id=hold.hold_id,
                sequence=self.next_sequence(hold.item_id),
                item_id=hold.item_id,
                batch_id=hold.batch_id,
                kind=hold.kind,
                site_id=hold.site_id,
                location_id=hold.location_id,
                reason="was fine",
                lifted_at=self.at.clock(),
            )
        )

    async def item(self, item_id: str = ITEM, *, expiry_required: bool = True, gtin: str | None = None) -> None:
        self.revision = getattr(self, "revision", 0) + 1
        await self.at.hear(
            ItemDefined(
                item_id=item_id,
                name="Milk",
                base_unit="C62",
                expiry_required=expiry_required,
                gtins=({"gtin": gtin, "unit": "C62"},) if gtin else (),  # type: ignore[arg-type]
                revision=self.revision,
            )
        )

    async def customer(
        self,
        customer_id: str,
        *rules: ShelfLifeRule,
        roles: tuple[PartnerRole, ...] = (PartnerRole.CUSTOMER,),
        active: bool = True,
    ) -> None:
        self.revision = getattr(self, "revision", 0) + 1
        await self.at.hear(
            PartnerDefined(
                partner_id=customer_id,
                name=customer_id,
                roles=roles,
                active=active,
                shelf_life_rules=rules,
                revision=self.revision,
            )
        )

    async def shares(self, demand_id: object) -> dict[str, str]:
        """What a demand has, by batch and location."""
        rows = await self.at.runtime.pool.fetch(
            """
            SELECT batch_no, location_id, sum(quantity) AS quantity
            FROM reservation JOIN batch USING (batch_id)
            WHERE demand_id = $1 AND status IN ('promised', 'picked', 'dispatching')
            GROUP BY batch_no, location_id ORDER BY batch_no, location_id
            """,
            UUID(str(demand_id)),
        )
        return {f"{row['batch_no']}@{row['location_id']}": f"{row['quantity']:f}" for row in rows}

    async def balance(self) -> list[tuple[str, ...]]:
        """Broken promises of the whole database; empty when everything adds up."""
        rows = await self.at.runtime.pool.fetch(
            """
            SELECT 'demand ' || demand.reference AS what, demand.quantity, demand.missing,
                   coalesce(sum(reservation.quantity), 0) AS has
            FROM demand
            LEFT JOIN reservation ON reservation.demand_id = demand.demand_id
                 AND reservation.status IN ('promised', 'picked', 'dispatching', 'shipped')
            GROUP BY demand.demand_id
            HAVING demand.quantity <> demand.missing + coalesce(sum(reservation.quantity), 0)
            """
        )
        return [tuple(str(value) for value in row.values()) for row in rows]

    async def on_hand(self) -> dict[str, str]:
        """What is on each spot: free plus claimed, as far as allocation knows."""
        rows = await self.at.runtime.pool.fetch(
            """
            SELECT batch_no, location_id, quality, sum(quantity) AS quantity
            FROM (SELECT batch_id, location_id, quality, free AS quantity FROM shelf
                  UNION ALL
                  SELECT batch_id, location_id, quality, quantity FROM reservation
                  WHERE status IN ('promised', 'picked', 'dispatching', 'stopped')) AS both_kinds
            JOIN batch USING (batch_id)
            GROUP BY batch_no, location_id, quality
            """
        )
        return {
            f"{row['batch_no']}@{row['location_id']}/{row['quality']}": f"{row['quantity']:f}"
            for row in rows
            if row["quantity"]
        }


def place(
    location: str,
    *,
    site: str = SITE,
    quality: Quality = Quality.RELEASED,
    purpose: Purpose = Purpose.STORAGE,
) -> Place:
    return Place(kind=PlaceKind.LOCATION, site_id=site, location_id=location, quality=quality, purpose=purpose)


def staging(location: str = "STAGE") -> Place:
    return place(location, purpose=Purpose.STAGING)


def demand(
    quantity: object,
    *,
    reference: str = "SO-1",
    customer: str = "C-1",
    item: str = ITEM,
    site: str = SITE,
    needed_on: str = "2026-03-05",
    strategy: Strategy = Strategy.FEFO,
    batch_no: str | None = None,
    min_days: int | None = None,
    min_percent: int | None = None,
    raised_at: dt.datetime = NOW,
) -> DemandRaised:
    return DemandRaised(
        demand_id=new_id(),
        reference=reference,
        customer_id=customer,
        site_id=site,
        item_id=item,
        quantity=Decimal(str(quantity)),
        unit="C62",
        needed_on=dt.date.fromisoformat(needed_on),
        strategy=strategy,
        batch_no=batch_no,
        min_days_left=min_days,
        min_percent_left=min_percent,
        raised_at=raised_at,
    )


@pytest.fixture
async def world(database: str, tmp_path: Path) -> AsyncIterator[World]:
    async with running(service, database, tmp_path, at=NOW) as at:
        yield World(at)
