"""Makes a new database server like one that has run for a day, as far as that matters here: its log has files."""

import asyncpg

_FILES = 60


async def wear_in(dsn: str) -> None:
    """Let the server make 1 GB of log files (WAL) and keep them, to be written over.

    A new one makes each file of 16 MB when it is first needed, and every commit of every service waits for that: 45 ms
    on the machine where README's figures were measured, after each 4,000 lines of W5.
    """
    database = await asyncpg.connect(dsn)
    try:
        for _ in range(_FILES):
            await database.execute("SELECT pg_logical_emit_message(true, '', 'so that there is something to keep')")
            await database.execute("SELECT pg_switch_wal()")
        await database.execute("CHECKPOINT")
    finally:
        await database.close()
