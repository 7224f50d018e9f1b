"""Every announced event is on its topic and took effect once in each service that hears it, in order per key."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from contracts.topics import TOPICS
from deploy.local.processes import SERVICES
from faults.oracle.seen import HEARS, LISTENS, Check, Heard, Seen

_FOREIGN = {topic.name for topic in TOPICS if topic.foreign}


def _ours(seen: Seen) -> list[Heard]:
    return [record for records in seen.said.values() for record in records]


def announced_is_on_topic(seen: Seen) -> Iterator[str]:
    """Nothing stays in an outbox; what was in one is on its topic under its key, and nothing else is there."""
    on_topic = {record.event_id: record for record in _ours(seen)}
    announced: set[str] = set()
    for service in SERVICES:
        for row in seen.of(service, "outbox"):
            yield f"{service}'s outbox still has {row['event_type']} {row['event_id']} of key {row['key']!r}"
        for row in seen.of(service, "said"):
            announced.add(row["event_id"])
            found = on_topic.get(row["event_id"])
            if found is None:
                yield (
                    f"{service} announced {row['event_type']} {row['event_id']} of key {row['key']!r}, and it is not "
                    f"on {row['topic']}"
                )
            elif (found.topic, found.key) != (row["topic"], row["key"]):
                yield (
                    f"{row['event_type']} {row['event_id']} was announced on {row['topic']} for {row['key']!r} and is "
                    f"on {found.topic} for {found.key!r}"
                )
    for record in on_topic.values():
        if record.event_id not in announced:
            yield f"{record.type} {record.event_id} is on {record.topic}, and nobody's outbox ever had it"


def keys_are_of_the_body(seen: Seen) -> Iterator[str]:
    """Every event stands under the key of what it is about, so that one consumer at a time decides about that."""
    # The catalog's keys are made of what they name; its listeners read them by revision.
    fields = {event.event_type: event.key_field for topic in TOPICS if not topic.compacted for event in topic.events}
    for record in _ours(seen):
        if record.body is not None and record.type in fields:
            about = str(record.body.get(fields[record.type]))
            if about != record.key:
                yield f"{record.type} {record.event_id} is about {about!r} and stands under the key {record.key!r}"


def order_is_kept(seen: Seen) -> Iterator[str]:
    """Per topic and key, events are on the topic in the order in which they were committed to the outbox."""
    place = {record.event_id: (record.partition, record.offset) for record in _ours(seen)}
    last: dict[tuple[str, str], tuple[int, int, str]] = {}
    for service in SERVICES:
        for row in seen.of(service, "said"):
            if row["event_id"] not in place:
                continue
            lane, here = (row["topic"], row["key"]), place[row["event_id"]]
            before = last.get(lane)
            if before is not None and here[0] != before[0]:
                yield f"key {row['key']!r} of {row['topic']} is on partitions {before[0]} and {here[0]}"
            elif before is not None and here[1] < before[1]:
                yield (
                    f"{row['event_type']} {row['event_id']} of key {row['key']!r} was announced after {before[2]} and "
                    f"is on {row['topic']} before it: offsets {here[1]} and {before[1]}"
                )
            last[lane] = (*here, row["event_id"])


def last_word_stands(seen: Seen) -> Iterator[str]:
    """On a compacted topic the last record of a key is the last that was announced: no older one came after it."""
    for topic in (topic.name for topic in TOPICS if topic.compacted):
        last_record = {record.key: record.event_id for record in seen.records if record.topic == topic}
        last_said: dict[str, str] = {}
        for service in SERVICES:
            for row in seen.of(service, "said"):
                if row["topic"] == topic:
                    last_said[row["key"]] = row["event_id"]
        for key, event_id in sorted(last_said.items()):
            if last_record.get(key) != event_id:
                yield f"the last word on {key!r} of {topic} is {last_record.get(key)}, {event_id} was announced last"


def heard_once(seen: Seen) -> Iterator[str]:
    """Each inbox remembers exactly the events on the topics that its service hears."""
    for service in SERVICES:
        wanted = {record.event_id for record in _ours(seen) if record.type in HEARS[service]}
        wanted |= {
            str(uuid5(NAMESPACE_URL, f"{record.topic}#{record.topic}/{record.partition}/{record.offset}"))
            for record in seen.records
            if record.topic in _FOREIGN & LISTENS[service]
        }
        kept = {row["event_id"] for row in seen.of(service, "inbox")}
        by_id = {record.event_id: record for record in _ours(seen)}
        for missing in sorted(wanted - kept):
            what = by_id.get(missing)
            name = f"{what.type} {missing} of key {what.key!r}" if what else f"the foreign message {missing}"
            yield f"{service} never took {name} to heart"
        for strange in sorted(kept - wanted):
            yield f"{service} took the event {strange} to heart, which is on no topic that it hears"


def _same(what: str, sides: Mapping[str, Iterable[tuple[Any, ...]]]) -> Iterator[str]:
    """Every side has the same facts, each once; the first side is where they come from."""
    counted = {name: Counter(facts) for name, facts in sides.items()}
    (source, first), *others = counted.items()
    for fact, many in sorted(first.items(), key=str):
        if many != 1:
            yield f"{what} {fact}: {many} times in {source}"
    for name, facts in others:
        for fact in sorted(first.keys() | facts.keys(), key=str):
            if first[fact] != facts[fact]:
                yield f"{what} {fact}: {first[fact]} times in {source}, {facts[fact]} times in {name}"


def effects_are_once(seen: Seen) -> Iterator[str]:
    """A fact is once where it was decided, once on the topic, and once where it took effect."""

    def said(event_type: str, *fields: str) -> list[tuple[str, ...]]:
        return [tuple(str(body.get(name)) for name in fields) for body in seen.bodies(event_type)]

    def kept(service: str, table: str, *fields: str) -> list[tuple[str, ...]]:
        return [tuple(str(row[name]) for name in fields) for row in seen.of(service, table)]

    def booked(kind: str) -> list[tuple[str, ...]]:
        return [(row["reference"],) for row in seen.of("inventory", "booking") if row["kind"] == kind]

    movement = ("movement_id", "item_id", "sequence", "batch_id")
    yield from _same(
        "movement",
        {
            "inventory's ledger": kept("inventory", "movement", *movement),
            "inventory.stock.v1": said("inventory.StockMoved", *movement),
            "trace": kept("trace", "movement", *movement),
        },
    )
    line = ("receipt_id", "line_no", "batch_id")
    lines = kept("receiving", "received", *line)
    yield from _same(
        "receipt line",
        {
            "receiving": lines,
            "receiving.batches.v1": said("receiving.BatchReceived", *line),
            "trace": kept("trace", "receipt", *line),
        },
    )
    references = [(f"{receipt_id}/{line_no}",) for receipt_id, line_no, _ in lines]
    received = [row for row in seen.of("inventory", "movement") if row["reason"] == "receipt"]
    yield from _same(
        "receipt line",
        {
            "receiving": references,
            "inventory's bookings": booked("receipt"),
            "inventory's receipts": [(row["reference"],) for row in received],
            "integration": kept("integration", "receipt_line", "reference"),
        },
    )
    yield from _same(
        "batch",
        {
            "receiving": kept("receiving", "batch", "batch_id"),
            "receiving.batches.v1": said("receiving.BatchRegistered", "batch_id"),
        },
    )
    yield from _same(
        "inspection",
        {
            "receiving": kept("receiving", "inspection", "inspection_id"),
            "receiving.batches.v1": said("receiving.BatchInspected", "inspection_id"),
            "inventory": booked("inspection"),
        },
    )
    yield from _same(
        "hold",
        {
            "inventory": kept("inventory", "hold", "hold_id"),
            "inventory.stock.v1": said("inventory.HoldPlaced", "hold_id"),
            "trace": kept("trace", "hold", "hold_id"),
        },
    )
    yield from _same(
        "hold, lifted",
        {
            "inventory": [
                (row["hold_id"], str(row["lifted_sequence"] is not None)) for row in seen.of("inventory", "hold")
            ],
            "allocation": [
                (row["hold_id"], str(row["lifted"]))
                for row in seen.of("allocation", "hold")
                if row["hold_id"] in {hold["hold_id"] for hold in seen.of("inventory", "hold")}
            ],
            "trace": kept("trace", "hold", "hold_id", "lifted"),
        },
    )
    yield from _same(
        "demand",
        {
            "integration": kept("integration", "demand", "demand_id"),
            "integration.demands.v1": said("integration.DemandRaised", "demand_id"),
        },
    )
    yield from _same(
        "demand",
        {
            "the callers and the ERP": [
                *((call.answer["demand_id"],) for call in seen.journal.told("allocation", "demand")),
                *kept("integration", "demand", "demand_id"),
            ],
            "allocation": kept("allocation", "demand", "demand_id"),
        },
    )
    yield from _same(
        "pick",
        {
            "allocation.outbound.v1": said("allocation.PickConfirmed", "pick_id"),
            "inventory": booked("pick"),
            "trace": kept("trace", "pick", "pick_id"),
        },
    )
    dispatched = said("allocation.ShipmentDispatched", "line_id")
    issues = [(row["reference"],) for row in seen.of("inventory", "movement") if row["reason"] == "issue"]
    yield from _same(
        "shipment line", {"allocation.outbound.v1": dispatched, "trace": kept("trace", "dispatch", "line_id")}
    )
    yield from _same(
        "shipment line",
        {
            "allocation.outbound.v1": dispatched,
            "the gate (issued or refused)": sorted({*issues}) + said("inventory.IssueRefused", "line_id"),
        },
    )
    yield from _same(
        "refused line",
        {
            "inventory.stock.v1": said("inventory.IssueRefused", "line_id"),
            "trace": kept("trace", "refusal", "line_id"),
        },
    )
    yield from _same(
        "expected receipt",
        {
            "integration": kept("integration", "expected_receipt", "expected_receipt_id"),
            "integration.receipts.v1": said("integration.ReceiptExpected", "expected_receipt_id"),
            "receiving": kept("receiving", "expected_receipt", "expected_receipt_id"),
        },
    )
    yield from _same(
        "consumption",
        {
            "integration": kept("integration", "consumption", "consumption_id"),
            "integration.receipts.v1": said("integration.MaterialConsumed", "consumption_id"),
            "inventory": booked("consumption"),
        },
    )
    yield from _same(
        "production report",
        {
            "integration.receipts.v1": said("integration.BatchProduced", "report_id"),
            "trace": kept("trace", "report", "report_id"),
        },
    )
    recalled = [
        (row["recall_id"], row["node"]) for row in seen.of("trace", "recall_batch") if row["said"]
    ]  # fmt: skip
    yield from _same(
        "recalled batch",
        {
            "trace": recalled,
            "trace.recalls.v1": said("trace.BatchRecalled", "recall_id", "batch_id"),
            "inventory's holds": [
                (row["reference"], row["batch_id"]) for row in seen.of("inventory", "hold") if row["kind"] == "recall"
            ],
        },
    )


def sequences_have_no_gap(seen: Seen) -> Iterator[str]:
    """Movements and holds of an item are numbered 1, 2, 3, … together, once each, and stand so on the topic."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for row in seen.of("inventory", "movement"):
        numbers[row["item_id"]].append(row["sequence"])
    for row in seen.of("inventory", "hold"):
        numbers[row["item_id"]].append(row["placed_sequence"])
        if row["lifted_sequence"] is not None:
            numbers[row["item_id"]].append(row["lifted_sequence"])
    last = {row["item_id"]: row["last"] for row in seen.of("inventory", "item_sequence")}
    for item_id, found in sorted(numbers.items()):
        many = Counter(found)
        wanted = range(1, last.get(item_id, 0) + 1)
        for number in sorted({*wanted} | many.keys()):
            if many[number] != 1 or number not in wanted:
                yield f"item {item_id}: the number {number} is given {many[number]} times, of {len(wanted)}"
    on_topic: dict[str, list[int]] = defaultdict(list)
    records = [
        record
        for event_type in ("inventory.StockMoved", "inventory.HoldPlaced", "inventory.HoldLifted")
        for record in seen.said.get(event_type, ())
    ]
    for record in sorted(records, key=lambda record: (record.partition, record.offset)):
        if record.body is not None:
            on_topic[record.key].append(int(record.body["sequence"]))
    for item_id, found in sorted(on_topic.items()):
        for before, after in zip([0, *found], found, strict=False):
            if after != before + 1:
                yield f"item {item_id}: on its topic the number {after} follows {before}"


def catalog_is_known(seen: Seen) -> Iterator[str]:
    """Everybody's catalog stands at the revision at which integration's stands."""
    wanted = {row["item_id"]: row["revision"] for row in seen.of("integration", "item")}
    for service in ("receiving", "inventory", "allocation", "trace"):
        known = {row["item_id"]: row["revision"] for row in seen.of(service, "item")}
        for item_id, revision in sorted(wanted.items()):
            if known.get(item_id, 0) != revision:
                yield f"item {item_id}: revision {revision} in integration, {known.get(item_id, 0)} in {service}"


def ledger_is_followed(seen: Seen) -> Iterator[str]:
    """Allocation stands at the last number of each item."""
    wanted = {row["item_id"]: row["last"] for row in seen.of("inventory", "item_sequence")}
    known = {row["item_id"]: row["sequence"] for row in seen.of("allocation", "item")}
    for item_id, last in sorted(wanted.items()):
        if known.get(item_id, 0) != last:
            yield f"item {item_id}: inventory stands at {last}, allocation at {known.get(item_id, 0)}"


def parked_as_meant(seen: Seen) -> Iterator[str]:
    """Parked is exactly what nobody can understand, by everybody who hears it."""
    for service in SERVICES:
        wanted = Counter(
            (record.topic, record.partition, record.offset)
            for record in seen.records
            if record.key.startswith("malformed/")
            and record.topic in LISTENS[service]
            and (record.topic in _FOREIGN or not record.type or record.type in HEARS[service])
        )
        parked = Counter((row["topic"], row["partition"], row["offset"]) for row in seen.of(service, "parked"))
        why = {(row["topic"], row["partition"], row["offset"]): row for row in seen.of(service, "parked")}
        for place in sorted(wanted.keys() | parked.keys()):
            if wanted[place] != parked[place]:
                row = why.get(place)
                reason = f": {row['kind']}, {row['error'][:200]}" if row else ""
                yield (
                    f"{service}: {place[0]}/{place[1]}/{place[2]} should be parked {wanted[place]} times and is "
                    f"{parked[place]} times{reason}"
                )
    on_topics = {record.key for record in seen.records if record.nonsense}
    for key in sorted((seen.journal.malformed | seen.journal.unheard) - on_topics):
        yield f"the message under {key!r} was sent and is on no topic"


EVENTS = (
    Check(
        "every announcement is on its topic, under its key",
        announced_is_on_topic,
        lambda seen: f"{sum(len(seen.of(service, 'said')) for service in SERVICES)} announcements",
    ),
    Check(
        "each event stands under the key of what it is about", keys_are_of_the_body, lambda s: f"{len(_ours(s))} events"
    ),
    Check("order per key: outbox = topic", order_is_kept, lambda seen: f"{len(_ours(seen))} events"),
    Check("the last word of the catalog stands last", last_word_stands, lambda s: f"{len(s.said)} types"),
    Check(
        "each inbox has exactly what its service hears",
        heard_once,
        lambda seen: f"{sum(len(seen.of(service, 'inbox')) for service in SERVICES)} rows of inboxes",
    ),
    Check(
        "each fact is once: decided, on its topic, and in effect",
        effects_are_once,
        lambda seen: f"{len(_ours(seen))} events, {len(seen.records) - len(_ours(seen))} other records",
    ),
    Check(
        "each item's sequence has no gap",
        sequences_have_no_gap,
        lambda seen: f"{len(seen.of('inventory', 'item_sequence'))} items",
    ),
    Check("everybody knows the catalog", catalog_is_known, lambda s: f"{len(s.of('integration', 'item'))} items"),
    Check(
        "allocation has followed the ledger to its end",
        ledger_is_followed,
        lambda seen: f"{len(seen.of('inventory', 'item_sequence'))} items",
    ),
    Check(
        "parked is exactly what nobody can understand",
        parked_as_meant,
        lambda seen: (
            f"{len(seen.journal.malformed)} malformed, "
            f"{sum(len(seen.of(service, 'parked')) for service in SERVICES)} parked"
        ),
    ),
)
