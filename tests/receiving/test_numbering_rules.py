"""The pattern of batch numbers: always a legal AI 10, whatever the supplier's code."""

import datetime as dt

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from contracts.gs1 import is_batch_no
from services.receiving.domain.numbering import NumberPattern, PatternRefused, SeriesExhausted, shortened

CODES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=40)
PATTERNS = st.sampled_from(
    [
        "{date:%Y%m%d}-{seq:03}-{supplier}",
        "{supplier}-{date:%y%j}-{seq:04}",
        "{supplier}{seq}",
        "L{date:%y%m}{seq:05}",
        "{seq:09}/{supplier}",
        "MILK-{date:%G-%V}-{seq:02}",
    ]
).map(NumberPattern.read)
DAYS = st.dates(min_value=dt.date(2000, 1, 1), max_value=dt.date(2099, 12, 31))
DEFAULT = NumberPattern.read("{date:%Y%m%d}-{seq:03}-{supplier}")
TODAY = dt.date(2026, 3, 2)


@given(PATTERNS, DAYS, st.integers(1, 10**10), st.none() | CODES)
def test_a_number_is_1_to_20_legal_characters_and_the_same_again(
    pattern: NumberPattern, on: dt.date, sequence: int, supplier_id: str | None
) -> None:
    try:
        number = pattern.number(on, sequence, supplier_id)
    except SeriesExhausted:
        assume(False)
    assert is_batch_no(number)
    assert number == pattern.number(on, sequence, supplier_id)


@given(PATTERNS, DAYS, st.integers(1, 99), st.none() | CODES)
def test_the_first_numbers_of_a_day_are_never_exhausted(
    pattern: NumberPattern, on: dt.date, sequence: int, supplier_id: str | None
) -> None:
    assert is_batch_no(pattern.number(on, sequence, supplier_id))


@given(PATTERNS, DAYS, st.none() | CODES, st.lists(st.integers(1, 9999), min_size=2, max_size=20, unique=True))
def test_within_a_series_no_number_comes_twice(
    pattern: NumberPattern, on: dt.date, supplier_id: str | None, sequences: list[int]
) -> None:
    numbers = {pattern.number(on, sequence, supplier_id) for sequence in sequences if sequence < 10_000}
    assert len(numbers) == len(sequences)


@given(CODES, st.integers(1, 20))
def test_a_shortened_code_fits_its_room_and_is_legal(code: str, room: int) -> None:
    short = shortened(code, room)
    assert 1 <= len(short) <= room
    assert is_batch_no(short)


@pytest.mark.parametrize(
    ("supplier_id", "sequence", "number"),
    [
        ("S-0117", 1, "20260302-001-S-0117"),
        ("S-0117", 1000, "20260302-1000-S-0117"),
        (None, 7, "20260302-007"),
        ("S@17", 7, "20260302-007-S-17"),
    ],
)
def test_the_default_pattern_reads_as_date_sequence_and_supplier(
    supplier_id: str | None, sequence: int, number: str
) -> None:
    assert DEFAULT.number(TODAY, sequence, supplier_id) == number


def test_a_long_code_keeps_its_beginning_and_two_letters_tell_its_neighbours_apart() -> None:
    north, south = (DEFAULT.number(TODAY, 1, f"NORTHERN-DAIRIES-{n}") for n in (1, 2))
    assert north[:-2] == south[:-2] == "20260302-001-NORTH"
    assert north != south


def test_what_separates_a_supplier_that_is_not_there_is_left_out() -> None:
    for written, number in (
        ("{supplier}-{seq:02}", "01"),
        ("A-{supplier}-{seq:02}", "A-01"),
        ("{seq}.{supplier}", "1"),
    ):
        assert NumberPattern.read(written).number(TODAY, 1, None) == number


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("", "{seq} once is needed"),
        ("{date:%Y}", "{seq} once is needed"),
        ("{seq}{seq}", "{seq} once is needed"),
        ("{seq}{supplier}{supplier}", "may be there once"),
        ("{seq} {supplier}", "' ': only the GS1 AI-10 characters"),
        ("{seq:03x}", "'03x' in {seq}"),
        ("{seq!r}", "in {seq}"),
        ("{seq.real}", "date, seq and supplier are the fields there are"),
        ("{item}-{seq}", "date, seq and supplier are the fields there are"),
        ("{date}-{seq}", "'' in {date}"),
        ("{date:%A}-{seq}", "'%A' in {date}"),
        ("{supplier:>9}{seq}", "in {supplier}"),
        ("{seq", "expected '}'"),
        ("TWENTY-CHARACTERS-LONG{seq}", "23 characters"),
        ("NINETEEN-CHARACTERS-{seq}", "20 are allowed"),
        ("{date:%Y%m%d}-{seq:09}-A-{supplier}", "20 are allowed"),
    ],
)
def test_a_pattern_that_cannot_work_is_refused_with_the_part_that_is_wrong(written: str, says: str) -> None:
    with pytest.raises(PatternRefused) as refused:
        NumberPattern.read(written)
    assert says in str(refused.value)
