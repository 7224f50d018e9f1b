"""Which batch a label means, where the two disagree, and what becomes of a line."""

import datetime as dt
import uuid
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.gs1 import ScannerProfile
from contracts.integration import UniqueWithin
from contracts.values import DatePrecision, DateSource, Origin, Quality
from services.receiving.domain.batches import (
    Batch,
    Facts,
    LatestDay,
    corrected,
    differences,
    filled,
    meant_batch,
    taken_over,
)
from services.receiving.domain.claims import TypedLine, claim_of
from services.receiving.domain.expected import Expected, ExpectedStatus, progress
from services.receiving.domain.items import Alias, Item
from services.receiving.domain.labels import Label, read_label
from services.receiving.domain.lines import Accepted, Conflicting, Outcome, Partner, Refused, Terms, judge
from services.receiving.domain.reasons import Reason

TODAY = dt.date(2026, 3, 2)
MILK = Item("WMP-25", "Milk powder", "KGM", {"BX": Fraction(25)}, shelf_life_days=546)
DAIRY = Partner("S-1", supplies=True, active=True)
TERMS = Terms(on=TODAY, latest=LatestDay(TODAY, "HRB-1"), may_accept_short_life=False, over_receipt_percent=Decimal(10))

DATES = st.dates(min_value=dt.date(2026, 1, 1), max_value=dt.date(2026, 1, 4))
FACTS = st.builds(
    Facts,
    batch_no=st.just("A"),
    origin=st.sampled_from([Origin.SUPPLIER, Origin.PRODUCTION, Origin.CUSTOMER]),
    supplier_id=st.sampled_from([None, "S-1", "S-2"]),
    supplier_batch_no=st.sampled_from([None, "x", "y"]),
    manufactured_on=st.none() | DATES,
    expires_on=st.none() | DATES,
    best_before=st.none() | DATES,
    received_on=st.just(TODAY),
)


def batch(facts: Facts) -> Batch:
    return Batch(uuid.uuid4(), "WMP-25", facts)


@given(FACTS)
def test_a_batch_never_contradicts_itself(facts: Facts) -> None:
    assert differences(facts, facts) == ()


@given(FACTS, FACTS)
def test_what_the_label_leaves_open_is_filled_and_what_it_says_is_kept(existing: Facts, claimed: Facts) -> None:
    whole = filled(claimed, existing)
    for name in ("supplier_id", "supplier_batch_no", "manufactured_on", "best_before"):
        said = getattr(claimed, name)
        assert getattr(whole, name) == (getattr(existing, name) if said is None else said)
    if claimed.expires_on is not None:
        assert whole.expires_on == claimed.expires_on
    # Filling answers questions and asks none: it brings up no contradiction that the label did not have.
    assert set(differences(existing, whole)) == set(differences(existing, claimed))


@given(FACTS, FACTS)
def test_a_label_that_names_a_date_that_is_not_on_record_contradicts_it(existing: Facts, claimed: Facts) -> None:
    differs = differences(existing, claimed)
    for name in ("expires_on", "manufactured_on"):
        stated = getattr(claimed, name)
        assert (name in differs) == (stated is not None and stated != getattr(existing, name))


@given(FACTS, st.lists(FACTS, max_size=4), st.sampled_from([UniqueWithin.ITEM, UniqueWithin.ITEM_AND_SUPPLIER]))
def test_a_number_that_is_unique_within_the_item_always_means_the_batch_that_has_it(
    claimed: Facts, known: list[Facts], scope: UniqueWithin
) -> None:
    batches = [batch(facts) for facts in known]
    meant = meant_batch(claimed, replace(MILK, unique_within=scope), batches)
    if scope is UniqueWithin.ITEM:
        assert (meant is None) == (not batches)
    elif isinstance(meant, Batch) and claimed.origin is not Origin.CUSTOMER:
        assert meant.facts.supplier_id == claimed.supplier_id
    assert meant_batch(replace(claimed, batch_no="B"), MILK, batches) is None


@given(FACTS, FACTS, FACTS)
def test_taking_over_a_label_settles_its_contradiction_and_touches_nothing_else(
    existing: Facts, claimed: Facts, corrected_since: Facts
) -> None:
    whole = filled(claimed, existing)
    differs = differences(existing, whole)
    assert not set(differences(taken_over(existing, whole, differs), whole))
    # What was corrected while the label waited is not undone by what the label never said.
    after = taken_over(corrected_since, whole, differs)
    for name in {"manufactured_on", "expires_on", "origin", "received_on"} - {*differs}:
        assert getattr(after, name) == getattr(corrected_since, name)


def test_a_return_of_a_number_that_two_suppliers_use_has_to_name_one() -> None:
    known = [batch(Facts("A", Origin.SUPPLIER, supplier_id=each)) for each in ("S-1", "S-2")]
    scope = replace(MILK, unique_within=UniqueWithin.ITEM_AND_SUPPLIER)
    asked = meant_batch(Facts("A", Origin.CUSTOMER), scope, known)
    assert isinstance(asked, Reason)
    assert asked.text == "batch number 'A' of item 'WMP-25' is known from S-1, S-2: name the supplier"
    assert meant_batch(Facts("A", Origin.CUSTOMER, supplier_id="S-2"), scope, known) is known[1]


def test_what_production_makes_under_a_suppliers_number_contradicts_it_and_what_it_gives_back_does_not() -> None:
    bought, from_production = Facts("A", Origin.SUPPLIER, supplier_id="S-1"), Facts("A", Origin.PRODUCTION)
    assert differences(bought, from_production) == ("origin",)
    assert differences(bought, from_production, given_back=True) == ()


def test_a_computed_expiry_follows_its_manufacture_date_and_a_stated_one_does_not() -> None:
    made = Facts("A", Origin.SUPPLIER, manufactured_on=TODAY - dt.timedelta(days=9), expires_on=dt.date(2027, 8, 21))
    terms = {"manufactured_on": TODAY, "expires_on": None, "source": DateSource.ENTERED, "latest": TERMS.latest}
    stated = corrected(replace(made, expiry_source=DateSource.LABEL), MILK, **terms)  # type: ignore[arg-type]
    computed = corrected(replace(made, expiry_source=DateSource.COMPUTED), MILK, **terms)  # type: ignore[arg-type]
    assert isinstance(stated, Facts)
    assert isinstance(computed, Facts)
    assert (stated.expires_on, computed.expires_on) == (dt.date(2027, 8, 21), TODAY + dt.timedelta(days=546))


def judged(typed: TypedLine, *, known: tuple[Batch, ...] = (), item: Item = MILK, terms: Terms = TERMS) -> Outcome:
    claim = claim_of(typed, None, (), None, partner_id=None, site_id="HRB-1")
    return judge(claim, item, DAIRY, known, terms)


TYPED = TypedLine(
    item_id="WMP-25",
    batch_no="A",
    supplier_id="S-1",
    manufactured_on=dt.date(2026, 2, 20),
    expires_on=dt.date(2027, 8, 20),
    quantity=Decimal(4),
    unit="BX",
)


@given(
    st.builds(
        TypedLine,
        item_id=st.just("WMP-25"),
        batch_no=st.sampled_from([None, "A", "B", "#"]),
        supplier_id=st.sampled_from([None, "S-1"]),
        manufactured_on=st.sampled_from([None, dt.date(2026, 2, 20), dt.date(2026, 4, 1)]),
        expires_on=st.sampled_from([None, dt.date(2026, 3, 1), dt.date(2027, 8, 20), dt.date(2027, 9, 1)]),
        quantity=st.sampled_from([None, Decimal(0), Decimal(1)]),
        unit=st.sampled_from([None, "BX", "LTR"]),
        quality=st.sampled_from([None, *Quality]),
        production=st.booleans(),
    )
)
def test_whatever_is_typed_what_is_received_has_every_mandatory_fact(typed: TypedLine) -> None:
    outcome = judged(typed, known=(batch(Facts("A", Origin.SUPPLIER, "S-1", None, TODAY, dt.date(2027, 8, 20))),))
    match outcome:
        case Refused(reasons):
            assert reasons
        case Accepted() | Conflicting():
            facts = outcome.facts if isinstance(outcome, Accepted) else outcome.claimed
            assert facts.manufactured_on is not None
            assert facts.expires_on is not None
            assert facts.expires_on >= TODAY >= facts.manufactured_on
            assert facts.supplier_id is not None or facts.origin is not Origin.SUPPLIER
            assert outcome.quantity > 0
            assert outcome.quality is Quality.PENDING


def test_a_line_with_many_faults_names_them_all_at_once() -> None:
    outcome = judged(replace(TYPED, supplier_id=None, manufactured_on=dt.date(2026, 3, 3), expires_on=TODAY))
    assert isinstance(outcome, Refused)
    assert [reason.code for reason in outcome.reasons] == [
        "supplier_missing",
        "manufactured_in_future",
        "expires_before_manufacture",
    ]


def test_the_same_facts_are_the_same_batch_and_other_facts_are_a_conflict() -> None:
    first = judged(TYPED)
    assert isinstance(first, Accepted)
    known = batch(first.facts)
    again = judged(TYPED, known=(known,))
    assert isinstance(again, Accepted)
    assert again.existing is known
    other = judged(replace(TYPED, manufactured_on=dt.date(2026, 2, 21)), known=(known,))
    assert isinstance(other, Conflicting)
    assert other.differs == ("manufactured_on",)


@given(
    st.lists(st.decimals(min_value="0.000001", max_value=60, places=6), max_size=30),
    st.integers(0, 50),
)
def test_never_more_than_the_tolerance_is_taken_and_the_status_says_what_has_come(
    parts: list[Decimal], percent: int
) -> None:
    expected = Expected(uuid.uuid4(), Origin.SUPPLIER, "WMP-25", Decimal(4), "BX", "HRB-1", TODAY)
    taken = Decimal(0)
    for part in parts:
        done = progress(expected, part, MILK, Decimal(percent))
        fits = taken + part <= Decimal(100 + percent)
        assert isinstance(done, Reason) != fits
        if not isinstance(done, Reason):
            taken += part
            assert done.received == taken
            assert (done.status is ExpectedStatus.COMPLETE) == (taken >= 100)
            expected = replace(expected, received=done.received, status=done.status)


def test_exactly_the_tolerance_is_taken_and_the_least_bit_more_is_not() -> None:
    expected = Expected(uuid.uuid4(), Origin.SUPPLIER, "WMP-25", Decimal(4), "BX", "HRB-1", TODAY)
    assert not isinstance(progress(expected, Decimal(110), MILK, Decimal(10)), Reason)
    assert isinstance(progress(expected, Decimal("110.000001"), MILK, Decimal(10)), Reason)


def test_an_expectation_in_a_unit_that_the_item_does_not_have_cannot_be_compared() -> None:
    expected = Expected(uuid.uuid4(), Origin.SUPPLIER, "WMP-25", Decimal(4), "LTR", "HRB-1", TODAY)
    refused = progress(expected, Decimal(1), MILK, Decimal(10))
    assert isinstance(refused, Reason)
    assert "unit 'LTR'" in refused.text


def read(scan: str) -> Label:
    label = read_label(scan, ScannerProfile(), TODAY)
    assert isinstance(label, Label), label
    return label


def test_what_is_typed_counts_before_the_label_and_says_so() -> None:
    label = read("(01)06901234567892(10)A(17)270820")
    aliases = (Alias("06901234567892", "WMP-25", "BX"),)
    claim = claim_of(
        TypedLine(expires_on=dt.date(2027, 8, 21)), label, aliases, None, partner_id="S-1", site_id="HRB-1"
    )
    assert (claim.item_id, claim.batch_no, claim.unit, claim.supplier_id) == ("WMP-25", "A", "BX", "S-1")
    assert (claim.expires_on, claim.expiry_source) == (dt.date(2027, 8, 21), DateSource.ENTERED)
    assert [note.text for note in claim.notes] == ["the label says expiry 2027-08-20, 2027-08-21 was typed and counts"]


def test_a_label_of_another_item_than_the_typed_one_is_refused() -> None:
    aliases = (Alias("06901234567892", "WMP-25", "BX"),)
    claim = claim_of(
        TypedLine(item_id="SMP-1"), read("(01)06901234567892"), aliases, None, partner_id=None, site_id="HRB-1"
    )
    assert [(problem.code, problem.text) for problem in claim.problems] == [
        ("wrong_item", "the label's GTIN 06901234567892 is item WMP-25, not 'SMP-1'")
    ]


@pytest.mark.parametrize(
    ("scan", "quantity", "unit"),
    [
        ("(02)06901234567892(37)12", Decimal(12), "BX"),
        ("(01)06901234567892(3103)012500", Decimal("12.5"), "KGM"),
        ("(01)06901234567892", None, "BX"),
    ],
)
def test_the_label_counts_or_weighs_what_nobody_typed(scan: str, quantity: Decimal | None, unit: str) -> None:
    aliases = (Alias("06901234567892", "WMP-25", "BX"),)
    claim = claim_of(TypedLine(), read(scan), aliases, None, partner_id=None, site_id="HRB-1")
    assert (claim.quantity, claim.unit) == (quantity, unit)


def test_a_month_on_a_label_is_its_last_day_and_a_lost_separator_is_doubted() -> None:
    label = read("(01)06901234567892(17)280200")
    assert (label.expires_on, label.expiry_precision) == (dt.date(2028, 2, 29), DatePrecision.MONTH)
    doubted = read("010690123456789210ABC12317270331")
    assert [doubt.code for doubt in doubted.doubts] == ["separator_lost"]


@given(st.text(max_size=60) | st.text("()01\x1d7A]d2|~", max_size=40))
def test_no_scan_is_a_fault(scan: str) -> None:
    assert isinstance(read_label(scan, ScannerProfile(), TODAY), Label | Reason)
