"""What people ask of stock over HTTP: load for all that wait, decide each in turn, save once, answer each."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from contracts.gs1 import Gs1Error, parse
from contracts.inventory import MovementReason
from contracts.values import (
    Climate,
    Code,
    Delta,
    HoldKind,
    Moment,
    Place,
    PlaceKind,
    Quality,
    Quantity,
    QuantityOrZero,
    Text,
)
from delivery import Answer, Refusal, Work, does, new_id
from services.inventory.books import Books
from services.inventory.domain.holds import Hold
from services.inventory.domain.ledger import FOUND_OR_LOST, NOTHING, Booked, End, Movement, Spot, reversal
from services.inventory.domain.matrix import ISOLATION, Allowed, Operation, allows, forbids
from services.inventory.domain.put_away import Goods, Location, PlaceCode, objection
from services.inventory.store import Batch, Bin, Counted
from services.inventory.views import AdjustmentView, HoldView, MovementView, ReversalView, exact

KnownQuality = Literal[Quality.PENDING, Quality.RELEASED, Quality.REJECTED]
Reason = Annotated[Text, Field(min_length=3, examples=["pallet label was torn, recounted with the supervisor"])]

_BATCH = "01890a5d-ac96-774b-bcce-b302099a8057"


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PutAway(_Body):
    """Put goods away: from where they stand to a bin that every rule allows."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "batch_id": _BATCH,
                    "site_id": "SH1",
                    "from_location_id": "DOCK-1",
                    "to_location_id": "A-01-2",
                    "quality": "released",
                    "quantity": "40",
                }
            ]
        }
    )

    batch_id: UUID
    site_id: Code
    from_location_id: Code
    to_location_id: Code
    quality: KnownQuality
    quantity: Quantity = Field(description="In the item's base unit.")
    scan: str | None = Field(
        default=None,
        max_length=2_000,
        description="What the scanner read off the goods (GS1): refused where it is another batch.",
    )


class Transfer(PutAway):
    """Move goods between two locations of a site; the same rules hold as for putting away."""

    effective_at: Moment | None = Field(
        default=None, description="When it happened, with an offset; not in the future. Absent: now."
    )


class Adjust(_Body):
    """What was counted at a location, or by how much the books were wrong: one of the two, with a reason."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "batch_id": _BATCH,
                    "item_id": "MILK-1L",
                    "site_id": "SH1",
                    "location_id": "A-01-2",
                    "quality": "released",
                    "counted": "38",
                    "reason": "cycle count, week 23",
                }
            ]
        }
    )

    batch_id: UUID
    item_id: Code
    site_id: Code
    location_id: Code
    quality: KnownQuality
    counted: QuantityOrZero | None = Field(default=None, description="What stands there; base unit.")
    delta: Delta | None = Field(default=None, description="More (+) or less (−) than the books say; base unit.")
    expected: QuantityOrZero | None = Field(
        default=None, description="What the books said when counting began: refused when they say something else now."
    )
    reason: Reason

    @model_validator(mode="after")
    def _one_of_two(self) -> "Adjust":
        if (self.counted is None) == (self.delta is None):
            raise ValueError("send counted or delta, one of them")
        if self.delta == 0:
            raise ValueError("a delta of 0 changes nothing: send counted to say that the books are right")
        return self


class ChangeStatus(_Body):
    """Change what is said of the quality of goods where they stand."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "batch_id": _BATCH,
                    "site_id": "SH1",
                    "location_id": "A-01-2",
                    "quantity": "4",
                    "from_quality": "released",
                    "to_quality": "rejected",
                    "reason": "two cartons were crushed by a forklift",
                }
            ]
        }
    )

    batch_id: UUID
    site_id: Code
    location_id: Code
    quantity: Quantity = Field(description="In the item's base unit.")
    from_quality: KnownQuality
    to_quality: KnownQuality
    reason: Reason

    @model_validator(mode="after")
    def _a_change(self) -> "ChangeStatus":
        if self.from_quality == self.to_quality:
            raise ValueError(f"from_quality and to_quality are both {self.from_quality}: that changes nothing")
        return self


class Reverse(_Body):
    """Undo a movement by its reversal; the ledger keeps both."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"movement_id": "01890a5d-ac96-774b-bcce-b302099a8058", "reason": "booked on the wrong pallet"}
            ]
        }
    )

    movement_id: UUID
    reason: Reason


class PlaceHold(_Body):
    """Say that stock of a batch may not be used now: at one location, at a site, or everywhere."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"batch_id": _BATCH, "site_id": "SH1", "kind": "manual", "reason": "seal of a carton broken"}]
        }
    )

    batch_id: UUID
    site_id: Code | None = None
    location_id: Code | None = Field(default=None, description="Only together with its site.")
    kind: Literal[HoldKind.MANUAL, HoldKind.EXCURSION, HoldKind.COUNT]
    reason: Reason

    @model_validator(mode="after")
    def _location_of_a_site(self) -> "PlaceHold":
        if self.location_id is not None and self.site_id is None:
            raise ValueError(f"location {self.location_id!r} without site_id: location codes are unique within a site")
        return self


@dataclass(frozen=True, slots=True, eq=False)
class LiftHold:
    """End one hold."""

    hold_id: UUID
    reason: str


Command = PutAway | Transfer | Adjust | ChangeStatus | Reverse | PlaceHold | LiftHold


@dataclass(slots=True)
class _Floor:
    """Everything that the commands of one transaction need to know."""

    work: Work
    books: Books
    locations: dict[Bin, Location] = field(default_factory=dict)
    climates: Mapping[str, Climate] = field(default_factory=dict)
    gtins: Mapping[str, frozenset[str]] = field(default_factory=dict)
    originals: Mapping[UUID, Booked] = field(default_factory=dict)
    counts: Sequence[Counted] = ()
    holds: Mapping[UUID, tuple[str, UUID]] = field(default_factory=dict)

    def move(self, movement: Movement, because: object) -> Booked:
        """Let stock move, and let the locations know what stands in them."""
        booked = self.books.move(movement, because)
        batch = self.books.batches[movement.batch_id]
        for spot, change in movement.changes():
            place = self.locations.get((spot.site_id, spot.location_id))
            if place is not None:
                place.change(batch.batch_id, batch.item_id, batch.facts.batch_no, change)
        return booked

    def view(self, booked: Booked, because: object) -> MovementView:
        """A movement as its caller sees it."""
        movement = booked.movement
        return MovementView(
            movement_id=booked.movement_id,
            sequence=booked.sequence,
            item_id=movement.item_id,
            batch_id=movement.batch_id,
            quantity=movement.quantity,
            unit=self.books.batches[movement.batch_id].unit,
            from_place=_place(movement.source),
            to_place=_place(movement.target),
            reason=movement.reason,
            reason_text=movement.reason_text,
            reference=movement.reference,
            actor=self.actor(because),
            effective_at=movement.effective_at,
            recorded_at=booked.recorded_at,
            reverses=movement.reverses,
        )

    def actor(self, because: object) -> str:
        """Who called."""
        return self.work.cause(because).actor or ""


@does(PutAway, Transfer, Adjust, ChangeStatus, Reverse, PlaceHold, LiftHold)
async def change_stock(work: Work, commands: Sequence[Command]) -> Sequence[Answer]:
    """Do what is asked, in the order in which it was asked: each sees what the ones before it did."""
    floor = await _load(work, commands)
    answers = [_decide(floor, command) for command in commands]
    await floor.books.save()
    return [
        Answer(answer.body, answer.status, floor.books.because_of(command), answer.media_type)
        for answer, command in zip(answers, commands, strict=True)
    ]


async def _load(work: Work, commands: Sequence[Command]) -> _Floor:
    """Lock the items, then the bins that goods go to, then read: always in this order."""
    books = Books(work)
    store = books.store
    originals = await store.movements({each.movement_id for each in commands if isinstance(each, Reverse)})
    holds = await store.items_of_holds({each.hold_id for each in commands if isinstance(each, LiftHold)})
    batch_ids = {each.batch_id for each in commands if not isinstance(each, Reverse | LiftHold)}
    batch_ids |= {booked.movement.batch_id for booked in originals.values()}
    batch_ids |= {batch_id for _, batch_id in holds.values()}
    items = set((await store.items_of_batches(batch_ids)).values()) | {item_id for item_id, _ in holds.values()}
    await work.lock(items)
    targets = {(each.site_id, each.to_location_id) for each in commands if isinstance(each, PutAway)}
    await work.lock(f"location/{site_id}/{location_id}" for site_id, location_id in targets)
    await books.load_items(
        items, {("reversal", str(each.movement_id)) for each in commands if isinstance(each, Reverse)}
    )
    await books.load_batches(batch_ids)
    await books.enter(targets | {place for each in commands for place in _bins(each, originals)})
    await books.load_stock(
        {(each.batch_id, each.site_id) for each in commands if isinstance(each, PutAway | Adjust | ChangeStatus)}
        | {
            (booked.movement.batch_id, spot.site_id)
            for booked in originals.values()
            for spot, _ in booked.movement.changes()
        }
    )
    await books.load_holds(batch_ids)
    since = {(booked.movement.batch_id, booked.movement.effective_at) for booked in originals.values()}
    since |= {
        (each.batch_id, each.effective_at)
        for each in commands
        if isinstance(each, Transfer) and each.effective_at is not None
    }
    floor = _Floor(work, books, originals=originals, holds=holds)
    if since:
        floor.counts = await store.counts_since(since)
    if targets:
        floor.locations = await store.locations(targets)
        floor.climates = await store.climates(items)
    if any(isinstance(each, PutAway) and each.scan for each in commands):
        floor.gtins = await store.gtins(items)
    return floor


def _bins(command: Command, originals: Mapping[UUID, Booked]) -> list[Bin]:
    match command:
        case PutAway():
            return [(command.site_id, command.from_location_id)]
        case Adjust() | ChangeStatus():
            return [(command.site_id, command.location_id)]
        case Reverse() if command.movement_id in originals:
            return [(spot.site_id, spot.location_id) for spot, _ in originals[command.movement_id].movement.changes()]
        case PlaceHold() if command.site_id is not None:
            return [(command.site_id, command.location_id or "")]
        case _:
            return []


def _decide(floor: _Floor, command: Command) -> Answer:
    match command:
        case PutAway():
            return _put(floor, command)
        case Adjust():
            return _adjust(floor, command)
        case ChangeStatus():
            return _change_status(floor, command)
        case Reverse():
            return _reverse(floor, command)
        case PlaceHold():
            return _place_hold(floor, command)
        case LiftHold():
            return _lift_hold(floor, command)


def _unknown_batch(batch_id: UUID) -> Answer:
    return Refusal(404, "unknown_batch", f"batch {batch_id} was never received here", field="batch_id")


def _not_there(batch: Batch, wanted: Decimal, there: Decimal, spot: Spot, *, field: str = "quantity") -> Answer:
    return Refusal(
        409,
        "not_there",
        f"batch {batch.facts.batch_no!r}: {exact(wanted)} {batch.unit} wanted, {exact(there)} {batch.unit} are {spot}",
        field=field,
    )


# Put-away and transfer


def _put(floor: _Floor, command: PutAway) -> Answer:
    books = floor.books
    batch = books.batches.get(command.batch_id)
    if batch is None:
        return _unknown_batch(command.batch_id)
    source = Spot(command.site_id, command.from_location_id, command.quality)
    target = Spot(command.site_id, command.to_location_id, command.quality)
    effective_at = (command.effective_at if isinstance(command, Transfer) else None) or books.now
    against = (
        _against_scan(floor, batch, command.scan)
        or _against_time(floor, batch, effective_at, (source, target))
        or _against_place(floor, batch, command, source, target)
    )
    if against is not None:
        return against
    movement = Movement(
        batch.item_id,
        batch.batch_id,
        command.quantity,
        source,
        target,
        MovementReason.TRANSFER if isinstance(command, Transfer) else MovementReason.PUT_AWAY,
        effective_at,
        reference=str(new_id()),
    )
    booked = floor.move(movement, command)
    books.take_along(batch.batch_id, source, target, command)
    return Answer(floor.view(booked, command), 201)


def _against_scan(floor: _Floor, batch: Batch, scan: str | None) -> Answer | None:
    """Why the goods in hand are not the batch that was named."""
    if not scan:
        return None
    try:
        read = parse(scan, associations=False)
    except Gs1Error as error:
        return Refusal(409, "unreadable_scan", f"the scan cannot be read: {error}"[:400], field="scan")
    gtins = floor.gtins.get(batch.item_id)
    if read.gtin is not None and gtins and read.gtin not in gtins:
        return Refusal(
            409,
            "wrong_item",
            f"the scan says GTIN {read.gtin}; item {batch.item_id!r} has {', '.join(sorted(gtins))}",
            field="scan",
        )
    if read.batch_no is not None and read.batch_no != batch.facts.batch_no:
        return Refusal(
            409,
            "wrong_batch",
            f"the scan says batch {read.batch_no!r}; batch {batch.facts.batch_no!r} was to be moved",
            field="scan",
        )
    return None


def _against_time(floor: _Floor, batch: Batch, effective_at: dt.datetime, spots: Sequence[Spot]) -> Answer | None:
    """Why a movement may not be dated so."""
    if effective_at > floor.books.now:
        return Refusal(
            409,
            "in_the_future",
            f"effective_at {effective_at.isoformat()} is after now, {floor.books.now.isoformat()}",
            field="effective_at",
        )
    for counted in floor.counts:
        if counted.batch_id == batch.batch_id and counted.spot in spots and counted.at > effective_at:
            return Refusal(
                409,
                "counted_since",
                f"batch {batch.facts.batch_no!r} was counted {counted.spot} at {counted.at.isoformat()}, "
                f"after {effective_at.isoformat()}: what happened before is in that count",
                field="effective_at",
            )
    return None


def _against_place(floor: _Floor, batch: Batch, command: PutAway, source: Spot, target: Spot) -> Answer | None:
    """Why these goods may not go there: what there is, then holds, then the rules of the location."""
    books = floor.books
    if command.from_location_id == command.to_location_id:
        return Refusal(
            409,
            PlaceCode.SAME_LOCATION,
            f"the goods stand at {command.to_location_id!r} already",
            field="to_location_id",
        )
    place = floor.locations.get((command.site_id, command.to_location_id))
    if place is None:
        return Refusal(
            409,
            PlaceCode.UNKNOWN_LOCATION,
            f"site {command.site_id!r} has no location {command.to_location_id!r}",
            field="to_location_id",
        )
    there = books.stock.there(batch.batch_id, source)
    if there < command.quantity:
        return _not_there(batch, command.quantity, there, source)
    words = books.statuses(batch.batch_id, source)
    answer = allows(words, Operation.MOVE)
    if answer is Allowed.NO or (answer is Allowed.ISOLATE and place.purpose not in ISOLATION):
        why = [str(word) for word in forbids(words, Operation.MOVE)]
        reasons = "; ".join(hold.reason for hold in books.holds_on(batch.batch_id, source)) or "expiry"
        only = (
            f" to {place.purpose}; it may go to {' or '.join(sorted(ISOLATION))}" if answer is Allowed.ISOLATE else ""
        )
        return Refusal(
            409,
            why[0],
            f"batch {batch.facts.batch_no!r} at {command.from_location_id!r} is {', '.join(why)} ({reasons}): it may "
            f"not be moved{only}",
            field="batch_id",
        )
    goods = Goods(
        batch.item_id,
        batch.batch_id,
        batch.facts.batch_no,
        command.quality,
        command.quantity,
        floor.climates.get(batch.item_id),
    )
    against = objection(goods, place.as_found_by(goods))
    return None if against is None else Refusal(409, against.code, against.text, field="to_location_id")


# Corrections


def _adjust(floor: _Floor, command: Adjust) -> Answer:
    books = floor.books
    batch = books.batches.get(command.batch_id)
    if batch is None:
        return _unknown_batch(command.batch_id)
    if batch.item_id != command.item_id:
        return Refusal(
            409,
            "wrong_item",
            f"batch {batch.facts.batch_no!r} is of item {batch.item_id!r}, not of {command.item_id!r}",
            field="item_id",
        )
    spot = Spot(command.site_id, command.location_id, command.quality)
    if (command.site_id, command.location_id) not in books.purposes:
        return Refusal(
            409,
            PlaceCode.UNKNOWN_LOCATION,
            f"site {command.site_id!r} has no location {command.location_id!r}",
            field="location_id",
        )
    booked = books.stock.there(batch.batch_id, spot)
    if command.expected is not None and command.expected != booked:
        return Refusal(
            409,
            "moved_meanwhile",
            f"counting began at {exact(command.expected)} {batch.unit}, the books say {exact(booked)} now: count again",
            field="expected",
        )
    difference = command.delta if command.delta is not None else (command.counted or NOTHING) - booked
    if booked + difference < 0:
        return _not_there(batch, -difference, booked, spot, field="delta")
    adjustment_id = new_id()
    if command.counted is not None:
        books.count(
            Counted(
                adjustment_id,
                batch.batch_id,
                spot,
                booked,
                command.counted,
                floor.actor(command),
                command.reason,
                books.now,
            )
        )
    moved = None
    if difference:
        ends: tuple[End, End] = (FOUND_OR_LOST, spot) if difference > 0 else (spot, FOUND_OR_LOST)
        moved = floor.move(
            Movement(
                batch.item_id,
                batch.batch_id,
                abs(difference),
                *ends,
                MovementReason.ADJUSTMENT,
                books.now,
                reference=str(adjustment_id),
                reason_text=command.reason,
            ),
            command,
        )
    view = AdjustmentView(
        adjustment_id=adjustment_id,
        booked=booked,
        difference=difference,
        now=booked + difference,
        movement=floor.view(moved, command) if moved else None,
    )
    return Answer(view, 201 if moved else 200)


def _change_status(floor: _Floor, command: ChangeStatus) -> Answer:
    books = floor.books
    batch = books.batches.get(command.batch_id)
    if batch is None:
        return _unknown_batch(command.batch_id)
    source = Spot(command.site_id, command.location_id, command.from_quality)
    there = books.stock.there(batch.batch_id, source)
    if there < command.quantity:
        return _not_there(batch, command.quantity, there, source)
    booked = floor.move(
        Movement(
            batch.item_id,
            batch.batch_id,
            command.quantity,
            source,
            Spot(command.site_id, command.location_id, command.to_quality),
            MovementReason.STATUS_CHANGE,
            books.now,
            reference=str(new_id()),
            reason_text=command.reason,
        ),
        command,
    )
    return Answer(floor.view(booked, command), 201)


def _reverse(floor: _Floor, command: Reverse) -> Answer:
    books = floor.books
    original = floor.originals.get(command.movement_id)
    if original is None:
        return Refusal(
            404, "unknown_movement", f"the ledger has no movement {command.movement_id}", field="movement_id"
        )
    done = original.movement
    batch = books.batches[done.batch_id]
    person = floor.work.cause(command).person
    foreign = sorted({spot.site_id for spot, _ in done.changes() if person and not person.may_at(spot.site_id)})
    if foreign:
        return Refusal(
            403,
            "wrong_site",
            f"the movement is at site {foreign[0]!r}, which this token does not reach",
            field="movement_id",
        )
    if done.reason is MovementReason.REVERSAL:
        return Refusal(
            409,
            "is_a_reversal",
            f"movement {command.movement_id} is a reversal: book what happened anew",
            field="movement_id",
        )
    booking = ("reversal", str(command.movement_id))
    if books.is_booked(booking):
        return Refusal(
            409, "reversed_before", f"movement {command.movement_id} was reversed before", field="movement_id"
        )
    counted = {counted.spot: counted for counted in reversed(floor.counts) if _counts(counted, original)}
    undo = reversal(original, command.reason)
    lacking = [
        (spot, books.stock.there(done.batch_id, spot))
        for spot, change in undo.changes()
        if change < 0 and spot not in counted and books.stock.there(done.batch_id, spot) < -change
    ]
    if lacking:
        return _not_there(batch, done.quantity, lacking[0][1], lacking[0][0], field="movement_id")
    books.book(booking)
    kept = [(spot, change, counted[spot]) for spot, change in undo.changes() if spot in counted]
    # What was counted stands: found again before it leaves, lost again after it came.
    before = [_keep_count(floor, command, batch, spot, change, count) for spot, change, count in kept if change < 0]
    reversed_ = floor.move(undo, command)
    after = [_keep_count(floor, command, batch, spot, change, count) for spot, change, count in kept if change > 0]
    return Answer(
        ReversalView(
            movement=floor.view(reversed_, command),
            because_of_counts=[floor.view(booked, command) for booked in (*before, *after)],
        ),
        201,
    )


def _counts(counted: Counted, original: Booked) -> bool:
    """Whether a count was of what a movement had changed before it."""
    done = original.movement
    return (
        counted.batch_id == done.batch_id
        and counted.at > done.effective_at
        and any(spot == counted.spot for spot, _ in done.changes())
    )


def _keep_count(floor: _Floor, command: Reverse, batch: Batch, spot: Spot, change: Decimal, counted: Counted) -> Booked:
    ends: tuple[End, End] = (spot, FOUND_OR_LOST) if change > 0 else (FOUND_OR_LOST, spot)
    return floor.move(
        Movement(
            batch.item_id,
            batch.batch_id,
            abs(change),
            *ends,
            MovementReason.ADJUSTMENT,
            counted.at,
            reference=str(counted.count_id),
            reason_text=f"{exact(counted.counted)} were counted here; what was undone had happened before",
        ),
        command,
    )


# Holds


def _place_hold(floor: _Floor, command: PlaceHold) -> Answer:
    books = floor.books
    batch = books.batches.get(command.batch_id)
    if batch is None:
        return _unknown_batch(command.batch_id)
    if command.site_id is not None and command.site_id not in books.zones:
        return Refusal(404, "unknown_site", f"there is no site {command.site_id!r}", field="site_id")
    if command.location_id is not None and (command.site_id, command.location_id) not in books.purposes:
        return Refusal(
            404,
            PlaceCode.UNKNOWN_LOCATION,
            f"site {command.site_id!r} has no location {command.location_id!r}",
            field="location_id",
        )
    hold = Hold(
        new_id(), batch.item_id, batch.batch_id, command.kind, command.reason, command.site_id, command.location_id
    )
    sequence = books.place(hold, command)
    return Answer(_hold_view(hold, floor.actor(command), sequence, books.now), 201)


def _lift_hold(floor: _Floor, command: LiftHold) -> Answer:
    books = floor.books
    if command.hold_id not in floor.holds:
        return Refusal(404, "unknown_hold", f"there is no hold {command.hold_id}", field="hold_id")
    _, batch_id = floor.holds[command.hold_id]
    hold = next((each for each in books.open_holds(batch_id) if each.hold_id == command.hold_id), None)
    if hold is None:
        return Refusal(409, "lifted_before", f"hold {command.hold_id} is over already", field="hold_id")
    person = floor.work.cause(command).person
    if person is not None and not person.may_at(hold.site_id or "*"):
        return Refusal(403, "wrong_site", f"the hold is {hold.where}, which this token does not reach", field="hold_id")
    if hold.kind is HoldKind.RECALL:
        return Refusal(
            409,
            "recalled",
            f"recall {hold.reference} holds the batch: it lets the batch go, not a person here",
            field="hold_id",
        )
    if hold.kind is HoldKind.EXPIRY:
        return Refusal(
            409,
            "expired",
            f"{hold.reason}: correct the batch's dates, with a reason, if they are wrong",
            field="hold_id",
        )
    sequence = books.lift(hold, command.reason, command)
    return Answer({"hold_id": str(hold.hold_id), "sequence": sequence, "lifted_at": books.now.isoformat()}, 200)


def _hold_view(hold: Hold, actor: str, sequence: int, now: dt.datetime) -> HoldView:
    return HoldView(
        hold_id=hold.hold_id,
        item_id=hold.item_id,
        batch_id=hold.batch_id,
        kind=hold.kind,
        site_id=hold.site_id,
        location_id=hold.location_id,
        reason=hold.reason,
        reference=hold.reference,
        placed_at=now,
        placed_by=actor,
        placed_sequence=sequence,
    )


def _place(end: End) -> Place:
    if isinstance(end, Spot):
        return Place(
            kind=PlaceKind.LOCATION, site_id=end.site_id, location_id=end.location_id, quality=end.quality
        )  # fmt: skip
    return Place(kind=end.kind, partner_id=end.partner_id)
