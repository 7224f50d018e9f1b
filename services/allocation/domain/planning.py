"""Which batches a demand gets, and why it did not get the others."""

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from contracts.allocation import PassedOverCode
from contracts.values import Strategy
from services.allocation.domain.stock import Stock


class Wanted(NamedTuple):
    """What a demand still wants, in the base unit, and what it asks of a batch.

    `alive_on` is the day on which life is measured. `min_days` and `min_percent` are the stricter of the customer's
    and the demand's own; None asks for nothing.
    """

    site_id: str
    quantity: Decimal
    alive_on: dt.date
    strategy: Strategy = Strategy.FEFO
    batch_no: str | None = None
    min_days: int | None = None
    min_percent: int | None = None
    expiry_required: bool = True


class Refused(NamedTuple):
    """Why a rule does not let a demand have a batch."""

    code: PassedOverCode
    text: str


class Taken(NamedTuple):
    """Some of the stock of one spot."""

    stock: Stock
    quantity: Decimal


class PassedOver(NamedTuple):
    """What was there of a candidate and not taken, and why."""

    stock: Stock
    quantity: Decimal
    code: PassedOverCode
    text: str


Rule = Callable[[Wanted, Stock], Refused | None]
Order = Callable[[Stock], Any]
"""A sort key."""


class Plan(NamedTuple):
    """The answer to one demand. `taken` never exceeds what was wanted.

    Every candidate that was considered is in `taken` or in `passed_over` (in both when it was taken in part).
    """

    taken: tuple[Taken, ...]
    passed_over: tuple[PassedOver, ...]
    missing: Decimal
    considered: tuple[Stock, ...]

    @property
    def allocated(self) -> Decimal:
        """What was taken, in the base unit."""
        return sum((share.quantity for share in self.taken), Decimal(0))


def plan(wanted: Wanted, shelf: Iterable[Stock], rules: Sequence[Rule], order: Order) -> Plan:
    """Serve `wanted` from `shelf`: sort by `order`, pass over what a rule refuses, take until there is enough.

    Deterministic: the same arguments give the same plan, in whatever order the shelf is, so a plan can be replayed
    years later. All of the shelf is considered: what comes after enough was taken is passed over as not needed.
    """
    in_order = iter(sorted(shelf, key=order))
    walked = walk(wanted, in_order, rules)
    rest = tuple(in_order)
    return Plan(
        walked.taken,
        walked.passed_over + tuple(_not_needed(stock, _refusal(wanted, stock, rules)) for stock in rest),
        walked.missing,
        walked.considered + rest,
    )


def walk(wanted: Wanted, in_order: Iterable[Stock], rules: Sequence[Rule]) -> Plan:
    """As `plan`, along stock that is in order already, and no further than needed: only what it met is considered."""
    left = wanted.quantity
    taken: list[Taken] = []
    passed_over: list[PassedOver] = []
    considered: list[Stock] = []
    if left > 0:
        for stock in in_order:
            considered.append(stock)
            refused = _refusal(wanted, stock, rules)
            if refused is not None:
                passed_over.append(PassedOver(stock, stock.quantity or stock.promised, refused.code, refused.text))
                continue
            if stock.quantity < left:
                taken.append(Taken(stock, stock.quantity))
                left -= stock.quantity
                continue
            taken.append(Taken(stock, left))
            if stock.quantity > left:
                passed_over.append(
                    PassedOver(stock, stock.quantity - left, PassedOverCode.NOT_NEEDED, "the rest of it was not needed")
                )
            left = Decimal(0)
            break
    return Plan(tuple(taken), tuple(passed_over), left, tuple(considered))


def _refusal(wanted: Wanted, stock: Stock, rules: Sequence[Rule]) -> Refused | None:
    for rule in rules:
        refused = rule(wanted, stock)
        if refused is not None:
            return refused
    return None


def _not_needed(stock: Stock, refused: Refused | None) -> PassedOver:
    if refused is not None:
        return PassedOver(stock, stock.quantity or stock.promised, refused.code, refused.text)
    return PassedOver(stock, stock.quantity, PassedOverCode.NOT_NEEDED, "enough was found before it")
