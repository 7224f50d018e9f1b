"""All SQL of integration that changes state, and the reads that decisions need. One statement per table and chunk."""

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

from contracts.integration import CostPosted, DemandRaised, ItemDefined, PartnerDefined, PostingKind, ReceiptExpected
from contracts.inventory import StockMoved
from contracts.receiving import BatchReceived
from delivery import Connection, columns
from services.integration.domain.production import Known, Lot, Made, ReportStatus
from services.integration.domain.reconciliation import Difference as BooksDiffer
from services.integration.domain.valuation import (
    AtOwnCost,
    Basis,
    BatchValue,
    Change,
    Ingredient,
    NotYetPriced,
    Priced,
    Undoing,
)


def _fraction(numerator: Decimal | None, denominator: Decimal | None) -> Fraction | None:
    return None if numerator is None or denominator is None else Fraction(numerator) / Fraction(denominator)


def _numbers(fraction: Fraction | None) -> tuple[Decimal | None, Decimal | None]:
    return (None, None) if fraction is None else (Decimal(fraction.numerator), Decimal(fraction.denominator))


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


@dataclass(frozen=True, slots=True)
class RawMessage:
    """A message from outside, as it came, with what identifies it."""

    message_uid: UUID
    kind: str
    source: str
    message_id: str
    digest: bytes
    body: str
    via: str


class MessageStore:
    """Raw messages, each once."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    async def known(self, kind: str, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], tuple[UUID, bytes]]:
        """The id and digest of the messages among `(source, message_id)` that came before."""
        rows = await self._db.fetch(
            """
            SELECT raw_message.*
            FROM unnest($2::text[], $3::text[]) AS asked (source, message_id)
            JOIN raw_message ON raw_message.kind = $1 AND raw_message.source = asked.source
                            AND raw_message.message_id = asked.message_id
            """,
            kind,
            *columns(set(keys), 2),
        )
        return {(row["source"], row["message_id"]): (row["message_uid"], row["digest"]) for row in rows}

    async def keep(self, messages: Sequence[RawMessage], now: dt.datetime) -> None:
        """Keep messages for ever."""
        await self._db.execute(
            """
            INSERT INTO raw_message (message_uid, kind, source, message_id, digest, body, via, received_at)
            SELECT message_uid, kind, source, message_id, digest, body, via, $8
            FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::text[], $7::text[])
                 AS r (message_uid, kind, source, message_id, digest, body, via)
            ON CONFLICT (kind, source, message_id) DO NOTHING
            """,
            *columns(((m.message_uid, m.kind, m.source, m.message_id, m.digest, m.body, m.via) for m in messages), 7),
            now,
        )


@dataclass(frozen=True, slots=True)
class Expectation:
    """An expected receipt with what it was entered as and where its cost comes from.

    `unit_cost` is per entered unit, of which one is `factor` base units.
    """

    event: ReceiptExpected
    entered_quantity: Decimal
    entered_unit: str
    factor: Fraction
    cost_basis: str
    unit_cost: Decimal | None = None
    currency: str | None = None
    report_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class ExpectationState:
    """What a withdrawal has to know. `received` in base units."""

    item_id: str
    unit: str
    quantity: Decimal
    received: Decimal
    withdrawn: bool


class ReceiptStore:
    """What is expected, and what arrived."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    async def expect(self, expectations: Sequence[Expectation], now: dt.datetime) -> None:
        """Keep expected receipts."""
        await self._db.execute(
            """
            INSERT INTO expected_receipt (expected_receipt_id, origin, item_id, quantity, unit, site_id, due_on, partner_id,
                                          batch_no, supplier_batch_no, manufactured_on, expires_on, best_before, reference,
                                          entered_quantity, entered_unit, unit_numerator, unit_denominator, cost_basis,
                                          unit_cost, currency, report_id, expected_at)
            SELECT r.*, $23
            FROM unnest($1::uuid[], $2::text[], $3::text[], $4::numeric[], $5::text[], $6::text[], $7::date[], $8::text[],
                        $9::text[], $10::text[], $11::date[], $12::date[], $13::date[], $14::text[],
                        $15::numeric[], $16::text[], $17::numeric[], $18::numeric[], $19::text[],
                        $20::numeric[], $21::text[], $22::uuid[]) AS r
            """,
            *columns(
                (
                    (
                        e.event.expected_receipt_id, e.event.origin.value, e.event.item_id, e.event.quantity, e.event.unit,
                        e.event.site_id, e.event.due_on, e.event.partner_id, e.event.batch_no, e.event.supplier_batch_no,
                        e.event.manufactured_on, e.event.expires_on, e.event.best_before, e.event.reference,
                        e.entered_quantity, e.entered_unit, *_numbers(e.factor), e.cost_basis, e.unit_cost, e.currency,
                        e.report_id,
                    )
                    for e in expectations
                ),
                22,
            ),
            now,
        )  # fmt: skip

    async def states(self, expected_receipt_ids: Iterable[UUID]) -> dict[UUID, ExpectationState]:
        """How things stand with expected receipts."""
        rows = await self._db.fetch(
            """
            SELECT expected_receipt_id, item_id, unit, quantity, withdrawn_at IS NOT NULL AS withdrawn,
                   (SELECT coalesce(sum(line.quantity), 0) FROM receipt_line AS line
                    WHERE line.expected_receipt_id = expected_receipt.expected_receipt_id) AS received
            FROM expected_receipt
            WHERE expected_receipt_id = ANY($1::uuid[])
            """,
            list(set(expected_receipt_ids)),
        )
        return {
            row["expected_receipt_id"]: ExpectationState(
                row["item_id"], row["unit"], row["quantity"], row["received"], row["withdrawn"]
            )
            for row in rows
        }

    async def withdraw(self, withdrawals: Sequence[tuple[UUID, str]], now: dt.datetime) -> None:
        """Mark expected receipts as withdrawn, with the reason; one that already is keeps its first reason."""
        await self._db.execute(
            """
            UPDATE expected_receipt
            SET withdrawn_at = $3, withdrawn_why = why
            FROM unnest($1::uuid[], $2::text[]) AS r (id, why)
            WHERE expected_receipt_id = id AND withdrawn_at IS NULL
            """,
            *columns(withdrawals, 2),
            now,
        )

    async def add_lines(self, received: Sequence[BatchReceived]) -> None:
        """Keep what arrived, by the reference that the ledger's movement will name."""
        await self._db.execute(
            """
            INSERT INTO receipt_line (reference, item_id, batch_id, batch_no, quantity, origin, expected_receipt_id)
            SELECT *
            FROM unnest($1::text[], $2::text[], $3::uuid[], $4::text[], $5::numeric[], $6::text[], $7::uuid[])
            ON CONFLICT (reference) DO NOTHING
            """,
            *columns(
                (
                    (
                        f"{event.receipt_id}/{event.line_no}",
                        event.item_id,
                        event.batch_id,
                        event.batch.batch_no,
                        event.quantity,
                        event.origin.value,
                        event.expected_receipt_id,
                    )
                    for event in received
                ),
                7,
            ),
        )


@dataclass(frozen=True, slots=True)
class WantedLine:
    """A demand with what it was entered as, and the message that it came in."""

    event: DemandRaised
    entered_quantity: Decimal
    entered_unit: str
    message_uid: UUID


@dataclass(frozen=True, slots=True)
class DemandState:
    """What a withdrawal, or the same message again, has to know."""

    demand_id: UUID
    reference: str
    item_id: str
    digest: bytes
    withdrawn: bool


class DemandStore:
    """Demands that came from the ERP."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    async def by_reference(self, references: Iterable[str]) -> dict[str, DemandState]:
        """Those that were raised under these references."""
        return {
            found.reference: found
            for found in await self._states("demand.reference = ANY($1::text[])", list(set(references)))
        }

    async def by_id(self, demand_ids: Iterable[UUID]) -> dict[UUID, DemandState]:
        """Those with these ids."""
        return {
            found.demand_id: found
            for found in await self._states("demand.demand_id = ANY($1::uuid[])", list(set(demand_ids)))
        }

    async def _states(self, condition: str, wanted: list[Any]) -> list[DemandState]:
        rows = await self._db.fetch(
            f"""
            SELECT demand_id, reference, item_id, digest, withdrawn_at IS NOT NULL AS withdrawn
            FROM demand
            JOIN raw_message USING (message_uid)
            WHERE {condition}
            """,
            wanted,
        )
        return [DemandState(**dict(row)) for row in rows]

    async def raise_them(self, demands: Sequence[WantedLine]) -> None:
        """Keep new demands."""
        await self._db.execute(
            """
            INSERT INTO demand (demand_id, message_uid, reference, customer_id, site_id, item_id, quantity, unit,
                                entered_quantity, entered_unit, needed_on, strategy, batch_no, min_days_left,
                                min_percent_left, raised_at)
            SELECT *
            FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::numeric[], $8::text[],
                        $9::numeric[], $10::text[], $11::date[], $12::text[], $13::text[], $14::int[],
                        $15::int[], $16::timestamptz[])
            """,
            *columns(
                (
                    (
                        d.event.demand_id, d.message_uid, d.event.reference, d.event.customer_id, d.event.site_id,
                        d.event.item_id, d.event.quantity, d.event.unit, d.entered_quantity, d.entered_unit,
                        d.event.needed_on, d.event.strategy.value, d.event.batch_no, d.event.min_days_left,
                        d.event.min_percent_left, d.event.raised_at,
                    )
                    for d in demands
                ),
                16,
            ),
        )  # fmt: skip

    async def withdraw(self, withdrawals: Sequence[tuple[UUID, str]], now: dt.datetime) -> None:
        """Mark demands as withdrawn, with the reason."""
        await self._db.execute(
            """
            UPDATE demand
            SET withdrawn_at = $3, withdrawn_why = why
            FROM unnest($1::uuid[], $2::text[]) AS r (id, why)
            WHERE demand_id = id AND withdrawn_at IS NULL
            """,
            *columns(withdrawals, 2),
            now,
        )


@dataclass(frozen=True, slots=True)
class LetIn:
    """A report that was let in: what it says, its place in the lot, and what came of it."""

    report_id: UUID
    made: Made
    sequence: int
    status: ReportStatus
    corrects: UUID | None


@dataclass(frozen=True, slots=True)
class Settled:
    """A report that was taken: what it expects and what it changed."""

    report_id: UUID
    expected_receipt_id: UUID | None
    arrived_before: Decimal


@dataclass(frozen=True, slots=True)
class SaidConsumption:
    """One line that inventory is told to issue, in base units."""

    consumption_id: UUID
    report_id: UUID
    into_item_id: str
    into_batch_no: str
    item_id: str
    batch_no: str
    quantity: Decimal


class ProductionStore:
    """Production lots and their reports."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    async def lots(
        self, wanted: Iterable[tuple[str, str, str]]
    ) -> tuple[dict[tuple[str, str], Lot], dict[tuple[str, str], str]]:
        """The known lots among `(source, batch_no, item_id)` with all their reports, by `(source, batch_no)`.

        And which source owns the lot, by `(item_id, batch_no)`.
        """
        asked = set(wanted)
        rows = await self._db.fetch(
            """
            SELECT DISTINCT lot.source, lot.batch_no, lot.item_id
            FROM unnest($1::text[], $2::text[], $3::text[]) AS asked (source, batch_no, item_id)
            JOIN production_lot AS lot
              ON (lot.source, lot.batch_no) = (asked.source, asked.batch_no)
              OR (lot.item_id, lot.batch_no) = (asked.item_id, asked.batch_no)
            """,
            *columns(asked, 3),
        )
        lots = {(r["source"], r["batch_no"]): Lot(r["source"], r["batch_no"], r["item_id"]) for r in rows}
        owners = {(r["item_id"], r["batch_no"]): r["source"] for r in rows}
        reports = await self._db.fetch(
            """
            SELECT report.*,
                   report.arrived_before
                   + (SELECT coalesce(sum(line.quantity), 0) FROM receipt_line AS line
                      WHERE line.expected_receipt_id = report.expected_receipt_id) AS received,
                   (SELECT coalesce(jsonb_agg(jsonb_build_array(item_id, batch_no, quantity::text)), '[]')
                    FROM reported_material AS material WHERE material.report_id = report.report_id) AS consumed
            FROM unnest($1::text[], $2::text[]) AS asked (source, batch_no)
            JOIN production_report AS report ON (report.source, report.batch_no) = (asked.source, asked.batch_no)
            """,
            *columns(lots, 2),
        )
        for row in reports:
            key = (row["source"], row["batch_no"])
            lots[key] = lots[key].having(
                Known(
                    row["report_id"],
                    row["message_id"],
                    row["sequence"],
                    row["final"],
                    ReportStatus(row["status"]),
                    row["quantity"],
                    {(item_id, batch_no): Decimal(quantity) for item_id, batch_no, quantity in row["consumed"]},
                    row["expected_receipt_id"],
                    row["received"],
                )
            )
        return lots, owners

    async def waiting_bodies(self, report_ids: Iterable[UUID]) -> dict[UUID, str]:
        """The raw text of reports whose turn may come."""
        rows = await self._db.fetch(
            "SELECT message_uid, body FROM raw_message WHERE message_uid = ANY($1::uuid[])", list(report_ids)
        )
        return {row["message_uid"]: row["body"] for row in rows}

    async def open_lots(self, lots: Sequence[Lot]) -> None:
        """Keep lots that are new."""
        await self._db.execute(
            """
            INSERT INTO production_lot (source, batch_no, item_id)
            SELECT * FROM unnest($1::text[], $2::text[], $3::text[])
            ON CONFLICT DO NOTHING
            """,
            *columns(((lot.source, lot.batch_no, lot.item_id) for lot in lots), 3),
        )

    async def let_in(self, reports: Sequence[LetIn], now: dt.datetime) -> None:
        """Keep reports as they were let in, waiting all of them; `settle` says what became of each."""
        await self._db.execute(
            """
            INSERT INTO production_report (report_id, source, message_id, batch_no, item_id, work_order, sequence, final,
                                           quantity, conversion, corrects, status)
            SELECT r.*, 'waiting'
            FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::int[], $8::boolean[],
                        $9::numeric[], $10::numeric[], $11::uuid[]) AS r
            """,
            *columns(
                (
                    (
                        each.report_id, each.made.report.source, each.made.report.message_id, each.made.report.batch_no,
                        each.made.report.item_id, each.made.report.work_order, each.sequence, each.made.report.final,
                        each.made.quantity, each.made.report.conversion, each.corrects,
                    )
                    for each in reports
                ),
                11,
            ),
        )  # fmt: skip
        await self._db.execute(
            """
            INSERT INTO reported_material (report_id, item_id, batch_no, quantity)
            SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::numeric[])
            """,
            *columns(
                (
                    (each.report_id, material.item_id, material.batch_no, material.quantity)
                    for each in reports
                    for material in each.made.consumed
                ),
                4,
            ),
        )

    async def settle(self, statuses: Mapping[UUID, ReportStatus], settled: Sequence[Settled], now: dt.datetime) -> None:
        """Say what became of reports; first those that make room, then those that take it."""
        for making_room in (True, False):
            await self._db.execute(
                """
                UPDATE production_report
                SET status = r.status, settled_at = CASE r.status WHEN 'waiting' THEN NULL ELSE $3::timestamptz END
                FROM unnest($1::uuid[], $2::text[]) AS r (id, status)
                WHERE report_id = id AND production_report.status <> r.status
                """,
                *columns(
                    (
                        (report_id, status.value)
                        for report_id, status in statuses.items()
                        if (status is ReportStatus.REPLACED) is making_room
                    ),
                    2,
                ),
                now,
            )
        await self._db.execute(
            """
            UPDATE production_report
            SET expected_receipt_id = r.expected_receipt_id, arrived_before = r.arrived_before
            FROM unnest($1::uuid[], $2::uuid[], $3::numeric[]) AS r (id, expected_receipt_id, arrived_before)
            WHERE report_id = id
            """,
            *columns(((each.report_id, each.expected_receipt_id, each.arrived_before) for each in settled), 3),
        )

    async def say_consumed(self, lines: Sequence[SaidConsumption]) -> None:
        """Keep what inventory is told to issue."""
        await self._db.execute(
            """
            INSERT INTO consumption (consumption_id, report_id, into_item_id, into_batch_no, item_id, batch_no, quantity)
            SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::numeric[])
            """,
            *columns(
                (
                    (
                        line.consumption_id,
                        line.report_id,
                        line.into_item_id,
                        line.into_batch_no,
                        line.item_id,
                        line.batch_no,
                        line.quantity,
                    )
                    for line in lines
                ),
                7,
            ),
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch in the valuation books: what postings repeat of it, and its value."""

    batch_id: UUID
    item_id: str
    batch_no: str
    unit: str
    value: BatchValue


@dataclass(frozen=True, slots=True)
class Unvalued:
    """A movement that waits for its value."""

    change: Change
    sequence: int
    kind: PostingKind
    reference: str | None
    reverses: UUID | None
    price_source: str | None = None


@dataclass(frozen=True, slots=True)
class Layer:
    """An inflow with a cost of its own. `source`: expected_receipt, production or person."""

    movement_id: UUID
    batch_id: UUID
    sequence: int
    quantity: Decimal
    value: Decimal
    source: str


LotKey = tuple[str, str]
"""`(item_id, batch_no)` of a produced lot."""


@dataclass(frozen=True, slots=True)
class LotBooks:
    """What a lot's cost is made from, and the cost it was last found to have."""

    final: bool
    produced: Decimal
    conversion: Decimal | None
    ingredients: tuple[Ingredient, ...]
    cost: Fraction | None


@dataclass(frozen=True, slots=True)
class Price:
    """Where the cost of a receipt comes from, and the cost per base unit where it is known."""

    basis: Basis
    source: str | None


class ValuationStore:
    """What stock is worth, and what was posted."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    async def add_to_ledger(self, moves: Sequence[StockMoved]) -> None:
        """Add movements to the running sums. SQL alone does it, so that it can bear witness against the valuation."""
        await self._db.execute(
            """
            INSERT INTO ledger_batch (batch_id, item_id, batch_no, unit, quantity, sequence)
            SELECT batch_id, min(item_id), min(batch_no), min(unit),
                   sum(CASE to_kind WHEN 'location' THEN quantity ELSE 0 END
                     - CASE from_kind WHEN 'location' THEN quantity ELSE 0 END),
                   max(sequence)
            FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::numeric[], $6::text[], $7::text[], $8::bigint[])
                 AS moved (batch_id, item_id, batch_no, unit, quantity, from_kind, to_kind, sequence)
            GROUP BY batch_id
            ON CONFLICT (batch_id) DO UPDATE
            SET quantity = ledger_batch.quantity + excluded.quantity, sequence = excluded.sequence
            """,
            *columns(
                (
                    (
                        move.batch_id,
                        move.item_id,
                        move.batch.batch_no,
                        move.unit,
                        move.quantity,
                        move.from_place.kind.value,
                        move.to_place.kind.value,
                        move.sequence,
                    )
                    for move in moves
                ),
                8,
            ),
        )

    async def batches(self, batch_ids: Iterable[UUID]) -> dict[UUID, Batch]:
        """The known ones of these batches."""
        rows = await self._db.fetch("SELECT * FROM batch_value WHERE batch_id = ANY($1::uuid[])", list(set(batch_ids)))
        return {
            row["batch_id"]: Batch(
                row["batch_id"],
                row["item_id"],
                row["batch_no"],
                row["unit"],
                BatchValue(
                    row["quantity"],
                    row["value"],
                    _fraction(row["unit_cost_numerator"], row["unit_cost_denominator"]),
                    row["unknown"],
                ),
            )
            for row in rows
        }

    async def prices(self, references: Iterable[str]) -> dict[str, Price]:
        """What is known of the cost of receipts, by the reference that the ledger names; none for one not yet heard of."""
        rows = await self._db.fetch(
            """
            SELECT line.reference, line.origin, expected.cost_basis, expected.unit_cost, expected.unit_numerator,
                   expected.unit_denominator, lot.cost_numerator, lot.cost_denominator
            FROM receipt_line AS line
            LEFT JOIN expected_receipt AS expected USING (expected_receipt_id)
            LEFT JOIN production_lot AS lot
                   ON (lot.item_id, lot.batch_no) = (line.item_id, line.batch_no) AND line.origin = 'production'
                  AND coalesce(expected.cost_basis, 'production') = 'production'
            WHERE line.reference = ANY($1::text[])
            """,
            list(set(references)),
        )
        found: dict[str, Price] = {}
        for row in rows:
            made_at = _fraction(row["cost_numerator"], row["cost_denominator"])
            factor = _fraction(row["unit_numerator"], row["unit_denominator"])
            if row["cost_basis"] == "own":
                price = Price(AtOwnCost(), None)
            elif row["unit_cost"] is not None and factor is not None:
                price = Price(Priced(Fraction(row["unit_cost"]) / factor), "expected_receipt")
            elif made_at is not None:
                price = Price(Priced(made_at), "production")
            else:
                price = Price(NotYetPriced(), None)
            found[row["reference"]] = price
        return found

    async def worth_of(self, movement_ids: Iterable[UUID]) -> dict[UUID, Decimal | None]:
        """What movements were worth when they were posted or learnt; None for one whose value is still unknown."""
        rows = await self._db.fetch(
            """
            SELECT movement_id, sum(value) AS value
            FROM posting
            WHERE movement_id = ANY($1::uuid[])
            GROUP BY movement_id
            """,
            list(set(movement_ids)),
        )
        return {row["movement_id"]: row["value"] for row in rows}

    async def save_batches(self, batches: Sequence[Batch]) -> None:
        """Keep what batches are worth now. The CHECKs are the last guard: never below zero, nothing is worth nothing."""
        await self._db.execute(
            """
            INSERT INTO batch_value (batch_id, item_id, batch_no, unit, quantity, value, unknown, unit_cost_numerator,
                                     unit_cost_denominator)
            SELECT *
            FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::numeric[], $6::numeric[], $7::boolean[],
                        $8::numeric[], $9::numeric[])
            ON CONFLICT (batch_id) DO UPDATE
            SET quantity = excluded.quantity, value = excluded.value, unknown = excluded.unknown,
                unit_cost_numerator = excluded.unit_cost_numerator,
                unit_cost_denominator = excluded.unit_cost_denominator
            """,
            *columns(
                (
                    (
                        batch.batch_id, batch.item_id, batch.batch_no, batch.unit, batch.value.quantity,
                        batch.value.value, batch.value.unknown, *_numbers(batch.value.unit_cost),
                    )
                    for batch in batches
                ),
                9,
            ),
        )  # fmt: skip

    async def post(self, postings: Sequence[CostPosted], now: dt.datetime) -> None:
        """Keep postings, in their order."""
        await self._db.execute(
            """
            INSERT INTO posting (posting_id, kind, item_id, batch_id, batch_no, quantity, unit, unit_cost, value, currency,
                                 movement_id, movement_sequence, posting_date, reference, partner_id, reverses, posted_at)
            SELECT posting_id, kind, item_id, batch_id, batch_no, quantity, unit, unit_cost, value, currency, movement_id,
                   movement_sequence, posting_date, reference, partner_id, reverses, $18
            FROM unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::text[], $6::numeric[], $7::text[],
                        $8::numeric[], $9::numeric[], $10::text[], $11::uuid[], $12::bigint[], $13::date[], $14::text[],
                        $15::text[], $16::uuid[], $17::int[])
                 AS r (posting_id, kind, item_id, batch_id, batch_no, quantity, unit, unit_cost, value, currency,
                       movement_id, movement_sequence, posting_date, reference, partner_id, reverses, n)
            ORDER BY n
            """,
            *columns(
                (
                    (
                        p.posting_id, p.kind.value, p.item_id, p.batch_id, p.batch_no, p.quantity, p.unit, p.unit_cost,
                        p.value, p.currency, p.movement_id, p.movement_sequence, p.posting_date, p.reference,
                        p.partner_id, p.reverses, n,
                    )
                    for n, p in enumerate(postings)
                ),
                17,
            ),
            now,
        )  # fmt: skip

    async def postings_of(self, movement_ids: Iterable[UUID]) -> dict[UUID, UUID]:
        """The posting of each movement."""
        rows = await self._db.fetch(
            """
            SELECT movement_id, posting_id
            FROM posting
            WHERE movement_id = ANY($1::uuid[]) AND kind <> 'revaluation'
            """,
            list(set(movement_ids)),
        )
        return {row["movement_id"]: row["posting_id"] for row in rows}

    async def keep_unvalued(self, movements: Sequence[tuple[UUID, Unvalued]]) -> None:
        """Keep movements, with their batch, that wait for a value."""
        await self._db.execute(
            """
            INSERT INTO unvalued_movement (movement_id, batch_id, sequence, quantity, kind, reference, reverses)
            SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::numeric[], $5::text[], $6::text[], $7::uuid[])
            """,
            *columns(
                (
                    (
                        each.change.movement_id,
                        batch_id,
                        each.sequence,
                        each.change.quantity,
                        each.kind.value,
                        each.reference,
                        each.reverses,
                    )
                    for batch_id, each in movements
                ),
                7,
            ),
        )

    async def forget_unvalued(self, movement_ids: Sequence[UUID]) -> None:
        """These movements have a value now."""
        await self._db.execute("DELETE FROM unvalued_movement WHERE movement_id = ANY($1::uuid[])", movement_ids)

    async def unvalued_of(self, batch_ids: Iterable[UUID]) -> dict[UUID, list[Unvalued]]:
        """What waits for a value, by batch, in the ledger's order, at the prices that are known by now."""
        rows = await self._db.fetch(
            "SELECT * FROM unvalued_movement WHERE batch_id = ANY($1::uuid[]) ORDER BY batch_id, sequence",
            list(set(batch_ids)),
        )
        prices = await self.prices(row["reference"] for row in rows if row["reference"] is not None)
        waiting: dict[UUID, list[Unvalued]] = {}
        for row in rows:
            kind = PostingKind(row["kind"])
            price = basis_of(kind, row["quantity"], row["reference"], row["reverses"], prices)
            change = Change(row["movement_id"], row["quantity"], price.basis)
            waiting.setdefault(row["batch_id"], []).append(
                Unvalued(change, row["sequence"], kind, row["reference"], row["reverses"], price.source)
            )
        return waiting

    async def batches_waiting_for(self, references: Iterable[str]) -> set[UUID]:
        """The batches with a movement of these receipts that waits for a value."""
        rows = await self._db.fetch(
            "SELECT DISTINCT batch_id FROM unvalued_movement WHERE reference = ANY($1::text[])", list(set(references))
        )
        return {row["batch_id"] for row in rows}

    async def add_layers(self, layers: Sequence[Layer], now: dt.datetime) -> None:
        """Keep what came in at a cost of its own."""
        await self._db.execute(
            """
            INSERT INTO cost_layer (movement_id, batch_id, sequence, quantity, value, source, learnt_at)
            SELECT r.*, $7
            FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::numeric[], $5::numeric[], $6::text[]) AS r
            """,
            *columns(
                (
                    (layer.movement_id, layer.batch_id, layer.sequence, layer.quantity, layer.value, layer.source)
                    for layer in layers
                ),
                6,
            ),
            now,
        )

    async def consumptions(
        self, references: Iterable[str], reversed_ids: Iterable[UUID]
    ) -> dict[str, tuple[UUID, LotKey]]:
        """Which consumption movements belong to, with the lot it went into: by the consumption's id as text, and by the
        id, as text, of a booked movement that is now reversed."""
        rows = await self._db.fetch(
            """
            SELECT consumption_id::text AS name, consumption_id, into_item_id, into_batch_no
            FROM consumption
            WHERE consumption_id = ANY($1::uuid[])
            UNION ALL
            SELECT booked.movement_id::text, consumption_id, into_item_id, into_batch_no
            FROM booked_consumption AS booked
            JOIN consumption USING (consumption_id)
            WHERE booked.movement_id = ANY($2::uuid[])
            """,
            [found for reference in set(references) if (found := _uuid(reference)) is not None],
            list(set(reversed_ids)),
        )
        return {row["name"]: (row["consumption_id"], (row["into_item_id"], row["into_batch_no"])) for row in rows}

    async def book_consumption(self, booked: Sequence[tuple[UUID, UUID, Decimal, Decimal | None]]) -> None:
        """Keep `(movement, consumption, quantity, value)` as the ledger booked it; values are positive like quantities."""
        await self._db.execute(
            """
            INSERT INTO booked_consumption (movement_id, consumption_id, quantity, value)
            SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::numeric[], $4::numeric[])
            """,
            *columns(booked, 4),
        )

    async def learn_consumption(self, learnt: Sequence[tuple[UUID, Decimal]]) -> set[LotKey]:
        """Give booked consumption its value, and return the lots whose cost may be known by that."""
        rows = await self._db.fetch(
            """
            WITH learnt AS (
                UPDATE booked_consumption AS booked
                SET value = r.value
                FROM unnest($1::uuid[], $2::numeric[]) AS r (id, value)
                WHERE booked.movement_id = r.id
                RETURNING booked.consumption_id
            )
            SELECT DISTINCT into_item_id, into_batch_no FROM learnt JOIN consumption USING (consumption_id)
            """,
            *columns(learnt, 2),
        )
        return {(row["into_item_id"], row["into_batch_no"]) for row in rows}

    async def lot_books(self, lots: Iterable[LotKey]) -> dict[LotKey, LotBooks]:
        """What the cost of lots is made from."""
        wanted = columns(set(lots), 2)
        heads = await self._db.fetch(
            """
            SELECT lot.item_id, lot.batch_no, lot.cost_numerator, lot.cost_denominator,
                   coalesce(bool_or(report.final), false) AS final, coalesce(sum(report.quantity), 0) AS produced,
                   sum(report.conversion) AS conversion
            FROM unnest($1::text[], $2::text[]) AS asked (item_id, batch_no)
            JOIN production_lot AS lot USING (item_id, batch_no)
            LEFT JOIN production_report AS report
                   ON (report.source, report.batch_no) = (lot.source, lot.batch_no) AND report.status = 'taken'
            GROUP BY lot.source, lot.batch_no
            """,
            *wanted,
        )
        rows = await self._db.fetch(
            """
            WITH reported AS (
                SELECT lot.item_id AS into_item_id, lot.batch_no AS into_batch_no, material.item_id, material.batch_no,
                       sum(material.quantity) AS quantity
                FROM unnest($1::text[], $2::text[]) AS asked (item_id, batch_no)
                JOIN production_lot AS lot USING (item_id, batch_no)
                JOIN production_report AS report
                  ON (report.source, report.batch_no) = (lot.source, lot.batch_no) AND report.status = 'taken'
                JOIN reported_material AS material USING (report_id)
                GROUP BY lot.item_id, lot.batch_no, material.item_id, material.batch_no
            )
            SELECT reported.*, coalesce(sum(booked.quantity), 0) AS booked,
                   CASE WHEN bool_and(booked.value IS NOT NULL) THEN sum(booked.value) END AS value
            FROM reported
            LEFT JOIN consumption
                   ON (consumption.into_item_id, consumption.into_batch_no) = (reported.into_item_id, reported.into_batch_no)
                  AND (consumption.item_id, consumption.batch_no) = (reported.item_id, reported.batch_no)
            LEFT JOIN booked_consumption AS booked USING (consumption_id)
            GROUP BY reported.into_item_id, reported.into_batch_no, reported.item_id, reported.batch_no, reported.quantity
            ORDER BY reported.item_id, reported.batch_no
            """,
            *wanted,
        )
        ingredients: dict[LotKey, list[Ingredient]] = {}
        for row in rows:
            ingredients.setdefault((row["into_item_id"], row["into_batch_no"]), []).append(
                Ingredient(row["quantity"], row["booked"], row["value"])
            )
        return {
            (row["item_id"], row["batch_no"]): LotBooks(
                row["final"],
                row["produced"],
                row["conversion"],
                tuple(ingredients.get((row["item_id"], row["batch_no"]), ())),
                _fraction(row["cost_numerator"], row["cost_denominator"]),
            )
            for row in heads
        }

    async def save_lot_costs(self, costs: Mapping[LotKey, Fraction]) -> None:
        """Keep what lots were found to cost per base unit."""
        await self._db.execute(
            """
            UPDATE production_lot
            SET cost_numerator = r.numerator, cost_denominator = r.denominator
            FROM unnest($1::text[], $2::text[], $3::numeric[], $4::numeric[]) AS r (item_id, batch_no, numerator, denominator)
            WHERE (production_lot.item_id, production_lot.batch_no) = (r.item_id, r.batch_no)
            """,
            *columns(((*lot, *_numbers(cost)) for lot, cost in costs.items()), 4),
        )

    async def batches_of_lots(self, lots: Iterable[LotKey]) -> dict[UUID, tuple[LotKey, bool]]:
        """The batches that came from production of these lots, and whether a movement of theirs waits for its value."""
        rows = await self._db.fetch(
            """
            SELECT DISTINCT asked.item_id, asked.batch_no, line.batch_id, batch_value.unknown
            FROM unnest($1::text[], $2::text[]) AS asked (item_id, batch_no)
            JOIN batch_value USING (item_id, batch_no)
            JOIN receipt_line AS line ON line.batch_id = batch_value.batch_id AND line.origin = 'production'
            """,
            *columns(set(lots), 2),
        )
        return {row["batch_id"]: ((row["item_id"], row["batch_no"]), row["unknown"]) for row in rows}

    async def give_cost(self, given: Sequence[tuple[UUID, UUID, Decimal, str, str, str]], now: dt.datetime) -> None:
        """Keep `(id, batch, unit cost, currency, reason, who)` of costs that a person gave."""
        await self._db.execute(
            """
            INSERT INTO given_cost (given_cost_id, batch_id, unit_cost, currency, reason, given_by, given_at)
            SELECT r.*, $7
            FROM unnest($1::uuid[], $2::uuid[], $3::numeric[], $4::text[], $5::text[], $6::text[]) AS r
            """,
            *columns(given, 6),
            now,
        )

    async def items_of_batches(self, batch_ids: Iterable[UUID]) -> set[str]:
        """The items of these batches, to be locked before their books are read."""
        rows = await self._db.fetch(
            "SELECT DISTINCT item_id FROM batch_value WHERE batch_id = ANY($1::uuid[])", list(set(batch_ids))
        )
        return {row["item_id"] for row in rows}


def basis_of(
    kind: PostingKind, quantity: Decimal, reference: str | None, reverses: UUID | None, prices: Mapping[str, Price]
) -> Price:
    """What a movement is valued at, as far as it is known by now."""
    if kind is PostingKind.REVERSAL and reverses is not None:
        return Price(Undoing(reverses), None)
    if quantity > 0 and kind in {PostingKind.RECEIPT, PostingKind.PRODUCTION}:
        return prices.get(reference or "", Price(NotYetPriced(), None))
    return Price(AtOwnCost(), None)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What the ERP did with a posting. `counts`: it was the first answer."""

    acknowledgement_id: UUID
    posting_id: UUID
    accepted: bool
    erp_document: str | None
    erp_year: int | None
    code: str | None
    text: str | None
    counts: bool

    def says_the_same_as(self, other: "Acknowledged") -> bool:
        """Whether both tell the same story of the same posting."""
        return (self.accepted, self.erp_document, self.erp_year, self.code, self.text) == (
            other.accepted, other.erp_document, other.erp_year, other.code, other.text,
        )  # fmt: skip


class AcknowledgementStore:
    """The ERP's answers, beside the postings."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    async def known(self, posting_ids: Iterable[UUID]) -> dict[UUID, list[Acknowledged]]:
        """What was acknowledged so far of each posting that exists."""
        rows = await self._db.fetch(
            """
            SELECT posting.posting_id AS asked, answer.*
            FROM posting
            LEFT JOIN acknowledgement AS answer USING (posting_id)
            WHERE posting.posting_id = ANY($1::uuid[])
            ORDER BY answer.received_at, answer.acknowledgement_id
            """,
            list(set(posting_ids)),
        )
        found: dict[UUID, list[Acknowledged]] = {}
        for row in rows:
            answers = found.setdefault(row["asked"], [])
            if row["acknowledgement_id"] is not None:
                answers.append(
                    Acknowledged(
                        row["acknowledgement_id"], row["asked"], row["accepted"], row["erp_document"], row["erp_year"],
                        row["code"], row["text"], row["counts"],
                    )
                )  # fmt: skip
        return found

    async def keep(self, answers: Sequence[Acknowledged], now: dt.datetime) -> None:
        """Keep answers."""
        await self._db.execute(
            """
            INSERT INTO acknowledgement (acknowledgement_id, posting_id, accepted, erp_document, erp_year, code, text,
                                         counts, received_at)
            SELECT r.*, $9
            FROM unnest($1::uuid[], $2::uuid[], $3::boolean[], $4::text[], $5::int[], $6::text[], $7::text[],
                        $8::boolean[]) AS r
            """,
            *columns(
                (
                    (
                        a.acknowledgement_id, a.posting_id, a.accepted, a.erp_document, a.erp_year, a.code, a.text,
                        a.counts,
                    )
                    for a in answers
                ),
                8,
            ),
            now,
        )  # fmt: skip


class CheckStore:
    """When items were last reconciled."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    async def next_items(self, limit: int) -> list[str]:
        """The items with stock in the books that were looked at longest ago, or never."""
        rows = await self._db.fetch(
            """
            SELECT item_id FROM (SELECT DISTINCT item_id FROM ledger_batch
                                 EXCEPT SELECT item_id FROM item_check) AS never
            UNION ALL
            (SELECT item_id FROM item_check ORDER BY checked_at LIMIT $1)
            LIMIT $1
            """,
            limit,
        )
        return [row["item_id"] for row in rows]

    async def save(self, found: Mapping[str, Sequence[BooksDiffer]], now: dt.datetime) -> None:
        """Keep what a look at each item found."""
        await self._db.execute(
            """
            INSERT INTO item_check (item_id, checked_at, holds, differences)
            SELECT item_id, $4, holds, differences::jsonb
            FROM unnest($1::text[], $2::boolean[], $3::text[]) AS r (item_id, holds, differences)
            ON CONFLICT (item_id) DO UPDATE
            SET checked_at = excluded.checked_at, holds = excluded.holds, differences = excluded.differences
            """,
            *columns(
                (
                    (
                        item_id,
                        not differences,
                        # As text: the driver takes a list inside a list for one more dimension of the array.
                        json.dumps(
                            [
                                {"batch_no": d.batch_no, "what": d.what, "one": str(d.one), "other": str(d.other)}
                                for d in differences
                            ]
                        ),
                    )
                    for item_id, differences in found.items()
                ),
                3,
            ),
            now,
        )
