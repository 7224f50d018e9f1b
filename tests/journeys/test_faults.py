"""The main job while processes die: people and machines outside try again, and nothing is lost or done twice."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from deploy.local.play.checks import check_all
from deploy.local.play.story import play
from deploy.local.processes import SERVICES, System
from deploy.local.servers import Servers
from tests.journeys.conftest import all_services, stage

STRUCK_IN = {1: "receiving", 3: "inventory", 5: "allocation", 6: "integration", 7: "trace"}
"""Which service is struck as which part of the story begins."""


async def killed_and_back(system: System, name: str) -> None:
    await system.kill(name)
    await system.restart(name)


async def frozen_for_a_moment(system: System, name: str) -> None:
    """As a machine that stalls: its connections stay open, nobody answers."""
    system.freeze(name)
    await asyncio.sleep(2)  # the fault itself, not a wait for something
    system.thaw(name)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", [killed_and_back, frozen_for_a_moment])
async def test_the_main_job_comes_true_although_every_service_is_struck_once(
    fresh_servers: Servers, fault: Callable[[System, str], Awaitable[None]]
) -> None:
    strikes: list[asyncio.Task[None]] = []
    async with all_services(fresh_servers) as system, stage(system) as scene:

        def entering(part: int) -> None:
            if part in STRUCK_IN:
                strikes.append(asyncio.create_task(fault(system, STRUCK_IN[part])))

        await play(scene, entering=entering)
        await asyncio.gather(*strikes)
        assert len(strikes) == len(SERVICES)
        assert await check_all(scene) == 0
