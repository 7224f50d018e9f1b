"""A person settles a conflict: what is on record stays, is corrected, gets company, or nothing is received."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from contracts.integration import UniqueWithin
from contracts.receiving import BatchDatesCorrected, ConflictDecision, ReceiptConflictSettled
from delivery import Announcement, Answer, Refusal, Work, does, new_id
from services.receiving.announcing import kept, received, registered, told
from services.receiving.bodies import SettleConflictBody
from services.receiving.domain.batches import Batch, Facts, taken_over
from services.receiving.domain.expected import Expected, Progress, progress
from services.receiving.domain.items import Item
from services.receiving.domain.lines import set_apart, settled_problem
from services.receiving.domain.reasons import Reason
from services.receiving.domain.shelf_life import too_short
from services.receiving.domain.sites import Sites
from services.receiving.rows import Changes, DecisionRow, SettlementRow
from services.receiving.settings import receiving_settings
from services.receiving.store import OpenConflict, ReceivingStore, scope_supplier
from services.receiving.views import SettledView


@dataclass(frozen=True, slots=True)
class SettleConflict:
    """Settle one conflict as the body says."""

    conflict_id: UUID
    body: SettleConflictBody


@dataclass(slots=True)
class _Desk:
    """What settlements are decided on; each sees what those before it did."""

    conflicts: dict[UUID, OpenConflict]
    batches: dict[UUID, Batch]
    items: dict[str, Item]
    expected: dict[UUID, Expected]
    numbered: dict[tuple[str, str], list[Batch]]
    sites: Sites


@does(SettleConflict)
async def settle_conflicts(work: Work, commands: Sequence[SettleConflict]) -> Sequence[Answer]:
    """Settle conflicts in order; a second settlement of one is refused."""
    store = ReceivingStore(work.db)
    wanted = {command.conflict_id for command in commands}
    await work.lock(conflict.item_id for conflict in (await store.conflicts(wanted)).values())
    conflicts = await store.conflicts(wanted)
    expected_ids = {id_ for each in conflicts.values() if (id_ := each.arrival.expected_receipt_id) is not None}
    numbers = {
        (conflicts[command.conflict_id].item_id, number)
        for command in commands
        if command.conflict_id in conflicts
        for number in (command.body.batch_no, conflicts[command.conflict_id].claimed.batch_no)
        if number is not None
    }
    desk = _Desk(
        conflicts=conflicts,
        batches=await store.batches({conflict.batch_id for conflict in conflicts.values()}),
        items=await store.items({conflict.item_id for conflict in conflicts.values()}),
        expected=await store.expected(expected_ids),
        numbered=await store.batches_numbered(numbers),
        sites=await store.sites({conflict.site_id for conflict in conflicts.values()}),
    )
    changes = Changes()
    answers = [_settle(work, command, desk, changes) for command in commands]
    await store.save(changes, work)
    return answers


def _settle(work: Work, command: SettleConflict, desk: _Desk, changes: Changes) -> Answer:
    person = work.cause(command).person
    assert person is not None  # noqa: S101  # commands come by HTTP
    conflict = desk.conflicts.get(command.conflict_id)
    if conflict is None:
        return Refusal(404, "unknown_conflict", f"conflict {command.conflict_id} is not known", field="conflict_id")
    if not person.may_at(conflict.site_id):
        return Refusal(
            403,
            "wrong_site",
            f"site {conflict.site_id!r} is not among {', '.join(sorted(person.sites))}",
            field="conflict_id",
        )
    if conflict.decision is not None:
        return Refusal(
            409,
            "already_settled",
            f"the conflict was settled as {conflict.decision!r} by {conflict.settled_by!r}",
            field="conflict_id",
        )
    decision, reason = command.body.decision, command.body.reason
    existing = desk.batches[conflict.batch_id]
    says: list[Announcement] = [
        ReceiptConflictSettled(
            conflict_id=conflict.conflict_id,
            item_id=conflict.item_id,
            batch_id=conflict.batch_id,
            decision=decision,
            reason=reason,
            settled_at=work.now,
        )
    ]
    if decision is ConflictDecision.REFUSE_RECEIPT:
        batch = None
    else:
        done = _progress(conflict, desk)
        if isinstance(done, Reason):
            return Refusal(409, done.code, done.text, field="conflict_id")
        found = _batch_for(work, command, conflict, existing, desk, changes, says)
        if isinstance(found, Answer):
            return found
        batch = found
        if done is not None and conflict.arrival.expected_receipt_id is not None:
            changes.progress[conflict.arrival.expected_receipt_id] = done
            before = desk.expected[conflict.arrival.expected_receipt_id]
            desk.expected[before.expected_receipt_id] = replace(before, received=done.received, status=done.status)
        changes.receive(conflict.receipt_id, conflict.line_no, batch, conflict.arrival)
        says.append(received(batch, conflict.arrival, conflict.receipt_id, conflict.line_no))
        if batch.batch_id != existing.batch_id:
            changes.decisions.append(
                DecisionRow(
                    new_id(), batch.batch_id, "registered", person.subject, person.name, reason, None, kept(batch.facts)
                )
            )
    changes.decisions.append(
        DecisionRow(
            new_id(),
            existing.batch_id,
            "conflict_settled",
            person.subject,
            person.name,
            reason,
            kept(existing.facts),
            {
                "decision": decision.value,
                "claimed": kept(conflict.claimed),
                "facts": kept(desk.batches[existing.batch_id].facts),
                "received_as": str(batch.batch_id) if batch else None,
                "short_life": [reason.text for reason in _short_life(conflict, batch, desk)],
            },
        )
    )
    changes.settlements.append(
        SettlementRow(conflict.conflict_id, decision, reason, person.subject, batch.batch_id if batch else None)
    )
    desk.conflicts[conflict.conflict_id] = replace(conflict, decision=decision.value, settled_by=person.subject)
    view = SettledView(
        conflict_id=conflict.conflict_id,
        decision=decision,
        outcome="refused" if batch is None else "received",
        batch_id=batch.batch_id if batch else None,
        batch_no=batch.facts.batch_no if batch else None,
        quantity=conflict.arrival.quantity if batch else None,
    )
    return Answer(view, 200, says)


def _short_life(conflict: OpenConflict, batch: Batch | None, desk: _Desk) -> list[Reason]:
    """What the person also took over with the goods: too little life left, by the dates that now count."""
    item = desk.items.get(conflict.item_id)
    if batch is None or item is None or batch.facts.expires_on is None:
        return []
    on = receiving_settings().day_at(conflict.site_id, conflict.arrival.received_at, desk.sites)
    return too_short(item, batch.facts.manufactured_on, batch.facts.expires_on, on)


def _progress(conflict: OpenConflict, desk: _Desk) -> Progress | Reason | None:
    """Where the goods bring their expectation; it may have been fulfilled or withdrawn since they arrived."""
    expected = desk.expected.get(conflict.arrival.expected_receipt_id or conflict.conflict_id)
    item = desk.items.get(conflict.item_id)
    if expected is None or item is None:
        return None
    return progress(expected, conflict.arrival.quantity, item, receiving_settings().over_receipt_percent)


def _batch_for(
    work: Work,
    command: SettleConflict,
    conflict: OpenConflict,
    existing: Batch,
    desk: _Desk,
    changes: Changes,
    says: list[Announcement],
) -> Batch | Answer:
    """The batch that the goods are received on, corrected or registered as decided; or why that cannot be."""
    decision = command.body.decision
    item = desk.items.get(conflict.item_id)
    if decision is ConflictDecision.KEEP_EXISTING:
        batch = existing
    elif decision is ConflictDecision.CORRECT_EXISTING:
        batch = replace(existing, facts=taken_over(existing.facts, conflict.claimed, conflict.differs))
        if batch.facts == existing.facts:
            return Refusal(
                409,
                "nothing_to_correct",
                f"batch {existing.facts.batch_no!r} already has the facts of the label: decide keep_existing",
                field="decision",
            )
        taken = _taken(batch.facts, item, desk.numbered.get((conflict.item_id, batch.facts.batch_no), ()))
        if taken is not None and taken.batch_id != existing.batch_id:
            return Refusal(
                409,
                "batch_no_taken",
                f"batch number {batch.facts.batch_no!r} of supplier {batch.facts.supplier_id!r} is another batch",
                field="decision",
            )
    else:
        if (number := command.body.batch_no) is None:
            return Refusal(
                422,
                "batch_no_missing",
                "decision 'register_apart' needs `batch_no`, the new batch's number",
                field="batch_no",
            )
        facts = set_apart(conflict.claimed, number)
        if _taken(facts, item, desk.numbered.get((conflict.item_id, number), ())) is not None:
            return Refusal(
                409,
                "batch_no_taken",
                f"batch number {number!r} of item {conflict.item_id!r} exists: choose another",
                field="batch_no",
            )
        batch = Batch(new_id(), conflict.item_id, facts)
    if item is not None:
        settings, arrived = receiving_settings(), conflict.arrival.received_at
        on = settings.day_at(conflict.site_id, arrived, desk.sites)
        latest = settings.latest_day_at(conflict.site_id, arrived, desk.sites, now=work.now)
        if (problem := settled_problem(batch.facts, item, on, latest, conflict.arrival.origin)) is not None:
            return Refusal(409, problem.code, problem.text, field="decision")
    if decision is ConflictDecision.CORRECT_EXISTING:
        changes.corrected.append(batch)
        desk.batches[batch.batch_id] = batch
        says.append(
            BatchDatesCorrected(
                batch_id=batch.batch_id,
                item_id=batch.item_id,
                before=told(existing.facts),
                after=told(batch.facts),
                reason=command.body.reason,
                corrected_at=work.now,
            )
        )
    elif decision is ConflictDecision.REGISTER_APART:
        changes.registered.append((batch, scope_supplier(batch.facts, item)))
        desk.numbered.setdefault((batch.item_id, batch.facts.batch_no), []).append(batch)
        says.append(registered(batch, work.now))
    return batch


def _taken(facts: Facts, item: Item | None, numbered: Sequence[Batch]) -> Batch | None:
    """The batch that already has this number, within what it must be unique."""
    by_supplier = item is not None and item.unique_within is UniqueWithin.ITEM_AND_SUPPLIER
    return next((batch for batch in numbered if not by_supplier or batch.facts.supplier_id == facts.supplier_id), None)
