"""The rules of who gets what: examples at the boundaries, and what holds for every shelf and every wish."""

import datetime as dt
import random
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.allocation import PassedOverCode
from contracts.values import Strategy
from services.allocation.domain.aisles import Aisles, Asking
from services.allocation.domain.orders import ORDERS
from services.allocation.domain.planning import Plan, Wanted, plan, walk
from services.allocation.domain.record import inputs_of, outcome_of, replay
from services.allocation.domain.rules import POLICIES, POLICY, remaining_days
from services.allocation.domain.stock import Stock
from services.allocation.domain.terms import Demand, LifeRule, somewhere_still, wanted_by
from tests.allocation.shelves import TODAY, batch, shelves, wanting, wishes

RULES = POLICIES[POLICY]


def planned(wanted: Wanted, *shelf: Stock) -> Plan:
    return plan(wanted, shelf, RULES, ORDERS[wanted.strategy])


def got(made: Plan) -> dict[str, str]:
    return {share.stock.batch_no: f"{share.quantity:f}" for share in made.taken}


def why(made: Plan) -> dict[str, PassedOverCode]:
    return {passed.stock.batch_no: passed.code for passed in made.passed_over}


def test_the_batch_that_expires_first_leaves_first_unless_the_customer_wants_fresher() -> None:
    shelf = batch("A", expires="2026-06-01", free=3), batch("B", expires="2026-09-01", free=9)
    assert got(planned(wanting(5), *shelf)) == {"A": "3", "B": "2"}
    assert got(planned(wanting(5, min_days=120), *shelf)) == {"B": "5"}


def test_ask_a_thousand_of_five_and_ten_and_the_rest_is_short() -> None:
    # 3.2 #38
    made = planned(wanting(1000), batch("A", free=5, expires="2026-06-01"), batch("B", free=10))
    assert (got(made), made.missing) == ({"A": "5", "B": "10"}, 985)


def test_no_expiry_is_last_where_the_item_allows_it_and_not_given_where_it_does_not() -> None:
    # 3.2 #36, #37 done otherwise by policy
    shelf = batch("DATED", free=100), batch("NONE", free=100, expires=None)
    free_choice = wanting(110, expiry_required=False)
    assert got(planned(free_choice, *shelf)) == {"DATED": "100", "NONE": "10"}
    assert why(planned(wanting(110), *shelf)) == {"NONE": PassedOverCode.NO_EXPIRY_KNOWN}
    assert got(planned(wanting(10, expiry_required=False, min_days=100), *shelf)) == {"DATED": "10"}


def test_fifo_takes_what_came_first_and_lifo_what_came_last() -> None:
    # 3.2 #31
    shelf = batch("FIVE-DAYS-AGO", received="2026-03-01"), batch("TODAY", received="2026-03-05")
    assert got(planned(wanting(1, strategy=Strategy.FIFO), *shelf)) == {"FIVE-DAYS-AGO": "1"}
    assert got(planned(wanting(1, strategy=Strategy.LIFO), *shelf)) == {"TODAY": "1"}


def test_equal_expiry_is_decided_by_receipt_then_number_then_location_then_smallest_quantity() -> None:
    # 3.2 #45, #39, #35: others decide by quantity first; with us it is the last tie-break
    assert got(planned(wanting(1), batch("A", received="2026-02-02"), batch("B", received="2026-02-01"))) == {"B": "1"}
    assert got(planned(wanting(1), batch("B", free=1), batch("A", free=100))) == {"A": "1"}
    bins = planned(wanting(3), batch("A", at="BIN-3", free=2), batch("A", at="BIN-2", free=2))
    assert [(share.stock.spot.location_id, share.quantity) for share in bins.taken] == [("BIN-2", 2), ("BIN-3", 1)]
    piles = [batch("A", free=5), batch("A", free=2)]
    assert [stock.quantity for stock in sorted(piles, key=ORDERS[Strategy.FEFO])] == [2, 5]


def test_a_named_batch_is_the_only_one() -> None:
    made = planned(wanting(15, strategy=Strategy.SPECIFIED, batch_no="B"), batch("A"), batch("B"))
    assert (got(made), made.missing) == ({"B": "10"}, 5)
    assert why(made) == {"A": PassedOverCode.OTHER_BATCH_WANTED}


def test_the_first_reason_in_the_order_of_the_rules_is_said() -> None:
    reasons = why(
        planned(
            wanting(1, min_days=30, min_percent=50),
            batch("FAR", site="SHA-1", quality="pending"),
            batch("PENDING", quality="pending", held_for="count (x)"),
            batch("REJECTED", quality="rejected"),
            batch("HELD", held_for="recall (glass)", expires="2026-01-01"),
            batch("STAGED", purpose="staging"),
            batch("EXPIRED", expires="2026-03-04"),
            batch("UNDATED", expires=None),
            batch("SHORT", expires="2026-03-06"),
            batch("HALF", expires="2026-06-01"),
            batch("OTHERS", expires="2026-09-01", made="2026-03-01", free=0, promised=7),
        )
    )
    assert reasons == {
        "FAR": PassedOverCode.OTHER_SITE,
        "PENDING": PassedOverCode.PENDING,
        "REJECTED": PassedOverCode.REJECTED,
        "HELD": PassedOverCode.HELD,
        "STAGED": PassedOverCode.NOT_PICKABLE_HERE,
        "EXPIRED": PassedOverCode.EXPIRED,
        "UNDATED": PassedOverCode.NO_EXPIRY_KNOWN,
        "SHORT": PassedOverCode.TOO_FEW_DAYS_LEFT,
        "HALF": PassedOverCode.TOO_FEW_PERCENT_LEFT,
        "OTHERS": PassedOverCode.RESERVED,
    }


@given(least=st.integers(0, 1000), over=st.integers(-3, 3))
def test_exactly_the_least_days_is_enough_and_one_less_is_not(least: int, over: int) -> None:
    # complaint 19: the boundary day, and the sign of it
    expires = TODAY + dt.timedelta(days=least + over)
    made = planned(wanting(1, min_days=least), batch("A", expires=expires.isoformat()))
    assert bool(made.taken) is (over >= 0)
    assert remaining_days(expires, TODAY) == least + over


@given(total=st.integers(1, 2000), left=st.integers(0, 2000), percent=st.integers(1, 100))
def test_exactly_the_least_percent_is_enough(total: int, left: int, percent: int) -> None:
    left = min(left, total)
    expires = TODAY + dt.timedelta(days=left)
    made_on = expires - dt.timedelta(days=total)
    shelf = batch("A", expires=expires.isoformat(), made=made_on.isoformat())
    enough = Decimal(left) / Decimal(total) * 100 >= percent
    assert bool(planned(wanting(1, min_percent=percent), shelf).taken) is enough


def test_todays_expiry_is_not_expired() -> None:
    # 3.3 #46
    assert got(planned(wanting(1), batch("A", expires=TODAY.isoformat()))) == {"A": "1"}


def test_the_stricter_of_customer_and_demand_holds_and_the_items_rule_replaces_the_general_one() -> None:
    asked = Demand(
        demand_id=batch("x").spot.batch_id,
        reference="SO-1",
        customer_id="C-1",
        site_id="S",
        item_id="I",
        unit="C62",
        quantity=Decimal(1),
        missing=Decimal(1),
        needed_on=TODAY,
        strategy=Strategy.UNKNOWN,
        batch_no="ignored",
        min_days_left=100,
        min_percent_left=None,
        raised_at=dt.datetime(2026, 3, 1, tzinfo=dt.UTC),
    )
    rules = [LifeRule(None, 500, 90), LifeRule("I", 90, 33), LifeRule("J", 700, None)]
    wanted = wanted_by(asked, rules, expiry_required=True, today=TODAY)
    assert (wanted.min_days, wanted.min_percent) == (100, 33)
    assert (wanted.strategy, wanted.batch_no) == (Strategy.FEFO, None)
    late = wanted_by(asked, [], expiry_required=True, today=TODAY + dt.timedelta(days=9))
    assert (late.alive_on, late.min_percent) == (TODAY + dt.timedelta(days=9), None)


def test_the_day_is_never_ahead_of_any_site() -> None:
    assert somewhere_still(dt.datetime(2026, 3, 5, 11, 59, tzinfo=dt.UTC)) == dt.date(2026, 3, 4)
    assert somewhere_still(dt.datetime(2026, 3, 5, 12, 0, tzinfo=dt.UTC)) == dt.date(2026, 3, 5)


@given(shelf=shelves, wanted=wishes(), seed=st.randoms(use_true_random=False))
def test_a_plan_takes_no_more_than_wanted_or_there_and_leaves_no_candidate_unexplained(
    shelf: list[Stock], wanted: Wanted, seed: random.Random
) -> None:
    made = planned(wanted, *shelf)
    assert made.allocated + made.missing == wanted.quantity
    assert made.missing >= 0
    taken = {share.stock.spot: share.quantity for share in made.taken}
    passed_over = {passed.stock.spot: passed.quantity for passed in made.passed_over}
    assert taken.keys() | passed_over.keys() == {stock.spot for stock in shelf}
    for stock in shelf:
        assert taken.get(stock.spot, 0) + passed_over.get(stock.spot, 0) == stock.quantity
        if stock.spot in taken:
            assert taken[stock.spot] > 0
            assert not any(rule(wanted, stock) for rule in RULES)
    if made.missing:
        assert all(passed.code is not PassedOverCode.NOT_NEEDED for passed in made.passed_over)
    shuffled = [*shelf]
    seed.shuffle(shuffled)
    assert planned(wanted, *shuffled) == made


@given(shelf=shelves, wanted=wishes())
def test_nothing_that_comes_later_in_the_order_is_taken_while_something_earlier_is_left(
    shelf: list[Stock], wanted: Wanted
) -> None:
    made = planned(wanted, *shelf)
    order = ORDERS[wanted.strategy]
    left = [passed.stock for passed in made.passed_over if passed.code is PassedOverCode.NOT_NEEDED]
    if left and made.taken:
        assert max(order(share.stock) for share in made.taken) <= min(order(stock) for stock in left)


@given(shelf=shelves, wanted=wishes())
def test_a_kept_plan_is_decided_the_same_again(shelf: list[Stock], wanted: Wanted) -> None:
    made = planned(wanted, *shelf)
    again, recomputed = replay(POLICY, inputs_of(wanted, made.considered))
    assert again == wanted
    assert recomputed == made
    assert outcome_of(recomputed) == outcome_of(made)


def test_a_policy_that_never_was_is_an_error() -> None:
    with pytest.raises(KeyError, match="allocation-0"):
        replay("allocation-0", inputs_of(wanting(1), ()))


@given(shelf=shelves, asked=st.lists(wishes(), max_size=8))
def test_walking_aisles_gives_the_same_as_looking_at_the_whole_shelf_each_time(
    shelf: list[Stock], asked: list[Wanted]
) -> None:
    askings = [Asking(batch(f"D{n}").spot.batch_id, "I", wanted) for n, wanted in enumerate(asked)]
    left = {stock.spot: stock for stock in shelf}
    plans = served(Aisles(askings), shelf)
    for asking in askings:
        wanted, made = asking.wanted, plans[asking.demand_id]
        expected = planned(wanted, *(stock for stock in left.values() if stock.quantity))
        assert made.taken == expected.taken
        if wanted.strategy is not Strategy.SPECIFIED:
            there = [stock for stock in left.values() if stock.quantity and stock.spot.site_id == wanted.site_id]
            met = walk(wanted, sorted(there, key=ORDERS[wanted.strategy]), RULES)
            assert (made.considered, made.passed_over) == (met.considered, met.passed_over), "what it is told of"
        for stock, quantity in expected.taken:
            left[stock.spot] = stock._replace(quantity=stock.quantity - quantity)


def served(aisles: Aisles, shelf: list[Stock]) -> dict[object, Plan]:
    """What the service does, with the shelf in memory instead of a database, and small looks at it."""
    plans: dict[object, Plan] = {}
    to_load = aisles.to_load()
    for aisle in to_load:
        aisle.rows = 1
    for key, from_day in aisles.shelves.items():
        at_site = [stock for stock in shelf if stock.spot.site_id == key[1]]
        aisles.withhold(key, [stock for stock in at_site if not stock.offered or stock.use_by < from_day])
    while to_load:
        for aisle in to_load:
            along = [
                stock
                for stock in sorted(shelf, key=ORDERS[aisle.strategy])
                if stock.spot.site_id == aisle.shelf[1]
                and (
                    stock.batch_no == aisle.batch_no
                    if aisle.strategy is Strategy.SPECIFIED
                    else stock.offered and stock.use_by >= aisle.from_day
                )
            ]
            aisles.fill(aisle, along[: aisle.rows])
        plans = dict(aisles.serve(RULES))
        to_load = aisles.to_load(plans)  # type: ignore[arg-type]
    return plans
