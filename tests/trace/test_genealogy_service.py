"""What came from where: the service on a real database."""

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services.trace.app import service
from services.trace.domain.names import name_id
from services.trace.views import BatchPage, BranchView, GraphView
from tests.service_harness import Running, running
from tests.trace.stories import at as hour
from tests.trace.stories import batch_id, delivered, entered, produced, registered, report_id


@pytest.fixture
async def at(database: str, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(service, database, tmp_path) as trace:
        yield trace


async def ask(trace: Running, item_id: str, batch_no: str, what: str, supplier: str | None = None, **query: Any) -> Any:
    answered = await trace.get(f"/batches/{batch_id(item_id, batch_no, supplier)}/{what}", **query)
    assert answered.status_code == 200, answered.text
    return answered.json()


def numbers(graph: Any) -> set[str]:
    return {node["batch_no"] for node in graph["nodes"]}


CHAIN = (
    *entered("SUB", "S1", "50", "S-1"),
    *entered("COMP", "C1", "60"),
    *entered("END", "E1", "70"),
    produced("COMP", "C1", ("SUB", "S1", "50"), quantity="60", hours=2),
    produced("END", "E1", ("COMP", "C1", "60"), quantity="70", hours=4),
    *delivered("END", "E1", "70", "C-7", "SO-1"),
)


# Scenario 98
async def test_sub_component_component_and_end_product_all_list_the_delivery(at: Running) -> None:
    await at.hear(*CHAIN)
    for item_id, batch_no, supplier in (("SUB", "S1", "S-1"), ("COMP", "C1", None), ("END", "E1", None)):
        graph = GraphView.model_validate(await ask(at, item_id, batch_no, "downstream", supplier))
        [delivery] = graph.deliveries
        assert (delivery.partner_id, delivery.reference, delivery.quantity) == ("C-7", "SO-1", "70")
    upstream = GraphView.model_validate(await ask(at, "END", "E1", "upstream"))
    assert [(receipt.partner_id, receipt.quantity) for receipt in upstream.receipts if receipt.partner_id] == [
        ("S-1", "50")
    ]
    assert [(edge.quantity, edge.work_order) for edge in upstream.edges] == [("60", "WO-E1"), ("50", "WO-C1")]


async def test_whatever_order_events_come_in_the_same_stands_there_at_the_end(at: Running) -> None:
    shuffled = list(CHAIN)
    random.Random(7).shuffle(shuffled)
    for first in range(0, len(shuffled), 3):
        await at.hear(*shuffled[first : first + 3])
    assert numbers(await ask(at, "SUB", "S1", "downstream", "S-1")) == {"S1", "C1", "E1"}
    page = BatchPage.model_validate((await at.get(f"/batches/{batch_id('END', 'E1')}")).json())
    assert page.completeness.genealogy_complete
    assert page.account.unaccounted == "0"
    assert page.batch.registered_at is not None


async def test_a_chunk_that_comes_five_times_takes_effect_once(at: Running) -> None:
    await at.hear(*CHAIN, times=5)
    custody = await ask(at, "END", "E1", "custody")
    assert custody["account"]["shipped"] == "70"
    assert len((await ask(at, "SUB", "S1", "downstream", "S-1"))["deliveries"]) == 1


async def test_a_movement_that_is_said_again_under_another_event_id_is_booked_once(at: Running) -> None:
    await at.hear(*CHAIN)
    await at.hear(*CHAIN)
    account = (await ask(at, "END", "E1", "custody"))["account"]
    assert (account["shipped"], account["entered"], account["unaccounted"]) == ("70", "70", "0")


# MES: the consumed batch is unknown here
async def test_a_consumed_batch_that_nobody_registered_is_a_node_of_its_own_and_the_genealogy_is_incomplete(
    at: Running,
) -> None:
    await at.hear(*entered("END", "E1", "70"), produced("END", "E1", ("RAW", "X9", "10"), quantity="70"))
    graph = await ask(at, "END", "E1", "upstream")
    external = next(node for node in graph["nodes"] if node["batch_no"] == "X9")
    assert external["registered"] is False
    assert external["id"] == str(name_id("RAW", "X9"))
    page = BatchPage.model_validate((await at.get(f"/batches/{batch_id('END', 'E1')}")).json())
    assert page.completeness.genealogy_complete is False
    assert [each.batch_no for each in page.completeness.unregistered_inputs] == ["X9"]

    found = (await at.get("/batches", item_id="RAW", batch_no="X9")).json()["items"]
    assert [each["id"] for each in found] == [external["id"]]
    assert "E1" in numbers((await at.get(f"/batches/{external['id']}/downstream")).json())

    await at.hear(registered("RAW", "X9", "S-1"))
    graph = await ask(at, "END", "E1", "upstream")
    assert {node["id"] for node in graph["nodes"] if node["batch_no"] == "X9"} == {str(batch_id("RAW", "X9", "S-1"))}
    # What was linked to the name still leads to the batch.
    assert "E1" in numbers((await at.get(f"/batches/{external['id']}/downstream")).json())
    page = BatchPage.model_validate((await at.get(f"/batches/{batch_id('END', 'E1')}")).json())
    assert page.completeness.genealogy_complete


# MES: correction after shipment keeps both and recomputes
async def test_a_corrected_report_after_the_shipment_keeps_both_and_traces_the_new_one(at: Running) -> None:
    await at.hear(
        *entered("RAW", "R1", "50", "S-1"),
        *entered("RAW", "R2", "50", "S-1"),
        *entered("END", "E1", "70"),
        produced("END", "E1", ("RAW", "R1", "50"), quantity="70"),
        *delivered("END", "E1", "70", "C-7", "SO-1"),
    )
    assert len((await ask(at, "RAW", "R1", "downstream", "S-1"))["deliveries"]) == 1
    await at.hear(
        produced("END", "E1", ("RAW", "R2", "49"), quantity="70", report="corrected", corrects=report_id("END", "E1"))
    )
    assert (await ask(at, "RAW", "R1", "downstream", "S-1"))["deliveries"] == []
    assert len((await ask(at, "RAW", "R2", "downstream", "S-1"))["deliveries"]) == 1
    graph = await ask(at, "END", "E1", "upstream")
    assert numbers(graph) == {"E1", "R2"}
    [old] = graph["superseded"]
    assert old["quantity"] == "50"
    assert old["superseded_by"] == str(report_id("END", "E1", report="corrected"))
    assert (await ask(at, "END", "E1", "custody"))["account"]["entered"] == "70"


async def test_a_correction_that_comes_before_what_it_corrects_wins_all_the_same(at: Running) -> None:
    await at.hear(
        produced("END", "E1", ("RAW", "R2", "49"), report="corrected", corrects=report_id("END", "E1")),
        registered("END", "E1"),
    )
    await at.hear(produced("END", "E1", ("RAW", "R1", "50")))
    assert numbers(await ask(at, "END", "E1", "upstream")) == {"E1", "R2"}


# MES: a batch that went into itself
async def test_rework_that_puts_a_batch_into_itself_does_not_hang_the_trace(at: Running) -> None:
    await at.hear(
        registered("A", "A1"),
        registered("B", "B1"),
        produced("B", "B1", ("A", "A1", "5"), hours=1),
        produced("A", "A1", ("B", "B1", "2"), hours=1),
        produced("A", "A1", ("A", "A1", "1"), hours=1, sequence=2),
    )
    for what in ("upstream", "downstream"):
        graph = GraphView.model_validate(await ask(at, "A", "A1", what))
        assert len(graph.nodes) == 2
        assert len(graph.edges) == 3
    tree = BranchView.model_validate(await ask(at, "A", "A1", "tree", direction="down"))
    assert {branch.batch_no for branch in tree.branches} == {"A1", "B1"}


async def test_partial_reports_of_one_batch_add_up_and_a_missing_one_is_named(at: Running) -> None:
    await at.hear(
        *entered("END", "E1", "100"),
        produced("END", "E1", ("RAW", "R1", "5"), quantity="40", sequence=1),
        produced("END", "E1", ("RAW", "R2", "5"), quantity="60", sequence=3),
        registered("RAW", "R1", "S-1"),
        registered("RAW", "R2", "S-1"),
    )
    page = BatchPage.model_validate((await at.get(f"/batches/{batch_id('END', 'E1')}")).json())
    assert page.account.entered == "100"
    assert page.completeness.gaps == ["report 2 is missing"]


async def test_a_suppliers_number_tells_which_of_two_batches_with_one_number_was_meant(at: Running) -> None:
    await at.hear(
        registered("RAW", "R1", "S-1", "one"),
        registered("RAW", "R1", "S-2", "two"),
        registered("END", "E1"),
        produced("END", "E1", ("RAW", "R1", "5"), supplier_batch_no="two"),
    )
    graph = await ask(at, "END", "E1", "upstream")
    assert [(node["supplier_id"]) for node in graph["nodes"] if node["batch_no"] == "R1"] == ["S-2"]
    await at.hear(registered("END", "E2"), produced("END", "E2", ("RAW", "R1", "5")))
    graph = await ask(at, "END", "E2", "upstream")
    assert {edge["certain"] for edge in graph["edges"]} == {False}
    assert {node["supplier_id"] for node in graph["nodes"] if node["batch_no"] == "R1"} == {"S-1", "S-2"}
    ambiguous = await at.get(f"/batches/{name_id('RAW', 'R1')}/downstream")
    assert (ambiguous.status_code, ambiguous.json()["code"]) == (409, "ambiguous_batch")


async def test_what_left_a_batch_before_the_start_came_in_is_not_reached_by_a_trace(at: Running) -> None:
    await at.hear(
        registered("RAW", "R1", "S-1"),
        registered("MIX", "M1"),
        registered("END", "E1"),
        produced("END", "E1", ("MIX", "M1", "5"), hours=1),
        produced("MIX", "M1", ("RAW", "R1", "5"), hours=10),
    )
    assert numbers(await ask(at, "RAW", "R1", "downstream", "S-1")) == {"R1", "M1"}
    assert numbers(await ask(at, "MIX", "M1", "downstream")) == {"M1", "E1"}


async def test_a_trace_stops_at_the_depth_that_was_asked_for_and_at_the_moment(at: Running) -> None:
    await at.hear(*CHAIN)
    assert numbers(await ask(at, "SUB", "S1", "downstream", "S-1", depth=1)) == {"S1", "C1"}
    assert numbers(await ask(at, "SUB", "S1", "downstream", "S-1", at=hour(3).isoformat())) == {"S1", "C1"}
    early = await ask(at, "END", "E1", "downstream", at=hour(5).isoformat())
    assert early["deliveries"] == []
    tree = BranchView.model_validate(await ask(at, "SUB", "S1", "tree", "S-1", depth=1))
    assert [branch.cut for branch in tree.branches] == [True]
    full = BranchView.model_validate(await ask(at, "SUB", "S1", "tree", "S-1"))
    assert full.branches[0].branches[0].deliveries[0].partner_id == "C-7"


async def test_five_hundred_batches_that_went_into_one_are_all_shown(at: Running) -> None:
    inputs = [("RAW", f"R{n}", "1") for n in range(500)]
    await at.hear(registered("END", "E1"), produced("END", "E1", *inputs))
    assert len((await ask(at, "END", "E1", "upstream"))["edges"]) == 500


async def test_an_unknown_batch_and_a_stranger_are_refused(at: Running) -> None:
    missing = await at.get(f"/batches/{batch_id('NO', 'NO')}/downstream")
    assert (missing.status_code, missing.json()["code"]) == (404, "unknown_batch")
    assert (await at.client.get("/batches")).status_code == 401
    assert (await at.get("/batches", role="integrator")).status_code == 403
    for query in ({"q": "a\x00"}, {"supplier_batch_no": "a\x00"}, {"q": ""}, {"item_id": "a b"}, {"limit": 501}):
        assert (await at.get("/batches", **query)).status_code == 422
    bad = await at.get("/batches", after="nonsense")
    assert (bad.status_code, "nonsense" in bad.json()["detail"]) == (422, True)


async def test_batches_are_found_by_item_number_suppliers_number_and_beginning_page_by_page(at: Running) -> None:
    await at.hear(
        *(registered("RAW", f"R{n}", "S-1", f"LOT {n}") for n in range(5)),
        registered("END", "R9"),
        produced("END", "R9", ("RAW", "RX", "1")),
    )

    async def search(**query: Any) -> list[str]:
        page = (await at.get("/batches", **query)).json()
        return [each["batch_no"] for each in page["items"]]

    assert await search(item_id="RAW") == ["R0", "R1", "R2", "R3", "R4"]
    assert await search(supplier_batch_no="LOT 3") == ["R3"]
    assert await search(q="LOT") == ["R0", "R1", "R2", "R3", "R4"]
    assert await search(q="R") == ["R9", "R0", "R1", "R2", "R3", "R4", "RX"]
    first = (await at.get("/batches", q="R", limit=4)).json()
    second = (await at.get("/batches", q="R", limit=4, after=first["next"])).json()
    assert [each["batch_no"] for each in second["items"]] == ["R3", "R4", "RX"]
    assert second["next"] is None
