"""What allocation hears. Demands are promised stock; the ledger is followed; the catalog is remembered."""

from collections.abc import Sequence

from contracts.allocation import DemandCancelled
from contracts.integration import DemandRaised, DemandWithdrawn, ItemDefined, PartnerDefined
from contracts.inventory import HoldLifted, HoldPlaced, IssueRefused, SiteDefined, StockMoved
from contracts.receiving import BatchDatesCorrected
from contracts.trace import BatchRecalled, BatchRecallLifted
from delivery import Announcement, Announcements, Said, Work, hears, in_turns
from services.allocation.domain.terms import Demand
from services.allocation.following import StockEvent, floor_of, follow, settle
from services.allocation.promising import serve, serve_waiting
from services.allocation.store import AllocationStore


@hears(DemandRaised)
async def promise_stock(work: Work, demands: Sequence[DemandRaised]) -> Announcements:
    """Promise stock to demands in the order they were raised; a shortage is announced, not raised."""
    store = AllocationStore(work.db)
    known = await store.known(demand.demand_id for demand in demands)
    new = {demand.demand_id: demand for demand in reversed(demands) if demand.demand_id not in known}
    raised = [_demand(event) for event in demands if new.get(event.demand_id) is event]
    outcomes = await serve(work, store, raised, raised=True)
    said: list[Announcement] = []
    async for outcome in in_turns(outcomes):
        said += [Said(event, new[outcome.demand.demand_id]) for event in outcome.events()]
    return said


@hears(DemandWithdrawn)
async def withdraw_demands(work: Work, withdrawn: Sequence[DemandWithdrawn]) -> Announcements:
    """Free what was promised to demands that are no longer wanted, and serve those that wait for it."""
    store = AllocationStore(work.db)
    last = {event.demand_id: event for event in withdrawn}
    demands = await store.demands(last)
    followed = await floor_of(store, await store.claims(demand_ids=last))
    said: list[Announcement] = []
    for demand in demands:
        event = last[demand.demand_id]
        said.append(
            Said(
                DemandCancelled(
                    demand_id=demand.demand_id,
                    item_id=demand.item_id,
                    freed=followed.floor.cancelled(demand.demand_id, event.reason),
                    unit=demand.unit,
                    reason=event.reason,
                    cancelled_at=work.now,
                ),
                event,
            )
        )
    await store.cancel(((demand.demand_id, last[demand.demand_id].reason) for demand in demands), work.now)
    freed = await settle(work, store, followed.floor, followed.known)
    for outcome in await serve_waiting(work, store, freed):
        said += outcome.events()
    return said


@hears(StockMoved, HoldPlaced, HoldLifted, IssueRefused, BatchRecalled, BatchRecallLifted, BatchDatesCorrected)
async def follow_stock(work: Work, heard: Sequence[StockEvent]) -> Announcements:
    """Keep the shelf as the ledger says; take back what is no longer there, and promise what is free again."""
    return await follow(work, AllocationStore(work.db), heard)


@hears(ItemDefined)
async def learn_items(work: Work, items: Sequence[ItemDefined]) -> Announcements:
    """Remember what allocation needs of items. One that no longer requires expiry dates may serve who waits."""
    store = AllocationStore(work.db)
    eased = await store.define_items({item.item_id: item for item in items}.values())
    if not eased:
        return []
    await work.lock(eased)
    shelves = await store.waiting_shelves(item_ids=eased)
    return [event for outcome in await serve_waiting(work, store, shelves) for event in outcome.events()]


@hears(PartnerDefined)
async def learn_customers(work: Work, partners: Sequence[PartnerDefined]) -> Announcements:
    """Remember what customers want left of a batch's life. Their waiting demands are looked at by the new rules.

    Promises stay: they were made by the rules of their day, which their plans hold.
    """
    store = AllocationStore(work.db)
    changed = await store.define_customers({partner.partner_id: partner for partner in partners}.values())
    if not changed:
        return []
    shelves = await store.waiting_shelves(customer_ids=changed)
    await work.lock({item_id for item_id, _ in shelves})
    return [event for outcome in await serve_waiting(work, store, shelves) for event in outcome.events()]


@hears(SiteDefined)
async def learn_sites(work: Work, sites: Sequence[SiteDefined]) -> Announcements:
    """Remember where picked goods may be put."""
    latest = {site.site_id: site for site in sorted(sites, key=lambda site: site.revision)}
    await AllocationStore(work.db).define_sites(latest.values())
    return []


def _demand(event: DemandRaised) -> Demand:
    return Demand(
        demand_id=event.demand_id,
        reference=event.reference,
        customer_id=event.customer_id,
        site_id=event.site_id,
        item_id=event.item_id,
        unit=event.unit,
        quantity=event.quantity,
        missing=event.quantity,
        needed_on=event.needed_on,
        strategy=event.strategy,
        batch_no=event.batch_no,
        min_days_left=event.min_days_left,
        min_percent_left=event.min_percent_left,
        raised_at=event.raised_at,
    )
