"""What inventory hears: load what the whole chunk needs, decide, save, and say what happened."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from uuid import UUID

from contracts.allocation import PickConfirmed, ShipmentDispatched
from contracts.integration import ItemDefined, MaterialConsumed
from contracts.inventory import AlertKind, IssueRefused, MovementReason, RefusalCode
from contracts.receiving import BatchDatesCorrected, BatchInspected, BatchReceived
from contracts.trace import BatchRecalled, BatchRecallLifted
from contracts.values import BatchFacts, HoldKind, Origin, PlaceKind, Purpose, Quality
from delivery import Announcements, Said, Work, hears, new_id
from services.inventory.books import Books
from services.inventory.domain.expiry import is_expired
from services.inventory.domain.gate import Asked, Refused, refusal
from services.inventory.domain.holds import Hold
from services.inventory.domain.ledger import (
    FOUND_OR_LOST,
    Movement,
    Outside,
    Spot,
    as_a_person_takes,
    gather,
    quality_of_found,
)
from services.inventory.domain.matrix import ISOLATION, Allowed, Operation, allows, forbids
from services.inventory.domain.owed import Owed
from services.inventory.store import Batch, Bin, InventoryStore

_FROM = {
    Origin.SUPPLIER: PlaceKind.SUPPLIER,
    Origin.PRODUCTION: PlaceKind.PRODUCTION,
    Origin.CUSTOMER: PlaceKind.CUSTOMER,
}


@hears(ItemDefined)
async def learn_items(work: Work, items: Sequence[ItemDefined]) -> Announcements:
    """Keep of each item what stock needs; an older revision changes nothing."""
    newest: dict[str, ItemDefined] = {}
    for item in items:
        if item.item_id not in newest or newest[item.item_id].revision < item.revision:
            newest[item.item_id] = item
    # The catalog's key is not the item's: the expiry watch of these items must stand still meanwhile.
    await work.lock(newest)
    await InventoryStore(work.db).define_items(list(newest.values()))
    return []


@hears(BatchReceived)
async def book_receipts(work: Work, receipts: Sequence[BatchReceived]) -> Announcements:
    """Book each receipt line once, from where the goods came to where they stand, whatever we know of that place."""
    books = Books(work)
    opened = await books.enter_or_open({(each.site_id, each.location_id) for each in receipts}, Purpose.RECEIVING)
    await books.load_items({each.item_id for each in receipts}, {_receipt_line(each) for each in receipts})
    fresh: list[BatchReceived] = []
    for each in receipts:
        if not books.is_booked(_receipt_line(each)):
            books.book(_receipt_line(each))
            fresh.append(each)
    books.batches.update(await books.store.keep_batches(_as_received(books, fresh)))
    await books.load_owed((each.item_id, each.site_id) for each in fresh)
    for each in fresh:
        books.check_unit(each.batch_id, each.unit, f"receipt line {each.receipt_id}/{each.line_no}")
        quality = Quality.PENDING if each.quality is Quality.UNKNOWN else each.quality
        spot = Spot(each.site_id, each.location_id, quality)
        books.move(
            Movement(
                each.item_id,
                each.batch_id,
                each.quantity,
                Outside(_FROM.get(each.origin, PlaceKind.UNKNOWN), each.partner_id),
                spot,
                MovementReason.RECEIPT,
                each.received_at,
                reference=f"{each.receipt_id}/{each.line_no}",
            ),
            each,
        )
        if quality is Quality.RELEASED:
            books.settle_owed(each.batch_id, spot, each.quantity, each.received_at, each)
    books.alert_opened(opened, (((each.site_id, each.location_id), each.item_id, each) for each in fresh))
    await books.save()
    return books.said


def _receipt_line(received: BatchReceived) -> tuple[str, str]:
    return "receipt", f"{received.receipt_id}/{received.line_no}"


def _as_received(books: Books, receipts: Iterable[BatchReceived]) -> list[Batch]:
    """Each batch once, with the facts that were said last and the first day of receipt."""
    batches: dict[UUID, Batch] = {}
    for each in receipts:
        day = each.batch.received_on or each.received_at.astimezone(books.zones[each.site_id]).date()
        earlier = batches.get(each.batch_id)
        if earlier is not None and earlier.facts.received_on is not None:
            day = min(day, earlier.facts.received_on)
        facts = each.batch if each.batch.received_on == day else each.batch.model_copy(update={"received_on": day})
        batches[each.batch_id] = Batch(each.batch_id, each.item_id, each.unit, facts)
    return list(batches.values())


@hears(BatchInspected)
async def change_quality(work: Work, inspections: Sequence[BatchInspected]) -> Announcements:
    """Turn pending stock into released and rejected, location by location; what the books do not have is an alert."""
    books = Books(work)
    await books.load_items(
        {each.item_id for each in inspections}, {("inspection", str(each.inspection_id)) for each in inspections}
    )
    await books.load_batches(each.batch_id for each in inspections)
    await books.load_stock((each.batch_id, each.site_id) for each in inspections)
    await books.load_owed((each.item_id, each.site_id) for each in inspections)
    for each in inspections:
        booking = ("inspection", str(each.inspection_id))
        if books.is_booked(booking):
            continue
        books.book(booking)
        books.check_unit(each.batch_id, each.unit, f"inspection {each.inspection_id}")
        missing = Decimal(0)
        for quantity, quality in ((each.released, Quality.RELEASED), (each.rejected, Quality.REJECTED)):
            pending = [
                (spot, there)
                for spot, there in books.stock.spots(each.batch_id, each.site_id)
                if spot.quality is Quality.PENDING
            ]
            parts, lacking = gather(quantity, pending)
            missing += lacking
            for spot, part in parts:
                decided = Spot(spot.site_id, spot.location_id, quality)
                books.move(
                    Movement(
                        each.item_id,
                        each.batch_id,
                        part,
                        spot,
                        decided,
                        MovementReason.INSPECTION,
                        each.inspected_at,
                        reference=str(each.inspection_id),
                        reason_text=each.reason,
                    ),
                    each,
                )
                if quality is Quality.RELEASED:
                    books.settle_owed(each.batch_id, decided, part, each.inspected_at, each)
        if missing:
            books.alert(
                AlertKind.INSPECTION_DIFFERENCE,
                f"inspection decided about {each.released + each.rejected:f} {each.unit} at site {each.site_id!r}, "
                f"{missing:f} more than stood there pending; what stood there was booked",
                each,
                item_id=each.item_id,
                batch_id=each.batch_id,
                site_id=each.site_id,
                quantity=missing,
                unit=each.unit,
                reference=str(each.inspection_id),
            )
    await books.save()
    return books.said


@hears(BatchDatesCorrected)
async def correct_dates(work: Work, corrections: Sequence[BatchDatesCorrected]) -> Announcements:
    """Take over corrected facts; an expiry that moved lifts and places expiry holds where the batch stands."""
    books = Books(work)
    await books.load_batches(each.batch_id for each in corrections)
    latest = {each.batch_id: each for each in corrections if each.batch_id in books.batches}
    if not latest:
        # Never received here: when it is, the receipt carries the corrected facts.
        return []
    await books.load_items(each.item_id for each in latest.values())
    await books.load_holds(latest)
    before = {batch_id: books.batches[batch_id] for batch_id in latest}
    books.batches.update(
        await books.store.keep_batches(
            [
                Batch(batch_id, known.item_id, known.unit, _corrected(known.facts, latest[batch_id].after))
                for batch_id, known in before.items()
            ]
        )
    )
    moved = [
        batch_id
        for batch_id, known in before.items()
        if known.facts.expires_on != books.batches[batch_id].facts.expires_on
    ]
    stands_at = await books.store.watch_again(moved) if moved else []
    held_at = [
        hold for batch_id in moved for hold in books.open_holds(batch_id) if hold.kind is HoldKind.EXPIRY
    ]  # fmt: skip
    sites = {site_id for _, site_id in stands_at} | {hold.site_id for hold in held_at if hold.site_id is not None}
    books.zones.update(await books.store.time_zones(sites))
    for hold in held_at:
        expires_on = books.batches[hold.batch_id].facts.expires_on
        if hold.site_id is not None and not is_expired(expires_on, books.today(hold.site_id)):
            now_until = f"expiry corrected to {expires_on}" if expires_on else "the batch has no expiry any more"
            books.lift(hold, f"{now_until}: {latest[hold.batch_id].reason}"[:400], latest[hold.batch_id])
    locked: dict[tuple[UUID, str], str] = {}
    for batch_id, site_id in stands_at:
        batch = books.batches[batch_id]
        if batch.facts.expires_on is not None and is_expired(batch.facts.expires_on, books.today(site_id)):
            books.lock_expired(batch_id, batch.item_id, site_id, batch.facts.expires_on, latest[batch_id])
            locked[batch_id, site_id] = "expired"
    if locked:
        await books.store.settle(locked)
    await books.save()
    return books.said


def _corrected(known: BatchFacts, after: BatchFacts) -> BatchFacts:
    """The corrected facts; the day of the first receipt is ours where the correction does not say one."""
    return after if after.received_on is not None else after.model_copy(update={"received_on": known.received_on})


@hears(PickConfirmed)
async def book_picks(work: Work, picks: Sequence[PickConfirmed]) -> Announcements:
    """Book what a person carried to staging, always: what the books did not have is found first, and said."""
    books = Books(work)
    opened = await books.enter_or_open({(each.site_id, each.from_location_id) for each in picks}, Purpose.STORAGE)
    opened |= await books.enter_or_open({(each.site_id, each.to_location_id) for each in picks}, Purpose.STAGING)
    await books.load_items({each.item_id for each in picks}, {("pick", str(each.pick_id)) for each in picks})
    await _know_batches(books, picks)
    await books.load_stock((each.batch_id, each.site_id) for each in picks)
    await books.load_holds(each.batch_id for each in picks)
    for each in picks:
        booking = ("pick", str(each.pick_id))
        if books.is_booked(booking):
            continue
        books.book(booking)
        books.check_unit(each.batch_id, each.unit, f"pick {each.pick_id}")
        if each.from_location_id != each.to_location_id:
            _book_pick(books, each)
        purpose = books.purposes[each.site_id, each.to_location_id]
        if purpose is not Purpose.STAGING:
            _say_not_staged(books, each, purpose)
    books.alert_opened(
        opened,
        (
            ((each.site_id, location_id), each.item_id, each)
            for each in picks
            for location_id in (each.from_location_id, each.to_location_id)
        ),
    )
    await books.save()
    return books.said


def _book_pick(books: Books, pick: PickConfirmed) -> None:
    missing = gather(pick.quantity, _at(books, pick.batch_id, pick.site_id, pick.from_location_id))[1]
    if missing:
        quality = quality_of_found(books.stock.spots(pick.batch_id, pick.site_id))
        books.move(
            Movement(
                pick.item_id,
                pick.batch_id,
                missing,
                FOUND_OR_LOST,
                Spot(pick.site_id, pick.from_location_id, quality),
                MovementReason.ADJUSTMENT,
                pick.picked_at,
                reference=str(pick.pick_id),
                reason_text="a person picked more than the books had there",
            ),
            pick,
        )
        books.alert(
            AlertKind.PICK_DIFFERENCE,
            f"{pick.quantity:f} {pick.unit} of batch {pick.batch_no!r} were picked at {pick.from_location_id!r} of "
            f"site {pick.site_id!r}, {missing:f} more than the books had: count that location",
            pick,
            item_id=pick.item_id,
            batch_id=pick.batch_id,
            site_id=pick.site_id,
            location_id=pick.from_location_id,
            quantity=missing,
            unit=pick.unit,
            reference=str(pick.pick_id),
        )
    for spot, part in gather(pick.quantity, _at(books, pick.batch_id, pick.site_id, pick.from_location_id))[0]:
        target = Spot(pick.site_id, pick.to_location_id, spot.quality)
        books.move(
            Movement(
                pick.item_id,
                pick.batch_id,
                part,
                spot,
                target,
                MovementReason.PICK,
                pick.picked_at,
                reference=str(pick.pick_id),
            ),
            pick,
        )
        books.take_along(pick.batch_id, spot, target, pick)


def _say_not_staged(books: Books, pick: PickConfirmed, purpose: Purpose) -> None:
    books.alert(
        AlertKind.PICK_DIFFERENCE,
        f"{pick.quantity:f} {pick.unit} of batch {pick.batch_no!r} were picked to {pick.to_location_id!r} of site "
        f"{pick.site_id!r}, which is for {purpose}, not staging: carry them to staging"
        + (", nothing leaves from there" if purpose in ISOLATION else ""),
        pick,
        item_id=pick.item_id,
        batch_id=pick.batch_id,
        site_id=pick.site_id,
        location_id=pick.to_location_id,
        quantity=pick.quantity,
        unit=pick.unit,
        reference=str(pick.pick_id),
    )


def _at(books: Books, batch_id: UUID, site_id: str, location_id: str) -> list[tuple[Spot, Decimal]]:
    """What stands of a batch at one location, in the order in which a person takes it."""
    there = (entry for entry in books.stock.spots(batch_id, site_id) if entry[0].location_id == location_id)
    return as_a_person_takes(there)


async def _know_batches(books: Books, picks: Sequence[PickConfirmed]) -> None:
    """Facts of the picked batches; of one that was never received, the little that the pick says."""
    await books.load_batches(each.batch_id for each in picks)
    strange = {each.batch_id: each for each in picks if each.batch_id not in books.batches}
    if strange:
        books.batches.update(
            await books.store.keep_batches(
                [
                    Batch(
                        each.batch_id,
                        each.item_id,
                        each.unit,
                        BatchFacts(batch_no=each.batch_no, origin=Origin.UNKNOWN),
                    )
                    for each in strange.values()
                ]
            )
        )


@hears(ShipmentDispatched)
async def open_the_gate(work: Work, lines: Sequence[ShipmentDispatched]) -> Announcements:
    """Let a shipment line leave, or say why it may not. A line that has left does not leave again."""
    books = Books(work)
    bins: set[Bin] = {(each.site_id, each.location_id) for each in lines}
    await books.enter(bins)
    await books.load_items({each.item_id for each in lines}, {("issue", str(each.line_id)) for each in lines})
    await books.load_batches(each.batch_id for each in lines)
    await books.load_stock((each.batch_id, each.site_id) for each in lines)
    await books.load_holds(each.batch_id for each in lines)
    for each in lines:
        booking = ("issue", str(each.line_id))
        if books.is_booked(booking):
            continue
        books.check_unit(each.batch_id, each.unit, f"shipment line {each.line_id}")
        refused = _asked_at_the_gate(books, each)
        if refused is None:
            books.book(booking)
            books.move(
                Movement(
                    each.item_id,
                    each.batch_id,
                    each.quantity,
                    Spot(each.site_id, each.location_id, Quality.RELEASED),
                    Outside(PlaceKind.CUSTOMER, each.customer_id),
                    MovementReason.ISSUE,
                    each.dispatched_at,
                    reference=str(each.line_id),
                ),
                each,
            )
        else:
            books.said.append(Said(_as_event(books, each, refused), each))
    await books.save()
    return books.said


def _asked_at_the_gate(books: Books, line: ShipmentDispatched) -> Refused | None:
    batch = books.batches.get(line.batch_id)
    purpose = books.purposes.get((line.site_id, line.location_id))
    asked = Asked(line.batch_no, line.quantity, line.site_id, line.location_id, purpose)
    if batch is None:
        return Refused(RefusalCode.NOT_THERE, f"batch {line.batch_no!r} ({line.batch_id}) was never received")
    spot = Spot(line.site_id, line.location_id, Quality.RELEASED)
    return refusal(
        asked,
        books.stock.spots(line.batch_id, line.site_id),
        books.holds_on(line.batch_id, spot),
        batch.facts.expires_on,
        books.today(line.site_id),
    )


def _as_event(books: Books, line: ShipmentDispatched, refused: Refused) -> IssueRefused:
    return IssueRefused(
        shipment_id=line.shipment_id,
        line_id=line.line_id,
        demand_id=line.demand_id,
        sequence=books.sequence(line.item_id),
        item_id=line.item_id,
        batch_id=line.batch_id,
        site_id=line.site_id,
        location_id=line.location_id,
        quantity=line.quantity,
        unit=line.unit,
        code=refused.code,
        reason=refused.reason,
        refused_at=books.now,
    )


@hears(MaterialConsumed)
async def book_consumption(work: Work, consumptions: Sequence[MaterialConsumed]) -> Announcements:
    """Book what production used up, as far as it stood at the site: it is a fact. What does not fit is an alert."""
    books = Books(work)
    await books.load_items(
        {each.item_id for each in consumptions}, {("consumption", str(each.consumption_id)) for each in consumptions}
    )
    numbers = {(each.item_id, each.batch_no) for each in consumptions}
    numbers |= {(each.item_id, each.supplier_batch_no) for each in consumptions if each.supplier_batch_no}
    named = await books.store.batches_numbered(numbers)
    books.batches.update((batch.batch_id, batch) for batch in named)
    sites = {each.site_id for each in consumptions}
    await books.load_stock((batch.batch_id, site_id) for batch in named for site_id in sites)
    await books.load_holds(batch.batch_id for batch in named)
    books.zones.update(await books.store.time_zones(sites))
    for each in consumptions:
        booking = ("consumption", str(each.consumption_id))
        if not books.is_booked(booking):
            books.book(booking)
            _consume(books, each, _meant(books, each, named))
    await books.save()
    return books.said


def _meant(books: Books, consumed: MaterialConsumed, named: Sequence[Batch]) -> Batch | None:
    """The batch that a production report means: by our number, then by the supplier's; of several, what is there."""

    def how_well(batch: Batch) -> tuple[bool, bool, bool, Decimal]:
        numbers = {consumed.batch_no, consumed.supplier_batch_no} - {None}
        return (
            batch.facts.batch_no == consumed.batch_no,
            consumed.supplier_batch_no is not None and batch.facts.supplier_batch_no == consumed.supplier_batch_no,
            batch.facts.supplier_batch_no in numbers,
            sum((there for _, there in books.stock.spots(batch.batch_id, consumed.site_id)), Decimal(0)),
        )

    candidates = [batch for batch in named if batch.item_id == consumed.item_id and any(how_well(batch)[:3])]
    return max(candidates, key=how_well, default=None)


def _consume(books: Books, consumed: MaterialConsumed, batch: Batch | None) -> None:
    missing = consumed.quantity
    spoilt: set[str] = set()
    if batch is not None:
        books.check_unit(batch.batch_id, consumed.unit, f"consumption {consumed.consumption_id}")
        there = as_a_person_takes(books.stock.spots(batch.batch_id, consumed.site_id))
        parts, missing = gather(consumed.quantity, there)
        for spot, part in parts:
            words = books.statuses(batch.batch_id, spot)
            if allows(words, Operation.CONSUME) is not Allowed.YES:
                spoilt.update(forbids(words, Operation.CONSUME))
            books.move(
                Movement(
                    consumed.item_id,
                    batch.batch_id,
                    part,
                    spot,
                    Outside(PlaceKind.PRODUCTION),
                    MovementReason.CONSUMPTION,
                    consumed.consumed_at,
                    reference=str(consumed.consumption_id),
                    reason_text=f"into batch {consumed.into_batch_no} of item {consumed.into_item_id}",
                ),
                consumed,
            )
    about = (
        f"{consumed.quantity:f} {consumed.unit} of batch {consumed.batch_no!r} were consumed at {consumed.site_id!r}"
    )
    if missing:
        lack = "that batch is unknown" if batch is None else f"{missing:f} more than stood there"
        books.owe(
            Owed(
                consumed.consumption_id,
                consumed.item_id,
                consumed.batch_no,
                consumed.supplier_batch_no,
                consumed.site_id,
                consumed.unit,
                consumed.into_item_id,
                consumed.into_batch_no,
                consumed.consumed_at,
                missing,
            )
        )
        _consumption_alert(books, consumed, batch, AlertKind.CONSUMPTION_SHORT, f"{about}: {lack}", missing)
    if spoilt:
        text = f"{about} though it was {', '.join(sorted(spoilt))}: look at batch {consumed.into_batch_no!r}"
        _consumption_alert(books, consumed, batch, AlertKind.UNUSABLE_CONSUMED, text, consumed.quantity - missing)


def _consumption_alert(
    books: Books, consumed: MaterialConsumed, batch: Batch | None, kind: AlertKind, text: str, quantity: Decimal
) -> None:
    books.alert(
        kind,
        text,
        consumed,
        item_id=consumed.item_id,
        batch_id=batch.batch_id if batch else None,
        site_id=consumed.site_id,
        quantity=quantity,
        unit=consumed.unit,
        reference=str(consumed.consumption_id),
    )


@hears(BatchRecalled, BatchRecallLifted)
async def follow_recalls(work: Work, words: Sequence[BatchRecalled | BatchRecallLifted]) -> Announcements:
    """Hold a recalled batch everywhere, even before it arrives; lift that hold when its recall lets the batch go."""
    books = Books(work)
    await books.load_items(each.item_id for each in words)
    await books.load_holds(each.batch_id for each in words)
    for each in words:
        recall = str(each.recall_id)
        held = [
            hold
            for hold in books.open_holds(each.batch_id)
            if hold.kind is HoldKind.RECALL and hold.reference == recall
        ]
        if isinstance(each, BatchRecallLifted):
            for hold in held:
                books.lift(hold, each.reason, each)
        elif not held:
            books.place(
                Hold(new_id(), each.item_id, each.batch_id, HoldKind.RECALL, each.reason, reference=recall), each
            )
    await books.save()
    return books.said
