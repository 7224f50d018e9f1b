"""Calls that no honest client makes: each is refused with a problem, none is a fault of ours."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

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
