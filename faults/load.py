"""The load: what each actor does with its plan, through public doors only, for as long as it is let."""

import asyncio
import datetime as dt
import json
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from contracts.topics import BATCHES, DEMANDS, ERP_ACKNOWLEDGEMENTS, ERP_DEMANDS, MES_REPORTS, OUTBOUND, RECEIPTS, STOCK
from delivery import new_id
from deploy.local.play.input import Consumed, Produced, label
from deploy.local.play.mes import report_of
from faults import plan
from faults.callers import Callers
from faults.journal import Journal
from faults.outside import Echo, Wire
from faults.plan import SITE, Care, Delivery, Manner, Order, Production


@dataclass(slots=True)
class Load:
    """Every actor, and what they know of each other's goods. `now` is the services' clock."""

    seed: int
    callers: Callers
    wire: Wire
    echo: Echo
    now: Callable[[], dt.datetime]
    stored: list[tuple[str, str]] = field(default_factory=list)
    material: list[tuple[str, str]] = field(default_factory=list)
    recalled: int = 0

    @property
    def journal(self) -> Journal:
        """What they remember."""
        return self.callers.journal

    @property
    def today(self) -> dt.date:
        """Which day it is at the main site."""
        return (self.now() + dt.timedelta(hours=8)).date()

    async def run(self, *, hands: int, clerks: int) -> None:
        """Play until the callers are told to stop; returns when all of them were told everything.

        `hands` receive and put away, `clerks` raise demands and ship, beside the MES, quality, and who sends nonsense.
        """
        actors: list[Awaitable[None]] = [
            *(self._each(plan.deliveries(self.seed, f"hand{n}"), self._deliver, f"hand{n}") for n in range(hands)),
            *(self._each(plan.orders(self.seed, f"clerk{n}"), self._order, f"clerk{n}") for n in range(clerks)),
            *(self._each(plan.productions(self.seed, f"line{n}"), self._produce, f"line{n}") for n in range(2)),
            *(
                self._each(plan.cares(self.seed, actor, what, pause), self._care, actor)
                for actor, what, pause in (
                    ("quality", ("hold", "hold", "hold", "item"), (0.5, 2.0)),
                    ("recaller", ("recall",), (15.0, 30.0)),
                    ("nonsense", ("malformed",), (2.0, 6.0)),
                    ("echo", ("repeat",), (0.1, 0.5)),
                )
            ),
        ]
        await asyncio.gather(*actors)

    async def _each(self, deeds: Iterable[Any], do: Callable[[str, Any], Awaitable[None]], actor: str) -> None:
        for deed in deeds:
            if self.callers.stopping.is_set():
                return
            await do(actor, deed)
            await self.callers.pause(deed.pause)

    # --- goods in

    async def _deliver(self, actor: str, goods: Delivery) -> None:
        made_on = self.today - dt.timedelta(days=goods.made_ago)
        expires_on = self.today + dt.timedelta(days=goods.expires_in)
        expected = await self._announce(actor, goods) if goods.announced else None
        line = {
            "expected_receipt_id": expected,
            "scan": label(goods.item, goods.batch_no, made_on=made_on, expires_on=expires_on),
            "quantity": goods.quantity,
            "unit": goods.unit,
        }
        await self._receive(
            actor, goods.site_id, [line], goods.manner, partner_id=goods.supplier_id, rejected=goods.rejected,
            then=goods.then, material=goods.item.kind == "raw",
        )  # fmt: skip

    async def _announce(self, actor: str, goods: Delivery) -> str | None:
        body = {
            "origin": "supplier",
            "item_id": goods.item.item_id,
            "quantity": goods.quantity,
            "unit": goods.unit,
            "site_id": goods.site_id,
            "due_on": self.today,
            "partner_id": goods.supplier_id,
            "reference": goods.reference,
            "unit_cost": goods.unit_cost,
            "currency": None if goods.unit_cost is None else "CNY",
        }
        call = await self.callers.do(
            actor, "integration", "expected receipt", "/expected-receipts", body, by="mei", manner=goods.manner
        )
        return await self._until_expected(call.answer["expected_receipt_id"]) if call.done else None

    async def _until_expected(self, expected_receipt_id: str) -> str | None:
        async def ask() -> str | None:
            found = await self.callers.get("receiving", f"/expected-receipts/{expected_receipt_id}")
            return expected_receipt_id if found else None

        return await self.callers.until(ask)

    async def _receive(
        self,
        actor: str,
        site_id: str,
        lines: list[dict[str, Any]],
        manner: Manner,
        *,
        partner_id: str | None = None,
        rejected: Decimal = Decimal(0),
        then: tuple[str, ...] = (),
        material: bool = False,
    ) -> None:
        """Goods stand at the dock: receive, inspect, put away, and whatever is planned for them then."""
        plain = [{name: value for name, value in line.items() if value is not None} for line in lines]
        call = await self.callers.do(
            actor,
            "receiving",
            "receipt",
            "/receipts",
            {"site_id": site_id, "location_id": "DOCK", "partner_id": partner_id, "lines": plain},
            by="olivia",
            manner=manner,
        )
        for line in call.answer["lines"] if call.done else ():
            if line["outcome"] != "received":
                continue
            batch_id, quantity = line["batch_id"], Decimal(line["quantity"])
            if line["quality"] == "pending":
                await self._inspect(actor, site_id, batch_id, quantity, rejected, manner)
            if material and rejected < 1:
                self.material.append((line["item_id"], line["batch_no"]))
            await self._put_away(actor, site_id, batch_id, manner)
            for deed in then:
                await self._then(actor, deed, site_id, batch_id)
            self.stored.append((site_id, batch_id))

    async def _inspect(
        self, actor: str, site_id: str, batch_id: str, quantity: Decimal, rejected: Decimal, manner: Manner
    ) -> None:
        bad = (quantity * rejected).quantize(Decimal(1))
        body = {
            "batch_id": batch_id,
            "site_id": site_id,
            "released": quantity - bad,
            "rejected": bad,
            "reason": "seals of some were broken" if bad else None,
        }
        await self.callers.do(actor, "receiving", "inspection", "/inspections", body, by="ivan", manner=manner)

    async def _standing(self, batch_id: str, **query: Any) -> list[dict[str, Any]]:
        return await self.callers.all("inventory", "/stock", batch_id=batch_id, **query)

    async def _put_away(self, actor: str, site_id: str, batch_id: str, manner: Manner) -> None:
        async def ask() -> list[dict[str, Any]] | None:
            rows = await self._standing(batch_id, site_id=site_id, location_id="DOCK")
            return rows if rows and all(row["quality"] != "pending" for row in rows) else None

        for row in await self.callers.until(ask) or ():
            asked = {name: row[name] for name in ("batch_id", "site_id", "quality", "quantity")}
            where = await self.callers.get(
                "inventory", "/put-away/proposals", by="olivia", from_location_id="DOCK", **asked
            )
            if where is not None and where["proposed"]:
                body = asked | {"from_location_id": "DOCK", "to_location_id": where["proposed"]}
                await self.callers.do(
                    actor, "inventory", "put-away", "/put-aways", body, by="olivia", manner=manner
                )  # fmt: skip

    async def _then(self, actor: str, deed: str, site_id: str, batch_id: str) -> None:
        """One of the things that happen to stock. What is refused (it may be promised away by now) is an answer too."""
        dice = random.Random(f"{actor}/{batch_id}")
        rows = [row for row in await self._standing(batch_id, site_id=site_id) if row["location_id"] != "STAGE"]
        if not rows:
            return
        row = dice.choice(rows)
        quantity = Decimal(row["quantity"])
        part = (quantity * Decimal(dice.choice(("0.1", "0.5", "1")))).quantize(Decimal("0.01")) or quantity
        body: dict[str, Any]
        spot = {"batch_id": batch_id, "site_id": site_id, "location_id": row["location_id"], "quality": row["quality"]}
        match deed:
            case "transfer" | "reverse":
                moved = await self._transfer(actor, row, part)
                if deed == "reverse" and moved is not None:
                    body = {"movement_id": moved, "reason": "carried the wrong pallet"}
                    await self._do(actor, "reversal", "/reversals", body, "sofia")
            case "hold":
                await self._hold(actor, batch_id, site_id if dice.random() < 0.5 else None, keep=False)
            case "count":
                body = {**spot, "item_id": row["item_id"], "counted": quantity, "reason": "cycle count"}
                await self._do(actor, "adjustment", "/adjustments", body, "sofia")
            case "adjust":
                delta = dice.choice((Decimal(2), Decimal("-0.5"), Decimal(-1)))
                body = {**spot, "item_id": row["item_id"], "delta": delta, "reason": "recounted with a colleague"}
                await self._do(actor, "adjustment", "/adjustments", body, "sofia")
            case "status":
                other = "rejected" if row["quality"] == "released" else "released"
                body = {
                    "batch_id": batch_id,
                    "site_id": site_id,
                    "location_id": row["location_id"],
                    "quantity": min(part, Decimal(2)),
                    "from_quality": row["quality"],
                    "to_quality": other,
                    "reason": "looked at again",
                }
                await self._do(actor, "status change", "/status-changes", body, "qiang")

    async def _do(self, actor: str, kind: str, path: str, body: dict[str, Any], by: str) -> Any:
        call = await self.callers.do(actor, "inventory", kind, path, body, by=by)
        return call.answer if call.done else None

    async def _transfer(self, actor: str, row: dict[str, Any], quantity: Decimal) -> str | None:
        asked = {name: row[name] for name in ("batch_id", "site_id", "quality")}
        where = await self.callers.get(
            "inventory", "/put-away/proposals", by="olivia", from_location_id=row["location_id"],
            quantity=quantity, **asked,
        )  # fmt: skip
        if where is None or not where["proposed"]:
            return None
        body = {**asked, "from_location_id": row["location_id"], "to_location_id": where["proposed"]}
        moved = await self._do(actor, "transfer", "/transfers", body | {"quantity": quantity}, "olivia")
        return None if moved is None else moved["movement_id"]

    async def _hold(self, actor: str, batch_id: str, site_id: str | None, *, keep: bool) -> None:
        body = {"batch_id": batch_id, "site_id": site_id, "kind": "manual", "reason": "a sample is looked at again"}
        hold = await self._do(actor, "hold", "/holds", {k: v for k, v in body.items() if v is not None}, "qiang")
        if hold is None or keep:
            return
        await self.callers.pause(random.Random(batch_id).uniform(0, 3))
        body = {"reason": "the sample was good"}
        await self._do(actor, "lifted hold", f"/holds/{hold['hold_id']}/lift", body, "qiang")

    # --- goods out

    async def _order(self, actor: str, order: Order) -> None:
        demand_id = await (self._raise_by_erp(order) if order.by_erp else self._raise_by_hand(actor, order))
        if demand_id is None or order.fate == "leave":
            return
        if order.fate == "cancel":
            await self._cancel(actor, order, demand_id)
            return
        picks = await self._pick(actor, order, demand_id)
        if picks and order.fate == "ship":
            await self._ship(actor, order, demand_id)

    def _wanted(self, order: Order) -> dict[str, Any]:
        return {
            "reference": order.reference,
            "customer_id": order.customer_id,
            "site_id": order.site_id,
            "item_id": order.item.item_id,
            "quantity": str(order.quantity),
            "unit": order.item.base_unit,
            "needed_on": str(self.today + dt.timedelta(days=order.needed_in)),
            "strategy": order.strategy,
        }

    async def _raise_by_hand(self, actor: str, order: Order) -> str | None:
        call = await self.callers.do(
            actor, "allocation", "demand", "/demands", self._wanted(order), by="pavel", manner=order.manner
        )
        return call.answer["demand_id"] if call.done else None

    async def _raise_by_erp(self, order: Order) -> str | None:
        body = self._wanted(order)
        self.journal.demands[order.reference] = body
        for _ in range(2 if order.said_twice else 1):
            await self.wire.say(ERP_DEMANDS.name, order.item.item_id.encode(), json.dumps(body).encode())
        self.journal.done["erp demands said"] += 1

        async def ask() -> str | None:
            page = await self.callers.get("allocation", "/demands", reference=order.reference)
            return page["items"][0]["demand_id"] if page and page["items"] else None

        return await self.callers.until(ask)

    async def _cancel(self, actor: str, order: Order, demand_id: str) -> None:
        if order.by_erp:
            path, service, kind = f"/demands/{demand_id}/withdrawal", "integration", "withdrawal"
        else:
            path, service, kind = f"/demands/{demand_id}/cancellation", "allocation", "cancellation"
        await self.callers.do(
            actor, service, kind, path, {"reason": "the customer cancelled"}, by="mei", manner=order.manner
        )

    async def _pick(self, actor: str, order: Order, demand_id: str) -> list[str]:
        async def ask() -> list[dict[str, Any]] | None:
            return await self.callers.all("allocation", "/picks", demand_id=demand_id, status="open") or None

        accepted = []
        for pick in await self.callers.until(ask, seconds=8) or ():
            if order.wrong_scan:
                await self._scan(actor, order, pick, "NO-SUCH-LOT")
            verdict = await self._scan(actor, order, pick, pick["batch_no"])
            if verdict == "accepted":
                accepted.append(pick["pick_id"])
        return accepted

    async def _scan(self, actor: str, order: Order, pick: dict[str, Any], batch_no: str) -> str | None:
        body = {"scan": label(order.item, batch_no), "to_location_id": "STAGE"}
        call = await self.callers.do(
            actor, "allocation", "scan", f"/picks/{pick['pick_id']}/scans", body, by="olivia", manner=order.manner
        )
        return call.answer["verdict"] if call.done else None

    async def _ship(self, actor: str, order: Order, demand_id: str) -> None:
        body = {"customer_id": order.customer_id, "site_id": order.site_id, "demand_ids": [demand_id]}
        made = await self.callers.do(
            actor, "allocation", "shipment", "/shipments", body, by="olivia", manner=order.manner
        )
        if made.done:
            await self.callers.do(
                actor,
                "allocation",
                "dispatch",
                f"/shipments/{made.answer['shipment_id']}/dispatch",
                {},
                by="olivia",
                manner=order.manner,
            )

    # --- production

    async def _produce(self, actor: str, lot: Production) -> None:
        if not self.material:
            return
        dice = random.Random(lot.work_order)
        raw_id, raw_no = dice.choice(self.material)
        made_on = self.today - dt.timedelta(days=1)
        pieces = [
            Produced(
                message_id=f"MES-{lot.batch_no}-{number}",
                work_order=lot.work_order,
                level="finished",
                item=lot.item,
                batch_no=lot.batch_no,
                sequence=number,
                final=number == len(lot.pieces),
                made_on=made_on,
                expires_on=made_on + dt.timedelta(days=lot.expires_in),
                quantity=quantity,
                unit=lot.item.base_unit,
                conversion_cost=Decimal("125.50"),
                consumed=(Consumed(plan.ITEMS[raw_id], raw_no, lot.consumed),),
                tells="",
            )
            for number, quantity in enumerate(lot.pieces, start=1)
        ]
        for piece in reversed(pieces) if lot.swapped else pieces:
            report = report_of(piece)
            self.journal.reports[piece.message_id] = report
            for _ in range(2 if lot.said_twice else 1):
                await self.wire.say(MES_REPORTS.name, lot.batch_no.encode(), json.dumps(report).encode())
            self.journal.done["production reports said"] += 1
        wanted = {(str(piece.quantity), index) for index, piece in enumerate(pieces)}

        async def ask() -> list[dict[str, Any]] | None:
            rows = await self.callers.all("receiving", "/expected-receipts", item_id=lot.item.item_id, open="true")
            found = [row for row in rows if row["batch_no"] == lot.batch_no]
            return found if len(found) >= len(wanted) else None

        for row in await self.callers.until(ask) or ():
            line = {
                "expected_receipt_id": row["expected_receipt_id"],
                "scan": label(lot.item, lot.batch_no, made_on=made_on, expires_on=pieces[0].expires_on),
                "quantity": Decimal(row["quantity"]),
                "unit": row["unit"],
            }
            await self._receive(actor, SITE, [line], lot.manner)

    # --- quality, and those who send nonsense

    async def _care(self, actor: str, care: Care) -> None:
        match care.what:
            case "hold" if self.stored:
                site_id, batch_id = self.stored[int(care.draw * len(self.stored))]
                await self._hold(actor, batch_id, site_id if care.draw < 0.5 else None, keep=care.keep)
            case "item":
                await self._describe_again(actor, care)
            case "recall" if self.material:
                await self._recall(actor, care)
            case "malformed":
                await self._talk_nonsense(care)
            case "repeat":
                await self.echo.repeat(care.draw)

    async def _describe_again(self, actor: str, care: Care) -> None:
        item = list(plan.ITEMS.values())[int(care.draw * len(plan.ITEMS))]
        body = {
            "name": item.name,
            "base_unit": item.base_unit,
            "units": [
                {"unit": unit, "numerator": factor.numerator, "denominator": factor.denominator}
                for unit, factor in item.units.items()
            ],
            "gtins": [{"gtin": item.gtin, "unit": item.label_unit}],
            "shelf_life_days": item.shelf_life_days,
            "near_expiry_days": int(care.draw * 1_000) % 30,
            "inspection_required": item.inspected,
        }
        await self.callers.do(
            actor, "integration", "item", f"/items/{item.item_id}", body, by="mei", method="PUT", manner=care.manner
        )

    async def _recall(self, actor: str, care: Care) -> None:
        item_id, batch_no = self.material[int(care.draw * len(self.material))]
        body = {"item_id": item_id, "batch_no": batch_no, "reason": "a supplier's notice"}
        opened = await self.callers.do(actor, "trace", "recall", "/recalls", body, by="qiang", manner=care.manner)
        if not opened.done:
            return
        recall = f"/recalls/{opened.answer['recall_id']}"
        if care.keep:
            return
        await self.callers.pause(4)
        for service, kind, path, what in (
            ("trace", "lifted recall", f"{recall}/lift", {"batch_id": opened.answer["batch_id"]}),
            ("trace", "closed recall", f"{recall}/close", {}),
        ):
            await self.callers.do(actor, service, kind, path, what | {"reason": "it was another lot"}, by="qiang")

    async def _talk_nonsense(self, care: Care) -> None:
        """A message that nobody can understand, or of a type that nobody knows; under a key of its own."""
        topic, body, headers = NONSENSE[int(care.draw * len(NONSENSE))]
        known = "batchwise.Whatever" not in dict(headers).get("ce_type", "")
        key = f"{'malformed' if known else 'unheard'}/{new_id()}"
        (self.journal.malformed if known else self.journal.unheard).add(key)
        told = [(name, value.replace("NEW-ID", str(new_id())).replace("KEY", key).encode()) for name, value in headers]
        await self.wire.say(topic, key.encode(), body, told)
        self.journal.done["messages that nobody understands"] += 1


def _envelope(event_type: str) -> tuple[tuple[str, str], ...]:
    return (
        ("ce_specversion", "1.0"),
        ("ce_id", "NEW-ID"),
        ("ce_source", "batchwise/somebody"),
        ("ce_type", event_type),
        ("ce_time", "2026-01-01T00:00:00+00:00"),
        ("ce_subject", "KEY"),
    )


NONSENSE: tuple[tuple[str, bytes, tuple[tuple[str, str], ...]], ...] = (
    (MES_REPORTS.name, b'{"source": "MES", "messageId": "half a', ()),
    (MES_REPORTS.name, b"\xff\x00\xfe", ()),
    (ERP_DEMANDS.name, b'{"reference": "SO-X/1", "quantity": 1.5}', ()),
    (ERP_ACKNOWLEDGEMENTS.name, b'{"posting_id": "00000000-0000-7000-8000-000000000000", "accepted": true}', ()),
    (BATCHES.name, b"{}", ()),
    (BATCHES.name, b'{"batch_id": 7}', _envelope("receiving.BatchReceived")),
    (STOCK.name, b"not even JSON", _envelope("inventory.StockMoved")),
    (OUTBOUND.name, b'{"pick_id": null}', _envelope("allocation.PickConfirmed")),
    (RECEIPTS.name, b"[]", _envelope("integration.ReceiptExpected")),
    (DEMANDS.name, b"", ()),
    (STOCK.name, b"{}", _envelope("batchwise.Whatever")),
    (OUTBOUND.name, b'{"a": 1}', _envelope("batchwise.Whatever")),
)
"""Topic, body and headers of messages that are parked by all who hear their type; of an unknown type by nobody."""
