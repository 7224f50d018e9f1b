"""Our own bound: a bare loop from Kafka through PostgreSQL to Kafka, with no rule, no check and no validation.

It reads chunks of the same size, writes the same number of rows with one `unnest` in one transaction a chunk, and sends
the same number of messages of the same size. What a service loses against it is the price of its rules.

    python -m bench.bound BROKERS DSN GROUP FROM_TOPIC TO_TOPIC CHUNK ROWS_PER_LINE MESSAGES_PER_LINE BYTES
"""

import asyncio
import signal
import sys

import asyncpg
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer


async def run(
    brokers: str, dsn: str, group: str, source: str, target: str, chunk: int, rows: float, messages: float, size: int
) -> None:
    """Loop until SIGTERM."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    database = await asyncpg.connect(dsn)
    await database.execute(
        "CREATE TABLE IF NOT EXISTS bound_row (n bigint, key text, quantity numeric, body text, at timestamptz)"
    )
    consumer = AIOKafkaConsumer(
        source, bootstrap_servers=brokers, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False
    )
    producer = AIOKafkaProducer(bootstrap_servers=brokers, enable_idempotence=True, linger_ms=0, max_batch_size=262_144)
    await consumer.start()
    await producer.start()
    body = b"x" * size
    rows_due = messages_due = 0.0
    try:
        while not stopping.is_set():
            polled = await consumer.getmany(timeout_ms=200, max_records=chunk)
            records = [record for part in polled.values() for record in part]
            if not records:
                continue
            rows_due += rows * len(records)
            messages_due += messages * len(records)
            numbers = list(range(int(rows_due)))
            rows_due -= len(numbers)
            await database.execute(
                """
                INSERT INTO bound_row (n, key, quantity, body, at)
                SELECT n, $2, 7, $3, now() FROM unnest($1::bigint[]) AS n
                """,
                numbers,
                records[0].key.decode(),
                "y" * 100,
            )
            sent = []
            for n in range(int(messages_due)):
                sent.append(await producer.send(target, body, key=records[n % len(records)].key))  # noqa: PERF401
            messages_due -= len(sent)
            await asyncio.gather(*sent)
            await consumer.commit()
    finally:
        await consumer.stop()
        await producer.stop()
        await database.close()


if __name__ == "__main__":
    a = sys.argv[1:]
    uvloop.run(run(a[0], a[1], a[2], a[3], a[4], int(a[5]), float(a[6]), float(a[7]), int(a[8])))
