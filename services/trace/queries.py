"""All SQL of trace that only reads. Each question is a few set-based statements, however big the answer is."""

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from contracts.values import Origin, PlaceKind
from delivery import Connection, columns
from services.trace.domain.custody import Account, Claims, Flow, Spot, Step, account_of, flows_of
from services.trace.domain.genealogy import Bearer, Direction, Genealogy, Link
from services.trace.domain.names import name_id
from services.trace.domain.recalls import Member

Row = asyncpg.Record


class Node(NamedTuple):
    """What is known of a node: a batch, or a name that no batch bears (`batch_id` is None)."""

    node: UUID
    batch_id: UUID | None
    name_id: UUID
    item_id: str
    batch_no: str
    item_name: str | None = None
    base_unit: str | None = None
    origin: str | None = None
    supplier_id: str | None = None
    supplier_name: str | None = None
    supplier_batch_no: str | None = None
    manufactured_on: dt.date | None = None
    expires_on: dt.date | None = None
    best_before: dt.date | None = None
    received_on: dt.date | None = None
    registered_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A part of the genealogy, and what is known of each of its nodes."""

    genealogy: Genealogy
    nodes: Mapping[UUID, Node]


# --- who is meant

_NODE_COLUMNS = """
    batch.batch_id AS node, batch.batch_id, batch.name_id, batch.item_id, batch.batch_no,
    item.name AS item_name, item.base_unit, batch.origin, batch.supplier_id, partner.name AS supplier_name,
    batch.supplier_batch_no, batch.manufactured_on, batch.expires_on, batch.best_before, batch.received_on,
    batch.registered_at
"""


async def find_nodes(db: Connection, some_id: UUID) -> list[Node]:
    """The node that an id means: a batch, or what bears a name. Empty when nobody has spoken of it."""
    rows = await db.fetch(
        f"""
        SELECT {_NODE_COLUMNS}
        FROM batch
        LEFT JOIN item USING (item_id)
        LEFT JOIN partner ON partner.partner_id = batch.supplier_id
        WHERE batch.batch_id = $1 OR batch.name_id = $1
        ORDER BY batch.batch_id
        """,
        some_id,
    )
    if not rows:
        rows = await db.fetch(
            """
            SELECT $1::uuid AS node, NULL::uuid AS batch_id, $1::uuid AS name_id, named.item_id, named.batch_no,
                   item.name AS item_name, item.base_unit, named.supplier_batch_no
            FROM (
                (SELECT consumed_item AS item_id, consumed_batch_no AS batch_no, supplier_batch_no
                 FROM link WHERE consumed = $1 LIMIT 1)
                UNION ALL
                (SELECT item_id, batch_no, NULL FROM report WHERE name_id = $1 LIMIT 1)
                LIMIT 1
            ) AS named
            LEFT JOIN item USING (item_id)
            """,
            some_id,
        )
    return [Node(**row) for row in rows]


async def find_named(db: Connection, item_id: str, batch_no: str) -> list[Node]:
    """Every node that bears an item's batch number; where no batch does, those whose supplier gave them that number."""
    found = await find_nodes(db, name_id(item_id, batch_no))
    if any(node.batch_id is not None for node in found):
        return found
    rows = await db.fetch(
        f"""
        SELECT {_NODE_COLUMNS}
        FROM batch
        LEFT JOIN item USING (item_id)
        LEFT JOIN partner ON partner.partner_id = batch.supplier_id
        WHERE batch.supplier_batch_no = $2 AND batch.item_id = $1
        ORDER BY batch.batch_id
        """,
        item_id,
        batch_no,
    )
    return [Node(**row) for row in rows] or found


async def search_batches(
    db: Connection,
    *,
    item_id: str | None,
    batch_no: str | None,
    supplier_batch_no: str | None,
    q: str | None,
    after: tuple[str, str, UUID] | None,
    limit: int,
) -> list[Node]:
    """Batches in the order of item and number, `limit` at most.

    `q` is the beginning of a batch number, of a supplier's number, or an item. Names that were only ever consumed or
    reported are found by item and number, by number, or by `q`.
    """
    values: list[Any] = []

    def value(given: Any) -> str:
        values.append(given)
        return f"${len(values)}"

    wanted = ["TRUE"]
    named = ["TRUE"]

    def both(condition: str) -> None:
        wanted.append(condition.format(it="batch", id="batch_id"))
        named.append(condition.format(it="named", id="name_id"))

    if item_id is not None:
        both(f"{{it}}.item_id = {value(item_id)}")
    if batch_no is not None:
        both(f"{{it}}.batch_no = {value(batch_no)}")
    if supplier_batch_no is not None:
        wanted.append(f"batch.supplier_batch_no = {value(supplier_batch_no)}")
    if q is not None:
        first, last = value(q), value(q + chr(0x10FFFF))
        wanted.append(
            f"(batch.batch_no >= {first} AND batch.batch_no < {last}"
            f" OR batch.supplier_batch_no >= {first} AND batch.supplier_batch_no < {last}"
            f" OR batch.item_id = {first})"
        )
        named.append(f"named.batch_no >= {first} AND named.batch_no < {last}")
    if after is not None:
        both(
            f"({{it}}.item_id, {{it}}.batch_no, {{it}}.{{id}}) > "
            f"({value(after[0])}, {value(after[1])}, {value(after[2])}::uuid)"
        )
    top = value(limit)
    only_named = ""
    if supplier_batch_no is None and (batch_no is not None or q is not None):
        only_named = f"""
            UNION ALL
            (SELECT name_id, NULL, name_id, item_id, batch_no, item.name, item.base_unit, NULL, NULL, NULL, NULL,
                    NULL, NULL, NULL, NULL, NULL
             FROM (SELECT consumed AS name_id, consumed_item AS item_id, consumed_batch_no AS batch_no FROM link
                   UNION
                   SELECT name_id, item_id, batch_no FROM report) AS named
             LEFT JOIN item USING (item_id)
             WHERE {" AND ".join(named)} AND NOT EXISTS (SELECT FROM batch WHERE batch.name_id = named.name_id)
             ORDER BY item_id, batch_no, name_id
             LIMIT {top})
        """
    rows = await db.fetch(
        f"""
        SELECT * FROM (
            (SELECT {_NODE_COLUMNS}
             FROM batch
             LEFT JOIN item USING (item_id)
             LEFT JOIN partner ON partner.partner_id = batch.supplier_id
             WHERE {" AND ".join(wanted)}
             ORDER BY batch.item_id, batch.batch_no, batch.batch_id
             LIMIT {top})
            {only_named}
        ) AS found
        ORDER BY item_id, batch_no, node
        LIMIT {top}
        """,
        *values,
    )
    return [Node(*row) for row in rows]


# --- genealogy

_LINK_FIELDS = Link._fields
"""The columns of a link come in the order of its fields, as those of a node do."""

_ENDS = {Direction.DOWN: ("consumed", "produced"), Direction.UP: ("produced", "consumed")}


async def find_genealogy(
    db: Connection,
    starts: Collection[Node],
    direction: Direction,
    *,
    depth: int | None = None,
    at: dt.datetime | None = None,
) -> Found:
    """All links that lead away from the starts' names, `depth` steps far, and what is known of the nodes they join.

    Names are walked in the database in one statement (each link is taken once, so cycles end; with a `depth`, the depth
    ends them). No way leads on through a link that was superseded: its `far` is NULL. Which batch a name means and what
    time allows is decided by `Genealogy` afterwards, so this is a little more than a walk will take. `at`: only what
    had begun by then.

    `OFFSET 0` keeps the planner at one index look-up per name: it cannot know how few names there are, and would read
    the whole table of links instead.
    """
    near, far = _ENDS[direction]
    names = [*{node.name_id for node in starts}, *await _names_by_supplier_number(db, starts)]
    rows = await db.fetch(
        f"""
        WITH RECURSIVE reached AS (
            SELECT start.name_id AS far, 0 AS step, link.*, NULL::uuid AS superseded_by
            FROM unnest($1::uuid[]) AS start (name_id)
            LEFT JOIN link ON FALSE  -- a start is reached by no link
            UNION
            SELECT CASE WHEN taken.superseded_by IS NULL THEN taken.{far} END,
                   CASE WHEN $2 IS NULL THEN 0 ELSE near.step + 1 END, taken.*
            FROM (SELECT DISTINCT far, step FROM reached WHERE $2::int IS NULL OR step < $2) AS near
            CROSS JOIN LATERAL (
                SELECT link.*,
                       (SELECT newer.report_id FROM report AS newer WHERE newer.corrects = link.report_id LIMIT 1)
                           AS superseded_by
                FROM link
                WHERE link.{near} = near.far AND ($3::timestamptz IS NULL OR link.started_at <= $3)
                OFFSET 0
            ) AS taken
        )
        SELECT DISTINCT report_id, line_no, consumed, produced, quantity, unit, mode, work_order, started_at, ended_at,
               supplier_batch_no, superseded_by, consumed_item, consumed_batch_no, produced_item, produced_batch_no
        FROM reached
        WHERE report_id IS NOT NULL
        """,
        names,
        depth,
        at,
    )
    links = [Link(*row[: len(_LINK_FIELDS)]) for row in rows]
    names = list({*names, *(link.consumed for link in links), *(link.produced for link in links)})
    numbers = {(row["consumed_item"], row["consumed_batch_no"]) for row in rows}
    numbers |= {(row["consumed_item"], row["supplier_batch_no"]) for row in rows if row["supplier_batch_no"]}
    numbers |= {(node.item_id, node.batch_no) for node in starts if node.batch_id is None}
    bearers = await db.fetch(
        f"""
        SELECT {_NODE_COLUMNS}
        FROM (SELECT batch.batch_id
              FROM unnest($1::uuid[]) AS name (name_id)
              JOIN batch USING (name_id)
              UNION
              SELECT numbered.batch_id
              FROM unnest($2::text[], $3::text[]) AS asked (item_id, number)
              CROSS JOIN LATERAL (
                  SELECT batch_id FROM batch
                  WHERE batch.supplier_batch_no = asked.number AND batch.item_id = asked.item_id
                  OFFSET 0
              ) AS numbered) AS meant
        JOIN batch USING (batch_id)
        LEFT JOIN item USING (item_id)
        LEFT JOIN partner ON partner.partner_id = batch.supplier_id
        """,
        names,
        *columns(numbers, 2),
    )
    batches = [Node(*row) for row in bearers]
    genealogy = Genealogy(
        links,
        (
            Bearer(batch.node, batch.name_id, batch.origin == Origin.PRODUCTION, batch.supplier_batch_no, batch.item_id)
            for batch in batches
        ),
    )
    nodes = {batch.node: batch for batch in batches}
    registered = {batch.name_id for batch in batches}
    for node in starts:
        if node.name_id not in registered:
            nodes[node.name_id] = node
    for row in rows:
        consumed, produced = row["consumed"], row["produced"]
        if consumed not in registered:
            number, supplier_batch_no = row["consumed_batch_no"], row["supplier_batch_no"]
            nodes[consumed] = Node(
                consumed, None, consumed, row["consumed_item"], number, supplier_batch_no=supplier_batch_no
            )
        if produced not in registered and produced not in nodes:
            nodes[produced] = Node(produced, None, produced, row["produced_item"], row["produced_batch_no"])
    return Found(genealogy, nodes)


async def _names_by_supplier_number(db: Connection, nodes: Collection[Node]) -> set[UUID]:
    """The other names under which a supplier's batches may have been consumed: their supplier's number, in each place
    where a report can say it."""
    numbered = {(node.item_id, node.supplier_batch_no) for node in nodes if node.batch_id and node.supplier_batch_no}
    if not numbered:
        return set()
    rows = await db.fetch(
        """
        SELECT DISTINCT named.consumed
        FROM unnest($1::text[], $2::text[]) AS asked (item_id, number)
        CROSS JOIN LATERAL (
            SELECT consumed FROM link
            WHERE link.supplier_batch_no = asked.number AND link.consumed_item = asked.item_id
            OFFSET 0
        ) AS named
        """,
        *columns(numbered, 2),
    )
    return {row["consumed"] for row in rows} | {name_id(item_id, number or "") for item_id, number in numbered}


async def bearers_of_numbers(db: Connection, numbers: Collection[tuple[str, str]]) -> set[UUID]:
    """The names of batches whose supplier gave them one of these (item, number)."""
    rows = await db.fetch(
        """
        SELECT DISTINCT batch.name_id
        FROM unnest($1::text[], $2::text[]) AS asked (item_id, number)
        JOIN batch ON batch.supplier_batch_no = asked.number AND batch.item_id = asked.item_id
        """,
        *columns(numbers, 2),
    )
    return {row["name_id"] for row in rows}


# --- what a batch's quantity is, and where


@dataclass(slots=True)
class Standing:
    """Everything that is known of one node's quantity. Quantities in the item's base unit."""

    unit: str | None = None
    flows: dict[Spot, Flow] = field(default_factory=dict)
    claims: Claims = field(default_factory=Claims)
    deliveries: list[Row] = field(default_factory=list)
    promises: list[Row] = field(default_factory=list)
    staged: list[Row] = field(default_factory=list)
    in_transit: list[Row] = field(default_factory=list)
    holds: list[Row] = field(default_factory=list)
    revocations: list[Row] = field(default_factory=list)

    @property
    def account(self) -> Account:
        """The account of it."""
        return account_of(self.flows, self.claims)


_FLOWS_NOW = """
    SELECT batch_id, unit, kind, site_id, location_id, partner_id, quality, came, went
    FROM custody
    WHERE batch_id = ANY($1)
"""


async def find_flows(
    db: Connection, batch_ids: Collection[UUID], as_of: dt.datetime | None = None
) -> dict[UUID, tuple[str, dict[Spot, Flow]]]:
    """Unit and flows of each batch: now, or as they were at a moment, by when things happened."""
    found: dict[UUID, tuple[str, dict[Spot, Flow]]] = {}
    if as_of is None:
        for row in await db.fetch(_FLOWS_NOW, list(batch_ids)):
            _, flows = found.setdefault(row["batch_id"], (row["unit"], {}))
            spot = Spot(PlaceKind(row["kind"]), row["site_id"], row["location_id"], row["partner_id"], row["quality"])
            flows[spot] = Flow(row["came"], row["went"])
        return found
    rows = await db.fetch(
        "SELECT * FROM movement WHERE batch_id = ANY($1) AND effective_at <= $2", list(batch_ids), as_of
    )
    steps: dict[UUID, list[Step]] = defaultdict(list)
    units: dict[UUID, str] = {}
    for row in rows:
        units[row["batch_id"]] = row["unit"]
        steps[row["batch_id"]].append(
            Step(row["quantity"], _spot(row, "from"), _spot(row, "to"), undoes=row["reverses"] is not None)
        )
    return {batch_id: (units[batch_id], flows_of(taken)) for batch_id, taken in steps.items()}


def _spot(row: Row, end: str) -> Spot:
    return Spot(
        PlaceKind(row[f"{end}_kind"]),
        row[f"{end}_site_id"],
        row[f"{end}_location_id"],
        row[f"{end}_partner_id"],
        row[f"{end}_quality"],
    )


async def find_deliveries(
    db: Connection, batch_ids: Collection[UUID], as_of: dt.datetime | None = None
) -> dict[UUID, list[Row]]:
    """What left for customers, per batch, in the order it left. An issue that was booked back is none.

    `OFFSET 0` keeps the planner at one index look-up per issue: planned for any `as_of`, it would read all movements
    for each of them instead.
    """
    rows = await db.fetch(
        """
        SELECT movement.batch_id,
               coalesce(nullif(movement.to_partner_id, ''), dispatch.customer_id, '') AS partner_id,
               partner.name         AS partner_name,
               movement.quantity, movement.unit,
               movement.effective_at AS shipped_at,
               dispatch.reference, dispatch.demand_id, dispatch.shipment_id, dispatch.carrier
        FROM movement
        LEFT JOIN dispatch USING (line_id)
        LEFT JOIN partner ON partner.partner_id = coalesce(nullif(movement.to_partner_id, ''), dispatch.customer_id)
        WHERE movement.batch_id = ANY($1)
          AND movement.to_kind = 'customer'
          AND movement.reverses IS NULL
          AND ($2::timestamptz IS NULL OR movement.effective_at <= $2)
          AND NOT EXISTS (SELECT FROM movement AS undone
                          WHERE undone.reverses = movement.movement_id
                            AND ($2 IS NULL OR undone.effective_at <= $2)
                          OFFSET 0)
        ORDER BY movement.effective_at, movement.movement_id
        """,
        list(batch_ids),
        as_of,
    )
    return _by_batch(rows)


def _by_batch(rows: Iterable[Row]) -> dict[UUID, list[Row]]:
    found: dict[UUID, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["batch_id"]].append(row)
    return found


async def find_claims(
    db: Connection, nodes: Collection[Node], links_out: Found | None, as_of: dt.datetime | None = None
) -> dict[UUID, tuple[str | None, Claims]]:
    """What production and the dock say of each node, with a unit. `links_out`: what left the nodes, if it is known."""
    produced = {
        row["name_id"]: row
        for row in await db.fetch(
            """
            SELECT name_id, sum(quantity) AS quantity, min(unit) AS unit
            FROM report
            WHERE name_id = ANY($1)
              AND ($2::timestamptz IS NULL OR ended_at <= $2)
              AND NOT EXISTS (SELECT FROM report AS newer WHERE newer.corrects = report.report_id)
            GROUP BY name_id
            """,
            list({node.name_id for node in nodes}),
            as_of,
        )
    }
    received = {
        row["batch_id"]: row
        for row in await db.fetch(
            """
            SELECT batch_id, sum(quantity) AS quantity, min(unit) AS unit
            FROM receipt
            WHERE batch_id = ANY($1) AND origin <> 'customer' AND ($2::timestamptz IS NULL OR received_at <= $2)
            GROUP BY batch_id
            """,
            [node.batch_id for node in nodes if node.batch_id is not None],
            as_of,
        )
    }
    claims = {}
    for node in nodes:
        made = produced.get(node.name_id) if node.origin in {None, Origin.PRODUCTION} else None
        counted = received.get(node.node)
        consumed: Decimal | None = None
        if links_out is not None:
            edges = [
                edge
                for edge in links_out.genealogy.edges(node.node, Direction.DOWN)
                if as_of is None or edge.link.ended_at <= as_of
            ]
            if all(edge.certain for edge in edges):
                consumed = sum((edge.link.quantity for edge in edges), Decimal(0))
        claims[node.node] = (
            made["unit"] if made else counted["unit"] if counted else None,
            Claims(
                produced=made["quantity"] if made else None,
                received=counted["quantity"] if counted else None,
                consumed=consumed,
            ),
        )
    return claims


async def find_standings(
    db: Connection,
    nodes: Collection[Node],
    links_out: Found,
    *,
    recall: tuple[UUID, dt.datetime] | None = None,
    as_of: dt.datetime | None = None,
) -> dict[UUID, Standing]:
    """Where the quantity of each node stands. `recall` (id, opened at) adds the holds and revocations since then."""
    standings = {node.node: Standing(unit=node.base_unit) for node in nodes}
    batch_ids = [node.batch_id for node in nodes if node.batch_id is not None]
    for batch_id, (unit, flows) in (await find_flows(db, batch_ids, as_of)).items():
        standings[batch_id].unit = unit
        standings[batch_id].flows = flows
    for node, (claimed_unit, claims) in (await find_claims(db, nodes, links_out, as_of)).items():
        standings[node].claims = claims
        standings[node].unit = standings[node].unit or claimed_unit
    for batch_id, rows in (await find_deliveries(db, batch_ids, as_of)).items():
        standings[batch_id].deliveries = rows
    if as_of is None:
        await _add_commitments(db, batch_ids, standings)
    holds = await db.fetch(
        """
        SELECT hold.*
        FROM hold
        WHERE batch_id = ANY($1) AND (lifted_at IS NULL OR reference = $2)
        ORDER BY placed_at, hold_id
        """,
        batch_ids,
        str(recall[0]) if recall else None,
    )
    for batch_id, rows in _by_batch(holds).items():
        standings[batch_id].holds = rows
    if recall:
        revoked = await db.fetch(
            """
            SELECT revocation.*, partner.name AS partner_name
            FROM revocation
            LEFT JOIN partner ON partner.partner_id = revocation.customer_id
            WHERE batch_id = ANY($1) AND revoked_at >= $2 AND code IN ('recalled', 'held', 'refused_at_gate')
            ORDER BY revoked_at, reservation_id
            """,
            batch_ids,
            recall[1],
        )
        for batch_id, rows in _by_batch(revoked).items():
            standings[batch_id].revocations = rows
    return standings


async def _add_commitments(db: Connection, batch_ids: Sequence[UUID], standings: Mapping[UUID, Standing]) -> None:
    """What is promised, what people picked and nobody sent or took back, what stands at the gate."""
    promises = await db.fetch(
        """
        SELECT promise.*, partner.name AS partner_name
        FROM promise
        LEFT JOIN partner ON partner.partner_id = promise.customer_id
        WHERE batch_id = ANY($1)
          AND NOT EXISTS (SELECT FROM pick WHERE pick.reservation_id = promise.reservation_id)
        ORDER BY reference, reservation_id
        """,
        batch_ids,
    )
    for batch_id, rows in _by_batch(promises).items():
        standings[batch_id].promises = rows
    staged = await db.fetch(
        """
        SELECT picked.batch_id, picked.demand_id, picked.customer_id, partner.name AS partner_name,
               picked.quantity - coalesce(sent.quantity, 0) AS quantity
        FROM (SELECT batch_id, demand_id, min(customer_id) AS customer_id, sum(quantity) AS quantity
              FROM pick
              WHERE batch_id = ANY($1)
                AND NOT EXISTS (SELECT FROM revocation WHERE revocation.reservation_id = pick.reservation_id)
              GROUP BY batch_id, demand_id) AS picked
        LEFT JOIN (SELECT batch_id, demand_id, sum(quantity) AS quantity
                   FROM dispatch WHERE batch_id = ANY($1) GROUP BY batch_id, demand_id) AS sent
             USING (batch_id, demand_id)
        LEFT JOIN partner ON partner.partner_id = picked.customer_id
        WHERE picked.quantity > coalesce(sent.quantity, 0)
        ORDER BY picked.demand_id
        """,
        batch_ids,
    )
    for batch_id, rows in _by_batch(staged).items():
        standings[batch_id].staged = rows
    in_transit = await db.fetch(
        """
        SELECT dispatch.*, partner.name AS partner_name
        FROM dispatch
        LEFT JOIN partner ON partner.partner_id = dispatch.customer_id
        WHERE batch_id = ANY($1)
          AND NOT EXISTS (SELECT FROM movement WHERE movement.line_id = dispatch.line_id)
          AND NOT EXISTS (SELECT FROM refusal WHERE refusal.line_id = dispatch.line_id)
        ORDER BY dispatched_at, line_id
        """,
        batch_ids,
    )
    for batch_id, rows in _by_batch(in_transit).items():
        standings[batch_id].in_transit = rows


class Totals(NamedTuple):
    """How much of a batch is on hand and with customers (base unit)."""

    unit: str
    on_hand: Decimal
    shipped: Decimal


async def find_totals(db: Connection, batch_ids: Collection[UUID]) -> dict[UUID, Totals]:
    """On hand and with customers, per batch, now."""
    rows = await db.fetch(
        """
        SELECT batch_id, min(unit) AS unit,
               coalesce(sum(came - went) FILTER (WHERE kind = 'location'), 0) AS on_hand,
               coalesce(sum(came - went) FILTER (WHERE kind = 'customer'), 0) AS shipped
        FROM custody
        WHERE batch_id = ANY($1)
        GROUP BY batch_id
        """,
        list(batch_ids),
    )
    return {row["batch_id"]: Totals(row["unit"], row["on_hand"], row["shipped"]) for row in rows}


async def find_receipts(db: Connection, batch_ids: Collection[UUID]) -> dict[UUID, list[Row]]:
    """What was counted at the dock, per batch, with who sent it."""
    rows = await db.fetch(
        """
        SELECT receipt.batch_id, receipt.receipt_id, receipt.partner_id, partner.name AS partner_name, receipt.origin,
               receipt.quantity, receipt.unit, receipt.site_id, receipt.reference, receipt.received_at
        FROM receipt
        LEFT JOIN partner USING (partner_id)
        WHERE batch_id = ANY($1)
        ORDER BY received_at, receipt_id, line_no
        """,
        list(batch_ids),
    )
    return _by_batch(rows)


async def find_reports(db: Connection, name: UUID) -> list[Row]:
    """The production reports of a name that stand, in their sequence."""
    return list(
        await db.fetch(
            """
            SELECT * FROM report
            WHERE name_id = $1 AND NOT EXISTS (SELECT FROM report AS newer WHERE newer.corrects = report.report_id)
            ORDER BY sequence, report_id
            """,
            name,
        )
    )


async def find_open_holds(db: Connection, batch_id: UUID) -> list[Row]:
    """The holds on a batch that are not lifted, oldest first."""
    return list(
        await db.fetch(
            "SELECT * FROM hold WHERE batch_id = $1 AND lifted_at IS NULL ORDER BY placed_at, hold_id", batch_id
        )
    )


async def find_timeline(
    db: Connection, subjects: Collection[UUID], after: tuple[dt.datetime, int] | None, limit: int
) -> list[Row]:
    """Lines of a timeline, oldest first, `limit` at most."""
    return list(
        await db.fetch(
            """
            SELECT line.*
            FROM unnest($1::uuid[]) AS wanted (subject)
            CROSS JOIN LATERAL (
                SELECT * FROM timeline
                WHERE timeline.subject = wanted.subject
                  AND ($2::timestamptz IS NULL OR (timeline.at, timeline.id) > ($2, $3::bigint))
                ORDER BY timeline.at, timeline.id
                LIMIT $4
            ) AS line
            ORDER BY line.at, line.id
            LIMIT $4
            """,
            list(subjects),
            after[0] if after else None,
            after[1] if after else None,
            limit,
        )
    )


# --- recalls


async def recalls_touched(db: Connection, names: Collection[UUID]) -> list[Row]:
    """Open recalls, no drills, whose scope has one of these names and did not lift it."""
    return list(
        await db.fetch(
            """
            SELECT recall.*
            FROM recall
            WHERE closed_at IS NULL
              AND NOT drill
              AND EXISTS (SELECT FROM recall_batch
                          WHERE recall_batch.recall_id = recall.recall_id
                            AND recall_batch.name_id = ANY($1) AND recall_batch.lifted_at IS NULL)
            ORDER BY opened_at, recall_id
            """,
            list(names),
        )
    )


async def find_recall(db: Connection, recall_id: UUID) -> Row | None:
    """One recall."""
    return await db.fetchrow("SELECT * FROM recall WHERE recall_id = $1", recall_id)


async def open_recall_of(db: Connection, seed: UUID) -> UUID | None:
    """The open recall of a seed, if there is one; a drill is none."""
    found: UUID | None = await db.fetchval(
        "SELECT recall_id FROM recall WHERE seed = $1 AND closed_at IS NULL AND NOT drill", seed
    )
    return found


async def find_scope(db: Connection, recall_id: UUID) -> list[Row]:
    """The nodes of a recall's scope, nearest first."""
    return list(
        await db.fetch(
            "SELECT * FROM recall_batch WHERE recall_id = $1 ORDER BY depth, item_id, batch_no, node", recall_id
        )
    )


async def find_members(db: Connection, scope: Collection[Row]) -> list[Node]:
    """What is known of the nodes of a scope, in its order, also of those that a correction has cut off since."""
    rows = await db.fetch(
        f"""
        SELECT {_NODE_COLUMNS}
        FROM unnest($1::uuid[]) AS member (batch_id)
        JOIN batch USING (batch_id)
        LEFT JOIN item USING (item_id)
        LEFT JOIN partner ON partner.partner_id = batch.supplier_id
        """,
        [row["node"] for row in scope],
    )
    known = {row["node"]: Node(*row) for row in rows}
    return [
        known.get(row["node"]) or Node(row["node"], None, row["name_id"], row["item_id"], row["batch_no"])
        for row in scope
    ]


def members_of(scope: Iterable[Row]) -> list[Member]:
    """A scope as the domain sees it."""
    return [Member(row["node"], row["lifted_at"] is not None) for row in scope]


async def list_recalls(
    db: Connection, *, open_only: bool, after: tuple[dt.datetime, UUID] | None, limit: int
) -> list[Row]:
    """Recalls, the latest first."""
    return list(
        await db.fetch(
            """
            SELECT recall.*,
                   (SELECT count(*) FROM recall_batch WHERE recall_batch.recall_id = recall.recall_id) AS batches
            FROM recall
            WHERE (NOT $1 OR closed_at IS NULL)
              AND ($2::timestamptz IS NULL OR (opened_at, recall_id) < ($2, $3::uuid))
            ORDER BY opened_at DESC, recall_id DESC
            LIMIT $4
            """,
            open_only,
            after[0] if after else None,
            after[1] if after else None,
            limit,
        )
    )
