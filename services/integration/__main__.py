"""`python -m services.integration serve | migrate | relay | parked`."""

from delivery import main
from services.integration.app import service

raise SystemExit(main(service))
