"""Plans of statements are made on the first day, when little is promised, and kept: they must be right later too."""

from typing import cast
from uuid import uuid4

import pytest

from delivery import Connection
from services.allocation.store import AllocationStore
from services.allocation.store.outbound import fetched
from tests.allocation.conftest import World
from tests.kept_plans import Overheard, kept_plan, walked_through

pytestmark = pytest.mark.stack


async def test_picks_are_not_looked_for_among_all_that_is_promised(world: World) -> None:
    write = fetched([])
    plan = await kept_plan(world.at.runtime.pool, write.sql, len(write.args))
    assert "reservation_pkey" in plan
    assert walked_through(plan) == []


async def test_claims_are_not_looked_for_among_all_that_are_open(world: World) -> None:
    overheard = Overheard()
    await AllocationStore(cast("Connection", overheard)).claims(reservation_ids=[uuid4()])
    [(sql, args)] = overheard.asked
    plan = await kept_plan(world.at.runtime.pool, sql, args)
    for index in ("reservation_pkey", "reservation_of_line", "reservation_of_demand", "reservation_on_batch"):
        assert index in plan, plan
    assert walked_through(plan) == []
