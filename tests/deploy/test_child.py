"""A process of ours ends when it should, and never outlives us."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from deploy.local.child import Child
from deploy.local.faults import NotStarted
from tests.deploy.watching import eventually, line_with, processes_with

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)
PARENT = """
import sys, time
from pathlib import Path
from deploy.local.child import Child
for number, code in enumerate(sys.argv[2:]):
    child = Child("x", [sys.executable, "-c", code], log=Path(sys.argv[1]) / f"{number}.log")
    child.start()
    while not child.log.read_text():
        time.sleep(0.01)
    if "frozen" in code:
        child.freeze()
print("started", flush=True)
time.sleep(600)
"""


def python(code: str, folder: Path) -> Child:
    return Child("the child", [sys.executable, "-c", code], log=folder / "child.log")


async def says(word: str, child: Child) -> None:
    async def said() -> bool:
        return word in child.log.read_text()

    await child.until(said, seconds=10)


async def test_one_that_does_not_listen_is_killed_after_the_grace(tmp_path: Path) -> None:
    child = python(STUBBORN, tmp_path)
    child.start()
    await says("up", child)
    await child.stop(grace=0.2)
    assert child.exit_code == -signal.SIGKILL


async def test_a_frozen_one_still_stops_politely(tmp_path: Path) -> None:
    child = python("import time; print('up', flush=True); time.sleep(600)", tmp_path)
    child.start()
    await says("up", child)
    child.freeze()
    assert child.pid is not None
    assert eventually(lambda: psutil.Process(child.pid).status() == psutil.STATUS_STOPPED)
    await child.stop()
    assert child.exit_code == -signal.SIGTERM


async def test_what_it_started_is_killed_with_it(tmp_path: Path) -> None:
    mark = f"grandchild-of-{tmp_path.name}"
    child = python(
        "import subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)', {mark!r}], start_new_session=True)\n"
        "print('up', flush=True); time.sleep(600)",
        tmp_path,
    )
    child.start()
    await says("up", child)
    assert eventually(lambda: len(processes_with(f"sleep(600) {mark}")) == 1)
    await child.kill()
    assert not processes_with(f"sleep(600) {mark}")


async def test_one_that_ends_before_it_is_ready_is_quoted(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    log.write_text("words of the run before\n")
    child = python("raise SystemExit('no such table: batch')", tmp_path)
    child.start()

    async def never() -> bool:
        return False

    with pytest.raises(NotStarted) as failed:
        await child.until(never, seconds=10)
    assert str(failed.value) == f"the child ended with 1 before it was ready; log: {log}\n  no such table: batch"


@pytest.mark.parametrize(
    "code", [STUBBORN, "import time; print('frozen', flush=True); time.sleep(600)"], ids=["stubborn", "frozen"]
)
def test_nothing_is_left_when_the_parent_is_killed(tmp_path: Path, code: str) -> None:
    mark = f"# {tmp_path.name}"
    code = f"{code} {mark}"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path), code], stdout=subprocess.PIPE, text=True)
    try:
        line_with("started", parent)
        held = [process for process in processes_with(mark) if process.pid != parent.pid]
        assert len(held) == 1
    finally:
        parent.kill()
        parent.communicate()
    assert eventually(lambda: not processes_with(mark))


def test_the_watcher_ends_with_its_parent(tmp_path: Path) -> None:
    code = "import time; print('up', flush=True); time.sleep(600)"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path), code], stdout=subprocess.PIPE, text=True)
    line_with("started", parent)
    (watcher,) = (child for child in psutil.Process(parent.pid).children() if "leash.py" in " ".join(child.cmdline()))
    parent.kill()
    parent.communicate()
    assert eventually(lambda: not watcher.is_running() or watcher.status() == psutil.STATUS_ZOMBIE)
