"""Batch numbers: what a label may carry as AI 10."""

from __future__ import annotations

import re
from typing import Final

from contracts.gs1.checks import SET_82

LONGEST_BATCH_NO: Final = 20
"""Characters."""

_is_batch_no = re.compile(f"[{re.escape(SET_82)}]{{1,{LONGEST_BATCH_NO}}}").fullmatch


def is_batch_no(text: str) -> bool:
    """Whether `text` can be a batch number: 1 to 20 characters of GS1 AI 10. Upper and lower case differ."""
    return _is_batch_no(text) is not None


def batch_no_problem(text: str) -> str | None:
    """Why `text` can be no batch number, with every character that is not allowed; None if it can be one.

    >>> batch_no_problem("LOT 7#")
    "batch number 'LOT 7#' has ' ' and '#': only the GS1 AI-10 characters are allowed, 20 at most"
    """
    if is_batch_no(text):
        return None
    if not text:
        return f"batch number '' is empty: 1 to {LONGEST_BATCH_NO} GS1 AI-10 characters are needed"
    wrong = [repr(character) for character in dict.fromkeys(text) if character not in SET_82]
    if len(text) > LONGEST_BATCH_NO:
        wrong.append(f"{len(text)} characters")
    named = wrong[0] if len(wrong) == 1 else f"{', '.join(wrong[:-1])} and {wrong[-1]}"
    return f"batch number {text!r} has {named}: only the GS1 AI-10 characters are allowed, {LONGEST_BATCH_NO} at most"
