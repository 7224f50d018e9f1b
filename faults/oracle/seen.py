"""What the oracle looks at: rows, records and the journal, read once when the system is at rest."""

import asyncio
import datetime as dt
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from contracts.topics import TOPICS
from delivery.chunks import Ears
from deploy.local.processes import SERVICES
from deploy.local.servers import Servers
from faults.journal import Journal
from faults.rest import Listener, until_at_rest
from services.allocation.app import service as allocation
from services.integration.app import service as integration
from services.inventory.app import service as inventory
from services.receiving.app import service as receiving
from services.trace.app import service as trace

Row = Mapping[str, Any]

_SERVICES = {each.name: each for each in (receiving, inventory, allocation, trace, integration)}

HEARS: dict[str, frozenset[str]] = {
    name: frozenset(event.event_type for handler in service.hears for event in getattr(handler, "events", ()))
    for name, service in _SERVICES.items()
}
"""The event types that each service takes to heart."""

LISTENS: dict[str, frozenset[str]] = {
    name: frozenset(Ears(service.topics, service.hears).topics) for name, service in _SERVICES.items()
}
"""The topics, without prefix, that each service reads."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A record of a topic. `body` is None where it is no JSON object."""

    topic: str
    partition: int
    offset: int
    key: str
    headers: Mapping[str, str]
    body: Mapping[str, Any] | None

    @property
    def event_id(self) -> str:
        """The event's id; empty where there is no envelope."""
        return self.headers.get("ce_id", "")

    @property
    def type(self) -> str:
        """The event's type."""
        return self.headers.get("ce_type", "")

    @property
    def nonsense(self) -> bool:
        """Whether it was sent so that somebody does not understand it."""
        return self.key.startswith(("malformed/", "unheard/"))


@dataclass(frozen=True)
class Seen:
    """Everything, when the system was at rest at `at` by the services' clock.

    `rows` are tables by service and name; `records` everything on every topic, in the order of each partition;
    `erp` is what the outside book says: value by item, and its documents by posting.
    """

    at: dt.datetime
    journal: Journal
    rows: Mapping[tuple[str, str], Sequence[Row]]
    records: Sequence[Heard]
    erp_values: Mapping[str, Any] = field(default_factory=dict)
    erp_documents: Mapping[str, str] = field(default_factory=dict)

    def of(self, service: str, table: str) -> Sequence[Row]:
        """The rows of a table."""
        return self.rows[service, table]

    @cached_property
    def said(self) -> dict[str, list[Heard]]:
        """The first record of each event of ours, by type, in the order of each partition."""
        found: dict[str, list[Heard]] = {}
        known: set[str] = set()
        for record in self.records:
            if record.nonsense or not record.event_id or record.event_id in known:
                continue
            known.add(record.event_id)
            found.setdefault(record.type, []).append(record)
        return found

    def bodies(self, event_type: str) -> list[Mapping[str, Any]]:
        """The body of each event of a type, once."""
        return [record.body for record in self.said.get(event_type, ()) if record.body is not None]


@dataclass(frozen=True, slots=True)
class Check:
    """A comparison: what it is about, how much it compared in words, and its differences, one sentence each."""

    title: str
    compare: Callable[[Seen], Iterable[str]]
    counted: Callable[[Seen], str]


_DELIVERY = {
    "inbox": "SELECT event_id::text FROM delivery.inbox",
    "outbox": "SELECT * FROM delivery.outbox",
    "parked": 'SELECT topic, partition, "offset", key, kind, error, status FROM delivery.parked',
    "answer": "SELECT caller, idempotency_key, status, body FROM delivery.answer",
    "said": "SELECT id, topic, key, event_id::text, event_type FROM witness.said ORDER BY id",
}

_TABLES: dict[str, dict[str, str]] = {
    "receiving": {
        "receipt": "SELECT receipt_id::text FROM receipt",
        "received": "SELECT receipt_id::text, line_no, batch_id::text, item_id, site_id, quantity FROM received",
        "inspection": "SELECT inspection_id::text, batch_id::text, item_id, released, rejected FROM inspection",
        "batch": "SELECT batch_id::text, item_id, batch_no, expires_on FROM batch",
        "expected_receipt": "SELECT expected_receipt_id::text, item_id, quantity, status FROM expected_receipt",
        "item": "SELECT item_id, revision FROM item",
    },
    "inventory": {
        "movement": """
            SELECT movement_id::text, item_id, sequence, batch_id::text, quantity, from_kind, from_site_id,
                   from_location_id, from_quality, to_kind, to_site_id, to_location_id, to_quality, reason, reference,
                   effective_at, recorded_at, reverses::text
            FROM movement ORDER BY item_id, sequence""",
        "balance": "SELECT batch_id::text, item_id, site_id, location_id, quality, quantity FROM balance",
        "hold": """
            SELECT hold_id::text, item_id, batch_id::text, kind, site_id, location_id, reference, placed_sequence,
                   lifted_sequence
            FROM hold""",
        "booking": "SELECT kind, reference FROM booking",
        "item_sequence": "SELECT item_id, last FROM item_sequence",
        "batch": "SELECT batch_id::text, item_id, batch_no, expires_on FROM batch",
        "batch_at_site": "SELECT batch_id::text, site_id, item_id, expires_on, state FROM batch_at_site",
        "site": "SELECT site_id, time_zone FROM site",
        "location": "SELECT site_id, location_id, purpose FROM location JOIN zone USING (site_id, zone_id)",
        "owed_consumption": "SELECT consumption_id::text, quantity FROM owed_consumption",
        "ledger_difference": "SELECT item_id, batch_id::text, of, ledger, kept FROM ledger_difference",
        "item": "SELECT item_id, revision FROM item",
    },
    "allocation": {
        "shelf": "SELECT batch_id::text, item_id, site_id, location_id, quality, free, held FROM shelf",
        "reservation": """
            SELECT reservation_id::text, demand_id::text, item_id, batch_id::text, site_id, location_id, quality,
                   quantity, status, shipment_id::text, line_id::text
            FROM reservation""",
        "demand": """
            SELECT demand_id::text, reference, item_id, quantity, missing, cancelled_at IS NOT NULL AS cancelled
            FROM demand""",
        "hold": "SELECT hold_id::text, batch_id::text, kind, lifted_at IS NOT NULL AS lifted FROM hold",
        "shipment": "SELECT shipment_id::text, dispatched_at IS NOT NULL AS dispatched FROM shipment",
        "refused_scan": "SELECT refusal_id::text FROM refused_scan",
        "item": "SELECT item_id, revision, sequence FROM item",
    },
    "trace": {
        "movement": "SELECT movement_id::text, item_id, sequence, batch_id::text, quantity FROM movement",
        "custody": """
            SELECT batch_id::text, item_id, kind, site_id, location_id, quality, sum(came) - sum(went) AS quantity
            FROM custody JOIN batch USING (batch_id)
            GROUP BY batch_id, item_id, kind, site_id, location_id, quality""",
        "receipt": "SELECT receipt_id::text, line_no, batch_id::text, quantity FROM receipt",
        "report": "SELECT report_id::text, quantity FROM report",
        "hold": "SELECT hold_id::text, batch_id::text, lifted_at IS NOT NULL AS lifted FROM hold",
        "pick": "SELECT pick_id::text, batch_id::text, quantity FROM pick",
        "dispatch": "SELECT line_id::text, batch_id::text, quantity FROM dispatch",
        "refusal": "SELECT line_id::text, code FROM refusal",
        "recall": "SELECT recall_id::text, closed_at IS NOT NULL AS closed FROM recall",
        "recall_batch": """
            SELECT recall_id::text, node::text, said_at IS NOT NULL AS said, lifted_at IS NOT NULL AS lifted
            FROM recall_batch""",
        "item": "SELECT item_id, revision FROM item",
    },
    "integration": {
        "ledger_batch": "SELECT batch_id::text, item_id, batch_no, quantity, sequence FROM ledger_batch",
        "batch_value": "SELECT batch_id::text, item_id, batch_no, quantity, value, unknown FROM batch_value",
        "posting": """
            SELECT posting_id::text, kind, item_id, batch_id::text, quantity, value, movement_id::text,
                   movement_sequence
            FROM posting ORDER BY number""",
        "unanswered": "SELECT posting_id::text FROM unanswered_posting",
        "acknowledgement": "SELECT posting_id::text, accepted, counts, erp_document FROM acknowledgement",
        "receipt_line": "SELECT reference, batch_id::text, quantity FROM receipt_line",
        "demand": """
            SELECT demand_id::text, reference, item_id, quantity, withdrawn_at IS NOT NULL AS withdrawn FROM demand""",
        "expected_receipt": "SELECT expected_receipt_id::text, item_id, quantity, origin FROM expected_receipt",
        "production_report": "SELECT report_id::text, message_id, status, quantity FROM production_report",
        "consumption": "SELECT consumption_id::text, item_id, batch_no, quantity FROM consumption",
        "booked_consumption": """
            SELECT consumption_id::text, sum(quantity) AS quantity FROM booked_consumption GROUP BY consumption_id""",
        "item": "SELECT item_id, revision FROM item",
    },
}


def service_listeners(prefix: str) -> list[Listener]:
    """The groups of the services, with all that each hears."""
    return [
        Listener(name, f"{prefix}batchwise.{name}", tuple(prefix + topic for topic in sorted(LISTENS[name])))
        for name in SERVICES
    ]


_LOOKS = 10


async def look(servers: Servers, journal: Journal, *, at: dt.datetime, values: Any, documents: Any) -> Seen:
    """Read everything. The system has to be at rest; when time makes it say something meanwhile, look again.

    Raises `TimeoutError` when it said something during each of `_LOOKS`.
    """
    partitions = await partitions_of(servers.kafka, [servers.topic_prefix + topic.name for topic in TOPICS])
    for _ in range(_LOOKS):
        before = await _ends(servers.kafka, partitions)
        rows = await _rows(servers)
        records = await _records(servers.kafka, servers.topic_prefix, before)
        if await _ends(servers.kafka, partitions) == before:
            return Seen(at, journal, rows, records, values, documents)
        await until_at_rest(servers, service_listeners(servers.topic_prefix))
    raise TimeoutError(f"something was said during each of {_LOOKS} looks: the system is not at rest")


async def _rows(servers: Servers) -> dict[tuple[str, str], Sequence[Row]]:
    rows: dict[tuple[str, str], Sequence[Row]] = {}
    for service in SERVICES:
        connection = await asyncpg.connect(servers.dsn(service))
        try:
            for table, query in {**_TABLES[service], **_DELIVERY}.items():
                rows[service, table] = [dict(row) for row in await connection.fetch(query)]
        finally:
            await connection.close()
    return rows


async def _ends(kafka: str, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False)
    await consumer.start()
    try:
        return dict(await consumer.end_offsets(partitions))
    finally:
        await consumer.stop()


async def _records(kafka: str, prefix: str, ends: Mapping[TopicPartition, int]) -> list[Heard]:
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, auto_offset_reset="earliest", enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign([*ends])
        await consumer.seek_to_beginning(*ends)
        found: list[Heard] = []
        async with asyncio.timeout(120):
            while any([await consumer.position(each) < end for each, end in ends.items() if end]):
                polled = await consumer.getmany(timeout_ms=500, max_records=5_000)
                found += [_heard(record, prefix) for records in polled.values() for record in records]
    finally:
        await consumer.stop()
    return sorted(found, key=lambda record: (record.topic, record.partition, record.offset))


async def partitions_of(kafka: str, topics: Sequence[str]) -> list[TopicPartition]:
    """Every partition of those topics (whole names)."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka, request_timeout_ms=8_000)
    try:
        await admin.start()
        return [
            TopicPartition(topic["topic"], partition["partition"])
            for topic in await admin.describe_topics(list(topics))
            for partition in topic["partitions"]
        ]
    finally:
        await admin.close()


def _heard(record: Any, prefix: str) -> Heard:
    try:
        body = json.loads(record.value or b"")
    except ValueError:
        body = None
    return Heard(
        record.topic.removeprefix(prefix),
        record.partition,
        record.offset,
        (record.key or b"").decode("utf-8", "backslashreplace"),
        {name: value.decode("utf-8", "backslashreplace") for name, value in record.headers},
        body if isinstance(body, dict) else None,
    )
