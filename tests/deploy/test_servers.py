"""The chosen broker and database are real, survive what happens to them, and do not disturb each other."""

import asyncio
import subprocess
import sys
from pathlib import Path

import aiokafka
import asyncpg
import psutil
import pytest

from deploy.local.containers import docker_answers
from deploy.local.faults import Missing, NotOurs
from deploy.local.kafka import KafkaProcess, broker_answers
from deploy.local.postgres import PostgresProcess, database_answers
from deploy.local.servers import Servers
from tests.deploy.messages import hear, make_topic, say, topics_of
from tests.deploy.watching import eventually, line_with, processes_with


async def test_the_broker_delivers_in_order(servers: Servers, topic_prefix: str) -> None:
    topic = f"{topic_prefix}greetings.v1"
    await make_topic(servers.kafka, topic)
    await say(servers.kafka, topic, "one", "two", "three")
    assert await hear(servers.kafka, topic, 3) == ["one", "two", "three"]


async def test_a_mistyped_topic_is_not_made_by_accident(servers: Servers, topic_prefix: str) -> None:
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=servers.kafka, request_timeout_ms=500)
    await producer.start()
    try:
        with pytest.raises(aiokafka.errors.KafkaError):
            await producer.send_and_wait(f"{topic_prefix}greetingz.v1", b"one")
    finally:
        await producer.stop()
    assert f"{topic_prefix}greetingz.v1" not in await topics_of(servers.kafka)


async def test_a_database_is_fresh_and_its_commits_are_durable(database: str) -> None:
    connection = await asyncpg.connect(database)
    try:
        assert await connection.fetchval("SELECT count(*) FROM pg_stat_user_tables") == 0
        expected = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "max_connections": "300"}
        assert {name: await connection.fetchval(f"SHOW {name}") for name in expected} == expected
        assert (await connection.fetchval("SHOW server_version")).startswith("18")
    finally:
        await connection.close()


async def test_no_one_connects_without_the_password(servers: Servers) -> None:
    if not isinstance(servers.database, PostgresProcess):
        pytest.skip("the database is not a process of ours")
    user, _, place = servers.postgres.rpartition("@")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(f"{user.rpartition(':')[0]}:guessed@{place}")


async def test_creating_a_database_twice_keeps_what_is_in_it(servers: Servers) -> None:
    dsn = await servers.create_database("kept_once")
    connection = await asyncpg.connect(dsn)
    await connection.execute("CREATE TABLE kept ()")
    await connection.close()
    assert await servers.create_database("kept_once") == dsn == servers.dsn("kept_once")
    connection = await asyncpg.connect(dsn)
    assert await connection.fetchval("SELECT to_regclass('kept') IS NOT NULL")
    await servers.drop_database("kept_once")  # also while somebody is connected
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await asyncpg.connect(dsn)
    connection.terminate()


async def test_a_database_name_that_would_need_quoting_is_refused(servers: Servers) -> None:
    with pytest.raises(ValueError, match=r"Robert'\); DROP.*only a-z, 0-9 and _ are allowed"):
        await servers.create_database("Robert'); DROP")


async def test_both_listen_on_the_loopback_interface_alone(own_servers: Servers) -> None:
    for server in (own_servers.broker, own_servers.database):
        if not isinstance(server, KafkaProcess | PostgresProcess):
            pytest.skip("it is a container: Docker publishes its port")
        listening = [
            connection.laddr.ip
            for connection in psutil.Process(server.pid).net_connections()
            if connection.status == psutil.CONN_LISTEN
        ]
        assert listening
        assert {address.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


@pytest.mark.timeout(90)
async def test_acknowledged_messages_and_commits_survive_a_crash_on_the_same_address(own_servers: Servers) -> None:
    servers = own_servers
    kafka, dsn = servers.kafka, await servers.create_database("crashed")
    await make_topic(kafka, "crashed.v1")
    await say(kafka, "crashed.v1", "kept")
    connection = await asyncpg.connect(dsn)
    await connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
    await asyncio.gather(servers.broker.kill(), servers.database.kill())
    assert not await broker_answers(kafka, seconds=1)
    assert not await database_answers(dsn, seconds=1)
    connection.terminate()
    await asyncio.gather(servers.broker.restart(), servers.database.restart())
    assert (servers.kafka, servers.dsn("crashed")) == (kafka, dsn)
    assert await hear(kafka, "crashed.v1", 1) == ["kept"]
    connection = await asyncpg.connect(dsn)
    assert await connection.fetchval("SELECT one FROM kept") == 1
    await connection.close()


@pytest.mark.timeout(90)
async def test_a_frozen_server_is_silent_and_goes_on_when_thawed(own_servers: Servers) -> None:
    servers = own_servers
    connection = await asyncpg.connect(servers.postgres)
    servers.database.freeze()
    servers.broker.freeze()
    try:
        with pytest.raises(TimeoutError):
            await connection.fetchval("SELECT 1", timeout=0.5)
        assert not await database_answers(servers.postgres, seconds=0.5)
        assert not await broker_answers(servers.kafka, seconds=0.5)
    finally:
        servers.database.thaw()
        servers.broker.thaw()
    assert await database_answers(servers.postgres)
    assert await broker_answers(servers.kafka)
    connection.terminate()


@pytest.mark.timeout(120)
async def test_two_at_once_do_not_hear_each_other_and_the_data_of_a_persistent_one_comes_back(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    monkeypatch.delenv("POSTGRES_DSN", raising=False)
    async with Servers(tmp_path / "up", persistent=True) as first:
        assert {first.kafka, first.postgres}.isdisjoint({servers.kafka, servers.postgres})
        await make_topic(first.kafka, "mine.v1")
        await say(first.kafka, "mine.v1", "kept")
        assert "mine.v1" not in await topics_of(servers.kafka)
        dsn = await first.create_database("mine")
        connection = await asyncpg.connect(dsn)
        await connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
        await connection.close()
    async with Servers(tmp_path / "up", persistent=True) as again:
        assert (again.kafka, again.dsn("mine")) == (first.kafka, dsn)
        assert await hear(again.kafka, "mine.v1", 1) == ["kept"]
        connection = await asyncpg.connect(dsn)
        assert await connection.fetchval("SELECT one FROM kept") == 1
        await connection.close()
        await again.erase()
    assert not list((tmp_path / "up").iterdir())


PARENT = """
import asyncio, sys, time
from pathlib import Path
from deploy.local.servers import Servers
servers = Servers(Path(sys.argv[1]), own=True)
asyncio.run(servers.start())
if sys.argv[2] == "frozen":
    servers.broker.freeze()
    servers.database.freeze()
print("started", flush=True)
time.sleep(600)
"""


@pytest.mark.stack
@pytest.mark.timeout(90)
@pytest.mark.parametrize("state", ["running", "frozen"])
def test_no_server_is_left_when_their_starter_is_killed(tmp_path: Path, state: str) -> None:
    if docker_answers():
        pytest.skip("containers are ended by Testcontainers' reaper")
    folder = tmp_path / "killed"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(folder), state], stdout=subprocess.PIPE, text=True)
    try:
        line_with("started", parent)
        left = processes_with(str(folder))
        left += [child for process in left for child in process.children(recursive=True)]
        assert any("kafka.Kafka" in " ".join(process.cmdline()) for process in left)
        assert any("postgres" in process.name() for process in left)
    finally:
        parent.kill()
        parent.communicate()
    assert eventually(lambda: not [one for one in left if one.is_running() and one.status() != psutil.STATUS_ZOMBIE])


async def test_given_servers_are_shared_politely(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", servers.kafka)
    monkeypatch.setenv("POSTGRES_DSN", servers.postgres)
    first, second = Servers(tmp_path / "1"), Servers(tmp_path / "2")
    await first.start()
    await second.start()
    assert first.topic_prefix != second.topic_prefix
    one, other = await first.create_database("stock"), await second.create_database("stock")
    assert one != other
    topics = [f"{run.topic_prefix}stock.v1" for run in (first, second)]
    for topic in topics:
        await make_topic(servers.kafka, topic)
    with pytest.raises(NotOurs, match="POSTGRES_DSN names this server"):
        await first.database.kill()
    with pytest.raises(NotOurs, match="KAFKA_BOOTSTRAP_SERVERS names this server"):
        first.broker.freeze()
    await first.close()  # takes away its own, and nothing else
    assert not await database_answers(one)
    assert await database_answers(other)
    left = await topics_of(servers.kafka)
    assert topics[0] not in left
    assert topics[1] in left
    await second.close()
    assert await database_answers(servers.postgres)


@pytest.mark.parametrize(
    ("variable", "given", "said"),
    [
        (
            "KAFKA_BOOTSTRAP_SERVERS",
            "127.0.0.1:1",
            "no broker answers at 127.0.0.1:1, which KAFKA_BOOTSTRAP_SERVERS names",
        ),
        (
            "POSTGRES_DSN",
            "postgresql://u:secret@127.0.0.1:1/p",
            "no database answers at 127.0.0.1:1, which POSTGRES_DSN names",
        ),
    ],
)
@pytest.mark.timeout(90)
async def test_a_given_server_that_does_not_answer_is_said_in_one_line(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, given: str, said: str
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", servers.kafka)
    monkeypatch.setenv("POSTGRES_DSN", servers.postgres)
    monkeypatch.setenv(variable, given)
    with pytest.raises(Missing) as missing:
        await Servers(tmp_path).start()
    assert str(missing.value) == said
