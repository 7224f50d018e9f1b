"""`python -m services.integration serve | migrate | relay | parked`."""

import sys

from pydantic import ValidationError

from delivery import main
from services.integration.app import service
from services.integration.settings import company_currency


def start() -> int:
    """Refuse settings that cannot work before anything starts, then run the command."""
    try:
        company_currency()
    except ValidationError as refused:
        for error in refused.errors():
            name = "_".join(str(part) for part in error["loc"]).upper()
            print(f"integration: {name} is {error['input']!r}: {error['msg']}", file=sys.stderr)
        return 2
    return main(service)


if __name__ == "__main__":
    raise SystemExit(start())
