"""The toy service with one fault planted from outside: `python -m tests.delivery.toy.faulty FAULT VERB`.

Nothing of the delivery layer knows of this: each fault replaces a function of a library or of the toy at start.
"""

import os
import signal
import sys
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer

from delivery import main
from delivery.chunks import Chunks
from tests.delivery.toy import app as toy


def _once(number: signal.Signals) -> Any:
    """Signal this very process, the first time only."""
    left = [number]

    def strike() -> None:
        if left:
            os.kill(os.getpid(), left.pop())

    return strike


def plant(fault: str) -> None:
    """Plant `killed-…` or `frozen-…` at a place."""
    number = {"killed": signal.SIGKILL, "frozen": signal.SIGSTOP}[fault.partition("-")[0]]
    strike = _once(number)
    match fault.partition("-")[2]:
        case "before-transaction":
            take = Chunks.take

            async def take_struck(self: Chunks, arrivals: Any) -> None:
                strike()
                await take(self, arrivals)

            Chunks.take = take_struck  # type: ignore[method-assign]
        case "in-transaction":
            count = toy._count

            async def count_struck(work: Any, rungs: Any) -> None:
                await count(work, rungs)
                strike()

            toy._count = count_struck
        case "before-acknowledgement":
            commit = AIOKafkaConsumer.commit

            async def commit_struck(self: Any, offsets: Any = None) -> None:
                strike()
                await commit(self, offsets)

            AIOKafkaConsumer.commit = commit_struck
        case "before-delete":
            execute = asyncpg.Connection.execute

            async def execute_struck(self: Any, query: str, *values: Any, **named: Any) -> Any:
                if "DELETE FROM delivery.outbox" in query:
                    strike()
                return await execute(self, query, *values, **named)

            asyncpg.Connection.execute = execute_struck  # type: ignore[method-assign]
        case place:
            raise SystemExit(f"no place {place!r}")


if __name__ == "__main__":
    plant(sys.argv[1])
    raise SystemExit(main(toy.service, sys.argv[2:]))
