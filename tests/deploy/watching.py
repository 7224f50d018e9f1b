"""Looking at processes from outside, and waiting for what they do."""

import subprocess
import time
from collections.abc import Callable

import psutil


def processes_with(*fragments: str) -> list[psutil.Process]:
    """Living processes on this machine whose command has all `fragments` in it."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = " ".join(process.info["cmdline"] or ())
        if process.info["status"] != psutil.STATUS_ZOMBIE and all(fragment in words for fragment in fragments):
            found.append(process)
    return found


def eventually(truth: Callable[[], object], *, seconds: float = 15) -> bool:
    """Whether `truth` comes about within `seconds`."""
    deadline = time.monotonic() + seconds
    while not truth():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def line_with(words: str, process: "subprocess.Popen[str]") -> str:
    """Read what `process` prints up to the first line with `words` in it; fails when it ends without."""
    read = []
    assert process.stdout is not None
    for line in process.stdout:
        read.append(line)
        if words in line:
            return line
    raise AssertionError(f"{words!r} was not said in:\n{''.join(read)}")
