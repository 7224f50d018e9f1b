"""All SQL that decides or changes: what a chunk needs is read in one statement per purpose, written in one per table.

Every method expects that the items concerned are locked (`Work.lock`), unless it says otherwise.
"""

from services.allocation.store.catalog import Catalog
from services.allocation.store.demands import Demands
from services.allocation.store.ledger import Ledger
from services.allocation.store.looking import Looking
from services.allocation.store.mending import COPIES, Mending
from services.allocation.store.outbound import Outbound
from services.allocation.store.promises import Promises
from services.allocation.store.rows import (
    OPEN_CLAIM,
    PROMISED_SEEN,
    BatchSeen,
    CustomerTerms,
    HoldSeen,
    ItemTerms,
    Kept,
    KnownSpot,
    NewPlan,
    NewReservation,
    NewShipment,
    Terms,
)

__all__ = [
    "COPIES",
    "OPEN_CLAIM",
    "PROMISED_SEEN",
    "AllocationStore",
    "BatchSeen",
    "CustomerTerms",
    "HoldSeen",
    "ItemTerms",
    "Kept",
    "KnownSpot",
    "NewPlan",
    "NewReservation",
    "NewShipment",
    "Terms",
]


class AllocationStore(Catalog, Looking, Demands, Promises, Outbound, Ledger, Mending):
    """The tables of allocation, within one transaction."""
