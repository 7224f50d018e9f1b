"""Migrations while the version before serves: they wait briefly, let everybody pass, and say who is in the way."""

import asyncio
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from delivery.migrating import LOCK_SECONDS, MigrationRefused, migrate, migrations_of
from tests.delivery.playground import Playground

ROLE = "batchwise_shop"
INDEX = "-- scans read it\nCREATE INDEX CONCURRENTLY IF NOT EXISTS stock_by_batch ON stock (batch);"
FIRST = "CREATE TABLE stock (batch text, quantity int); INSERT INTO stock VALUES ('A', 3), ('B', 5);"


class Shop:
    """A package whose migrations a test writes, one after the other."""

    def __init__(self, home: Path, name: str) -> None:
        self.package = name
        self._folder = home / name / "migrations"
        self._folder.mkdir(parents=True)
        (home / name / "__init__.py").write_text("")
        self.add("first", FIRST)

    def add(self, what: str, sql: str) -> str:
        number = len(list(self._folder.glob("*.sql"))) + 1
        name = f"{number:04}_{what}.sql"
        (self._folder / name).write_text(sql)
        return f"{self.package}/{name}"

    def edit(self, name: str, sql: str) -> None:
        (self._folder / name.rpartition("/")[2]).write_text(sql)


@pytest.fixture
def shop(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.syspath_prepend(str(tmp_path))
    made = Shop(tmp_path, f"shop_{abs(hash(request.node.name))}")
    yield made
    sys.modules.pop(made.package, None)


async def index_is_valid(at: "asyncpg.Connection[asyncpg.Record]", name: str) -> bool | None:
    valid: bool | None = await at.fetchval(
        "SELECT indisvalid FROM pg_index JOIN pg_class ON oid = indexrelid WHERE relname = $1", name
    )
    return valid


async def test_while_a_migration_waits_for_a_long_transaction_nobody_waits_longer_than_its_lock_timeout(
    database: str, shop: Shop
) -> None:
    await migrate(database, shop.package, ROLE)
    report, callers = await asyncpg.connect(database), await asyncpg.connect(database)
    waited: list[float] = []
    stopped = asyncio.Event()

    async def call() -> None:
        while not stopped.is_set():
            began = time.monotonic()
            await callers.execute("UPDATE stock SET quantity = quantity + 1 WHERE batch = 'A'")
            waited.append(time.monotonic() - began)
            await asyncio.sleep(0.01)

    reading = report.transaction()
    await reading.start()
    await report.fetch("SELECT * FROM stock")
    added = shop.add("expires", "ALTER TABLE stock ADD COLUMN expires date;")
    migrating = asyncio.create_task(migrate(database, shop.package, ROLE))
    calling = asyncio.create_task(call())
    await asyncio.sleep(5 * LOCK_SECONDS)  # the length of the long transaction, not a wait for something
    assert not migrating.done()
    await reading.commit()
    assert await asyncio.wait_for(migrating, 30) == [added]
    stopped.set()
    await calling
    assert max(waited) > LOCK_SECONDS / 4, "nobody met the migration, so this test shows nothing"
    assert max(waited) < 3 * LOCK_SECONDS
    await asyncio.gather(report.close(), callers.close())


async def test_a_table_that_stays_in_use_ends_the_migration_and_says_who_has_it(database: str, shop: Shop) -> None:
    await migrate(database, shop.package, ROLE)
    forgotten = await asyncpg.connect(database, server_settings={"application_name": "a forgotten psql"})
    reading = forgotten.transaction()
    await reading.start()
    await forgotten.fetch("SELECT * FROM stock")
    before = shop.add("place", "CREATE TABLE place (name text);")
    held_up = shop.add("expires", "ALTER TABLE stock ADD COLUMN expires date;")
    with pytest.raises(MigrationRefused, match=rf"^{held_up}: .* in use for 1 s .*a forgotten psql, idle in trans"):
        await migrate(database, shop.package, ROLE, patience=1)
    assert await forgotten.fetchval("SELECT to_regclass('place') IS NOT NULL"), f"{before} does not stay"
    await reading.commit()
    assert await migrate(database, shop.package, ROLE) == [held_up]
    await forgotten.close()


async def test_an_index_is_built_while_somebody_writes_and_two_deployments_do_it_once(
    database: str, shop: Shop
) -> None:
    await migrate(database, shop.package, ROLE)
    writer, other = await asyncpg.connect(database), await asyncpg.connect(database)
    writing = writer.transaction()
    await writing.start()
    await writer.execute("INSERT INTO stock VALUES ('C', 7)")
    added = shop.add(
        "by_batch", "-- read by scans\nCREATE INDEX CONCURRENTLY IF NOT EXISTS stock_by_batch ON stock (batch);"
    )
    both = [asyncio.create_task(migrate(database, shop.package, ROLE)) for _ in range(2)]
    async with asyncio.timeout(20):
        while await index_is_valid(other, "stock_by_batch") is None:  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.01)
    await other.execute("INSERT INTO stock VALUES ('D', 9)", timeout=2)
    assert not any(one.done() for one in both)
    await writing.commit()
    assert sorted(await asyncio.wait_for(asyncio.gather(*both), 30)) == [[], [added]]
    assert await index_is_valid(other, "stock_by_batch")
    await asyncio.gather(writer.close(), other.close())


async def test_an_index_that_was_cut_short_is_built_anew(database: str, shop: Shop) -> None:
    await migrate(database, shop.package, ROLE)
    sql = await asyncpg.connect(database)
    await sql.execute("INSERT INTO stock VALUES ('A', 1)")
    added = shop.add("unique", "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS stock_batch ON stock (batch);")
    with pytest.raises(asyncpg.UniqueViolationError):
        await migrate(database, shop.package, ROLE)
    assert await index_is_valid(sql, "stock_batch") is False
    await sql.execute("DELETE FROM stock WHERE quantity = 1")
    assert await migrate(database, shop.package, ROLE) == [added]
    assert await index_is_valid(sql, "stock_batch")
    await sql.close()


def test_a_file_that_works_in_and_outside_of_a_transaction_is_refused(shop: Shop) -> None:
    shop.add("both", "ALTER TABLE stock ADD COLUMN x int; CREATE INDEX CONCURRENTLY IF NOT EXISTS x ON stock (x);")
    with pytest.raises(MigrationRefused, match="a file with CONCURRENTLY may only have"):
        [migration.concurrent for migration in migrations_of(shop.package)]


async def test_an_edited_migration_is_refused(database: str, shop: Shop) -> None:
    await migrate(database, shop.package, ROLE)
    shop.edit("0001_first.sql", FIRST.replace("int", "bigint"))
    with pytest.raises(MigrationRefused, match=r"0001_first\.sql was edited after"):
        await migrate(database, shop.package, ROLE)


async def test_a_column_that_a_migration_adds_is_no_fault_for_callers_of_the_version_before(
    place: Playground,
) -> None:
    async with place.here() as toy:
        assert (await toy.post("/rings", {"name": "a", "n": 1})).status_code == 201
        await place.sql.execute("ALTER TABLE delivery.answer ADD COLUMN note text")
        assert (await toy.post("/rings", {"name": "a", "n": 2})).status_code == 201
