"""What allocation says: promises with their reasons, what was revoked, picked and sent."""

import datetime as dt
from uuid import UUID

from pydantic import Field

from contracts.event import Event, Part
from contracts.values import BatchNo, Code, Listed, Moment, Quantity, QuantityOrZero, Reference, Strategy, Text, Unit


class PassedOverCode(Listed):
    """Why a batch on the shelf was not given to a demand."""

    PENDING = "pending"
    REJECTED = "rejected"
    HELD = "held"
    EXPIRED = "expired"
    NO_EXPIRY_KNOWN = "no_expiry_known"
    TOO_FEW_DAYS_LEFT = "too_few_days_left"
    TOO_FEW_PERCENT_LEFT = "too_few_percent_left"
    OTHER_BATCH_WANTED = "other_batch_wanted"
    RESERVED = "reserved"
    OTHER_SITE = "other_site"
    NOT_PICKABLE_HERE = "not_pickable_here"
    NOT_NEEDED = "not_needed"
    UNKNOWN = "unknown"


class Share(Part):
    """A promised quantity of one batch at one location, in the base unit."""

    reservation_id: UUID
    batch_id: UUID
    batch_no: BatchNo
    location_id: Code
    quantity: Quantity
    expires_on: dt.date | None = None


class PassedOver(Part):
    """A candidate that was not taken (or not wholly), and why."""

    batch_id: UUID
    batch_no: BatchNo
    location_id: Code
    quantity: QuantityOrZero = Field(description="What was there of it and not taken.")
    code: PassedOverCode
    text: Text


class DemandAllocated(Event):
    """The promise to one demand as it stands now: what it has, why it has nothing else, and from what it was decided.

    `allocated + missing` is what was still to be promised. `inventory_sequence` is the item's sequence that the plan
    was made from.
    """

    plan_id: UUID
    demand_id: UUID
    reference: Reference
    customer_id: Code
    site_id: Code
    item_id: Code
    unit: Unit
    strategy: Strategy
    needed_on: dt.date
    wanted: Quantity
    allocated: QuantityOrZero
    missing: QuantityOrZero
    shares: tuple[Share, ...] = ()
    passed_over: tuple[PassedOver, ...] = Field(default=(), description="At most 50 are said; all are kept.")
    inventory_sequence: int = Field(ge=0)
    policy: Code = Field(description="The version of the rules that decided.")
    decided_at: Moment


class DemandShort(Event):
    """Not everything could be promised. The demand waits and is served when stock arrives, oldest first."""

    demand_id: UUID
    reference: Reference
    customer_id: Code
    site_id: Code
    item_id: Code
    unit: Unit
    wanted: Quantity
    missing: Quantity
    reasons: tuple[Text, ...] = ()
    decided_at: Moment


class RevocationCode(Listed):
    """What took stock from under a promise."""

    HELD = "held"
    RECALLED = "recalled"
    MOVED = "moved"
    DATES_CORRECTED = "dates_corrected"
    GONE = "gone"
    REFUSED_AT_GATE = "refused_at_gate"
    UNKNOWN = "unknown"


class AllocationRevoked(Event):
    """A promise was taken back; what replaces it is said by the next `DemandAllocated` or `DemandShort`."""

    reservation_id: UUID
    demand_id: UUID
    customer_id: Code
    item_id: Code
    batch_id: UUID
    batch_no: BatchNo
    location_id: Code
    quantity: Quantity
    unit: Unit
    picked: bool = Field(description="True: a person already holds it; it stays where it is until a person decides.")
    code: RevocationCode
    reason: Text
    revoked_at: Moment


class DemandCancelled(Event):
    """The demand wants nothing more; what was promised and not picked is free again."""

    demand_id: UUID
    item_id: Code
    freed: QuantityOrZero
    unit: Unit
    reason: Text
    cancelled_at: Moment


class PickConfirmed(Event):
    """A person took a promised quantity from its location to staging."""

    pick_id: UUID
    demand_id: UUID
    reservation_id: UUID
    customer_id: Code
    site_id: Code
    item_id: Code
    batch_id: UUID
    batch_no: BatchNo
    from_location_id: Code
    to_location_id: Code
    quantity: Quantity
    unit: Unit
    picked_at: Moment


class ScanVerdict(Listed):
    """Why a scan at a pick was refused."""

    WRONG_ITEM = "wrong_item"
    WRONG_BATCH = "wrong_batch"
    HELD = "held"
    EXPIRED = "expired"
    NOT_RESERVED_HERE = "not_reserved_here"
    ALREADY_PICKED = "already_picked"
    UNKNOWN_CODE = "unknown_code"
    UNKNOWN = "unknown"


class PickRefused(Event):
    """A scan was refused; nothing moved."""

    refusal_id: UUID
    pick_id: UUID
    demand_id: UUID
    item_id: Code = Field(description="The item that should have been picked.")
    expected_batch_no: BatchNo
    scanned: Text
    verdict: ScanVerdict
    reason: Text
    refused_at: Moment


class ShipmentDispatched(Event):
    """One line of a shipment stands at the gate and asks inventory to let it leave."""

    shipment_id: UUID
    line_id: UUID
    demand_id: UUID
    reference: Reference
    customer_id: Code
    site_id: Code
    item_id: Code
    batch_id: UUID
    batch_no: BatchNo
    location_id: Code
    quantity: Quantity
    unit: Unit
    carrier: Reference | None = None
    dispatched_at: Moment
