"""What `tests/conftest.py` promises to every test."""

import re

import asyncpg
import pytest

from deploy.local.servers import Servers


def test_a_test_on_real_servers_is_marked_by_asking_for_them(database: str, request: pytest.FixtureRequest) -> None:
    assert database
    assert request.node.get_closest_marker("stack") is not None


def test_another_test_is_not_marked(request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker("stack") is None


def test_the_topics_of_a_test_with_a_very_long_name_that_would_not_fit_into_the_limit_of_a_prefix(
    topic_prefix: str,
) -> None:
    assert re.fullmatch(r"[a-z0-9._-]{1,60}", topic_prefix)


async def test_a_database_is_gone_after_its_test(servers: Servers, database: str) -> None:
    connection = await asyncpg.connect(servers.postgres)
    try:
        ours = f"{servers.database_prefix}test_"
        present = await connection.fetch("SELECT datname FROM pg_database WHERE starts_with(datname, $1)", ours)
    finally:
        await connection.close()
    assert [row["datname"] for row in present] == [database.rpartition("/")[2]]
