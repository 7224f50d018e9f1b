"""The main job while processes die: people and machines outside try again, and nothing is lost or done twice."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable

import pytest

from deploy.local.play.checks import check_all
from deploy.local.play.story import play
from deploy.local.processes import SERVICES, System
from deploy.local.servers import Servers
from tests.journeys.conftest import all_services, stage


async def killed_and_back(system: System, name: str) -> None:
    await system.kill(name)
    await system.restart(name)


async def frozen_for_a_moment(system: System, name: str) -> None:
    """As a machine that stalls: its connections stay open, nobody answers."""
    system.freeze(name)
    await asyncio.sleep(2)  # the fault itself, not a wait for something
    system.thaw(name)


STRIKES: dict[Callable[[System, str], Awaitable[None]], dict[int, str]] = {
    killed_and_back: {1: "receiving", 3: "inventory", 5: "allocation", 6: "integration", 7: "trace"},
    frozen_for_a_moment: {2: "receiving", 4: "inventory", 6: "allocation", 8: "integration", 9: "trace"},
}
"""Which service is struck how as which part of the story begins."""


@pytest.mark.timeout(600)
async def test_the_main_job_comes_true_although_every_service_is_killed_once_and_stalls_once(
    fresh_servers: Servers,
) -> None:
    strikes: list[asyncio.Task[None]] = []
    alone: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
    async with all_services(fresh_servers) as system, stage(system) as scene:

        async def strike(fault: Callable[[System, str], Awaitable[None]], name: str) -> None:
            async with alone[name]:  # what is just coming back is not struck again
                await fault(system, name)

        def entering(part: int) -> None:
            for fault, struck_in in STRIKES.items():
                if part in struck_in:
                    strikes.append(asyncio.create_task(strike(fault, struck_in[part])))

        await play(scene, entering=entering)
        await asyncio.gather(*strikes)
        assert len(strikes) == 2 * len(SERVICES)
        assert await check_all(scene) == 0
