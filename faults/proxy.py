"""A line between a service and its database that can be cut and slowed."""

import asyncio
from contextlib import suppress
from typing import Self

from deploy.local.ports import LOOPBACK, free_port

_CHUNK = 65_536


class Line:
    """Listens on a port of its own and passes every byte on to `target`, in both directions.

    `cut` ends all connections, and refuses new ones while it is `dead`; `delay` (seconds) holds each piece back.
    """

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self.delay = 0.0
        self.dead = False
        self._target = target
        self._server: asyncio.Server | None = None
        self._passing: set[asyncio.Task[None]] = set()

    async def open(self) -> Self:
        """Begin to listen."""
        self._server = await asyncio.start_server(self._accept, LOOPBACK, self.port)
        return self

    async def close(self) -> None:
        """End everything."""
        if self._server is not None:
            self._server.close()
        self.cut()
        await asyncio.gather(*self._passing, return_exceptions=True)

    def cut(self) -> None:
        """End all connections at once."""
        for task in self._passing:
            task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        try:
            if self.dead:
                return
            try:
                onward_reader, onward_writer = await asyncio.open_connection(LOOPBACK, self._target)
            except OSError:
                return
            there = asyncio.create_task(self._pass(reader, onward_writer))
            back = asyncio.create_task(self._pass(onward_reader, writer))
            try:
                await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                there.cancel()
                back.cancel()
                onward_writer.transport.abort()
        except asyncio.CancelledError:
            pass  # the line was cut
        finally:
            writer.transport.abort()
            self._passing.discard(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                if self.delay:
                    await asyncio.sleep(self.delay)
                writer.write(data)
                await writer.drain()
