"""What every test may ask for.

`servers` (and all that builds on it) is the real broker and the real database, started when the first test asks and
ended with the session. A test that uses them is marked `stack` by that alone.
"""

import asyncio
import re
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from delivery import Settings
from deploy.local.issuer import Issuer
from deploy.local.server import Server
from deploy.local.servers import Servers

_STACK = {"servers", "own_servers", "database", "topic_prefix", "broker"}
_JOURNEYS = ("journeys", "recovery")
_LONG = ("faults", "recovery", "journeys", "deploy", "hostile", "operators", "delivery")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _STACK.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.stack)
        if _folder_of(item) in _JOURNEYS:
            # They share the session's event loop with the processes they talk to.
            item.add_marker(pytest.mark.journey)
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
    # With several workers, each takes the next file: long ones first, so that none is left alone with one at the end.
    items.sort(key=lambda item: _place(_folder_of(item)))


def _folder_of(item: pytest.Item) -> str:
    return item.path.relative_to(Path(__file__).parent).parts[0]


def _place(folder: str) -> int:
    return _LONG.index(folder) if folder in _LONG else len(_LONG)


@pytest.fixture
def unconnected(tmp_path: Path) -> Settings:
    """Settings of a service that is only looked at: no database and no broker answers there."""
    return Settings(
        database_dsn="postgresql://nobody@127.0.0.1:1/none",
        kafka_bootstrap_servers="127.0.0.1:1",
        token_issuer="batchwise-local",
        token_jwks=str(Issuer(tmp_path).jwks),
        environment="local",
    )


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """The session's broker and database. Do not kill or freeze them: `own_servers` is for that."""
    folder = _run_folder()
    chosen = Servers(folder)
    asyncio.run(chosen.start())
    yield chosen
    asyncio.run(chosen.close())
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def broker(servers: Servers) -> Server:
    """The session's broker; `broker.address` is what clients need."""
    return servers.broker


@pytest.fixture
async def database(servers: Servers) -> AsyncIterator[str]:
    """The DSN of a fresh, empty database of this test alone."""
    name = f"test_{secrets.token_hex(6)}"
    yield await servers.create_database(name)
    await servers.drop_database(name)


@pytest.fixture
def topic_prefix(servers: Servers, request: pytest.FixtureRequest) -> str:
    """What this test's topics and consumer groups begin with, so that no two tests hear each other."""
    readable = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:40]
    return f"{servers.topic_prefix}{readable}-{secrets.token_hex(3)}."


@pytest.fixture(scope="module")
def own_servers() -> Iterator[Servers]:
    """A broker and a database of this module alone, to be killed, frozen and restarted. Each test leaves them running.

    Never the ones that the environment names.
    """
    folder = _run_folder()
    chosen = Servers(folder, own=True)
    asyncio.run(chosen.start())
    yield chosen
    asyncio.run(chosen.close())
    shutil.rmtree(folder, ignore_errors=True)


def _run_folder() -> Path:
    # Not pytest's tmp_path: it keeps the folders of three runs, and these hold hundreds of megabytes.
    return Path(tempfile.mkdtemp(prefix="batchwise-test-"))
