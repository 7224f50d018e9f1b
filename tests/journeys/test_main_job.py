"""What the main job leaves behind, played from the first label to the recall, seen through public doors only."""

import os
from collections import defaultdict
from decimal import Decimal
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import pytest

from deploy.local.play.afterwards import RECALLED
from deploy.local.play.checks import check_all
from deploy.local.play.leaving import EXPLAINED
from deploy.local.play.scene import Scene
from deploy.local.processes import SERVICES
from tests.operators.otlp import Collector
from tests.operators.page import TARGET_LABELS, metric_rows, queries, selected
from tests.operators.shown import shown_metrics
from tests.operators.traces import Trace, traces, traces_of_postings

BOTTLES = "FG-15725-204"
REPORT = "hear mes.production-reports.v1"

now_only = pytest.mark.skipif(
    bool(os.environ.get("JOURNEYS_CHECKOUTS")), reason="the page tells of services of this commit alone"
)


async def demand(scene: Scene, reference: str) -> dict[str, Any]:
    found = await scene.people.demand(reference)
    assert found is not None
    return found


async def timeline(scene: Scene, batch: tuple[str, str]) -> list[dict[str, Any]]:
    return await scene.world.all("trace", f"/batches/{scene.people.batches[batch]}/timeline", limit=500)


# 1. production reports


async def test_a_report_that_came_three_times_made_its_batch_once(played: Scene) -> None:
    reports = await played.world.all("integration", "/mes/reports", work_order="WO-5101")
    custody = await played.world.get("trace", f"/batches/{played.people.batches['BK-0006-0003', 'TB2611-01']}/custody")
    assert [(each["message_id"], each["status"]) for each in reports] == [("MES-0001", "taken")]
    assert custody["account"]["entered"] == "320000"


async def test_a_report_that_came_too_early_was_taken_after_the_one_before_it(played: Scene) -> None:
    reports = await played.world.all("integration", "/mes/reports", work_order="WO-5202")
    came = [each["sequence"] for each in sorted(reports, key=lambda each: each["received_at"])]
    assert came == [2, 1]
    assert {each["status"] for each in reports} == {"taken"}
    produced = [line for line in await timeline(played, (BOTTLES, "P2611-02")) if "BatchProduced" in line["event_type"]]
    assert [line["detail"]["sequence"] for line in sorted(produced, key=lambda line: line["said_at"])] == [1, 2]


# 2. scans at the dock


async def test_a_label_that_contradicts_the_record_changes_nothing_until_a_person_decides(played: Scene) -> None:
    (conflict,) = await played.world.all("receiving", "/conflicts")
    batch = await played.world.get("receiving", f"/batches/{played.people.batches['RM-0074-2552', 'L-7741']}")
    assert batch["batch"]["expires_on"] == conflict["existing"]["expires_on"] != conflict["claimed"]["expires_on"]
    assert (conflict["decision"], conflict["settled_by"]) == ("keep_existing", "sofia")
    assert conflict["reason"]
    assert [Decimal(receipt["quantity"]) for receipt in batch["receipts"]] == [100, 100]


async def test_goods_with_too_little_life_left_were_not_received(played: Scene) -> None:
    assert await played.world.all("receiving", "/batches", item_id="RM-0406-6040", batch_no="CR-8712") == []
    assert await played.world.all("inventory", "/stock", item_id="RM-0406-6040", batch_no="CR-8712") == []


# 3. put-away


async def test_batches_of_one_item_never_share_a_location(played: Scene) -> None:
    batches = defaultdict(set)
    for row in await played.world.all("inventory", "/stock", limit=500):
        if row["purpose"] in {"storage", "quarantine"}:
            batches[row["site_id"], row["location_id"], row["item_id"]].add(row["batch_no"])
    assert len(batches) > 20
    assert {place: some for place, some in batches.items() if len(some) > 1} == {}


async def test_cold_goods_stand_in_the_cold(played: Scene) -> None:
    rows = await played.world.all("inventory", "/stock", item_id="FG-0002-1401")
    stored = {row["location_id"] for row in rows if row["purpose"] == "storage"}
    assert stored
    assert all(location.startswith("C-") for location in stored)


# 4. inspection


async def test_what_the_inspector_decided_is_signed_and_the_signature_holds(played: Scene) -> None:
    batch = await played.world.get("receiving", f"/batches/{played.people.batches['FG-47049-008', 'C2611-03']}")
    (inspection,) = batch["inspections"]
    assert (Decimal(inspection["released"]), Decimal(inspection["rejected"])) == (2268, 162)
    assert inspection["signature"]["signer"] == "ivan"
    again = await played.world.get("receiving", f"/inspections/{inspection['inspection_id']}")
    assert again["signature_holds"] is True


async def test_rejected_goods_stand_apart_and_are_promised_to_nobody(played: Scene) -> None:
    rows = await played.world.all("inventory", "/stock", item_id="FG-47049-008", quality="rejected")
    assert [(row["purpose"], row["quantity"], row["usable"]) for row in rows] == [("rejected", "162", "0")]


# 5. demands


async def test_the_first_batches_to_expire_left_of_those_the_customer_accepts(played: Scene) -> None:
    told = await played.world.get("allocation", f"/demands/{played.demands[EXPLAINED]}/explanation")
    verdicts = [(row["batch_no"], Decimal(row["taken"]), row["code"]) for row in told["rows"]]
    assert verdicts == [
        ("P2605-07", 0, "too_few_days_left"),
        ("P2611-03", 0, "held"),
        ("P2611-04", 0, "pending"),
        ("P2611-01", 4800, None),
        ("P2611-02", 192, "not_needed"),
    ]
    replay = await played.world.get("allocation", f"/plans/{told['plan_id']}/replay")
    assert replay["equal"] is True


async def test_those_who_waited_were_served_when_stock_came_the_oldest_first(played: Scene) -> None:
    first, second = await demand(played, "SO-9004/20"), await demand(played, "SO-9003/30")
    assert (first["raised_at"], first["demand_id"]) < (second["raised_at"], second["demand_id"])
    assert (first["status"], second["status"]) == ("shipped", "shipped")
    decided = [
        (await played.world.get("allocation", f"/demands/{each['demand_id']}/explanation"))["plan_id"]
        for each in (first, second)
    ]
    assert decided == sorted(decided)  # UUIDv7: made in this order


async def test_a_withdrawn_demand_has_nothing(played: Scene) -> None:
    withdrawn = await demand(played, "SO-9107/10")
    assert (withdrawn["status"], Decimal(withdrawn["allocated"]), withdrawn["shares"]) == ("cancelled", 0, [])


# 6. picks and shipments


async def test_a_wrong_scan_moved_nothing(played: Scene) -> None:
    lines = await timeline(played, (BOTTLES, "P2611-01"))
    refused = [line for line in lines if line["event_type"] == "allocation.PickRefused"]
    picked = [
        movement
        for movement in await played.world.all(
            "inventory", "/movements", batch_id=played.people.batches[BOTTLES, "P2611-01"]
        )
        if movement["reason"] == "pick"
    ]
    assert [line["detail"]["verdict"] for line in refused] == ["wrong_batch", "wrong_item"]
    assert [movement["quantity"] for movement in picked] == ["4800"]


async def test_what_was_held_at_the_gate_stays_and_the_customer_gets_another_batch(played: Scene) -> None:
    held = played.people.batches["FG-0089-0175", "K-201"]
    refused = [
        line for line in await timeline(played, ("FG-0089-0175", "K-201")) if "IssueRefused" in line["event_type"]
    ]
    assert [line["detail"]["code"] for line in refused] == ["held"]
    staged = await played.world.all("inventory", "/stock", batch_id=held, location_id="STAGE", site_id="SZ1")
    assert [(row["quantity"], row["usable"]) for row in staged] == [("120", "0")]
    served = await played.world.get("allocation", f"/demands/{refused[0]['detail']['demand_id']}")
    assert served["status"] == "shipped"


# 7. traces


async def test_a_delivery_is_found_from_every_level_below_it(played: Scene) -> None:
    for batch in (RECALLED, ("BK-0006-0003", "TB2611-01"), (BOTTLES, "P2611-01")):
        graph = await played.world.get("trace", f"/batches/{played.people.batches[batch]}/downstream")
        assert EXPLAINED in {delivery["reference"] for delivery in graph["deliveries"]}, batch


async def test_a_bottle_leads_back_to_every_supplier(played: Scene) -> None:
    graph = await played.world.get("trace", f"/batches/{played.people.batches[BOTTLES, 'P2611-04']}/upstream")
    suppliers = {receipt["partner_id"] for receipt in graph["receipts"] if receipt["origin"] == "supplier"}
    assert suppliers == {"SU-ALDER", "SU-BIRCH", "SU-CEDAR"}


# 8. money


async def test_the_erp_booked_each_posting_once_and_both_books_agree(played: Scene) -> None:
    rows = await played.world.all("integration", "/postings", limit=500)
    assert {row["posting_id"] for row in rows} == {str(posting_id) for posting_id in played.erp.documents}
    assert {row["status"] for row in rows} == {"accepted"}
    for item in await played.world.all("integration", "/reconciliation", limit=100):
        assert item["holds"], item
        assert Decimal(item["value"]) == played.erp.value_of(item["item_id"]), item


async def test_what_is_valued_is_what_stands_in_the_warehouse_item_by_item(played: Scene) -> None:
    there: dict[str, Decimal] = defaultdict(Decimal)
    for row in await played.world.all("inventory", "/stock", limit=500):
        there[row["item_id"]] += Decimal(row["quantity"])
    valued = {
        item["item_id"]: Decimal(item["valued_quantity"])
        for item in await played.world.all("integration", "/reconciliation", limit=100)
    }
    assert len(there) > 10
    assert {item_id: quantity for item_id, quantity in valued.items() if quantity} == there


async def test_a_batch_without_a_price_was_unknown_and_then_revalued(played: Scene) -> None:
    batch_id = played.people.batches["FG-11532-3002", "V-4402"]
    rows = await played.world.all("integration", "/postings", batch_id=batch_id)
    assert [(row["kind"], row["value"] and Decimal(row["value"])) for row in rows] == [
        ("receipt", None),
        ("revaluation", Decimal(7800)),
    ]


# 9. the recall


async def test_the_recall_froze_all_that_is_left_and_names_all_who_have_some(played: Scene) -> None:
    recall = await played.world.get("trace", f"/recalls/{played.recall_id}")
    assert recall["progress"]["held"] == recall["progress"]["batches"] == 10
    assert {row["partner_id"] for row in recall["customers"]} == {"CU-NORTHLIGHT", "CU-KESTREL", "CU-LINDEN"}
    for batch in recall["batches"]:
        account = batch["account"]
        assert (account["unaccounted"], account["percent_accounted"]) == ("0", "100.00"), batch["batch"]["batch_no"]
        assert batch["frozen"] == account["on_hand"]


async def test_nobody_has_a_promise_on_a_recalled_batch(played: Scene) -> None:
    recall = await played.world.get("trace", f"/recalls/{played.recall_id}")
    recalled = {batch["batch"]["batch_no"] for batch in recall["batches"]}
    for reference in played.demands:
        promised = {share["batch_no"] for share in (await demand(played, reference))["shares"]}
        assert not promised & recalled, reference


async def test_what_was_picked_when_it_was_recalled_waits_for_a_person(played: Scene) -> None:
    picked = await demand(played, "SO-9005/10")
    assert [(share["batch_no"], share["location_id"]) for share in picked["stopped"]] == [("P2611-02", "STAGE")]
    assert [(share["batch_no"], Decimal(share["quantity"])) for share in picked["shares"]] == [("P2611-05", 1200)]


# what operators see


async def test_one_trace_runs_from_the_mes_through_all_five_services_to_the_posting(
    played: Scene, collector: Collector
) -> None:
    postings = await traces_of_postings(played)

    async def found() -> Trace | None:
        return next((each for each in traces(collector, postings) if each.roots == {REPORT} and each.is_whole()), None)

    trace = await played.world.until("a trace of a production report reached its posting", found)
    integration, receiving, inventory = "integration", "receiving", "inventory"
    assert trace.services == set(SERVICES)
    assert (inventory, "hear integration.MaterialConsumed") in trace.under((integration, REPORT))
    assert (receiving, "hear integration.ReceiptExpected") in trace.under((integration, REPORT))
    for listener in (integration, "allocation", "trace"):
        moved = (listener, "hear inventory.StockMoved")
        assert moved in trace.under((inventory, "hear integration.MaterialConsumed"))
    assert trace.posted_under == (integration, "hear inventory.StockMoved")


async def test_one_trace_runs_from_the_dock_to_the_posting_and_says_what_was_called_and_heard(
    played: Scene, collector: Collector
) -> None:
    postings = await traces_of_postings(played)
    wanted = {"receiving", "inventory", "allocation", "trace", "integration"}

    async def found() -> Trace | None:
        mine = (each for each in traces(collector, postings) if each.roots == {"POST /receipts"} and each.is_whole())
        return next((each for each in mine if each.services == wanted), None)

    trace = await played.world.until("a trace of a receipt reached its posting", found)
    chain = [
        ("receiving", "POST /receipts"),
        ("receiving", "do ReceiveGoods"),
        ("inventory", "hear receiving.BatchReceived"),
        ("integration", "hear inventory.StockMoved"),
    ]
    for parent, child in pairwise(chain):
        assert child in trace.under(parent), f"{child} is not below {parent}: {trace.under(parent)}"
    assert trace.posted_under == chain[-1]
    (call,) = trace.spans_of(chain[0])
    assert call.attributes == {
        "http.request.method": "POST",
        "http.route": "/receipts",
        "url.path": "/receipts",
        "http.response.status_code": 201,
    }
    heard = trace.spans_of(chain[2])[0].attributes
    assert heard["messaging.system"] == "kafka"
    assert heard["messaging.operation.type"] == "process"
    assert heard["messaging.destination.name"] == "receiving.batches.v1"
    assert {"messaging.message.id", "messaging.kafka.message.key", "messaging.kafka.offset"} < heard.keys()
    assert call.resource.items() >= {"service.name": "receiving", "service.namespace": "batchwise"}.items()


async def test_spans_carry_no_token_and_no_password_and_the_receiver_understood_all(
    played: Scene, collector: Collector
) -> None:
    assert len(collector.spans) > 1000
    assert collector.refused == []
    dsn = urlsplit(played.world.system.servers.postgres)
    secrets = [*played.world._tokens.values(), "Bearer ", *([dsn.password] if dsn.password else [])]
    assert len(secrets) > 5
    for secret in secrets:
        assert secret.encode() not in collector.raw


@now_only
async def test_the_page_names_every_metric_of_every_service_and_no_other(played: Scene) -> None:
    shown = await shown_metrics(played.world.system.urls)
    told = metric_rows()
    everywhere = told.pop("every service")
    assert set(told) == set(SERVICES)
    for service, families in shown.items():
        rows = everywhere | told[service]
        assert families.keys() - rows.keys() == set(), f"{service} shows what the page does not tell"
        assert rows.keys() - families.keys() == set(), f"the page tells of {service} what it does not show"
        for name, (_, labels) in rows.items():
            unit = rows[name][0]
            assert families[name].about, name
            assert families[name].labels in (None, labels), f"{service}: {name} has {families[name].labels}"
            for ending in ("seconds", "bytes"):
                assert (unit == ending) == (ending in name.split("_")), f"{name}: its unit is {unit}"
    seen = {name for families in shown.values() for name, each in families.items() if each.labels is not None}
    # What needs a trouble to be seen is seen in tests/operators.
    assert everywhere.keys() - seen <= {"delivery_events_ignored_total", "delivery_retries_total"}


@now_only
async def test_every_alarm_and_every_panel_asks_for_what_the_services_show(played: Scene) -> None:
    shown = await shown_metrics(played.world.system.urls)
    series = {name: labels for families in shown.values() for each in families.values() for name, labels in each.series}
    for asked in queries():
        metrics, grouped = selected(asked.query)
        for name, labels in metrics:
            if name == "up":
                continue
            assert name in series, f"{asked.where}: no service shows {name}"
            has = series[name] | TARGET_LABELS
            assert set(labels) <= has, f"{asked.where}: {name} has only {sorted(has)}"
        assert grouped - TARGET_LABELS <= set().union(*(series.get(name, set()) for name, _ in metrics)), asked.where


# and all together


async def test_everything_adds_up_in_every_service_and_between_them(played: Scene) -> None:
    assert await check_all(played) == 0


async def test_the_last_page_sees_when_two_books_differ(played: Scene) -> None:
    forgotten = next(posting for posting in played.erp.postings.values() if posting.value)
    del played.erp.postings[forgotten.posting_id]
    try:
        assert await check_all(played) == 1
    finally:
        played.erp.postings[forgotten.posting_id] = forgotten
