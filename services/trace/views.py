"""What HTTP answers look like: the shapes (for OpenAPI and the tests) and the functions that fill them.

Quantities are decimal text in the item's base unit; times are UTC. Answers are built as plain dictionaries and written
at once, since a recall may have thousands of batches; the tests hold them against the shapes.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from contracts.values import PlaceKind
from services.trace.domain.custody import Account, Flow, Spot, percent_of, plain
from services.trace.domain.genealogy import Branch, Direction, Edge, Walk
from services.trace.domain.recalls import Reached
from services.trace.queries import Found, Node, Row, Standing, Totals

Amount = str
"""A decimal as text."""


class Shape(BaseModel):
    """An answer; what is not named here is not there."""

    model_config = ConfigDict(extra="forbid")


class BatchView(Shape):
    """A batch, or a name that was consumed or reported and never registered here (`registered` is false)."""

    id: UUID = Field(description="The batch's id; for an unregistered one, the id of its name.")
    item_id: str = Field(examples=["WMP-25"])
    item_name: str | None = Field(examples=["Whole milk powder, 26 % fat"])
    batch_no: str = Field(examples=["WMP2602A"])
    registered: bool
    origin: str | None = Field(examples=["supplier"])
    supplier_id: str | None = Field(examples=["S-0117"])
    supplier_name: str | None = Field(examples=["Northern Dairies Ltd."])
    supplier_batch_no: str | None = Field(examples=["ND 2026/02-118"])
    manufactured_on: dt.date | None
    expires_on: dt.date | None
    best_before: dt.date | None
    received_on: dt.date | None
    registered_at: AwareDatetime | None


class HoldView(Shape):
    """An open hold."""

    hold_id: UUID
    kind: str = Field(examples=["recall"])
    site_id: str | None
    location_id: str | None
    reason: str
    reference: str | None
    placed_at: AwareDatetime


class AccountView(Shape):
    """Where a batch's quantity is. entered = on_hand + shipped − returned + consumed + scrapped + adjusted + …"""

    unit: str | None = Field(examples=["KGM"])
    entered: Amount = Field(description="What is to be accounted for.", examples=["1000"])
    entered_by: str = Field(examples=["receipts"])
    on_hand: Amount
    shipped: Amount = Field(description="To customers, gross.")
    returned: Amount = Field(description="By customers.")
    consumed: Amount = Field(description="Into other batches.")
    scrapped: Amount
    adjusted: Amount = Field(description="Net loss by adjustments; below zero when more was found.")
    sent_back: Amount = Field(description="To suppliers.")
    elsewhere: Amount = Field(description="At places of a kind that this version does not know.")
    unaccounted: Amount = Field(description="What entered and is nowhere.", examples=["0"])
    percent_accounted: Amount | None = Field(examples=["100.00"])
    differences: list["DifferenceView"]


class DifferenceView(Shape):
    """Two sources that do not agree."""

    code: str = Field(examples=["received_not_booked"])
    quantity: Amount
    text: str = Field(examples=["1000 counted at the dock, 990 booked in"])


class SpotView(Shape):
    """Stock of a batch at one location in one quality."""

    site_id: str
    location_id: str
    quality: str
    quantity: Amount


class CustomerQuantityView(Shape):
    """What one customer has of a batch."""

    partner_id: str
    shipped: Amount
    returned: Amount
    still_there: Amount


class ConsumedIntoView(Shape):
    """What went into one other batch, as production reports say."""

    id: UUID
    item_id: str
    batch_no: str
    quantity: Amount
    certain: bool


class CustodyView(Shape):
    """Where every unit of a batch is, or was at `as_of`."""

    batch: BatchView
    as_of: AwareDatetime | None
    account: AccountView
    on_hand: list[SpotView]
    customers: list[CustomerQuantityView]
    consumed_into: list[ConsumedIntoView]


class CompletenessView(Shape):
    """Whether the genealogy above a batch can be trusted to be whole."""

    genealogy_complete: bool
    unregistered_inputs: list[BatchView] = Field(description="Consumed somewhere above, never registered here.")
    gaps: list[str] = Field(description="What is missing, in words.", examples=[["report 2 of the batch is missing"]])


class BatchPage(Shape):
    """A batch with what is to be known first."""

    batch: BatchView
    account: AccountView
    on_hand: list[SpotView]
    open_holds: list[HoldView]
    completeness: CompletenessView


class DeliveryView(Shape):
    """A quantity of a batch that left for a customer."""

    batch_id: UUID
    item_id: str
    batch_no: str
    partner_id: str = Field(examples=["C-2041"])
    partner_name: str | None
    reference: str | None = Field(description="The demand's reference.", examples=["SO-77/1"])
    demand_id: UUID | None
    shipment_id: UUID | None
    carrier: str | None
    quantity: Amount
    unit: str
    shipped_at: AwareDatetime


class ReceiptView(Shape):
    """A quantity of a batch that was counted at the dock."""

    batch_id: UUID
    item_id: str
    batch_no: str
    receipt_id: UUID
    origin: str
    partner_id: str | None
    partner_name: str | None
    reference: str | None
    site_id: str
    quantity: Amount
    unit: str
    received_at: AwareDatetime


class NodeView(BatchView):
    """A node of a trace: `depth` is the least number of steps from the root."""

    depth: int
    unit: str | None
    on_hand: Amount
    shipped: Amount = Field(description="With customers now, net of returns.")


class EdgeView(Shape):
    """`quantity` of one node went into another. `certain` is false when the name used could mean several batches."""

    from_id: UUID
    to_id: UUID
    quantity: Amount
    unit: str
    mode: str = Field(examples=["exact"])
    certain: bool
    work_order: str
    report_id: UUID
    started_at: AwareDatetime
    ended_at: AwareDatetime
    superseded_by: UUID | None = Field(description="The report that corrected this one.")


class GraphView(Shape):
    """A trace. Downstream it lists every delivery of every node; upstream, every receipt."""

    root: UUID
    direction: Direction
    nodes: list[NodeView]
    edges: list[EdgeView]
    superseded: list[EdgeView] = Field(description="What corrected reports had said about these nodes.")
    deliveries: list[DeliveryView]
    receipts: list[ReceiptView]


class BranchView(Shape):
    """A node of a tree ready to be drawn."""

    id: UUID
    item_id: str
    item_name: str | None
    batch_no: str
    registered: bool
    quantity: Amount | None = Field(description="What went along the edge to this node; absent at the root.")
    unit: str | None
    certain: bool
    elsewhere: bool = Field(description="Its branches are shown where it was met first.")
    cut: bool = Field(description="There is more past the depth that was asked for.")
    deliveries: list[DeliveryView]
    receipts: list[ReceiptView]
    branches: list["BranchView"]


class TimelineLine(Shape):
    """One thing that happened to a batch."""

    at: AwareDatetime = Field(description="When it happened.")
    said_at: AwareDatetime = Field(description="When it was said.")
    event_type: str = Field(examples=["inventory.StockMoved"])
    event_id: UUID | None
    actor: str | None
    sentence: str = Field(examples=["25 KGM put away from HRB-1/DOCK-1 (pending) to HRB-1/A-03-12 (pending)"])
    detail: dict[str, Any]


class TimelinePage(Shape):
    """Some of a timeline, oldest first."""

    items: list[TimelineLine]
    next: str | None = Field(description="Hand it in as `after` for the following lines.")


class CommitmentView(Shape):
    """A quantity that somebody counts on."""

    demand_id: UUID
    reference: str | None
    partner_id: str
    partner_name: str | None
    location_id: str | None
    quantity: Amount


class RevocationView(Shape):
    """A promise that was taken back since the recall was opened."""

    demand_id: UUID
    partner_id: str
    partner_name: str | None
    quantity: Amount
    picked: bool
    code: str
    reason: str
    revoked_at: AwareDatetime


class ScopeBatchView(Shape):
    """One batch of a scope and where its quantity stands."""

    batch: BatchView
    seed: bool
    depth: int
    ruled_out_by_time: bool = Field(description="A link leads here, but it left before anything recalled came in.")
    account: AccountView
    on_hand: list[SpotView]
    promised: list[CommitmentView]
    picked: list[CommitmentView] = Field(description="Picked, and not yet at the gate.")
    in_transit: list[CommitmentView] = Field(description="At the gate: dispatched, neither issued nor refused.")
    customers: list[CustomerQuantityView]
    open_holds: list[HoldView]


class UnitTotals(Shape):
    """Sums over the batches that are counted in one unit."""

    unit: str
    entered: Amount
    on_hand: Amount
    promised: Amount
    picked: Amount
    in_transit: Amount
    shipped: Amount
    returned: Amount
    consumed: Amount
    scrapped: Amount
    adjusted: Amount
    unaccounted: Amount
    percent_accounted: Amount | None = Field(
        description="Every batch's difference counts, also where another batch has it the other way round."
    )


class ScopeTotals(Shape):
    """A scope in numbers."""

    batches: int
    not_registered: int
    demands: int = Field(description="With a promise or a pick in the scope.")
    customers: int = Field(description="That hold something of the scope.")
    by_unit: list[UnitTotals]


class PreviewView(Shape):
    """What a recall would reach; nothing was changed."""

    preview_hash: str
    seed: BatchView
    already_open: UUID | None = Field(description="The open recall of this seed.")
    batches: list[ScopeBatchView]
    totals: ScopeTotals


class RecallOpenedView(Shape):
    """A recall as it was opened."""

    recall_id: UUID
    status: str
    drill: bool
    batch_id: UUID
    item_id: str
    batch_no: str
    reason: str
    batch_count: int
    waiting_for_registration: int = Field(description="Named by production and not registered: recalled when they are.")
    opened_at: AwareDatetime
    opened_by: str


class RecallRow(Shape):
    """A recall in a list."""

    recall_id: UUID
    status: str = Field(examples=["open"])
    drill: bool
    batch_id: UUID
    item_id: str
    batch_no: str
    reason: str
    batch_count: int = Field(description="In scope, the lifted ones too.")
    opened_at: AwareDatetime
    opened_by: str
    closed_at: AwareDatetime | None
    close_reason: str | None
    took_seconds: float | None = Field(description="From the opening to the closing.")


class RecallPage(Shape):
    """Recalls, the latest first."""

    items: list[RecallRow]
    next: str | None


class RecalledBatchView(ScopeBatchView):
    """One batch of an open or closed recall."""

    joined_at: AwareDatetime
    recalled_at: AwareDatetime | None = Field(description="When it was said; absent until it is registered.")
    held_at: AwareDatetime | None = Field(description="When inventory placed the hold of this recall.")
    frozen: Amount = Field(description="On hand under this recall's hold.")
    revocations: list[RevocationView]
    lifted_at: AwareDatetime | None
    lift_reason: str | None


class ProgressView(Shape):
    """How far a recall has come."""

    batches: int = Field(description="Registered and not lifted: those that can be held.")
    held: int
    to_hold: int
    waiting_for_registration: int
    lifted: int
    all_held_after_ms: int | None = Field(description="From the opening to the last hold; absent until all are held.")
    reservations_revoked: int
    picks_stopped: int = Field(description="Revoked promises that a person had picked already.")


class RecallView(RecallRow):
    """A recall: what it froze, what it found, what is unaccounted for."""

    progress: ProgressView
    totals: ScopeTotals
    batches: list[RecalledBatchView]
    customers: list[DeliveryView]


class CustomerList(Shape):
    """Every delivery of a recall's scope."""

    recall_id: UUID
    items: list[DeliveryView]


class LiftedView(Shape):
    """A batch that left a scope."""

    recall_id: UUID
    batch_id: UUID
    lifted_at: AwareDatetime
    batches_left: int


class UnaccountedView(Shape):
    """A quantity that entered and is nowhere."""

    batch_id: UUID
    item_id: str
    batch_no: str
    quantity: Amount
    unit: str | None


class RecallClosedView(Shape):
    """A recall as it was closed."""

    recall_id: UUID
    status: str
    drill: bool
    closed_at: AwareDatetime
    closed_by: str
    took_seconds: float = Field(description="From the opening to the closing: the result of a drill.")
    unaccounted: list[UnaccountedView]


# --- filling them

Filled = dict[str, Any]


def batch_view(node: Node) -> Filled:
    """See `BatchView`."""
    return {
        "id": node.node,
        "item_id": node.item_id,
        "item_name": node.item_name,
        "batch_no": node.batch_no,
        "registered": node.batch_id is not None,
        "origin": node.origin,
        "supplier_id": node.supplier_id,
        "supplier_name": node.supplier_name,
        "supplier_batch_no": node.supplier_batch_no,
        "manufactured_on": node.manufactured_on,
        "expires_on": node.expires_on,
        "best_before": node.best_before,
        "received_on": node.received_on,
        "registered_at": node.registered_at,
    }


def node_view(node: Node, depth: int, totals: Totals | None) -> Filled:
    """See `NodeView`."""
    return {
        **batch_view(node),
        "depth": depth,
        "unit": totals.unit if totals else node.base_unit,
        "on_hand": plain(totals.on_hand) if totals else "0",
        "shipped": plain(totals.shipped) if totals else "0",
    }


def edge_view(edge: Edge) -> Filled:
    """See `EdgeView`."""
    link = edge.link
    return {
        "from_id": edge.source,
        "to_id": edge.target,
        "quantity": plain(link.quantity),
        "unit": link.unit,
        "mode": link.mode,
        "certain": edge.certain,
        "work_order": link.work_order,
        "report_id": link.report_id,
        "started_at": link.started_at,
        "ended_at": link.ended_at,
        "superseded_by": link.superseded_by,
    }


def graph_view(
    root: UUID,
    direction: Direction,
    found: Found,
    walk: Walk,
    totals: Mapping[UUID, Totals],
    deliveries: Mapping[UUID, Sequence[Row]],
    receipts: Mapping[UUID, Sequence[Row]],
) -> Filled:
    """See `GraphView`."""
    return {
        "root": root,
        "direction": direction.value,
        "nodes": [node_view(found.nodes[node], depth, totals.get(node)) for node, depth in walk.steps.items()],
        "edges": [edge_view(edge) for edge in walk.edges],
        "superseded": [
            edge_view(edge)
            for edge in found.genealogy.superseded
            if edge.source in walk.steps or edge.target in walk.steps
        ],
        "deliveries": [
            view for node in walk.steps for view in delivery_views(found.nodes[node], deliveries.get(node, ()))
        ],
        "receipts": [view for node in walk.steps for view in receipt_views(found.nodes[node], receipts.get(node, ()))],
    }


def branch_view(
    branch: Branch,
    found: Found,
    deliveries: Mapping[UUID, Sequence[Row]],
    receipts: Mapping[UUID, Sequence[Row]],
) -> Filled:
    """See `BranchView`."""
    node = found.nodes[branch.node]
    return {
        "id": node.node,
        "item_id": node.item_id,
        "item_name": node.item_name,
        "batch_no": node.batch_no,
        "registered": node.batch_id is not None,
        "quantity": plain(branch.by.link.quantity) if branch.by else None,
        "unit": branch.by.link.unit if branch.by else node.base_unit,
        "certain": branch.by.certain if branch.by else True,
        "elsewhere": branch.elsewhere,
        "cut": branch.cut,
        "deliveries": [] if branch.elsewhere else delivery_views(node, deliveries.get(branch.node, ())),
        "receipts": [] if branch.elsewhere else receipt_views(node, receipts.get(branch.node, ())),
        "branches": [branch_view(each, found, deliveries, receipts) for each in branch.branches],
    }


def delivery_views(node: Node, rows: Iterable[Row]) -> list[Filled]:
    """See `DeliveryView`."""
    return [
        {
            "batch_id": node.node,
            "item_id": node.item_id,
            "batch_no": node.batch_no,
            "partner_id": row["partner_id"],
            "partner_name": row["partner_name"],
            "reference": row["reference"],
            "demand_id": row["demand_id"],
            "shipment_id": row["shipment_id"],
            "carrier": row["carrier"],
            "quantity": plain(row["quantity"]),
            "unit": row["unit"],
            "shipped_at": row["shipped_at"],
        }
        for row in rows
    ]


def receipt_views(node: Node, rows: Iterable[Row]) -> list[Filled]:
    """See `ReceiptView`."""
    return [
        {
            "batch_id": node.node,
            "item_id": node.item_id,
            "batch_no": node.batch_no,
            "receipt_id": row["receipt_id"],
            "origin": row["origin"],
            "partner_id": row["partner_id"],
            "partner_name": row["partner_name"],
            "reference": row["reference"],
            "site_id": row["site_id"],
            "quantity": plain(row["quantity"]),
            "unit": row["unit"],
            "received_at": row["received_at"],
        }
        for row in rows
    ]


def account_view(account: Account, unit: str | None) -> Filled:
    """See `AccountView`."""
    return {
        "unit": unit,
        "entered": plain(account.entered),
        "entered_by": account.entered_by,
        "on_hand": plain(account.on_hand),
        "shipped": plain(account.shipped),
        "returned": plain(account.returned),
        "consumed": plain(account.consumed),
        "scrapped": plain(account.scrapped),
        "adjusted": plain(account.adjusted),
        "sent_back": plain(account.sent_back),
        "elsewhere": plain(account.elsewhere),
        "unaccounted": plain(account.unaccounted),
        "percent_accounted": _text(account.percent),
        "differences": [
            {"code": each.code, "quantity": plain(each.quantity), "text": each.text} for each in account.differences
        ],
    }


def _text(percent: Decimal | None) -> str | None:
    return None if percent is None else str(percent)


def spot_views(flows: Mapping[Spot, Flow]) -> list[Filled]:
    """See `SpotView`; spots that are empty are left out."""
    return [
        {
            "site_id": spot.site_id,
            "location_id": spot.location_id,
            "quality": spot.quality,
            "quantity": plain(flow.there),
        }
        for spot, flow in sorted(flows.items(), key=lambda found: _spot_order(found[0]))
        if spot.kind is PlaceKind.LOCATION and flow.there
    ]


def _spot_order(spot: Spot) -> tuple[str, str, str]:
    return spot.site_id, spot.location_id, spot.quality


def customer_views(flows: Mapping[Spot, Flow]) -> list[Filled]:
    """See `CustomerQuantityView`."""
    by_partner: dict[str, Flow] = defaultdict(Flow)
    for spot, flow in flows.items():
        if spot.kind is PlaceKind.CUSTOMER:
            by_partner[spot.partner_id] += flow
    return [
        {
            "partner_id": partner_id,
            "shipped": plain(flow.came),
            "returned": plain(flow.went),
            "still_there": plain(flow.there),
        }
        for partner_id, flow in sorted(by_partner.items())
    ]


def hold_views(rows: Iterable[Row]) -> list[Filled]:
    """See `HoldView`."""
    names = ("hold_id", "kind", "site_id", "location_id", "reason", "reference", "placed_at")
    return [{name: row[name] for name in names} for row in rows if row["lifted_at"] is None]


def custody_view(node: Node, standing: Standing, found: Found, as_of: dt.datetime | None) -> Filled:
    """See `CustodyView`."""
    return {
        "batch": batch_view(node),
        "as_of": as_of,
        "account": account_view(standing.account, standing.unit),
        "on_hand": spot_views(standing.flows),
        "customers": customer_views(standing.flows),
        "consumed_into": [
            {
                "id": edge.target,
                "item_id": found.nodes[edge.target].item_id,
                "batch_no": found.nodes[edge.target].batch_no,
                "quantity": plain(edge.link.quantity),
                "certain": edge.certain,
            }
            for edge in found.genealogy.edges(node.node, Direction.DOWN)
            if as_of is None or edge.link.ended_at <= as_of
        ],
    }


def batch_page(node: Node, standing: Standing, above: Found, walk: Walk, reports: Sequence[Row]) -> Filled:
    """See `BatchPage`."""
    unregistered = [above.nodes[each] for each in walk.steps if above.nodes[each].batch_id is None]
    gaps = [f"{each.item_id} {each.batch_no} is not registered here" for each in unregistered]
    gaps += [
        f"it is not certain which batch is meant by {above.nodes[edge.source].item_id} "
        f"{above.nodes[edge.source].batch_no} in {edge.link.work_order}"
        for edge in walk.edges
        if not edge.certain
    ]
    if node.origin == "production" and not reports:
        gaps.append("no production report was heard of this batch")
    for report in reports:
        if not report["inputs"]:
            gaps.append(f"report {report['sequence']} ({report['work_order']}) names no consumed batch")
    heard = {report["sequence"] for report in reports}
    gaps += [f"report {missing} is missing" for missing in range(1, max(heard, default=0)) if missing not in heard]
    return {
        "batch": batch_view(node),
        "account": account_view(standing.account, standing.unit),
        "on_hand": spot_views(standing.flows),
        "open_holds": hold_views(standing.holds),
        "completeness": {
            "genealogy_complete": not gaps,
            "unregistered_inputs": [batch_view(each) for each in unregistered],
            "gaps": gaps,
        },
    }


def commitment_views(rows: Iterable[Row]) -> list[Filled]:
    """See `CommitmentView`."""
    return [
        {
            "demand_id": row["demand_id"],
            "reference": row.get("reference"),
            "partner_id": row["customer_id"],
            "partner_name": row["partner_name"],
            "location_id": row.get("location_id"),
            "quantity": plain(row["quantity"]),
        }
        for row in rows
    ]


def scope_batch_view(node: Node, reached: Reached, standing: Standing, *, seed: bool) -> Filled:
    """See `ScopeBatchView`."""
    return {
        "batch": batch_view(node),
        "seed": seed,
        "depth": reached.depth,
        "ruled_out_by_time": reached.ruled_out_by_time,
        "account": account_view(standing.account, standing.unit),
        "on_hand": spot_views(standing.flows),
        "promised": commitment_views(standing.promises),
        "picked": commitment_views(standing.staged),
        "in_transit": commitment_views(standing.in_transit),
        "customers": customer_views(standing.flows),
        "open_holds": hold_views(standing.holds),
    }


def scope_totals(nodes: Sequence[Node], standings: Mapping[UUID, Standing]) -> Filled:
    """See `ScopeTotals`."""
    sums: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    demands: set[UUID] = set()
    customers: set[str] = set()
    for node in nodes:
        standing = standings[node.node]
        account = standing.account
        total = sums[standing.unit or "?"]
        total["astray"] += abs(account.unaccounted)
        for name in ("entered", "on_hand", "shipped", "returned", "consumed", "scrapped", "adjusted", "unaccounted"):
            total[name] += getattr(account, name)
        for name, rows in (
            ("promised", standing.promises),
            ("picked", standing.staged),
            ("in_transit", standing.in_transit),
        ):
            total[name] += sum((row["quantity"] for row in rows), Decimal(0))
            demands.update(row["demand_id"] for row in rows)
        customers.update(
            spot.partner_id for spot, flow in standing.flows.items() if spot.kind is PlaceKind.CUSTOMER and flow.there
        )
    return {
        "batches": len(nodes),
        "not_registered": sum(node.batch_id is None for node in nodes),
        "demands": len(demands),
        "customers": len(customers),
        "by_unit": [
            {
                "unit": unit,
                **{name: plain(quantity) for name, quantity in total.items() if name != "astray"},
                "percent_accounted": _text(percent_of(total["entered"], total["astray"])),
            }
            for unit, total in sorted(sums.items())
        ],
    }


def recall_row(row: Row, batches: int) -> Filled:
    """See `RecallRow`."""
    return {
        "recall_id": row["recall_id"],
        "status": "open" if row["closed_at"] is None else "closed",
        "drill": row["drill"],
        "batch_id": row["seed"],
        "item_id": row["item_id"],
        "batch_no": row["batch_no"],
        "reason": row["reason"],
        "batch_count": batches,
        "opened_at": row["opened_at"],
        "opened_by": row["opened_by"],
        "closed_at": row["closed_at"],
        "close_reason": row["close_reason"],
        "took_seconds": (row["closed_at"] - row["opened_at"]).total_seconds() if row["closed_at"] else None,
    }


def recalled_batch_view(row: Row, node: Node, standing: Standing) -> Filled:
    """See `RecalledBatchView`."""
    own = [hold for hold in standing.holds if hold["reference"] == str(row["recall_id"])]
    reached = Reached(node.node, row["depth"], row["ruled_out_by_time"])
    still_held = any(hold["lifted_at"] is None for hold in own)
    return {
        **scope_batch_view(node, reached, standing, seed=row["seed"]),
        "joined_at": row["joined_at"],
        "recalled_at": row["said_at"],
        "held_at": held_at(row, standing),
        "frozen": plain(standing.account.on_hand) if still_held else "0",
        "revocations": [
            {
                "demand_id": revoked["demand_id"],
                "partner_id": revoked["customer_id"],
                "partner_name": revoked["partner_name"],
                "quantity": plain(revoked["quantity"]),
                "picked": revoked["picked"],
                "code": revoked["code"],
                "reason": revoked["reason"],
                "revoked_at": revoked["revoked_at"],
            }
            for revoked in standing.revocations
        ],
        "lifted_at": row["lifted_at"],
        "lift_reason": row["lift_reason"],
    }


def held_at(row: Row, standing: Standing) -> dt.datetime | None:
    """When inventory first placed the hold of a recall on a batch of its scope."""
    placed = [hold["placed_at"] for hold in standing.holds if hold["reference"] == str(row["recall_id"])]
    return min(placed, default=None)


def timeline_line(row: Row) -> Filled:
    """See `TimelineLine`."""
    names = ("at", "said_at", "event_type", "event_id", "actor", "sentence", "detail")
    return {name: row[name] for name in names}
