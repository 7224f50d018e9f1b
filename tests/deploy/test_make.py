"""`make` sets up once, again only after a change, and says in words what it needs."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]

# Stands for Python: makes an environment whose Python writes down what it is asked, and does nothing else.
PYTHON = """#!/bin/sh
case "$1" in
-c) exit 0 ;;
esac
mkdir -p "$3/bin"
printf '#!/bin/sh\\necho "$@" >> asked\\n' > "$3/bin/python"
chmod +x "$3/bin/python"
echo "made" >> asked
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(PROJECT / name, tmp_path)
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    return tmp_path


def make(folder: Path, *targets: str, python: str = "./python") -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", f"PYTHON={python}", *targets], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def asked(folder: Path) -> list[str]:
    """What was asked since the last look."""
    notes = folder / "asked"
    found = notes.read_text().splitlines() if notes.exists() else []
    notes.unlink(missing_ok=True)
    return found


def change(path: Path) -> None:
    later = time.time() + 5
    os.utime(path, (later, later))


def test_setup_installs_once_and_again_after_a_change_of_what_it_installs(copy: Path) -> None:
    assert make(copy, "setup").returncode == 0
    first = asked(copy)
    assert first[0] == "made"
    assert len(first) == 2
    assert first[1].endswith("-c constraints.txt -e .[dev]")
    make(copy, "setup")
    assert asked(copy) == []
    change(copy / "constraints.txt")
    make(copy, "setup")
    assert asked(copy) == first[1:]


def test_the_demo_installs_no_tools_for_development_and_nothing_where_they_are(copy: Path) -> None:
    make(copy, "demo")
    made, install, run = asked(copy)
    assert made == "made"
    assert install.endswith("-e .[receiving,inventory,allocation,trace,integration,local]")
    assert run == "-m deploy.local demo"
    make(copy, "demo")
    assert asked(copy) == ["-m deploy.local demo"]
    make(copy, "setup")
    asked(copy)
    (copy / ".venv" / ".local").unlink()
    make(copy, "status")
    assert asked(copy) == ["-m deploy.local status"]


def test_without_python_it_says_what_to_do(copy: Path) -> None:
    failed = make(copy, "setup", python="")
    assert failed.returncode != 0
    assert failed.stderr.startswith("Python 3.11 is needed and was not found")


def test_help_is_what_bare_make_prints(copy: Path) -> None:
    shown = make(copy).stdout
    local = {"setup", "demo", "up", "down", "status", "clean", "help"}
    verbs = local | {"test", "long", "check", "bench", "contracts", "faults", "hostile", "mixed", "roll"}
    assert [line.split()[1] for line in shown.splitlines()] != []
    assert verbs == {line.split()[1] for line in shown.splitlines()}
