"""Another version of the services, from the repository's history: its own checkout, its own environment."""

import io
import subprocess
import sys
import tarfile
import tomllib
import venv
from collections.abc import Iterable, Sequence
from pathlib import Path

from deploy.local.faults import Missing, NotStarted
from deploy.local.processes import HERE, SERVICES, Checkout

_INSTALLED_WITHIN = 600.0
"""Seconds; about twenty where the packages were downloaded before."""


def commit_of(name: str) -> str:
    """The full id of the commit that `name` (a tag, a branch, the start of an id) stands for; Missing without it."""
    try:
        found = _git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    except (OSError, subprocess.CalledProcessError) as fault:
        raise Missing(f"commit {name!r} is not in this repository's history: {fault}") from fault
    return found.decode().strip()


def check_out(commit: str, folder: Path) -> Path:
    """Write the files of `commit` into `folder`, which is made; returns it."""
    with tarfile.open(fileobj=io.BytesIO(_git("archive", "--format=tar", commit))) as files:
        files.extractall(folder, filter="data")
    return folder


def declared(checkout: Path, extras: Iterable[str]) -> list[str]:
    """What a checkout's pyproject.toml says that contracts and delivery need, and each of the `extras`."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *(one for name in extras for one in project["optional-dependencies"][name])]


def environment_of(checkout: Path, folder: Path, extras: Iterable[str] = SERVICES) -> Path:
    """A virtual environment in `folder` with what the `extras` of a checkout declare and nothing else; its Python.

    The checkout itself is not installed: it is run from its own folder. Raises `NotStarted`.
    """
    venv.create(folder, with_pip=True, clear=True)
    python = folder / "bin" / "python"
    install(python, checkout, declared(checkout, extras))
    return python


def install(python: Path, checkout: Path, packages: Sequence[str]) -> None:
    """Add packages to an environment, as the checkout pins them; `NotStarted` with what pip said when it fails."""
    # `--no-compile`: each module is compiled when it is first used, and most never are.
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "-qq", "--no-compile"]
    done = subprocess.run(
        [*pip, "-c", str(checkout / "constraints.txt"), *packages],
        capture_output=True,
        text=True,
        check=False,
        timeout=_INSTALLED_WITHIN,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise NotStarted(f"pip could not install {', '.join(packages)}: {done.stderr.strip()[-2000:]}")


def same_packages(checkout: Path) -> bool:
    """Whether this environment has every package at the very version that the checkout pins."""
    ours, theirs = (set(_pins(folder)) for folder in (HERE.folder, checkout))
    return theirs <= ours


def version_at(commit: str, folder: Path) -> Checkout:
    """A checkout of `commit` below `folder`, with an environment of its own unless ours has all that it pins."""
    files = check_out(commit, folder / "checkout")
    python = Path(sys.executable) if same_packages(files) else environment_of(files, folder / "environment")
    return Checkout(files, python)


def _pins(folder: Path) -> Iterable[str]:
    lines = (line.partition("#")[0].strip() for line in (folder / "constraints.txt").read_text().splitlines())
    return (line for line in lines if line)


def _git(*arguments: str) -> bytes:
    return subprocess.run(
        ["git", *arguments], cwd=HERE.folder, capture_output=True, check=True, stdin=subprocess.DEVNULL
    ).stdout
