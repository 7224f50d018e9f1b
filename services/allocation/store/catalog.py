"""What the catalog says and what sites there are, as far as allocation needs it."""

from collections.abc import Collection

from contracts.integration import ItemDefined, PartnerDefined, PartnerRole
from contracts.inventory import SiteDefined
from delivery import columns
from services.allocation.store.rows import (
    Tables,
)


class Catalog(Tables):
    """Items, customers and sites."""

    async def define_items(self, items: Collection[ItemDefined]) -> set[str]:
        """Keep definitions that are newer than what is known; returns the items whose expiry became optional."""
        rows = await self._db.fetch(
            """
            WITH before AS (SELECT item_id, expiry_required FROM item WHERE item_id = ANY($1::text[]))
            INSERT INTO item (item_id, base_unit, expiry_required, gtins, revision)
            SELECT item_id, base_unit, expiry_required, string_to_array(gtins, ' '), revision
            FROM unnest($1::text[], $2::text[], $3::bool[], $4::text[], $5::int[])
                 AS said (item_id, base_unit, expiry_required, gtins, revision)
            ON CONFLICT (item_id) DO UPDATE
            SET base_unit = excluded.base_unit, expiry_required = excluded.expiry_required, gtins = excluded.gtins,
                revision = excluded.revision
            WHERE item.revision < excluded.revision
            RETURNING item_id, expiry_required,
                      (SELECT before.expiry_required FROM before WHERE before.item_id = item.item_id) AS required_before
            """,
            *columns(
                (
                    (
                        item.item_id,
                        item.base_unit,
                        item.expiry_required,
                        " ".join(alias.gtin for alias in item.gtins),
                        item.revision,
                    )
                    for item in items
                ),
                5,
            ),
        )
        return {row["item_id"] for row in rows if not row["expiry_required"] and row["required_before"] is not False}

    async def define_customers(self, partners: Collection[PartnerDefined]) -> set[str]:
        """Keep definitions that are newer than what is known; returns the customers whose rules changed.

        Partners that are no customers are kept as not active: they buy nothing.
        """
        rows = await self._db.fetch(
            """
            WITH before AS (SELECT customer_id, shelf_life_rules FROM customer WHERE customer_id = ANY($1::text[]))
            INSERT INTO customer (customer_id, name, shelf_life_rules, active, revision)
            SELECT * FROM unnest($1::text[], $2::text[], $3::jsonb[], $4::bool[], $5::int[])
            ON CONFLICT (customer_id) DO UPDATE
            SET name = excluded.name, shelf_life_rules = excluded.shelf_life_rules, active = excluded.active,
                revision = excluded.revision
            WHERE customer.revision < excluded.revision
            RETURNING customer_id, shelf_life_rules IS DISTINCT FROM
                      (SELECT before.shelf_life_rules FROM before
                       WHERE before.customer_id = customer.customer_id) AS changed
            """,
            *columns(
                (
                    (
                        partner.partner_id,
                        partner.name,
                        {"rules": [rule.model_dump(exclude_none=True) for rule in partner.shelf_life_rules]},
                        partner.active and PartnerRole.CUSTOMER in partner.roles,
                        partner.revision,
                    )
                    for partner in partners
                ),
                5,
            ),
        )
        return {row["customer_id"] for row in rows if row["changed"]}

    async def define_sites(self, sites: Collection[SiteDefined]) -> None:
        """Keep what is newer than what is known."""
        await self._db.execute(
            """
            INSERT INTO site (site_id, revision, time_zone, set_up, staging)
            SELECT site_id, revision, time_zone, set_up, string_to_array(staging, ' ')
            FROM unnest($1::text[], $2::int[], $3::text[], $4::bool[], $5::text[])
                 AS said (site_id, revision, time_zone, set_up, staging)
            ON CONFLICT (site_id) DO UPDATE
            SET revision = excluded.revision, time_zone = excluded.time_zone, set_up = excluded.set_up,
                staging = excluded.staging
            WHERE site.revision < excluded.revision
            """,
            *columns(
                ((site.site_id, site.revision, site.time_zone, site.set_up, " ".join(site.staging)) for site in sites),
                5,
            ),
        )
