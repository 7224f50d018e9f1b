"""Goods that were announced: how much of them has come, and how much more may."""

import datetime as dt
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from contracts.values import Origin
from services.receiving.domain.items import Item, in_base_units
from services.receiving.domain.reasons import Reason


class ExpectedStatus(StrEnum):
    """How much of an expected receipt has come."""

    OPEN = "open"
    PARTLY = "partly"
    COMPLETE = "complete"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Expected:
    """An expected receipt. `quantity` is in `unit`, as announced; `received` in the item's base unit.

    `given_back` is material that production took and did not use.
    """

    expected_receipt_id: UUID
    origin: Origin
    item_id: str
    quantity: Decimal
    unit: str
    site_id: str
    due_on: dt.date
    partner_id: str | None = None
    batch_no: str | None = None
    supplier_batch_no: str | None = None
    manufactured_on: dt.date | None = None
    expires_on: dt.date | None = None
    best_before: dt.date | None = None
    reference: str | None = None
    received: Decimal = Decimal(0)
    status: ExpectedStatus = ExpectedStatus.OPEN
    withdrawn_reason: str | None = None
    given_back: bool = False


def restated(fresh: Expected, before: Expected | None, item: Item | None) -> Expected:
    """An announcement that was said again: its newest words, and what has come of it already."""
    if before is None or not before.received:
        return fresh
    announced = None if item is None else in_base_units(fresh.quantity, fresh.unit, item)
    complete = isinstance(announced, Decimal) and before.received >= announced
    status = ExpectedStatus.COMPLETE if complete else ExpectedStatus.PARTLY
    return replace(fresh, received=before.received, status=status)


@dataclass(frozen=True, slots=True)
class Progress:
    """What an expected receipt has come to."""

    received: Decimal
    status: ExpectedStatus


def progress(expected: Expected, quantity: Decimal, item: Item, over_percent: Decimal) -> Progress | Reason:
    """Where `quantity` more (base unit) brings `expected`, or why that is not taken.

    Up to `over_percent` more than announced is accepted in all: scales and pallets are not exact.
    """
    if expected.status is ExpectedStatus.WITHDRAWN:
        return Reason(
            "expectation_withdrawn",
            f"expected receipt {expected.expected_receipt_id} was withdrawn: {expected.withdrawn_reason}",
        )
    announced = in_base_units(expected.quantity, expected.unit, item)
    if isinstance(announced, Reason):
        return Reason("expected_unit", f"the expected quantity cannot be compared: {announced.text}")
    received = expected.received + quantity
    most = announced * (100 + over_percent) / 100
    if received > most:
        return Reason(
            "too_much",
            f"{expected.received:f} + {quantity:f} {item.base_unit} are more than the {announced:f} {item.base_unit} "
            f"expected and {over_percent:f} % over: {most - expected.received:f} {item.base_unit} may still come"
            if most > expected.received
            else f"all of the {announced:f} {item.base_unit} expected have come, {expected.received:f} in all",
        )
    return Progress(received, ExpectedStatus.COMPLETE if received >= announced else ExpectedStatus.PARTLY)
