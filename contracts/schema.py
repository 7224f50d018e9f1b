"""The JSON Schema (2020-12) of every event, as its speaker writes it: closed, and with nothing that is only noise."""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from contracts.event import Event, Topic
from contracts.topics import TOPICS

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_ORDER = ("$schema", "$id", "title", "description", "$ref", "type", "properties", "required", "additionalProperties")
"""What a person reads first stands first; everything else follows by name, and the definitions stand last."""


def schema_of(topic: Topic, event: type[Event]) -> Schema:
    """What may stand in the body of one event. Optional fields are left out when they have no value, never `null`."""
    made = event.model_json_schema(mode="serialization", schema_generator=_Written)
    made |= {"$schema": DIALECT, "$id": f"urn:batchwise:{topic.name}:{event.__name__}", "title": event.__name__}
    for definition in made.get("$defs", {}).values():
        definition.pop("title", None)  # its name stands before it already
    ordered: Schema = _ordered(made)
    return ordered


def path_of(topic: Topic, event: type[Event]) -> str:
    """Where a file about one event lies, below a folder of such files."""
    return f"{topic.name}/{event.__name__}.json"


def schemas() -> dict[str, Schema]:
    """The schema of every event of the system by its path."""
    return {path_of(topic, event): schema_of(topic, event) for topic in TOPICS for event in topic.events}


def text_of(document: object) -> str:
    """A document as it is committed: the same document is always the same text."""
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


class _Written(GenerateJsonSchema):
    """Describes what `Event.write` writes, where pydantic would describe what the model holds."""

    def generate_inner(self, schema: core_schema.CoreSchema) -> JsonSchemaValue:
        """Decimals are text with limits; pydantic knows only that they are text."""
        inner: Any = schema["schema"] if schema["type"] == "function-before" else schema
        if inner["type"] == "decimal":
            return _decimal_text(inner)
        return super().generate_inner(schema)

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """Absent values are left out, so there is no `null` to describe."""
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """The default of an optional field is its absence."""
        made = super().default_schema(schema)
        return {name: value for name, value in made.items() if (name, value) != ("default", None)}

    def str_schema(self, schema: core_schema.StringSchema) -> JsonSchemaValue:
        r"""In ECMAScript's Unicode mode, which JSON Schema asks for, `\"` is an error and `"` means the same."""
        made = super().str_schema(schema)
        if "pattern" in made:
            made["pattern"] = made["pattern"].replace('\\"', '"')
        return made

    def field_title_should_be_set(self, schema: Any) -> bool:
        """A field has its name already."""
        return False


def _decimal_text(limits: Mapping[str, Any]) -> JsonSchemaValue:
    """Decimal text within its digits; trailing zeros are free. A bound is what the text may *not* look like.

    No look-ahead is used: RE2, and so Go, could not read it.
    Raises `ValueError` for a limit that has no such text, so that no schema promises less than the code holds.
    """
    unknown = limits.keys() - {"type", "gt", "ge", "max_digits", "decimal_places", "strict", "ref", "metadata"}
    unknown -= {"allow_inf_nan", "serialization"}
    if unknown or "max_digits" not in limits or "decimal_places" not in limits:
        raise ValueError(f"a decimal with the limits {limits!r}: only digits and places, more than 0, or 0 and more")
    places = limits["decimal_places"]
    whole = limits["max_digits"] - places
    made: JsonSchemaValue = {"type": "string", "pattern": decimal_pattern(whole, places)}
    bounds = {name: Decimal(limits[name]) for name in ("gt", "ge") if name in limits}
    if any(bounds.values()):
        raise ValueError(f"a decimal with the limits {limits!r}: a bound other than 0 has no text form here")
    sign = "of any sign"
    if "gt" in bounds:
        made["not"], sign = {"pattern": "^(-|[0.]+$)"}, "more than zero"
    elif "ge" in bounds:
        made["not"], sign = {"pattern": "^-.*[1-9]"}, "zero or more"
    made["description"] = f"Decimal text, {sign}: at most {whole} digits before the point, and {places} after it."
    return made


def decimal_pattern(whole: int, places: int) -> str:
    """Decimal text with at most `whole` digits before the point and `places` that count after it."""
    return rf"^-?[0-9]{{1,{whole}}}(\.[0-9]{{1,{places}}}0*)?$"


def _ordered(value: Any, *, names: bool = False) -> Any:
    """The same schema in one order; the names of fields keep theirs, which is the model's."""
    if isinstance(value, list):
        return [_ordered(entry) for entry in value]
    if not isinstance(value, Mapping):
        return value
    if names:
        return {name: _ordered(entry) for name, entry in value.items()}
    first = [name for name in _ORDER if name in value]
    rest = sorted(name for name in value if name not in _ORDER)
    if "$defs" in rest:
        rest.remove("$defs")
        rest.append("$defs")
    return {
        name: {key: _ordered(entry) for key, entry in sorted(value[name].items())}
        if name == "$defs"
        else _ordered(value[name], names=name == "properties")
        for name in (*first, *rest)
    }
