"""The rules of integration by themselves: money, units, sequence of reports, lists."""

import contextlib
import datetime as dt
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from itertools import permutations
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.integration import GenealogyMode, PostingKind
from contracts.values import PlaceKind
from services.integration.domain.imports import ITEM_COLUMNS, NotAList, RowRefused, read_items, read_partners
from services.integration.domain.production import (
    Known,
    Lot,
    Made,
    MadeItem,
    Material,
    Report,
    ReportStatus,
    Take,
    Wait,
    difference,
    outlived,
    place,
    released,
    understand,
)
from services.integration.domain.reconciliation import BatchBooks, differences
from services.integration.domain.refused import Refused
from services.integration.domain.units import Units, exact_decimal
from services.integration.domain.valuation import (
    LARGEST_VALUE,
    AtOwnCost,
    BatchValue,
    BelowZero,
    Change,
    Ingredient,
    NotYetPriced,
    Priced,
    Undoing,
    apply,
    crossing,
    learn,
    lot_cost,
    posting_kind,
    revalued,
    rounded,
)

D = Decimal
quantities = st.decimals(min_value=D("0.000001"), max_value=D(10**6), places=6)
costs = st.fractions(min_value=0, max_value=10**5, max_denominator=10**6)


# ── Value ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@st.composite
def histories(draw: st.DrawFn) -> list[Change]:
    """Movements that a ledger could have: never below zero, some without a cost, some reversed, in the end empty."""
    on_hand, changes, undoable = D(0), list[Change](), dict[UUID, Decimal]()
    for number in range(draw(st.integers(1, 14))):
        what = draw(st.sampled_from(["in", "in", "unpriced", "out", "out", "found", "undo"]))
        name = UUID(int=number)
        if what == "out" and on_hand:
            quantity = -min(draw(quantities), on_hand)
            change = Change(name, quantity, AtOwnCost())
        elif what == "undo" and undoable and on_hand + -undoable[(first := min(undoable))] >= 0:
            change = Change(name, -undoable.pop(first), Undoing(first))
        elif what == "found":
            change = Change(name, draw(quantities), AtOwnCost())
        elif what == "unpriced":
            change = Change(name, draw(quantities), NotYetPriced())
        else:
            change = Change(name, draw(quantities), Priced(draw(costs)))
        if not isinstance(change.basis, Undoing):
            undoable[name] = change.quantity
        on_hand += change.quantity
        changes.append(change)
    if on_hand:
        changes.append(Change(UUID(int=99), -on_hand, AtOwnCost()))
    return changes


def fold(changes: list[Change]) -> tuple[BatchValue, Decimal, list[Change]]:
    """The batch after all, the sum of what was posted, and what waits for a value."""
    batch, posted, waiting, known = BatchValue(), D(0), list[Change](), dict[UUID, Decimal]()
    for change in changes:
        batch, valued = apply(batch, change, known)
        if valued.value is None:
            waiting.append(change)
        else:
            known[change.movement_id] = valued.value
            posted += valued.value + valued.correction
        assert batch.value == posted
        assert batch.value >= 0
        assert batch.unknown or batch.quantity or batch.value == 0
    return batch, posted, waiting


@given(histories())
@settings(max_examples=300, deadline=None)
def test_what_was_posted_is_what_is_left_and_an_empty_batch_is_worth_nothing(changes: list[Change]) -> None:
    batch, posted, waiting = fold(changes)
    known: dict[UUID, Decimal] = {}
    # Values of what was posted before the cost became unknown, for reversals among what waits.
    at = BatchValue()
    for change in changes:
        at, valued = apply(at, change, known)
        if valued.value is not None:
            known[change.movement_id] = valued.value
    after, learnt = learn(batch, waiting, known, Priced(Fraction(7, 3)))
    posted += sum((each.value or D(0)) + each.correction for each in learnt)
    assert len(learnt) == len(waiting)
    assert not after.unknown
    assert (after.quantity, after.value, posted) == (0, 0, 0)


@given(histories())
@settings(max_examples=200, deadline=None)
def test_a_cost_that_comes_late_gives_the_same_values_as_one_that_was_there(changes: list[Change]) -> None:
    price = Priced(Fraction(22, 7))
    first, *rest = [c for c in changes if isinstance(c.basis, Priced | AtOwnCost) or c.quantity < 0] or [changes[0]]
    priced = [replace(first, quantity=abs(first.quantity), basis=price)]
    on_hand = priced[0].quantity
    for change in rest:
        if not isinstance(change.basis, Undoing) and on_hand + change.quantity >= 0:
            priced.append(change)
            on_hand += change.quantity
    early, _, none = fold(priced)
    assert none == []
    late, posted, waiting = fold([replace(priced[0], basis=NotYetPriced()), *priced[1:]])
    assert (posted, len(waiting)) == (0, len(priced))
    after, learnt = learn(late, [replace(waiting[0], basis=price), *waiting[1:]], {})
    assert after == early
    assert sum(each.value or D(0) for each in learnt) == early.value


def test_the_last_unit_takes_what_rounding_left() -> None:
    batch, _ = apply(BatchValue(), Change(UUID(int=1), D(3), Priced(Fraction(10, 3))), {})
    values = []
    for n in (2, 3, 4):
        batch, valued = apply(batch, Change(UUID(int=n), D(-1), AtOwnCost()), {})
        values.append(valued.value)
    assert (batch.quantity, batch.value) == (0, 0)
    assert sum(value for value in values if value is not None) == D("-10.0000")


def test_what_comes_after_the_first_cost_still_unknown_goes_on_waiting() -> None:
    first, issue, second = (
        Change(UUID(int=1), D(4), NotYetPriced()),
        Change(UUID(int=2), D(-1), AtOwnCost()),
        Change(UUID(int=3), D(4), NotYetPriced()),
    )
    unknown, _, waiting = fold([first, issue, second])
    after, learnt = learn(unknown, [replace(first, basis=Priced(Fraction(2))), *waiting[1:]], {})
    assert [each.value for each in learnt] == [D(8), D(-2)]
    assert after == BatchValue(D(7), D(6), Fraction(2), unknown=True)
    whole, learnt = learn(after, [replace(second, basis=Priced(Fraction(9)))], {})
    assert [each.value for each in learnt] == [D(36)]
    assert whole == BatchValue(D(7), D(42), Fraction(6))


def test_a_free_batch_is_worth_nothing_which_is_not_unknown() -> None:
    batch, valued = apply(BatchValue(), Change(UUID(int=1), D(3), Priced(Fraction(0))), {})
    assert (valued.value, batch.unknown, batch.quantity) == (0, False, 3)


def test_what_is_found_after_the_batch_was_empty_costs_what_it_last_cost() -> None:
    batch, _ = apply(BatchValue(), Change(UUID(int=1), D(3), Priced(Fraction(13))), {})
    batch, _ = apply(batch, Change(UUID(int=2), D(-3), AtOwnCost()), {})
    batch, valued = apply(batch, Change(UUID(int=3), D(5), AtOwnCost()), {})
    assert (valued.value, batch.value) == (65, 65)


def test_a_batch_cannot_give_more_than_it_has() -> None:
    with pytest.raises(BelowZero, match="takes 2, the batch has 0"):
        apply(BatchValue(), Change(UUID(int=1), D(-2), AtOwnCost()), {})


@given(st.fractions(-LARGEST_VALUE, LARGEST_VALUE, max_denominator=10**9), st.integers(0, 8))
def test_rounding_is_exact_to_the_half_and_symmetric(exact: Fraction, places: int) -> None:
    found = rounded(exact, places)
    assert abs(Fraction(found) - exact) <= Fraction(1, 2 * 10**places)
    assert rounded(-exact, places) == -found
    assert rounded(Fraction(1, 2 * 10**places), places) == Decimal(1).scaleb(-places)


@given(quantities, costs)
def test_a_batch_put_at_another_cost_is_worth_its_quantity_times_it(quantity: Decimal, cost: Fraction) -> None:
    after, change = revalued(BatchValue(quantity, D(5)), cost)
    assert after.value == rounded(Fraction(quantity) * cost) == change + 5


def test_a_lot_costs_what_went_in_over_what_came_out() -> None:
    flour, salt = Ingredient(D(10), D(10), D(30)), Ingredient(D(4), D(8), D(4))
    assert lot_cost(final=True, produced=D(4), ingredients=[flour, salt], conversion=D(8)) == 10
    assert lot_cost(final=False, produced=D(4), ingredients=[flour], conversion=None) is None
    assert lot_cost(final=True, produced=D(4), ingredients=[replace(flour, value=None)], conversion=None) is None
    assert lot_cost(final=True, produced=D(4), ingredients=[replace(flour, booked=D(9))], conversion=None) is None
    assert lot_cost(final=True, produced=D(4), ingredients=[], conversion=None) is None
    assert lot_cost(final=True, produced=D(0), ingredients=[flour], conversion=None) is None


@pytest.mark.parametrize(
    ("came_from", "went_to", "sign", "kind"),
    [
        ("supplier", "location", 1, PostingKind.RECEIPT),
        ("production", "location", 1, PostingKind.PRODUCTION),
        ("customer", "location", 1, PostingKind.RETURN),
        ("adjustment", "location", 1, PostingKind.ADJUSTMENT),
        ("unknown", "location", 1, PostingKind.ADJUSTMENT),
        ("location", "supplier", -1, PostingKind.RETURN),
        ("location", "production", -1, PostingKind.CONSUMPTION),
        ("location", "customer", -1, PostingKind.ISSUE),
        ("location", "scrap", -1, PostingKind.SCRAP),
        ("location", "adjustment", -1, PostingKind.ADJUSTMENT),
        ("location", "location", 0, None),
        ("supplier", "customer", 0, None),
    ],
)
def test_the_place_outside_tells_what_the_erp_calls_it(
    came_from: str, went_to: str, sign: int, kind: PostingKind | None
) -> None:
    one, other = PlaceKind(came_from), PlaceKind(went_to)
    assert crossing(one, other) == sign
    if kind is not None:
        assert posting_kind(one, other, reversal=False) is kind
        assert posting_kind(one, other, reversal=True) is PostingKind.REVERSAL


def test_books_that_differ_are_told_apart() -> None:
    holds = BatchBooks("b", "A", D(5), D(5), D(5), D(10), D(10), unknown=False)
    assert differences([holds]) == []
    wrong = (
        replace(holds, ledger_quantity=D(6)),
        replace(holds, posted_quantity=D(6)),
        replace(holds, posted_value=D(9)),
        replace(holds, value=D(-1), posted_value=D(-1)),
        replace(holds, ledger_quantity=D(0), valued_quantity=D(0), posted_quantity=D(0)),
    )
    assert [len(differences([each])) for each in wrong] == [1, 1, 1, 1, 1]


# ── Units ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(quantities, st.integers(1, 10**6), st.integers(1, 10**6))
def test_a_conversion_is_exact_or_refused(quantity: Decimal, numerator: int, denominator: int) -> None:
    factor = Fraction(numerator, denominator)
    found = Units("MILK", "KGM", {"KGM": Fraction(1), "BX": factor}).to_base(quantity, "BX")
    exact = Fraction(quantity) * factor
    if isinstance(found, Refused):
        assert exact_decimal(exact, 6) is None or exact >= 10**15
    else:
        assert Fraction(found) == exact


# ── Production ───────────────────────────────────────────────────────────────────────────────────────────────────────

MORNING = dt.datetime(2026, 3, 1, 6, 0, tzinfo=dt.UTC)
REPORT = Report(
    source="mes",
    message_id="M-1",
    work_order="WO-1",
    site_id="HRB-1",
    final=False,
    sequence=1,
    corrects=None,
    started_at=MORNING,
    ended_at=MORNING,
    item_id="COCOA",
    gtin=None,
    batch_no="CM1",
    quantity=D(10),
    unit="KGM",
    manufactured_on=dt.date(2026, 3, 1),
    expires_on=None,
    best_before=None,
)
ITEMS = {name: MadeItem(Units(name, "KGM", {"KGM": Fraction(1), "BX": Fraction(25)})) for name in ("COCOA", "MILK")}


def known(number: int, status: ReportStatus = ReportStatus.TAKEN, *, final: bool = False) -> Known:
    return Known(UUID(int=number), f"M-{number}", number, final, status, D(10), {})


@given(st.integers(1, 6).flatmap(lambda n: st.permutations(range(1, n + 1))))
def test_in_whatever_order_reports_come_they_are_taken_in_theirs(order: list[int]) -> None:
    lot, taken = Lot("mes", "CM1", "COCOA"), list[int]()
    for number in order:
        placed = place(replace(REPORT, message_id=f"M-{number}", sequence=number), lot)
        assert isinstance(placed, Take | Wait)
        waits = isinstance(placed, Wait)
        lot = lot.having(known(number, ReportStatus.WAITING if waits else ReportStatus.TAKEN))
        if not waits:
            taken.append(number)
        while (following := released(lot)) is not None:
            lot = lot.having(replace(following, status=ReportStatus.TAKEN))
            taken.append(following.sequence)
    assert taken == sorted(order)
    assert lot.waiting == []


def test_a_report_without_a_number_is_the_next_one() -> None:
    lot = Lot("mes", "CM1", "COCOA").having(known(1), known(2))
    assert place(replace(REPORT, sequence=None), lot) == Take(3)


def test_a_number_is_taken_and_waited_for_once() -> None:
    lot = Lot("mes", "CM1", "COCOA").having(known(1), known(2), known(4, ReportStatus.WAITING))
    refusals = [place(replace(REPORT, message_id="M-9", sequence=number), lot) for number in (2, 4)]
    assert [each.code for each in refusals if isinstance(each, Refused)] == ["already_taken", "already_waiting"]
    corrected = place(replace(REPORT, message_id="M-9", corrects="M-4", sequence=None), lot)
    assert corrected == Wait(4, 3, lot.reports["M-4"])


def test_what_waits_behind_the_last_report_is_outlived() -> None:
    late = known(3, ReportStatus.WAITING)
    lot = Lot("mes", "CM1", "COCOA").having(known(1, final=True), late)
    assert released(lot) is None
    assert list(outlived(lot)) == [late]


def test_a_correction_of_the_last_report_may_open_the_lot_again() -> None:
    last = known(1, final=True)
    lot = Lot("mes", "CM1", "COCOA").having(last)
    placed = place(replace(REPORT, message_id="M-2", corrects="M-1", final=False), lot)
    assert placed == Take(1, last)
    opened = lot.having(replace(last, status=ReportStatus.REPLACED), replace(known(1), message_id="M-2"))
    assert (opened.closed_by, opened.next_sequence) == (None, 2)


def test_material_named_twice_is_one_line_in_base_units() -> None:
    used = Material("MILK", "A", None, D(1), "BX", GenealogyMode.EXACT)
    made = understand(replace(REPORT, consumed=(used, replace(used, quantity=D(3), unit="KGM"))), ITEMS)
    assert isinstance(made, Made)
    assert [(each.quantity, each.unit) for each in made.consumed] == [(D(28), "KGM")]


@given(
    st.dictionaries(st.sampled_from("ABC"), st.decimals(1, 100, places=2), max_size=3),
    st.dictionaries(st.sampled_from("ABC"), st.decimals(1, 100, places=2), max_size=3),
)
def test_a_correction_makes_up_exactly_the_difference(before: dict[str, Decimal], after: dict[str, Decimal]) -> None:
    old = replace(known(1), consumed={("MILK", lot): quantity for lot, quantity in before.items()})
    lines = tuple(Material("MILK", lot, None, q, "KGM", GenealogyMode.EXACT) for lot, q in after.items())
    found = difference(Made(REPORT, D(10), "KGM", lines), old)
    total = {("MILK", lot): quantity for lot, quantity in before.items()}
    for more in found.consume:
        total["MILK", more.batch_no] = total.get(("MILK", more.batch_no), D(0)) + more.quantity
    for key, less in found.give_back.items():
        total[key] -= less
    assert {lot: q for (_, lot), q in total.items() if q} == after


# ── Lists ────────────────────────────────────────────────────────────────────────────────────────────────────────────

cells = st.text(st.sampled_from("abcKGM0123456789=/:;,. \"\t'é批\x00-"), max_size=12)


@given(st.lists(st.lists(cells, max_size=5), max_size=5), st.lists(st.sampled_from([*ITEM_COLUMNS]), max_size=5))
@settings(max_examples=300, deadline=None)
def test_a_list_is_understood_row_by_row_or_refused_but_never_fails(rows: list[list[str]], header: list[str]) -> None:
    text = "\n".join([",".join(["item_id", *header]), *(",".join(row) for row in rows)])
    for read in (read_items, read_partners):
        try:
            found = list(read(text))
        except NotAList:
            continue
        else:
            assert all(row.line > 1 for row in found)
            assert all(row.means.limit for row in found if isinstance(row.means, RowRefused))


@given(st.text(max_size=200))
def test_no_text_makes_the_reader_of_lists_fail(text: str) -> None:
    with contextlib.suppress(NotAList):
        assert len(list(read_items(text))) <= text.count("\n") + 1


def test_the_columns_may_stand_in_any_order() -> None:
    values = {"item_id": "MILK", "name": "Milk", "base_unit": "KGM"}
    for order in permutations(values):
        [row] = read_items(",".join(order) + "\n" + ",".join(values[name] for name in order))
        assert not isinstance(row.means, RowRefused)
        assert row.means.name == "Milk"
