"""All SQL that only reads: stock now and at other times, the ledger, holds, the building, the checker's comparison."""

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson

from contracts.values import Climate, HoldKind, Place, PlaceKind, Purpose, Quality
from delivery import Connection, Pool, snapshot
from services.inventory.domain.expiry import days_left, is_expired, local_day
from services.inventory.domain.holds import Hold, covering
from services.inventory.domain.ledger import NOTHING, Spot
from services.inventory.domain.matrix import MATRIX, USABLE_AT, Allowed, Operation, Status, allows, statuses
from services.inventory.domain.put_away import Shelf
from services.inventory.views import (
    CheckView,
    CountLine,
    DifferenceView,
    HoldOnStock,
    HoldView,
    LocationView,
    MovementView,
    SiteView,
    StockView,
    ZoneView,
)

# Stock


@dataclass(frozen=True, slots=True)
class StockAsked:
    """Which stock, and at what time: `as_of` when it happened, `known_at` when it was learnt; none is now."""

    item_id: str | None = None
    batch_id: UUID | None = None
    batch_no: str | None = None
    site_id: str | None = None
    location_id: str | None = None
    quality: Quality | None = None
    as_of: dt.datetime | None = None
    known_at: dt.datetime | None = None

    @property
    def earlier(self) -> bool:
        """Whether the ledger has to answer: balances only know now."""
        return self.as_of is not None or self.known_at is not None


_NOW = """
    SELECT item_id, batch_id, site_id, location_id, quality, quantity
    FROM balance
    WHERE $10::timestamptz IS NULL AND $11::timestamptz IS NULL
"""

_EARLIER = """
    SELECT item_id, batch_id, site_id, location_id, quality, sum(change) AS quantity
    FROM (SELECT item_id, batch_id, from_site_id, from_location_id, from_quality, -quantity, effective_at, recorded_at
          FROM movement WHERE from_kind = 'location'
          UNION ALL
          SELECT item_id, batch_id, to_site_id, to_location_id, to_quality, quantity, effective_at, recorded_at
          FROM movement WHERE to_kind = 'location')
         AS side (item_id, batch_id, site_id, location_id, quality, change, effective_at, recorded_at)
    WHERE ($10::timestamptz IS NULL OR effective_at <= $10)
      AND ($11::timestamptz IS NULL OR recorded_at <= $11)
      AND ($1::text IS NULL OR item_id = $1)
      AND ($2::uuid IS NULL OR batch_id = $2)
    GROUP BY item_id, batch_id, site_id, location_id, quality
    HAVING sum(change) <> 0
"""

StockKey = tuple[str, UUID, str, str, str]
"""The order of stock: item, batch, site, location, quality."""


async def stock(
    pool: Pool, asked: StockAsked, now: dt.datetime, *, after: StockKey | None = None, limit: int
) -> list[StockView]:
    """Stock by batch, location and quality, in the order of `StockKey`."""
    moment = asked.as_of or asked.known_at or now
    async with snapshot(pool) as db:
        rows = await db.fetch(
            f"""
            SELECT stock.item_id, stock.batch_id, stock.site_id, stock.location_id, stock.quality, stock.quantity,
                   batch.batch_no, batch.unit, batch.expires_on, batch.received_on, zone.purpose, site.time_zone
            FROM ({_EARLIER if asked.earlier else _NOW}) AS stock
            JOIN batch    USING (batch_id)
            JOIN site     USING (site_id)
            JOIN location USING (site_id, location_id)
            JOIN zone     USING (site_id, zone_id)
            WHERE ($1::text IS NULL OR stock.item_id = $1)
              AND ($2::uuid IS NULL OR stock.batch_id = $2)
              AND ($3::text IS NULL OR batch.batch_no = $3)
              AND ($4::text IS NULL OR stock.site_id = $4)
              AND ($5::text IS NULL OR stock.location_id = $5)
              AND ($6::text IS NULL OR stock.quality = $6)
              AND ($7::text IS NULL OR (stock.item_id, stock.batch_id, stock.site_id, stock.location_id, stock.quality)
                                     > ($7, $8::uuid, $9, $13, $14))
            ORDER BY stock.item_id, stock.batch_id, stock.site_id, stock.location_id, stock.quality
            LIMIT $12
            """,
            asked.item_id,
            asked.batch_id,
            asked.batch_no,
            asked.site_id,
            asked.location_id,
            asked.quality,
            *(after[:3] if after else (None,) * 3),
            asked.as_of,
            asked.known_at,
            limit,
            *(after[3:] if after else (None,) * 2),
        )
        holds = await _holds_at(db, {row["batch_id"] for row in rows}, moment if asked.earlier else None)
    zones = {name: ZoneInfo(name) for name in {row["time_zone"] for row in rows}}
    return [
        _stock_view(row, holds.get(row["batch_id"], []), local_day(moment, zones[row["time_zone"]])) for row in rows
    ]


def _stock_view(row: Any, holds: Sequence[Hold], today: dt.date) -> StockView:
    spot = Spot(row["site_id"], row["location_id"], Quality(row["quality"]))
    standing = covering(holds, row["batch_id"], spot)
    words = statuses(
        spot.quality, (hold.kind for hold in standing), expired=is_expired(row["expires_on"], today)
    )  # fmt: skip
    free = allows(words, Operation.RESERVE) is Allowed.YES and Purpose(row["purpose"]) in USABLE_AT
    return StockView(
        item_id=row["item_id"],
        batch_id=row["batch_id"],
        batch_no=row["batch_no"],
        site_id=spot.site_id,
        location_id=spot.location_id,
        purpose=Purpose(row["purpose"]),
        quality=spot.quality,
        quantity=row["quantity"],
        unit=row["unit"],
        usable=max(row["quantity"], NOTHING) if free else NOTHING,
        status=[word for word in Status if word in words],
        expires_on=row["expires_on"],
        days_left=days_left(row["expires_on"], today),
        received_on=row["received_on"],
        holds=[
            HoldOnStock(
                hold_id=hold.hold_id,
                kind=hold.kind,
                reason=hold.reason,
                site_id=hold.site_id,
                location_id=hold.location_id,
            )
            for hold in standing
        ],
    )


async def _holds_at(db: Connection, batch_ids: Collection[UUID], moment: dt.datetime | None) -> dict[UUID, list[Hold]]:
    """The holds of batches that were open at a moment, or are."""
    rows = await db.fetch(
        """
        SELECT * FROM hold
        WHERE batch_id = ANY($1::uuid[])
          AND CASE WHEN $2::timestamptz IS NULL THEN lifted_at IS NULL
                   ELSE placed_at <= $2 AND (lifted_at IS NULL OR lifted_at > $2) END
        ORDER BY placed_sequence
        """,
        list(batch_ids),
        moment,
    )
    found: dict[UUID, list[Hold]] = {}
    for row in rows:
        found.setdefault(row["batch_id"], []).append(
            Hold(
                row["hold_id"],
                row["item_id"],
                row["batch_id"],
                HoldKind(row["kind"]),
                row["reason"],
                row["site_id"],
                row["location_id"],
                row["reference"],
            )
        )
    return found


_RESERVABLE = [status.value for status in Status if MATRIX[status][Operation.RESERVE] is Allowed.YES]


async def item_stock(pool: Pool, item_id: str, now: dt.datetime, site_id: str | None) -> bytes:
    """An item's stock by batch and site, as the JSON of `ItemStockView`.

    Ten thousand batches in one answer: the database adds up and writes the text itself, since rows that only pass
    through Python cost as much again. What "usable" means is the matrix, handed in; nothing is decided here.
    """
    async with snapshot(pool) as db:
        zones = await db.fetch("SELECT site_id, time_zone FROM site WHERE $1::text IS NULL OR site_id = $1", site_id)
        days = {row["site_id"]: local_day(now, ZoneInfo(row["time_zone"])) for row in zones}
        found = await db.fetchrow(
            """
            WITH held AS MATERIALIZED (
                SELECT batch_id, site_id, location_id FROM hold WHERE item_id = $1 AND lifted_at IS NULL
            ), place AS MATERIALIZED (
                SELECT site_id, to_json(site_id)::text COLLATE "C" AS site, location_id, today,
                       purpose = ANY($3::text[]) AS open
                FROM unnest($4::text[], $5::date[]) AS day (site_id, today)
                JOIN zone     USING (site_id)
                JOIN location USING (site_id, zone_id)
            ), line AS (
                SELECT batch_id, site, quality, quantity, batch_no COLLATE "C" AS batch_no, expires_on, unit,
                       quality = ANY($2::text[]) AND open AND expires_on < today IS NOT TRUE AS reservable,
                       batch_id IN (SELECT batch_id FROM held WHERE site_id IS NULL)
                       OR (batch_id, site_id) IN (SELECT batch_id, site_id FROM held WHERE location_id IS NULL)
                       OR (batch_id, site_id, location_id) IN (SELECT batch_id, site_id, location_id FROM held) AS held
                FROM balance
                JOIN place USING (site_id, location_id)
                JOIN (SELECT batch_id, batch_no, expires_on, unit FROM batch WHERE item_id = $1) AS batch
                     USING (batch_id)
                WHERE item_id = $1
                OFFSET 0  -- so that `held` is looked up once a line
            ), known AS (
                -- Grouped in the order of the answer, so that lines are sorted once and batches not again.
                SELECT batch_id, site, batch_no, expires_on, min(unit) AS unit,
                       sum(quantity)                                                             AS on_hand,
                       coalesce(sum(quantity) FILTER (WHERE quality = 'pending'), 0)             AS pending,
                       coalesce(sum(quantity) FILTER (WHERE quality = 'released'), 0)            AS released,
                       coalesce(sum(quantity) FILTER (WHERE quality = 'rejected'), 0)            AS rejected,
                       coalesce(sum(quantity) FILTER (WHERE reservable AND held IS NOT TRUE), 0) AS usable,
                       coalesce(bool_or(held), false)                                            AS held,
                       count(*)                                                                  AS spots
                FROM line
                GROUP BY expires_on, batch_no, batch_id, site
                ORDER BY expires_on, batch_no, batch_id, site
            )
            SELECT min(unit) AS unit, coalesce(sum(on_hand), 0) AS on_hand, coalesce(sum(usable), 0) AS usable,
                   (SELECT last FROM item_sequence WHERE item_id = $1) AS sequence,
                   string_agg(concat('{"batch_id":"',   batch_id,
                                   '","batch_no":',   to_json(batch_no),
                                   ',"site_id":',     site,
                                   -- The driver keeps the first and the last day of the calendar as infinite ones.
                                   ',"expires_on":',  CASE WHEN expires_on IS NULL THEN 'null' ELSE concat(
                                       '"', greatest(least(expires_on, '9999-12-31'), '0001-01-01'), '"') END,
                                   ',"on_hand":"',    on_hand,
                                   '","pending":"',   pending,
                                   '","released":"',  released,
                                   '","rejected":"',  rejected,
                                   '","usable":"',    usable,
                                   CASE WHEN held THEN '","held":true' ELSE '","held":false' END,
                                   ',"spots":',       spots, '}'), ',') AS batches
            FROM known
            """,
            item_id,
            _RESERVABLE,
            list(USABLE_AT),
            list(days),
            list(days.values()),
        )
    assert found is not None  # noqa: S101
    head = {
        "item_id": item_id,
        "unit": found["unit"],
        "sequence": found["sequence"] or 0,
        "on_hand": format(found["on_hand"], "f"),
        "usable": format(found["usable"], "f"),
    }
    return b'%b,"batches":[%b]}' % (orjson.dumps(head)[:-1], (found["batches"] or "").encode())


async def count_lines(db: Pool, site_id: str, zone_id: str | None, limit: int) -> list[CountLine]:
    """What the books have at a site, to be counted: what expires first first, then by location and batch."""
    rows = await db.fetch(
        """
        SELECT balance.location_id, balance.item_id, balance.batch_id, batch.batch_no, balance.quality,
               balance.quantity, batch.unit, batch.expires_on
        FROM balance
        JOIN batch    USING (batch_id)
        JOIN location USING (site_id, location_id)
        WHERE balance.site_id = $1 AND ($2::text IS NULL OR location.zone_id = $2)
        ORDER BY batch.expires_on NULLS LAST, balance.location_id, balance.batch_id, balance.quality
        LIMIT $3
        """,
        site_id,
        zone_id,
        limit,
    )
    return [CountLine.model_validate(dict(row)) for row in rows]


# The ledger


@dataclass(frozen=True, slots=True)
class LinesAsked:
    """Which lines of the ledger; at least one of the first three is set. A location is named with its site."""

    item_id: str | None = None
    batch_id: UUID | None = None
    location_id: str | None = None
    site_id: str | None = None
    reference: str | None = None


LineKey = tuple[str, int]
"""The order of ledger lines: the item, then its sequence; never a clock."""


async def movements(db: Pool, asked: LinesAsked, after: LineKey | None, limit: int) -> list[MovementView]:
    """Lines of the ledger in the order of `LineKey`."""
    rows = await db.fetch(
        """
        SELECT *
        FROM movement
        WHERE ($1::text IS NULL OR item_id = $1)
          AND ($2::uuid IS NULL OR batch_id = $2)
          AND ($3::text IS NULL OR (from_site_id = $4 AND from_location_id = $3)
                                OR (to_site_id = $4 AND to_location_id = $3))
          AND ($5::text IS NULL OR reference = $5)
          AND ($6::text IS NULL OR (item_id, sequence) > ($6, $7::bigint))
        ORDER BY item_id, sequence
        LIMIT $8
        """,
        asked.item_id,
        asked.batch_id,
        asked.location_id,
        asked.site_id,
        asked.reference,
        *(after or (None, None)),
        limit,
    )
    return [_movement_view(row) for row in rows]


def _movement_view(row: Any) -> MovementView:
    def place(side: str) -> Place:
        quality = row[f"{side}_quality"]
        return Place(
            kind=PlaceKind(row[f"{side}_kind"]),
            site_id=row[f"{side}_site_id"],
            location_id=row[f"{side}_location_id"],
            quality=Quality(quality) if quality else None,
            partner_id=row[f"{side}_partner_id"],
        )

    known = {name: row[name] for name in MovementView.model_fields if name not in ("from_place", "to_place")}
    return MovementView(from_place=place("from"), to_place=place("to"), **known)


async def sequence(db: Pool, item_id: str) -> int:
    """An item's last number; 0 before anything moved."""
    last: int | None = await db.fetchval("SELECT last FROM item_sequence WHERE item_id = $1", item_id)
    return last or 0


# Holds


async def holds(
    db: Pool, *, batch_id: UUID | None, item_id: str | None, only_open: bool | None, after: UUID | None, limit: int
) -> list[HoldView]:
    """Holds by id, which is the order in which they were placed."""
    rows = await db.fetch(
        """
        SELECT * FROM hold
        WHERE ($1::uuid IS NULL OR batch_id = $1)
          AND ($2::text IS NULL OR item_id = $2)
          AND ($3::boolean IS NULL OR (lifted_at IS NULL) = $3)
          AND ($4::uuid IS NULL OR hold_id > $4)
        ORDER BY hold_id
        LIMIT $5
        """,
        batch_id,
        item_id,
        only_open,
        after,
        limit,
    )
    return [HoldView.model_validate(dict(row)) for row in rows]


# The building


async def sites(db: Pool) -> list[SiteView]:
    """Every site."""
    return [SiteView.model_validate(dict(row)) for row in await db.fetch("SELECT * FROM site ORDER BY site_id")]


async def zones(db: Pool, site_id: str) -> list[ZoneView]:
    """The zones of a site."""
    rows = await db.fetch("SELECT * FROM zone WHERE site_id = $1 ORDER BY zone_id", site_id)
    return [ZoneView.model_validate(dict(row)) for row in rows]


async def locations(
    db: Pool, site_id: str, *, zone_id: str | None, only: str | None, after: str, limit: int
) -> list[LocationView]:
    """The locations of a site, with what stands there."""
    rows = await db.fetch(
        """
        SELECT location.*, zone.purpose, zone.climate,
               (SELECT coalesce(sum(quantity), 0) FROM balance
                WHERE balance.site_id = location.site_id AND balance.location_id = location.location_id) AS filled
        FROM location
        JOIN zone USING (site_id, zone_id)
        WHERE location.site_id = $1
          AND ($2::text IS NULL OR zone_id = $2)
          AND ($3::text IS NULL OR location_id = $3)
          AND location_id > $4
        ORDER BY location_id
        LIMIT $5
        """,
        site_id,
        zone_id,
        only,
        after,
        limit,
    )
    return [LocationView.model_validate(dict(row)) for row in rows]


@dataclass(frozen=True, slots=True)
class ToPutAway:
    """A batch as a proposal needs it."""

    item_id: str
    batch_no: str
    climate: Climate | None


async def to_put_away(db: Pool, batch_id: UUID) -> ToPutAway | None:
    """What a proposal must know of a batch; None for an unknown one."""
    row = await db.fetchrow(
        "SELECT item_id, batch_no, climate FROM batch LEFT JOIN item USING (item_id) WHERE batch_id = $1", batch_id
    )
    if row is None:
        return None
    return ToPutAway(row["item_id"], row["batch_no"], Climate(row["climate"]) if row["climate"] else None)


async def standing(db: Pool, batch_id: UUID, spot: Spot) -> Decimal:
    """How much of a batch stands at a spot."""
    found: Decimal | None = await db.fetchval(
        "SELECT quantity FROM balance WHERE (batch_id, site_id, location_id, quality) = ($1, $2, $3, $4)",
        batch_id,
        spot.site_id,
        spot.location_id,
        spot.quality,
    )
    return found or NOTHING


async def shelves(db: Pool, site_id: str, item_id: str, batch_id: UUID) -> list[Shelf]:
    """Every location of a site as a batch of an item would find it."""
    return [shelf_of(row) for row in await db.fetch(SHELVES, site_id, None, item_id, batch_id)]


SHELVES = """
SELECT location.location_id, zone.purpose, zone.climate, location.capacity, location.single_item,
       coalesce(inside.filled, 0)            AS filled,
       coalesce(inside.same_batch, false)    AS holds_same_batch,
       coalesce(inside.other_batches, '{}')  AS other_batches,
       coalesce(inside.other_items, '{}')    AS other_items
FROM location
JOIN zone USING (site_id, zone_id)
LEFT JOIN LATERAL (
    SELECT sum(balance.quantity)         AS filled,
           bool_or(balance.batch_id = $4) AS same_batch,
           array_agg(DISTINCT batch.batch_no)
               FILTER (WHERE balance.item_id = $3 AND balance.batch_id <> $4) AS other_batches,
           array_agg(DISTINCT balance.item_id) FILTER (WHERE balance.item_id <> $3) AS other_items
    FROM balance
    JOIN batch USING (batch_id)
    WHERE balance.site_id = location.site_id AND balance.location_id = location.location_id
) AS inside ON true
WHERE location.site_id = $1 AND ($2::text[] IS NULL OR location.location_id = ANY($2))
ORDER BY location.location_id
"""
"""Locations as the goods ($3 item, $4 batch) would find them: those of a site, or some of them."""


def shelf_of(row: Any) -> Shelf:
    """A row of `SHELVES`."""
    return Shelf(
        location_id=row["location_id"],
        purpose=Purpose(row["purpose"]),
        climate=Climate(row["climate"]),
        capacity=row["capacity"],
        single_item=row["single_item"],
        filled=row["filled"],
        holds_same_batch=row["holds_same_batch"],
        other_batches=tuple(row["other_batches"]),
        other_items=tuple(row["other_items"]),
    )


# The checker


async def slice_after(db: Connection, after: str, lines: int) -> list[str]:
    """The next items after one, as many as have `lines` ledger lines together, at least one."""
    rows = await db.fetch(
        """
        SELECT item_id
        FROM (SELECT item_id, last, sum(last) OVER (ORDER BY item_id) AS lines
              FROM (SELECT * FROM item_sequence WHERE item_id > $1 ORDER BY item_id LIMIT 5000) AS following) AS counted
        WHERE lines - last < $2
        ORDER BY item_id
        """,
        after,
        lines,
    )
    return [row["item_id"] for row in rows]


async def items_after(db: Connection, after: str, limit: int) -> list[str]:
    """The next items after one that ledger, holds, balances or numbers speak of: each found by an index, not a walk."""
    rows = await db.fetch(
        """
        WITH RECURSIVE following (n, item_id) AS (
            SELECT 0, $1::text
            UNION ALL
            SELECT n + 1, least((SELECT min(item_id) FROM movement      WHERE item_id > following.item_id),
                                (SELECT min(item_id) FROM hold          WHERE item_id > following.item_id),
                                (SELECT min(item_id) FROM balance       WHERE item_id > following.item_id),
                                (SELECT min(item_id) FROM item_sequence WHERE item_id > following.item_id))
            FROM following WHERE n < $2 AND item_id IS NOT NULL
        )
        SELECT item_id FROM following WHERE n > 0 AND item_id IS NOT NULL ORDER BY n
        """,
        after,
        limit,
    )
    return [row["item_id"] for row in rows]


async def differences(db: Connection, items: Collection[str]) -> list[tuple[Any, ...]]:
    """Where ledger and books differ for items: item, batch, site, location, quality, of what, by the ledger, as kept.

    One statement sees one moment, and ledger and balances change in one transaction: what differs here is wrong.
    """
    rows = await db.fetch(
        """
        WITH folded AS (
            SELECT item_id, batch_id, site_id, location_id, quality, sum(change) AS quantity
            FROM (SELECT item_id, batch_id, from_site_id, from_location_id, from_quality, -quantity
                  FROM movement WHERE from_kind = 'location' AND item_id = ANY($1::text[])
                  UNION ALL
                  SELECT item_id, batch_id, to_site_id, to_location_id, to_quality, quantity
                  FROM movement WHERE to_kind = 'location' AND item_id = ANY($1::text[]))
                 AS side (item_id, batch_id, site_id, location_id, quality, change)
            GROUP BY item_id, batch_id, site_id, location_id, quality
            HAVING sum(change) <> 0
        ), kept AS (
            SELECT * FROM balance WHERE item_id = ANY($1::text[])
        ), numbered AS (
            SELECT item_id, count(*) AS lines, max(sequence) AS last
            FROM (SELECT item_id, sequence        FROM movement WHERE item_id = ANY($1::text[])
                  UNION ALL
                  SELECT item_id, placed_sequence FROM hold     WHERE item_id = ANY($1::text[])
                  UNION ALL
                  SELECT item_id, lifted_sequence FROM hold
                  WHERE item_id = ANY($1::text[]) AND lifted_at IS NOT NULL)
                 AS number
            GROUP BY item_id
        )
        SELECT item_id, batch_id, site_id, location_id, quality, 'balance',
               coalesce(folded.quantity, 0), coalesce(kept.quantity, 0)
        FROM folded FULL JOIN kept USING (item_id, batch_id, site_id, location_id, quality)
        WHERE folded.quantity IS DISTINCT FROM kept.quantity
        UNION ALL
        SELECT item_id, NULL, NULL, NULL, NULL, 'sequence',
               coalesce(CASE WHEN numbered.last = item_sequence.last THEN lines ELSE numbered.last END, 0)::numeric,
               item_sequence.last::numeric
        FROM item_sequence
        LEFT JOIN numbered USING (item_id)
        WHERE item_id = ANY($1::text[])
          AND (lines, numbered.last) IS DISTINCT FROM (item_sequence.last, item_sequence.last)
        """,
        list(items),
    )
    return [tuple(row) for row in rows]


async def open_differences(db: Connection) -> int:
    """How many differences are open."""
    found: int = await db.fetchval("SELECT count(*) FROM ledger_difference WHERE settled_at IS NULL")
    return found


async def last_check(db: Pool | Connection) -> CheckView:
    """How the checker stands."""
    round_ = await db.fetchrow("SELECT * FROM check_round")
    rows = await db.fetch(
        "SELECT * FROM ledger_difference WHERE settled_at IS NULL ORDER BY found_at, difference_id LIMIT 100"
    )
    assert round_ is not None  # noqa: S101
    return CheckView(
        holds=not rows,
        rounds=round_["rounds"],
        items_checked=round_["items_checked"],
        last_run_at=round_["last_run_at"],
        last_round_at=round_["last_round_at"],
        differences=[DifferenceView.model_validate(dict(row)) for row in rows],
    )
