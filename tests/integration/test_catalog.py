"""Items and partners: defined, kept stable while in use, and imported as lists."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from contracts.integration import ItemDefined, PartnerDefined
from services.integration.app import service
from tests.integration.speaking import expect, item, set_up
from tests.service_harness import Running, running


@pytest.fixture
async def at(database: str, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(service, database, tmp_path) as runs:
        yield runs


async def define(at: Running, item_id: str = "MILK", **more: Any) -> httpx.Response:
    return await at.put(f"/items/{item_id}", item(**more), role="integrator")


async def post_list(at: Running, path: str, text: str, *, content_type: str = "text/csv") -> httpx.Response:
    headers = {**at.token("integrator"), "Idempotency-Key": str(uuid4()), "Content-Type": content_type}
    return await at.client.post(path, content=text.encode(), headers=headers)


async def test_each_change_of_an_item_is_a_revision_and_no_change_is_none(at: Running) -> None:
    assert (await define(at)).json()["revision"] == 1
    assert (await define(at)).json()["revision"] == 1
    assert (await define(at, name="Skimmed milk powder")).json()["revision"] == 2
    said = await at.said()
    assert [(type(event), event.revision) for event in said if isinstance(event, ItemDefined)] == [
        (ItemDefined, 1),
        (ItemDefined, 2),
    ]
    assert (await at.get("/items/MILK")).json()["name"] == "Skimmed milk powder"
    assert (await at.get("/items/TEA")).status_code == 404


async def test_a_gtin_needs_its_check_digit_and_names_one_item(at: Running) -> None:
    wrong = await define(at, gtins=[{"gtin": "06901234567891", "unit": "BX"}])
    assert (wrong.status_code, wrong.json()["code"]) == (422, "check_digit")
    assert "its check digit is 2" in wrong.json()["detail"]
    assert (await define(at, gtins=[{"gtin": "06901234567892", "unit": "BX"}])).status_code == 201
    taken = await define(at, "TEA", gtins=[{"gtin": "06901234567892", "unit": "KGM"}])
    assert (taken.status_code, taken.json()["code"]) == (409, "gtin_taken")
    assert "'MILK'" in taken.json()["detail"]
    assert (await define(at, gtins=[])).status_code == 200
    assert (await define(at, "TEA", gtins=[{"gtin": "06901234567892", "unit": "KGM"}])).status_code == 201


async def test_the_factor_of_a_unit_in_use_stays(at: Running) -> None:  # 20
    await set_up(at, "MILK")
    changed = [{"unit": "BX", "numerator": 24, "denominator": 1}]
    assert (await define(at, units=changed)).status_code == 200
    await expect(at, "MILK", "2", None, unit="BX")
    refused = await define(at)
    assert (refused.status_code, refused.json()["code"]) == (409, "unit_in_use")
    assert "24 KGM" in refused.json()["detail"]
    assert (await define(at, units=[])).status_code == 409
    assert (await define(at, base_unit="C62", units=[])).json()["code"] == "base_unit_in_use"
    more = [*changed, {"unit": "PF", "numerator": 1000, "denominator": 1}]
    assert (await define(at, units=more)).status_code == 200


async def test_a_word_that_is_on_no_list_is_refused_not_taken_for_unknown(at: Running) -> None:
    answer = await define(at, climate="tropical")
    assert answer.status_code == 422
    assert "ambient, cool, cold, frozen" in answer.json()["detail"]


async def test_only_integrators_define_and_the_same_key_answers_the_same(at: Running) -> None:
    assert (await at.put("/items/MILK", item(), role="operator")).status_code == 403
    first = await at.put("/items/MILK", item(), role="integrator", key="k1")
    again = await at.put("/items/MILK", item(), role="integrator", key="k1")
    assert (first.status_code, again.status_code, first.json()) == (201, 201, again.json())
    assert len(await at.said()) == 1


async def test_an_imported_list_takes_its_good_rows_and_explains_the_others(at: Running) -> None:
    text = (
        "item_id;name;base_unit;units;gtins;shelf_life_days;climate\r\n"
        "MILK;Milk powder;KGM;BX=25 TU=1/3;06901234567892:BX;546;ambient\r\n"
        "TEA;Tea;KGM;BX=x;;;\r\n"
        "SALT;;KGM;;;;\r\n"
        "FISH;Fish;KGM;;06901234567892;;frozen\r\n"
        "RICE;Rice;KGM;;;0;ambient\r\n"
        "MILK;Milk again;KGM;;;;\r\n"
        "OATS;Oats;KGM;;;;warm\r\n"
    )
    dry = (await post_list(at, "/items/import?dry_run=true", text)).json()
    assert (dry["dry_run"], dry["accepted"], await at.said()) == (True, 1, [])
    assert (await at.get("/items")).json()["items"] == []

    found = (await post_list(at, "/items/import", text)).json()
    assert (found["accepted"], found["refused"]) == (1, 6)
    rows = {(row["line"], row["column"]): (row["value"], row["limit"]) for row in found["rows"]}
    assert rows[3, "units"] == ("BX=x", "unit=factor, such as BX=12 or TU=1/3")
    assert rows[4, "name"] == ("", "must be there")
    assert "already names item 'MILK'" in rows[5, "gtins"][1]
    assert rows[6, "shelf_life_days"][0] == "0"
    assert rows[7, "item_id"] == ("MILK", "once in a list; line 2 has it too")
    assert rows[8, "climate"] == ("warm", "one of ambient, cool, cold, frozen")
    [said] = await at.said()
    assert isinstance(said, ItemDefined)
    assert [(each.unit, each.numerator, each.denominator) for each in said.units] == [("BX", 25, 1), ("TU", 1, 3)]
    assert (await post_list(at, "/items/import", text)).json()["unchanged"] == 1


async def test_a_list_may_come_as_a_file_of_a_form(at: Running) -> None:
    form = (
        '--X\r\nContent-Disposition: form-data; name="file"; filename="p.csv"\r\nContent-Type: text/csv\r\n\r\n'
        "partner_id,name,roles,shelf_life_rules\nC-1,Harbin Foods,customer supplier,*:180:33 MILK:270:\n\r\n--X--\r\n"
    )
    answer = await post_list(at, "/partners/import", form, content_type="multipart/form-data; boundary=X")
    assert answer.json()["accepted"] == 1, answer.text
    [said] = await at.said()
    assert isinstance(said, PartnerDefined)
    assert [(rule.item_id, rule.min_days, rule.min_percent) for rule in said.shelf_life_rules] == [
        (None, 180, 33),
        ("MILK", 270, None),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "line 1 is empty"),
        ("item_id,colour\nMILK,red\n", "column 'colour' is not known"),
        ("name\nMilk\n", "column 'item_id' is missing"),
        ('item_id,name\nMILK,"Mi\n', "line"),
    ],
)
async def test_what_is_no_list_is_refused_as_a_whole(at: Running, text: str, says: str) -> None:
    answer = await post_list(at, "/items/import", text)
    assert (answer.status_code, answer.json()["code"]) == (422, "not_a_list")
    assert says in answer.json()["detail"]


async def test_a_return_has_no_cost_of_its_own_and_a_supplier_is_no_customer(at: Running) -> None:
    await set_up(at, "MILK")
    body = {
        "origin": "customer",
        "item_id": "MILK",
        "quantity": "1",
        "unit": "KGM",
        "site_id": "HRB-1",
        "due_on": "2026-03-02",
        "partner_id": "C-1",
    }
    costly = await at.post("/expected-receipts", {**body, "unit_cost": "1", "currency": "CNY"}, role="integrator")
    assert costly.json()["code"] == "cost_of_return"
    wrong = await at.post("/expected-receipts", {**body, "partner_id": "S-1"}, role="integrator")
    assert (wrong.status_code, wrong.json()["code"]) == (422, "wrong_role_of_partner")
    assert wrong.json()["detail"] == "partner_id: partner 'S-1' is a supplier, not a customer"
    assert [each["field"] for each in wrong.json()["fields"]] == ["partner_id"]
    assert (await at.post("/expected-receipts", body, role="integrator")).status_code == 201
    unit = await at.post("/expected-receipts", {**body, "unit": "PF"}, role="integrator")
    assert "BX, KGM" in unit.json()["detail"]


async def test_what_will_not_come_is_withdrawn_once_and_not_after_it_came(at: Running) -> None:
    await set_up(at, "MILK")
    expected = await expect(at, "MILK", "10", "1")
    path = f"/expected-receipts/{expected}/withdrawal"
    assert (await at.post(path, {"reason": "Cancelled"}, role="integrator")).status_code == 200
    assert (await at.post(path, {"reason": "Cancelled"}, role="integrator")).json()["code"] == "already_withdrawn"
    found = (await at.get(f"/expected-receipts/{expected}")).json()
    assert (found["status"], found["withdrawn_why"]) == ("withdrawn", "Cancelled")
    assert [event.event_type for event in await at.said()] == [
        "integration.ReceiptExpected",
        "integration.ExpectedReceiptWithdrawn",
    ]


async def test_a_long_list_is_one_transaction(at: Running) -> None:
    rows = "".join(f"I{n},Item {n},KGM\n" for n in range(3_000))
    found = (await post_list(at, "/items/import", "item_id,name,base_unit\n" + rows)).json()
    assert (found["accepted"], found["refused"]) == (3_000, 0)
    assert len(await at.said()) == 3_000
    longer = await post_list(at, "/items/import", "item_id,name,base_unit\n" + rows + "ONE-MORE,Item,KGM\n")
    assert longer.json()["detail"] == "line 3002: more than 3000 rows: send the list in parts"


async def test_a_character_that_no_label_shows_is_refused(at: Running) -> None:
    found = (await post_list(at, "/items/import", "item_id,name,base_unit\nMILK,Mi\x00lk,KGM\nTEA,Tea,KGM\n")).json()
    assert (found["accepted"], found["rows"][0]["limit"]) == (1, "no control characters")
    assert (await at.put("/items/SALT", item(name="Sa\x00lt"), role="integrator")).status_code == 422


async def test_what_is_expected_is_answered_as_it_is_read_with_its_cost(at: Running) -> None:
    await set_up(at, "MILK")
    body = {
        "origin": "supplier",
        "item_id": "MILK",
        "quantity": "4",
        "unit": "BX",
        "site_id": "HRB-1",
        "due_on": "2026-03-02",
        "partner_id": "S-1",
        "unit_cost": "850.00",
        "currency": "CNY",
    }
    said = await at.post("/expected-receipts", body, role="integrator")
    assert (said.status_code, said.json()["unit_cost"], said.json()["currency"]) == (201, "850.00", "CNY")
    assert (said.json()["quantity"], said.json()["entered_quantity"], said.json()["entered_unit"]) == ("100", "4", "BX")
    assert said.json() == (await at.get(f"/expected-receipts/{said.json()['expected_receipt_id']}")).json()


async def test_a_wrong_check_digit_names_its_gtin_and_where_it_stands(at: Running) -> None:
    body = {"name": "Milk", "base_unit": "KGM", "gtins": [{"gtin": gtin, "unit": "KGM"} for gtin in (GOOD, BAD)]}
    answer = await at.put("/items/MILK", body, role="integrator")
    assert (answer.status_code, answer.json()["code"]) == (422, "check_digit")
    assert answer.json()["detail"] == f"gtins[1].gtin: GTIN '{BAD}' ends in 3: its check digit is 2"
    assert [each["field"] for each in answer.json()["fields"]] == ["gtins[1].gtin"]


GOOD, BAD = "16901234567899", "06901234567893"
