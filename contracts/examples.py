"""The first golden messages of an event: one with what is required, one with everything. They tell one story.

Milk powder comes from a dairy, is inspected, promised to a customer, picked and sent; some of it went into cocoa mix;
later its batch is recalled. A golden message is made once and then kept for ever (`contracts/golden/`): what was said
cannot be unsaid, so a message of today must still be read in ten years.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from contracts.envelope import source_of
from contracts.event import Event, Topic
from contracts.schema import Schema, schema_of

Message = dict[str, Any]
"""`name`, and what stands in the record: `key`, `headers` (as text) and `value` (the body, parsed)."""

_LEFT_OUT = object()

_STORY: Mapping[str, object] = {
    # Who and what. A path wins over its end: `full.CostPosted.kind` over `CostPosted.kind` over `kind`.
    "item_id": "WMP-25",
    "name": "Whole milk powder, 26 % fat",
    "PartnerDefined.name": "Northern Dairies Ltd.",
    "SiteDefined.name": "Harbin, cold store 1",
    "time_zone": "Asia/Shanghai",
    "set_up": True,
    "docks": ["DOCK-1", "DOCK-2"],
    "staging": ["STAGE-1", "STAGE-2"],
    "sites": 2,
    "defined_at": "2026-01-05T06:30:00Z",
    "base_unit": "KGM",
    "unit": "KGM",
    "units.unit": "BX",
    "units.numerator": 25,
    "units.denominator": 1,
    "gtins.gtin": "06901234567892",
    "gtins.unit": "BX",
    "entered_unit": "BX",
    "shelf_life_days": 546,
    "expiry_required": True,
    "min_days_at_receipt": 270,
    "min_percent_at_receipt": 50,
    "near_expiry_days": 60,
    "inspection_required": True,
    "active": True,
    "revision": 3,
    "partner_id": "S-0117",
    "roles": ["supplier", "customer"],
    "gln": "6901234000009",
    "min_days": 180,
    "min_percent": 33,
    "supplier_id": "S-0117",
    "customer_id": "C-2041",
    "site_id": "HRB-1",
    "location_id": "A-03-12",
    "from_location_id": "A-03-12",
    "to_location_id": "STAGE-2",
    "carrier": "Coldline 7",
    # Batches and dates.
    "batch_no": "WMP2602A",
    "expected_batch_no": "WMP2602A",
    "supplier_batch_no": "ND 2026/02-118",
    "manufactured_on": "2026-02-20",
    "expires_on": "2027-08-20",
    "best_before": "2027-06-30",
    "received_on": "2026-03-02",
    "due_on": "2026-03-02",
    "needed_on": "2026-03-20",
    "posting_date": "2026-03-02",
    "claimed.expires_on": "2027-09-20",
    "before.expires_on": "2027-08-02",
    "after.expiry_source": "entered",
    "differs": ["expires_on"],
    # Quantities: 100 kg came, 97.5 were good, 120 are wanted.
    "quantity": "100",
    "entered_quantity": "4",
    "released": "97.5",
    "rejected": "2.5",
    "wanted": "120",
    "allocated": "97.5",
    "missing": "22.5",
    "shares.quantity": "97.5",
    "passed_over.quantity": "2.5",
    "passed_over.code": "rejected",
    "passed_over.text": "2.5 KGM of WMP2602A are rejected",
    "freed": "97.5",
    "AllocationRevoked.quantity": "97.5",
    "PickConfirmed.quantity": "97.5",
    "ShipmentDispatched.quantity": "97.5",
    "IssueRefused.quantity": "97.5",
    "StockAlertRaised.quantity": "97.5",
    "unit_cost": "3.41666667",
    "value": "341.67",
    "currency": "CNY",
    "inventory_sequence": 42,
    "sequence": 41,
    "movement_sequence": 41,
    "line_no": 1,
    "batches": 4,
    "policy": "fefo-3",
    "min_days_left": 180,
    "min_percent_left": 33,
    "DemandRaised.strategy": "specified",
    # Production.
    "BatchProduced.item_id": "COCOA-MIX-1",
    "BatchProduced.batch_no": "CM260318",
    "BatchProduced.quantity": "250.75",
    "BatchProduced.manufactured_on": "2026-03-18",
    "BatchProduced.expires_on": "2027-03-18",
    "BatchProduced.sequence": 1,
    "BatchProduced.consumed.item_id": "WMP-25",
    "BatchProduced.consumed.quantity": "60.125",
    "MaterialConsumed.quantity": "60.125",
    "into_item_id": "COCOA-MIX-1",
    "into_batch_no": "CM260318",
    "work_order": "WO-55120",
    "final": True,
    # Words.
    "reason": "Moisture 3.9 %, the limit is 3.5 %",
    "BatchDatesCorrected.reason": "Label misread at receipt: 20 August, not 2 August",
    "ReceiptConflictSettled.reason": "The supplier confirmed the earlier date",
    "ExpectedReceiptWithdrawn.reason": "Order cancelled by purchasing",
    "DemandWithdrawn.reason": "The customer cancelled line 10",
    "DemandCancelled.reason": "The customer cancelled line 10",
    "HoldLifted.reason": "Second sample is within limits",
    "AllocationRevoked.reason": "WMP2602A is recalled",
    "PickRefused.reason": "WMP2601C was scanned, WMP2602A is to be picked",
    "IssueRefused.reason": "WMP2602A is held: recall",
    "RecallClosed.reason": "All 4 batches are accounted for",
    "BatchRecallLifted.reason": "Made on another line",
    "reasons": ["97.5 KGM of 120 KGM are promised; nothing else in HRB-1 has 180 days left"],
    "reason_text": "Booked on the wrong purchase order",
    "text": "WMP2602A expires in 60 days, 97.5 KGM are left in HRB-1",
    "scanned": "(01)06901234567892(10)WMP2601C",
    "reference": "PO-88213",
    "DemandAllocated.reference": "SO-4471/10",
    "DemandShort.reference": "SO-4471/10",
    "DemandRaised.reference": "SO-4471/10",
    "ShipmentDispatched.reference": "SO-4471/10",
    "HoldPlaced.reference": "RC-2026-004",
    "StockAlertRaised.reference": "near-expiry 2027-06-21",
    "certificate": "CoA-2026-0312",
    "signer": "chen.mei",
    "signer_name": "Chen Mei 陈梅",
    "meaning": "Released 97.5 KGM, rejected 2.5 KGM",
    "record_hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "picked": False,
    "seed": True,
    # Listed values that are not the first of their list.
    "minimal.StockMoved.from_place.kind": "supplier",
    "minimal.StockMoved.to_place.kind": "location",
    "full.StockMoved.reason": "reversal",
    "full.StockMoved.from_place.partner_id": _LEFT_OUT,
    "full.StockMoved.to_place.kind": "supplier",
    "full.StockMoved.to_place.site_id": _LEFT_OUT,
    "full.StockMoved.to_place.location_id": _LEFT_OUT,
    "full.StockMoved.to_place.purpose": _LEFT_OUT,
    "full.StockMoved.to_place.quality": _LEFT_OUT,
    "CostPosted.variance": "12.5",
    "full.CostPosted.kind": "reversal",
    "full.CostPosted.quantity": "-100",
    "full.CostPosted.value": "-341.67",
    "AllocationRevoked.code": "recalled",
    "PickRefused.verdict": "wrong_batch",
    "climate": "cool",
    # The day.
    "registered_at": "2026-03-02T08:15:00Z",
    "received_at": "2026-03-02T08:15:00Z",
    "effective_at": "2026-03-02T08:15:00Z",
    "recorded_at": "2026-03-02T08:15:00.412000Z",
    "found_at": "2026-03-02T08:16:00Z",
    "settled_at": "2026-03-02T09:02:00Z",
    "signed_at": "2026-03-02T10:40:00Z",
    "inspected_at": "2026-03-02T10:40:00Z",
    "raised_at": "2026-03-12T06:00:00Z",
    "decided_at": "2026-03-12T06:00:01Z",
    "picked_at": "2026-03-19T07:30:00Z",
    "refused_at": "2026-03-19T07:29:00Z",
    "dispatched_at": "2026-03-19T14:05:00Z",
    "started_at": "2026-03-18T05:00:00Z",
    "ended_at": "2026-03-18T13:40:00Z",
    "consumed_at": "2026-03-18T13:40:00Z",
    "lifted_at": "2026-03-26T16:20:00Z",
    "closed_at": "2026-03-27T11:00:00Z",
}
_SAID_AT = "2026-03-25T09:00:00Z"
_MILLISECONDS = 1_774_429_200_000
"""The same moment: what the UUIDv7s of the story begin with."""


def missing_messages(topic: Topic, event: type[Event], golden: Sequence[Message]) -> list[Message]:
    """What an event's golden messages lack: the minimal one, or one that shows the fields that none shows.

    Raises `ValueError` when the story has no fitting value for a field.
    """
    schema = schema_of(topic, event)
    names = {message["name"] for message in golden}
    made = []
    if "minimal" not in names:
        made.append(_message(topic, event, "minimal", schema, full=False))
    shown = {field for message in golden for field in fields_shown(schema, message["value"])}
    unseen = set(fields_declared(schema)) - shown
    if unseen:
        name = "full" if "full" not in names else f"full, with {', '.join(sorted(field for _, field in unseen))}"
        made.append(_message(topic, event, name, schema, full=True))
        if left := unseen - set(fields_shown(schema, made[-1]["value"])):
            raise ValueError(f"the story in {__name__} leaves {sorted(left)} of {event.event_type} out everywhere")
    return made


def fields_declared(schema: Schema) -> Iterator[tuple[str, str]]:
    """Every field that an event has at any depth, as (definition, field); the event's own definition is `""`."""
    for name, definition in {"": schema, **schema.get("$defs", {})}.items():
        for field in definition.get("properties", {}):
            yield name, field


def fields_shown(schema: Schema, value: object) -> Iterator[tuple[str, str]]:
    """Those of `fields_declared` that a body has."""
    yield from _shown(schema, schema, "", value)


def _shown(whole: Schema, schema: Schema, definition: str, value: object) -> Iterator[tuple[str, str]]:
    schema, definition = _resolved(whole, schema, definition)
    if isinstance(value, Mapping):
        for field, inner in value.items():
            if field in schema.get("properties", {}):
                yield definition, field
                yield from _shown(whole, schema["properties"][field], definition, inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _shown(whole, schema.get("items", {}), definition, inner)


def _resolved(whole: Schema, schema: Schema, definition: str) -> tuple[Schema, str]:
    if "$ref" in schema:
        definition = schema["$ref"].removeprefix("#/$defs/")
        return whole["$defs"][definition], definition
    return schema, definition


def _message(topic: Topic, event: type[Event], name: str, schema: Schema, *, full: bool) -> Message:
    value = _value(("full" if full else "minimal", event.__name__), schema, schema, full=full)
    try:
        read = event.model_validate_json(json.dumps(value))
    except ValidationError as refused:
        raise ValueError(
            f"the story in {__name__} has no fitting value for a field of {event.event_type}: {refused}"
        ) from None
    headers = {
        "ce_specversion": "1.0",
        "ce_id": _id(f"{event.event_type} {name}"),
        "ce_source": source_of(topic),
        "ce_type": event.event_type,
        "ce_time": _SAID_AT,
        "ce_subject": read.key,
        "ce_correlationid": _id("first cause"),
    }
    if full:
        headers |= {
            "ce_causationid": _id("direct cause"),
            "ce_actor": "chen.mei",
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        }
    headers["content-type"] = "application/json"
    return {"name": name, "key": read.key, "headers": headers, "value": value}


def _value(path: tuple[str, ...], schema: Schema, whole: Schema, *, full: bool) -> Any:
    """What the story says at a path; where it says nothing, whatever the schema allows."""
    beside = schema.get("default")
    schema, _ = _resolved(whole, schema, "")
    told = _told(path)
    if told is not None and (told is _LEFT_OUT or "enum" not in schema or told in schema["enum"]):
        return told
    if "enum" in schema:
        return beside or schema["enum"][0]
    if "properties" in schema:
        fields = schema["properties"] if full else schema.get("required", ())
        inner = {
            field: _value((*path, field), schema["properties"][field], whole, full=full)
            for field in schema["properties"]
            if field in fields
        }
        return {field: value for field, value in inner.items() if value is not _LEFT_OUT}
    if schema["type"] == "array":
        return [_value(path, schema["items"], whole, full=full)]
    if schema.get("format") == "uuid":
        return _id(path[-1])
    return {"integer": 1, "boolean": True, "string": _text(schema.get("format"))}[schema["type"]]


def _told(path: Sequence[str]) -> object | None:
    for start in range(len(path)):
        told = _STORY.get(".".join(path[start:]))
        if told is not None:
            return told
    return None


def _text(form: str | None) -> str:
    return {"date": "2026-03-25", "date-time": _SAID_AT}.get(form or "", "1")


def _id(about: str) -> str:
    """A UUIDv7 that is the same for the same thing, so that one batch has one id throughout the story."""
    digits = hashlib.sha256(about.encode()).hexdigest()
    time = f"{_MILLISECONDS:012x}"
    return f"{time[:8]}-{time[8:]}-7{digits[:3]}-8{digits[3:6]}-{digits[6:18]}"
