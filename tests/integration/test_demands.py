"""Demands and acknowledgements of the ERP, by HTTP and from its topics: each once."""

import json
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import jsonschema_rs
import pytest

from contracts.integration import CostPosted, DemandRaised, DemandWithdrawn
from delivery import NeverWorks
from services.integration.app import service
from services.integration.schemas import schema_texts
from tests.integration.speaking import Warehouse, receive, set_up
from tests.service_harness import Running, running

ACKNOWLEDGEMENT = jsonschema_rs.validator_for(json.loads(schema_texts()["erp.acknowledgements.v1.json"]))


@pytest.fixture
async def at(database: str, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(service, database, tmp_path) as runs:
        await set_up(runs, "MILK")
        yield runs


def line(**more: Any) -> dict[str, Any]:
    return {
        "reference": "SO-1/10",
        "customer_id": "C-1",
        "site_id": "HRB-1",
        "item_id": "MILK",
        "quantity": "4",
        "unit": "BX",
        "needed_on": "2026-03-20",
        **more,
    }


async def test_a_line_is_raised_once_in_base_units_whichever_way_it_comes(at: Running) -> None:
    first = await at.post("/demands", line(), role="integrator")
    again = await at.post("/demands", line(message_id="E-2"), role="integrator")
    await at.hear_foreign("erp.demands.v1", json.dumps(line(quantity="4.0", message_id="E-3")).encode(), key="SO-1")
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["demand_id"] == again.json()["demand_id"]
    [raised] = await at.said()
    assert isinstance(raised, DemandRaised)
    assert (raised.quantity, raised.unit) == (Decimal(100), "KGM")
    assert await at.runtime.pool.fetchval("SELECT count(*) FROM raw_message WHERE kind = 'demand'") == 3


async def test_a_reference_with_other_content_is_refused(at: Running) -> None:
    await at.post("/demands", line(), role="integrator")
    answer = await at.post("/demands", line(quantity="5"), role="integrator")
    assert (answer.status_code, answer.json()["code"]) == (409, "reference_differs")
    with pytest.raises(NeverWorks, match="other content"):
        await at.hear_foreign("erp.demands.v1", json.dumps(line(quantity="5")).encode(), key="SO-1")


async def test_a_demand_of_nothing_known_is_parked_with_the_reason(at: Running) -> None:
    for more, says in (
        ({"item_id": "TEA"}, "item 'TEA' is not defined"),
        ({"customer_id": "C-9"}, "partner 'C-9' is not defined"),
        ({"unit": "PF"}, "counted in BX, KGM"),
        ({"strategy": "specified"}, "'specified' needs one"),
        ({"quantity": 0.5}, "binary float"),
    ):
        with pytest.raises(NeverWorks, match=says):
            await at.hear_foreign("erp.demands.v1", json.dumps(line(**more)).encode(), key="SO-1")
    assert await at.said() == []


async def test_a_third_that_has_no_exact_value_is_not_rounded(at: Running) -> None:
    units = [{"unit": "TU", "numerator": 1, "denominator": 3}]
    body = {"name": "Tea", "base_unit": "KGM", "units": units}
    await at.put("/items/TEA", body, role="integrator")
    refused = await at.post("/demands", line(item_id="TEA", unit="TU", quantity="1"), role="integrator")
    assert (refused.status_code, refused.json()["code"]) == (422, "not_exact")
    exact = await at.post("/demands", line(item_id="TEA", unit="TU", quantity="3"), role="integrator")
    assert exact.status_code == 201


async def test_a_withdrawn_line_is_withdrawn_once(at: Running) -> None:
    demand_id = (await at.post("/demands", line(), role="integrator")).json()["demand_id"]
    path = f"/demands/{demand_id}/withdrawal"
    assert (await at.post(path, {"reason": "Cancelled"}, role="integrator")).status_code == 200
    assert (await at.post(path, {"reason": "Cancelled"}, role="integrator")).status_code == 409
    assert isinstance((await at.said())[-1], DemandWithdrawn)
    [found] = (await at.get("/demands", item_id="MILK", status="withdrawn")).json()["items"]
    assert (found["entered_quantity"], found["quantity"], found["withdrawn_why"]) == ("4", "100", "Cancelled")


async def test_the_first_answer_of_the_erp_counts_and_a_different_one_is_flagged(at: Running) -> None:
    house = Warehouse()
    await receive(at, house, "MILK", "A", "10", "1")
    posting = next(event for event in await at.said() if isinstance(event, CostPosted))
    path = f"/postings/{posting.posting_id}"
    accepted = {"accepted": True, "erp_document": "5000012345", "erp_year": 2026}
    before = (await at.get("/reconciliation", item_id="MILK")).json()["items"][0]
    [flying] = (await at.get("/postings", status="in_flight", item_id="MILK")).json()["items"]
    assert flying["posting_id"] == str(posting.posting_id)
    assert before["in_flight"] == {"postings": 1, "value": "10.0000"}
    for _ in range(2):
        await at.hear_foreign(
            "erp.acknowledgements.v1",
            json.dumps({"posting_id": str(posting.posting_id), **accepted}).encode(),
            key=str(posting.posting_id),
        )
    assert (await at.post(f"{path}/acknowledgement", accepted, role="integrator")).status_code == 200
    found = (await at.get(path)).json()
    assert (found["status"], found["contradicted"], len(found["acknowledgements"])) == ("accepted", False, 1)
    rejected = {"accepted": False, "code": "M7-021", "text": "Period is closed"}
    other = await at.post(f"{path}/acknowledgement", rejected, role="integrator")
    assert (other.status_code, other.json()["code"]) == (409, "acknowledged_otherwise")
    found = (await at.get(path)).json()
    assert (found["status"], found["contradicted"], len(found["acknowledgements"])) == ("accepted", True, 2)
    after = (await at.get("/reconciliation", item_id="MILK")).json()["items"][0]
    assert (after["in_flight"]["postings"], after["contradicted"]) == (0, 1)
    assert (await at.get("/postings", status="in_flight")).json()["items"] == []


async def test_a_rejected_posting_is_listed_until_a_person_looks(at: Running) -> None:
    await receive(at, Warehouse(), "MILK", "A", "10", "1")
    posting = next(event for event in await at.said() if isinstance(event, CostPosted))
    body = {"accepted": False, "code": "M7-021", "text": "Period is closed"}
    path = f"/postings/{posting.posting_id}/acknowledgement"
    assert (await at.post(path, body, role="integrator")).json()["status"] == "rejected"
    [found] = (await at.get("/postings", status="rejected")).json()["items"]
    assert found["posting_id"] == str(posting.posting_id)
    books = (await at.get("/reconciliation", item_id="MILK")).json()["items"][0]
    assert (books["rejected"], books["holds"]) == ({"postings": 1, "value": "10.0000"}, True)


async def test_an_answer_to_no_posting_is_parked(at: Running) -> None:
    nobody = "018f0000-0000-7000-8000-000000000000"
    with pytest.raises(NeverWorks, match="there is no posting"):
        await at.hear_foreign(
            "erp.acknowledgements.v1",
            json.dumps({"posting_id": nobody, "accepted": False, "text": "Unknown"}).encode(),
            key=nobody,
        )


@pytest.mark.parametrize(
    ("said", "field", "why"),
    [
        ({"accepted": True}, "erp_document", "an accepted posting needs the document that it was booked with"),
        ({"accepted": True, "code": "S-0"}, "erp_document", "an accepted posting needs the document"),
        ({"accepted": False}, "text", "a rejected posting needs a reason: `code` or `text`"),
        ({"accepted": False, "erp_document": "5000012345"}, "text", "a rejected posting needs a reason"),
    ],
)
async def test_an_answer_without_document_or_reason_is_no_answer(
    at: Running, said: dict[str, Any], field: str, why: str
) -> None:
    await receive(at, Warehouse(), "MILK", "A", "10", "1")
    posting = next(event for event in await at.said() if isinstance(event, CostPosted))
    refused = await at.post(f"/postings/{posting.posting_id}/acknowledgement", said, role="integrator")
    assert (refused.status_code, [each["field"] for each in refused.json()["fields"]]) == (422, [field])
    assert why in refused.json()["detail"]
    message = json.dumps({"posting_id": str(posting.posting_id), **said}).encode()
    with pytest.raises(NeverWorks, match=f"{field}: {why}"):
        await at.hear_foreign("erp.acknowledgements.v1", message, key=str(posting.posting_id))
    assert not ACKNOWLEDGEMENT.is_valid(json.loads(message))
    assert (await at.get("/postings", status="in_flight")).json()["items"] != []


@pytest.mark.parametrize(
    "said",
    [
        {"accepted": True, "erp_document": "5000012345"},
        {"accepted": False, "code": "M7-021"},
        {"accepted": False, "text": "Period 02/2026 is closed"},
    ],
)
async def test_a_document_or_any_reason_is_enough(at: Running, said: dict[str, Any]) -> None:
    await receive(at, Warehouse(), "MILK", "A", "10", "1")
    posting = next(event for event in await at.said() if isinstance(event, CostPosted))
    path = f"/postings/{posting.posting_id}/acknowledgement"
    assert (await at.post(path, said, role="integrator")).status_code == 200
    assert ACKNOWLEDGEMENT.is_valid({"posting_id": str(posting.posting_id), **said})


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("posting", "value"),
        ("cost_layer", "value"),
        ("raw_message", "body"),
        ("acknowledgement", "accepted"),
        ("given_cost", "reason"),
    ],
)
async def test_the_service_may_not_rewrite_what_was_said(at: Running, table: str, column: str) -> None:
    for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET {column} = {column}"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await at.runtime.pool.execute(statement)
