"""What a value must satisfy beyond its length and characters: check digits, calendar, code lists.

A check takes the text of one component and returns None, or the `Problem` it found. Checks of a component run in the
order of the table and after its characters are known to be right, so `int()` on a numeric component is safe.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from contracts.gs1.codes import COUNTRY_LETTERS, COUNTRY_NUMBERS, CURRENCY_NUMBERS, PACKAGE_TYPES
from contracts.gs1.errors import Gs1Error, Problem, Rule

Check = Callable[[str], Problem | None]

SET_82: Final = "!\"%&'()*+,-./0123456789:;<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
"""The characters of GS1 batch numbers, serials and most text, in the order GS1 numbers them from 0."""

SHORTEST_COMPANY_PREFIX: Final = 4

_CHECK_PAIR_LETTERS = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
_VALUE_IN_SET_82 = {character: value for value, character in enumerate(SET_82)}
_PRIMES = tuple(n for n in range(2, 100) if all(n % d for d in range(2, n)))

_FEBRUARY_29 = r"(?:[02468][048]|[13579][26])0229"
_MONTHS = (
    r"(?:(?:0[13578]|1[02])(?:{day}|3[01])"  # 31 days
    r"|(?:0[469]|11)(?:{day}|30)"
    r"|02(?:{short}))"
)
_DAY, _SHORT = r"0[1-9]|[12][0-9]", r"0[1-9]|1[0-9]|2[0-8]"
# A year of two digits is a leap year in every century the sliding window can put it in, but for 2100 (see dates.py).
_is_date = re.compile(
    rf"[0-9]{{2}}{_MONTHS.format(day=_DAY, short=_SHORT)}|{_FEBRUARY_29}",
).fullmatch
_is_date_or_month = re.compile(
    rf"[0-9]{{2}}{_MONTHS.format(day='00|' + _DAY, short='00|' + _SHORT)}|{_FEBRUARY_29}",
).fullmatch
_DAYS_IN_MONTH = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

_is_percent_encoded = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*").fullmatch
_first_bad_percent = re.compile(r"%(?![0-9A-Fa-f]{2})").search
_sequence = re.compile(r"([0-9]+)/([0-9]+)").fullmatch
_non_digit = re.compile(r"[^0-9]").search


def check_digit(digits: str) -> str:
    """The GS1 mod-10 check digit that belongs after `digits` (weights 3, 1, 3, … from the right).

    >>> check_digit("0952123456789")
    '9'

    Raises Gs1Error (DIGITS_ONLY) when there is anything but the digits 0–9, or nothing.
    """
    if not (digits.isascii() and digits.isdigit()):
        raise Gs1Error(Rule.DIGITS_ONLY, f"{digits!r} has no check digit: only the digits 0 to 9 have one, 1 at least")
    return str(-(3 * sum(map(int, digits[::-2])) + sum(map(int, digits[-2::-2]))) % 10)


def check_pair(text: str) -> str:
    """The two check characters of a Global Model Number or a MUDI that belong after `text` (GS1 set 82, 23 at most)."""
    total = sum(_VALUE_IN_SET_82[c] * prime for c, prime in zip(reversed(text), _PRIMES, strict=False)) % 1021
    return _CHECK_PAIR_LETTERS[total >> 5] + _CHECK_PAIR_LETTERS[total & 31]


def has_check_digit(text: str) -> Problem | None:
    """The last digit is the check digit of the others."""
    digits = text.encode()
    odd, even = digits[::-2], digits[-2::-2]
    # An ASCII digit is 48 more than its value, and that is what the lengths take out again.
    if not (sum(odd) + 3 * sum(even) - 48 * (len(odd) + 3 * len(even))) % 10:
        return None
    return Problem(
        Rule.CHECK_DIGIT,
        len(text) - 1,
        f"ends in {text[-1]}: the check digit of {text[:-1]} is {check_digit(text[:-1])}",
    )


def has_check_pair(text: str) -> Problem | None:
    """The last two characters are the check pair of the others."""
    if len(text) < 2:
        return Problem(Rule.CHECK_PAIR, 0, "is shorter than its check pair: 2 characters at least")
    due = check_pair(text[:-2])
    if text.endswith(due):
        return None
    return Problem(Rule.CHECK_PAIR, len(text) - 2, f"ends in {text[-2:]}: the check pair of {text[:-2]} is {due}")


def _starts_with_company_prefix(text: str, start: int) -> Problem | None:
    prefix = text[start : start + SHORTEST_COMPANY_PREFIX]
    if len(prefix) == SHORTEST_COMPANY_PREFIX and prefix.isdigit():
        return None
    bad = next((i for i, c in enumerate(prefix) if not c.isdigit()), 0)
    return Problem(
        Rule.COMPANY_PREFIX,
        start + bad,
        f"has no GS1 company prefix: its first {SHORTEST_COMPANY_PREFIX} characters must be digits, not {prefix!r}",
    )


def starts_with_company_prefix(text: str) -> Problem | None:
    """A GS1 company prefix (4 digits at least) is at the start."""
    return _starts_with_company_prefix(text, 0)


def has_company_prefix_after_indicator(text: str) -> Problem | None:
    """A GS1 company prefix follows the indicator or extension digit."""
    return _starts_with_company_prefix(text, 1)


def is_date(text: str) -> Problem | None:
    """YYMMDD of a day that exists."""
    return None if _is_date(text) else _why_not_a_date(text, "01")


def is_date_or_month(text: str) -> Problem | None:
    """YYMMDD of a day that exists, or day 00: the month as a whole."""
    return None if _is_date_or_month(text) else _why_not_a_date(text, "00")


def is_long_date(text: str) -> Problem | None:
    """YYYYMMDD of a day that exists."""
    year = int(text[:4])
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    # The short form decides: 04 is a leap year, 01 is not.
    found = is_date(("04" if leap else "01") + text[4:])
    return found and Problem(found.rule, found.offset + 2, found.says)


def _why_not_a_date(text: str, first_day: str) -> Problem:
    year, month, day = int(text[:2]), int(text[2:4]), text[4:]
    if not 1 <= month <= 12:
        return Problem(Rule.MONTH, 2, f"has month {text[2:4]}: 01 to 12 is allowed")
    last = 29 if month == 2 and year % 4 == 0 else _DAYS_IN_MONTH[month - 1]
    return Problem(Rule.DAY, 4, f"has day {day}: {first_day} to {last} is allowed in month {text[2:4]}")


def _up_to(limit: int, rule: Rule, word: str) -> Check:
    highest = f"{limit:02d}"

    def check(text: str) -> Problem | None:
        return None if text <= highest else Problem(rule, 0, f"has {word} {text}: 00 to {highest} is allowed")

    return check


is_hour: Final = _up_to(23, Rule.HOUR, "hour")
is_minute: Final = _up_to(59, Rule.MINUTE, "minute")
is_second: Final = _up_to(59, Rule.SECOND, "second")


def is_hour_and_minute(text: str) -> Problem | None:
    """HHMM, 0000 to 2359."""
    if (found := is_hour(text[:2])) is not None:
        return found
    found = is_minute(text[2:])
    return found and Problem(found.rule, 2, found.says)


def is_country_number(text: str) -> Problem | None:
    """ISO 3166-1 numeric."""
    return None if text in COUNTRY_NUMBERS else Problem(Rule.COUNTRY, 0, f"has {text!r}: no ISO 3166 country number")


def is_country_number_or_999(text: str) -> Problem | None:
    """ISO 3166-1 numeric, or 999: no country applies."""
    if text in COUNTRY_NUMBERS or text == "999":
        return None
    return Problem(Rule.COUNTRY, 0, f"has {text!r}: neither an ISO 3166 country number nor 999")


def is_country_letters(text: str) -> Problem | None:
    """ISO 3166-1 alpha-2, upper case."""
    return None if text in COUNTRY_LETTERS else Problem(Rule.COUNTRY, 0, f"has {text!r}: no ISO 3166 country letters")


def is_currency_number(text: str) -> Problem | None:
    """ISO 4217 numeric."""
    return None if text in CURRENCY_NUMBERS else Problem(Rule.CURRENCY, 0, f"has {text!r}: no ISO 4217 currency number")


def is_piece_of_total(text: str) -> Problem | None:
    """Piece number and number of pieces, of equal length: neither is zero, and the piece is one of them."""
    half = len(text) // 2
    piece, total = int(text[:half]), int(text[half:])
    if 0 < piece <= total:
        return None
    at = half if piece and not total else 0
    return Problem(
        Rule.PIECE_OF_TOTAL, at, f"says piece {piece} of {total}: 1 of 1 at least, and no piece beyond the total"
    )


def is_position_in_sequence(text: str) -> Problem | None:
    """`position/end`, without leading zeros, position not beyond end."""
    parts = _sequence(text)
    if parts is None:
        return Problem(Rule.POSITION_IN_SEQUENCE, 0, f"has {text!r}: position/end in digits is needed")
    for group in (1, 2):
        if parts[group][0] == "0":
            return Problem(Rule.LEADING_ZERO, parts.start(group), f"has {parts[group]!r}: no leading zero is allowed")
    if int(parts[1]) > int(parts[2]):
        return Problem(Rule.POSITION_IN_SEQUENCE, 0, f"has {text!r}: the position must not be beyond the end")
    return None


def is_zero(text: str) -> Problem | None:
    """Nothing but zeros: a place that GS1 keeps."""
    return Problem(Rule.MUST_BE_ZERO, 0, f"has {text!r}: only 0 is allowed") if text.strip("0") else None


def is_not_zero(text: str) -> Problem | None:
    """Not zero."""
    return None if text.strip("0") else Problem(Rule.MUST_NOT_BE_ZERO, 0, f"has {text!r}: 1 at least")


def has_no_leading_zero(text: str) -> Problem | None:
    """The first digit is not 0."""
    return Problem(Rule.LEADING_ZERO, 0, f"starts with 0: {text!r}") if text.startswith("0") else None


def has_non_digit(text: str) -> Problem | None:
    """There is a character that is no digit."""
    return None if _non_digit(text) else Problem(Rule.NEEDS_A_NON_DIGIT, 0, f"has digits only: {text!r}")


def has_whole_padding(text: str) -> Problem | None:
    """'=' fills base64url up to a multiple of three characters, or is not there at all."""
    signs = len(text) - len(text.rstrip("="))
    if signs <= 2 and not (signs and len(text) % 3):
        return None
    at = len(text) - signs
    return Problem(
        Rule.BASE64_PADDING, at, f"ends in {text[at:]!r}: at most '==', up to a multiple of 3 characters, is allowed"
    )


def is_hyphen(text: str) -> Problem | None:
    """Hyphens: the minus sign of a temperature."""
    return Problem(Rule.HYPHEN, 0, f"ends in {text!r}: only '-' is allowed there") if text.strip("-") else None


def _one_of(allowed: str, rule: Rule, word: str) -> Check:
    def check(text: str) -> Problem | None:
        if text in allowed:
            return None
        return Problem(rule, 0, f"has {word} {text}: {', '.join(allowed)} are allowed")

    return check


is_yes_or_no: Final = _one_of("01", Rule.YES_OR_NO, "answer")
is_winding: Final = _one_of("019", Rule.WINDING, "winding direction")
is_biological_sex: Final = _one_of("0129", Rule.BIOLOGICAL_SEX, "ISO 5218 sex")


def _degrees(limit: int, rule: Rule, word: str) -> Check:
    def check(text: str) -> Problem | None:
        if int(text) <= limit:
            return None
        return Problem(
            rule, 0, f"has {word} {text}: 0000000000 to {limit} is allowed (tenth of a millionth of a degree)"
        )

    return check


is_latitude: Final = _degrees(180 * 10**7, Rule.LATITUDE, "latitude")
is_longitude: Final = _degrees(360 * 10**7, Rule.LONGITUDE, "longitude")


def is_importer_index(text: str) -> Problem | None:
    """One character of A–Z, a–z, 0–9, '-' and '_'."""
    if text.replace("-", "0").replace("_", "0").isalnum():
        return None
    return Problem(Rule.IMPORTER_INDEX, 0, f"has importer index {text!r}: a letter, a digit, '-' or '_' is allowed")


def is_package_type(text: str) -> Problem | None:
    """A UN/ECE Recommendation 21 package type."""
    return None if text in PACKAGE_TYPES else Problem(Rule.PACKAGE_TYPE, 0, f"has {text!r}: no package type")


def is_media_type(text: str) -> Problem | None:
    """01 to 10, or 80 to 99: what ICCBBA has given out."""
    if "01" <= text <= "10" or "80" <= text <= "99":
        return None
    return Problem(Rule.MEDIA_TYPE, 0, f"has media type {text}: 01 to 10 and 80 to 99 are allowed")


def is_percent_encoded(text: str) -> Problem | None:
    """Every '%' starts a percent sequence."""
    if _is_percent_encoded(text):
        return None
    bad = _first_bad_percent(text)
    at = bad.start() if bad else 0
    return Problem(
        Rule.PERCENT_ENCODING, at, f"has {text[at : at + 3]!r}: '%' must be followed by two hexadecimal digits"
    )


def is_iban(text: str) -> Problem | None:
    """Country, check digits and account, mod 97 = 1 (ISO 13616)."""
    if len(text) >= 4 and text[:2] not in COUNTRY_LETTERS:
        return Problem(Rule.IBAN, 0, f"starts with {text[:2]!r}: no ISO 3166 country letters")
    if not 10 < len(text) <= 34:
        return Problem(Rule.IBAN, 0, f"has {len(text)} characters: an IBAN has 11 to 34")
    for at in (*range(4, len(text)), *range(4)):
        if not (text[at].isdigit() or "A" <= text[at] <= "Z"):
            return Problem(Rule.IBAN, at, f"has {text[at]!r}: an IBAN has digits and capital letters")
    if int("".join(str(int(c, 36)) for c in text[4:] + text[:4])) % 97 == 1:
        return None
    return Problem(Rule.IBAN, 2, f"has check digits {text[2:4]}: they do not fit the rest")


class _Coupon:
    """Reads a coupon from left to right; the first thing that is not there or not allowed is the problem."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def next_is(self, digit: str) -> bool:
        """Whether an optional field announces itself by `digit`; steps over it."""
        if self.text[self.at : self.at + 1] != digit:
            return False
        self.at += 1
        return True

    def take(self, length: int, word: str) -> str:
        taken = self.text[self.at : self.at + length]
        if len(taken) < length:
            raise _CouponProblem(self.at, f"has {len(taken)} of the {length} digits of its {word}")
        self.at += length
        return taken

    def one_of(self, allowed: str, word: str) -> int:
        digit = self.take(1, word)
        if digit not in allowed:
            raise _CouponProblem(self.at - 1, f"has {word} {digit}: {', '.join(allowed)} are allowed")
        return int(digit)

    def sized(self, allowed: str, more: int, word: str) -> None:
        """A digit that says how long the field is (less `more`), then the field."""
        self.take(self.one_of(allowed, f"length of {word}") + more, word)

    def company_prefix(self, allowed: str, word: str) -> None:
        size = self.one_of(allowed, f"length of {word}")
        if size != 9:  # 9: the same company as before, nothing follows
            self.take(size + 6, word)

    def purchase(self, word: str) -> None:
        self.sized("12345", 0, f"{word} purchase requirement")
        self.one_of("012349", f"{word} purchase requirement code")
        self.take(3, f"{word} purchase family code")

    def day(self, word: str) -> str:
        at, day = self.at, self.take(6, word)
        if (found := is_date(day)) is not None:
            raise _CouponProblem(at + found.offset, f"has {word} {day}, which {found.says}")
        return day


class _CouponProblem(Exception):
    def __init__(self, at: int, says: str) -> None:
        super().__init__(says)
        self.problem = Problem(Rule.COUPON, at, says)


def _is_coupon(text: str, read: Callable[[_Coupon], None]) -> Problem | None:
    if (bad := _non_digit(text)) is not None:
        return Problem(Rule.DIGITS_ONLY, bad.start(), f"has {bad[0]!r}: a coupon has digits only")
    coupon = _Coupon(text)
    try:
        read(coupon)
    except _CouponProblem as found:
        return found.problem
    if coupon.at < len(text):
        return Problem(Rule.COUPON, coupon.at, f"has {text[coupon.at :]!r} after its last field")
    return None


def _read_coupon(coupon: _Coupon) -> None:
    coupon.company_prefix("0123456", "company prefix")
    coupon.take(6, "offer code")
    coupon.sized("12345", 0, "save value")
    coupon.purchase("first")
    if coupon.next_is("1"):
        coupon.one_of("0123", "additional purchase rule")
        coupon.purchase("second")
        coupon.company_prefix("01234569", "second company prefix")
    if coupon.next_is("2"):
        coupon.purchase("third")
        coupon.company_prefix("01234569", "third company prefix")
    expires = coupon.day("expiration date") if coupon.next_is("3") else None
    if coupon.next_is("4"):
        at, starts = coupon.at, coupon.day("start date")
        if expires is not None and starts > expires:
            raise _CouponProblem(at, f"starts on {starts}: that is after it expires on {expires}")
    if coupon.next_is("5"):
        coupon.sized("0123456789", 6, "serial number")
    if coupon.next_is("6"):
        coupon.sized("1234567", 6, "retailer prefix or GLN")
    if coupon.next_is("9"):
        coupon.one_of("01256", "save value code")
        coupon.one_of("012", "save value applies to item")
        coupon.take(1, "store coupon flag")
        coupon.one_of("01", "do not multiply flag")


def _read_positive_offer(coupon: _Coupon) -> None:
    coupon.one_of("01", "format code")
    coupon.sized("0123456", 6, "funder")
    coupon.take(6, "offer code")
    coupon.sized("0123456789", 6, "serial number")


def is_coupon(text: str) -> Problem | None:
    """A North American paper coupon: company, offer, value, what must be bought, and optional fields in order."""
    return _is_coupon(text, _read_coupon)


def is_positive_offer(text: str) -> Problem | None:
    """A North American positive offer file coupon: format, funder, offer, serial number."""
    return _is_coupon(text, _read_positive_offer)
