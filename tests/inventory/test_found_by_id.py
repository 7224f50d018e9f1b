"""Holds are lifted by their ids, however many are open."""

from pathlib import Path
from typing import cast

import pytest

from delivery import Connection
from services.inventory.app import service
from services.inventory.store import InventoryStore
from tests.kept_plans import Overheard, kept_plan, walked_through
from tests.service_harness import running

pytestmark = pytest.mark.stack


async def test_holds_are_not_looked_for_among_all_that_are_open(database: str, tmp_path: Path) -> None:
    overheard = Overheard()
    async with running(service, database, tmp_path) as at:
        await InventoryStore(cast("Connection", overheard)).lift_holds([], at.clock())
        [(sql, args)] = overheard.asked
        plan = await kept_plan(at.runtime.pool, sql, args)
    assert "hold_pkey" in plan
    assert walked_through(plan) == []
