"""Nothing outlives us: a watcher ends our servers when we are killed before we could end them ourselves.

The watcher holds one end of a pipe and is told which process groups are ours. When the pipe closes, which the kernel
does however we die, it signals the groups that are left and, after a grace, kills them. A parent-death signal
(`PR_SET_PDEATHSIG`) would do less: it follows the thread that started the child, it does not wake a frozen process,
and it exists on Linux only.

This file is also the watcher's program, run as a script with nothing but the standard library.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

GRACE = 5.0
"""Seconds between the first signal and SIGKILL."""

_lock = threading.Lock()
_shared: set[int] = set()
_watcher: tuple[int, "subprocess.Popen[bytes]"] | None = None


def hold(group: int, ending: signal.Signals) -> None:
    """End the process group `group` with the signal `ending` if we die before `release`."""
    _tell(f"hold {group} {ending.value}\n")


def release(group: int) -> None:
    """The process group has ended: its number may belong to somebody else from now on."""
    _tell(f"release {group}\n")


def keep_open(descriptor: int) -> None:
    """Let a watcher that starts later share this open file, so that a lock on it is held until our servers ended."""
    _shared.add(descriptor)


def let_go(descriptor: int) -> None:
    """Undo `keep_open`: the file is about to be closed."""
    _shared.discard(descriptor)


def _tell(line: str) -> None:
    with _lock:
        pipe = _pipe()
        pipe.write(line.encode())
        pipe.flush()


def _pipe() -> IO[bytes]:
    """The way to our watcher; a forked child gets its own, since the first one watches its parent."""
    global _watcher
    if _watcher is None or _watcher[0] != os.getpid():
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            pass_fds=tuple(_shared),
            start_new_session=True,  # Ctrl-C in our terminal is for us alone
        )
        _watcher = (os.getpid(), process)
    pipe = _watcher[1].stdin
    assert pipe is not None  # noqa: S101 - asked for above
    return pipe


def _watch(lines: IO[str]) -> None:
    held: dict[int, int] = {}
    for line in lines:
        match line.split():
            case ["hold", group, ending]:
                held[int(group)] = int(ending)
            case ["release", group]:
                held.pop(int(group), None)
    for leader, last_wish in held.items():
        # A frozen process hears no other signal, and PostgreSQL's backends lead groups of their own.
        _signal(leader, signal.SIGCONT)
        for child in _descendants(leader):
            _signal(child, signal.SIGCONT)
        _signal(leader, last_wish)
    left = list(held)
    deadline = time.monotonic() + GRACE
    while (left := [leader for leader in left if _signal(leader, 0)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    for leader in left:
        _signal(leader, signal.SIGKILL)


def _descendants(ancestor: int) -> list[int]:
    """The processes below `ancestor`, as far as this system shows them (`/proc`)."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    found = list(children.get(ancestor, ()))
    for child in found:
        found += children.get(child, ())
    return found


def _signal(leader: int, number: int) -> bool:
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    _watch(sys.stdin)
