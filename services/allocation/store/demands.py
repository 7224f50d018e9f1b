"""Demands: what is wanted, what is missing."""

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from uuid import UUID

from delivery import NewRows, Write, columns
from services.allocation.domain.aisles import Shelf
from services.allocation.domain.terms import Demand
from services.allocation.store.rows import (
    Tables,
    demand_of,
)

_COLUMNS = {
    "demand_id": "uuid", "reference": "text", "customer_id": "text", "site_id": "text", "item_id": "text",
    "unit": "text", "quantity": "numeric", "missing": "numeric", "needed_on": "date", "strategy": "text",
    "batch_no": "text", "min_days_left": "int", "min_percent_left": "int", "raised_at": "timestamptz",
}  # fmt: skip


def new_demands(demands: Sequence[Demand], missing: dict[UUID, Decimal]) -> NewRows:
    """New demands, with what was left missing when they were first planned."""
    return NewRows(
        "demand",
        _COLUMNS,
        [
            (
                demand.demand_id,
                demand.reference,
                demand.customer_id,
                demand.site_id,
                demand.item_id,
                demand.unit,
                demand.quantity,
                missing.get(demand.demand_id, demand.missing),
                demand.needed_on,
                str(demand.strategy),
                demand.batch_no,
                demand.min_days_left,
                demand.min_percent_left,
                demand.raised_at,
            )
            for demand in demands
        ],
    )


def missing_now(missing: dict[UUID, Decimal]) -> Write:
    """Demands miss so much now."""
    return Write(
        """
        UPDATE demand SET missing = now.missing
        FROM unnest($1::uuid[], $2::numeric[]) AS now (demand_id, missing)
        WHERE demand.demand_id = now.demand_id
        """,
        columns(missing.items(), 2),
    )


class Demands(Tables):
    """The table `demand`."""

    async def known(self, demand_ids: Iterable[UUID]) -> set[UUID]:
        """Which of these demands are here already."""
        rows = await self._db.fetch("SELECT demand_id FROM demand WHERE demand_id = ANY($1::uuid[])", [*{*demand_ids}])
        return {row["demand_id"] for row in rows}

    async def demands(self, demand_ids: Iterable[UUID], *, cancelled: bool = False) -> list[Demand]:
        """These demands, oldest first; those that were cancelled only if asked for."""
        rows = await self._db.fetch(
            """
            SELECT * FROM demand
            WHERE demand_id = ANY($1::uuid[]) AND ($2 OR cancelled_at IS NULL)
            ORDER BY raised_at, demand_id
            """,
            [*{*demand_ids}],
            cancelled,
        )
        return [demand_of(row) for row in rows]

    async def items_of(self, demand_ids: Iterable[UUID]) -> dict[UUID, str]:
        """Which item each demand is about; needs no lock."""
        rows = await self._db.fetch(
            "SELECT demand_id, item_id FROM demand WHERE demand_id = ANY($1::uuid[])", [*{*demand_ids}]
        )
        return {row["demand_id"]: row["item_id"] for row in rows}

    async def waiting(
        self, shelves: Iterable[Shelf], after: tuple[dt.datetime, UUID] | None, most: int
    ) -> list[Demand]:
        """Demands on these shelves that miss something, oldest first, the ones `after` (raised at, id) only."""
        rows = await self._db.fetch(
            """
            SELECT found.*
            FROM unnest($1::text[], $2::text[]) AS asked (item_id, site_id)
            CROSS JOIN LATERAL (
                SELECT * FROM demand
                WHERE demand.item_id = asked.item_id AND demand.site_id = asked.site_id
                  AND missing > 0 AND cancelled_at IS NULL
                  AND ($3::timestamptz IS NULL OR (raised_at, demand_id) > ($3, $4::uuid))
                ORDER BY raised_at, demand_id
                LIMIT $5
            ) AS found
            ORDER BY found.raised_at, found.demand_id
            LIMIT $5
            """,
            *columns({*shelves}, 2),
            *(after or (None, None)),
            most,
        )
        return [demand_of(row) for row in rows]

    async def waiting_shelves(
        self, *, item_ids: Collection[str] = (), customer_ids: Collection[str] = ()
    ) -> set[Shelf]:
        """Where demands of these items or customers miss something."""
        rows = await self._db.fetch(
            """
            SELECT DISTINCT item_id, site_id FROM demand
            WHERE (item_id = ANY($1::text[]) OR customer_id = ANY($2::text[]))
              AND missing > 0 AND cancelled_at IS NULL
            """,
            [*item_ids],
            [*customer_ids],
        )
        return {(row["item_id"], row["site_id"]) for row in rows}

    async def offering(self, shelves: Iterable[Shelf]) -> set[Shelf]:
        """Those of these shelves where anything can be promised."""
        rows = await self._db.fetch(
            """
            SELECT item_id, site_id
            FROM unnest($1::text[], $2::text[]) AS asked (item_id, site_id)
            WHERE EXISTS (SELECT FROM shelf
                          WHERE shelf.item_id = asked.item_id AND shelf.site_id = asked.site_id AND offered)
            """,
            *columns({*shelves}, 2),
        )
        return {(row["item_id"], row["site_id"]) for row in rows}

    async def cancel(self, cancelled: Iterable[tuple[UUID, str]], now: dt.datetime) -> None:
        """Keep that these demands want nothing more, and why."""
        await self._db.execute(
            """
            UPDATE demand SET cancelled_at = $3, cancelled_why = cancelled.reason
            FROM unnest($1::uuid[], $2::text[]) AS cancelled (demand_id, reason)
            WHERE demand.demand_id = cancelled.demand_id
            """,
            *columns(cancelled, 2),
            now,
        )

    async def owe(self, lost: dict[UUID, Decimal]) -> None:
        """Demands miss what was taken back from them."""
        await self._db.execute(
            """
            UPDATE demand SET missing = demand.missing + lost.quantity
            FROM unnest($1::uuid[], $2::numeric[]) AS lost (demand_id, quantity)
            WHERE demand.demand_id = lost.demand_id
            """,
            *columns(lost.items(), 2),
        )
