"""The command line that every service has: serve, migrate, relay, parked."""

import argparse
import asyncio
import contextlib
import datetime as dt
import gc
import json
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import asyncpg
import structlog
import uvicorn
import uvloop
from aiokafka.errors import KafkaError
from pydantic_settings import BaseSettings

from delivery.app import Runtime, Service, build
from delivery.database import open_pool
from delivery.failures import DeliveryError
from delivery.kafka import create_topics
from delivery.memory import Memory
from delivery.migrating import MigrationRefused, migrate
from delivery.parking import NotParked
from delivery.rebuilding import Rebuilding
from delivery.relay import Relay
from delivery.restoring import Restoring
from delivery.settings import Settings, SettingsRefused, read_settings
from delivery.telemetry import Metrics, Pulses, configure_logs

_log = structlog.get_logger("delivery.main")


def main(service: Service, arguments: Sequence[str] | None = None) -> int:
    """Run a service's command; returns the exit status. Settings are read from the environment."""
    parser = argparse.ArgumentParser(prog=f"python -m {service.package}", description=service.about)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("serve", help="HTTP, consumer, relay and watches, until SIGTERM")
    verbs.add_parser("migrate", help="bring the database up to date and make the topics; safe at any time")
    verbs.add_parser("relay", help="only move the outbox to Kafka, until SIGTERM")
    rebuild = verbs.add_parser(
        "rebuild", help="derive again what is derived, while it serves, and put right what differs"
    )
    rebuild.add_argument("name", nargs="*", help=f"of {', '.join(each.name for each in service.rebuilds)}; else all")
    restore = verbs.add_parser(
        "restore", help="after a backup was restored: what this service said since then, and taking it up again"
    )
    restore.add_argument("--confirm", metavar="WHY", help="take up what can be, then write again")
    parked = verbs.add_parser("parked", help="messages that wait for a person").add_subparsers(
        dest="parked", required=True
    )
    parked.add_parser("list", help="those that wait, oldest first")
    parked.add_parser("show", help="one, whole").add_argument("id", type=int)
    replay = parked.add_parser("replay", help="let one take effect, then those behind it")
    replay.add_argument("id", type=int)
    replay.add_argument("--body", help="replaces the body that came (JSON text)")
    discard = parked.add_parser("discard", help="give one up")
    discard.add_argument("id", type=int)
    discard.add_argument("--reason", required=True)
    asked = parser.parse_args(arguments)
    refusals = []
    kinds: tuple[type[BaseSettings], ...] = (Settings, *service.settings)
    for kind in kinds:
        try:
            read_settings(kind)
        except SettingsRefused as refused:
            refusals.append(str(refused))
    if refusals:
        print(f"{service.name}: the settings are not complete", *refusals, sep="\n", file=sys.stderr)
        return 2
    settings = read_settings(Settings)
    configure_logs(service.name, level=settings.log_level, form=settings.log_format)
    match asked.verb:
        case "serve":
            return _serve(service, settings)
        case "migrate":
            return uvloop.run(_migrate(service, settings))
        case "relay":
            return uvloop.run(_relay(service, settings))
        case "rebuild":
            return uvloop.run(_rebuild(service, settings, asked.name))
        case "restore":
            return uvloop.run(_restore(service, settings, asked.confirm))
        case _:
            return uvloop.run(_parked(service, settings, asked))


def _calm_the_collector() -> None:
    """Let the garbage collector look seldom, and never at what was loaded at start.

    A chunk makes hundreds of thousands of values that live for its length and hold no cycles; by default the collector
    walks them again and again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)


class _Server(uvicorn.Server):
    """Uvicorn raises the signal that ended it once more when it is done; a stop that was asked for is no failure."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to `_serve`."""
        yield


def _serve(service: Service, settings: Settings) -> int:
    async def serve() -> int:
        server = _Server(
            uvicorn.Config(
                build(service, settings),
                host=settings.http_host,
                port=settings.http_port,
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=5,
                server_header=False,
                proxy_headers=False,
            )
        )
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, setattr, server, "should_exit", True)
        _calm_the_collector()
        await server.serve()
        return 0 if server.started else 1

    return uvloop.run(serve())


async def _migrate(service: Service, settings: Settings) -> int:
    role = settings.database_role or service.role
    try:
        applied = await _while_it_starts(lambda: migrate(settings.database_dsn, service.package, role))
        topics = await _while_it_starts(
            lambda: create_topics(settings, service.makes, client=f"{service.name}-migrate")
        )
    except (MigrationRefused, asyncpg.PostgresError, KafkaError, OSError) as error:
        _log.error("migration failed", error=f"{type(error).__name__}: {error}")
        return 1
    _log.info("migrated", applied=applied, topics=topics)
    return 0


async def _while_it_starts(attempt: Any, *, seconds: float = 60) -> Any:
    """Try until the server answers: in a fresh system it may still be starting."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        try:
            return await attempt()
        except (KafkaError, OSError, asyncpg.CannotConnectNowError) as error:
            if asyncio.get_running_loop().time() > deadline:
                raise
            _log.info("not there yet", waits_for=f"{type(error).__name__}: {error}")
            await asyncio.sleep(0.5)


async def _relay(service: Service, settings: Settings) -> int:
    role = settings.database_role or service.role
    metrics = Metrics()
    memory = Memory(settings, service.says, service=service.name, metrics=metrics)
    relay = Relay(settings, service=service.name, role=role, memory=memory, metrics=metrics, pulses=Pulses())
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, relay.stop)
    await relay.run()
    return 0


async def _rebuild(service: Service, settings: Settings, names: Sequence[str]) -> int:
    """0: nothing differed; 3: something did and is right now; 1: it could not be done."""
    known = {each.name: each for each in service.rebuilds}
    if unknown := [name for name in names if name not in known]:
        print(f"{service.name}: nothing is called {', '.join(unknown)}: there are {', '.join(known)}", file=sys.stderr)
        return 2
    # As the owner: copies are made and dropped, and history, which serving may not change, is compared too.
    pool = open_pool(
        settings.database_dsn,
        role=None,
        name=f"{service.name}-rebuild",
        size=3,
        transaction_idle_ms=60_000,
        statement_seconds=3_600,
    )
    await pool
    rebuilding = Rebuilding(service, settings, pool, lambda: dt.datetime.now(dt.UTC))
    rebuilt = []
    try:
        for name in names or known:
            rebuilt.append(await rebuilding.rebuild(known[name]))  # noqa: PERF401 - one after the other
    except (DeliveryError, KafkaError, asyncpg.PostgresError, OSError, TimeoutError) as error:
        _log.error("a rebuild ended early; begin it again", error=f"{type(error).__name__}: {error}")
        return 1
    finally:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(pool.close(), 3)
    _print([each.as_json() for each in rebuilt])
    if any(each.not_heard for each in rebuilt):
        return 1
    return 3 if any(each.differences for each in rebuilt) else 0


async def _restore(service: Service, settings: Settings, why: str | None) -> int:
    role = settings.database_role or service.role
    pool = open_pool(
        settings.database_dsn, role=role, name=f"{service.name}-restore", size=2, transaction_idle_ms=60_000
    )
    await pool
    try:
        restoring = Restoring(service, settings, pool, lambda: dt.datetime.now(dt.UTC))
        report = await (restoring.report() if why is None else restoring.take_up(why))
    except (DeliveryError, KafkaError, asyncpg.PostgresError, OSError, TimeoutError) as error:
        _log.error("nothing was confirmed", error=f"{type(error).__name__}: {error}")
        return 1
    finally:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(pool.close(), 3)
    _print(report.as_json() | {"confirmed": why})
    return 1 if report.missing and why is None else 0


async def _parked(service: Service, settings: Settings, asked: argparse.Namespace) -> int:
    runtime = Runtime(service, settings, clock=lambda: dt.datetime.now(dt.UTC), tracer_provider=None)
    await runtime.pool
    who = "command line"
    try:
        match asked.parked:
            case "list":
                _print([message.model_dump(mode="json") for message in await runtime.parking.listed()])
            case "show":
                _print((await runtime.parking.whole(asked.id)).model_dump(mode="json"))
            case "replay":
                body = None if asked.body is None else asked.body.encode()
                done = await runtime.parking.replay(asked.id, by=who, edited=body)
                _print(done.model_dump(mode="json"))
                return 0 if done.still_parked is None else 1
            case "discard":
                await runtime.parking.discard(asked.id, by=who, why=asked.reason)
    except NotParked as error:
        print(f"{service.name}: {error}", file=sys.stderr)
        return 1
    finally:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(runtime.pool.close(), 3)
    return 0


def _print(found: Any) -> None:
    print(json.dumps(found, indent=2, ensure_ascii=False))
