"""The ledger as a pure fold, driven by random histories."""

import datetime as dt
import itertools
import uuid
from decimal import ROUND_DOWN, Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from contracts.inventory import MovementReason
from contracts.values import PlaceKind, Quality
from services.inventory.domain.ledger import (
    FOUND_OR_LOST,
    Booked,
    Movement,
    Outside,
    Overdrawn,
    Spot,
    Stock,
    as_a_person_takes,
    gather,
    quality_of_found,
    reversal,
    stock_at,
)

D = Decimal
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
BATCHES = [uuid.UUID(int=n) for n in (1, 2)]
SPOTS = [Spot(site, place, quality) for site in "ST" for place in "AB" for quality in list(Quality)[:3]]
OUTSIDE = [FOUND_OR_LOST, Outside(PlaceKind.SUPPLIER, "P"), Outside(PlaceKind.CUSTOMER)]

quantities = st.decimals(min_value="0.000001", max_value="1000000", places=6, allow_nan=False, allow_infinity=False)
moments = st.integers(0, 200).map(lambda hours: START + dt.timedelta(hours=hours))


def move(quantity: str | Decimal, source: Spot | Outside, target: Spot | Outside, batch: int = 0) -> Movement:
    return Movement("I", BATCHES[batch], D(quantity), source, target, MovementReason.TRANSFER, START)


class Ledger(RuleBasedStateMachine):
    """A ledger that grows by any movements there are, against what a plain sum and a replay say."""

    lines = Bundle("lines")

    @initialize()
    def open(self) -> None:
        self.stock = Stock()
        self.history: list[Booked] = []
        self.answers: list[tuple[dt.datetime, int, dict[object, Decimal]]] = []
        self.clock = START

    def book(self, movement: Movement) -> Booked | None:
        before = self.stock.balances()
        try:
            self.stock.fold(movement)
        except Overdrawn:
            assert isinstance(movement.source, Spot)
            assert before.get((movement.batch_id, movement.source), D(0)) < movement.quantity
            assert self.stock.balances() == before
            return None
        self.clock += dt.timedelta(minutes=7)
        booked = Booked(uuid.uuid4(), len(self.history) + 1, self.clock, movement)
        self.history.append(booked)
        return booked

    @rule(
        target=lines,
        batch=st.sampled_from(BATCHES),
        quantity=quantities,
        ends=st.one_of(
            st.tuples(st.sampled_from(OUTSIDE), st.sampled_from(SPOTS)),
            st.tuples(st.sampled_from(SPOTS), st.sampled_from([*OUTSIDE, *SPOTS])),
        ).filter(lambda ends: ends[0] != ends[1]),
        effective_at=moments,
    )
    def happens(
        self,
        batch: uuid.UUID,
        quantity: Decimal,
        ends: tuple[Spot | Outside, Spot | Outside],
        effective_at: dt.datetime,
    ) -> Booked | None:
        return self.book(Movement("I", batch, quantity, *ends, MovementReason.TRANSFER, effective_at))

    @rule(target=lines, batch=st.sampled_from(BATCHES), spot=st.sampled_from(SPOTS), part=st.sampled_from([1, 2, 3]))
    def some_of_what_is_there_leaves(self, batch: uuid.UUID, spot: Spot, part: int) -> Booked | None:
        there = self.stock.there(batch, spot)
        if not there:
            return None
        # A quantity has six places at most: what is smaller leaves as a whole.
        leaving = (there / part).quantize(D("0.000001"), ROUND_DOWN) or there
        movement = Movement("I", batch, leaving, spot, OUTSIDE[2], MovementReason.ISSUE, self.clock)
        assert self.book(movement) is not None
        return self.history[-1]

    @rule(line=consumes(lines))
    def is_undone(self, line: Booked | None) -> None:
        if line is None:
            return
        before = self.stock.balances()
        undone = self.book(reversal(line, "wrong"))
        if undone is None:
            return
        assert undone.movement.reverses == line.movement_id
        for spot, change in line.movement.changes():
            column = (line.movement.batch_id, spot)
            assert self.stock.there(*column) == before.get(column, D(0)) - change

    @rule()
    def somebody_asks_what_is_known_now(self) -> None:
        self.answers.append((self.clock, len(self.history), dict(self.stock.balances())))

    @invariant()
    def balances_are_the_sum_of_all_movements(self) -> None:
        assert self.stock.balances() == stock_at(self.history)

    @invariant()
    def nothing_is_below_zero_and_the_books_balance_with_the_outside(self) -> None:
        balances = self.stock.balances()
        assert all(quantity > 0 for quantity in balances.values())
        came = sum((b.movement.quantity for b in self.history if not isinstance(b.movement.source, Spot)), D(0))
        left = sum((b.movement.quantity for b in self.history if not isinstance(b.movement.target, Spot)), D(0))
        assert sum(balances.values(), D(0)) == came - left

    @invariant()
    def what_was_believed_at_any_time_stays_the_answer_for_that_time(self) -> None:
        for known_at, lines, believed in self.answers:
            assert stock_at(self.history, known_at=known_at) == believed
            assert stock_at(self.history[:lines]) == believed


Ledger.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestLedger = Ledger.TestCase


@given(st.lists(st.tuples(quantities, moments, moments), min_size=1, max_size=12), moments, moments)
def test_an_answer_for_two_times_is_that_of_replaying_only_what_had_happened_and_was_known(
    receipts: list[tuple[Decimal, dt.datetime, dt.datetime]], as_of: dt.datetime, known_at: dt.datetime
) -> None:
    history = [
        Booked(
            uuid.uuid4(),
            n,
            recorded_at,
            Movement("I", BATCHES[0], quantity, FOUND_OR_LOST, SPOTS[0], MovementReason.RECEIPT, effective_at),
        )
        for n, (quantity, effective_at, recorded_at) in enumerate(receipts, 1)
    ]
    expected = sum(
        (
            quantity
            for quantity, effective_at, recorded_at in receipts
            if effective_at <= as_of and recorded_at <= known_at
        ),
        D(0),
    )
    there = stock_at(history, as_of=as_of, known_at=known_at)
    assert there.get((BATCHES[0], SPOTS[0]), D(0)) == expected


# 3.1 #1
def test_one_and_one_and_one_less_three_is_nothing() -> None:
    stock = Stock()
    for movement in (*[move("1", FOUND_OR_LOST, SPOTS[0])] * 3, move("3", SPOTS[0], FOUND_OR_LOST)):
        stock.fold(movement)
    assert stock.balances() == {}


# 3.1 #4: a batch that lacks does not eat what others have, since no batch can fall below zero
def test_more_than_there_is_cannot_leave_and_the_other_batch_does_not_help() -> None:
    stock = Stock()
    stock.fold(move("10", FOUND_OR_LOST, SPOTS[0]))
    stock.fold(move("20", FOUND_OR_LOST, SPOTS[0], batch=1))
    with pytest.raises(Overdrawn, match=r"has 10 pending at 'A' of site 'S': 20 cannot leave"):
        stock.fold(move("20", SPOTS[0], FOUND_OR_LOST))
    assert stock.there(BATCHES[0], SPOTS[0]) == D(10)


# 3.6 #94 as far as quantities go, 3.1 #19
def test_tenths_leave_no_residue() -> None:
    stock = Stock()
    stock.fold(move("0.4", FOUND_OR_LOST, SPOTS[0]))
    stock.fold(move("0.3", SPOTS[0], FOUND_OR_LOST))
    stock.fold(move("0.1", SPOTS[0], FOUND_OR_LOST))
    assert stock.balances() == {}


@pytest.mark.parametrize(
    ("ends", "quantity", "words"),
    [
        ((FOUND_OR_LOST, SPOTS[0]), "0", "a movement of 0"),
        ((FOUND_OR_LOST, SPOTS[0]), "-1", "a movement of -1"),
        ((SPOTS[0], SPOTS[0]), "1", "goes nowhere"),
        ((FOUND_OR_LOST, OUTSIDE[1]), "1", "none of them is ours"),
    ],
)
def test_what_is_no_movement_cannot_be_made(ends: tuple[Spot, Spot], quantity: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        move(quantity, *ends)


@given(quantities, st.lists(st.tuples(st.sampled_from(SPOTS), quantities), max_size=8))
def test_gathering_takes_in_order_never_more_than_there_is_and_says_what_is_missing(
    wanted: Decimal, spots: list[tuple[Spot, Decimal]]
) -> None:
    parts, missing = gather(wanted, spots)
    assert sum((part for _, part in parts), missing) == wanted
    assert all(0 < part <= there for (_, part), (_, there) in zip(parts, spots, strict=False))
    assert missing == max(D(0), wanted - sum((there for _, there in spots), D(0)))
    # Only the last part is less than everything.
    assert [part for _, part in parts[:-1]] == [there for _, there in spots[: max(0, len(parts) - 1)]]


def test_people_take_released_goods_first_whatever_the_order_of_asking() -> None:
    spots = [(Spot("S", "B", Quality.PENDING), D(1)), (Spot("S", "A", Quality.REJECTED), D(1)), (SPOTS[0], D(1))]
    spots.append((Spot("S", "C", Quality.RELEASED), D(1)))
    orders = {
        tuple(spot.location_id for spot, _ in as_a_person_takes(order)) for order in itertools.permutations(spots)
    }
    assert orders == {("C", "A", "B", "A")}


def test_goods_that_are_found_are_released_only_where_nothing_of_the_batch_speaks_against_it() -> None:
    released, pending = (Spot("S", "A", Quality.RELEASED), D(1)), (Spot("S", "B", Quality.PENDING), D(1))
    assert quality_of_found([]) is Quality.RELEASED
    assert quality_of_found([released]) is Quality.RELEASED
    assert quality_of_found([released, pending]) is Quality.PENDING
