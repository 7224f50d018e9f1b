"""A measured figure, as `bench/out/latest.json` keeps it."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NotRequired, TypedDict

from bench.clients import Result
from bench.peers import PEERS

OUT = Path(__file__).parent / "out" / "latest.json"

_TIMES = frozenset({"ms", "s"})


class Figure(TypedDict):
    """One line of the table. `bound` is what the same machine did without our rules in the same run (or the limit).

    `holds` is None where there is no goal. `efficiency` is ours / bound; `ratio` says how many times better than the
    best of `peers` ours is, whether more is better (rates) or less (times).
    """

    id: str
    what: str
    value: float
    unit: str
    bound: float | None
    goal: str
    holds: bool | None
    efficiency: NotRequired[float]
    peers: NotRequired[dict[str, float]]
    ratio: NotRequired[float]


def figure(
    id: str,  # noqa: A002 - what it is called in the table
    what: str,
    value: float,
    unit: str,
    *,
    bound: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    places: int = 1,
) -> Figure:
    """A figure judged by its goal and compared with its bound and with what is known of the peers."""
    goal, holds = "", None
    if at_least is not None:
        goal, holds = f">= {at_least:,}", value >= at_least
    elif at_most is not None:
        goal, holds = f"< {at_most:,}" if at_most else "= 0", value < at_most or value == at_most == 0
    made = Figure(
        id=id,
        what=what,
        value=round(value, places),
        unit=unit,
        bound=None if bound is None else round(bound, places),
        goal=goal,
        holds=holds,
    )
    if bound:
        made["efficiency"] = round(value / bound, 3)
    if peers := PEERS.get(id):
        made["peers"] = peers
        if value:
            times = unit in _TIMES
            made["ratio"] = round(min(peers.values()) / value if times else value / max(peers.values()), 1)
    return made


def percentiles(*results: Result) -> tuple[float, float]:
    """The median and the 99th percentile of the calls' milliseconds, from when each was due to its answer."""
    return spread((a - d) * 1000 for result in results for d, a in zip(result.due, result.answered, strict=True))


def spread(values: Iterable[float]) -> tuple[float, float]:
    """The median and the 99th percentile."""
    ordered = sorted(values)
    return ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]


def keep(figures: Sequence[Figure]) -> None:
    """Write the figures of this run."""
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(figures, indent=2) + "\n")
