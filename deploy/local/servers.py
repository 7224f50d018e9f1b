"""The broker and the database that everything here runs on, chosen in one place.

`make up`, the demo, the tests and the benchmarks all ask `Servers`. For each of the two it takes, in this order:

1. the one that the environment names (`KAFKA_BOOTSTRAP_SERVERS`, `POSTGRES_DSN`),
2. a container, when a Docker daemon answers,
3. a process of ours, made of Python packages alone.
"""

import asyncio
import os
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from deploy.local.containers import KafkaContainer, PostgresContainer, docker_answers
from deploy.local.faults import LocalFault, Missing
from deploy.local.kafka import KafkaProcess, broker_answers, delete_topics
from deploy.local.postgres import PostgresProcess, database_answers
from deploy.local.server import GivenServer, Server

Say = Callable[[str], None]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


def _silent(line: str) -> None:
    """Say nothing."""


def choose_broker(folder: Path, *, persistent: bool = False, own: bool = False, say: Say = _silent) -> Server:
    """The broker to use, not started yet. With `own`, never the given one: for tests that disturb it."""
    given = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "").strip()
    if given and not own:
        return GivenServer(given, provenance="Apache Kafka as given", variable="KAFKA_BOOTSTRAP_SERVERS")
    if docker_answers():
        return KafkaContainer(folder, persistent=persistent)
    return KafkaProcess(folder, say)


def choose_database(folder: Path, *, persistent: bool = False, own: bool = False, say: Say = _silent) -> Server:
    """The database server to use, not started yet. With `own`, never the given one: for tests that disturb it."""
    given = os.environ.get("POSTGRES_DSN", "").strip()
    if given and not own:
        return GivenServer(given, provenance="PostgreSQL as given", variable="POSTGRES_DSN")
    if docker_answers():
        return PostgresContainer(folder, persistent=persistent)
    return PostgresProcess(folder, say)


class Servers:
    """A broker and a database server, with their data below `folder`.

    Several may run at once: each starts servers of its own on free ports. Where a server is given and so shared,
    runs keep apart by `topic_prefix` and by the names of their databases, which begin with `database_prefix`; both
    are empty when the servers are ours alone or, with `persistent`, always the same.

    Args:
        folder: where data, settings and logs go.
        persistent: keep the data when closed, and find it again at the next start.
        own: take no given server, only ones that may be killed.
        say: told in a few words what takes long.
    """

    def __init__(self, folder: Path, *, persistent: bool = False, own: bool = False, say: Say = _silent) -> None:
        self._folder = folder
        self._say = say
        self._persistent = persistent
        self.broker: Server = choose_broker(folder / "kafka", persistent=persistent, own=own, say=say)
        self.database: Server = choose_database(folder / "postgres", persistent=persistent, own=own, say=say)
        mark = "batchwise" if persistent else f"bw{secrets.token_hex(4)}"
        self.topic_prefix = f"{mark}." if isinstance(self.broker, GivenServer) else ""
        self.database_prefix = f"{mark}_" if isinstance(self.database, GivenServer) else ""

    def apart(self, mark: str) -> "Servers":
        """The same servers for a run of its own, whose topics and databases begin with `mark`. Close only this one."""
        other = copy(self)
        other.topic_prefix = f"{self.topic_prefix}{mark}."
        other.database_prefix = f"{self.database_prefix}{mark}_"
        return other

    @property
    def kafka(self) -> str:
        """The broker's bootstrap address, `host:port`."""
        return self.broker.address

    @property
    def postgres(self) -> str:
        """A DSN of the database server with the right to create databases."""
        return self.database.address

    @property
    def provenance(self) -> str:
        """What runs here and where it comes from, for people."""
        return f"{self.broker.provenance}; {self.database.provenance}"

    async def start(self) -> Self:
        """Start both and wait until both serve. On failure, neither is left running.

        Raises:
            Missing: this machine lacks something; NotStarted: a server did not come up.
        """
        try:
            results = await asyncio.gather(self._start_broker(), self._start_database(), return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException):
                    raise result
        except BaseException:
            await asyncio.shield(self._end())
            raise
        return self

    async def close(self) -> None:
        """End what we started; unless `persistent`, remove what we made, also from given servers."""
        if self._persistent:
            await self._end()
        else:
            await self.erase()

    async def erase(self) -> None:
        """End what we started and remove all its data; from given servers, the databases and topics that are ours.

        Raises:
            Missing: a given server does not answer, so what we made on it stays.
        """
        try:
            if isinstance(self.database, GivenServer):
                await self._require_database()
                await self._drop_ours()
            if isinstance(self.broker, GivenServer):
                await self._require_broker()
                await delete_topics(self.kafka, self.topic_prefix)
        finally:  # what is ours goes, whether a given one answers or not
            await asyncio.gather(self.broker.discard(), self.database.discard())

    async def _end(self) -> None:
        if self._persistent:
            await asyncio.gather(self.broker.stop(), self.database.stop())
        else:
            await asyncio.gather(self.broker.discard(), self.database.discard())

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def dsn(self, name: str) -> str:
        """The DSN of our database `name`, whether it exists or not."""
        return urlunsplit(urlsplit(self.postgres)._replace(path=f"/{self._full_name(name)}"))

    async def create_database(self, name: str) -> str:
        """Create the database `name` unless it exists, and return its DSN."""
        full = self._full_name(name)
        admin = await asyncpg.connect(self.postgres)
        try:
            if not await admin.fetchval("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", full):
                with suppress(asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):  # somebody was faster
                    await admin.execute(f'CREATE DATABASE "{full}"')
        finally:
            await admin.close()
        return self.dsn(name)

    async def drop_database(self, name: str) -> None:
        """Drop the database `name` with whoever is connected to it; nothing happens when there is none."""
        await self._drop(self._full_name(name))

    async def _drop_ours(self) -> None:
        admin = await asyncpg.connect(self.postgres)
        try:
            found = await admin.fetch(
                "SELECT datname FROM pg_database WHERE starts_with(datname, $1)", self.database_prefix
            )
        finally:
            await admin.close()
        await self._drop(*(row["datname"] for row in found))

    async def _drop(self, *full_names: str) -> None:
        admin = await asyncpg.connect(self.postgres)
        try:
            for full_name in full_names:
                await admin.execute(f'DROP DATABASE IF EXISTS "{full_name}" WITH (FORCE)')
        finally:
            await admin.close()

    def _full_name(self, name: str) -> str:
        full = f"{self.database_prefix}{name}"
        if not _NAME.fullmatch(full):
            raise ValueError(f"database name {full!r}: only a-z, 0-9 and _ are allowed, 63 at most, a letter first")
        return full

    async def _start_broker(self) -> None:
        try:
            await self.broker.start()
        except LocalFault as fault:
            if not isinstance(self.broker, KafkaContainer):
                raise
            self._say(f"{fault}; starting a process instead")
            await self._give_up(self.broker)
            self.broker = KafkaProcess(self._folder / "kafka", self._say)
            await self.broker.start()
        if isinstance(self.broker, GivenServer):
            await self._require_broker()

    async def _give_up(self, container: Server) -> None:
        if not self._persistent:  # a persistent one keeps its data for the day when Docker starts it again
            with suppress(LocalFault):
                await container.discard()

    async def _require_broker(self) -> None:
        if not await broker_answers(self.kafka):
            raise Missing(f"no broker answers at {self.kafka}, which KAFKA_BOOTSTRAP_SERVERS names")

    async def _start_database(self) -> None:
        try:
            await self.database.start()
        except LocalFault as fault:
            if not isinstance(self.database, PostgresContainer):
                raise
            self._say(f"{fault}; starting a process instead")
            await self._give_up(self.database)
            self.database = PostgresProcess(self._folder / "postgres", self._say)
            await self.database.start()
        if isinstance(self.database, GivenServer):
            await self._require_database()

    async def _require_database(self) -> None:
        if not await database_answers(self.postgres):
            named = urlsplit(self.postgres)
            raise Missing(f"no database answers at {named.hostname}:{named.port or 5432}, which POSTGRES_DSN names")
