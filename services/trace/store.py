"""All SQL of trace that changes state: one statement per table for a whole chunk."""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any
from uuid import UUID

from contracts.allocation import AllocationRevoked, PickConfirmed, ShipmentDispatched
from contracts.integration import BatchProduced, ItemDefined, PartnerDefined
from contracts.inventory import HoldLifted, HoldPlaced, IssueRefused, MovementReason, StockMoved
from contracts.receiving import BatchReceived
from contracts.values import BatchFacts, Place
from delivery import Connection, columns
from services.trace.domain.custody import Flow, Spot
from services.trace.domain.names import name_id
from services.trace.domain.promises import PromiseChanges

_GENEALOGY_GROWS = 7_301
_SCOPES_CHANGE = 7_302


@dataclass(frozen=True, slots=True)
class Introduced:
    """A batch as somebody spoke of it. `registered_at` is None when it was not receiving who did."""

    batch_id: UUID
    item_id: str
    facts: BatchFacts
    registered_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """A line of a timeline as it is kept. `event_id` is None for what trace says itself."""

    subject: UUID
    at: dt.datetime
    said_at: dt.datetime
    event_id: UUID | None
    event_type: str
    actor: str | None
    sentence: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Joining:
    """A node that enters a recall's scope. `said_at` is set when `BatchRecalled` is said with it."""

    recall_id: UUID
    node: UUID
    name_id: UUID
    item_id: str
    batch_no: str
    seed: bool
    depth: int
    ruled_out_by_time: bool
    joined_at: dt.datetime
    said_at: dt.datetime | None


def spot_of(place: Place) -> Spot:
    """A place as custody counts it."""
    return Spot(place.kind, place.site_id or "", place.location_id or "", place.partner_id or "", place.quality or "")


def _line_id(event: StockMoved) -> UUID | None:
    """The shipment line that an issue answers; inventory names it in the reference."""
    if event.reason is not MovementReason.ISSUE or not event.reference:
        return None
    try:
        return UUID(event.reference)
    except ValueError:
        return None


class TraceStore:
    """Writes of one transaction."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    # --- locks

    async def grow_genealogy(self) -> bool:
        """Before links or batches are added: keep a recall from being opened meanwhile. True when recalls are open.

        A link that is added while somebody else looks at the links to find a scope would be missed by both. So whoever
        adds holds the first lock shared, and opening a recall holds it alone. While recalls are open, those who add
        also hold the second lock alone: each sees the scopes as the one before left them, and what is said about
        recalls is committed in the order of the outbox. Both locks are taken in this order by everybody.
        """
        await self._db.execute("SELECT pg_advisory_xact_lock_shared($1)", _GENEALOGY_GROWS)
        if not await self._db.fetchval("SELECT EXISTS (SELECT FROM recall WHERE closed_at IS NULL AND NOT drill)"):
            return False
        await self._db.execute("SELECT pg_advisory_xact_lock($1)", _SCOPES_CHANGE)
        return True

    async def change_scopes(self) -> None:
        """Before batches are lifted or recalls closed: alone among those who change scopes."""
        await self._db.execute("SELECT pg_advisory_xact_lock_shared($1)", _GENEALOGY_GROWS)
        await self._db.execute("SELECT pg_advisory_xact_lock($1)", _SCOPES_CHANGE)

    async def freeze_genealogy(self) -> None:
        """Before a recall is opened: nobody adds links or batches until the commit."""
        await self._db.execute("SELECT pg_advisory_xact_lock($1)", _GENEALOGY_GROWS)

    # --- catalog

    async def define_items(self, items: Iterable[ItemDefined]) -> None:
        """Keep the highest revision of each item."""
        latest = {item.item_id: item for item in sorted(items, key=lambda item: item.revision)}
        await self._db.execute(
            """
            INSERT INTO item (item_id, name, base_unit, revision)
            SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::int[])
            ON CONFLICT (item_id) DO UPDATE
            SET name = excluded.name, base_unit = excluded.base_unit, revision = excluded.revision
            WHERE excluded.revision > item.revision
            """,
            *columns(((item.item_id, item.name, item.base_unit, item.revision) for item in latest.values()), 4),
        )

    async def define_partners(self, partners: Iterable[PartnerDefined]) -> None:
        """Keep the highest revision of each partner."""
        latest = {partner.partner_id: partner for partner in sorted(partners, key=lambda each: each.revision)}
        await self._db.execute(
            """
            INSERT INTO partner (partner_id, name, revision)
            SELECT * FROM unnest($1::text[], $2::text[], $3::int[])
            ON CONFLICT (partner_id) DO UPDATE
            SET name = excluded.name, revision = excluded.revision
            WHERE excluded.revision > partner.revision
            """,
            *columns(((partner.partner_id, partner.name, partner.revision) for partner in latest.values()), 3),
        )

    # --- genealogy

    async def unknown_batches(self, batch_ids: Collection[UUID]) -> set[UUID]:
        """Which of these nobody has spoken of with its facts."""
        rows = await self._db.fetch(
            """
            SELECT batch_id FROM unnest($1::uuid[]) AS asked (batch_id)
            WHERE NOT EXISTS (SELECT FROM batch WHERE batch.batch_id = asked.batch_id)
            """,
            list(batch_ids),
        )
        return {row["batch_id"] for row in rows}

    async def introduce(self, batches: Collection[Introduced]) -> None:
        """Keep batches with their facts; one that is known already only learns when it was registered."""
        await self._db.execute(
            """
            INSERT INTO batch (batch_id, name_id, item_id, batch_no, origin, supplier_id, supplier_batch_no,
                               manufactured_on, expires_on, best_before, received_on, registered_at)
            SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                                 $8::date[], $9::date[], $10::date[], $11::date[], $12::timestamptz[])
            ON CONFLICT (batch_id) DO UPDATE
            SET registered_at = coalesce(batch.registered_at, excluded.registered_at)
            """,
            *columns(
                (
                    (
                        each.batch_id,
                        name_id(each.item_id, each.facts.batch_no),
                        each.item_id,
                        each.facts.batch_no,
                        each.facts.origin,
                        each.facts.supplier_id,
                        each.facts.supplier_batch_no,
                        each.facts.manufactured_on,
                        each.facts.expires_on,
                        each.facts.best_before,
                        each.facts.received_on,
                        each.registered_at,
                    )
                    for each in batches
                ),
                12,
            ),
        )

    async def correct_facts(self, corrected: Mapping[UUID, BatchFacts]) -> None:
        """Replace the facts of batches. Their names stay: what was reported was reported under them."""
        await self._db.execute(
            """
            UPDATE batch
            SET origin            = new.origin,
                supplier_id       = new.supplier_id,
                supplier_batch_no = new.supplier_batch_no,
                manufactured_on   = new.manufactured_on,
                expires_on        = new.expires_on,
                best_before       = new.best_before,
                received_on       = new.received_on
            FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::date[], $6::date[], $7::date[], $8::date[])
                 AS new (batch_id, origin, supplier_id, supplier_batch_no, manufactured_on, expires_on, best_before,
                         received_on)
            WHERE batch.batch_id = new.batch_id
            """,
            *columns(
                (
                    (
                        batch_id,
                        facts.origin,
                        facts.supplier_id,
                        facts.supplier_batch_no,
                        facts.manufactured_on,
                        facts.expires_on,
                        facts.best_before,
                        facts.received_on,
                    )
                    for batch_id, facts in corrected.items()
                ),
                8,
            ),
        )

    async def add_reports(self, reports: Sequence[BatchProduced]) -> None:
        """Keep production reports and what they consumed. A report that is said again changes nothing."""
        await self._db.execute(
            """
            INSERT INTO report (report_id, name_id, item_id, batch_no, quantity, unit, site_id, work_order, sequence,
                                final, inputs, manufactured_on, expires_on, started_at, ended_at, corrects)
            SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::numeric[], $6::text[], $7::text[],
                                 $8::text[], $9::int[], $10::bool[], $11::int[], $12::date[], $13::date[],
                                 $14::timestamptz[], $15::timestamptz[], $16::uuid[])
            ON CONFLICT (report_id) DO NOTHING
            """,
            *columns(
                (
                    (
                        report.report_id,
                        name_id(report.item_id, report.batch_no),
                        report.item_id,
                        report.batch_no,
                        report.quantity,
                        report.unit,
                        report.site_id,
                        report.work_order,
                        report.sequence,
                        report.final,
                        len(report.consumed),
                        report.manufactured_on,
                        report.expires_on,
                        min(report.started_at, report.ended_at),
                        max(report.started_at, report.ended_at),
                        None if report.corrects == report.report_id else report.corrects,
                    )
                    for report in reports
                ),
                16,
            ),
        )
        await self._db.execute(
            """
            INSERT INTO link (report_id, line_no, consumed, consumed_item, consumed_batch_no, supplier_batch_no,
                              produced, produced_item, produced_batch_no, quantity, unit, mode, work_order,
                              started_at, ended_at)
            SELECT * FROM unnest($1::uuid[], $2::int[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::uuid[],
                                 $8::text[], $9::text[], $10::numeric[], $11::text[], $12::text[], $13::text[],
                                 $14::timestamptz[], $15::timestamptz[])
            ON CONFLICT (report_id, line_no) DO NOTHING
            """,
            *columns(
                (
                    (
                        report.report_id,
                        line_no,
                        name_id(consumed.item_id, consumed.batch_no),
                        consumed.item_id,
                        consumed.batch_no,
                        consumed.supplier_batch_no,
                        name_id(report.item_id, report.batch_no),
                        report.item_id,
                        report.batch_no,
                        consumed.quantity,
                        consumed.unit,
                        consumed.mode,
                        report.work_order,
                        min(report.started_at, report.ended_at),
                        max(report.started_at, report.ended_at),
                    )
                    for report in reports
                    for line_no, consumed in enumerate(report.consumed, 1)
                ),
                15,
            ),
        )

    # --- custody

    async def add_receipts(self, receipts: Sequence[BatchReceived]) -> None:
        """Keep what was counted at the dock."""
        await self._db.execute(
            """
            INSERT INTO receipt (receipt_id, line_no, batch_id, quantity, unit, origin, partner_id, site_id, reference,
                                 received_at)
            SELECT * FROM unnest($1::uuid[], $2::int[], $3::uuid[], $4::numeric[], $5::text[], $6::text[], $7::text[],
                                 $8::text[], $9::text[], $10::timestamptz[])
            ON CONFLICT (receipt_id, line_no) DO NOTHING
            """,
            *columns(
                (
                    (
                        receipt.receipt_id,
                        receipt.line_no,
                        receipt.batch_id,
                        receipt.quantity,
                        receipt.unit,
                        receipt.origin,
                        receipt.partner_id,
                        receipt.site_id,
                        receipt.reference,
                        receipt.received_at,
                    )
                    for receipt in receipts
                ),
                10,
            ),
        )

    async def add_movements(self, movements: Sequence[StockMoved]) -> set[UUID]:
        """Keep movements; returns the ids of those that were new."""
        rows = await self._db.fetch(
            """
            INSERT INTO movement (movement_id, batch_id, item_id, sequence, quantity, unit,
                                  from_kind, from_site_id, from_location_id, from_partner_id, from_quality,
                                  to_kind, to_site_id, to_location_id, to_partner_id, to_quality,
                                  reason, reference, line_id, reverses, effective_at, recorded_at)
            SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::numeric[], $6::text[],
                                 $7::text[], $8::text[], $9::text[], $10::text[], $11::text[],
                                 $12::text[], $13::text[], $14::text[], $15::text[], $16::text[],
                                 $17::text[], $18::text[], $19::uuid[], $20::uuid[], $21::timestamptz[],
                                 $22::timestamptz[])
            ON CONFLICT (movement_id) DO NOTHING
            RETURNING movement_id
            """,
            *columns(
                (
                    (
                        moved.movement_id,
                        moved.batch_id,
                        moved.item_id,
                        moved.sequence,
                        moved.quantity,
                        moved.unit,
                        *astuple(spot_of(moved.from_place)),
                        *astuple(spot_of(moved.to_place)),
                        moved.reason,
                        moved.reference,
                        _line_id(moved),
                        moved.reverses,
                        moved.effective_at,
                        moved.recorded_at,
                    )
                    for moved in movements
                ),
                22,
            ),
        )
        return {row["movement_id"] for row in rows}

    async def add_flows(self, flows: Iterable[tuple[UUID, str, Spot, Flow]]) -> None:
        """Add (batch, unit, spot, flow) to what custody holds; each batch and spot at most once."""
        await self._db.execute(
            """
            INSERT INTO custody (batch_id, unit, kind, site_id, location_id, partner_id, quality, came, went)
            SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                                 $8::numeric[], $9::numeric[])
            ON CONFLICT (batch_id, kind, site_id, location_id, partner_id, quality) DO UPDATE
            SET came = custody.came + excluded.came, went = custody.went + excluded.went
            """,
            *columns(
                ((batch_id, unit, *astuple(spot), flow.came, flow.went) for batch_id, unit, spot, flow in flows), 9
            ),
        )

    async def change_holds(self, events: Sequence[HoldPlaced | HoldLifted]) -> None:
        """Keep holds as placed, then as lifted: one is never lifted before it is placed."""
        placed = {event.hold_id: event for event in events if isinstance(event, HoldPlaced)}
        lifted = {event.hold_id: event for event in events if isinstance(event, HoldLifted)}
        if placed:
            await self._db.execute(
                """
                INSERT INTO hold (hold_id, batch_id, kind, site_id, location_id, reason, reference, placed_at)
                SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[],
                                     $7::text[], $8::timestamptz[])
                ON CONFLICT (hold_id) DO NOTHING
                """,
                *columns(
                    (
                        (
                            event.hold_id,
                            event.batch_id,
                            event.kind,
                            event.site_id,
                            event.location_id,
                            event.reason,
                            event.reference,
                            event.placed_at,
                        )
                        for event in placed.values()
                    ),
                    8,
                ),
            )
        if lifted:
            await self._db.execute(
                """
                UPDATE hold
                SET lifted_at = lifted.at, lift_reason = lifted.reason
                FROM unnest($1::uuid[], $2::timestamptz[], $3::text[]) AS lifted (hold_id, at, reason)
                WHERE hold.hold_id = lifted.hold_id AND hold.lifted_at IS NULL
                """,
                *columns(((event.hold_id, event.lifted_at, event.reason) for event in lifted.values()), 3),
            )

    # --- what is promised and leaves

    async def change_promises(self, changes: PromiseChanges) -> None:
        """Forget what was restated or ended, then keep what is promised now."""
        await self._db.execute(
            "DELETE FROM promise WHERE demand_id = ANY($1::uuid[]) OR reservation_id = ANY($2::uuid[])",
            list(changes.forget_demands),
            list(changes.forget_reservations),
        )
        await self._db.execute(
            """
            INSERT INTO promise (reservation_id, demand_id, reference, customer_id, item_id, batch_id, location_id,
                                 quantity, unit)
            SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::uuid[], $7::text[],
                                 $8::numeric[], $9::text[])
            ON CONFLICT (reservation_id) DO UPDATE
            SET location_id = excluded.location_id, quantity = excluded.quantity
            """,
            *columns((astuple(promise) for promise in changes.keep.values()), 9),
        )

    async def add_revocations(self, revoked: Sequence[AllocationRevoked]) -> None:
        """Keep what was taken back."""
        await self._db.execute(
            """
            INSERT INTO revocation (reservation_id, revoked_at, demand_id, customer_id, batch_id, quantity, picked,
                                    code, reason)
            SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::uuid[], $4::text[], $5::uuid[], $6::numeric[],
                                 $7::bool[], $8::text[], $9::text[])
            ON CONFLICT (reservation_id, revoked_at) DO NOTHING
            """,
            *columns(
                (
                    (
                        event.reservation_id,
                        event.revoked_at,
                        event.demand_id,
                        event.customer_id,
                        event.batch_id,
                        event.quantity,
                        event.picked,
                        event.code,
                        event.reason,
                    )
                    for event in revoked
                ),
                9,
            ),
        )

    async def add_picks(self, picks: Sequence[PickConfirmed]) -> None:
        """Keep what people took to staging."""
        await self._db.execute(
            """
            INSERT INTO pick (pick_id, reservation_id, demand_id, customer_id, batch_id, quantity, picked_at)
            SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::uuid[], $6::numeric[],
                                 $7::timestamptz[])
            ON CONFLICT (pick_id) DO NOTHING
            """,
            *columns(
                (
                    (
                        event.pick_id,
                        event.reservation_id,
                        event.demand_id,
                        event.customer_id,
                        event.batch_id,
                        event.quantity,
                        event.picked_at,
                    )
                    for event in picks
                ),
                7,
            ),
        )

    async def add_dispatches(self, lines: Sequence[ShipmentDispatched]) -> None:
        """Keep shipment lines that stand at the gate."""
        await self._db.execute(
            """
            INSERT INTO dispatch (line_id, shipment_id, demand_id, reference, customer_id, site_id, item_id, batch_id,
                                  quantity, unit, carrier, dispatched_at)
            SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[],
                                 $8::uuid[], $9::numeric[], $10::text[], $11::text[], $12::timestamptz[])
            ON CONFLICT (line_id) DO NOTHING
            """,
            *columns(
                (
                    (
                        line.line_id,
                        line.shipment_id,
                        line.demand_id,
                        line.reference,
                        line.customer_id,
                        line.site_id,
                        line.item_id,
                        line.batch_id,
                        line.quantity,
                        line.unit,
                        line.carrier,
                        line.dispatched_at,
                    )
                    for line in lines
                ),
                12,
            ),
        )

    async def add_refusals(self, refusals: Sequence[IssueRefused]) -> None:
        """Keep what the gate refused."""
        await self._db.execute(
            """
            INSERT INTO refusal (line_id, batch_id, code, reason, refused_at)
            SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::timestamptz[])
            ON CONFLICT (line_id) DO NOTHING
            """,
            *columns(
                ((event.line_id, event.batch_id, event.code, event.reason, event.refused_at) for event in refusals), 5
            ),
        )

    # --- timelines

    async def tell(self, told: Iterable[Told]) -> None:
        """Write lines of timelines, in their order."""
        await self._db.execute(
            """
            INSERT INTO timeline (subject, at, said_at, event_id, event_type, actor, sentence, detail)
            SELECT subject, at, said_at, event_id, event_type, actor, sentence, detail
            FROM unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[], $4::uuid[], $5::text[], $6::text[],
                        $7::text[], $8::jsonb[])
                 WITH ORDINALITY
                 AS line (subject, at, said_at, event_id, event_type, actor, sentence, detail, n)
            ORDER BY n
            """,
            *columns(
                (
                    (
                        line.subject,
                        line.at,
                        line.said_at,
                        line.event_id,
                        line.event_type,
                        line.actor,
                        line.sentence,
                        line.detail,
                    )
                    for line in told
                ),
                8,
            ),
        )

    # --- recalls

    async def open_recall(
        self,
        recall_id: UUID,
        seed: UUID,
        item_id: str,
        batch_no: str,
        reason: str,
        at: dt.datetime,
        by: str,
        *,
        drill: bool,
    ) -> None:
        """Keep a recall. The unique index on open seeds is the last guard against opening one twice."""
        await self._db.execute(
            """
            INSERT INTO recall (recall_id, seed, item_id, batch_no, reason, opened_at, opened_by, drill)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
            """,
            recall_id,
            seed,
            item_id,
            batch_no,
            reason,
            at,
            by,
            drill,
        )

    async def join(self, joining: Iterable[Joining]) -> None:
        """Put nodes into scopes."""
        await self._db.execute(
            """
            INSERT INTO recall_batch (recall_id, node, name_id, item_id, batch_no, seed, depth, ruled_out_by_time,
                                      joined_at, said_at)
            SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::bool[], $7::int[],
                                 $8::bool[], $9::timestamptz[], $10::timestamptz[])
            """,
            *columns((astuple(each) for each in joining), 10),
        )

    async def become(self, recall_id: UUID, became: Mapping[UUID, UUID], said_at: dt.datetime) -> None:
        """Names in a scope that were registered become their batches (name → batch id), also as the seed."""
        await self._db.execute(
            """
            WITH became (name_id, batch_id) AS (SELECT * FROM unnest($2::uuid[], $3::uuid[])),
                 seeds AS (
                     UPDATE recall SET seed = became.batch_id
                     FROM became WHERE recall.recall_id = $1 AND recall.seed = became.name_id
                 )
            UPDATE recall_batch SET node = became.batch_id, said_at = $4
            FROM became WHERE recall_batch.recall_id = $1 AND recall_batch.node = became.name_id
            """,
            recall_id,
            list(became),
            list(became.values()),
            said_at,
        )

    async def lift(self, recall_id: UUID, node: UUID, reason: str, at: dt.datetime) -> None:
        """Take a batch out of a scope."""
        await self._db.execute(
            "UPDATE recall_batch SET lifted_at = $3, lift_reason = $4 WHERE recall_id = $1 AND node = $2",
            recall_id,
            node,
            at,
            reason,
        )

    async def close_recall(self, recall_id: UUID, reason: str, at: dt.datetime, by: str) -> None:
        """End a recall."""
        await self._db.execute(
            "UPDATE recall SET closed_at = $2, closed_by = $3, close_reason = $4 WHERE recall_id = $1",
            recall_id,
            at,
            by,
            reason,
        )
