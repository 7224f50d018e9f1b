"""Goods in and what is there of them: W1 and W2 through Kafka into booked stock, W3 and W8 over HTTP.

Inventory and receiving run as their own processes. A batch of W1 or W2 is booked when its movement is on the stock
topic, after the commit; a receipt of W3 is received when its answer is there.
"""

import asyncio
import time
from collections.abc import Sequence

from bench import events
from bench.clients import Request, Result
from bench.figures import Figure, figure, percentiles
from bench.run import Run
from bench.stage import Load, Stage
from contracts.inventory import StockMoved
from contracts.topics import BATCHES, CATALOG, STOCK

WORKS = ("W1", "W2", "W3", "W8")

_BOOKED = StockMoved.event_type
_BATCHES = 10_000
_GOAL = 5_000
_WARMING = 2_000
"""Batches of the bound's load that are not timed: the service was at work before too."""


async def measure(run: Run) -> list[Figure]:
    """Those of `WORKS` that the run asks for."""
    figures: list[Figure] = []
    async with Stage(run.servers, run.folder, "goods", ["inventory", "receiving"]) as stage:
        await events.build(stage)
        flows = []
        if run.wants("W1"):
            flows.append(await _receive(stage, run, "W1", ["W1"]))
        if run.wants("W2"):
            flows.append(await _receive(stage, run, "W2", [f"W2-{n:03}" for n in range(100)]))
        if run.wants("W8"):
            figures += await _w8(stage, run)
        await stage.system["inventory"].stop()
        if run.wants("W3"):
            figures += await _w3(stage, run)
        await stage.system.stop()
        figures[0:0] = [await flow.against_bound(stage, run) for flow in flows]
    return figures


class _Flow:
    def __init__(
        self, mark: str, what: str, rate: float, span: tuple[int, int], batches: Load, messages: float, size: int
    ):
        self._mark, self._what, self._rate = mark, what, rate
        self._span, self._batches = span, batches
        self._messages, self._size = messages, size

    async def against_bound(self, stage: Stage, run: Run) -> Figure:
        first, rest = self._batches.messages[:_WARMING], self._batches.messages[_WARMING:]
        loads = [Load(self._batches.topic, first), Load(self._batches.topic, rest)]
        _, bound = await stage.bound("inventory", *self._span, loads, messages=self._messages, size=self._size)
        run.say(f"{self._mark}: our bound is {bound:,.0f} batches/s, efficiency {self._rate / bound:.0%}")
        return figure(self._mark, self._what, self._rate, "batches/s", bound=bound, at_least=_GOAL)


async def _receive(stage: Stage, run: Run, mark: str, names: Sequence[str]) -> _Flow:
    """New batches over some items, 100 lines a receipt: each `BatchReceived` becomes a movement, a balance, a batch."""
    await stage.took("inventory", events.load(CATALOG, events.items(names)))
    batches = events.load(BATCHES, events.arrivals(names, _BATCHES, mark=mark))
    since = await stage.moment("inventory")
    async with stage.listen(STOCK) as heard:
        began = time.perf_counter()
        sending = asyncio.create_task(stage.send(batches))
        ended = await heard.until(heard.count(_BOOKED, _BATCHES), seconds=120)
        await sending
    rate = _BATCHES / (ended - began)
    size = sum(len(each.body) for each in heard.heard) // len(heard.heard)
    messages = len(heard.heard) / _BATCHES
    span = (since, await stage.moment("inventory"))
    rows = await stage.rows_between("inventory", *span) / _BATCHES + messages
    run.say(f"{mark}: {rate:,.0f} batches/s; {rows:.1f} rows and {messages:.1f} messages of {size} bytes a batch")
    items = "one item" if len(names) == 1 else f"{len(names)} items"
    what = f"{_BATCHES:,} new batches of {items} into booked stock, 100 lines a receipt, Kafka to Kafka"
    return _Flow(mark, what, rate, span, batches, messages, size)


async def _w3(stage: Stage, run: Run) -> list[Figure]:
    """One new batch a receipt, over HTTP; 8 clients, and one as the peers were asked."""
    catalog = events.load(CATALOG, [*events.partners(), *events.items(["W3"])])
    await stage.took("receiving", catalog)
    await stage.call("receiving", _receipts("warm", 200), user="olivia", clients=8)
    figures = []
    for mark, clients, receipts in (("W3-1-client", 1, 300), ("W3", 8, 2_000)):
        since = await stage.moment("receiving")
        result = await stage.call("receiving", _receipts(mark, receipts), user="olivia", clients=clients)
        rows = await stage.rows_between("receiving", since) / receipts + 2  # and its two announcements
        rate, (p50, p99) = receipts / result.seconds, percentiles(result)
        run.say(f"{mark}: {rate:,.0f} receipts/s by {clients} HTTP clients, p50 {p50:.1f} ms, p99 {p99:.1f} ms")
        what = f"one new batch a receipt, {clients} HTTP clients (p50 {p50:.1f} ms)"
        figures.append(figure(mark, what, rate, "batches/s", at_least=500 if clients == 8 else None))
        if clients == 8:
            figures.append(
                figure(f"{mark}-p99", f"one new batch a receipt, {clients} clients, p99", p99, "ms", at_most=20)
            )
    await stage.system.stop()
    calls = _receipts("bound", 3_000)
    bound = await stage.bound_http(calls, clients=8, rows=rows, messages=2, size=600, answer=result.answer_bytes)
    run.say(f"W3: a bare endpoint answers {bound:,.0f} calls/s")
    figures[1]["bound"], figures[1]["efficiency"] = round(bound, 1), round(figures[1]["value"] / bound, 3)
    return figures


def _receipts(mark: str, count: int) -> list[Request]:
    return [events.receipt("W3", f"{mark}-{n:05}") for n in range(count)]


async def _w8(stage: Stage, run: Run) -> list[Figure]:
    """Stock of an item by batch, over HTTP, one client."""
    figures = []
    for batches in (100, 1_000, 10_000):
        name = f"W8-{batches}"
        await stage.took("inventory", events.load(CATALOG, events.items([name])))
        await stage.took("inventory", events.load(BATCHES, events.arrivals([name], batches, mark=name)))
        async with stage.database("inventory") as db:
            await db.execute("ANALYZE")  # as autovacuum does within a minute
        asked = Request(method="GET", path=f"/items/{name}/stock")
        await stage.call("inventory", [asked] * 5, user="pavel")
        result = await stage.call("inventory", [asked] * 25, user="pavel", keep_bodies=True)
        _must_show(result, batches)
        p50, p99 = percentiles(result)
        size = len(result.bodies[0]) / 1e6
        run.say(f"{name}: p50 {p50:.1f} ms, worst {p99:.1f} ms, {size:.2f} MB")
        what = f"stock of an item by batch over HTTP, {batches:,} batches ({size:.2f} MB), p50"
        figures.append(figure(name, what, p50, "ms", at_most=40 if batches == 10_000 else None))
    return figures


def _must_show(result: Result, batches: int) -> None:
    import orjson

    shown = orjson.loads(result.bodies[-1])["batches"]
    assert len(shown) == batches, f"{len(shown)} batches are shown of {batches}"
