"""The books are made again of what inventory said, line by line; what does not fit is refused as a whole."""

import datetime as dt
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from contracts.inventory import HoldPlaced, StockMoved
from contracts.values import HoldKind, Quality
from delivery.chunks import Arrival, Position
from delivery.database import Pool, open_pool, transaction
from delivery.envelope import Envelope, new_id
from delivery.handling import Work
from delivery.migrating import migrate
from delivery.restoring import Restoring
from deploy.local.servers import Servers
from services.inventory.app import service
from services.inventory.store import Faulty
from tests.inventory.words import MORNING, Lot, bin_, build, carry, item
from tests.service_harness import Running, running

BOOKS = {
    "movement": "SELECT * FROM movement ORDER BY item_id, sequence",
    "balance": "SELECT batch_id, site_id, location_id, quality, item_id, quantity FROM balance ORDER BY 1, 2, 3, 4",
    "hold": "SELECT * FROM hold ORDER BY hold_id",
    "item_sequence": "SELECT * FROM item_sequence ORDER BY item_id",
    "booking": "SELECT kind, reference FROM booking ORDER BY kind, reference",
    "batch": "SELECT * FROM batch ORDER BY batch_id",
    "batch_at_site": "SELECT * FROM batch_at_site ORDER BY batch_id, site_id",
    "site": "SELECT site_id, name, time_zone, set_up, revision, said FROM site ORDER BY site_id",
}
DESCRIBED = ("item", "site", "zone", "location")
"""What a backup from before the first goods already had."""


@dataclass
class Restored:
    """A database that knows the building and the catalog, and nothing of goods."""

    pool: Pool
    restoring: Restoring
    at: Running

    async def take_up(self, records: Sequence[Arrival], *, at_once: int = 500) -> None:
        for n in range(0, len(records), at_once):
            async with transaction(self.pool) as db:
                await self.restoring.take_up_chunk(Work(db, self.at.clock()), records[n : n + at_once])

    async def books(self) -> dict[str, list[Any]]:
        return await books(self.pool)


async def books(pool: Pool) -> dict[str, list[Any]]:
    return {table: [tuple(row) for row in await pool.fetch(query)] for table, query in BOOKS.items()}


@pytest.fixture
async def at(database: str, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(service, database, tmp_path) as started:
        await started.hear(item(near_expiry_days=7), item("TEA"))
        await build(started)
        for location_id in ("A-1", "A-2"):
            await bin_(started, location_id)
        yield started


@pytest.fixture
async def restored(servers: Servers, database: str, at: Running) -> AsyncIterator[Restored]:
    name = f"restored_{new_id().hex[-12:]}"
    dsn = await servers.create_database(name)
    await migrate(dsn, service.package, service.role)
    source, owner = await asyncpg.connect(database), await asyncpg.connect(dsn)
    for table in DESCRIBED:
        rows = await source.fetch(f"SELECT * FROM {table}")
        await owner.copy_records_to_table(table, columns=list(rows[0].keys()), records=[tuple(row) for row in rows])
    await source.close()
    await owner.close()
    pool = open_pool(dsn, role=service.role, name="restored", size=1, transaction_idle_ms=60_000)
    await pool
    yield Restored(pool, Restoring(service, at.runtime.settings, pool, at.clock), at)
    await pool.close()
    await servers.drop_database(name)


async def records(at: Running) -> list[Arrival]:
    """All that was said since the start, as it stands on the topics."""
    rows = await at.runtime.pool.fetch("SELECT * FROM delivery.outbox ORDER BY id")
    found = []
    for n, row in enumerate(rows):
        envelope = Envelope(
            str(row["event_id"]),
            row["event_type"],
            "batchwise/inventory",
            row["said_at"],
            row["key"],
            row["correlation_id"],
            row["causation_id"],
            row["actor"],
            row["traceparent"],
        )
        headers = {header: value.decode() for header, value in envelope.headers()}
        found.append(Arrival(Position(row["topic"], 0, n), row["key"].encode(), headers, row["body"]))
    return found


async def a_busy_month(at: Running) -> None:
    """Something of everything that moves, holds, refuses and warns."""
    lot, soon, other = Lot("L1"), Lot("L2", expires_on=dt.date(2026, 3, 10)), Lot("T1", item_id="TEA")
    recall = new_id()
    await at.hear(other.recalled(recall), lot.received("100"), soon.received("20", quality=Quality.PENDING))
    await at.hear(other.received("40", at="NOT-DESCRIBED"), other.received("2", site="S9"))
    answers = [
        await carry(at, lot, "60", "A-1"),
        await carry(at, lot, "10", "A-2", from_="A-1", path="/transfers"),
        await _post(at, "/adjustments", "supervisor", lot, "A-1", item_id="MILK", counted="49", reason="counted"),
        await _post(at, "/adjustments", "supervisor", lot, "A-1", item_id="MILK", counted="49", reason="once more"),
        await _post(
            at,
            "/status-changes",
            "quality",
            lot,
            "A-2",
            from_quality="released",
            to_quality="rejected",
            quantity="3",
            reason="dented cans",
        ),
        await at.post("/holds", {"batch_id": str(lot.batch_id), "kind": "manual", "reason": "a seal"}, role="quality"),
    ]
    hold_id = answers[-1].json()["hold_id"]
    await at.hear(soon.inspected(released="15", rejected="6"))
    await at.hear(lot.picked("10", at="A-1"), lot.dispatched("10"), soon.picked("5", at="DOCK"))
    answers.append(await at.post(f"/holds/{hold_id}/lift", {"reason": "it is whole"}, role="quality"))
    await at.hear(lot.dispatched("4"), soon.dispatched("5"), lot.consumed("7"), other.let_go(recall))
    issue = await at.runtime.pool.fetchval("SELECT movement_id FROM movement WHERE reason = 'issue' LIMIT 1")
    answers.append(await at.post("/reversals", {"movement_id": str(issue), "reason": "came back"}, role="supervisor"))
    at.clock.at = MORNING + dt.timedelta(days=4)
    await at.watch("expiry")
    at.clock.at = MORNING + dt.timedelta(days=12)
    await at.watch("expiry")
    await at.hear(lot.received("9", site="S9"))
    assert [answer.status_code for answer in answers] == [201, 201, 201, 200, 201, 201, 200, 201], [
        answer.text for answer in answers
    ]


async def _post(at: Running, path: str, role: str, lot: Lot, location_id: str, **more: str) -> Any:
    body = {"batch_id": str(lot.batch_id), "site_id": "S1", "location_id": location_id, "quality": "released", **more}
    if path == "/status-changes":
        del body["quality"]
    return await at.post(path, body, role=role)


async def test_all_books_are_made_again_of_what_was_said_however_it_is_cut_into_transactions(
    at: Running, restored: Restored
) -> None:
    await a_busy_month(at)
    said = await records(at)
    kinds = {record.headers["ce_type"] for record in said}
    assert {f"inventory.{name}" for name in ("StockMoved", "HoldPlaced", "HoldLifted", "IssueRefused")} <= kinds
    await restored.take_up(said, at_once=3)
    assert await restored.books() == await books(at.runtime.pool)


async def test_what_is_there_already_is_taken_up_once_also_when_nobody_remembers_that_it_was(
    at: Running, restored: Restored
) -> None:
    await a_busy_month(at)
    said = await records(at)
    await restored.take_up(said)
    before = await restored.books()
    await restored.pool.execute("DELETE FROM delivery.inbox")
    await restored.pool.execute("DELETE FROM delivery.said_up_to")
    await restored.take_up(said)
    assert await restored.books() == before


async def test_a_gap_in_the_numbers_or_a_number_given_anew_is_refused_and_nothing_is_written(
    at: Running, restored: Restored
) -> None:
    lot = Lot("L1")
    await at.hear(lot.received("10"))
    await at.hear(lot.received("5"))
    first, second = [each for each in await records(at) if each.headers["ce_type"] == StockMoved.event_type]
    before = await restored.books()
    with pytest.raises(Faulty, match="number 2, the ledger goes on with 1"):
        await restored.take_up([second])
    assert await restored.books() == before
    await restored.take_up([first])
    # Somebody held the batch in the restored database before its past was taken up: its number is taken.
    hold = HoldPlaced(
        hold_id=new_id(),
        sequence=2,
        item_id="MILK",
        batch_id=lot.batch_id,
        kind=HoldKind.MANUAL,
        reason="written too early",
        placed_at=MORNING,
    )
    early = at.arrival(hold)._replace(position=Position("inventory.stock.v1", 1, 0))
    await restored.take_up([early])
    before = await restored.books()
    with pytest.raises(Faulty, match="number 2, the ledger goes on with 3"):
        await restored.take_up([second])
    assert await restored.books() == before
