"""Lines that a person pasted: `batch number;quantity`, one a line, as spreadsheets and mails have them."""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from contracts.gs1 import batch_no_problem
from contracts.values import QUANTITY_DIGITS, QUANTITY_PLACES
from services.receiving.domain.items import plain
from services.receiving.domain.reasons import Reason

MOST_LINES = 2_000


@dataclass(frozen=True, slots=True)
class PastedLine:
    """One line as it was understood. `text_line` counts what was pasted, 1 first; `problem` says why it is unusable."""

    text_line: int
    batch_no: str
    quantity: Decimal | None
    problem: Reason | None = None


def pasted_lines(text: str) -> list[PastedLine]:
    """What each line that is not blank says: batch number, then `;` or a tab, then a quantity; without one it is 1.

    Duplicates stay: two lines of one batch are two receipts of it. A decimal comma is not guessed at.
    """
    lines = []
    for number, written in enumerate(text.splitlines(), start=1):
        if not written.strip():
            continue
        batch_no, separator, rest = written.strip().replace("\t", ";").partition(";")
        batch_no = batch_no.strip()
        if (says := batch_no_problem(batch_no)) is not None:
            lines.append(PastedLine(number, batch_no, None, Reason("batch_no", says)))
            continue
        amount = _quantity(rest.strip()) if separator and rest.strip() else Decimal(1)
        if isinstance(amount, Reason):
            lines.append(PastedLine(number, batch_no, None, amount))
        else:
            lines.append(PastedLine(number, batch_no, amount))
    return lines


def _quantity(written: str) -> Decimal | Reason:
    refused = Reason(
        "quantity",
        f"quantity {written!r}: a decimal number more than 0 is needed, with a point, "
        f"{QUANTITY_DIGITS - QUANTITY_PLACES} digits before it and {QUANTITY_PLACES} after it at most",
    )
    if not written.isascii() or any(character not in "0123456789." for character in written):
        return refused
    try:
        quantity = Decimal(written)
    except InvalidOperation:
        return refused
    whole, _, decimals = written.partition(".")
    if quantity <= 0 or len(whole) > QUANTITY_DIGITS - QUANTITY_PLACES or len(decimals) > QUANTITY_PLACES:
        return refused
    return plain(quantity)
