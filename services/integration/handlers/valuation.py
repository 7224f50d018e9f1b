"""Every movement over the company's border is posted once, at its batch's cost; costs that come late are learnt."""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

from contracts.integration import CostPosted, PostingKind
from contracts.inventory import StockMoved
from contracts.receiving import BatchReceived
from delivery import Announcements, Answer, NeverWorks, Refusal, Said, Work, does, hears, new_id, write_together
from services.integration.domain.valuation import (
    UNIT_COST_PLACES,
    ZERO,
    BatchValue,
    BelowZero,
    Change,
    Priced,
    Valued,
    apply,
    crossing,
    learn,
    lot_cost,
    posting_kind,
    revalued,
    rounded,
    variance,
)
from services.integration.handlers.receipts import currency_problem, value_problem
from services.integration.handlers.refusals import refusal
from services.integration.settings import company_currency
from services.integration.store.receipts import ReceiptStore
from services.integration.store.valuation import (
    Batch,
    Layer,
    LotKey,
    Unvalued,
    ValuationStore,
    added_to_ledger,
    basis_of,
    booked_rows,
    layer_rows,
    now_worth,
    unvalued_rows,
)


@dataclass(frozen=True, slots=True)
class _Move:
    """A movement over the border: its signed change, and what the ERP calls it."""

    event: StockMoved
    change: Decimal
    kind: PostingKind

    @classmethod
    def of(cls, event: StockMoved) -> "_Move | None":
        sign = crossing(event.from_place.kind, event.to_place.kind)
        if sign == 0:
            return None
        kind = posting_kind(event.from_place.kind, event.to_place.kind, reversal=event.reverses is not None)
        return cls(event, sign * event.quantity, kind)

    def posting(self, worth: Decimal | None, reverses: UUID | None) -> CostPosted:
        event = self.event
        return CostPosted(
            posting_id=new_id(),
            kind=self.kind,
            item_id=event.item_id,
            batch_id=event.batch_id,
            batch_no=event.batch.batch_no,
            quantity=self.change,
            unit=event.unit,
            unit_cost=_unit_cost(worth, self.change),
            value=worth,
            currency=company_currency(),
            movement_id=event.movement_id,
            movement_sequence=event.sequence,
            posting_date=event.effective_at.astimezone(dt.UTC).date(),
            reference=event.reference,
            partner_id=event.from_place.partner_id or event.to_place.partner_id,
            reverses=reverses,
        )


def _unit_cost(worth: Decimal | None, quantity: Decimal) -> Decimal | None:
    return None if worth is None else rounded(abs(Fraction(worth) / Fraction(quantity)), UNIT_COST_PLACES)


def _revaluation(work: Work, batch: Batch, change: Decimal, **more: object) -> CostPosted:
    """A change of value without a change of quantity."""
    return CostPosted.model_validate(
        {
            "posting_id": new_id(),
            "kind": PostingKind.REVALUATION,
            "item_id": batch.item_id,
            "batch_id": batch.batch_id,
            "batch_no": batch.batch_no,
            "quantity": ZERO,
            "unit": batch.unit,
            "value": change,
            "currency": company_currency(),
            "posting_date": work.now.date(),
            **more,
        }
    )


@hears(StockMoved)
async def value_movements(work: Work, events: Sequence[StockMoved]) -> Announcements:
    """Post what crossed the border, in the ledger's order; what stays inside has no value to change.

    Parks a movement that takes more than the batch has, or reverses one that was never heard.
    """
    moves = [move for event in events if (move := _Move.of(event)) is not None]
    store = ValuationStore(work.db)
    work.write_at_end(added_to_ledger(events))
    if not moves:
        return []
    references = {move.event.reference for move in moves if move.event.reference is not None}
    reversed_ids = {move.event.reverses for move in moves if move.event.reverses is not None}
    consumptions = await _consumptions(store, moves, reversed_ids)
    await work.lock(into_item_id for _, (into_item_id, _) in consumptions.values())
    batches = await store.batches(move.event.batch_id for move in moves)
    prices = await store.prices(references)
    worth = await store.worth_of(reversed_ids) if reversed_ids else {}
    originals = await store.postings_of(reversed_ids) if reversed_ids else {}

    known = {movement_id: value for movement_id, value in worth.items() if value is not None}
    said: list[Said] = []
    postings: list[CostPosted] = []
    unvalued: list[tuple[UUID, Unvalued]] = []
    layers: list[Layer] = []
    booked: list[tuple[UUID, UUID, Decimal, Decimal | None]] = []
    lots: set[LotKey] = set()
    for move in moves:
        event = move.event
        if event.reverses is not None and event.reverses not in originals:
            raise NeverWorks(f"movement {event.movement_id} reverses {event.reverses}, which was never posted here")
        batch = batches.get(event.batch_id) or Batch(
            event.batch_id, event.item_id, event.batch.batch_no, event.unit, BatchValue()
        )
        price = basis_of(move.kind, move.change, event.reference, event.reverses, prices)
        change = Change(event.movement_id, move.change, price.basis)
        try:
            after, valued = apply(batch.value, change, known)
        except BelowZero as error:
            raise NeverWorks(f"item {event.item_id!r}, batch {event.batch.batch_no!r}: {error}") from None
        batches[event.batch_id] = batch = replace(batch, value=after)
        posting = move.posting(valued.value, originals.get(event.reverses) if event.reverses else None)
        originals[event.movement_id] = posting.posting_id
        said.append(Said(posting, because=event))
        postings.append(posting)
        if valued.value is None:
            waits = Unvalued(change, event.sequence, move.kind, event.reference, event.reverses)
            unvalued.append((event.batch_id, waits))
        else:
            known[event.movement_id] = valued.value
        if valued.correction:
            correction = _revaluation(work, batch, valued.correction, reference=str(event.movement_id))
            said.append(Said(correction, because=event))
            postings.append(correction)
        layers += _layer(batch, valued, event.sequence, move.change, price.source)
        found = consumptions.get(str(event.reverses) if event.reverses else event.reference or "")
        if found is not None:
            consumption_id, lot = found
            consumptions[str(event.movement_id)] = found
            value = None if valued.value is None else -valued.value
            booked.append((event.movement_id, consumption_id, -move.change, value))
            lots.add(lot)

    await store.post(postings, work.now)
    work.write_at_end(
        now_worth([batches[batch_id] for batch_id in {move.event.batch_id for move in moves}]),
        unvalued_rows(unvalued),
        layer_rows(layers, work.now),
        booked_rows(booked),
    )
    if lots:
        # What these lots cost is found from what was just booked.
        await write_together(work.db, work.take_at_end())
    return [*said, *await settle_lots(work, lots)]


async def _consumptions(
    store: ValuationStore, moves: Sequence[_Move], reversed_ids: set[UUID]
) -> dict[str, tuple[UUID, LotKey]]:
    """The consumptions that these movements book or take back; asked only where there can be one."""
    references = {
        move.event.reference
        for move in moves
        if move.kind is PostingKind.CONSUMPTION and move.event.reference is not None
    }
    return await store.consumptions(references, reversed_ids) if references or reversed_ids else {}


def _layer(batch: Batch, valued: Valued, sequence: int, quantity: Decimal, source: str | None) -> list[Layer]:
    if not valued.own_price or valued.value is None or quantity <= 0:
        return []
    return [Layer(valued.movement_id, batch.batch_id, sequence, quantity, valued.value, source or "person")]


@hears(BatchReceived)
async def hear_receipts(work: Work, events: Sequence[BatchReceived]) -> Announcements:
    """Remember what arrived for what: the ledger's movement, which may have come already, gets its cost from there."""
    await ReceiptStore(work.db).add_lines(events)
    store = ValuationStore(work.db)
    waiting = await store.batches_waiting_for(f"{event.receipt_id}/{event.line_no}" for event in events)
    if not waiting:
        return []
    postings, lots = await settle(work, waiting)
    return [*postings, *await settle_lots(work, lots)]


async def settle(
    work: Work, batch_ids: Iterable[UUID], otherwise: Priced | None = None
) -> tuple[list[CostPosted], set[LotKey]]:
    """Value what waits in these batches, as far as costs are known by now: one revaluation for each movement.

    The items of the batches are locked by the caller. Also returns the lots whose cost may be known by that.
    """
    store = ValuationStore(work.db)
    batches = await store.batches(batch_ids)
    waiting = await store.unvalued_of(batches)
    reversed_ids = {each.reverses for found in waiting.values() for each in found if each.reverses is not None}
    worth = await store.worth_of(reversed_ids) if reversed_ids else {}
    known = {movement_id: value for movement_id, value in worth.items() if value is not None}
    postings: list[CostPosted] = []
    layers: list[Layer] = []
    learnt_all: list[Valued] = []
    changed: list[Batch] = []
    for batch_id, found in waiting.items():
        batch = batches[batch_id]
        after, learnt = learn(batch.value, [each.change for each in found], known, otherwise)
        if not learnt:
            continue
        changed.append(replace(batch, value=after))
        learnt_all += learnt
        for each, valued in zip(found, learnt, strict=False):
            if valued.value is None:
                raise AssertionError("what was learnt has a value")
            postings.append(
                _revaluation(
                    work,
                    batch,
                    valued.value,
                    unit_cost=_unit_cost(valued.value, each.change.quantity),
                    movement_id=each.change.movement_id,
                    movement_sequence=each.sequence,
                    reference=each.reference,
                )
            )
            if valued.correction:
                postings.append(_revaluation(work, batch, valued.correction, reference=str(each.change.movement_id)))
            layers += _layer(batch, valued, each.sequence, each.change.quantity, each.price_source)
    if not changed:
        return [], set()
    await store.forget_unvalued([valued.movement_id for valued in learnt_all])
    await write_together(work.db, [now_worth(changed), layer_rows(layers, work.now)])
    await store.post(postings, work.now)
    lots = await store.learn_consumption(
        [(valued.movement_id, -valued.value) for valued in learnt_all if valued.value is not None]
    )
    return postings, lots


async def settle_lots(work: Work, lots: set[LotKey]) -> list[CostPosted]:
    """Find what production lots cost by now, value what was made of them, and so on with what that went into.

    Ends: a lot whose own output went into it never learns its cost from itself, and each round needs a new cost.
    """
    store = ValuationStore(work.db)
    postings: list[CostPosted] = []
    while lots:
        await work.lock(item_id for item_id, _ in lots)
        books = await store.lot_books(lots)
        costs: dict[LotKey, Fraction] = {}
        for lot, found in books.items():
            cost = lot_cost(
                final=found.final,
                produced=found.produced,
                ingredients=found.ingredients,
                conversion=found.conversion,
            )
            if cost is not None and cost != found.cost:
                costs[lot] = cost
        if not costs:
            break
        await store.save_lot_costs(costs)
        made = await store.batches_of_lots(costs)
        again = {
            batch_id: (was, costs[lot])
            for batch_id, (lot, unknown) in made.items()
            if not unknown and (was := books[lot].cost) is not None
        }
        postings += await _revalue_lots(work, again)
        fresh, lots = await settle(work, [batch_id for batch_id, (_, unknown) in made.items() if unknown])
        postings += fresh
    return postings


async def _revalue(work: Work, costs: dict[UUID, Fraction]) -> list[CostPosted]:
    """Put batches whose cost was known at another cost."""
    if not costs:
        return []
    store = ValuationStore(work.db)
    changed: list[Batch] = []
    postings: list[CostPosted] = []
    for batch_id, batch in (await store.batches(costs)).items():
        after, change = revalued(batch.value, costs[batch_id])
        changed.append(replace(batch, value=after))
        if change:
            unit_cost = rounded(costs[batch_id], UNIT_COST_PLACES)
            postings.append(_revaluation(work, batch, change, unit_cost=unit_cost))
    await write_together(work.db, [now_worth(changed)])
    await store.post(postings, work.now)
    return postings


async def _revalue_lots(work: Work, costs: dict[UUID, tuple[Fraction, Fraction]]) -> list[CostPosted]:
    """Put batches of lots whose cost was known at another one, (was, now); what had left is told as a variance."""
    if not costs:
        return []
    store = ValuationStore(work.db)
    arrived = await store.arrived_from_production(costs)
    changed: list[Batch] = []
    postings: list[CostPosted] = []
    for batch_id, batch in (await store.batches(costs)).items():
        was, now = costs[batch_id]
        after, change = revalued(batch.value, now)
        changed.append(replace(batch, value=after))
        varied = variance(arrived=arrived.get(batch_id, ZERO), on_hand=batch.value.quantity, was=was, now=now)
        if change or varied:
            unit_cost = rounded(now, UNIT_COST_PLACES)
            postings.append(_revaluation(work, batch, change, unit_cost=unit_cost, variance=varied or None))
    await write_together(work.db, [now_worth(changed)])
    await store.post(postings, work.now)
    return postings


@dataclass(frozen=True, slots=True)
class SetCost:
    """What one base unit of a batch costs, said by a person."""

    batch_id: UUID
    unit_cost: Decimal
    currency: str
    reason: str


@does(SetCost)
async def set_costs(work: Work, commands: Sequence[SetCost]) -> Sequence[Answer]:
    """Value what waits for a cost; or put a batch whose cost is known at another one: what has left keeps its value."""
    store = ValuationStore(work.db)
    await work.lock(await store.items_of_batches(command.batch_id for command in commands))
    answers = []
    for command in commands:
        if refused := currency_problem(command.currency):
            answers.append(refusal(refused))
            continue
        batch = (await store.batches([command.batch_id])).get(command.batch_id)
        if batch is None:
            detail = f"no stock of batch {command.batch_id} has moved yet: there is nothing to value"
            answers.append(Refusal(404, "unknown_batch", detail, field="batch_id"))
            continue
        if refused := value_problem(batch.value.quantity, command.unit_cost):
            answers.append(refusal(refused))
            continue
        cost = Fraction(command.unit_cost)
        given = (new_id(), command.batch_id, command.unit_cost, command.currency, command.reason)
        await store.give_cost([(*given, work.cause(command).actor or "unknown")], work.now)
        if batch.value.unknown:
            postings, lots = await settle(work, [command.batch_id], Priced(cost))
            postings += await settle_lots(work, lots)
        else:
            postings = await _revalue(work, {command.batch_id: cost})
        after = (await store.batches([command.batch_id]))[command.batch_id]
        answers.append(
            Answer(
                {
                    "batch_id": after.batch_id,
                    "item_id": after.item_id,
                    "batch_no": after.batch_no,
                    "quantity": format(after.value.quantity, "f"),
                    "unit": after.unit,
                    "value": format(after.value.value, "f"),
                    "currency": company_currency(),
                    "postings": [posting.posting_id for posting in postings],
                },
                says=postings,
            )
        )
    return answers
