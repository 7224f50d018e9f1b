"""Each comparison of the oracle can fail: the smallest world that holds, and one thing changed in it at a time."""

import copy
import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from contracts.topics import TOPICS
from deploy.local.processes import SERVICES
from faults.journal import Call, Journal
from faults.oracle import judge
from faults.oracle.seen import _DELIVERY, _TABLES, HEARS, Heard, Seen

AT = dt.datetime(2026, 11, 23, 18, tzinfo=dt.UTC)
ITEM, BATCH, MOVEMENT, POSTING, HOLD = "FG-01", "b-1", "m-1", "p-1", "h-1"
STOCK = "inventory.stock.v1"

World = dict[tuple[str, str], list[dict[str, Any]]]


class Small:
    """Ten of one batch came from a supplier, were valued and posted; a person held them once and let them go."""

    def __init__(self) -> None:
        self.rows: World = {(service, table): [] for service in SERVICES for table in (*_TABLES[service], *_DELIVERY)}
        self.records: list[Heard] = []
        self.journal = Journal()
        self.values = {ITEM: Decimal(50)}
        self.documents = {POSTING: "49000001"}
        spot = {"site_id": "SZ1", "location_id": "A-1", "quality": "released"}
        batch = {"item_id": ITEM, "batch_id": BATCH}
        self.put(
            "inventory", "movement", **batch, movement_id=MOVEMENT, sequence=1, quantity=Decimal(10),
            from_kind="supplier", from_site_id=None, from_location_id=None, from_quality=None, to_kind="location",
            to_site_id="SZ1",
            to_location_id="A-1", to_quality="released", reason="receipt", reference="r-1/1", effective_at=AT,
            recorded_at=AT, reverses=None,
        )  # fmt: skip
        self.put("inventory", "balance", **batch, **spot, quantity=Decimal(10))
        self.put("inventory", "batch", **batch, batch_no="L1", expires_on=dt.date(2027, 1, 1))
        self.put("inventory", "site", site_id="SZ1", time_zone="Asia/Shanghai")
        self.put("inventory", "item_sequence", item_id=ITEM, last=3)
        self.put("inventory", "booking", kind="receipt", reference="r-1/1")
        self.put(
            "inventory", "hold", **batch, hold_id=HOLD, kind="manual", site_id=None, location_id=None, reference=None,
            placed_sequence=2, lifted_sequence=3,
        )  # fmt: skip
        self.put("receiving", "receipt", receipt_id="r-1")
        self.put("receiving", "received", **batch, receipt_id="r-1", line_no=1, site_id="SZ1", quantity=Decimal(10))
        self.put("receiving", "batch", **batch, batch_no="L1", expires_on=dt.date(2027, 1, 1))
        self.put("allocation", "shelf", **batch, **spot, free=Decimal(4), held=False)
        self.put("allocation", "item", item_id=ITEM, revision=0, sequence=3)
        self.put("allocation", "hold", hold_id=HOLD, batch_id=BATCH, kind="manual", lifted=True)
        self.put(
            "allocation", "demand", demand_id="d-1", reference="SO-1", item_id=ITEM, quantity=Decimal(8),
            missing=Decimal(2), cancelled=False,
        )  # fmt: skip
        self.put(
            "allocation", "reservation", **batch, **spot, reservation_id="v-1", demand_id="d-1", quantity=Decimal(6),
            status="promised", shipment_id=None, line_id=None,
        )  # fmt: skip
        self.put("trace", "movement", **batch, movement_id=MOVEMENT, sequence=1, quantity=Decimal(10))
        self.put("trace", "custody", **batch, **spot, kind="location", quantity=Decimal(10))
        self.put("trace", "receipt", receipt_id="r-1", line_no=1, batch_id=BATCH, quantity=Decimal(10))
        self.put("trace", "hold", hold_id=HOLD, batch_id=BATCH, lifted=True)
        self.put("integration", "ledger_batch", **batch, batch_no="L1", quantity=Decimal(10), sequence=1)
        self.put(
            "integration", "batch_value", **batch, batch_no="L1", quantity=Decimal(10), value=Decimal(50), unknown=False
        )
        self.put(
            "integration", "posting", **batch, posting_id=POSTING, kind="receipt", quantity=Decimal(10),
            value=Decimal(50), movement_id=MOVEMENT, movement_sequence=1,
        )  # fmt: skip
        self.put("integration", "receipt_line", reference="r-1/1", batch_id=BATCH, quantity=Decimal(10))
        self.put("integration", "acknowledgement", posting_id=POSTING, accepted=True, counts=True, erp_document="4")
        moved = {"movement_id": MOVEMENT, "item_id": ITEM, "sequence": 1, "batch_id": BATCH}
        line = {"receipt_id": "r-1", "line_no": 1, "batch_id": BATCH, "item_id": ITEM}
        self.say("receiving.BatchRegistered", batch_id=BATCH, item_id=ITEM)
        self.say("receiving.BatchReceived", **line)
        self.say("inventory.StockMoved", **moved)
        self.say("inventory.HoldPlaced", hold_id=HOLD, item_id=ITEM, sequence=2)
        self.say("inventory.HoldLifted", hold_id=HOLD, item_id=ITEM, sequence=3)
        self.say("integration.CostPosted", posting_id=POSTING, item_id=ITEM)
        self.tell("receiving", "receipt", {"receipt_id": "r-1"})
        self.tell("inventory", "hold", {"hold_id": HOLD})
        self.tell("inventory", "lifted hold", {"hold_id": HOLD})
        self.tell("allocation", "demand", {"demand_id": "d-1"})

    def put(self, service: str, table: str, **row: Any) -> None:
        self.rows[service, table].append(row)

    def say(self, event_type: str, **body: Any) -> None:
        topic = next(topic.name for topic in TOPICS for event in topic.events if event.event_type == event_type)
        event_id = str(uuid4())
        offset = sum(record.topic == topic for record in self.records)
        self.records.append(Heard(topic, 0, offset, ITEM, {"ce_id": event_id, "ce_type": event_type}, body))
        owner = event_type.partition(".")[0]
        self.put(owner, "said", id=len(self.records), topic=topic, key=ITEM, event_id=event_id, event_type=event_type)
        for service in SERVICES:
            if event_type in HEARS[service]:
                self.put(service, "inbox", event_id=event_id)

    def tell(self, service: str, kind: str, answer: dict[str, Any]) -> None:
        key = f"somebody-{len(self.journal.calls)}"
        self.journal.calls.append(Call(key, service, kind, "POST", "/", "olivia", {}, 201, answer, b"{}", 1))
        self.put(service, "answer", caller="olivia", idempotency_key=key, status=201, body=b"{}")

    def differences(self) -> dict[str, list[str]]:
        seen = Seen(AT, self.journal, self.rows, self.records, self.values, self.documents)
        return {verdict.title: [*verdict.differences] for verdict in judge(seen) if verdict.differences}


def test_a_world_in_which_everything_adds_up_has_no_difference() -> None:
    assert Small().differences() == {}


def _set(service: str, table: str, **changed: Any) -> Callable[[Small], None]:
    return lambda world: world.rows[service, table][0].update(changed)


def _drop(service: str, table: str) -> Callable[[Small], None]:
    return lambda world: world.rows[service, table].__delitem__(0)


def _twice(service: str, table: str) -> Callable[[Small], None]:
    return lambda world: world.rows[service, table].append(copy.copy(world.rows[service, table][0]))


def _issue(**changed: Any) -> Callable[[Small], None]:
    def issue(world: Small) -> None:
        row = world.rows["inventory", "movement"][0]
        world.put(
            "inventory", "movement",
            **row | {
                "movement_id": "m-2", "sequence": 4, "reason": "issue", "reference": "line-1", "from_kind": "location",
                "from_site_id": "SZ1", "from_location_id": "A-1", "from_quality": "released", "to_kind": "customer",
                "to_site_id": None, "to_location_id": None, "to_quality": None,
            } | changed,
        )  # fmt: skip

    return issue


def _swapped(world: Small) -> None:
    """Two events of a key change places on their topic."""
    first, second = (
        place
        for place, record in enumerate(world.records)
        if record.type in ("inventory.HoldPlaced", "inventory.HoldLifted")
    )
    one, other = world.records[first], world.records[second]
    world.records[first] = Heard(one.topic, 0, one.offset, other.key, other.headers, other.body)
    world.records[second] = Heard(other.topic, 0, other.offset, one.key, one.headers, one.body)


def _not_on_topic(world: Small) -> None:
    world.records = [record for record in world.records if record.type != "inventory.StockMoved"]


def _under_another_key(world: Small) -> None:
    place, moved = next((n, r) for n, r in enumerate(world.records) if r.type == "inventory.StockMoved")
    world.records[place] = Heard(moved.topic, 0, moved.offset, "FG-02", moved.headers, moved.body)


def _untold(world: Small) -> None:
    world.journal.calls[0].status = None


def _malformed(world: Small) -> None:
    world.records.append(Heard(STOCK, 1, 0, "malformed/1", {}, None))


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (_untold, "receiving never answered receipt somebody-0"),
        (_set("receiving", "answer", status=409), "receiving keeps the answer 409 to receipt"),
        (_drop("receiving", "receipt"), "receipt r-1: 1 times told to its caller, 0 times there"),
        (_twice("receiving", "receipt"), "receipt r-1: 1 times told to its caller, 2 times there"),
        (_set("inventory", "movement", reason="transfer"), "movement m-1: 0 times told to its caller, 1 times there"),
        (
            _set("inventory", "balance", quantity=Decimal(20)),
            "item FG-01 batch b-1 at SZ1/A-1/released: the ledger folds to 10, the balance is 20",
        ),
        (_set("allocation", "shelf", free=Decimal(5)), "inventory has 10, allocation has 11"),
        (_set("trace", "custody", quantity=Decimal(9)), "inventory has 10, trace has 9"),
        (_set("integration", "batch_value", quantity=Decimal(9)), "inventory has 10, integration values 9"),
        (_set("integration", "batch_value", value=Decimal(49)), "its postings are worth 50, the batch is worth 49"),
        (lambda world: world.values.update({ITEM: Decimal(51)}), "worth 50 by our postings, 51 in the ERP's book"),
        (
            _set("allocation", "demand", missing=Decimal(3)),
            "demand SO-1 of item FG-01: 6 promised or shipped and 3 missing of 8",
        ),
        (_set("allocation", "reservation", quantity=Decimal(12)), "12 promised, 10 there"),
        (_issue(), "at SZ1/A-1/released: the ledger folds to 0, the balance is 10"),
        (_twice("integration", "posting"), "movement m-1: 1 times in the ledger over the border, 2 times posted"),
        (_drop("integration", "acknowledgement"), "1 documents in the ERP, 0 acknowledgements"),
        (_not_on_topic, "inventory announced inventory.StockMoved"),
        (_under_another_key, "is about 'FG-01' and stands under the key 'FG-02'"),
        (_swapped, "of key 'FG-01' was announced after"),
        (_drop("trace", "inbox"), "trace never took receiving.BatchRegistered"),
        (_twice("trace", "movement"), "1 times in inventory's ledger, 2 times in trace"),
        (
            _drop("inventory", "booking"),
            "receipt line ('r-1/1',): 1 times in receiving, 0 times in inventory's bookings",
        ),
        (_set("inventory", "hold", placed_sequence=3, lifted_sequence=4), "the number 2 is given 0 times"),
        (_set("allocation", "item", sequence=2), "inventory stands at 3, allocation at 2"),
        (_malformed, "should be parked 1 times and is 0 times"),
        (_issue(sequence=3, recorded_at=AT + dt.timedelta(days=90)), "left on 2027-02-22 although it expired on"),
        (_issue(from_quality="rejected"), "left although it was rejected"),
        (_set("inventory", "batch", expires_on=dt.date(2026, 11, 23)), "10 stand at SZ1 on 2026-11-24 unlocked"),
    ],
)
def test_one_wrong_thing_is_one_sentence_that_names_it(spoil: Callable[[Small], None], found: str) -> None:
    world = Small()
    spoil(world)
    sentences = [sentence for some in world.differences().values() for sentence in some]
    assert [sentence for sentence in sentences if found in sentence], sentences


def test_what_left_under_a_hold_is_named_by_its_numbers() -> None:
    world = Small()
    world.rows["inventory", "hold"][0].update(lifted_sequence=None)
    _issue()(world)
    assert any(
        "number 4 left under the manual hold h-1, open from number 2 to now" in sentence
        for some in world.differences().values()
        for sentence in some
    )
