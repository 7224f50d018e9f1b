"""What stock is worth, and what was posted."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

from contracts.integration import CostPosted, PostingKind
from contracts.inventory import StockMoved
from delivery import Connection, NewRows, Write, columns
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
from services.integration.store.fractions import from_fraction, to_fraction


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
                    to_fraction(row["unit_cost_numerator"], row["unit_cost_denominator"]),
                    row["unknown"],
                ),
            )
            for row in rows
        }

    async def prices(self, references: Iterable[str]) -> dict[str, Price]:
        """What is known of the cost of receipts, by the reference in the ledger; none for one not yet heard of."""
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
            made_at = to_fraction(row["cost_numerator"], row["cost_denominator"])
            factor = to_fraction(row["unit_numerator"], row["unit_denominator"])
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

    async def post(self, postings: Sequence[CostPosted], now: dt.datetime) -> None:
        """Keep postings, in their order."""
        await self._db.execute(
            """
            WITH posted AS (
                INSERT INTO posting (posting_id, kind, item_id, batch_id, batch_no, quantity, unit, unit_cost, value,
                                     currency, movement_id, movement_sequence, posting_date, reference, partner_id,
                                     reverses, variance, posted_at)
                SELECT posting_id, kind, item_id, batch_id, batch_no, quantity, unit, unit_cost, value,
                       currency, movement_id, movement_sequence, posting_date, reference, partner_id,
                       reverses, variance, $19
                FROM unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::text[], $6::numeric[], $7::text[],
                            $8::numeric[], $9::numeric[], $10::text[], $11::uuid[], $12::bigint[], $13::date[],
                            $14::text[], $15::text[], $16::uuid[], $17::numeric[], $18::int[])
                     AS r (posting_id, kind, item_id, batch_id, batch_no, quantity, unit, unit_cost, value,
                           currency, movement_id, movement_sequence, posting_date, reference, partner_id, reverses,
                           variance, n)
                ORDER BY n
                RETURNING number, posting_id, item_id
            )
            INSERT INTO unanswered_posting (number, posting_id, item_id)
            SELECT number, posting_id, item_id FROM posted
            """,
            *columns(
                (
                    (
                        p.posting_id, p.kind.value, p.item_id, p.batch_id, p.batch_no, p.quantity, p.unit, p.unit_cost,
                        p.value, p.currency, p.movement_id, p.movement_sequence, p.posting_date, p.reference,
                        p.partner_id, p.reverses, p.variance, n,
                    )
                    for n, p in enumerate(postings)
                ),
                18,
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
                   ON (consumption.into_item_id, consumption.into_batch_no)
                    = (reported.into_item_id, reported.into_batch_no)
                  AND (consumption.item_id, consumption.batch_no) = (reported.item_id, reported.batch_no)
            LEFT JOIN booked_consumption AS booked USING (consumption_id)
            GROUP BY reported.into_item_id, reported.into_batch_no, reported.item_id, reported.batch_no,
                     reported.quantity
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
                to_fraction(row["cost_numerator"], row["cost_denominator"]),
            )
            for row in heads
        }

    async def save_lot_costs(self, costs: Mapping[LotKey, Fraction]) -> None:
        """Keep what lots were found to cost per base unit."""
        await self._db.execute(
            """
            UPDATE production_lot
            SET cost_numerator = r.numerator, cost_denominator = r.denominator
            FROM unnest($1::text[], $2::text[], $3::numeric[], $4::numeric[])
                 AS r (item_id, batch_no, numerator, denominator)
            WHERE (production_lot.item_id, production_lot.batch_no) = (r.item_id, r.batch_no)
            """,
            *columns(((*lot, *from_fraction(cost)) for lot, cost in costs.items()), 4),
        )

    async def arrived_from_production(self, batch_ids: Iterable[UUID]) -> dict[UUID, Decimal]:
        """How much of these batches came in at their lot's cost, in base units; what was undone is left out."""
        rows = await self._db.fetch(
            """
            SELECT layer.batch_id, sum(layer.quantity) AS quantity
            FROM cost_layer AS layer
            WHERE layer.batch_id = ANY($1::uuid[]) AND layer.source = 'production'
              AND NOT EXISTS (SELECT
                              FROM posting AS undoing
                              JOIN posting AS undone ON undone.posting_id = undoing.reverses
                              WHERE undoing.batch_id = layer.batch_id AND undoing.kind = 'reversal'
                                AND undone.movement_id = layer.movement_id)
            GROUP BY layer.batch_id
            """,
            list(set(batch_ids)),
        )
        return {row["batch_id"]: row["quantity"] for row in rows}

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


def added_to_ledger(moves: Sequence[StockMoved]) -> Write:
    """Movements, added to the running sums. SQL alone does it, so that it can bear witness against the valuation."""
    return Write(
        """
        INSERT INTO ledger_batch (batch_id, item_id, batch_no, unit, quantity, sequence)
        SELECT batch_id, min(item_id), min(batch_no), min(unit),
               sum(CASE to_kind WHEN 'location' THEN quantity ELSE 0 END
                 - CASE from_kind WHEN 'location' THEN quantity ELSE 0 END),
               max(sequence)
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::numeric[], $6::text[], $7::text[],
                    $8::bigint[])
             AS moved (batch_id, item_id, batch_no, unit, quantity, from_kind, to_kind, sequence)
        GROUP BY batch_id
        ON CONFLICT (batch_id) DO UPDATE
        SET quantity = ledger_batch.quantity + excluded.quantity, sequence = excluded.sequence
        """,
        columns(
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


def now_worth(batches: Sequence[Batch]) -> Write:
    """What batches are worth, to be kept. The CHECKs are the last guard: never below zero, nothing is worth nothing."""
    return Write(
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
        columns(
            (
                (
                    batch.batch_id, batch.item_id, batch.batch_no, batch.unit, batch.value.quantity,
                    batch.value.value, batch.value.unknown, *from_fraction(batch.value.unit_cost),
                )
                for batch in batches
            ),
            9,
        ),
    )  # fmt: skip


def unvalued_rows(movements: Sequence[tuple[UUID, Unvalued]]) -> NewRows:
    """Movements, with their batch, that wait for a value."""
    return NewRows(
        "unvalued_movement",
        {
            "movement_id": "uuid", "batch_id": "uuid", "sequence": "bigint", "quantity": "numeric", "kind": "text",
            "reference": "text", "reverses": "uuid",
        },
        [
            (
                each.change.movement_id, batch_id, each.sequence, each.change.quantity, each.kind.value, each.reference,
                each.reverses,
            )
            for batch_id, each in movements
        ],
    )  # fmt: skip


def layer_rows(layers: Sequence[Layer], now: dt.datetime) -> NewRows:
    """What came in at a cost of its own."""
    return NewRows(
        "cost_layer",
        {
            "movement_id": "uuid", "batch_id": "uuid", "sequence": "bigint", "quantity": "numeric", "value": "numeric",
            "source": "text", "learnt_at": "timestamptz",
        },
        [
            (layer.movement_id, layer.batch_id, layer.sequence, layer.quantity, layer.value, layer.source, now)
            for layer in layers
        ],
    )  # fmt: skip


def booked_rows(booked: Sequence[tuple[UUID, UUID, Decimal, Decimal | None]]) -> NewRows:
    """`(movement, consumption, quantity, value)` as the ledger booked it; values have the sign of quantities."""
    columns_of = {"movement_id": "uuid", "consumption_id": "uuid", "quantity": "numeric", "value": "numeric"}
    return NewRows("booked_consumption", columns_of, booked)
