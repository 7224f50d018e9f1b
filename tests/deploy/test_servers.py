"""The chosen broker and database are real, keep their data over a crash, and do not disturb each other."""

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.local.servers import Servers


async def make_topic(bootstrap: str, name: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, num_partitions=3, replication_factor=1)])
    finally:
        await admin.close()


async def say(bootstrap: str, topic: str, *words: str) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        for word in words:
            await producer.send_and_wait(topic, word.encode(), key=b"one")
    finally:
        await producer.stop()


async def hear(bootstrap: str, topic: str, count: int) -> list[str]:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, group_id=f"{topic}-g", auto_offset_reset="earliest")
    await consumer.start()
    try:
        return [(await consumer.getone()).value.decode() for _ in range(count)]
    finally:
        await consumer.stop()


async def test_the_broker_delivers_in_order(servers: Servers, topic_prefix: str) -> None:
    topic = f"{topic_prefix}greetings.v1"
    await make_topic(servers.kafka, topic)
    await say(servers.kafka, topic, "one", "two", "three")
    assert await hear(servers.kafka, topic, 3) == ["one", "two", "three"]


async def test_a_database_is_fresh_and_durable(database: str) -> None:
    connection = await asyncpg.connect(database)
    assert await connection.fetchval("SELECT count(*) FROM pg_stat_user_tables") == 0
    assert await connection.fetchval("SHOW fsync") == "on"
    assert await connection.fetchval("SHOW synchronous_commit") == "on"
    await connection.close()
