"""Each service alone: only what it declares is installed, only its own part of the code is there, nobody else runs."""

import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts.topics import TOPICS
from delivery import Settings
from delivery.kafka import create_topics
from deploy.checkouts import declared, environment_of, install
from deploy.local.processes import HERE, SERVICES, Checkout, System
from deploy.local.servers import Servers
from tests.delivery.playground import until

pytestmark = [pytest.mark.journey, pytest.mark.long]

READS = {
    "receiving": "/expected-receipts",
    "inventory": "/stock",
    "allocation": "/demands",
    "trace": "/recalls",
    "integration": "/postings",
}
NOT_DECLARED = ("psutil", "rich", "faststream", "pytest", "hypothesis", "deploy", "tests")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with what contracts and delivery declare: what all services have."""
    folder = tmp_path_factory.mktemp("environments") / "plain"
    environment_of(HERE.folder, folder, extras=())
    return folder


def alone(name: str, plain: Path, folder: Path) -> Checkout:
    """A service as in its image: contracts, delivery and its own code, and an environment from its own extra."""
    environment = Path(shutil.copytree(plain, folder / "environment", symlinks=True))
    python = environment / "bin" / "python"
    own = sorted(set(declared(HERE.folder, [name])) - set(declared(HERE.folder, [])))
    if own:
        install(python, HERE.folder, own)
    code = folder / "code"
    for part in ("contracts", "delivery", f"services/{name}"):
        shutil.copytree(HERE.folder / part, code / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(HERE.folder / "services" / "__init__.py", code / "services")
    return Checkout(code, python)


def found_of(modules: list[str], checkout: Checkout) -> str:
    """Those of `modules` that the checkout's Python finds."""
    look = "import importlib.util as u, sys; print([name for name in sys.argv[1:] if u.find_spec(name)])"
    done = subprocess.run(
        [checkout.python, "-c", look, *modules],
        cwd=checkout.folder,
        env={},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


async def told(url: str, path: str) -> Any:
    async with httpx.AsyncClient(base_url=url, timeout=10, trust_env=False) as client:
        return (await client.get(path)).json()


@pytest.fixture
async def by_itself(
    name: str, plain: Path, servers: Servers, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[System]:
    """One service, launched from its own environment, on topics and a database of its own."""
    apart = servers.apart(f"alone_{name}")
    system = System(
        tmp_path, apart, services=[name], checkouts={name: alone(name, plain, tmp_path)}, settings={"PYTHONPATH": ""}
    )
    try:
        await system.prepare()
        system[name].launch()
        yield system
    finally:
        await system.stop()
        await apart.drop_database(name)


@pytest.mark.parametrize("name", SERVICES)
async def test_a_service_starts_and_answers_with_only_what_it_declares_and_says_what_it_waits_for(
    name: str, by_itself: System
) -> None:
    service = by_itself[name]
    others = [f"services.{other}" for other in SERVICES if other != name]
    assert found_of([*NOT_DECLARED, *others], service.checkout) == "[]", "there is more than the service declares"

    async def waits_for_topics() -> bool:
        try:
            ready = await told(service.url, "/health/ready")
        except httpx.TransportError:
            assert service.exit_code is None, service.last_words()
            return False
        return "topics that are not there yet" in ready["waits_for"].get("topics", "")

    await until(waits_for_topics)
    async with httpx.AsyncClient(base_url=service.url, timeout=10, trust_env=False) as client:
        assert (await client.get("/health/live")).status_code == 200
        waiting = await client.get("/health/ready")
        missing = [topic.name for topic in TOPICS if topic.name in waiting.json()["waits_for"]["topics"]]
        assert missing
        assert not [topic for topic in missing if topic.startswith(f"{name}.")]
        # Who lacks all its topics has nothing to do; who lacks some hears the others meanwhile.
        assert waiting.status_code == (503 if "consumer" in waiting.json()["waits_for"] else 200)
        auditor = {"Authorization": f"Bearer {by_itself.token('aiko')}"}
        asked = await client.get(READS[name], headers=auditor)
        assert (asked.status_code, asked.json()["items"]) == (200, [])

        async def metric(line: str) -> bool:
            return line in (await client.get("/metrics")).text.splitlines()

        async def metrics_say_so() -> bool:
            return await metric('delivery_waiting_for{what="topics"} 1.0')

        await until(metrics_say_so)
        settings = Settings(
            database_dsn="unused",
            kafka_bootstrap_servers=by_itself.servers.kafka,
            topic_prefix=by_itself.servers.topic_prefix,
            token_issuer="batchwise-local",
            token_jwks="unused",
            environment="local",
        )
        await create_topics(settings, TOPICS, client="the-others-migrate")
        await service.until_ready(seconds=30)

        async def nothing_is_waited_for() -> bool:
            return await metric('delivery_waiting_for{what="topics"} 0.0')

        await until(nothing_is_waited_for)
