"""Everything that a caller may send has a limit, and OpenAPI says which: parameters, bodies, and the call itself."""

import importlib
import re
from collections.abc import Iterator
from typing import Any

import pytest

from delivery import Settings, build

SERVICES = ("receiving", "inventory", "allocation", "trace", "integration")
_BOUNDED_FORMATS = {"uuid", "date", "date-time"}
_DATA = {"get", "put", "post", "delete", "patch"}


@pytest.fixture(params=SERVICES)
async def document(request: pytest.FixtureRequest, unconnected: Settings) -> dict[str, Any]:
    return build(importlib.import_module(f"services.{request.param}.app").service, unconnected).openapi()


def calls(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every call that needs a token, by method and path."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert method in _DATA
            if not (path.startswith("/health") or path == "/metrics"):
                yield f"{method.upper()} {path}", operation


def without_limit(schema: dict[str, Any], document: dict[str, Any]) -> list[str]:
    """The fields below a schema that may be of any size, each with what it lacks."""
    return [*_open(schema, document["components"]["schemas"], "", ())]


def _open(schema: dict[str, Any], named: dict[str, Any], where: str, inside: tuple[str, ...]) -> Iterator[str]:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if name not in inside:
            yield from _open(named[name], named, where, (*inside, name))
        return
    ways = [way for each in ("anyOf", "oneOf", "allOf") for way in schema.get(each, ())]
    for way in ways:
        yield from _open(way, named, where, inside)
    if "enum" in schema or "const" in schema:
        return
    match schema.get("type"):
        case "string" if not _bounded_text(schema):
            yield f"{where}: a text without maxLength or a pattern that ends"
        case "integer" | "number":
            if not (
                schema.keys() & {"minimum", "exclusiveMinimum"} and schema.keys() & {"maximum", "exclusiveMaximum"}
            ):
                yield f"{where}: a number without both bounds"
        case "array":
            if "maxItems" not in schema:
                yield f"{where}: a list without maxItems"
            yield from _open(schema["items"], named, f"{where}[]", inside)
        case "object":
            if schema.get("additionalProperties") is not False and not schema.get("properties"):
                yield f"{where}: an object that may hold anything"
            for name, field in schema.get("properties", {}).items():
                yield from _open(field, named, f"{where}.{name}", inside)
        case None if not ways:
            yield f"{where}: anything"


def _bounded_text(schema: dict[str, Any]) -> bool:
    if "maxLength" in schema or schema.get("format") in _BOUNDED_FORMATS:
        return True
    pattern = schema.get("pattern", "")
    if not (pattern.startswith("^") and pattern.endswith("$")):
        return False
    # What repeats without an end, once classes and escaped signs are out of the way.
    plain = re.sub(r"\\.|\[[^\]]*\]", "x", pattern)
    return re.search(r"[*+]|\{\d+,\}", plain) is None


async def test_every_parameter_and_every_field_of_a_body_has_a_limit(document: dict[str, Any]) -> None:
    seen, endless = 0, []
    for call, operation in calls(document):
        for parameter in operation.get("parameters", ()):
            seen += 1
            endless += [f"{call}: {parameter['name']}{each}" for each in without_limit(parameter["schema"], document)]
        for content in operation.get("requestBody", {}).get("content", {}).values():
            seen += 1
            endless += [f"{call}: body{each}" for each in without_limit(content["schema"], document)]
    assert seen > 30
    assert endless == []


async def test_every_parameter_is_described(document: dict[str, Any]) -> None:
    silent = [
        f"{call}: {parameter['name']}"
        for call, operation in calls(document)
        for parameter in operation.get("parameters", ())
        if not parameter.get("description")
    ]
    assert silent == []


async def test_every_call_says_how_large_and_how_long_it_may_be(document: dict[str, Any]) -> None:
    for call, operation in calls(document):
        answers = set(operation["responses"])
        assert {"401", "403", "422", "503", "504"} <= answers, call
        assert operation["x-seconds-at-most"] == 30, call
        if "requestBody" in operation:
            assert {"400", "413"} <= answers, call
            assert operation["x-body-bytes-at-most"] == 2_000_000, call
    assert "2,000,000 bytes at most (413)" in document["info"]["description"]
    assert "lasts 30 s at most (504)" in document["info"]["description"]


@pytest.mark.parametrize(
    ("schema", "lacks"),
    [
        ({"type": "string"}, ": a text without maxLength or a pattern that ends"),
        ({"type": "string", "pattern": "^[a-z]+$"}, ": a text without maxLength or a pattern that ends"),
        ({"type": "string", "pattern": "[a-z]{1,3}"}, ": a text without maxLength or a pattern that ends"),
        ({"type": "string", "pattern": "^[a-z]{2,}$"}, ": a text without maxLength or a pattern that ends"),
        ({"type": "string", "pattern": r"^[!\"*+]{1,3}$"}, None),
        ({"type": "integer", "minimum": 1}, ": a number without both bounds"),
        ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, ": a number without both bounds"),
        ({"type": "array", "items": {"type": "boolean"}}, ": a list without maxItems"),
        ({"type": "array", "maxItems": 2, "items": {"type": "string"}}, "[]: a text without maxLength"),
        ({"type": "object", "additionalProperties": True}, ": an object that may hold anything"),
        ({"type": "object", "properties": {"a": {}}}, ".a: anything"),
        ({"$ref": "#/components/schemas/Deep"}, ".deep: a number without both bounds"),
    ],
)
def test_the_walk_finds_what_has_no_limit(schema: dict[str, Any], lacks: str | None) -> None:
    deep = {"type": "object", "properties": {"deep": {"type": "number"}, "again": {"$ref": "#/x/Deep"}}}
    found = without_limit(schema, {"components": {"schemas": {"Deep": deep}}})
    assert [each[: len(lacks or "")] for each in found] == ([lacks] if lacks else [])
