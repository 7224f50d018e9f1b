"""What scans mean, and what is wrong with those that mean nothing."""

from __future__ import annotations

import pickle
from decimal import Decimal

import pytest

from contracts.gs1 import (
    Element,
    Gs1Error,
    Gs1Message,
    Rule,
    bracketed,
    combine,
    compose,
    digital_link,
    element_string,
    parse,
    parse_bracketed,
    verdict,
)
from contracts.gs1.application_identifiers import APPLICATION_IDENTIFIERS

GS = "\x1d"
ITEM = "0104012345000016"  # AI 01 and a GTIN: 16 characters
UNIT = "00340123450000000017"  # AI 00 and an SSCC: 20 characters


@pytest.mark.parametrize(
    ("scan", "says"),
    [
        (f"]d2{ITEM}1728020010LOT-7", "(01)04012345000016(17)280200(10)LOT-7"),
        (f"]C1{ITEM}10LOT-7{GS}17280229", "(01)04012345000016(10)LOT-7(17)280229"),
        (f"]Q3{ITEM}10LOT-7{GS}", "(01)04012345000016(10)LOT-7"),
        (f"]e0{ITEM}{GS}10LOT-7", "(01)04012345000016(10)LOT-7"),
        (f"]J1{ITEM}10a{GS}10a", "(01)04012345000016(10)a(10)a"),
        (f"{ITEM}310300125010L", "(01)04012345000016(3103)001250(10)L"),
        (f"{UNIT}02040123450000163724{GS}10L", "(00)340123450000000017(02)04012345000016(37)24(10)L"),
        ("]E04012345000009", "(01)04012345000009"),
        ("]E412345670", "(01)00000012345670"),
        (f"]E04012345000009|]e010L{GS}17280229", "(01)04012345000009(10)L(17)280229"),
        ("]d1https://id.gs1.org/01/04012345000016/10/A%2FB?17=280229", "(01)04012345000016(10)A/B(17)280229"),
        ("HTTP://EXAMPLE.ORG/01/x/01/04012345000016?linkType=all&17=280229&x#10=f", "(01)04012345000016(17)280229"),
    ],
)
def test_a_valid_scan_says_its_elements_in_order(scan: str, says: str) -> None:
    assert str(parse(scan)) == says


REFUSALS = [
    ("", Rule.NO_DATA, None, 0),
    ("]d2", Rule.NO_DATA, None, 3),
    ("1" * 7090, Rule.TOO_MUCH_DATA, None, 7089),
    ("]C0" + ITEM, Rule.SYMBOLOGY, None, 0),
    ("]I104012345000016", Rule.SYMBOLOGY, None, 0),
    ("]d1" + ITEM, Rule.PLAIN_DATA, None, 3),
    ("]E0401234500001", Rule.RETAIL_CODE, "01", 3),
    ("]E04012345000008", Rule.CHECK_DIGIT, "01", 15),
    ("]d2" + GS + ITEM, Rule.UNKNOWN_AI, None, 3),
    (f"]d2{ITEM}10A{GS}{GS}17280229", Rule.UNKNOWN_AI, None, 23),
    (f"{ITEM}05123", Rule.UNKNOWN_AI, None, 16),
    (f"{ITEM}3106001250", Rule.UNKNOWN_AI, None, 16),
    (f"{ITEM}1", Rule.UNKNOWN_AI, None, 16),
    ("(01)04012345000016", Rule.UNKNOWN_AI, None, 0),
    (f"]d2{ITEM}10", Rule.EMPTY, "10", 21),
    (f"{ITEM}10{GS}17280229", Rule.EMPTY, "10", 18),
    ("0104012345", Rule.WRONG_LENGTH, "01", 10),
    (f"01040123{GS}10A", Rule.WRONG_LENGTH, "01", 8),
    (f"{ITEM}42315615", Rule.WRONG_LENGTH, "423", 24),
    (f"{ITEM}10" + 21 * "A", Rule.TOO_LONG, "10", 38),
    (f"{ITEM}42215610L", Rule.TOO_LONG, "422", 22),
    ("0104012345O00016", Rule.DIGITS_ONLY, "01", 10),
    (f"{ITEM}37\u0661", Rule.DIGITS_ONLY, "37", 18),
    (f"{ITEM}10AB C", Rule.CHARACTER_SET, "10", 20),
    (f"{ITEM}10批", Rule.CHARACTER_SET, "10", 18),
    ("0104012345000015", Rule.CHECK_DIGIT, "01", 15),
    (f"{ITEM}17281301", Rule.MONTH, "17", 20),
    (f"{ITEM}17270229", Rule.DAY, "17", 22),
    (f"{ITEM}70032703001430", Rule.DAY, "7003", 24),
    (f"{ITEM}70032703312430", Rule.HOUR, "7003", 26),
    (f"{ITEM}8008270331236099", Rule.MINUTE, "8008", 28),
    (f"{ITEM}8008270331235960", Rule.SECOND, "8008", 30),
    ("8006040123450000160302", Rule.PIECE_OF_TOTAL, "8006", 18),
    ("10LOT", Rule.MISSING_AI, "10", 2),
    ("02040123450000163724", Rule.MISSING_AI, "37", 18),
    (f"{ITEM}3724{GS}02040123450000160034012345000000001710A", Rule.FORBIDDEN_PAIR, "01", 2),
    (f"{ITEM}31030012503102001250", Rule.FORBIDDEN_PAIR, "3102", 30),
    (f"{ITEM}10A{GS}10B", Rule.DIFFERENT_REPEAT, "10", 22),
    (f"2534012345000009{GS}8030A", Rule.SERIAL_NEEDED, "253", 3),
    (f"{ITEM}21A{GS}8030A=", Rule.BASE64_PADDING, "8030", 25),
    ("https://id.gs1.org/01/04012345000016/10/批", Rule.LINK_SYNTAX, None, 40),
    ("https://id.gs1.org", Rule.LINK_SYNTAX, None, 0),
    ("https://id.gs1.org/gtin/04012345000016", Rule.LINK_WITHOUT_KEY, None, 18),
    ("https://id.gs1.org/01/04012345000016/21/S/10/L", Rule.LINK_ORDER, None, 22),
    ("https://id.gs1.org/01/4012345000016", Rule.WRONG_LENGTH, "01", 35),
    ("https://id.gs1.org/01/04012345000015", Rule.CHECK_DIGIT, "01", 35),
    ("https://id.gs1.org/01/04012345000016/10/", Rule.EMPTY, "10", 40),
    ("https://id.gs1.org/01/04012345000016/10/A%2FB%20C", Rule.CHARACTER_SET, "10", 45),
    ("https://id.gs1.org/01/04012345000016/10/" + "%2F" * 21, Rule.TOO_LONG, "10", 100),
    ("https://id.gs1.org/01/04012345000016?17=280229&17=280301", Rule.LINK_REPEAT, "17", 50),
    ("https://id.gs1.org/01/04012345000016?10=A", Rule.LINK_BELONGS_IN_PATH, "10", 40),
    ("https://id.gs1.org/01/04012345000016?21=A", Rule.LINK_NOT_AN_ATTRIBUTE, "21", 40),
    ("https://id.gs1.org/01/04012345000016?05=1", Rule.UNKNOWN_AI, "05", 37),
    ("https://id.gs1.org/01/04012345000016?240=A+B", Rule.CHARACTER_SET, "240", 42),
]


@pytest.mark.parametrize(("scan", "rule", "ai", "position"), REFUSALS)
def test_a_refusal_names_the_rule_the_ai_and_the_place(scan: str, rule: Rule, ai: str | None, position: int) -> None:
    error = verdict(scan)
    assert isinstance(error, Gs1Error)
    assert (error.rule, error.ai, error.position) == (rule, ai, position), str(error)
    with pytest.raises(Gs1Error) as raised:
        parse(scan)
    assert str(raised.value) == str(error)


@pytest.mark.parametrize(
    ("scan", "sentence"),
    [
        (
            f"{ITEM}10LOT 7#",
            "AI (10) at 21: 'LOT 7#' has ' ' and '#': only the 82 characters of GS1 text are allowed, 20 at most",
        ),
        ("0104012345000015", "AI (01) at 15: '04012345000015' ends in 5: the check digit of 0401234500001 is 6"),
        (f"{ITEM}17270230", "AI (17) at 22: '270230' has day 30: 00 to 28 is allowed in month 02"),
        (f"{ITEM}310300125", "AI (3103) at 25: '00125' has 5 characters: exactly 6 are allowed"),
        ("10LOT", "AI (10) lacks what it needs: 01 or 02 or 03 or 8006 or 8026 must be beside it"),
    ],
)
def test_an_error_names_the_value_and_the_limit(scan: str, sentence: str) -> None:
    assert str(verdict(scan)) == sentence


def test_an_error_keeps_its_rule_and_place_when_it_crosses_a_process() -> None:
    error = verdict(f"{ITEM}10LOT 7#")
    assert isinstance(error, Gs1Error)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (again.rule, again.ai, again.position, str(again)) == (error.rule, error.ai, error.position, str(error))


def test_a_warehouse_finds_what_it_asks_for() -> None:
    unit = parse(f"]C1{UNIT}02040123450000163724{GS}10LOT-7{GS}3302001999")
    assert (unit.sscc, unit.contained_gtin, unit.count, unit.batch_no) == (
        "340123450000000017",
        "04012345000016",
        24,
        "LOT-7",
    )
    assert (unit.gtin, unit.serial, unit.net_weight_kg, unit.symbology) == (None, None, None, "]C1")
    item = parse(f"{ITEM}310300125021S-1{GS}3012")
    assert (item.gtin, item.serial, item.count, item.net_weight_kg) == ("04012345000016", "S-1", 12, Decimal("1.250"))
    assert item.symbology is None
    assert item.element("21") == Element("21", "S-1")
    assert item.value("21") == "S-1"


def test_the_position_of_an_element_is_where_its_value_starts_in_the_scan() -> None:
    scan = f"]d2{ITEM}10LOT-7{GS}17280229"
    assert [scan[e.position :].startswith(e.value) for e in parse(scan).elements] == [True, True, True]
    link = "https://id.gs1.org/01/04012345000016/10/LOT-7?17=280229"
    assert [link[e.position :].startswith(e.value) for e in parse(link).elements] == [True, True, True]


def test_messages_are_equal_when_they_say_the_same_wherever_it_stood() -> None:
    assert parse(f"]d2{ITEM}10A") == parse(f"]C1{ITEM}{GS}10A{GS}") == parse_bracketed("(01)04012345000016 (10)A")
    assert len({parse(f"]d2{ITEM}10A"), parse(f"{ITEM}10A")}) == 1
    assert parse(f"{ITEM}10A") != parse(f"{ITEM}10a")


def test_a_scanner_may_tell_the_symbology_apart_from_the_data() -> None:
    assert str(parse("4012345000009", symbology="]E0")) == "(01)04012345000009"
    assert parse(ITEM, symbology="]d2").symbology == "]d2"
    assert parse(f"]d2{ITEM}", symbology="]d2").gtin == ITEM[2:]
    assert isinstance(verdict(f"]Q3{ITEM}", symbology="]d2"), Gs1Error)


def test_what_is_missing_may_be_on_another_label_but_what_may_not_meet_may_not() -> None:
    assert parse("10LOT", associations=False).batch_no == "LOT"
    assert isinstance(verdict(f"{ITEM}{'02' + ITEM[2:]}3724", associations=False), Gs1Error)
    assert isinstance(verdict(f"10A{GS}10B", associations=False), Gs1Error)


def test_two_symbols_of_one_pallet_are_judged_together() -> None:
    contents = parse(f"]C102040123450000163724{GS}10L", associations=False)
    unit = parse(f"]C1{UNIT}10L", associations=False)
    both = combine(unit, contents)
    assert str(both) == "(00)340123450000000017(10)L(02)04012345000016(37)24"
    with pytest.raises(Gs1Error, match="lacks"):
        combine(contents)
    with pytest.raises(Gs1Error) as raised:
        combine(both, parse("10M", associations=False))
    assert (raised.value.rule, raised.value.ai) == (Rule.DIFFERENT_REPEAT, "10")


def test_a_label_is_composed_of_values_that_gs1_allows() -> None:
    label = compose([("01", "04012345000016"), ("10", "LOT-7"), ("17", "280200")])
    assert element_string(label) == f"{ITEM}10LOT-7{GS}17280200"
    assert compose((element.ai, element.value) for element in parse(element_string(label)).elements) == label


@pytest.mark.parametrize(
    ("elements", "rule", "ai", "position"),
    [
        ([], Rule.NO_DATA, None, 0),
        ([("05", "1")], Rule.UNKNOWN_AI, "05", 0),
        ([("01", "04012345000016"), ("10", "LOT 7")], Rule.CHARACTER_SET, "10", 3),
        ([("01", "04012345000016"), ("10", f"A{GS}17280200")], Rule.CHARACTER_SET, "10", 1),
        ([("10", "LOT-7")], Rule.MISSING_AI, "10", 0),
    ],
)
def test_a_label_that_gs1_does_not_allow_is_not_composed(
    elements: list[tuple[str, str]], rule: Rule, ai: str | None, position: int
) -> None:
    with pytest.raises(Gs1Error) as raised:
        compose(elements)
    assert (raised.value.rule, raised.value.ai, raised.value.position) == (rule, ai, position)


def test_a_lost_separator_is_suspected_where_a_batch_number_ends_like_a_date() -> None:
    assert parse(f"{ITEM}10ABC12317270331").swallowed == "17270331"
    assert parse(f"{ITEM}21S-115270331" + "10L").swallowed == "15270331"
    assert parse(f"{ITEM}10ABC1721L5").swallowed is None
    assert parse(f"{ITEM}10ABC12317279931").swallowed is None
    assert parse(f"{ITEM}10BATCH-20251101-001").swallowed is None


@pytest.mark.parametrize("code", [code for code, ai in APPLICATION_IDENTIFIERS.items() if ai.separated])
def test_an_ai_that_needs_a_separator_gets_one_unless_it_is_last(code: str) -> None:
    message = Gs1Message((Element(code, "1"), Element("90", "A")))
    assert element_string(message) == f"{code}1{GS}90A"
    assert element_string(message, fnc1="_1") == f"{code}1_190A"


def test_an_ai_of_predefined_length_gets_no_separator() -> None:
    message = parse(f"{ITEM}{GS}17280229{GS}3103001250{GS}10A{GS}")
    assert element_string(message) == f"{ITEM}17280229310300125010A"


def test_brackets_in_a_value_stay_part_of_it() -> None:
    message = parse(f"{ITEM}10A(B)(17)(x)")
    assert bracketed(message) == r"(01)04012345000016(10)A(B)\(17)(x)"
    assert parse_bracketed(bracketed(message)) == message


@pytest.mark.parametrize(
    "typed",
    ["(01)04012345000016(10)A1", " (01) 04012345000016  (10) A1 ", "（01）０４０１２３４５００００１６（10）Ａ１"],
)
def test_people_may_type_spaces_and_full_width_characters(typed: str) -> None:
    message = parse_bracketed(typed)
    assert str(message) == "(01)04012345000016(10)A1"
    assert [typed[e.position] in "0０AＡ" for e in message.elements] == [True, True]


@pytest.mark.parametrize(
    ("typed", "rule", "ai", "position"),
    [
        ("", Rule.NO_DATA, None, 0),
        ("  ", Rule.NO_DATA, None, 2),
        ("01 04012345000016", Rule.BRACKETS, None, 0),
        (" x(01)04012345000016", Rule.BRACKETS, None, 1),
        ("(01)04012345000016(05)1", Rule.UNKNOWN_AI, "05", 22),
        ("(01)04012345000015", Rule.CHECK_DIGIT, "01", 17),
        ("(01)04012345000016(10)", Rule.EMPTY, "10", 22),
        (r"(01)04012345000016(10)A\(17)B C", Rule.CHARACTER_SET, "10", 29),
        ("(10)A", Rule.MISSING_AI, "10", 4),
    ],
)
def test_what_people_type_is_refused_like_a_scan(typed: str, rule: Rule, ai: str | None, position: int) -> None:
    with pytest.raises(Gs1Error) as raised:
        parse_bracketed(typed)
    error = raised.value
    assert (error.rule, error.ai, error.position) == (rule, ai, position), str(error)


def test_equal_things_have_equal_canonical_links() -> None:
    one = parse(f"{ITEM}1728022910A/B{GS}21S{GS}240X+Y")
    other = parse(f"{ITEM}240X+Y{GS}21S{GS}10A/B{GS}17280229")
    link = "https://id.gs1.org/01/04012345000016/10/A%2FB/21/S?17=280229&240=X%2BY"
    assert digital_link(one) == digital_link(other) == link
    assert digital_link(one, host="example.com/p") == link.replace("id.gs1.org", "example.com/p")


@pytest.mark.parametrize(
    ("scan", "host", "rule"),
    [
        ("90A", "id.gs1.org", Rule.LINK_WITHOUT_KEY),
        (f"{ITEM}235A", "https://id.gs1.org", Rule.LINK_SYNTAX),
        (f"{ITEM}235A", "", Rule.LINK_SYNTAX),
        (f"{ITEM}8200X", "id.gs1.org", Rule.LINK_NOT_AN_ATTRIBUTE),
    ],
)
def test_a_message_that_has_no_link_is_refused(scan: str, host: str, rule: Rule) -> None:
    with pytest.raises(Gs1Error) as raised:
        digital_link(parse(scan), host=host)
    assert raised.value.rule is rule
