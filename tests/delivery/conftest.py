"""What the delivery tests share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.local.servers import Servers
from tests.delivery.playground import Playground, playground


@pytest.fixture
async def place(servers: Servers, database: str, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Playground]:
    """The toy's own database and topics on the session's servers."""
    async with playground(servers, database, topic_prefix, tmp_path) as made:
        yield made
