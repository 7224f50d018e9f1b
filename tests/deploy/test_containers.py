"""What Docker is asked for. The daemon here only takes notes, so this does not show that a container works."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any

import pytest
from testcontainers.core.config import testcontainers_config

from deploy.local import containers
from deploy.local.containers import KafkaContainer, PostgresContainer
from deploy.local.faults import Missing


class Daemon(ThreadingMixIn, UnixStreamServer):
    """Agrees to everything that the Docker API is asked here, and keeps it; `refuses` makes it fail one path."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        self.asked: list[str] = []
        self.created: list[dict[str, Any]] = []
        self.volumes: list[dict[str, Any]] = []
        self.status = "running"
        self.refuses = ""
        super().__init__(str(path), Answers)

    def answer(self, verb: str, path: str, body: dict[str, Any]) -> tuple[int, object]:
        self.asked.append(f"{verb} {path}")
        if self.refuses and self.refuses in path:
            return 500, {"message": "no space left on device"}
        match verb, path.strip("/").split("/"):
            case _, ["version"]:
                return 200, {"ApiVersion": "1.44"}
            case "POST", ["containers", "create"]:
                self.created.append(body)
                return 201, {"Id": "c0ffee", "Warnings": []}
            case "POST", ["volumes", "create"]:
                self.volumes.append(body)
                return 201, {"Name": body["Name"]}
            case "GET", ["containers", identity, "json"]:
                return 200, {"Id": identity, "State": {"Status": self.status}, "Config": {"Image": "x"}, "Name": "/x"}
            case "GET", ["volumes", name]:
                return 200, {"Name": name}
            case "GET", ["images", *_]:
                return 200, {"Id": "sha256:1", "RepoTags": []}
            case "GET", ["networks"]:
                return 200, []
            case "POST", ["containers", _, ("pause" | "unpause") as change]:
                self.status = "paused" if change == "pause" else "running"
                return 204, None
            case _:
                return 204, None


class Answers(BaseHTTPRequestHandler):
    server: Daemon
    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"{}")
        path = self.path.partition("?")[0].removeprefix("/v1.44")
        status, answer = self.server.answer(self.command, path, body)
        content = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = do_HEAD = handle_any  # noqa: N815 - the standard library's names

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    path = tmp_path / "d.sock"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    monkeypatch.setattr(testcontainers_config, "ryuk_disabled", True)

    async def answers(address: str, *, seconds: float = 5.0) -> bool:
        return True

    monkeypatch.setattr(containers, "broker_answers", answers)
    monkeypatch.setattr(containers, "database_answers", answers)
    with Daemon(path) as found:
        threading.Thread(target=found.serve_forever, args=(0.02,), daemon=True).start()
        yield found
        found.shutdown()


async def test_a_broker_is_bound_to_a_loopback_port_that_it_also_advertises(daemon: Daemon, tmp_path: Path) -> None:
    broker = KafkaContainer(tmp_path)
    await broker.start()
    host, _, port = broker.address.partition(":")
    (asked,) = daemon.created
    assert asked["Image"] == "apache/kafka:4.2.0"
    assert asked["HostConfig"]["PortBindings"] == {f"{port}/tcp": [{"HostIp": host, "HostPort": port}]}
    assert f"KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://127.0.0.1:{port}" in asked["Env"]
    assert asked["HostConfig"]["Binds"] == [f"{broker.volume}:/var/lib/kafka/data:rw"]
    await broker.discard()


async def test_a_database_is_durable_and_has_a_password_of_its_own(daemon: Daemon, tmp_path: Path) -> None:
    database = PostgresContainer(tmp_path)
    await database.start()
    (asked,) = daemon.created
    assert asked["Image"] == "postgres:18"
    ((inside, (binding,)),) = asked["HostConfig"]["PortBindings"].items()
    assert (inside, binding["HostIp"]) == ("5432/tcp", "127.0.0.1")
    password = next(one.partition("=")[2] for one in asked["Env"] if one.startswith("POSTGRES_PASSWORD="))
    assert len(password) >= 24
    assert database.address == f"postgresql://postgres:{password}@127.0.0.1:{binding['HostPort']}/postgres"
    assert {"fsync=on", "synchronous_commit=on", "max_connections=300"} <= set(asked["Cmd"])
    await database.discard()


async def test_it_comes_back_on_the_same_port_volume_and_password(daemon: Daemon, tmp_path: Path) -> None:
    database = PostgresContainer(tmp_path)
    await database.start()
    address = database.address
    await database.kill()
    await database.restart()
    assert database.address == address
    first, second = daemon.created
    assert first == second
    assert "POST /containers/c0ffee/kill" in daemon.asked


async def test_a_frozen_one_is_thawed_before_it_is_ended(daemon: Daemon, tmp_path: Path) -> None:
    broker = KafkaContainer(tmp_path)
    await broker.start()
    broker.freeze()
    await broker.kill()
    order = [one.rpartition("/")[2] for one in daemon.asked if one.startswith("POST /containers/c0ffee/")]
    assert order == ["start", "pause", "unpause", "kill"]


async def test_a_temporary_one_takes_its_volume_along_and_a_persistent_one_keeps_volume_and_password(
    daemon: Daemon, tmp_path: Path
) -> None:
    passing, lasting = PostgresContainer(tmp_path), PostgresContainer(tmp_path, persistent=True)
    await passing.start()
    await passing.discard()
    assert f"DELETE /volumes/{passing.volume}" in daemon.asked
    await lasting.start()
    await lasting.stop()
    assert f"DELETE /volumes/{lasting.volume}" not in daemon.asked
    again = PostgresContainer(tmp_path, persistent=True)
    await again.start()
    environments = [asked["Env"] for asked in daemon.created]
    assert environments[1] == environments[2] != environments[0]
    # The reaper knows by this label what to remove when we are killed.
    assert [bool(volume["Labels"]) for volume in daemon.volumes] == [True, False, False]


@pytest.mark.parametrize("step", ["/volumes/create", "/containers/create", "/start"])
async def test_what_docker_refuses_is_said_in_one_line_and_nothing_stays(
    daemon: Daemon, tmp_path: Path, step: str
) -> None:
    daemon.refuses = step
    with pytest.raises(Missing) as missing:
        await KafkaContainer(tmp_path).start()
    said = str(missing.value)
    assert said.startswith("Docker could not start apache/kafka:4.2.0: ")
    assert "no space left on device" in said
    assert "\n" not in said
    assert ("DELETE /containers/c0ffee" in daemon.asked) == (step == "/start")
