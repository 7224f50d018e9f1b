"""Batch numbers from the counter, while others number at the same time."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts.gs1 import is_batch_no
from delivery import build, main
from delivery.settings import SettingsRefused
from services.receiving.app import service
from services.receiving.settings import receiving_settings
from tests.receiving.goods import DAIRY, MILK, OTHER_DAIRY, catalog, codes, line, receive, receive_one
from tests.service_harness import Running, running


@pytest.fixture
async def at(database: str, tmp_path: Path) -> AsyncIterator[Running]:
    receiving_settings.cache_clear()
    async with running(service, database, tmp_path) as at:
        await at.hear(*catalog())
        yield at
    receiving_settings.cache_clear()


async def numbers(at: Running, **body: Any) -> list[str]:
    answer = await at.post("/batch-numbers", {"item_id": MILK, "supplier_id": DAIRY, **body}, role="operator")
    assert answer.status_code == 201, answer.text
    found: list[str] = answer.json()["batch_nos"]
    return found


async def test_numbers_count_per_day_and_supplier_and_none_is_handed_out_twice(at: Running) -> None:
    assert await numbers(at, count=2) == ["20260302-001-S-0117", "20260302-002-S-0117"]
    assert await numbers(at) == ["20260302-003-S-0117"]
    assert await numbers(at, supplier_id=OTHER_DAIRY) == ["20260302-001-S-0200"]
    assert await numbers(at, on="2026-03-03") == ["20260303-001-S-0117"]
    assert await numbers(at, supplier_id=None) == ["20260302-001"]
    refused = await at.post("/batch-numbers", {"item_id": "NOPE"}, role="operator")
    assert (refused.status_code, refused.json()["code"]) == (409, "unknown_item")


async def test_a_line_without_a_number_gets_the_next_one_when_it_asks(at: Running) -> None:
    wish = {"batch_no": None, "number_batch": True}
    answer = await receive(at, line(**wish), line(**wish, quantity="0"), line(**wish))
    assert [each["batch_no"] for each in answer["lines"]] == ["20260302-001-S-0117", None, "20260302-002-S-0117"]
    assert codes(await receive_one(at, batch_no=None)) == ["batch_no_missing"]


async def test_numbers_that_exist_are_passed_over(at: Running) -> None:
    typed = [line(batch_no=f"20260302-{n:03}-S-0117", quantity="1") for n in (1, 2, 4)]
    wish = line(batch_no=None, number_batch=True)
    answer = await receive(at, *typed, wish, wish)
    assert [each["batch_no"] for each in answer["lines"][3:]] == ["20260302-003-S-0117", "20260302-005-S-0117"]
    assert await numbers(at) == ["20260302-006-S-0117"]


async def test_a_receipt_of_five_hundred_lines_numbers_them_all_in_order(at: Running) -> None:
    wish = line(batch_no=None, number_batch=True, quantity="1")
    answer = await receive(at, *[wish] * 500)
    assert [each["batch_no"] for each in answer["lines"]] == [f"20260302-{n:03}-S-0117" for n in range(1, 501)]


async def test_two_suppliers_whose_codes_shorten_to_the_same_never_get_the_same_number(
    at: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCH_NUMBER_PATTERN", "{date:%Y%m%d}-A-LONG-{seq:03}{supplier}")
    receiving_settings.cache_clear()
    suppliers = [f"SUPPLIER-{n}" for n in range(60)]
    found = [number for each in suppliers for number in await numbers(at, supplier_id=each)]
    assert len({number[-1] for number in found}) < len(suppliers), "no two codes shortened to the same"
    assert len(set(found)) == len(suppliers)
    assert all(len(number) == 20 and is_batch_no(number) for number in found)


async def test_writers_in_several_processes_never_get_the_same_number(at: Running) -> None:
    """Two more replicas on the same database, all asking at once by both ways of getting a number."""
    others = [build(service, at.runtime.settings, clock=at.clock) for _ in range(2)]
    clients = [at.client]
    for app in others:
        await app.state.runtime.pool
        clients.append(httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://other"))

    async def ask(client: httpx.AsyncClient, n: int) -> list[str]:
        headers = {**at.token("operator"), "Idempotency-Key": f"{id(client)}-{n}"}
        if n % 2:
            body: dict[str, Any] = {"item_id": MILK, "supplier_id": DAIRY, "count": 3}
            return list((await client.post("/batch-numbers", json=body, headers=headers)).json()["batch_nos"])
        wish = line(batch_no=None, number_batch=True)
        body = {"site_id": "HRB-1", "lines": [wish, wish]}
        answer = (await client.post("/receipts", json=body, headers=headers)).json()
        return [each["batch_no"] for each in answer["lines"]]

    got = await asyncio.gather(*(ask(client, n) for client in clients for n in range(20)))
    found = [number for each in got for number in each]
    assert len(found) == 3 * (10 * 3 + 10 * 2)
    assert len(set(found)) == len(found)
    assert max(found) == "20260302-150-S-0117", "a number was left out"
    for app in others:
        await app.state.runtime.gathering.drain()
        await app.state.runtime.pool.close()


async def test_a_series_that_is_used_up_says_so(at: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCH_NUMBER_PATTERN", "A-NAME-OF-19-CHARS-{seq}")
    receiving_settings.cache_clear()
    assert len(await numbers(at, count=9)) == 9
    refused = await at.post("/batch-numbers", {"item_id": MILK}, role="operator")
    assert refused.json()["code"] == "batch_numbers_exhausted"
    assert codes(await receive_one(at, batch_no=None, number_batch=True)) == [
        "batch_numbers_exhausted",
        "batch_no_missing",
    ]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("BATCH_NUMBER_PATTERN", "LOT#{seq}", "'#': only the GS1 AI-10 characters are allowed"),
        ("BATCH_NUMBER_PATTERN", "{date:%Y%m%d}", "{seq} once is needed"),
        ("OVER_RECEIPT_PERCENT", "-1", "greater than or equal to 0"),
        ("SITE_TIME_ZONES", '{"HRB-1": "Mars/Olympus"}', "'Mars/Olympus' is no time zone"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_the_start_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(name, value)
    receiving_settings.cache_clear()
    try:
        with pytest.raises(SettingsRefused):
            receiving_settings()
        assert main(service, ["serve"]) == 2
        printed = capsys.readouterr().err
        assert name in printed
        assert says in printed
    finally:
        receiving_settings.cache_clear()


async def test_a_day_ends_at_the_sites_midnight(at: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SITE_TIME_ZONES", '{"HRB-1": "Asia/Shanghai"}')
    receiving_settings.cache_clear()
    at.clock.at = at.clock.at.replace(hour=17)  # 1 a.m. on 3 March in Harbin
    answer = await receive(at, line(batch_no=None, number_batch=True))
    assert answer["lines"][0]["batch_no"] == "20260303-001-S-0117"
    assert codes(await receive_one(at, expires_on="2026-03-02"))[0] == "expired"
    assert codes(await receive_one(at, manufactured_on="2026-03-04")) == ["manufactured_in_future"]


async def test_without_a_time_zone_the_offset_of_the_time_counts_and_nothing_made_today_is_refused(at: Running) -> None:
    at.clock.at = at.clock.at.replace(hour=17)
    wish = line(batch_no=None, number_batch=True, manufactured_on="2026-03-03", expires_on=None)
    given = await receive(at, wish, received_at="2026-03-03T00:30:00+08:00")
    assert given["lines"][0]["batch_no"] == "20260303-001-S-0117"
    now = await receive(at, wish)
    assert (now["lines"][0]["outcome"], now["lines"][0]["batch_no"]) == ("received", "20260302-001-S-0117")
