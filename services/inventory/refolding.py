"""The books folded again from the ledger, item by item, while inventory serves."""

from collections.abc import Sequence
from decimal import Decimal
from uuid import UUID

from delivery import Connection, Refolded, Work
from services.inventory.queries import differences, items_after
from services.inventory.store import InventoryStore


async def next_items(db: Connection, after: str, limit: int) -> list[str]:
    """The items after one that the ledger, holds, balances or numbers speak of, in their order."""
    return await items_after(db, after, limit)


async def fold_again(work: Work, items: Sequence[str]) -> Refolded:
    """Put balances, last numbers and the expiry watch's list right, where they are not what the ledger adds up to.

    An item is locked only where something differs, and looked at again under its lock.
    """
    seen = {row[0] for row in await differences(work.db, items)}
    store = InventoryStore(work.db)
    suspects = seen | await store.unwatched(items)
    if not suspects:
        return Refolded(len(items), [])
    await work.lock(suspects)
    told: list[str] = []
    balances: list[tuple[UUID, str, str, str, str, Decimal]] = []
    for item_id, batch_id, site_id, location_id, quality, of, ledger, kept in await differences(
        work.db, list(suspects)
    ):
        if of == "balance":
            balances.append((batch_id, site_id, location_id, quality, item_id, ledger))
            told.append(
                f"item {item_id!r}, batch {batch_id}, {quality} at {location_id!r} of site {site_id!r}: "
                f"{kept:f} was kept, the ledger says {ledger:f}"
            )
    await store.put_balances(balances)
    for item_id, kept, last in await store.renumber(list(suspects)):
        told.append(f"item {item_id!r}: {kept} was kept as its last number, the ledger says {last}")
    for batch_id, site_id in await store.watch_unwatched(list(suspects)):
        told.append(f"batch {batch_id} at site {site_id!r}: the expiry watch did not know of it")
    return Refolded(len(items), told)
