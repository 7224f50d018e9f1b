"""What is downloaded once and kept: `$BATCHWISE_CACHE`, or `~/.cache/batchwise`."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_folder() -> Path:
    given = os.environ.get("BATCHWISE_CACHE")
    folder = Path(given) if given else Path.home() / ".cache" / "batchwise"
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


@contextmanager
def locked(lock: Path) -> Iterator[None]:
    """Wait until nobody else on this machine holds `lock`, and hold it. The kernel lets go of it however we end."""
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
