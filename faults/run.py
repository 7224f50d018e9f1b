"""One run: load and trouble, then rest, then the oracle."""

import asyncio
import datetime as dt
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx

from contracts.topics import POSTINGS
from deploy.local.play.input import Input
from deploy.local.play.people import People
from deploy.local.play.world import World
from deploy.local.processes import SERVICES, System
from deploy.local.servers import Servers
from faults.callers import Callers
from faults.journal import Journal
from faults.load import Load
from faults.oracle import Verdict, judge
from faults.oracle.seen import look, service_listeners
from faults.outside import Echo, Erp, Wire
from faults.plan import ITEMS, PARTNERS, SITES, Fault, Toll, faults, rng_of
from faults.proxy import Line
from faults.rest import REST_WITHIN, Listener, Rest, until_at_rest
from faults.trouble import Trouble
from faults.witness import put_witness

_SET_UP = 30.0
"""Seconds that services and building take, about: the midnight of a run is that much less in its middle."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Ask:
    """What to run. The same seed and lengths plan the same deeds and faults."""

    seed: int
    seconds: float
    toll: Toll
    hands: int = 6
    clerks: int = 6
    planted: str = ""
    """`service=bug,…`, see `faults.planted`."""
    patience: float = REST_WITHIN
    """Seconds for callers to be told, and again for the system to come to rest."""


@dataclass(slots=True)
class Outcome:
    """What came of a run. It passes when there is no difference, it came to rest, and nothing ended by itself."""

    ask: Ask
    rest: Rest = field(default_factory=lambda: Rest(0.0, ("it was not awaited",)))
    verdicts: Sequence[Verdict] = ()
    done: Counter[str] = field(default_factory=Counter)
    struck: Counter[str] = field(default_factory=Counter)
    events: int = 0
    echoed: int = 0
    given_up: int = 0
    unasked: Sequence[str] = ()
    logs: Path | None = None

    @property
    def differences(self) -> list[str]:
        """Every sentence."""
        found = [f"not at rest after {self.rest.seconds:.0f} s: {each}" for each in self.rest.unrest]
        found += self.unasked
        return found + [each for verdict in self.verdicts for each in verdict.differences]


def next_midnight(after: dt.datetime) -> dt.datetime:
    """When a day ends in Shanghai, where the main site is: 16:00 UTC."""
    midnight = after.replace(hour=16, minute=0, second=0, microsecond=0)
    return midnight if midnight > after else midnight + dt.timedelta(days=1)


async def play(ask: Ask, servers: Servers, folder: Path, *, say: Say = lambda line: None) -> Outcome:
    """Run all of it on started `servers`, which are ours to disturb; logs go below `folder`.

    Raises:
        NotStarted: the system did not come up before anything was disturbed.
    """
    # The services' clocks are ahead so that a day ends at the main site in the middle of the load.
    middle = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=_SET_UP + ask.seconds / 2)
    midnight = next_midnight(middle)
    ahead = (midnight - middle).total_seconds()

    def now() -> dt.datetime:
        return dt.datetime.now(dt.UTC) + dt.timedelta(seconds=ahead)

    outcome = Outcome(ask, logs=folder / "logs")
    journal = Journal()
    async with AsyncExitStack() as stack:
        lines = {name: await Line(_port(servers.postgres)).open() for name in SERVICES}
        for line in lines.values():
            stack.push_async_callback(line.close)
        system = System(
            folder,
            servers,
            through="faults.serving",
            settings={
                "SESSION_TIMEOUT_MS": "6000",
                "FAULTS_CLOCK_AHEAD": str(ahead),
                "FAULTS_PLANTED": ask.planted,
                "FAULTS_STRUCK": str((folder / "struck").resolve()),
            },
            settings_of=lambda name: {"DATABASE_DSN": _through(servers.dsn(name), lines[name].port)},
        )
        stack.push_async_callback(system.stop)
        await system.prepare()
        await asyncio.gather(*(put_witness(servers.dsn(name)) for name in SERVICES))
        await system.start()
        await set_up(system, now().date())
        await until_at_rest(servers, service_listeners(servers.topic_prefix))
        say("the load begins")
        wire = Wire(servers.kafka, servers.topic_prefix)
        stack.push_async_callback(wire.close)
        callers = await stack.enter_async_context(Callers(system, journal, system.urls))
        erp = Erp(servers.kafka, servers.topic_prefix, wire, rng_of(ask.seed, "erp"))
        echo = Echo(servers.kafka, servers.topic_prefix, wire)
        outsiders = [asyncio.create_task(erp.run()), asyncio.create_task(echo.run())]
        stack.push_async_callback(partial(end_all, outsiders))
        load = Load(ask.seed, callers, wire, echo, now)
        trouble = Trouble(system, servers, callers, lines)
        loading = asyncio.create_task(load.run(hands=ask.hands, clerks=ask.clerks))
        stack.push_async_callback(partial(end_all, [loading]))
        planned = faults(ask.seed, ask.seconds, ask.toll)
        if ask.toll.kills:
            # Whoever watches the expiry is dead when the day ends.
            planned.append(Fault((midnight - now()).total_seconds() - 2, "kill", 5.0, "inventory"))
        await trouble.run(sorted(planned, key=lambda fault: fault.at), ask.seconds)
        callers.stopping.set()
        await trouble.start_everything()
        say(f"the faults are over: {_counted(trouble.struck)}")
        try:
            async with asyncio.timeout(ask.patience):
                await loading
        except TimeoutError:
            outcome.unasked = [f"callers were not told within {ask.patience:g} s"]
        outcome.rest = await until_at_rest(
            servers,
            [
                *service_listeners(servers.topic_prefix),
                Listener("the ERP", erp.group, (servers.topic_prefix + POSTINGS.name,), service=False),
            ],
            seconds=ask.patience,
        )
        say(
            f"at rest after {outcome.rest.seconds:.1f} s"
            if not outcome.rest.unrest
            else f"not at rest: {outcome.rest.unrest}"
        )
        if outcome.rest.unrest:
            outcome.rest = Rest(outcome.rest.seconds, (*outcome.rest.unrest, *await _waiting(system)))
        outcome.unasked = [*outcome.unasked, *trouble.unasked]
        outcome.done, outcome.struck, outcome.echoed = journal.done, trouble.struck, echo.echoed
        seen = await look(
            servers,
            journal,
            at=now(),
            values={item_id: erp.value_of(item_id) for item_id in ITEMS},
            documents={str(posting_id): document for posting_id, document in erp.documents.items()},
        )
        outcome.events = len(seen.records)
        outcome.verdicts = judge(seen)
        if not outcome.differences:
            outcome.given_up, left = await _give_up_parked(system)
            outcome.unasked = [*outcome.unasked, *left]
    return outcome


async def _waiting(system: System) -> list[str]:
    """What services that are not ready say they wait for."""
    found = []
    async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
        for name, url in system.urls.items():
            try:
                answer = await client.get(f"{url}/health/ready")
                if not answer.is_success:
                    found.append(f"{name} waits for {answer.text}")
            except httpx.TransportError as error:
                found.append(f"{name} does not answer: {error!r}")
    return found


async def _give_up_parked(system: System) -> tuple[int, list[str]]:
    """Sofia lets each parked message try once more, in vain, and gives it up: how many, and what went otherwise."""
    given_up, otherwise = 0, []
    async with World(system) as world:
        for name in SERVICES:
            for row in await world.all(name, "/parked", by="sofia", status="parked", limit=500):
                told = await world.post(name, f"/parked/{row['id']}/replay", by="sofia")
                if told["still_parked"] is None:
                    otherwise.append(f"{name}: nonsense took effect when it was replayed: {row['error'][:200]}")
                    continue
                reason = {"reason": "nobody can understand it"}
                await world.post(name, f"/parked/{row['id']}/discard", reason, by="sofia")
                given_up += 1
            left = await world.all(name, "/parked", by="sofia", status="parked")
            otherwise += [f"{name}: still parked after it was given up: {row['error'][:200]}" for row in left]
    return given_up, otherwise


async def end_all(tasks: Sequence["asyncio.Task[None]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def set_up(system: System, today: dt.date) -> None:
    """The building and the catalog, before anything goes wrong."""
    given = Input(today, ITEMS, PARTNERS, SITES, (), (), ())
    async with World(system) as world:
        people = People(world, given)
        await people.set_up_sites()
        await people.import_catalog()


def _port(dsn: str) -> int:
    return urlsplit(dsn).port or 5432


def _through(dsn: str, port: int) -> str:
    """The same DSN at another port of the same host."""
    parts = urlsplit(dsn)
    address = parts.netloc.rpartition(":")[0]
    return urlunsplit(parts._replace(netloc=f"{address}:{port}"))


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{many} {what}" for what, many in counts.most_common())
