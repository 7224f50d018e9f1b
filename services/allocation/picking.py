"""What people ask at picks: scans, accepted or refused, and swaps. Waiting scans are judged together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from uuid import UUID

from asyncpg import Record

from contracts.allocation import PickConfirmed, PickRefused, ScanVerdict
from delivery import Announcement, Answer, Refusal, Work, does, new_id, write_together
from delivery.handling import EventLike
from services.allocation import queries
from services.allocation.domain.claims import ClaimStatus
from services.allocation.domain.orders import ORDERS
from services.allocation.domain.picking import Pick, RefusedScan, Scanned, judge, read_scan
from services.allocation.domain.planning import plan
from services.allocation.domain.rules import POLICIES, POLICY
from services.allocation.domain.stock import Stock
from services.allocation.domain.terms import somewhere_still
from services.allocation.following import floor_of, settle
from services.allocation.promising import serve_waiting, terms_of, wishes_of
from services.allocation.store import AllocationStore
from services.allocation.store.outbound import fetched, refused_scans
from services.allocation.views import PickView, ScanAnswer, TypedScan

MOST_NAMED = 10
"""Staging locations that a refusal lists."""


@dataclass(frozen=True, slots=True)
class ScanPick:
    """A person scanned something for a pick."""

    pick_id: UUID
    scan: str | TypedScan
    location_id: str | None
    quantity: Decimal | None
    to_location_id: str
    allow_swap: bool


@does(ScanPick)
async def scan_picks(work: Work, commands: Sequence[ScanPick]) -> Sequence[Answer]:
    """Judge each scan by its pick, in order; what is accepted is picked, what is refused changes nothing."""
    store = AllocationStore(work.db)
    picks = await store.picks(await store.lock_items_of(work, (command.pick_id for command in commands)))
    read = [_read(command.scan) for command in commands]
    strange = {
        scanned.gtin
        for command, scanned in zip(commands, read, strict=True)
        if isinstance(scanned, Scanned) and scanned.gtin
        if (pick := picks.get(command.pick_id)) is not None and scanned.gtin not in pick.gtins
    }
    known = await store.items_by_gtin(strange) if strange else {}
    tellers = _Tellers(work, store, picks, known)
    for n, (command, scanned) in enumerate(zip(commands, read, strict=True)):
        await tellers.tell(n, command, scanned)
    return tellers.answers()


@dataclass(frozen=True, slots=True)
class _Confirmed:
    """A scan that was accepted: the pick as it was fetched, what was swapped for it, and the pick of the rest."""

    pick: Pick
    says: tuple[Announcement, ...]
    rest_id: UUID | None


class _Tellers:
    """One group of scans: the second sees what the first did. What they did is written together where it can wait."""

    def __init__(
        self,
        work: Work,
        store: AllocationStore,
        picks: dict[UUID, Pick],
        item_of_gtin: Mapping[str, str],
    ) -> None:
        self._work = work
        self._store = store
        self._picks = picks
        self._item_of_gtin = item_of_gtin
        self._today = somewhere_still(work.now)
        self._confirmed: dict[int, _Confirmed] = {}
        self._unwritten: list[Pick] = []
        self._refused: dict[int, tuple[PickRefused, str]] = {}
        self._answers: dict[int, Answer] = {}

    async def tell(self, n: int, command: ScanPick, scanned: Scanned | RefusedScan) -> None:
        """Judge one scan, the `n`th."""
        pick = self._picks.get(command.pick_id)
        cause = self._work.cause(command)
        if pick is None:
            self._answers[n] = Refusal(404, "unknown_pick", f"there is no pick {command.pick_id}", field="pick_id")
            return
        if cause.person is not None and not cause.person.may_at(pick.spot.site_id):
            sites = sorted(cause.person.sites)
            self._answers[n] = Refusal(
                403,
                "wrong_site",
                f"pick {pick.pick_id} is at site {pick.spot.site_id!r}, not among {sites}",
                field="pick_id",
            )
            return
        if pick.staging and command.to_location_id not in pick.staging:
            named = sorted(pick.staging)
            more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
            self._answers[n] = Refusal(
                409,
                "not_staging",
                f"picked goods are not put at {command.to_location_id!r} of site {pick.spot.site_id!r}: its staging "
                f"locations are {', '.join(named[:MOST_NAMED])}{more}",
                field="to_location_id",
            )
            return
        refused = scanned if isinstance(scanned, RefusedScan) else self._judge(pick, scanned, command.location_id)
        swapping = refused is not None and refused.verdict is ScanVerdict.WRONG_BATCH and command.allow_swap
        if refused is not None and not swapping:
            self._refuse(n, command, pick, refused)
            return
        quantity = command.quantity or pick.quantity
        if quantity > pick.quantity:
            self._answers[n] = Refusal(
                409,
                "more_than_promised",
                f"quantity {quantity:f} {pick.unit}: {pick.quantity:f} at most are promised to pick {pick.pick_id}",
                field="quantity",
            )
            return
        rest_id = None
        says: list[EventLike] = []
        if swapping and isinstance(scanned, Scanned):
            await self._write()
            swapped = await self._swap(pick, scanned.batch_no, quantity)
            if isinstance(swapped, RefusedScan):
                self._refuse(n, command, pick, swapped)
                return
            rest_id, says = swapped
        elif quantity < pick.quantity:
            await self._write()
            rest_id = await self._split(pick, quantity)
        if rest_id is not None or says:
            self._picks |= await self._store.picks({*self._picks} | ({rest_id} if rest_id else set()))
        done = replace(
            self._picks[pick.pick_id],
            status=ClaimStatus.PICKED,
            staged_at=command.to_location_id,
            picked_by=cause.actor or "unknown",
            picked_at=self._work.now,
        )
        self._confirmed[n] = _Confirmed(done, tuple(says), rest_id)
        self._unwritten.append(done)
        self._picks[pick.pick_id] = done

    def answers(self) -> list[Answer]:
        """Answer every scan, and leave what is not yet written to the end of the work."""
        if self._unwritten:
            self._work.write_at_end(fetched(self._unwritten))
        self._work.write_at_end(refused_scans(self._refused.values()))
        for n, (said, _) in self._refused.items():
            answer = ScanAnswer(verdict=said.verdict, reason=said.reason, pick=self._view(said.pick_id))
            self._answers[n] = Answer(answer, 200, [said])
        for n, confirmed in self._confirmed.items():
            pick = confirmed.pick
            answer = ScanAnswer(
                verdict="accepted",
                reason=f"{pick.quantity:f} {pick.unit} of batch {pick.batch_no} go to {pick.staged_at}",
                pick=self._view(pick.pick_id),
                rest=self._view(confirmed.rest_id) if confirmed.rest_id else None,
            )
            self._answers[n] = Answer(answer, 200, [*confirmed.says, _as_event(pick)])
        return [self._answers[n] for n in range(len(self._answers))]

    async def _write(self) -> None:
        """Write the picks that were accepted since this was last done."""
        if self._unwritten:
            await write_together(self._work.db, [fetched(self._unwritten)])
            self._unwritten = []

    def _view(self, pick_id: UUID) -> PickView:
        """A pick as all scans of the group left it."""
        pick = self._picks[pick_id]
        return PickView(
            pick_id=pick.pick_id,
            demand_id=pick.demand_id,
            reference=pick.reference,
            customer_id=pick.customer_id,
            site_id=pick.spot.site_id,
            item_id=pick.item_id,
            batch_id=pick.spot.batch_id,
            batch_no=pick.batch_no,
            expires_on=pick.expires_on,
            location_id=pick.spot.location_id,
            quantity=pick.quantity,
            unit=pick.unit,
            status=queries.pick_status(pick.status),
            to_location_id=pick.staged_at,
            picked_by=pick.picked_by,
            picked_at=pick.picked_at,
            reason=pick.reason,
        )

    def _judge(self, pick: Pick, scanned: Scanned, location_id: str | None) -> RefusedScan | None:
        item = self._item_of_gtin.get(scanned.gtin) if scanned.gtin else None
        return judge(pick, scanned, location_id=location_id, today=self._today, item_of_gtin=item)

    def _refuse(self, n: int, command: ScanPick, pick: Pick, refused: RefusedScan) -> None:
        scanned = command.scan
        text = scanned if isinstance(scanned, str) else f"{scanned.item_id}, batch {scanned.batch_no} (typed)"
        said = PickRefused(
            refusal_id=new_id(),
            pick_id=pick.pick_id,
            demand_id=pick.demand_id,
            item_id=pick.item_id,
            expected_batch_no=pick.batch_no,
            scanned=text.replace("\x1d", "␝").replace("\x00", "␀")[:400],
            verdict=refused.verdict,
            reason=refused.reason[:400],
            refused_at=self._work.now,
        )
        self._refused[n] = (said, self._work.cause(command).actor or "unknown")

    async def _split(self, pick: Pick, quantity: Decimal) -> UUID:
        """Leave the pick `quantity`, and make a new one of the rest."""
        followed = await floor_of(self._store, await self._store.claims(reservation_ids=[pick.pick_id]))
        rest = followed.floor.part_of(followed.floor.claims[pick.pick_id], pick.quantity - quantity)
        await settle(self._work, self._store, followed.floor, followed.known)
        return rest.reservation_id

    async def _swap(
        self, pick: Pick, batch_no: str, quantity: Decimal
    ) -> tuple[UUID | None, list[EventLike]] | RefusedScan:
        """Let the pick have `quantity` of another batch of the same bin, and who had that the pick's batch.

        Returns the new pick of what the pick had more than that, and what is said; or why it may not be.
        """
        store = self._store
        found = await store.stock_of_batch_at(pick.item_id, batch_no, pick.spot)
        mine_stock = await store.stock_of_batch_at(pick.item_id, pick.batch_no, pick.spot)
        wanted_instead = next((stock for stock in found if stock.spot.batch_id != pick.spot.batch_id), None)
        given_instead = next((stock for stock in mine_stock if stock.spot == pick.spot), None)
        if wanted_instead is None or given_instead is None:
            return RefusedScan(
                ScanVerdict.WRONG_BATCH,
                f"batch {batch_no} of {pick.item_id} is not at {pick.spot.location_id}: only the same bin is swapped",
            )
        claims = await store.claims(reservation_ids=[pick.pick_id], batch_ids=[wanted_instead.spot.batch_id])
        followed = await floor_of(store, claims, [wanted_instead.spot, pick.spot])
        floor = followed.floor
        there = [
            claim
            for claim in reversed(floor.at(wanted_instead.spot))
            if claim.status is ClaimStatus.PROMISED and claim.demand_id != pick.demand_id
        ]
        enough = wanted_instead.quantity + sum((claim.quantity for claim in there), Decimal(0))
        if enough < quantity:
            return RefusedScan(
                ScanVerdict.WRONG_BATCH,
                f"of batch {batch_no} at {pick.spot.location_id} {enough:f} {pick.unit} can be swapped, {quantity:f} "
                "are needed: the rest is picked for others already",
            )
        left = quantity - min(quantity, wanted_instead.quantity)
        others = []
        for claim in there:
            if left:
                part = floor.part_of(claim, min(left, claim.quantity))
                others.append(part)
                left -= part.quantity
        against = await self._rules_against(
            [(pick.demand_id, wanted_instead, quantity)]
            + [(claim.demand_id, given_instead, claim.quantity) for claim in others]
        )
        if against is not None:
            return against
        rest_id = None
        if quantity < pick.quantity:
            rest_id = floor.part_of(floor.claims[pick.pick_id], pick.quantity - quantity).reservation_id
        floor.swap(floor.claims[pick.pick_id], wanted_instead.spot, others)
        shelves = await settle(self._work, store, floor, followed.known)
        outcomes = await serve_waiting(self._work, store, shelves, anyway=floor.refreshed)
        return rest_id, [event for outcome in outcomes for event in outcome.events()]

    async def _rules_against(self, exchanges: Sequence[tuple[UUID, Stock, Decimal]]) -> RefusedScan | None:
        """Whether a demand of an exchange may not have the stock that it would get."""
        store = self._store
        demands = {
            demand.demand_id: demand
            for demand in await store.demands((demand_id for demand_id, _, _ in exchanges), cancelled=True)
        }
        wishes = wishes_of(self._work, demands.values(), await terms_of(store, demands.values()))
        for demand_id, stock, quantity in exchanges:
            demand, wanted = demands[demand_id], wishes[demand_id]
            # What is promised there now is what would be exchanged, so it counts as free.
            offer = stock._replace(quantity=max(stock.quantity, quantity))
            made = plan(wanted._replace(quantity=quantity), [offer], POLICIES[POLICY], ORDERS[wanted.strategy])
            if made.missing:
                return RefusedScan(
                    ScanVerdict.WRONG_BATCH,
                    f"order {demand.reference} cannot have batch {stock.batch_no}: {made.passed_over[0].text}"[:400],
                )
        return None


def pick_view(row: Record) -> PickView:
    """A row of `queries.picks` as it is answered."""
    return PickView.model_validate({**row, "status": queries.pick_status(row["status"])})


def _read(scan: str | TypedScan) -> Scanned | RefusedScan:
    return read_scan(scan) if isinstance(scan, str) else Scanned(scan.batch_no, item_id=scan.item_id)


def _as_event(pick: Pick) -> PickConfirmed:
    return PickConfirmed(
        pick_id=pick.pick_id,
        demand_id=pick.demand_id,
        reservation_id=pick.pick_id,
        customer_id=pick.customer_id,
        site_id=pick.spot.site_id,
        item_id=pick.item_id,
        batch_id=pick.spot.batch_id,
        batch_no=pick.batch_no,
        from_location_id=pick.spot.location_id,
        to_location_id=pick.staged_at,
        quantity=pick.quantity,
        unit=pick.unit,
        picked_at=pick.picked_at,
    )
