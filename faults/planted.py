"""Five bugs, planted from outside at start, so that it can be seen that the oracle finds each.

`FAULTS_PLANTED=service=bug` lets `faults.serving` plant one in one service. Each replaces a function of the delivery
layer or of the service by one that is wrong; nothing of either knows of this.
"""

import asyncio
import contextlib
import datetime as dt
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

from delivery.chunks import Chunks
from delivery.database import Pool
from delivery.outbox import Speaker
from delivery.relay import Relay

LATE = 0.4
"""Seconds by which a commit comes after the answer."""


def answer_before_commit() -> None:
    """A caller is told that it is done, and the transaction commits a moment later: whoever is killed then has lied.

    This one is killed then, by itself, so that it is sure: at every third answer, and five times in a run, since what
    was refused or asked again leaves nothing to lose.
    """
    struck = Path(os.environ["FAULTS_STRUCK"])
    number = count(1)
    late: set[asyncio.Task[None]] = set()

    def strike() -> None:
        times = struck.stat().st_size if struck.exists() else 0
        if next(number) % 3 == 0 and times < 5:
            struck.write_text("x" * (times + 1))
            os.kill(os.getpid(), signal.SIGKILL)

    @contextlib.asynccontextmanager
    async def hasty(pool: Pool) -> AsyncIterator[Any]:
        connection = await pool.acquire(timeout=10)
        transaction = connection.transaction()
        try:
            await transaction.start()
            yield connection
        except BaseException:
            with contextlib.suppress(Exception):
                await transaction.rollback()
            await pool.release(connection)
            raise

        async def commit() -> None:
            await asyncio.sleep(LATE)
            strike()
            with contextlib.suppress(Exception):
                await transaction.commit()
            await pool.release(connection)

        task = asyncio.create_task(commit())
        late.add(task)
        task.add_done_callback(late.discard)

    import_module("delivery.commands").transaction_by_key = hasty  # type: ignore[attr-defined]


def inbox_forgets() -> None:
    """After each chunk the inbox is empty: an event that comes again is taken for a new one."""
    take = Chunks.take

    async def forget(self: Chunks, *arguments: Any, **named: Any) -> None:
        await take(self, *arguments, **named)
        await self._pool.execute("DELETE FROM delivery.inbox")

    Chunks.take = forget  # type: ignore[method-assign]


def relay_skips() -> None:
    """Every ninth row of the outbox is deleted as if it had been sent."""
    send = Relay._send
    number = count(1)

    async def skip(self: Relay, producer: Any, rows: Sequence[Any]) -> Any:
        kept = [row for row in rows if next(number) % 9]
        return await send(self, producer, kept) if kept else []

    Relay._send = skip  # type: ignore[method-assign]


def balance_changed_twice() -> None:
    """Of every second movement that arrives at a location, what arrived is added to the balance once more."""
    store = import_module("services.inventory.store").InventoryStore
    write = store.write
    number = count(1)

    async def twice(self: Any, entries: Sequence[Any], **rest: Any) -> None:
        await write(self, entries, **rest)
        for entry in entries:
            for spot, change in entry.booked.movement.changes():
                if change > 0 and next(number) % 2 == 0:
                    await self._db.execute(
                        """
                        UPDATE balance SET quantity = quantity + $5
                        WHERE batch_id = $1 AND site_id = $2 AND location_id = $3 AND quality = $4
                        """,
                        entry.booked.movement.batch_id,
                        spot.site_id,
                        spot.location_id,
                        str(spot.quality),
                        change,
                    )

    store.write = twice


def key_mix_up() -> None:
    """Every fifth announcement gets the key of the one before it."""
    row_of = Speaker._row
    number = count(1)
    before: list[object] = []

    def mixed(self: Speaker, event: Any, cause: Any, now: dt.datetime) -> tuple[object, ...]:
        row = row_of(self, event, cause, now)
        key = before[0] if before and next(number) % 5 == 0 else row[1]
        before[:] = [row[1]]
        return (row[0], key, *row[2:])

    Speaker._row = mixed  # type: ignore[method-assign]


BUGS: dict[str, Callable[[], None]] = {
    "answer-before-commit": answer_before_commit,
    "inbox-forgets": inbox_forgets,
    "relay-skips": relay_skips,
    "balance-twice": balance_changed_twice,
    "key-mix-up": key_mix_up,
}


def plant(bug: str) -> None:
    """Plant one, by its name."""
    BUGS[bug]()
