"""The demo: the whole main job on real input, told while it happens, and checked at the end."""

import datetime as dt
import logging
import time

from rich.console import Console

from deploy.local.play.checks import check_all
from deploy.local.play.erp import Erp
from deploy.local.play.faults import StepFailed
from deploy.local.play.input import read_input
from deploy.local.play.mes import Mes
from deploy.local.play.scene import Scene
from deploy.local.play.story import play
from deploy.local.play.telling import Telling, count
from deploy.local.play.world import World
from deploy.local.processes import System

__all__ = ["StepFailed", "main"]


async def main(system: System, console: Console) -> int:
    """Play the main job on a running `system` without data, tell it on `console`, and check what is left behind.

    Returns 0 when every step and every check came true, else 1; then it was said which, why, and which log to read.
    """
    # Kafka's client tells on stderr of brokers that are not ready yet, which is no news for a reader.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    tell = Telling(console)
    began = time.monotonic()
    given = read_input(dt.datetime.now(dt.UTC).date())
    servers = system.servers
    async with World(system) as world:
        try:
            async with (
                Mes(servers.kafka, servers.topic_prefix) as mes,
                Erp(servers.kafka, servers.topic_prefix) as erp,
            ):
                scene = Scene(world, given, mes, erp, tell)
                tell.title("Batchwise: the main job, from the production line to a recall", given.summary)
                await play(scene)
                failed = await check_all(scene)
        except StepFailed as failure:
            tell.failed(failure.step, failure.why, _where(system, failure.service))
            return 1
        seconds = time.monotonic() - began
        if failed:
            tell.failed("the checks", f"{count(failed, 'check')} did not come true", _where(system, None))
            return 1
        tell.end(f"All of it came true in {seconds:.1f} s, with {count(world.calls, 'HTTP call')}.", well=True)
        return 0


def _where(system: System, service: str | None) -> str:
    """The log to read: of one service, or of all."""
    if service in system.logs:
        return str(system.logs[service])
    return ", ".join(str(log) for log in system.logs.values())
