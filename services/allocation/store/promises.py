"""Promises: how they were decided, and what became of them."""

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from uuid import UUID

import orjson

from delivery import NewRows, Work, Write, columns, write_together
from services.allocation.domain.claims import Claim
from services.allocation.domain.stock import Spot
from services.allocation.domain.terms import Demand
from services.allocation.store.demands import missing_now, new_demands
from services.allocation.store.rows import (
    NOT_OVER,
    OPEN_CLAIM,
    NewPlan,
    NewReservation,
    Tables,
    claim_of,
)

_PLAN_COLUMNS = {
    "plan_id": "uuid", "demand_id": "uuid", "item_id": "text", "inventory_sequence": "bigint", "policy": "text",
    "inputs": "text", "outcome": "text", "decided_at": "timestamptz",
}  # fmt: skip
_RESERVATION_COLUMNS = {
    "reservation_id": "uuid", "demand_id": "uuid", "plan_id": "uuid", "item_id": "text", "batch_id": "uuid",
    "site_id": "text", "location_id": "text", "quality": "text", "quantity": "numeric", "promised_at": "timestamptz",
    "changed_at": "timestamptz",
}  # fmt: skip


class Promises(Tables):
    """The tables `plan` and `reservation`."""

    async def promise(
        self,
        plans: Sequence[NewPlan],
        reservations: Sequence[NewReservation],
        missing: dict[UUID, Decimal],
        *,
        raised: Sequence[Demand],
        work: Work,
    ) -> None:
        """Keep how promises were decided, take them from what is free, and write what demands miss now.

        Those that are `raised` just now are kept with it, all at the end of the work; of the others only that changes,
        at once. The CHECK on `shelf.free` is the last guard against promising twice, `AssertionError` that against a
        spot that is not there at all.
        """
        taken: dict[Spot, Decimal] = {}
        for promised in reservations:
            taken[promised.spot] = taken.get(promised.spot, Decimal(0)) + promised.quantity
        parts: list[Write | NewRows] = [
            _taking(taken),
            _new_reservations(reservations, work.now),
            _new_plans(plans, work.now),
        ]
        if raised:
            work.write_at_end(*parts, new_demands(raised, missing))
        else:
            await write_together(self._db, [*parts, missing_now(missing)])

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
            SELECT {claim} FROM reservation {of_demand} WHERE reservation_id = ANY($1::uuid[]) AND {NOT_OVER}
            UNION
            SELECT {claim} FROM reservation {of_demand} WHERE line_id = ANY($2::uuid[]) AND {NOT_OVER}
            UNION
            SELECT {claim} FROM reservation {of_demand} WHERE demand_id = ANY($3::uuid[]) AND {NOT_OVER}
            UNION
            SELECT {claim} FROM reservation {of_demand} WHERE batch_id = ANY($4::uuid[]) AND {OPEN_CLAIM}
            UNION
            SELECT {claim}
            FROM unnest($5::uuid[], $6::text[], $7::text[], $8::text[])
                 AS spot (batch_id, site_id, location_id, quality)
            CROSS JOIN LATERAL (
                SELECT * FROM reservation
                WHERE reservation.batch_id = spot.batch_id AND reservation.site_id = spot.site_id
                  AND reservation.location_id = spot.location_id AND reservation.quality = spot.quality
                  AND {OPEN_CLAIM}
                OFFSET 0 -- spot by spot, and not all that are open once
            ) AS reservation
            {of_demand}
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


def _taking(quantities: dict[Spot, Decimal]) -> Write:
    return Write(
        """
        UPDATE shelf SET free = shelf.free - taken.quantity
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::numeric[])
             AS taken (batch_id, site_id, location_id, quality, quantity)
        WHERE shelf.batch_id = taken.batch_id AND shelf.site_id = taken.site_id
          AND shelf.location_id = taken.location_id AND shelf.quality = taken.quality
        """,
        columns(((*spot, quantity) for spot, quantity in quantities.items()), 5),
        rows=len(quantities),
    )


def _new_reservations(reservations: Sequence[NewReservation], now: dt.datetime) -> NewRows:
    return NewRows(
        "reservation",
        _RESERVATION_COLUMNS,
        [
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


def _new_plans(plans: Sequence[NewPlan], now: dt.datetime) -> NewRows:
    return NewRows(
        "plan",
        _PLAN_COLUMNS,
        [
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
