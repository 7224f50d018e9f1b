"""Picks and shipments."""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from uuid import UUID

from asyncpg import Record

from contracts.allocation import PickRefused
from delivery import NewRows, Work, Write, columns, unseen
from delivery.handling import locked_of
from services.allocation.domain.claims import ClaimStatus
from services.allocation.domain.picking import Pick
from services.allocation.domain.stock import Spot, Stock
from services.allocation.store.rows import (
    HELD_FOR,
    STOCK,
    NewShipment,
    PickedShare,
    Tables,
    stock_of,
)


class Outbound(Tables):
    """The outbound side of `reservation`, and the tables `shipment` and `refused_scan`."""

    async def lock_items_of(self, work: Work, pick_ids: Iterable[UUID]) -> list[UUID]:
        """The known ones of these picks, whose items are locked by that."""
        rows = await self._db.fetch(
            f"""
            WITH asked AS MATERIALIZED (
                SELECT reservation_id, item_id AS key FROM reservation WHERE reservation_id = ANY({unseen(1, "uuid")})
            ), held AS MATERIALIZED ({locked_of("asked")})
            SELECT asked.* FROM (SELECT count(*) FROM held) AS waited CROSS JOIN asked
            """,
            [*{*pick_ids}],
        )
        work.take_note(row["key"] for row in rows)
        return [row["reservation_id"] for row in rows]

    async def picks(self, pick_ids: Iterable[UUID]) -> dict[UUID, Pick]:
        """Picks with all that a scan is judged by and its answer tells."""
        rows = await self._db.fetch(
            f"""
            SELECT reservation.reservation_id, reservation.status, reservation.code, reservation.reason,
                   reservation.demand_id, demand.reference, demand.customer_id, reservation.item_id,
                   coalesce(item.gtins, '{{}}') AS gtins,
                   reservation.batch_id, reservation.site_id, reservation.location_id, reservation.quality,
                   batch.batch_no, batch.expires_on, reservation.quantity, demand.unit,
                   coalesce(site.staging, '{{}}') AS staging,
                   reservation.staged_at, reservation.picked_by, reservation.picked_at
            FROM reservation
            JOIN demand USING (demand_id)
            JOIN batch USING (batch_id)
            LEFT JOIN item ON item.item_id = reservation.item_id
            LEFT JOIN site ON site.site_id = reservation.site_id
            WHERE reservation_id = ANY({unseen(1, "uuid")})
            """,
            [*{*pick_ids}],
        )
        return {
            row["reservation_id"]: Pick(
                pick_id=row["reservation_id"],
                status=ClaimStatus(row["status"]),
                code=row["code"],
                reason=row["reason"],
                demand_id=row["demand_id"],
                reference=row["reference"],
                customer_id=row["customer_id"],
                item_id=row["item_id"],
                gtins=frozenset(row["gtins"]),
                spot=Spot(row["batch_id"], row["site_id"], row["location_id"], row["quality"]),
                batch_no=row["batch_no"],
                expires_on=row["expires_on"],
                quantity=row["quantity"],
                unit=row["unit"],
                staging=frozenset(row["staging"]),
                staged_at=row["staged_at"],
                picked_by=row["picked_by"],
                picked_at=row["picked_at"],
            )
            for row in rows
        }

    async def items_by_gtin(self, gtins: Collection[str]) -> dict[str, str]:
        """Which item each of these GTINs is a name of."""
        rows = await self._db.fetch("SELECT item_id, gtins FROM item WHERE gtins && $1::text[]", [*gtins])
        return {gtin: row["item_id"] for row in rows for gtin in row["gtins"] if gtin in gtins}

    async def stock_of_batch_at(self, item_id: str, batch_no: str, like: Spot) -> list[Stock]:
        """Stock with this batch number in the same bin and quality, free or promised, held or not."""
        rows = await self._db.fetch(
            f"""
            SELECT {STOCK}, CASE WHEN held THEN {HELD_FOR} END AS held_for
            FROM (SELECT shelf.* FROM batch JOIN shelf USING (batch_id)
                  WHERE batch.item_id = $1 AND batch.batch_no = $2 AND shelf.site_id = $3 AND shelf.location_id = $4
                    AND shelf.quality = $5) AS found
            ORDER BY batch_id
            """,
            item_id,
            batch_no,
            *like[1:],
        )
        return [stock_of(row, row["held_for"] or "") for row in rows]

    async def picked_for(self, orders: Collection[tuple[str, str]]) -> list[PickedShare]:
        """What was picked for these (customer, site) and is in no shipment yet, oldest pick first."""
        rows = await self._db.fetch(
            """
            SELECT reservation.reservation_id, demand.demand_id, demand.customer_id, reservation.site_id,
                   demand.item_id, reservation.batch_id, batch.batch_no, reservation.quantity, demand.unit
            FROM unnest($1::text[], $2::text[]) AS asked (customer_id, site_id)
            JOIN demand USING (customer_id, site_id)
            JOIN reservation ON reservation.demand_id = demand.demand_id
                 AND reservation.status = 'picked' AND reservation.shipment_id IS NULL
            JOIN batch ON batch.batch_id = reservation.batch_id
            ORDER BY reservation.picked_at, reservation.reservation_id
            """,
            *columns({*orders}, 2),
        )
        return [PickedShare(*row) for row in rows]

    async def make_shipments(self, shipments: Sequence[NewShipment], now: dt.datetime) -> None:
        """Keep shipments, and put the picked shares they hold into them."""
        await self._db.execute(
            """
            INSERT INTO shipment (shipment_id, customer_id, site_id, carrier, created_by, created_at)
            SELECT *, $6 FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[])
            """,
            *columns(
                (
                    (made.shipment_id, made.customer_id, made.site_id, made.carrier, made.created_by)
                    for made in shipments
                ),
                5,
            ),
            now,
        )
        await self._db.execute(
            """
            UPDATE reservation SET shipment_id = line.shipment_id, line_id = line.line_id, changed_at = $4
            FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS line (line_id, reservation_id, shipment_id)
            WHERE reservation.reservation_id = line.reservation_id
            """,
            *columns(((*line, made.shipment_id) for made in shipments for line in made.lines), 3),
            now,
        )

    async def items_of_shipments(self, shipment_ids: Iterable[UUID]) -> set[str]:
        """Which items are in shipments; needs no lock."""
        rows = await self._db.fetch(
            "SELECT DISTINCT item_id FROM reservation WHERE shipment_id = ANY($1::uuid[])", [*{*shipment_ids}]
        )
        return {row["item_id"] for row in rows}

    async def lock_shipments(self, shipment_ids: Iterable[UUID]) -> dict[UUID, Record]:
        """Shipments, locked until the commit."""
        rows = await self._db.fetch(
            "SELECT * FROM shipment WHERE shipment_id = ANY($1::uuid[]) ORDER BY shipment_id FOR UPDATE",
            [*{*shipment_ids}],
        )
        return {row["shipment_id"]: row for row in rows}

    async def dispatch(self, by: Mapping[UUID, str], now: dt.datetime) -> list[Record]:
        """Send what is picked in these shipments to the gate, each by somebody; returns the lines that go.

        A shipment of which nothing is picked any more stays as it is.
        """
        lines = await self._db.fetch(
            """
            UPDATE reservation SET status = 'dispatching', changed_at = $2
            FROM demand, batch, shipment
            WHERE reservation.shipment_id = ANY($1::uuid[]) AND reservation.status = 'picked'
              AND demand.demand_id = reservation.demand_id AND batch.batch_id = reservation.batch_id
              AND shipment.shipment_id = reservation.shipment_id
            RETURNING reservation.*, demand.reference, demand.customer_id, demand.unit, batch.batch_no, shipment.carrier
            """,
            [*by],
            now,
        )
        await self._db.execute(
            """
            UPDATE shipment SET dispatched_at = $3, dispatched_by = sent.by
            FROM unnest($1::uuid[], $2::text[]) AS sent (shipment_id, by)
            WHERE shipment.shipment_id = sent.shipment_id
            """,
            *columns(((shipment_id, by[shipment_id]) for shipment_id in {line["shipment_id"] for line in lines}), 2),
            now,
        )
        return lines


def refused_scans(refused: Iterable[tuple[PickRefused, str]]) -> NewRows:
    """Scans that were refused, and by whom they were made."""
    return NewRows(
        "refused_scan",
        {
            "refusal_id": "uuid", "pick_id": "uuid", "scanned": "text", "verdict": "text", "reason": "text",
            "refused_by": "text", "refused_at": "timestamptz",
        },
        [
            (said.refusal_id, said.pick_id, said.scanned, str(said.verdict), said.reason, by, said.refused_at)
            for said, by in refused
        ],
    )  # fmt: skip


def fetched(picks: Sequence[Pick]) -> Write:
    """Picks that were fetched, as they are now; each was promised until now.

    They are found by their ids. With `=` the index of all that is promised would be a way to them too, and to a plan
    made while that is little, a shorter one.
    """
    return Write(
        """
        UPDATE reservation
        SET status = 'picked', quantity = picked.quantity, staged_at = picked.staged_at,
            picked_by = picked.picked_by, picked_at = picked.picked_at, changed_at = picked.picked_at
        FROM unnest($1::uuid[], $2::numeric[], $3::text[], $4::text[], $5::timestamptz[])
             AS picked (reservation_id, quantity, staged_at, picked_by, picked_at)
        WHERE reservation.reservation_id = picked.reservation_id
          AND reservation.status IS NOT DISTINCT FROM 'promised'
        """,
        columns(((pick.pick_id, pick.quantity, pick.staged_at, pick.picked_by, pick.picked_at) for pick in picks), 5),
        rows=len(picks),
    )
