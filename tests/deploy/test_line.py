"""The command line as a person uses it: `up` in one terminal, the others in a second one."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.deploy.watching import eventually, line_with, processes_with

Line = Callable[..., "subprocess.Popen[str]"]
HERE = Path(__file__).parent
GIVEN = ("KAFKA_BOOTSTRAP_SERVERS", "POSTGRES_DSN")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def line(runs: Path) -> Iterator[Line]:
    """Start the command line with pretending services on data of this test alone; whatever is left is killed after."""
    begun: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, services: str = "willing", **environment: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, str(HERE / "pretend_line.py"), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={
                **{name: value for name, value in os.environ.items() if name not in GIVEN},
                "PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parents[1]}",
                "BATCHWISE_LOCAL": str(runs),
                "PRETEND": services,
                **environment,
            },
        )
        begun.append(process)
        return process

    yield begin
    for process in begun:
        if process.poll() is None:
            process.kill()
        process.wait()
    assert eventually(lambda: not processes_with(str(runs)))


def finished(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """The exit code of `process` and all it said."""
    said, _ = process.communicate(timeout=60)
    return process.returncode, said


@pytest.mark.stack
@pytest.mark.timeout(120)
def test_up_shows_where_everything_is_and_the_next_up_finds_the_data_again(line: Line, runs: Path) -> None:
    up = line("up")
    shown = line_with("/docs", up)
    url = shown.split()[1]
    line_with("everything is ready", up)
    assert httpx.get(f"{url}/settings").json()["migrated"] == 1

    code, said = finished(line("status"))
    assert code == 0
    assert "NOT READY" not in said
    for name in ("kafka", "postgres", "willing"):
        assert f"  {name} " in said

    code, said = finished(line("up"))
    assert (code, said) == (1, f"already running (pid {up.pid}): see `make status`, or stop it with `make down`\n")
    code, said = finished(line("clean"))
    assert code == 1
    assert "already running" in said

    code, token = finished(line("token", "--role", "operator"))
    assert httpx.get(f"{url}/whoami", headers={"Authorization": f"Bearer {token.strip()}"}).json()["sub"] == "olivia"

    assert finished(line("down")) == (0, f"stopped (pid {up.pid})\n")
    assert finished(up)[0] == 0
    assert not processes_with(str(runs))

    again = line("up")
    line_with("everything is ready", again)
    assert httpx.get(f"{url}/settings").json()["migrated"] == 2
    again.send_signal(signal.SIGINT)
    code, said = finished(again)
    assert code == 0
    assert "stopped; the data stays" in said
    assert not processes_with(str(runs))

    assert finished(line("clean")) == (0, "removed the data of `make up`\n")
    assert [path.name for path in (runs / "up").iterdir()] == ["lock"]


@pytest.mark.stack
@pytest.mark.timeout(120)
def test_up_can_start_again_at_once_after_it_was_killed(line: Line) -> None:
    up = line("up")
    line_with("everything is ready", up)
    up.kill()
    up.communicate()
    again = line("up")
    line_with("everything is ready", again)
    again.terminate()
    assert finished(again)[0] == 0


@pytest.mark.stack
@pytest.mark.timeout(120)
def test_up_says_when_a_service_ends_and_status_shows_it(line: Line) -> None:
    up = line("up", services="willing,second")
    line_with("everything is ready", up)
    (victim,) = processes_with("pretend.second serve")
    victim.kill()
    assert "second ended with -9; log: " in line_with("ended with", up)
    code, said = finished(line("status"))
    assert code == 1
    assert [one.split()[0] for one in said.splitlines() if "NOT READY" in one] == ["second"]
    up.terminate()
    finished(up)


@pytest.mark.stack
@pytest.mark.timeout(120)
def test_a_service_that_fails_is_told_in_words_and_nothing_is_left(line: Line, runs: Path) -> None:
    code, said = finished(line("up", services="willing,broken"))
    assert code == 1
    assert "broken: migrate ended with 1; log: " in said
    assert "column batch_no does not exist" in said
    assert "Traceback" not in said
    assert not processes_with(str(runs))


@pytest.mark.stack
@pytest.mark.timeout(120)
def test_ctrl_c_while_starting_leaves_nothing(line: Line, runs: Path) -> None:
    up = line("up")
    line_with("starting", up)
    assert eventually(lambda: processes_with(str(runs), "kafka.Kafka"), seconds=30)
    up.send_signal(signal.SIGINT)
    code, said = finished(up)
    assert code == 128 + signal.SIGINT
    assert "Traceback" not in said
    assert not processes_with(str(runs))


@pytest.mark.stack
@pytest.mark.timeout(120)
@pytest.mark.parametrize(("outcome", "expected"), [("None", 0), ("1", 1), ("1/0", 1)], ids=["good", "bad", "raises"])
def test_the_demo_ends_with_what_was_played_and_leaves_nothing_running(
    line: Line, runs: Path, outcome: str, expected: int
) -> None:
    code, said = finished(line("demo", PLAY=outcome))
    assert code == expected
    assert "played on http://127.0.0.1:" in said
    assert not processes_with(str(runs))
    logs = list(runs.glob("demo-*/logs/willing.log"))
    if expected == 0:
        assert list(runs.iterdir()) == []
    else:
        assert str(logs[0].parent) in said
        assert [path.name for path in logs[0].parents[1].iterdir() if path.name in ("kafka", "postgres")] == []


def test_what_is_missing_is_said_before_anything_starts(line: Line, runs: Path) -> None:
    code, said = finished(line("up", services="willing,nobody"))
    assert code == 1
    assert said.startswith("not to be found: pretend.nobody ")
    assert said.count("\n") == 1
    assert not processes_with(str(runs))


def test_when_nothing_runs_down_is_content_and_status_is_not(line: Line) -> None:
    assert finished(line("down")) == (0, "nothing is running\n")
    assert finished(line("status")) == (1, "nothing is running\n")
    assert finished(line("clean")) == (0, "there is nothing to remove\n")


def test_a_pid_that_was_left_behind_is_not_taken_for_ours(line: Line, runs: Path) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        (runs / "up").mkdir(parents=True)
        (runs / "up" / "lock").write_text(f"{bystander.pid} {psutil.Process(bystander.pid).create_time()!r}")
        assert finished(line("down")) == (0, "nothing is running\n")
        time.sleep(0.1)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_an_unknown_user_is_answered_with_the_known_ones(line: Line) -> None:
    code, said = finished(line("token", "--user", "bob"))
    assert code == 1
    assert said.startswith("there is no demo user 'bob': there are olivia, ivan")


def test_help_names_every_verb(line: Line) -> None:
    code, said = finished(line("--help"))
    assert code == 0
    assert all(f"    {verb} " in said for verb in ("up", "down", "status", "clean", "token", "demo"))
