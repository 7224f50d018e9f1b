"""What trace hears: everything with a timeline. One handler takes a whole chunk; order across types does not matter.

Facts are inserted, folds are sums, links join names: whatever comes first, the same stands there at the end. Only what
allocation promises depends on the order of its own events, and those of one item keep theirs.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import TypeVar
from uuid import UUID

from contracts.allocation import (
    AllocationRevoked,
    DemandAllocated,
    DemandCancelled,
    DemandShort,
    PickConfirmed,
    PickRefused,
    ShipmentDispatched,
)
from contracts.event import Event
from contracts.integration import (
    BatchProduced,
    CostPosted,
    DemandRaised,
    DemandWithdrawn,
    ExpectedReceiptWithdrawn,
    ItemDefined,
    MaterialConsumed,
    PartnerDefined,
    ReceiptExpected,
)
from contracts.inventory import HoldLifted, HoldPlaced, IssueRefused, SiteDefined, StockAlertRaised, StockMoved
from contracts.receiving import (
    BatchDatesCorrected,
    BatchInspected,
    BatchReceived,
    BatchRegistered,
    ReceiptConflictFound,
    ReceiptConflictSettled,
)
from delivery import Announcements, Work, hears
from services.trace.domain.custody import Step, flows_of
from services.trace.domain.names import name_id
from services.trace.domain.promises import promise_changes
from services.trace.domain.sentences import detail_of, lines_of
from services.trace.queries import bearers_of_numbers
from services.trace.scopes import extend_recalls
from services.trace.store import Introduced, Told, TraceStore, spot_of

NOT_HEARD: tuple[type[Event], ...] = (SiteDefined,)
"""What a site is like is the past of no batch, item or partner: timelines name sites by their codes."""

HEARD: tuple[type[Event], ...] = (
    ItemDefined,
    PartnerDefined,
    ReceiptExpected,
    ExpectedReceiptWithdrawn,
    BatchProduced,
    MaterialConsumed,
    DemandRaised,
    DemandWithdrawn,
    CostPosted,
    BatchRegistered,
    BatchDatesCorrected,
    BatchReceived,
    BatchInspected,
    ReceiptConflictFound,
    ReceiptConflictSettled,
    StockMoved,
    HoldPlaced,
    HoldLifted,
    IssueRefused,
    StockAlertRaised,
    DemandAllocated,
    DemandShort,
    AllocationRevoked,
    DemandCancelled,
    PickConfirmed,
    PickRefused,
    ShipmentDispatched,
)

E = TypeVar("E", bound=Event)


class Heard:
    """The events of a chunk, told apart by type, each type in its order."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._by_type: dict[type[Event], list[Event]] = defaultdict(list)
        for event in events:
            self._by_type[type(event)].append(event)

    def of(self, event: type[E]) -> list[E]:
        """Those of one type."""
        return self._by_type.get(event, [])  # type: ignore[return-value]


@hears(*HEARD)
async def remember(work: Work, events: Sequence[Event]) -> Announcements:
    """Keep what was said: genealogy, custody, promises, timelines; say what it adds to open recalls."""
    store = TraceStore(work.db)
    heard = Heard(events)
    await _remember_what_happened(work, store, heard, events)
    touched = await _remember_genealogy(work, store, heard)
    return await extend_recalls(work.db, touched, work.now) if touched else []


async def remember_facts(work: Work, events: Sequence[Event]) -> None:
    """Keep what was said, and look at no recall."""
    store = TraceStore(work.db)
    heard = Heard(events)
    await _remember_what_happened(work, store, heard, events)
    await _keep_genealogy(store, *await _introductions(store, heard), heard.of(BatchProduced))


async def _remember_what_happened(work: Work, store: TraceStore, heard: Heard, events: Sequence[Event]) -> None:
    await _remember_catalog(store, heard)
    await _remember_custody(store, heard)
    await _remember_outbound(store, heard, events)
    await store.tell(_lines(work, events))


async def _remember_catalog(store: TraceStore, heard: Heard) -> None:
    if items := heard.of(ItemDefined):
        await store.define_items(items)
    if partners := heard.of(PartnerDefined):
        await store.define_partners(partners)


async def _remember_genealogy(work: Work, store: TraceStore, heard: Heard) -> set[UUID]:
    """Keep batches and links; returns the names that an open recall may have to look at.

    Done last: the locks it takes are then held as short as can be.
    """
    introduced, corrected = await _introductions(store, heard)
    reports = heard.of(BatchProduced)
    recalls_open = False
    if introduced or corrected or reports:
        recalls_open = await store.grow_genealogy()
    await _keep_genealogy(store, introduced, corrected, reports)
    if not recalls_open:
        return set()
    numbers = {(each.item_id, each.facts.batch_no) for each in introduced}
    numbers |= {(event.item_id, event.before.batch_no) for event in corrected}
    consumed = {(each.item_id, each.batch_no) for report in reports for each in report.consumed}
    by_supplier = {
        (each.item_id, each.supplier_batch_no)
        for report in reports
        for each in report.consumed
        if each.supplier_batch_no is not None
    }
    by_supplier |= {
        (item_id, facts.supplier_batch_no)
        for item_id, facts in (
            *((each.item_id, each.facts) for each in introduced),
            *((event.item_id, event.after) for event in corrected),
        )
        if facts.supplier_batch_no is not None
    }
    names = {name_id(*number) for number in numbers | consumed | by_supplier}
    return names | await bearers_of_numbers(work.db, consumed | by_supplier)


async def _keep_genealogy(
    store: TraceStore,
    introduced: Sequence[Introduced],
    corrected: Sequence[BatchDatesCorrected],
    reports: Sequence[BatchProduced],
) -> None:
    if introduced:
        await store.introduce(introduced)
    if corrected:
        await store.correct_facts({event.batch_id: event.after for event in corrected})
    if reports:
        await store.add_reports(reports)


async def _introductions(store: TraceStore, heard: Heard) -> tuple[list[Introduced], list[BatchDatesCorrected]]:
    """Batches that are spoken of for the first time, whoever does it first; and what a person corrected."""
    registered = {
        event.batch_id: Introduced(event.batch_id, event.item_id, event.batch, event.registered_at)
        for event in heard.of(BatchRegistered)
    }
    corrected = {event.batch_id: event for event in heard.of(BatchDatesCorrected)}
    mentions: list[StockMoved | BatchReceived] = [*heard.of(StockMoved), *heard.of(BatchReceived)]
    spoken_of = {event.batch_id: Introduced(event.batch_id, event.item_id, event.batch) for event in mentions}
    spoken_of |= {batch_id: Introduced(batch_id, event.item_id, event.after) for batch_id, event in corrected.items()}
    others = spoken_of.keys() - registered.keys()
    unknown = await store.unknown_batches(others) if others else set()
    introduced = [*registered.values(), *(each for batch_id, each in spoken_of.items() if batch_id in unknown)]
    return introduced, [*corrected.values()]


async def _remember_custody(store: TraceStore, heard: Heard) -> None:
    if receipts := heard.of(BatchReceived):
        await store.add_receipts(receipts)
    if movements := heard.of(StockMoved):
        new = await store.add_movements(movements)
        steps: dict[UUID, list[Step]] = defaultdict(list)
        units = {moved.batch_id: moved.unit for moved in movements}
        for moved in movements:
            if moved.movement_id in new:
                new.discard(moved.movement_id)
                steps[moved.batch_id].append(
                    Step(
                        moved.quantity,
                        spot_of(moved.from_place),
                        spot_of(moved.to_place),
                        undoes=moved.reverses is not None,
                    )
                )
        await store.add_flows(
            (batch_id, units[batch_id], spot, flow)
            for batch_id, taken in steps.items()
            for spot, flow in flows_of(taken).items()
        )
    holds: list[HoldPlaced | HoldLifted] = [*heard.of(HoldPlaced), *heard.of(HoldLifted)]
    if holds:
        await store.change_holds(holds)


async def _remember_outbound(store: TraceStore, heard: Heard, events: Sequence[Event]) -> None:
    changes = promise_changes(events)
    if changes.forget_demands or changes.forget_reservations:
        await store.change_promises(changes)
    if revoked := heard.of(AllocationRevoked):
        await store.add_revocations(revoked)
    if picks := heard.of(PickConfirmed):
        await store.add_picks(picks)
    if lines := heard.of(ShipmentDispatched):
        await store.add_dispatches(lines)
    if refusals := heard.of(IssueRefused):
        await store.add_refusals(refusals)


def _lines(work: Work, events: Sequence[Event]) -> list[Told]:
    """Every event as the lines that people read."""
    told = []
    for event in events:
        cause = work.cause(event)
        told += [
            Told(
                line.subject,
                line.at or cause.time,
                cause.time,
                cause.inbox_id,
                cause.type,
                cause.actor,
                line.sentence,
                detail_of(event, line.subject),
            )
            for line in lines_of(event)
        ]
    return told
