"""How many scans one process parses in a second, with every check on.

`python -m bench.gs1_parses` prints it.
"""

from __future__ import annotations

import time

from bench.figures import Figure
from bench.run import Run
from contracts.gs1 import parse

WORKS = ("GS1",)
BOUND = 30_000
ROUNDS = 7
SECONDS_A_ROUND = 0.15

SCANS = (
    # a case of food, of medicine, of spare parts; catch weight; a retail item; pallets; a location; a link
    "]d20104012345000016172803311025-117A",
    "]d20104012345000016" + "1725120010BATCH-20251101-001\x1d21000000000042",
    "]d2010401234500001611251119172611191020251119-001-A\x1d240AX-77/2\x1d400PO4711",
    "]C10104012345000016310300125015260430" + "10L77",
    "]E04012345000009",
    "]C100340123450000000017",
    "]C100340123450000000017" + "02040123450000163724\x1d1527063010LOT-7",
    "]C14144012345000009254A-01-02",
    "0104012345000016" + "70032703311430\x1d10L\x1d422156",
    "https://id.gs1.org/01/04012345000016/10/LOT-7?17=280331",
)


def measure() -> Figure:
    """Parses per second of one process: the best of a few rounds, so that another process does not count as ours."""
    best = max(_parses_per_second() for _ in range(ROUNDS))
    return {
        "id": "GS1",
        "what": f"scans parsed and checked by one process ({len(SCANS)} kinds of label, best of {ROUNDS} rounds)",
        "value": round(best),
        "unit": "parses/s",
        "bound": BOUND,
        "goal": f">= {BOUND:,}",
        "holds": best >= BOUND,
    }


def _parses_per_second() -> float:
    parsed, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < SECONDS_A_ROUND:
        for scan in SCANS:
            parse(scan)
        parsed += len(SCANS)
    return parsed / passed


async def measured(run: Run) -> list[Figure]:
    """The same as a work of a run."""
    return [measure()]


if __name__ == "__main__":
    print(measure())
