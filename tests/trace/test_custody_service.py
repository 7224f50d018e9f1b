"""Where every unit is: the service on a real database."""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from contracts.integration import CostPosted, ItemDefined, PartnerDefined, PartnerRole, PostingKind
from contracts.inventory import HoldLifted, MovementReason
from contracts.receiving import BatchDatesCorrected
from contracts.values import HoldKind
from services.trace.app import service
from services.trace.domain.genealogy import Direction
from services.trace.queries import find_genealogy, find_nodes
from services.trace.views import BatchPage, CustodyView, TimelinePage
from tests.service_harness import Running, running
from tests.trace.stories import (
    ADJUSTMENT,
    DAY,
    PRODUCTION,
    SCRAP,
    allocated,
    an_id,
    batch_id,
    bin_,
    customer,
    delivered,
    entered,
    facts,
    held,
    moved,
    produced,
    received,
    registered,
)
from tests.trace.stories import at as hour


@pytest.fixture
async def at(database: str, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(service, database, tmp_path) as trace:
        yield trace


async def custody(
    trace: Running, item_id: str, batch_no: str, supplier: str | None = None, **query: Any
) -> CustodyView:
    answered = await trace.get(f"/batches/{batch_id(item_id, batch_no, supplier)}/custody", **query)
    assert answered.status_code == 200, answered.text
    return CustodyView.model_validate(answered.json())


async def test_every_unit_of_a_batch_is_somewhere(at: Running) -> None:
    await at.hear(
        *entered("WMP", "A", "100", "S-1"),
        moved("WMP", "A", "30", bin_("A-1"), PRODUCTION, MovementReason.CONSUMPTION, supplier_id="S-1"),
        moved("WMP", "A", "5", bin_("A-1"), SCRAP, MovementReason.ADJUSTMENT, supplier_id="S-1"),
        moved("WMP", "A", "2", bin_("A-1"), ADJUSTMENT, MovementReason.ADJUSTMENT, supplier_id="S-1"),
        moved("WMP", "A", "20", bin_("A-1"), customer("C-1"), MovementReason.ISSUE, supplier_id="S-1"),
        produced("MIX", "M", ("WMP", "A", "30")),
    )
    seen = await custody(at, "WMP", "A", "S-1")
    account = seen.account
    assert (account.entered, account.on_hand, account.shipped, account.consumed) == ("100", "43", "20", "30")
    assert (account.scrapped, account.adjusted, account.unaccounted) == ("5", "2", "0")
    assert (account.percent_accounted, account.differences) == ("100.00", [])
    assert [(each.batch_no, each.quantity) for each in seen.consumed_into] == [("M", "30")]
    assert [(spot.location_id, spot.quantity) for spot in seen.on_hand] == [("A-1", "43")]


async def test_a_difference_between_sources_is_named(at: Running) -> None:
    await at.hear(
        registered("WMP", "A", "S-1"),
        received("WMP", "A", "100", "S-1"),
        moved("WMP", "A", "90", customer("S-1"), bin_("A-1"), supplier_id="S-1"),
        produced("MIX", "M", ("WMP", "A", "7")),
    )
    account = (await custody(at, "WMP", "A", "S-1")).account
    assert {each.code: each.text for each in account.differences} == {
        "received_not_booked": "100 counted at the dock, 0 booked in",
        "consumed_not_booked": "7 consumed by reports, 0 by the ledger",
    }
    assert account.unaccounted == "100"


async def test_what_production_reports_and_nobody_receives_is_unaccounted_for(at: Running) -> None:
    await at.hear(*entered("MIX", "M", "90"), produced("MIX", "M", ("WMP", "A", "7"), quantity="100"))
    account = (await custody(at, "MIX", "M")).account
    assert (account.entered, account.unaccounted, account.percent_accounted) == ("100", "10", "90.00")
    assert [each.code for each in account.differences] == ["produced_not_received"]


# Scenario 103
async def test_shipped_and_returned_goods_lie_in_the_bin_they_came_from_and_the_total_is_kept(at: Running) -> None:
    await at.hear(
        *entered("WMP", "A", "100", "S-1"),
        moved("WMP", "A", "40", bin_("A-1"), customer("C-1"), MovementReason.ISSUE, supplier_id="S-1", hours=2),
        moved("WMP", "A", "40", customer("C-1"), bin_("A-1"), MovementReason.RECEIPT, supplier_id="S-1", hours=3),
    )
    seen = await custody(at, "WMP", "A", "S-1")
    assert [(spot.location_id, spot.quantity) for spot in seen.on_hand] == [("A-1", "100")]
    assert [(each.shipped, each.returned, each.still_there) for each in seen.customers] == [("40", "40", "0")]
    assert (seen.account.entered, seen.account.unaccounted) == ("100", "0")


# Scenario 100, as far as it is told by movements: what is booked back was never consumed.
async def test_a_consumption_that_is_booked_back_was_never_consumed(at: Running) -> None:
    consumption = moved("WMP", "A", "30", bin_("A-1"), PRODUCTION, MovementReason.CONSUMPTION, supplier_id="S-1")
    await at.hear(*entered("WMP", "A", "100", "S-1"), consumption)
    assert (await custody(at, "WMP", "A", "S-1")).account.consumed == "30"
    await at.hear(
        moved(
            "WMP",
            "A",
            "30",
            PRODUCTION,
            bin_("A-1"),
            MovementReason.REVERSAL,
            supplier_id="S-1",
            hours=2,
            reverses=consumption.movement_id,
        )
    )
    account = (await custody(at, "WMP", "A", "S-1")).account
    assert (account.consumed, account.on_hand, account.entered, account.differences) == ("0", "100", "100", [])


async def test_an_issue_that_is_booked_back_is_no_delivery(at: Running) -> None:
    dispatch, issue = delivered("MIX", "M", "5", "C-1", "SO-1")
    await at.hear(*entered("MIX", "M", "50"), dispatch, issue)
    downstream = f"/batches/{batch_id('MIX', 'M')}/downstream"
    assert len((await at.get(downstream)).json()["deliveries"]) == 1
    await at.hear(
        moved("MIX", "M", "5", issue.to_place, issue.from_place, MovementReason.REVERSAL, reverses=issue.movement_id)
    )
    assert (await at.get(downstream)).json()["deliveries"] == []


async def test_custody_is_told_as_it_was_at_a_moment(at: Running) -> None:
    await at.hear(
        *entered("WMP", "A", "100", "S-1"),
        moved("WMP", "A", "40", bin_("A-1"), customer("C-1"), MovementReason.ISSUE, supplier_id="S-1", hours=5),
    )
    before = await custody(at, "WMP", "A", "S-1", as_of=hour(4).isoformat())
    after = await custody(at, "WMP", "A", "S-1", as_of=hour(5).isoformat())
    assert (before.account.on_hand, after.account.on_hand) == ("100", "60")
    assert (before.account.unaccounted, after.account.unaccounted) == ("0", "0")
    assert after.model_copy(update={"as_of": None}) == await custody(at, "WMP", "A", "S-1")


async def test_holds_are_shown_while_they_are_open(at: Running) -> None:
    hold = held("MIX", "M", "recall-1", hour(1))
    await at.hear(*entered("MIX", "M", "50"), hold)
    page = BatchPage.model_validate((await at.get(f"/batches/{batch_id('MIX', 'M')}")).json())
    assert [each.reference for each in page.open_holds] == ["recall-1"]
    await at.hear(
        HoldLifted(
            hold_id=hold.hold_id,
            sequence=3,
            item_id="MIX",
            batch_id=hold.batch_id,
            kind=HoldKind.RECALL,
            reason="false alarm",
            lifted_at=hour(2),
        )
    )
    page = BatchPage.model_validate((await at.get(f"/batches/{batch_id('MIX', 'M')}")).json())
    assert page.open_holds == []


async def test_the_timeline_tells_what_happened_in_order_page_by_page(at: Running) -> None:
    await at.hear(
        *delivered("MIX", "M", "5", "C-1", "SO-1"),
        allocated("MIX", "M", "5", "C-1", "SO-1"),
        *entered("MIX", "M", "50"),
        produced("MIX", "M", ("WMP", "A", "7"), quantity="50", hours=-3),
        CostPosted(
            posting_id=an_id("posting"),
            kind=PostingKind.ISSUE,
            item_id="MIX",
            batch_id=batch_id("MIX", "M"),
            batch_no="M",
            quantity=Decimal(-5),
            unit="KGM",
            currency="EUR",
            posting_date=DAY.date(),
        ),
        actor="somebody",
    )
    lines: list[str] = []
    after = None
    while True:
        query = {"limit": 3, **({"after": after} if after else {})}
        page = TimelinePage.model_validate((await at.get(f"/batches/{batch_id('MIX', 'M')}/timeline", **query)).json())
        lines += [line.sentence for line in page.items]
        assert {line.actor for line in page.items} == {"somebody"}
        after = page.next
        if after is None:
            break
    assert [line.split(" ")[2] for line in lines if line.startswith("5")] == [
        "produced",
        "received",
        "booked",
        "promised",
        "dispatched",
        "issued",
    ]
    assert len(lines) == 8


async def test_what_concerns_no_batch_is_told_under_its_item(at: Running) -> None:
    await at.hear(
        allocated("MIX", "M", "5", "C-1", "SO-1", nothing=True),
        ItemDefined(item_id="MIX", name="Mix", base_unit="KGM", revision=1),
    )
    page = TimelinePage.model_validate((await at.get("/items/MIX/timeline")).json())
    assert [line.sentence for line in page.items] == [
        "Item MIX defined as Mix, rev. 1",
        "Nothing of 5 KGM could be promised to C-1 (SO-1)",
    ]


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("movement", "quantity"),
        ("timeline", "sentence"),
        ("report", "quantity"),
        ("link", "quantity"),
        ("receipt", "quantity"),
        ("dispatch", "quantity"),
        ("pick", "quantity"),
        ("refusal", "reason"),
        ("revocation", "reason"),
    ],
)
async def test_the_service_itself_cannot_change_what_was_once_told(at: Running, table: str, column: str) -> None:
    for change in (f"DELETE FROM {table}", f"UPDATE {table} SET {column} = {column}"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await at.runtime.pool.execute(change)


async def test_a_trace_looks_up_its_links_however_many_others_there_are(at: Running) -> None:
    """The planner must not read the whole table of links: it does so for good while it is small and not analysed."""
    await at.hear(
        registered("RAW", "R0", "S-1"), *(produced("END", f"E{n}", ("RAW", f"R{n}", "1")) for n in range(400))
    )
    async with at.runtime.pool.acquire() as db, db.transaction():

        async def read_whole() -> int:
            found: int = await db.fetchval("SELECT seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'link'")
            return found

        before = await read_whole()
        [node] = await find_nodes(db, batch_id("RAW", "R0", "S-1"))
        for direction in Direction:
            await find_genealogy(db, [node], direction)
        assert await read_whole() == before


async def test_a_lower_revision_of_an_item_or_partner_never_replaces_a_higher_one(at: Running) -> None:
    def item(name: str, revision: int) -> ItemDefined:
        return ItemDefined(item_id="WMP", name=name, base_unit="KGM", revision=revision)

    def partner(name: str, revision: int) -> PartnerDefined:
        return PartnerDefined(partner_id="S-1", name=name, roles=(PartnerRole.SUPPLIER,), revision=revision)

    await at.hear(registered("WMP", "A", "S-1"), item("new", 3), item("old", 2), partner("New", 2))
    await at.hear(item("older", 1), partner("Old", 1))
    batch = (await at.get(f"/batches/{batch_id('WMP', 'A', 'S-1')}")).json()["batch"]
    assert (batch["item_name"], batch["supplier_name"]) == ("new", "New")


async def test_corrected_facts_replace_the_old_ones_whatever_a_late_movement_says(at: Running) -> None:
    before, after = facts("A", "S-1"), facts("A", "S-1", "S-LOT-9")
    await at.hear(
        *entered("WMP", "A", "100", "S-1"),
        BatchDatesCorrected(
            batch_id=batch_id("WMP", "A", "S-1"),
            item_id="WMP",
            before=before,
            after=after,
            reason="label misread",
            corrected_at=hour(1),
        ),
    )
    await at.hear(moved("WMP", "A", "1", bin_("A-1"), bin_("A-2"), supplier_id="S-1"))
    batch = (await at.get(f"/batches/{batch_id('WMP', 'A', 'S-1')}")).json()["batch"]
    assert batch["supplier_batch_no"] == "S-LOT-9"
