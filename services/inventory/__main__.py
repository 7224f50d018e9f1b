"""`python -m services.inventory serve | migrate | relay | parked`."""

from delivery import main
from services.inventory.app import service

raise SystemExit(main(service))
