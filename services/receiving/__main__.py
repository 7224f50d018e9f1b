"""`python -m services.receiving serve | migrate | relay | parked`."""

import sys

from delivery import main
from delivery.settings import SettingsRefused
from services.receiving.app import service
from services.receiving.settings import receiving_settings


def start() -> int:
    """Refuse settings that cannot work before anything starts, then run the command."""
    try:
        receiving_settings()
    except SettingsRefused as refused:
        print(f"receiving: the settings are not complete\n{refused}", file=sys.stderr)
        return 2
    return main(service)


if __name__ == "__main__":
    raise SystemExit(start())
