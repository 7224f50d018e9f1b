"""python -m services.trace serve | migrate | relay | parked"""

from delivery import main
from services.trace.app import service

if __name__ == "__main__":
    raise SystemExit(main(service))
