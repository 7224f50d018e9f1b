"""What callers get: stock, ledger lines, holds, places and checks, as JSON. Quantities are decimal text, times UTC."""

import datetime as dt
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from contracts.inventory import MovementReason
from contracts.values import Climate, Delta, HoldKind, Place, Purpose, Quality, QuantityOrZero
from services.inventory.domain.matrix import Status
from services.inventory.domain.put_away import PlaceCode

Exact = Annotated[Delta, Field(examples=["12.5"])]


class SiteView(BaseModel):
    """A warehouse. `set_up` is false while only goods that arrived know it."""

    site_id: str
    name: str
    time_zone: str = Field(examples=["Asia/Shanghai"])
    set_up: bool


class SiteDescribed(BaseModel):
    """A warehouse as somebody has described it."""

    site_id: str
    name: str
    time_zone: str = Field(examples=["Asia/Shanghai"])


class ZoneView(BaseModel):
    """An area of a site."""

    site_id: str
    zone_id: str
    name: str
    purpose: Purpose
    climate: Climate


class LocationView(BaseModel):
    """A bin, with what it takes and what stands there; quantities in the base units of what stands there."""

    site_id: str
    location_id: str
    zone_id: str
    purpose: Purpose
    climate: Climate
    capacity: QuantityOrZero | None
    filled: QuantityOrZero
    single_item: bool
    set_up: bool


class LocationDescribed(BaseModel):
    """A bin as somebody has described it."""

    site_id: str
    location_id: str
    zone_id: str
    capacity: QuantityOrZero | None
    single_item: bool


class LiftedView(BaseModel):
    """A hold that is over, and the item's number of that."""

    hold_id: UUID
    sequence: int
    lifted_at: dt.datetime


class HoldView(BaseModel):
    """A hold, open or over."""

    hold_id: UUID
    item_id: str
    batch_id: UUID
    kind: HoldKind
    site_id: str | None
    location_id: str | None
    reason: str
    reference: str | None
    placed_at: dt.datetime
    placed_by: str
    placed_sequence: int
    lifted_at: dt.datetime | None = None
    lifted_by: str | None = None
    lifted_why: str | None = None
    lifted_sequence: int | None = None


class HoldOnStock(BaseModel):
    """A hold as stock shows it."""

    hold_id: UUID
    kind: HoldKind
    reason: str
    site_id: str | None
    location_id: str | None


class StockView(BaseModel):
    """What stands of a batch at a location in one quality. `status` is all that is true of it.

    `usable` is what can be promised: released, under no hold, not expired, at a dock or in storage. For other times
    (`as_of`, `known_at`) holds and expiry are those of that time.
    """

    item_id: str
    batch_id: UUID
    batch_no: str
    site_id: str
    location_id: str
    purpose: Purpose
    quality: Quality
    quantity: Exact
    unit: str
    usable: QuantityOrZero
    status: list[Status]
    expires_on: dt.date | None
    days_left: int | None
    received_on: dt.date | None
    holds: list[HoldOnStock]


class BatchStockView(BaseModel):
    """The stock of one batch at one site."""

    batch_id: UUID
    batch_no: str
    site_id: str
    expires_on: dt.date | None
    on_hand: QuantityOrZero
    pending: QuantityOrZero
    released: QuantityOrZero
    rejected: QuantityOrZero
    usable: QuantityOrZero
    held: bool = Field(description="Some of it is under a hold.")
    spots: int = Field(description="In how many locations and qualities it stands.")


class ItemStockView(BaseModel):
    """The stock of an item by batch and site, first expiring first."""

    item_id: str
    unit: str | None
    sequence: int = Field(description="The item's last number: what this answer includes.")
    on_hand: QuantityOrZero
    usable: QuantityOrZero
    batches: list[BatchStockView]


class MovementView(BaseModel):
    """A line of the ledger."""

    movement_id: UUID
    sequence: int
    item_id: str
    batch_id: UUID
    quantity: QuantityOrZero
    unit: str
    from_place: Place
    to_place: Place
    reason: MovementReason
    reason_text: str | None
    reference: str | None
    actor: str
    effective_at: dt.datetime
    recorded_at: dt.datetime
    reverses: UUID | None


class AdjustmentView(BaseModel):
    """What a count or a correction did. `movement` is absent where the books were right."""

    adjustment_id: UUID
    booked: QuantityOrZero = Field(description="What the books said before.")
    difference: Exact
    now: QuantityOrZero
    movement: MovementView | None


class ReversalView(BaseModel):
    """The movement that undoes another, and what keeps later counts true."""

    movement: MovementView
    because_of_counts: list[MovementView] = Field(
        description="A later count of the same stock stands: these movements keep what was counted."
    )


class PassedOverView(BaseModel):
    """Why a location is not proposed."""

    location_id: str
    code: PlaceCode
    text: str


class ProposalView(BaseModel):
    """Where to put goods away, and why not elsewhere."""

    proposed: str | None = Field(description="A location of the site; absent when none takes the goods.")
    reason: str
    passed_over: list[PassedOverView] = Field(description="At most 100 are named.")


class SequenceView(BaseModel):
    """An item's last number; 0 before anything moved."""

    item_id: str
    sequence: int


class DifferenceView(BaseModel):
    """Where ledger and books do not say the same."""

    difference_id: UUID
    item_id: str
    batch_id: UUID | None
    site_id: str | None
    location_id: str | None
    quality: str | None
    of: str = Field(description="`balance`, in base units, or `sequence`.")
    ledger: Exact
    kept: Exact
    found_at: dt.datetime


class CheckView(BaseModel):
    """How the checker stands: `holds` is whether no difference is open."""

    holds: bool
    rounds: int = Field(description="How often every item was compared.")
    items_checked: int
    last_run_at: dt.datetime | None
    last_round_at: dt.datetime | None
    differences: list[DifferenceView] = Field(description="Open ones, oldest first, at most 100.")


class CountLine(BaseModel):
    """One line of a list to count by."""

    location_id: str
    item_id: str
    batch_id: UUID
    batch_no: str
    quality: Quality
    quantity: QuantityOrZero
    unit: str
    expires_on: dt.date | None


def exact(quantity: Decimal) -> str:
    """Decimal text without an exponent and without zeros that say nothing."""
    text = format(quantity, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
