"""Writes messages: as a scanner would send them, and as people read and type them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from contracts.gs1.application_identifiers import APPLICATION_IDENTIFIERS
from contracts.gs1.associations import check as check_associations
from contracts.gs1.errors import Gs1Error, Rule
from contracts.gs1.message import Element, Gs1Message

# Input methods for Chinese type full-width brackets, digits and spaces; each is one character for one.
_HALF_WIDTH: Final = {0xFF01 + i: 0x21 + i for i in range(94)} | {0x3000: 0x20}
_opening = re.compile(r"(?<!\\)\(([0-9]{2,4})\)")
_looks_like_ai = re.compile(r"\((?=[0-9]{2,4}\))")
_escape = re.compile(r"\\(?=\([0-9]{2,4}\))").match


def compose(elements: Iterable[tuple[str, str]]) -> Gs1Message:
    """The message of AIs and their values, in this order: what to write on a label.

    Raises Gs1Error for the first thing GS1 does not allow; its position counts within the value.
    """
    composed = tuple([_checked(code, value, range(len(value) + 1)) for code, value in elements])
    if not composed:
        raise Gs1Error(Rule.NO_DATA, "there is nothing to compose: one element at least is needed")
    check_associations(composed)
    return Gs1Message(composed)


def _checked(code: str, value: str, places: Sequence[int]) -> Element:
    ai = APPLICATION_IDENTIFIERS.get(code)
    if ai is None:
        raise Gs1Error(Rule.UNKNOWN_AI, f"({code}): no application identifier", ai=code, position=places[0])
    if not ai.accepts(value):
        raise ai.refusal(value, places)
    return Element(code, value, places[0])


def element_string(message: Gs1Message, *, fnc1: str = "\x1d") -> str:
    """The element string of `message`, without symbology identifier and leading FNC1.

    `fnc1` stands after a value whose end a reader could not know otherwise, not after the last: "\\x1d" as scanners
    send it, or what a printer language wants for it.
    """
    last = len(message.elements) - 1
    return "".join(
        f"{element.ai}{element.value}{fnc1 if i < last and APPLICATION_IDENTIFIERS[element.ai].separated else ''}"
        for i, element in enumerate(message.elements)
    )


def bracketed(message: Gs1Message) -> str:
    """The human-readable form: `(01)09521234567899(10)ABC123`.

    GS1 text may itself have brackets. Where a value would read as another AI, its bracket is written `\\(`, so that
    `parse_bracketed` finds the same message again.
    """
    return "".join(f"({element.ai})" + _looks_like_ai.sub(r"\\(", element.value) for element in message.elements)


def parse_bracketed(text: str, *, associations: bool = True) -> Gs1Message:
    """Read what a person typed or copied from under a symbol, or raise Gs1Error; positions count in `text`.

    Spaces around AIs and values are passed over, and full-width characters of an input method are taken for their
    plain ones. The rest is as strict as a scan. `associations` is as in `parse`.
    """
    plain = text.translate(_HALF_WIDTH)
    elements = tuple(_elements(plain))
    check_associations(elements, needs=associations)
    return Gs1Message(elements)


def _elements(text: str) -> Iterator[Element]:
    found = list(_opening.finditer(text))
    before = text[: found[0].start()] if found else text
    if not found or before.strip(" "):
        at = len(before) - len(before.lstrip(" "))
        rule = Rule.BRACKETS if text.strip(" ") else Rule.NO_DATA
        raise Gs1Error(rule, f"{before.strip(' ')!r} at {at} is no AI in brackets, like (01)", position=at)
    for i, opening in enumerate(found):
        end = found[i + 1].start() if i + 1 < len(found) else len(text)
        written = text[opening.end() : end]
        at = opening.end() + len(written) - len(written.lstrip(" "))
        value, places = _unescaped(written.strip(" "), at)
        yield _checked(opening[1], value, places)


def _unescaped(written: str, position: int) -> tuple[str, list[int]]:
    """The value, where each of its characters stands in the text, and where the value ends."""
    kept = [i for i in range(len(written)) if not _escape(written, i)]
    return "".join(written[i] for i in kept), [position + i for i in (*kept, len(written))]
