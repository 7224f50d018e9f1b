"""What time makes happen: batches near their expiry, and expire; sites that goods opened are told of."""

from uuid import UUID

from contracts.inventory import AlertKind
from delivery import Announcements, Work
from services.inventory.books import TIME, Books
from services.inventory.building import say_sites
from services.inventory.domain.expiry import ShelfLife, days_left, local_day, what_is_due
from services.inventory.store import InventoryStore

AT_ONCE = 2_000
"""Batches at sites that one run locks or speaks of; the next run goes on."""


async def watch_expiry(work: Work) -> Announcements:
    """Lock what expired at its site's midnight, and say once what will soon: after any pause, all of it."""
    books = Books(work)
    books.zones.update(await books.store.time_zones())
    days = {site_id: local_day(work.now, zone) for site_id, zone in books.zones.items()}
    seen = await books.store.due(days, items=None, limit=AT_ONCE)
    if not seen:
        return []
    items = {due.item_id for due in seen}
    await work.lock(items)
    await books.load_items(items)
    await books.load_holds(due.batch_id for due in seen)
    states: dict[tuple[UUID, str], str] = {}
    for due in await books.store.due(days, items=items, limit=AT_ONCE):
        where = (due.batch_id, due.site_id)
        what = what_is_due(due.watched, days[due.site_id])
        if what is ShelfLife.WAIT:
            continue
        if due.quantity == 0:
            states[where] = "gone"
        elif what is ShelfLife.LOCK:
            books.lock_expired(due.batch_id, due.item_id, due.site_id, due.watched.expires_on, TIME)
            states[where] = "expired"
        else:
            books.alert(
                AlertKind.NEAR_EXPIRY,
                f"{due.quantity:f} {due.unit} of batch {due.batch_no!r} at site {due.site_id!r} expire on "
                f"{due.watched.expires_on}: {days_left(due.watched.expires_on, days[due.site_id])} days are left",
                TIME,
                item_id=due.item_id,
                batch_id=due.batch_id,
                site_id=due.site_id,
                quantity=due.quantity,
                unit=due.unit,
            )
            states[where] = "near"
    await books.store.settle(states)
    await books.save()
    return books.said


async def watch_sites(work: Work) -> Announcements:
    """Say the sites that are not as they were last said: all of them once, those that goods opened, those that an older
    version of this service described.
    """
    store = InventoryStore(work.db)
    unsaid = await store.unsaid_sites()
    if not unsaid:
        return []
    await work.lock(unsaid)
    return await say_sites(work, store, unsaid)
