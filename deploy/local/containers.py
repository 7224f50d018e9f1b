"""Apache Kafka and PostgreSQL as containers, where a Docker daemon answers.

Each keeps one fixed loopback port and one named volume, so it comes back on the same address and data. Testcontainers'
reaper removes temporary ones when we are killed.
"""

import asyncio
import hashlib
import secrets
import threading
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any

from deploy.local.faults import Missing, NotStarted
from deploy.local.jars import VERSION as KAFKA_VERSION
from deploy.local.kafka import READY_WITHIN, broker_answers, one_node_settings
from deploy.local.ports import LOOPBACK, free_port
from deploy.local.postgres import SETTINGS as POSTGRES_SETTINGS
from deploy.local.postgres import database_answers

KAFKA_IMAGE = f"apache/kafka:{KAFKA_VERSION}"
POSTGRES_IMAGE = "postgres:18"
_TICK = 0.1
_starting = threading.Lock()  # two that start at once would each make the reaper, under one name


@cache
def docker_answers() -> bool:
    """Whether this machine's Docker daemon answers a ping within two seconds; asked once."""
    try:
        import docker
        from docker.errors import DockerException
    except ImportError:
        return False
    try:
        client = docker.from_env(timeout=2)
        try:
            # The daemon of another machine would publish its ports there, where our loopback does not reach.
            is_here = client.api.base_url.startswith(("http+docker://", "http+unix://"))
            return is_here and bool(client.ping())
        finally:
            client.close()
    except (DockerException, OSError):
        return False


def kafka_environment(port: int) -> dict[str, str]:
    """The image's settings: clients reach it at the loopback `port`, which is also its port inside."""
    settings = one_node_settings() | {
        "listeners": f"PLAINTEXT://0.0.0.0:{port},CONTROLLER://{LOOPBACK}:9093",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
        "controller.quorum.voters": f"1@{LOOPBACK}:9093",
        "log.dirs": "/var/lib/kafka/data",
    }
    variables = {f"KAFKA_{name.upper().replace('.', '_')}": value for name, value in settings.items()}
    return variables | {"KAFKA_HEAP_OPTS": "-Xmx512m"}


def postgres_command() -> list[str]:
    return ["postgres", *(word for name, value in POSTGRES_SETTINGS.items() for word in ("-c", f"{name}={value}"))]


class _Container:
    """One container at a time of `image`; what lasts between two of them is the port and the volume."""

    def __init__(self, folder: Path, *, name: str, image: str, mount: str, persistent: bool) -> None:
        unique = str(folder.resolve()) if persistent else secrets.token_hex(16)
        self.volume = f"batchwise-{name}-{hashlib.sha256(unique.encode()).hexdigest()[:12]}"
        self._image = image
        self._mount = mount
        self._persistent = persistent
        self._port: int | None = None
        self._running: Any = None

    @property
    def port(self) -> int:
        if self._port is None:
            raise NotStarted(f"the container of {self._image} was not started, so it has no address yet")
        return self._port

    @property
    def provenance(self) -> str:
        return f"a container of {self._image}"

    async def stop(self) -> None:
        if self._running is not None:
            await asyncio.to_thread(self._running.get_wrapped_container().stop, timeout=20)
            await self._remove()

    async def kill(self) -> None:
        if self._running is not None:
            self.thaw()  # Docker kills no paused container
            await asyncio.to_thread(self._running.get_wrapped_container().kill)
            await self._remove()

    async def discard(self) -> None:
        await self._remove()
        await asyncio.to_thread(remove_volume, self.volume)

    def freeze(self) -> None:
        if self._running is not None:
            self._running.get_wrapped_container().pause()

    def thaw(self) -> None:
        container = None if self._running is None else self._running.get_wrapped_container()
        if container is not None:
            container.reload()
            if container.status == "paused":
                container.unpause()

    async def _start(
        self,
        inside: int,
        environment: dict[str, str],
        command: list[str] | None,
        answers: Callable[[], Awaitable[bool]],
    ) -> None:
        from docker.errors import DockerException
        from testcontainers.core.exceptions import ContainerConnectException, ContainerStartException

        try:
            await asyncio.to_thread(self._create, inside, environment, command)
        except (DockerException, ContainerConnectException, ContainerStartException, OSError) as fault:
            await self._remove()
            reason = (str(fault) or type(fault).__name__).splitlines()[0]
            raise Missing(f"Docker could not start {self._image}: {reason}") from fault
        try:
            async with asyncio.timeout(READY_WITHIN):
                while not await answers():  # noqa: ASYNC110 - nobody could set an event
                    await asyncio.sleep(_TICK)
        except TimeoutError as fault:
            tail = self._running.get_wrapped_container().logs(tail=6).decode(errors="replace")
            await self._remove()
            raise NotStarted(f"{self._image} was not ready after {READY_WITHIN:g} s:\n{tail}") from fault

    def _create(self, inside: int, environment: dict[str, str], command: list[str] | None) -> None:
        from testcontainers.core.container import DockerContainer
        from testcontainers.core.labels import LABEL_SESSION_ID, SESSION_ID

        container = DockerContainer(self._image, command=command, env=environment)
        # The reaper removes what carries this label when we are gone.
        labels = {} if self._persistent else {LABEL_SESSION_ID: SESSION_ID}
        container.get_docker_client().client.volumes.create(self.volume, labels=labels)
        container.with_volume_mapping(self.volume, self._mount, "rw")
        container.ports = {f"{inside}/tcp": (LOOPBACK, self.port)}
        self._running = container
        with _starting:
            container.start()

    async def _remove(self) -> None:
        if self._running is not None:
            container, self._running = self._running, None
            await asyncio.to_thread(container.stop, force=True)


class KafkaContainer(_Container):
    """Apache Kafka in a container; see `Server`."""

    def __init__(self, folder: Path, *, persistent: bool = False) -> None:
        super().__init__(folder, name="kafka", image=KAFKA_IMAGE, mount="/var/lib/kafka/data", persistent=persistent)

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    async def start(self) -> None:
        if self._running is None:
            self._port = self._port or free_port()
            await self._start(self.port, kafka_environment(self.port), None, lambda: broker_answers(self.address))

    async def restart(self) -> None:
        self.thaw()
        await self.stop()
        await self.start()


class PostgresContainer(_Container):
    """PostgreSQL in a container; see `Server`."""

    def __init__(self, folder: Path, *, persistent: bool = False) -> None:
        super().__init__(
            folder, name="postgres", image=POSTGRES_IMAGE, mount="/var/lib/postgresql", persistent=persistent
        )
        # The volume keeps the password it was made with, so a persistent one needs the same again: kept beside it.
        self._password_file = folder / "password" if persistent else None
        self._password = ""

    @property
    def address(self) -> str:
        """A superuser's DSN of the database `postgres`."""
        return f"postgresql://postgres:{self._password}@{LOOPBACK}:{self.port}/postgres"

    async def start(self) -> None:
        if self._running is None:
            self._port = self._port or free_port()
            self._password = self._password or self._known_password() or self._new_password()
            environment = {"POSTGRES_PASSWORD": self._password}
            await self._start(5432, environment, postgres_command(), lambda: database_answers(self.address))

    async def restart(self) -> None:
        self.thaw()
        await self.stop()
        await self.start()

    def _known_password(self) -> str:
        if self._password_file is None or not self._password_file.exists():
            return ""
        return self._password_file.read_text().strip()

    def _new_password(self) -> str:
        password = secrets.token_urlsafe(24)
        if self._password_file is not None:
            self._password_file.parent.mkdir(parents=True, exist_ok=True)
            self._password_file.touch(mode=0o600)
            self._password_file.write_text(password)
        return password


def remove_volume(volume: str) -> None:
    import docker
    from docker.errors import DockerException, NotFound

    try:
        client = docker.from_env()
        try:
            client.volumes.get(volume).remove(force=True)
        except NotFound:
            return
        finally:
            client.close()
    except DockerException as fault:
        raise Missing(f"the volume {volume} could not be removed: {fault}") from fault
