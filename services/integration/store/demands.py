"""Demands that came from the ERP."""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from contracts.integration import DemandRaised
from delivery import Connection, columns


@dataclass(frozen=True, slots=True)
class WantedLine:
    """A demand with what it was entered as, and the message that it came in."""

    event: DemandRaised
    entered_quantity: Decimal
    entered_unit: str
    message_uid: UUID


@dataclass(frozen=True, slots=True)
class DemandState:
    """What a withdrawal, or the same message again, has to know."""

    demand_id: UUID
    reference: str
    item_id: str
    digest: bytes
    withdrawn: bool


class DemandStore:
    """Demands that came from the ERP."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    async def by_reference(self, references: Iterable[str]) -> dict[str, DemandState]:
        """Those that were raised under these references."""
        return {
            found.reference: found
            for found in await self._states("demand.reference = ANY($1::text[])", list(set(references)))
        }

    async def by_id(self, demand_ids: Iterable[UUID]) -> dict[UUID, DemandState]:
        """Those with these ids."""
        return {
            found.demand_id: found
            for found in await self._states("demand.demand_id = ANY($1::uuid[])", list(set(demand_ids)))
        }

    async def _states(self, condition: str, wanted: list[Any]) -> list[DemandState]:
        rows = await self._db.fetch(
            f"""
            SELECT demand_id, reference, item_id, digest, withdrawn_at IS NOT NULL AS withdrawn
            FROM demand
            JOIN raw_message USING (message_uid)
            WHERE {condition}
            """,
            wanted,
        )
        return [DemandState(**dict(row)) for row in rows]

    async def raise_them(self, demands: Sequence[WantedLine]) -> None:
        """Keep new demands."""
        await self._db.execute(
            """
            INSERT INTO demand (demand_id, message_uid, reference, customer_id, site_id, item_id, quantity, unit,
                                entered_quantity, entered_unit, needed_on, strategy, batch_no, min_days_left,
                                min_percent_left, raised_at)
            SELECT *
            FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::numeric[],
                        $8::text[], $9::numeric[], $10::text[], $11::date[], $12::text[], $13::text[], $14::int[],
                        $15::int[], $16::timestamptz[])
            """,
            *columns(
                (
                    (
                        d.event.demand_id, d.message_uid, d.event.reference, d.event.customer_id, d.event.site_id,
                        d.event.item_id, d.event.quantity, d.event.unit, d.entered_quantity, d.entered_unit,
                        d.event.needed_on, d.event.strategy.value, d.event.batch_no, d.event.min_days_left,
                        d.event.min_percent_left, d.event.raised_at,
                    )
                    for d in demands
                ),
                16,
            ),
        )  # fmt: skip

    async def withdraw(self, withdrawals: Sequence[tuple[UUID, str]], now: dt.datetime) -> None:
        """Mark demands as withdrawn, with the reason."""
        await self._db.execute(
            """
            UPDATE demand
            SET withdrawn_at = $3, withdrawn_why = why
            FROM unnest($1::uuid[], $2::text[]) AS r (id, why)
            WHERE demand_id = id AND withdrawn_at IS NULL
            """,
            *columns(withdrawals, 2),
            now,
        )
