"""What inventory says: sites, every movement of stock, every hold, every refusal at the gate, and alarms."""

from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from contracts.event import Event
from contracts.values import (
    BatchFacts,
    Code,
    HoldKind,
    Listed,
    Moment,
    Place,
    Quantity,
    QuantityOrZero,
    Reference,
    Text,
    Unit,
)

TimeZone = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[!-~]+$")]
"""The name of a time zone in the IANA database, such as Asia/Shanghai."""

MOST_PLACES = 1000
"""Locations of one purpose that a site names. One that has more names none."""


class SiteDefined(Event):
    """A site as it is now; the highest revision counts. A listener that never heard of a site cannot tell that there is
    none: an inventory that does not announce sites may still speak to it.
    """

    key_field = "site_id"

    site_id: Code
    revision: int = Field(ge=1)
    name: Text
    time_zone: TimeZone = Field(description="Whose midnight ends a day there. A guess while `set_up` is false.")
    set_up: bool = Field(description="False: goods that arrived opened it, and nobody described it yet.")
    docks: tuple[Code, ...] = Field(
        default=(), max_length=MOST_PLACES, description="Where goods may arrive. Empty: nobody described any."
    )
    staging: tuple[Code, ...] = Field(
        default=(), max_length=MOST_PLACES, description="Where picked goods may be put. Empty: nobody described any."
    )
    sites: int = Field(
        ge=1, description="How many sites there were: who has heard of fewer has not yet heard of every site."
    )
    defined_at: Moment


class MovementReason(Listed):
    """Why stock moved."""

    RECEIPT = "receipt"
    PUT_AWAY = "put_away"
    TRANSFER = "transfer"
    INSPECTION = "inspection"
    STATUS_CHANGE = "status_change"
    PICK = "pick"
    ISSUE = "issue"
    CONSUMPTION = "consumption"
    ADJUSTMENT = "adjustment"
    REVERSAL = "reversal"
    UNKNOWN = "unknown"


class StockMoved(Event):
    """A quantity of a batch left one place and status and arrived in another. Stock is the sum of these.

    `sequence` grows by one per item, at commit, over movements and holds together: order is by it, never by clock.
    """

    movement_id: UUID
    sequence: int = Field(ge=1)
    item_id: Code
    batch_id: UUID
    batch: BatchFacts
    quantity: Quantity
    unit: Unit
    from_place: Place
    to_place: Place
    reason: MovementReason
    reason_text: Text | None = None
    reference: Reference | None = Field(default=None, description="The receipt, inspection, pick, shipment line, …")
    effective_at: Moment
    recorded_at: Moment
    reverses: UUID | None = None


class HoldPlaced(Event):
    """Stock of a batch may not be used now; without `location_id` everywhere (at `site_id`, or at every site)."""

    hold_id: UUID
    sequence: int = Field(ge=1)
    item_id: Code
    batch_id: UUID
    kind: HoldKind
    site_id: Code | None = None
    location_id: Code | None = None
    reason: Text
    reference: Reference | None = Field(default=None, description="The recall, count or excursion.")
    placed_at: Moment


class HoldLifted(Event):
    """One hold is over; others may still be open."""

    hold_id: UUID
    sequence: int = Field(ge=1)
    item_id: Code
    batch_id: UUID
    kind: HoldKind
    site_id: Code | None = None
    location_id: Code | None = None
    reason: Text
    lifted_at: Moment


class RefusalCode(Listed):
    """Why the gate let something not pass."""

    HELD = "held"
    EXPIRED = "expired"
    REJECTED = "rejected"
    PENDING = "pending"
    NOT_THERE = "not_there"
    UNKNOWN = "unknown"


class IssueRefused(Event):
    """A shipment line may not leave; the stock stays where it is."""

    shipment_id: UUID
    line_id: UUID
    demand_id: UUID
    sequence: int = Field(ge=0, description="The item's sequence when this was decided.")
    item_id: Code
    batch_id: UUID
    site_id: Code
    location_id: Code
    quantity: Quantity
    unit: Unit
    code: RefusalCode
    reason: Text
    refused_at: Moment


class AlertKind(Listed):
    """What a person should look at."""

    NEAR_EXPIRY = "near_expiry"
    CONSUMPTION_SHORT = "consumption_short"
    PICK_DIFFERENCE = "pick_difference"
    INSPECTION_DIFFERENCE = "inspection_difference"
    LEDGER_DIFFERENCE = "ledger_difference"
    UNUSABLE_CONSUMED = "unusable_consumed"
    UNKNOWN_LOCATION = "unknown_location"
    UNKNOWN = "unknown"


class StockAlertRaised(Event):
    """Something does not add up or will soon matter."""

    alert_id: UUID
    kind: AlertKind
    item_id: Code
    batch_id: UUID | None = None
    site_id: Code | None = None
    location_id: Code | None = None
    quantity: QuantityOrZero | None = None
    unit: Unit | None = None
    text: Text
    reference: Reference | None = None
    raised_at: Moment
