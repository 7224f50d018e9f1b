"""`make bench`: every figure, as a table and as `bench/out/latest.json`. `python -m bench W5 R2`: some alone."""

import argparse
import gc
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from bench import goods, growth, gs1_parses, promising, tracing, whole
from bench.figures import OUT, Figure, keep
from bench.peers import DOUBLE_BOOKED, MEASURED_ON
from bench.run import Run
from bench.wear import check_point, wear_in
from deploy.local.faults import LocalFault
from deploy.local.servers import Servers

Measure = Callable[[Run], Awaitable[list[Figure]]]

GROUPS: Sequence[tuple[Sequence[str], Measure]] = [
    (gs1_parses.WORKS, gs1_parses.measured),
    (promising.WORKS, promising.measure),
    (goods.WORKS, goods.measure),
    (tracing.WORKS, tracing.measure),
    (whole.WORKS, whole.measure),
    (growth.WORKS, growth.measure),
]
"""Works that share a stage, in the order they are measured."""

KNOWN = [work for works, _ in GROUPS for work in works]


async def measured(works: Sequence[str]) -> list[Figure]:
    """Measure one thing after the other, on a broker and a database of this run's own."""
    folder = Path(tempfile.mkdtemp(prefix="batchwise-bench-"))
    figures: list[Figure] = []
    try:
        async with Servers(folder / "servers", own=True) as servers:
            await wear_in(servers.postgres)
            run = Run(servers, folder, frozenset(works))
            for names, measure in GROUPS:
                if run.wants(*names):
                    await check_point(servers.postgres)
                    began = time.monotonic()
                    figures += await measure(run)
                    run.say(f"  ({', '.join(names)}: {time.monotonic() - began:.0f} s)")
    except BaseException:
        print(f"logs are kept: {folder}", file=sys.stderr)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    return figures


def show(figures: Sequence[Figure]) -> None:
    """The table."""
    table = Table(title="Measured on this machine, now: durable commits, all rules on", caption=_caption())
    for name in ("id", "what", "measured", "bound", "eff.", "goal", "", "peers", "ratio"):
        right = name in {"measured", "bound", "eff.", "ratio"}
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    for each in figures:
        table.add_row(
            each["id"],
            each["what"],
            f"{each['value']:,} {each['unit']}",
            "" if each["bound"] is None else f"{each['bound']:,}",
            f"{each['efficiency']:.0%}" if "efficiency" in each else "",
            each["goal"],
            {True: "holds", False: "falls short", None: ""}[each["holds"]],
            " · ".join(f"{name.split()[0]} {value:,}" for name, value in each.get("peers", {}).items()),
            f"{each['ratio']:,}x" if "ratio" in each else "",
        )
    Console(width=180).print(table)


def _caption() -> str:
    doubled = ", ".join(f"{name} {of}" for name, of in DOUBLE_BOOKED.items())
    return (
        f"Peers as measured on {MEASURED_ON} on two virtual cores; ratio: how many times better than the best of them. "
        f"Double-booked under R2 there: {doubled}."
    )


def main() -> int:
    """Exit 0 when everything was measured, whether or not each goal holds."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("works", nargs="*", metavar="WORK", help=f"of {' '.join(KNOWN)}; none: all")
    asked = parser.parse_args()
    if unknown := sorted(set(asked.works) - set(KNOWN)):
        parser.error(f"{', '.join(unknown)}: there are {', '.join(KNOWN)}")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # new topics are unknown for a moment, which is no news
    # Who sends and listens keeps every message: a collector that walks through all of them takes the services' core.
    gc.set_threshold(1_000_000, 50, 1_000)
    try:
        figures = uvloop.run(measured(asked.works))
    except LocalFault as missing:
        print(missing, file=sys.stderr)
        return 1
    if not asked.works:  # what was measured in part does not replace the whole
        keep(figures)
    show(figures)
    short = [each["id"] for each in figures if each["holds"] is False]
    print(f"falls short: {', '.join(short)}" if short else "every goal holds")
    if not asked.works:
        print(f"kept in {OUT.relative_to(Path.cwd()) if OUT.is_relative_to(Path.cwd()) else OUT}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
