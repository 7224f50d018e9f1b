"""A measured figure, as `bench/out/latest.json` keeps it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

OUT = Path(__file__).parent / "out" / "latest.json"


class Figure(TypedDict):
    """One line of the table. `bound` is what the same machine did without our rules in the same run (or the limit)."""

    id: str
    what: str
    value: float
    unit: str
    bound: float | None
    goal: str
    holds: bool


def keep(figures: Sequence[Figure]) -> None:
    """Write the figures of this run."""
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(figures, indent=2) + "\n")
