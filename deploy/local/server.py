"""What a server on this machine can do, whoever runs it: a process of ours, a container, or somebody else."""

from typing import Protocol

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
