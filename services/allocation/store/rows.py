"""What the parts of the store share: values read and written, and pieces of SQL that stand in several statements."""

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from asyncpg import Record

from contracts.values import Strategy
from delivery import Connection
from services.allocation.domain.claims import Claim, ClaimStatus
from services.allocation.domain.stock import Spot, Stock
from services.allocation.domain.terms import Demand, LifeRule

WITHHELD_SEEN = 25
"""Of stock that cannot be promised, this many rows of a shelf are looked at to explain a plan."""

PROMISED_SEEN = 20
"""Of stock that is all promised to others, this many rows are looked at to explain a shortage."""

ELSEWHERE_SEEN = 5
"""Of stock at other sites, this many rows before and after the demand's site, to explain a shortage."""


@dataclass(frozen=True, slots=True)
class ItemTerms:
    """What is known of an item. `sequence` is the last of inventory's that took effect here."""

    expiry_required: bool = True
    sequence: int = 0
    base_unit: str | None = None


class CustomerTerms(NamedTuple):
    """What is known of a customer: whether it may buy, and what it wants left of a batch's life."""

    active: bool = False
    rules: tuple[LifeRule, ...] = ()


class Terms(NamedTuple):
    """What plans are made by: terms of items and customers. `referred_to` are demands by their references."""

    items: dict[str, ItemTerms]
    customers: dict[str, CustomerTerms]
    referred_to: dict[str, UUID]


class Kept(NamedTuple):
    """A share that a demand has already, as it is said again."""

    reservation_id: UUID
    batch_id: UUID
    batch_no: str
    location_id: str
    quantity: Decimal
    expires_on: dt.date | None


class NewReservation(NamedTuple):
    """A promise to write."""

    reservation_id: UUID
    demand: Demand
    plan_id: UUID
    spot: Spot
    quantity: Decimal


class NewPlan(NamedTuple):
    """A decision to keep."""

    plan_id: UUID
    demand: Demand
    sequence: int
    policy: str
    inputs: dict[str, Any]
    outcome: dict[str, Any]


@dataclass(frozen=True, slots=True)
class PickedShare:
    """What was fetched and waits in staging to be shipped."""

    reservation_id: UUID
    demand_id: UUID
    customer_id: str
    site_id: str
    item_id: str
    batch_id: UUID
    batch_no: str
    quantity: Decimal
    unit: str


@dataclass(frozen=True, slots=True)
class NewShipment:
    """A shipment to keep; `lines` are (line, reservation)."""

    shipment_id: UUID
    customer_id: str
    site_id: str
    carrier: str | None
    created_by: str
    lines: tuple[tuple[UUID, UUID], ...]


@dataclass(frozen=True, slots=True)
class KnownSpot:
    """A spot as it stands before a movement."""

    free: Decimal
    purpose: str


@dataclass(frozen=True, slots=True)
class BatchSeen:
    """What a movement said of a batch."""

    batch_id: UUID
    item_id: str
    batch_no: str
    manufactured_on: dt.date | None
    expires_on: dt.date | None
    received_on: dt.date | None
    first_seen_on: dt.date


@dataclass(frozen=True, slots=True)
class HoldSeen:
    """A hold as it was placed; without site or location it covers every one."""

    hold_id: UUID
    batch_id: UUID
    item_id: str
    kind: str
    site_id: str | None
    location_id: str | None
    reason: str
    placed_at: dt.datetime


STOCK = "batch_id, site_id, location_id, quality, batch_no, purpose, free, received_on, expires_on, manufactured_on"

HELD_FOR = """
    (SELECT string_agg(hold.kind || ' (' || hold.reason || ')', '; ' ORDER BY hold.placed_at, hold.hold_id)
     FROM hold
     WHERE hold.batch_id = found.batch_id AND hold.lifted_at IS NULL
       AND (hold.site_id IS NULL OR hold.site_id = found.site_id)
       AND (hold.location_id IS NULL OR hold.location_id = found.location_id))
"""

IS_HELD = """
    EXISTS (SELECT FROM hold
            WHERE hold.batch_id = {row}.batch_id AND hold.lifted_at IS NULL
              AND (hold.site_id IS NULL OR hold.site_id = {row}.site_id)
              AND (hold.location_id IS NULL OR hold.location_id = {row}.location_id))
"""

OPEN_CLAIM = "status IN ('promised', 'picked', 'dispatching', 'stopped')"

NOT_OVER = "status NOT IN ('shipped', 'revoked', 'freed')"
"""The same, said so that the index of open claims by batch is no way to find them: for those found by another key.

To a plan made while there are few claims, walking through all of them looks cheaper than looking some up.
"""


def stock_of(row: Record, held_for: str = "", promised: Decimal = Decimal(0)) -> Stock:
    return Stock(
        Spot(row["batch_id"], row["site_id"], row["location_id"], row["quality"]),
        row["batch_no"],
        row["purpose"],
        row["free"],
        row["received_on"],
        row["expires_on"],
        row["manufactured_on"],
        held_for,
        promised,
    )


def demand_of(row: Record) -> Demand:
    """A row of `demand` as a value."""
    return Demand(
        demand_id=row["demand_id"],
        reference=row["reference"],
        customer_id=row["customer_id"],
        site_id=row["site_id"],
        item_id=row["item_id"],
        unit=row["unit"],
        quantity=row["quantity"],
        missing=row["missing"],
        needed_on=row["needed_on"],
        strategy=Strategy(row["strategy"]),
        batch_no=row["batch_no"],
        min_days_left=row["min_days_left"],
        min_percent_left=row["min_percent_left"],
        raised_at=row["raised_at"],
    )


def claim_of(row: Record) -> Claim:
    """A row of `reservation` with its demand's `raised_at`, as a value."""
    return Claim(
        reservation_id=row["reservation_id"],
        demand_id=row["demand_id"],
        spot=Spot(row["batch_id"], row["site_id"], row["location_id"], row["quality"]),
        quantity=row["quantity"],
        status=ClaimStatus(row["status"]),
        order=(row["raised_at"], row["demand_id"]),
        line_id=row["line_id"],
        code=row["code"],
        reason=row["reason"],
    )


class Tables:
    """Some of the tables of allocation, within one transaction."""

    def __init__(self, db: Connection) -> None:
        self._db = db
