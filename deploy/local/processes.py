"""The services as processes of this machine, through the same entry point as in their images.

`python -m services.<name> migrate`, then `python -m services.<name> serve`, each with the settings of its image in the
environment. A service is ready when `GET /health/ready` answers 200.
"""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from deploy.local.child import Child
from deploy.local.faults import Missing, NotStarted
from deploy.local.issuer import AUDIENCE, ISSUER, Issuer, user_named
from deploy.local.ports import LOOPBACK, free_port, is_free
from deploy.local.servers import Servers

SERVICES = ("receiving", "inventory", "allocation", "trace", "integration")

MIGRATED_WITHIN = 60.0
READY_WITHIN = 60.0
"""Seconds; a few on an idle machine."""

GRACE = 10.0
"""Seconds that a service has to finish its work when it is told to stop; then it is killed."""

_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Checkout:
    """A version of the code: the folder it is run from, and a Python that has what it needs."""

    folder: Path
    python: Path


HERE = Checkout(_ROOT, Path(sys.executable))
"""This version."""

Report = Callable[[str, str], None]
"""Told the name of a service and what it is doing now, for people."""


def _silent(name: str, state: str) -> None:
    """Report nothing."""


class ServiceProcess:
    """One service on its own port, with its own database and log.

    `checkout` is the version that runs when it is migrated or started the next time.
    """

    def __init__(
        self,
        name: str,
        port: int,
        log: Path,
        settings: Callable[[], Mapping[str, str]],
        *,
        package: str,
        through: str | None = None,
        checkout: Checkout = HERE,
    ) -> None:
        self.name = name
        self.checkout = checkout
        self.url = f"http://{LOOPBACK}:{port}"
        self.log = log
        self._port = port
        self._module = (f"{package}.{name}",) if through is None else (through, f"{package}.{name}")
        self._settings = settings
        self._serving: Child | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it serves."""
        return None if self._serving is None else self._serving.pid

    @property
    def exit_code(self) -> int | None:
        """None while it serves and before; see `Child.exit_code`."""
        return None if self._serving is None else self._serving.exit_code

    async def migrate(self) -> None:
        """Bring its database and its topics up to date; NotStarted when that fails."""
        migrating = self._process("migrate")
        try:
            migrating.start()
            if (code := await migrating.ended(seconds=MIGRATED_WITHIN)) != 0:
                raise NotStarted(f"{self.name}: migrate ended with {code}; {migrating.last_words()}")
        finally:
            await migrating.stop()

    def launch(self) -> None:
        """Serve, and do not wait for anything: what it needs may be away."""
        if self.pid is None:
            self._serving = self._process("serve")
            self._serving.start()

    async def start(self) -> None:
        """Serve, and return when it is ready; NotStarted when that does not come about."""
        if self.pid is not None:
            return
        self.launch()
        try:
            await self.until_ready()
        except BaseException:
            await asyncio.shield(self.kill())
            raise

    async def until_ready(self, *, seconds: float = READY_WITHIN) -> None:
        """Wait until it is ready; NotStarted when it ends first, was never launched, or `seconds` have passed."""
        if self._serving is None:
            raise NotStarted(f"{self.name} was not launched")
        async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
            await self._serving.until(lambda: is_ready(self.url, client), seconds=seconds)

    async def stop(self) -> None:
        if self._serving is not None:
            await self._serving.stop(grace=GRACE)

    async def kill(self) -> None:
        if self._serving is not None:
            await self._serving.kill()

    async def restart(self) -> None:
        """Serve again on the same port, whether it runs, is frozen or was killed."""
        await self.stop()
        await self.start()

    def freeze(self) -> None:
        if self._serving is not None:
            self._serving.freeze()

    def thaw(self) -> None:
        if self._serving is not None:
            self._serving.thaw()

    def last_words(self) -> str:
        """Where its log is, and the last lines since it started."""
        return f"log: {self.log}" if self._serving is None else self._serving.last_words()

    def _process(self, verb: str) -> Child:
        command = [str(self.checkout.python), "-m", *self._module, verb]
        place = {"HTTP_HOST": LOOPBACK, "HTTP_PORT": str(self._port)}
        return Child(
            self.name,
            command,
            log=self.log,
            environment={**os.environ, **self._settings(), **place},
            folder=self.checkout.folder,
        )


class System:
    """All services on one broker and one database server, and an issuer of tokens they accept.

    Args:
        folder: of the run: logs in `logs/<service>.log`, the issuer's key in `issuer/`.
        servers: to be started before the system; they are not stopped with it.
        services: which to run, each a module of `package`.
        settings: for every service, beside or instead of the usual ones.
        settings_of: the same for one service, by its name; these count most.
        through: a module that is run with the service's module as its first argument, and then runs it.
        checkouts: which version of a service to run, by its name, where it is not this one.
        first_port: where to look for ports first, one after the other; by default any free ones.
        report: told what each service is doing.

    Raises:
        Missing: a service is not there.
    """

    def __init__(
        self,
        folder: Path,
        servers: Servers,
        *,
        services: Iterable[str] = SERVICES,
        package: str = "services",
        settings: Mapping[str, str] | None = None,
        settings_of: Callable[[str], Mapping[str, str]] | None = None,
        through: str | None = None,
        checkouts: Mapping[str, Checkout] | None = None,
        first_port: int | None = None,
        report: Report = _silent,
    ) -> None:
        self.servers = servers
        self.issuer = Issuer(folder / "issuer")
        self._report = report
        self._extra = dict(settings or {})
        self._own = settings_of
        versions = dict(checkouts or {})

        def process_of(name: str, port: int, log: Path) -> ServiceProcess:
            settings = partial(self._settings_of, name)
            checkout = versions.get(name, HERE)
            return ServiceProcess(name, port, log, settings, package=package, through=through, checkout=checkout)

        self._process_of = process_of
        self._logs = folder / "logs"
        self._prepared = False
        self.services: dict[str, ServiceProcess] = {}
        names = tuple(services)
        if missing := [f"{package}.{name}" for name in names if not _exists(f"{package}.{name}.__main__")]:
            raise Missing(
                f"not to be found: {', '.join(missing)} "
                "(a service is a package with a __main__.py that knows `migrate` and `serve`)"
            )
        for place, name in enumerate(names):
            wished = None if first_port is None else first_port + place
            port = wished if wished is not None and is_free(wished) else free_port()
            log = self._logs / f"{name}.log"
            self.services[name] = self._process_of(name, port, log)

    @property
    def urls(self) -> dict[str, str]:
        """Where each service answers, by its name, without a trailing slash."""
        return {name: service.url for name, service in self.services.items()}

    @property
    def logs(self) -> dict[str, Path]:
        return {name: service.log for name, service in self.services.items()}

    def token(self, user: str) -> str:
        """An hour's token for a demo user, such as `olivia`."""
        return self.issuer.mint_for(user_named(user))

    def replica(self, name: str) -> ServiceProcess:
        """The same service once more: on a port of its own, with a log of its own. Whoever asks for it stops it."""
        port = free_port()
        return self._process_of(name, port, self._logs / f"{name}-{port}.log")

    async def start(self) -> Self:
        """Migrate all, then serve all; both in parallel. On failure none is left running.

        All are migrated before one serves, since a service listens to topics that others create.

        Raises:
            NotStarted: which one failed, its last words, and where its log is.
        """
        try:
            await self.prepare()
            await self._each("starting", lambda service: service.start(), "ready")
        except BaseException:
            await asyncio.shield(self.stop())
            raise
        return self

    async def prepare(self) -> None:
        """Make and migrate every database and all topics, once; `start` does it otherwise. NotStarted as there."""
        if self._prepared:
            return
        await asyncio.gather(*(self.servers.create_database(name) for name in self.services))
        await self._each("migrating", lambda service: service.migrate(), "migrated")
        self._prepared = True

    async def stop(self) -> None:
        """End all services politely; those that do not listen are killed."""
        await asyncio.gather(*(service.stop() for service in self.services.values()))

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def kill(self, name: str) -> None:
        """`kill -9` of one service."""
        await self[name].kill()

    async def restart(self, name: str) -> None:
        """Bring one service back on the same address, whether it runs, is frozen or was killed."""
        await self[name].restart()

    def freeze(self, name: str) -> None:
        """Stop one service from running without telling it (SIGSTOP)."""
        self[name].freeze()

    def thaw(self, name: str) -> None:
        self[name].thaw()

    def __getitem__(self, name: str) -> ServiceProcess:
        try:
            return self.services[name]
        except KeyError:
            raise Missing(f"there is no service {name!r} here: there are {', '.join(self.services)}") from None

    def _settings_of(self, name: str) -> dict[str, str]:
        usual = {
            "DATABASE_DSN": self.servers.dsn(name),
            "KAFKA_BOOTSTRAP_SERVERS": self.servers.kafka,
            "TOPIC_PREFIX": self.servers.topic_prefix,
            "TOKEN_ISSUER": ISSUER,
            "TOKEN_AUDIENCE": AUDIENCE,
            "TOKEN_JWKS": str(self.issuer.jwks.resolve()),
            "ENVIRONMENT": "local",
            "LOG_LEVEL": os.environ.get("LOG_LEVEL", "INFO"),
            "LOG_FORMAT": "text",
            "PYTHONUNBUFFERED": "1",
        }
        return {**usual, **self._extra, **({} if self._own is None else self._own(name))}

    async def _each(self, doing: str, act: Callable[[ServiceProcess], Awaitable[None]], done: str) -> None:
        async def one(service: ServiceProcess) -> None:
            began = time.monotonic()
            self._report(service.name, doing)
            try:
                await act(service)
            except NotStarted:
                self._report(service.name, f"failed while {doing}")
                raise
            self._report(service.name, f"{done} in {time.monotonic() - began:.1f} s")

        tasks = [asyncio.create_task(one(service)) for service in self.services.values()]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def is_ready(url: str, client: httpx.AsyncClient) -> bool:
    """Whether the service at `url` says that it can work now."""
    try:
        return (await client.get(f"{url}/health/ready")).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def _exists(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
