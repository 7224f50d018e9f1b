"""The checker: folds the ledger again, item by item, and raises an alarm at the first difference from the balances."""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from prometheus_client import Gauge

from contracts.inventory import AlertKind, StockAlertRaised
from delivery import Announcement, Announcements, Answer, Work, does, new_id
from services.inventory.queries import differences, last_check, open_differences, slice_after
from services.inventory.store import Difference, InventoryStore

_log = structlog.get_logger("inventory.checker")

LINES_AT_ONCE = 50_000
"""Ledger lines that one run folds again, at most (but at least one item): cheap beside the work it watches."""

OPEN_DIFFERENCES = Gauge(
    "inventory_ledger_differences", "Balances or sequences that the ledger does not confirm: 0, or call a person.",
    registry=None,
)  # fmt: skip


async def check_slice(work: Work) -> Announcements:
    """Compare the next items of the round with the ledger; after the last item the next round begins."""
    store = InventoryStore(work.db)
    after = await store.check_round()
    items = await slice_after(work.db, after, LINES_AT_ONCE)
    said = await _compare(work, items)
    await store.keep_round(items[-1] if items else "", len(items), over=not items, now=work.now)
    return said


@dataclass(frozen=True, slots=True, eq=False)
class CheckNow:
    """Compare every item with the ledger now."""


@does(CheckNow)
async def check_now(work: Work, commands: Sequence[CheckNow]) -> Sequence[Answer]:
    """Compare every item; all who asked meanwhile get the same answer, and the first is named as the cause."""
    store = InventoryStore(work.db)
    await store.check_round()
    count, after = 0, ""
    said: list[Announcement] = []
    while items := await slice_after(work.db, after, LINES_AT_ONCE):
        said += await _compare(work, items)
        count, after = count + len(items), items[-1]
    await store.keep_round("", count, over=True, now=work.now)
    view = await last_check(work.db)
    return [Answer(view, 200, said if n == 0 else ()) for n, _ in enumerate(commands)]


async def _compare(work: Work, items: list[str]) -> list[Announcement]:
    if not items:
        # Nothing to compare; what was found before this process began is still open, or is not.
        OPEN_DIFFERENCES.set(await open_differences(work.db))
        return []
    found = [Difference(new_id(), row[:6], row[6], row[7]) for row in await differences(work.db, items)]
    new = await InventoryStore(work.db).keep_differences(items, found, work.now)
    OPEN_DIFFERENCES.set(await open_differences(work.db))
    said: list[Announcement] = []
    for each in new:
        item_id, batch_id, site_id, location_id, quality, of = each.what
        where = f"batch {batch_id}, {quality} at {location_id!r} of site {site_id!r}" if batch_id else "its sequence"
        text = f"item {item_id!r}, {where}: the ledger says {each.ledger:f}, the {of} kept is {each.kept:f}"
        _log.error("ledger and books differ", item=item_id, text=text)
        said.append(
            StockAlertRaised(
                alert_id=new_id(),
                kind=AlertKind.LEDGER_DIFFERENCE,
                item_id=item_id,
                batch_id=batch_id,
                site_id=site_id,
                location_id=location_id,
                text=text[:400],
                reference=str(each.difference_id),
                raised_at=work.now,
            )
        )
    return said
