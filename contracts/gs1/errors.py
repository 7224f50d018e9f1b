"""What can be wrong with a scan.

ValueError
└── Gs1Error: the scan, or what was asked to be written, breaks a GS1 rule
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Rule(StrEnum):
    """The rule that was broken. The values are stable: they may be stored and counted."""

    NO_DATA = "no_data"
    TOO_MUCH_DATA = "too_much_data"
    SYMBOLOGY = "symbology"
    PLAIN_DATA = "plain_data"
    RETAIL_CODE = "retail_code"
    UNKNOWN_AI = "unknown_ai"
    BRACKETS = "brackets"

    EMPTY = "empty"
    WRONG_LENGTH = "wrong_length"
    TOO_LONG = "too_long"
    DIGITS_ONLY = "digits_only"
    CHARACTER_SET = "character_set"
    BASE64_PADDING = "base64_padding"

    CHECK_DIGIT = "check_digit"
    CHECK_PAIR = "check_pair"
    COMPANY_PREFIX = "company_prefix"
    MONTH = "month"
    DAY = "day"
    HOUR = "hour"
    MINUTE = "minute"
    SECOND = "second"
    COUNTRY = "country"
    CURRENCY = "currency"
    PIECE_OF_TOTAL = "piece_of_total"
    POSITION_IN_SEQUENCE = "position_in_sequence"
    MUST_BE_ZERO = "must_be_zero"
    MUST_NOT_BE_ZERO = "must_not_be_zero"
    LEADING_ZERO = "leading_zero"
    NEEDS_A_NON_DIGIT = "needs_a_non_digit"
    YES_OR_NO = "yes_or_no"
    WINDING = "winding"
    HYPHEN = "hyphen"
    LATITUDE = "latitude"
    LONGITUDE = "longitude"
    IMPORTER_INDEX = "importer_index"
    PACKAGE_TYPE = "package_type"
    MEDIA_TYPE = "media_type"
    BIOLOGICAL_SEX = "biological_sex"
    PERCENT_ENCODING = "percent_encoding"
    IBAN = "iban"
    COUPON = "coupon"

    MISSING_AI = "missing_ai"
    FORBIDDEN_PAIR = "forbidden_pair"
    DIFFERENT_REPEAT = "different_repeat"
    SERIAL_NEEDED = "serial_needed"

    LINK_SYNTAX = "link_syntax"
    LINK_WITHOUT_KEY = "link_without_key"
    LINK_ORDER = "link_order"
    LINK_REPEAT = "link_repeat"
    LINK_NOT_AN_ATTRIBUTE = "link_not_an_attribute"
    LINK_BELONGS_IN_PATH = "link_belongs_in_path"


@dataclass(frozen=True, slots=True)
class Problem:
    """Why one value is refused. `offset` is the 0-based character of the value, `says` the end of a sentence."""

    rule: Rule
    offset: int
    says: str


class Gs1Error(ValueError):
    """A scan, or something to be written, breaks a GS1 rule.

    `rule` is what was broken; `ai` the application identifier it is about, or None where it is about the whole;
    `position` the 0-based character of the scan where it shows. The message names the value and the limit.
    """

    def __init__(self, rule: Rule, message: str, *, ai: str | None = None, position: int = 0) -> None:
        super().__init__(message)
        self.rule = rule
        self.ai = ai
        self.position = position

    def __reduce__(self) -> tuple[object, ...]:
        # ValueError rebuilds itself from its message alone; an error that crosses a process must keep its rule.
        return _rebuild, (self.rule, str(self), self.ai, self.position)


def _rebuild(rule: Rule, message: str, ai: str | None, position: int) -> Gs1Error:
    return Gs1Error(rule, message, ai=ai, position=position)
