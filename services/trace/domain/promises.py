"""What is promised of each batch now, from what allocation said, in its order."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

from contracts.allocation import AllocationRevoked, DemandAllocated, DemandCancelled, PickConfirmed
from contracts.event import Event


@dataclass(frozen=True, slots=True)
class Promise:
    """A quantity (base unit) of a batch at a location that a demand may count on."""

    reservation_id: UUID
    demand_id: UUID
    reference: str
    customer_id: str
    item_id: str
    batch_id: UUID
    location_id: str
    quantity: Decimal
    unit: str


@dataclass(slots=True)
class PromiseChanges:
    """What some events change: first forget whole demands, then reservations, then keep what is new."""

    forget_demands: set[UUID] = field(default_factory=set)
    forget_reservations: set[UUID] = field(default_factory=set)
    keep: dict[UUID, Promise] = field(default_factory=dict)


def promise_changes(events: Iterable[Event]) -> PromiseChanges:
    """Fold events of allocation. `DemandAllocated` restates a demand's promises; a pick or a revocation ends one."""
    changes = PromiseChanges()

    def forget_demand(demand_id: UUID) -> None:
        changes.forget_demands.add(demand_id)
        for reservation_id in [key for key, promise in changes.keep.items() if promise.demand_id == demand_id]:
            del changes.keep[reservation_id]

    for event in events:
        match event:
            case DemandAllocated():
                forget_demand(event.demand_id)
                for share in event.shares:
                    changes.keep[share.reservation_id] = Promise(
                        share.reservation_id,
                        event.demand_id,
                        event.reference,
                        event.customer_id,
                        event.item_id,
                        share.batch_id,
                        share.location_id,
                        share.quantity,
                        event.unit,
                    )
            case DemandCancelled():
                forget_demand(event.demand_id)
            case AllocationRevoked() | PickConfirmed():
                changes.forget_reservations.add(event.reservation_id)
                changes.keep.pop(event.reservation_id, None)
            case _:
                pass
    return changes
