"""Two versions side by side: `python -m deploy.mixed --old COMMIT` plays the journeys on every mixture of them.

Each service in turn runs from the working tree while the others run from the older commit, and the other way round.
Each version has a checkout and an environment of its own; both go at the end. The journeys are the working tree's, and
those that the older commit has too: what is newer cannot be asked of it.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from deploy.checkouts import check_out, commit_of, environment_of
from deploy.local.faults import LocalFault
from deploy.local.processes import HERE, SERVICES, Checkout

JOURNEYS = ("tests/journeys/test_main_job.py", "tests/journeys/test_other_ways.py")
CHECKOUTS = "JOURNEYS_CHECKOUTS"
"""The variable that tells `tests/journeys` which service to run from where: `name=folder:python`, a line each."""

_WITHIN = 900.0
_TEST = re.compile(r"^(?:async )?def (test_\w+)", re.MULTILINE)

console = Console()


@dataclass(frozen=True, slots=True)
class Mixture:
    """`service` is of the one version, all others are of the other one."""

    service: str
    newer: bool

    def checkouts(self, old: Checkout) -> dict[str, Checkout]:
        """Which services run from the older commit."""
        return {name: old for name in SERVICES if (name == self.service) is not self.newer}

    def __str__(self) -> str:
        return f"{self.service} {'new' if self.newer else 'old'}, the others {'old' if self.newer else 'new'}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a mixture: pytest's last line, and where its output is when it failed."""

    mixture: Mixture
    seconds: float
    summary: str
    log: Path | None


def written(checkouts: Mapping[str, Checkout]) -> str:
    """Checkouts as `CHECKOUTS` has them."""
    return "\n".join(f"{name}={each.folder}:{each.python}" for name, each in checkouts.items())


def read(text: str) -> dict[str, Checkout]:
    """The other way."""
    found = {}
    for line in text.splitlines():
        name, _, where = line.partition("=")
        folder, _, python = where.partition(":")
        found[name] = Checkout(Path(folder), Path(python))
    return found


def newer_journeys(old: Path) -> list[str]:
    """The journeys of the working tree, as pytest names them, that an older checkout does not have."""
    found = []
    for path in JOURNEYS:
        there = old / path
        known = set(_TEST.findall(there.read_text())) if there.exists() else set()
        found += [f"{path}::{name}" for name in _TEST.findall((HERE.folder / path).read_text()) if name not in known]
    return found


def play(mixture: Mixture, old: Checkout, left_out: Sequence[str], logs: Path) -> Outcome:
    """The journeys on one mixture, on fresh servers; the log stays when something did not come true."""
    log = logs / f"{mixture.service}-{'new' if mixture.newer else 'old'}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *JOURNEYS]
    command += [f"--deselect={test}" for test in left_out]
    began = time.monotonic()
    with log.open("wb") as output:
        code = subprocess.run(
            command,
            cwd=HERE.folder,
            env={**os.environ, CHECKOUTS: written(mixture.checkouts(old))},
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            check=False,
            timeout=_WITHIN,
        ).returncode
    seconds = time.monotonic() - began
    summary = (log.read_text(errors="replace").strip().splitlines() or ["it said nothing"])[-1].strip("= ")
    if code == 0:
        log.unlink()
        return Outcome(mixture, seconds, summary, None)
    return Outcome(mixture, seconds, summary, log)


def table_of(outcomes: Sequence[Outcome]) -> Table:
    """All of them, for people."""
    table = Table("mixture", "", "seconds", "journeys", box=None)
    for each in outcomes:
        table.add_row(str(each.mixture), "✓" if each.log is None else "✗", f"{each.seconds:.0f}", each.summary)
    return table


def main() -> int:
    """Exits 0 when all journeys came true on all mixtures."""
    parser = argparse.ArgumentParser(prog="python -m deploy.mixed", description=__doc__)
    parser.add_argument("--old", required=True, metavar="COMMIT", help="the older version: a commit, a tag, a branch")
    parser.add_argument("--only", nargs="*", default=[], choices=SERVICES, metavar="SERVICE", help="only these in turn")
    asked = parser.parse_args()
    logs = HERE.folder / ".local" / f"mixed-{time.strftime('%Y%m%d-%H%M%S')}"
    folder = Path(tempfile.mkdtemp(prefix="batchwise-mixed-"))
    try:
        commit = commit_of(asked.old)
        console.print(f"a checkout and an environment of {commit[:12]} …", highlight=False)
        files = check_out(commit, folder / "checkout")
        old = Checkout(files, environment_of(files, folder / "environment"))
        left_out = newer_journeys(files)
        if left_out:
            console.print(f"{len(left_out)} journeys are newer than that and are not asked", highlight=False)
        outcomes = []
        for name in asked.only or SERVICES:
            for newer in (True, False):
                outcomes.append(play(Mixture(name, newer), old, left_out, logs))
                console.print(table_of(outcomes[-1:]))
    except LocalFault as fault:
        console.print(str(fault), markup=False, highlight=False)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    console.print(table_of(outcomes))
    failed = [each for each in outcomes if each.log is not None]
    for each in failed:
        console.print(f"{each.mixture}: {each.log}", markup=False, highlight=False, soft_wrap=True)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
