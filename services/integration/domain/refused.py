"""A business "no": a returned fact, not an exception."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refused:
    """`code` is stable and meant for programs; `detail` names the value and the limit; `field` says where it stood."""

    code: str
    detail: str
    field: str | None = None
