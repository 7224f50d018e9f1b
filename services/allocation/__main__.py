"""`python -m services.allocation serve | migrate | relay | parked`."""

from delivery import main
from services.allocation.app import service

raise SystemExit(main(service))
