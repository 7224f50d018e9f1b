"""Which elements need each other, and which may not meet."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from contracts.gs1.application_identifiers import APPLICATION_IDENTIFIERS
from contracts.gs1.errors import Gs1Error, Rule
from contracts.gs1.message import Element

_SERIALISED_FOR_SIGNATURE = {"253": 13, "255": 13, "8003": 14}
"""Keys that identify one thing only with their optional serial, and their length without it."""


def check(elements: Sequence[Element], *, needs: bool = True) -> None:
    """Raise Gs1Error for the first pair that may not meet, AI that is missing, or repeat that differs.

    GS1 means these rules for everything that marks one physical item. `needs=False` leaves out what may still be on
    another label of it.
    """
    ais = tuple([element.ai for element in elements])
    if (found := _between(ais, needs)) is not None:
        rule, ai, message = found
        raise Gs1Error(rule, message, ai=ai, position=_position(elements, ai))
    if len(set(ais)) < len(ais):
        _check_repeats(elements)
    if "8030" in ais:
        _check_signed(elements)


def _position(elements: Sequence[Element], ai: str) -> int:
    return next(element.position for element in elements if element.ai == ai)


@lru_cache(maxsize=4096)
def _between(ais: tuple[str, ...], needs: bool) -> tuple[Rule, str, str] | None:
    """What is wrong between these AIs. Labels come in few kinds, so nearly every scan finds its answer here already."""
    for code in sorted(set(ais)):
        for pattern in APPLICATION_IDENTIFIERS[code].excludes:
            for other in ais:
                if other != code and _matches(other, pattern):
                    return (
                        Rule.FORBIDDEN_PAIR,
                        code,
                        f"AI ({code}) is together with AI ({other}): GS1 forbids that pair",
                    )
    if not needs:
        return None
    for code in sorted(set(ais)):
        groups = APPLICATION_IDENTIFIERS[code].needs
        if groups and not any(all(any(_matches(ai, one) for ai in ais) for one in group) for group in groups):
            due = " or ".join("+".join(group) for group in groups)
            return Rule.MISSING_AI, code, f"AI ({code}) lacks what it needs: {due} must be beside it"
    return None


def _matches(ai: str, pattern: str) -> bool:
    fixed = pattern.rstrip("n")
    return ai.startswith(fixed) and len(ai) == len(pattern)


def _check_repeats(elements: Sequence[Element]) -> None:
    first: dict[str, str] = {}
    for element in sorted(elements, key=lambda element: element.ai):
        said = first.setdefault(element.ai, element.value)
        if said != element.value:
            message = f"AI ({element.ai}) says {said!r} and {element.value!r}: a repeat must say the same"
            raise Gs1Error(Rule.DIFFERENT_REPEAT, message, ai=element.ai, position=element.position)


def _check_signed(elements: Sequence[Element]) -> None:
    for element in sorted(elements, key=lambda element: element.ai):
        if len(element.value) == _SERIALISED_FOR_SIGNATURE.get(element.ai):
            message = f"AI ({element.ai}) has {element.value!r} without its serial: a signature (8030) needs it"
            raise Gs1Error(Rule.SERIAL_NEEDED, message, ai=element.ai, position=element.position)
