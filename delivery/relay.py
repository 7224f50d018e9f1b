"""The relay: moves outbox rows to Kafka in order, woken by their commit; deletes them when the brokers have them."""

import asyncio
import contextlib
import random
from collections.abc import Sequence
from typing import Any

import asyncpg
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from delivery.envelope import Envelope
from delivery.failures import is_slow_down
from delivery.kafka import open_producer
from delivery.outbox import CHANNEL
from delivery.settings import Settings
from delivery.telemetry import Metrics, Pulses

_log = structlog.get_logger("delivery.relay")

_ROWS = 1_000
_LOCK = "SELECT pg_try_advisory_lock(hashtext('batchwise.relay'))"
_IDLE_SECONDS = 1.0
_TAKE_OVER_SECONDS = 0.5


class Relay:
    """One of a service's relays is active: the one that holds an advisory lock on its own connection.

    A send whose outcome is unknown is sent again from the first row that is still in the outbox; receivers drop what
    they have by its event id. Rows are sent in `id` order, which is commit order for each key.
    """

    def __init__(self, settings: Settings, *, service: str, role: str, metrics: Metrics, pulses: Pulses) -> None:
        self._settings = settings
        self._role = role
        self._service = service
        self._metrics = metrics
        self._pulses = pulses
        self._woken = asyncio.Event()
        self._stopping = asyncio.Event()
        self.problem: str | None = "not started"

    def wake(self) -> None:
        """There may be new rows (a transaction of this process committed)."""
        self._woken.set()

    def stop(self) -> None:
        """Finish what is under way and end `run`."""
        self._stopping.set()
        self._woken.set()

    async def run(self) -> None:
        """Relay until stopped, through every outage."""
        delay = 0.1
        while not self._stopping.is_set():
            self._pulses.beat("relay", within=60)
            try:
                await self._connected()
                delay = 0.1
            except (KafkaError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
                self.problem = f"{type(error).__name__}: {error}"
                self._metrics.relay_active.set(0)
                level = _log.warning if is_slow_down(error) else _log.error
                level("the relay lost its database or broker", error=self.problem, again_in=round(delay, 2))
                await self._pause(delay * random.uniform(0.8, 1.2))  # noqa: S311 - only spreads the retries
                delay = min(delay * 2, 2.0)
        self._metrics.relay_active.set(0)
        self._pulses.forget("relay")

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _connected(self) -> None:
        """Hold one connection: wait for the lock, then relay until something breaks."""
        connection = await asyncpg.connect(
            self._settings.database_dsn,
            timeout=5,
            command_timeout=30,
            server_settings={
                "application_name": f"{self._service}-relay",
                "role": self._role,
                "tcp_keepalives_idle": "5",
            },
        )
        try:
            while not await connection.fetchval(_LOCK):
                self.problem = None
                self._pulses.beat("relay", within=60)
                await self._pause(_TAKE_OVER_SECONDS)
                if self._stopping.is_set():
                    return
            await connection.add_listener(CHANNEL, lambda *_: self._woken.set())
            producer = await open_producer(self._settings, client=f"{self._service}-relay")
            try:
                self._metrics.relay_active.set(1)
                self.problem = None
                await self._relay(connection, producer)
            finally:
                await producer.stop()
        finally:
            with contextlib.suppress(Exception):
                await connection.close(timeout=2)

    async def _relay(self, connection: "asyncpg.Connection[asyncpg.Record]", producer: AIOKafkaProducer) -> None:
        while True:
            self._woken.clear()
            self._pulses.beat("relay", within=60)
            rows = await connection.fetch("SELECT * FROM delivery.outbox ORDER BY id LIMIT $1", _ROWS)
            if rows:
                await self._send(producer, rows)
                await connection.execute(
                    "DELETE FROM delivery.outbox WHERE id = ANY($1::bigint[])", [row["id"] for row in rows]
                )
                self._metrics.sent.inc(len(rows))
            elif self._stopping.is_set():
                return
            else:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), _IDLE_SECONDS)

    async def _send(self, producer: AIOKafkaProducer, rows: Sequence[Any]) -> None:
        """Hand over all rows in order, then wait until the brokers have every one."""
        sent = [
            await producer.send(
                self._settings.topic_prefix + row["topic"],
                value=row["body"],
                key=row["key"].encode(),
                headers=self._envelope(row).headers(),
            )
            for row in rows
        ]
        await asyncio.gather(*sent)

    def _envelope(self, row: Any) -> Envelope:
        return Envelope(
            event_id=str(row["event_id"]),
            type=row["event_type"],
            source=f"batchwise/{self._service}",
            time=row["said_at"],
            key=row["key"],
            correlation_id=row["correlation_id"],
            causation_id=row["causation_id"],
            actor=row["actor"],
            traceparent=row["traceparent"],
        )
