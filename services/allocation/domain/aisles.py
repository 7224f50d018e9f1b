"""Serving many demands from one shelf, looking only at as much of it as they can need.

An *aisle* is the stock of an item at a site in the order of one strategy, from the first batch that lives long enough.
Demands walk along it one after the other; what one takes the next does not find. When an aisle ends before a demand
has enough, more of it is loaded and the chunk is served again from the beginning, so the outcome is the same as if
the whole shelf had been there.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from heapq import merge
from itertools import groupby
from typing import NamedTuple
from uuid import UUID

from contracts.values import Strategy
from services.allocation.domain.orders import ORDERS
from services.allocation.domain.planning import Plan, Rule, Wanted, walk
from services.allocation.domain.stock import Spot, Stock

_ALIKE = dt.timedelta(days=45)
"""Demands whose least expiry dates lie so close together share an aisle."""

_SPARE = 8
"""Rows of an aisle that are read beyond two a demand."""

_MORE = 4
"""How much more of an aisle is loaded when it was too short."""

Shelf = tuple[str, str]
"""Item and site."""


@dataclass(slots=True)
class Aisle:
    """Stock of one item and site in one strategy's order, usable on `from_day` at least; `batch_no` for that one only.

    At most `rows` rows are read of it, and no more than `need` free quantity.
    """

    shelf: Shelf
    strategy: Strategy
    batch_no: str | None
    from_day: dt.date
    need: Decimal
    rows: int
    spots: list[Spot] = field(default_factory=list)
    withheld: list[Stock] = field(default_factory=list)
    ended: bool = False
    _head: int = 0

    def walk(self, stocks: dict[Spot, Stock]) -> Iterator[Stock]:
        """What is left along it. Spots at its beginning that are used up are not visited again."""
        while self._head < len(self.spots) and not stocks[self.spots[self._head]].quantity:
            self._head += 1
        for at in range(self._head, len(self.spots)):
            stock = stocks[self.spots[at]]
            if stock.quantity:
                yield stock

    def beside(self, stocks: dict[Spot, Stock]) -> Iterator[Stock]:
        """What is left there that none of its demands can have; what is too old for them others may have taken."""
        for withheld in self.withheld:
            stock = stocks.get(withheld.spot, withheld)
            if stock.quantity:
                yield stock

    def withhold(self, found: Iterable[Stock]) -> None:
        """Remember what none of its demands can have of its shelf, to be met in its place and explained.

        Who named a batch is not told about all the others.
        """
        if self.strategy is not Strategy.SPECIFIED:
            apart = (stock for stock in found if not stock.offered or stock.use_by < self.from_day)
            self.withheld = sorted(apart, key=ORDERS[self.strategy])

    def filled(self, found: Sequence[Stock]) -> None:
        """Remember what was read, and whether that is all there is."""
        self.spots = [stock.spot for stock in sorted(found, key=ORDERS[self.strategy])]
        self.ended = len(found) < self.rows and sum((stock.quantity for stock in found), Decimal(0)) < self.need

    def rewind(self) -> None:
        """Start again at the beginning."""
        self._head = 0

    def longer(self) -> None:
        """Ask for more of it next time."""
        self.need *= _MORE
        self.rows *= _MORE


class Asking(NamedTuple):
    """A demand's wish and the shelf it is made to."""

    demand_id: UUID
    item_id: str
    wanted: Wanted

    @property
    def shelf(self) -> Shelf:
        """Item and site."""
        return self.item_id, self.wanted.site_id

    @property
    def from_day(self) -> dt.date:
        """No batch that expires earlier can serve it."""
        if not self.wanted.min_days:
            return self.wanted.alive_on
        try:
            return self.wanted.alive_on + dt.timedelta(days=self.wanted.min_days)
        except OverflowError:
            # Beyond the calendar: only what never expires is good for so long.
            return dt.date.max


class Aisles:
    """Serves a chunk's demands, in their order."""

    def __init__(self, askings: Sequence[Asking]) -> None:
        self._askings = [asking for asking in askings if asking.wanted.quantity > 0]
        need: dict[Shelf, Decimal] = {}
        for asking in self._askings:
            need[asking.shelf] = need.get(asking.shelf, Decimal(0)) + asking.wanted.quantity
        self._of: dict[UUID, Aisle] = {}
        self._aisles: list[Aisle] = []
        for (shelf, strategy, batch_no), group in groupby(sorted(self._askings, key=_kind), key=_kind_of_aisle):
            aisle: Aisle | None = None
            for asking in group:
                if aisle is None or asking.from_day - aisle.from_day > _ALIKE:
                    aisle = Aisle(
                        shelf, Strategy(strategy), batch_no or None, asking.from_day, need[shelf], rows=_SPARE
                    )
                    self._aisles.append(aisle)
                aisle.rows += 2
                self._of[asking.demand_id] = aisle
        self._loaded: dict[Spot, Stock] = {}
        self._left: dict[Spot, Stock] = {}

    @property
    def shelves(self) -> dict[Shelf, dt.date]:
        """The shelves that are asked, and the day before which stock is too old for one of their aisles."""
        last: dict[Shelf, dt.date] = {}
        for aisle in self._aisles:
            last[aisle.shelf] = max(last.get(aisle.shelf, dt.date.min), aisle.from_day)
        return last

    def to_load(self, plans: dict[UUID, Plan] | None = None) -> list[Aisle]:
        """The aisles to read: all of them at first, then those that ended too early for one of `plans`."""
        if plans is None:
            return self._aisles
        short = {id(aisle): aisle for demand_id, aisle in self._of.items() if plans[demand_id].missing}
        lacking = [aisle for aisle in short.values() if not aisle.ended]
        for aisle in lacking:
            aisle.longer()
        return lacking

    def fill(self, aisle: Aisle, found: Sequence[Stock]) -> None:
        """Put into an aisle what was read of it."""
        aisle.filled(found)
        self._loaded.update((stock.spot, stock) for stock in found)

    def withhold(self, shelf: Shelf, found: Iterable[Stock]) -> None:
        """Tell of stock there that some of these demands, or all, cannot have."""
        known = list(found)
        for aisle in self._aisles:
            if aisle.shelf == shelf:
                aisle.withhold(known)

    def serve(self, rules: Sequence[Rule]) -> dict[UUID, Plan]:
        """A plan for each demand, from what is loaded."""
        self._left = stocks = dict(self._loaded)
        for aisle in self._aisles:
            aisle.rewind()
        plans = {}
        for asking in self._askings:
            aisle = self._of[asking.demand_id]
            along = aisle.walk(stocks)
            if aisle.withheld:
                along = merge(along, aisle.beside(stocks), key=ORDERS[aisle.strategy])
            made = plans[asking.demand_id] = walk(asking.wanted, along, rules)
            for stock, quantity in made.taken:
                stocks[stock.spot] = stock.without(quantity)
        return plans

    def used_up(self, asking: Asking, made: Plan) -> list[Stock]:
        """What others of this chunk took of the aisle before `asking`, whose plan is `made`, came by."""
        seen = {stock.spot for stock in made.considered}
        return [
            loaded._replace(quantity=Decimal(0), promised=loaded.quantity)
            for spot in self._of[asking.demand_id].spots
            if spot not in seen and not self._left[spot].quantity and (loaded := self._loaded[spot])
        ]


def _kind(asking: Asking) -> tuple[Shelf, str, str, dt.date]:
    return asking.shelf, asking.wanted.strategy, asking.wanted.batch_no or "", asking.from_day


def _kind_of_aisle(asking: Asking) -> tuple[Shelf, str, str]:
    return asking.shelf, asking.wanted.strategy, asking.wanted.batch_no or ""
