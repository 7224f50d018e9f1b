"""Our own bound: a bare loop from Kafka through PostgreSQL to Kafka, with no rule of ours and no validation.

It reads chunks of the same size, writes the rows that the service last wrote for these messages into tables of the same
definition (keys, indexes, CHECKs), with one `unnest` a table and one transaction a chunk, and sends as many messages of
the same size. It reads no row, decides nothing, and makes no JSON. One chunk after the other: a service that does
several things at once may come close to it, or pass it.

    python -m bench.bound ORDER     an `Order` as JSON
"""

import asyncio
import gc
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import asyncpg
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from pydantic import BaseModel

from bench.kept import kept_between


class Order(BaseModel):
    """From which topic to which, in which group and chunks; the rows that a service wrote between two moments.

    They were for so many `lines`; each of those is answered by so many `messages` of `size` bytes.
    """

    brokers: str
    group: str
    source: str
    target: str
    chunk: int
    dsn: str
    service_dsn: str
    since: int
    until: int
    lines: int
    messages: float
    size: int


@dataclass
class _Table:
    """What is written to one table: its rows, and how many of them for each message."""

    name: str
    columns: dict[str, str]
    rows: Sequence[Sequence[Any]]
    share: float
    written: int = 0
    due: float = 0.0
    insert: str = field(init=False)

    def __post_init__(self) -> None:
        names = ", ".join(self.columns)
        arrays = ", ".join(f"${n}::{kind}[]" for n, kind in enumerate(self.columns.values(), start=1))
        self.insert = f"INSERT INTO {self.name} ({names}) SELECT * FROM unnest({arrays})"

    async def write(self, database: "asyncpg.Connection[asyncpg.Record]", messages: int) -> None:
        self.due += self.share * messages
        upto = min(len(self.rows), round(self.due))
        if rows := self.rows[self.written : upto]:
            await database.execute(self.insert, *(list(column) for column in zip(*rows, strict=True)))
        self.written = upto


_COMMIT_SECONDS = 0.2
"""As a service: what it does not tell the group in a crash is read again."""

_ANNOUNCED = """
    INSERT INTO delivery.outbox (topic, key, event_id, event_type, said_at, correlation_id, body)
    SELECT $1, key, event_id, 'bound.Said', now(), $1, $2 FROM unnest($3::text[], $4::uuid[]) AS new (key, event_id)
"""


async def run(order: Order) -> None:
    """Loop until SIGTERM."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    kept = await kept_between(order.service_dsn, order.since, order.until)
    tables = [_Table(each.name, each.columns, each.rows, len(each.rows) / order.lines) for each in kept]
    database = await asyncpg.connect(order.dsn)
    await database.execute("SET session_replication_role = replica")  # no foreign key is checked
    consumer = AIOKafkaConsumer(
        order.source,
        bootstrap_servers=order.brokers,
        group_id=order.group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_wait_ms=50,
        max_partition_fetch_bytes=4_000_000,
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=order.brokers, enable_idempotence=True, linger_ms=0, max_batch_size=262_144
    )
    await consumer.start()
    await producer.start()
    body = b"x" * order.size
    due = committed_at = 0.0
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)
    try:
        while not stopping.is_set():
            polled = await consumer.getmany(timeout_ms=200, max_records=order.chunk)
            records = [record for part in polled.values() for record in part]
            if not records:
                continue
            due += order.messages * len(records)
            keys = [records[n % len(records)].key for n in range(int(due))]
            due -= len(keys)
            async with database.transaction():
                for table in tables:
                    await table.write(database, len(records))
                if keys:
                    said = [key.decode() for key in keys]
                    await database.execute(_ANNOUNCED, order.target, body, said, [uuid4() for _ in keys])
            sent = [await producer.send(order.target, body, key=key) for key in keys]
            await asyncio.gather(*sent)
            if time.monotonic() - committed_at > _COMMIT_SECONDS:
                await consumer.commit()
                committed_at = time.monotonic()
    finally:
        await consumer.stop()
        await producer.stop()
        await database.close()


if __name__ == "__main__":
    uvloop.run(run(Order.model_validate_json(sys.argv[1])))
