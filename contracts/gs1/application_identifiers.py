"""The application identifiers (AIs) of GS1: what each may hold, what it needs beside it, where a Digital Link takes it.

The table at the end is data. An AI is written down by what it identifies, so a new one is one line in the group it
belongs to; `tests/contracts/gs1` compares the whole with the official dictionary.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from types import MappingProxyType
from typing import Final

from contracts.gs1 import checks as c
from contracts.gs1.checks import Check
from contracts.gs1.errors import Gs1Error, Problem, Rule


@dataclass(frozen=True, slots=True)
class CharacterSet:
    """Which characters a component may have. `pattern` is the inside of a regular expression's [ ]."""

    code: str
    pattern: str
    rule: Rule
    says: str


DIGITS: Final = CharacterSet("N", "0-9", Rule.DIGITS_ONLY, "only the digits 0 to 9 are allowed")
TEXT: Final = CharacterSet(
    "X", re.escape(c.SET_82), Rule.CHARACTER_SET, "only the 82 characters of GS1 text are allowed"
)
PARTS: Final = CharacterSet("Y", r"#\-/0-9A-Z", Rule.CHARACTER_SET, "only A to Z, 0 to 9, '#', '-' and '/' are allowed")
BASE64: Final = CharacterSet("Z", r"\-_0-9A-Za-z", Rule.CHARACTER_SET, "only the characters of base64url are allowed")


@dataclass(frozen=True, slots=True)
class Component:
    """One stretch of an AI's value. Only the last may vary in length; an optional one may be missing altogether."""

    characters: CharacterSet
    shortest: int
    longest: int
    optional: bool = False
    checks: tuple[Check, ...] = ()

    @property
    def pattern(self) -> str:
        """A regular expression of its characters and length."""
        padding = "={0,2}" if self.characters is BASE64 else ""
        pattern = f"(?=.{{{self.shortest},{self.longest}}}\\Z)" if padding else ""
        pattern += f"[{self.characters.pattern}]{{{0 if padding else self.shortest},{self.longest}}}{padding}"
        return f"(?:{pattern})?" if self.optional else pattern


@dataclass(frozen=True, slots=True)
class ApplicationIdentifier:
    """One AI and all that GS1 says about it.

    `separated`: a separator must follow it unless it is last. `attribute`: a Digital Link may carry it as a
    parameter. `needs`: groups of AI patterns, one group must be there as a whole ("31nn" stands for any 31 and two
    digits); empty if it needs nothing. `excludes`: patterns that may not be there. `qualifiers`: sequences that may
    follow it in the path of a Digital Link, in order and each of them optional; None if it is no primary key.
    """

    code: str
    components: tuple[Component, ...]
    separated: bool
    attribute: bool
    needs: tuple[tuple[str, ...], ...]
    excludes: tuple[str, ...]
    qualifiers: tuple[tuple[str, ...], ...] | None
    shortest: int
    longest: int
    is_shaped: Callable[[str], re.Match[str] | None]
    placed_checks: tuple[tuple[int, int, Check], ...]

    def accepts(self, value: str) -> bool:
        """Whether `value` is right in length, characters and content."""
        if self.is_shaped(value) is None:
            return False
        # A plain loop: this is the hottest line of a scan.
        for start, end, check in self.placed_checks:
            if (part := value[start:end]) and check(part) is not None:
                return False
        return True

    def refusal(self, value: str, places: Sequence[int]) -> Gs1Error:
        """The error for a `value` that `accepts` refuses: the first thing that is wrong with it.

        `places` has where each character of the value stands in the scan, and where the value ends.
        """
        problem = self._problem(value)
        at = places[problem.offset]
        return Gs1Error(problem.rule, f"AI ({self.code}) at {at}: {value!r} {problem.says}", ai=self.code, position=at)

    def _problem(self, value: str) -> Problem:
        if not value:
            return Problem(Rule.EMPTY, 0, f"is empty: {self.lengths} characters are needed")
        at = 0
        for component in self.components:
            part = value[at : at + component.longest]
            if component.optional and not part:
                continue
            if len(part) < component.shortest:
                return Problem(Rule.WRONG_LENGTH, len(value), f"has {_count(value)}: {self.lengths} are allowed")
            found = _wrong_characters(component, part)
            for check in component.checks:
                found = found or check(part)
            if found is not None:
                return Problem(found.rule, at + found.offset, found.says)
            at += len(part)
        return Problem(Rule.TOO_LONG, at, f"has {_count(value)}: {self.lengths} are allowed")

    @property
    def lengths(self) -> str:
        """How many characters a value may have, in words."""
        return f"{self.shortest} to {self.longest}" if self.shortest < self.longest else f"exactly {self.longest}"

    def paths(self) -> frozenset[tuple[str, ...]]:
        """Every sequence of AIs that may stand in the path of a Digital Link of this primary key, itself first."""
        return frozenset(
            (self.code, *chosen)
            for sequence in self.qualifiers or ()
            for size in range(len(sequence) + 1)
            for chosen in combinations(sequence, size)
        )


def _count(value: str) -> str:
    return "1 character" if len(value) == 1 else f"{len(value)} characters"


def _wrong_characters(component: Component, part: str) -> Problem | None:
    characters, text = component.characters, part
    if characters is BASE64:
        if (found := c.has_whole_padding(part)) is not None:
            return found
        text = part.rstrip("=")
    bad = list(re.finditer(f"[^{characters.pattern}]", text))
    if not bad:
        return None
    limit = f"{component.longest} {'at most' if component.shortest < component.longest else 'of them'}"
    named = " and ".join(repr(character) for character in dict.fromkeys(m[0] for m in bad))
    return Problem(characters.rule, bad[0].start(), f"has {named}: {characters.says}, {limit}")


def _is_predefined_length(code: str) -> bool:
    """GS1 fixed these first digits for ever: a reader knows their length without a table, so no separator is sent."""
    return code[:2] in _PREDEFINED_LENGTH


_PREDEFINED_LENGTH = frozenset(f"{first_two:02d}" for first_two in (*range(5), *range(11, 21), *range(31, 37), 41))

Format = tuple[Component, ...]


def n(length: int, *checks: Check) -> Format:
    """Exactly `length` digits."""
    return (Component(DIGITS, length, length, False, checks),)


def n_to(longest: int, *checks: Check) -> Format:
    """1 to `longest` digits."""
    return (Component(DIGITS, 1, longest, False, checks),)


def x(length: int, *checks: Check) -> Format:
    """Exactly `length` characters of GS1 text."""
    return (Component(TEXT, length, length, False, checks),)


def x_to(longest: int, *checks: Check) -> Format:
    """1 to `longest` characters of GS1 text."""
    return (Component(TEXT, 1, longest, False, checks),)


def maybe(some: Format) -> Format:
    """`some`, or nothing."""
    return tuple(Component(p.characters, p.shortest, p.longest, True, p.checks) for p in some)


def _define(
    codes: str,
    holds: Format,
    *,
    needs: str = "",
    excludes: str = "",
    key: str | None = None,
    attribute: bool = True,
) -> Iterable[ApplicationIdentifier]:
    """The AIs of `codes`, which may have ranges ("3100-3105").

    `needs` has alternatives apart by spaces, AIs that belong together joined by "+". `key` has alternative sequences of
    qualifiers apart by "|"; "" is a primary key without qualifiers.
    """
    at, placed = 0, []
    for component in holds:
        placed += [(at, at + component.longest, check) for check in component.checks]
        if component.characters is BASE64:
            placed.append((at, at + component.longest, c.has_whole_padding))
        at += component.longest
    is_shaped = re.compile("".join(component.pattern for component in holds)).fullmatch
    for code in _expand(codes):
        yield ApplicationIdentifier(
            code=code,
            components=holds,
            separated=not _is_predefined_length(code),
            attribute=attribute,
            needs=tuple(tuple(group.split("+")) for group in needs.split()),
            excludes=tuple(excludes.split()),
            qualifiers=None if key is None else tuple(tuple(sequence.split()) for sequence in key.split("|")),
            shortest=sum(component.shortest for component in holds if not component.optional),
            longest=at,
            is_shaped=is_shaped,
            placed_checks=tuple(placed),
        )


def _expand(codes: str) -> Iterable[str]:
    for code in codes.split():
        first, _, last = code.partition("-")
        for number in range(int(first), int(last or first) + 1):
            yield f"{number:0{len(first)}d}"


_GTIN = n(14, c.has_check_digit, c.has_company_prefix_after_indicator)
_PLACE = n(13, c.has_check_digit, c.starts_with_company_prefix)  # also a party, a document, a coupon
_PIECE = _GTIN + n(4, c.is_piece_of_total)
_SERVICE = n(18, c.has_check_digit, c.starts_with_company_prefix)
_DAY = n(6, c.is_date)
_DAY_OR_MONTH = n(6, c.is_date_or_month)
_COUNTRY = n(3, c.is_country_number)
_COUNTRIES = _COUNTRY + maybe(_COUNTRY) * 4
_WITH_COUNTRY = n(3, c.is_country_number_or_999) + x_to(27)
_TEMPERATURE = n(6) + maybe(x(1, c.is_hyphen))
_ENCODED = c.is_percent_encoded

_ITEM = "01 02 03 8006 8026"  # a trade item, or what a logistic unit contains
_MADE = "01 03 8006"
_PACKED = "01 02"
_PERSON = "8017 8018"
_NOT_FULLY_IN = "426"


def _measures(first_three: str, needs: str) -> Iterable[ApplicationIdentifier]:
    """Six digits, and the AI's own fourth digit says how many of them are decimals. One of a kind in a message."""
    for kind in first_three.split():
        yield from _define(f"{kind}0-{kind}5", n(6), needs=needs, excludes=f"{kind}n")


_TABLE: tuple[Iterable[ApplicationIdentifier], ...] = (
    # What it is: logistic units, trade items and their contents.
    _define("00", n(18, c.has_check_digit, c.has_company_prefix_after_indicator), key=""),
    _define("01", _GTIN, excludes="255 37", key="22 10 21|235"),
    _define("02", _GTIN, needs="37", excludes="01 03"),
    _define("03", _GTIN, excludes="01 02 37 235", attribute=False),
    _define("8006", _PIECE, excludes="01 03 37", key="22 10 21"),
    _define("8026", _PIECE, needs="37", excludes="02 03 8006"),
    _define("37", n_to(8), needs="00+02 00+8026"),
    _define("30", n_to(8), needs=_PACKED),
    # Which of them: batch, serial, variant, version.
    _define("10", x_to(20), needs=_ITEM),
    _define("20", n(2), needs=_ITEM),
    _define("21", x_to(20), needs=_MADE, excludes="235", attribute=False),
    _define("22", x_to(20), needs="01", attribute=False),
    _define("235", x_to(28), needs="01", attribute=False),
    _define("240 241", x_to(30), needs=_ITEM),
    _define("242", n_to(6), needs="01 02 8006 8026"),
    _define("243", x_to(20), needs="01 03"),
    _define("250", x_to(30), needs="01+21 03+21 8006+21"),
    _define("251", x_to(30), needs=_MADE),
    _define("8012", x_to(20), needs=_MADE),
    _define(
        "8014", x_to(25, c.has_check_pair, c.starts_with_company_prefix, c.has_non_digit), needs="01", attribute=False
    ),
    # When.
    _define("11 13 15 16", _DAY_OR_MONTH, needs=_ITEM),
    _define("17", _DAY_OR_MONTH, needs="01 02 03 255 8006 8026"),
    _define("12", _DAY_OR_MONTH, needs="8020"),
    _define("7003", _DAY + n(4, c.is_hour_and_minute), needs="01 02 03"),
    _define("7006", _DAY, needs=_PACKED),
    _define("7007", _DAY + maybe(_DAY), needs=_PACKED),
    _define("7011", _DAY + maybe(n(4, c.is_hour_and_minute)), needs="01 02 03"),
    _define("8008", _DAY + n(2, c.is_hour) + maybe(n(2, c.is_minute)) + maybe(n(2, c.is_second)), needs="01 02 03"),
    # How much: of a trade item, and (logistic) of a unit as it is shipped.
    _measures("310 311 312 313 314 315 316", _PACKED),
    _measures("320 321 322 323 324 325 326 327 328 329", _PACKED),
    _measures("350 351 352 356 357 360 361 364 365 366", _PACKED),
    _measures("330 331 332 333 334 335 336", "00 01"),
    _measures("340 341 342 343 344 345 346 347 348 349", "00 01"),
    _measures("353 354 355 362 363 367 368 369", "00 01"),
    _measures("337", "01"),
    # What is paid.
    _define("3900-3909", n_to(15), needs="255 8020", excludes="390n 391n 394n 8111"),
    _define("3910-3919", n(3, c.is_currency_number) + n_to(15), needs="8020", excludes="391n"),
    _define("3920-3929", n_to(15), needs="01+30 01+31nn 01+32nn 01+35nn 01+36nn", excludes="392n 393n"),
    _define("3930-3939", n(3, c.is_currency_number) + n_to(15), needs="30 31nn 32nn 35nn 36nn", excludes="393n"),
    _define("3940-3943", n(4), needs="255", excludes="394n 8111"),
    _define("3950-3955", n(6), needs="30 31nn 32nn 35nn 36nn", excludes="392n 393n 395n 8005"),
    _define("8005", n(6), needs=_PACKED),
    _define("8007", x_to(34, c.is_iban), needs="415"),
    _define("8020", x_to(25), needs="415", attribute=False),
    _define("8110", x_to(70, c.is_coupon)),
    _define("8111", n(4), needs="255"),
    _define("8112", x_to(70, c.is_positive_offer)),
    # Documents and orders.
    _define("253", _PLACE + maybe(x_to(17)), key=""),
    _define("255", _PLACE + maybe(n_to(12)), excludes="01 02 415 8006 8020 8026", key=""),
    _define("400", x_to(30)),
    _define("401", x_to(30, c.starts_with_company_prefix), key=""),
    _define("402", n(17, c.has_check_digit, c.starts_with_company_prefix), key=""),
    _define("403", x_to(30), needs="00"),
    # Where, and who.
    _define("410 411 412 413 416", _PLACE),
    _define("414", _PLACE, key="254|7040"),
    _define("415", _PLACE, needs="8020", key="8020"),
    _define("417", _PLACE, key="7040"),
    _define("254", x_to(20), needs="414", attribute=False),
    _define("420", x_to(20), excludes="421"),
    _define("421", _COUNTRY + x_to(9), excludes="4307"),
    _define("7040", n(1) + x(1) + x(1) + x(1, c.is_importer_index), attribute=False),
    # Where it comes from, and who worked on it.
    _define("422", _COUNTRY, needs=_ITEM, excludes=_NOT_FULLY_IN),
    _define("423 425", _COUNTRIES, needs="01 02 03", excludes=_NOT_FULLY_IN),
    _define("424", _COUNTRY, needs="01 02 03", excludes=_NOT_FULLY_IN),
    _define("426", _COUNTRY, needs="01 02 03"),
    _define("427", x_to(3), needs="01+422 02+422 03+422"),
    _define("7030-7039", _WITH_COUNTRY, needs=_PACKED),
    _define("7230-7239", x(2) + x_to(28), needs="01 8004"),
    # How it travels: receiver, return address, service.
    _define("4300 4301 4310 4311 4320", x_to(35, _ENCODED), needs="00"),
    _define("4302 4304-4306 4312 4314-4316", x_to(70, _ENCODED), needs="00"),
    _define("4303", x_to(70, _ENCODED), needs="4302"),
    _define("4313", x_to(70, _ENCODED), needs="4312"),
    _define("4307 4317", x(2, c.is_country_letters), needs="00"),
    _define("4308 4319", x_to(30), needs="00"),
    _define("4318", x_to(20), needs="00"),
    _define("4309", n(10, c.is_latitude) + n(10, c.is_longitude), needs="00"),
    _define("4321-4323", n(1, c.is_yes_or_no), needs="00"),
    _define("4324 4325", _DAY_OR_MONTH + n(4, c.is_hour_and_minute), needs="00"),
    _define("4326", _DAY, needs="00"),
    _define("4330", _TEMPERATURE, needs="00", excludes="4331"),
    _define("4331", _TEMPERATURE, needs="00", excludes="4330"),
    _define("4332", _TEMPERATURE, needs="00", excludes="4333"),
    _define("4333", _TEMPERATURE, needs="00", excludes="4332"),
    _define("7041", x_to(4, c.is_package_type), needs="00", attribute=False),
    # What a trade defines for itself: food, medicine, refurbishing, rolls, phones.
    _define("7001", n(13), needs="01 02 8006 8026"),
    _define("7002", x_to(30), needs=_PACKED),
    _define("7004", n_to(4), needs="01+10 03+10"),
    _define("7005", x_to(12), needs=_PACKED),
    _define("7008", x_to(3), needs=_PACKED),
    _define("7009", x_to(10), needs=_PACKED),
    _define("7010", x_to(2), needs="01 02 03"),
    _define("7020", x_to(20), needs="01+416 03+416 8006+416"),
    _define("7021", x_to(20), needs=_MADE),
    _define("7022", x_to(20), needs="01+7021 03+7021 8006+7021"),
    _define("7023", x_to(30, c.starts_with_company_prefix)),
    _define("710-717", x_to(20), needs="01"),
    _define("7240", x_to(20), needs="01 8006", excludes="03"),
    _define(
        "8001", n(4, c.is_not_zero) + n(5, c.is_not_zero) + n(3, c.is_not_zero) + n(1, c.is_winding) + n(1), needs="01"
    ),
    _define("8002", x_to(20)),
    _define("8009", x_to(50), needs="00 01 03"),
    _define("8040", n(15), needs="01+21", attribute=False),
    _define("8041", n(15), needs="01+21+8040", attribute=False),
    _define("8042", n(32), needs="01+21+8040", attribute=False),
    _define("8043", n(18) + maybe(n_to(2)), needs="01+21+8040", attribute=False),
    _define("8200", x_to(70), needs="01", attribute=False),
    # Assets, models, components.
    _define("8003", n(1, c.is_zero) + _PLACE + maybe(x_to(16)), key=""),
    _define("8004", x_to(30, c.starts_with_company_prefix), key="7040"),
    _define("8010", (Component(PARTS, 1, 30, False, (c.starts_with_company_prefix,)),), key="8011"),
    _define("8011", n_to(12, c.has_no_leading_zero), needs="8010", attribute=False),
    _define("8013", x_to(25, c.has_check_pair, c.starts_with_company_prefix), key=""),
    # Persons and care.
    _define("8017", _SERVICE, excludes="8018", key="8019"),
    _define("8018", _SERVICE, excludes="8017", key="8019"),
    _define("8019", n_to(10), needs=_PERSON, attribute=False),
    _define("7241", n(2, c.is_media_type), needs=_PERSON),
    _define("7242", x_to(25), needs=_PERSON),
    _define("7250", n(8, c.is_long_date), needs="8018", excludes="7251"),
    _define("7251", n(8, c.is_long_date) + n(4, c.is_hour_and_minute), needs="8018", excludes="7250"),
    _define("7252", n(1, c.is_biological_sex), needs="8018"),
    _define("7253 7254", x_to(40, _ENCODED), needs=_PERSON, excludes="7256 7259"),
    _define("7255", x_to(10), needs=_PERSON, excludes="7256 7259"),
    _define("7256", x_to(90, _ENCODED), needs=_PERSON),
    _define("7257", x_to(70, _ENCODED), needs="8018"),
    _define("7258", x(3, c.is_position_in_sequence), needs="8018+7259"),
    _define("7259", x_to(40, _ENCODED), needs="8018", excludes="7256"),
    # Signature, and what a company defines for itself.
    _define(
        "8030",
        (Component(BASE64, 1, 90),),
        needs="00 01+21 03+21 253 255 8003 8004 8006+21 8010+8011 8017 8018",
    ),
    _define("90", x_to(30)),
    _define("91-99", x_to(90)),
)

APPLICATION_IDENTIFIERS: Final = MappingProxyType(
    {ai.code: ai for group in _TABLE for ai in group},
)
"""Every AI that GS1 has given out, by its digits."""

LENGTH_BY_PREFIX: Final = MappingProxyType({code[:2]: len(code) for code in APPLICATION_IDENTIFIERS})
"""How many digits the AIs have that start with these two: always equally many, so a reader knows where the AI ends."""

LINK_PATHS: Final = frozenset(path for ai in APPLICATION_IDENTIFIERS.values() for path in ai.paths())
"""Every sequence of AIs that a Digital Link may have in its path, the primary key first."""
