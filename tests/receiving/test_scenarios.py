"""What other systems' own tests ask of receipts, where no test of ours has their numbers (docs/scenarios.md)."""

import datetime as dt

from tests.receiving.goods import DAIRY, MILK, codes, line, milk, receive_one
from tests.service_harness import Running


# 50 (done otherwise: life is counted from the day of manufacture, whenever the goods come)
async def test_goods_that_come_six_weeks_later_do_not_live_longer_for_it(at: Running) -> None:
    await at.hear(milk(shelf_life_days=60, min_days_at_receipt=10, min_percent_at_receipt=None, revision=2))
    made = {"manufactured_on": "2026-03-02", "expires_on": None}
    first = await receive_one(at, **made)
    at.clock.at += dt.timedelta(days=42)
    later = await receive_one(at, **made, batch_no="WMP2602B")
    batches = [(await at.get(f"/batches/{each['batch_id']}")).json()["batch"] for each in (first, later)]
    assert [batch["expires_on"] for batch in batches] == ["2026-05-01", "2026-05-01"]


# 51: and what has no date keeps none
async def test_a_further_receipt_of_a_batch_without_a_date_gets_none(at: Running) -> None:
    undated = {"expiry_required": False, "shelf_life_days": None, "min_days_at_receipt": None}
    await at.hear(milk(**undated, min_percent_at_receipt=None, revision=2))
    await receive_one(at, batch_no="DATED")
    first = await receive_one(at, batch_no="SALT", expires_on=None)
    again = await receive_one(at, batch_no="SALT", expires_on=None, manufactured_on=None)
    assert (again["outcome"], again["batch_id"]) == ("received", first["batch_id"])
    assert (await at.get(f"/batches/{again['batch_id']}")).json()["batch"].get("expires_on") is None


# 55 (done otherwise: there is no item without batches, so what is refused is a line that names none)
async def test_no_goods_come_in_without_a_batch(at: Running) -> None:
    assert codes(await receive_one(at, batch_no=None)) == ["batch_no_missing"]


# 67
async def test_a_receipt_that_was_made_stays_as_it_is_and_making_it_again_makes_nothing(at: Running) -> None:
    made, other = ({"site_id": "HRB-1", "lines": [line(quantity=quantity)]} for quantity in ("10", "1000"))
    first = await at.post("/receipts", made, role="operator", key="bundle-1")
    again = await at.post("/receipts", made, role="operator", key="bundle-1")
    changed = await at.post("/receipts", other, role="operator", key="bundle-1")
    assert (first.status_code, first.json()) == (201, again.json())
    assert changed.status_code == 422, changed.text
    (batch,) = (await at.get("/batches", item_id=MILK)).json()["items"]
    whole = (await at.get(f"/batches/{batch['batch_id']}")).json()
    assert (whole["received"], whole["batch"]["supplier_id"]) == ("250", DAIRY)
