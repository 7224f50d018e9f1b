"""The account of a batch, as pure rules."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.values import PlaceKind
from services.trace.domain.custody import Account, Claims, Flow, Spot, Step, account_of, flows_of, plain

kinds = st.sampled_from(list(PlaceKind))
spots = st.builds(Spot, kind=kinds, location_id=st.sampled_from(["A", "B"]))
quantities = st.decimals(min_value="0.000001", max_value=10**9, places=6)
steps = st.lists(st.builds(Step, quantity=quantities, source=spots, target=spots), max_size=40)


@given(steps)
def test_the_ledger_alone_always_comes_out_at_zero(taken: list[Step]) -> None:
    account = account_of(flows_of(taken), Claims())
    assert account.unaccounted == 0
    assert sum((flow.there for flow in flows_of(taken).values()), Decimal(0)) == 0


@given(steps, st.data())
def test_booking_everything_back_leaves_nothing_anywhere(taken: list[Step], data: st.DataObject) -> None:
    undone = [Step(step.quantity, step.target, step.source, undoes=True) for step in taken]
    flows = flows_of(data.draw(st.permutations([*taken, *undone])))
    assert set(flows.values()) <= {Flow(Decimal(0), Decimal(0))}


@given(steps, steps)
def test_flows_of_parts_add_up_to_the_flows_of_the_whole(first: list[Step], second: list[Step]) -> None:
    parts, whole = (flows_of(first), flows_of(second)), flows_of([*first, *second])
    assert whole == {
        spot: parts[0].get(spot, Flow()) + parts[1].get(spot, Flow()) for spot in parts[0].keys() | parts[1].keys()
    }


@given(steps, quantities)
def test_whatever_is_claimed_entered_is_accounted_plus_unaccounted(taken: list[Step], produced: Decimal) -> None:
    account = account_of(flows_of(taken), Claims(produced=produced))
    assert account.entered == produced == account.accounted + account.unaccounted
    assert account.percent is not None
    assert 0 <= account.percent <= 100
    if account.percent == 100:
        assert account.unaccounted == 0


def _account(*taken: Step, **claims: Decimal) -> Account:
    return account_of(flows_of(taken), Claims(**claims))


SUPPLIER, SHELF, PRODUCTION = (
    Spot(PlaceKind.SUPPLIER),
    Spot(PlaceKind.LOCATION, "HRB-1", "A-1"),
    Spot(PlaceKind.PRODUCTION),
)


def test_production_that_gives_is_told_from_production_that_takes() -> None:
    made = Step(Decimal(100), PRODUCTION, SHELF)
    used = Step(Decimal(30), SHELF, PRODUCTION)
    account = _account(made, used)
    assert (account.booked, account.consumed, account.on_hand) == (100, 30, 70)


def test_a_percentage_is_never_rounded_up_to_a_hundred() -> None:
    account = _account(Step(Decimal("99999.9"), SUPPLIER, SHELF), received=Decimal(100000))
    assert str(account.percent) == "99.99"


def test_more_than_ever_entered_is_a_difference_below_zero() -> None:
    account = _account(Step(Decimal(12), SUPPLIER, SHELF), received=Decimal(10))
    assert (account.unaccounted, account.differences[0].code) == (Decimal(-2), "received_not_booked")


@pytest.mark.parametrize(("quantity", "text"), [("100", "100"), ("1E+2", "100"), ("2.500000", "2.5"), ("0.00", "0")])
def test_a_quantity_is_written_plainly(quantity: str, text: str) -> None:
    assert plain(Decimal(quantity)) == text
