"""`python -m faults`: a run of some minutes, printed; exits 1 when anything differs."""

import argparse
import asyncio
import logging
import random
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from deploy.local.servers import Servers
from faults.plan import Toll
from faults.report import report
from faults.run import Ask, play

FULL_MINUTES = 10.0
"""The length that `Toll` is meant for; a shorter run has fewer faults in proportion."""


def main(arguments: list[str] | None = None) -> int:
    """Parse, run, print; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="repeats a run (default: any)")
    parser.add_argument("--minutes", type=float, default=FULL_MINUTES, help="how long faults strike (10)")
    parser.add_argument("--service-kills", type=int, help="in the whole run (20 a minute)")
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        choices=list(Toll.__dataclass_fields__),
        metavar="FAULT",
        help="nothing else goes wrong: " + ", ".join(Toll.__dataclass_fields__),
    )
    parser.add_argument("--hands", type=int, default=6, help="who receive and put away at once (6)")
    parser.add_argument("--clerks", type=int, default=6, help="who raise demands, pick and ship at once (6)")
    parser.add_argument("--planted", default="", help="service=bug, to see it found (see faults/planted.py)")
    asked = parser.parse_args(arguments)
    toll = Toll().scaled(asked.minutes / FULL_MINUTES)
    if asked.service_kills is not None:
        toll = replace(toll, kills=asked.service_kills)
    if asked.only:
        toll = toll.only(asked.only)
    ask = Ask(asked.seed, asked.minutes * 60, toll, asked.hands, asked.clerks, asked.planted)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it tells every outage, and outages are what we make
    folder = Path(tempfile.mkdtemp(prefix="batchwise-faults-"))
    print(f"seed {ask.seed}, {asked.minutes:g} minutes; logs: {folder}", flush=True)
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", flush=True)

    async def run() -> int:
        async with Servers(folder / "servers", own=True, say=say) as servers:
            outcome = await play(ask, servers, folder, say=say)
        print(report(outcome))
        if outcome.differences:
            return 1
        shutil.rmtree(folder, ignore_errors=True)
        return 0

    return asyncio.run(run())


if __name__ == "__main__":
    sys.exit(main())
