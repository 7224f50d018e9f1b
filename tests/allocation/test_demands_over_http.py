"""Demands over HTTP: the promise at once, its explanation, its replay, and errors that name the value and the limit."""

import asyncio
import datetime as dt
import itertools
from typing import Any

import asyncpg
import pytest

from contracts.integration import DemandWithdrawn, PartnerRole
from contracts.values import HoldKind, Purpose, Quality
from tests.allocation.conftest import ITEM, SITE, World, demand

_NUMBERS = itertools.count(1)


def body(quantity: str = "5", **more: Any) -> dict[str, Any]:
    """A demand that can be raised once `buyers` are known; each with a reference of its own."""
    return {
        "reference": f"SO-9/{next(_NUMBERS)}",
        "customer_id": "C-1",
        "site_id": SITE,
        "item_id": ITEM,
        "quantity": quantity,
        "unit": "C62",
        "needed_on": "2026-03-05",
        **more,
    }


@pytest.fixture(autouse=True)
async def buyers(world: World) -> None:
    for customer_id in ("C-1", "C-2"):
        await world.customer(customer_id)


async def test_a_planner_gets_the_promise_at_once_and_the_same_again_for_the_same_key(world: World) -> None:
    await world.stock("A", 3, expires="2026-06-01")
    await world.stock("B", 9, expires="2026-07-01")
    wish = body()
    first = await world.at.post("/demands", wish, role="planner", key="k-1")
    again = await world.at.post("/demands", wish, role="planner", key="k-1")
    assert first.status_code == 201, first.text
    assert first.json() == again.json()
    told = first.json()
    assert (told["status"], told["allocated"], told["missing"]) == ("allocated", "5", "0")
    assert [(share["batch_no"], share["quantity"]) for share in told["shares"]] == [("A", "3"), ("B", "2")]
    shown = (await world.at.get(f"/demands/{told['demand_id']}")).json()
    assert shown["shares"] == told["shares"]
    assert shown["passed_over"] == told["passed_over"]


async def test_a_shortage_is_answered_with_lines_and_what_is_missing(world: World) -> None:
    # 3.1 #107, complaint 1
    await world.stock("A", 5, expires="2026-06-01")
    await world.stock("B", 10, expires="2026-07-01")
    told = (await world.at.post("/demands", body("1000"), role="integrator")).json()
    assert (told["status"], told["allocated"], told["missing"]) == ("partly_allocated", "15", "985")
    nothing = (await world.at.post("/demands", body("1"), role="planner")).json()
    assert nothing["status"] == "short"
    assert {passed["code"] for passed in nothing["passed_over"]} == {"reserved"}


async def test_many_callers_on_one_item_never_get_the_same_stock(world: World) -> None:
    for number in range(10):
        await world.stock(f"B{number}", 10, expires="2026-06-01")
    answers = await asyncio.gather(*(world.at.post("/demands", body("7"), role="planner") for _ in range(20)))
    assert sum(int(answer.json()["allocated"]) for answer in answers) == 100
    assert await world.at.runtime.pool.fetchval("SELECT sum(quantity) FROM reservation") == 100
    assert await world.balance() == []


async def test_what_is_asked_wrongly_is_refused_by_name_and_limit(world: World) -> None:
    await world.item()
    refused = {
        "quantity": body("0"),
        "needed_on": body(needed_on="soon"),
        "min_percent_left": body(min_percent_left=101),
        "min_days_left": body(min_days_left=-1),
        "strategy": body(strategy="newest"),
        "colour": body(colour="red"),
    }
    for field, wrong in refused.items():
        answer = await world.at.post("/demands", wrong, role="planner")
        assert answer.status_code == 422, field
        assert field in answer.json()["detail"], answer.text
    unit = await world.at.post("/demands", body(unit="BX"), role="planner")
    assert (unit.status_code, unit.json()["code"]) == (409, "not_the_base_unit")
    assert "'BX'" in unit.json()["detail"]
    assert "'C62'" in unit.json()["detail"]
    unknown = await world.at.post("/demands", body(item_id="TYPO"), role="planner")
    assert (unknown.status_code, unknown.json()["code"]) == (409, "unknown_item")
    assert (await world.at.post("/demands", body(), role="operator")).status_code == 403
    assert (await world.at.get("/demands", after="nonsense")).json()["code"] == "invalid_after"


async def test_a_strategy_that_nobody_has_is_refused_by_name_with_those_there_are(world: World) -> None:
    for wrong in ("best", "unknown", 7):
        told = (await world.at.post("/demands", body(strategy=wrong, batch_no="A"), role="planner")).json()
        [found] = told["fields"]
        assert found["field"] == "strategy"
        assert str(wrong) in found["value"]
        assert all(known in found["problem"] for known in ("fefo", "fifo", "lifo", "specified"))
        assert "unknown" not in found["problem"]


async def test_a_batch_is_named_with_the_strategy_that_needs_one_and_with_no_other(world: World) -> None:
    for wrong, problem in (
        ({"strategy": "specified"}, "strategy 'specified' needs a batch_no"),
        ({"strategy": "fefo", "batch_no": "A"}, "batch_no 'A' goes with strategy 'specified', not 'fefo'"),
    ):
        answer = await world.at.post("/demands", body(**wrong), role="planner")
        assert answer.status_code == 422
        assert [(each["field"], each["problem"]) for each in answer.json()["fields"]] == [("batch_no", problem)]


async def test_a_demand_of_a_customer_that_the_catalog_does_not_know_or_no_longer_serves_is_refused(
    world: World,
) -> None:
    await world.stock("A", 9, expires="2026-06-01")
    await world.customer("SUPPLY-CO", roles=(PartnerRole.SUPPLIER,))
    await world.customer("GONE", active=False)
    await world.customer("BOTH", roles=(PartnerRole.SUPPLIER, PartnerRole.CUSTOMER))
    for nobody in ("C-l", "SUPPLY-CO", "GONE"):
        refused = await world.at.post("/demands", body(customer_id=nobody), role="planner")
        told = refused.json()
        assert (refused.status_code, told["code"]) == (409, "unknown_customer"), nobody
        assert f"PUT /partners/{nobody}" in told["detail"]
        assert [each["field"] for each in told["fields"]] == ["customer_id"]
    assert await world.at.runtime.pool.fetchval("SELECT count(*) FROM demand") == 0
    assert (await world.at.post("/demands", body(customer_id="BOTH"), role="planner")).status_code == 201


async def test_nothing_can_be_needed_on_a_day_that_is_over_everywhere(world: World) -> None:
    await world.item()
    world.at.clock.at = dt.datetime(2026, 3, 2, 11, 59, tzinfo=dt.UTC)
    asked = body(needed_on="2026-03-01")
    assert (await world.at.post("/demands", asked, role="planner")).status_code == 201
    world.at.clock.at = dt.datetime(2026, 3, 2, 12, 0, tzinfo=dt.UTC)
    refused = await world.at.post("/demands", body(needed_on="2026-03-01"), role="planner")
    told = refused.json()
    assert (refused.status_code, told["code"]) == (422, "needed_in_the_past")
    assert "2026-03-01" in told["detail"]
    assert "2026-03-02 is the earliest" in told["detail"]
    assert [each["field"] for each in told["fields"]] == ["needed_on"]
    assert (await world.at.post("/demands", body(needed_on="2026-03-02"), role="planner")).status_code == 201


async def test_a_reference_that_another_demand_has_is_refused_until_that_one_is_cancelled(world: World) -> None:
    await world.item()
    await world.item("OTHER")
    heard = demand(5, reference="SO-ERP")
    await world.at.hear(heard)
    asked = await world.at.post("/demands", body(reference="SO-ERP"), role="planner")
    assert (asked.status_code, asked.json()["code"]) == (409, "reference_taken")
    assert str(heard.demand_id) in asked.json()["detail"]
    assert [each["field"] for each in asked.json()["fields"]] == ["reference"]
    await world.at.hear(DemandWithdrawn(demand_id=heard.demand_id, item_id=ITEM, reason="no"))
    assert (await world.at.post("/demands", body(reference="SO-ERP"), role="planner")).status_code == 201
    # Of calls that come together, about whatever items, one wins.
    wishes = [body(reference="SO-ONCE", item_id=item_id) for item_id in (ITEM, "OTHER") * 4]
    answers = await asyncio.gather(*(world.at.post("/demands", wish, role="planner") for wish in wishes))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    # What integration raised is a fact: it was checked there.
    await world.at.hear(demand(1, reference="SO-ONCE", customer="C-l", needed_on="2026-01-01"))
    assert len((await world.at.get("/demands", reference="SO-ONCE")).json()["items"]) == 2


async def test_every_plan_is_explained_and_replayed(world: World) -> None:
    await world.stock("HELD", 5, expires="2026-04-01")
    await world.hold("HELD", kind=HoldKind.EXCURSION)
    await world.stock("OLD", 5, expires="2026-03-01")
    await world.stock("SHORT", 5, expires="2026-05-01")
    await world.stock("NEW", 5, expires="2026-05-02", quality=Quality.PENDING)
    await world.stock("STAGED", 5, "STAGE", expires="2026-05-03", purpose=Purpose.STAGING)
    await world.stock("GOOD", 5, expires="2026-09-01")
    told = (await world.at.post("/demands", body("7", min_days_left=90), role="planner")).json()
    explained = (await world.at.get(f"/demands/{told['demand_id']}/explanation")).json()
    rows = [(row["batch_no"], row["verdict"], row["code"]) for row in explained["rows"]]
    assert rows == [
        ("OLD", "passed_over", "expired"),
        ("HELD", "passed_over", "held"),
        ("SHORT", "passed_over", "too_few_days_left"),
        ("NEW", "passed_over", "pending"),
        ("STAGED", "passed_over", "not_pickable_here"),
        ("GOOD", "taken", None),
    ]
    assert explained["rows"][2]["sort_keys"]["use_by"] == "2026-05-01"
    assert explained["missing"] == "2"
    for row in await world.at.runtime.pool.fetch("SELECT plan_id FROM plan"):
        replayed = (await world.at.get(f"/plans/{row['plan_id']}/replay")).json()
        assert replayed["equal"] is True
        assert (await world.at.get(f"/plans/{row['plan_id']}")).json()["outcome"] == replayed["recomputed"]


async def test_a_demand_is_told_what_is_too_old_for_it_also_when_others_beside_it_may_have_that(world: World) -> None:
    await world.stock("SHORT", 5, expires="2026-05-01")
    await world.stock("LONG", 5, expires="2027-09-01")
    easy, strict = demand(2, reference="SO-1"), demand(3, reference="SO-2", min_days=300)
    await world.at.hear(easy, strict)  # one chunk
    told = (await world.at.get(f"/demands/{strict.demand_id}/explanation")).json()
    rows = [(row["batch_no"], row["code"], row["not_taken"]) for row in told["rows"]]
    assert rows == [("SHORT", "too_few_days_left", "3"), ("LONG", "not_needed", "2")]
    assert (await world.at.get(f"/plans/{told['plan_id']}/replay")).json()["equal"] is True


async def test_a_plan_that_was_tampered_with_does_not_replay_equal(world: World, database: str) -> None:
    await world.stock("A", 5, expires="2026-06-01")
    told = (await world.at.post("/demands", body("5"), role="planner")).json()
    superuser = await asyncpg.connect(database)
    await superuser.execute("UPDATE plan SET outcome = replace(outcome, '\"5\"', '\"4\"')")
    await superuser.close()
    assert (await world.at.get(f"/plans/{told['plan_id']}/replay")).json()["equal"] is False


async def test_the_service_cannot_rewrite_how_it_decided(world: World) -> None:
    for statement in ("UPDATE plan SET policy = 'x'", "DELETE FROM plan", "DELETE FROM refused_scan"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await world.at.runtime.pool.execute(statement)


async def test_planning_again_takes_what_came_meanwhile(world: World) -> None:
    await world.stock("LATE", 9, expires="2026-09-01")
    told = (await world.at.post("/demands", body(), role="planner")).json()
    await world.stock("SOON", 3, expires="2026-06-01")
    again = await world.at.post(f"/demands/{told['demand_id']}/replan", {}, role="planner")
    assert again.status_code == 200, again.text
    assert await world.shares(told["demand_id"]) == {"LATE@A-1": "2", "SOON@A-1": "3"}
    assert again.json()["status"] == "allocated"
    assert await world.balance() == []


async def test_demands_are_found_the_way_people_look_for_them(world: World) -> None:
    await world.stock("A", 5, expires="2026-06-01")
    one = (await world.at.post("/demands", body("5", reference="SO-1"), role="planner")).json()
    two = (await world.at.post("/demands", body("5", reference="SO-2", customer_id="C-2"), role="planner")).json()
    await world.at.hear(DemandWithdrawn(demand_id=two["demand_id"], item_id=ITEM, reason="no"))
    for query, expected in (
        ({"reference": "SO-1"}, [one]),
        ({"customer_id": "C-2"}, [two]),
        ({"status": "allocated"}, [one]),
        ({"status": "cancelled"}, [two]),
        ({"item_id": ITEM}, [one, two]),
        ({"item_id": "OTHER"}, []),
    ):
        found = (await world.at.get("/demands", **query)).json()["items"]
        assert [row["demand_id"] for row in found] == [each["demand_id"] for each in expected], query
    page = (await world.at.get("/demands", limit=1)).json()
    rest = (await world.at.get("/demands", limit=1, after=page["next"])).json()
    assert [page["items"][0]["demand_id"], rest["items"][0]["demand_id"]] == [one["demand_id"], two["demand_id"]]


async def test_availability_says_per_batch_what_is_there_reserved_free_and_why_not_usable(world: World) -> None:
    await world.stock("A", 10, expires="2026-06-01")
    await world.stock("B", 4, expires="2026-02-28")
    await world.stock("C", 3, expires="2026-06-01", quality=Quality.REJECTED)
    await world.hold("A")
    await world.stock("D", 10, expires="2026-06-01")
    await world.at.hear(demand(4))
    pages: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while True:
        page = (await world.at.get(f"/items/{ITEM}/availability", site_id=SITE, limit=3, **after)).json()
        pages += page["items"]
        if page.get("next") is None:
            break
        after = {"after": page["next"]}
    told = {row["batch_no"]: (row["on_hand"], row["reserved"], row["free"], row["promisable"]) for row in pages}
    assert told == {
        "A": ("10", "0", "10", "0"),
        "B": ("4", "0", "4", "0"),
        "C": ("3", "0", "3", "0"),
        "D": ("10", "4", "6", "6"),
    }
    why = {row["batch_no"]: row["why_not"] for row in pages}
    assert why["A"] == ["held: manual (looked odd)"]
    assert why["B"] == ["was usable through 2026-02-28"]
    assert why["C"] == ["quality is rejected"]


async def test_picks_are_listed_in_walking_order(world: World) -> None:
    await world.stock("B", 2, "B-1", expires="2026-06-01")
    await world.stock("A", 2, "A-1", expires="2026-07-01")
    await world.at.hear(demand(4))
    listed = (await world.at.get("/picks", site_id=SITE, status="open", limit=1)).json()
    rest = (await world.at.get("/picks", site_id=SITE, status="open", limit=1, after=listed["next"])).json()
    assert [listed["items"][0]["location_id"], rest["items"][0]["location_id"]] == ["A-1", "B-1"]
