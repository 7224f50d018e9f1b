"""All five services together: how fast they start, what they hold, and how long goods take from dock to ledger."""

import asyncio
import time
from collections.abc import Sequence

import orjson
import psutil

from bench import events
from bench.clients import Request
from bench.figures import Figure, figure, percentiles, spread
from bench.run import Run
from bench.stage import Heard, Stage
from contracts.integration import CostPosted
from contracts.inventory import StockMoved
from contracts.topics import CATALOG, POSTINGS, RECEIPTS, STOCK
from deploy.local.processes import SERVICES
from deploy.local.servers import Servers

WORKS = ("START", "E2E")

_RATE = 300
_SECONDS = 8
_RECEIPT = b'"kind":"receipt"'


async def measure(run: Run) -> list[Figure]:
    """Those of `WORKS` that the run asks for, on servers that start from nothing as those of `make up` do."""
    figures: list[Figure] = []
    began = time.perf_counter()
    async with Servers(run.folder / "whole-servers", own=True) as servers:
        servers_took = time.perf_counter() - began
        async with Stage(servers, run.folder, "whole", SERVICES) as stage:
            everything = time.perf_counter() - began
            if run.wants("START"):
                run.say(f"START: servers {servers_took:.1f} s, then databases, topics and services: {everything:.1f} s")
                what = "broker, database, migrations and five services, from a finished set-up to ready"
                figures.append(figure("up", what, everything, "s", at_most=15))
                figures += await _each_alone(stage, run)
            if run.wants("E2E"):
                figures += await _end_to_end(stage, run)
    return figures


async def _each_alone(stage: Stage, run: Run) -> list[Figure]:
    """Seconds from `serve` to ready, and what is resident when nothing happens, each service while the others run."""
    figures = []
    for name in SERVICES:
        service = stage.system[name]
        await service.stop()
        began = time.perf_counter()
        await service.start()
        ready = time.perf_counter() - began
        figures.append(figure(f"ready-{name}", f"{name}: from serve to ready", ready, "s", at_most=3, places=2))
    await asyncio.sleep(2)  # what starting took is given back by then
    for name in SERVICES:
        pid = stage.system[name].pid
        assert pid is not None
        megabytes = psutil.Process(pid).memory_info().rss / 1e6
        figures.append(figure(f"idle-{name}", f"{name}: resident when idle", megabytes, "MB", at_most=120))
    told = ", ".join(f"{each['id']} {each['value']}" for each in figures)
    run.say(f"START: {told}")
    return figures


async def _end_to_end(stage: Stage, run: Run) -> list[Figure]:
    """Receipts over HTTP at a steady rate: when each one's movement and its cost posting are on their topics.

    A movement is on its topic after the commit that makes the stock visible, so visible is never later than that.
    """
    names = [f"E2E-{n:02}" for n in range(20)]
    expectations = await _expect(stage, names)
    warm = [_receipt(names, expectations, n, "warm") for n in range(_RATE)]
    await stage.call("receiving", warm, user="olivia", clients=8, rate=_RATE / 2)
    receipts = _RATE * _SECONDS
    requests = [_receipt(names, expectations, n, "e") for n in range(receipts)]
    moved, posted = StockMoved.event_type, CostPosted.event_type
    async with stage.listen(STOCK, POSTINGS) as heard:
        reading = asyncio.create_task(heard.until(heard.count(posted, receipts, _RECEIPT, b'"e-'), seconds=120))
        result = await stage.call("receiving", requests, user="olivia", clients=64, rate=_RATE)
        await reading
        came = {moved: _by_batch(heard.heard, moved), posted: _by_batch(heard.heard, posted)}
    numbers = [f"e-{n:06}" for n in range(receipts)]
    late = sum(1 for each in heard.heard if each.kind == posted and _RECEIPT not in each.body)
    answered = dict(zip(numbers, zip(result.due, result.answered, strict=True), strict=True))
    stock50, stock99 = spread((came[moved][no] - answered[no][0]) * 1000 for no in numbers)
    post50, post99 = spread((came[posted][no] - answered[no][0]) * 1000 for no in numbers)
    after50, after99 = spread((came[posted][no] - answered[no][1]) * 1000 for no in numbers)
    http50, http99 = percentiles(result)
    run.say(
        f"E2E at {_RATE}/s, ms from sending the receipt: answer p50 {http50:.0f} p99 {http99:.0f}, stock p50 "
        f"{stock50:.0f} p99 {stock99:.0f}, posting p50 {post50:.0f} p99 {post99:.0f}; from its answer to the posting "
        f"p50 {after50:.0f} p99 {after99:.0f}; {late} costs learnt after the movement; clients {result.cpu_share:.0%} "
        "of a core"
    )
    at = f"{_RATE} receipts/s over HTTP, five services"
    return [
        figure("E2E-answer", f"{at}: answer, p99 (p50 {http50:.0f} ms)", http99, "ms"),
        figure("E2E-stock", f"{at}: stock in inventory, p99 (p50 {stock50:.0f} ms)", stock99, "ms"),
        figure("E2E", f"{at}: ERP posting on its topic, p99 (p50 {post50:.0f} ms)", post99, "ms", at_most=150),
    ]


async def _expect(stage: Stage, names: Sequence[str]) -> dict[str, str]:
    """Items, their supplier, and an order of plenty at a known cost for each; wait until receiving knows."""
    await events.build(stage)
    for event in events.partners():
        body = event.model_dump_json(exclude={"partner_id", "revision"}, exclude_none=True)
        put = Request(method="PUT", path=f"/partners/{event.partner_id}", body=body, key=events.a_key())
        await stage.call("integration", [put], user="mei")
    for item in events.items(names):
        body = item.model_dump_json(exclude={"item_id", "revision"}, exclude_none=True)
        put = Request(method="PUT", path=f"/items/{item.item_id}", body=body, key=events.a_key())
        await stage.call("integration", [put], user="mei")
    orders = [
        Request(
            path="/expected-receipts",
            body=(
                f'{{"origin":"supplier","item_id":"{name}","quantity":"1000000","unit":"C62","site_id":"{events.SITE}",'
                f'"due_on":"2026-11-02","partner_id":"{events.SUPPLIER}","unit_cost":"2.50","currency":"CNY"}}'
            ),
            key=events.a_key(),
        )
        for name in names
    ]
    result = await stage.call("integration", orders, user="mei", keep_bodies=True)
    await stage.caught_up("receiving", [CATALOG, RECEIPTS])
    await stage.caught_up("inventory", [CATALOG])
    return {name: orjson.loads(body)["expected_receipt_id"] for name, body in zip(names, result.bodies, strict=True)}


def _receipt(names: Sequence[str], expectations: dict[str, str], n: int, mark: str) -> Request:
    name = names[n % len(names)]
    return events.receipt(name, f"{mark}-{n:06}", expected_receipt_id=expectations[name])


def _by_batch(heard: Sequence[Heard], kind: str) -> dict[str, float]:
    """When the first message of a type about each batch number came."""
    came: dict[str, float] = {}
    for each in heard:
        if each.kind == kind:
            body = each.read()
            came.setdefault(body["batch_no"] if "batch_no" in body else body["batch"]["batch_no"], each.at)
    return came
