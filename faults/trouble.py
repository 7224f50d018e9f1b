"""Trouble: strikes when the plan says so, and counts what it did."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress

import asyncpg

from deploy.local.faults import NotStarted
from deploy.local.processes import ServiceProcess, System
from deploy.local.servers import Servers
from faults.callers import Callers
from faults.plan import Fault
from faults.proxy import Line

_SLOW = 0.05
"""Seconds by which a slow line holds each piece back."""


class Trouble:
    """Strikes a system. Faults overlap; only what two of them would do to one thing at once waits for its turn.

    `struck` counts what was done: a kill is counted when the process was alive.
    """

    def __init__(self, system: System, servers: Servers, callers: Callers, lines: Mapping[str, Line]) -> None:
        self.struck: Counter[str] = Counter()
        self.unasked: list[str] = []
        self._system = system
        self._servers = servers
        self._callers = callers
        self._lines = lines
        self._alone: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._replicas: set[ServiceProcess] = set()

    async def run(self, faults: Sequence[Fault], seconds: float) -> None:
        """Strike all of them, each at its time; returns when the last is over, after `seconds` at the earliest."""
        began = time.monotonic()
        watching = asyncio.create_task(self._watch())
        striking: list[asyncio.Task[None]] = []
        try:
            for fault in faults:
                await asyncio.sleep(max(0.0, began + fault.at - time.monotonic()))
                striking.append(asyncio.create_task(self._strike(fault)))
            await asyncio.gather(*striking, asyncio.sleep(max(0.0, began + seconds - time.monotonic())))
        finally:
            watching.cancel()
            for task in striking:
                task.cancel()
            await asyncio.gather(watching, *striking, return_exceptions=True)
            await asyncio.gather(*(replica.kill() for replica in self._replicas))

    async def start_everything(self) -> None:
        """Once: what is frozen thaws, what is down starts, and every line is whole. Nobody waits for anything."""
        for line in self._lines.values():
            line.dead, line.delay = False, 0.0
        self._servers.broker.thaw()
        self._servers.database.thaw()
        await asyncio.gather(self._servers.broker.start(), self._servers.database.start())
        for service in self._system.services.values():
            service.thaw()
            service.launch()

    async def _watch(self) -> None:
        """A service that ends without being killed is a finding, and is started again."""
        while True:
            await asyncio.sleep(0.5)
            for name, service in self._system.services.items():
                if self._alone[name].locked() or service.exit_code is None:
                    continue
                if service.exit_code != 0:
                    self.unasked.append(f"{name} ended by itself with {service.exit_code}: {service.last_words()}")
                service.launch()

    async def _strike(self, fault: Fault) -> None:
        match fault.kind:
            case "kill":
                await self._kill(fault)
            case "freeze":
                await self._freeze(fault)
            case "restart":
                async with self._alone[fault.service]:
                    await self._system[fault.service].stop()
                    self.struck["graceful restarts"] += 1
                    await asyncio.sleep(fault.seconds)
                    self._system[fault.service].launch()
            case "replica":
                await self._run_twice(fault)
            case "broker kill" | "database kill":
                await self._kill_server(fault)
            case "broker freeze" | "database freeze":
                await self._freeze_server(fault)
            case "database cut":
                await self._terminate(fault)
            case "line cut" | "line slow":
                await self._spoil(fault)

    async def _kill(self, fault: Fault) -> None:
        service = self._system[fault.service]
        async with self._alone[fault.service]:
            self.struck["service kills"] += service.pid is not None
            await service.kill()
            await asyncio.sleep(fault.seconds)
            service.launch()

    async def _freeze(self, fault: Fault) -> None:
        """Beyond the session; half of the time another one takes over meanwhile, since a frozen one stays listed."""
        service = self._system[fault.service]
        async with self._alone[fault.service]:
            if service.pid is None:
                service.launch()
            with suppress(NotStarted):
                await service.until_ready(seconds=20)
            service.freeze()
            self.struck["freezes beyond the session"] += 1
            await asyncio.sleep(fault.seconds)
            service.thaw()

    async def _run_twice(self, fault: Fault) -> None:
        replica = self._system.replica(fault.service)
        self._replicas.add(replica)
        replica.launch()
        self.struck["services run twice"] += 1
        with suppress(NotStarted):
            await replica.until_ready(seconds=20)
        self._callers.offered[fault.service].append(replica.url)
        await asyncio.sleep(fault.seconds)
        self._callers.offered[fault.service].remove(replica.url)
        if int(fault.seconds * 1000) % 2:
            await replica.kill()
        else:
            await replica.stop()
        self._replicas.discard(replica)

    async def _kill_server(self, fault: Fault) -> None:
        what = fault.kind.partition(" ")[0]
        server = getattr(self._servers, what)
        async with self._alone[what]:
            await server.kill()
            await asyncio.sleep(fault.seconds)
            await server.start()
            self.struck[f"{what} restarts"] += 1

    async def _freeze_server(self, fault: Fault) -> None:
        what = fault.kind.partition(" ")[0]
        server = getattr(self._servers, what)
        async with self._alone[what]:
            server.freeze()
            await asyncio.sleep(fault.seconds)
            server.thaw()
            self.struck[f"{what} freezes"] += 1

    async def _terminate(self, fault: Fault) -> None:
        """`pg_terminate_backend` of every connection of one service."""
        with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
            admin = await asyncpg.connect(self._servers.dsn(fault.service), timeout=5)
            try:
                await admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()",
                    timeout=5,
                )
                self.struck["database connections terminated"] += 1
            finally:
                admin.terminate()

    async def _spoil(self, fault: Fault) -> None:
        line = self._lines[fault.service]
        async with self._alone[f"line of {fault.service}"]:
            if fault.kind == "line cut":
                line.dead = True
                line.cut()
                self.struck["lines cut"] += 1
            else:
                line.delay = _SLOW
                self.struck["lines slowed"] += 1
            await asyncio.sleep(fault.seconds)
            line.dead, line.delay = False, 0.0
