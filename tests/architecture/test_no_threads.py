"""No call leaves the event loop: a plain function as endpoint or dependency would cost each call a hop to a thread."""

import importlib
import inspect
from collections.abc import Callable, Iterator

import pytest
from fastapi import APIRouter
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from delivery.parking import parking_router

SERVICES = ("receiving", "inventory", "allocation", "trace", "integration")


def routes_of(router: APIRouter) -> Iterator[APIRoute]:
    """Its own routes, and those of the routers that it includes."""
    for route in router.routes:
        if isinstance(route, APIRoute):
            yield route
        else:
            yield from routes_of(route.original_router)  # type: ignore[attr-defined]


def calls_of(dependant: Dependant) -> Iterator[Callable[..., object]]:
    """The function of a route, and those it depends on."""
    if dependant.call is not None:
        yield dependant.call
    for needed in dependant.dependencies:
        yield from calls_of(needed)


def is_plain(call: Callable[..., object]) -> bool:
    return not (inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(type(call).__call__))


@pytest.mark.parametrize("name", SERVICES)
def test_every_endpoint_and_what_it_depends_on_runs_in_the_event_loop(name: str) -> None:
    service = importlib.import_module(f"services.{name}.app").service
    routes = [route for router in (*service.routers, parking_router()) for route in routes_of(router)]
    plain = {
        f"{route.path}: {call.__module__}.{call.__qualname__}"
        for route in routes
        for call in calls_of(route.dependant)
        if is_plain(call)
    }
    assert len(routes) > 5
    assert not plain
