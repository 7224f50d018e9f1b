"""All five services as processes, the story of the demo played on them once, and then whatever outsiders send."""

import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from deploy.local.play.scene import Scene
from deploy.local.play.story import play
from deploy.local.servers import Servers
from tests.hostile.line import Line, line_to
from tests.journeys.conftest import all_services, stage

FULL = os.environ.get("HOSTILE") == "full"
"""The long version: `make hostile`."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """They share the session's event loop with the processes they talk to."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and "played_apart" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.journey)
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def start() -> int:
    """Where generators start: the same in every short run, another in each long one, which says so."""
    chosen = int(os.environ.get("HOSTILE_SEED") or (secrets.randbelow(2**31) if FULL else 20_261_123))
    print(f"\nHOSTILE_SEED={chosen}")
    return chosen


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def played_apart(servers: Servers) -> AsyncIterator[Scene]:
    """The scene after the whole story, for these tests alone: they leave it in any state."""
    # The journeys may run before or after on the same servers, and theirs nobody may change.
    async with all_services(servers.apart("hostile")) as system, stage(system) as scene:
        await play(scene)
        yield scene


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def line(played_apart: Scene) -> AsyncIterator[Line]:
    """The same scene, as those know it who may write on any topic and look into any database."""
    async with line_to(played_apart) as opened:
        yield opened
