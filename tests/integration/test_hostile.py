"""Calls that no honest client makes: each is refused with a problem, none is a fault of ours."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from delivery.chunks import Arrival, Position
from delivery.failures import Stopped
from delivery.parking import SHOWN_BYTES
from services.integration.app import service
from tests.integration.speaking import item
from tests.service_harness import Running, running


@pytest.fixture
async def at(database: str, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(service, database, tmp_path) as runs:
        yield runs


READS = (
    "/items?after=%00",
    "/items/%00",
    "/items?active=maybe",
    "/partners?limit=501",
    "/reconciliation?after=%00",
    "/reconciliation?item_id=a%20b",
    "/postings?after=99999999999999999999",
    "/postings?kind=gift",
    "/postings?limit=0",
    "/mes/reports?work_order=%00",
    "/mes/reports/x",
    "/demands?reference=%0a%00",
    "/batches/x/cost",
    "/expected-receipts?after=zzz",
)

WRITES = (
    ("/demands", b'{"reference":"\\ud800"}'),
    ("/demands", b'{"reference":"a","quantity":"NaN"}'),
    ("/mes/production-reports", b"[1]"),
    ("/mes/production-reports", b'{"a":1e999}'),
    ("/mes/production-reports", b"\xff"),
    ("/mes/production-reports", b"[" * 20_000),
    ("/expected-receipts", b"{}"),
    ("/items/import", b"{}"),
)


@pytest.mark.parametrize("path", READS)
async def test_a_hostile_read_is_refused(at: Running, path: str) -> None:
    answer = await at.client.get(path, headers=at.token("auditor"))
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), answer.text


@pytest.mark.parametrize(("path", "body"), WRITES)
async def test_a_hostile_write_is_refused(at: Running, path: str, body: bytes) -> None:
    headers = {**at.token("integrator"), "Idempotency-Key": "k", "Content-Type": "application/json"}
    answer = await at.client.post(path, content=body, headers=headers)
    assert answer.status_code in {400, 422}, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


async def test_an_idempotency_key_belongs_to_one_call(at: Running) -> None:
    assert (await at.put("/items/MILK", item(), role="integrator", key="k")).status_code == 201
    other = await at.put("/items/TEA", item(), role="integrator", key="k")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_what_an_outsider_says_wrongly_never_adds_up_to_a_stop_and_a_bug_of_ours_does(at: Running) -> None:
    def rubbish(n: int) -> Arrival:
        return Arrival(Position("erp.demands.v1", 0, n), f"k{n}".encode(), {}, b"rubbish")

    limit = at.runtime.settings.parked_in_a_row
    for n in range(2 * limit):
        await at.runtime.chunks.park_one(rubbish(n), "never_works", "not a demand", 1)
    for n in range(2 * limit, 3 * limit - 1):
        await at.runtime.chunks.park_one(rubbish(n), "bug", "ZeroDivisionError", 3)
    with pytest.raises(Stopped, match=rf"{limit} messages in a row had to be parked \(limit {limit}\)"):
        await at.runtime.chunks.park_one(rubbish(3 * limit), "bug", "ZeroDivisionError", 3)
    assert len(await at.parked()) == 3 * limit - 1


async def test_a_large_parked_message_is_listed_shown_in_part_and_given_whole(at: Running) -> None:
    body = b"\xff\x00" * 2_500_000
    await at.runtime.chunks.park_one(
        Arrival(Position("erp.demands.v1", 0, 1), None, {}, body), "never_works", "not a demand", 1
    )
    listed = await at.get("/parked")
    [message] = listed.json()
    assert "body" not in message
    shown = (await at.get(f"/parked/{message['id']}")).json()
    assert (shown["body_bytes"], shown["body"]) == (5_000_000, "\\xff\x00" * (SHOWN_BYTES // 2))
    whole = await at.get(f"/parked/{message['id']}/body")
    assert (whole.headers["content-type"], whole.content) == ("application/octet-stream", body)
    missing = await at.get("/parked/999/body")
    assert (missing.status_code, missing.json()["fields"][0]["field"]) == (404, "parked_id")
