"""Where promtool is to be had: on the PATH, in our cache, in Debian's package (seconds), or built by Go (minutes).

    python -m tests.operators.promtool        # brings it by whatever way works here, and prints its path

Tests take what is there or comes in seconds, and skip with the reason where neither is so.
"""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from deploy.local.cache import cache_folder, locked

GO_MODULE = "github.com/prometheus/prometheus/cmd/promtool@v0.316.0"
"""Prometheus 3.16; its module's versions have another major number."""

_PATIENCE = 90.0


class NoPromtool(Exception):
    """promtool is not here; the text says what was tried."""


def find_promtool(*, build: bool = False) -> Path:
    """An executable promtool. `build` allows the way that takes minutes. Raises `NoPromtool`."""
    if given := shutil.which("promtool"):
        return Path(given)
    folder = cache_folder() / "promtool"
    folder.mkdir(exist_ok=True)
    kept = folder / f"promtool-{platform.machine()}"
    with locked(folder / "lock"):
        if kept.exists():
            return kept
        tried = ["it is not on the PATH"]
        for way in (_from_debian, _from_go) if build else (_from_debian,):
            try:
                # Made beside its place and moved there whole: who is killed half-way leaves nothing that looks done.
                with tempfile.TemporaryDirectory(dir=folder) as made:
                    way(Path(made)).rename(kept)
            except (OSError, subprocess.SubprocessError) as error:
                tried.append(f"{way.__name__.removeprefix('_').replace('_', ' ')}: {error}")
            else:
                return kept
    raise NoPromtool(f"{'; '.join(tried)}; `python -m tests.operators.promtool` builds it where Go is")


def _from_debian(folder: Path) -> Path:
    """Unpack Debian's package without installing it: no daemon starts, and nobody need be root."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise FileNotFoundError("no apt-get here")
    try:
        _run("apt-get", "download", "-qq", "prometheus", folder=folder)
    except subprocess.CalledProcessError:
        if os.geteuid() != 0:
            raise
        _run("apt-get", "update", "-qq", folder=folder)  # a fresh machine has no lists of packages
        _run("apt-get", "download", "-qq", "prometheus", folder=folder)
    (package,) = folder.glob("prometheus_*.deb")
    _run("dpkg-deb", "--extract", package.name, ".", folder=folder)
    return folder / "usr" / "bin" / "promtool"


def _from_go(folder: Path) -> Path:
    if shutil.which("go") is None:
        raise FileNotFoundError("no Go here")
    # Service discovery of the clouds is most of what there is to build, and no rule needs it.
    environment = {**os.environ, "GOBIN": str(folder)}
    command = ["go", "install", "-tags", "remove_all_sd", "-ldflags=-s -w", GO_MODULE]
    subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=1800)
    return folder / "promtool"


def _run(*command: str, folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=_PATIENCE)


if __name__ == "__main__":
    try:
        print(find_promtool(build=True))
    except NoPromtool as missing:
        sys.exit(str(missing))
