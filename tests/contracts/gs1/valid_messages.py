"""Messages that keep every rule of GS1, made from the table for Hypothesis."""

from __future__ import annotations

from datetime import date

from hypothesis import strategies as st

from contracts.gs1 import Element, Gs1Message, check_digit, checks, element_string, verdict
from contracts.gs1.application_identifiers import APPLICATION_IDENTIFIERS, ApplicationIdentifier, Component
from contracts.gs1.checks import Check
from contracts.gs1.codes import COUNTRY_LETTERS, COUNTRY_NUMBERS, CURRENCY_NUMBERS, PACKAGE_TYPES

EVERYDAY = [
    "00",
    "01",
    "02",
    "10",
    "11",
    "15",
    "17",
    "21",
    "30",
    "37",
    "240",
    "3103",
    "400",
    "410",
    "422",
    "7003",
    "8008",
]
ALPHABETS = {"N": "0123456789", "X": checks.SET_82, "Y": "#-/0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", "Z": "-_09AZaz"}


def digits(shortest: int, longest: int | None = None) -> st.SearchStrategy[str]:
    return st.text("0123456789", min_size=shortest, max_size=shortest if longest is None else longest)


def numbers(last: int, width: int, first: int = 0) -> st.SearchStrategy[str]:
    return st.integers(first, last).map(lambda number: f"{number:0{width}d}")


_days = st.dates(date(2000, 1, 1), date(2099, 12, 31)).map(lambda day: f"{day:%y%m%d}")
_months = st.dates(date(2000, 1, 1), date(2099, 12, 31)).map(lambda day: f"{day:%y%m}00")
_pieces = st.integers(1, 99).flatmap(lambda total: numbers(total, 2, 1).map(lambda piece: f"{piece}{total:02d}"))
_times = st.builds(str.__add__, numbers(23, 2), numbers(59, 2))

CONTENT: dict[Check, st.SearchStrategy[str]] = {
    checks.is_date: _days,
    checks.is_date_or_month: _days | _months,
    checks.is_long_date: st.dates().map(lambda day: f"{day.year:04d}{day:%m%d}"),
    checks.is_hour: numbers(23, 2),
    checks.is_minute: numbers(59, 2),
    checks.is_second: numbers(59, 2),
    checks.is_hour_and_minute: _times,
    checks.is_country_number: st.sampled_from(sorted(COUNTRY_NUMBERS)),
    checks.is_country_number_or_999: st.sampled_from(sorted(COUNTRY_NUMBERS | {"999"})),
    checks.is_country_letters: st.sampled_from(sorted(COUNTRY_LETTERS)),
    checks.is_currency_number: st.sampled_from(sorted(CURRENCY_NUMBERS)),
    checks.is_package_type: st.sampled_from(sorted(PACKAGE_TYPES)),
    checks.is_biological_sex: st.sampled_from("0129"),
    checks.is_winding: st.sampled_from("019"),
    checks.is_yes_or_no: st.sampled_from("01"),
    checks.is_importer_index: st.sampled_from("-_09AZaz"),
    checks.is_media_type: numbers(10, 2, 1) | numbers(99, 2, 80),
    checks.is_piece_of_total: _pieces,
    checks.is_position_in_sequence: st.sampled_from(["1/1", "1/9", "8/9"]),
    checks.is_latitude: numbers(1_800_000_000, 10),
    checks.is_longitude: numbers(3_600_000_000, 10),
    checks.is_zero: st.just("0"),
    checks.is_hyphen: st.just("-"),
    checks.is_iban: st.sampled_from(["GB33BUKB20201555555555", "DE89370400440532013000", "NO9386011117947"]),
    checks.is_coupon: st.sampled_from(["061414112345611110000", "06141411234561111000010110000921100009"]),
    checks.is_positive_offer: st.sampled_from(["006141411234560123456", "11061414112345611234567"]),
}


def contents(part: Component) -> st.SearchStrategy[str]:
    found = set(part.checks)
    for check in part.checks:
        if check in CONTENT:
            return CONTENT[check].filter(lambda text: all(one(text) is None for one in part.checks))
    if checks.has_check_digit in found:
        return digits(part.longest - 1).map(lambda text: text + check_digit(text))
    text = st.text(ALPHABETS[part.characters.code], min_size=part.shortest, max_size=part.longest)
    if checks.has_check_pair in found:
        middle = st.text(checks.SET_82, max_size=part.longest - 7)
        return st.builds("{}{}A".format, digits(4), middle).map(lambda text: text + checks.check_pair(text))
    if checks.starts_with_company_prefix in found:
        rest = st.text(ALPHABETS[part.characters.code], max_size=part.longest - 4)
        return st.builds(str.__add__, digits(4), rest)
    return text.filter(lambda text: all(one(text) is None for one in part.checks))


@st.composite
def values(draw: st.DrawFn, ai: ApplicationIdentifier) -> str:
    value = ""
    for part in ai.components:
        if part.optional and not draw(st.booleans()):
            break
        value += draw(contents(part))
    return value


def _with_needs(code: str, draw: st.DrawFn, depth: int = 4) -> list[str]:
    ai, codes = APPLICATION_IDENTIFIERS[code], [code]
    if ai.needs and depth:
        for pattern in draw(st.sampled_from(ai.needs)):
            fits = [c for c in APPLICATION_IDENTIFIERS if len(c) == len(pattern) and c.startswith(pattern.rstrip("n"))]
            codes += _with_needs(draw(st.sampled_from(fits)), draw, depth - 1)
    return codes


@st.composite
def messages(draw: st.DrawFn) -> Gs1Message:
    """A valid message of one to about ten elements, everyday AIs first, in any order."""
    codes = st.sampled_from(EVERYDAY) | st.sampled_from(sorted(APPLICATION_IDENTIFIERS))
    elements: dict[str, Element] = {}
    for code in draw(st.lists(codes, min_size=1, max_size=4)):
        wanted = dict(elements)
        for one in _with_needs(code, draw):
            if one not in wanted:
                wanted[one] = Element(one, draw(values(APPLICATION_IDENTIFIERS[one])))
        # What does not go with the rest is left out, as a whole.
        if isinstance(verdict(element_string(Gs1Message(tuple(wanted.values())))), Gs1Message):
            elements = wanted
    if not elements:
        elements = {"01": Element("01", draw(values(APPLICATION_IDENTIFIERS["01"])))}
    return Gs1Message(tuple(draw(st.permutations(list(elements.values())))))
