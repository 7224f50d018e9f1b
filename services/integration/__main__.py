"""`python -m services.integration serve | migrate | relay | parked`."""

from delivery import main
from services.integration.app import service

if __name__ == "__main__":
    raise SystemExit(main(service))
