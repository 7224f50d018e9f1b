"""Plans of statements are made on the first day, when little is promised, and kept: they must be right later too."""

from collections.abc import Sequence
from typing import Any, cast
from uuid import uuid4

import pytest

from delivery import Connection
from delivery.database import transaction_by_key
from services.allocation.store import AllocationStore
from services.allocation.store.outbound import fetched
from tests.allocation.conftest import World

pytestmark = pytest.mark.stack

OF_ALL_THAT_IS_OPEN = ("reservation_to_pick", "reservation_picked")


class _Overheard:
    """In place of a connection: keeps what was asked, and finds nothing."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    async def fetch(self, sql: str, *args: object) -> Sequence[Any]:
        self.asked.append((sql, len(args)))
        return []


async def test_picks_are_not_looked_for_among_all_that_is_promised(world: World) -> None:
    write = fetched([])
    plan = await _plan(world, write.sql, len(write.args))
    assert "reservation_pkey" in plan
    assert not [index for index in OF_ALL_THAT_IS_OPEN if index in plan], plan


async def test_claims_are_not_looked_for_among_all_that_are_open(world: World) -> None:
    overheard = _Overheard()
    await AllocationStore(cast("Connection", overheard)).claims(reservation_ids=[uuid4()])
    [(sql, args)] = overheard.asked
    plan = await _plan(world, sql, args)
    for index in ("reservation_pkey", "reservation_of_line", "reservation_of_demand", "reservation_on_batch"):
        assert index in plan, plan
    for n, line in enumerate(plan.splitlines()):
        if "on reservation_on_batch" in line or "using reservation_on_batch" in line:
            assert "Index Cond" in plan.splitlines()[n + 1], f"it walks through all open claims:\n{plan}"


async def _plan(world: World, sql: str, args: int) -> str:
    """The plan that is kept, as it is made in the transaction of a chunk while the tables are empty."""
    async with transaction_by_key(world.at.runtime.pool) as db:
        await db.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        await db.execute(f"PREPARE kept AS {sql}")
        rows = await db.fetch(f"EXPLAIN EXECUTE kept ({', '.join(['NULL'] * args)})")
        await db.execute("DEALLOCATE kept")
    return "\n".join(row[0] for row in rows)
