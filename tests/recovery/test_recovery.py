"""What is derived is derived again; what was lost with a database is taken up again, or named."""

import asyncio
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest_asyncio

from deploy.local.play.scene import Scene
from tests.journeys.test_other_ways import all_have, books, buy, leaves, promised, purchase, wanted
from tests.recovery.conftest import Operator

CANISTER = "FG-0089-0175"

BOOKS = {
    "movement": "SELECT * FROM movement ORDER BY item_id, sequence",
    "balance": "SELECT batch_id, site_id, location_id, quality, item_id, quantity FROM balance ORDER BY 1, 2, 3, 4",
    "hold": "SELECT * FROM hold ORDER BY hold_id",
    "item_sequence": "SELECT * FROM item_sequence ORDER BY item_id",
    "booking": "SELECT kind, reference FROM booking ORDER BY kind, reference",
    "batch": "SELECT * FROM batch ORDER BY batch_id",
    "batch_at_site": "SELECT * FROM batch_at_site ORDER BY batch_id, site_id",
}
"""All of inventory that others rely on."""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def traded(scene: Scene) -> Scene:
    """Goods of one item came, were promised, and left in part; one batch is held."""
    await buy(scene, purchase(scene, "K-201", "R-1", "100"), purchase(scene, "K-201", "R-2", "50"))
    await leaves(scene, await promised(scene, wanted(scene, CANISTER, "SO-RB1/10", "30")))
    await promised(scene, wanted(scene, CANISTER, "SO-RB2/10", "20"))
    await scene.people.hold(scene.people.batches[CANISTER, "R-2"], "a seal is being looked at")
    await all_have(scene, CANISTER, {"R-1": 70, "R-2": 50})
    return scene


async def agreed(scene: Scene, batch_no: str = "R-1") -> dict[str, Any]:
    """Wait until all services have the same of the item, `batch_no` among it, and the ERP its worth; what that is."""

    async def same() -> dict[str, Any] | None:
        found = await books(scene, CANISTER)
        one = found["inventory"]
        return one if batch_no in one and all(each == one for each in found.values()) else None

    stock = await scene.world.until(f"all books agree, {batch_no} among them", same)
    await all_have(scene, CANISTER, stock)
    return stock


async def test_rebuilding_what_is_right_changes_nothing(traded: Scene, operator: Operator) -> None:
    for service, ended in (await operator.rebuild_all()).items():
        assert ended.code == 0, (service, ended.said, ended.log[-2000:])
        assert all(each["looked_at"] > 0 and each["differences_mended"] == 0 for each in ended.said), ended.said


async def test_what_was_changed_by_hand_is_derived_again_while_goods_arrive(traded: Scene, operator: Operator) -> None:
    await operator.change(
        "inventory",
        "UPDATE balance SET quantity = quantity + 7 "
        "WHERE batch_id = (SELECT batch_id FROM batch WHERE batch_no = 'R-2')",
        "DELETE FROM balance WHERE batch_id = (SELECT batch_id FROM batch WHERE batch_no = 'R-1') "
        "AND location_id <> 'STAGE'",
        "UPDATE item SET name = 'scribbled over' WHERE item_id = 'FG-0089-0175'",
    )
    await operator.change(
        "allocation",
        "UPDATE shelf SET free = free + 11 WHERE batch_no = 'R-1'",
        "DELETE FROM hold",
        "UPDATE shelf SET held = false WHERE held",
    )
    await operator.change("trace", "UPDATE custody SET came = came + 9", "DELETE FROM timeline", "DELETE FROM receipt")
    await operator.change("integration", "UPDATE ledger_batch SET quantity = 1", "DELETE FROM receipt_line")
    await operator.change(
        "receiving",
        "UPDATE item SET name = 'scribbled over' WHERE item_id = 'FG-0089-0175'",
        "UPDATE expected_receipt SET received = 1, due_on = due_on + 3 WHERE received > 0",
    )
    arriving = asyncio.create_task(buy(traded, purchase(traded, "K-201", "R-3", "25")))
    for service, ended in (await operator.rebuild_all()).items():
        assert ended.code == 3, (service, ended.said, ended.log[-2000:])
    await arriving
    for service, ended in (await operator.rebuild_all()).items():
        assert ended.code == 0, (service, ended.said, ended.log[-2000:])
    await all_have(traded, CANISTER, {"R-1": 70, "R-2": 50, "R-3": 25})
    checked = await traded.world.post("inventory", "/checks", by="aiko")
    assert checked["holds"], checked


async def test_a_rebuild_that_is_killed_has_changed_nothing_and_goes_on_when_begun_again(
    traded: Scene, operator: Operator
) -> None:
    damaged = "SELECT count(*) FROM custody WHERE came > 1000"
    await operator.change("trace", "UPDATE custody SET came = came + 100000")
    before = await operator.rows("trace", damaged)
    async with operator.database("trace") as hearing:
        # As if a long chunk were in work: the copies are complete, and the comparison has to wait.
        await hearing.execute("SELECT pg_advisory_lock_shared(hashtextextended('delivery.hearing', 0))")
        doomed = await operator.begin("trace", "rebuild", "graph")

        async def waits_to_compare() -> bool:
            found = await hearing.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                "AND application_name = 'trace-rebuild' AND wait_event = 'advisory'"
            )
            return bool(found)

        await traded.world.until("the rebuild waits to compare", waits_to_compare)
        doomed.kill()
        await doomed.wait()
    assert await operator.rows("trace", damaged) == before
    ended = await operator.run("trace", "rebuild", "graph")
    assert ended.code == 3, ended.log[-2000:]
    assert "going on with the copies" in ended.log
    assert ended.said[0]["looked_at"] < 10, "most was heard by the one that was killed"
    assert await operator.rows("trace", damaged) == [(0,)]
    assert (await operator.run("trace", "rebuild")).code == 0


async def test_a_ledger_from_an_old_backup_takes_up_from_its_own_topic_what_it_had_said(
    traded: Scene, operator: Operator
) -> None:
    system = operator.system
    await system["inventory"].stop()
    await operator.back_up("inventory")
    await system["inventory"].start()
    await buy(traded, purchase(traded, "K-201", "R-4", "80"))
    await leaves(traded, await promised(traded, wanted(traded, CANISTER, "SO-RB3/10", "60")))
    held = await traded.people.hold(traded.people.batches[CANISTER, "R-4"], "the label is smeared")
    await traded.world.post("inventory", f"/holds/{held['hold_id']}/lift", {"reason": "it can be read"}, by="qiang")
    stock = await agreed(traded)
    await system["inventory"].stop()
    before = {table: await operator.rows("inventory", query) for table, query in BOOKS.items()}

    await operator.put_back("inventory")
    waits = await operator.serve_blocked("inventory")
    assert "restore" in waits["memory"]
    # Nothing may be numbered anew meanwhile.
    status, refused = await _try_to_hold(traded)
    assert (status, refused["code"]) == (503, "database_incomplete")

    asked = await operator.run("inventory", "restore")
    assert asked.code == 1
    kinds = {each["type"]: each for each in asked.said["said_and_not_known"]}
    assert kinds["inventory.StockMoved"]["can_be_taken_up"]
    assert {"inventory.HoldPlaced", "inventory.HoldLifted"} <= kinds.keys()
    assert any("Idempotency-Key" in sentence for sentence in asked.said["cannot_be_known"])
    taken = await operator.run("inventory", "restore", "--confirm", "disk of the database was lost")
    assert taken.code == 0, taken.log[-3000:]
    assert taken.said["unknown_events"] == asked.said["unknown_events"] > 0
    await operator.ready("inventory")
    assert (await operator.run("inventory", "restore")).said["unknown_events"] == 0

    await all_have(traded, CANISTER, stock)
    after = {table: await operator.rows("inventory", query) for table, query in BOOKS.items()}
    assert after == before
    # It goes on with the next numbers, and everybody follows.
    await buy(traded, purchase(traded, "K-201", "R-5", "5"))
    await all_have(traded, CANISTER, {**stock, "R-5": 5})
    assert (await operator.run("inventory", "rebuild")).code == 0
    checked = await traded.world.post("inventory", "/checks", by="aiko")
    assert checked["holds"], checked
    assert await operator.rows("inventory", "SELECT why FROM delivery.restoration") == [
        ("disk of the database was lost",)
    ]


async def _try_to_hold(scene: Scene) -> tuple[int, dict[str, str]]:
    """One try to write, without the patience of `World`."""
    client = scene.world._clients["inventory"]
    response = await client.post(
        "/holds",
        json={"batch_id": scene.people.batches[CANISTER, "R-1"], "kind": "manual", "reason": "does it write?"},
        headers={"Authorization": f"Bearer {scene.world._tokens['qiang']}", "Idempotency-Key": "one-try"},
    )
    return response.status_code, response.json()


@dataclass
class Kept:
    """Backups of three services are there, and since then goods of batch R-6 came; what all had of the item then."""

    stock: dict[str, Any]
    worth: Decimal


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def kept(traded: Scene) -> Kept:
    """Each test puts one of the backups in place of its service's database."""
    operator, services = Operator(traded), ("trace", "integration", "receiving")
    await asyncio.gather(*(operator.system[service].stop() for service in services))
    for service in services:
        await operator.back_up(service)
    await asyncio.gather(*(operator.system[service].start() for service in services))
    await buy(traded, purchase(traded, "K-201", "R-6", "15"))
    return Kept(await agreed(traded, "R-6"), traded.erp.value_of(CANISTER))


async def test_a_service_that_said_nothing_since_the_backup_hears_again_by_itself_what_it_lost(
    traded: Scene, operator: Operator, kept: Kept
) -> None:
    system = operator.system
    await system["trace"].stop()
    await operator.put_back("trace")
    assert (await operator.run("trace", "restore")).code == 0
    await system["trace"].start()
    await all_have(traded, CANISTER, kept.stock)
    assert "read again" in system["trace"].log.read_text()
    assert (await operator.run("trace", "rebuild")).code == 0


async def test_what_cannot_be_taken_up_is_not_said_a_second_time_either(
    traded: Scene, operator: Operator, kept: Kept
) -> None:
    system = operator.system
    await system["integration"].stop()
    await operator.put_back("integration")
    asked = await operator.run("integration", "restore")
    listed = {each["type"]: each for each in asked.said["said_and_not_known"]}
    assert asked.code == 1
    assert listed["integration.CostPosted"]["events"] >= 1
    assert not listed["integration.CostPosted"]["can_be_taken_up"]
    assert (await operator.run("integration", "restore", "--confirm", "compared with the ERP")).code == 0
    await system["integration"].start()
    assert (await operator.run("integration", "rebuild")).code in (0, 3)
    sums = "SELECT batch_no, quantity::int FROM ledger_batch WHERE item_id = 'FG-0089-0175' AND quantity > 0"

    async def heard_again() -> bool:
        return dict(await operator.rows("integration", sums)) == kept.stock

    await traded.world.until("integration has heard again what it lost", heard_again, service="integration")
    # The ERP was told nothing twice.
    assert traded.erp.value_of(CANISTER) == kept.worth


async def test_what_a_service_cannot_take_up_is_listed_and_nothing_is_written_before_it_is_confirmed(
    operator: Operator, kept: Kept
) -> None:
    await operator.system["receiving"].stop()
    await operator.put_back("receiving")
    waits = await operator.serve_blocked("receiving")
    assert {"memory", "consumer", "relay"} <= waits.keys()
    asked = await operator.run("receiving", "restore")
    assert asked.code == 1
    found = {each["type"]: each["events"] for each in asked.said["said_and_not_known"]}
    assert found["receiving.BatchRegistered"] == found["receiving.BatchReceived"] == 1
    confirmed = await operator.run("receiving", "restore", "--confirm", "R-6 is entered again by hand")
    assert confirmed.code == 0
    await operator.ready("receiving")
    assert confirmed.said["unknown_events"] == asked.said["unknown_events"]
