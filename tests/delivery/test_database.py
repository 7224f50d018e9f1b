"""What is written together, and how statements of chunks and commands are planned."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest

from delivery import Connection, NewRows, Pool, Work, Write, unseen, write_together
from delivery.database import open_pool, transaction, transaction_by_key
from delivery.failures import is_slow_down
from delivery.outbox import Speaker

ITEMS = {"item_id": "text", "quantity": "numeric", "since": "date"}
MORE = Write("UPDATE stock SET quantity = quantity + $2 WHERE item_id = ANY($1::text[])", [["A", "B"], 5])


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    pool = open_pool(database, role=None, name="test", size=2, transaction_idle_ms=60_000)
    await pool
    await pool.execute("CREATE SCHEMA kept")
    await pool.execute("CREATE TABLE stock (item_id text PRIMARY KEY, quantity numeric CHECK (quantity >= 0))")
    await pool.execute(
        "CREATE TABLE kept.item (n bigint GENERATED ALWAYS AS IDENTITY, item_id text, quantity numeric, since date)"
    )
    await pool.execute("INSERT INTO stock VALUES ('A', 1), ('B', 2), ('C', 3)")
    yield pool
    await pool.close()


def items(count: int) -> NewRows:
    day = dt.date(2026, 1, 1)
    return NewRows("kept.item", ITEMS, [(f"{count - n}", n, day if n % 2 else None) for n in range(count)])


@pytest.mark.parametrize("count", [0, 1, 49, 50, 500])
async def test_few_rows_and_many_are_written_in_their_order_beside_others(pool: Pool, count: int) -> None:
    async with transaction(pool) as db:
        await write_together(db, [MORE, items(count)])
    rows = await pool.fetch("SELECT item_id, quantity, since FROM kept.item ORDER BY n")
    assert [tuple(row) for row in rows] == [tuple(row) for row in items(count).rows]
    stock = {row["item_id"]: row["quantity"] for row in await pool.fetch("SELECT * FROM stock")}
    assert stock == {"A": 6, "B": 7, "C": 3}


async def test_nothing_to_write_asks_nothing_and_a_little_asks_once(pool: Pool) -> None:
    async with transaction(pool) as db:
        await write_together(db, [MORE, items(1)])  # the driver looks up types once
        assert await _asked(db) == []
        assert await _asked(db, items(0)) == []
        assert len(await _asked(db, MORE, items(1))) == 1


async def _asked(db: Connection, *parts: Write | NewRows) -> list[str]:
    """The statements in which `parts` are written."""
    asked: list[str] = []
    await asyncio.sleep(0)  # the driver tells of a statement one turn of the loop later
    with db.query_logger(lambda record: asked.append(record.query)):
        await write_together(db, parts)
        await asyncio.sleep(0)
    return asked


async def test_a_part_that_fails_takes_the_others_with_it(pool: Pool) -> None:
    too_much = Write("UPDATE stock SET quantity = quantity - $2 WHERE item_id = $1", ["C", 4])
    with pytest.raises(asyncpg.CheckViolationError):
        async with transaction(pool) as db:
            await write_together(db, [items(3), too_much])
    assert await pool.fetchval("SELECT count(*) FROM kept.item") == 0


async def test_a_part_that_does_not_write_what_it_must_takes_the_others_with_it(pool: Pool) -> None:
    nobody = Write("UPDATE stock SET quantity = quantity - 1 WHERE item_id = ANY($1::text[])", [["A", "Z"]], rows=2)
    with pytest.raises(AssertionError, match="2 rows were to be written, and 1 was: UPDATE stock"):
        async with transaction(pool) as db:
            await write_together(db, [items(3), nobody])
    assert await pool.fetchval("SELECT count(*) FROM kept.item") == 0


async def test_what_a_handler_leaves_for_its_end_is_written_once_with_what_it_says(pool: Pool) -> None:
    async with transaction(pool) as db:
        work = Work(db, dt.datetime(2026, 3, 1, tzinfo=dt.UTC))
        work.write_at_end(MORE)
        work.write_at_end(items(2))
        speaker = Speaker("batchwise/test", {})
        await speaker.say(work, [])
        await speaker.say(work, [])
    assert await pool.fetchval("SELECT count(*) FROM kept.item") == 2
    assert await pool.fetchval("SELECT quantity FROM stock WHERE item_id = 'A'") == 6


async def test_parts_that_would_not_see_each_other_are_refused(pool: Pool) -> None:
    async with transaction(pool) as db:
        with pytest.raises(ValueError, match="cannot write twice to a table"):
            await write_together(db, [MORE, Write("DELETE FROM stock WHERE item_id = $1", ["A"])])
        with pytest.raises(ValueError, match="not a plain INSERT"):
            await write_together(db, [MORE, Write("SELECT 1", [])])


async def test_a_chunk_finds_by_key_also_where_its_plan_was_made_for_a_small_table(pool: Pool) -> None:
    asked = f"""
        SELECT big.id FROM unnest({unseen(1, "uuid")}) AS asked (id) JOIN big USING (id)
    """
    await pool.execute("CREATE TABLE big (id uuid PRIMARY KEY) WITH (autovacuum_enabled = off)")
    await pool.execute("INSERT INTO big SELECT gen_random_uuid() FROM generate_series(1, 20)")
    await pool.execute("ANALYZE big")
    async with transaction_by_key(pool) as db:
        for _ in range(8):  # by now the plan is kept
            await db.fetch(asked, [uuid4()])
    await pool.execute("INSERT INTO big SELECT gen_random_uuid() FROM generate_series(1, 20000)")
    async with transaction_by_key(pool) as db:
        await db.fetch(asked, [uuid4()])
        walked = "SELECT seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'big'"
        assert await db.fetchval(walked) == 0, "it walked through the table"
        assert await db.fetchval("SELECT current_setting('enable_seqscan')") == "off"
    assert await pool.fetchval("SELECT current_setting('enable_seqscan')") == "on"


async def test_a_transaction_by_key_commits_or_rolls_back(pool: Pool) -> None:
    async with transaction_by_key(pool) as db:
        await db.execute("INSERT INTO stock VALUES ('D', 4)")
    with pytest.raises(asyncpg.UniqueViolationError):
        await _twice(pool, "E")
    async with transaction_by_key(pool) as db:
        assert await db.fetchval("SELECT string_agg(item_id, '' ORDER BY item_id) FROM stock") == "ABCD"


async def test_a_connection_that_is_lost_in_a_transaction_says_so_and_is_not_used_again(pool: Pool) -> None:
    with pytest.raises(Exception) as lost:  # noqa: PT011 - the driver has several words for it
        await _lose_its_connection(pool)
    assert is_slow_down(lost.value)
    async with transaction_by_key(pool) as db:
        assert await db.fetchval("SELECT 1") == 1


async def _twice(pool: Pool, item_id: str) -> None:
    async with transaction_by_key(pool) as db:
        for _ in range(2):
            await db.execute("INSERT INTO stock VALUES ($1, 5)", item_id)


async def _lose_its_connection(pool: Pool) -> None:
    async with transaction_by_key(pool) as db:
        await pool.execute("SELECT pg_terminate_backend($1)", await db.fetchval("SELECT pg_backend_pid()"))
        while True:
            await db.execute("SELECT pg_sleep(0.01)")
