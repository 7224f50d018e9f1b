"""Demands of the ERP, by HTTP or from its topic: the same line is raised once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from pydantic import ValidationError

from contracts.integration import DemandRaised, DemandWithdrawn, ItemDefined, PartnerDefined, PartnerRole
from contracts.topics import ERP_DEMANDS
from contracts.values import Strategy
from delivery import Announcements, Answer, ForeignMessage, NeverWorks, Refusal, Said, Work, does, hears_foreign, new_id
from services.integration.domain.refused import Refused
from services.integration.domain.units import Units
from services.integration.handlers.receipts import item_problem, partner_problem
from services.integration.handlers.refusals import refusal
from services.integration.messages import DemandMessage, digest_of
from services.integration.store.catalog import CatalogStore
from services.integration.store.demands import DemandState, DemandStore, WantedLine
from services.integration.store.messages import MessageStore, RawMessage


@dataclass(frozen=True, slots=True)
class RaiseDemand:
    """A line of the ERP, with the text that it came as."""

    message: DemandMessage
    raw: str
    via: str = "http"


@dataclass(frozen=True, slots=True)
class WithdrawDemand:
    """The line is no longer wanted."""

    demand_id: UUID
    reason: str


@dataclass(frozen=True, slots=True)
class _Known:
    """The same line came before."""

    demand_id: UUID


def _digest(message: DemandMessage) -> bytes:
    """What is wanted, whatever the message was called that said so."""
    return digest_of(message.model_dump(exclude={"message_id"}))


def _want(
    work: Work, message: DemandMessage, item: ItemDefined | None, customer: PartnerDefined | None
) -> WantedLine | Refused:
    refused = item_problem(message.item_id, item)
    refused = refused or partner_problem(message.customer_id, customer, PartnerRole.CUSTOMER, "customer_id")
    if refused is not None or item is None:
        return refused or Refused("unknown_item", message.item_id)
    quantity = Units.of(item).to_base(message.quantity, message.unit)
    if isinstance(quantity, Refused):
        return quantity
    event = DemandRaised(
        demand_id=new_id(),
        reference=message.reference,
        customer_id=message.customer_id,
        site_id=message.site_id,
        item_id=message.item_id,
        quantity=quantity,
        unit=item.base_unit,
        needed_on=message.needed_on,
        strategy=Strategy(message.strategy),
        batch_no=message.batch_no,
        min_days_left=message.min_days_left,
        min_percent_left=message.min_percent_left,
        raised_at=work.now,
    )
    return WantedLine(event, message.quantity, message.unit, message_uid=new_id())


async def _raise(work: Work, commands: Sequence[RaiseDemand]) -> list[WantedLine | _Known | Refused]:
    """Decide about lines in order and keep the new ones, each with its raw message."""
    messages = [command.message for command in commands]
    await work.lock(key for m in messages for key in (m.item_id, f"demand/{m.reference}"))
    store, catalog = DemandStore(work.db), CatalogStore(work.db)
    known = await store.by_reference(message.reference for message in messages)
    items = await catalog.items(message.item_id for message in messages)
    customers = await catalog.partners(message.customer_id for message in messages)
    decisions: list[WantedLine | _Known | Refused] = []
    raw: list[RawMessage] = []
    for command in commands:
        message, digest = command.message, _digest(command.message)
        before = known.get(message.reference)
        decision: WantedLine | _Known | Refused
        if before is None:
            decision = _want(work, message, items.get(message.item_id), customers.get(message.customer_id))
        elif before.digest != digest:
            decision = Refused(
                "reference_differs",
                f"demand {message.reference!r} was raised with other content: withdraw it and raise the change under a "
                "reference of its own",
                "reference",
            )
        else:
            decision = _Known(before.demand_id)
        if not isinstance(decision, Refused):
            uid = decision.message_uid if isinstance(decision, WantedLine) else new_id()
            name = message.reference if message.message_id is None else f"{message.reference} {message.message_id}"
            raw.append(RawMessage(uid, "demand", "erp", name, digest, command.raw, command.via))
        if isinstance(decision, WantedLine):
            event = decision.event
            known[event.reference] = DemandState(
                event.demand_id, event.reference, event.item_id, digest, withdrawn=False
            )
        decisions.append(decision)
    await MessageStore(work.db).keep(raw, work.now)
    await store.raise_them([each for each in decisions if isinstance(each, WantedLine)])
    return decisions


@does(RaiseDemand)
async def raise_demands(work: Work, commands: Sequence[RaiseDemand]) -> Sequence[Answer]:
    """201 for a new line, 200 for one that is already known."""
    answers = []
    for command, decision in zip(commands, await _raise(work, commands), strict=True):
        match decision:
            case Refused():
                answers.append(refusal(decision))
            case _Known(demand_id):
                answers.append(
                    Answer({"demand_id": demand_id, "reference": command.message.reference, "already_known": True})
                )
            case WantedLine(event):
                body = {"demand_id": event.demand_id, "reference": event.reference, "already_known": False}
                answers.append(Answer(body, 201, [event]))
    return answers


@hears_foreign(ERP_DEMANDS)
async def hear_demands(work: Work, records: Sequence[ForeignMessage]) -> Announcements:
    """As by HTTP; what would be refused there is parked here with the same words."""
    commands = []
    for record in records:
        try:
            message = DemandMessage.model_validate_json(record.body)
        except ValidationError as error:
            raise NeverWorks(f"not a demand: {explain(error)}") from None
        commands.append(RaiseDemand(message, record.body.decode(), record.topic))
    said = []
    for record, decision in zip(records, await _raise(work, commands), strict=True):
        if isinstance(decision, Refused):
            raise NeverWorks(f"{decision.field}: {decision.detail}")
        if isinstance(decision, WantedLine):
            said.append(Said(decision.event, because=record))
    return said


def explain(error: ValidationError) -> str:
    """The first fields that are wrong, each with its value and limit."""
    found = error.errors(include_url=False)[:5]
    return "; ".join(
        f"{'.'.join(str(part) for part in each['loc']) or 'body'}: {each['msg'].removeprefix('Value error, ')}"
        + _got(each["input"])
        for each in found
    )


def _got(value: object) -> str:
    """The value that was wrong; nothing where it was missing or is a whole list or object, which is kept anyway."""
    return "" if value is None or isinstance(value, dict | list | tuple) else f", got {str(value)[:80]!r}"


@does(WithdrawDemand)
async def withdraw_demands(work: Work, commands: Sequence[WithdrawDemand]) -> Sequence[Answer]:
    """Withdraw lines; allocation frees what was promised to them."""
    store = DemandStore(work.db)
    ids = [command.demand_id for command in commands]
    await work.lock(state.item_id for state in (await store.by_id(ids)).values())
    states = await store.by_id(ids)
    answers: list[Answer] = []
    withdrawn: dict[UUID, str] = {}
    for command in commands:
        state = states.get(command.demand_id)
        if state is None:
            answers.append(
                Refusal(404, "unknown_demand", f"no demand {command.demand_id} came through here", field="demand_id")
            )
        elif state.withdrawn:
            answers.append(
                Refusal(409, "already_withdrawn", f"demand {state.reference!r} was withdrawn before", field="demand_id")
            )
        else:
            states[command.demand_id] = replace(state, withdrawn=True)
            withdrawn[command.demand_id] = command.reason
            event = DemandWithdrawn(demand_id=command.demand_id, item_id=state.item_id, reason=command.reason)
            answers.append(Answer(event, says=[event]))
    await store.withdraw(list(withdrawn.items()), work.now)
    return answers
