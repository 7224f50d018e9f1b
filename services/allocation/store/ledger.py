"""The shelf, as inventory tells of it."""

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from uuid import UUID

from delivery import columns
from services.allocation.domain.aisles import Shelf
from services.allocation.domain.stock import Spot
from services.allocation.store.rows import (
    IS_HELD,
    OPEN_CLAIM,
    BatchSeen,
    HoldSeen,
    KnownSpot,
    Tables,
)


class Ledger(Tables):
    """The tables `shelf`, `batch` and `hold`, and how far each item's ledger is known."""

    async def spots(self, spots: Collection[Spot]) -> dict[Spot, KnownSpot]:
        """These spots as they stand; those that hold nothing may be absent."""
        rows = await self._db.fetch(
            """
            SELECT shelf.batch_id, shelf.site_id, shelf.location_id, shelf.quality, free, purpose
            FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[])
                 AS asked (batch_id, site_id, location_id, quality)
            JOIN shelf USING (batch_id, site_id, location_id, quality)
            """,
            *columns(spots, 4),
        )
        return {Spot(*row[:4]): KnownSpot(row["free"], row["purpose"]) for row in rows}

    async def see_batches(self, batches: Collection[BatchSeen]) -> None:
        """Keep what movements said last of batches, there and on the shelf. Dates that a person corrected stay."""
        await self._db.execute(
            """
            WITH said AS (
                INSERT INTO batch (batch_id, item_id, batch_no, manufactured_on, expires_on, received_on)
                SELECT said.batch_id, said.item_id, said.batch_no,
                       CASE WHEN batch.corrected_at IS NULL THEN said.manufactured_on ELSE batch.manufactured_on END,
                       CASE WHEN batch.corrected_at IS NULL THEN said.expires_on      ELSE batch.expires_on      END,
                       coalesce(said.received_on, batch.received_on, said.first_seen_on)
                FROM unnest($1::uuid[], $2::text[], $3::text[], $4::date[], $5::date[], $6::date[], $7::date[])
                     AS said (batch_id, item_id, batch_no, manufactured_on, expires_on, received_on, first_seen_on)
                LEFT JOIN batch USING (batch_id)
                ON CONFLICT (batch_id) DO UPDATE
                SET batch_no = excluded.batch_no, manufactured_on = excluded.manufactured_on,
                    expires_on = excluded.expires_on, received_on = excluded.received_on
                WHERE (batch.batch_no, batch.manufactured_on, batch.expires_on, batch.received_on) IS DISTINCT FROM
                      (excluded.batch_no, excluded.manufactured_on, excluded.expires_on, excluded.received_on)
                RETURNING *
            )
            UPDATE shelf
            SET batch_no = said.batch_no, manufactured_on = said.manufactured_on, expires_on = said.expires_on,
                received_on = said.received_on
            FROM said
            WHERE shelf.batch_id = said.batch_id
            """,
            *columns(
                (
                    (
                        batch.batch_id,
                        batch.item_id,
                        batch.batch_no,
                        batch.manufactured_on,
                        batch.expires_on,
                        batch.received_on,
                        batch.first_seen_on,
                    )
                    for batch in batches
                ),
                7,
            ),
        )

    async def correct_dates(self, batches: Collection[BatchSeen], now: dt.datetime) -> None:
        """Keep what a person corrected of batches, there and on the shelf, also of one that stands nowhere yet."""
        await self._db.execute(
            """
            WITH corrected AS (
                INSERT INTO batch (batch_id, item_id, batch_no, manufactured_on, expires_on, received_on, corrected_at)
                SELECT batch_id, item_id, batch_no, manufactured_on, expires_on, received_on, $7
                FROM unnest($1::uuid[], $2::text[], $3::text[], $4::date[], $5::date[], $6::date[])
                     AS said (batch_id, item_id, batch_no, manufactured_on, expires_on, received_on)
                ON CONFLICT (batch_id) DO UPDATE
                SET manufactured_on = excluded.manufactured_on, expires_on = excluded.expires_on,
                    corrected_at = excluded.corrected_at
                RETURNING batch_id, manufactured_on, expires_on
            )
            UPDATE shelf
            SET manufactured_on = corrected.manufactured_on, expires_on = corrected.expires_on
            FROM corrected
            WHERE shelf.batch_id = corrected.batch_id
            """,
            *columns(
                (
                    (
                        batch.batch_id,
                        batch.item_id,
                        batch.batch_no,
                        batch.manufactured_on,
                        batch.expires_on,
                        batch.received_on or batch.first_seen_on,
                    )
                    for batch in batches
                ),
                6,
            ),
            now,
        )

    async def change_shelf(self, free: dict[Spot, Decimal], known: Collection[Spot]) -> None:
        """Add signed changes to what is free on spots that are known."""
        changes = [(*spot, change) for spot, change in free.items() if spot in known and change]
        if changes:
            await self._db.execute(
                """
                UPDATE shelf SET free = shelf.free + change.quantity
                FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::numeric[])
                     AS change (batch_id, site_id, location_id, quality, quantity)
                WHERE shelf.batch_id = change.batch_id AND shelf.site_id = change.site_id
                  AND shelf.location_id = change.location_id AND shelf.quality = change.quality
                """,
                *columns(changes, 5),
            )

    async def extend_shelf(self, new: dict[Spot, tuple[str, Decimal]]) -> None:
        """Put spots on the shelf that were not there, with their purpose and what is free on them."""
        if new:
            await self._db.execute(
                f"""
                INSERT INTO shelf (item_id, batch_id, site_id, location_id, quality, purpose, free, held, batch_no,
                                   manufactured_on, expires_on, received_on)
                SELECT batch.item_id, batch.batch_id, found.site_id, found.location_id, found.quality, found.purpose,
                       found.free, {IS_HELD.format(row="found")}, batch.batch_no, batch.manufactured_on,
                       batch.expires_on, batch.received_on
                FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::numeric[])
                     AS found (batch_id, site_id, location_id, quality, purpose, free)
                JOIN batch USING (batch_id)
                """,
                *columns(((*spot, purpose, free) for spot, (purpose, free) in new.items()), 6),
            )

    async def repurpose(self, purposes: dict[Spot, str]) -> None:
        """The zones of spots are for something else now."""
        if purposes:
            await self._db.execute(
                """
                UPDATE shelf SET purpose = said.purpose
                FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[])
                     AS said (batch_id, site_id, location_id, quality, purpose)
                WHERE shelf.batch_id = said.batch_id AND shelf.site_id = said.site_id
                  AND shelf.location_id = said.location_id AND shelf.quality = said.quality
                """,
                *columns(((*spot, purpose) for spot, purpose in purposes.items()), 5),
            )

    async def sweep(self, spots: Collection[Spot]) -> None:
        """Take spots off the shelf that hold nothing, so that it does not grow with the past."""
        if spots:
            await self._db.execute(
                f"""
                DELETE FROM shelf
                USING unnest($1::uuid[], $2::text[], $3::text[], $4::text[])
                      AS empty (batch_id, site_id, location_id, quality)
                WHERE shelf.batch_id = empty.batch_id AND shelf.site_id = empty.site_id
                  AND shelf.location_id = empty.location_id AND shelf.quality = empty.quality AND shelf.free = 0
                  AND NOT EXISTS (
                      SELECT FROM reservation
                      WHERE reservation.batch_id = shelf.batch_id AND reservation.site_id = shelf.site_id
                        AND reservation.location_id = shelf.location_id AND reservation.quality = shelf.quality
                        AND reservation.{OPEN_CLAIM})
                """,
                *columns(spots, 4),
            )

    async def reached(self, sequences: dict[str, int]) -> None:
        """The ledgers of items took effect up to these sequences."""
        await self._db.execute(
            """
            INSERT INTO item (item_id, sequence)
            SELECT * FROM unnest($1::text[], $2::bigint[])
            ON CONFLICT (item_id) DO UPDATE SET sequence = greatest(item.sequence, excluded.sequence)
            """,
            *columns(sequences.items(), 2),
        )

    async def batch_nos(self, batch_ids: Iterable[UUID]) -> dict[UUID, str]:
        """What the labels of these batches say."""
        rows = await self._db.fetch(
            "SELECT batch_id, batch_no FROM batch WHERE batch_id = ANY($1::uuid[])", [*{*batch_ids}]
        )
        return {row["batch_id"]: row["batch_no"] for row in rows}

    async def hold(self, placed: Sequence[HoldSeen], lifted: Sequence[tuple[UUID, UUID]], now: dt.datetime) -> None:
        """Keep holds that were placed, and that others, (batch, hold), were lifted; then see anew what is held."""
        if placed:
            await self._db.execute(
                """
                INSERT INTO hold (hold_id, batch_id, item_id, kind, site_id, location_id, reason, placed_at)
                SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                                     $8::timestamptz[])
                ON CONFLICT DO NOTHING
                """,
                *columns(
                    (
                        (
                            hold.hold_id,
                            hold.batch_id,
                            hold.item_id,
                            hold.kind,
                            hold.site_id,
                            hold.location_id,
                            hold.reason,
                            hold.placed_at,
                        )
                        for hold in placed
                    ),
                    8,
                ),
            )
        if lifted:
            await self._db.execute(
                """
                UPDATE hold SET lifted_at = $3
                FROM unnest($1::uuid[], $2::uuid[]) AS over (batch_id, hold_id)
                WHERE hold.batch_id = over.batch_id AND hold.hold_id = over.hold_id AND hold.lifted_at IS NULL
                """,
                *columns(lifted, 2),
                now,
            )
        await self._db.execute(
            f"""
            UPDATE shelf SET held = NOT held
            WHERE batch_id = ANY($1::uuid[]) AND held <> {IS_HELD.format(row="shelf")}
            """,
            [*({hold.batch_id for hold in placed} | {batch_id for batch_id, _ in lifted})],
        )

    async def open_holds(self, batch_ids: Collection[UUID]) -> list[HoldSeen]:
        """What holds these batches now, oldest first."""
        rows = await self._db.fetch(
            """
            SELECT hold_id, batch_id, item_id, kind, site_id, location_id, reason, placed_at
            FROM hold
            WHERE batch_id = ANY($1::uuid[]) AND lifted_at IS NULL
            ORDER BY placed_at, hold_id
            """,
            [*batch_ids],
        )
        return [HoldSeen(*row) for row in rows]

    async def sites_of(self, batch_ids: Collection[UUID]) -> set[Shelf]:
        """Where stock of these batches lies: item and site."""
        rows = await self._db.fetch(
            "SELECT DISTINCT item_id, site_id FROM shelf WHERE batch_id = ANY($1::uuid[]) AND offered", [*batch_ids]
        )
        return {(row["item_id"], row["site_id"]) for row in rows}
