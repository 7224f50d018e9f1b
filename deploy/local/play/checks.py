"""The last page: whether what is left behind adds up, in every service and between them."""

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

from deploy.local.play.faults import StepFailed
from deploy.local.play.people import at_once
from deploy.local.play.scene import Scene
from deploy.local.play.telling import count, money, number

Finding = tuple[bool, str]
"""Whether a check holds, and its numbers; those that are wrong first."""

Quantities = dict[tuple[str, str], Decimal]
"""On hand, by item and batch id, in the base unit; nothing on hand is not listed."""


async def check_all(scene: Scene) -> int:
    """Tell each check with its numbers; returns how many did not come true."""
    checks: tuple[tuple[str, Callable[[Scene], Awaitable[Finding]]], ...] = (
        ("the ledger, added up again, is the balances", _ledger_is_balances),
        ("four services agree on every batch", _services_agree),
        ("promises = reservations, never more than there is", _promises_are_covered),
        ("each demand = shipped + promised + missing", _demands_add_up),
        ("nothing held, expired or rejected has left", _only_good_stock_left),
        ("each production report counted once", _reports_counted_once),
        ("each movement posted once, acknowledged once", _posted_once),
        ("Σ batch values = item values = the ERP's book", _values_agree),
        ("the recall accounts for every unit", _recall_is_complete),
        ("nothing is parked", _nothing_parked),
    )
    failed = 0
    scene.tell.step("✓", "Does it all add up?")
    for what, check in checks:
        scene.world.step = f"check: {what}"
        holds, numbers = await check(scene)
        scene.tell.check(holds, what, numbers)
        failed += not holds
    return failed


async def _ledger_is_balances(scene: Scene) -> Finding:
    found = await scene.world.post("inventory", "/checks", by="aiko")
    movements = await _movements(scene)
    if not found["holds"]:
        return False, f"{count(len(found['differences']), 'difference')}: {found['differences'][:2]}"
    return True, f"{count(len(movements), 'movement')} of {count(len(scene.given.items), 'item')}, 0 differences"


async def _services_agree(scene: Scene) -> Finding:
    sources = {"inventory": _in_inventory, "allocation": _in_allocation, "trace": _in_trace, "integration": _in_books}

    async def ask() -> dict[str, Quantities]:
        return {name: await source(scene) for name, source in sources.items()}

    async def agreed() -> dict[str, Quantities] | None:
        found = await ask()
        return found if all(each == found["inventory"] for each in found.values()) else None

    try:
        found = await scene.world.until("they agree", agreed, seconds=5)
    except StepFailed:
        found = await ask()
    ours = found["inventory"]
    names = {batch_id: batch_no for (_, batch_no), batch_id in scene.people.batches.items()}
    wrong = [
        f"{names.get(key[1], key[1])}: inventory {number(ours.get(key, 0))}, {name} {number(other.get(key, 0))}"
        for name, other in found.items()
        for key in sorted(ours.keys() | other.keys())
        if ours.get(key, Decimal(0)) != other.get(key, Decimal(0))
    ]
    if wrong:
        return False, "; ".join(wrong[:4])
    return True, f"{len(found)} books of {count(len(ours), 'batch', 'batches')} on hand"


async def _in_inventory(scene: Scene) -> Quantities:
    return _added((one.item_id, one.batch_id, one.quantity) for one in await scene.people.stock())


async def _in_allocation(scene: Scene) -> Quantities:
    shelves = await _shelves(scene)
    return _added(
        (item_id, str(row["batch_id"]), Decimal(row["on_hand"])) for item_id, rows in shelves.items() for row in rows
    )


async def _in_trace(scene: Scene) -> Quantities:
    pages = await at_once(
        scene.world.get("trace", f"/batches/{batch_id}/custody") for batch_id in scene.people.batches.values()
    )
    return _added(
        (page["batch"]["item_id"], str(page["batch"]["id"]), Decimal(page["account"]["on_hand"])) for page in pages
    )


async def _in_books(scene: Scene) -> Quantities:
    costs = await at_once(
        scene.world.get("integration", f"/batches/{batch_id}/cost") for batch_id in scene.people.batches.values()
    )
    return _added((cost["item_id"], str(cost["batch_id"]), Decimal(cost["quantity"])) for cost in costs)


def _added(rows: Any) -> Quantities:
    found: Quantities = defaultdict(Decimal)
    for item_id, batch_id, quantity in rows:
        found[item_id, batch_id] += quantity
    return {key: quantity for key, quantity in found.items() if quantity}


async def _shelves(scene: Scene) -> dict[str, list[dict[str, Any]]]:
    """Allocation's shelf of each item."""
    shelves = await at_once(
        scene.world.all("allocation", f"/items/{item_id}/availability") for item_id in scene.given.items
    )
    return dict(zip(scene.given.items, shelves, strict=True))


async def _promises_are_covered(scene: Scene) -> Finding:
    shelves = await _shelves(scene)
    reserved = _added(
        (item_id, str(row["batch_id"]), Decimal(row["reserved"])) for item_id, rows in shelves.items() for row in rows
    )
    demands = await _demands(scene)
    promised = _added(
        (demand["item_id"], str(share["batch_id"]), Decimal(share["quantity"]))
        for demand in demands
        for share in (*demand["shares"], *demand["stopped"])
    )
    over = [row for rows in shelves.values() for row in rows if Decimal(row["reserved"]) > Decimal(row["on_hand"])]
    if reserved != promised or over:
        unlike = sorted(key for key in reserved.keys() | promised.keys() if reserved.get(key) != promised.get(key))
        return False, f"reserved and promised differ for {unlike[:3]}; more than there is: {over[:2]}"
    return True, f"{count(len(promised), 'batch', 'batches')} promised, 0 beyond stock"


async def _demands(scene: Scene) -> list[dict[str, Any]]:
    return await at_once(scene.world.get("allocation", f"/demands/{each}") for each in scene.demands.values())


async def _demands_add_up(scene: Scene) -> Finding:
    demands = await _demands(scene)
    wrong = [
        demand["reference"]
        for demand in demands
        if demand["status"] != "cancelled"
        and Decimal(demand["wanted"]) != sum(Decimal(demand[part]) for part in ("shipped", "allocated", "missing"))
    ]
    status = Counter(demand["status"] for demand in demands)
    numbers = ", ".join(f"{many} {what.replace('_', ' ')}" for what, many in status.most_common())
    return not wrong, f"{'not so: ' + ', '.join(wrong) + '; ' if wrong else ''}{numbers}"


async def _movements(scene: Scene) -> list[dict[str, Any]]:
    ledgers = await at_once(
        scene.world.all("inventory", "/movements", item_id=item_id, limit=500) for item_id in scene.given.items
    )
    return [movement for ledger in ledgers for movement in ledger]


async def _only_good_stock_left(scene: Scene) -> Finding:
    issues = [movement for movement in await _movements(scene) if movement["reason"] == "issue"]
    expiries = {one.key: one.expires_on.isoformat() for one in scene.given.purchases}
    expiries |= {one.key: one.expires_on.isoformat() for one in scene.given.produced}
    names = {batch_id: key for key, batch_id in scene.people.batches.items()}
    holds: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for hold in await scene.world.all("inventory", "/holds", limit=500):
        holds[str(hold["batch_id"])].append(hold)
    never = {scene.held_batch, scene.refused_line}
    wrong = [f"movement {each['sequence']}" for each in issues if never & {str(each["batch_id"]), each["reference"]}]
    for issue in issues:
        key = names[str(issue["batch_id"])]
        at = issue["sequence"]
        held = any(
            hold["placed_sequence"] < at and (hold["lifted_sequence"] is None or hold["lifted_sequence"] > at)
            for hold in holds[str(issue["batch_id"])]
        )
        expired = expiries[key] < issue["effective_at"][:10]
        if held or expired or issue["from_place"]["quality"] != "released":
            wrong.append(f"{key[1]} (movement {at}{', held' if held else ''}{', expired' if expired else ''})")
    if wrong:
        return False, ", ".join(wrong)
    placed = sum(len(some) for some in holds.values())
    return True, f"{count(len(issues), 'issue')} against {count(placed, 'hold')}, by sequence"


async def _reports_counted_once(scene: Scene) -> Finding:
    reports = Counter(row["message_id"] for row in await scene.world.all("integration", "/mes/reports", limit=500))
    told = {one.message_id for one in scene.given.produced}
    made: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    used: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for one in scene.given.produced:
        made[one.key] += one.quantity
        for part in one.consumed:
            used[part.item.item_id, part.batch_no] += part.quantity
    wrong = [name for name in told if reports[name] != 1]
    for key in made.keys() | used.keys():
        page = await scene.world.get("trace", f"/batches/{scene.people.batches[key]}/custody")
        account = page["account"]
        whole = key not in made or Decimal(account["entered"]) == made[key]
        if Decimal(account["consumed"]) != used[key] or account["differences"] or not whole:
            wrong.append(key[1])
    numbers = f"{count(len(told), 'report')}, {count(len(made), 'batch', 'batches')} made from {len(used)}"
    return not wrong, f"not so: {', '.join(wrong)}" if wrong else numbers


async def _posted_once(scene: Scene) -> Finding:
    rows = await scene.world.all("integration", "/postings", limit=500)
    movements = [movement for movement in await _movements(scene) if _crosses_the_border(movement)]
    posted = Counter(str(row["movement_id"]) for row in rows if row["kind"] != "revaluation")
    twice = [movement_id for movement_id, many in posted.items() if many != 1]
    unlike = {str(movement["movement_id"]) for movement in movements} ^ posted.keys()
    unanswered = [row for row in rows if row["status"] != "accepted" or row["contradicted"]]
    strange = {str(row["posting_id"]) for row in rows} ^ {str(posting_id) for posting_id in scene.erp.documents}
    if twice or unlike or unanswered or strange:
        return False, (
            f"{len(twice)} twice, {len(unlike)} movements without or postings without a movement, "
            f"{len(unanswered)} not acknowledged, {len(strange)} not in both books"
        )
    return (
        True,
        f"{count(len(movements), 'movement')}, {count(len(rows), 'posting')}, {len(scene.erp.documents)} documents",
    )


def _crosses_the_border(movement: dict[str, Any]) -> bool:
    return not (movement["from_place"]["kind"] == movement["to_place"]["kind"] == "location")


async def _values_agree(scene: Scene) -> Finding:
    rows = await scene.world.all("integration", "/reconciliation", limit=100)
    wrong = [row["item_id"] for row in rows if not row["holds"] or row["unknown_cost_batches"]]
    total = Decimal(0)
    for row in rows:
        total += Decimal(row["value"])
        if Decimal(row["value"]) != scene.erp.value_of(row["item_id"]):
            wrong.append(f"{row['item_id']}: {row['value']} here, {scene.erp.value_of(row['item_id'])} in the ERP")
    if wrong:
        return False, "; ".join(wrong)
    return True, f"{count(len(rows), 'item')}, CNY {money(total)} in stock"


async def _recall_is_complete(scene: Scene) -> Finding:
    recall = await scene.world.get("trace", f"/recalls/{scene.recall_id}")
    wrong = [
        batch["batch"]["batch_no"]
        for batch in recall["batches"]
        if Decimal(batch["account"]["unaccounted"])
        or batch["account"]["percent_accounted"] != "100.00"
        or batch["account"]["differences"]
        or Decimal(batch["frozen"]) != Decimal(batch["account"]["on_hand"])
    ]
    customers = {row["partner_id"] for row in recall["customers"]}
    numbers = f"{count(len(recall['batches']), 'batch', 'batches')}, 100 %, {count(len(customers), 'customer')} to call"
    return not wrong, f"not so: {', '.join(wrong)}" if wrong else numbers


async def _nothing_parked(scene: Scene) -> Finding:
    parked = {
        service: await scene.world.all(service, "/parked", by="sofia", status="parked")
        for service in scene.world.system.services
    }
    wrong = [f"{service}: {rows[0]['error'][:120]}" for service, rows in parked.items() if rows]
    given_up = await scene.world.all("integration", "/parked", by="sofia", status="discarded")
    if wrong or len(given_up) != scene.discarded:
        return False, "; ".join(wrong) or f"{len(given_up)} discarded, {scene.discarded} planted"
    return True, f"{len(parked)} services; {scene.discarded} given up by a person"
