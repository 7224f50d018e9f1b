"""All SQL that decides or changes: what a chunk needs is read in one statement per purpose, written in one per table.

Every method expects that the items concerned are locked (`Work.lock`).
"""

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
from asyncpg import Record

from contracts.integration import ItemDefined, PartnerDefined
from contracts.values import Strategy
from delivery import Connection, columns
from services.allocation.domain.aisles import Aisle, Shelf
from services.allocation.domain.claims import Claim, ClaimStatus
from services.allocation.domain.picking import Pick
from services.allocation.domain.stock import Spot, Stock
from services.allocation.domain.terms import Demand, LifeRule

WITHHELD_SEEN = 25
"""Of stock that cannot be promised, this many rows of a shelf are looked at to explain a plan."""

PROMISED_SEEN = 20
"""Of stock that is all promised to others, this many rows are looked at to explain a shortage."""

ELSEWHERE_SEEN = 5
"""Of stock at other sites, this many rows before and after the demand's site, to explain a shortage."""


@dataclass(frozen=True, slots=True)
class ItemTerms:
    """What is known of an item. `sequence` is the last of inventory's that took effect here."""

    expiry_required: bool = True
    sequence: int = 0
    base_unit: str | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """A share that a demand has already, as it is said again."""

    reservation_id: UUID
    batch_id: UUID
    batch_no: str
    location_id: str
    quantity: Decimal
    expires_on: dt.date | None


@dataclass(frozen=True, slots=True)
class NewReservation:
    """A promise to write."""

    reservation_id: UUID
    demand: Demand
    plan_id: UUID
    spot: Spot
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class NewPlan:
    """A decision to keep."""

    plan_id: UUID
    demand: Demand
    sequence: int
    policy: str
    inputs: dict[str, Any]
    outcome: dict[str, Any]


@dataclass(frozen=True, slots=True)
class PickedShare:
    """What was fetched and waits in staging to be shipped."""

    reservation_id: UUID
    demand_id: UUID
    customer_id: str
    site_id: str
    item_id: str
    batch_id: UUID
    batch_no: str
    quantity: Decimal
    unit: str


@dataclass(frozen=True, slots=True)
class NewShipment:
    """A shipment to keep; `lines` are (line, reservation)."""

    shipment_id: UUID
    customer_id: str
    site_id: str
    carrier: str | None
    created_by: str
    lines: tuple[tuple[UUID, UUID], ...]


@dataclass(frozen=True, slots=True)
class KnownSpot:
    """A spot as it stands before a movement."""

    free: Decimal
    purpose: str


@dataclass(frozen=True, slots=True)
class BatchSeen:
    """What a movement said of a batch."""

    batch_id: UUID
    item_id: str
    batch_no: str
    manufactured_on: dt.date | None
    expires_on: dt.date | None
    received_on: dt.date | None
    first_seen_on: dt.date


@dataclass(frozen=True, slots=True)
class HoldSeen:
    """A hold as it was placed; without site or location it covers every one."""

    hold_id: UUID
    batch_id: UUID
    item_id: str
    kind: str
    site_id: str | None
    location_id: str | None
    reason: str
    placed_at: dt.datetime


_STOCK = "batch_id, site_id, location_id, quality, batch_no, purpose, free, received_on, expires_on, manufactured_on"

_HELD_FOR = """
    (SELECT string_agg(hold.kind || ' (' || hold.reason || ')', '; ' ORDER BY hold.placed_at, hold.hold_id)
     FROM hold
     WHERE hold.batch_id = found.batch_id AND hold.lifted_at IS NULL
       AND (hold.site_id IS NULL OR hold.site_id = found.site_id)
       AND (hold.location_id IS NULL OR hold.location_id = found.location_id))
"""

_IS_HELD = """
    EXISTS (SELECT FROM hold
            WHERE hold.batch_id = {row}.batch_id AND hold.lifted_at IS NULL
              AND (hold.site_id IS NULL OR hold.site_id = {row}.site_id)
              AND (hold.location_id IS NULL OR hold.location_id = {row}.location_id))
"""

# New rows are copied in: a chunk's worth costs a third of what `unnest` does.
_DEMAND_COLUMNS = (
    "demand_id", "reference", "customer_id", "site_id", "item_id", "unit", "quantity", "missing", "needed_on",
    "strategy", "batch_no", "min_days_left", "min_percent_left", "raised_at",
)  # fmt: skip
_PLAN_COLUMNS = (
    "plan_id", "demand_id", "item_id", "inventory_sequence", "policy", "inputs", "outcome", "decided_at",
)  # fmt: skip
_RESERVATION_COLUMNS = (
    "reservation_id", "demand_id", "plan_id", "item_id", "batch_id", "site_id", "location_id", "quality", "quantity",
    "promised_at", "changed_at",
)  # fmt: skip

OPEN_CLAIM = "status IN ('promised', 'picked', 'dispatching', 'stopped')"


def _stock(row: Record, held_for: str = "", promised: Decimal = Decimal(0)) -> Stock:
    return Stock(
        Spot(row["batch_id"], row["site_id"], row["location_id"], row["quality"]),
        row["batch_no"],
        row["purpose"],
        row["free"],
        row["received_on"],
        row["expires_on"],
        row["manufactured_on"],
        held_for,
        promised,
    )


def demand_of(row: Record) -> Demand:
    """A row of `demand` as a value."""
    return Demand(
        demand_id=row["demand_id"],
        reference=row["reference"],
        customer_id=row["customer_id"],
        site_id=row["site_id"],
        item_id=row["item_id"],
        unit=row["unit"],
        quantity=row["quantity"],
        missing=row["missing"],
        needed_on=row["needed_on"],
        strategy=Strategy(row["strategy"]),
        batch_no=row["batch_no"],
        min_days_left=row["min_days_left"],
        min_percent_left=row["min_percent_left"],
        raised_at=row["raised_at"],
    )


class AllocationStore:
    """The tables of allocation, within one transaction."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    # The catalog.

    async def define_items(self, items: Collection[ItemDefined]) -> set[str]:
        """Keep definitions that are newer than what is known; returns the items whose expiry became optional."""
        rows = await self._db.fetch(
            """
            WITH before AS (SELECT item_id, expiry_required FROM item WHERE item_id = ANY($1::text[]))
            INSERT INTO item (item_id, base_unit, expiry_required, gtins, revision)
            SELECT item_id, base_unit, expiry_required, string_to_array(gtins, ' '), revision
            FROM unnest($1::text[], $2::text[], $3::bool[], $4::text[], $5::int[])
                 AS said (item_id, base_unit, expiry_required, gtins, revision)
            ON CONFLICT (item_id) DO UPDATE
            SET base_unit = excluded.base_unit, expiry_required = excluded.expiry_required, gtins = excluded.gtins,
                revision = excluded.revision
            WHERE item.revision < excluded.revision
            RETURNING item_id, expiry_required,
                      (SELECT before.expiry_required FROM before WHERE before.item_id = item.item_id) AS required_before
            """,
            *columns(
                (
                    (
                        item.item_id,
                        item.base_unit,
                        item.expiry_required,
                        " ".join(alias.gtin for alias in item.gtins),
                        item.revision,
                    )
                    for item in items
                ),
                5,
            ),
        )
        return {row["item_id"] for row in rows if not row["expiry_required"] and row["required_before"] is not False}

    async def define_customers(self, partners: Collection[PartnerDefined]) -> set[str]:
        """Keep definitions that are newer than what is known; returns the customers whose rules changed."""
        rows = await self._db.fetch(
            """
            WITH before AS (SELECT customer_id, shelf_life_rules FROM customer WHERE customer_id = ANY($1::text[]))
            INSERT INTO customer (customer_id, name, shelf_life_rules, active, revision)
            SELECT * FROM unnest($1::text[], $2::text[], $3::jsonb[], $4::bool[], $5::int[])
            ON CONFLICT (customer_id) DO UPDATE
            SET name = excluded.name, shelf_life_rules = excluded.shelf_life_rules, active = excluded.active,
                revision = excluded.revision
            WHERE customer.revision < excluded.revision
            RETURNING customer_id, shelf_life_rules IS DISTINCT FROM
                      (SELECT before.shelf_life_rules FROM before
                       WHERE before.customer_id = customer.customer_id) AS changed
            """,
            *columns(
                (
                    (
                        partner.partner_id,
                        partner.name,
                        {"rules": [rule.model_dump(exclude_none=True) for rule in partner.shelf_life_rules]},
                        partner.active,
                        partner.revision,
                    )
                    for partner in partners
                ),
                5,
            ),
        )
        return {row["customer_id"] for row in rows if row["changed"]}

    # What a plan is made from.

    async def items(self, item_ids: Iterable[str]) -> dict[str, ItemTerms]:
        """What is known of these items; those never heard of are absent."""
        rows = await self._db.fetch(
            "SELECT item_id, expiry_required, sequence, base_unit FROM item WHERE item_id = ANY($1::text[])",
            [*{*item_ids}],
        )
        return {row["item_id"]: ItemTerms(row["expiry_required"], row["sequence"], row["base_unit"]) for row in rows}

    async def life_rules(self, customer_ids: Iterable[str]) -> dict[str, list[LifeRule]]:
        """What these customers want left of a batch's life."""
        rows = await self._db.fetch(
            "SELECT customer_id, shelf_life_rules FROM customer WHERE customer_id = ANY($1::text[])",
            [*{*customer_ids}],
        )
        return {
            row["customer_id"]: [
                LifeRule(rule.get("item_id"), rule.get("min_days"), rule.get("min_percent"))
                for rule in row["shelf_life_rules"]["rules"]
            ]
            for row in rows
        }

    async def along(self, aisles: Sequence[Aisle]) -> list[list[Stock]]:
        """The beginning of each aisle, in its order: as many rows as are needed by quantity, and no more than allowed.

        One index walk an aisle. The window sums up what was walked past, so that nothing beyond the need is returned.
        """
        rows = await self._db.fetch(
            f"""
            SELECT aisle.n, found.*
            FROM unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::text[], $6::date[], $7::numeric[], $8::int[])
                 AS aisle (n, item_id, site_id, strategy, batch_no, from_day, need, most)
            CROSS JOIN LATERAL (
                SELECT *
                FROM (SELECT *, sum(free) OVER (ROWS UNBOUNDED PRECEDING) - free AS before
                      FROM (
                            (SELECT {_STOCK} FROM shelf
                             WHERE aisle.strategy = 'fefo' AND offered AND shelf.item_id = aisle.item_id
                               AND shelf.site_id = aisle.site_id AND use_by >= aisle.from_day
                             ORDER BY use_by, received_on, batch_no, batch_id, location_id
                             LIMIT aisle.most)
                            UNION ALL
                            (SELECT {_STOCK} FROM shelf
                             WHERE aisle.strategy = 'fifo' AND offered AND shelf.item_id = aisle.item_id
                               AND shelf.site_id = aisle.site_id AND use_by >= aisle.from_day
                             ORDER BY received_on, use_by, batch_no, batch_id, location_id
                             LIMIT aisle.most)
                            UNION ALL
                            (SELECT {_STOCK} FROM shelf
                             WHERE aisle.strategy = 'lifo' AND offered AND shelf.item_id = aisle.item_id
                               AND shelf.site_id = aisle.site_id AND use_by >= aisle.from_day
                             ORDER BY received_on DESC, use_by, batch_no, batch_id, location_id
                             LIMIT aisle.most)
                            UNION ALL
                            (SELECT {_STOCK} FROM shelf
                             WHERE aisle.strategy = 'specified' AND shelf.item_id = aisle.item_id
                               AND shelf.site_id = aisle.site_id AND shelf.batch_no = aisle.batch_no AND free > 0
                             ORDER BY offered DESC, use_by, received_on, batch_no, batch_id, location_id
                             LIMIT aisle.most)
                      ) AS walked
                ) AS summed
                WHERE before < aisle.need
            ) AS found
            """,
            *columns(
                (
                    (
                        n,
                        *aisle.shelf,
                        str(aisle.strategy),
                        aisle.batch_no,
                        aisle.from_day,
                        aisle.need,
                        aisle.rows,
                    )
                    for n, aisle in enumerate(aisles)
                ),
                8,
            ),
        )
        found: list[list[Stock]] = [[] for _ in aisles]
        for row in rows:
            found[row["n"]].append(_stock(row))
        named = [n for n, aisle in enumerate(aisles) if aisle.strategy is Strategy.SPECIFIED]
        if any(found[n] for n in named):
            reasons = await self._held_for({stock.spot.batch_id for n in named for stock in found[n]})
            for n in named:
                found[n] = [stock._replace(held_for=_covering(reasons, stock.spot)) for stock in found[n]]
        return found

    async def _held_for(self, batch_ids: Collection[UUID]) -> list[Record]:
        return await self._db.fetch(
            """
            SELECT batch_id, site_id, location_id, kind || ' (' || reason || ')' AS words
            FROM hold
            WHERE batch_id = ANY($1::uuid[]) AND lifted_at IS NULL
            ORDER BY placed_at, hold_id
            """,
            [*batch_ids],
        )

    async def withheld(self, shelves: dict[Shelf, dt.date]) -> dict[Shelf, list[Stock]]:
        """Free stock that none of the demands can have: held, not released, not pickable, or too old for all of them.

        Of each shelf the first `WITHHELD_SEEN` of each of the two kinds by last usable day.
        """
        rows = await self._db.fetch(
            f"""
            SELECT found.*, CASE WHEN found.held THEN {_HELD_FOR} END AS held_for
            FROM unnest($1::text[], $2::text[], $3::date[]) AS asked (item_id, site_id, from_day)
            CROSS JOIN LATERAL (
                (SELECT item_id, held, {_STOCK} FROM shelf
                 WHERE withheld AND shelf.item_id = asked.item_id AND shelf.site_id = asked.site_id
                 ORDER BY use_by, received_on, batch_no
                 LIMIT {WITHHELD_SEEN})
                UNION ALL
                (SELECT item_id, held, {_STOCK} FROM shelf
                 WHERE offered AND shelf.item_id = asked.item_id AND shelf.site_id = asked.site_id
                   AND use_by < asked.from_day
                 ORDER BY use_by, received_on, batch_no, batch_id, location_id
                 LIMIT {WITHHELD_SEEN})
            ) AS found
            """,
            *columns(((*shelf, from_day) for shelf, from_day in shelves.items()), 3),
        )
        found: dict[Shelf, list[Stock]] = {}
        for row in rows:
            found.setdefault((row["item_id"], row["site_id"]), []).append(_stock(row, row["held_for"] or ""))
        return found

    async def elsewhere(self, shelves: Collection[Shelf]) -> dict[Shelf, list[Stock]]:
        """What explains a shortage: stock that is all promised to others, and stock at other sites.

        At most `PROMISED_SEEN` rows of the first kind, by last usable day, and twice `ELSEWHERE_SEEN` of the second.
        """
        rows = await self._db.fetch(
            f"""
            SELECT asked.item_id AS asked_item, asked.site_id AS asked_site, found.*
            FROM unnest($1::text[], $2::text[]) AS asked (item_id, site_id)
            CROSS JOIN LATERAL (
                (SELECT {_STOCK},
                        (SELECT coalesce(sum(quantity), 0) FROM reservation
                         WHERE reservation.batch_id = shelf.batch_id AND reservation.site_id = shelf.site_id
                           AND reservation.location_id = shelf.location_id AND reservation.quality = shelf.quality
                           AND {OPEN_CLAIM}) AS promised
                 FROM shelf
                 WHERE all_promised AND shelf.item_id = asked.item_id AND shelf.site_id = asked.site_id
                 ORDER BY use_by, received_on, batch_no
                 LIMIT {PROMISED_SEEN})
                UNION ALL
                (SELECT {_STOCK}, 0 FROM shelf
                 WHERE offered AND shelf.item_id = asked.item_id AND shelf.site_id < asked.site_id
                 ORDER BY site_id, use_by, received_on, batch_no, batch_id, location_id
                 LIMIT {ELSEWHERE_SEEN})
                UNION ALL
                (SELECT {_STOCK}, 0 FROM shelf
                 WHERE offered AND shelf.item_id = asked.item_id AND shelf.site_id > asked.site_id
                 ORDER BY site_id, use_by, received_on, batch_no, batch_id, location_id
                 LIMIT {ELSEWHERE_SEEN})
            ) AS found
            """,
            *columns(shelves, 2),
        )
        found: dict[Shelf, list[Stock]] = {}
        for row in rows:
            shelf = (row["asked_item"], row["asked_site"])
            found.setdefault(shelf, []).append(_stock(row, promised=row["promised"]))
        return found

    async def shares_of(self, demand_ids: Iterable[UUID]) -> dict[UUID, list[Kept]]:
        """What these demands have of promises, picked ones among them, oldest first."""
        rows = await self._db.fetch(
            """
            SELECT demand_id, reservation_id, batch_id, batch.batch_no, location_id, quantity, batch.expires_on
            FROM reservation
            JOIN batch USING (batch_id)
            WHERE demand_id = ANY($1::uuid[]) AND status IN ('promised', 'picked', 'dispatching')
            ORDER BY reservation_id
            """,
            [*demand_ids],
        )
        kept: dict[UUID, list[Kept]] = {}
        for demand_id, *share in rows:
            kept.setdefault(demand_id, []).append(Kept(*share))
        return kept

    # Demands.

    async def known(self, demand_ids: Iterable[UUID]) -> set[UUID]:
        """Which of these demands are here already."""
        rows = await self._db.fetch("SELECT demand_id FROM demand WHERE demand_id = ANY($1::uuid[])", [*{*demand_ids}])
        return {row["demand_id"] for row in rows}

    async def demands(self, demand_ids: Iterable[UUID], *, cancelled: bool = False) -> list[Demand]:
        """These demands, oldest first; those that were cancelled only if asked for."""
        rows = await self._db.fetch(
            """
            SELECT * FROM demand
            WHERE demand_id = ANY($1::uuid[]) AND ($2 OR cancelled_at IS NULL)
            ORDER BY raised_at, demand_id
            """,
            [*{*demand_ids}],
            cancelled,
        )
        return [demand_of(row) for row in rows]

    async def items_of(self, demand_ids: Iterable[UUID]) -> dict[UUID, str]:
        """Which item each demand is about; needs no lock."""
        rows = await self._db.fetch(
            "SELECT demand_id, item_id FROM demand WHERE demand_id = ANY($1::uuid[])", [*{*demand_ids}]
        )
        return {row["demand_id"]: row["item_id"] for row in rows}

    async def waiting(
        self, shelves: Iterable[Shelf], after: tuple[dt.datetime, UUID] | None, most: int
    ) -> list[Demand]:
        """Demands on these shelves that miss something, oldest first, the ones `after` (raised at, id) only."""
        rows = await self._db.fetch(
            """
            SELECT found.*
            FROM unnest($1::text[], $2::text[]) AS asked (item_id, site_id)
            CROSS JOIN LATERAL (
                SELECT * FROM demand
                WHERE demand.item_id = asked.item_id AND demand.site_id = asked.site_id
                  AND missing > 0 AND cancelled_at IS NULL
                  AND ($3::timestamptz IS NULL OR (raised_at, demand_id) > ($3, $4::uuid))
                ORDER BY raised_at, demand_id
                LIMIT $5
            ) AS found
            ORDER BY found.raised_at, found.demand_id
            LIMIT $5
            """,
            *columns({*shelves}, 2),
            *(after or (None, None)),
            most,
        )
        return [demand_of(row) for row in rows]

    async def waiting_shelves(
        self, *, item_ids: Collection[str] = (), customer_ids: Collection[str] = ()
    ) -> set[Shelf]:
        """Where demands of these items or customers miss something."""
        rows = await self._db.fetch(
            """
            SELECT DISTINCT item_id, site_id FROM demand
            WHERE (item_id = ANY($1::text[]) OR customer_id = ANY($2::text[]))
              AND missing > 0 AND cancelled_at IS NULL
            """,
            [*item_ids],
            [*customer_ids],
        )
        return {(row["item_id"], row["site_id"]) for row in rows}

    async def offering(self, shelves: Iterable[Shelf]) -> set[Shelf]:
        """Those of these shelves where anything can be promised."""
        rows = await self._db.fetch(
            """
            SELECT item_id, site_id
            FROM unnest($1::text[], $2::text[]) AS asked (item_id, site_id)
            WHERE EXISTS (SELECT FROM shelf
                          WHERE shelf.item_id = asked.item_id AND shelf.site_id = asked.site_id AND offered)
            """,
            *columns({*shelves}, 2),
        )
        return {(row["item_id"], row["site_id"]) for row in rows}

    async def cancel(self, cancelled: Iterable[tuple[UUID, str]], now: dt.datetime) -> None:
        """Keep that these demands want nothing more, and why."""
        await self._db.execute(
            """
            UPDATE demand SET cancelled_at = $3, cancelled_why = cancelled.reason
            FROM unnest($1::uuid[], $2::text[]) AS cancelled (demand_id, reason)
            WHERE demand.demand_id = cancelled.demand_id
            """,
            *columns(cancelled, 2),
            now,
        )

    async def owe(self, lost: dict[UUID, Decimal]) -> None:
        """Demands miss what was taken back from them."""
        await self._db.execute(
            """
            UPDATE demand SET missing = demand.missing + lost.quantity
            FROM unnest($1::uuid[], $2::numeric[]) AS lost (demand_id, quantity)
            WHERE demand.demand_id = lost.demand_id
            """,
            *columns(lost.items(), 2),
        )

    async def raise_demands(self, demands: Sequence[Demand], missing: dict[UUID, Decimal]) -> None:
        """Keep new demands, with what was left missing when they were first planned."""
        await self._db.copy_records_to_table(
            "demand",
            columns=_DEMAND_COLUMNS,
            records=[
                (
                    demand.demand_id,
                    demand.reference,
                    demand.customer_id,
                    demand.site_id,
                    demand.item_id,
                    demand.unit,
                    demand.quantity,
                    missing.get(demand.demand_id, demand.missing),
                    demand.needed_on,
                    str(demand.strategy),
                    demand.batch_no,
                    demand.min_days_left,
                    demand.min_percent_left,
                    demand.raised_at,
                )
                for demand in demands
            ],
        )

    async def miss(self, missing: dict[UUID, Decimal]) -> None:
        """Demands miss so much now."""
        await self._db.execute(
            """
            UPDATE demand SET missing = now.missing
            FROM unnest($1::uuid[], $2::numeric[]) AS now (demand_id, missing)
            WHERE demand.demand_id = now.demand_id
            """,
            *columns(missing.items(), 2),
        )

    # Promises.

    async def keep_plans(self, plans: Iterable[NewPlan], now: dt.datetime) -> None:
        """Keep how promises were decided."""
        await self._db.copy_records_to_table(
            "plan",
            columns=_PLAN_COLUMNS,
            records=[
                (
                    plan.plan_id,
                    plan.demand.demand_id,
                    plan.demand.item_id,
                    plan.sequence,
                    plan.policy,
                    orjson.dumps(plan.inputs).decode(),
                    orjson.dumps(plan.outcome).decode(),
                    now,
                )
                for plan in plans
            ],
        )

    async def promise(self, reservations: Sequence[NewReservation], now: dt.datetime) -> None:
        """Take what is promised from what is free. The CHECK on `shelf.free` is the last guard against promising twice.

        Raises `AssertionError` when a spot is not there at all.
        """
        taken: dict[Spot, Decimal] = {}
        for promised in reservations:
            taken[promised.spot] = taken.get(promised.spot, Decimal(0)) + promised.quantity
        done = await self._db.execute(
            """
            UPDATE shelf SET free = shelf.free - taken.quantity
            FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::numeric[])
                 AS taken (batch_id, site_id, location_id, quality, quantity)
            WHERE shelf.batch_id = taken.batch_id AND shelf.site_id = taken.site_id
              AND shelf.location_id = taken.location_id AND shelf.quality = taken.quality
            """,
            *columns(((*spot, quantity) for spot, quantity in taken.items()), 5),
        )
        if done != f"UPDATE {len(taken)}":
            raise AssertionError(f"{len(taken)} spots were promised from, and the shelf said {done}")
        await self._db.copy_records_to_table(
            "reservation",
            columns=_RESERVATION_COLUMNS,
            records=[
                (
                    promised.reservation_id,
                    promised.demand.demand_id,
                    promised.plan_id,
                    promised.demand.item_id,
                    *promised.spot,
                    promised.quantity,
                    now,
                    now,
                )
                for promised in reservations
            ],
        )

    # Claims, as movements, holds and people change them.

    async def claims(
        self,
        *,
        reservation_ids: Collection[UUID] = (),
        line_ids: Collection[UUID] = (),
        demand_ids: Collection[UUID] = (),
        batch_ids: Collection[UUID] = (),
        spots: Collection[Spot] = (),
    ) -> dict[UUID, Claim]:
        """The open claims that are named in one of these ways."""
        claim = "reservation.*, demand.raised_at"
        of_demand = "JOIN demand USING (demand_id)"
        rows = await self._db.fetch(
            f"""
            SELECT {claim} FROM reservation {of_demand} WHERE reservation_id = ANY($1::uuid[]) AND {OPEN_CLAIM}
            UNION
            SELECT {claim} FROM reservation {of_demand} WHERE line_id = ANY($2::uuid[]) AND {OPEN_CLAIM}
            UNION
            SELECT {claim} FROM reservation {of_demand} WHERE demand_id = ANY($3::uuid[]) AND {OPEN_CLAIM}
            UNION
            SELECT {claim} FROM reservation {of_demand} WHERE batch_id = ANY($4::uuid[]) AND {OPEN_CLAIM}
            UNION
            SELECT {claim}
            FROM unnest($5::uuid[], $6::text[], $7::text[], $8::text[])
                 AS spot (batch_id, site_id, location_id, quality)
            JOIN reservation USING (batch_id, site_id, location_id, quality) {of_demand}
            WHERE {OPEN_CLAIM}
            """,
            [*reservation_ids],
            [*line_ids],
            [*demand_ids],
            [*batch_ids],
            *columns(spots, 4),
        )
        return {row["reservation_id"]: claim_of(row) for row in rows}

    async def split(self, parts: Iterable[tuple[UUID, UUID, Decimal]], now: dt.datetime) -> None:
        """New reservations, (new id, the one it is a part of, quantity), that are otherwise like what they came from.

        The wholes keep their quantities: making them smaller is the caller's to do.
        """
        await self._db.execute(
            """
            INSERT INTO reservation (reservation_id, demand_id, plan_id, item_id, batch_id, site_id, location_id,
                                     quality, quantity, status, promised_at, staged_at, picked_at, picked_by,
                                     shipment_id, line_id, code, reason, changed_at)
            SELECT part.reservation_id, demand_id, plan_id, item_id, batch_id, site_id, location_id, quality,
                   part.quantity, status, promised_at, staged_at, picked_at, picked_by, shipment_id, line_id, code,
                   reason, $4
            FROM unnest($1::uuid[], $2::uuid[], $3::numeric[]) AS part (reservation_id, split_from, quantity)
            JOIN reservation AS whole ON whole.reservation_id = part.split_from
            """,
            *columns(parts, 3),
            now,
        )

    async def save_claims(self, claims: Collection[Claim], now: dt.datetime) -> None:
        """Write claims as they are now; the ones that were split off inherit from those they came from."""
        split = [claim for claim in claims if claim.split_from is not None]
        if split:
            await self.split(
                [(claim.reservation_id, claim.split_from, claim.quantity) for claim in split if claim.split_from],
                now,
            )
        await self._db.execute(
            """
            UPDATE reservation
            SET batch_id = changed.batch_id, site_id = changed.site_id, location_id = changed.location_id,
                quality = changed.quality, quantity = changed.quantity, status = changed.status, code = changed.code,
                reason = changed.reason, changed_at = $10
            FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::numeric[], $7::text[],
                        $8::text[], $9::text[])
                 AS changed (reservation_id, batch_id, site_id, location_id, quality, quantity, status, code, reason)
            WHERE reservation.reservation_id = changed.reservation_id
            """,
            *columns(
                (
                    (
                        claim.reservation_id,
                        *claim.spot,
                        claim.quantity,
                        str(claim.status),
                        claim.code,
                        claim.reason,
                    )
                    for claim in claims
                ),
                9,
            ),
            now,
        )

    # Picks and shipments.

    async def items_of_picks(self, pick_ids: Iterable[UUID]) -> dict[UUID, str]:
        """Which item each pick is of; needs no lock."""
        rows = await self._db.fetch(
            "SELECT reservation_id, item_id FROM reservation WHERE reservation_id = ANY($1::uuid[])", [*{*pick_ids}]
        )
        return {row["reservation_id"]: row["item_id"] for row in rows}

    async def picks(self, pick_ids: Iterable[UUID]) -> dict[UUID, Pick]:
        """Picks with all that a scan is judged by."""
        rows = await self._db.fetch(
            """
            SELECT reservation.reservation_id, reservation.status, reservation.code, reservation.reason,
                   reservation.demand_id, demand.customer_id, reservation.item_id, coalesce(item.gtins, '{}') AS gtins,
                   reservation.batch_id, reservation.site_id, reservation.location_id, reservation.quality,
                   batch.batch_no, batch.expires_on, reservation.quantity, demand.unit
            FROM reservation
            JOIN demand USING (demand_id)
            JOIN batch USING (batch_id)
            LEFT JOIN item ON item.item_id = reservation.item_id
            WHERE reservation_id = ANY($1::uuid[])
            """,
            [*{*pick_ids}],
        )
        return {
            row["reservation_id"]: Pick(
                pick_id=row["reservation_id"],
                status=ClaimStatus(row["status"]),
                code=row["code"],
                reason=row["reason"],
                demand_id=row["demand_id"],
                customer_id=row["customer_id"],
                item_id=row["item_id"],
                gtins=frozenset(row["gtins"]),
                spot=Spot(row["batch_id"], row["site_id"], row["location_id"], row["quality"]),
                batch_no=row["batch_no"],
                expires_on=row["expires_on"],
                quantity=row["quantity"],
                unit=row["unit"],
            )
            for row in rows
        }

    async def items_by_gtin(self, gtins: Collection[str]) -> dict[str, str]:
        """Which item each of these GTINs is a name of."""
        rows = await self._db.fetch("SELECT item_id, gtins FROM item WHERE gtins && $1::text[]", [*gtins])
        return {gtin: row["item_id"] for row in rows for gtin in row["gtins"] if gtin in gtins}

    async def confirm_picks(self, picked: Iterable[tuple[UUID, Decimal, str, str]], now: dt.datetime) -> None:
        """These (pick, quantity, staging location, by whom) were fetched."""
        await self._db.execute(
            """
            UPDATE reservation
            SET status = 'picked', quantity = picked.quantity, staged_at = picked.staged_at,
                picked_by = picked.picked_by, picked_at = $5, changed_at = $5
            FROM unnest($1::uuid[], $2::numeric[], $3::text[], $4::text[])
                 AS picked (reservation_id, quantity, staged_at, picked_by)
            WHERE reservation.reservation_id = picked.reservation_id AND reservation.status = 'promised'
            """,
            *columns(picked, 4),
            now,
        )

    async def refuse_scans(self, refused: Iterable[tuple[UUID, UUID, str, str, str, str]], now: dt.datetime) -> None:
        """Keep refused scans: (refusal, pick, scanned, verdict, reason, by whom)."""
        await self._db.execute(
            """
            INSERT INTO refused_scan (refusal_id, pick_id, scanned, verdict, reason, refused_by, refused_at)
            SELECT *, $7 FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[])
            """,
            *columns(refused, 6),
            now,
        )

    async def stock_of_batch_at(self, item_id: str, batch_no: str, like: Spot) -> list[Stock]:
        """Stock with this batch number in the same bin and quality, free or promised, held or not."""
        rows = await self._db.fetch(
            f"""
            SELECT {_STOCK}, CASE WHEN held THEN {_HELD_FOR} END AS held_for
            FROM (SELECT shelf.* FROM batch JOIN shelf USING (batch_id)
                  WHERE batch.item_id = $1 AND batch.batch_no = $2 AND shelf.site_id = $3 AND shelf.location_id = $4
                    AND shelf.quality = $5) AS found
            ORDER BY batch_id
            """,
            item_id,
            batch_no,
            *like[1:],
        )
        return [_stock(row, row["held_for"] or "") for row in rows]

    async def picked_for(self, orders: Collection[tuple[str, str]]) -> list[PickedShare]:
        """What was picked for these (customer, site) and is in no shipment yet, oldest pick first."""
        rows = await self._db.fetch(
            """
            SELECT reservation.reservation_id, demand.demand_id, demand.customer_id, reservation.site_id,
                   demand.item_id, reservation.batch_id, batch.batch_no, reservation.quantity, demand.unit
            FROM unnest($1::text[], $2::text[]) AS asked (customer_id, site_id)
            JOIN demand USING (customer_id, site_id)
            JOIN reservation ON reservation.demand_id = demand.demand_id
                 AND reservation.status = 'picked' AND reservation.shipment_id IS NULL
            JOIN batch ON batch.batch_id = reservation.batch_id
            ORDER BY reservation.picked_at, reservation.reservation_id
            """,
            *columns({*orders}, 2),
        )
        return [PickedShare(*row) for row in rows]

    async def make_shipments(self, shipments: Sequence[NewShipment], now: dt.datetime) -> None:
        """Keep shipments, and put the picked shares they hold into them."""
        await self._db.execute(
            """
            INSERT INTO shipment (shipment_id, customer_id, site_id, carrier, created_by, created_at)
            SELECT *, $6 FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[])
            """,
            *columns(
                (
                    (made.shipment_id, made.customer_id, made.site_id, made.carrier, made.created_by)
                    for made in shipments
                ),
                5,
            ),
            now,
        )
        await self._db.execute(
            """
            UPDATE reservation SET shipment_id = line.shipment_id, line_id = line.line_id, changed_at = $4
            FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS line (line_id, reservation_id, shipment_id)
            WHERE reservation.reservation_id = line.reservation_id
            """,
            *columns(((*line, made.shipment_id) for made in shipments for line in made.lines), 3),
            now,
        )

    async def items_of_shipments(self, shipment_ids: Iterable[UUID]) -> set[str]:
        """Which items are in shipments; needs no lock."""
        rows = await self._db.fetch(
            "SELECT DISTINCT item_id FROM reservation WHERE shipment_id = ANY($1::uuid[])", [*{*shipment_ids}]
        )
        return {row["item_id"] for row in rows}

    async def lock_shipments(self, shipment_ids: Iterable[UUID]) -> dict[UUID, Record]:
        """Shipments, locked until the commit."""
        rows = await self._db.fetch(
            "SELECT * FROM shipment WHERE shipment_id = ANY($1::uuid[]) ORDER BY shipment_id FOR UPDATE",
            [*{*shipment_ids}],
        )
        return {row["shipment_id"]: row for row in rows}

    async def dispatch(self, shipment_ids: Collection[UUID], by: str, now: dt.datetime) -> list[Record]:
        """Send what is picked in these shipments to the gate; returns the lines that go."""
        await self._db.execute(
            "UPDATE shipment SET dispatched_at = $2, dispatched_by = $3 WHERE shipment_id = ANY($1::uuid[])",
            [*shipment_ids],
            now,
            by,
        )
        return await self._db.fetch(
            """
            UPDATE reservation SET status = 'dispatching', changed_at = $2
            FROM demand, batch, shipment
            WHERE reservation.shipment_id = ANY($1::uuid[]) AND reservation.status = 'picked'
              AND demand.demand_id = reservation.demand_id AND batch.batch_id = reservation.batch_id
              AND shipment.shipment_id = reservation.shipment_id
            RETURNING reservation.*, demand.reference, demand.customer_id, demand.unit, batch.batch_no, shipment.carrier
            """,
            [*shipment_ids],
            now,
        )

    # The shelf, as inventory tells of it.

    async def spots(self, spots: Collection[Spot]) -> dict[Spot, KnownSpot]:
        """These spots as they stand; those that hold nothing may be absent."""
        rows = await self._db.fetch(
            """
            SELECT shelf.batch_id, shelf.site_id, shelf.location_id, shelf.quality, free, purpose
            FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[])
                 AS asked (batch_id, site_id, location_id, quality)
            JOIN shelf USING (batch_id, site_id, location_id, quality)
            """,
            *columns(spots, 4),
        )
        return {Spot(*row[:4]): KnownSpot(row["free"], row["purpose"]) for row in rows}

    async def see_batches(self, batches: Collection[BatchSeen]) -> None:
        """Keep what was said last of batches, there and on the shelf."""
        await self._db.execute(
            """
            WITH said AS (
                INSERT INTO batch (batch_id, item_id, batch_no, manufactured_on, expires_on, received_on)
                SELECT said.batch_id, said.item_id, said.batch_no, said.manufactured_on, said.expires_on,
                       coalesce(said.received_on, batch.received_on, said.first_seen_on)
                FROM unnest($1::uuid[], $2::text[], $3::text[], $4::date[], $5::date[], $6::date[], $7::date[])
                     AS said (batch_id, item_id, batch_no, manufactured_on, expires_on, received_on, first_seen_on)
                LEFT JOIN batch USING (batch_id)
                ON CONFLICT (batch_id) DO UPDATE
                SET batch_no = excluded.batch_no, manufactured_on = excluded.manufactured_on,
                    expires_on = excluded.expires_on, received_on = excluded.received_on
                WHERE (batch.batch_no, batch.manufactured_on, batch.expires_on, batch.received_on) IS DISTINCT FROM
                      (excluded.batch_no, excluded.manufactured_on, excluded.expires_on, excluded.received_on)
                RETURNING *
            )
            UPDATE shelf
            SET batch_no = said.batch_no, manufactured_on = said.manufactured_on, expires_on = said.expires_on,
                received_on = said.received_on
            FROM said
            WHERE shelf.batch_id = said.batch_id
            """,
            *columns(
                (
                    (
                        batch.batch_id,
                        batch.item_id,
                        batch.batch_no,
                        batch.manufactured_on,
                        batch.expires_on,
                        batch.received_on,
                        batch.first_seen_on,
                    )
                    for batch in batches
                ),
                7,
            ),
        )

    async def change_shelf(self, free: dict[Spot, Decimal], known: Collection[Spot]) -> None:
        """Add signed changes to what is free on spots that are known."""
        changes = [(*spot, change) for spot, change in free.items() if spot in known and change]
        if changes:
            await self._db.execute(
                """
                UPDATE shelf SET free = shelf.free + change.quantity
                FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::numeric[])
                     AS change (batch_id, site_id, location_id, quality, quantity)
                WHERE shelf.batch_id = change.batch_id AND shelf.site_id = change.site_id
                  AND shelf.location_id = change.location_id AND shelf.quality = change.quality
                """,
                *columns(changes, 5),
            )

    async def extend_shelf(self, new: dict[Spot, tuple[str, Decimal]]) -> None:
        """Put spots on the shelf that were not there, with their purpose and what is free on them."""
        if new:
            await self._db.execute(
                f"""
                INSERT INTO shelf (item_id, batch_id, site_id, location_id, quality, purpose, free, held, batch_no,
                                   manufactured_on, expires_on, received_on)
                SELECT batch.item_id, batch.batch_id, found.site_id, found.location_id, found.quality, found.purpose,
                       found.free, {_IS_HELD.format(row="found")}, batch.batch_no, batch.manufactured_on,
                       batch.expires_on, batch.received_on
                FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::numeric[])
                     AS found (batch_id, site_id, location_id, quality, purpose, free)
                JOIN batch USING (batch_id)
                """,
                *columns(((*spot, purpose, free) for spot, (purpose, free) in new.items()), 6),
            )

    async def repurpose(self, purposes: dict[Spot, str]) -> None:
        """The zones of spots are for something else now."""
        if purposes:
            await self._db.execute(
                """
                UPDATE shelf SET purpose = said.purpose
                FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[])
                     AS said (batch_id, site_id, location_id, quality, purpose)
                WHERE shelf.batch_id = said.batch_id AND shelf.site_id = said.site_id
                  AND shelf.location_id = said.location_id AND shelf.quality = said.quality
                """,
                *columns(((*spot, purpose) for spot, purpose in purposes.items()), 5),
            )

    async def sweep(self, spots: Collection[Spot]) -> None:
        """Take spots off the shelf that hold nothing, so that it does not grow with the past."""
        if spots:
            await self._db.execute(
                f"""
                DELETE FROM shelf
                USING unnest($1::uuid[], $2::text[], $3::text[], $4::text[])
                      AS empty (batch_id, site_id, location_id, quality)
                WHERE shelf.batch_id = empty.batch_id AND shelf.site_id = empty.site_id
                  AND shelf.location_id = empty.location_id AND shelf.quality = empty.quality AND shelf.free = 0
                  AND NOT EXISTS (
                      SELECT FROM reservation
                      WHERE reservation.batch_id = shelf.batch_id AND reservation.site_id = shelf.site_id
                        AND reservation.location_id = shelf.location_id AND reservation.quality = shelf.quality
                        AND reservation.{OPEN_CLAIM})
                """,
                *columns(spots, 4),
            )

    async def reached(self, sequences: dict[str, int]) -> None:
        """The ledgers of items took effect up to these sequences."""
        await self._db.execute(
            """
            INSERT INTO item (item_id, sequence)
            SELECT * FROM unnest($1::text[], $2::bigint[])
            ON CONFLICT (item_id) DO UPDATE SET sequence = greatest(item.sequence, excluded.sequence)
            """,
            *columns(sequences.items(), 2),
        )

    async def batch_nos(self, batch_ids: Iterable[UUID]) -> dict[UUID, str]:
        """What the labels of these batches say."""
        rows = await self._db.fetch(
            "SELECT batch_id, batch_no FROM batch WHERE batch_id = ANY($1::uuid[])", [*{*batch_ids}]
        )
        return {row["batch_id"]: row["batch_no"] for row in rows}

    async def hold(self, placed: Sequence[HoldSeen], lifted: Sequence[tuple[UUID, UUID]], now: dt.datetime) -> None:
        """Keep holds that were placed, and that others, (batch, hold), were lifted; then see anew what is held."""
        if placed:
            await self._db.execute(
                """
                INSERT INTO hold (hold_id, batch_id, item_id, kind, site_id, location_id, reason, placed_at)
                SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                                     $8::timestamptz[])
                ON CONFLICT DO NOTHING
                """,
                *columns(
                    (
                        (
                            hold.hold_id,
                            hold.batch_id,
                            hold.item_id,
                            hold.kind,
                            hold.site_id,
                            hold.location_id,
                            hold.reason,
                            hold.placed_at,
                        )
                        for hold in placed
                    ),
                    8,
                ),
            )
        if lifted:
            await self._db.execute(
                """
                UPDATE hold SET lifted_at = $3
                FROM unnest($1::uuid[], $2::uuid[]) AS over (batch_id, hold_id)
                WHERE hold.batch_id = over.batch_id AND hold.hold_id = over.hold_id AND hold.lifted_at IS NULL
                """,
                *columns(lifted, 2),
                now,
            )
        await self._db.execute(
            f"""
            UPDATE shelf SET held = NOT held
            WHERE batch_id = ANY($1::uuid[]) AND held <> {_IS_HELD.format(row="shelf")}
            """,
            [*({hold.batch_id for hold in placed} | {batch_id for batch_id, _ in lifted})],
        )

    async def sites_of(self, batch_ids: Collection[UUID]) -> set[Shelf]:
        """Where stock of these batches lies: item and site."""
        rows = await self._db.fetch(
            "SELECT DISTINCT item_id, site_id FROM shelf WHERE batch_id = ANY($1::uuid[]) AND offered", [*batch_ids]
        )
        return {(row["item_id"], row["site_id"]) for row in rows}


def claim_of(row: Record) -> Claim:
    """A row of `reservation` with its demand's `raised_at`, as a value."""
    return Claim(
        reservation_id=row["reservation_id"],
        demand_id=row["demand_id"],
        spot=Spot(row["batch_id"], row["site_id"], row["location_id"], row["quality"]),
        quantity=row["quantity"],
        status=ClaimStatus(row["status"]),
        order=(row["raised_at"], row["demand_id"]),
        line_id=row["line_id"],
        code=row["code"],
        reason=row["reason"],
    )


def _covering(holds: Iterable[Record], spot: Spot) -> str:
    return "; ".join(
        hold["words"]
        for hold in holds
        if hold["batch_id"] == spot.batch_id
        and hold["site_id"] in (None, spot.site_id)
        and hold["location_id"] in (None, spot.location_id)
    )
