"""Migrations run while the version before serves: none of them may lock it out or take away what it uses."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from delivery.migrating import MigrationRefused, migrations_of
from deploy.local.processes import SERVICES

PROJECT = Path(__file__).resolve().parents[2]
FILES = sorted(PROJECT.glob("services/*/migrations/*.sql")) + sorted(PROJECT.glob("delivery/migrations/*.sql"))

OF_STYLE = (
    "prefer-robust-stmts",  # a file is a transaction, or made of statements that may be repeated
    "require-lock-timeout",  # delivery.migrating sets it
    "require-statement-timeout",
    "prefer-bigint-over-int",
    "prefer-bigint-over-smallint",
    "prefer-text-field",
    "prefer-timestamptz",
    "prefer-identity",
)
"""Rules of squawk that are not about who is locked out."""

BEFORE_THE_RULES = {
    "trace/migrations/0002_drills.sql": "an index on the few recalls there are",
    "trace/migrations/0003_supplier_numbers.sql": "ran before anybody had a table of any size",
}


def findings(sql: str, *, in_transaction: bool) -> list[str]:
    """What squawk says about a migration: rule and line."""
    squawk = Path(sys.executable).with_name("squawk")
    wrapped = ["--assume-in-transaction"] if in_transaction else []
    command = [str(squawk), *wrapped, f"--exclude={','.join(OF_STYLE)}", "--pg-version=18", "--reporter=json"]
    done = subprocess.run(command, input=sql, capture_output=True, text=True, check=False)
    found: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    assert done.returncode == bool(found), done.stderr
    return [f"{each['rule_name']} in line {each['line'] + 1}" for each in found]


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.parent.name}/{file.name}")
def test_a_migration_locks_nobody_out_and_takes_nothing_away(file: Path) -> None:
    if any(file.as_posix().endswith(known) for known in BEFORE_THE_RULES):
        pytest.skip("older than the rules")
    (migration,) = [
        each for each in migrations_of(".".join(file.relative_to(PROJECT).parts[:-2])) if each.name == file.name
    ]
    assert findings(migration.sql, in_transaction=not migration.concurrent) == []


@pytest.mark.parametrize(
    ("sql", "rule"),
    [
        ("CREATE INDEX stock_by_batch ON stock (batch_id);", "require-concurrent-index-creation"),
        ("ALTER TABLE stock ADD COLUMN place text NOT NULL;", "adding-required-field"),
        ("ALTER TABLE stock ALTER COLUMN quantity TYPE bigint;", "changing-column-type"),
        ("ALTER TABLE stock RENAME COLUMN quantity TO amount;", "renaming-column"),
        ("ALTER TABLE stock DROP COLUMN quantity;", "ban-drop-column"),
        ("ALTER TABLE stock ADD CONSTRAINT some CHECK (quantity > 0);", "constraint-missing-not-valid"),
        ("ALTER TABLE stock ALTER COLUMN quantity SET NOT NULL;", "adding-not-nullable-field"),
        ("DROP TABLE stock;", "ban-drop-table"),
    ],
)
def test_what_would_lock_out_or_break_the_version_before_is_found(sql: str, rule: str) -> None:
    assert rule in " ".join(findings(sql, in_transaction=True))


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE stock ADD COLUMN place text;",
        "ALTER TABLE stock ADD COLUMN given_back boolean NOT NULL DEFAULT false;",
        "CREATE TABLE place (name text PRIMARY KEY); CREATE INDEX place_by_name ON place (name);",
        "ALTER TABLE stock ADD CONSTRAINT some CHECK (quantity > 0) NOT VALID;",
    ],
)
def test_what_may_be_done_is_not_found(sql: str) -> None:
    assert findings(sql, in_transaction=True) == []


def test_every_file_is_one_transaction_or_all_concurrent() -> None:
    for package in ("delivery", *(f"services.{name}" for name in SERVICES)):
        for migration in migrations_of(package):
            try:
                assert isinstance(migration.concurrent, list)
            except MigrationRefused as refused:
                pytest.fail(str(refused))
