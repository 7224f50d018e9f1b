"""What a customer asks of a batch's remaining life, and how a demand's own wish meets it."""

import datetime as dt
from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from contracts.values import Strategy
from services.allocation.domain.planning import Wanted


class LifeRule(NamedTuple):
    """What a customer wants left on the day of need. Without `item_id` it is meant for every item."""

    item_id: str | None
    min_days: int | None
    min_percent: int | None


class Demand(NamedTuple):
    """One line that somebody wants out. `quantity` and `missing` are in the item's base unit `unit`.

    `missing` is what no promise covers and nothing was shipped for.
    """

    demand_id: UUID
    reference: str
    customer_id: str
    site_id: str
    item_id: str
    unit: str
    quantity: Decimal
    missing: Decimal
    needed_on: dt.date
    strategy: Strategy
    batch_no: str | None
    min_days_left: int | None
    min_percent_left: int | None
    raised_at: dt.datetime


def somewhere_still(now: dt.datetime) -> dt.date:
    """The earliest calendar day that it still is anywhere on Earth (UTC−12).

    Allocation does not know a site's time zone; inventory's expiry hold locks a batch at the site's own midnight.
    By this day a batch is never refused too early, and never later than half a day after the hold should have come.
    """
    return (now - dt.timedelta(hours=12)).date()


def wanted_by(demand: Demand, rules: Iterable[LifeRule], *, expiry_required: bool, today: dt.date) -> Wanted:
    """What `demand` still asks for: its own wish and its customer's rule for the item, the stricter of each.

    A rule for the item replaces the customer's rule for every item. Life is measured on the day of need, or `today`
    when that is later: a late demand gets no batch that expired meanwhile.
    """
    rule = _rule_for(demand.item_id, rules)
    strategy = demand.strategy if demand.strategy is not Strategy.UNKNOWN else Strategy.FEFO
    return Wanted(
        site_id=demand.site_id,
        quantity=demand.missing,
        alive_on=max(demand.needed_on, today),
        strategy=strategy,
        batch_no=demand.batch_no if strategy is Strategy.SPECIFIED else None,
        min_days=_stricter(demand.min_days_left, rule.min_days if rule else None),
        min_percent=_stricter(demand.min_percent_left, rule.min_percent if rule else None),
        expiry_required=expiry_required,
    )


def _rule_for(item_id: str, rules: Iterable[LifeRule]) -> LifeRule | None:
    every_item = None
    for rule in rules:
        if rule.item_id == item_id:
            return rule
        if rule.item_id is None:
            every_item = rule
    return every_item


def _stricter(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return one if other is None else other
    return max(one, other)
