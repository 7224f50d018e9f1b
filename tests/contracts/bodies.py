"""The bodies of events, seen through their schemas: every value of one, and bodies drawn from a schema."""

import copy
import datetime as dt
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import strategies as st

import contracts
from contracts.schema import Schema

FOLDER = Path(contracts.__file__).parent

Steps = tuple[str | int, ...]

MESSAGES = {
    f"{path.parent.name}/{path.stem} {message['name']}": message
    for path in sorted((FOLDER / "golden").glob("*/*.json"))
    for message in json.loads(path.read_text())
}
"""Every golden message that was ever written."""

RELEASED: dict[str, Schema] = {
    f"{path.parent.name}/{path.name}": json.loads(path.read_text())
    for path in sorted((FOLDER / "released" / "v1").glob("*/*.json"))
}
"""Every released schema by its path."""


class Place(NamedTuple):
    """One value of a body: how to get to it, what its schema is, and what it is."""

    steps: Steps
    schema: Schema
    value: Any


def places(whole: Schema, value: Any, schema: Schema | None = None, steps: Steps = ()) -> Iterator[Place]:
    """Every value of a body, the body itself first."""
    schema = resolved(whole, whole if schema is None else schema)
    yield Place(steps, schema, value)
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from places(whole, inner, schema["properties"][name], (*steps, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from places(whole, inner, schema["items"], (*steps, number))


def put(body: Any, steps: Steps, value: Any) -> Any:
    """A copy of a body with another value at one place."""
    changed = copy.deepcopy(body)
    inner = changed
    for step in steps[:-1]:
        inner = inner[step]
    inner[steps[-1]] = value
    return changed


def at(body: Any, steps: Steps) -> Any:
    """The value at one place."""
    for step in steps:
        body = body[step]
    return body


def resolved(whole: Schema, schema: Schema) -> Schema:
    """The schema that a reference means."""
    return whole["$defs"][schema["$ref"].removeprefix("#/$defs/")] if "$ref" in schema else schema


def kept(said: Any, heard: Any) -> bool:
    """Whether all that was said is still there, letter by letter; a listener may have added defaults."""
    if isinstance(said, dict):
        return isinstance(heard, dict) and all(name in heard and kept(said[name], heard[name]) for name in said)
    if isinstance(said, list):
        return isinstance(heard, list) and len(said) == len(heard) and all(map(kept, said, heard))
    return type(said) is type(heard) and said == heard


def bodies(whole: Schema, schema: Schema | None = None) -> st.SearchStrategy[Any]:
    """Bodies that a schema allows, opened: at every depth, fields that no listener knows may be there too."""
    schema = resolved(whole, whole if schema is None else schema)
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema["type"]:
        case "object":
            required = schema.get("required", ())
            fields = {name: bodies(whole, field) for name, field in schema["properties"].items()}
            known = st.fixed_dictionaries(
                {name: field for name, field in fields.items() if name in required},
                optional={name: field for name, field in fields.items() if name not in required},
            )
            strange = st.dictionaries(st.sampled_from(["x_tomorrow", "x_later"]), _ANYTHING, max_size=1)
            return st.builds(lambda one, other: one | other, known, strange)
        case "array":
            return st.lists(bodies(whole, schema["items"]), min_size=schema.get("minItems", 0), max_size=3)
        case "integer":
            lowest = max(schema.get("minimum", -(2**53)), schema.get("exclusiveMinimum", -(2**53)) + 1)
            return st.integers(lowest, schema.get("maximum", 2**53))
        case "boolean":
            return st.booleans()
        case "string":
            return _texts(schema)
    raise AssertionError(f"no bodies are drawn for {schema}")


_ANYTHING = st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)

_OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))
"""RFC 3339 knows whole minutes; the time zones of a century ago have seconds."""


def _texts(schema: Schema) -> st.SearchStrategy[str]:
    match schema.get("format"):
        case "uuid":
            return st.uuids().map(str)
        case "date":
            return st.dates().map(str)
        case "date-time":
            return st.datetimes(timezones=_OFFSETS).map(lambda moment: moment.isoformat())
    shortest, longest = schema.get("minLength", 0), schema.get("maxLength", 80)
    if "pattern" not in schema:
        return st.text(min_size=shortest, max_size=longest)
    texts = st.from_regex(schema["pattern"], fullmatch=True).filter(lambda text: shortest <= len(text) <= longest)
    if "not" in schema:
        forbidden = re.compile(schema["not"]["pattern"])
        texts = texts.filter(lambda text: not forbidden.search(text))
    return texts
