"""What a label says, in the words of this warehouse. Nothing is changed by asking."""

import datetime as dt
from collections.abc import Sequence

from delivery import Pool
from services.receiving import queries
from services.receiving.announcing import told
from services.receiving.bodies import ScanLabel
from services.receiving.domain.batches import Batch, differences
from services.receiving.domain.claims import TypedLine, claim_of
from services.receiving.domain.labels import Label, read_label
from services.receiving.domain.lines import claimed_facts
from services.receiving.domain.reasons import Reason
from services.receiving.domain.sites import NOWHERE
from services.receiving.settings import ReceivingSettings
from services.receiving.store import ReceivingStore
from services.receiving.views import ElementView, KnownBatch, ReasonView, ScannedItem, ScanView

MOST_EXPECTED = 20


async def scanned(
    db: Pool, body: ScanLabel, settings: ReceivingSettings, *, sites: Sequence[str] | None, now: dt.datetime
) -> ScanView:
    """Read the label, then say which item, batch and expected receipts it is about."""
    known_sites = NOWHERE
    if body.site_id is not None:
        async with db.acquire() as connection:
            known_sites = await ReceivingStore(connection).sites({body.site_id})
    on = settings.day_at(body.site_id or "", now, known_sites)
    label = read_label(body.scan, settings.scanners[body.scanner], on)
    if isinstance(label, Reason):
        return ScanView(verdict="refused", reasons=[_reason(label)])
    view = _as_read(label)
    view.reasons = [_reason(doubt) for doubt in label.doubts]
    if label.gtin is None:
        view.reasons.append(ReasonView(code="no_gtin", text="the label names no item: it has neither AI (01) nor (02)"))
        return view
    async with db.acquire() as connection:
        store = ReceivingStore(connection)
        aliases = (await store.aliases({label.gtin})).get(label.gtin, ())
        items = await store.items({alias.item_id for alias in aliases})
        if len(aliases) != 1 or not items[aliases[0].item_id].active:
            view.verdict = "refused"
            view.reasons.insert(0, _unusable(label.gtin, [alias.item_id for alias in aliases]))
            return view
        alias = aliases[0]
        item = items[alias.item_id]
        view.item = ScannedItem(item_id=item.item_id, name=item.name, unit=alias.unit, base_unit=item.base_unit)
        if label.batch_no is not None:
            known = (await store.batches_numbered({(item.item_id, label.batch_no)})).get(
                (item.item_id, label.batch_no), []
            )
            view.batches = [KnownBatch(batch_id=b.batch_id, item_id=b.item_id, batch=told(b.facts)) for b in known]
            view.reasons += [_reason(reason) for batch in known if (reason := _contradiction(batch, label, on))]
    expected = await queries.expected_receipts(
        db, sites=sites, item_id=item.item_id, only_open=True, after=None, limit=MOST_EXPECTED
    )
    view.expected_receipts = expected.items
    return view


def _reason(reason: Reason) -> ReasonView:
    return ReasonView(code=reason.code, text=reason.text)


def _as_read(label: Label) -> ScanView:
    return ScanView(
        verdict="accepted",
        text=label.text,
        elements=[ElementView(ai=ai, value=value) for ai, value in label.elements],
        repaired=[*label.changes],
        gtin=label.gtin,
        sscc=label.sscc,
        serial=label.serial,
        batch_no=label.batch_no,
        manufactured_on=label.manufactured_on,
        expires_on=label.expires_on,
        expiry_precision=label.expiry_precision,
        best_before=label.best_before,
        count=label.count,
        net_weight_kg=label.net_weight_kg,
    )


def _unusable(gtin: str, item_ids: Sequence[str]) -> ReasonView:
    if not item_ids:
        return ReasonView(code="unknown_gtin", text=f"GTIN {gtin} is no item of the catalog")
    if len(item_ids) > 1:
        return ReasonView(code="ambiguous_gtin", text=f"GTIN {gtin} names the items {', '.join(item_ids)}")
    return ReasonView(code="item_inactive", text=f"item {item_ids[0]!r} is no longer active")


def _contradiction(batch: Batch, label: Label, on: dt.date) -> Reason | None:
    """Where the label and a batch of this number disagree; only dates, since a label names no supplier."""
    claim = claim_of(TypedLine(), label, (), None, partner_id=None, site_id="")
    claimed = claimed_facts(claim, batch.facts.batch_no, on)
    differs = [name for name in differences(batch.facts, claimed) if name != "origin"]
    if not differs:
        return None
    says = "; ".join(
        f"{name} is {getattr(batch.facts, name)} on record, {getattr(claimed, name)} on the label" for name in differs
    )
    return Reason("batch_differs", f"batch {batch.facts.batch_no!r} is known with other facts: {says}")
