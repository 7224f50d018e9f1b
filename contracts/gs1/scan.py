"""Reads what a scanner sends: element strings, retail codes and Digital Links.

Strict: what GS1 does not allow is refused with the rule, the AI and the position. Repairs belong into `normalise`.
"""

from __future__ import annotations

from typing import Final

from contracts.gs1.application_identifiers import APPLICATION_IDENTIFIERS, LENGTH_BY_PREFIX
from contracts.gs1.associations import check as check_associations
from contracts.gs1.checks import has_check_digit
from contracts.gs1.digital_link import is_link, read_link
from contracts.gs1.errors import Gs1Error, Rule
from contracts.gs1.message import Element, Gs1Message
from contracts.gs1.normalise import NormalisedScan

GS: Final = "\x1d"
"""ASCII 29: what a scanner sends for the FNC1 that separates elements."""

ELEMENT_STRING_SYMBOLOGIES: Final = frozenset({"]C1", "]e0", "]d2", "]Q3", "]J1"})
"""GS1-128, DataBar and composites, GS1 DataMatrix, GS1 QR Code, GS1 DotCode."""

PLAIN_SYMBOLOGIES: Final = frozenset({"]d1", "]Q1", "]J0"})
"""DataMatrix, QR Code and DotCode without FNC1: a Digital Link, or something that is not GS1."""

RETAIL_SYMBOLOGIES: Final = {"]E0": 13, "]E4": 8}
"""EAN-13, UPC-A and UPC-E as thirteen digits; EAN-8."""

LONGEST_SCAN: Final = 7089
"""Characters. The largest symbol GS1 uses, a QR Code, holds as many digits."""

_COMPOSITE = "|]e0"
_get_ai = APPLICATION_IDENTIFIERS.get
_get_length = LENGTH_BY_PREFIX.get


def parse(scan: str | NormalisedScan, *, symbology: str | None = None, associations: bool = True) -> Gs1Message:
    """Read `scan`, or raise Gs1Error with the first thing that is wrong with it.

    `symbology` is the identifier of the carrier ("]d2") where the scanner tells it apart from the data; otherwise the
    scan starts with it, or is an element string or a Digital Link on its face. `associations=False` does not ask for
    AIs that may be on another label of the same item (GS1 asks for them over all labels of it together); pairs that
    may never meet are refused all the same. Positions count the characters of `scan`, 0 first.
    """
    if isinstance(scan, NormalisedScan):
        text, normalised = scan.text, scan.normalised
    else:
        text, normalised = scan, False
    if len(text) > LONGEST_SCAN:
        message = f"the scan has {len(text)} characters: {LONGEST_SCAN} at most fit a GS1 symbol"
        raise Gs1Error(Rule.TOO_MUCH_DATA, message, position=LONGEST_SCAN)
    start = 0
    if text[:1] == "]" and symbology in (None, text[:3]):
        symbology, start = text[:3], 3
    elements = _read(text, start, symbology)
    check_associations(elements, needs=associations)
    return Gs1Message(elements, symbology, normalised)


def verdict(
    scan: str | NormalisedScan, *, symbology: str | None = None, associations: bool = True
) -> Gs1Message | Gs1Error:
    """What `scan` says, or what is wrong with it: `parse` with the error as an answer."""
    try:
        return parse(scan, symbology=symbology, associations=associations)
    except Gs1Error as error:
        return error


def combine(*messages: Gs1Message) -> Gs1Message:
    """What several symbols on one thing say together, such as the two symbols of a pallet label.

    An element that is on more than one of them is kept once. Raises Gs1Error when they contradict each other, or when
    even together they lack what GS1 asks for; its position is the one in the scan the element came from.
    """
    elements = tuple([element for message in messages for element in message.elements])
    check_associations(elements)
    normalised = any(message.normalised for message in messages)
    return Gs1Message(tuple(dict.fromkeys(elements)), None, normalised)


def _read(text: str, start: int, symbology: str | None) -> tuple[Element, ...]:
    if symbology is None:
        return read_link(text, start) if is_link(text, start) else read_elements(text, start)
    if symbology in ELEMENT_STRING_SYMBOLOGIES:
        return read_elements(text, start)
    if symbology in PLAIN_SYMBOLOGIES:
        if is_link(text, start):
            return read_link(text, start)
        message = f"{symbology} holds {text[start:]!r}: neither an element string nor a Digital Link"
        raise Gs1Error(Rule.PLAIN_DATA, message, position=start)
    if symbology in RETAIL_SYMBOLOGIES:
        return _read_retail_code(text, start, symbology)
    known = ", ".join(sorted(ELEMENT_STRING_SYMBOLOGIES | PLAIN_SYMBOLOGIES | RETAIL_SYMBOLOGIES.keys()))
    raise Gs1Error(Rule.SYMBOLOGY, f"symbology identifier {symbology!r} carries no GS1 data: {known} do")


def read_elements(text: str, start: int) -> tuple[Element, ...]:
    """The elements of the element string that begins at `start`. Associations are not looked at."""
    end = len(text)
    if start == end:
        raise Gs1Error(Rule.NO_DATA, "the scan is empty: one element at least is needed", position=start)
    elements = []
    at = start
    while at < end:
        code = text[at : at + _get_length(text[at : at + 2], 0)]
        ai = _get_ai(code)
        if ai is None:
            message = f"no application identifier begins {text[at : at + 4]!r}"
            if text[at] == GS:
                message += ": one separator is allowed between elements, none before the first"
            raise Gs1Error(Rule.UNKNOWN_AI, message, position=at)
        at += len(code)
        if ai.separated:
            stop = text.find(GS, at)
            if stop < 0:
                stop = end
        else:
            stop = at + ai.longest
        value = text[at:stop]
        if not ai.accepts(value):
            value = value.partition(GS)[0]
            raise ai.refusal(value, range(at, at + len(value) + 1))
        elements.append(Element(code, value, at))
        at = stop + 1 if text[stop : stop + 1] == GS else stop
    return tuple(elements)


def _read_retail_code(text: str, start: int, symbology: str) -> tuple[Element, ...]:
    """A GTIN as retail symbols carry it, filled up to 14 digits; elements of a composite symbol may follow it."""
    digits, composite, _ = text[start:].partition(_COMPOSITE)
    length = RETAIL_SYMBOLOGIES[symbology]
    if len(digits) != length or not (digits.isascii() and digits.isdigit()):
        message = f"{symbology} holds {digits!r}: exactly {length} digits are needed"
        raise Gs1Error(Rule.RETAIL_CODE, message, ai="01", position=start)
    if (problem := has_check_digit(digits)) is not None:
        at = start + problem.offset
        raise Gs1Error(problem.rule, f"{symbology} at {at}: {digits!r} {problem.says}", ai="01", position=at)
    gtin = Element("01", digits.zfill(14), start)
    return (gtin, *read_elements(text, start + length + len(_COMPOSITE))) if composite else (gtin,)
