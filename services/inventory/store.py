"""All SQL that changes stock, and what is read under the item's lock to decide about it. One statement for a chunk."""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import astuple, dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from contracts.integration import ItemDefined
from contracts.inventory import MOST_PLACES, MovementReason, SiteDefined
from contracts.values import BatchFacts, Climate, HoldKind, PlaceKind, Purpose, Quality
from delivery import Connection, columns
from services.inventory.domain.expiry import Watched
from services.inventory.domain.holds import Hold
from services.inventory.domain.ledger import Booked, Column, End, Movement, Outside, Spot
from services.inventory.domain.owed import Owed
from services.inventory.domain.put_away import RESTING, Location

Bin = tuple[str, str]
"""A location: its site and its code."""

Booking = tuple[str, str]
"""A line of business: its kind and its reference."""


class Faulty(AssertionError):
    """The books would not add up: a fault of ours, and nothing is written."""


Arrival = tuple[UUID, str, str, dt.date]
"""A batch with an expiry that came to a site: batch, site, item, last good day."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as inventory knows it; `unit` is the item's base unit."""

    batch_id: UUID
    item_id: str
    unit: str
    facts: BatchFacts


@dataclass(frozen=True, slots=True)
class Entry:
    """A movement on its way into the ledger, with who did it."""

    booked: Booked
    unit: str
    actor: str


@dataclass(frozen=True, slots=True)
class Placed:
    """A hold on its way into the database."""

    hold: Hold
    sequence: int
    actor: str


@dataclass(frozen=True, slots=True)
class Lifted:
    """The end of a hold on its way into the database."""

    hold: Hold
    sequence: int
    actor: str
    why: str


@dataclass(frozen=True, slots=True)
class Counted:
    """A result of counting; quantities in the base unit."""

    count_id: UUID
    batch_id: UUID
    spot: Spot
    booked: Decimal
    counted: Decimal
    actor: str
    reason: str
    at: dt.datetime


@dataclass(frozen=True, slots=True)
class Due:
    """A batch at a site that the expiry watch has to look at; `quantity` (base unit) is what still stands there."""

    batch_id: UUID
    site_id: str
    item_id: str
    batch_no: str
    unit: str
    quantity: Decimal
    watched: Watched


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the ledger and what is kept beside it do not say the same.

    `what` is item, batch, site, location, quality, and which of the two: `balance`, in base units, or `sequence`.
    """

    difference_id: UUID
    what: tuple[str, UUID | None, str | None, str | None, str | None, str]
    ledger: Decimal
    kept: Decimal


@dataclass(frozen=True, slots=True)
class Known:
    """An item's numbers and what was booked before."""

    sequences: Mapping[str, int]
    bookings: frozenset[Booking]


@dataclass(frozen=True, slots=True)
class SiteNow:
    """A site that is to be said; `sites` is how many there are."""

    site_id: str
    revision: int
    name: str
    time_zone: str
    set_up: bool
    docks: tuple[str, ...]
    staging: tuple[str, ...]
    sites: int


_PLACES_OF = """
    CASE WHEN bool_or(location.set_up) FILTER (WHERE purpose = '{purpose}')
          AND count(*) FILTER (WHERE purpose = '{purpose}') <= {most}
         THEN jsonb_agg(location_id ORDER BY location_id) FILTER (WHERE purpose = '{purpose}')
         ELSE '[]' END
"""

# Compared as a whole with what was said last, so that whatever changes a site, an older version of ours too, is heard.
_SITES_NOW = f"""
    SELECT site_id, revision, said,
           jsonb_build_object('name', name, 'time_zone', time_zone, 'set_up', set_up,
                              'docks', docks, 'staging', staging) AS words
    FROM site
    CROSS JOIN LATERAL (
        SELECT {_PLACES_OF.format(purpose="receiving", most=MOST_PLACES)} AS docks,
               {_PLACES_OF.format(purpose="staging", most=MOST_PLACES)} AS staging
        FROM zone JOIN location USING (site_id, zone_id)
        WHERE zone.site_id = site.site_id AND purpose IN ('receiving', 'staging')) AS places
    WHERE $1::text[] IS NULL OR site_id = ANY($1)
"""

_UNWATCHED = """
    SELECT DISTINCT balance.batch_id, balance.site_id, balance.item_id, batch.expires_on,
           batch.expires_on - item.near_expiry_days AS near_on
    FROM balance
    JOIN batch USING (batch_id)
    LEFT JOIN item ON item.item_id = balance.item_id
    LEFT JOIN batch_at_site AS watched ON watched.batch_id = balance.batch_id AND watched.site_id = balance.site_id
    WHERE balance.item_id = ANY($1::text[])
      AND batch.expires_on IS NOT NULL
      AND (watched.state IS NULL OR watched.state = 'gone' OR watched.expires_on <> batch.expires_on)
"""

_FACTS = (
    "batch_no, origin, supplier_id, supplier_batch_no, manufactured_on, expires_on, expiry_precision, expiry_source, "
    "best_before, received_on"
)
_FACT_NAMES = _FACTS.split(", ")


class InventoryStore:
    """The state of inventory inside one transaction, whose item keys are locked.

    Statements are prepared once for each connection, perhaps while tables are still empty. `OFFSET 0` keeps a look-up
    by key one, where such a plan would otherwise walk through the whole table ever after.
    """

    def __init__(self, db: Connection) -> None:
        self._db = db

    # What is known

    async def keep_building_still(self, sites: Collection[str]) -> None:
        """Until the commit nobody changes purposes and zones of these sites; many may hold this at once."""
        await self._db.execute(
            """
            SELECT pg_advisory_xact_lock_shared(hashtextextended('building/' || site_id, 0))
            FROM (SELECT DISTINCT unnest($1::text[]) AS site_id ORDER BY site_id) AS in_one_order
            """,
            list(sites),
        )

    async def purposes(self, bins: Collection[Bin]) -> tuple[dict[Bin, Purpose], dict[str, ZoneInfo]]:
        """What these locations are for, and the time zones of their sites; what is unknown is left out."""
        rows = await self._db.fetch(
            """
            SELECT site.site_id, site.time_zone, asked.location_id, zone.purpose
            FROM unnest($1::text[], $2::text[]) AS asked (site_id, location_id)
            JOIN site USING (site_id)
            LEFT JOIN location USING (site_id, location_id)
            LEFT JOIN zone     USING (site_id, zone_id)
            """,
            *columns(bins, 2),
        )
        return (
            {(row["site_id"], row["location_id"]): Purpose(row["purpose"]) for row in rows if row["purpose"]},
            {row["site_id"]: ZoneInfo(row["time_zone"]) for row in rows},
        )

    async def open_bins(self, bins: Mapping[Bin, Purpose]) -> None:
        """Make locations that goods came to and nobody described: in the site's first zone of that purpose."""
        places = [(site_id, location_id, purpose) for (site_id, location_id), purpose in bins.items()]
        await self._db.execute(
            """
            INSERT INTO site (site_id, name, time_zone, set_up)
            SELECT DISTINCT site_id, site_id, 'UTC', false FROM unnest($1::text[]) AS site_id ORDER BY site_id
            ON CONFLICT DO NOTHING
            """,
            [site_id for site_id, _, _ in places],
        )
        await self._db.execute(
            """
            INSERT INTO zone (site_id, zone_id, name, purpose, climate)
            SELECT DISTINCT site_id, 'auto-' || purpose, 'Opened by goods that arrived', purpose, 'ambient'
            FROM unnest($1::text[], $2::text[]) AS wanted (site_id, purpose)
            WHERE NOT EXISTS (SELECT FROM zone WHERE zone.site_id = wanted.site_id AND zone.purpose = wanted.purpose)
            ORDER BY site_id
            ON CONFLICT DO NOTHING
            """,
            *columns(((site_id, purpose) for site_id, _, purpose in places), 2),
        )
        await self._db.execute(
            """
            INSERT INTO location (site_id, location_id, zone_id, set_up)
            SELECT site_id, location_id,
                   (SELECT min(zone_id) FROM zone
                    WHERE zone.site_id = wanted.site_id AND zone.purpose = wanted.purpose),
                   false
            FROM unnest($1::text[], $2::text[], $3::text[]) AS wanted (site_id, location_id, purpose)
            ORDER BY site_id, location_id
            ON CONFLICT DO NOTHING
            """,
            *columns(places, 3),
        )

    async def known(self, items: Collection[str], bookings: Collection[Booking] = ()) -> Known:
        """The last numbers of items, and which lines of business are booked already."""
        rows = await self._db.fetch(
            """
            SELECT item_id AS kind, NULL AS reference, last FROM item_sequence WHERE item_id = ANY($1::text[])
            UNION ALL
            SELECT kind, reference, NULL
            FROM unnest($2::text[], $3::text[]) AS asked (kind, reference)
            WHERE EXISTS (SELECT FROM booking
                          WHERE booking.kind = asked.kind AND booking.reference = asked.reference OFFSET 0)
            """,
            list(items),
            *columns(bookings, 2),
        )
        return Known(
            {row["kind"]: row["last"] for row in rows if row["last"] is not None},
            frozenset((row["kind"], row["reference"]) for row in rows if row["last"] is None),
        )

    async def batches(self, batch_ids: Collection[UUID]) -> dict[UUID, Batch]:
        """Batches by id."""
        rows = await self._db.fetch("SELECT * FROM batch WHERE batch_id = ANY($1::uuid[])", list(batch_ids))
        return {row["batch_id"]: _batch(row) for row in rows}

    async def batches_numbered(self, numbers: Collection[tuple[str, str]]) -> list[Batch]:
        """Batches of items by their own number or by their supplier's, in the order of their making."""
        rows = await self._db.fetch(
            """
            SELECT DISTINCT batch.*
            FROM unnest($1::text[], $2::text[]) AS asked (item_id, number)
            JOIN batch ON batch.item_id = asked.item_id
                      AND asked.number IN (batch.batch_no, batch.supplier_batch_no)
            ORDER BY batch_id
            """,
            *columns(numbers, 2),
        )
        return [_batch(row) for row in rows]

    async def balances(
        self, batches_at: Collection[tuple[UUID, str]]
    ) -> tuple[dict[Column, Decimal], dict[Bin, Purpose]]:
        """Where batches stand at sites, and what those locations are for."""
        rows = await self._db.fetch(
            """
            SELECT asked.batch_id, asked.site_id, there.location_id, there.quality, there.quantity,
                   (SELECT purpose FROM location JOIN zone USING (site_id, zone_id)
                    WHERE location.site_id = asked.site_id AND location.location_id = there.location_id) AS purpose
            FROM (SELECT DISTINCT * FROM unnest($1::uuid[], $2::text[]) AS asked (batch_id, site_id)) AS asked
            CROSS JOIN LATERAL (
                SELECT location_id, quality, quantity FROM balance
                WHERE balance.batch_id = asked.batch_id AND balance.site_id = asked.site_id
                OFFSET 0
            ) AS there
            """,
            *columns(batches_at, 2),
        )
        stock = {
            (row["batch_id"], Spot(row["site_id"], row["location_id"], Quality(row["quality"]))): row["quantity"]
            for row in rows
        }
        return stock, {(row["site_id"], row["location_id"]): Purpose(row["purpose"]) for row in rows}

    async def open_holds(self, batch_ids: Collection[UUID]) -> list[Hold]:
        """The open holds of batches, oldest first."""
        rows = await self._db.fetch(
            "SELECT * FROM hold WHERE batch_id = ANY($1::uuid[]) AND lifted_at IS NULL ORDER BY placed_sequence",
            list(batch_ids),
        )
        return [_hold(row) for row in rows]

    async def items_of_holds(self, hold_ids: Collection[UUID]) -> dict[UUID, tuple[str, UUID]]:
        """The item and batch of each hold, open or not."""
        rows = await self._db.fetch(
            "SELECT hold_id, item_id, batch_id FROM hold WHERE hold_id = ANY($1::uuid[])", list(hold_ids)
        )
        return {row["hold_id"]: (row["item_id"], row["batch_id"]) for row in rows}

    async def numbers_of_holds(self, hold_ids: Collection[UUID]) -> set[tuple[UUID, int]]:
        """Each of these holds with the number under which it was placed, and with that under which it was lifted."""
        rows = await self._db.fetch(
            """
            SELECT hold_id, sequence
            FROM hold CROSS JOIN LATERAL (VALUES (placed_sequence), (lifted_sequence)) AS number (sequence)
            WHERE hold_id = ANY($1::uuid[]) AND sequence IS NOT NULL
            """,
            list(hold_ids),
        )
        return {(row["hold_id"], row["sequence"]) for row in rows}

    async def movements(self, movement_ids: Collection[UUID]) -> dict[UUID, Booked]:
        """Lines of the ledger by id."""
        rows = await self._db.fetch("SELECT * FROM movement WHERE movement_id = ANY($1::uuid[])", list(movement_ids))
        return {row["movement_id"]: booked_of(row) for row in rows}

    async def counts_since(self, asked: Collection[tuple[UUID, dt.datetime]]) -> list[Counted]:
        """What was counted of batches after these times, latest first."""
        rows = await self._db.fetch(
            """
            SELECT DISTINCT count_result.*
            FROM unnest($1::uuid[], $2::timestamptz[]) AS asked (batch_id, since)
            JOIN count_result ON count_result.batch_id = asked.batch_id AND counted_at > since
            ORDER BY counted_at DESC, count_id DESC
            """,
            *columns(asked, 2),
        )
        return [
            Counted(
                row["count_id"],
                row["batch_id"],
                Spot(row["site_id"], row["location_id"], Quality(row["quality"])),
                row["booked"],
                row["counted"],
                row["counted_by"],
                row["reason"],
                row["counted_at"],
            )
            for row in rows
        ]

    async def owed(self, wanted: Collection[tuple[str, str]]) -> list[Owed]:
        """What was consumed of items at sites and is not booked yet, first consumed first."""
        rows = await self._db.fetch(
            """
            SELECT found.*
            FROM unnest($1::text[], $2::text[]) AS asked (item_id, site_id)
            CROSS JOIN LATERAL (
                SELECT consumption_id, item_id, batch_no, supplier_batch_no, site_id, unit, into_item_id, into_batch_no,
                       consumed_at, quantity
                FROM owed_consumption AS owed
                WHERE owed.item_id = asked.item_id AND owed.site_id = asked.site_id AND quantity > 0
                OFFSET 0
            ) AS found
            ORDER BY consumed_at, consumption_id
            """,
            *columns(wanted, 2),
        )
        return [Owed(*row) for row in rows]

    async def climates(self, items: Collection[str]) -> dict[str, Climate]:
        """What defined items need."""
        rows = await self._db.fetch("SELECT item_id, climate FROM item WHERE item_id = ANY($1::text[])", list(items))
        return {row["item_id"]: Climate(row["climate"]) for row in rows}

    async def gtins(self, items: Collection[str]) -> dict[str, frozenset[str]]:
        """The GTINs of defined items."""
        rows = await self._db.fetch("SELECT item_id, gtins FROM item WHERE item_id = ANY($1::text[])", list(items))
        return {row["item_id"]: frozenset(row["gtins"]) for row in rows}

    async def locations(self, bins: Collection[Bin]) -> dict[Bin, Location]:
        """Locations as they are; what stands there is read only where some rule could ask for it."""
        rows = await self._db.fetch(
            """
            SELECT asked.site_id, asked.location_id,
                   zone.purpose, zone.climate, location.capacity, location.single_item,
                   balance.batch_id, balance.item_id, batch.batch_no, balance.quantity
            FROM (SELECT DISTINCT * FROM unnest($1::text[], $2::text[]) AS bin (site_id, location_id)) AS asked
            JOIN location USING (site_id, location_id)
            JOIN zone     USING (site_id, zone_id)
            LEFT JOIN balance ON balance.site_id = asked.site_id
                             AND balance.location_id = asked.location_id
                             AND (zone.purpose = ANY($3::text[]) OR capacity IS NOT NULL OR single_item)
            LEFT JOIN batch ON batch.batch_id = balance.batch_id
            """,
            *columns(bins, 2),
            list(RESTING),
        )
        found: dict[Bin, Location] = {}
        for row in rows:
            place = found.setdefault(
                (row["site_id"], row["location_id"]),
                Location(
                    row["location_id"],
                    Purpose(row["purpose"]),
                    Climate(row["climate"]),
                    row["capacity"],
                    row["single_item"],
                    {},
                ),
            )
            if row["batch_id"] is not None:
                place.change(row["batch_id"], row["item_id"], row["batch_no"], row["quantity"])
        return found

    async def items_of_batches(self, batch_ids: Collection[UUID]) -> dict[UUID, str]:
        """The item of each known batch."""
        rows = await self._db.fetch(
            "SELECT batch_id, item_id FROM batch WHERE batch_id = ANY($1::uuid[])", list(batch_ids)
        )
        return {row["batch_id"]: row["item_id"] for row in rows}

    # What changes

    async def define_items(self, items: Sequence[ItemDefined]) -> None:
        """Keep the newest revision of each item, and let the expiry watch know a changed time of warning."""
        await self._db.execute(
            """
            INSERT INTO item (item_id, name, base_unit, climate, near_expiry_days, gtins, revision)
            SELECT item_id, name, base_unit, climate, near_expiry_days, string_to_array(gtins, ' '), revision
            FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int[], $6::text[], $7::int[])
                 AS defined (item_id, name, base_unit, climate, near_expiry_days, gtins, revision)
            ON CONFLICT (item_id) DO UPDATE
            SET name             = excluded.name,
                base_unit        = excluded.base_unit,
                climate          = excluded.climate,
                near_expiry_days = excluded.near_expiry_days,
                gtins            = excluded.gtins,
                revision         = excluded.revision
            WHERE item.revision < excluded.revision
            """,
            *columns(
                (
                    (
                        item.item_id,
                        item.name,
                        item.base_unit,
                        "ambient" if item.climate is Climate.UNKNOWN else item.climate,
                        item.near_expiry_days,
                        " ".join(alias.gtin for alias in item.gtins),
                        item.revision,
                    )
                    for item in items
                ),
                7,
            ),
        )
        await self._db.execute(
            """
            UPDATE batch_at_site
            SET near_on = expires_on - item.near_expiry_days
            FROM item
            WHERE item.item_id = batch_at_site.item_id
              AND item.item_id = ANY($1::text[])
              AND near_on IS DISTINCT FROM expires_on - item.near_expiry_days
            """,
            [item.item_id for item in items],
        )

    async def keep_batches(self, batches: Sequence[Batch]) -> dict[UUID, Batch]:
        """Keep the newest facts of batches, and of the days of receipt the first; returns them as they are now."""
        rows = await self._db.fetch(
            f"""
            INSERT INTO batch (batch_id, item_id, unit, {_FACTS})
            SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                                 $8::date[], $9::date[], $10::text[], $11::text[], $12::date[], $13::date[])
            ON CONFLICT (batch_id) DO UPDATE
            SET batch_no          = excluded.batch_no,
                origin            = excluded.origin,
                supplier_id       = excluded.supplier_id,
                supplier_batch_no = excluded.supplier_batch_no,
                manufactured_on   = excluded.manufactured_on,
                expires_on        = excluded.expires_on,
                expiry_precision  = excluded.expiry_precision,
                expiry_source     = excluded.expiry_source,
                best_before       = excluded.best_before,
                received_on       = least(batch.received_on, excluded.received_on)
            RETURNING *
            """,
            *columns(
                (
                    (batch.batch_id, batch.item_id, batch.unit, *(getattr(batch.facts, name) for name in _FACT_NAMES))
                    for batch in batches
                ),
                13,
            ),
        )
        return {row["batch_id"]: _batch(row) for row in rows}

    async def write(
        self,
        entries: Sequence[Entry],
        *,
        arrivals: Collection[Arrival],
        sequences: Mapping[str, int],
        bookings: Collection[Booking],
        now: dt.datetime,
    ) -> None:
        """Write movements into the ledger and fold them into the balances, in one statement.

        Also keeps the items' last numbers and the lines of business that this books, and lets the expiry watch see
        batches that arrived. Raises `Faulty`, or a violation of a CHECK, when a balance would fall below zero.

        No part of it may be planned as a walk through a table: it is prepared once, when tables may still be empty.
        """
        if not sequences and not bookings:
            return
        rows = await self._db.fetch(
            """
            WITH line AS MATERIALIZED (
                SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::uuid[], $5::numeric[], $6::text[],
                                     $7::text[], $8::text[], $9::text[], $10::text[], $11::text[],
                                     $12::text[], $13::text[], $14::text[], $15::text[], $16::text[],
                                     $17::text[], $18::text[], $19::text[], $20::text[], $21::timestamptz[],
                                     $22::uuid[])
                         AS line (movement_id, item_id, sequence, batch_id, quantity, unit,
                                  from_kind, from_site_id, from_location_id, from_quality, from_partner_id,
                                  to_kind, to_site_id, to_location_id, to_quality, to_partner_id,
                                  reason, reason_text, reference, actor, effective_at, reverses)
            ), posted AS (
                INSERT INTO movement (movement_id, item_id, sequence, batch_id, quantity, unit,
                                      from_kind, from_site_id, from_location_id, from_quality, from_partner_id,
                                      to_kind, to_site_id, to_location_id, to_quality, to_partner_id,
                                      reason, reason_text, reference, actor, effective_at, reverses, recorded_at)
                SELECT line.*, $31 FROM line
            ), numbered AS (
                INSERT INTO item_sequence (item_id, last)
                SELECT * FROM unnest($23::text[], $24::bigint[])
                ON CONFLICT (item_id) DO UPDATE SET last = excluded.last
            ), guarded AS (
                INSERT INTO booking (kind, reference, booked_at)
                SELECT kind, reference, $31 FROM unnest($25::text[], $26::text[]) AS line_of_business (kind, reference)
            ), arrived AS (
                INSERT INTO batch_at_site (batch_id, site_id, item_id, expires_on, near_on, state)
                SELECT batch_id, site_id, item_id, expires_on,
                       expires_on - (SELECT near_expiry_days FROM item WHERE item.item_id = arrival.item_id), 'watched'
                FROM unnest($27::uuid[], $28::text[], $29::text[], $30::date[])
                     AS arrival (batch_id, site_id, item_id, expires_on)
                ON CONFLICT (batch_id, site_id) DO UPDATE
                SET state = 'watched', expires_on = excluded.expires_on, near_on = excluded.near_on
                WHERE batch_at_site.state = 'gone'
            )
            INSERT INTO balance (batch_id, site_id, location_id, quality, item_id, quantity, last_change)
            SELECT batch_id, site_id, location_id, quality, item_id, abs(sum(change)), sum(change)
            FROM (SELECT batch_id, from_site_id, from_location_id, from_quality, item_id, -quantity
                  FROM line WHERE from_kind = 'location'
                  UNION ALL
                  SELECT batch_id, to_site_id, to_location_id, to_quality, item_id, quantity
                  FROM line WHERE to_kind = 'location')
                 AS side (batch_id, site_id, location_id, quality, item_id, change)
            GROUP BY batch_id, site_id, location_id, quality, item_id
            HAVING sum(change) <> 0
            ON CONFLICT (batch_id, site_id, location_id, quality) DO UPDATE
            SET quantity = balance.quantity + excluded.last_change, last_change = excluded.last_change
            RETURNING CASE WHEN quantity = 0 THEN ctid END AS emptied, xmax = 0 AND last_change < 0 AS was_not_there
            """,
            *columns((_line(entry) for entry in entries), 22),
            list(sequences),
            list(sequences.values()),
            *columns(bookings, 2),
            *columns(arrivals, 4),
            now,
        )
        if any(row["was_not_there"] for row in rows):
            raise Faulty("something would be taken from where nothing stands: nothing was booked")
        emptied = [row["emptied"] for row in rows if row["emptied"] is not None]
        if emptied:
            await self._db.execute("DELETE FROM balance WHERE ctid = ANY($1::tid[])", emptied)

    async def keep_owed(self, owed: Collection[Owed]) -> None:
        """Keep what is still to be booked of consumption that was heard too early."""
        await self._db.execute(
            """
            INSERT INTO owed_consumption (consumption_id, item_id, batch_no, supplier_batch_no, site_id, unit,
                                          into_item_id, into_batch_no, consumed_at, quantity)
            SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                                 $8::text[], $9::timestamptz[], $10::numeric[])
            ON CONFLICT (consumption_id) DO UPDATE SET quantity = excluded.quantity
            """,
            *columns((astuple(each) for each in owed), 10),
        )

    # What is put right, or taken up again after a restore

    async def book(self, bookings: Collection[Booking], now: dt.datetime) -> None:
        """Remember lines of business that took effect without a movement."""
        await self._db.execute(
            """
            INSERT INTO booking (kind, reference, booked_at)
            SELECT kind, reference, $3 FROM unnest($1::text[], $2::text[]) AS line (kind, reference)
            ON CONFLICT DO NOTHING
            """,
            *columns(bookings, 2),
            now,
        )

    async def take_up_sites(self, sites: Collection[SiteDefined]) -> None:
        """Make sites as they were last said, under that revision; what stands in their zones is not told by it."""
        await self._db.execute(
            """
            INSERT INTO site (site_id, name, time_zone, set_up, revision, said)
            SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bool[], $5::int[], $6::jsonb[])
            ON CONFLICT (site_id) DO UPDATE
            SET name = excluded.name, time_zone = excluded.time_zone, set_up = excluded.set_up,
                revision = excluded.revision, said = excluded.said
            WHERE site.revision < excluded.revision
            """,
            *columns(
                (
                    (
                        site.site_id,
                        site.name,
                        site.time_zone,
                        site.set_up,
                        site.revision,
                        site.model_dump(mode="json", include={"name", "time_zone", "set_up", "docks", "staging"}),
                    )
                    for site in sites
                ),
                6,
            ),
        )

    async def reduce_owed(self, booked: Sequence[tuple[UUID, Decimal]]) -> None:
        """What was booked (base units) of consumption that the books had lacked is owed no more."""
        await self._db.execute(
            """
            UPDATE owed_consumption SET quantity = greatest(owed_consumption.quantity - booked.quantity, 0)
            FROM (SELECT consumption_id, sum(quantity) AS quantity
                  FROM unnest($1::uuid[], $2::numeric[]) AS part (consumption_id, quantity)
                  GROUP BY consumption_id) AS booked
            WHERE owed_consumption.consumption_id = booked.consumption_id AND owed_consumption.quantity > 0
            """,
            *columns(booked, 2),
        )

    async def put_balances(self, balances: Sequence[tuple[UUID, str, str, str, str, Decimal]]) -> None:
        """Make balances (batch, site, location, quality, item, base units) what they are said to be; 0 removes one."""
        await self._db.execute(
            """
            WITH said AS MATERIALIZED (
                SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::numeric[])
                         AS said (batch_id, site_id, location_id, quality, item_id, quantity)
            ), emptied AS (
                DELETE FROM balance USING said
                WHERE (balance.batch_id, balance.site_id, balance.location_id, balance.quality)
                    = (said.batch_id, said.site_id, said.location_id, said.quality)
                  AND said.quantity = 0
            )
            INSERT INTO balance (batch_id, site_id, location_id, quality, item_id, quantity, last_change)
            SELECT batch_id, site_id, location_id, quality, item_id, quantity, 0 FROM said WHERE quantity <> 0
            ON CONFLICT (batch_id, site_id, location_id, quality) DO UPDATE
            SET quantity = excluded.quantity, item_id = excluded.item_id
            """,
            *columns(balances, 6),
        )

    async def renumber(self, items: Collection[str]) -> list[tuple[str, int, int]]:
        """Let items go on from the last number in their ledger and holds; returns item, number kept, number now."""
        rows = await self._db.fetch(
            """
            WITH numbered AS (
                SELECT item_id, coalesce(greatest(
                           (SELECT max(sequence)        FROM movement WHERE movement.item_id = asked.item_id),
                           (SELECT max(placed_sequence) FROM hold     WHERE hold.item_id = asked.item_id),
                           (SELECT max(lifted_sequence) FROM hold     WHERE hold.item_id = asked.item_id)), 0) AS last
                FROM unnest($1::text[]) AS asked (item_id)
            ), before AS (
                SELECT numbered.*, coalesce(item_sequence.last, 0) AS kept
                FROM numbered LEFT JOIN item_sequence USING (item_id)
            ), put AS (
                INSERT INTO item_sequence (item_id, last)
                SELECT item_id, last FROM before WHERE last <> kept AND last > 0
                ON CONFLICT (item_id) DO UPDATE SET last = excluded.last
            )
            SELECT item_id, kept, last FROM before WHERE last <> kept AND last > 0 ORDER BY item_id
            """,
            list(items),
        )
        return [(row["item_id"], row["kept"], row["last"]) for row in rows]

    async def unwatched(self, items: Collection[str]) -> set[str]:
        """The items of batches with an expiry that stand at a site where the expiry watch does not know of them."""
        rows = await self._db.fetch(f"SELECT DISTINCT item_id FROM ({_UNWATCHED}) AS unwatched", list(items))
        return {row["item_id"] for row in rows}

    async def watch_unwatched(self, items: Collection[str]) -> list[tuple[UUID, str]]:
        """Let the expiry watch know of every batch of these items where it stands; returns batches and sites."""
        rows = await self._db.fetch(
            f"""
            INSERT INTO batch_at_site (batch_id, site_id, item_id, expires_on, near_on, state)
            SELECT batch_id, site_id, item_id, expires_on, near_on, 'watched' FROM ({_UNWATCHED}) AS unwatched
            ON CONFLICT (batch_id, site_id) DO UPDATE
            SET state = 'watched', expires_on = excluded.expires_on, near_on = excluded.near_on
            RETURNING batch_id, site_id
            """,
            list(items),
        )
        return sorted((row["batch_id"], row["site_id"]) for row in rows)

    async def watch_again(self, batch_ids: Collection[UUID]) -> list[tuple[UUID, str]]:
        """Let the expiry watch begin anew with batches whose expiry was corrected; returns where they stand."""
        await self._db.execute("DELETE FROM batch_at_site WHERE batch_id = ANY($1::uuid[])", list(batch_ids))
        rows = await self._db.fetch(
            """
            INSERT INTO batch_at_site (batch_id, site_id, item_id, expires_on, near_on, state)
            SELECT DISTINCT batch_id, site_id, batch.item_id, expires_on, expires_on - near_expiry_days, 'watched'
            FROM balance
            JOIN batch USING (batch_id)
            LEFT JOIN item ON item.item_id = batch.item_id
            WHERE batch_id = ANY($1::uuid[]) AND expires_on IS NOT NULL
            RETURNING batch_id, site_id
            """,
            list(batch_ids),
        )
        return sorted((row["batch_id"], row["site_id"]) for row in rows)

    async def due(self, days: Mapping[str, dt.date], *, items: Collection[str] | None, limit: int) -> list[Due]:
        """Batches at sites for which today (by site) is late enough that somebody must do something."""
        rows = await self._db.fetch(
            """
            SELECT due.*, batch.batch_no, batch.unit, coalesce(stock.quantity, 0) AS quantity
            FROM unnest($1::text[], $2::date[]) AS day (site_id, today)
            CROSS JOIN LATERAL (
                SELECT * FROM batch_at_site AS each
                WHERE each.site_id = day.site_id AND state IN ('watched', 'near') AND expires_on < today
                UNION
                SELECT * FROM batch_at_site AS each
                WHERE each.site_id = day.site_id AND state = 'watched' AND near_on <= today
            ) AS due
            JOIN batch USING (batch_id)
            LEFT JOIN LATERAL (
                SELECT sum(quantity) AS quantity FROM balance
                WHERE balance.batch_id = due.batch_id AND balance.site_id = due.site_id
            ) AS stock ON true
            WHERE $3::text[] IS NULL OR due.item_id = ANY($3)
            ORDER BY due.expires_on, due.batch_id, due.site_id
            LIMIT $4
            """,
            list(days),
            list(days.values()),
            None if items is None else list(items),
            limit,
        )
        return [
            Due(
                row["batch_id"],
                row["site_id"],
                row["item_id"],
                row["batch_no"],
                row["unit"],
                row["quantity"],
                Watched(row["expires_on"], row["near_on"], near_said=row["state"] != "watched"),
            )
            for row in rows
        ]

    async def settle(self, states: Mapping[tuple[UUID, str], str]) -> None:
        """What the expiry watch has done about batches at sites."""
        await self._db.execute(
            """
            UPDATE batch_at_site SET state = done.state
            FROM unnest($1::uuid[], $2::text[], $3::text[]) AS done (batch_id, site_id, state)
            WHERE batch_at_site.batch_id = done.batch_id AND batch_at_site.site_id = done.site_id
            """,
            *columns(((*where, state) for where, state in states.items()), 3),
        )

    async def time_zones(self, sites: Collection[str] | None = None) -> dict[str, ZoneInfo]:
        """The time zones of these sites, or of all."""
        rows = await self._db.fetch(
            "SELECT site_id, time_zone FROM site WHERE $1::text[] IS NULL OR site_id = ANY($1) ORDER BY site_id",
            None if sites is None else list(sites),
        )
        return {row["site_id"]: ZoneInfo(row["time_zone"]) for row in rows}

    async def change_building(self, sites: Collection[str]) -> None:
        """Wait until nothing moves at these sites, and let nothing move until the commit."""
        await self._db.execute(
            """
            SELECT pg_advisory_xact_lock(hashtextextended('building/' || site_id, 0))
            FROM (SELECT DISTINCT unnest($1::text[]) AS site_id ORDER BY site_id) AS in_one_order
            """,
            list(sites),
        )

    async def put_site(self, site_id: str, name: str, time_zone: str) -> bool:
        """Describe a site; whether it is new."""
        made: bool = await self._db.fetchval(
            """
            INSERT INTO site (site_id, name, time_zone) VALUES ($1, $2, $3)
            ON CONFLICT (site_id) DO UPDATE
            SET name = excluded.name, time_zone = excluded.time_zone, set_up = true
            RETURNING xmax = 0
            """,
            site_id,
            name,
            time_zone,
        )
        return made

    async def unsaid_sites(self) -> list[str]:
        """The sites that are not as they were last said."""
        rows = await self._db.fetch(
            f"SELECT site_id FROM ({_SITES_NOW}) AS site WHERE words IS DISTINCT FROM said", None
        )
        return [row["site_id"] for row in rows]

    async def say_sites(self, sites: Collection[str]) -> list[SiteNow]:
        """Give those of these sites that changed their next revision; their keys are locked."""
        rows = await self._db.fetch(
            f"""
            UPDATE site SET revision = site.revision + 1, said = now.words
            FROM ({_SITES_NOW}) AS now
            WHERE site.site_id = now.site_id AND now.words IS DISTINCT FROM site.said
            RETURNING site.site_id, site.revision, site.said, (SELECT count(*) FROM site) AS sites
            """,
            list(sites),
        )
        return [
            SiteNow(
                row["site_id"],
                row["revision"],
                row["said"]["name"],
                row["said"]["time_zone"],
                row["said"]["set_up"],
                tuple(row["said"]["docks"]),
                tuple(row["said"]["staging"]),
                row["sites"],
            )
            for row in rows
        ]

    async def zone(self, site_id: str, zone_id: str) -> tuple[bool, Purpose | None, Decimal]:
        """Whether the site is known; the zone's purpose, none for a new zone; and how much stands in it."""
        row = await self._db.fetchrow(
            """
            SELECT EXISTS (SELECT FROM site WHERE site_id = $1) AS site_known,
                   (SELECT purpose FROM zone WHERE site_id = $1 AND zone_id = $2) AS purpose,
                   (SELECT coalesce(sum(quantity), 0)
                    FROM location JOIN balance USING (site_id, location_id)
                    WHERE site_id = $1 AND zone_id = $2) AS filled
            """,
            site_id,
            zone_id,
        )
        assert row is not None  # noqa: S101
        return row["site_known"], None if row["purpose"] is None else Purpose(row["purpose"]), row["filled"]

    async def put_zone(self, site_id: str, zone_id: str, name: str, purpose: Purpose, climate: Climate) -> None:
        """Describe a zone of a known site."""
        await self._db.execute(
            """
            INSERT INTO zone (site_id, zone_id, name, purpose, climate) VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (site_id, zone_id) DO UPDATE
            SET name = excluded.name, purpose = excluded.purpose, climate = excluded.climate
            """,
            site_id,
            zone_id,
            name,
            purpose,
            climate,
        )

    async def location(self, site_id: str, location_id: str) -> tuple[str | None, Decimal, int]:
        """A location's zone (none for a new one), how much stands there, and of how many items."""
        row = await self._db.fetchrow(
            """
            SELECT (SELECT zone_id FROM location WHERE site_id = $1 AND location_id = $2) AS zone_id,
                   coalesce(sum(quantity), 0) AS filled, count(DISTINCT item_id) AS items
            FROM balance WHERE site_id = $1 AND location_id = $2
            """,
            site_id,
            location_id,
        )
        assert row is not None  # noqa: S101
        return row["zone_id"], row["filled"], row["items"]

    async def put_location(
        self, site_id: str, location_id: str, zone_id: str, capacity: Decimal | None, *, single_item: bool
    ) -> None:
        """Describe a location in a known zone."""
        await self._db.execute(
            """
            INSERT INTO location (site_id, location_id, zone_id, capacity, single_item) VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (site_id, location_id) DO UPDATE
            SET zone_id = excluded.zone_id, capacity = excluded.capacity, single_item = excluded.single_item,
                set_up = true
            """,
            site_id,
            location_id,
            zone_id,
            capacity,
            single_item,
        )

    async def check_round(self) -> str:
        """The last item that the checker compared in its round."""
        after: str = await self._db.fetchval("SELECT after_item_id FROM check_round FOR UPDATE")
        return after

    async def keep_round(self, after: str, items: int, *, over: bool, now: dt.datetime) -> None:
        """How far the checker came."""
        await self._db.execute(
            """
            UPDATE check_round
            SET after_item_id = $1,
                items_checked = items_checked + $2,
                rounds        = rounds + $3::boolean::int,
                last_round_at = CASE WHEN $3 THEN $4 ELSE last_round_at END,
                last_run_at   = $4
            """,
            after,
            items,
            over,
            now,
        )

    async def keep_differences(
        self, items: Collection[str], found: Sequence[Difference], now: dt.datetime
    ) -> list[Difference]:
        """Keep what differs now for these items, settle what differs no more; returns what is new."""
        await self._db.execute(
            """
            UPDATE ledger_difference SET settled_at = $8
            WHERE settled_at IS NULL AND item_id = ANY($1::text[])
              AND NOT EXISTS (
                  SELECT FROM unnest($2::text[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[])
                              AS still (item_id, batch_id, site_id, location_id, quality, of)
                  WHERE (still.item_id, still.batch_id, still.site_id, still.location_id, still.quality, still.of)
                        IS NOT DISTINCT FROM
                        (ledger_difference.item_id, ledger_difference.batch_id, ledger_difference.site_id,
                         ledger_difference.location_id, ledger_difference.quality, ledger_difference.of))
            """,
            list(items),
            *columns((each.what for each in found), 6),
            now,
        )
        rows = await self._db.fetch(
            """
            INSERT INTO ledger_difference (difference_id, item_id, batch_id, site_id, location_id, quality, of, ledger,
                                           kept, found_at)
            SELECT *, $10
            FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[],
                        $8::numeric[], $9::numeric[])
            ON CONFLICT DO NOTHING
            RETURNING difference_id
            """,
            *columns(((each.difference_id, *each.what, each.ledger, each.kept) for each in found), 9),
            now,
        )
        new = {row["difference_id"] for row in rows}
        return [each for each in found if each.difference_id in new]

    async def place_holds(self, placed: Sequence[Placed], now: dt.datetime) -> None:
        """Keep new holds."""
        await self._db.execute(
            """
            INSERT INTO hold (hold_id, item_id, batch_id, kind, site_id, location_id, reason, reference,
                              placed_sequence, placed_by, placed_at)
            SELECT *, $11
            FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                        $9::bigint[], $10::text[])
            """,
            *columns(
                (
                    (
                        new.hold.hold_id,
                        new.hold.item_id,
                        new.hold.batch_id,
                        new.hold.kind,
                        new.hold.site_id,
                        new.hold.location_id,
                        new.hold.reason,
                        new.hold.reference,
                        new.sequence,
                        new.actor,
                    )
                    for new in placed
                ),
                10,
            ),
            now,
        )

    async def lift_holds(self, lifted: Sequence[Lifted], now: dt.datetime) -> None:
        """End open holds.

        That they are open is said by who lifted them, which no index of the open ones knows: they are found by id.
        """
        await self._db.execute(
            """
            UPDATE hold
            SET lifted_sequence = over.sequence, lifted_by = over.actor, lifted_why = over.why, lifted_at = $5
            FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[]) AS over (hold_id, sequence, actor, why)
            WHERE hold.hold_id = over.hold_id AND hold.lifted_by IS NULL
            """,
            *columns(((over.hold.hold_id, over.sequence, over.actor, over.why) for over in lifted), 4),
            now,
        )

    async def keep_counts(self, counts: Sequence[Counted]) -> None:
        """Keep what was counted, also where it was what the books said."""
        await self._db.execute(
            """
            INSERT INTO count_result (count_id, batch_id, site_id, location_id, quality, booked, counted, counted_by,
                                      reason, counted_at)
            SELECT *
            FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::numeric[], $7::numeric[],
                        $8::text[], $9::text[], $10::timestamptz[])
            """,
            *columns(
                (
                    (
                        count.count_id,
                        count.batch_id,
                        count.spot.site_id,
                        count.spot.location_id,
                        count.spot.quality,
                        count.booked,
                        count.counted,
                        count.actor,
                        count.reason,
                        count.at,
                    )
                    for count in counts
                ),
                10,
            ),
        )


def _batch(row: Any) -> Batch:
    facts = BatchFacts.model_validate({name: row[name] for name in _FACT_NAMES})
    return Batch(row["batch_id"], row["item_id"], row["unit"], facts)


def _hold(row: Any) -> Hold:
    return Hold(
        row["hold_id"],
        row["item_id"],
        row["batch_id"],
        HoldKind(row["kind"]),
        row["reason"],
        row["site_id"],
        row["location_id"],
        row["reference"],
    )


def _end(end: End) -> tuple[str | None, ...]:
    if isinstance(end, Spot):
        return (PlaceKind.LOCATION, end.site_id, end.location_id, end.quality, None)
    return (end.kind, None, None, None, end.partner_id)


def _line(entry: Entry) -> tuple[object, ...]:
    booked, movement = entry.booked, entry.booked.movement
    return (
        booked.movement_id,
        movement.item_id,
        booked.sequence,
        movement.batch_id,
        movement.quantity,
        entry.unit,
        *_end(movement.source),
        *_end(movement.target),
        movement.reason,
        movement.reason_text,
        movement.reference,
        entry.actor,
        movement.effective_at,
        movement.reverses,
    )


def booked_of(row: Any) -> Booked:
    """A row of `movement`."""

    def end(side: str) -> End:
        kind = PlaceKind(row[f"{side}_kind"])
        if kind is PlaceKind.LOCATION:
            return Spot(row[f"{side}_site_id"], row[f"{side}_location_id"], Quality(row[f"{side}_quality"]))
        return Outside(kind, row[f"{side}_partner_id"])

    movement = Movement(
        item_id=row["item_id"],
        batch_id=row["batch_id"],
        quantity=row["quantity"],
        source=end("from"),
        target=end("to"),
        reason=MovementReason(row["reason"]),
        effective_at=row["effective_at"],
        reference=row["reference"],
        reason_text=row["reason_text"],
        reverses=row["reverses"],
    )
    return Booked(row["movement_id"], row["sequence"], row["recorded_at"], movement)
