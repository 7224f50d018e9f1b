"""What allocation knows of stock: where some of a batch is, and what speaks for or against promising it."""

import datetime as dt
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from contracts.values import Purpose, Quality

PICKABLE = frozenset({Purpose.RECEIVING, Purpose.STORAGE})
"""Purposes of zones that stock may be promised from."""

FOREVER = dt.date.max
"""Sorts stock without an expiry date last."""


class Spot(NamedTuple):
    """One batch at one location in one quality: what a promise is made on. `(batch, site, location, quality)`."""

    batch_id: UUID
    site_id: str
    location_id: str
    quality: str


class Stock(NamedTuple):
    """What is on one spot. Quantities are in the item's base unit.

    `quantity` is free: no promise has it. `promised` is only told where that explains a shortage. `held_for` says
    which holds are open, in words; it is empty when there are none.
    """

    spot: Spot
    batch_no: str
    purpose: str
    quantity: Decimal
    received_on: dt.date
    expires_on: dt.date | None = None
    manufactured_on: dt.date | None = None
    held_for: str = ""
    promised: Decimal = Decimal(0)

    def without(self, taken: Decimal) -> "Stock":
        """What is left of it."""
        # Once for each share, and `_replace` is several times as dear.
        return Stock._make((*self[:3], self.quantity - taken, *self[4:]))

    @property
    def use_by(self) -> dt.date:
        """The last day it may be used; `FOREVER` when none is known."""
        return self.expires_on or FOREVER

    @property
    def offered(self) -> bool:
        """Whether it may be promised to somebody, leaving dates aside: free, released, not held, pickable."""
        return (
            self.quantity > 0
            and self.spot.quality == Quality.RELEASED
            and not self.held_for
            and self.purpose in PICKABLE
        )
