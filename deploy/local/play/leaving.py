"""Goods out: demands and promises, picks and shipments."""

import asyncio
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from typing import Any

from deploy.local.play.arriving import deliver, put_away_from_dock, release_at_dock
from deploy.local.play.erp import demand_of
from deploy.local.play.input import Wanted
from deploy.local.play.people import STAGE, at_once
from deploy.local.play.scene import Scene
from deploy.local.play.telling import count, number

EXPLAINED = "SO-9001/10"
"""The demand whose allocation is told in full."""

_GATE_TRIES = 6


async def demands_and_promises(scene: Scene) -> None:
    """All demands by their three ways in; one explained, two short until stock comes, one withdrawn."""
    wanted = scene.given.wanted
    await promisable(scene)
    for one in wanted:
        if one.raised_by == "erp topic":
            await scene.erp.raise_demand(one)
    await _allocated(scene, [one for one in wanted if one.raised_by == "erp topic"])
    for one in wanted:
        if one.raised_by == "erp http":
            await scene.world.post("integration", "/demands", demand_of(one), by="mei")
    await _allocated(scene, [one for one in wanted if one.raised_by == "erp http"])
    for one in wanted:
        if one.raised_by == "planner":
            scene.demands[one.reference] = (await scene.people.raise_by_hand(one))["demand_id"]
    who = Counter(one.raised_by for one in wanted)
    promised = [await scene.people.until_demand(one.reference, "is known") for one in wanted]
    short = [each for each in promised if Decimal(each["missing"])]
    scene.tell.say(
        f"{count(len(wanted), 'demand')}: {who['erp topic']} on the ERP's topic, {who['erp http']} over HTTP, "
        f"{who['planner']} by the planner; {len(promised) - len(short)} promised whole, {len(short)} short."
    )
    await _explain(scene, EXPLAINED)
    for each in short:
        scene.tell.refused(
            f"{each['reference']}: {number(each['missing'])} of {number(each['wanted'])} pouches are short; it waits."
        )
    await _stock_arrives(scene, [each["reference"] for each in short])
    await _withdraw(scene)


async def promisable(scene: Scene) -> None:
    """Wait until allocation has heard of all stock that the story asks for, and of the holds on it."""
    items = {one.item.item_id for one in scene.given.wanted}

    async def heard(item_id: str) -> bool:
        names = ("batch_id", "site_id", "location_id", "quality")
        stock, shelf = await asyncio.gather(
            scene.world.all("inventory", "/stock", item_id=item_id),
            scene.world.all("allocation", f"/items/{item_id}/availability"),
        )
        there = {tuple(row[name] for name in names): (Decimal(row["quantity"]), bool(row["holds"])) for row in stock}
        known = {
            tuple(row[name] for name in names): (
                Decimal(row["on_hand"]),
                any(why.startswith("held") for why in row["why_not"]),
            )
            for row in shelf
            if Decimal(row["on_hand"])
        }
        return there == known

    async def ask() -> bool:
        return all(await at_once(heard(item_id) for item_id in items))

    await scene.world.until("allocation has heard of every movement and hold", ask, service="allocation")


async def _allocated(scene: Scene, wanted: list[Wanted]) -> None:
    for one in wanted:
        demand = await scene.people.until_demand(one.reference, "is known to allocation")
        scene.demands[one.reference] = demand["demand_id"]


async def _explain(scene: Scene, reference: str) -> None:
    wanted = next(one for one in scene.given.wanted if one.reference == reference)
    told = await scene.world.get("allocation", f"/demands/{scene.demands[reference]}/explanation")
    rule = next(rule for rule in scene.given.partners[wanted.customer_id].rules if rule.item_id is None)
    scene.tell.say(
        f"{scene.given.name_of(wanted.customer_id)} wants {number(wanted.quantity)} trays "
        f"({number(wanted.item.in_base_units(wanted.quantity, wanted.unit))} bottles), with {rule.min_days} days "
        "left; first expired leaves first:"
    )
    rows = [
        (
            row["batch_no"],
            str(row["sort_keys"].get("use_by") or "–"),
            number(Decimal(row["taken"]) + Decimal(row["not_taken"])),
            number(row["taken"]) if Decimal(row["taken"]) else "–",
            "first to expire of those it may have" if row["reason"] is None else row["reason"],
        )
        for row in told["rows"]
    ]
    scene.tell.table(("batch", "expires", "free", "taken", "why"), rows, right=("free", "taken"))
    replay = await scene.world.get("allocation", f"/plans/{told['plan_id']}/replay")
    if not replay["equal"]:
        raise scene.world.failed(f"plan {told['plan_id']} replayed is another plan", "allocation")
    scene.tell.say("The plan, replayed from its recorded inputs, is the same.")


async def _stock_arrives(scene: Scene, references: list[str]) -> None:
    later = [one for one in scene.given.purchases if one.tells == "later"]
    await scene.people.order(later)
    await deliver(scene, later)
    keys = {one.key for one in later}
    await release_at_dock(scene, keys)
    for reference in references:
        await scene.people.until_demand(reference, "is served", lambda demand: not Decimal(demand["missing"]))
    await put_away_from_dock(scene, keys, quality="released")
    scene.tell.say(
        f"{later[0].batch_no} arrives and is released: both are served at once, the older first, while it still "
        "stands at the dock; the promises move with it to the rack."
    )


async def _withdraw(scene: Scene) -> None:
    unwanted = next(one for one in scene.given.wanted if one.then == "withdraw")
    await scene.world.post(
        "integration",
        f"/demands/{scene.demands[unwanted.reference]}/withdrawal",
        {"reason": "the customer ordered twice"},
        by="mei",
    )
    await scene.people.until_demand(unwanted.reference, "is cancelled", lambda demand: demand["status"] == "cancelled")
    scene.tell.say(f"{unwanted.reference} is withdrawn by the ERP: what it had is free again.")


async def picks_and_shipments(scene: Scene) -> None:
    """Wrong scans, then all picks and shipments, and a truck that quality stops at the gate."""
    leaving = [one for one in scene.given.wanted if one.then in {"ship", "short"}]
    staging = [one for one in scene.given.wanted if one.then == "stage"]
    await _wrong_scans(scene)
    picked = await scene.people.pick_all(scene.demands[one.reference] for one in (*leaving, *staging))
    await scene.people.until_staged(picked)
    scene.tell.say(f"{count(len(picked), 'pick')} scanned to {STAGE}.")
    orders: dict[tuple[str, str], list[Wanted]] = {}
    for one in leaving:
        orders.setdefault((one.customer_id, one.site_id), []).append(one)
    shipments = [
        await scene.people.ship(customer_id, site_id, [scene.demands[one.reference] for one in some])
        for (customer_id, site_id), some in orders.items()
    ]
    for shipment in shipments:
        if not await scene.people.dispatch(shipment["shipment_id"]):
            raise scene.world.failed(f"shipment {shipment['shipment_id']} may not ask at the gate", "allocation")
    for one in leaving:
        await scene.people.until_demand(one.reference, "has left", lambda demand: demand["status"] == "shipped")
    scene.tell.say(
        f"{count(len(shipments), 'shipment')} with {count(len(leaving), 'demand')} for "
        f"{count(len({one.customer_id for one in leaving}), 'customer')} passed the gate."
    )
    await _held_at_the_gate(scene)


async def _wrong_scans(scene: Scene) -> None:
    picks = await scene.people.picks([scene.demands[EXPLAINED]])
    pick = next(pick for pick in picks if pick["batch_no"] == "P2611-01")
    scans = (("another batch of it", pick["item_id"], "P2611-02"), ("another item", "FG-47049-008", "C2611-01"))
    for what, item_id, batch_no in scans:
        verdict = await scene.people.scan_at_pick(pick, batch_no, item_id=item_id)
        if verdict["verdict"] == "accepted":
            raise scene.world.failed(f"{batch_no} was accepted where {pick['batch_no']} is promised", "allocation")
        scene.tell.refused(f"Scanned at the pick of {pick['batch_no']}, {what}: {verdict['reason']}.")


async def _held_at_the_gate(scene: Scene) -> None:
    """A hold that comes while the truck stands at the gate. Who is first is not ours to say, so it may need a try."""
    late = next(one for one in scene.given.wanted if one.then == "late hold")
    reference = late.reference
    for _ in range(_GATE_TRIES):
        demand_id = scene.demands[reference]
        picks = await scene.people.pick_all([demand_id])
        await scene.people.until_staged(picks)
        shipment = await scene.people.ship(late.customer_id, late.site_id, [demand_id])
        batch_id, batch_no = picks[0]["batch_id"], picks[0]["batch_no"]
        asks, hold = await asyncio.gather(
            scene.people.dispatch(shipment["shipment_id"]),
            scene.people.hold(batch_id, "a customer reports a leaking valve"),
        )
        line = await _gate_spoke(scene, shipment["shipment_id"])
        if asks and line["status"] == "stopped":
            break
        # The truck had left already, or allocation knew of the hold. Let the batch go, and try with another demand.
        await scene.world.post(
            "inventory",
            f"/holds/{hold['hold_id']}/lift",
            {"reason": "held for the demo, at the wrong moment"},
            by="qiang",
        )
        reference = f"{late.reference}-{len(scene.demands)}"
        await promisable(scene)
        again = await scene.people.raise_by_hand(replace(late, reference=reference))
        scene.demands[reference] = again["demand_id"]
    else:
        raise scene.world.failed(f"{_GATE_TRIES} times a hold came too late for the gate", "inventory")
    scene.refused_line = line["line_id"]
    scene.tell.refused(
        f"A truck with {batch_no} asks to leave while quality holds it. The gate refuses: {line['reason']}."
    )
    replaced = await scene.people.until_demand(
        reference, "has another batch", lambda demand: not Decimal(demand["missing"])
    )
    again_picked = await scene.people.pick_all([demand_id])
    await scene.people.until_staged(again_picked)
    shipment = await scene.people.ship(late.customer_id, late.site_id, [demand_id])
    await scene.people.dispatch(shipment["shipment_id"])
    await scene.people.until_demand(reference, "has left", lambda demand: demand["status"] == "shipped")
    scene.tell.say(
        f"Planned anew at once: {number(replaced['wanted'])} of {again_picked[0]['batch_no']} leave instead."
    )


async def _gate_spoke(scene: Scene, shipment_id: str) -> dict[str, Any]:
    async def ask() -> dict[str, Any] | None:
        shipment = await scene.world.get("allocation", f"/shipments/{shipment_id}")
        (line,) = shipment["lines"]
        return line if line["status"] not in {"dispatching", "picked"} else None

    return await scene.world.until("the gate lets a line pass or refuses it", ask, service="allocation")
