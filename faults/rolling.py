"""A roll-out under load: two replicas of every service, each ended and started anew in turn, while everybody works.

`python -m faults.rolling` rolls this version over itself; with `--old COMMIT` the system begins at that version, and
each service is migrated while the older one still serves, then replaced. It prints what callers saw and the end-to-end
time during the roll, and lets the oracle compare everything at the end; exits 1 when anything differs.
"""

import argparse
import asyncio
import datetime as dt
import itertools
import json
import logging
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from contracts.integration import CostPosted
from contracts.topics import POSTINGS
from deploy.checkouts import commit_of, version_at
from deploy.local.processes import HERE, SERVICES, Checkout, ServiceProcess, System
from deploy.local.servers import Servers
from faults.callers import NOT_NOW, Callers
from faults.journal import Call, Journal
from faults.load import Load
from faults.oracle import Verdict, judge
from faults.oracle.seen import look, service_listeners
from faults.outside import Echo, Erp, Wire, listening
from faults.plan import ITEMS, rng_of
from faults.rest import Listener, until_at_rest
from faults.run import Say, end_all, set_up
from faults.witness import put_witness

TOLD_WITHIN = 60.0
"""Seconds from the end of the roll until every caller was told."""


class OneRetry(Callers):
    """Clients behind a plain load balancer: each call goes to the next replica in turn, up or down, and once more.

    `failed` are the calls whose second try failed too; they are gone on with patiently, so that the load goes on.
    `seconds` are the times of answered calls, with their retry; `told_at` when a write was answered (monotonic).
    """

    def __init__(self, system: System, journal: Journal, urls: Mapping[str, str]) -> None:
        super().__init__(system, journal, urls)
        self.failed: list[str] = []
        self.retried = 0
        self.seconds: list[float] = []
        self.told_at: dict[str, float] = {}
        self._turns = itertools.count()

    async def _ask(self, service: str, method: str, path: str, **call: Any) -> httpx.Response | None:
        """The answer, or None when two replicas in turn could not give one."""
        began, turn, why = time.monotonic(), next(self._turns), ""
        replicas = self.offered[service]
        for attempt in range(2):
            url = replicas[(turn + attempt) % len(replicas)]
            try:
                response = await self._client.request(method, url + path, **call)
            except httpx.TransportError as error:
                why += f" {error!r}"
            else:
                if response.status_code not in NOT_NOW:
                    self.seconds.append(time.monotonic() - began)
                    return response
                why += f" {response.status_code} {response.text[:200]}"
            self.retried += attempt == 0
        self.failed.append(f"{method} {service}{path}:{why}")
        return None

    async def get(self, service: str, path: str, *, by: str = "aiko", **query: Any) -> Any | None:
        """As `Callers.get`, after one retry."""
        if self.stopping.is_set():
            return None
        asked = {name: str(value) for name, value in query.items() if value is not None}
        response = await self._ask(service, "GET", path, params=asked, headers=self._headers[by])
        if response is None or response.status_code >= 500:
            return await super().get(service, path, by=by, **query)
        self.journal.done["reads"] += 1
        return response.json() if response.is_success else None

    async def _until_told(self, call: Call) -> httpx.Response:
        call.tries += 1
        headers = {**self._headers[call.by], "Idempotency-Key": call.key, "Content-Type": "application/json"}
        content = json.dumps(call.body, default=str).encode()
        response = await self._ask(call.service, call.method, call.path, content=content, headers=headers)
        if response is None:
            response = await super()._until_told(call)
        self.told_at.setdefault(call.key, time.monotonic())
        return response


class Stopwatch:
    """When each posting was on the ERP's topic, by its reference (monotonic)."""

    def __init__(self) -> None:
        self.heard_at: dict[str, float] = {}

    async def hear(self, record: Any) -> None:
        """One record of the topic."""
        if not record.key.startswith(b"malformed/"):
            reference = CostPosted.read(record.value).reference
            if reference is not None:
                self.heard_at.setdefault(reference, time.monotonic())

    def since(self, told: Mapping[str, float]) -> list[float]:
        """Seconds from each reference in `told` until its posting; those that were not heard are left out."""
        return [max(0.0, self.heard_at[name] - at) for name, at in told.items() if name in self.heard_at]


@dataclass(frozen=True, slots=True)
class Roll:
    """What to roll. `before` is the version that the system begins with, where it is not this one."""

    seed: int
    hands: int = 3
    clerks: int = 3
    rounds: int = 1
    before: Checkout = HERE


@dataclass(slots=True)
class Rolled:
    """What came of it. Lists of seconds: `answers` of every call, with its retry; `end_to_end` from the answer to a
    receipt during the roll to its cost posting on the ERP's topic.
    """

    seconds: float = 0.0
    replaced: int = 0
    migrated: list[str] = field(default_factory=list)
    calls: int = 0
    retried: int = 0
    failed: list[str] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)
    end_to_end: list[float] = field(default_factory=list)
    unrest: Sequence[str] = ()
    verdicts: Sequence[Verdict] = ()

    @property
    def differences(self) -> list[str]:
        """Every sentence; none when no call failed and nothing was lost or doubled."""
        found = [f"failed after one retry: {each}" for each in self.failed]
        found += [f"not at rest: {each}" for each in self.unrest]
        return found + [each for verdict in self.verdicts for each in verdict.differences]


async def roll(ask: Roll, servers: Servers, folder: Path, *, say: Say = lambda line: None) -> Rolled:
    """Roll on started `servers`, which are ours; logs go below `folder`.

    Raises:
        NotStarted: a service did not come up, or could not be migrated.
    """
    rolled, journal, stopwatch = Rolled(), Journal(), Stopwatch()
    async with AsyncExitStack() as stack:
        system = System(folder, servers, checkouts=dict.fromkeys(SERVICES, ask.before))
        stack.push_async_callback(system.stop)
        await system.prepare()
        await asyncio.gather(*(put_witness(servers.dsn(name)) for name in SERVICES))
        replicas = {name: (system[name], system.replica(name)) for name in SERVICES}
        for _, second in replicas.values():
            stack.push_async_callback(second.stop)
        await system.start()
        await asyncio.gather(*(second.start() for _, second in replicas.values()))
        await set_up(system, _now().date())
        await until_at_rest(servers, service_listeners(servers.topic_prefix))
        wire = Wire(servers.kafka, servers.topic_prefix)
        stack.push_async_callback(wire.close)
        callers = await stack.enter_async_context(OneRetry(system, journal, system.urls))
        callers.offered = {name: [each.url for each in some] for name, some in replicas.items()}
        erp = Erp(servers.kafka, servers.topic_prefix, wire, rng_of(ask.seed, "erp"))
        echo = Echo(servers.kafka, servers.topic_prefix, wire)
        postings = listening(servers.kafka, [servers.topic_prefix + POSTINGS.name], stopwatch.hear, group=None)
        outsiders = [asyncio.create_task(each) for each in (erp.run(), echo.run(), postings)]
        stack.push_async_callback(partial(end_all, outsiders))
        load = Load(ask.seed, callers, wire, echo, _now)
        loading = asyncio.create_task(load.run(hands=ask.hands, clerks=ask.clerks))
        stack.push_async_callback(partial(end_all, [loading]))
        say("the load begins")
        await _until_flowing(stopwatch)
        began = time.monotonic()
        for _ in range(ask.rounds):
            for name, some in replicas.items():
                await _replace(name, some, rolled, say)
        ended = time.monotonic()
        rolled.seconds = ended - began
        callers.stopping.set()
        async with asyncio.timeout(TOLD_WITHIN):
            await loading
        erp_listens = Listener("the ERP", erp.group, (servers.topic_prefix + POSTINGS.name,), service=False)
        rest = await until_at_rest(servers, [*service_listeners(servers.topic_prefix), erp_listens])
        rolled.unrest = rest.unrest
        rolled.calls, rolled.retried, rolled.failed = len(callers.seconds), callers.retried, callers.failed
        rolled.answers = callers.seconds
        told = {
            f"{call.answer['receipt_id']}/{line['line_no']}": at
            for call in journal.told("receiving", "receipt")
            if began <= (at := callers.told_at[call.key]) <= ended
            for line in call.answer["lines"]
            if line["outcome"] == "received"
        }
        rolled.end_to_end = stopwatch.since(told)
        seen = await look(
            servers,
            journal,
            at=_now(),
            values={item_id: erp.value_of(item_id) for item_id in ITEMS},
            documents={str(posting_id): document for posting_id, document in erp.documents.items()},
        )
        rolled.verdicts = judge(seen)
    return rolled


async def _replace(name: str, replicas: Sequence[ServiceProcess], rolled: Rolled, say: Say) -> None:
    """Migrate with this version while the others serve, then end and start each replica, one after the other."""
    began = time.monotonic()
    migrating, *_ = replicas
    before, migrating.checkout = migrating.checkout, HERE
    if before != HERE:
        await migrating.migrate()
        rolled.migrated.append(name)
    for each in replicas:
        each.checkout = HERE
        await each.stop()
        await each.start()
        rolled.replaced += 1
    say(f"{name} is replaced, {time.monotonic() - began:.1f} s")


async def _until_flowing(stopwatch: Stopwatch, *, seconds: float = 60.0) -> None:
    """Wait until the first goods went all the way, so that the roll meets work everywhere."""
    async with asyncio.timeout(seconds):
        while len(stopwatch.heard_at) < 5:  # noqa: ASYNC110 - the postings come from other processes
            await asyncio.sleep(0.1)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def times(seconds: Sequence[float]) -> str:
    """p50, p99 and the longest, in milliseconds."""
    if not seconds:
        return "none"
    order = sorted(seconds)
    middle, late = (order[min(len(order) - 1, int(len(order) * share))] for share in (0.5, 0.99))
    return f"p50 {middle * 1000:,.0f} ms, p99 {late * 1000:,.0f} ms, longest {order[-1] * 1000:,.0f} ms of {len(order)}"


def report(rolled: Rolled) -> str:
    """What happened, for people."""
    over = f", migrated under load: {', '.join(rolled.migrated)}" if rolled.migrated else ""
    lines = [
        f"{rolled.replaced} replicas replaced in {rolled.seconds:.1f} s{over}",
        f"{rolled.calls:,} calls, {rolled.retried} sent a second time, {len(rolled.failed)} failed after that",
        f"answers: {times(rolled.answers)}",
        f"receipt confirmed → its posting on the ERP's topic: {times(rolled.end_to_end)}",
    ]
    for verdict in rolled.verdicts:
        mark = "✗" if verdict.differences else "✓"
        lines.append(f"  {mark} {verdict.title:<62} {verdict.compared}")
    lines += [f"  ✗ {each}" for each in rolled.differences[:30]]
    return "\n".join([*lines, f"{len(rolled.differences)} differences"])


def main(arguments: list[str] | None = None) -> int:
    """Parse, roll, print; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m faults.rolling", description=__doc__)
    parser.add_argument("--old", default="", metavar="COMMIT", help="the version that the system begins with")
    parser.add_argument("--rounds", type=int, default=3, help="how often every replica is replaced (3)")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="repeats the load (any)")
    asked = parser.parse_args(arguments)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    folder = Path(tempfile.mkdtemp(prefix="batchwise-roll-"))
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", flush=True)

    async def run(before: Checkout) -> Rolled:
        async with Servers(folder / "servers", own=True, say=say) as servers:
            ask = Roll(asked.seed, rounds=asked.rounds, before=before)
            return await roll(ask, servers, folder, say=say)

    print(f"seed {asked.seed}; logs: {folder}", flush=True)
    before = version_at(commit_of(asked.old), folder / "before") if asked.old else HERE
    rolled = asyncio.run(run(before))
    print(report(rolled))
    if rolled.differences:
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
