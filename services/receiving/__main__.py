"""`python -m services.receiving serve | migrate | relay | parked`."""

from delivery import main
from services.receiving.app import service

raise SystemExit(main(service))
