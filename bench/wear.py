"""Makes a new database server like one that has run for a day: its log has files, and its memory was all used once."""

import asyncpg

_FILES = 124


async def wear_in(dsn: str) -> None:
    """Let the server make 2 GB of log files (WAL) and keep them, to be written over, and touch all its buffers.

    So many a server keeps by itself that has worked as hard for a while: what it fills between two checkpoints. A new
    one makes each file of 16 MB when it is first needed, and every commit of every service waits for that: 45 ms on the
    machine where README's figures were measured, after each 4,000 lines of W5. Memory that is touched for the first
    time is found and cleared by the system first, which there took a third of the database's time.
    """
    database = await asyncpg.connect(dsn)
    try:
        await database.execute("ALTER SYSTEM SET min_wal_size = '2GB'")
        await database.execute("SELECT pg_reload_conf()")
        for _ in range(_FILES):
            await database.execute("SELECT pg_logical_emit_message(true, '', 'so that there is something to keep')")
            await database.execute("SELECT pg_switch_wal()")
        await database.execute("CREATE UNLOGGED TABLE worn (page text)")
        await database.execute("ALTER TABLE worn ALTER page SET STORAGE PLAIN")
        await database.execute(
            """
            INSERT INTO worn
            SELECT repeat('x', 8000)
            FROM generate_series(1, (SELECT setting::int FROM pg_settings WHERE name = 'shared_buffers'))
            """
        )
        await database.execute("DROP TABLE worn")
    finally:
        await database.close()
    await check_point(dsn)


async def check_point(dsn: str) -> None:
    """Let the server write out now what one work left, so that it is not measured with the next."""
    database = await asyncpg.connect(dsn)
    try:
        await database.execute("CHECKPOINT")
    finally:
        await database.close()
