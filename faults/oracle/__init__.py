"""The oracle: pure comparisons of what was read from five databases, the topics and the callers' journal.

Each check is a function from `Seen` to sentences, one for each difference; none means that it holds.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from faults.oracle.books import BOOKS
from faults.oracle.events import EVENTS
from faults.oracle.gate import GATE
from faults.oracle.seen import Check, Seen
from faults.oracle.told import TOLD

CHECKS: tuple[Check, ...] = (*TOLD, *BOOKS, *EVENTS, *GATE)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A check, how much it compared, and every difference it found."""

    title: str
    compared: str
    differences: tuple[str, ...]


def judge(seen: Seen, checks: Iterable[Check] = CHECKS) -> list[Verdict]:
    """Every check's verdict, in order."""
    return [Verdict(check.title, check.counted(seen), tuple(check.compare(seen))) for check in checks]


__all__ = ["CHECKS", "Check", "Seen", "Verdict", "judge"]
