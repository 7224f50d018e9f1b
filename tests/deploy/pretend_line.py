"""The command line with services and a play that only pretend; which ones, the environment says."""

import os
import sys
from functools import partial
from importlib.machinery import ModuleSpec
from types import ModuleType

from rich.console import Console

import deploy.local.__main__ as line
from deploy.local.processes import System


class Play(ModuleType):
    async def main(self, system: System, console: Console) -> int | None:
        console.print(f"played on {system.urls['willing']}")
        return eval(os.environ["PLAY"])  # type: ignore[no-any-return]  # noqa: S307 - our own test says it


play = Play("deploy.local.play")
play.__spec__ = ModuleSpec("deploy.local.play", None)
sys.modules["deploy.local.play"] = play
line.System = partial(System, services=os.environ["PRETEND"].split(","), package="pretend")  # type: ignore[assignment, misc]
sys.exit(line.main())
