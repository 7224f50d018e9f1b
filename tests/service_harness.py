"""One service on a real database, without a broker: what it is told goes through the real chunks, commands and outbox.

What it cannot show: acknowledgement, redelivery by the broker, partitions. Those are shown in `tests/delivery`.
"""

import datetime as dt
import itertools
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from contracts.event import Event
from contracts.topics import EVENTS, TOPICS
from delivery import Service, Settings, build, new_id
from delivery.app import Runtime, Watch
from delivery.chunks import Arrival, Position
from delivery.envelope import Envelope
from delivery.migrating import migrate
from deploy.local.issuer import Issuer

_HOME = {event.event_type: topic.name for topic in TOPICS for event in topic.events}


class Clock:
    """The service's clock, set by the test; it stands still until it is moved."""

    def __init__(self, at: dt.datetime) -> None:
        self.at = at

    def __call__(self) -> dt.datetime:
        return self.at


class Running:
    """A service that is told events and commands, and whose announcements are read from its outbox."""

    def __init__(self, runtime: Runtime, client: httpx.AsyncClient, issuer: Issuer, clock: Clock) -> None:
        self.runtime = runtime
        self.client = client
        self.clock = clock
        self._issuer = issuer
        self._offsets = itertools.count()
        self._read = 0

    async def hear(self, *events: Event, actor: str = "somebody", times: int = 1) -> None:
        """Deliver events in one chunk, `times` over (the same event ids each time)."""
        arrivals = [self.arrival(event, actor=actor) for event in events]
        for _ in range(times):
            await self.runtime.chunks.take(arrivals)

    async def hear_foreign(self, topic: str, body: bytes, *, key: str | None = None) -> None:
        """Deliver one record of a foreign topic."""
        position = Position(topic, 0, next(self._offsets))
        await self.runtime.chunks.take([Arrival(position, None if key is None else key.encode(), {}, body)])

    def arrival(self, event: Event, *, actor: str = "somebody") -> Arrival:
        """An event as it comes from its topic, with an envelope of its own."""
        event_id = str(new_id())
        envelope = Envelope(
            event_id=event_id,
            type=event.event_type,
            source=f"batchwise/{event.event_type.partition('.')[0]}",
            time=self.clock(),
            key=event.key,
            correlation_id=event_id,
            actor=actor,
        )
        return Arrival(
            Position(_HOME[event.event_type], 0, next(self._offsets)),
            event.key.encode(),
            {name: value.decode() for name, value in envelope.headers()},
            event.write(),
        )

    async def said(self) -> list[Event]:
        """What was announced since this was last asked, in outbox order."""
        rows = await self.runtime.pool.fetch("SELECT * FROM delivery.outbox WHERE id > $1 ORDER BY id", self._read)
        self._read = rows[-1]["id"] if rows else self._read
        return [EVENTS[row["event_type"]].read(row["body"]) for row in rows]

    async def parked(self) -> list[Any]:
        """What was parked, as rows."""
        return list(await self.runtime.pool.fetch("SELECT * FROM delivery.parked ORDER BY id"))

    def token(self, role: str, *, sites: Sequence[str] = ("*",)) -> dict[str, str]:
        """Headers of somebody with this role; the subject is the role's name."""
        return {"Authorization": f"Bearer {self._issuer.mint(role, [role], sites=sites, name=role.title())}"}

    async def post(self, path: str, body: Any, *, role: str, key: str | None = None, **headers: str) -> httpx.Response:
        """A write with a fresh Idempotency-Key, unless one is given."""
        return await self.client.post(
            path, json=body, headers={**self.token(role), "Idempotency-Key": key or str(uuid.uuid4()), **headers}
        )

    async def put(self, path: str, body: Any, *, role: str, key: str | None = None) -> httpx.Response:
        """As `post`, for PUT."""
        return await self.client.put(
            path, json=body, headers={**self.token(role), "Idempotency-Key": key or str(uuid.uuid4())}
        )

    async def get(self, path: str, *, role: str = "auditor", **query: Any) -> httpx.Response:
        """A read."""
        return await self.client.get(path, params=query, headers=self.token(role))

    async def watch(self, name: str) -> None:
        """Let a watch of the service run once, now."""
        found: Watch = next(watch for watch in self.runtime.service.watches if watch.name == name)
        await self.runtime.run_watch(found)


@asynccontextmanager
async def running(
    service: Service, database: str, folder: Path, *, at: dt.datetime = dt.datetime(2026, 3, 2, 9, 0, tzinfo=dt.UTC)
) -> AsyncIterator[Running]:
    """Migrate `service` into an empty database and let it work there."""
    issuer = Issuer(folder / "issuer")
    settings = Settings(
        database_dsn=database,
        kafka_bootstrap_servers="127.0.0.1:1",
        token_issuer="batchwise-local",
        token_jwks=str(issuer.jwks),
        environment="local",
    )
    await migrate(database, service.package, service.role)
    clock = Clock(at)
    app = build(service, settings, clock=clock)
    runtime: Runtime = app.state.runtime
    await runtime.pool
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        try:
            yield Running(runtime, client, issuer, clock)
        finally:
            await runtime.gathering.drain()
            await runtime.pool.close()
