"""Long work in turns: one event loop serves a chunk of hundreds and the person who waits for an answer."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

Thing = TypeVar("Thing")

_TURN = 25
"""So many things of a chunk take about a millisecond."""


async def in_turns(things: Iterable[Thing]) -> AsyncIterator[Thing]:
    """Each of `things`, in order; after every few whatever else is ready goes on first."""
    for n, thing in enumerate(things, start=1):
        yield thing
        if n % _TURN == 0:
            await asyncio.sleep(0)
