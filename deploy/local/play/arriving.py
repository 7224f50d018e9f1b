"""Goods in: the stage, production reports, scans, put-away, inspection."""

import asyncio
import datetime as dt
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from deploy.local.play.input import UNIT_WORDS, Produced, Purchase, label
from deploy.local.play.mes import SITE as MES_SITE
from deploy.local.play.mes import report_of
from deploy.local.play.people import Arrival, Standing, arrival_of, at_once
from deploy.local.play.scene import RECALLED, Scene
from deploy.local.play.telling import count, number

NONSENSE = b'{"messageId": "MES-0099", "workOrderId": "WO-5'
"""Half a message: the line went dead."""


async def set_the_stage(scene: Scene) -> None:
    """Sites and catalog, then all that suppliers brought before the story begins."""
    locations, (items, partners) = await asyncio.gather(scene.people.set_up_sites(), scene.people.import_catalog())
    given = scene.given
    for what, rows in (("items", items), ("partners", partners)):
        if rows["refused"]:
            raise scene.world.failed(f"the list of {what} was not taken whole: {rows}", "integration")
    scene.tell.say(
        f"{len(given.items)} items (package codes and sizes of the FDA's drug directory) and {len(given.partners)} "
        f"partners imported from CSV; {locations} locations at {len(given.sites)} sites "
        f"({', '.join(site.time_zone for site in given.sites)})."
    )
    filler = given.items[RECALLED[0]]
    factor = filler.units["XDR"]
    scene.tell.say(
        f"Units are exact fractions: a drum of {filler.item_id} is {factor.numerator}/{factor.denominator} kg; its "
        f"GTIN {filler.gtin} is built from NDC {filler.ndc}."
    )
    await scene.people.order(one for one in given.purchases if one.tells != "later")
    first = [one for one in given.purchases if one.tells not in {"later", "conflict", "refused"}]
    await deliver(scene, first)
    inspected = [one for one in first if one.item.inspected]
    await release_at_dock(scene, {one.key for one in inspected})
    await put_away_from_dock(scene, {one.key for one in first}, quality="released")
    suppliers = {one.supplier_id for one in first}
    scene.tell.say(
        f"{count(len({one.key for one in first}), 'batch', 'batches')} of {count(len(suppliers), 'supplier')} "
        f"received, {len(inspected)} of them inspected, all put away."
    )


async def deliver(scene: Scene, purchases: Iterable[Purchase]) -> None:
    """Supplier by supplier: wait for the announcement, then scan every line of the delivery."""
    deliveries: dict[tuple[str, str, dt.date], list[Purchase]] = {}
    for one in purchases:
        deliveries.setdefault((one.supplier_id, one.site_id, one.received_on), []).append(one)
    expected = await _expected_orders(scene, {one.reference for some in deliveries.values() for one in some})
    for (supplier_id, site_id, received_on), some in deliveries.items():
        lines = await scene.people.receive(
            [arrival_of(one, expected[one.reference]) for one in some],
            site_id=site_id,
            at=_at(received_on, 8) if received_on < scene.given.today else None,
            partner_id=supplier_id,
        )
        _all_received(scene, lines)


async def _expected_orders(scene: Scene, references: set[str]) -> dict[str, str]:
    rows = await scene.people.expected(
        lambda row: row["reference"] in references,
        len(references),
        f"{len(references)} purchase orders are expected at the dock",
    )
    return {row["reference"]: row["expected_receipt_id"] for row in rows}


def _all_received(scene: Scene, lines: Iterable[dict[str, Any]]) -> None:
    for line in lines:
        if line["outcome"] != "received":
            reasons = "; ".join(reason["text"] for reason in line["reasons"])
            raise scene.world.failed(f"batch {line['batch_no']!r} was not received: {reasons}", "receiving")


async def release_at_dock(scene: Scene, batches: set[tuple[str, str]]) -> None:
    """Wait until batches (item, number) stand pending at the dock, and release all of them."""
    standings = await scene.people.standing_at_dock(batches, quality="pending")
    await at_once(scene.people.inspect(standing) for standing in standings)


async def put_away_from_dock(scene: Scene, batches: set[tuple[str, str]], *, quality: str) -> dict[str, str]:
    """Wait until batches stand at the dock in `quality`, and put them away; where each batch number went."""
    return await scene.people.put_all_away(await scene.people.standing_at_dock(batches, quality=quality))


async def production_reports(scene: Scene) -> None:
    """Bulk, then what is packed from it; one report comes twice, one too early, one is half."""
    bulk = [one for one in scene.given.produced if one.level == "bulk"]
    packed = [one for one in scene.given.produced if one.level == "finished"]
    for one in bulk:
        await scene.mes.say(report_of(one))
    await _receive_produced(scene, bulk)
    keys = {one.key for one in bulk}
    await release_at_dock(scene, keys)
    await put_away_from_dock(scene, keys, quality="released")
    scene.tell.say(
        f"{count(len(bulk), 'report')} on the MES's topic: tablets and capsules in bulk, made from raw materials; "
        "received, released, put away."
    )
    scene.tell.say(f"{len(packed)} more follow: bottles and pouches, packed from the bulk.")
    for one in packed:
        await scene.mes.say(report_of(one))
        if one.tells == "late":
            await _waits_for_its_turn(scene, one)
    await _say_again(scene, next(one for one in bulk if one.tells == "duplicate"))
    await _stammer(scene)


async def _receive_produced(scene: Scene, produced: list[Produced]) -> None:
    wanted = {one.key for one in produced}
    left = await scene.people.expected(
        lambda row: row["origin"] == "production" and (row["item_id"], row["batch_no"]) in wanted,
        len(produced),
        f"{len(produced)} production reports are expected at the dock",
    )
    arrivals: dict[dt.date, list[Arrival]] = {}
    for one in produced:
        # Partial reports of one batch are expected each by itself, and their labels do not tell them apart.
        row = next(row for row in left if _announces(row, one))
        left.remove(row)
        arrivals.setdefault(one.made_on, []).append(arrival_of(one, row["expected_receipt_id"]))
    for made_on, some in sorted(arrivals.items()):
        _all_received(scene, await scene.people.receive(some, site_id=MES_SITE, at=_at(made_on, 20)))


def _announces(row: dict[str, Any], one: Produced) -> bool:
    return (row["item_id"], row["batch_no"]) == one.key and Decimal(row["quantity"]) == one.quantity


async def _waits_for_its_turn(scene: Scene, report: Produced) -> None:
    async def ask() -> bool:
        rows = await scene.world.all("integration", "/mes/reports", status="waiting")
        return any(row["message_id"] == report.message_id for row in rows)

    await scene.world.until(f"report {report.message_id} waits for the one before it", ask, service="integration")
    scene.tell.refused(
        f"{report.message_id} is number {report.sequence} of batch {report.batch_no} and came before number "
        f"{report.sequence - 1}: it waits, and is taken when that one has come."
    )


async def _say_again(scene: Scene, report: Produced) -> None:
    async def known() -> list[dict[str, Any]]:
        return await scene.world.all("integration", "/mes/reports", work_order=report.work_order)

    before = await known()
    await scene.mes.say(report_of(report))
    status, answer = await scene.world.attempt("integration", "/mes/production-reports", report_of(report), by="mei")
    if status != 200 or len(await known()) != len(before):
        raise scene.world.failed(f"{report.message_id} said again was answered {status}: {answer}", "integration")
    scene.tell.refused(
        f"{report.message_id} comes again, over the topic and over HTTP: already known, no second effect."
    )


async def _stammer(scene: Scene) -> None:
    await scene.mes.stammer(NONSENSE)

    async def ask() -> dict[str, Any] | None:
        rows = await scene.world.all("integration", "/parked", by="sofia", status="parked")
        return rows[0] if rows else None

    parked = await scene.world.until("half a message is parked", ask, service="integration")
    why = parked["error"].partition(", got ")[0]
    scene.tell.refused(f"Half a message comes: parked with its reason, not lost ({why}).")
    await scene.world.post(
        "integration", f"/parked/{parked['id']}/discard", {"reason": "line went dead, the MES sent it anew"}, by="sofia"
    )
    scene.discarded += 1


async def scans_at_the_dock(scene: Scene) -> None:
    """A good label, a torn one, goods too old, and a label that contradicts the record."""
    packed = [one for one in scene.given.produced if one.level == "finished"]
    one = packed[0]
    seen = await scene.world.post(
        "receiving",
        "/scans",
        {"scan": label(one.item, one.batch_no, made_on=one.made_on, expires_on=one.expires_on)},
        by="olivia",
    )
    scene.tell.say(
        f"Scan {seen['text']}: {seen['item']['name']}, in {UNIT_WORDS[seen['item']['unit']]}, batch "
        f"{seen['batch_no']}, made {seen['manufactured_on']}, expires {seen['expires_on']}."
    )
    torn = await scene.world.post("receiving", "/scans", {"scan": "01" + one.item.gtin[:13] + "9"}, by="olivia")
    if torn["verdict"] != "refused":
        raise scene.world.failed("a GTIN with a wrong check digit was accepted", "receiving")
    scene.tell.refused(f"A damaged label: {torn['reasons'][0]['text']}.")
    await _receive_produced(scene, packed)
    scene.tell.say(f"{count(len(packed), 'line')} received from production, pending at the dock.")
    await _too_old(scene)
    await _conflict(scene)


async def _too_old(scene: Scene) -> None:
    late = next(one for one in scene.given.purchases if one.tells == "refused")
    expected = await _expected_orders(scene, {late.reference})
    (line,) = await scene.people.receive(
        [arrival_of(late, expected[late.reference])], site_id=late.site_id, partner_id=late.supplier_id
    )
    if line["outcome"] != "refused":
        raise scene.world.failed(
            f"batch {late.batch_no!r} with too little life left was {line['outcome']}", "receiving"
        )
    scene.tell.refused(f"Batch {late.batch_no} refused at the door: {line['reasons'][0]['text']}.")


async def _conflict(scene: Scene) -> None:
    second = next(one for one in scene.given.purchases if one.tells == "conflict")
    expected = await _expected_orders(scene, {second.reference})
    (line,) = await scene.people.receive(
        [arrival_of(second, expected[second.reference])], site_id=second.site_id, partner_id=second.supplier_id
    )
    if line["outcome"] != "conflict":
        raise scene.world.failed(f"batch {second.batch_no!r} with another expiry was {line['outcome']}", "receiving")
    (waiting,) = await scene.world.all("receiving", "/conflicts", open="true")
    scene.tell.refused(
        f"Batch {second.batch_no} comes again and its label says it expires {waiting['claimed']['expires_on']}; on "
        f"record is {waiting['existing']['expires_on']}: nothing is received or overwritten."
    )
    reason = "supplier confirmed by letter: the first certificate is right, the second label is a misprint"
    settled = await scene.world.post(
        "receiving",
        f"/conflicts/{waiting['conflict_id']}/settlement",
        {"decision": "keep_existing", "reason": reason},
        by="sofia",
    )
    scene.tell.say(f"Sofia settles it, {settled['decision'].replace('_', ' ')}: {reason}.")


async def put_aways(scene: Scene) -> None:
    """A proposal with its reasons, a refusal, then all of it to quarantine."""
    packed = {one.key for one in scene.given.produced if one.level == "finished"}
    standings = await scene.people.standing_at_dock(packed, quality="pending")
    first, second = (one for one in standings if one.batch_no in {"P2611-01", "P2611-03"})
    proposal = await scene.people.proposal(first)
    why = Counter(other["code"] for other in proposal["passed_over"])
    place = await scene.people.put_away(first)
    elsewhere = ", ".join(f"{many} {code.replace('_', ' ')}" for code, many in why.items())
    scene.tell.say(
        f"{first.batch_no}, pending: {place} is proposed for {proposal['reason']}. Passed over: {elsewhere}."
    )
    status, refused = await scene.world.attempt(
        "inventory",
        "/put-aways",
        {
            "batch_id": second.batch_id,
            "site_id": second.site_id,
            "from_location_id": second.location_id,
            "to_location_id": place,
            "quality": second.quality,
            "quantity": second.quantity,
        },
        by="olivia",
    )
    if status != 409:
        raise scene.world.failed(f"two batches of an item went to {place}: answered {status}", "inventory")
    scene.tell.refused(f"Somebody puts {second.batch_no} there too: {refused['detail']}.")
    others = [one for one in standings if one.batch_id != first.batch_id]
    await scene.people.put_all_away(others)
    again = await scene.people.standing_at_dock({("RM-0074-2552", "L-7741")}, quality="pending")
    await at_once(scene.people.inspect(one) for one in again)
    await put_away_from_dock(scene, {("RM-0074-2552", "L-7741")}, quality="released")
    scene.tell.say(f"{count(len(standings), 'finished batch', 'finished batches')} stand in quarantine.")


async def inspections(scene: Scene) -> None:
    """Releases, one partial rejection, one batch left pending and one held."""
    packed = [one for one in scene.given.produced if one.level == "finished"]
    pending_on_purpose = {one.key for one in packed if one.tells == "pending"}
    broken = {one.key for one in packed if one.tells == "partly rejected"}
    held = next(one.key for one in packed if one.tells == "held")
    wanted = {one.key for one in packed}
    stock = await scene.people.stock(site_id="SZ1", quality="pending")
    due = [one for one in stock if (one.item_id, one.batch_no) in wanted - pending_on_purpose]
    signed: dict[str, Any] = {}
    for one in due:
        rejected = scene.given.items[one.item_id].in_base_units(Decimal(1), "XCS") if one.key in broken else Decimal(0)
        reason = "one case was crushed by a fork lift" if rejected else None
        answer = await scene.people.inspect(one, rejected=rejected, reason=reason)
        signed = answer if rejected else signed
    signature = signed["signature"]
    scene.tell.say(
        f"{count(len(due), 'batch', 'batches')} decided by {signature['signer_name']}; of C2611-03, "
        f"{number(signed['released'])} bottles released and {number(signed['rejected'])} rejected "
        f"({signed['reason']}); signed, record SHA-256 {signature['record_hash'][:16]}…"
    )
    decided = {one.batch_id for one in due}

    def settled(stock: list[Standing]) -> list[Standing] | None:
        theirs = [one for one in stock if one.batch_id in decided]
        return None if any(one.quality == "pending" for one in theirs) else theirs

    theirs = await scene.people.until_stock("what was decided is released or rejected", settled, site_id="SZ1")
    await scene.people.put_all_away([one for one in theirs if one.quality == "released"])
    fence = await scene.people.put_all_away([one for one in theirs if one.quality == "rejected"])
    scene.tell.say(f"Released goods go to the rack, rejected ones behind the fence, to {' and '.join(fence.values())}.")
    scene.held_batch = scene.people.batches[held]
    await scene.people.hold(scene.held_batch, "cap torque of line 2 is being looked at")
    scene.tell.say(f"Qiang of quality holds {held[1]}; P2611-04 is left pending.")


def _at(day: dt.date, hour: int) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(hour), dt.UTC)
