"""Where did it go, where did it come from: W9 over HTTP, on trace as a process of its own.

One raw batch goes into 10 production orders, their 10 semi-finished batches into 100 orders, their 100 finished batches
out in 100 deliveries.
"""

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from uuid import UUID, uuid4

import orjson

from bench import events
from bench.clients import Request, Result
from bench.figures import Figure, figure, percentiles
from bench.run import Run
from bench.stage import Stage
from contracts.allocation import ShipmentDispatched
from contracts.event import Event
from contracts.integration import BatchProduced, ConsumedBatch, MaterialConsumed
from contracts.inventory import MovementReason, StockMoved
from contracts.receiving import BatchReceived, BatchRegistered
from contracts.topics import BATCHES, CATALOG, OUTBOUND, RECEIPTS, STOCK
from contracts.values import BatchFacts, Origin, Place, PlaceKind, Quality
from delivery import new_id

WORKS = ("W9",)

_SEMI, _FINISHED_OF_EACH = 10, 10
_CALLS = 60


async def measure(run: Run) -> list[Figure]:
    """Every delivery of the raw batch, and from a finished batch back to the receipt."""
    async with Stage(run.servers, run.folder, "tracing", ["trace"]) as stage:
        story = _Story()
        deliveries = await story.tell(stage)
        async with stage.database("trace") as db:
            await db.execute("ANALYZE")  # as autovacuum does within a minute
        down = await _asked(stage, f"/batches/{story.raw}/downstream")
        back = await _asked(stage, f"/batches/{story.finished}/upstream")
    found = orjson.loads(down.bodies[-1])
    assert len(found["deliveries"]) == deliveries, f"{len(found['deliveries'])} deliveries of {deliveries}"
    origin = orjson.loads(back.bodies[-1])
    assert str(story.raw) in back.bodies[-1], f"the raw batch is not upstream: {origin}"
    figures = []
    for mark, what, result in (
        ("W9", f"every delivery of a raw batch over HTTP ({deliveries} deliveries, 111 batches), p50", down),
        ("W9-back", "from a finished batch back to the receipt over HTTP, p50", back),
    ):
        p50, p99 = percentiles(result)
        run.say(f"{mark}: p50 {p50:.2f} ms, worst {p99:.1f} ms, {len(result.bodies[-1]):,} bytes")
        figures.append(figure(mark, what, p50, "ms", at_most=5, places=2))
    return figures


async def _asked(stage: Stage, path: str) -> Result:
    asked = Request(method="GET", path=path)
    await stage.call("trace", [asked] * 20, user="aiko")
    return await stage.call("trace", [asked] * _CALLS, user="aiko", keep_bodies=True)


class _Story:
    """The batches and what happened to them, in the words of those who own it."""

    def __init__(self) -> None:
        self._ids: dict[tuple[str, str], UUID] = {}
        self.raw = self._id("RAW", "R0")
        self.finished = self._id("FINISHED", "F0-0")
        self._said: dict[str, list[Event]] = {"batches": [], "receipts": [], "stock": [], "outbound": []}

    def _id(self, item_id: str, batch_no: str) -> UUID:
        return self._ids.setdefault((item_id, batch_no), new_id())

    async def tell(self, stage: Stage) -> int:
        """Send it all and wait until trace has heard it; how many deliveries there are."""
        self._arrives("RAW", "R0", 1_000, Origin.SUPPLIER)
        deliveries = 0
        for s in range(_SEMI):
            self._makes("SEMI", f"S{s}", 100, [("RAW", "R0", 100)])
            for f in range(_FINISHED_OF_EACH):
                self._makes("FINISHED", f"F{s}-{f}", 10, [("SEMI", f"S{s}", 10)])
                self._leaves("FINISHED", f"F{s}-{f}", 10, f"C{deliveries:03}")
                deliveries += 1
        topics = {"batches": BATCHES, "receipts": RECEIPTS, "stock": STOCK, "outbound": OUTBOUND}
        catalog = events.load(CATALOG, [*events.partners(), *events.items(["RAW", "SEMI", "FINISHED"])])
        await stage.took("trace", catalog, *(events.load(topics[name], said) for name, said in self._said.items()))
        return deliveries

    def _facts(self, batch_no: str, origin: Origin) -> BatchFacts:
        supplier = events.SUPPLIER if origin is Origin.SUPPLIER else None
        return BatchFacts(batch_no=batch_no, origin=origin, supplier_id=supplier, expires_on=dt.date(2028, 6, 30))

    def _arrives(self, item_id: str, batch_no: str, quantity: int, origin: Origin) -> None:
        batch_id, facts = self._id(item_id, batch_no), self._facts(batch_no, origin)
        receipt_id, amount = uuid4(), Decimal(quantity)
        self._said["batches"] += [
            BatchRegistered(batch_id=batch_id, item_id=item_id, batch=facts, registered_at=events.EPOCH),
            BatchReceived(
                receipt_id=receipt_id,
                line_no=1,
                batch_id=batch_id,
                item_id=item_id,
                batch=facts,
                quantity=amount,
                unit="C62",
                entered_quantity=amount,
                entered_unit="C62",
                site_id=events.SITE,
                location_id="DOCK",
                quality=Quality.RELEASED,
                origin=origin,
                received_at=events.EPOCH,
            ),
        ]
        outside = PlaceKind.SUPPLIER if origin is Origin.SUPPLIER else PlaceKind.PRODUCTION
        self._moves(
            item_id, batch_no, quantity, Place(kind=outside), _DOCK, MovementReason.RECEIPT, f"{receipt_id}/1", origin
        )

    def _makes(self, item_id: str, batch_no: str, quantity: int, of: Sequence[tuple[str, str, int]]) -> None:
        report_id = uuid4()
        self._said["receipts"].append(
            BatchProduced(
                report_id=report_id,
                item_id=item_id,
                batch_no=batch_no,
                quantity=Decimal(quantity),
                unit="C62",
                site_id=events.SITE,
                work_order=f"WO-{batch_no}",
                sequence=1,
                final=True,
                manufactured_on=events.EPOCH.date(),
                started_at=events.EPOCH,
                ended_at=events.EPOCH,
                consumed=tuple(
                    ConsumedBatch(item_id=item, batch_no=number, quantity=Decimal(much), unit="C62")
                    for item, number, much in of
                ),
            )
        )
        for item, number, much in of:
            consumption_id = uuid4()
            self._said["receipts"].append(
                MaterialConsumed(
                    consumption_id=consumption_id,
                    report_id=report_id,
                    item_id=item,
                    batch_no=number,
                    quantity=Decimal(much),
                    unit="C62",
                    site_id=events.SITE,
                    into_item_id=item_id,
                    into_batch_no=batch_no,
                    work_order=f"WO-{batch_no}",
                    consumed_at=events.EPOCH,
                )
            )
            origin = Origin.SUPPLIER if item == "RAW" else Origin.PRODUCTION
            inside = Place(kind=PlaceKind.PRODUCTION)
            reference = str(consumption_id)
            self._moves(item, number, much, _DOCK, inside, MovementReason.CONSUMPTION, reference, origin)
        self._arrives(item_id, batch_no, quantity, Origin.PRODUCTION)

    def _leaves(self, item_id: str, batch_no: str, quantity: int, customer_id: str) -> None:
        line_id = uuid4()
        self._said["outbound"].append(
            ShipmentDispatched(
                shipment_id=uuid4(),
                line_id=line_id,
                demand_id=uuid4(),
                reference=f"SO-{customer_id}",
                customer_id=customer_id,
                site_id=events.SITE,
                item_id=item_id,
                batch_id=self._id(item_id, batch_no),
                batch_no=batch_no,
                location_id="DOCK",
                quantity=Decimal(quantity),
                unit="C62",
                dispatched_at=events.EPOCH,
            )
        )
        out = Place(kind=PlaceKind.CUSTOMER, partner_id=customer_id)
        reason = MovementReason.ISSUE
        self._moves(item_id, batch_no, quantity, _DOCK, out, reason, str(line_id), Origin.PRODUCTION)

    def _moves(
        self,
        item_id: str,
        batch_no: str,
        quantity: int,
        source: Place,
        target: Place,
        reason: MovementReason,
        reference: str,
        origin: Origin,
    ) -> None:
        self._said["stock"].append(
            StockMoved(
                movement_id=new_id(),
                sequence=1 + sum(1 for each in self._said["stock"] if each.key == item_id),
                item_id=item_id,
                batch_id=self._id(item_id, batch_no),
                batch=self._facts(batch_no, origin),
                quantity=Decimal(quantity),
                unit="C62",
                from_place=source,
                to_place=target,
                reason=reason,
                reference=reference,
                effective_at=events.EPOCH,
                recorded_at=events.EPOCH,
            )
        )


_DOCK = Place(kind=PlaceKind.LOCATION, site_id=events.SITE, location_id="DOCK", quality=Quality.RELEASED)
