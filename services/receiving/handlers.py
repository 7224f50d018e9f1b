"""What receiving hears: the catalog, the sites, and what will arrive."""

from collections.abc import Sequence
from dataclasses import fields, replace

from contracts.integration import ExpectedReceiptWithdrawn, ItemDefined, PartnerDefined, ReceiptExpected
from contracts.inventory import SiteDefined
from delivery import Announcements, Work, hears
from services.receiving.domain.expected import Expected, ExpectedStatus, restated
from services.receiving.domain.items import plain
from services.receiving.store import ReceivingStore


@hears(ItemDefined)
async def define_items(work: Work, items: Sequence[ItemDefined]) -> Announcements:
    """Take over items; of several definitions of one item the highest revision counts."""
    latest = {item.item_id: item for item in sorted(items, key=lambda item: item.revision)}
    await ReceivingStore(work.db).define_items([*latest.values()])
    return []


@hears(PartnerDefined)
async def define_partners(work: Work, partners: Sequence[PartnerDefined]) -> Announcements:
    """Take over suppliers and customers."""
    latest = {partner.partner_id: partner for partner in sorted(partners, key=lambda partner: partner.revision)}
    await ReceivingStore(work.db).define_partners([*latest.values()])
    return []


@hears(SiteDefined)
async def define_sites(work: Work, sites: Sequence[SiteDefined]) -> Announcements:
    """Take over sites: their time zones, and where goods may arrive."""
    latest = {site.site_id: site for site in sorted(sites, key=lambda site: site.revision)}
    await ReceivingStore(work.db).define_sites([*latest.values()])
    return []


_ANNOUNCED = [field.name for field in fields(Expected) if field.name not in ("received", "status", "withdrawn_reason")]


@hears(ReceiptExpected, ExpectedReceiptWithdrawn)
async def expect_receipts(work: Work, events: Sequence[ReceiptExpected | ExpectedReceiptWithdrawn]) -> Announcements:
    """Expect goods, or no longer; what has already come of them stays counted.

    A withdrawal of something that was never expected here changes nothing: there is nothing to withdraw.
    """
    store = ReceivingStore(work.db)
    known = await store.expected({event.expected_receipt_id for event in events})
    items = await store.items({event.item_id for event in events})
    for event in events:
        before = known.get(event.expected_receipt_id)
        if isinstance(event, ReceiptExpected):
            said = Expected(**{name: getattr(event, name) for name in _ANNOUNCED})
            expected = replace(said, quantity=plain(said.quantity))
            known[event.expected_receipt_id] = restated(expected, before, items.get(event.item_id))
        elif before is not None:
            known[event.expected_receipt_id] = replace(
                before, status=ExpectedStatus.WITHDRAWN, withdrawn_reason=event.reason
            )
    await store.keep_expected([*known.values()], work.now)
    return []
