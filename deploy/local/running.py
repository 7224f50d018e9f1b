"""Which `up` runs in a folder, known to other processes: a lock while it lives, and a note of what it started."""

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import psutil

from deploy.local import leash
from deploy.local.faults import LocalFault


@dataclass(frozen=True, slots=True)
class Note:
    """What a running `up` tells others."""

    pid: int
    kafka: str
    postgres: str
    provenance: str
    urls: Mapping[str, str]


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the only one who uses the data in `folder`, or say who already does (LocalFault)."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as lock:
        _acquire(lock)
        leash.keep_open(lock.fileno())
        lock.truncate(0)
        lock.write(f"{os.getpid()} {psutil.Process().create_time()!r}")
        lock.flush()
        try:
            yield
        finally:
            (folder / "up.json").unlink(missing_ok=True)
            lock.truncate(0)
            leash.let_go(lock.fileno())
            fcntl.flock(lock, fcntl.LOCK_UN)  # for the watcher as well, which has nothing left to end


def _acquire(lock: IO[str]) -> None:
    began = time.monotonic()
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            process = _written(lock.read())
            # `status` holds the lock for a moment while it looks; and who was killed holds it through its watcher
            # until the servers on this data have ended.
            if time.monotonic() - began > (leash.GRACE + 5 if process is None else 0.5):
                by = "" if process is None else f" (pid {process.pid})"
                raise LocalFault(f"already running{by}: see `make status`, or stop it with `make down`") from None
            time.sleep(0.05)
        else:
            return


def write_note(folder: Path, *, kafka: str, postgres: str, provenance: str, urls: Mapping[str, str]) -> None:
    """Tell others what runs. Only for who holds the folder by `alone`.

    Readable by its owner only: the DSN has a password.
    """
    note = Note(os.getpid(), kafka, postgres, provenance, dict(urls))
    temporary = folder / "up.json.new"
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(asdict(note), file, indent=1)
    temporary.rename(folder / "up.json")


def read_note(folder: Path) -> Note | None:
    """What the running `up` said, or None when none runs or it is still starting."""
    try:
        return Note(**json.loads((folder / "up.json").read_text())) if holder(folder) is not None else None
    except FileNotFoundError:
        return None


def holder(folder: Path) -> psutil.Process | None:
    """The living process that holds `folder`."""
    try:
        with (folder / "lock").open("r") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _written(lock.read())
    except FileNotFoundError:
        pass
    return None


def _written(note: str) -> psutil.Process | None:
    """The living process that wrote `note`, a pid and a start time: a pid alone may be somebody else's by now."""
    try:
        pid, started = note.split()
        process = psutil.Process(int(pid))
        return process if repr(process.create_time()) == started else None
    except (ValueError, psutil.NoSuchProcess):
        return None
