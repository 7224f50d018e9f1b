"""OpenAPI as a stranger reads it: every call says what it does, and what can be tried there works."""

import importlib
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError

from delivery import Settings, build

SERVICES = ("receiving", "inventory", "allocation", "trace", "integration")


@pytest.fixture(params=SERVICES)
async def app(request: pytest.FixtureRequest, unconnected: Settings) -> FastAPI:
    return build(importlib.import_module(f"services.{request.param}.app").service, unconnected)


def bodies(routes: Any, found: dict[tuple[str, str], Any] | None = None) -> dict[tuple[str, str], Any]:
    """The type of each JSON body, by method and path."""
    found = {} if found is None else found
    for route in routes:
        if isinstance(route, APIRoute) and route.body_field is not None:
            for method in route.methods:
                found[method, route.path] = route.body_field.field_info.annotation
        elif hasattr(route, "original_router"):
            bodies(route.original_router.routes, found)
    return found


def tried(app: FastAPI) -> Iterator[tuple[str, str, list[Any]]]:
    """What the page of each JSON call offers to send: its examples, else what the examples of its fields make."""
    document = app.openapi()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if content is None:
                continue
            schema = content["schema"]
            if "$ref" in schema:
                schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
            if "examples" in content:
                yield method.upper(), path, [example["value"] for example in content["examples"].values()]
            elif "examples" in schema:
                yield method.upper(), path, schema["examples"]
            else:
                fields = schema.get("properties", {}).items()
                yield method.upper(), path, [{name: each["examples"][0] for name, each in fields if "examples" in each}]


async def test_every_call_says_what_it_does(app: FastAPI) -> None:
    operations = [
        (method, path, told) for path, calls in app.openapi()["paths"].items() for method, told in calls.items()
    ]
    assert operations
    assert [each[:2] for each in operations if not (each[2].get("summary") and each[2].get("description"))] == []


async def test_what_the_page_offers_to_send_is_taken(app: FastAPI) -> None:
    types = bodies(app.routes)
    offered = [*tried(app)]
    assert len(offered) > 3
    refused = {}
    for method, path, examples in offered:
        for example in examples:
            try:
                TypeAdapter(types[method, path]).validate_python(example)
            except ValidationError as error:
                refused[method, path] = [(each["loc"], each["msg"]) for each in error.errors()]
    assert refused == {}
