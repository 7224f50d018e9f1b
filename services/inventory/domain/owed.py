"""Consumption that was heard before the goods it took: topics are not ordered against each other."""

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from contracts.values import BatchFacts


@dataclass(frozen=True, slots=True)
class Owed:
    """What production used up and the books did not have yet: `quantity` (> 0, base unit) still has to be booked."""

    consumption_id: UUID
    item_id: str
    batch_no: str
    supplier_batch_no: str | None
    site_id: str
    unit: str
    into_item_id: str
    into_batch_no: str
    consumed_at: dt.datetime
    quantity: Decimal

    def was_of(self, item_id: str, facts: BatchFacts, site_id: str, since: dt.datetime) -> bool:
        """Whether goods that were usable at a site `since` then may be what was consumed.

        What became usable only afterwards is something else, whatever its number says.
        """
        numbers = {self.batch_no, self.supplier_batch_no} - {None}
        return (
            (item_id, site_id) == (self.item_id, self.site_id)
            and since <= self.consumed_at
            and (facts.batch_no == self.batch_no or facts.supplier_batch_no in numbers)
        )
