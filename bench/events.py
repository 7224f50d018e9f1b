"""The messages and calls of the works: batches of 10 that expire 1 to 699 days after 2028-01-01, one site, one unit."""

import datetime as dt
import json
import random
from collections.abc import Sequence
from decimal import Decimal
from uuid import uuid4

from bench.clients import Request
from bench.stage import Load, Stage
from contracts.event import Event, Topic
from contracts.integration import DemandRaised, ItemDefined, PartnerDefined, PartnerRole
from contracts.inventory import MovementReason, StockMoved
from contracts.receiving import BatchReceived
from contracts.values import BatchFacts, Origin, Place, PlaceKind, Purpose, Quality, Strategy
from delivery import new_id
from delivery.envelope import Envelope

BATCH_QUANTITY = 10
LINE_QUANTITY = 7
SITE = "S1"
CUSTOMER = "CUST"
SUPPLIER = "SUP"
EPOCH = dt.datetime(2026, 11, 1, 8, 0, tzinfo=dt.UTC)


def load(topic: Topic, events: Sequence[Event]) -> Load:
    """Events in their envelopes."""
    messages = []
    for event in events:
        event_id = str(new_id())
        envelope = Envelope(
            event_id=event_id,
            type=event.event_type,
            source=f"batchwise/{topic.owner}",
            time=EPOCH,
            key=event.key,
            correlation_id=event_id,
            actor="bench",
        )
        messages.append((event.key.encode(), event.write(), envelope.headers()))
    return Load(topic, messages)


def partners() -> list[PartnerDefined]:
    """The one supplier and the one customer."""
    return [
        PartnerDefined(partner_id=SUPPLIER, name="Supplier", roles=(PartnerRole.SUPPLIER,), revision=1),
        PartnerDefined(partner_id=CUSTOMER, name="Customer", roles=(PartnerRole.CUSTOMER,), revision=1),
    ]


def items(names: Sequence[str]) -> list[ItemDefined]:
    """Items that need no inspection, counted in pieces."""
    return [
        ItemDefined(item_id=name, name=name, base_unit="C62", inspection_required=False, revision=1) for name in names
    ]


def a_key() -> str:
    """An Idempotency-Key that was never used."""
    return str(uuid4())


def expiry(chance: random.Random) -> dt.date:
    return dt.date(2028, 1, 1) + dt.timedelta(days=chance.randint(1, 699))


def stock(names: Sequence[str], batches: int, *, quantity: int = BATCH_QUANTITY, seed: int = 5) -> list[StockMoved]:
    """One receipt into storage for each batch of each item, the items' batches by turns."""
    chance = random.Random(seed)
    moved = []
    for b in range(batches):
        for n, item_id in enumerate(names):
            facts = BatchFacts(
                batch_no=f"B{n:03}-{b:05}",
                origin=Origin.SUPPLIER,
                supplier_id=SUPPLIER,
                manufactured_on=dt.date(2026, 10, 1),
                expires_on=expiry(chance),
                received_on=EPOCH.date() - dt.timedelta(days=chance.randint(0, 200)),
            )
            moved.append(
                StockMoved(
                    movement_id=new_id(),
                    sequence=b + 1,
                    item_id=item_id,
                    batch_id=new_id(),
                    batch=facts,
                    quantity=Decimal(quantity),
                    unit="C62",
                    from_place=Place(kind=PlaceKind.SUPPLIER, partner_id=SUPPLIER),
                    to_place=Place(
                        kind=PlaceKind.LOCATION,
                        site_id=SITE,
                        location_id=f"L{n:03}-{b:05}",
                        purpose=Purpose.STORAGE,
                        quality=Quality.RELEASED,
                    ),
                    reason=MovementReason.RECEIPT,
                    reference=f"{uuid4()}/1",
                    effective_at=EPOCH,
                    recorded_at=EPOCH,
                )
            )
    return moved


def demand(item_id: str, quantity: int, *, strategy: Strategy = Strategy.FEFO, nth: int = 0) -> DemandRaised:
    """One line that the ERP wants."""
    return DemandRaised(
        demand_id=new_id(),
        reference=f"SO-{new_id()}",
        customer_id=CUSTOMER,
        site_id=SITE,
        item_id=item_id,
        quantity=Decimal(quantity),
        unit="C62",
        needed_on=dt.date(2026, 12, 1),
        strategy=strategy,
        raised_at=EPOCH + dt.timedelta(seconds=nth),
    )


def orders(lines: int, names: Sequence[str], *, seed: int = 6) -> list[DemandRaised]:
    """Orders of 10 lines, each line of another item."""
    chance = random.Random(seed)
    return [
        demand(item_id, LINE_QUANTITY, nth=order)
        for order in range(lines // 10)
        for item_id in chance.sample(names, min(10, len(names)))
    ]


def reserve(item_id: str, *, quantity: int = LINE_QUANTITY, strategy: Strategy = Strategy.FEFO) -> Request:
    """The call of a planner who wants a line and its promise at once."""
    tomorrow = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=2)
    body = (
        f'{{"reference":"SO-{new_id()}","customer_id":"{CUSTOMER}","site_id":"{SITE}","item_id":"{item_id}",'
        f'"quantity":"{quantity}","unit":"C62","needed_on":"{tomorrow}","strategy":"{strategy.value}"}}'
    )
    return Request(path="/demands", body=body, key=a_key())


def scan(pick_id: str, item_id: str, batch_no: str) -> Request:
    """The scan of an operator at a pick, as typed."""
    body = f'{{"scan":{{"item_id":"{item_id}","batch_no":"{batch_no}"}},"to_location_id":"STAGE"}}'
    return Request(path=f"/picks/{pick_id}/scans", body=body, key=a_key())


async def build(stage: Stage) -> None:
    """Describe the one site to inventory: a dock, storage, and where goods wait to leave."""
    puts = [("", {"name": "Site", "time_zone": "UTC"})]
    for purpose, location in (("receiving", "DOCK"), ("storage", "A-01"), ("staging", "STAGE")):
        puts.append((f"/zones/{purpose}", {"name": purpose, "purpose": purpose}))
        puts.append((f"/locations/{location}", {"zone_id": purpose}))
    requests = [
        Request(method="PUT", path=f"/sites/{SITE}{path}", body=json.dumps(body), key=a_key()) for path, body in puts
    ]
    await stage.call("inventory", requests, user="sofia")


def arrivals(names: Sequence[str], batches: int, *, mark: str, seed: int = 7) -> list[BatchReceived]:
    """New batches over some items, 100 lines a receipt, as receiving says them."""
    chance = random.Random(seed)
    arrived = []
    receipt_id = uuid4()
    for n in range(batches):
        if n % 100 == 0:
            receipt_id = uuid4()
        facts = BatchFacts(
            batch_no=f"{mark}-{n:06}",
            origin=Origin.SUPPLIER,
            supplier_id=SUPPLIER,
            manufactured_on=dt.date(2026, 10, 1),
            expires_on=expiry(chance),
            received_on=EPOCH.date(),
        )
        arrived.append(
            BatchReceived(
                receipt_id=receipt_id,
                line_no=n % 100 + 1,
                batch_id=new_id(),
                item_id=names[n % len(names)],
                batch=facts,
                quantity=Decimal(BATCH_QUANTITY),
                unit="C62",
                entered_quantity=Decimal(BATCH_QUANTITY),
                entered_unit="C62",
                site_id=SITE,
                location_id="DOCK",
                quality=Quality.RELEASED,
                origin=Origin.SUPPLIER,
                partner_id=SUPPLIER,
                received_at=EPOCH,
            )
        )
    return arrived


def receipt(item_id: str, batch_no: str, *, expected_receipt_id: str | None = None) -> Request:
    """A receipt of one line, a new batch, at the dock."""
    expects = f',"expected_receipt_id":"{expected_receipt_id}"' if expected_receipt_id else ""
    body = (
        f'{{"site_id":"{SITE}","partner_id":"{SUPPLIER}","reference":"PO-{batch_no}","lines":[{{"item_id":"{item_id}",'
        f'"batch_no":"{batch_no}","quantity":"{BATCH_QUANTITY}","unit":"C62","manufactured_on":"2026-10-01",'
        f'"expires_on":"2028-06-30"{expects}}}]}}'
    )
    return Request(path="/receipts", body=body, key=a_key())
