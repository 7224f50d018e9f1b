"""The alarms ring: each trouble is brought about in a real service, and what it then shows at /metrics fires its rule.

The rules are the ones that are deployed, unchanged; promtool evaluates them over the scrapes, so that waiting ("for a
minute") costs no time. Exactly the alarms named ring, and before and after each trouble none does.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from aiokafka import AIOKafkaProducer

from contracts.topics import TOPICS
from delivery import Settings
from delivery.kafka import create_topics
from deploy.local.issuer import Issuer
from deploy.local.processes import System
from deploy.local.servers import Servers
from tests.operators.page import shell_lines
from tests.operators.promtool import NoPromtool, find_promtool
from tests.operators.samples import Scrapes, Series, as_test

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy" / "observability" / "rules.yml"

QUICK = {
    "EXPIRY_WATCH_SECONDS": "0.3",
    "CHECKER_SECONDS": "0.3",
    "PARKED_IN_A_ROW": "4",
    "SESSION_TIMEOUT_MS": "6000",
}
HEALTHY = 4
"""Scrapes before a trouble: about what one evaluation needs to see that all was well."""
STAYS = 11
"""Scrapes, close to three minutes, that a trouble lasts: longer than any rule here waits."""


def promtool() -> Path:
    try:
        return find_promtool()
    except NoPromtool as missing:
        pytest.skip(f"no promtool: {missing}")


def run_promtool(*arguments: str | Path) -> None:
    done = subprocess.run([promtool(), *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"[:6000]


@dataclass
class Ward:
    """Inventory on servers of its own, watched by scraping it."""

    system: System
    client: httpx.AsyncClient
    sql: "asyncpg.Connection[asyncpg.Record]"
    scrapes: Scrapes
    groups: list[dict[str, Any]] = field(default_factory=list)
    named: list[str] = field(default_factory=list)

    async def shows(self, *series: tuple[str, dict[str, str], Callable[[float], bool]], seconds: float = 20) -> None:
        """Scrape until the metrics are so."""
        deadline = time.monotonic() + seconds
        while True:
            await self.scrapes.take(self.client)
            values = [(name, labels, self.scrapes.value(name, **labels)) for name, labels, _ in series]
            if all(
                value is not None and holds(value) for (_, _, value), (_, _, holds) in zip(values, series, strict=True)
            ):
                return
            assert time.monotonic() < deadline, (
                f"not so within {seconds} s: {values}\n{self.system['inventory'].last_words()}"
            )
            await asyncio.sleep(0.2)

    async def well(self) -> None:
        """Scrape until nothing is waited for, and then some more."""
        parts = [
            ("delivery_waiting_for", {"what": what}, _is(0)) for what in ("database", "memory", "relay", "consumer")
        ]
        await self.shows(*parts, ("delivery_database_answer_seconds", {}, lambda seconds: seconds < 0.5))
        self.scrapes.seen = []
        for _ in range(HEALTHY):
            await self.scrapes.take(self.client)
            await asyncio.sleep(0.1)

    @asynccontextmanager
    async def trouble(self, named: str, *firing: str) -> AsyncIterator[None]:
        """Healthy scrapes before; what the block makes the service show after, expected to fire exactly `firing`."""
        await self.well()
        self._expect(f"before: {named}", self.scrapes.seen, ())
        yield
        self._expect(named, self.scrapes.seen, firing)

    def _expect(self, named: str, seen: Sequence[Series], firing: Sequence[str]) -> None:
        self.named.append(named)
        self.groups.append({"name": named, **as_test(seen, stays=STAYS, firing=firing)})

    async def call(self, method: str, path: str, body: Any = None, *, by: str = "sofia") -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.system.token(by)}", "Idempotency-Key": os.urandom(8).hex()}
        return await self.client.request(method, self.system.urls["inventory"] + path, json=body, headers=headers)

    async def send_garbage(self, *keys: str) -> None:
        servers = self.system.servers
        async with AIOKafkaProducer(bootstrap_servers=servers.kafka) as producer:
            for key in keys:
                await producer.send_and_wait(
                    f"{servers.topic_prefix}receiving.batches.v1", b"\x00 no event", key=key.encode()
                )

    def command(self, *arguments: str) -> Any:
        """`python -m services.inventory …` with the service's settings, as an operator runs it; its JSON."""
        environment = {**os.environ, **self.system._settings_of("inventory"), "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-m", "services.inventory", *arguments],
            env=environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout else None


def _is(wanted: float) -> Callable[[float], bool]:
    return lambda value: value == wanted


def _over(limit: float) -> Callable[[float], bool]:
    return lambda value: value > limit


@pytest.fixture
async def ward(own_servers: Servers, tmp_path: Path) -> AsyncIterator[Ward]:
    servers = own_servers
    issuer = Issuer(tmp_path / "topics-issuer")
    settings = Settings(
        database_dsn=servers.postgres, kafka_bootstrap_servers=servers.kafka, topic_prefix=servers.topic_prefix,
        token_issuer="batchwise-local", token_jwks=str(issuer.jwks), environment="local",
    )  # fmt: skip
    await create_topics(settings, TOPICS, client="ward")
    async with (
        System(tmp_path, servers, services=("inventory",), settings=QUICK) as system,
        httpx.AsyncClient() as client,
    ):
        sql = await asyncpg.connect(servers.dsn("inventory"))
        try:
            instance = system.urls["inventory"].removeprefix("http://")
            yield Ward(system, client, sql, Scrapes("inventory", instance))
        finally:
            await sql.close()


async def test_every_command_of_the_page_does_what_it_says(ward: Ward) -> None:
    await ward.well()
    await ward.send_garbage("c1", "c2")
    await ward.shows(("delivery_parked_open", {}, _is(2)))
    first, second = (each["id"] for each in await asyncio.to_thread(ward.command, "parked", "list"))
    environment = {
        **os.environ,
        **ward.system._settings_of("inventory"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "SERVICE": "inventory",
        "URL": ward.system.urls["inventory"],
        "TOKEN": ward.system.token("sofia"),
    }
    for line in shell_lines():
        by_http = line.startswith("curl")
        chosen = {**environment, "ID": str(second if by_http else first)}
        done = await asyncio.to_thread(
            subprocess.run, ["bash", "-c", line], env=chosen, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        assert '"code"' not in done.stdout, f"{line}\n{done.stdout}"
    await ward.shows(("delivery_parked_open", {}, _is(0)))
    settled = await ward.sql.fetch("SELECT id, status, settled_by FROM delivery.parked ORDER BY id")
    assert [tuple(row) for row in settled] == [(first, "discarded", "command line"), (second, "discarded", "sofia")]


@pytest.mark.timeout(240)
async def test_each_trouble_rings_its_alarm_and_no_other(ward: Ward, tmp_path: Path) -> None:
    promtool()
    service, sql = ward.system["inventory"], ward.sql

    async with ward.trouble("a message that nobody can read", "MessagesParked"):
        await ward.send_garbage("a")
        await ward.shows(
            ("delivery_parked_open", {}, _is(1)), ("delivery_events_parked_total", {"kind": "malformed"}, _is(1))
        )
    (parked,) = await asyncio.to_thread(ward.command, "parked", "list")
    await asyncio.to_thread(ward.command, "parked", "discard", str(parked["id"]), "--reason", "a test's noise")
    await ward.shows(("delivery_parked_open", {}, _is(0)))

    async with ward.trouble("somebody changed the books by hand", "LedgerDiffers"):
        await sql.execute("INSERT INTO item_sequence (item_id, last) VALUES ('FG-1', 3)")
        await ward.shows(("inventory_ledger_differences", {}, _is(1)))
    await sql.execute("DELETE FROM item_sequence")
    await sql.execute("UPDATE ledger_difference SET settled_at = now()")
    await ward.shows(("inventory_ledger_differences", {}, _is(0)))

    async with ward.trouble("a right is missing in the database", "WatchFailing", "HttpErrors"):
        await sql.execute("REVOKE SELECT ON site FROM batchwise_inventory")
        failed, deadline = 0.0, time.monotonic() + 20
        while failed < 3 or len(ward.scrapes.seen) < HEALTHY + 6:
            assert time.monotonic() < deadline, "the watch did not fail"
            assert (await ward.call("GET", "/sites")).status_code == 500
            await ward.scrapes.take(ward.client)
            failed = ward.scrapes.value("delivery_watch_runs_total", watch="expiry", outcome="failed") or 0
    await sql.execute("GRANT SELECT ON site TO batchwise_inventory")

    async with ward.trouble("the database does not answer", "ServiceNotReady", "DatabaseSlow"):
        ward.system.servers.database.freeze()
        try:
            await ward.shows(
                ("delivery_waiting_for", {"what": "database"}, _is(1)),
                ("delivery_database_answer_seconds", {}, _over(1)),
            )
        finally:
            ward.system.servers.database.thaw()

    async with ward.trouble("the brokers are gone", "ServiceNotReady", "RelayNoneActive", "OutboxOld"):
        await ward.system.servers.broker.kill()
        said = await ward.call("PUT", "/sites/HRB-1", {"name": "Harbin", "time_zone": "Asia/Shanghai"})
        assert said.status_code == 201
        # It was two minutes ago.
        await sql.execute("UPDATE delivery.outbox SET said_at = said_at - interval '2 minutes'")
        await ward.shows(
            ("delivery_outbox_age_seconds", {}, _over(100)),
            ("delivery_relay_active", {}, _is(0)),
            ("delivery_waiting_for", {"what": "relay"}, _is(1)),
            ("delivery_waiting_for", {"what": "consumer"}, _is(1)),
            seconds=60,
        )
    await ward.system.servers.broker.restart()
    await ward.shows(("delivery_outbox_rows", {}, _is(0)), seconds=60)

    async with ward.trouble("the process is killed", "ServiceDown"):
        await service.kill()
        for _ in range(3):
            await ward.scrapes.take(ward.client)
    await service.restart()

    async with ward.trouble(
        "messages of a kind that nobody can read", "ConsumerStopped", "ServiceNotReady", "MessagesParked"
    ):
        # One after the other, so that all but the last are parked before the limit is reached.
        for n in range(1, 4):
            await ward.send_garbage(f"b{n}")
            await ward.shows(("delivery_parked_open", {}, _is(n)))
        await ward.send_garbage("b4")
        await ward.shows(
            ("delivery_consumer_stopped", {}, _is(1)), ("delivery_waiting_for", {"what": "consumer"}, _is(1))
        )

    case = tmp_path / "fired.yml"
    case.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "15s", "tests": ward.groups}))
    run_promtool("test", "rules", case)
    for wrong in range(1, len(ward.groups), 2):
        # It could have failed: what each trouble showed is not what the calm before it did.
        swapped = json.loads(json.dumps(ward.groups))
        swapped[wrong]["promql_expr_test"] = swapped[wrong - 1]["promql_expr_test"]
        swapped[wrong]["promql_expr_test"][0]["eval_time"] = ward.groups[wrong]["promql_expr_test"][0]["eval_time"]
        case.write_text(
            json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "15s", "tests": [swapped[wrong]]})
        )
        with pytest.raises(AssertionError, match="ALERTS"):
            run_promtool("test", "rules", case)
