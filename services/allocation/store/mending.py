"""The shelf, compared with what the ledger's owner said from the beginning."""

from collections.abc import Collection
from decimal import Decimal

from delivery import columns
from services.allocation.domain.stock import Spot
from services.allocation.store.rows import IS_HELD, OPEN_CLAIM, Tables

COPIES = (
    # What stands on each spot, free or claimed: in the copies nothing is promised.
    """
    CREATE TABLE spot (
        item_id     text    NOT NULL,
        batch_id    uuid    NOT NULL,
        site_id     text    NOT NULL COLLATE "C",
        location_id text    NOT NULL COLLATE "C",
        quality     text    NOT NULL COLLATE "C",
        purpose     text    NOT NULL,
        quantity    numeric NOT NULL,
        PRIMARY KEY (batch_id, site_id, location_id, quality)
    )
    """,
    # Handlers also keep batches and holds up to date on the shelf: in the copies it is empty.
    "CREATE TABLE shelf (LIKE public.shelf INCLUDING ALL)",
)

_ASTRAY = f"""
    SELECT coalesce(heard.item_id, batch.item_id) AS item_id, batch_id, site_id, location_id, quality,
           coalesce(heard.purpose, 'unknown') AS purpose, coalesce(heard.quantity, 0) AS heard,
           coalesce(kept.quantity, 0) AS kept
    FROM rebuilding_shelf.spot AS heard
    FULL JOIN (SELECT batch_id, site_id, location_id, quality, sum(quantity) AS quantity
               FROM (SELECT batch_id, site_id, location_id, quality, free FROM shelf
                     UNION ALL
                     SELECT batch_id, site_id, location_id, quality, quantity FROM reservation WHERE {OPEN_CLAIM})
                    AS part (batch_id, site_id, location_id, quality, quantity)
               GROUP BY batch_id, site_id, location_id, quality) AS kept
         USING (batch_id, site_id, location_id, quality)
    LEFT JOIN batch USING (batch_id)
    WHERE coalesce(heard.quantity, 0) <> coalesce(kept.quantity, 0)
"""

_NOW = f"""
    SELECT stands.batch_id, stands.site_id, stands.location_id, stands.quality,
           {IS_HELD.format(row="stands")} AS held, coalesce(nullif(heard.purpose, ''), stands.purpose) AS purpose,
           batch.batch_no, batch.manufactured_on, batch.expires_on, batch.received_on
    FROM shelf AS stands
    JOIN batch USING (batch_id)
    LEFT JOIN rebuilding_shelf.spot AS heard USING (batch_id, site_id, location_id, quality)
"""
_MISREAD = """
    (shelf.batch_id, shelf.site_id, shelf.location_id, shelf.quality)
        = (now.batch_id, now.site_id, now.location_id, now.quality)
    AND (shelf.held, shelf.purpose, shelf.batch_no, shelf.manufactured_on, shelf.expires_on, shelf.received_on)
        IS DISTINCT FROM
        (now.held, now.purpose, now.batch_no, now.manufactured_on, now.expires_on, now.received_on)
"""


class Mending(Tables):
    """What a rebuild of the shelf reads and puts right. `spot` is only there meanwhile."""

    async def add_spots(self, changes: Collection[tuple[str, Spot, str, Decimal]]) -> None:
        """In the copies: add signed quantities (base unit) to spots, by item, spot, purpose."""
        await self._db.execute(
            """
            INSERT INTO spot AS kept (item_id, batch_id, site_id, location_id, quality, purpose, quantity)
            SELECT min(item_id), batch_id, site_id, location_id, quality,
                   coalesce((array_agg(purpose ORDER BY n DESC) FILTER (WHERE purpose <> ''))[1], ''), sum(quantity)
            FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::numeric[],
                        $8::int[])
                 AS change (item_id, batch_id, site_id, location_id, quality, purpose, quantity, n)
            GROUP BY batch_id, site_id, location_id, quality
            ON CONFLICT (batch_id, site_id, location_id, quality) DO UPDATE
            SET quantity = kept.quantity + excluded.quantity,
                purpose  = CASE excluded.purpose WHEN '' THEN kept.purpose ELSE excluded.purpose END
            """,
            *columns(
                (
                    (item_id, *spot, purpose, quantity, n)
                    for n, (item_id, spot, purpose, quantity) in enumerate(changes)
                ),
                8,
            ),
        )

    async def take_over_times(self) -> None:
        """In the copies: times at which something was heard here are not of the event, so those that are known stay."""
        await self._db.execute(
            """
            UPDATE batch SET corrected_at = kept.corrected_at
            FROM public.batch AS kept
            WHERE kept.batch_id = batch.batch_id AND kept.corrected_at IS NOT NULL AND batch.corrected_at IS NOT NULL
            """
        )
        await self._db.execute(
            """
            UPDATE hold SET lifted_at = kept.lifted_at
            FROM public.hold AS kept
            WHERE (kept.batch_id, kept.hold_id) = (hold.batch_id, hold.hold_id)
              AND kept.lifted_at IS NOT NULL AND hold.lifted_at IS NOT NULL
            """
        )

    async def astray(self) -> list[tuple[str, Spot, str, Decimal, Decimal]]:
        """Spots where free and claimed stock are not what was heard: item, spot, purpose, heard, kept.

        One statement sees one moment, and nobody changes their sum but the ledger.
        """
        rows = await self._db.fetch(_ASTRAY + " ORDER BY item_id, batch_id, site_id, location_id, quality")
        return [(row["item_id"], Spot(*row[1:5]), row["purpose"], row["heard"], row["kept"]) for row in rows]

    async def items_misread(self) -> set[str]:
        """Items of which the shelf says of some batch, hold or purpose what is not known."""
        rows = await self._db.fetch(f"SELECT DISTINCT shelf.item_id FROM shelf JOIN ({_NOW}) AS now ON {_MISREAD}")
        return {row["item_id"] for row in rows}

    async def refresh_shelf(self) -> list[tuple[Spot, bool]]:
        """Let the shelf say of batches, holds and purposes what is known; returns what changed, and if held."""
        rows = await self._db.fetch(
            f"""
            UPDATE shelf
            SET held = now.held, purpose = now.purpose, batch_no = now.batch_no, manufactured_on = now.manufactured_on,
                expires_on = now.expires_on, received_on = now.received_on
            FROM ({_NOW}) AS now
            WHERE {_MISREAD}
            RETURNING shelf.batch_id, shelf.site_id, shelf.location_id, shelf.quality, shelf.held
            """
        )
        return [(Spot(*row[:4]), row["held"]) for row in rows]
