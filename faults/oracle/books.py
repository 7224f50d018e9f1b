"""The books agree, per item, batch, location and quality, and none of them says what cannot be."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal

from faults.oracle.seen import Check, Row, Seen

Spot = tuple[str, ...]
"""Item, batch, site, location, quality."""

OPEN = ("promised", "picked", "dispatching", "stopped")


def _spot(row: Row, side: str = "") -> Spot:
    return (
        row["item_id"],
        row["batch_id"],
        row[f"{side}site_id"],
        row[f"{side}location_id"],
        row[f"{side}quality"],
    )


def folded(seen: Seen) -> dict[Spot, Decimal]:
    """The ledger added up."""
    found: dict[Spot, Decimal] = defaultdict(Decimal)
    for row in seen.of("inventory", "movement"):
        if row["from_kind"] == "location":
            found[_spot(row, "from_")] -= row["quantity"]
        if row["to_kind"] == "location":
            found[_spot(row, "to_")] += row["quantity"]
    return found


def _unlike(one: Mapping[Spot, Decimal], other: Mapping[Spot, Decimal], names: tuple[str, str]) -> Iterator[str]:
    for key in sorted(one.keys() | other.keys()):
        ours, theirs = one.get(key, Decimal(0)), other.get(key, Decimal(0))
        if ours != theirs:
            item_id, batch_id, *place = key
            where = f" at {'/'.join(place)}" if place else ""
            yield f"item {item_id} batch {batch_id}{where}: {names[0]} {ours:f}, {names[1]} {theirs:f}"


def _per_batch(spots: Mapping[Spot, Decimal]) -> dict[Spot, Decimal]:
    found: dict[Spot, Decimal] = defaultdict(Decimal)
    for (item_id, batch_id, *_), quantity in spots.items():
        found[item_id, batch_id] += quantity
    return found


def _of_batches(rows: Iterable[Row], what: str) -> dict[Spot, Decimal]:
    return {(row["item_id"], row["batch_id"]): row[what] for row in rows}


def ledger_is_balances(seen: Seen) -> Iterator[str]:
    """And nothing is below zero."""
    ledger = folded(seen)
    balances = {_spot(row): row["quantity"] for row in seen.of("inventory", "balance")}
    yield from _unlike(ledger, balances, ("the ledger folds to", "the balance is"))
    for (item_id, batch_id, *place), quantity in ledger.items():
        if quantity < 0:
            yield f"item {item_id} batch {batch_id} at {'/'.join(place)}: the ledger folds to {quantity:f}, below zero"
    for row in seen.of("inventory", "ledger_difference"):
        yield (
            f"item {row['item_id']} batch {row['batch_id']}: inventory's own checker found {row['of']} {row['ledger']} "
            f"against {row['kept']}"
        )


def shelf_is_ledger(seen: Seen) -> Iterator[str]:
    """What allocation has on its shelf (free + promised there) is what the ledger has."""
    shelf: dict[Spot, Decimal] = defaultdict(Decimal)
    for row in seen.of("allocation", "shelf"):
        shelf[_spot(row)] += row["free"]
    for row in seen.of("allocation", "reservation"):
        if row["status"] in OPEN:
            shelf[_spot(row)] += row["quantity"]
    yield from _unlike(folded(seen), shelf, ("inventory has", "allocation has"))


def custody_is_ledger(seen: Seen) -> Iterator[str]:
    """Trace's custody, place by place."""
    custody = {_spot(row): row["quantity"] for row in seen.of("trace", "custody") if row["kind"] == "location"}
    yield from _unlike(folded(seen), custody, ("inventory has", "trace has"))


def valued_is_ledger(seen: Seen) -> Iterator[str]:
    """Integration's running sums, its valued quantities and its postings, batch by batch."""
    ledger = _per_batch(folded(seen))
    running = _of_batches(seen.of("integration", "ledger_batch"), "quantity")
    valued = _of_batches(seen.of("integration", "batch_value"), "quantity")
    posted: dict[Spot, Decimal] = defaultdict(Decimal)
    for row in seen.of("integration", "posting"):
        posted[row["item_id"], row["batch_id"]] += row["quantity"]
    yield from _unlike(ledger, running, ("inventory has", "integration has heard of"))
    yield from _unlike(ledger, valued, ("inventory has", "integration values"))
    yield from _unlike(ledger, posted, ("inventory has", "the postings add up to"))


def values_agree(seen: Seen) -> Iterator[str]:
    """Σ of a batch's postings is its value, and Σ of an item's is what the ERP's own book says."""
    values: dict[Spot, Decimal] = defaultdict(Decimal)
    items: dict[str, Decimal] = defaultdict(Decimal)
    for row in seen.of("integration", "posting"):
        if row["value"] is not None:
            values[row["item_id"], row["batch_id"]] += row["value"]
            items[row["item_id"]] += row["value"]
    kept = _of_batches(seen.of("integration", "batch_value"), "value")
    yield from _unlike(values, kept, ("its postings are worth", "the batch is worth"))
    for item_id in sorted(items.keys() | seen.erp_values.keys()):
        ours, theirs = items.get(item_id, Decimal(0)), seen.erp_values.get(item_id, Decimal(0))
        if ours != theirs:
            yield f"item {item_id}: worth {ours:f} by our postings, {theirs:f} in the ERP's book"


def promises_are_covered(seen: Seen) -> Iterator[str]:
    """A demand is what it was promised, what was shipped, and what it misses; and nothing is promised twice."""
    promised: dict[str, Decimal] = defaultdict(Decimal)
    on_spot: dict[Spot, Decimal] = defaultdict(Decimal)
    for row in seen.of("allocation", "reservation"):
        if row["status"] in OPEN:
            on_spot[_spot(row)] += row["quantity"]
        # What was stopped is promised again from elsewhere: it waits for a person and counts for nobody.
        if row["status"] in ("promised", "picked", "dispatching", "shipped"):
            promised[row["demand_id"]] += row["quantity"]
    for row in seen.of("allocation", "demand"):
        has = promised[row["demand_id"]]
        if not row["cancelled"] and has + row["missing"] != row["quantity"]:
            yield (
                f"demand {row['reference']} of item {row['item_id']}: {has:f} promised or shipped and "
                f"{row['missing']:f} missing of {row['quantity']:f}"
            )
    for row in seen.of("allocation", "shelf"):
        if row["free"] < 0:
            yield f"item {row['item_id']} batch {row['batch_id']}: {row['free']} free, below zero"
    ledger = folded(seen)
    for spot, quantity in on_spot.items():
        if quantity > ledger.get(spot, Decimal(0)):
            item_id, batch_id, *place = spot
            yield (
                f"item {item_id} batch {batch_id} at {'/'.join(place)}: {quantity:f} promised, "
                f"{ledger.get(spot, Decimal(0)):f} there"
            )


def shipped_is_issued(seen: Seen) -> Iterator[str]:
    """Each line that left the gate is shipped, each that did not is stopped; none is still on its way."""
    issued = {row["reference"]: row for row in seen.of("inventory", "movement") if row["reason"] == "issue"}
    undone = {row["reverses"] for row in seen.of("inventory", "movement") if row["reverses"]}
    refused = {body["line_id"] for body in seen.bodies("inventory.IssueRefused")}
    for row in seen.of("allocation", "reservation"):
        line = row["line_id"]
        if row["status"] == "dispatching":
            yield f"shipment line {line} of item {row['item_id']} still waits at the gate"
        elif row["status"] == "shipped" and line not in issued:
            yield f"shipment line {line} of item {row['item_id']} is shipped, and was never issued"
        elif line in issued and row["status"] != "shipped" and issued[line]["movement_id"] not in undone:
            yield f"shipment line {line} of item {row['item_id']} was issued, and is {row['status']}"
        elif line in issued and line in refused:
            yield f"shipment line {line} of item {row['item_id']} was issued and refused"


def _border(row: Row) -> bool:
    return not (row["from_kind"] == row["to_kind"] == "location")


def posted_once(seen: Seen) -> Iterator[str]:
    """Each movement over the company's border has one posting, and each posting one document of the ERP."""
    crossing = Counter(row["movement_id"] for row in seen.of("inventory", "movement") if _border(row))
    posted = Counter(row["movement_id"] for row in seen.of("integration", "posting") if row["kind"] != "revaluation")
    for movement_id in sorted(crossing.keys() | posted.keys()):
        if crossing[movement_id] != posted[movement_id]:
            yield (
                f"movement {movement_id}: {crossing[movement_id]} times in the ledger over the border, "
                f"{posted[movement_id]} times posted"
            )
    ours = Counter(row["posting_id"] for row in seen.of("integration", "posting"))
    said = Counter(body["posting_id"] for body in seen.bodies("integration.CostPosted"))
    counted = Counter(row["posting_id"] for row in seen.of("integration", "acknowledgement") if row["counts"])
    for posting_id in sorted(ours.keys() | said.keys() | counted.keys() | seen.erp_documents.keys()):
        many = (ours[posting_id], said[posting_id], int(posting_id in seen.erp_documents), counted[posting_id])
        if many != (1, 1, 1, 1):
            yield (
                f"posting {posting_id}: {many[0]} times kept, {many[1]} times announced, {many[2]} documents in the "
                f"ERP, {many[3]} acknowledgements"
            )
    for row in seen.of("integration", "unanswered"):
        yield f"posting {row['posting_id']} waits for the ERP's answer"


def _count(rows: Iterable[object], what: str) -> str:
    return f"{sum(1 for _ in rows)} {what}"


BOOKS = (
    Check(
        "the ledger folded is the balances, none below zero",
        ledger_is_balances,
        lambda seen: (
            f"{_count(seen.of('inventory', 'movement'), 'movements')}, "
            f"{_count(seen.of('inventory', 'balance'), 'balances')}"
        ),
    ),
    Check(
        "allocation's shelf is the ledger",
        shelf_is_ledger,
        lambda seen: _count(seen.of("allocation", "shelf"), "spots"),
    ),
    Check(
        "trace's custody is the ledger", custody_is_ledger, lambda seen: _count(seen.of("trace", "custody"), "places")
    ),
    Check(
        "integration's quantities are the ledger",
        valued_is_ledger,
        lambda seen: _count(seen.of("integration", "batch_value"), "batches"),
    ),
    Check(
        "values = Σ postings = the ERP's book",
        values_agree,
        lambda seen: _count(seen.of("integration", "posting"), "postings"),
    ),
    Check(
        "reservations = Σ promises, none above what is there",
        promises_are_covered,
        lambda seen: (
            f"{_count(seen.of('allocation', 'demand'), 'demands')}, "
            f"{_count(seen.of('allocation', 'reservation'), 'reservations')}"
        ),
    ),
    Check(
        "what left the gate is shipped, what did not is stopped",
        shipped_is_issued,
        lambda seen: _count((r for r in seen.of("inventory", "movement") if r["reason"] == "issue"), "issues"),
    ),
    Check(
        "each posting once, acknowledged once",
        posted_once,
        lambda seen: f"{len(seen.erp_documents)} documents",
    ),
)
