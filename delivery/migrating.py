"""Forward-only migrations: numbered SQL files, each applied once, never edited afterwards.

The version before serves while they run (docs/decisions, "Migrations under load"). So a file waits for its locks only
briefly, lets everybody pass, and tries again; and what builds or drops indexes `CONCURRENTLY`, which cannot be done in
a transaction, stands in a file of its own.
"""

import asyncio
import hashlib
import random
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

import asyncpg
import structlog

_log = structlog.get_logger("delivery.migrating")

_FILE = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_COMMENT = re.compile(r"--[^\n]*")
_CONCURRENT = re.compile(
    r"CREATE (?:UNIQUE )?INDEX CONCURRENTLY IF NOT EXISTS (?P<made>[a-z_][a-z0-9_]*) "
    r"|DROP INDEX CONCURRENTLY IF EXISTS [a-z_]",
    re.IGNORECASE,
)

LOCK_SECONDS = 0.5
"""How long a migration stands in the queue for a table: so long at most, everybody who comes after it waits too."""

PATIENCE = 300.0
"""Seconds in which a migration has to get its locks, between pauses in which others pass."""

_TURN = "SELECT pg_try_advisory_lock(hashtext('batchwise.migrate'))"
_TURN_SECONDS = 0.2

_LONG = 1.0
"""Seconds after which an open transaction is named as what may hold up a migration."""

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection


class MigrationRefused(Exception):
    """The files and the database disagree about history, or a table was in use for too long."""


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

    @property
    def concurrent(self) -> list[re.Match[str]]:
        """The statements of a file that works beside running transactions; empty for one that is a transaction itself.

        Raises `MigrationRefused` for a file that mixes both.
        """
        statements = [
            " ".join(statement.split()) for statement in _COMMENT.sub("", self.sql).split(";") if statement.strip()
        ]
        found = [match for statement in statements if (match := _CONCURRENT.match(statement))]
        if not any("concurrently" in statement.lower() for statement in statements):
            return []
        if len(found) != len(statements):
            raise MigrationRefused(
                f"{self.package}/{self.name}: a file with CONCURRENTLY may only have CREATE INDEX CONCURRENTLY IF NOT "
                "EXISTS and DROP INDEX CONCURRENTLY IF EXISTS: they run outside of a transaction"
            )
        return found


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


async def migrate(dsn: str, package: str, role: str, *, patience: float = PATIENCE) -> list[str]:
    """Apply what is missing, delivery's own tables first; returns the names that were applied.

    Safe to run by several at once and while the service serves. `role` is made if absent and may read and write every
    table made here, except where a migration takes a right away.

    Raises:
        MigrationRefused: history was edited, or a table was not free within `patience` seconds; then what was applied
            before stays, and the next call goes on from there.
    """
    connection: Connection = await asyncpg.connect(
        dsn, timeout=10, server_settings={"application_name": f"{package}-migrate"}
    )
    try:
        # Asked again, not waited for: a statement that waits is a snapshot that CONCURRENTLY would wait for in turn.
        while not await connection.fetchval(_TURN):  # noqa: ASYNC110 - another process has it
            await asyncio.sleep(_TURN_SECONDS)
        await _prepare(connection, role)
        known = {
            (row["package"], row["number"]): row
            for row in await connection.fetch("SELECT * FROM delivery.schema_migration")
        }
        applied = []
        for migration in (*migrations_of("delivery"), *migrations_of(package)):
            done = known.get((migration.package, migration.number))
            if done is None:
                await _apply(connection, migration, patience)
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


async def _apply(connection: Connection, migration: Migration, patience: float) -> None:
    """One file, wholly or not at all; concurrent statements one by one, each of which may be repeated."""
    if statements := migration.concurrent:
        for statement in statements:
            # One that was cut short leaves an index that is kept up to date and never used; it would count as there.
            if statement["made"] and (broken := await _broken_index(connection, statement["made"])):
                await connection.execute(f"DROP INDEX CONCURRENTLY {broken}")
            await connection.execute(statement.string)
        await _note(connection, migration)
        return
    deadline = time.monotonic() + patience
    while True:
        try:
            async with connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS * 1000:.0f}ms'")
                await connection.execute(migration.sql)
                await connection.execute("SET LOCAL lock_timeout = DEFAULT")
                await _note(connection, migration)
            return
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
            name, long = f"{migration.package}/{migration.name}", await _long_transactions(connection)
            if time.monotonic() > deadline:
                raise MigrationRefused(
                    f"{name}: its tables were in use for {patience:g} s ({error}); transactions that are open for more "
                    f"than {_LONG:g} s: {'; '.join(long) or 'none'}"
                ) from error
            _log.info(
                "a table is in use: others pass, then again", migration=name, error=str(error), open_for_long=long
            )
            await asyncio.sleep(random.uniform(LOCK_SECONDS, 3 * LOCK_SECONDS))  # noqa: S311 - only spreads the tries


async def _broken_index(connection: Connection, name: str) -> str | None:
    """The whole name of an index `name` that was begun and not finished."""
    found: str | None = await connection.fetchval(
        """
        SELECT indexrelid::regclass::text
        FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
        WHERE relname = $1 AND relnamespace IN ('public'::regnamespace, 'delivery'::regnamespace) AND NOT indisvalid
        """,
        name,
    )
    return found


async def _note(connection: Connection, migration: Migration) -> None:
    await connection.execute(
        "INSERT INTO delivery.schema_migration (package, number, name, digest) VALUES ($1, $2, $3, $4)",
        migration.package,
        migration.number,
        migration.name,
        migration.digest,
    )


async def _long_transactions(connection: Connection) -> list[str]:
    """Who keeps transactions of this database open, the oldest first."""
    rows = await connection.fetch(
        """
        SELECT pid, application_name, state, extract(epoch FROM clock_timestamp() - xact_start)::float8 AS seconds
        FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()
          AND xact_start < clock_timestamp() - make_interval(secs => $1)
        ORDER BY xact_start
        LIMIT 5
        """,
        _LONG,
    )
    return [f"pid {row['pid']} ({row['application_name']}, {row['state']}) for {row['seconds']:.1f} s" for row in rows]


async def _prepare(connection: Connection, role: str) -> None:
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
