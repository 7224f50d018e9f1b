"""Expected receipts: goods that a supplier or a customer will send."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

from contracts.integration import ExpectedReceiptWithdrawn, ItemDefined, PartnerDefined, PartnerRole, ReceiptExpected
from contracts.values import Origin
from delivery import Answer, Refusal, Work, does, new_id
from services.integration.domain.refused import Refused
from services.integration.domain.units import Units
from services.integration.domain.valuation import LARGEST_VALUE, rounded
from services.integration.handlers.refusals import refusal
from services.integration.queries import ExpectedReceiptView
from services.integration.settings import company_currency
from services.integration.store.catalog import CatalogStore
from services.integration.store.receipts import Expectation, ReceiptStore


@dataclass(frozen=True, slots=True)
class ExpectReceipt:
    """Goods will arrive. `unit_cost` is per `unit`, in `currency`; None: not known yet."""

    origin: Origin
    item_id: str
    quantity: Decimal
    unit: str
    site_id: str
    due_on: dt.date
    partner_id: str
    batch_no: str | None
    supplier_batch_no: str | None
    manufactured_on: dt.date | None
    expires_on: dt.date | None
    best_before: dt.date | None
    reference: str | None
    unit_cost: Decimal | None
    currency: str | None


@dataclass(frozen=True, slots=True)
class WithdrawExpected:
    """Goods that were expected will not come."""

    expected_receipt_id: UUID
    reason: str


def partner_problem(partner_id: str, partner: PartnerDefined | None, role: PartnerRole, field: str) -> Refused | None:
    """Why a partner cannot be the supplier or customer of something; `field` is where it is named."""
    if partner is None:
        return Refused(
            "unknown_partner", f"partner {partner_id!r} is not defined: PUT /partners/{partner_id} first", field
        )
    if role not in partner.roles:
        return Refused(
            "wrong_role_of_partner",
            f"partner {partner_id!r} is a {' and a '.join(sorted(partner.roles))}, not a {role.value}",
            field,
        )
    return None if partner.active else Refused("inactive_partner", f"partner {partner_id!r} is not active", field)


def item_problem(item_id: str, item: ItemDefined | None) -> Refused | None:
    """Why nothing can be expected or wanted of an item."""
    if item is None:
        return Refused("unknown_item", f"item {item_id!r} is not defined: PUT /items/{item_id} first", "item_id")
    return None if item.active else Refused("inactive_item", f"item {item_id!r} is not active", "item_id")


def _expect(command: ExpectReceipt, item: ItemDefined | None, partner: PartnerDefined | None) -> Expectation | Refused:
    role = PartnerRole.CUSTOMER if command.origin is Origin.CUSTOMER else PartnerRole.SUPPLIER
    if refused := item_problem(command.item_id, item) or partner_problem(
        command.partner_id, partner, role, "partner_id"
    ):
        return refused
    if refused := _dates_problem(command) or _cost_problem(command):
        return refused
    if item is None:
        raise AssertionError("an unknown item was refused above")
    units = Units.of(item)
    quantity, factor = units.to_base(command.quantity, command.unit), units.factor(command.unit)
    if isinstance(quantity, Refused):
        return quantity
    if isinstance(factor, Refused):
        return factor
    basis = "unknown" if command.unit_cost is None else "given"
    event = ReceiptExpected(
        expected_receipt_id=new_id(),
        origin=command.origin,
        item_id=command.item_id,
        quantity=quantity,
        unit=item.base_unit,
        site_id=command.site_id,
        due_on=command.due_on,
        partner_id=command.partner_id,
        batch_no=command.batch_no,
        supplier_batch_no=command.supplier_batch_no,
        manufactured_on=command.manufactured_on,
        expires_on=command.expires_on,
        best_before=command.best_before,
        reference=command.reference,
    )
    return Expectation(
        event,
        command.quantity,
        command.unit,
        factor,
        "own" if command.origin is Origin.CUSTOMER else basis,
        command.unit_cost,
        command.currency,
    )


def _dates_problem(command: ExpectReceipt) -> Refused | None:
    for name, day in (("expires_on", command.expires_on), ("best_before", command.best_before)):
        if day is not None and command.manufactured_on is not None and day < command.manufactured_on:
            return Refused(
                "expires_before_manufacture", f"{day} is before manufactured_on {command.manufactured_on}", name
            )
    return None


def _cost_problem(command: ExpectReceipt) -> Refused | None:
    if (command.unit_cost is None) != (command.currency is None):
        return Refused(
            "cost_without_currency",
            f"unit_cost {command.unit_cost} with currency {command.currency!r}: give both or neither",
            "unit_cost",
        )
    if command.unit_cost is None:
        return None
    if command.origin is Origin.CUSTOMER:
        return Refused(
            "cost_of_return", "a return is worth what its batch is worth: it has no unit_cost of its own", "unit_cost"
        )
    return value_problem(command.quantity, command.unit_cost) or currency_problem(command.currency or "")


def value_problem(quantity: Decimal, unit_cost: Decimal) -> Refused | None:
    """Why nothing can be worth so much."""
    worth = Fraction(quantity) * Fraction(unit_cost)
    if worth < LARGEST_VALUE:
        return None
    detail = f"{quantity} at {unit_cost} each is {rounded(worth, 2)}: less than {LARGEST_VALUE} is allowed"
    return Refused("too_large", detail, "unit_cost")


def currency_problem(currency: str) -> Refused | None:
    """Why a cost cannot be kept in this currency."""
    ours = company_currency()
    if currency == ours:
        return None
    return Refused("foreign_currency", f"costs are kept in {ours}, not in {currency}: convert it first", "currency")


@does(ExpectReceipt)
async def expect_receipts(work: Work, commands: Sequence[ExpectReceipt]) -> Sequence[Answer]:
    """Keep what is expected, in base units, and say it."""
    catalog = CatalogStore(work.db)
    items = await catalog.items(command.item_id for command in commands)
    partners = await catalog.partners(command.partner_id for command in commands)
    decisions = [_expect(each, items.get(each.item_id), partners.get(each.partner_id)) for each in commands]
    await ReceiptStore(work.db).expect([each for each in decisions if isinstance(each, Expectation)], work.now)
    return [
        refusal(each) if isinstance(each, Refused) else Answer(_expected_now(each, work.now), 201, [each.event])
        for each in decisions
    ]


def _expected_now(expectation: Expectation, now: dt.datetime) -> ExpectedReceiptView:
    """What is expected since now, as reading it answers."""
    return ExpectedReceiptView(
        **expectation.event.model_dump(include=set(ExpectedReceiptView.model_fields)),
        entered_quantity=expectation.entered_quantity,
        entered_unit=expectation.entered_unit,
        received=Decimal(0),
        report_id=expectation.report_id,
        cost_basis=expectation.cost_basis,
        unit_cost=expectation.unit_cost,
        currency=expectation.currency,
        status="open",
        expected_at=now,
        withdrawn_why=None,
    )


@does(WithdrawExpected)
async def withdraw_expected(work: Work, commands: Sequence[WithdrawExpected]) -> Sequence[Answer]:
    """Withdraw what has not arrived in full; what has arrived stays."""
    store = ReceiptStore(work.db)
    ids = [command.expected_receipt_id for command in commands]
    await work.lock(state.item_id for state in (await store.states(ids)).values())
    states = await store.states(ids)
    answers: list[Answer] = []
    withdrawn: dict[UUID, str] = {}
    for command in commands:
        expected_id = command.expected_receipt_id
        state = states.get(expected_id)
        if state is None:
            answers.append(
                Refusal(
                    404,
                    "unknown_expected_receipt",
                    f"no receipt {expected_id} was ever expected",
                    field="expected_receipt_id",
                )
            )
        elif state.withdrawn or expected_id in withdrawn:
            answers.append(
                Refusal(
                    409,
                    "already_withdrawn",
                    f"expected receipt {expected_id} was withdrawn before",
                    field="expected_receipt_id",
                )
            )
        elif state.received >= state.quantity:
            detail = f"{state.received} of {state.quantity} {state.unit} have arrived: nothing is left to withdraw"
            answers.append(Refusal(409, "already_received", detail, field="expected_receipt_id"))
        else:
            withdrawn[expected_id] = command.reason
            event = ExpectedReceiptWithdrawn(
                expected_receipt_id=expected_id, item_id=state.item_id, reason=command.reason
            )
            answers.append(Answer(event, says=[event]))
    await store.withdraw(list(withdrawn.items()), work.now)
    return answers
