"""Milk powder, its supplier and its labels: what the tests of receiving talk about."""

import datetime as dt
import uuid
from typing import Any

from contracts.event import Event
from contracts.integration import (
    GtinAlias,
    ItemDefined,
    PartnerDefined,
    PartnerRole,
    ReceiptExpected,
    UnitConversion,
)
from contracts.values import Origin
from tests.service_harness import Running

MILK = "WMP-25"
GTIN = "06901234567892"
DAIRY, OTHER_DAIRY, SHOP = "S-0117", "S-0200", "C-2041"
TODAY = dt.date(2026, 3, 2)
"""The day on which the clock of the tests stands."""


def milk(**changed: Any) -> ItemDefined:
    """Milk powder: kilograms, boxes of 25, thirds; a year and a half of life, 270 days and 50 % at receipt."""
    return ItemDefined(
        **{
            "item_id": MILK,
            "name": "Whole milk powder",
            "base_unit": "KGM",
            "units": (
                UnitConversion(unit="BX", numerator=25),
                UnitConversion(unit="PK", numerator=1, denominator=3),
            ),
            "gtins": (GtinAlias(gtin=GTIN, unit="BX"),),
            "shelf_life_days": 546,
            "min_days_at_receipt": 270,
            "min_percent_at_receipt": 50,
            "revision": 1,
            **changed,
        }
    )


def partner(partner_id: str, *roles: PartnerRole, **changed: Any) -> PartnerDefined:
    """A partner of the catalog."""
    return PartnerDefined(
        **{"partner_id": partner_id, "name": f"Partner {partner_id}", "roles": roles, "revision": 1, **changed}
    )


def catalog(**changed: Any) -> list[Event]:
    """Milk, two dairies and a shop."""
    return [
        milk(**changed),
        partner(DAIRY, PartnerRole.SUPPLIER),
        partner(OTHER_DAIRY, PartnerRole.SUPPLIER),
        partner(SHOP, PartnerRole.CUSTOMER),
    ]


def expectation(**changed: Any) -> ReceiptExpected:
    """A hundred kilograms of milk from the dairy."""
    return ReceiptExpected(
        **{
            "expected_receipt_id": uuid.uuid4(),
            "origin": Origin.SUPPLIER,
            "item_id": MILK,
            "quantity": "100",
            "unit": "KGM",
            "site_id": "HRB-1",
            "due_on": TODAY,
            "partner_id": DAIRY,
            "reference": "PO-88213",
            **changed,
        }
    )


def line(**changed: Any) -> dict[str, Any]:
    """A typed line that is right: four boxes of one batch."""
    typed = {
        "item_id": MILK,
        "batch_no": "WMP2602A",
        "supplier_id": DAIRY,
        "manufactured_on": "2026-02-20",
        "expires_on": "2027-08-20",
        "quantity": "4",
        "unit": "BX",
        **changed,
    }
    return {name: value for name, value in typed.items() if value is not None}


def label(batch_no: str = "WMP2602A", made: str = "260220", expires: str = "270820") -> str:
    """What a scanner sends for the label of a box."""
    return f"]d201{GTIN}11{made}17{expires}10{batch_no}"


async def receive(at: Running, *lines: dict[str, Any], role: str = "operator", **receipt: Any) -> dict[str, Any]:
    """Receive lines at the dock of Harbin; the parsed answer, whatever its status, with the status in it."""
    answer = await at.post("/receipts", {"site_id": "HRB-1", "lines": [*lines], **receipt}, role=role)
    return {**answer.json(), "status": answer.status_code}


async def receive_one(at: Running, role: str = "operator", **changed: Any) -> dict[str, Any]:
    """Receive one line; its part of the answer."""
    answer = await receive(at, line(**changed), role=role)
    found: dict[str, Any] = answer["lines"][0]
    return found


def codes(answered: dict[str, Any]) -> list[str]:
    """The codes of a line's reasons."""
    return [reason["code"] for reason in answered["reasons"]]
