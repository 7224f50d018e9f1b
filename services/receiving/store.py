"""All SQL that changes receiving's state, and the loading that its decisions need."""

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

import asyncpg
from pydantic import TypeAdapter

from contracts.integration import ItemDefined, PartnerDefined, PartnerRole, UniqueWithin
from contracts.inventory import SiteDefined
from contracts.values import DatePrecision, DateSource, Origin
from delivery import Connection, Work, Write, columns, write_together
from services.receiving.announcing import read_back
from services.receiving.domain.batches import Batch, Facts
from services.receiving.domain.expected import Expected, ExpectedStatus
from services.receiving.domain.inspection import Record
from services.receiving.domain.items import Alias, Item, plain
from services.receiving.domain.lines import Partner
from services.receiving.domain.numbering import NumberPattern, SeriesExhausted
from services.receiving.domain.sites import Site, Sites
from services.receiving.rows import Arrival, Changes, ReceiptRow, SettlementRow

_arrival = TypeAdapter(Arrival)


@dataclass(frozen=True, slots=True)
class OpenConflict:
    """A conflict as it stands; `decision` is None while it waits for a person."""

    conflict_id: UUID
    receipt_id: UUID
    line_no: int
    item_id: str
    batch_id: UUID
    site_id: str
    claimed: Facts
    differs: tuple[str, ...]
    arrival: Arrival
    decision: str | None
    settled_by: str | None


@dataclass(frozen=True, slots=True)
class SeriesWish:
    """Numbers that are wanted: `count` of them, for one item, day and supplier."""

    item_id: str
    on: dt.date
    supplier_id: str | None
    count: int


class FreeNumbers:
    """Numbers that nobody has, in order, by item and series; what is taken is remembered for the counters."""

    def __init__(
        self,
        pattern: NumberPattern,
        free: Mapping[tuple[str, str], list[tuple[int, str]]],
        exhausted: Mapping[tuple[str, str], str],
    ) -> None:
        self._pattern = pattern
        self._exhausted = exhausted
        self._free = {name: list(numbers) for name, numbers in free.items()}
        self._taken: dict[str, set[str]] = defaultdict(set)

    def next(self, item_id: str, on: dt.date, supplier_id: str | None) -> str | None:
        """The next number, without taking it; None when none was asked for or none is left."""
        waiting = self._free.get((item_id, self._pattern.series(on, supplier_id)), [])
        # Two suppliers' codes may shorten to the same, and a number may have been typed a moment ago.
        while waiting and waiting[0][1] in self._taken[item_id]:
            waiting.pop(0)
        return waiting[0][1] if waiting else None

    def exhausted(self, item_id: str, on: dt.date, supplier_id: str | None) -> str | None:
        """Why a series has no more numbers, if it has none."""
        return self._exhausted.get((item_id, self._pattern.series(on, supplier_id)))

    def block(self, item_id: str, batch_no: str) -> None:
        """Somebody else took this number in the same transaction."""
        self._taken[item_id].add(batch_no)

    def take(self, item_id: str, on: dt.date, supplier_id: str | None, changes: Changes, by: str) -> str | None:
        """Take what `next` gives, and let the counter follow."""
        if self.next(item_id, on, supplier_id) is None:
            return None
        name = (item_id, self._pattern.series(on, supplier_id))
        sequence, batch_no = self._free[name].pop(0)
        self._taken[item_id].add(batch_no)
        changes.series[name] = sequence
        changes.issued.append((item_id, batch_no, by))
        return batch_no


class ReceivingStore:
    """Loads what a decision needs and saves what it changed, in the caller's transaction.

    Nothing is asked of the database about nothing: half of a small transaction is the way there and back.
    """

    def __init__(self, db: Connection) -> None:
        self._db = db

    # What decisions need -------------------------------------------------------------------------------------------

    async def expected(self, ids: Collection[UUID]) -> dict[UUID, Expected]:
        """Expected receipts by id."""
        if not ids:
            return {}
        rows = await self._db.fetch(
            "SELECT * FROM expected_receipt WHERE expected_receipt_id = ANY($1::uuid[])", [*ids]
        )
        return {row["expected_receipt_id"]: expected_of(row) for row in rows}

    async def expected_openly(self, where: Collection[tuple[str, str, str | None]]) -> list[Expected]:
        """What is still expected of each item and site, from each supplier or from nobody in particular; due first.

        Few: what one supplier has yet to bring of one item, or production of its own.
        """
        if not where:
            return []
        rows = await self._db.fetch(
            """
            SELECT DISTINCT expected_receipt.*
            FROM unnest($1::text[], $2::text[], $3::text[]) AS asked (item_id, site_id, supplier_id)
            JOIN expected_receipt USING (item_id, site_id)
            WHERE status IN ('open', 'partly')
              AND (partner_id IS NULL OR partner_id = asked.supplier_id)
            ORDER BY due_on, expected_receipt_id
            """,
            *columns(where, 3),
        )
        return [expected_of(row) for row in rows]

    async def aliases(self, gtins: Collection[str]) -> dict[str, tuple[Alias, ...]]:
        """Which items a GTIN names, active ones only where there are any."""
        if not gtins:
            return {}
        rows = await self._db.fetch(
            """
            SELECT gtin, item_id, unit, active
            FROM item_gtin JOIN item USING (item_id)
            WHERE gtin = ANY($1::text[])
            ORDER BY gtin, item_id
            """,
            [*gtins],
        )
        found: dict[str, tuple[Alias, ...]] = {}
        for gtin in {row["gtin"] for row in rows}:
            mine = [row for row in rows if row["gtin"] == gtin]
            mine = [row for row in mine if row["active"]] or mine
            found[gtin] = tuple(Alias(gtin, row["item_id"], row["unit"]) for row in mine)
        return found

    async def items(self, ids: Collection[str]) -> dict[str, Item]:
        """Items by code, with their units."""
        rows = await self._db.fetch(
            """
            SELECT item.*,
                   coalesce(array_agg(unit ORDER BY unit)        FILTER (WHERE unit IS NOT NULL), '{}') AS units,
                   coalesce(array_agg(numerator ORDER BY unit)   FILTER (WHERE unit IS NOT NULL), '{}') AS numerators,
                   coalesce(array_agg(denominator ORDER BY unit) FILTER (WHERE unit IS NOT NULL), '{}') AS denominators
            FROM item LEFT JOIN item_unit USING (item_id)
            WHERE item_id = ANY($1::text[])
            GROUP BY item.item_id
            """,
            [*ids],
        )
        return {
            row["item_id"]: Item(
                item_id=row["item_id"],
                name=row["name"],
                base_unit=row["base_unit"],
                units={
                    unit: Fraction(numerator, denominator)
                    for unit, numerator, denominator in zip(
                        row["units"], row["numerators"], row["denominators"], strict=True
                    )
                },
                shelf_life_days=row["shelf_life_days"],
                expiry_required=row["expiry_required"],
                min_days_at_receipt=row["min_days_at_receipt"],
                min_percent_at_receipt=row["min_percent_at_receipt"],
                inspection_required=row["inspection_required"],
                unique_within=UniqueWithin(row["batch_no_unique_within"]),
                active=row["active"],
            )
            for row in rows
        }

    async def partners(self, ids: Collection[str]) -> dict[str, Partner]:
        """Partners by code."""
        if not ids:
            return {}
        rows = await self._db.fetch(
            "SELECT partner_id, supplies, active FROM partner WHERE partner_id = ANY($1::text[])", [*ids]
        )
        return {row["partner_id"]: Partner(**dict(row)) for row in rows}

    async def batches_numbered(self, numbers: Collection[tuple[str, str]]) -> dict[tuple[str, str], list[Batch]]:
        """The registered batches of each item and number: one, or one for each supplier."""
        if not numbers:
            return {}
        rows = await self._db.fetch(
            """
            SELECT batch.*
            FROM unnest($1::text[], $2::text[]) AS asked (item_id, batch_no)
            JOIN batch USING (item_id, batch_no)
            ORDER BY registered_at, batch_id
            """,
            *columns(numbers, 2),
        )
        found: dict[tuple[str, str], list[Batch]] = defaultdict(list)
        for row in rows:
            found[row["item_id"], row["batch_no"]].append(batch_of(row))
        return found

    async def batches(self, ids: Collection[UUID]) -> dict[UUID, Batch]:
        """Batches by id."""
        rows = await self._db.fetch("SELECT * FROM batch WHERE batch_id = ANY($1::uuid[])", [*ids])
        return {row["batch_id"]: batch_of(row) for row in rows}

    async def conflicts(self, ids: Collection[UUID]) -> dict[UUID, OpenConflict]:
        """Conflicts by id, settled or not."""
        rows = await self._db.fetch(
            """
            SELECT conflict_id, receipt_id, line_no, item_id, batch_id, site_id, claimed, differs, arrival,
                   decision, settled_by
            FROM conflict
            WHERE conflict_id = ANY($1::uuid[])
            """,
            [*ids],
        )
        return {
            row["conflict_id"]: OpenConflict(
                **{
                    **dict(row),
                    "claimed": read_back(row["claimed"]),
                    "differs": tuple(row["differs"]),
                    "arrival": _arrival.validate_python(row["arrival"]),
                }
            )
            for row in rows
        }

    async def pending(self, where: Collection[tuple[UUID, str]]) -> dict[tuple[UUID, str], Decimal]:
        """What is pending and not yet decided, by batch and site, in the base unit."""
        rows = await self._db.fetch(
            """
            SELECT batch_id, site_id, received - decided AS pending
            FROM unnest($1::uuid[], $2::text[]) AS asked (batch_id, site_id)
            JOIN pending_stock USING (batch_id, site_id)
            """,
            *columns(where, 2),
        )
        return {(row["batch_id"], row["site_id"]): row["pending"] for row in rows}

    async def units_received(self, ids: Collection[UUID]) -> dict[UUID, str]:
        """The base unit that each batch was last received in."""
        rows = await self._db.fetch(
            """
            SELECT DISTINCT ON (batch_id) batch_id, unit
            FROM received
            WHERE batch_id = ANY($1::uuid[])
            ORDER BY batch_id, received_at DESC
            """,
            [*ids],
        )
        return {row["batch_id"]: row["unit"] for row in rows}

    async def free_numbers(self, pattern: NumberPattern, wishes: Iterable[SeriesWish]) -> FreeNumbers:
        """Numbers that no batch has and that were never handed out, by asking for as many as are wanted until found.

        The caller holds the items' locks, so nobody takes them meanwhile.
        """
        wanted: dict[tuple[str, str], SeriesWish] = {}
        for wish in wishes:
            name = (wish.item_id, pattern.series(wish.on, wish.supplier_id))
            before = wanted[name].count if name in wanted else 0
            wanted[name] = SeriesWish(wish.item_id, wish.on, wish.supplier_id, wish.count + before)
        rows = await self._db.fetch(
            """
            SELECT item_id, series, last
            FROM unnest($1::text[], $2::text[]) AS asked (item_id, series)
            JOIN batch_no_series USING (item_id, series)
            """,
            *columns(wanted, 2),
        )
        reached = {(row["item_id"], row["series"]): row["last"] for row in rows}
        free: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
        exhausted: dict[tuple[str, str], str] = {}
        span = 1
        while missing := {
            name: wish for name, wish in wanted.items() if len(free[name]) < wish.count and name not in exhausted
        }:
            tried: list[tuple[tuple[str, str], int, str]] = []
            for name, wish in missing.items():
                first = reached.get(name, 0) + 1
                reached[name] = first + max(wish.count, span) - 1
                for sequence in range(first, reached[name] + 1):
                    try:
                        batch_no = pattern.number(wish.on, sequence, wish.supplier_id)
                    except SeriesExhausted as error:
                        exhausted[name] = str(error)
                        break
                    tried.append((name, sequence, batch_no))
            taken = await self._taken({(name[0], batch_no) for name, _, batch_no in tried})
            for name, sequence, batch_no in tried:
                if (name[0], batch_no) not in taken:
                    free[name].append((sequence, batch_no))
            span = min(span * 2, 1024)
        return FreeNumbers(pattern, free, exhausted)

    async def _taken(self, numbers: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
        rows = await self._db.fetch(
            """
            WITH asked AS (SELECT * FROM unnest($1::text[], $2::text[]) AS asked (item_id, batch_no))
            SELECT item_id, batch_no FROM asked JOIN batch USING (item_id, batch_no)
            UNION
            SELECT item_id, batch_no FROM asked JOIN issued_batch_no USING (item_id, batch_no)
            """,
            *columns(numbers, 2),
        )
        return {(row["item_id"], row["batch_no"]) for row in rows}

    # The catalog and expectations ----------------------------------------------------------------------------------

    async def define_items(self, items: Sequence[ItemDefined]) -> None:
        """Take over definitions, one for each item; a lower revision than the one on record changes nothing."""
        rows = await self._db.fetch(
            """
            INSERT INTO item (item_id, revision, name, base_unit, shelf_life_days, expiry_required, min_days_at_receipt,
                              min_percent_at_receipt, inspection_required, batch_no_unique_within, active)
            SELECT * FROM unnest($1::text[], $2::int[], $3::text[], $4::text[], $5::int[], $6::bool[], $7::int[],
                                 $8::int[], $9::bool[], $10::text[], $11::bool[])
            ON CONFLICT (item_id) DO UPDATE
            SET revision = excluded.revision, name = excluded.name, base_unit = excluded.base_unit,
                shelf_life_days = excluded.shelf_life_days, expiry_required = excluded.expiry_required,
                min_days_at_receipt = excluded.min_days_at_receipt,
                min_percent_at_receipt = excluded.min_percent_at_receipt,
                inspection_required = excluded.inspection_required,
                batch_no_unique_within = excluded.batch_no_unique_within, active = excluded.active
            WHERE item.revision < excluded.revision
            RETURNING item_id
            """,
            *columns(
                (
                    (
                        item.item_id,
                        item.revision,
                        item.name,
                        item.base_unit,
                        item.shelf_life_days,
                        item.expiry_required,
                        item.min_days_at_receipt,
                        item.min_percent_at_receipt,
                        item.inspection_required,
                        # A way that this version does not know yet must not merge what may be two batches.
                        item.batch_no_unique_within
                        if item.batch_no_unique_within is not UniqueWithin.UNKNOWN
                        else UniqueWithin.ITEM,
                        item.active,
                    )
                    for item in items
                ),
                11,
            ),
        )
        taken_over = {row["item_id"] for row in rows}
        fresh = [item for item in items if item.item_id in taken_over]
        await self._db.execute("DELETE FROM item_unit WHERE item_id = ANY($1::text[])", [*taken_over])
        await self._db.execute("DELETE FROM item_gtin WHERE item_id = ANY($1::text[])", [*taken_over])
        await self._db.execute(
            """
            INSERT INTO item_unit (item_id, unit, numerator, denominator)
            SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])
            ON CONFLICT DO NOTHING
            """,
            *columns(((item.item_id, u.unit, u.numerator, u.denominator) for item in fresh for u in item.units), 4),
        )
        await self._db.execute(
            """
            INSERT INTO item_gtin (gtin, item_id, unit)
            SELECT * FROM unnest($1::text[], $2::text[], $3::text[])
            ON CONFLICT DO NOTHING
            """,
            *columns(((alias.gtin, item.item_id, alias.unit) for item in fresh for alias in item.gtins), 3),
        )

    async def define_partners(self, partners: Sequence[PartnerDefined]) -> None:
        """As `define_items`, for partners."""
        await self._db.execute(
            """
            INSERT INTO partner (partner_id, revision, name, supplies, active)
            SELECT * FROM unnest($1::text[], $2::int[], $3::text[], $4::bool[], $5::bool[])
            ON CONFLICT (partner_id) DO UPDATE
            SET revision = excluded.revision, name = excluded.name, supplies = excluded.supplies,
                active = excluded.active
            WHERE partner.revision < excluded.revision
            """,
            *columns(
                (
                    (each.partner_id, each.revision, each.name, PartnerRole.SUPPLIER in each.roles, each.active)
                    for each in partners
                ),
                5,
            ),
        )

    async def define_sites(self, sites: Sequence[SiteDefined]) -> None:
        """As `define_items`, for sites."""
        await self._db.execute(
            """
            INSERT INTO site (site_id, revision, time_zone, set_up, docks, sites)
            SELECT site_id, revision, time_zone, set_up, string_to_array(docks, ' '), sites
            FROM unnest($1::text[], $2::int[], $3::text[], $4::bool[], $5::text[], $6::int[])
                 AS said (site_id, revision, time_zone, set_up, docks, sites)
            ON CONFLICT (site_id) DO UPDATE
            SET revision = excluded.revision, time_zone = excluded.time_zone, set_up = excluded.set_up,
                docks = excluded.docks, sites = excluded.sites
            WHERE site.revision < excluded.revision
            """,
            *columns(
                (
                    (each.site_id, each.revision, each.time_zone, each.set_up, " ".join(each.docks), each.sites)
                    for each in sites
                ),
                6,
            ),
        )

    async def sites(self, site_ids: Collection[str]) -> Sites:
        """These sites, as far as they were told of. A handful, so all that there are is counted."""
        rows = await self._db.fetch(
            """
            SELECT site.site_id, time_zone, set_up, docks, heard.every_one
            FROM (SELECT coalesce(count(*) >= max(sites), false) AS every_one FROM site) AS heard
            LEFT JOIN site ON site.site_id = ANY($1::text[])
            """,
            list(site_ids),
        )
        return Sites(
            {
                row["site_id"]: Site(row["time_zone"], row["set_up"], frozenset(row["docks"]))
                for row in rows
                if row["site_id"] is not None
            },
            rows[0]["every_one"],
        )

    async def keep_expected(self, expected: Sequence[Expected], now: dt.datetime) -> None:
        """Keep expected receipts as they are now, new or changed."""
        names = [field.name for field in fields(Expected)]
        await self._db.execute(
            f"""
            INSERT INTO expected_receipt ({", ".join(names)}, heard_at)
            SELECT *, $19::timestamptz
            FROM unnest($1::uuid[], $2::text[], $3::text[], $4::numeric[], $5::text[], $6::text[], $7::date[],
                        $8::text[], $9::text[], $10::text[], $11::date[], $12::date[], $13::date[], $14::text[],
                        $15::numeric[], $16::text[], $17::text[], $18::boolean[])
            ON CONFLICT (expected_receipt_id) DO UPDATE
            SET {", ".join(f"{name} = excluded.{name}" for name in names[1:])}
            """,
            *columns(([getattr(each, name) for name in names] for each in expected), len(names)),
            now,
        )

    async def count_received_again(self) -> None:
        """In copies of what is expected: how much of it has come by what was received, and since when it is known."""
        await self._db.execute(
            """
            UPDATE expected_receipt SET heard_at = kept.heard_at
            FROM public.expected_receipt AS kept
            WHERE kept.expected_receipt_id = expected_receipt.expected_receipt_id
            """
        )
        # Whether that is all of it was decided by the rules of its day.
        await self._db.execute(
            """
            UPDATE expected_receipt
            SET received = came.quantity,
                status   = CASE WHEN expected_receipt.status = 'withdrawn' THEN 'withdrawn'
                                WHEN came.was IN ('partly', 'complete')    THEN came.was
                                ELSE 'partly' END
            FROM (SELECT line.expected_receipt_id, sum(line.quantity) AS quantity, min(kept.status) AS was
                  FROM public.received AS line
                  LEFT JOIN public.expected_receipt AS kept USING (expected_receipt_id)
                  WHERE line.expected_receipt_id IS NOT NULL
                  GROUP BY line.expected_receipt_id) AS came
            WHERE came.expected_receipt_id = expected_receipt.expected_receipt_id
            """
        )

    # What a transaction changed ------------------------------------------------------------------------------------

    async def save(self, changes: Changes, work: Work) -> None:
        """Write everything that was decided, most of it at the end of the work; what did not change costs nothing."""
        first, then = (
            [part for of in parts if (part := of(changes, work.now)) is not None]
            for parts in (_FIRST, _OF_ROWS_THAT_MAY_BE_NEW)
        )
        if then:
            await write_together(self._db, first)
        work.write_at_end(*(then or first))


def _write(sql: str, rows: Iterable[Sequence[Any]], *more: Any) -> Write | None:
    rows = [*rows]
    return Write(sql, [*columns(rows, len(rows[0])), *more]) if rows else None


def _new_receipts(changes: Changes, now: dt.datetime) -> Write | None:
    return _write(
        """
        INSERT INTO receipt (receipt_id, site_id, location_id, partner_id, reference, received_at, entered_by,
                             recorded_at)
        SELECT *, $8::timestamptz
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::text[])
        """,
        (_values(row) for row in changes.receipts),
        now,
    )


def _new_batches(changes: Changes, now: dt.datetime) -> Write | None:
    return _write(
        """
        INSERT INTO batch (batch_id, item_id, scope_supplier, batch_no, origin, supplier_id, supplier_batch_no,
                           manufactured_on, expires_on, expiry_precision, expiry_source, best_before, received_on,
                           registered_at)
        SELECT *, $14::timestamptz
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::date[],
                    $9::date[], $10::text[], $11::text[], $12::date[], $13::date[])
        """,
        ((batch.batch_id, batch.item_id, scope, *_values(batch.facts)) for batch, scope in changes.registered),
        now,
    )


def _corrected(changes: Changes, _now: dt.datetime) -> Write | None:
    # One batch may be corrected twice in a transaction: the last word counts.
    last = {batch.batch_id: batch for batch in changes.corrected}
    return _write(
        """
        UPDATE batch
        SET scope_supplier = CASE scope_supplier WHEN '' THEN '' ELSE coalesce(new.supplier_id, '') END,
            origin = new.origin, supplier_id = new.supplier_id,
            supplier_batch_no = new.supplier_batch_no, manufactured_on = new.manufactured_on,
            expires_on = new.expires_on, expiry_precision = new.expiry_precision,
            expiry_source = new.expiry_source, best_before = new.best_before
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::date[], $7::date[], $8::text[],
                    $9::text[], $10::date[], $11::date[])
             AS new (batch_id, batch_no, origin, supplier_id, supplier_batch_no, manufactured_on,
                     expires_on, expiry_precision, expiry_source, best_before, received_on)
        WHERE batch.batch_id = new.batch_id
        """,
        ((batch.batch_id, *_values(batch.facts)) for batch in last.values()),
    )


def _new_lines(changes: Changes, _now: dt.datetime) -> Write | None:
    return _write(
        """
        INSERT INTO receipt_line (receipt_id, line_no, outcome, batch_id, batch_no, quality, quantity, reasons,
                                  entered)
        SELECT receipt_id, line_no, outcome, batch_id, batch_no, quality, quantity, reasons->'said', entered
        FROM unnest($1::uuid[], $2::int[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::numeric[],
                    $8::jsonb[], $9::jsonb[])
             AS new (receipt_id, line_no, outcome, batch_id, batch_no, quality, quantity, reasons, entered)
        """,
        # A list in a list would be read as a second dimension, so the reasons travel inside an object.
        (
            [{"said": row.reasons} if field.name == "reasons" else getattr(row, field.name) for field in fields(row)]
            for row in changes.lines
        ),
    )


def _received(changes: Changes, _now: dt.datetime) -> Write | None:
    return _write(
        """
        INSERT INTO received (receipt_id, line_no, batch_id, item_id, site_id, location_id, quantity, unit,
                              entered_quantity, entered_unit, quality, origin, partner_id, expected_receipt_id,
                              reference, received_at)
        SELECT * FROM unnest($1::uuid[], $2::int[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::numeric[],
                             $8::text[], $9::numeric[], $10::text[], $11::text[], $12::text[], $13::text[],
                             $14::uuid[], $15::text[], $16::timestamptz[])
        """,
        (
            (receipt_id, line_no, batch.batch_id, batch.item_id, *_values(arrival))
            for receipt_id, line_no, batch, arrival in changes.received
        ),
    )


def _pending(changes: Changes, _now: dt.datetime) -> Write | None:
    return _write(
        """
        INSERT INTO pending_stock (batch_id, site_id, received, decided, since)
        SELECT batch_id, site_id, sum(quantity), 0, min(received_at)
        FROM unnest($1::uuid[], $2::text[], $3::numeric[], $4::timestamptz[])
             AS new (batch_id, site_id, quantity, received_at)
        GROUP BY batch_id, site_id
        ON CONFLICT (batch_id, site_id) DO UPDATE
        SET received = pending_stock.received + excluded.received,
            since    = CASE WHEN pending_stock.decided < pending_stock.received
                            THEN least(pending_stock.since, excluded.since) ELSE excluded.since END
        """,
        (
            (batch.batch_id, arrival.site_id, arrival.quantity, arrival.received_at)
            for _, _, batch, arrival in changes.received
            if arrival.quality == "pending"
        ),
    )


def _progress(changes: Changes, _now: dt.datetime) -> Write | None:
    return _write(
        """
        UPDATE expected_receipt
        SET received = new.received, status = new.status
        FROM unnest($1::uuid[], $2::numeric[], $3::text[]) AS new (expected_receipt_id, received, status)
        WHERE expected_receipt.expected_receipt_id = new.expected_receipt_id
        """,
        ((id_, plain(done.received), done.status) for id_, done in changes.progress.items()),
    )


def _new_conflicts(changes: Changes, now: dt.datetime) -> Write | None:
    return _write(
        """
        INSERT INTO conflict (conflict_id, receipt_id, line_no, item_id, batch_id, existing, claimed, differs,
                              arrival, site_id, found_at)
        SELECT conflict_id, receipt_id, line_no, item_id, batch_id, existing, claimed,
               string_to_array(differs, ','), arrival, site_id, $11
        FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::text[], $5::uuid[], $6::jsonb[], $7::jsonb[],
                    $8::text[], $9::jsonb[], $10::text[])
             AS new (conflict_id, receipt_id, line_no, item_id, batch_id, existing, claimed, differs, arrival,
                     site_id)
        """,
        (
            (
                row.conflict_id,
                row.receipt_id,
                row.line_no,
                row.batch.item_id,
                row.batch.batch_id,
                row.existing,
                row.claimed,
                ",".join(row.differs),
                row.arrival,
                row.site_id,
            )
            for row in changes.conflicts
        ),
        now,
    )


def _settled(changes: Changes, now: dt.datetime) -> Write | None:
    return _write(
        """
        UPDATE conflict
        SET decision = new.decision, reason = new.reason, settled_by = new.settled_by,
            received_as = new.received_as, settled_at = $6
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::uuid[])
             AS new (conflict_id, decision, reason, settled_by, received_as)
        WHERE conflict.conflict_id = new.conflict_id
        """,
        (_values(row) for row in changes.settlements),
        now,
    )


def _inspections(changes: Changes, _now: dt.datetime) -> Write | None:
    return _write(
        """
        INSERT INTO inspection (inspection_id, batch_id, item_id, site_id, released, rejected, unit, reason,
                                certificate, signer, signer_name, meaning, signed_at, record_hash)
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::numeric[], $6::numeric[],
                             $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[],
                             $13::timestamptz[], $14::text[])
        """,
        ((*_values(record), record_hash) for record, record_hash in changes.inspections),
    )


def _decided(changes: Changes, _now: dt.datetime) -> Write | None:
    return _write(
        """
        UPDATE pending_stock
        SET decided = decided + new.quantity
        FROM (SELECT batch_id, site_id, sum(quantity) AS quantity
              FROM unnest($1::uuid[], $2::text[], $3::numeric[]) AS each (batch_id, site_id, quantity)
              GROUP BY batch_id, site_id) AS new
        WHERE (pending_stock.batch_id, pending_stock.site_id) = (new.batch_id, new.site_id)
        """,
        ((record.batch_id, record.site_id, record.released + record.rejected) for record, _ in changes.inspections),
    )


def _new_decisions(changes: Changes, now: dt.datetime) -> Write | None:
    return _write(
        """
        INSERT INTO decision (decision_id, batch_id, kind, decided_by, name, reason, before, after, decided_at)
        SELECT *, $9::timestamptz
        FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::jsonb[],
                    $8::jsonb[])
        """,
        ([getattr(row, field.name) for field in fields(row)] for row in changes.decisions),
        now,
    )


def _series(changes: Changes, _now: dt.datetime) -> Write | None:
    return _write(
        """
        INSERT INTO batch_no_series (item_id, series, last)
        SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[])
        ON CONFLICT (item_id, series) DO UPDATE SET last = excluded.last
        """,
        ((*name, last) for name, last in changes.series.items()),
    )


def _issued(changes: Changes, now: dt.datetime) -> Write | None:
    return _write(
        """
        INSERT INTO issued_batch_no (item_id, batch_no, issued_by, issued_at)
        SELECT *, $4::timestamptz FROM unnest($1::text[], $2::text[], $3::text[])
        """,
        changes.issued,
        now,
    )


_FIRST = (
    _new_receipts,
    _new_batches,
    _new_lines,
    _received,
    _pending,
    _progress,
    _new_conflicts,
    _inspections,
    _new_decisions,
    _series,
    _issued,
)
_OF_ROWS_THAT_MAY_BE_NEW = (_corrected, _settled, _decided)


def _values(row: ReceiptRow | Facts | Arrival | SettlementRow | Record) -> tuple[Any, ...]:
    """The fields of a row in their order, as they are: `asdict` would copy each of them."""
    return tuple(getattr(row, field.name) for field in fields(row))


def arrival_as_json(arrival: Arrival) -> dict[str, Any]:
    """An arrival as JSON for the database; decimals are text."""
    found: dict[str, Any] = _arrival.dump_python(arrival, mode="json")
    return found


def expected_of(row: asyncpg.Record) -> Expected:
    """An expected receipt from its row."""
    values = {field.name: row[field.name] for field in fields(Expected)}
    return Expected(**{**values, "origin": Origin(row["origin"]), "status": ExpectedStatus(row["status"])})


def batch_of(row: asyncpg.Record) -> Batch:
    """A batch from its row."""
    values = {field.name: row[field.name] for field in fields(Facts)}
    values["origin"] = Origin(row["origin"])
    values["expiry_precision"] = row["expiry_precision"] and DatePrecision(row["expiry_precision"])
    values["expiry_source"] = row["expiry_source"] and DateSource(row["expiry_source"])
    return Batch(row["batch_id"], row["item_id"], Facts(**values))


def scope_supplier(facts: Facts, item: Item | None) -> str:
    """The supplier that a number is unique within, '' where it is unique within the item."""
    if item is None or item.unique_within is UniqueWithin.ITEM:
        return ""
    return facts.supplier_id or ""
