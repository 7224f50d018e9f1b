"""What is known afterwards: traces, postings, and a recall."""

import time
from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import partial
from typing import Any

from rich.text import Text
from rich.tree import Tree

from deploy.local.play.input import UNIT_WORDS
from deploy.local.play.people import at_once
from deploy.local.play.scene import RECALLED, Scene
from deploy.local.play.telling import count, money, number

HAZARD = "supplier's notice: herbicide (haloxyfop) found in the filler, as in FDA recall F-0904-2020"

TOLD = frozenset(
    {
        "integration.BatchProduced",
        "receiving.BatchReceived",
        "receiving.BatchInspected",
        "allocation.DemandAllocated",
        "allocation.PickConfirmed",
        "allocation.ShipmentDispatched",
    }
)
"""Which kinds of lines of a timeline are shown here."""


async def traces(scene: Scene) -> None:
    """The genealogy both ways as trees, and the timeline of a batch."""
    await _trace_caught_up(scene)
    scene.tell.say("Upstream of P2611-04, to its suppliers (what each gave):")
    scene.tell.tree(_drawn(await _tree(scene, ("FG-15725-204", "P2611-04"), "up")))
    scene.tell.say(f"Downstream of {RECALLED[1]}, to the customers (what each took):")
    scene.tell.tree(_drawn(await _tree(scene, RECALLED, "down")))
    path = f"/batches/{scene.people.batches['FG-15725-204', 'P2611-01']}/timeline"
    lines = await scene.world.all("trace", path, limit=500)
    scene.tell.say(f"Of the {count(len(lines), 'line')} in the timeline of P2611-01:")
    told = [line for line in lines if line["event_type"] in TOLD or " issued " in line["sentence"]]
    scene.tell.table(("day", "who", "what"), [(line["at"][:10], line["actor"], line["sentence"]) for line in told])


async def _tree(scene: Scene, batch: tuple[str, str], direction: str) -> dict[str, Any]:
    path = f"/batches/{scene.people.batches[batch]}/tree"
    found: dict[str, Any] = await scene.world.get("trace", path, direction=direction)
    return found


def _drawn(branch: dict[str, Any], tree: Tree | None = None) -> Tree:
    here = Tree(_named(branch), guide_style="dim") if tree is None else tree.add(_named(branch))
    for _, some in _grouped(branch["branches"], lambda each: str(each["id"])):
        # Partial reports of one batch are one branch here.
        taken = sum((Decimal(each["quantity"]) for each in some), Decimal(0))
        _drawn({**some[0], "quantity": str(taken)}, here)
    for name, some in _grouped(branch["deliveries"], lambda row: row["partner_name"] or row["partner_id"]):
        left = sum((Decimal(row["quantity"]) for row in some), Decimal(0))
        here.add(Text(f"→ {name}  {number(left)} {UNIT_WORDS[some[0]['unit']]}", style="green"))
    return here


def _named(branch: dict[str, Any]) -> Text:
    """A batch, how much went along the branch to it, and who sent it to us."""
    text = Text(branch["batch_no"], style="bold")
    text.append(f"  {branch['item_id']}", style="dim")
    if branch["quantity"]:
        text.append(f"  {number(branch['quantity'])} {UNIT_WORDS[branch['unit']]}")
    if branch["elsewhere"] and branch["branches"]:
        text.append("  (as above)", style="dim")
    senders = {row["partner_name"] for row in branch["receipts"] if row["partner_name"]}
    if senders:
        text.append(f"  from {' and '.join(sorted(senders))}", style="green")
    return text


async def _trace_caught_up(scene: Scene) -> None:
    """Wait until trace's custody is inventory's stock, for every batch of the story."""

    async def ask() -> bool:
        stock: dict[str, Decimal] = {}
        for one in await scene.people.stock():
            stock[one.batch_id] = stock.get(one.batch_id, Decimal(0)) + one.quantity
        pages = await at_once(scene.world.find("trace", f"/batches/{each}") for each in scene.people.batches.values())
        return all(
            page is not None and Decimal(page["account"]["on_hand"]) == stock.get(str(page["batch"]["id"]), Decimal(0))
            for page in pages
        )

    await scene.world.until("trace has heard of every movement", ask, service="trace")


async def postings(scene: Scene) -> None:
    """What the ERP got to book, kind by kind, and what it is worth."""
    await _all_acknowledged(scene)
    await _learn_a_cost(scene)
    rows = await _all_acknowledged(scene)
    kinds = ("receipt", "production", "consumption", "issue", "revaluation")
    by_kind = dict(_grouped(rows, lambda row: row["kind"]))
    listed = [(kind, by_kind[kind]) for kind in (*kinds, *(by_kind.keys() - {*kinds})) if kind in by_kind]
    columns = ("posting", "count", "value CNY", "acknowledged", "valued later")
    scene.tell.table(columns, [_posted(*each) for each in (*listed, ("Σ", rows))], right=columns[1:])
    scene.tell.say(
        "A posting whose cost is not known yet says so, and a revaluation brings the value when it is: topics are not "
        "ordered against each other, and an invoice may come last."
    )


def _posted(kind: str, rows: list[dict[str, Any]]) -> tuple[str, ...]:
    return (
        kind,
        number(len(rows)),
        money(sum((Decimal(row["value"]) for row in rows if row["value"] is not None), Decimal(0))),
        number(sum(row["status"] == "accepted" for row in rows)),
        number(sum(row["value"] is None for row in rows)),
    )


async def _learn_a_cost(scene: Scene) -> None:
    unpriced = next(one for one in scene.given.purchases if one.unit_cost is None)
    batch_id = scene.people.batches[unpriced.key]
    await scene.world.put(
        "integration",
        f"/batches/{batch_id}/cost",
        {"unit_cost": "6.50", "currency": "CNY", "reason": "the supplier's invoice came"},
        by="mei",
    )
    scene.tell.say(
        f"{unpriced.batch_no} came without a price: unknown, not zero. The invoice says 6.50 CNY a vial: a "
        "revaluation follows."
    )


async def _all_acknowledged(scene: Scene) -> list[dict[str, Any]]:
    """Wait until every movement that has a value is posted and the ERP has acknowledged all of it."""

    async def ask() -> list[dict[str, Any]] | None:
        rows = await scene.world.all("integration", "/postings", limit=500)
        pending = [row for row in rows if row["status"] != "accepted"]
        return rows if rows and not pending and len(rows) == len(scene.erp.postings) else None

    return await scene.world.until("the ERP has acknowledged every posting", ask, service="integration")


async def recall(scene: Scene) -> None:
    """Preview, open, and look at what was frozen, taken back, shipped, and planned anew."""
    seed = {"batch_id": scene.people.batches[RECALLED]}
    preview = await scene.world.post("trace", "/recalls/preview", seed, by="qiang")
    totals = preview["totals"]
    levels = 1 + max(batch["depth"] for batch in preview["batches"])
    scene.tell.say(
        f"Preview of {RECALLED[1]}: {count(totals['batches'], 'batch', 'batches')} on {levels} levels, "
        f"{count(totals['demands'], 'demand')} promised or picked, {count(totals['customers'], 'customer')} reached. "
        "Nothing has changed yet."
    )
    began = time.monotonic()
    opened = await scene.world.post(
        "trace", "/recalls", {**seed, "reason": HAZARD, "preview_hash": preview["preview_hash"]}, by="qiang"
    )
    scene.recall_id = opened["recall_id"]
    scene.tell.say(f"Qiang opens the recall: {HAZARD}.")
    done = await scene.world.until(
        "every batch of the recall is held and no promise is left", partial(_recalled, scene)
    )
    progress = done["progress"]
    await _planned_anew(scene, done)
    took = time.monotonic() - began
    scene.tell.table(
        ("batch", "made or received", "frozen", "shipped", "consumed", "unaccounted", "revoked"),
        [_recalled_row(batch) for batch in done["batches"]],
        right=("made or received", "frozen", "shipped", "consumed", "unaccounted", "revoked"),
    )
    reached = _grouped(done["customers"], lambda row: row["partner_name"] or row["partner_id"])
    scene.tell.table(
        ("customer to call", "batch", "quantity", "order"),
        [
            (name if at == 0 else "", row["batch_no"], number(row["quantity"]), row["reference"] or "–")
            for name, some in reached
            for at, row in enumerate(some)
        ],
        right=("quantity",),
    )
    scene.tell.say(
        f"From the click to the last hold, revocation and new plan: {took:.2f} s (last hold after "
        f"{progress['all_held_after_ms']} ms). {count(progress['reservations_revoked'], 'promise')} revoked, "
        f"{count(progress['picks_stopped'], 'picked one')} stopped for a person."
    )


async def _recalled(scene: Scene) -> dict[str, Any] | None:
    recall: dict[str, Any] = await scene.world.get("trace", f"/recalls/{scene.recall_id}")
    progress = recall["progress"]
    promised = any(batch["promised"] for batch in recall["batches"])
    return recall if progress["held"] == progress["batches"] and not promised else None


async def _planned_anew(scene: Scene, recall: dict[str, Any]) -> None:
    """The demands that lost a promise have another batch, or wait; none has a recalled one."""
    lost = {row["demand_id"] for batch in recall["batches"] for row in batch["revocations"]}
    recalled = {batch["batch"]["batch_no"] for batch in recall["batches"]}

    def sound(demand: dict[str, Any]) -> bool:
        return not any(share["batch_no"] in recalled for share in demand["shares"])

    served = 0
    for reference, demand_id in scene.demands.items():
        if demand_id in lost:
            demand = await scene.people.until_demand(reference, "has no recalled batch", sound)
            served += not Decimal(demand["missing"])
    others = "all have another one already" if served == len(lost) else f"{served} have another one, the others wait"
    scene.tell.say(f"{count(len(lost), 'demand')} lost a batch; {others}.")


def _grouped(
    rows: Iterable[dict[str, Any]], by: Callable[[dict[str, Any]], str]
) -> list[tuple[str, list[dict[str, Any]]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(by(row), []).append(row)
    return list(groups.items())


def _recalled_row(batch: dict[str, Any]) -> tuple[str, ...]:
    account = batch["account"]
    return (
        batch["batch"]["batch_no"],
        f"{number(account['entered'])} {UNIT_WORDS[account['unit']]}",
        number(batch["frozen"]),
        number(account["shipped"]),
        number(account["consumed"]),
        number(account["unaccounted"]),
        number(sum((Decimal(row["quantity"]) for row in batch["revocations"]), Decimal(0))),
    )
