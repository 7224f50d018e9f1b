"""A plan's inputs and outcome as they are kept, so that it can be decided again years later and compared."""

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

from contracts.values import Strategy, plain
from services.allocation.domain.orders import ORDERS
from services.allocation.domain.planning import Plan, Wanted, plan
from services.allocation.domain.rules import POLICIES
from services.allocation.domain.stock import Spot, Stock

Document = dict[str, Any]
"""JSON: texts, whole numbers, null, lists and objects only; quantities are decimal texts."""


def inputs_of(wanted: Wanted, considered: tuple[Stock, ...]) -> Document:
    """What a plan was made from: the wish, and every candidate as it was seen."""
    return {
        "wanted": {
            "site_id": wanted.site_id,
            "quantity": plain(wanted.quantity),
            "alive_on": wanted.alive_on.isoformat(),
            "strategy": str(wanted.strategy),
            "batch_no": wanted.batch_no,
            "min_days": wanted.min_days,
            "min_percent": wanted.min_percent,
            "expiry_required": wanted.expiry_required,
        },
        "candidates": [_candidate(stock) for stock in considered],
    }


def outcome_of(made: Plan) -> Document:
    """What a plan decided. Candidates are named by their place in the inputs, first 0."""
    place = {stock.spot: at for at, stock in enumerate(made.considered)}
    return {
        "taken": [[place[share.stock.spot], plain(share.quantity)] for share in made.taken],
        "passed_over": [
            [place[passed.stock.spot], plain(passed.quantity), str(passed.code), passed.text]
            for passed in made.passed_over
        ],
        "missing": plain(made.missing),
    }


def replay(policy: str, inputs: Mapping[str, Any]) -> tuple[Wanted, Plan]:
    """Decide again by the rules of `policy`. Raises `KeyError` for a policy that never was."""
    wish = inputs["wanted"]
    wanted = Wanted(
        site_id=wish["site_id"],
        quantity=Decimal(wish["quantity"]),
        alive_on=dt.date.fromisoformat(wish["alive_on"]),
        strategy=Strategy(wish["strategy"]),
        batch_no=wish["batch_no"],
        min_days=wish["min_days"],
        min_percent=wish["min_percent"],
        expiry_required=wish["expiry_required"],
    )
    shelf = [_stock(candidate) for candidate in inputs["candidates"]]
    return wanted, plan(wanted, shelf, POLICIES[policy], ORDERS[wanted.strategy])


def _candidate(stock: Stock) -> Document:
    spot = stock.spot
    candidate: Document = {
        "batch_id": str(spot.batch_id),
        "batch_no": stock.batch_no,
        "site_id": spot.site_id,
        "location_id": spot.location_id,
        "quality": spot.quality,
        "purpose": stock.purpose,
        "free": plain(stock.quantity),
        "received_on": stock.received_on.isoformat(),
        "expires_on": stock.expires_on and stock.expires_on.isoformat(),
        "manufactured_on": stock.manufactured_on and stock.manufactured_on.isoformat(),
    }
    if stock.held_for:
        candidate["held_for"] = stock.held_for
    if stock.promised:
        candidate["promised"] = plain(stock.promised)
    return candidate


def _stock(candidate: Mapping[str, Any]) -> Stock:
    return Stock(
        spot=Spot(UUID(candidate["batch_id"]), candidate["site_id"], candidate["location_id"], candidate["quality"]),
        batch_no=candidate["batch_no"],
        purpose=candidate["purpose"],
        quantity=Decimal(candidate["free"]),
        received_on=dt.date.fromisoformat(candidate["received_on"]),
        expires_on=candidate["expires_on"] and dt.date.fromisoformat(candidate["expires_on"]),
        manufactured_on=candidate["manufactured_on"] and dt.date.fromisoformat(candidate["manufactured_on"]),
        held_for=candidate.get("held_for", ""),
        promised=Decimal(candidate.get("promised", "0")),
    )
