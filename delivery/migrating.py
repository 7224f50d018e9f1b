"""Forward-only migrations: numbered SQL files, each applied once, never edited afterwards."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files

import asyncpg

_FILE = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")


class MigrationRefused(Exception):
    """The files and the database disagree about history."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its package, its number and name, its text."""

    package: str
    number: int
    name: str
    sql: str

    @property
    def digest(self) -> str:
        """SHA-256 of the text, so that an edited file is noticed."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations_of(package: str) -> Iterator[Migration]:
    """The files of `<package>/migrations`, by number. Raises `MigrationRefused` for a gap or a bad name."""
    entries = sorted((entry.name, entry) for entry in files(package).joinpath("migrations").iterdir())
    expected = 1
    for name, entry in entries:
        if not name.endswith(".sql"):
            continue
        match = _FILE.fullmatch(name)
        if not match or int(match[1]) != expected:
            raise MigrationRefused(f"{package}: {name!r} should be {expected:04}_<what_it_does>.sql")
        yield Migration(package, expected, name, entry.read_text("utf-8"))
        expected += 1


async def migrate(dsn: str, package: str, role: str) -> list[str]:
    """Apply what is missing, delivery's own tables first; returns the names that were applied.

    Safe to run by several at once and while the service serves. `role` is made if absent and may read and write every
    table made here, except where a migration takes a right away.
    """
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        await connection.execute("SELECT pg_advisory_lock(hashtext('batchwise.migrate'))")
        await _prepare(connection, role)
        known = {
            (row["package"], row["number"]): row
            for row in await connection.fetch("SELECT * FROM delivery.schema_migration")
        }
        applied = []
        for migration in (*migrations_of("delivery"), *migrations_of(package)):
            done = known.get((migration.package, migration.number))
            if done is None:
                async with connection.transaction():
                    await connection.execute(migration.sql)
                    await connection.execute(
                        "INSERT INTO delivery.schema_migration (package, number, name, digest) VALUES ($1, $2, $3, $4)",
                        migration.package,
                        migration.number,
                        migration.name,
                        migration.digest,
                    )
                applied.append(f"{migration.package}/{migration.name}")
            elif done["digest"] != migration.digest:
                when = f"{done['applied_at']:%Y-%m-%d}"
                raise MigrationRefused(
                    f"{migration.package}/{migration.name} was edited after {when}, when it was applied:"
                    " write a new migration instead"
                )
        return applied
    finally:
        await connection.close()


async def _prepare(connection: "asyncpg.Connection[asyncpg.Record]", role: str) -> None:
    """The schema and the role that migrations stand on."""
    # Roles belong to the whole server: services that migrate at the same time may both try to make one.
    await connection.execute(
        f"""
        DO $$ BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN
                CREATE ROLE {role} NOLOGIN;
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END $$
        """
    )
    if not await connection.fetchval("SELECT pg_has_role(current_user, $1, 'SET')", role):
        await connection.execute(f"GRANT {role} TO CURRENT_USER")
    await connection.execute(
        f"""
        CREATE SCHEMA IF NOT EXISTS delivery;
        GRANT USAGE ON SCHEMA public, delivery TO {role};
        ALTER DEFAULT PRIVILEGES IN SCHEMA public, delivery
            GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role};
        ALTER DEFAULT PRIVILEGES IN SCHEMA public, delivery GRANT USAGE, SELECT ON SEQUENCES TO {role};
        CREATE TABLE IF NOT EXISTS delivery.schema_migration (
            package    text        NOT NULL,
            number     integer     NOT NULL,
            name       text        NOT NULL,
            digest     text        NOT NULL,
            applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            PRIMARY KEY (package, number)
        );
        """
    )
