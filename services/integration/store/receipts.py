"""What is expected, and what arrived."""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

from contracts.integration import ReceiptExpected
from contracts.receiving import BatchReceived
from delivery import Connection, columns
from services.integration.store.fractions import from_fraction


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
            INSERT INTO expected_receipt (expected_receipt_id, origin, item_id, quantity, unit, site_id, due_on,
                                          partner_id, batch_no, supplier_batch_no, manufactured_on, expires_on,
                                          best_before, reference, entered_quantity, entered_unit, unit_numerator,
                                          unit_denominator, cost_basis, unit_cost, currency, report_id, expected_at)
            SELECT r.*, $23
            FROM unnest($1::uuid[], $2::text[], $3::text[], $4::numeric[], $5::text[], $6::text[], $7::date[],
                        $8::text[], $9::text[], $10::text[], $11::date[], $12::date[], $13::date[], $14::text[],
                        $15::numeric[], $16::text[], $17::numeric[], $18::numeric[], $19::text[],
                        $20::numeric[], $21::text[], $22::uuid[]) AS r
            """,
            *columns(
                (
                    (
                        e.event.expected_receipt_id, e.event.origin.value, e.event.item_id, e.event.quantity,
                        e.event.unit, e.event.site_id, e.event.due_on, e.event.partner_id, e.event.batch_no,
                        e.event.supplier_batch_no, e.event.manufactured_on, e.event.expires_on, e.event.best_before,
                        e.event.reference, e.entered_quantity, e.entered_unit, *from_fraction(e.factor), e.cost_basis,
                        e.unit_cost, e.currency, e.report_id,
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
