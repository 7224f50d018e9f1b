"""The Kafka headers of every event of ours: CloudEvents 1.0 in Kafka's binary mode. The body is the event alone."""

from contracts.event import Event, Topic
from contracts.schema import Schema

HEADERS: Schema = {
    "title": "Envelope",
    "description": (
        "CloudEvents 1.0 in Kafka's binary mode: the attributes are headers (UTF-8 text), the value is the event's "
        "JSON body alone, the record's key is `ce_subject`. Drop an event whose `ce_source` and `ce_id` you have "
        "handled. Other headers may be there; ignore them."
    ),
    "type": "object",
    "properties": {
        "ce_specversion": {"type": "string", "const": "1.0"},
        "ce_id": {"type": "string", "format": "uuid", "description": "UUIDv7; unique with `ce_source`."},
        "ce_source": {"type": "string", "pattern": "^batchwise/[a-z]+$", "description": "The service that speaks."},
        "ce_type": {
            "type": "string",
            "pattern": "^[a-z]+\\.[A-Za-z]+$",
            "description": "`owner.EventName`; the major version is that of the topic.",
        },
        "ce_time": {"type": "string", "format": "date-time", "description": "When it was said, UTC."},
        "ce_subject": {"type": "string", "description": "The record's key: one key keeps its order."},
        "ce_correlationid": {"type": "string", "description": "The first cause of all this: an event or an HTTP call."},
        "ce_causationid": {"type": "string", "description": "The direct cause."},
        "ce_actor": {"type": "string", "description": "The person or service that the fact is owed to."},
        "traceparent": {
            "type": "string",
            "pattern": "^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$",
            "description": "W3C trace context.",
        },
        "content-type": {"type": "string", "const": "application/json"},
    },
    "required": [
        "ce_specversion",
        "ce_id",
        "ce_source",
        "ce_type",
        "ce_time",
        "ce_subject",
        "ce_correlationid",
        "content-type",
    ],
}
"""What stands in the headers, as JSON Schema."""


def source_of(topic: Topic) -> str:
    """The `ce_source` of a topic's events."""
    return f"batchwise/{topic.owner}"


def headers_of(topic: Topic, event: type[Event]) -> Schema:
    """What narrows `HEADERS` for one event: by these two a listener knows what it has before it."""
    return {
        "ce_source": {"type": "string", "const": source_of(topic)},
        "ce_type": {"type": "string", "const": event.event_type},
    }
