"""What a plan is made from: terms, and as much of the shelf as it needs."""

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from uuid import UUID

import orjson
from asyncpg import Record

from contracts.values import Strategy
from delivery import columns, unseen
from services.allocation.domain.aisles import Aisle, Shelf
from services.allocation.domain.stock import Spot, Stock
from services.allocation.domain.terms import LifeRule
from services.allocation.store.rows import (
    ELSEWHERE_SEEN,
    HELD_FOR,
    OPEN_CLAIM,
    PROMISED_SEEN,
    STOCK,
    WITHHELD_SEEN,
    CustomerTerms,
    ItemTerms,
    Kept,
    Tables,
    Terms,
    stock_of,
)

_FOUND = ", ".join(f"found.{name}" for name in STOCK.split(", "))

# The planner would plan each time, for the number of demands of this time: most of a small chunk's database time.
_LOOK = f"""
    SELECT aisle.n, NULL AS item_id, NULL AS held_for, {_FOUND}
    FROM unnest({unseen(1, "int")}, {unseen(2, "text")}, {unseen(3, "text")}, {unseen(4, "text")}, {unseen(5, "text")},
                {unseen(6, "date")}, {unseen(7, "numeric")}, {unseen(8, "int")})
         AS aisle (n, item_id, site_id, strategy, batch_no, from_day, need, most)
    CROSS JOIN LATERAL (
        SELECT *
        FROM (SELECT *, sum(free) OVER (ROWS UNBOUNDED PRECEDING) - free AS before
              FROM (
                    (SELECT {STOCK} FROM shelf
                     WHERE aisle.strategy = 'fefo' AND offered AND shelf.item_id = aisle.item_id
                       AND shelf.site_id = aisle.site_id AND use_by >= aisle.from_day
                     ORDER BY use_by, received_on, batch_no, batch_id, location_id
                     LIMIT aisle.most)
                    UNION ALL
                    (SELECT {STOCK} FROM shelf
                     WHERE aisle.strategy = 'fifo' AND offered AND shelf.item_id = aisle.item_id
                       AND shelf.site_id = aisle.site_id AND use_by >= aisle.from_day
                     ORDER BY received_on, use_by, batch_no, batch_id, location_id
                     LIMIT aisle.most)
                    UNION ALL
                    (SELECT {STOCK} FROM shelf
                     WHERE aisle.strategy = 'lifo' AND offered AND shelf.item_id = aisle.item_id
                       AND shelf.site_id = aisle.site_id AND use_by >= aisle.from_day
                     ORDER BY received_on DESC, use_by, batch_no, batch_id, location_id
                     LIMIT aisle.most)
                    UNION ALL
                    (SELECT {STOCK} FROM shelf
                     WHERE aisle.strategy = 'specified' AND shelf.item_id = aisle.item_id
                       AND shelf.site_id = aisle.site_id AND shelf.batch_no = aisle.batch_no AND free > 0
                     ORDER BY offered DESC, use_by, received_on, batch_no, batch_id, location_id
                     LIMIT aisle.most)
              ) AS walked
        ) AS summed
        WHERE before < aisle.need
    ) AS found
    UNION ALL
    SELECT NULL, found.item_id, CASE WHEN found.held THEN {HELD_FOR} END, {_FOUND}
    FROM unnest({unseen(9, "text")}, {unseen(10, "text")}, {unseen(11, "date")}) AS asked (item_id, site_id, from_day)
    CROSS JOIN LATERAL (
        (SELECT item_id, held, {STOCK} FROM shelf
         WHERE withheld AND shelf.item_id = asked.item_id AND shelf.site_id = asked.site_id
         ORDER BY use_by, received_on, batch_no
         LIMIT {WITHHELD_SEEN})
        UNION ALL
        (SELECT item_id, held, {STOCK} FROM shelf
         WHERE offered AND shelf.item_id = asked.item_id AND shelf.site_id = asked.site_id
           AND use_by < asked.from_day
         ORDER BY use_by, received_on, batch_no, batch_id, location_id
         LIMIT {WITHHELD_SEEN})
    ) AS found
"""


class Looking(Tables):
    """Reads of a chunk, one statement a purpose."""

    async def items(self, item_ids: Iterable[str]) -> dict[str, ItemTerms]:
        """What is known of these items; those never heard of are absent."""
        return (await self.terms(item_ids, ())).items

    async def terms(
        self, item_ids: Iterable[str], customer_ids: Iterable[str], references: Iterable[str] = ()
    ) -> Terms:
        """What is known of these items and customers, and which demand, not cancelled, has these references.

        The references must be locked. Those never heard of are absent.
        """
        row = await self._db.fetchrow(
            f"""
            SELECT ARRAY(SELECT ROW(item_id, expiry_required, sequence, base_unit)
                         FROM item WHERE item_id = ANY({unseen(1, "text")})),
                   ARRAY(SELECT ROW(customer_id, active, shelf_life_rules::text)
                         FROM customer WHERE customer_id = ANY({unseen(2, "text")})),
                   ARRAY(SELECT DISTINCT ON (reference) ROW(reference, demand_id)
                         FROM demand
                         WHERE reference = ANY({unseen(3, "text")}) AND cancelled_at IS NULL
                         ORDER BY reference, raised_at, demand_id)
            """,
            [*{*item_ids}],
            [*{*customer_ids}],
            [*{*references}],
        )
        items, customers, referred = row or ((), (), ())
        return Terms(
            {item_id: ItemTerms(*known) for item_id, *known in items},
            {
                customer_id: CustomerTerms(
                    active,
                    tuple(
                        LifeRule(rule.get("item_id"), rule.get("min_days"), rule.get("min_percent"))
                        for rule in orjson.loads(said)["rules"]
                    ),
                )
                for customer_id, active, said in customers
            },
            dict(referred),
        )

    async def look(
        self, aisles: Sequence[Aisle], shelves: dict[Shelf, dt.date]
    ) -> tuple[list[list[Stock]], dict[Shelf, list[Stock]]]:
        """The beginning of each aisle, and what of some shelves some of the demands, or all, cannot have.

        Of an aisle as many rows in its order as are needed by quantity, and no more than allowed: one index walk an
        aisle, with a window that sums up what was walked past, so that nothing beyond the need is returned.

        Of each shelf free stock that is held, not released, not pickable, or too old for one of the aisles (before the
        day that `shelves` says): the first `WITHHELD_SEEN` of each of the two kinds by last usable day.
        """
        rows = await self._db.fetch(
            _LOOK,
            *columns(
                (
                    (n, *aisle.shelf, str(aisle.strategy), aisle.batch_no, aisle.from_day, aisle.need, aisle.rows)
                    for n, aisle in enumerate(aisles)
                ),
                8,
            ),
            *columns(((*shelf, from_day) for shelf, from_day in shelves.items()), 3),
        )
        along: list[list[Stock]] = [[] for _ in aisles]
        withheld: dict[Shelf, list[Stock]] = {}
        for row in rows:
            if (n := row["n"]) is None:
                shelf = (row["item_id"], row["site_id"])
                withheld.setdefault(shelf, []).append(stock_of(row, row["held_for"] or ""))
            else:
                along[n].append(stock_of(row))
        named = [n for n, aisle in enumerate(aisles) if aisle.strategy is Strategy.SPECIFIED]
        if any(along[n] for n in named):
            reasons = await self._held_for({stock.spot.batch_id for n in named for stock in along[n]})
            for n in named:
                along[n] = [stock._replace(held_for=_covering(reasons, stock.spot)) for stock in along[n]]
        return along, withheld

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

    async def elsewhere(self, shelves: Collection[Shelf]) -> dict[Shelf, list[Stock]]:
        """What explains a shortage: stock that is all promised to others, and stock at other sites.

        At most `PROMISED_SEEN` rows of the first kind, by last usable day, and twice `ELSEWHERE_SEEN` of the second.
        """
        rows = await self._db.fetch(
            f"""
            SELECT asked.item_id AS asked_item, asked.site_id AS asked_site, found.*
            FROM unnest($1::text[], $2::text[]) AS asked (item_id, site_id)
            CROSS JOIN LATERAL (
                (SELECT {STOCK},
                        (SELECT coalesce(sum(quantity), 0) FROM reservation
                         WHERE reservation.batch_id = shelf.batch_id AND reservation.site_id = shelf.site_id
                           AND reservation.location_id = shelf.location_id AND reservation.quality = shelf.quality
                           AND {OPEN_CLAIM}) AS promised
                 FROM shelf
                 WHERE all_promised AND shelf.item_id = asked.item_id AND shelf.site_id = asked.site_id
                 ORDER BY use_by, received_on, batch_no
                 LIMIT {PROMISED_SEEN})
                UNION ALL
                (SELECT {STOCK}, 0 FROM shelf
                 WHERE offered AND shelf.item_id = asked.item_id AND shelf.site_id < asked.site_id
                 ORDER BY site_id, use_by, received_on, batch_no, batch_id, location_id
                 LIMIT {ELSEWHERE_SEEN})
                UNION ALL
                (SELECT {STOCK}, 0 FROM shelf
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
            found.setdefault(shelf, []).append(stock_of(row, promised=row["promised"]))
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


def _covering(holds: Iterable[Record], spot: Spot) -> str:
    return "; ".join(
        hold["words"]
        for hold in holds
        if hold["batch_id"] == spot.batch_id
        and hold["site_id"] in (None, spot.site_id)
        and hold["location_id"] in (None, spot.location_id)
    )
