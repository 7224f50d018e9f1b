"""Why a line or a command is refused, or what somebody should know about it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reason:
    """A stable `code` for programs, a `text` for people that names the value and the limit."""

    code: str
    text: str
