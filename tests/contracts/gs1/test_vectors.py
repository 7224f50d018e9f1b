"""Our verdicts are those of the official GS1 engine."""

from __future__ import annotations

import json
import re

from contracts.gs1 import Gs1Error, Gs1Message, Rule, verdict
from tests.contracts.gs1.official import official

REASONS = {
    "data is empty": Rule.EMPTY,
    "data is too long": Rule.TOO_LONG,
    "value is too long": Rule.TOO_LONG,
    "data has incorrect length": Rule.WRONG_LENGTH,
    "No known AI is a prefix of": Rule.UNKNOWN_AI,
    "illegal day": Rule.DAY,
    "illegal month": Rule.MONTH,
    "illegal hour": Rule.HOUR,
    "numeric check digit is incorrect": Rule.CHECK_DIGIT,
    "non-digit character": Rule.DIGITS_ONLY,
    "non-CSET 82 character": Rule.CHARACTER_SET,
    "piece number must not exceed": Rule.PIECE_OF_TOTAL,
    "are not satisfied": Rule.MISSING_AI,
    "Unsupported symbology": Rule.SYMBOLOGY,
    "not a valid key-qualifier sequence": Rule.LINK_ORDER,
    "No GS1 DL keys": Rule.LINK_WITHOUT_KEY,
    "is duplicated": Rule.LINK_REPEAT,
}


def in_engine_words(answer: Gs1Message | Gs1Error, expected: str) -> str:
    """Our answer as the engine would say it, so that a difference is readable."""
    if isinstance(answer, Gs1Message):
        if expected.startswith("OK '"):  # a retail code: the engine repeats its digits, we read them as a GTIN
            digits = expected[4:-1]
            return f"OK '{digits}'" if answer.gtin == digits.zfill(14) else f"OK {answer}"
        return f"OK {answer}"
    said = [words for words, rule in REASONS.items() if rule is answer.rule and words in expected]
    ai = re.search(r"AI \((\d+)\)", expected)
    # The engine names no AI where none is known; we name none there either.
    return expected if said and (ai and ai[1]) == answer.ai else f"ERR {answer.rule} {answer}"


def test_every_official_vector_gets_the_official_verdict_and_parse() -> None:
    vectors = json.loads(official("gs1-vectors.json"))
    assert len(vectors) >= 90
    answers = {vector["name"]: in_engine_words(verdict(vector["raw"]), vector["expected"]) for vector in vectors}
    assert answers == {vector["name"]: vector["expected"] for vector in vectors}
