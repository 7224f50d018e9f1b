"""What people read in a timeline: every event as a sentence under each batch (or item, or partner) that it concerns."""

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

from contracts import allocation, integration, inventory, receiving, trace
from contracts.event import Event
from contracts.values import BatchFacts, Place, PlaceKind, Quality
from services.trace.domain.custody import plain
from services.trace.domain.names import item_subject, name_id, partner_subject


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a timeline. `subject` is a batch's id, the id of a batch's name, or that of an item or partner."""

    subject: UUID
    at: dt.datetime | None
    sentence: str


E = TypeVar("E", bound=Event)
Lines = tuple[Line, ...]
_LINES: dict[type[Event], Callable[[Any], Lines]] = {}


def _says(event: type[E]) -> Callable[[Callable[[E], Lines]], Callable[[E], Lines]]:
    def keep(lines: Callable[[E], Lines]) -> Callable[[E], Lines]:
        _LINES[event] = lines
        return lines

    return keep


def lines_of(event: Event) -> Lines:
    """The lines of an event; `at` is None where it names no time of its own. Raises `LookupError` for a new type."""
    lines = _LINES.get(type(event))
    if lines is None:
        raise LookupError(f"{event.event_type}: no sentence is written for it in services/trace/domain/sentences.py")
    return lines(event)


def sentence_of(event: Event) -> str:
    """The first line's sentence: what the event says, for somebody who sees it without its batch."""
    return lines_of(event)[0].sentence


def _much(quantity: Decimal, unit: str) -> str:
    return f"{plain(quantity)} {unit}"


def _batches(count: int) -> str:
    return "1 batch" if count == 1 else f"{count} batches"


def _why(reason: str | None) -> str:
    return f": {reason}" if reason else ""


def _under(reference: str | None) -> str:
    return f" ({reference})" if reference else ""


_OUTSIDE: Mapping[PlaceKind, str] = {
    PlaceKind.SUPPLIER: "supplier",
    PlaceKind.PRODUCTION: "production",
    PlaceKind.CUSTOMER: "customer",
    PlaceKind.ADJUSTMENT: "adjustment",
    PlaceKind.SCRAP: "scrap",
    PlaceKind.UNKNOWN: "an unknown place",
}


def _place(place: Place) -> str:
    if place.kind is PlaceKind.LOCATION:
        quality = f" ({place.quality})" if place.quality else ""
        return f"{place.site_id or '?'}/{place.location_id or '?'}{quality}"
    return f"{_OUTSIDE[place.kind]} {place.partner_id}" if place.partner_id else _OUTSIDE[place.kind]


def _where(site_id: str | None, location_id: str | None) -> str:
    if location_id:
        return f"at {site_id or '?'}/{location_id}"
    return f"at site {site_id}" if site_id else "everywhere"


def _facts(facts: BatchFacts) -> str:
    said = [f"origin {facts.origin}"]
    if facts.supplier_id:
        said.append(f"supplier {facts.supplier_id}")
    if facts.supplier_batch_no:
        said.append(f"supplier's number {facts.supplier_batch_no}")
    if facts.manufactured_on:
        said.append(f"made {facts.manufactured_on}")
    if facts.expires_on:
        said.append(f"expires {facts.expires_on}")
    return ", ".join(said)


def _changes(before: BatchFacts, after: BatchFacts) -> str:
    old, new = before.model_dump(), after.model_dump()
    told = [f"{name} {old[name] or 'none'} → {new[name] or 'none'}" for name in new if new[name] != old[name]]
    return ", ".join(told) or "nothing"


# --- what integration says


@_says(integration.ItemDefined)
def _(event: integration.ItemDefined) -> Lines:
    return (
        Line(item_subject(event.item_id), None, f"Item {event.item_id} defined as {event.name}, rev. {event.revision}"),
    )


@_says(integration.PartnerDefined)
def _(event: integration.PartnerDefined) -> Lines:
    roles = " and ".join(event.roles)
    return (
        Line(
            partner_subject(event.partner_id),
            None,
            f"Partner {event.partner_id} defined as {event.name} ({roles}), rev. {event.revision}",
        ),
    )


@_says(integration.ReceiptExpected)
def _(event: integration.ReceiptExpected) -> Lines:
    subject = name_id(event.item_id, event.batch_no) if event.batch_no else item_subject(event.item_id)
    source = f"{event.origin} {event.partner_id}" if event.partner_id else event.origin
    much = _much(event.quantity, event.unit)
    return (
        Line(
            subject,
            None,
            f"{much} expected from {source} at {event.site_id} by {event.due_on}{_under(event.reference)}",
        ),
    )


@_says(integration.ExpectedReceiptWithdrawn)
def _(event: integration.ExpectedReceiptWithdrawn) -> Lines:
    return (Line(item_subject(event.item_id), None, f"An expected receipt will not come: {event.reason}"),)


@_says(integration.BatchProduced)
def _(event: integration.BatchProduced) -> Lines:
    inputs = {(consumed.item_id, consumed.batch_no) for consumed in event.consumed}
    replaces = ", in place of an earlier report" if event.corrects else ""
    last = ", the last of this batch" if event.final else ""
    return (
        Line(
            name_id(event.item_id, event.batch_no),
            event.ended_at,
            f"{_much(event.quantity, event.unit)} produced at {event.site_id} from {_batches(len(inputs))} "
            f"({event.work_order}, report {event.sequence}{last}{replaces})",
        ),
    )


@_says(integration.MaterialConsumed)
def _(event: integration.MaterialConsumed) -> Lines:
    return (
        Line(
            name_id(event.item_id, event.batch_no),
            event.consumed_at,
            f"{_much(event.quantity, event.unit)} went into {event.into_item_id} {event.into_batch_no} "
            f"at {event.site_id} ({event.work_order})",
        ),
    )


@_says(integration.DemandRaised)
def _(event: integration.DemandRaised) -> Lines:
    subject = name_id(event.item_id, event.batch_no) if event.batch_no else item_subject(event.item_id)
    much = _much(event.quantity, event.unit)
    return (
        Line(
            subject,
            event.raised_at,
            f"{much} wanted by {event.customer_id} from {event.site_id} on {event.needed_on} ({event.reference})",
        ),
    )


@_says(integration.DemandWithdrawn)
def _(event: integration.DemandWithdrawn) -> Lines:
    return (Line(item_subject(event.item_id), None, f"A demand is no longer wanted: {event.reason}"),)


@_says(integration.CostPosted)
def _(event: integration.CostPosted) -> Lines:
    value = "value not known yet" if event.value is None else f"value {plain(event.value)} {event.currency}"
    return (
        Line(
            event.batch_id,
            None,
            f"Posted to the ERP on {event.posting_date} as {event.kind}: "
            f"{_much(event.quantity, event.unit)}, {value}{_under(event.reference)}",
        ),
    )


# --- what receiving says


@_says(receiving.BatchRegistered)
def _(event: receiving.BatchRegistered) -> Lines:
    return (
        Line(event.batch_id, event.registered_at, f"Batch {event.batch.batch_no} registered: {_facts(event.batch)}"),
    )


@_says(receiving.BatchDatesCorrected)
def _(event: receiving.BatchDatesCorrected) -> Lines:
    return (
        Line(event.batch_id, event.corrected_at, f"Corrected {_changes(event.before, event.after)}: {event.reason}"),
    )


@_says(receiving.BatchReceived)
def _(event: receiving.BatchReceived) -> Lines:
    source = f"{event.origin} {event.partner_id}" if event.partner_id else event.origin
    entered = ""
    if event.entered_unit != event.unit:
        entered = f", entered as {_much(event.entered_quantity, event.entered_unit)}"
    return (
        Line(
            event.batch_id,
            event.received_at,
            f"{_much(event.quantity, event.unit)} received from {source} at {event.site_id}/{event.location_id} "
            f"({event.quality}{entered}){_under(event.reference)}",
        ),
    )


@_says(receiving.BatchInspected)
def _(event: receiving.BatchInspected) -> Lines:
    decided = [
        f"{_much(quantity, event.unit)} {quality}"
        for quantity, quality in ((event.released, "released"), (event.rejected, "rejected"))
        if quantity
    ]
    return (
        Line(
            event.batch_id,
            event.inspected_at,
            f"Inspected at {event.site_id}: {', '.join(decided) or 'nothing decided'}, "
            f"signed by {event.signature.signer_name}{_why(event.reason)}",
        ),
    )


@_says(receiving.ReceiptConflictFound)
def _(event: receiving.ReceiptConflictFound) -> Lines:
    return (
        Line(
            event.batch_id,
            event.found_at,
            f"A label says something else about {', '.join(event.differs)}: {_changes(event.existing, event.claimed)}",
        ),
    )


_SETTLED: Mapping[receiving.ConflictDecision, str] = {
    receiving.ConflictDecision.KEEP_EXISTING: "the known facts stay",
    receiving.ConflictDecision.CORRECT_EXISTING: "the label is right",
    receiving.ConflictDecision.REGISTER_APART: "it is another batch",
    receiving.ConflictDecision.REFUSE_RECEIPT: "the goods are refused",
    receiving.ConflictDecision.UNKNOWN: "in a way not known here",
}


@_says(receiving.ReceiptConflictSettled)
def _(event: receiving.ReceiptConflictSettled) -> Lines:
    return (Line(event.batch_id, event.settled_at, f"Conflict settled, {_SETTLED[event.decision]}: {event.reason}"),)


# --- what inventory says

_MOVED: Mapping[inventory.MovementReason, str] = {
    inventory.MovementReason.RECEIPT: "booked in",
    inventory.MovementReason.PUT_AWAY: "put away",
    inventory.MovementReason.TRANSFER: "transferred",
    inventory.MovementReason.INSPECTION: "changed by inspection",
    inventory.MovementReason.STATUS_CHANGE: "changed in status",
    inventory.MovementReason.PICK: "picked",
    inventory.MovementReason.ISSUE: "issued",
    inventory.MovementReason.CONSUMPTION: "consumed",
    inventory.MovementReason.ADJUSTMENT: "adjusted",
    inventory.MovementReason.REVERSAL: "booked back",
    inventory.MovementReason.UNKNOWN: "moved",
}


@_says(inventory.StockMoved)
def _(event: inventory.StockMoved) -> Lines:
    inspected = event.reason is inventory.MovementReason.INSPECTION
    # One inspection moves what it released and what it rejected; its reason is why goods were rejected.
    told = not inspected or event.to_place.quality is Quality.REJECTED
    return (
        Line(
            event.batch_id,
            event.effective_at,
            f"{_much(event.quantity, event.unit)} {_MOVED[event.reason]} from {_place(event.from_place)} "
            f"to {_place(event.to_place)}{_why(event.reason_text if told else None)}",
        ),
    )


@_says(inventory.HoldPlaced)
def _(event: inventory.HoldPlaced) -> Lines:
    where = _where(event.site_id, event.location_id)
    return (Line(event.batch_id, event.placed_at, f"Held ({event.kind}) {where}: {event.reason}"),)


@_says(inventory.HoldLifted)
def _(event: inventory.HoldLifted) -> Lines:
    where = _where(event.site_id, event.location_id)
    return (Line(event.batch_id, event.lifted_at, f"Hold ({event.kind}) {where} lifted: {event.reason}"),)


@_says(inventory.IssueRefused)
def _(event: inventory.IssueRefused) -> Lines:
    return (
        Line(
            event.batch_id,
            event.refused_at,
            f"{_much(event.quantity, event.unit)} refused at the gate of {event.site_id} "
            f"({event.code}): {event.reason}",
        ),
    )


@_says(inventory.StockAlertRaised)
def _(event: inventory.StockAlertRaised) -> Lines:
    subject = event.batch_id or item_subject(event.item_id)
    return (Line(subject, event.raised_at, f"Alert ({event.kind}): {event.text}"),)


# --- what allocation says


@_says(allocation.DemandAllocated)
def _(event: allocation.DemandAllocated) -> Lines:
    """One line for every batch that has a share; a promise of nothing is the item's."""
    shares: dict[UUID, Decimal] = {}
    for share in event.shares:
        shares[share.batch_id] = shares.get(share.batch_id, Decimal(0)) + share.quantity
    if not shares:
        much = _much(event.wanted, event.unit)
        nothing = f"Nothing of {much} could be promised to {event.customer_id} ({event.reference})"
        return (Line(item_subject(event.item_id), event.decided_at, nothing),)
    return tuple(
        Line(
            batch_id,
            event.decided_at,
            f"{_much(quantity, event.unit)} promised to {event.customer_id} for {event.needed_on} "
            f"({event.reference}, {event.strategy})",
        )
        for batch_id, quantity in shares.items()
    )


@_says(allocation.DemandShort)
def _(event: allocation.DemandShort) -> Lines:
    return (
        Line(
            item_subject(event.item_id),
            event.decided_at,
            f"{_much(event.missing, event.unit)} of {_much(event.wanted, event.unit)} missing for "
            f"{event.customer_id} ({event.reference}){_why('; '.join(event.reasons))}",
        ),
    )


@_says(allocation.AllocationRevoked)
def _(event: allocation.AllocationRevoked) -> Lines:
    picked = ", already picked" if event.picked else ""
    return (
        Line(
            event.batch_id,
            event.revoked_at,
            f"Promise of {_much(event.quantity, event.unit)} to {event.customer_id} taken back "
            f"({event.code}{picked}): {event.reason}",
        ),
    )


@_says(allocation.DemandCancelled)
def _(event: allocation.DemandCancelled) -> Lines:
    freed = _much(event.freed, event.unit)
    return (Line(item_subject(event.item_id), event.cancelled_at, f"Demand cancelled, {freed} freed: {event.reason}"),)


@_says(allocation.PickConfirmed)
def _(event: allocation.PickConfirmed) -> Lines:
    return (
        Line(
            event.batch_id,
            event.picked_at,
            f"{_much(event.quantity, event.unit)} picked for {event.customer_id} from "
            f"{event.site_id}/{event.from_location_id} to {event.site_id}/{event.to_location_id}",
        ),
    )


@_says(allocation.PickRefused)
def _(event: allocation.PickRefused) -> Lines:
    return (
        Line(
            name_id(event.item_id, event.expected_batch_no),
            event.refused_at,
            f"A scan of {event.scanned!r} was refused at a pick ({event.verdict}): {event.reason}",
        ),
    )


@_says(allocation.ShipmentDispatched)
def _(event: allocation.ShipmentDispatched) -> Lines:
    carrier = f" with {event.carrier}" if event.carrier else ""
    return (
        Line(
            event.batch_id,
            event.dispatched_at,
            f"{_much(event.quantity, event.unit)} dispatched to {event.customer_id} from "
            f"{event.site_id}/{event.location_id}{carrier} ({event.reference})",
        ),
    )


# --- what trace says itself


@_says(trace.RecallOpened)
def _(event: trace.RecallOpened) -> Lines:
    return (Line(event.batch_id, event.opened_at, f"Recall opened, {event.batches} batches in scope: {event.reason}"),)


@_says(trace.BatchRecalled)
def _(event: trace.BatchRecalled) -> Lines:
    how = "as its seed" if event.seed else "as made from a recalled batch"
    return (Line(event.batch_id, event.recalled_at, f"Recalled {how}: {event.reason}"),)


@_says(trace.BatchRecallLifted)
def _(event: trace.BatchRecallLifted) -> Lines:
    return (Line(event.batch_id, event.lifted_at, f"Taken out of a recall: {event.reason}"),)


@_says(trace.RecallClosed)
def _(event: trace.RecallClosed) -> Lines:
    return (Line(item_subject(event.item_id), event.closed_at, f"Recall closed: {event.reason}"),)


def detail_of(event: Event, subject: UUID) -> dict[str, Any]:
    """The event's body for one line: without what it says of other batches than the subject's."""
    detail: dict[str, Any] = event.model_dump(mode="json", exclude_none=True)
    if isinstance(event, allocation.DemandAllocated):
        detail.pop("passed_over", None)
        detail["shares"] = [share for share in detail["shares"] if share["batch_id"] == str(subject)]
    return detail
