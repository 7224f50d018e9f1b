"""Items, partners and whose each GTIN is."""

import datetime as dt
from collections.abc import Iterable, Sequence

from contracts.integration import ItemDefined, PartnerDefined
from delivery import Connection, columns


class CatalogStore:
    """Items and partners as they are now."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    async def items(self, item_ids: Iterable[str]) -> dict[str, ItemDefined]:
        """The known ones of these items."""
        rows = await self._db.fetch(
            "SELECT item_id, definition FROM item WHERE item_id = ANY($1::text[])", list(set(item_ids))
        )
        return {row["item_id"]: ItemDefined.model_validate(row["definition"]) for row in rows}

    async def partners(self, partner_ids: Iterable[str]) -> dict[str, PartnerDefined]:
        """The known ones of these partners."""
        rows = await self._db.fetch(
            "SELECT partner_id, definition FROM partner WHERE partner_id = ANY($1::text[])", list(set(partner_ids))
        )
        return {row["partner_id"]: PartnerDefined.model_validate(row["definition"]) for row in rows}

    async def gtin_owners(self, gtins: Iterable[str]) -> dict[str, str]:
        """Whose each of these GTINs is."""
        rows = await self._db.fetch(
            "SELECT gtin, item_id FROM item_gtin WHERE gtin = ANY($1::text[])", list(set(gtins))
        )
        return {row["gtin"]: row["item_id"] for row in rows}

    async def in_use(self, item_ids: Iterable[str]) -> set[str]:
        """The items of which goods were expected, made, moved or wanted."""
        rows = await self._db.fetch(
            """
            SELECT item_id
            FROM unnest($1::text[]) AS asked (item_id)
            WHERE EXISTS (SELECT FROM ledger_batch      WHERE ledger_batch.item_id      = asked.item_id)
               OR EXISTS (SELECT FROM expected_receipt  WHERE expected_receipt.item_id  = asked.item_id)
               OR EXISTS (SELECT FROM demand            WHERE demand.item_id            = asked.item_id)
               OR EXISTS (SELECT FROM production_lot    WHERE production_lot.item_id    = asked.item_id)
               OR EXISTS (SELECT FROM reported_material WHERE reported_material.item_id = asked.item_id)
            """,
            list(set(item_ids)),
        )
        return {row["item_id"] for row in rows}

    async def save_items(self, items: Sequence[ItemDefined], now: dt.datetime) -> None:
        """Keep definitions and whose GTINs they hold. Each item at most once."""
        await self._db.execute(
            """
            INSERT INTO item (item_id, revision, base_unit, active, definition, defined_at)
            SELECT item_id, revision, base_unit, active, definition, $6
            FROM unnest($1::text[], $2::int[], $3::text[], $4::boolean[], $5::jsonb[])
                 AS r (item_id, revision, base_unit, active, definition)
            ON CONFLICT (item_id) DO UPDATE
            SET revision = excluded.revision, base_unit = excluded.base_unit, active = excluded.active,
                definition = excluded.definition, defined_at = excluded.defined_at
            """,
            *columns(((i.item_id, i.revision, i.base_unit, i.active, i.model_dump(mode="json")) for i in items), 5),
            now,
        )
        await self._db.execute("DELETE FROM item_gtin WHERE item_id = ANY($1::text[])", [i.item_id for i in items])
        await self._db.execute(
            """
            INSERT INTO item_gtin (gtin, item_id, unit)
            SELECT * FROM unnest($1::text[], $2::text[], $3::text[])
            """,
            *columns(((alias.gtin, item.item_id, alias.unit) for item in items for alias in item.gtins), 3),
        )

    async def save_partners(self, partners: Sequence[PartnerDefined], now: dt.datetime) -> None:
        """Keep definitions. Each partner at most once."""
        await self._db.execute(
            """
            INSERT INTO partner (partner_id, revision, active, definition, defined_at)
            SELECT partner_id, revision, active, definition, $5
            FROM unnest($1::text[], $2::int[], $3::boolean[], $4::jsonb[])
                 AS r (partner_id, revision, active, definition)
            ON CONFLICT (partner_id) DO UPDATE
            SET revision = excluded.revision, active = excluded.active, definition = excluded.definition,
                defined_at = excluded.defined_at
            """,
            *columns(((p.partner_id, p.revision, p.active, p.model_dump(mode="json")) for p in partners), 4),
            now,
        )
