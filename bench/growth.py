"""Whether a line costs more as a warehouse grows: items, batches of an item, and years of movements behind them.

Stock and past are put into the services' own tables by set-based SQL (`generate_series`), as years of work would have
left them: through Kafka it would take an hour. What is measured goes the usual way, through Kafka.
"""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import asyncpg

from bench import events
from bench.figures import Figure, figure
from bench.run import Run
from bench.stage import Stage
from contracts.allocation import DemandAllocated
from contracts.inventory import StockMoved
from contracts.topics import BATCHES, DEMANDS, OUTBOUND, STOCK

WORKS = ("GROWTH",)

PAST = 1_000_000
_LINES = 2_000
_ROUNDS = 2
_FLAT = 0.20


@dataclass(frozen=True, slots=True)
class Cell:
    """So many items with so many batches each."""

    items: int
    batches: int

    @property
    def names(self) -> list[str]:
        return [f"G-{self.items}-{self.batches}-{n:03}" for n in range(self.items)]


CELLS = [Cell(items, batches) for items in (1, 10, 100) for batches in (100, 1_000, 10_000)]
_OF = {"allocation": CELLS, "inventory": CELLS[:-1]}
"""The last cell has a million batches: the ledger's five tables of those would take longer than all measuring."""


async def measure(run: Run) -> list[Figure]:
    """Milliseconds a line, cell by cell, without a past and with 1,000,000 movements of it."""
    costs: dict[str, dict[tuple[int, Cell], float]] = {"allocation": {}, "inventory": {}}
    async with Stage(run.servers, run.folder, "growth", ["allocation", "inventory"]) as stage:
        await events.build(stage)
        began = time.perf_counter()
        await asyncio.gather(_each(_stock_allocation, stage, "allocation"), _each(_stock_inventory, stage, "inventory"))
        await _settle(stage)
        run.say(f"GROWTH: {sum(c.items * c.batches for c in CELLS):,} batches in {time.perf_counter() - began:.0f} s")
        for past in (0, PAST):
            if past:
                began = time.perf_counter()
                await asyncio.gather(
                    _each(_past_of_allocation, stage, "allocation"), _each(_past_of_inventory, stage, "inventory")
                )
                await _settle(stage)
                run.say(f"GROWTH: {past:,} past movements in {time.perf_counter() - began:.0f} s")
            # Inventory hears allocation's promises without acting on them; each is measured while the other rests.
            await stage.system["inventory"].stop()
            await _promise(stage, Cell(10, 100))
            for cell in _OF["allocation"]:
                costs["allocation"][past, cell] = await _promise(stage, cell)
            await stage.system["inventory"].start()
            await stage.caught_up("inventory", [OUTBOUND])
            await stage.system["allocation"].stop()
            await _receive(stage, Cell(10, 100))
            for cell in _OF["inventory"]:
                costs["inventory"][past, cell] = await _receive(stage, cell)
            await stage.system["allocation"].start()
    figures = []
    for name, what in (("allocation", "a demand line promised"), ("inventory", "a receipt line booked")):
        figures.append(_flatness(run, name, what, costs[name]))
    return figures


def _flatness(run: Run, name: str, what: str, costs: dict[tuple[int, Cell], float]) -> Figure:
    """The table, and how far its worst cell is above the median."""
    usual = statistics.median(costs.values())
    run.say(f"GROWTH: {name}, ms for {what}, and above (+) or below (-) the median of {usual:.3f}")
    for past in (0, PAST):
        for items in (1, 10, 100):
            row = [costs[past, cell] for cell in _OF[name] if cell.items == items]
            cells = "   ".join(f"{cost:.3f} ({cost / usual - 1:+.0%})" for cost in row)
            run.say(f"  past {past:>9,}  items {items:>3}   batches of each 100 / 1,000 / 10,000:   {cells}")
    worst = max(costs.values()) / usual - 1
    above = [
        f"{cell.items}x{cell.batches:,}{' with a past' if past else ''}"
        for (past, cell), cost in costs.items()
        if cost / usual - 1 > _FLAT
    ]
    where = f"; not flat: {', '.join(above)}" if above else ""
    about = f"{what}: worst of {len(costs)} cells above their median of {usual:.3f} ms{where}"
    return figure(f"growth-{name}", about, worst, "of it", at_most=_FLAT, places=2)


async def _promise(stage: Stage, cell: Cell) -> float:
    """Milliseconds a line, the better of two rounds."""
    best = float("inf")
    for _ in range(_ROUNDS):
        lines = [events.demand(cell.names[n % cell.items], 7, nth=n) for n in range(_LINES)]
        load = events.load(DEMANDS, lines)
        async with stage.listen(OUTBOUND) as heard:
            began = time.perf_counter()
            sending = asyncio.create_task(stage.send(load))
            ended = await heard.until(heard.count(DemandAllocated.event_type, _LINES), seconds=120)
            await sending
        best = min(best, (ended - began) * 1000 / _LINES)
    return best


async def _receive(stage: Stage, cell: Cell) -> float:
    """Milliseconds a line, the better of two rounds."""
    best = float("inf")
    for _ in range(_ROUNDS):
        load = events.load(BATCHES, events.arrivals(cell.names, _LINES, mark="NEW"))
        async with stage.listen(STOCK) as heard:
            began = time.perf_counter()
            sending = asyncio.create_task(stage.send(load))
            ended = await heard.until(heard.count(StockMoved.event_type, _LINES), seconds=120)
            await sending
        best = min(best, (ended - began) * 1000 / _LINES)
    return best


async def _settle(stage: Stage) -> None:
    """What the server does by itself within minutes.

    The checkpoint first: each page that is changed for the first time after one goes into the log as a whole (1.0
    pages and 12 kB a line instead of 0.2 and 4, among a million batches). In work that is the price of one in a quarter
    of an hour; right before each measurement it would be measured as if it were that of the batches.
    """
    for name in ("allocation", "inventory"):
        async with stage.database(name) as db:
            await db.execute("CHECKPOINT")
            await db.execute("VACUUM ANALYZE")


async def _each(put: Callable[[Stage, Cell], Awaitable[None]], stage: Stage, service: str) -> None:
    for cell in _OF[service]:
        await put(stage, cell)


# A batch's id is made of its names, so that every table knows it alike.
_MADE = """
    WITH made AS MATERIALIZED (
        SELECT item_id, md5(item_id || '/' || b)::uuid AS batch_id, 'B' || b AS batch_no,
               date '2028-01-01' + 1 + (b * 7919) % 699 AS expires_on, b
        FROM unnest($1::text[]) AS item_id, generate_series(1, $2::int) AS b
    )
"""


async def _stock_allocation(stage: Stage, cell: Cell) -> None:
    """Each batch with enough on the shelf for all lines of all rounds."""
    async with stage.database("allocation") as db:
        await _bulk(db)
        await db.execute(
            """
            INSERT INTO item (item_id, base_unit, expiry_required, revision, sequence)
            SELECT item_id, 'C62', true, 1, $2::int FROM unnest($1::text[]) AS item_id
            """,
            cell.names,
            cell.batches,
        )
        await db.execute(
            _MADE
            + """
            , kept AS (
                INSERT INTO batch (batch_id, item_id, batch_no, manufactured_on, expires_on, received_on)
                SELECT batch_id, item_id, batch_no, date '2026-10-01', expires_on, date '2026-11-01' FROM made
            )
            INSERT INTO shelf (item_id, batch_id, site_id, location_id, quality, purpose, free, held, batch_no,
                               manufactured_on, expires_on, received_on)
            SELECT item_id, batch_id, $3, 'A-01', 'released', 'storage', 20 + 100000 / ($2::int * $4::int), false,
                   batch_no, date '2026-10-01', expires_on, date '2026-11-01'
            FROM made
            """,
            cell.names,
            cell.batches,
            events.SITE,
            cell.items,
        )


async def _stock_inventory(stage: Stage, cell: Cell) -> None:
    """Each batch received once and standing in one bin; the ledger adds up to the balances."""
    async with stage.database("inventory") as db:
        await _bulk(db)
        await db.execute(
            """
            INSERT INTO item (item_id, name, base_unit, climate, near_expiry_days, gtins, revision)
            SELECT item_id, item_id, 'C62', 'ambient', NULL, '{}', 1 FROM unnest($1::text[]) AS item_id
            """,
            cell.names,
        )
        await db.execute(
            _MADE
            + """
            , kept AS (
                INSERT INTO batch (batch_id, item_id, unit, batch_no, origin, expires_on, received_on)
                SELECT batch_id, item_id, 'C62', batch_no, 'supplier', expires_on, date '2026-11-01' FROM made
            ), numbered AS (
                INSERT INTO item_sequence (item_id, last)
                SELECT item_id, $2::int FROM unnest($1::text[]) AS item_id
            ), posted AS (
                INSERT INTO movement (movement_id, item_id, sequence, batch_id, quantity, unit, from_kind,
                                      to_kind, to_site_id, to_location_id, to_quality, reason, reference, actor,
                                      effective_at, recorded_at)
                SELECT gen_random_uuid(), item_id, b, batch_id, 10, 'C62', 'supplier',
                       'location', $3, 'A-01', 'released', 'receipt', batch_id || '/1', 'bench', now(), now()
                FROM made
            ), stands AS (
                INSERT INTO balance (batch_id, site_id, location_id, quality, item_id, quantity, last_change)
                SELECT batch_id, $3, 'A-01', 'released', item_id, 10, 10 FROM made
            ), watched AS (
                INSERT INTO batch_at_site (batch_id, site_id, item_id, expires_on, near_on, state)
                SELECT batch_id, $3, item_id, expires_on, NULL, 'watched' FROM made
            )
            INSERT INTO booking (kind, reference, booked_at)
            SELECT 'receipt', batch_id || '/1', now() FROM made
            """,
            cell.names,
            cell.batches,
            events.SITE,
        )


async def _past_of_allocation(stage: Stage, cell: Cell) -> None:
    """Lines that were promised, picked and shipped: a cell's part of a million."""
    async with stage.database("allocation") as db:
        await _bulk(db)
        await db.execute(
            """
            WITH made AS MATERIALIZED (
                SELECT ($1::text[])[1 + n % $2] AS item_id, gen_random_uuid() AS demand_id, n
                FROM generate_series(0, $3 - 1) AS n
            ), asked AS (
                INSERT INTO demand (demand_id, reference, customer_id, site_id, item_id, unit, quantity, missing,
                                    needed_on, strategy, raised_at)
                SELECT demand_id, 'OLD-' || demand_id, $4, $5, item_id, 'C62', 7, 0, date '2026-10-01', 'fefo',
                       now() - interval '90 days'
                FROM made
            ), decided AS (
                INSERT INTO plan (plan_id, demand_id, item_id, inventory_sequence, policy, decided_at, inputs,
                                  outcome)
                SELECT demand_id, demand_id, item_id, 1, 'past', now() - interval '90 days', '{}', '{}' FROM made
            )
            INSERT INTO reservation (reservation_id, demand_id, plan_id, item_id, batch_id, site_id, location_id,
                                     quality, quantity, status, promised_at, staged_at, picked_at, picked_by,
                                     shipment_id, line_id, changed_at)
            SELECT demand_id, demand_id, demand_id, item_id, md5(item_id || '/' || (1 + n % $6))::uuid, $5, 'A-01',
                   'released', 7, 'shipped', now(), 'STAGE', now(), 'bench', demand_id, demand_id, now()
            FROM made
            """,
            cell.names,
            cell.items,
            PAST // len(_OF["allocation"]),
            events.CUSTOMER,
            events.SITE,
            cell.batches,
        )


async def _past_of_inventory(stage: Stage, cell: Cell) -> None:
    """Batches that came and left again: a cell's part of a million movements."""
    async with stage.database("inventory") as db:
        await _bulk(db)
        await db.execute(
            """
            WITH came AS MATERIALIZED (
                SELECT ($1::text[])[1 + n % $2] AS item_id, gen_random_uuid() AS batch_id, n / $2 AS nth
                FROM generate_series(0, $3 - 1) AS n
            ), kept AS (
                INSERT INTO batch (batch_id, item_id, unit, batch_no, origin, received_on)
                SELECT batch_id, item_id, 'C62', 'OLD' || nth, 'supplier', date '2026-01-01' FROM came
            ), guarded AS (
                INSERT INTO booking (kind, reference, booked_at)
                SELECT 'receipt', batch_id || '/1', now() FROM came
                UNION ALL
                SELECT 'issue', batch_id::text, now() FROM came
            ), numbered AS (
                UPDATE item_sequence SET last = last + 2 * counted.batches
                FROM (SELECT item_id, count(*) AS batches FROM came GROUP BY item_id) AS counted
                WHERE item_sequence.item_id = counted.item_id
            ), received AS (
                INSERT INTO movement (movement_id, item_id, sequence, batch_id, quantity, unit, from_kind, to_kind,
                                      to_site_id, to_location_id, to_quality, reason, reference, actor,
                                      effective_at, recorded_at)
                SELECT gen_random_uuid(), item_id, last + 2 * nth + 1, batch_id, 10, 'C62', 'supplier', 'location',
                       $4, 'A-01', 'released', 'receipt', batch_id || '/1', 'bench', now(), now()
                FROM came JOIN item_sequence USING (item_id)
            )
            INSERT INTO movement (movement_id, item_id, sequence, batch_id, quantity, unit, from_kind, from_site_id,
                                  from_location_id, from_quality, to_kind, reason, reference, actor, effective_at,
                                  recorded_at)
            SELECT gen_random_uuid(), item_id, last + 2 * nth + 2, batch_id, 10, 'C62', 'location', $4, 'A-01',
                   'released', 'customer', 'issue', batch_id::text, 'bench', now(), now()
            FROM came JOIN item_sequence USING (item_id)
            """,
            cell.names,
            cell.items,
            PAST // len(_OF["inventory"]) // 2,
            events.SITE,
        )


async def _bulk(db: asyncpg.Connection) -> None:
    """What is put in by hand need not survive a crash of the machine, and refers to what was just put in."""
    await db.execute("SET synchronous_commit = off")
    await db.execute("SET session_replication_role = replica")
