"""What people decide: conflicts, inspections, corrected dates; each with a name, a reason, and the record before."""

import asyncio
from typing import Any

import asyncpg

from contracts.receiving import (
    BatchDatesCorrected,
    BatchInspected,
    BatchReceived,
    BatchRegistered,
    ReceiptConflictSettled,
)
from contracts.values import DateSource
from tests.receiving.goods import (
    DAIRY,
    MILK,
    OTHER_DAIRY,
    codes,
    expectation,
    line,
    milk,
    receive,
    receive_one,
)
from tests.service_harness import Running


async def a_conflict(at: Running, **claimed: Any) -> tuple[str, str]:
    """A batch on record (100 kg) and 25 kg whose label says otherwise; the ids of conflict and batch."""
    first = await receive_one(at)
    got = await receive_one(at, **{"quantity": "1", "expires_on": "2027-07-20", **claimed})
    assert got["outcome"] == "conflict", got
    await at.said()
    return got["conflict_id"], first["batch_id"]


async def settle(at: Running, conflict_id: str, decision: str, *, role: str = "quality", **more: Any) -> dict[str, Any]:
    body = {"decision": decision, "reason": "The supplier wrote to us", **more}
    answer = await at.post(f"/conflicts/{conflict_id}/settlement", body, role=role)
    return {**answer.json(), "status": answer.status_code}


async def test_keeping_the_record_receives_the_goods_on_the_batch_as_it_is(at: Running) -> None:
    conflict_id, batch_id = await a_conflict(at)
    done = await settle(at, conflict_id, "keep_existing", role="supervisor")

    assert (done["status"], done["batch_id"], done["quantity"]) == (200, batch_id, "25")
    settled, received = await at.said()
    assert isinstance(settled, ReceiptConflictSettled)
    assert isinstance(received, BatchReceived)
    assert (str(received.batch.expires_on), received.quantity, received.entered_unit) == ("2027-08-20", 25, "BX")
    whole = (await at.get(f"/batches/{batch_id}")).json()
    assert (whole["batch"]["expires_on"], whole["received"]) == ("2027-08-20", "125")
    assert [each["open"] for each in whole["conflicts"]] == [False]


async def test_correcting_the_record_takes_over_the_label_and_keeps_what_was_before(at: Running) -> None:
    conflict_id, batch_id = await a_conflict(at)
    assert (await settle(at, conflict_id, "correct_existing"))["batch_id"] == batch_id

    settled, corrected, received = await at.said()
    assert isinstance(settled, ReceiptConflictSettled)
    assert isinstance(corrected, BatchDatesCorrected)
    assert isinstance(received, BatchReceived)
    assert (str(corrected.before.expires_on), str(corrected.after.expires_on)) == ("2027-08-20", "2027-07-20")
    assert received.batch == corrected.after
    history = (await at.get(f"/batches/{batch_id}")).json()["decisions"]
    audit = next(each for each in history if each["kind"] == "conflict_settled")
    assert (audit["decided_by"], audit["reason"]) == ("quality", "The supplier wrote to us")
    assert (audit["before"]["expires_on"], audit["after"]["facts"]["expires_on"]) == ("2027-08-20", "2027-07-20")


async def test_a_correction_made_while_the_conflict_waited_is_not_undone_by_settling_it(at: Running) -> None:
    conflict_id, batch_id = await a_conflict(at)
    dates = {"manufactured_on": "2026-02-19", "reason": "The certificate says the 19th"}
    assert (await at.post(f"/batches/{batch_id}/dates", dates, role="quality")).status_code == 200
    assert (await settle(at, conflict_id, "correct_existing"))["status"] == 200
    batch = (await at.get(f"/batches/{batch_id}")).json()["batch"]
    assert (batch["manufactured_on"], batch["expires_on"]) == ("2026-02-19", "2027-07-20")


async def test_registering_apart_gives_the_goods_a_number_of_their_own_beside_the_suppliers(at: Running) -> None:
    conflict_id, batch_id = await a_conflict(at, supplier_id=OTHER_DAIRY)
    assert (await settle(at, conflict_id, "register_apart"))["code"] == "batch_no_missing"
    assert (await settle(at, conflict_id, "register_apart", batch_no="WMP2602A"))["code"] == "batch_no_taken"
    done = await settle(at, conflict_id, "register_apart", batch_no="WMP2602A-2")

    assert (done["batch_no"], done["batch_id"] != batch_id) == ("WMP2602A-2", True)
    settled, registered, received = await at.said()
    assert isinstance(settled, ReceiptConflictSettled)
    assert isinstance(registered, BatchRegistered)
    assert isinstance(received, BatchReceived)
    assert (registered.batch.supplier_id, registered.batch.supplier_batch_no) == (OTHER_DAIRY, "WMP2602A")
    assert str(registered.batch.expires_on) == "2027-07-20"
    assert str(settled.batch_id) == batch_id
    assert str(received.batch_id) == done["batch_id"]


async def test_refusing_receives_nothing(at: Running) -> None:
    conflict_id, batch_id = await a_conflict(at)
    assert (await settle(at, conflict_id, "refuse_receipt"))["outcome"] == "refused"
    [settled] = await at.said()
    assert isinstance(settled, ReceiptConflictSettled)
    assert (await at.get(f"/batches/{batch_id}")).json()["received"] == "100"
    assert (await at.get("/conflicts", open="true")).json()["items"] == []


async def test_a_conflict_is_settled_once_by_those_who_may_and_by_a_decision_there_is(at: Running) -> None:
    conflict_id, _ = await a_conflict(at)
    assert (await settle(at, conflict_id, "keep_existing", role="operator"))["status"] == 403
    assert (await settle(at, conflict_id, "toss_a_coin"))["status"] == 422
    assert (await settle(at, "00000000-0000-4000-8000-000000000000", "keep_existing"))["status"] == 404
    assert (await settle(at, conflict_id, "refuse_receipt"))["status"] == 200
    again = await settle(at, conflict_id, "keep_existing")
    assert (again["status"], again["code"]) == (409, "already_settled")
    assert again["detail"] == "the conflict was settled as 'refuse_receipt' by 'quality'"


async def test_goods_that_were_in_conflict_count_for_their_expectation_only_once_they_are_received(at: Running) -> None:
    expected = expectation(quantity="110")
    await at.hear(expected)
    wish = {"expected_receipt_id": str(expected.expected_receipt_id)}
    await receive_one(at, **wish)
    conflict = await receive_one(at, **wish, quantity="1", unit="KGM", expires_on="2027-07-20")
    path = f"/expected-receipts/{expected.expected_receipt_id}"
    assert (await at.get(path)).json()["received"] == "100"
    await receive_one(at, **wish, quantity="20.5", unit="KGM")
    assert (await settle(at, conflict["conflict_id"], "keep_existing"))["code"] == "too_much"
    await at.hear(expected.model_copy(update={"quantity": expected.quantity + 1}))
    assert (await settle(at, conflict["conflict_id"], "keep_existing"))["status"] == 200
    assert (await at.get(path)).json()["received"] == "121.5"


async def test_a_conflict_cannot_be_settled_so_that_expired_goods_are_received(at: Running) -> None:
    first = await receive_one(at)
    got = await receive_one(at, expires_on="2027-09-20")
    correction = {"expires_on": "2026-03-01", "reason": "Misread"}
    assert (await at.post(f"/batches/{first['batch_id']}/dates", correction, role="quality")).status_code == 200
    refused = await settle(at, got["conflict_id"], "keep_existing")
    assert (refused["status"], refused["code"]) == (409, "expired")
    assert refused["detail"] == "expired on 2026-03-01: today is 2026-03-02"


async def inspect(at: Running, batch_id: str, released: str, rejected: str, **more: Any) -> dict[str, Any]:
    role = more.pop("role", "inspector")
    body = {"batch_id": batch_id, "site_id": "HRB-1", "released": released, "rejected": rejected, **more}
    answer = await at.post("/inspections", body, role=role)
    return {**answer.json(), "status": answer.status_code}


async def test_an_inspector_decides_about_a_part_and_signs_what_can_be_checked_later(at: Running) -> None:
    batch_id = (await receive_one(at))["batch_id"]
    await at.said()
    done = await inspect(at, batch_id, "97.50", "2", reason="Moisture 3.9 %", certificate="CoA-1", meaning="approval")
    assert done["status"] == 201, done
    [said] = await at.said()
    assert isinstance(said, BatchInspected)
    assert (said.released, said.rejected, said.unit, said.certificate) == (97.5, 2, "KGM", "CoA-1")
    signature = said.signature
    assert (signature.signer, signature.signer_name, signature.meaning) == ("inspector", "Inspector", "approval")
    assert signature.signed_at == at.clock.at

    found = (await at.get(f"/inspections/{done['inspection_id']}")).json()
    assert found["signature_holds"]
    assert found["signature"]["record_hash"] == signature.record_hash
    [due] = (await at.get("/inspections/due", site_id="HRB-1")).json()["items"]
    assert (due["batch_id"], due["pending"], due["received"], due["unit"]) == (batch_id, "0.5", "100", "KGM")


async def test_a_record_that_was_changed_behind_the_services_back_no_longer_holds(at: Running, database: str) -> None:
    batch_id = (await receive_one(at))["batch_id"]
    done = await inspect(at, batch_id, "1", "0")
    owner = await asyncpg.connect(database)
    await owner.execute("UPDATE inspection SET released = 2")
    await owner.close()
    assert not (await at.get(f"/inspections/{done['inspection_id']}")).json()["signature_holds"]


async def test_nobody_decides_about_more_than_is_pending_and_both_numbers_are_named(at: Running) -> None:
    batch_id = (await receive_one(at))["batch_id"]
    assert (await inspect(at, batch_id, "60", "0"))["status"] == 201
    more = await inspect(at, batch_id, "40", "0.5", reason="Wet")
    assert (more["status"], more["code"]) == (409, "more_than_pending")
    assert more["detail"] == ("40 + 0.5 = 40.5 KGM are decided, 40 KGM are pending of batch 'WMP2602A' at HRB-1")
    elsewhere = {"batch_id": batch_id, "site_id": "SHA-1", "released": "1", "rejected": "0"}
    assert (await at.post("/inspections", elsewhere, role="quality")).status_code == 409
    assert (await inspect(at, batch_id, "0", "40"))["code"] == "reason_missing"
    assert (await inspect(at, batch_id, "0", "0"))["code"] == "nothing_decided"
    assert (await inspect(at, batch_id, "1", "0", role="operator"))["status"] == 403
    assert (await inspect(at, batch_id, "0", "40", reason="Wet"))["status"] == 201
    assert (await at.get("/inspections/due")).json()["items"] == []


async def test_inspectors_who_decide_at_the_same_time_share_what_is_pending(at: Running) -> None:
    batch_id = (await receive_one(at))["batch_id"]
    done = await asyncio.gather(*(inspect(at, batch_id, "30", "0") for _ in range(6)))
    assert sorted(each["status"] for each in done) == [201, 201, 201, 409, 409, 409]
    assert (await at.get("/inspections/due")).json()["items"][0]["pending"] == "10"


# Peer request 9: quality decides by quantity, on stock that exists as pending.
async def test_goods_that_arrived_released_leave_nothing_to_inspect(at: Running) -> None:
    await at.hear(milk(inspection_required=False, revision=2))
    batch_id = (await receive_one(at))["batch_id"]
    assert (await at.get("/inspections/due")).json()["items"] == []
    assert (await inspect(at, batch_id, "1", "0"))["code"] == "more_than_pending"


async def test_what_waits_longest_for_inspection_comes_first_page_by_page(at: Running) -> None:
    for number in "ABC":
        await receive(at, line(batch_no=f"L{number}"), received_at=f"2026-03-0{1 if number == 'C' else 2}T08:00:00Z")
    found: list[str] = []
    after = None
    while True:
        query = {"limit": 1, **({"after": after} if after else {})}
        page = (await at.get("/inspections/due", **query)).json()
        found += [each["batch"]["batch_no"] for each in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert found == ["LC", "LA", "LB"]


async def test_quality_corrects_dates_with_a_reason_and_the_earlier_ones_stay_readable(at: Running) -> None:
    batch_id = (await receive_one(at, expires_on=None))["batch_id"]
    await at.said()
    path = f"/batches/{batch_id}/dates"
    body = {"manufactured_on": "2026-02-10", "reason": "The supplier's certificate says the 10th"}
    assert (await at.post(path, body, role="supervisor")).status_code == 403
    done = await at.post(path, body, role="quality")
    assert done.status_code == 200
    [said] = await at.said()
    assert isinstance(said, BatchDatesCorrected)
    # The expiry was computed, so it follows the manufacture date.
    assert (str(said.before.expires_on), str(said.after.expires_on)) == ("2027-08-20", "2027-08-10")
    assert (await at.post(path, body, role="quality")).json()["code"] == "nothing_changed"
    assert (await at.post(path, {"reason": "x"}, role="quality")).json()["code"] == "no_date"
    late = {"manufactured_on": "2026-03-04", "reason": "x"}
    assert (await at.post(path, late, role="quality")).json()["code"] == "manufactured_in_future"

    retest = {"expires_on": "2027-12-31", "source": "retest", "reason": "Re-tested"}
    assert (await at.post(path, retest, role="quality")).status_code == 200
    whole = (await at.get(f"/batches/{batch_id}")).json()
    assert (whole["batch"]["expires_on"], whole["batch"]["expiry_source"]) == ("2027-12-31", DateSource.RETEST)
    trail = [
        (each["before"]["expires_on"], each["after"]["expires_on"], each["decided_by"], each["reason"])
        for each in whole["decisions"]
        if each["kind"] == "facts_corrected"
    ]
    assert trail == [
        ("2027-08-10", "2027-12-31", "quality", "Re-tested"),
        ("2027-08-20", "2027-08-10", "quality", "The supplier's certificate says the 10th"),
    ]


# Peer request 3: a batch is found by the maker's number, which is never rewritten.
async def test_a_batch_is_found_by_the_suppliers_own_number(at: Running) -> None:
    await receive_one(at, supplier_batch_no="ND 2026/02-118")
    found = (await at.get("/batches", supplier_batch_no="ND 2026/02-118")).json()["items"]
    assert [(each["item_id"], each["batch"]["supplier_id"]) for each in found] == [(MILK, DAIRY)]
    other = await receive_one(at, supplier_batch_no="ND 2026/02-119")
    assert (other["outcome"], "batch_differs" in codes(other)) == ("conflict", True)


async def test_what_is_not_known_is_not_found(at: Running) -> None:
    nobody = "00000000-0000-4000-8000-000000000000"
    for path in ("expected-receipts", "receipts", "conflicts", "batches", "inspections"):
        assert (await at.get(f"/{path}/{nobody}")).status_code == 404, path
    assert (await inspect(at, nobody, "1", "0"))["status"] == 404
    dates = {"expires_on": "2027-01-01", "reason": "x"}
    assert (await at.post(f"/batches/{nobody}/dates", dates, role="quality")).status_code == 404


async def test_people_of_one_site_see_and_settle_what_is_there(at: Running) -> None:
    conflict_id, _ = await a_conflict(at)
    theirs = at.token("supervisor", sites=["SHA-1"])
    for path in ("/conflicts", "/inspections/due", "/expected-receipts"):
        assert (await at.client.get(path, headers=theirs)).json()["items"] == []
        assert (await at.client.get(path, params={"site_id": "HRB-1"}, headers=theirs)).status_code == 403
    assert (await at.client.get(f"/conflicts/{conflict_id}", headers=theirs)).status_code == 403
    settled = await at.client.post(
        f"/conflicts/{conflict_id}/settlement",
        json={"decision": "keep_existing", "reason": "x"},
        headers={**theirs, "Idempotency-Key": "k"},
    )
    assert settled.json()["code"] == "wrong_site"
