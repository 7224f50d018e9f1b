"""In which order batches leave. Ties are broken the same way everywhere, so that nothing depends on chance.

FEFO: last usable day (none known: last), then received first, batch number, batch id, location, smallest quantity.
FIFO: received first, then last usable day, batch number, batch id, location, smallest quantity.
LIFO: received last, then as FIFO. A specified batch is taken in the order of FEFO.

`store.py` walks indexes in the same orders, so text compares by code point there (COLLATE "C").
"""

from collections.abc import Mapping
from typing import Any

from contracts.values import Strategy
from services.allocation.domain.planning import Order
from services.allocation.domain.stock import Stock


def first_expired_first(stock: Stock) -> tuple[Any, ...]:
    """FEFO."""
    return (stock.use_by, stock.received_on, *_ties(stock))


def first_in_first(stock: Stock) -> tuple[Any, ...]:
    """FIFO."""
    return (stock.received_on, stock.use_by, *_ties(stock))


def last_in_first(stock: Stock) -> tuple[Any, ...]:
    """LIFO."""
    return (-stock.received_on.toordinal(), stock.use_by, *_ties(stock))


def _ties(stock: Stock) -> tuple[Any, ...]:
    return (stock.batch_no, stock.spot.batch_id, stock.spot.location_id, stock.quantity, stock.spot)


ORDERS: Mapping[Strategy, Order] = {
    Strategy.FEFO: first_expired_first,
    Strategy.FIFO: first_in_first,
    Strategy.LIFO: last_in_first,
    Strategy.SPECIFIED: first_expired_first,
}
