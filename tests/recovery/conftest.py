"""Five services as processes, and the commands that an operator gives them, as docs/recovery.md has them."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio

from deploy.local.play.scene import Scene
from deploy.local.servers import Servers
from tests.journeys.conftest import all_services, stage

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("receiving", "inventory", "allocation", "trace", "integration")


@dataclass
class Ended:
    """A command that has ended."""

    code: int
    said: Any
    log: str


class Operator:
    """Who gives commands, looks into databases, and breaks things."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.system = scene.world.system

    async def begin(self, service: str, *words: str) -> asyncio.subprocess.Process:
        """`python -m services.<service> <words>`, not waited for."""
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            f"services.{service}",
            *words,
            cwd=ROOT,
            env={**os.environ, **self.system._settings_of(service)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(self, service: str, *words: str) -> Ended:
        """`python -m services.<service> <words>`, until it ends."""
        process = await self.begin(service, *words)
        async with asyncio.timeout(60):
            out, log = await process.communicate()
        assert process.returncode is not None
        return Ended(process.returncode, json.loads(out) if out.strip() else None, log.decode())

    async def rebuild_all(self) -> dict[str, Ended]:
        """`rebuild` of every service, side by side."""
        ended = await asyncio.gather(*(self.run(service, "rebuild") for service in SERVICES))
        return dict(zip(SERVICES, ended, strict=True))

    @asynccontextmanager
    async def database(self, service: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        """A service's database, as its owner."""
        connection = await asyncpg.connect(self.system.servers.dsn(service))
        try:
            yield connection
        finally:
            await connection.close()

    async def change(self, service: str, *statements: str) -> None:
        """Change a service's tables by hand, each statement at least one row."""
        async with self.database(service) as db:
            for statement in statements:
                assert (await db.execute(statement)).split()[-1] != "0", statement

    async def rows(self, service: str, query: str) -> list[tuple[Any, ...]]:
        """What a query answers."""
        async with self.database(service) as db:
            return [tuple(row) for row in await db.fetch(query)]

    async def back_up(self, service: str) -> None:
        """Keep a copy of a service's database as it is now, as a file copy or `pg_dump` would; it must be stopped."""
        await self._copy(service, f"{service}_backup")

    async def put_back(self, service: str) -> None:
        """Let the copy be the service's database again."""
        await self._copy(f"{service}_backup", service)

    async def _copy(self, source: str, target: str) -> None:
        servers = self.system.servers
        await servers.drop_database(target)
        admin = await asyncpg.connect(servers.postgres)
        try:
            names = [servers.dsn(name).rpartition("/")[2] for name in (target, source)]
            await admin.execute('CREATE DATABASE "{}" TEMPLATE "{}"'.format(*names))
        finally:
            await admin.close()

    async def serve_blocked(self, service: str) -> dict[str, str]:
        """Let a service serve that will not become ready; what it waits for, once it has looked."""
        process = self.system[service]
        process._serving = serving = process._process("serve")
        serving.start()

        async def waits() -> dict[str, str] | None:
            async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
                try:
                    answer = (await client.get(f"{process.url}/health/ready")).json()
                except (httpx.HTTPError, ValueError):
                    return None
            found: dict[str, str] = answer["waits_for"]
            return found if "not remember" in found.get("memory", "") else None

        return await self.scene.world.until(f"{service} sees that its database is older", waits, service=service)

    async def ready(self, service: str) -> None:
        """Wait until a service is ready."""

        async def asked() -> bool:
            async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
                try:
                    return (await client.get(f"{self.system[service].url}/health/ready")).status_code == 200
                except httpx.HTTPError:
                    return False

        await self.scene.world.until(f"{service} is ready", asked, service=service)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def scene(servers: Servers) -> AsyncIterator[Scene]:
    """Five services with the sites and the catalog of the story, and no goods yet."""
    async with all_services(servers.apart("recovery")) as system, stage(system) as scene:
        await asyncio.gather(scene.people.set_up_sites(), scene.people.import_catalog())
        yield scene


@pytest.fixture
def operator(scene: Scene) -> Operator:
    return Operator(scene)
