"""What the callers remember: every write they asked for and what they were told, every message they sent."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Call:
    """One write over HTTP, sent again with the same key until it was told.

    `key` is the Idempotency-Key and the correlation id. `status` is None until the first answer that is not "not now";
    `answer` is its JSON. `tries` counts how often it was sent.
    """

    key: str
    service: str
    kind: str
    method: str
    path: str
    by: str
    body: Any
    status: int | None = None
    answer: Any = None
    content: bytes = b""
    tries: int = 0

    @property
    def done(self) -> bool:
        """Whether its caller was told that it was done."""
        return self.status is not None and self.status < 300

    @property
    def refused(self) -> bool:
        """Whether its caller was told that it was not done."""
        return self.status is not None and self.status >= 400


@dataclass(slots=True)
class Journal:
    """Everything that was asked and said from outside, in one run.

    `contradictions` are sentences about answers that no caller may get: another answer to the same call, a fault.
    `malformed` are the keys of messages that nobody can understand; `unheard` those of a type that nobody knows.
    """

    calls: list[Call] = field(default_factory=list)
    contradictions: list[str] = field(default_factory=list)
    reports: dict[str, dict[str, Any]] = field(default_factory=dict)
    demands: dict[str, dict[str, Any]] = field(default_factory=dict)
    malformed: set[str] = field(default_factory=set)
    unheard: set[str] = field(default_factory=set)
    done: Counter[str] = field(default_factory=Counter)

    def told(self, service: str, kind: str) -> list[Call]:
        """Calls of a kind whose callers were told that they were done."""
        return [call for call in self.calls if (call.service, call.kind) == (service, kind) and call.done]

    def untold(self) -> list[Call]:
        """Calls that were never answered."""
        return [call for call in self.calls if call.status is None]
