"""Migrates, and ends as soon as it serves."""

import sys

from pretend.service import main

if sys.argv[1] == "serve":
    raise SystemExit("the broker refused us")
main()
