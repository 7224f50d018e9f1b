"""All SQL that only reads, for HTTP."""

import datetime as dt
from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

import orjson
from asyncpg import Record

from delivery import Connection, Pool
from services.allocation.store import OPEN_CLAIM

Reader = Pool | Connection

_DEMAND = """
    SELECT demand.*, demand.quantity AS wanted, has.allocated, has.shipped,
           CASE WHEN cancelled_at IS NOT NULL THEN 'cancelled'
                WHEN has.shipped = demand.quantity THEN 'shipped'
                WHEN has.shipped + has.dispatching = demand.quantity THEN 'dispatching'
                WHEN has.shipped + has.dispatching + has.picked = demand.quantity THEN 'picked'
                WHEN missing = 0 THEN 'allocated'
                WHEN missing < demand.quantity THEN 'partly_allocated'
                ELSE 'short' END AS status
    FROM demand
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(quantity) FILTER (WHERE reservation.status <> 'shipped'), 0) AS allocated,
               coalesce(sum(quantity) FILTER (WHERE reservation.status = 'shipped'), 0) AS shipped,
               coalesce(sum(quantity) FILTER (WHERE reservation.status = 'dispatching'), 0) AS dispatching,
               coalesce(sum(quantity) FILTER (WHERE reservation.status = 'picked'), 0) AS picked
        FROM reservation
        WHERE reservation.demand_id = demand.demand_id
          AND reservation.status IN ('promised', 'picked', 'dispatching', 'shipped')) AS has
"""

_PICK = """
    SELECT reservation.reservation_id AS pick_id, reservation.demand_id, demand.reference, demand.customer_id,
           reservation.site_id, reservation.item_id, reservation.batch_id, batch.batch_no, batch.expires_on,
           reservation.location_id, reservation.quantity, demand.unit, reservation.staged_at AS to_location_id,
           reservation.picked_by, reservation.picked_at, reservation.reason, reservation.status
    FROM reservation
    JOIN demand USING (demand_id)
    JOIN batch ON batch.batch_id = reservation.batch_id
"""

PICK_STATUSES = {
    "open": ["promised"],
    "picked": ["picked"],
    "dispatching": ["dispatching"],
    "shipped": ["shipped"],
    "stopped": ["stopped"],
    "cancelled": ["revoked", "freed"],
}
"""What people see of a promise's status, with what it is in the table."""

_SHOWN = {status: shown for shown, statuses in PICK_STATUSES.items() for status in statuses}


def pick_status(status: str) -> str:
    """What people see of a promise's `status` in the table."""
    return _SHOWN[status]


async def demands(
    db: Reader,
    *,
    item_id: str | None,
    customer_id: str | None,
    site_id: str | None,
    status: str | None,
    reference: str | None,
    after: UUID | None,
    limit: int,
) -> list[Record]:
    """Demands by id (the order in which they came), those `after` one only."""
    return await db.fetch(
        f"""
        SELECT * FROM ({_DEMAND}) AS demand
        WHERE ($1::text IS NULL OR item_id = $1) AND ($2::text IS NULL OR customer_id = $2)
          AND ($3::text IS NULL OR site_id = $3) AND ($4::text IS NULL OR status = $4)
          AND ($5::text IS NULL OR reference = $5) AND ($6::uuid IS NULL OR demand_id > $6)
        ORDER BY demand_id
        LIMIT $7
        """,
        item_id,
        customer_id,
        site_id,
        status,
        reference,
        after,
        limit,
    )


async def demands_by_id(db: Reader, demand_ids: Collection[UUID]) -> dict[UUID, Record]:
    """Demands with what they have."""
    rows = await db.fetch(f"{_DEMAND} WHERE demand.demand_id = ANY($1::uuid[])", [*demand_ids])
    return {row["demand_id"]: row for row in rows}


async def shares(db: Reader, demand_id: UUID, statuses: Sequence[str]) -> list[Record]:
    """A demand's reservations in these statuses."""
    return await db.fetch(
        """
        SELECT reservation_id, batch_id, batch.batch_no, location_id, quantity, batch.expires_on
        FROM reservation
        JOIN batch USING (batch_id)
        WHERE demand_id = $1 AND status = ANY($2::text[])
        ORDER BY reservation_id
        """,
        demand_id,
        [*statuses],
    )


async def plan(
    db: Reader, *, plan_id: UUID | None = None, demand_id: UUID | None = None, decided: bool = False
) -> dict[str, Any] | None:
    """A plan by its id, or the latest of a demand; with `decided`, the latest that looked at any stock."""
    row = await db.fetchrow(
        """
        SELECT * FROM plan
        WHERE ($1::uuid IS NULL OR plan_id = $1) AND ($2::uuid IS NULL OR demand_id = $2)
          AND (NOT $3 OR (inputs::jsonb #>> '{wanted,quantity}')::numeric > 0)
        ORDER BY plan_id DESC
        LIMIT 1
        """,
        plan_id,
        demand_id,
        decided,
    )
    if row is None:
        return None
    return {**row, "inputs": orjson.loads(row["inputs"]), "outcome": orjson.loads(row["outcome"])}


async def availability(
    db: Reader, item_id: str, site_id: str | None, after: tuple[str, UUID, str, str, str] | None, limit: int
) -> list[Record]:
    """Stock of an item by batch number, batch, site, location and quality, with what speaks against promising it."""
    return await db.fetch(
        f"""
        SELECT shelf.*, claimed.reserved, shelf.free + claimed.reserved AS on_hand, holds.words AS held_for,
               coalesce(item.expiry_required, true) AS expiry_required
        FROM batch
        JOIN shelf USING (batch_id)
        LEFT JOIN item ON item.item_id = batch.item_id
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(quantity), 0) AS reserved
            FROM reservation
            WHERE reservation.batch_id = shelf.batch_id AND reservation.site_id = shelf.site_id
              AND reservation.location_id = shelf.location_id AND reservation.quality = shelf.quality
              AND {OPEN_CLAIM}) AS claimed
        CROSS JOIN LATERAL (
            SELECT coalesce(string_agg(kind || ' (' || reason || ')', '; ' ORDER BY placed_at, hold_id), '') AS words
            FROM hold
            WHERE shelf.held AND hold.batch_id = shelf.batch_id AND hold.lifted_at IS NULL
              AND (hold.site_id IS NULL OR hold.site_id = shelf.site_id)
              AND (hold.location_id IS NULL OR hold.location_id = shelf.location_id)) AS holds
        WHERE batch.item_id = $1 AND ($2::text IS NULL OR shelf.site_id = $2)
          AND ($3::text IS NULL
               OR (batch.batch_no, shelf.batch_id, shelf.site_id, shelf.location_id, shelf.quality)
                  > ($3, $4::uuid, $5, $6, $7))
          AND ($3::text IS NULL OR batch.batch_no >= $3)
        ORDER BY batch.batch_no, shelf.batch_id, shelf.site_id, shelf.location_id, shelf.quality
        LIMIT $8
        """,
        item_id,
        site_id,
        *(after or (None, None, None, None, None)),
        limit,
    )


async def picks(
    db: Reader,
    *,
    site_id: str | None,
    status: str | None,
    demand_id: UUID | None,
    shipment_id: UUID | None,
    after: tuple[str, str, UUID] | None,
    limit: int,
) -> list[Record]:
    """Picks in the order of a walk through the sites' locations."""
    return await db.fetch(
        f"""
        {_PICK}
        WHERE ($1::text IS NULL OR reservation.site_id = $1)
          AND ($2::text[] IS NULL OR reservation.status = ANY($2))
          AND ($3::uuid IS NULL OR reservation.demand_id = $3)
          AND ($4::uuid IS NULL OR reservation.shipment_id = $4)
          AND ($5::text IS NULL
               OR (reservation.site_id, reservation.location_id, reservation.reservation_id) > ($5, $6, $7::uuid))
        ORDER BY reservation.site_id, reservation.location_id, reservation.reservation_id
        LIMIT $8
        """,
        site_id,
        PICK_STATUSES[status] if status else None,
        demand_id,
        shipment_id,
        *(after or (None, None, None)),
        limit,
    )


async def picks_by_id(db: Reader, pick_ids: Collection[UUID]) -> dict[UUID, Record]:
    """Picks, however they stand."""
    rows = await db.fetch(f"{_PICK} WHERE reservation.reservation_id = ANY($1::uuid[])", [*pick_ids])
    return {row["pick_id"]: row for row in rows}


async def shipments(
    db: Reader,
    *,
    shipment_ids: Collection[UUID] | None = None,
    customer_id: str | None = None,
    site_id: str | None = None,
    after: UUID | None = None,
    limit: int = 100,
) -> list[dict[str, Any]]:
    """Shipments with their lines, newest first."""
    rows = await db.fetch(
        """
        SELECT * FROM shipment
        WHERE ($1::uuid[] IS NULL OR shipment_id = ANY($1)) AND ($2::text IS NULL OR customer_id = $2)
          AND ($3::text IS NULL OR site_id = $3) AND ($4::uuid IS NULL OR shipment_id < $4)
        ORDER BY shipment_id DESC
        LIMIT $5
        """,
        None if shipment_ids is None else [*shipment_ids],
        customer_id,
        site_id,
        after,
        limit,
    )
    lines = await db.fetch(
        """
        SELECT reservation.shipment_id, reservation.line_id, reservation.demand_id, demand.reference,
               reservation.reservation_id AS pick_id, reservation.item_id, reservation.batch_id, batch.batch_no,
               reservation.staged_at AS location_id, reservation.quantity, demand.unit, reservation.reason,
               CASE reservation.status WHEN 'revoked' THEN 'gone' ELSE reservation.status END AS status
        FROM reservation
        JOIN demand USING (demand_id)
        JOIN batch ON batch.batch_id = reservation.batch_id
        WHERE reservation.shipment_id = ANY($1::uuid[])
        ORDER BY reservation.line_id, reservation.reservation_id
        """,
        [row["shipment_id"] for row in rows],
    )
    of_shipment: dict[UUID, list[dict[str, Any]]] = {}
    for line in lines:
        of_shipment.setdefault(line["shipment_id"], []).append(dict(line))
    return [
        {
            **row,
            "lines": of_shipment.get(row["shipment_id"], []),
            "status": _shipment_status(row["dispatched_at"], of_shipment.get(row["shipment_id"], [])),
        }
        for row in rows
    ]


def _shipment_status(dispatched_at: dt.datetime | None, lines: Sequence[dict[str, Any]]) -> str:
    statuses = {line["status"] for line in lines}
    if statuses & {"stopped", "gone"}:
        return "partly_stopped" if statuses - {"stopped", "gone"} else "stopped"
    if dispatched_at is None:
        return "ready"
    return "shipped" if statuses == {"shipped"} else "dispatching"
