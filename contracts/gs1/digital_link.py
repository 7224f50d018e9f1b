"""GS1 Digital Links: the same elements as a web address.

    https://id.gs1.org/01/09521234567899/10/ABC123?17=270331
            └─ host ──┘└───── path ──────────────┘└ attributes

The path has one primary key and its qualifiers, in the order GS1 gives them; everything else is a parameter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final
from urllib.parse import quote

from contracts.gs1.application_identifiers import APPLICATION_IDENTIFIERS, LINK_PATHS, ApplicationIdentifier
from contracts.gs1.errors import Gs1Error, Rule
from contracts.gs1.message import Element, Gs1Message

CANONICAL_HOST: Final = "id.gs1.org"

_SCHEMES = ("https://", "http://", "HTTPS://", "HTTP://")
_no_uri_character = re.compile(r"[^A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]").search
_host = re.compile(r"[^/_~?#@!$&'()*+,;=%]+(?=/)").match
_percent_or_other = re.compile(r"%([0-9A-Fa-f]{2})|(.)", re.DOTALL).finditer
_is_host_and_stem = re.compile(r"[A-Za-z0-9.:\[\]-]+(?:/[A-Za-z0-9\-._~!$&'()*+,;=:@%]+)*").fullmatch


def is_link(text: str, start: int = 0) -> bool:
    """Whether a web address begins at `start`."""
    return text.startswith(_SCHEMES, start)


def read_link(text: str, start: int = 0) -> tuple[Element, ...]:
    """The elements of the Digital Link that begins at `start`, path first. Associations are not looked at."""
    if (bad := _no_uri_character(text, start)) is not None:
        message = f"{bad[0]!r} at {bad.start()}: a web address does not have that character unless percent-encoded"
        raise Gs1Error(Rule.LINK_SYNTAX, message, position=bad.start())
    host = _host(text, text.index("://", start) + 3)
    if host is None:
        raise Gs1Error(Rule.LINK_SYNTAX, f"{text[start:]!r} is no web address with host and path", position=start)
    end = text.find("#", host.end())
    end = len(text) if end < 0 else end
    query = text.find("?", host.end(), end)
    path_end = end if query < 0 else query

    path = _path_elements(text, host.end(), path_end)
    attributes = [] if query < 0 else list(_attributes(text, query + 1, end))
    _check_places(path, attributes)
    return tuple([part.element(ai) for ai, part in (*path, *attributes)])


class _Part:
    """A stretch of the address that holds a value."""

    __slots__ = ("end", "plus_is_space", "start", "text")

    def __init__(self, text: str, start: int, end: int, *, plus_is_space: bool) -> None:
        self.text, self.start, self.end, self.plus_is_space = text, start, end, plus_is_space

    def decoded(self) -> Iterator[tuple[int, str]]:
        """The characters it stands for, each with its place in the address."""
        for match in _percent_or_other(self.text, self.start, self.end):
            encoded, other = match[1], match[2]
            if encoded:
                yield match.start(), chr(int(encoded, 16))
            else:
                yield match.start(), " " if other == "+" and self.plus_is_space else other

    def places(self) -> list[int]:
        """Where in the address each character of the value stands, and where the value ends."""
        return [*(place for place, _ in self.decoded()), self.end]

    def value(self) -> str:
        plain = self.text[self.start : self.end]
        return "".join(character for _, character in self.decoded()) if "%" in plain or "+" in plain else plain

    def too_short_or_long(self, ai: ApplicationIdentifier) -> Gs1Error | None:
        """Length is looked at before anything else: a check digit means nothing in a value of the wrong length."""
        value = self.value()
        if not value:
            return ai.refusal(value, self.places())
        if ai.shortest <= len(value) <= ai.longest:
            return None
        rule = Rule.TOO_LONG if len(value) > ai.longest else Rule.WRONG_LENGTH
        at = self.places()[min(ai.longest, len(value))]
        message = f"AI ({ai.code}) at {at}: {value!r} has {len(value)} characters: {ai.lengths} are allowed"
        return Gs1Error(rule, message, ai=ai.code, position=at)

    def element(self, ai: ApplicationIdentifier) -> Element:
        value = self.value()
        if not ai.accepts(value):
            raise ai.refusal(value, self.places())
        return Element(ai.code, value, self.start)


_Placed = tuple[ApplicationIdentifier, _Part]


def _path_elements(text: str, start: int, end: int) -> list[_Placed]:
    """The last primary key in the path and what follows it; what is before it belongs to the host."""
    slashes = [i for i in range(start, end) if text[i] == "/"] + [end]
    found: list[_Placed] = []
    # Pairs of segments from the end: /AI/value. A segment that is no AI ends the search.
    for k in range(len(slashes) - 3, -1, -2):
        ai = APPLICATION_IDENTIFIERS.get(text[slashes[k] + 1 : slashes[k + 1]])
        if ai is None:
            break
        found.insert(0, (ai, _Part(text, slashes[k + 1] + 1, slashes[k + 2], plus_is_space=False)))
        if ai.qualifiers is not None:
            for one, part in found:
                if (error := part.too_short_or_long(one)) is not None:
                    raise error
            return found
    message = f"{text[start:end]!r} has no GS1 key: one of {_keys()} and its value must be in the path"
    raise Gs1Error(Rule.LINK_WITHOUT_KEY, message, position=start)


def _keys() -> str:
    return ", ".join(f"/{path[0]}/" for path in sorted(LINK_PATHS) if len(path) == 1)


def _attributes(text: str, start: int, end: int) -> Iterator[_Placed]:
    """Parameters whose name is an AI. Other names are somebody else's and passed over."""
    while start < end:
        stop = text.find("&", start, end)
        stop = end if stop < 0 else stop
        name, equals, _ = text[start:stop].partition("=")
        if equals and name.isascii() and name.isdigit():
            ai = APPLICATION_IDENTIFIERS.get(name)
            if ai is None:
                message = f"parameter {name}= at {start}: no application identifier"
                raise Gs1Error(Rule.UNKNOWN_AI, message, ai=name, position=start)
            part = _Part(text, start + len(name) + 1, stop, plus_is_space=True)
            if (error := part.too_short_or_long(ai)) is not None:
                raise error
            yield ai, part
        start = stop + 1


def _check_places(path: list[_Placed], attributes: list[_Placed]) -> None:
    """Raise Gs1Error where an AI stands where a Digital Link may not have it."""
    codes = tuple([ai.code for ai, _ in path])
    if codes not in LINK_PATHS:
        allowed = ", ".join("/".join(one) for one in sorted(LINK_PATHS) if one[0] == codes[0])
        message = f"the path has {'/'.join(codes)}: {allowed} are allowed, in this order"
        raise Gs1Error(Rule.LINK_ORDER, message, position=path[0][1].start)
    by_code = sorted([*path, *attributes], key=lambda placed: placed[0].code)
    for (before, _), (ai, part) in pairwise(by_code):
        if before is ai:
            message = f"AI ({ai.code}) is there twice: once is allowed"
            raise Gs1Error(Rule.LINK_REPEAT, message, ai=ai.code, position=part.start)
    for ai, part in sorted(attributes, key=lambda placed: placed[0].code):
        if not ai.attribute:
            message = f"AI ({ai.code}) is a parameter: a Digital Link may not have it there"
            raise Gs1Error(Rule.LINK_NOT_AN_ATTRIBUTE, message, ai=ai.code, position=part.start)
        if any((*codes[:k], ai.code, *codes[k:]) in LINK_PATHS for k in range(1, len(codes) + 1)):
            message = f"AI ({ai.code}) is a parameter: with the key {codes[0]} it belongs in the path"
            raise Gs1Error(Rule.LINK_BELONGS_IN_PATH, message, ai=ai.code, position=part.start)


def digital_link(message: Gs1Message, *, host: str = CANONICAL_HOST) -> str:
    """The Digital Link of `message`: its first primary key, the qualifiers in GS1's order, the rest sorted by AI.

    With the default host it is the canonical address: but for which key comes first, the order of the elements makes
    no difference. `host` may have a path of its own ("example.com/products"), no scheme. Raises Gs1Error when nothing
    in the message is a primary key (LINK_WITHOUT_KEY), an element has no place in an address (LINK_NOT_AN_ATTRIBUTE),
    or `host` is none (LINK_SYNTAX).
    """
    if not _is_host_and_stem(host):
        raise Gs1Error(
            Rule.LINK_SYNTAX, f"host {host!r}: a host name with at most a path is needed, like {CANONICAL_HOST!r}"
        )
    values = {element.ai: element.value for element in message.elements}
    path = _path_for(values)
    rest = sorted(values.keys() - set(path))
    for ai in rest:
        if not APPLICATION_IDENTIFIERS[ai].attribute:
            says = f"AI ({ai}) has no place in a Digital Link of {'/'.join(path)}"
            raise Gs1Error(Rule.LINK_NOT_AN_ATTRIBUTE, says, ai=ai)
    link = f"https://{host}" + "".join(f"/{ai}/{quote(values[ai], safe='')}" for ai in path)
    return link + "?" * bool(rest) + "&".join(f"{ai}={quote(values[ai], safe='')}" for ai in rest)


def _path_for(values: dict[str, str]) -> tuple[str, ...]:
    key = next((ai for ai in values if (ai,) in LINK_PATHS), None)
    if key is None:
        has = "".join(f"({ai})" for ai in values) or "nothing"
        raise Gs1Error(Rule.LINK_WITHOUT_KEY, f"{has} has no GS1 key: a Digital Link needs one of {_keys()}")
    possible = [path for path in LINK_PATHS if path[0] == key and values.keys() >= set(path)]

    def homeless(path: tuple[str, ...]) -> int:
        return sum(not APPLICATION_IDENTIFIERS[ai].attribute for ai in values.keys() - set(path))

    # Leave out nothing that can only stand in the path, then take as many as possible.
    return min(possible, key=lambda path: (homeless(path), -len(path), path))
