"""The ERP's answers to postings, and when the books were last compared."""

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from delivery import Connection, columns
from services.integration.domain.reconciliation import Difference as BooksDiffer


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
        """Keep answers; a posting that has one is answered."""
        await self._db.execute(
            "DELETE FROM unanswered_posting WHERE posting_id = ANY($1::uuid[])",
            [answer.posting_id for answer in answers],
        )
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
