"""What the ledger's movements and holds do to stock and to the promises on it.

Every promise is a claim on one spot. What is on a spot is its free quantity plus the claims on it: there is no third
number. A movement away takes what is free first; only then does it meet claims, and each claim it meets follows the
stock where it can, or is taken back.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from contracts.allocation import RevocationCode
from contracts.values import Purpose, Quality
from services.allocation.domain.stock import PICKABLE, Spot


class ClaimStatus(StrEnum):
    """Where a promise stands. The first four claim stock; the last three are history."""

    PROMISED = "promised"
    PICKED = "picked"
    DISPATCHING = "dispatching"
    STOPPED = "stopped"
    SHIPPED = "shipped"
    REVOKED = "revoked"
    FREED = "freed"


OPEN = frozenset({ClaimStatus.PROMISED, ClaimStatus.PICKED, ClaimStatus.DISPATCHING, ClaimStatus.STOPPED})
"""A claim in one of these has a part of what is on its spot."""

OF_THE_DEMAND = frozenset({ClaimStatus.PROMISED, ClaimStatus.PICKED, ClaimStatus.DISPATCHING})
"""A claim in one of these serves its demand; a stopped one waits for a person, beside the demand."""

_MET_FIRST = (ClaimStatus.STOPPED, ClaimStatus.PROMISED, ClaimStatus.PICKED, ClaimStatus.DISPATCHING)
"""In which order a movement away meets claims: those of nobody, then the newest promise, last what was picked."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A promised quantity (base unit) on a spot. `order` is the age of its demand: the oldest keeps longest."""

    reservation_id: UUID
    demand_id: UUID
    spot: Spot
    quantity: Decimal
    status: ClaimStatus
    order: tuple[object, ...]
    line_id: UUID | None = None
    code: str | None = None
    reason: str | None = None
    split_from: UUID | None = None


@dataclass(frozen=True, slots=True)
class Revoked:
    """A promise that was taken back. `picked`: a person holds it, and it stays there until a person decides."""

    claim: Claim
    picked: bool
    code: RevocationCode
    reason: str


@dataclass(frozen=True, slots=True)
class Leaving:
    """A movement, as stock sees it: `source` and `target` are spots, None outside the company.

    `pick_id` or `line_id` is set when one of our own picks or shipment lines caused it, or (`undoes`) when the movement
    reverses what it caused.
    """

    source: Spot | None
    target: Spot | None
    target_purpose: str | None
    quantity: Decimal
    why: str
    pick_id: UUID | None = None
    line_id: UUID | None = None
    undoes: bool = False


@dataclass(frozen=True, slots=True)
class OpenHold:
    """An open hold, as promises meet it; without site or location it covers every one."""

    batch_id: UUID
    site_id: str | None
    location_id: str | None
    code: RevocationCode
    reason: str

    def covers(self, spot: Spot) -> bool:
        """Whether nothing may be promised on a spot because of it."""
        return (
            spot.batch_id == self.batch_id
            and self.site_id in (None, spot.site_id)
            and self.location_id in (None, spot.location_id)
        )


class TakesTooMuch(ValueError):
    """A movement takes more from a spot than is known to be there; the text names both."""


@dataclass(slots=True)
class Floor:
    """Spots and claims while a chunk of movements and holds is applied; what changed is read off it afterwards.

    `free` holds the free quantity of each spot, `claims` the claims that may be met, by reservation, `holds` the open
    holds of their batches, by batch and hold, so that no promise follows its stock into a held bin; `over` are demands
    that want nothing more.
    `lost` is what each demand lost of its promises; `refreshed` are demands whose promise changed in place.
    """

    free: dict[Spot, Decimal]
    claims: dict[UUID, Claim]
    new_id: Callable[[], UUID]
    holds: dict[tuple[UUID, UUID], OpenHold] = field(default_factory=dict)
    over: Collection[UUID] = ()
    changed_claims: dict[UUID, Claim] = field(default_factory=dict)
    revoked: list[Revoked] = field(default_factory=list)
    lost: dict[UUID, Decimal] = field(default_factory=dict)
    refreshed: set[UUID] = field(default_factory=set)
    _at: dict[Spot, dict[UUID, Claim]] = field(default_factory=dict)
    _of_line: dict[UUID, set[UUID]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Index the claims by their spots and shipment lines."""
        for claim in self.claims.values():
            self._index(claim)

    def moved(self, movement: Leaving) -> None:
        """Apply a movement. Raises `TakesTooMuch`, before anything changed, when its source has not so much."""
        left = movement.quantity
        if movement.source is not None:
            there = self.free.get(movement.source, Decimal(0))
            if there < left:
                there += sum((claim.quantity for claim in self._at.get(movement.source, {}).values()), Decimal(0))
            if there < left:
                raise TakesTooMuch(
                    f"{left:f} leave {movement.source.location_id} at {movement.source.site_id}, "
                    f"where {there:f} of the batch are known"
                )
            left -= self._take_own(movement, movement.source)
            freely = min(left, self.free.get(movement.source, Decimal(0)))
            self._add(movement.source, -freely)
            self._arrive(movement.target, freely)
            self._meet_claims(movement, movement.source, left - freely)
        else:
            if movement.undoes and movement.target is not None:
                left -= self._come_back(movement, movement.target)
            self._arrive(movement.target, left)

    def held(self, hold_id: UUID, hold: OpenHold) -> None:
        """Take back every promise on the spots that a hold covers. What stands at the gate is the gate's to decide."""
        self.holds[hold.batch_id, hold_id] = hold
        for claim in self._by_age(self.claims.values()):
            if hold.covers(claim.spot):
                if claim.status is ClaimStatus.PROMISED:
                    self._revoke(claim, hold.code, hold.reason)
                elif claim.status is ClaimStatus.PICKED:
                    self._stop(claim, hold.code, hold.reason)

    def lifted(self, batch_id: UUID, hold_id: UUID) -> None:
        """A hold is over; what it took back stays taken back."""
        self.holds.pop((batch_id, hold_id), None)

    def refused_at_gate(self, line_id: UUID, reason: str) -> None:
        """Stop what the gate did not let pass."""
        for reservation_id in sorted(self._of_line.get(line_id, ())):
            claim = self.claims[reservation_id]
            if claim.status is ClaimStatus.DISPATCHING:
                self._stop(claim, RevocationCode.REFUSED_AT_GATE, reason)

    def promised_of(self, batch_ids: Collection[UUID]) -> Sequence[Claim]:
        """What is promised of these batches and not picked, the oldest demand's first."""
        return [
            claim
            for claim in self._by_age(self.claims.values())
            if claim.status is ClaimStatus.PROMISED and claim.spot.batch_id in batch_ids
        ]

    def broken(self, claim: Claim, reason: str) -> None:
        """Take back a promise that corrected dates do not allow any more."""
        self._revoke(claim, RevocationCode.DATES_CORRECTED, reason)

    def cancelled(self, demand_id: UUID, reason: str) -> Decimal:
        """The demand wants nothing more: free what was promised, stop what was picked. Returns what is free again."""
        freed = Decimal(0)
        for claim in [*self.claims.values()]:
            if claim.demand_id == demand_id and claim.status is ClaimStatus.PROMISED:
                self.release(claim, reason)
                freed += claim.quantity
            elif claim.demand_id == demand_id and claim.status is ClaimStatus.PICKED:
                self._owe(claim)
                self._keep(replace(claim, status=ClaimStatus.STOPPED, code="cancelled", reason=reason))
        return freed

    def release(self, claim: Claim, reason: str) -> None:
        """Give back what was promised and not picked."""
        self._owe(claim)
        self._keep(replace(claim, status=ClaimStatus.FREED, code="freed", reason=reason))
        self._add(claim.spot, claim.quantity)

    def swap(self, mine: Claim, spot: Spot, others: Sequence[Claim]) -> None:
        """Let `mine` have stock of another spot, and `others` (whole claims there) what it had; the rest is free stock.

        Nothing is created or lost on either spot. The caller has seen that there is enough.
        """
        exchanged = sum((claim.quantity for claim in others), Decimal(0))
        self._add(mine.spot, mine.quantity - exchanged)
        self._add(spot, exchanged - mine.quantity)
        for claim in others:
            self._keep(replace(claim, spot=mine.spot))
            self.refreshed.add(claim.demand_id)
        self._keep(replace(mine, spot=spot))
        self.refreshed.add(mine.demand_id)

    def part_of(self, claim: Claim, quantity: Decimal) -> Claim:
        """A part of a claim, of the same kind; what remains keeps its id. The claim itself when it is all of it."""
        return self._part(claim, quantity)

    def at(self, spot: Spot) -> Sequence[Claim]:
        """The open claims on a spot, oldest demand first."""
        return self._by_age(self._at.get(spot, {}).values())

    def occupied(self, spot: Spot) -> bool:
        """Whether anything is on a spot, free or claimed."""
        return bool(self.free.get(spot) or self._at.get(spot))

    def _take_own(self, movement: Leaving, source: Spot) -> Decimal:
        """Let our own pick or shipment line take its claim along; returns how much of the movement that was."""
        left = movement.quantity
        ours = self._ours(movement)
        for reservation_id in sorted(ours, key=lambda each: self.claims[each].spot != source):
            claim = self.claims[reservation_id]
            if not left or claim.spot.batch_id != source.batch_id:
                continue
            elsewhere = claim.spot != source
            # Somebody moved the stock between our pick and its booking, or our line and the gate: the claim leaves its
            # spot for the one it was booked from, and whoever had that stock has ours.
            there = self._room_at(source, {*ours}, movement) if elsewhere else left
            if not there:
                continue
            part = self._part(claim, min(left, there, claim.quantity))
            left -= part.quantity
            if elsewhere:
                freely = min(part.quantity, self.free.get(source, Decimal(0)))
                self._add(source, -freely)
                self._add(part.spot, freely)
                self._change_places(part, source, part.quantity - freely, {*ours}, movement)
            if movement.undoes:
                self._put_back(part, movement)
            elif movement.target is not None and not self._is_worse_now(part, movement.target):
                self._stand(replace(part, spot=movement.target))
            elif movement.target is not None:
                why = f"its quality is {movement.target.quality} now ({movement.why})"
                self._stop(replace(part, spot=movement.target), RevocationCode.MOVED, why)
            elif movement.line_id is not None:
                self._keep(replace(part, status=ClaimStatus.SHIPPED))
            else:
                self._lose(part, movement)
        return movement.quantity - left

    def _room_at(self, source: Spot, ours: Collection[UUID], movement: Leaving) -> Decimal:
        """What our claims from elsewhere may take on a spot: free stock, and what others have there."""
        free = self.free.get(source, Decimal(0))
        others = [] if movement.undoes else self._others_at(source, ours)
        return free + sum((claim.quantity for claim in others), Decimal(0))

    def _others_at(self, source: Spot, ours: Collection[UUID]) -> list[Claim]:
        """Claims on a spot that are not among `ours`, in the order in which a movement meets them."""
        there = [*reversed(self._by_age(self._at.get(source, {}).values()))]
        return [
            claim
            for status in _MET_FIRST
            for claim in there
            if claim.status is status and claim.reservation_id not in ours
        ]

    def _change_places(
        self, mine: Claim, source: Spot, quantity: Decimal, ours: Collection[UUID], movement: Leaving
    ) -> None:
        """Others whose stock on `source` leaves as `mine` get what stands where `mine` stood."""
        left = quantity
        for claim in self._others_at(source, ours):
            if not left:
                return
            part = self._part(claim, min(left, claim.quantity))
            left -= part.quantity
            why = f"what it had at {source.location_id} left for another order ({movement.why})"
            if part.status is ClaimStatus.PROMISED:
                self._revoke(part, RevocationCode.MOVED, why, to=mine.spot)
            elif self._is_worse_now(part, mine.spot):
                self._stop(replace(part, spot=mine.spot), RevocationCode.MOVED, why)
            else:
                self._stand(replace(part, spot=mine.spot))

    @staticmethod
    def _is_worse_now(claim: Claim, target: Spot) -> bool:
        """Whether what was picked arrives as another quality than was promised: the gate would not let it leave."""
        return claim.status is ClaimStatus.PICKED and target.quality != claim.spot.quality

    def _put_back(self, claim: Claim, movement: Leaving) -> None:
        """The booking of a pick is undone: nobody fetched it, so it is promised anew where the goods are, if it may be.

        Anew, because the pick's id is used up: inventory books each pick once.
        """
        if claim.status is ClaimStatus.PICKED:
            reason = f"its pick was undone: {movement.why}"
            self._keep(replace(claim, status=ClaimStatus.FREED, code="pick_undone", reason=reason))
            claim = replace(
                claim,
                reservation_id=self.new_id(),
                status=ClaimStatus.PROMISED,
                line_id=None,
                split_from=claim.split_from or claim.reservation_id,
            )
        self._follow(claim, movement)

    def _come_back(self, movement: Leaving, target: Spot) -> Decimal:
        """The issue of a shipment line is undone: what it shipped stands picked again, in no shipment.

        Returns how much of the movement that was. What became of the line stays with its shipment, as a row of its own.
        """
        left = movement.quantity
        for reservation_id in sorted(self._of_line.get(movement.line_id, ())) if movement.line_id else ():
            claim = self.claims[reservation_id]
            if not left or claim.status is not ClaimStatus.SHIPPED or claim.spot.batch_id != target.batch_id:
                continue
            part = self._part(claim, min(left, claim.quantity))
            left -= part.quantity
            reason = f"its issue was undone: {movement.why}"
            self._keep(
                replace(
                    part,
                    reservation_id=self.new_id(),
                    split_from=part.split_from or part.reservation_id,
                    status=ClaimStatus.REVOKED,
                    code="issue_undone",
                    reason=reason,
                )
            )
            here = replace(part, spot=target, status=ClaimStatus.PICKED, line_id=None)
            if part.demand_id in self.over:
                self._owe(here)
                self._keep(replace(here, status=ClaimStatus.STOPPED, code="cancelled", reason=reason))
            else:
                self.refreshed.add(part.demand_id)
                self._stand(here)
        return movement.quantity - left

    def _ours(self, movement: Leaving) -> list[UUID]:
        """The claims that a movement names as its cause."""
        if movement.line_id is not None:
            found = sorted(self._of_line.get(movement.line_id, ()))
            return [each for each in found if self.claims[each].status is ClaimStatus.DISPATCHING]
        if movement.pick_id is not None and movement.pick_id in self.claims:
            picked = self.claims[movement.pick_id].status in OPEN - {ClaimStatus.PROMISED}
            return [movement.pick_id] if picked else []
        return []

    def _meet_claims(self, movement: Leaving, source: Spot, quantity: Decimal) -> None:
        """The rest of a movement takes claimed stock."""
        left = quantity
        met = self._by_age(self._at.get(source, {}).values()) if left else ()
        for status in _MET_FIRST:
            for claim in reversed(met):
                if not left:
                    return
                if claim.status is not status:
                    continue
                part = self._part(claim, min(left, claim.quantity))
                left -= part.quantity
                self._follow(part, movement)

    def _follow(self, claim: Claim, movement: Leaving) -> None:
        """A claim whose stock was moved by somebody else."""
        target = movement.target
        if target is None:
            self._lose(claim, movement)
            return
        hold = self._hold_on(target)
        if claim.status is ClaimStatus.STOPPED and _was_put_back(claim, movement):
            self._keep(replace(claim, status=ClaimStatus.FREED))
            self._add(target, claim.quantity)
        elif claim.status is not ClaimStatus.PROMISED:
            moved = replace(claim, spot=target)
            if self._is_worse_now(claim, target):
                self._stop(moved, RevocationCode.MOVED, f"its quality is {target.quality} now ({movement.why})")
            else:
                self._stand(moved)
        elif hold is not None:
            self._revoke(claim, hold.code, hold.reason, to=target)
        elif (
            target.site_id == claim.spot.site_id
            and target.quality == Quality.RELEASED
            and movement.target_purpose in PICKABLE
        ):
            self._keep(replace(claim, spot=target))
            self.refreshed.add(claim.demand_id)
        else:
            where = f"{target.location_id} at {target.site_id}, {target.quality}"
            self._revoke(claim, RevocationCode.MOVED, f"it was moved to {where} ({movement.why})", to=target)

    def _stand(self, claim: Claim) -> None:
        """A claim that a person fetched stands where it now is, and is stopped there where a hold covers it."""
        hold = self._hold_on(claim.spot)
        if hold is not None and claim.status is ClaimStatus.PICKED:
            self._stop(claim, hold.code, hold.reason)
        else:
            self._keep(claim)

    def _hold_on(self, spot: Spot) -> OpenHold | None:
        return next((hold for hold in self.holds.values() if hold.covers(spot)), None)

    def _lose(self, claim: Claim, movement: Leaving) -> None:
        """The stock of a claim left the company without us."""
        reason = f"it is not there any more ({movement.why})"
        if claim.status is not ClaimStatus.STOPPED:
            picked = claim.status is not ClaimStatus.PROMISED
            self.revoked.append(Revoked(claim, picked, RevocationCode.GONE, reason))
            self._owe(claim)
            self._keep(replace(claim, status=ClaimStatus.REVOKED, code=RevocationCode.GONE, reason=reason))
        else:
            self._keep(replace(claim, status=ClaimStatus.REVOKED))

    def _revoke(self, claim: Claim, code: RevocationCode, reason: str, *, to: Spot | None = None) -> None:
        self.revoked.append(Revoked(claim, False, code, reason))
        self._owe(claim)
        self._keep(replace(claim, status=ClaimStatus.REVOKED, code=code, reason=reason))
        self._add(to or claim.spot, claim.quantity)

    def _stop(self, claim: Claim, code: RevocationCode, reason: str) -> None:
        self.revoked.append(Revoked(claim, True, code, reason))
        self._owe(claim)
        self._keep(replace(claim, status=ClaimStatus.STOPPED, code=code, reason=reason))

    def _owe(self, claim: Claim) -> None:
        self.lost[claim.demand_id] = self.lost.get(claim.demand_id, Decimal(0)) + claim.quantity

    def _part(self, claim: Claim, quantity: Decimal) -> Claim:
        """The claim itself, or a part of it split off; what remains keeps its id."""
        if quantity == claim.quantity:
            return claim
        self._keep(replace(claim, quantity=claim.quantity - quantity))
        part = replace(
            claim,
            reservation_id=self.new_id(),
            quantity=quantity,
            split_from=claim.split_from or claim.reservation_id,
            # Parts that stand apart are asked for apart: the gate answers a line once.
            line_id=self.new_id() if claim.line_id and claim.status is ClaimStatus.PICKED else claim.line_id,
        )
        self._keep(part)
        return part

    def _keep(self, claim: Claim) -> None:
        before = self.claims.get(claim.reservation_id)
        if before is not None:
            self._at.get(before.spot, {}).pop(claim.reservation_id, None)
            if before.line_id is not None:
                self._of_line[before.line_id].discard(claim.reservation_id)
        self.claims[claim.reservation_id] = claim
        self.changed_claims[claim.reservation_id] = claim
        self._index(claim)

    def _index(self, claim: Claim) -> None:
        if claim.status in OPEN:
            self._at.setdefault(claim.spot, {})[claim.reservation_id] = claim
        if claim.line_id is not None:
            self._of_line.setdefault(claim.line_id, set()).add(claim.reservation_id)

    def _arrive(self, target: Spot | None, quantity: Decimal) -> None:
        if target is not None and quantity:
            self._add(target, quantity)

    def _add(self, spot: Spot, quantity: Decimal) -> None:
        self.free[spot] = self.free.get(spot, Decimal(0)) + quantity

    @staticmethod
    def _by_age(claims: Iterable[Claim]) -> Sequence[Claim]:
        return sorted(claims, key=lambda claim: (claim.order, claim.reservation_id))


def _was_put_back(claim: Claim, movement: Leaving) -> bool:
    """Whether a person took what was stopped out of staging: then it waits for nobody any more."""
    target = movement.target
    return (
        target is not None
        and (target.site_id, target.location_id) != (claim.spot.site_id, claim.spot.location_id)
        and movement.target_purpose != Purpose.STAGING
    )
