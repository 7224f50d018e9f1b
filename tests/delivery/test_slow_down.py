"""Trouble of the infrastructure is told from trouble of the message in work."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg

from delivery.failures import is_slow_down
from tests.delivery.playground import until


@asynccontextmanager
async def a_line_that_never_hangs_up(dsn: str) -> AsyncIterator[str]:
    """The DSN of a line to the database over which every word comes, and its end does not."""
    parts = urlsplit(dsn)
    ends: list[asyncio.StreamWriter] = []

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(parts.hostname, parts.port)
        ends.extend((writer, back))
        await asyncio.gather(pass_on(reader, back), pass_on(there, writer), return_exceptions=True)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{port}").geturl()
    finally:
        for end in ends:
            end.transport.abort()
        server.close()


async def test_a_connection_that_was_told_goodbye_and_is_not_closed_yet_is_no_fault_of_who_uses_it(
    database: str,
) -> None:
    admin = await asyncpg.connect(database)
    async with a_line_that_never_hangs_up(database) as line:
        told = await asyncpg.connect(line)
        pid = told.get_server_pid()
        await admin.execute("SELECT pg_terminate_backend($1)", pid)

        async def gone() -> bool:
            return not await admin.fetchval("SELECT count(*) FROM pg_stat_activity WHERE pid = $1", pid)

        await until(gone)
        trouble: BaseException | None = None
        try:
            # The goodbye comes before or while this is asked: both are the same to whoever asks.
            await told.fetchval("SELECT $1::int", 1, timeout=5)
        except Exception as error:
            trouble = error
        assert trouble is not None
        assert is_slow_down(trouble), repr(trouble)
        told.terminate()
    await admin.close()


def test_what_the_driver_cannot_do_is_a_fault() -> None:
    assert not is_slow_down(asyncpg.InternalClientError("unexpected data in the middle of a message"))
    assert not is_slow_down(asyncpg.InterfaceError("the server expects 2 arguments for this query, 1 was passed"))
