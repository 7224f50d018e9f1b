"""The least that shows a broker works: make a topic, say words, hear them."""

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic


async def make_topic(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, num_partitions=3, replication_factor=1)])
    finally:
        await admin.close()


async def topics_of(bootstrap: str) -> set[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        return set(await admin.list_topics())
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
    """The first `count` messages of `topic`, heard by a group of its own."""
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, group_id=f"{topic}-group", auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        return [(await consumer.getone()).value.decode() for _ in range(count)]
    finally:
        await consumer.stop()
