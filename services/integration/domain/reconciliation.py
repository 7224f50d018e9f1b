"""Do stock, value and postings tell the same story?"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class BatchBooks:
    """One batch in the three books: the ledger as heard, the valuation, and what was posted. Base units and money."""

    batch_id: str
    batch_no: str
    ledger_quantity: Decimal
    valued_quantity: Decimal
    posted_quantity: Decimal
    value: Decimal
    posted_value: Decimal
    unknown: bool


@dataclass(frozen=True, slots=True)
class Difference:
    """Two figures of a batch that must be equal and are not, or a limit that was crossed."""

    batch_id: str
    batch_no: str
    what: str
    one: Decimal
    other: Decimal


def differences(books: Sequence[BatchBooks]) -> list[Difference]:
    """Everything that does not add up; empty when the books hold."""
    found: list[Difference] = []
    for batch in books:
        compared = (
            ("ledger quantity and valued quantity", batch.ledger_quantity, batch.valued_quantity),
            ("valued quantity and posted quantity", batch.valued_quantity, batch.posted_quantity),
            ("value and posted value", batch.value, batch.posted_value),
        )
        found += [
            Difference(batch.batch_id, batch.batch_no, what, one, other)
            for what, one, other in compared
            if one != other
        ]
        if batch.value < 0:
            found.append(Difference(batch.batch_id, batch.batch_no, "value below zero", batch.value, Decimal(0)))
        if not batch.unknown and batch.valued_quantity == 0 and batch.value != 0:
            found.append(Difference(batch.batch_id, batch.batch_no, "value of an empty batch", batch.value, Decimal(0)))
    return found
