"""What one call may be: how large, how long, and with which parameters. Enforced here, and said in OpenAPI."""

import typing
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from delivery.problems import problem

LARGEST_REQUEST = 2_000_000
"""Bytes of one HTTP body."""

LONGEST_QUERY = 8_000
"""Bytes of everything behind the `?` of a URL."""

_SEVERAL = (list, tuple, set, frozenset)

_known: dict[Callable[..., Any], dict[str, bool]] = {}
"""By endpoint: the query parameters it has, and whether each may stand more than once."""


def refuse_unknown_parameters(request: Request) -> None:
    """Refuse (422) a query with a parameter that this call does not have, or one that stands twice.

    What is ignored would be believed to have worked: a filter with a typing error would answer with everything.
    """
    query: bytes = request.scope["query_string"]
    if not query:
        return
    if len(query) > LONGEST_QUERY:
        raise problem(
            422, "invalid_request", f"query: it has {len(query)} bytes, {LONGEST_QUERY} at most", field="query"
        )
    route = request.scope.get("route")
    if not isinstance(route, APIRoute):
        return
    known = _known.get(route.endpoint)
    if known is None:
        known = _known[route.endpoint] = parameters_of(route.dependant)
    seen: set[str] = set()
    for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name not in known:
            has = f"it has {', '.join(sorted(known))}" if known else "it has none"
            raise problem(
                422,
                "unknown_parameter",
                f"this call has no query parameter {name[:80]!r}: {has}",
                field=name[:80] or "query",
            )
        if name in seen and not known[name]:
            raise problem(422, "unknown_parameter", f"query parameter {name!r} stands twice: once at most", field=name)
        seen.add(name)


def parameters_of(dependant: Dependant) -> dict[str, bool]:
    """The query parameters of a call with everything it depends on, and whether each may stand more than once."""
    found = {
        field.alias: any(kind in _SEVERAL for kind in _kinds(field.field_info.annotation))
        for field in dependant.query_params
    }
    for inner in dependant.dependencies:
        found |= parameters_of(inner)
    return found


def _kinds(annotation: Any) -> list[Any]:
    origin = typing.get_origin(annotation)
    return [origin or annotation, *(kind for part in typing.get_args(annotation) for kind in _kinds(part))]
