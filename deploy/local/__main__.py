"""Batchwise on one machine: `python -m deploy.local --help`."""

import argparse
import asyncio
import inspect
import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import psutil
from rich.console import Console

from deploy.local import running
from deploy.local.board import Board
from deploy.local.faults import LocalFault, Missing
from deploy.local.issuer import ROLES, USERS, Issuer, user_named, user_with
from deploy.local.kafka import broker_answers
from deploy.local.postgres import database_answers
from deploy.local.processes import System, is_ready
from deploy.local.servers import Servers

FIRST_PORT = 8101
"""Where `up` looks for the services' ports first, so that bookmarks stay."""

_STOPPED_WITHIN = 60.0
_TICK = 0.2

console = Console()
complaints = Console(stderr=True)


def runs() -> Path:
    """The folder of all runs: `$BATCHWISE_LOCAL`, or `.local` in the project."""
    given = os.environ.get("BATCHWISE_LOCAL")
    return Path(given).resolve() if given else Path(__file__).resolve().parents[2] / ".local"


async def up(_: argparse.Namespace) -> int:
    folder = runs() / "up"
    with running.alone(folder):
        with Board(console) as board:
            servers = Servers(folder, persistent=True, say=lambda line: board.report("servers", line))
            system = System(folder, servers, first_port=FIRST_PORT, report=board.report)
            await _start(system, board)
        try:
            running.write_note(
                folder,
                kafka=servers.kafka,
                postgres=servers.postgres,
                provenance=servers.provenance,
                urls=system.urls,
            )
            _show(system, folder)
            await _say_who_ends(system)
        except asyncio.CancelledError:
            pass  # told to stop: what `up` is waiting for
        finally:
            _say("stopping …")
            await asyncio.shield(_stop(system))
            _say("stopped; the data stays for the next time (`make clean` removes it)")
    return 0


async def down(_: argparse.Namespace) -> int:
    process = running.holder(runs() / "up")
    if process is None:
        _say("nothing is running")
        return 0
    process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + _STOPPED_WITHIN
    while running.holder(runs() / "up") is not None:
        if time.monotonic() > deadline:
            raise LocalFault(f"pid {process.pid} is still stopping after {_STOPPED_WITHIN:g} s")
        await asyncio.sleep(_TICK)
    _say(f"stopped (pid {process.pid})")
    return 0


async def status(_: argparse.Namespace) -> int:
    folder = runs() / "up"
    note = running.read_note(folder)
    if note is None:
        starting = running.holder(folder)
        _say("nothing is running" if starting is None else f"still starting or stopping (pid {starting.pid})")
        return 1
    async with httpx.AsyncClient(timeout=3, trust_env=False) as client:
        answers = await asyncio.gather(
            broker_answers(note.kafka),
            database_answers(note.postgres),
            *(is_ready(url, client) for url in note.urls.values()),
        )
    places = {"kafka": note.kafka, "postgres": note.postgres.rpartition("@")[2], **note.urls}
    _say(f"{note.provenance} (pid {note.pid})")
    for (name, place), ready in zip(places.items(), answers, strict=True):
        _say(f"  {name:<12} {'ready    ' if ready else 'NOT READY'}  {place}")
    return 0 if all(answers) else 1


async def clean(_: argparse.Namespace) -> int:
    folder = runs() / "up"
    if not folder.exists():
        _say("there is nothing to remove")
        return 0
    with running.alone(folder):
        await Servers(folder, persistent=True).erase()
        for entry in folder.iterdir():
            if entry.name != "lock":  # who waits for it must find the same file
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    _say("removed the data of `make up`")
    return 0


async def token(arguments: argparse.Namespace) -> int:
    user = user_with(arguments.role) if arguments.role else user_named(arguments.user)
    issuer = Issuer(runs() / "up" / "issuer")
    sys.stdout.write(issuer.mint_for(user, minutes=arguments.minutes) + "\n")
    return 0


async def demo(_: argparse.Namespace) -> int:
    folder = runs() / f"demo-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    play = _play()
    try:
        with Board(console) as board:
            servers = Servers(folder, say=lambda line: board.report("servers", line))
            system = System(folder, servers, report=board.report)
            await _start(system, board)
        try:
            code = await _outcome(play, system)
        finally:
            await asyncio.shield(_stop(system))
    except BaseException:
        _complain(f"the services' logs stay in {folder / 'logs'}")
        raise
    if code == 0:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        _complain(f"the services' logs stay in {folder / 'logs'}")
    return code


Play = Callable[[System, Console], Coroutine[Any, Any, int | None] | int | None]


def _play() -> Play:
    """What plays the demo: it returns an exit code, or nothing when all went well, and may be a coroutine."""
    try:
        play: Play = import_module("deploy.local.play").main
    except (ModuleNotFoundError, AttributeError) as fault:
        raise Missing(f"what plays the demo is not to be found: {fault}") from fault
    return play


async def _outcome(play: Play, system: System) -> int:
    outcome = play(system, console)
    if inspect.isawaitable(outcome):
        outcome = await outcome
    return 0 if outcome is None else int(outcome)


async def _say_who_ends(system: System) -> None:
    """Until we are told to stop, name every service that ends by itself, once."""
    named: set[str] = set()
    while True:
        for name, service in system.services.items():
            if service.exit_code is not None and name not in named:
                named.add(name)
                _complain(f"{name} ended with {service.exit_code}; {service.last_words()}")
        await asyncio.sleep(_TICK)


async def _start(system: System, board: Board) -> None:
    """Start servers and services; on failure neither is left running."""
    board.report("servers", "starting")
    await system.servers.start()
    board.report("servers", f"ready: {system.servers.provenance}")
    try:
        await system.start()
    except BaseException:
        await asyncio.shield(system.servers.close())
        raise


async def _stop(system: System) -> None:
    try:
        await system.stop()
    finally:
        await system.servers.close()


def _show(system: System, folder: Path) -> None:
    _say("")
    for name, url in system.urls.items():
        _say(f"  {name:<12} {url:<24} docs: {url}/docs")
    _say(f"  {'kafka':<12} {system.servers.kafka}")
    _say(f"  {'logs':<12} {_short(folder / 'logs')}")
    _say(f"  {'token':<12} {_short(Path(sys.executable))} -m deploy.local token --user olivia")
    _say("")
    _say("everything is ready; Ctrl-C stops it")


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _say(line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _complain(line: str) -> None:
    complaints.print(line, markup=False, highlight=False, soft_wrap=True)


Verb = Callable[[argparse.Namespace], Coroutine[Any, Any, int]]


def parser() -> argparse.ArgumentParser:
    """What the command line understands."""
    top = argparse.ArgumentParser(
        prog="python -m deploy.local",
        description="Batchwise on one machine: a broker, a database and all services, from Python packages alone.",
        epilog=(
            "The broker and the database are the ones that KAFKA_BOOTSTRAP_SERVERS and POSTGRES_DSN name; else "
            "containers, when Docker answers; else processes of ours. Data is in .local (BATCHWISE_LOCAL), downloads "
            "are kept in ~/.cache/batchwise (BATCHWISE_CACHE) and come from Maven Central (BATCHWISE_MAVEN)."
        ),
    )
    verbs = top.add_subparsers(required=True, metavar="{up,down,status,clean,token,demo}")

    def add(verb: Verb, about: str) -> argparse.ArgumentParser:
        found = verbs.add_parser(verb.__name__, help=about, description=about[0].upper() + about[1:] + ".")
        found.set_defaults(verb=verb)
        return found

    add(up, "start everything and stay; Ctrl-C stops it, the next `up` finds the data again")
    add(down, "stop a running `up`")
    add(status, "say which servers and services are ready; exits 1 unless all are")
    add(clean, "remove the data of `up`; refuses while it runs")
    minting = add(token, "print a token for a demo user, accepted by the services of `up`")
    who = minting.add_mutually_exclusive_group(required=True)
    who.add_argument("--user", metavar="NAME", help=f"one of {', '.join(USERS)}")
    who.add_argument("--role", metavar="ROLE", help=f"whoever has it: one of {', '.join(ROLES)}")
    minting.add_argument("--minutes", type=float, default=60, help="how long it is valid (default: 60)")
    add(demo, "play the whole main job on fresh servers and services, then stop; exits 0 when all of it came true")
    return top


def main() -> int:
    arguments = parser().parse_args()
    with asyncio.Runner() as runner:
        try:
            return runner.run(_until_told(arguments.verb(arguments)))
        except LocalFault as fault:
            _complain(str(fault))
            return 1
        except psutil.AccessDenied as fault:
            _complain(f"pid {fault.pid} is another user's")
            return 1


async def _until_told(verb: Coroutine[Any, Any, int]) -> int:
    """Run `verb` until it is done or we are told to stop (Ctrl-C, SIGTERM, a closed terminal).

    Told again, it goes on stopping: that ends by itself, and were we killed, the leash would end our servers.
    """
    task = asyncio.create_task(verb)
    told: list[signal.Signals] = []

    def tell(number: signal.Signals) -> None:
        if not told:
            told.append(number)
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, tell, number)
    try:
        return await task
    except asyncio.CancelledError:
        if not told:
            raise
        return 128 + told[0]


if __name__ == "__main__":
    sys.exit(main())
