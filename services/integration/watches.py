"""What time makes happen: the books are compared, some items at a time, for ever."""

import structlog
from prometheus_client import Gauge

from delivery import Announcements, Watch, Work
from services.integration import queries
from services.integration.domain.reconciliation import differences
from services.integration.store.acknowledgements import CheckStore

_log = structlog.get_logger("integration.reconciliation")

ITEMS_AT_A_TIME = 20

OPEN_DIFFERENCES = Gauge(
    "integration_book_differences", "Items whose books did not hold when they were last compared.", registry=None
)


async def compare_books(work: Work) -> Announcements:
    """Compare the books of the items that were looked at longest ago; a difference is logged as an error."""
    store = CheckStore(work.db)
    item_ids = await store.next_items(ITEMS_AT_A_TIME)
    # One statement sees one moment, and each movement changes the three books in one transaction: no lock is needed.
    books = await queries.books(work.db, item_ids)
    found = {item_id: differences(books.get(item_id, [])) for item_id in item_ids}
    for item_id, differ in found.items():
        for each in differ:
            _log.error(
                "the books do not hold",
                item_id=item_id,
                batch_no=each.batch_no,
                what=each.what,
                one=str(each.one),
                other=str(each.other),
            )
    await store.save(found, work.now)
    OPEN_DIFFERENCES.set(await queries.items_that_differ(work.db))
    return []


WATCHES = (Watch("reconciliation", every=lambda: 60, run=compare_books),)
