"""From the rules' words to the events' words."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import fields
from typing import Any
from uuid import UUID

from contracts.receiving import BatchReceived, BatchRegistered
from contracts.values import BatchFacts
from services.receiving.domain.batches import Batch, Facts
from services.receiving.rows import Arrival


def told(facts: Facts) -> BatchFacts:
    """Facts as listeners get them."""
    return BatchFacts(**{field.name: getattr(facts, field.name) for field in fields(Facts)})


def kept(facts: Facts) -> dict[str, Any]:
    """Facts as JSON for the database."""
    return told(facts).model_dump(mode="json", exclude_none=True)


def read_back(found: Mapping[str, Any]) -> Facts:
    """Facts that were kept as JSON."""
    read = BatchFacts.model_validate(found)
    return Facts(**{field.name: getattr(read, field.name) for field in fields(Facts)})


def registered(batch: Batch, at: dt.datetime) -> BatchRegistered:
    """A batch exists from now on."""
    return BatchRegistered(batch_id=batch.batch_id, item_id=batch.item_id, batch=told(batch.facts), registered_at=at)


def received(batch: Batch, arrival: Arrival, receipt_id: UUID, line_no: int) -> BatchReceived:
    """A quantity of a batch stands at the dock."""
    return BatchReceived(
        receipt_id=receipt_id,
        line_no=line_no,
        batch_id=batch.batch_id,
        item_id=batch.item_id,
        batch=told(batch.facts),
        quantity=arrival.quantity,
        unit=arrival.unit,
        entered_quantity=arrival.entered_quantity,
        entered_unit=arrival.entered_unit,
        site_id=arrival.site_id,
        location_id=arrival.location_id,
        quality=arrival.quality,
        origin=arrival.origin,
        partner_id=arrival.partner_id,
        expected_receipt_id=arrival.expected_receipt_id,
        reference=arrival.reference,
        received_at=arrival.received_at,
    )
