"""Promises: how they were decided, and what became of them."""

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from uuid import UUID

import orjson

from delivery import columns
from services.allocation.domain.claims import Claim
from services.allocation.domain.stock import Spot
from services.allocation.store.rows import (
    OPEN_CLAIM,
    NewPlan,
    NewReservation,
    Tables,
    claim_of,
)

# New rows are copied in: a chunk's worth costs a third of what `unnest` does.
_PLAN_COLUMNS = (
    "plan_id", "demand_id", "item_id", "inventory_sequence", "policy", "inputs", "outcome", "decided_at",
)  # fmt: skip
_RESERVATION_COLUMNS = (
    "reservation_id", "demand_id", "plan_id", "item_id", "batch_id", "site_id", "location_id", "quality", "quantity",
    "promised_at", "changed_at",
)  # fmt: skip


class Promises(Tables):
    """The tables `plan` and `reservation`."""

    async def keep_plans(self, plans: Iterable[NewPlan], now: dt.datetime) -> None:
        """Keep how promises were decided."""
        await self._db.copy_records_to_table(
            "plan",
            columns=_PLAN_COLUMNS,
            records=[
                (
                    plan.plan_id,
                    plan.demand.demand_id,
                    plan.demand.item_id,
                    plan.sequence,
                    plan.policy,
                    orjson.dumps(plan.inputs).decode(),
                    orjson.dumps(plan.outcome).decode(),
                    now,
                )
                for plan in plans
            ],
        )

    async def promise(self, reservations: Sequence[NewReservation], now: dt.datetime) -> None:
        """Take what is promised from what is free. The CHECK on `shelf.free` is the last guard against promising twice.

        Raises `AssertionError` when a spot is not there at all.
        """
        taken: dict[Spot, Decimal] = {}
        for promised in reservations:
            taken[promised.spot] = taken.get(promised.spot, Decimal(0)) + promised.quantity
        done = await self._db.execute(
            """
            UPDATE shelf SET free = shelf.free - taken.quantity
            FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::numeric[])
                 AS taken (batch_id, site_id, location_id, quality, quantity)
            WHERE shelf.batch_id = taken.batch_id AND shelf.site_id = taken.site_id
              AND shelf.location_id = taken.location_id AND shelf.quality = taken.quality
            """,
            *columns(((*spot, quantity) for spot, quantity in taken.items()), 5),
        )
        if done != f"UPDATE {len(taken)}":
            raise AssertionError(f"{len(taken)} spots were promised from, and the shelf said {done}")
        await self._db.copy_records_to_table(
            "reservation",
            columns=_RESERVATION_COLUMNS,
            records=[
                (
                    promised.reservation_id,
                    promised.demand.demand_id,
                    promised.plan_id,
                    promised.demand.item_id,
                    *promised.spot,
                    promised.quantity,
                    now,
                    now,
                )
                for promised in reservations
            ],
        )

    async def claims(
        self,
        *,
        reservation_ids: Collection[UUID] = (),
        line_ids: Collection[UUID] = (),
        demand_ids: Collection[UUID] = (),
        batch_ids: Collection[UUID] = (),
        spots: Collection[Spot] = (),
    ) -> dict[UUID, Claim]:
        """The open claims that are named in one of these ways."""
        claim = "reservation.*, demand.raised_at"
        of_demand = "JOIN demand USING (demand_id)"
        rows = await self._db.fetch(
            f"""
            SELECT {claim} FROM reservation {of_demand} WHERE reservation_id = ANY($1::uuid[]) AND {OPEN_CLAIM}
            UNION
            SELECT {claim} FROM reservation {of_demand} WHERE line_id = ANY($2::uuid[]) AND {OPEN_CLAIM}
            UNION
            SELECT {claim} FROM reservation {of_demand} WHERE demand_id = ANY($3::uuid[]) AND {OPEN_CLAIM}
            UNION
            SELECT {claim} FROM reservation {of_demand} WHERE batch_id = ANY($4::uuid[]) AND {OPEN_CLAIM}
            UNION
            SELECT {claim}
            FROM unnest($5::uuid[], $6::text[], $7::text[], $8::text[])
                 AS spot (batch_id, site_id, location_id, quality)
            JOIN reservation USING (batch_id, site_id, location_id, quality) {of_demand}
            WHERE {OPEN_CLAIM}
            """,
            [*reservation_ids],
            [*line_ids],
            [*demand_ids],
            [*batch_ids],
            *columns(spots, 4),
        )
        return {row["reservation_id"]: claim_of(row) for row in rows}

    async def shipped_of(self, line_ids: Collection[UUID]) -> tuple[dict[UUID, Claim], frozenset[UUID]]:
        """What these shipment lines shipped or ask to, and which of its demands are cancelled."""
        rows = await self._db.fetch(
            """
            SELECT reservation.*, demand.raised_at, demand.cancelled_at IS NOT NULL AS over
            FROM reservation
            JOIN demand USING (demand_id)
            WHERE line_id = ANY($1::uuid[]) AND status IN ('dispatching', 'shipped')
            """,
            [*line_ids],
        )
        return (
            {row["reservation_id"]: claim_of(row) for row in rows},
            frozenset(row["demand_id"] for row in rows if row["over"]),
        )

    async def split(self, parts: Iterable[tuple[UUID, UUID, Decimal, UUID | None]], now: dt.datetime) -> None:
        """New reservations, (new id, whole, quantity, shipment line), that are otherwise like the whole they come from.

        The wholes keep their quantities: making them smaller is the caller's to do.
        """
        await self._db.execute(
            """
            INSERT INTO reservation (reservation_id, demand_id, plan_id, item_id, batch_id, site_id, location_id,
                                     quality, quantity, status, promised_at, staged_at, picked_at, picked_by,
                                     shipment_id, line_id, code, reason, changed_at)
            SELECT part.reservation_id, demand_id, plan_id, item_id, batch_id, site_id, location_id, quality,
                   part.quantity, status, promised_at, staged_at, picked_at, picked_by,
                   CASE WHEN part.line_id IS NOT NULL THEN shipment_id END, part.line_id, code, reason, $5
            FROM unnest($1::uuid[], $2::uuid[], $3::numeric[], $4::uuid[])
                 AS part (reservation_id, split_from, quantity, line_id)
            JOIN reservation AS whole ON whole.reservation_id = part.split_from
            """,
            *columns(parts, 4),
            now,
        )

    async def save_claims(self, claims: Collection[Claim], now: dt.datetime) -> None:
        """Write claims as they are now; the ones that were split off inherit from those they came from.

        Where a picked one lies now is where it is staged. One without a line is in no shipment, and one that is only
        promised was picked by nobody.
        """
        split = [claim for claim in claims if claim.split_from is not None]
        if split:
            await self.split(
                [
                    (claim.reservation_id, claim.split_from, claim.quantity, claim.line_id)
                    for claim in split
                    if claim.split_from
                ],
                now,
            )
        await self._db.execute(
            """
            UPDATE reservation
            SET batch_id = changed.batch_id, site_id = changed.site_id, location_id = changed.location_id,
                quality = changed.quality, quantity = changed.quantity, status = changed.status, code = changed.code,
                reason = changed.reason, changed_at = $10, line_id = changed.line_id,
                shipment_id = CASE WHEN changed.line_id IS NOT NULL THEN shipment_id END,
                picked_at = CASE WHEN changed.status <> 'promised' THEN picked_at END,
                picked_by = CASE WHEN changed.status <> 'promised' THEN picked_by END,
                staged_at = CASE WHEN changed.status = 'promised' THEN NULL
                                 WHEN picked_at IS NULL OR reservation.location_id = changed.location_id
                                 THEN staged_at ELSE changed.location_id END
            FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::numeric[], $7::text[],
                        $8::text[], $9::text[], $11::uuid[])
                 AS changed (reservation_id, batch_id, site_id, location_id, quality, quantity, status, code, reason,
                             line_id)
            WHERE reservation.reservation_id = changed.reservation_id
            """,
            *columns(
                (
                    (
                        claim.reservation_id,
                        *claim.spot,
                        claim.quantity,
                        str(claim.status),
                        claim.code,
                        claim.reason,
                    )
                    for claim in claims
                ),
                9,
            ),
            now,
            [claim.line_id for claim in claims],
        )
