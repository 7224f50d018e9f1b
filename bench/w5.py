"""W5: 100 items with 100 batches each; orders of 10 lines of 7 are promised, through Kafka, the database, and Kafka.

The allocation service runs as its own process, with durable commits and all its rules. One line is one `DemandRaised`;
it is done when its `DemandAllocated` is on the topic. Every batch is then checked for a double booking.
"""

import asyncio
import datetime as dt
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from bench.figures import Figure
from contracts.allocation import DemandAllocated
from contracts.event import Event, Topic
from contracts.integration import DemandRaised, ItemDefined
from contracts.inventory import MovementReason, StockMoved
from contracts.topics import CATALOG, DEMANDS, OUTBOUND, STOCK, TOPICS
from contracts.values import BatchFacts, Origin, Place, PlaceKind, Purpose, Quality, Strategy
from delivery import Settings, new_id
from delivery.envelope import Envelope
from delivery.kafka import create_topics, open_producer
from deploy.local.child import Child
from deploy.local.issuer import Issuer
from deploy.local.servers import Servers

ITEMS = 100
BATCHES = 100
LINES = 10_000
BATCH_QUANTITY = 10
LINE_QUANTITY = 7
_ROOT = Path(__file__).resolve().parents[1]
_EPOCH = dt.datetime(2026, 11, 1, 8, 0, tzinfo=dt.UTC)
_MESSAGE_GOAL = 8_000
_EFFICIENCY_GOAL = 0.60


@dataclass(frozen=True, slots=True)
class Load:
    """Events ready to send: topic, key, body, headers."""

    topic: Topic
    messages: Sequence[tuple[bytes, bytes, list[tuple[str, bytes]]]]


def load(topic: Topic, events: Sequence[Event]) -> Load:
    """Events in their envelopes."""
    messages = []
    for event in events:
        event_id = str(new_id())
        envelope = Envelope(
            event_id=event_id,
            type=event.event_type,
            source=f"batchwise/{topic.owner}",
            time=_EPOCH,
            key=event.key,
            correlation_id=event_id,
            actor="bench",
        )
        messages.append((event.key.encode(), event.write(), envelope.headers()))
    return Load(topic, messages)


def stock(items: int, batches: int, *, seed: int = 5) -> tuple[list[ItemDefined], list[StockMoved]]:
    """The items, and one receipt into storage for each batch of 10, expiring 1 to 699 days after 2028-01-01."""
    chance = random.Random(seed)
    defined = [
        ItemDefined(item_id=f"ITEM-{n:03}", name=f"Item {n}", base_unit="C62", inspection_required=False, revision=1)
        for n in range(items)
    ]
    moved = []
    for n, item in enumerate(defined):
        for b in range(batches):
            expires = dt.date(2028, 1, 1) + dt.timedelta(days=chance.randint(1, 699))
            facts = BatchFacts(
                batch_no=f"B{n:03}-{b:05}",
                origin=Origin.SUPPLIER,
                supplier_id="SUP",
                manufactured_on=dt.date(2026, 10, 1),
                expires_on=expires,
                received_on=_EPOCH.date(),
            )
            moved.append(
                StockMoved(
                    movement_id=new_id(),
                    sequence=b + 1,
                    item_id=item.item_id,
                    batch_id=new_id(),
                    batch=facts,
                    quantity=Decimal(BATCH_QUANTITY),
                    unit="C62",
                    from_place=Place(kind=PlaceKind.SUPPLIER, partner_id="SUP"),
                    to_place=Place(
                        kind=PlaceKind.LOCATION,
                        site_id="S1",
                        location_id=f"L{n:03}-{b:05}",
                        purpose=Purpose.STORAGE,
                        quality=Quality.RELEASED,
                    ),
                    reason=MovementReason.RECEIPT,
                    reference=f"{uuid4()}/1",
                    effective_at=_EPOCH,
                    recorded_at=_EPOCH,
                )
            )
    chance.shuffle(moved)
    moved.sort(key=lambda event: event.sequence)
    return defined, moved


def demands(lines: int, items: int, *, strategy: Strategy = Strategy.FEFO, seed: int = 6) -> list[DemandRaised]:
    """Orders of 10 lines, each line of 7 of another item."""
    chance = random.Random(seed)
    raised = []
    for order in range(lines // 10):
        for line, n in enumerate(chance.sample(range(items), min(10, items)), 1):
            raised.append(
                DemandRaised(
                    demand_id=new_id(),
                    reference=f"SO-{order:05}/{line}",
                    customer_id="CUST",
                    site_id="S1",
                    item_id=f"ITEM-{n:03}",
                    quantity=Decimal(LINE_QUANTITY),
                    unit="C62",
                    needed_on=dt.date(2026, 12, 1),
                    strategy=strategy,
                    raised_at=_EPOCH + dt.timedelta(seconds=order),
                )
            )
    return raised


class Bench:
    """A broker and a database of this run's own, and the service under measure as a process."""

    def __init__(self, folder: Path, servers: Servers) -> None:
        self.folder = folder
        self.servers = servers
        self.children: list[Child] = []
        self.issuer = Issuer(folder / "issuer")

    def settings(self, dsn: str, prefix: str) -> Settings:
        return Settings(
            database_dsn=dsn,
            kafka_bootstrap_servers=self.servers.kafka,
            topic_prefix=prefix,
            token_issuer="batchwise-local",  # noqa: S106
            token_jwks=str(self.issuer.jwks),
            environment="local",
            http_port=0,
            log_level="WARNING",
        )

    async def service(self, name: str, settings: Settings) -> Child:
        """Migrate a service and start it."""
        environment = {
            key.upper(): str(value) for key, value in settings.model_dump().items() if value not in (None, "")
        }
        migrate = self._child(f"{name}-migrate", ["-m", f"services.{name}", "migrate"], environment)
        migrate.start()
        if await migrate.ended(seconds=60):
            raise RuntimeError(f"{name} could not migrate; {migrate.last_words()}")
        serve = self._child(name, ["-m", f"services.{name}", "serve"], environment)
        serve.start()
        return serve

    def loop(self, *arguments: str) -> Child:
        """The bare loop of our bound."""
        child = self._child("bound", ["-m", "bench.bound", *arguments], {})
        child.start()
        return child

    def _child(self, name: str, arguments: Sequence[str], environment: dict[str, str]) -> Child:
        child = Child(
            name,
            [sys.executable, *arguments],
            log=self.folder / f"{name}.log",
            environment={**os.environ, **environment, "PYTHONPATH": str(_ROOT)},
            folder=_ROOT,
        )
        self.children.append(child)
        return child

    async def close(self) -> None:
        for child in self.children:
            await child.kill()


async def send(producer: AIOKafkaProducer, prefix: str, what: Load) -> None:
    """Put events on their topic, pipelined, in order per key."""
    topic = prefix + what.topic.name
    sent = [await producer.send(topic, body, key=key, headers=headers) for key, body, headers in what.messages]
    await asyncio.gather(*sent)


async def caught_up(brokers: str, group: str, topics: Sequence[str], *, seconds: float = 120) -> None:
    """Wait until a group has acknowledged everything on its topics."""
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers)
    reader = AIOKafkaConsumer(bootstrap_servers=brokers)
    await admin.start()
    await reader.start()
    try:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            parts = [TopicPartition(topic, n) for topic in topics for n in reader.partitions_for_topic(topic) or ()]
            if not parts:
                await reader._client.force_metadata_update()
                reader._client.set_topics(topics)
                await asyncio.sleep(0.05)
                continue
            ends = await reader.end_offsets(parts)
            done = await admin.list_consumer_group_offsets(group)
            if all(end == 0 or (part in done and done[part].offset >= end) for part, end in ends.items()):
                return
            await asyncio.sleep(0.05)
        raise TimeoutError(f"{group} did not catch up within {seconds} s")
    finally:
        await admin.close()
        await reader.stop()


class Listener:
    """Reads a topic from its end and keeps what comes, unparsed."""

    def __init__(self, brokers: str, topic: str) -> None:
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=brokers, enable_auto_commit=False, fetch_max_bytes=50_000_000
        )
        self._topic = topic
        self.bodies: list[tuple[bytes, bytes]] = []

    async def __aenter__(self) -> "Listener":
        await self._consumer.start()
        parts = [TopicPartition(self._topic, n) for n in await self._partitions()]
        self._consumer.assign(parts)
        await self._consumer.seek_to_end()
        for part in parts:
            await self._consumer.position(part)
        return self

    async def _partitions(self) -> Sequence[int]:
        self._consumer._client.set_topics([self._topic])
        while not (found := self._consumer.partitions_for_topic(self._topic)):
            await self._consumer._client.force_metadata_update()
        return sorted(found)

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    async def until(self, done: Callable[[], bool], *, seconds: float) -> float:
        """Read until `done`; the moment of the last message that made it true (perf_counter seconds)."""
        deadline = time.perf_counter() + seconds
        while not done():
            for records in (await self._consumer.getmany(timeout_ms=200)).values():
                self.bodies += [(dict(r.headers).get("ce_type", b""), r.value) for r in records]
            if time.perf_counter() > deadline:
                raise TimeoutError(f"{len(self.bodies)} messages came within {seconds} s")
        return time.perf_counter()


def double_bookings(allocated: Sequence[DemandAllocated]) -> dict[UUID, Decimal]:
    """Batches of which more was promised than there is."""
    promised: Counter[UUID] = Counter()
    for plan in allocated:
        for share in plan.shares:
            promised[share.batch_id] += share.quantity  # type: ignore[assignment]
    return {batch: Decimal(sum_) for batch, sum_ in promised.items() if sum_ > BATCH_QUANTITY}


async def _rows_written(dsn: str) -> int:
    """Rows inserted and updated in a database since its statistics began."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("SELECT pg_stat_force_next_flush()")
        return int(await connection.fetchval("SELECT sum(n_tup_ins + n_tup_upd) FROM pg_stat_user_tables"))
    finally:
        await connection.close()


async def measure(folder: Path, say: Callable[[str], None] = print) -> list[Figure]:
    """W5 and our bound, in one run."""
    servers = Servers(folder / "servers", own=True)
    async with servers:
        bench = Bench(folder, servers)
        try:
            return await _measure(bench, say)
        finally:
            await bench.close()


async def _measure(bench: Bench, say: Callable[[str], None]) -> list[Figure]:
    servers = bench.servers
    dsn = await servers.create_database("w5_allocation")
    settings = bench.settings(dsn, servers.topic_prefix)
    prefix = settings.topic_prefix
    await create_topics(settings, TOPICS, client="bench")
    await bench.service("allocation", settings)
    producer = await open_producer(settings, client="bench")
    group = f"{prefix}batchwise.allocation"
    try:
        items, moved = stock(ITEMS, BATCHES)
        say(f"W5: {len(moved)} batches of {ITEMS} items onto the shelf")
        began = time.perf_counter()
        await send(producer, prefix, load(CATALOG, items))
        await send(producer, prefix, load(STOCK, moved))
        await caught_up(servers.kafka, group, [prefix + CATALOG.name, prefix + STOCK.name])
        shelf_rate = len(moved) / (time.perf_counter() - began)
        say(f"W5: the shelf took {shelf_rate:,.0f} movements/s; now {LINES} lines")
        before = await _rows_written(dsn)
        lines = load(DEMANDS, demands(LINES, ITEMS))
        async with Listener(servers.kafka, prefix + OUTBOUND.name) as heard:
            began = time.perf_counter()
            sending = asyncio.create_task(send(producer, prefix, lines))
            is_done = _counts(heard, b"allocation.DemandAllocated", LINES)
            ended = await heard.until(is_done, seconds=300)
            await sending
            rate = LINES / (ended - began)
            plans = [DemandAllocated.read(body) for kind, body in heard.bodies if kind == b"allocation.DemandAllocated"]
        rows = (await _rows_written(dsn) - before) / LINES
        messages = len(heard.bodies) / LINES
        size = sum(len(body) for _, body in heard.bodies) // len(heard.bodies)
        doubled = double_bookings(plans)
        short = sum(1 for plan in plans if plan.missing > 0)
        say(f"W5: {rate:,.0f} lines/s; {rows:.1f} rows and {messages:.1f} messages of {size} bytes a line")
        for child in bench.children:
            await child.stop()
        bound = await _bound(bench, prefix, lines, producer, rows=rows, messages=messages, size=size)
    finally:
        await producer.stop()
    efficiency = rate / bound
    say(f"W5: our bound is {bound:,.0f} lines/s, efficiency {efficiency:.0%}")
    what = f"{ITEMS} items x {BATCHES} batches, {LINES} lines FEFO, Kafka to Kafka"
    return [
        Figure(
            id="W5",
            what=what,
            value=round(rate, 1),
            unit="lines/s",
            bound=round(bound, 1),
            goal=f">= {_MESSAGE_GOAL:,}",
            holds=rate >= _MESSAGE_GOAL,
        ),
        Figure(
            id="W5-efficiency",
            what="our rate / bare loop on the same machine in the same run",
            value=round(efficiency, 3),
            unit="ratio",
            bound=1.0,
            goal=f">= {_EFFICIENCY_GOAL}",
            holds=efficiency >= _EFFICIENCY_GOAL,
        ),
        Figure(
            id="W5-double-bookings",
            what=f"batches promised beyond what is there, of {len(moved)} ({short} lines short)",
            value=len(doubled),
            unit="batches",
            bound=0,
            goal="= 0",
            holds=not doubled and short == 0,
        ),
    ]


def _counts(heard: Listener, kind: bytes, wanted: int) -> Callable[[], bool]:
    """Whether so many messages of a type were heard, counted as they come."""
    seen = 0
    position = 0

    def done() -> bool:
        nonlocal seen, position
        seen += sum(1 for found, _ in heard.bodies[position:] if found == kind)
        position = len(heard.bodies)
        return seen >= wanted

    return done


async def _bound(
    bench: Bench, prefix: str, lines: Load, producer: AIOKafkaProducer, *, rows: float, messages: float, size: int
) -> float:
    """The bare loop on the same messages, from an idle start as the service had."""
    servers = bench.servers
    dsn = await servers.create_database("w5_bound")
    source = Topic("bound.lines.v1", "The same lines.", (), foreign=True)
    target = Topic("bound.answers.v1", "As many answers.", (), foreign=True)
    await create_topics(bench.settings(dsn, prefix), [source, target], client="bench")
    arguments = [servers.kafka, dsn, f"{prefix}bound", prefix + source.name, prefix + target.name, "500"]
    loop = bench.loop(*arguments, str(rows), str(messages), str(size))
    warm = Load(source, lines.messages[:1])
    async with Listener(servers.kafka, prefix + target.name) as heard:
        await send(producer, prefix, warm)
        await heard.until(lambda: len(heard.bodies) >= int(messages), seconds=30)
        heard.bodies.clear()
        began = time.perf_counter()
        sending = asyncio.create_task(send(producer, prefix, Load(source, lines.messages)))
        expected = int(len(lines.messages) * messages) - 1
        ended = await heard.until(lambda: len(heard.bodies) >= expected, seconds=300)
        await sending
    await loop.stop()
    return len(lines.messages) / (ended - began)
