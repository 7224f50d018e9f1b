"""Receiving as most of its tests want it: running, and knowing the catalog."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.receiving.app import service
from tests.receiving.goods import catalog
from tests.service_harness import Running, running


@pytest.fixture
async def at(database: str, tmp_path: Path) -> AsyncIterator[Running]:
    """Receiving, which has heard of all items and partners of `goods`."""
    async with running(service, database, tmp_path) as at:
        await at.hear(*catalog())
        yield at
