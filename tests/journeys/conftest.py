"""All five services as processes, and the story of the demo played on them once for all journeys."""

import datetime as dt
import io
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from rich.console import Console

from deploy import mixed
from deploy.local.play.erp import Erp
from deploy.local.play.input import read_input
from deploy.local.play.mes import Mes
from deploy.local.play.scene import Scene
from deploy.local.play.story import play
from deploy.local.play.telling import Telling
from deploy.local.play.world import World
from deploy.local.processes import System
from deploy.local.servers import Servers
from tests.operators.otlp import Collector, collecting


@asynccontextmanager
async def stage(system: System) -> AsyncIterator[Scene]:
    """A scene on a running system without data, with a MES and an ERP outside; told to nobody."""
    given = read_input(dt.datetime.now(dt.UTC).date())
    address = (system.servers.kafka, system.servers.topic_prefix)
    async with World(system) as world, Mes(*address) as mes, Erp(*address) as erp:
        yield Scene(world, given, mes, erp, Telling(Console(file=io.StringIO(), width=100)))


@asynccontextmanager
async def all_services(servers: Servers, settings: Mapping[str, str] | None = None) -> AsyncIterator[System]:
    """The services on `servers`, with their logs in a folder of their own that goes with them."""
    folder = Path(tempfile.mkdtemp(prefix="batchwise-journey-"))
    try:
        async with System(
            folder, servers, settings=settings, checkouts=mixed.read(os.environ.get(mixed.CHECKOUTS, ""))
        ) as system:
            yield system
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest_asyncio.fixture(loop_scope="session")
async def fresh_servers() -> AsyncIterator[Servers]:
    """A broker and a database of one test alone, without data."""
    folder = Path(tempfile.mkdtemp(prefix="batchwise-journey-"))
    try:
        async with Servers(folder, own=True) as chosen:
            yield chosen
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    """What `played` sends its spans to."""
    with collecting() as receiver:
        yield receiver


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def played(servers: Servers, collector: Collector) -> AsyncIterator[Scene]:
    """The scene after the whole story, traced. Do not change what it left behind."""
    traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "500"}
    async with all_services(servers, traced) as system, stage(system) as scene:
        await play(scene)
        yield scene
