"""`make bench`: every figure, as a table and as `bench/out/latest.json`."""

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import gs1_parses, w5
from bench.figures import OUT, Figure, keep
from deploy.local.faults import LocalFault


async def run() -> list[Figure]:
    """Measure one thing after the other, on servers of this run's own."""
    folder = Path(tempfile.mkdtemp(prefix="batchwise-bench-"))
    try:
        return [gs1_parses.measure(), *await w5.measure(folder)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def show(figures: list[Figure]) -> None:
    """The table."""
    table = Table(title="Measured on this machine, now")
    for name in ("id", "what", "value", "bound", "goal", ""):
        table.add_column(name, justify="right" if name in {"value", "bound"} else "left")
    for figure in figures:
        bound = "" if figure["bound"] is None else f"{figure['bound']:,}"
        table.add_row(
            figure["id"],
            figure["what"],
            f"{figure['value']:,} {figure['unit']}",
            bound,
            figure["goal"],
            "holds" if figure["holds"] else "falls short",
        )
    Console(width=120).print(table)


def main() -> int:
    """Exit 0 when everything was measured, whether or not each goal holds."""
    try:
        figures = asyncio.run(run())
    except LocalFault as missing:
        print(missing, file=sys.stderr)
        return 1
    keep(figures)
    show(figures)
    print(f"kept in {OUT.relative_to(Path.cwd()) if OUT.is_relative_to(Path.cwd()) else OUT}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
