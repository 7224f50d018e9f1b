"""One process of ours: started in its own group, logged to a file, stopped by its id, gone when we are gone."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import psutil

from deploy.local import leash
from deploy.local.faults import NotStarted

_TICK = 0.03
"""Seconds between two looks at a condition."""


class Child:
    """A process that can be started again after it ended, with the same command and log.

    `stop` asks with `ending` and kills after a grace; `kill` is `kill -9`; `freeze` and `thaw` are SIGSTOP and SIGCONT
    for the process and all it started.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        user: str | None = None,
        ending: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        self._environment = environment
        self._folder = folder
        self._user = user
        self._ending = ending
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process is not None and self.running else None

    @property
    def running(self) -> bool:
        return self.exit_code is None and self._process is not None

    @property
    def exit_code(self) -> int | None:
        """What it ended with (negative: the signal that ended it); None while it runs or was never started."""
        if self._process is None:
            return None
        known = self._process.returncode
        code = self._process.poll()
        if known is None and code is not None:
            leash.release(self._process.pid)
        return code

    def start(self) -> None:
        if self.running:
            return
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=None if self._environment is None else dict(self._environment),
                cwd=self._folder,
                process_group=0,
                user=self._user,
                group=None if self._user is None else _group_of(self._user),
                extra_groups=None if self._user is None else [],
            )
        leash.hold(self._process.pid, self._ending)

    async def until(self, ready: Callable[[], Awaitable[bool]], *, seconds: float) -> None:
        """Wait until `ready` says so.

        Raises:
            NotStarted: the process ended first, or `seconds` have passed; with its last words and where its log is.
        """
        deadline = time.monotonic() + seconds
        while True:
            if not self.running:
                raise NotStarted(f"{self.name} ended with {self.exit_code} before it was ready; {self.last_words()}")
            if await ready():
                return
            if time.monotonic() > deadline:
                raise NotStarted(f"{self.name} was not ready after {seconds:g} s; {self.last_words()}")
            await asyncio.sleep(_TICK)

    async def ended(self, *, seconds: float) -> int:
        """Wait until it ends by itself, and return its exit code; NotStarted after `seconds`."""
        deadline = time.monotonic() + seconds
        while (code := self.exit_code) is None:
            if time.monotonic() > deadline:
                raise NotStarted(f"{self.name} was not done after {seconds:g} s; {self.last_words()}")
            await asyncio.sleep(_TICK)
        return code

    async def stop(self, *, grace: float = 10.0) -> None:
        """End it politely: `ending`, then SIGKILL after `grace` seconds.

        Returns when it and all it started are gone.
        """
        family = self._family()
        if self.running:
            self.thaw()
            self._signal(self._ending)
            deadline = time.monotonic() + grace
            while self.running and time.monotonic() < deadline:  # noqa: ASYNC110 - nobody could set an event
                await asyncio.sleep(_TICK)
        await self._finish(family)

    async def kill(self) -> None:
        """End it at once, as a crash would. Returns when it and all it started are gone."""
        await self._finish(self._family())

    def freeze(self) -> None:
        """Stop it and all it started from running, without telling it (SIGSTOP)."""
        for member in self._family():
            _try(member.suspend)

    def thaw(self) -> None:
        for member in self._family():
            _try(member.resume)

    def last_words(self, lines: int = 6) -> str:
        """Where the log is, and the last lines it got since the last start."""
        try:
            with self.log.open("rb") as log:
                log.seek(self._log_start)
                said = log.read().decode(errors="replace").strip().splitlines()
        except OSError:
            said = []
        tail = "\n  ".join(said[-lines:])
        return f"log: {self.log}" + (f"\n  {tail}" if tail else " (empty)")

    def _family(self) -> list[psutil.Process]:
        if not self.running or self._process is None:
            return []
        try:
            leader = psutil.Process(self._process.pid)
            return [leader, *leader.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self.running:
            os.kill(self._process.pid, number)

    async def _finish(self, family: Sequence[psutil.Process]) -> None:
        # Some of the family lead groups of their own (PostgreSQL's backends do), so each is killed by its own id;
        # psutil compares start times, so a number that was given to somebody else since is left alone.
        for member in family:
            _try(member.kill)
        while self.running or any(map(_alive, family)):  # noqa: ASYNC110 - nobody could set an event
            await asyncio.sleep(_TICK)


def _group_of(user: str) -> int:
    import pwd

    return pwd.getpwnam(user).pw_gid


def _try(act: Callable[[], None]) -> None:
    try:
        act()
    except psutil.NoSuchProcess:
        return


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
