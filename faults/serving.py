"""A service's own `main`, on another clock and with a planted bug: `python -m faults.serving PACKAGE VERB`.

Nothing of the services or of the delivery layer knows of this. `FAULTS_CLOCK_AHEAD` is how many seconds the service's
clock is ahead of the machine's, so that a site's midnight falls into a run. `FAULTS_PLANTED` is `service=bug,…`, see
`faults.planted`.
"""

import datetime as dt
import os
import sys
from functools import partial
from importlib import import_module

from delivery.app import build
from faults.planted import plant


def serve_as_told(package: str, arguments: list[str]) -> int:
    """Run the service in `package` with what the environment asks for; its exit status."""
    ahead = dt.timedelta(seconds=float(os.environ.get("FAULTS_CLOCK_AHEAD", "0")))
    command_line = import_module("delivery.main")  # the package exports a function of this name
    command_line.build = partial(build, clock=lambda: dt.datetime.now(dt.UTC) + ahead)  # type: ignore[attr-defined]
    service = import_module(f"{package}.app").service
    for planted in filter(None, os.environ.get("FAULTS_PLANTED", "").split(",")):
        where, _, bug = planted.partition("=")
        if where == service.name:
            plant(bug)
    status: int = command_line.main(service, arguments)
    return status


if __name__ == "__main__":
    raise SystemExit(serve_as_told(sys.argv[1], sys.argv[2:]))
