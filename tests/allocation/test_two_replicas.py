"""Two replicas on one database, the ledger and many callers at once on the same item: nothing is promised twice."""

import asyncio
import random
from pathlib import Path

from contracts.inventory import MovementReason
from contracts.values import Place, PlaceKind
from services.allocation.app import service
from tests.allocation.conftest import ITEM, SITE, World, demand, place
from tests.service_harness import Running, running


async def test_two_replicas_never_promise_the_same_stock(database: str, tmp_path: Path) -> None:
    # complaints 12, 20; the reservation race that others lose
    chance = random.Random(4711)
    async with running(service, database, tmp_path / "1") as one, running(service, database, tmp_path / "2") as two:
        world = World(one)
        for number in range(40):
            await world.stock(f"B{number:02}", 10, expires=f"2026-{4 + number % 8:02}-01")
        await world.customer("C-1")
        await one.said()
        on_hand = 400

        async def chunk(at: Running, names: str) -> None:
            await asyncio.sleep(chance.random() / 50)
            await at.hear(*(demand(chance.randint(1, 9), reference=f"{names}-{n}") for n in range(12)))

        async def caller(at: Running, name: str) -> None:
            for n in range(4):
                wish = {
                    "reference": f"{name}-{n}",
                    "customer_id": "C-1",
                    "site_id": SITE,
                    "item_id": ITEM,
                    "quantity": "7",
                    "unit": "C62",
                    "needed_on": "2026-03-05",
                }
                answer = await at.post("/demands", wish, role="planner")
                assert answer.status_code == 201, answer.text
                if n % 2:
                    demand_id = answer.json()["demand_id"]
                    cancelled = await at.post(f"/demands/{demand_id}/cancellation", {"reason": "no"}, role="planner")
                    assert cancelled.status_code == 200, cancelled.text

        async def ledger() -> None:
            for number in range(0, 40, 4):
                out = Place(kind=PlaceKind.PRODUCTION)
                await one.hear(
                    world.moved(f"B{number:02}", 5, out, frm=place("A-1"), reason=MovementReason.CONSUMPTION)
                )

        await asyncio.gather(
            *(chunk(at, f"chunk-{at is one}-{n}") for at in (one, two) for n in range(4)),
            *(caller(at, f"caller-{at is one}-{n}") for at in (one, two) for n in range(8)),
            ledger(),
        )
        on_hand -= 10 * 5
        assert await world.balance() == []
        assert sum(int(there) for there in (await world.on_hand()).values()) == on_hand
        over = await one.runtime.pool.fetch(
            """
            SELECT batch_id, sum(quantity) FROM reservation
            WHERE status = 'promised' GROUP BY batch_id HAVING sum(quantity) > 10
            """
        )
        assert over == []
        waits = await one.runtime.pool.fetchval("SELECT sum(missing) FROM demand WHERE cancelled_at IS NULL")
        free = await one.runtime.pool.fetchval("SELECT sum(free) FROM shelf")
        assert waits > 0
        assert free == 0, "something is free while demands wait for it"
        assert await one.parked() == []


async def test_a_reference_asked_of_two_replicas_about_two_items_is_given_once(database: str, tmp_path: Path) -> None:
    async with running(service, database, tmp_path / "1") as one, running(service, database, tmp_path / "2") as two:
        world = World(one)
        await world.customer("C-1")
        for item_id in (ITEM, "OTHER"):
            await world.item(item_id)

        async def ask(at: Running, item_id: str, number: int) -> int:
            wish = {
                "reference": f"SO-{number}",
                "customer_id": "C-1",
                "site_id": SITE,
                "item_id": item_id,
                "quantity": "7",
                "unit": "C62",
                "needed_on": "2026-03-05",
            }
            return (await at.post("/demands", wish, role="planner")).status_code

        for number in range(20):
            assert sorted(await asyncio.gather(ask(one, ITEM, number), ask(two, "OTHER", number))) == [201, 409]
