"""Recalls: the service on a real database."""

import csv
import io
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from contracts.integration import PartnerDefined, PartnerRole
from contracts.inventory import MovementReason
from contracts.receiving import BatchDatesCorrected
from contracts.trace import BatchRecalled, BatchRecallLifted, RecallClosed, RecallOpened
from services.trace.app import service
from services.trace.domain.names import name_id
from services.trace.views import (
    CustomerList,
    LiftedView,
    PreviewView,
    RecallClosedView,
    RecallOpenedView,
    RecallPage,
    RecallView,
)
from tests.service_harness import Running, running
from tests.trace.stories import (
    PRODUCTION,
    allocated,
    batch_id,
    bin_,
    delivered,
    dispatched,
    entered,
    facts,
    held,
    moved,
    picked,
    produced,
    refused,
    registered,
    report_id,
    revoked,
)
from tests.trace.stories import at as hour


@pytest.fixture
async def at(database: str, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(service, database, tmp_path) as trace:
        yield trace


RAW = {"batch_id": str(batch_id("RAW", "R1", "S-1"))}

STORY = (
    *entered("RAW", "R1", "100", "S-1"),
    moved("RAW", "R1", "60", bin_("A-1"), PRODUCTION, MovementReason.CONSUMPTION, supplier_id="S-1"),
    produced("MIX", "M1", ("RAW", "R1", "60"), quantity="80"),
    *entered("MIX", "M1", "80"),
    allocated("MIX", "M1", "10", "C-1", "SO-1"),
    allocated("MIX", "M1", "11", "C-1", "SO-2"),
    picked("MIX", "M1", "11", "C-1", "SO-2"),
    dispatched("MIX", "M1", "12", "C-2", "SO-3"),
    dispatched("MIX", "M1", "13", "C-2", "SO-4"),
    refused("MIX", "M1", "13", "SO-4"),
    *delivered("MIX", "M1", "14", "C-3", "SO-5"),
    PartnerDefined(partner_id="C-3", name='=Third Ltd., "East"', roles=(PartnerRole.CUSTOMER,), revision=1),
)


async def open_recall(trace: Running, **seed: Any) -> RecallOpenedView:
    answered = await trace.post("/recalls", {**(seed or RAW), "reason": "too moist"}, role="quality")
    assert answered.status_code == 201, answered.text
    return RecallOpenedView.model_validate(answered.json())


async def look(trace: Running, recall_id: UUID) -> RecallView:
    answered = await trace.get(f"/recalls/{recall_id}")
    assert answered.status_code == 200, answered.text
    return RecallView.model_validate(answered.json())


async def preview(trace: Running, **seed: Any) -> PreviewView:
    answered = await trace.client.post("/recalls/preview", json=seed or RAW, headers=trace.token("planner"))
    assert answered.status_code == 200, answered.text
    return PreviewView.model_validate(answered.json())


async def test_a_preview_shows_everything_a_recall_would_reach_and_changes_nothing(at: Running) -> None:
    await at.hear(*STORY)
    seen = await preview(at)
    assert [(each.batch.batch_no, each.seed, each.depth) for each in seen.batches] == [
        ("R1", True, 0),
        ("M1", False, 1),
    ]
    raw, mix = seen.batches
    assert (raw.account.on_hand, raw.account.consumed) == ("40", "60")
    assert [(each.reference, each.quantity) for each in mix.promised] == [("SO-1", "10")]
    assert [each.quantity for each in mix.picked] == ["11"]
    assert [(each.reference, each.quantity) for each in mix.in_transit] == [("SO-3", "12")]
    assert [(each.partner_id, each.shipped) for each in mix.customers] == [("C-3", "14")]
    [total] = seen.totals.by_unit
    assert (total.on_hand, total.promised, total.picked, total.in_transit, total.shipped, total.unaccounted) == (
        "106",
        "10",
        "11",
        "12",
        "14",
        "0",
    )
    assert (seen.totals.batches, seen.totals.demands, seen.totals.customers) == (2, 3, 1)
    assert await at.said() == []
    assert (await at.get("/recalls")).json()["items"] == []


async def test_a_recall_says_its_whole_scope_at_once_and_only_once_per_seed(at: Running) -> None:
    await at.hear(*STORY)
    opened = await open_recall(at)
    assert (opened.batch_count, opened.opened_by) == (2, "quality")
    said = await at.said()
    assert [type(event) for event in said] == [RecallOpened, BatchRecalled, BatchRecalled]
    assert [(event.item_id, event.seed) for event in said if isinstance(event, BatchRecalled)] == [
        ("RAW", True),
        ("MIX", False),
    ]
    again = await at.post("/recalls", {**RAW, "reason": "again"}, role="quality")
    assert (again.status_code, again.json()["code"]) == (409, "already_open")
    assert str(opened.recall_id) in again.json()["detail"]
    assert await at.said() == []
    assert (await preview(at)).already_open == opened.recall_id


async def test_only_quality_opens_a_recall_and_a_scope_that_changed_since_the_preview_is_refused(at: Running) -> None:
    await at.hear(*STORY)
    assert (await at.post("/recalls", {**RAW, "reason": "x"}, role="planner")).status_code == 403
    seen = await preview(at)
    await at.hear(registered("MIX", "M2"), produced("MIX", "M2", ("RAW", "R1", "1")))
    body = {**RAW, "reason": "x", "preview_hash": seen.preview_hash}
    changed = await at.post("/recalls", body, role="quality")
    assert (changed.status_code, changed.json()["code"]) == (409, "scope_changed")
    body["preview_hash"] = (await preview(at)).preview_hash
    assert (await at.post("/recalls", body, role="quality")).status_code == 201


async def test_a_recall_shows_what_is_held_revoked_shipped_and_how_long_it_took(at: Running) -> None:
    await at.hear(*STORY)
    opened = await open_recall(at)
    before = await look(at, opened.recall_id)
    assert (before.progress.held, before.progress.to_hold, before.progress.all_held_after_ms) == (0, 2, None)
    assert before.batches[1].frozen == "0"
    await at.hear(
        held("RAW", "R1", opened.recall_id, at.clock.at + timedelta(milliseconds=200), "S-1"),
        held("MIX", "M1", opened.recall_id, at.clock.at + timedelta(milliseconds=350)),
        revoked("MIX", "M1", "10", "C-1", "SO-1", when=at.clock.at + timedelta(milliseconds=300)),
    )
    after = await look(at, opened.recall_id)
    assert (after.progress.held, after.progress.to_hold, after.progress.all_held_after_ms) == (2, 0, 350)
    assert (after.progress.reservations_revoked, after.progress.picks_stopped) == (1, 0)
    assert [each.frozen for each in after.batches] == ["40", "66"]
    assert after.batches[1].promised == []
    assert [each.quantity for each in after.batches[1].revocations] == ["10"]
    assert [(each.batch.batch_no, each.account.percent_accounted) for each in after.batches] == [
        ("R1", "100.00"),
        ("M1", "100.00"),
    ]
    assert [(each.partner_id, each.reference, each.quantity) for each in after.customers] == [("C-3", "SO-5", "14")]
    listed = RecallPage.model_validate((await at.get("/recalls")).json())
    assert [(row.recall_id, row.status, row.batch_count) for row in listed.items] == [(opened.recall_id, "open", 2)]


async def test_the_customers_of_a_recall_are_listed_also_as_csv_that_no_spreadsheet_runs(at: Running) -> None:
    await at.hear(*STORY)
    opened = await open_recall(at)
    listed = CustomerList.model_validate((await at.get(f"/recalls/{opened.recall_id}/customers")).json())
    [row] = listed.items
    assert (row.partner_name, row.batch_no, row.quantity) == ('=Third Ltd., "East"', "M1", "14")
    by_path = await at.get(f"/recalls/{opened.recall_id}/customers.csv")
    by_accept = await at.client.get(
        f"/recalls/{opened.recall_id}/customers", headers={**at.token("auditor"), "Accept": "text/csv"}
    )
    assert by_path.text == by_accept.text
    assert by_path.headers["content-type"].startswith("text/csv")
    [line] = csv.DictReader(io.StringIO(by_path.text))
    assert (line["partner_name"], line["quantity"], line["reference"]) == ('\'=Third Ltd., "East"', "14", "SO-5")


async def test_what_is_made_from_a_recalled_batch_while_the_recall_is_open_joins_it(at: Running) -> None:
    await at.hear(*STORY)
    opened = await open_recall(at)
    await at.said()
    await at.hear(registered("END", "E1"), produced("END", "E1", ("MIX", "M1", "5")))
    [joined] = await at.said()
    assert isinstance(joined, BatchRecalled)
    assert (joined.recall_id, joined.item_id, joined.batch_no, joined.seed) == (opened.recall_id, "END", "E1", False)
    await at.hear(produced("END", "E1", ("MIX", "M1", "1"), sequence=2))
    assert await at.said() == []
    assert [each.batch.batch_no for each in (await look(at, opened.recall_id)).batches] == ["R1", "M1", "E1"]


async def test_a_link_that_is_learnt_late_brings_everything_behind_it_into_the_recall(at: Running) -> None:
    await at.hear(*STORY, registered("END", "E1"), registered("MID", "D1"), produced("END", "E1", ("MID", "D1", "5")))
    await open_recall(at)
    await at.said()
    await at.hear(produced("MID", "D1", ("MIX", "M1", "5"), hours=1))
    assert {event.batch_no for event in await at.said() if isinstance(event, BatchRecalled)} == {"D1", "E1"}


async def test_what_was_consumed_by_the_suppliers_number_is_in_the_recall_whenever_it_is_learnt(at: Running) -> None:
    raw = registered("RAW", "R1", "S-1", "SUP-77")
    await at.hear(
        raw, registered("END", "E1"), registered("END", "E2"), registered("END", "E3"), registered("END", "E4")
    )
    await at.hear(
        produced("END", "E1", ("RAW", "SUP-77", "5")),
        produced("END", "E2", ("RAW", "whatever", "5"), supplier_batch_no="SUP-77"),
    )
    opened = await open_recall(at)
    assert {event.batch_no for event in await at.said() if isinstance(event, BatchRecalled)} == {"R1", "E1", "E2"}
    assert opened.waiting_for_registration == 0
    await at.hear(produced("END", "E3", ("RAW", "SUP-77", "5")))
    await at.hear(produced("END", "E4", ("RAW", "else", "5"), supplier_batch_no="SUP-77"))
    assert {event.batch_no for event in await at.said() if isinstance(event, BatchRecalled)} == {"E3", "E4"}
    up = await at.get(f"/batches/{batch_id('END', 'E4')}/upstream")
    assert {node["batch_no"] for node in up.json()["nodes"]} == {"E4", "R1"}


async def test_a_suppliers_number_that_a_person_corrects_brings_what_it_means_into_the_recall(at: Running) -> None:
    await at.hear(registered("RAW", "R1", "S-1", "misread"), registered("END", "E1"))
    await at.hear(produced("END", "E1", ("RAW", "SUP-77", "5")))
    await open_recall(at)
    assert {event.batch_no for event in await at.said() if isinstance(event, BatchRecalled)} == {"R1"}
    await at.hear(
        BatchDatesCorrected(
            batch_id=batch_id("RAW", "R1", "S-1"),
            item_id="RAW",
            before=facts("R1", "S-1", "misread"),
            after=facts("R1", "S-1", "SUP-77"),
            reason="label misread",
            corrected_at=hour(3),
        )
    )
    assert {event.batch_no for event in await at.said() if isinstance(event, BatchRecalled)} == {"E1"}


async def test_a_batch_can_be_recalled_by_its_suppliers_number(at: Running) -> None:
    await at.hear(registered("RAW", "R1", "S-1", "SUP-77"), registered("END", "E1"))
    await at.hear(produced("END", "E1", ("RAW", "SUP-77", "5")))
    opened = await open_recall(at, item_id="RAW", batch_no="SUP-77")
    assert (opened.batch_id, opened.batch_count) == (batch_id("RAW", "R1", "S-1"), 2)


async def test_a_number_at_the_line_becomes_the_batch_that_its_supplier_gave_it_to(at: Running) -> None:
    await at.hear(registered("END", "E1"), produced("END", "E1", ("RAW", "SUP-77", "5")))
    opened = await open_recall(at, item_id="RAW", batch_no="SUP-77")
    assert (opened.batch_count, opened.waiting_for_registration) == (2, 1)
    await at.said()
    await at.hear(registered("RAW", "R1", "S-1", "SUP-77"))
    [joined] = await at.said()
    assert isinstance(joined, BatchRecalled)
    assert (joined.batch_id, joined.seed) == (batch_id("RAW", "R1", "S-1"), True)


async def test_a_batch_that_is_named_and_not_registered_is_recalled_the_moment_it_is(at: Running) -> None:
    await at.hear(*STORY, produced("END", "E1", ("MIX", "M1", "5")))
    opened = await open_recall(at)
    assert (opened.batch_count, opened.waiting_for_registration) == (3, 1)
    assert {event.batch_no for event in await at.said() if isinstance(event, BatchRecalled)} == {"R1", "M1"}
    assert (await look(at, opened.recall_id)).progress.waiting_for_registration == 1
    await at.hear(registered("END", "E1"))
    [joined] = await at.said()
    assert isinstance(joined, BatchRecalled)
    assert (joined.batch_id, joined.batch_no) == (batch_id("END", "E1"), "E1")
    seen = await look(at, opened.recall_id)
    assert (seen.progress.waiting_for_registration, len(seen.batches)) == (0, 3)


async def test_a_batch_that_nobody_registered_here_can_be_recalled_by_item_and_number(at: Running) -> None:
    await at.hear(registered("END", "E1"), produced("END", "E1", ("RAW", "X9", "5")))
    opened = await open_recall(at, item_id="RAW", batch_no="X9")
    assert (opened.batch_id, opened.batch_count, opened.waiting_for_registration) == (name_id("RAW", "X9"), 2, 1)
    await at.said()
    await at.hear(registered("RAW", "X9", "S-1"))
    [joined] = await at.said()
    assert isinstance(joined, BatchRecalled)
    assert (joined.batch_id, joined.seed) == (batch_id("RAW", "X9", "S-1"), True)
    again = await at.post("/recalls", {"batch_id": str(joined.batch_id), "reason": "again"}, role="quality")
    assert again.json()["code"] == "already_open"


async def test_a_lifted_batch_leaves_the_scope_and_what_is_made_from_it_stays_out(at: Running) -> None:
    await at.hear(*STORY)
    opened = await open_recall(at)
    await at.said()
    mix = {"batch_id": str(batch_id("MIX", "M1")), "reason": "made on another line"}
    answered = await at.post(f"/recalls/{opened.recall_id}/lift", mix, role="quality")
    assert LiftedView.model_validate(answered.json()).batches_left == 1
    [lifted] = await at.said()
    assert isinstance(lifted, BatchRecallLifted)
    again = await at.post(f"/recalls/{opened.recall_id}/lift", mix, role="quality")
    assert (again.status_code, again.json()["code"]) == (409, "already_lifted")
    stranger = await at.post(
        f"/recalls/{opened.recall_id}/lift", {"batch_id": str(opened.recall_id), "reason": "x"}, role="quality"
    )
    assert (stranger.status_code, stranger.json()["code"]) == (404, "not_in_scope")
    await at.hear(registered("END", "E1"), produced("END", "E1", ("MIX", "M1", "5")))
    assert await at.said() == []
    seen = await look(at, opened.recall_id)
    assert (seen.progress.lifted, seen.progress.batches, seen.customers) == (1, 1, [])


async def test_a_recall_is_closed_once_and_says_what_is_not_accounted_for(at: Running) -> None:
    await at.hear(*STORY, produced("END", "E1", ("MIX", "M1", "5"), quantity="7"))
    opened = await open_recall(at)
    await at.said()
    answered = await at.post(f"/recalls/{opened.recall_id}/close", {"reason": "done"}, role="quality")
    closed = RecallClosedView.model_validate(answered.json())
    assert [(each.batch_no, each.quantity) for each in closed.unaccounted] == [("E1", "7")]
    [event] = await at.said()
    assert isinstance(event, RecallClosed)
    again = await at.post(f"/recalls/{opened.recall_id}/close", {"reason": "done"}, role="quality")
    assert (again.status_code, again.json()["code"]) == (409, "already_closed")
    await at.hear(registered("END", "E1"), produced("END", "E2", ("MIX", "M1", "5")))
    assert await at.said() == []
    assert (await open_recall(at)).recall_id != opened.recall_id
    page = RecallPage.model_validate((await at.get("/recalls", open_only=True)).json())
    assert len(page.items) == 1


async def test_a_drill_is_timed_and_accounted_for_and_nobody_is_told(at: Running) -> None:
    await at.hear(*STORY)
    real = await open_recall(at)
    await at.said()
    answered = await at.post("/recalls", {**RAW, "reason": "yearly drill", "drill": True}, role="quality")
    drill = RecallOpenedView.model_validate(answered.json())
    assert (drill.drill, drill.batch_count) == (True, 2)
    await at.hear(registered("END", "E1"), produced("END", "E1", ("MIX", "M1", "5")))
    assert {event.recall_id for event in await at.said() if isinstance(event, BatchRecalled)} == {real.recall_id}
    seen = await look(at, drill.recall_id)
    assert (len(seen.batches), seen.progress.to_hold, seen.progress.waiting_for_registration) == (2, 0, 0)
    assert [total.percent_accounted for total in seen.totals.by_unit] == ["100.00"]
    assert [each.reference for each in seen.customers] == ["SO-5"]
    at.clock.at += timedelta(minutes=4)
    closed = await at.post(f"/recalls/{drill.recall_id}/close", {"reason": "found everything"}, role="quality")
    assert RecallClosedView.model_validate(closed.json()).took_seconds == 240
    assert await at.said() == []
    lines = (await at.get(f"/batches/{RAW['batch_id']}/timeline")).json()["items"]
    assert [line["event_type"] for line in lines].count("trace.RecallOpened") == 1
    assert "trace.RecallClosed" not in {line["event_type"] for line in lines}


async def test_a_correction_after_the_opening_takes_nothing_out_of_the_scope(at: Running) -> None:
    await at.hear(*STORY)
    opened = await open_recall(at)
    await at.said()
    await at.hear(
        produced("MIX", "M1", ("RAW", "R2", "60"), quantity="80", report="new", corrects=report_id("MIX", "M1"))
    )
    assert await at.said() == []
    assert [each.batch.batch_no for each in (await look(at, opened.recall_id)).batches] == ["R1", "M1"]


async def test_what_time_rules_out_is_recalled_and_marked(at: Running) -> None:
    await at.hear(
        registered("RAW", "R1", "S-1"),
        registered("MIX", "M1"),
        registered("END", "E1"),
        produced("END", "E1", ("MIX", "M1", "5"), hours=1),
        produced("MIX", "M1", ("RAW", "R1", "5"), hours=10),
    )
    seen = await preview(at)
    assert {each.batch.batch_no: each.ruled_out_by_time for each in seen.batches} == {
        "R1": False,
        "M1": False,
        "E1": True,
    }


async def test_the_timeline_of_a_batch_tells_its_recall(at: Running) -> None:
    await at.hear(*STORY)
    opened = await open_recall(at)
    await at.post(f"/recalls/{opened.recall_id}/close", {"reason": "done"}, role="quality")
    lines = (await at.get(f"/batches/{RAW['batch_id']}/timeline")).json()["items"]
    assert [line["sentence"] for line in lines if line["event_type"].startswith("trace.")] == [
        "Recall opened, 2 batches in scope: too moist",
        "Recalled as its seed: too moist",
        "Recall closed: done",
    ]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"reason": "x"}, 422, "invalid_request"),
        ({"batch_id": str(batch_id("RAW", "R1", "S-1")), "item_id": "RAW", "reason": "x"}, 422, "invalid_request"),
        ({"item_id": "RAW", "batch_no": "NO", "reason": "x"}, 404, "unknown_batch"),
        ({"item_id": "RAW", "batch_no": "TWO", "reason": "x"}, 409, "ambiguous_batch"),
        ({"item_id": "RAW", "batch_no": "R1", "reason": ""}, 422, "invalid_request"),
        ({"item_id": "RAW", "batch_no": "R1", "reason": "a\x00b"}, 422, "invalid_request"),
    ],
)
async def test_a_recall_of_nothing_definite_is_refused_with_the_reason(
    at: Running, body: dict[str, str], status: int, code: str
) -> None:
    await at.hear(registered("RAW", "TWO", "S-1"), registered("RAW", "TWO", "S-2"))
    answered = await at.post("/recalls", body, role="quality")
    assert (answered.status_code, answered.json()["code"]) == (status, code)
    assert await at.said() == []


async def test_recalls_are_listed_the_latest_first_page_by_page_and_a_made_up_page_is_refused(at: Running) -> None:
    for batch_no in ("A", "B", "C"):
        await at.hear(registered("RAW", batch_no, "S-1"))
        await open_recall(at, item_id="RAW", batch_no=batch_no)
        at.clock.at += timedelta(minutes=1)
    first = RecallPage.model_validate((await at.get("/recalls", limit=2)).json())
    assert [row.batch_no for row in first.items] == ["C", "B"]
    second = RecallPage.model_validate((await at.get("/recalls", limit=2, after=first.next)).json())
    assert ([row.batch_no for row in second.items], second.next) == (["A"], None)
    for made_up in (
        "nonsense",
        "WyJhIl0",
        "WyJhIiwgImIiXQ",
        "WyIAIiwgImIiXQ",
        "é",
        first.next[:-3] if first.next else "",
    ):
        for path in ("/recalls", "/batches", f"/batches/{batch_id('RAW', 'A', 'S-1')}/timeline"):
            refused_page = await at.get(path, after=made_up)
            assert (refused_page.status_code, refused_page.json()["code"]) == (422, "invalid_request")
            assert "is not the `next`" in refused_page.json()["detail"]
