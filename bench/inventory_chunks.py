"""How fast inventory takes chunks of receipts, picks and shipment lines, and answers "what is there of this item?".

Real database, real handlers, inbox and outbox; no broker. `python -m bench.inventory_chunks`
"""

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from contracts.event import Event
from deploy.local.servers import Servers
from services.inventory.app import service
from tests.inventory.words import Lot, build
from tests.service_harness import Running, running

CHUNK = 500
CHUNKS = 20
BATCHES_OF_ONE_ITEM = 10_000


async def timed(at: Running, name: str, events: Sequence[Event]) -> None:
    """Take the events in chunks, and print the rate of the best half of the chunks and of all."""
    arrivals = [at.arrival(event) for event in events]
    seconds = []
    for start in range(0, len(arrivals), CHUNK):
        began = time.perf_counter()
        await at.runtime.chunks.take(arrivals[start : start + CHUNK])
        seconds.append(time.perf_counter() - began)
    usual = sorted(seconds)[len(seconds) // 2]
    print(
        f"{name:<44} {len(arrivals) / sum(seconds):>8,.0f}/s   chunk of {CHUNK}: median {usual * 1000:.0f} ms, "
        f"best {min(seconds) * 1000:.0f} ms, worst {max(seconds) * 1000:.0f} ms"
    )


async def main() -> None:
    """Measure and print."""
    folder = Path(tempfile.mkdtemp(prefix="batchwise-bench-"))
    servers = Servers(folder)
    await servers.start()
    try:
        async with running(service, await servers.create_database("inventory_chunks"), folder) as at:
            await build(at)
            await measure(at)
    finally:
        await servers.close()
        shutil.rmtree(folder, ignore_errors=True)


async def measure(at: Running) -> None:
    """The measurements."""
    print(f"{os.cpu_count()} cores, {CHUNKS} chunks of {CHUNK}")
    of_item: Callable[[int], str] = lambda n: f"ITEM-{n % 100}"  # noqa: E731
    lots = [Lot(f"L{n}", item_id=of_item(n)) for n in range(CHUNK * CHUNKS)]
    await timed(at, "receipts, new batches over 100 items", [lot.received("10") for lot in lots])
    await timed(at, "receipts, more of known batches", [lot.received("1") for lot in lots])
    await timed(at, "picks", [lot.picked("4", at="DOCK") for lot in lots])
    await timed(at, "shipment lines at the gate", [lot.dispatched("3") for lot in lots])
    one = [Lot(f"B{n}", item_id="ONE") for n in range(BATCHES_OF_ONE_ITEM)]
    await timed(at, "receipts, new batches of one item", [lot.received("10") for lot in one])
    await at.runtime.pool.execute("ANALYZE")
    for item_id, batches in (("ITEM-1", CHUNK * CHUNKS // 100), ("ONE", BATCHES_OF_ONE_ITEM)):
        seconds = []
        for _ in range(15):
            began = time.perf_counter()
            answer = await at.get(f"/items/{item_id}/stock")
            seconds.append(time.perf_counter() - began)
            assert len(answer.json()["batches"]) == batches, answer.text[:300]
        print(
            f"stock of an item with {batches:>6,} batches: median {sorted(seconds)[7] * 1000:.1f} ms by HTTP in process"
        )


if __name__ == "__main__":
    asyncio.run(main())
