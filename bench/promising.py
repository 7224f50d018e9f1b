"""Demands promised: W4, W4b, W5 and W7 through Kafka and HTTP, R2 and R3 by clients that want the same at once.

The allocation service runs as its own process, with durable commits and all its rules. What was promised is added up
afterwards, batch by batch.
"""

import asyncio
import itertools
import statistics
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

import httpx

from bench import events
from bench.clients import Request, Result
from bench.events import BATCH_QUANTITY, LINE_QUANTITY
from bench.figures import Figure, figure, percentiles
from bench.run import Run
from bench.stage import Load, Stage
from contracts.allocation import DemandAllocated
from contracts.inventory import StockMoved
from contracts.topics import CATALOG, DEMANDS, OUTBOUND, STOCK
from contracts.values import Strategy

WORKS = ("W4", "W4b", "W5", "W7", "R2", "R3", "SCAN")

_ALLOCATED = DemandAllocated.event_type


async def measure(run: Run) -> list[Figure]:
    """Those of `WORKS` that the run asks for, on one allocation service."""
    figures: list[Figure] = []
    async with Stage(run.servers, run.folder, "promising", ["allocation"]) as stage:
        floor = _Floor(stage)
        await floor.open()
        w5 = None
        if run.wants("W5"):
            w5 = await _w5(floor, run)
            figures += w5.figures
        if run.wants("W4"):
            figures += await _w4(floor, run)
        if run.wants("W4b"):
            figures += await _w4b(floor, run)
        if run.wants("W7"):
            figures += await _w7(floor, run)
            figures += await _w7_rates(floor, run)
        if run.wants("R2"):
            figures += await _r2(floor, run)
        if run.wants("R3"):
            figures += await _r3(floor, run)
        if run.wants("SCAN"):
            figures += await _scan(floor, run)
        figures += await floor.checked()
        await stage.system.stop()
        if w5 is not None:
            figures[0:0] = await w5.against_bound(stage, run)
        for each in figures:
            if (clients := _BOUND_OF.get(each["id"])) is not None:
                await _against_bare_endpoint(stage, run, each, clients, floor.rows_a_line)
    return figures


_BOUND_OF = {"R2-8": 8, "R2-32": 32}


async def _against_bare_endpoint(stage: Stage, run: Run, ours: Figure, clients: int, rows: float) -> None:
    """The same calls to an endpoint without rules that keeps, says and answers as much."""
    requests = [events.reserve("BOUND") for _ in range(2_600)]
    bound = await stage.bound_http(requests, clients=clients, rows=rows, messages=1, size=900, answer=1_100)
    ours["bound"], ours["efficiency"] = round(bound, 1), round(ours["value"] / bound, 3)
    run.say(f"{ours['id']}: a bare endpoint answers {bound:,.0f} calls/s, efficiency {ours['efficiency']:.0%}")


class _Floor:
    """What allocation was told is there, to hold its promises against."""

    rows_a_line = 0.0

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._on_hand: dict[str, int] = {}
        self._wanted: defaultdict[str, Decimal] = defaultdict(Decimal)

    async def open(self) -> None:
        await self.stage.took("allocation", events.load(CATALOG, events.partners()))

    async def shelve(self, names: Sequence[str], batches: int, *, quantity: int = BATCH_QUANTITY) -> float:
        """Stock onto the shelf; movements a second."""
        moved = events.stock(names, batches, quantity=quantity)
        self._remember(moved)
        defined = events.load(CATALOG, events.items(names))
        await self.stage.took("allocation", defined)
        return await self.stage.took("allocation", events.load(STOCK, moved))

    def _remember(self, moved: Sequence[StockMoved]) -> None:
        self._on_hand |= {str(each.batch_id): int(each.quantity) for each in moved}

    async def promise(
        self, wanted: Load, lines: int, *, sent: asyncio.Event | None = None
    ) -> tuple[float, list[DemandAllocated], int, int]:
        """Lines a second from the first demand sent to the last promise on its topic; the promises; messages; bytes.

        `sent` is set when the broker has all demands.
        """
        async with self.stage.listen(OUTBOUND) as heard:
            began = time.perf_counter()
            sending = asyncio.create_task(self.stage.send(wanted))
            if sent is not None:
                sending.add_done_callback(lambda _: sent.set())
            ended = await heard.until(heard.count(_ALLOCATED, lines), seconds=300)
            await sending
            plans = [DemandAllocated.read(each.body) for each in heard.heard if each.kind == _ALLOCATED]
            size = sum(len(each.body) for each in heard.heard) // len(heard.heard)
        self.expect((plan.item_id, plan.wanted) for plan in plans)
        return lines / (ended - began), plans, len(heard.heard), size

    def expect(self, wanted: Iterable[tuple[str, Decimal]]) -> None:
        """What callers were promised."""
        for item_id, quantity in wanted:
            self._wanted[item_id] += quantity

    async def call(
        self,
        names: Sequence[str],
        lines: int,
        *,
        clients: int = 1,
        own: bool = False,
        strategy: Strategy = Strategy.FEFO,
    ) -> Result:
        """So many lines over HTTP, the items by turns; one line a call, one committed promise an answer."""
        requests = [events.reserve(names[n % len(names)], strategy=strategy) for n in range(lines)]
        result = await self.stage.call("allocation", requests, user="pavel", clients=clients, own=own)
        self.expect((names[n % len(names)], Decimal(LINE_QUANTITY)) for n in range(lines))
        return result

    async def checked(self) -> list[Figure]:
        """Every batch of every work: not more promised than there is; and every line got what it was told it got."""
        async with self.stage.database("allocation") as db:
            promised = await db.fetch(
                """
                SELECT batch_id::text, sum(quantity) AS quantity
                FROM   reservation
                WHERE  status IN ('promised', 'picked')
                GROUP  BY batch_id
                """
            )
            by_item = await db.fetch(
                """
                SELECT item_id, sum(quantity) AS quantity
                FROM   reservation
                WHERE  status IN ('promised', 'picked')
                GROUP BY item_id
                """
            )
        doubled = sum(1 for row in promised if row["quantity"] > self._on_hand[row["batch_id"]])
        told = {row["item_id"]: row["quantity"] for row in by_item}
        apart = sum(1 for item_id, quantity in self._wanted.items() if told.get(item_id) != quantity)
        lines = f"{len(promised):,} batches promised of {len(self._on_hand):,}, by all works above"
        return [
            figure(
                "double-bookings", f"batches promised beyond what is there ({lines})", doubled, "batches", at_most=0
            ),
            figure("lost-promises", "items whose promises are not what callers were told", apart, "items", at_most=0),
        ]


class _W5:
    """What W5 came to, by one process of the service and by two, and what the bare loop needs to do as much."""

    def __init__(
        self,
        rates: Mapping[int, float],
        span: tuple[int, int],
        loads: Sequence[Load],
        figures: list[Figure],
        *,
        messages: float,
        size: int,
    ):
        self._rates = rates
        self._span, self._loads = span, loads
        self.figures = figures
        self._messages, self._size = messages, size

    async def against_bound(self, stage: Stage, run: Run) -> list[Figure]:
        bounds = await stage.bound("allocation", *self._span, self._loads, messages=self._messages, size=self._size)
        bound = statistics.median(bounds[1:])
        several = ", ".join(f"{each:,.0f}" for each in bounds)
        efficiency = {processes: rate / bound for processes, rate in self._rates.items()}
        run.say(
            f"W5: our bound is {several} lines/s, the first to warm up; "
            f"efficiency {efficiency[2]:.0%} by two processes, {efficiency[1]:.0%} by one"
        )
        what = f"{_W5_ITEMS} items x {_W5_BATCHES} batches, {_W5_LINES:,} lines FEFO, Kafka to Kafka"
        return [
            figure(
                "W5", f"{what}, two processes of allocation", self._rates[2], "lines/s", bound=bound, at_least=8_000
            ),
            figure("W5-1", f"{what}, one process", self._rates[1], "lines/s", bound=bound),
            figure(
                "W5-efficiency",
                "rate of W5-1 / bare loop, one process each, on the same machine in the same run",
                efficiency[1],
                "ratio",
                bound=1.0,
                at_least=0.6,
                places=3,
            ),
        ]


_W5_ITEMS, _W5_BATCHES, _W5_LINES, _W5_ROUNDS = 100, 100, 10_000, 4


async def _w5(floor: _Floor, run: Run) -> _W5:
    """100 items with 100 batches each; orders of 10 lines of 7 are promised, through Kafka, the database, and Kafka.

    One line is one `DemandRaised`; it is done when its `DemandAllocated` is on the topic. The median of three, each of
    items of its own, after one to warm broker and service, which are warm when the bound is measured. By one process of
    the service, and by two that share the topic's partitions, as replicas do wherever one may be restarted.
    """
    one = await _w5_by(1, floor, run)
    second = floor.stage.system.replica("allocation")
    await second.start()
    try:
        await _share(floor.stage.system["allocation"].url, second.url)
        two = await _w5_by(2, floor, run)
    finally:
        await second.stop()
    short = one.short + two.short
    figures = [figure("W5-short", "lines of W5 that did not get all they want", short, "lines", at_most=0)]
    return _W5({1: one.rate, 2: two.rate}, one.span, one.loads, figures, messages=one.messages, size=one.size)


class _Rounds(NamedTuple):
    """Some rounds of W5: the median rate, what was sent in which span of the database, answers a line, their size."""

    rate: float
    short: int
    span: tuple[int, int]
    loads: Sequence[Load]
    messages: float
    size: int


async def _w5_by(processes: int, floor: _Floor, run: Run) -> _Rounds:
    rounds = [[f"W5-{processes}-{nth}-{n:03}" for n in range(_W5_ITEMS)] for nth in range(_W5_ROUNDS)]
    for names in rounds:
        shelf_rate = await floor.shelve(names, _W5_BATCHES)
    since = await floor.stage.moment("allocation")
    rates, loads, short = [], [], 0
    for names in rounds:
        lines = events.load(DEMANDS, events.orders(_W5_LINES, names))
        rate, plans, messages, size = await floor.promise(lines, _W5_LINES)
        short += sum(1 for plan in plans if plan.missing > 0)
        rates.append(rate)
        loads.append(lines)
    span = (since, await floor.stage.moment("allocation"))
    answers = messages / _W5_LINES
    rows = await floor.stage.rows_between("allocation", *span) / len(rounds) / _W5_LINES + answers
    run.say(
        f"W5: {', '.join(f'{each:,.0f}' for each in rates)} lines/s by {processes}, the first to warm up; "
        f"{rows:.1f} rows and {answers:.1f} messages of {size} bytes a line; "
        f"the shelf took {shelf_rate:,.0f} movements/s"
    )
    return _Rounds(statistics.median(rates[1:]), short, span, loads, answers, size)


async def _share(*urls: str) -> None:
    """Wait until each of these processes has partitions of its own."""
    async with asyncio.timeout(30), httpx.AsyncClient(trust_env=False) as client:
        for url in urls:
            while "delivery_consumer_lag{" not in (await client.get(f"{url}/metrics")).text:  # noqa: ASYNC110
                await asyncio.sleep(0.2)


async def _w4(floor: _Floor, run: Run) -> list[Figure]:
    """An item with 1,000 batches; 1,000 demands of 7, one call each by one client."""
    figures = []
    for strategy in (Strategy.FIFO, Strategy.FEFO, Strategy.LIFO):
        name = f"W4-{strategy.name}"
        await floor.shelve([name], 1_000)
        result = await floor.call([name], 1_000, strategy=strategy)
        rate, (p50, p99) = 1_000 / result.seconds, percentiles(result)
        run.say(f"{name}: {rate:,.0f} lines/s by one HTTP client, p50 {p50:.1f} ms, p99 {p99:.1f} ms")
        figures.append(
            figure(name, f"item of 1,000 batches, one HTTP client, one call a line (p50 {p50:.1f} ms)", rate, "lines/s")
        )
    return figures


async def _w4b(floor: _Floor, run: Run) -> list[Figure]:
    """The same 1,000 lines at once, through Kafka; the median of three items, since one takes a blink."""
    names = [f"W4b-{n}" for n in range(3)]
    await floor.shelve(names, 1_000)
    rates = []
    for name in names:
        wanted = events.load(DEMANDS, [events.demand(name, LINE_QUANTITY, nth=n) for n in range(1_000)])
        rates.append((await floor.promise(wanted, 1_000))[0])
    run.say(f"W4b: {', '.join(f'{rate:,.0f}' for rate in rates)} lines/s")
    return [figure("W4b", "the same 1,000 lines at once, through Kafka", statistics.median(rates), "lines/s")]


_SIZES = (100, 1_000, 10_000)


async def _w7(floor: _Floor, run: Run) -> list[Figure]:
    """FEFO time per line by the number of the item's batches, and when 60 % of them are taken."""
    figures = []
    for taken in (False, True):
        for batches in _SIZES:
            mark = f"W7-{batches}{'-taken' if taken else ''}"
            names = [f"{mark}-{n}" for n in range(2)]
            await floor.shelve(names, batches)
            if taken:
                await _take(floor, names, batches * BATCH_QUANTITY * 6 // 10, each=5 * BATCH_QUANTITY)
            result = await floor.call(names, 100)
            p50, p99 = percentiles(result)
            run.say(f"{mark}: p50 {p50:.2f} ms, p99 {p99:.2f} ms")
            what = f"FEFO p50 a line, {batches:,} batches{', 60 % of them taken' if taken else ''}, one HTTP client"
            figures.append(figure(mark, what, p50, "ms", places=2))
    return figures


async def _take(floor: _Floor, names: Sequence[str], quantity: int, *, each: int) -> None:
    wanted = [events.demand(name, each) for name in names for _ in range(quantity // each)]
    await floor.promise(events.load(DEMANDS, wanted), len(wanted))


async def _w7_rates(floor: _Floor, run: Run) -> list[Figure]:
    """The rate through Kafka at 10,000 batches of one item against that at 100: as much stock, one share a line.

    The medians of three by turns, each of an item of its own.
    """
    total, lines, quantity = 200_000, 5_000, 10
    figures = []
    for taken in (False, True):
        rates: dict[int, list[float]] = {100: [], 10_000: []}
        for turn, batches in itertools.product(range(3), rates):
            name = f"W7-rate-{batches}{'-taken' if taken else ''}-{turn}"
            await floor.shelve([name], batches, quantity=total // batches)
            if taken:
                await _take(floor, [name], total * 6 // 10, each=200)
            wanted = events.load(DEMANDS, [events.demand(name, quantity, nth=n) for n in range(lines)])
            rates[batches].append((await floor.promise(wanted, lines))[0])
        few, many = (statistics.median(several) for several in rates.values())
        mark = "W7-flat-taken" if taken else "W7-flat"
        run.say(f"{mark}: {few:,.0f} lines/s at 100 batches, {many:,.0f} at 10,000: {many / few:.2f}")
        what = f"rate at 10,000 batches of an item / at 100{', 60 % taken' if taken else ''}, through Kafka"
        figures.append(figure(mark, f"{what} ({many:,.0f} lines/s)", many / few, "ratio", at_least=0.8, places=2))
    return figures


async def _r2(floor: _Floor, run: Run) -> list[Figure]:
    """HTTP clients that reserve the same item with 1,000 batches, all at once."""
    await floor.shelve(["R2-warm"], 1_000)
    await floor.call(["R2-warm"], 300, clients=8)
    figures = []
    goals = {8: (800.0, 25.0), 32: (1_200.0, 60.0)}
    for clients, lines, rounds in ((1, 500, 1), (2, 600, 1), (8, 1_300, 2), (32, 1_300, 2)):
        names = [f"R2-{clients}-{n}" for n in range(rounds)]
        await floor.shelve(names, 1_000)
        since = await floor.stage.moment("allocation")
        results = [await floor.call([name], lines, clients=clients) for name in names]
        # And its announcement.
        floor.rows_a_line = await floor.stage.rows_between("allocation", since) / lines / rounds + 1
        least, most = goals.get(clients, (None, None))
        figures += _rate_and_tail(run, f"R2-{clients}", results, f"{clients} HTTP clients, one item", least, most)
    return figures


async def _r3(floor: _Floor, run: Run) -> list[Figure]:
    """8 clients, each with an item of its own."""
    names = [f"R3-{n}" for n in range(8)]
    await floor.shelve(names, 1_000)
    result = await floor.call(names, 2_600, clients=8, own=True)
    return _rate_and_tail(run, "R3", [result], "8 HTTP clients, 8 items", 800.0, 25.0)


_SCANS_A_SECOND, _SCANS, _MEANWHILE = 200, 3_000, 75_000


async def _scan(floor: _Floor, run: Run) -> list[Figure]:
    """Picks are scanned, right and (each tenth) wrong, while demands as those of W5 wait on their topic and are served.

    For fifteen seconds, so that one moment in which the disk is slow is not the whole of the slowest hundredth.
    """
    figures = []
    names = [f"SCAN-{n:03}" for n in range(_W5_ITEMS)]
    await floor.shelve(names, _W5_BATCHES, quantity=16 * BATCH_QUANTITY)
    for mark, scanned, whose in (
        ("SCAN", names, "of the same items"),
        ("SCAN-apart", [f"PICK-{n:03}" for n in range(_W5_ITEMS)], "of other items"),
    ):
        if scanned is not names:
            await floor.shelve(scanned, 100)
        scans = await _picks_to_scan(floor, scanned)
        wanted = events.load(DEMANDS, events.orders(_MEANWHILE, names, seed=9))
        sent = asyncio.Event()
        promising = asyncio.create_task(floor.promise(wanted, _MEANWHILE, sent=sent))
        await sent.wait()
        result = await floor.stage.call(
            "allocation", scans, user="olivia", clients=32, rate=_SCANS_A_SECOND, keep_bodies=True, may_refuse=True
        )
        under_load = not promising.done()
        rate = (await promising)[0]
        right = sum('"verdict":"accepted"' in body for body in result.bodies)
        assert right == len(scans) - len(scans) // 10, f"{right} of {len(scans)} scans were accepted"
        p50, p99 = percentiles(result)
        run.say(
            f"{mark}: p50 {p50:.1f} ms, p99 {p99:.1f} ms at {_SCANS_A_SECOND}/s; {rate:,.0f} demands/s meanwhile"
            f"{'' if under_load else ', which ended before the scans did'}"
        )
        what = f"verdict on a pick's scan at {_SCANS_A_SECOND}/s while W5 promises {whose} at {rate:,.0f}/s, p99"
        figures.append(figure(mark, f"{what} (p50 {p50:.1f} ms)", p99, "ms", at_most=20))
    return figures


async def _picks_to_scan(floor: _Floor, names: Sequence[str]) -> list[Request]:
    first = events.orders(_SCANS, names, seed=8)
    await floor.promise(events.load(DEMANDS, first), _SCANS)
    async with floor.stage.database("allocation") as db:
        picks = await db.fetch(
            """
            SELECT DISTINCT ON (demand_id) reservation_id::text, item_id, batch_no
            FROM   reservation JOIN batch USING (batch_id, item_id)
            WHERE  demand_id = ANY($1::uuid[])
            """,
            [demand.demand_id for demand in first],
        )
    return [
        events.scan(pick["reservation_id"], pick["item_id"], "WRONG" if n % 10 == 9 else pick["batch_no"])
        for n, pick in enumerate(picks)
    ]


def _rate_and_tail(
    run: Run, mark: str, results: Sequence[Result], what: str, least: float | None, most: float | None
) -> list[Figure]:
    rate = sum(len(result.due) for result in results) / sum(result.seconds for result in results)
    p50, p99 = percentiles(*results)
    share = max(result.cpu_share for result in results)
    run.say(f"{mark}: {rate:,.0f} lines/s, p50 {p50:.1f} ms, p99 {p99:.1f} ms; the clients took {share:.0%} of a core")
    return [
        figure(mark, f"{what} (p50 {p50:.1f} ms; clients {share:.0%} of a core)", rate, "lines/s", at_least=least),
        figure(f"{mark}-p99", f"{what}, p99 of a call", p99, "ms", at_most=most),
    ]
