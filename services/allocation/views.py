"""What allocation answers over HTTP. Quantities are decimal texts in the item's base unit, times are UTC."""

import datetime as dt
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, ValidationInfo, field_validator

from contracts.allocation import PassedOver, PassedOverCode, Share
from contracts.values import BatchNo, Code, Quantity, QuantityOrZero, Reference, Strategy, Text, Unit

_EXAMPLE_DEMAND: dict[str, JsonValue] = {
    "reference": "SO-4711/10",
    "customer_id": "C-2041",
    "site_id": "HRB-1",
    "item_id": "WMP-25",
    "quantity": "70",
    "unit": "KGM",
    "needed_on": "2030-12-02",
    "min_days_left": 120,
}


class RaiseDemand(BaseModel):
    """One line that somebody wants out, in the item's base unit."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra={"examples": [_EXAMPLE_DEMAND]})

    reference: Reference
    customer_id: Code
    site_id: Code
    item_id: Code
    quantity: Quantity
    unit: Unit
    needed_on: dt.date
    strategy: Literal[Strategy.FEFO, Strategy.FIFO, Strategy.LIFO, Strategy.SPECIFIED] | None = Field(
        default=None, description="fefo unless said otherwise; specified when a batch is named."
    )
    batch_no: BatchNo | None = Field(
        default=None, validate_default=True, description="The batch that must be used; only with `specified`."
    )
    min_days_left: int | None = Field(default=None, ge=0, le=36_500)
    min_percent_left: int | None = Field(default=None, ge=0, le=100)

    @field_validator("batch_no")
    @classmethod
    def _a_batch_goes_with_specified(cls, batch_no: str | None, body: ValidationInfo) -> str | None:
        # A strategy that is wrong itself is not among the data, and is told of on its own.
        strategy = body.data.get("strategy")
        if strategy is Strategy.SPECIFIED and batch_no is None:
            raise ValueError("strategy 'specified' needs a batch_no")
        if batch_no is not None and strategy not in (None, Strategy.SPECIFIED):
            raise ValueError(f"batch_no {batch_no!r} goes with strategy 'specified', not {str(strategy)!r}")
        return batch_no


class Reason(BaseModel):
    """Why."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "the customer cancelled"}]})

    reason: Text


class PromiseView(BaseModel):
    """What a demand has now, what it misses, and why it has nothing else."""

    demand_id: UUID
    reference: str
    customer_id: str
    site_id: str
    item_id: str
    unit: str
    strategy: str
    needed_on: dt.date
    status: str = Field(
        description="short, partly_allocated, allocated, picked, dispatching, shipped or cancelled.",
        examples=["allocated"],
    )
    wanted: QuantityOrZero
    allocated: QuantityOrZero = Field(description="Promised, picked or at the gate; shipped not counted.")
    shipped: QuantityOrZero
    missing: QuantityOrZero
    shares: list[Share]
    passed_over: list[PassedOver] = Field(default=[], description="At most 50; `explanation` has all.")
    plan_id: UUID | None = Field(default=None, description="The latest plan.")


class DemandView(PromiseView):
    """A demand with its promise."""

    batch_no: str | None
    min_days_left: int | None
    min_percent_left: int | None
    raised_at: dt.datetime
    cancelled_at: dt.datetime | None
    cancelled_why: str | None
    stopped: list[Share] = Field(description="Picked, then taken back: these wait for a person.")


class DemandRow(BaseModel):
    """A demand in a list."""

    demand_id: UUID
    reference: str
    customer_id: str
    site_id: str
    item_id: str
    unit: str
    needed_on: dt.date
    status: str
    wanted: QuantityOrZero
    allocated: QuantityOrZero
    shipped: QuantityOrZero
    missing: QuantityOrZero
    raised_at: dt.datetime


class CancelledView(BaseModel):
    """What a cancellation freed."""

    demand_id: UUID
    status: str = "cancelled"
    freed: QuantityOrZero
    reason: str


class ExplainedRow(BaseModel):
    """One candidate of a plan, in the order they were looked at."""

    place: int = Field(description="In which position it was looked at, first 1.")
    batch_id: UUID
    batch_no: str
    site_id: str
    location_id: str
    verdict: str = Field(description="taken, taken_in_part or passed_over.")
    taken: QuantityOrZero
    not_taken: QuantityOrZero
    code: PassedOverCode | None
    reason: str | None
    sort_keys: dict[str, str | None]


class ExplanationView(BaseModel):
    """Why a demand got what it got: its latest plan, decided again from what was recorded then."""

    demand_id: UUID
    plan_id: UUID
    policy: str
    inventory_sequence: int = Field(description="The item's ledger position that the plan was made from.")
    decided_at: dt.datetime
    asked: dict[str, Any] = Field(description="What the demand asked for, the customer's rule included.")
    rows: list[ExplainedRow]
    missing: QuantityOrZero


class PlanView(BaseModel):
    """A plan as it is kept."""

    plan_id: UUID
    demand_id: UUID
    item_id: str
    policy: str
    inventory_sequence: int
    decided_at: dt.datetime
    inputs: dict[str, Any]
    outcome: dict[str, Any]


class ReplayView(BaseModel):
    """A plan decided again by the rules of its own day."""

    plan_id: UUID
    policy: str
    equal: bool = Field(description="Whether the same came out.")
    recorded: dict[str, Any]
    recomputed: dict[str, Any]


class AvailabilityRow(BaseModel):
    """One batch in one quality at one location."""

    batch_id: UUID
    batch_no: str
    site_id: str
    location_id: str
    quality: str
    purpose: str
    expires_on: dt.date | None
    received_on: dt.date
    on_hand: QuantityOrZero
    reserved: QuantityOrZero = Field(description="The sum of the open promises on it.")
    free: QuantityOrZero
    promisable: QuantityOrZero = Field(description="What a demand without further wishes could get today.")
    why_not: list[str] = Field(description="What stands against promising the free quantity.")


class PickView(BaseModel):
    """A promised quantity to fetch."""

    pick_id: UUID
    demand_id: UUID
    reference: str
    customer_id: str
    site_id: str
    item_id: str
    batch_id: UUID
    batch_no: str
    expires_on: dt.date | None
    location_id: str
    quantity: Quantity
    unit: str
    status: str = Field(description="open, picked, dispatching, shipped, stopped or cancelled.")
    to_location_id: str | None
    picked_by: str | None
    picked_at: dt.datetime | None
    reason: str | None = Field(description="Why it was stopped or cancelled.")


class TypedScan(BaseModel):
    """What a person types when a label cannot be scanned."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    item_id: Code
    batch_no: BatchNo


class ScanBody(BaseModel):
    """A scan at a pick."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {"scan": "]d2010690123456789210WMP2602A", "location_id": "A-03-12", "to_location_id": "STAGE"},
                {"scan": {"item_id": "WMP-25", "batch_no": "WMP2602A"}, "quantity": "20"},
            ]
        },
    )

    scan: TypedScan | Annotated[str, StringConstraints(min_length=1, max_length=400)] = Field(
        description="An element string, a Digital Link, bracketed text, or item and batch as typed."
    )
    location_id: Code | None = Field(default=None, description="The bin that was scanned, if it was.")
    quantity: Quantity | None = Field(default=None, description="Less than promised splits the pick. Default: all.")
    to_location_id: Code = Field(default="STAGE", description="Where it was put.")
    allow_swap: bool = Field(
        default=False,
        description="Another batch of the item from the same bin may be taken: promises are exchanged with the order "
        "that has it, unless it was picked already or a customer's rule forbids it.",
    )


class ScanAnswer(BaseModel):
    """What a scan was worth."""

    verdict: str = Field(description="accepted, or why not.", examples=["accepted", "wrong_batch"])
    reason: str
    pick: PickView | None = None
    rest: PickView | None = Field(default=None, description="What is still to be fetched after a partial pick.")


class MakeShipmentBody(BaseModel):
    """Put what was picked for a customer into a shipment."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"examples": [{"customer_id": "C-2041", "site_id": "HRB-1", "carrier": "Coldline 7"}]},
    )

    customer_id: Code
    site_id: Code
    demand_ids: Annotated[tuple[UUID, ...], Field(min_length=1, max_length=1000)] | None = Field(
        default=None, description="Only what was picked for these demands."
    )
    carrier: Reference | None = None


class ShipmentLineView(BaseModel):
    """One picked quantity of one batch in a shipment."""

    line_id: UUID
    demand_id: UUID
    reference: str
    pick_id: UUID
    item_id: str
    batch_id: UUID
    batch_no: str
    location_id: str = Field(description="Where it stands.")
    quantity: Quantity
    unit: str
    status: str = Field(description="picked, dispatching, shipped, stopped or gone.")
    reason: str | None


class ShipmentView(BaseModel):
    """What leaves together."""

    shipment_id: UUID
    customer_id: str
    site_id: str
    carrier: str | None
    status: str = Field(
        description="ready, dispatching, shipped; partly_stopped or stopped once lines were taken back."
    )
    created_at: dt.datetime
    dispatched_at: dt.datetime | None
    lines: list[ShipmentLineView]
