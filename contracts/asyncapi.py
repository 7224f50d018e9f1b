"""One AsyncAPI 3.0 document of the whole system: who says what on which topic, and who listens."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from contracts.envelope import HEADERS, headers_of
from contracts.event import Event, Topic
from contracts.schema import Schema, schema_of
from contracts.topics import TOPICS

Document = dict[str, Any]

_KAFKA = {"bindingVersion": "0.5.0"}

_ABOUT = """\
Warehouse batches from the production line to the customer and back.

* Each topic is `owner.subject.vN`: one owner's events about one subject, told apart by the header `ce_type`.
* Envelope: CloudEvents 1.0 in Kafka's binary mode; the value is the JSON body alone.
* Delivery is at least once: drop an event whose `ce_source` and `ce_id` you have handled. All events of one key keep
  their order.
* Quantities and money are decimal text, never JSON numbers. Times carry an offset (we write UTC). A field without a
  value is left out.
* Within one topic version only optional fields, and values of lists that have `unknown`, are added. Ignore fields that
  you do not know, and read a value that you do not know as `unknown`. Anything else is a new topic version, published
  beside the old one for a release.
* Names may carry the prefix of an installation before topics and consumer groups.
"""

_SERVERS: Document = {
    "local": {
        "host": "{host}:{port}",
        "protocol": "kafka",
        "description": "One machine, no encryption: development and demonstration.",
        "variables": {
            "host": {"default": "127.0.0.1", "description": "The broker listens on the loopback address only."},
            "port": {"default": "9092", "description": "As `make status` says."},
        },
    },
    "production": {
        "host": "{bootstrap}",
        "protocol": "kafka-secure",
        "description": "TLS, SASL/SCRAM, and an ACL for each service.",
        "variables": {
            "bootstrap": {"default": "kafka.example.com:9093", "description": "The cluster's bootstrap address."}
        },
        "security": [{"$ref": "#/components/securitySchemes/scram"}],
    },
}


def document(
    hears: Mapping[str, Collection[type[Event]]],
    foreign_payloads: Mapping[str, Schema] | None = None,
    *,
    hears_foreign: Mapping[str, Collection[Topic]] | None = None,
    examples: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    partitions: int = 6,
    version: str = "1.0.0",
) -> Document:
    """The document of `contracts.topics` and of who listens.

    `hears` holds the events that each service listens to, by its name; `hears_foreign` the same for topics of systems
    that are not ours, and `foreign_payloads` what their bodies look like, by topic name. `examples` are golden messages
    by event type; `partitions` is how many a topic has when it is made.
    Raises `ValueError` for an event or topic that is heard and is none of ours, and for two definitions of one name.
    """
    made = _Document(dict(foreign_payloads or {}), dict(examples or {}), partitions)
    for topic in TOPICS:
        made.add_topic(topic)
    services = sorted({*hears, *(hears_foreign or {}), *(topic.owner for topic in TOPICS if not topic.foreign)})
    for service in services:
        made.add_service(service, hears.get(service, ()), (hears_foreign or {}).get(service, ()))
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Batchwise",
            "version": version,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
            "tags": [{"name": owner, "description": words} for owner, words in _owners()],
        },
        "defaultContentType": "application/json",
        "servers": _SERVERS,
        "channels": made.channels,
        "operations": made.operations,
        "components": {
            "messages": made.messages,
            "schemas": dict(sorted(made.schemas.items())),
            "securitySchemes": {"scram": {"type": "scramSha512", "description": "One user for each service."}},
        },
    }


def faults(document: Mapping[str, Any]) -> list[str]:
    """What the official schema of AsyncAPI lets pass and nobody could use.

    A reference that leads nowhere, and an operation with a message that is not one of its channel's.
    """
    found = [
        f"{place}: the reference {reference!r} leads nowhere"
        for place, reference in _references(document, "#")
        if not _leads_somewhere(document, reference)
    ]
    found += [
        f"#/operations/{name}: the message {message['$ref']!r} is not one of {operation['channel']['$ref']!r}"
        for name, operation in document.get("operations", {}).items()
        for message in operation.get("messages", ())
        if not message["$ref"].startswith(f"{operation['channel']['$ref']}/messages/")
    ]
    return found


def _owners() -> Iterator[tuple[str, str]]:
    for owner in dict.fromkeys(topic.owner for topic in TOPICS):
        foreign = all(topic.foreign for topic in TOPICS if topic.owner == owner)
        yield owner, f"What the {owner.upper()} says: a system that is not ours." if foreign else f"What {owner} says."


def _references(value: object, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            here = f"{place}/{_escaped(name)}"
            # A field may be called `$ref` in an example: there it is a value and no reference.
            if name == "$ref" and isinstance(inner, str):
                yield here, inner
            elif name != "examples":
                yield from _references(inner, here)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _references(inner, f"{place}/{number}")


def _leads_somewhere(document: Mapping[str, Any], reference: str) -> bool:
    """Whether a JSON pointer into this document finds something; what lies outside of it does not count."""
    if not reference.startswith("#/"):
        return False
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, Mapping) and name in found:
            found = found[name]
        elif isinstance(found, list) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        else:
            return False
    return True


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _words(description: str) -> dict[str, str]:
    """A summary, and the whole description where it says more."""
    summary = _sentence(description)
    return {"summary": summary} if summary == description else {"summary": summary, "description": description}


def _sentence(words: str) -> str:
    """The first paragraph of a description, on one line."""
    return " ".join(words.partition("\n\n")[0].split())


class _Document:
    """The parts of the document as they grow, topic by topic and service by service."""

    def __init__(
        self,
        foreign_payloads: Mapping[str, Schema],
        examples: Mapping[str, Sequence[Mapping[str, Any]]],
        partitions: int,
    ) -> None:
        self.channels: Document = {}
        self.operations: Document = {}
        self.messages: Document = {}
        self.schemas: Document = {"Envelope": HEADERS}
        self._foreign_payloads = foreign_payloads
        self._examples = examples
        self._partitions = partitions
        self._topics = {event: topic for topic in TOPICS for event in topic.events}

    def add_topic(self, topic: Topic) -> None:
        """The channel of a topic, with the messages that are said there."""
        added = dict([self._foreign_message(topic)] if topic.foreign else map(self._message, topic.events))
        self.channels[topic.name] = {
            "address": topic.name,
            "title": topic.name,
            "summary": topic.about,
            "tags": [{"name": topic.owner}],
            "messages": {name: {"$ref": f"#/components/messages/{message}"} for name, message in added.items()},
            "bindings": {"kafka": self._binding(topic)},
        }

    def add_service(self, service: str, hears: Collection[type[Event]], foreign: Collection[Topic]) -> None:
        """What one service sends and receives."""
        strange = [event.event_type for event in hears if event not in self._topics]
        strange += [topic.name for topic in foreign if topic not in TOPICS]
        if strange:
            raise ValueError(f"{service} hears {', '.join(strange)}: contracts/topics.py has no such thing")
        for topic in TOPICS:
            if topic.owner == service:
                self._add_operation(service, "send", topic, topic.events)
        for topic in TOPICS:
            heard = [event for event in topic.events if event in hears]
            if heard or topic in foreign:
                self._add_operation(service, "receive", topic, heard)

    def _add_operation(self, service: str, action: str, topic: Topic, events: Collection[type[Event]]) -> None:
        channel = f"#/channels/{topic.name}"
        verb = "says" if action == "send" else "hears"
        names = [event.__name__ for event in events] or list(self.channels[topic.name]["messages"])
        if action == "send":
            binding = {**_KAFKA, "clientId": {"type": "string", "enum": [f"{service}-relay"]}}
        else:
            group = {"type": "string", "enum": [f"batchwise.{service}"], "description": "One consumer group a service."}
            binding = {**_KAFKA, "clientId": {"type": "string", "enum": [service]}, "groupId": group}
        self.operations[f"{service}.{verb}.{topic.name}"] = {
            "action": action,
            "channel": {"$ref": channel},
            "title": f"{service} {verb} {topic.name}",
            "summary": f"{service} {verb}: {', '.join(names)}.",
            "tags": [{"name": service}],
            "messages": [{"$ref": f"{channel}/messages/{name}"} for name in names],
            "bindings": {"kafka": binding},
        }

    def _message(self, event: type[Event]) -> tuple[str, str]:
        schema = schema_of(self._topics[event], event)
        self._add_schemas(event.__name__, schema)
        examples = [
            {
                "name": message["name"],
                "summary": f"key: {message['key']}",
                "headers": message["headers"],
                "payload": message["value"],
            }
            for message in self._examples.get(event.event_type, ())
        ]
        self.messages[event.event_type] = {
            "name": event.event_type,
            "title": event.__name__,
            **_words(schema["description"]),
            "contentType": "application/json",
            "tags": [{"name": self._topics[event].owner}],
            "headers": {
                "type": "object",
                "allOf": [{"$ref": "#/components/schemas/Envelope"}],
                "properties": headers_of(self._topics[event], event),
            },
            "payload": {"$ref": f"#/components/schemas/{event.__name__}"},
            "correlationId": {"location": "$message.header#/ce_correlationid"},
            "bindings": {"kafka": {**_KAFKA, "key": _key_schema(event)}},
            **({"examples": examples} if examples else {}),
        }
        return event.__name__, event.event_type

    def _foreign_message(self, topic: Topic) -> tuple[str, str]:
        """One message stands for all that a foreign system says on its topic: no envelope tells them apart."""
        name = "".join(part.capitalize() for part in topic.name.replace("-", ".").split(".")[:-1])
        message: Document = {
            "name": topic.name,
            "title": topic.about,
            "contentType": "application/json",
            "tags": [{"name": topic.owner}],
            "bindings": {"kafka": _KAFKA},
        }
        payload = self._foreign_payloads.get(topic.name)
        if payload is not None:
            self._add_schemas(name, payload, f"{name}.")
            message["payload"] = {"$ref": f"#/components/schemas/{name}"}
        self.messages[topic.name] = message
        return name, topic.name

    def _add_schemas(self, name: str, schema: Schema, prefix: str = "") -> None:
        """A schema and its definitions, each under its own name, so that what events share is written once."""
        for definition, inner in {name: schema, **_prefixed(schema.get("$defs", {}), prefix)}.items():
            lifted = _lifted(inner, prefix)
            if self.schemas.setdefault(definition, lifted) != lifted:
                raise ValueError(
                    f"two definitions are called {definition!r}, and they differ: rename one of the classes"
                )

    def _binding(self, topic: Topic) -> Document:
        kept: Document = {"cleanup.policy": ["compact"] if topic.compacted else ["delete"]}
        if not topic.compacted:
            kept["retention.ms"] = -1
        return {**_KAFKA, "topic": topic.name, "partitions": self._partitions, "topicConfiguration": kept}


def _key_schema(event: type[Event]) -> Schema:
    """What a record's key is, in words: the field's own text, or one made from fields."""
    if event.key_field in event.model_fields:
        return {"type": "string", "description": f"The text of `{event.key_field}`."}
    made = getattr(event, event.key_field).__doc__ or ""
    return {"type": "string", "description": f"`{event.key_field}`: {_sentence(made)}"}


def _prefixed(definitions: Mapping[str, Schema], prefix: str) -> dict[str, Schema]:
    return {f"{prefix}{name}": inner for name, inner in definitions.items()}


def _lifted(schema: Any, prefix: str) -> Any:
    """A schema as it stands among the components. AsyncAPI reads draft 07, where nothing may stand beside a `$ref`."""
    if isinstance(schema, list):
        return [_lifted(entry, prefix) for entry in schema]
    if not isinstance(schema, Mapping):
        return schema
    lifted = {name: _lifted(inner, prefix) for name, inner in schema.items() if name not in ("$schema", "$id", "$defs")}
    if isinstance(lifted.get("$ref"), str):
        reference = {"$ref": lifted.pop("$ref").replace("#/$defs/", f"#/components/schemas/{prefix}")}
        return {"allOf": [reference], **lifted} if lifted else reference
    return lifted
