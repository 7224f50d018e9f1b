"""What integration keeps of the ledger and of receipts is as others said it. What stock is worth was decided here."""

from collections.abc import Sequence

from contracts.inventory import StockMoved
from contracts.receiving import BatchReceived
from delivery import Announcements, Derived, Rehear, Work, hears
from services.integration.store.receipts import ReceiptStore
from services.integration.store.valuation import added_to_ledger


@hears(StockMoved)
async def add_again(work: Work, events: Sequence[StockMoved]) -> Announcements:
    """The running sums of the ledger; nothing is valued or posted."""
    work.write_at_end(added_to_ledger(events))
    return []


@hears(BatchReceived)
async def keep_lines_again(work: Work, events: Sequence[BatchReceived]) -> Announcements:
    """What arrived, and for what."""
    await ReceiptStore(work.db).add_lines(events)
    return []


LEDGER = Rehear(
    "ledger",
    "inventory's and receiving's topics",
    tables=(Derived("ledger_batch", ("batch_id",)), Derived("receipt_line", ("reference",))),
    hears=(add_again, keep_lines_again),
)
