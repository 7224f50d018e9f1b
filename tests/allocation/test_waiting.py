"""A long line of waiting demands and little to give: who is served, and how much is read for it."""

import datetime as dt

from contracts.allocation import DemandAllocated
from tests.allocation.conftest import NOW, World, demand


async def test_a_line_longer_than_one_page_is_walked_until_the_stock_is_gone(world: World) -> None:
    stubborn = [
        demand(1, reference=f"FRESH-{n}", min_days=2000, raised_at=NOW - dt.timedelta(days=2, seconds=-n))
        for n in range(510)
    ]
    patient = [demand(1, reference=f"ANY-{n}", raised_at=NOW - dt.timedelta(days=1, seconds=-n)) for n in range(20)]
    await world.at.hear(*stubborn, *patient)
    await world.at.said()
    await world.stock("A", 15, expires="2026-06-01")
    served = [event.reference for event in await world.at.said() if isinstance(event, DemandAllocated)]
    assert served == [f"ANY-{n}" for n in range(15)]
    assert await world.balance() == []
