"""What a server on this machine can do, whoever runs it: a process of ours, a container, or somebody else."""

import shutil
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Protocol

from deploy.local.child import Child
from deploy.local.faults import NotOurs


class Server(Protocol):
    """A broker or a database.

    `address` is how clients reach it and stays the same over `restart`; `provenance` says to a person what it is and
    where it comes from. A second `start` continues with the data of the first.
    """

    @property
    def address(self) -> str: ...

    @property
    def provenance(self) -> str: ...

    async def start(self) -> None:
        """Start it and wait until a real client is served; NotStarted or Missing when that does not come about."""

    async def stop(self) -> None:
        """End it as an operator would. Its data stays."""

    async def kill(self) -> None:
        """End it as a power cut would (SIGKILL). Its data stays."""

    async def restart(self) -> None:
        """Bring it back on the same address and data, whether it runs, is frozen or was killed."""

    async def discard(self) -> None:
        """End it and throw its data away."""

    def freeze(self) -> None:
        """Leave it connected but silent (SIGSTOP): what a stalled machine looks like to its clients."""

    def thaw(self) -> None: ...


class ServerProcess(ABC):
    """What a broker and a database have in common where they are a process of ours, with all they keep in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._child: Child | None = None

    @abstractmethod
    async def start(self) -> None: ...

    async def stop(self) -> None:
        if self._child is not None:
            await self._child.stop(grace=20.0)

    async def kill(self) -> None:
        if self._child is not None:
            await self._child.kill()

    async def restart(self) -> None:
        self.thaw()
        await self.stop()
        await self.start()

    async def discard(self) -> None:
        await self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def freeze(self) -> None:
        if self._child is not None:
            self._child.freeze()

    def thaw(self) -> None:
        if self._child is not None:
            self._child.thaw()


class GivenServer:
    """A server that the environment names: used, never started, stopped or disturbed."""

    def __init__(self, address: str, *, provenance: str, variable: str) -> None:
        self.address = address
        self.provenance = provenance
        self._variable = variable

    async def start(self) -> None:
        return

    async def stop(self) -> None:
        return

    async def discard(self) -> None:
        return

    async def kill(self) -> None:
        raise self._refusal()

    async def restart(self) -> None:
        raise self._refusal()

    def freeze(self) -> None:
        raise self._refusal()

    def thaw(self) -> None:
        raise self._refusal()

    def _refusal(self) -> NotOurs:
        return NotOurs(f"{self._variable} names this server, so it is not ours to disturb: unset it to use our own")
