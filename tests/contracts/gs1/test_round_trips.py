"""What we write we read again, and what we read we write again."""

from __future__ import annotations

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from contracts.gs1 import (
    Element,
    Gs1Error,
    Gs1Message,
    NormalisedScan,
    ScannerProfile,
    batch_no_problem,
    bracketed,
    digital_link,
    element_string,
    is_batch_no,
    normalise,
    parse,
    parse_bracketed,
    verdict,
)
from contracts.gs1.application_identifiers import APPLICATION_IDENTIFIERS
from tests.contracts.gs1.valid_messages import messages, values

relaxed = settings(deadline=None, max_examples=150)


@given(messages())
@relaxed
def test_an_element_string_says_the_message_it_was_written_from(message: Gs1Message) -> None:
    scan = element_string(message)
    assert parse(scan) == message
    assert element_string(parse(scan)) == scan
    assert parse("]d2" + scan) == parse(scan, symbology="]d2") == message


@given(messages())
@example(parse("0109521234567899" + "10A(17)270331"))
@relaxed
def test_bracketed_text_says_the_message_it_was_written_from(message: Gs1Message) -> None:
    text = bracketed(message)
    assert parse_bracketed(text) == message
    assert bracketed(parse_bracketed(text)) == text


@given(messages())
@relaxed
def test_a_digital_link_says_the_elements_it_was_written_from(message: Gs1Message) -> None:
    try:
        link = digital_link(message)
    except Gs1Error:
        assume(False)
    assert set(parse(link).elements) == set(message.elements)
    assert digital_link(parse(link)) == link
    stem = link.replace("https://id.gs1.org", "http://example.org/01/x")
    assert set(parse(stem).elements) == set(message.elements)


@given(st.data())
@relaxed
def test_every_ai_accepts_a_value_made_by_its_rules(data: st.DataObject) -> None:
    ai = APPLICATION_IDENTIFIERS[data.draw(st.sampled_from(sorted(APPLICATION_IDENTIFIERS)))]
    value = data.draw(values(ai))
    scan = ai.code + value
    assert parse(scan, associations=False).elements == (Element(ai.code, value),)


@st.composite
def damaged_scans(draw: st.DrawFn) -> str:
    """A valid scan with a few characters taken out, put in or replaced."""
    message = draw(messages())
    scan = draw(st.sampled_from(["", "]d2", "]C1", "]E0", "]d1"])) + element_string(message)
    if draw(st.booleans()):
        try:
            scan = digital_link(message)
        except Gs1Error:
            assume(False)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(scan)))
        scan = scan[:at] + draw(st.text(max_size=2)) + scan[at + draw(st.integers(0, 2)) :]
    return scan


@given(damaged_scans() | st.text() | st.text("0123456789]dC1Q3E\x1d()%?&=/:AZ", max_size=40).map("]d2".__add__))
@example("")
@example("]")
@example("]d2")
@example("]d2\x1d")
@example("https://")
@example("https://id.gs1.org/01/%")
@example("]E0952123456789\u0669")  # a digit, but not an ASCII one
@settings(deadline=None, max_examples=400)
def test_any_text_at_all_is_read_or_refused_with_a_reason(text: str) -> None:
    for answer in (verdict(text), verdict(text, symbology="]Q3"), verdict(normalise(text, ScannerProfile()))):
        assert isinstance(answer, Gs1Message | Gs1Error)
        if isinstance(answer, Gs1Error):
            assert 0 <= answer.position <= len(text)
            assert answer.ai is None or answer.ai in APPLICATION_IDENTIFIERS or answer.rule == "unknown_ai"
            assert str(answer)


@given(st.text() | messages().map(bracketed).flatmap(lambda text: st.text(max_size=3).map(text.__add__)))
@example("（01）０９５２１２３４５６７８９９")
@example("\\(10)")
@settings(deadline=None, max_examples=300)
def test_any_text_a_person_types_is_read_or_refused_with_a_reason(text: str) -> None:
    try:
        answer: Gs1Message | Gs1Error = parse_bracketed(text)
    except Gs1Error as refused:
        answer = refused
    if isinstance(answer, Gs1Error):
        assert 0 <= answer.position <= len(text)
    else:
        assert parse_bracketed(bracketed(answer)) == answer


@given(st.text(st.characters(exclude_characters="\x1d")))
def test_a_batch_number_has_a_problem_exactly_when_it_is_none(text: str) -> None:
    assert (batch_no_problem(text) is None) == is_batch_no(text)
    assert is_batch_no(text) == isinstance(verdict("10" + text, associations=False), Gs1Message)


@given(st.text("01]d2A{GS}|~␝\x1d", max_size=30))
@example("|]A0\x1d")
def test_normalising_twice_changes_nothing_more(scan: str) -> None:
    once = normalise(scan, ScannerProfile())
    assert normalise(once.text, ScannerProfile()) == NormalisedScan(once.text)


@given(messages(), st.sampled_from(["{GS}", "|", "~", "␝"]))
@relaxed
def test_a_substitute_for_the_separator_costs_nothing(message: Gs1Message, substitute: str) -> None:
    scan = "]d2" + element_string(message, fnc1=substitute)
    read = parse(normalise(scan, ScannerProfile()))
    assert read == message
    assert read.normalised == (substitute in scan)
