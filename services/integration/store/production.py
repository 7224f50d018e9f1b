"""Production lots, their reports, and what they consumed."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from delivery import Connection, columns
from services.integration.domain.production import Known, Lot, Made, ReportStatus


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
            SELECT lot.source, lot.batch_no, lot.item_id
            FROM unnest($1::text[], $2::text[], $3::text[]) AS asked (source, batch_no, item_id)
            JOIN production_lot AS lot ON (lot.source, lot.batch_no) = (asked.source, asked.batch_no)
            UNION
            SELECT lot.source, lot.batch_no, lot.item_id
            FROM unnest($1::text[], $2::text[], $3::text[]) AS asked (source, batch_no, item_id)
            JOIN production_lot AS lot ON (lot.item_id, lot.batch_no) = (asked.item_id, asked.batch_no)
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
            INSERT INTO production_report (report_id, source, message_id, batch_no, item_id, work_order, sequence,
                                           final, quantity, conversion, corrects, status)
            SELECT r.*, 'waiting'
            FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::int[],
                        $8::boolean[], $9::numeric[], $10::numeric[], $11::uuid[]) AS r
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
            INSERT INTO consumption (consumption_id, report_id, into_item_id, into_batch_no, item_id, batch_no,
                                     quantity)
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
