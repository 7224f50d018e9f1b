"""Which broker and database are taken: given before container before process, and settings that fit one machine."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer

import pytest

from deploy.local import servers
from deploy.local.containers import KafkaContainer, PostgresContainer, docker_answers, kafka_environment
from deploy.local.faults import Missing, NotStarted
from deploy.local.kafka import KafkaProcess, process_settings
from deploy.local.ports import free_port, is_free
from deploy.local.postgres import PostgresProcess
from deploy.local.server import GivenServer
from deploy.local.servers import Servers

GIVEN = {"KAFKA_BOOTSTRAP_SERVERS": "kafka.example:9092", "POSTGRES_DSN": "postgresql://u@db.example/p"}


def chosen(folder: Path, *, own: bool = False) -> tuple[type, type]:
    found = Servers(folder, own=own)
    return type(found.broker), type(found.database)


@pytest.mark.parametrize(
    ("given", "docker", "own", "expected"),
    [
        (True, True, False, (GivenServer, GivenServer)),
        (True, False, False, (GivenServer, GivenServer)),
        (False, True, False, (KafkaContainer, PostgresContainer)),
        (False, False, False, (KafkaProcess, PostgresProcess)),
        (True, True, True, (KafkaContainer, PostgresContainer)),
        (True, False, True, (KafkaProcess, PostgresProcess)),
    ],
)
def test_given_comes_before_docker_comes_before_our_own_process(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: bool,
    docker: bool,
    own: bool,
    expected: tuple[type, type],
) -> None:
    for name, value in GIVEN.items():
        monkeypatch.setenv(name, value if given else "")
    monkeypatch.setattr(servers, "docker_answers", lambda: docker)
    assert chosen(tmp_path, own=own) == expected


def test_what_is_ours_alone_needs_no_prefix_and_what_is_shared_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "docker_answers", lambda: False)
    monkeypatch.delenv("POSTGRES_DSN", raising=False)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", GIVEN["KAFKA_BOOTSTRAP_SERVERS"])
    first, second = Servers(tmp_path), Servers(tmp_path)
    assert first.topic_prefix != second.topic_prefix
    assert first.database_prefix == second.database_prefix == ""
    lasting = Servers(tmp_path, persistent=True)
    assert lasting.topic_prefix == Servers(tmp_path, persistent=True).topic_prefix == "batchwise."


async def test_a_server_that_was_not_started_has_no_address(tmp_path: Path) -> None:
    for server in (KafkaProcess(tmp_path), PostgresProcess(tmp_path)):
        with pytest.raises(NotStarted, match="was not started, so it has no address yet"):
            _ = server.address


class _Daemon(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True


class _DaemonAnswers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        content = b"OK" if self.path.endswith("/_ping") else json.dumps({"ApiVersion": "1.44"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_HEAD = do_GET  # noqa: N815 - the standard library's name

    def address_string(self) -> str:
        return "a socket"

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def docker_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "d.sock"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    yield path
    path.unlink(missing_ok=True)


def test_a_daemon_that_answers_is_found(docker_socket: Path) -> None:
    with _Daemon(str(docker_socket), _DaemonAnswers) as daemon:
        threading.Thread(target=daemon.serve_forever, args=(0.02,), daemon=True).start()
        assert docker_answers.__wrapped__()
        daemon.shutdown()


def test_no_daemon_is_no_error(docker_socket: Path) -> None:
    assert not docker_answers.__wrapped__()


def test_a_daemon_that_hangs_is_given_up_soon(docker_socket: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(docker_socket))
        silent.listen()
        began = time.monotonic()
        assert not docker_answers.__wrapped__()
        assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "settings",
    [
        process_settings(Path("/data"), 21001, 21002),
        {
            name.removeprefix("KAFKA_").lower().replace("_", "."): value
            for name, value in kafka_environment(21001).items()
        },
    ],
    ids=["process", "container"],
)
def test_the_broker_is_one_node_for_this_machine_alone(settings: dict[str, str]) -> None:
    assert settings["advertised.listeners"] == "PLAINTEXT://127.0.0.1:21001"
    assert settings["auto.create.topics.enable"] == "false"
    assert settings["num.partitions"] == "6"
    assert settings["group.initial.rebalance.delay.ms"] == "0"
    assert {value for name, value in settings.items() if name.endswith((".replication.factor", ".min.isr"))} == {"1"}


def test_a_persistent_container_finds_its_volume_again_and_a_temporary_one_does_not(tmp_path: Path) -> None:
    lasting = [KafkaContainer(tmp_path, persistent=True).volume for _ in range(2)]
    passing = [KafkaContainer(tmp_path).volume for _ in range(2)]
    assert lasting[0] == lasting[1]
    assert len({lasting[0], *passing}) == 3


async def test_a_container_that_docker_cannot_start_is_replaced_by_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in GIVEN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(servers, "docker_answers", lambda: True)

    async def refuse(self: object) -> None:
        raise Missing("Docker could not start it: no space left on device")

    async def start(self: object) -> None:
        started.append(type(self))

    started: list[type] = []
    for container in (KafkaContainer, PostgresContainer):
        monkeypatch.setattr(container, "start", refuse)
    for process in (KafkaProcess, PostgresProcess):
        monkeypatch.setattr(process, "start", start)
    said: list[str] = []
    await Servers(tmp_path, say=said.append).start()
    assert set(started) == {KafkaProcess, PostgresProcess}
    assert set(said) == {"Docker could not start it: no space left on device; starting a process instead"}


async def test_our_own_data_goes_also_when_a_given_server_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    monkeypatch.setenv("POSTGRES_DSN", "postgresql://u@127.0.0.1:1/p")
    monkeypatch.setattr(servers, "docker_answers", lambda: False)
    (tmp_path / "kafka" / "data").mkdir(parents=True)
    with pytest.raises(Missing, match=r"^no database answers at 127\.0\.0\.1:1,"):
        await Servers(tmp_path).close()
    assert not (tmp_path / "kafka").exists()


def test_a_port_is_free_and_not_one_that_a_client_could_take() -> None:
    port = free_port()
    assert is_free(port)
    assert port < 32_768
    with socket.create_server(("127.0.0.1", port)):
        assert not is_free(port)
