"""Services run as processes: all ready or none left, with one readable reason."""

from pathlib import Path

import httpx
import psutil
import pytest

from deploy.local import processes
from deploy.local.faults import Missing, NotStarted
from deploy.local.processes import System
from deploy.local.servers import Servers


@pytest.fixture
def pretending(monkeypatch: pytest.MonkeyPatch) -> None:
    here = str(Path(__file__).parent)
    monkeypatch.syspath_prepend(here)
    monkeypatch.setenv("PYTHONPATH", here)


@pytest.fixture
async def fresh(servers: Servers) -> object:
    """The databases of the pretending services, gone before and after."""
    names = ("willing", "second", "stubborn", "broken", "fragile")
    for name in names:
        await servers.drop_database(name)
    yield None
    for name in names:
        await servers.drop_database(name)


pytestmark = pytest.mark.usefixtures("pretending")


def system_of(folder: Path, servers: Servers, *names: str) -> System:
    return System(folder, servers, services=names, package="pretend")


@pytest.mark.usefixtures("fresh")
async def test_every_service_gets_its_own_database_and_port_and_accepts_our_tokens(
    servers: Servers, tmp_path: Path
) -> None:
    async with system_of(tmp_path, servers, "willing", "second") as system, httpx.AsyncClient() as client:
        told = {name: (await client.get(f"{url}/settings")).json() for name, url in system.urls.items()}
        bearer = {"Authorization": f"Bearer {system.token('olivia')}"}
        who = (await client.get(f"{system.urls['second']}/whoami", headers=bearer)).json()
    assert {name: told[name]["DATABASE_DSN"].rpartition("/")[2] for name in told} == {
        "willing": f"{servers.database_prefix}willing",
        "second": f"{servers.database_prefix}second",
    }
    assert told["willing"]["HTTP_PORT"] != told["second"]["HTTP_PORT"]
    assert {told[name]["KAFKA_BOOTSTRAP_SERVERS"] for name in told} == {servers.kafka}
    assert {told[name]["ENVIRONMENT"] for name in told} == {"local"}
    assert (who["name"], who["roles"]) == ("Olivia Operator", ["operator"])


@pytest.mark.usefixtures("fresh")
async def test_stopping_ends_all_of_them_also_one_that_does_not_listen(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "GRACE", 1.0)
    system = system_of(tmp_path, servers, "willing", "stubborn")
    await system.start()
    pids = [service.pid for service in system.services.values()]
    await system.stop()
    assert None not in pids
    assert not [pid for pid in pids if pid is not None and psutil.pid_exists(pid)]


@pytest.mark.usefixtures("fresh")
async def test_a_failed_migration_is_named_with_its_reason_and_leaves_nothing_running(
    servers: Servers, tmp_path: Path
) -> None:
    system = system_of(tmp_path, servers, "willing", "broken")
    with pytest.raises(NotStarted) as failed:
        await system.start()
    assert str(failed.value).startswith("broken: migrate ended with 1; log: ")
    assert "column batch_no does not exist" in str(failed.value)
    assert str(system.logs["broken"]) in str(failed.value)
    assert not [service.pid for service in system.services.values() if service.pid]


@pytest.mark.usefixtures("fresh")
async def test_a_service_that_ends_while_starting_is_named_and_the_others_are_ended(
    servers: Servers, tmp_path: Path
) -> None:
    system = system_of(tmp_path, servers, "willing", "fragile")
    with pytest.raises(NotStarted, match=r"(?s)fragile ended with 1 before it was ready; .*the broker refused us"):
        await system.start()
    assert not [service.pid for service in system.services.values() if service.pid]


@pytest.mark.usefixtures("fresh")
async def test_a_service_comes_back_on_its_address_after_a_crash(servers: Servers, tmp_path: Path) -> None:
    async with system_of(tmp_path, servers, "willing") as system, httpx.AsyncClient(timeout=1) as client:
        url = system.urls["willing"]
        await system.kill("willing")
        assert system["willing"].exit_code == -9
        with pytest.raises(httpx.ConnectError):
            await client.get(f"{url}/settings")
        await system.restart("willing")
        assert (await client.get(f"{url}/settings")).json()["migrated"] == 1


@pytest.mark.usefixtures("fresh")
async def test_a_frozen_service_is_silent_until_it_is_thawed_or_restarted(servers: Servers, tmp_path: Path) -> None:
    async with system_of(tmp_path, servers, "willing") as system, httpx.AsyncClient(timeout=0.5) as client:
        url = system.urls["willing"]
        system.freeze("willing")
        with pytest.raises(httpx.ReadTimeout):
            await client.get(f"{url}/settings")
        system.thaw("willing")
        assert (await client.get(f"{url}/settings")).status_code == 200
        frozen = system["willing"].pid
        system.freeze("willing")
        await system.restart("willing")
        assert (await client.get(f"{url}/settings")).status_code == 200
        assert system["willing"].pid != frozen


async def test_a_service_that_does_not_exist_is_said_before_anything_starts(servers: Servers, tmp_path: Path) -> None:
    with pytest.raises(Missing, match=r"not to be found: pretend\.nobody "):
        system_of(tmp_path, servers, "willing", "nobody")
