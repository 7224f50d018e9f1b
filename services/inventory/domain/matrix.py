"""What status allows what: one matrix, status by operation, as data.

Stock may have several statuses at once (released, and held); an operation is allowed when every one of them allows it.
"""

from collections.abc import Collection, Iterable
from enum import StrEnum

from contracts.values import HoldKind, Purpose, Quality


class Status(StrEnum):
    """A word for what may be done with stock. The first three are what inspection decided."""

    PENDING = "pending"
    RELEASED = "released"
    REJECTED = "rejected"
    HELD = "held"
    COUNTING = "counting"
    EXPIRED = "expired"


class Operation(StrEnum):
    """What somebody wants to do with stock."""

    RESERVE = "reserve"
    PICK = "pick"
    SHIP = "ship"
    CONSUME = "consume"
    MOVE = "move"


class Allowed(StrEnum):
    """The answer of a cell. `isolate`: only into a zone of purpose quarantine or rejected."""

    YES = "yes"
    ISOLATE = "isolate"
    NO = "no"


ISOLATION = frozenset({Purpose.QUARANTINE, Purpose.REJECTED})
"""Zones that stock under a hold may be moved to."""

_Y, _I, _N = Allowed.YES, Allowed.ISOLATE, Allowed.NO

MATRIX: dict[Status, dict[Operation, Allowed]] = {
    status: dict(zip(Operation, row, strict=True))
    for status, row in {
        #                 reserve pick ship consume move
        Status.PENDING:  (_N,     _N,  _N,  _N,     _Y),
        Status.RELEASED: (_Y,     _Y,  _Y,  _Y,     _Y),
        Status.REJECTED: (_N,     _N,  _N,  _N,     _Y),
        Status.HELD:     (_N,     _N,  _N,  _N,     _I),
        Status.COUNTING: (_N,     _N,  _N,  _N,     _N),
        Status.EXPIRED:  (_N,     _N,  _N,  _N,     _I),
    }.items()
}  # fmt: skip
"""Picking and consuming are physical facts and are booked even so; the matrix says what may be *asked* for."""

HOMES: dict[Quality, frozenset[Purpose]] = {
    Quality.PENDING: frozenset({Purpose.RECEIVING, Purpose.STORAGE, Purpose.QUARANTINE}),
    Quality.RELEASED: frozenset({Purpose.RECEIVING, Purpose.STORAGE, Purpose.QUARANTINE, Purpose.STAGING}),
    Quality.REJECTED: frozenset({Purpose.REJECTED, Purpose.QUARANTINE}),
}
"""Where stock of a quality may be put by a person."""

USABLE_AT = frozenset({Purpose.RECEIVING, Purpose.STORAGE})
"""Where released stock can be promised from."""


def statuses(quality: Quality, holds: Iterable[HoldKind], *, expired: bool) -> frozenset[Status]:
    """The words for stock of a quality, under these open holds, expired at its site or not."""
    words = {Status(quality)} if quality is not Quality.UNKNOWN else {Status.PENDING}
    for kind in holds:
        match kind:
            case HoldKind.COUNT:
                words.add(Status.COUNTING)
            case HoldKind.EXPIRY:
                words.add(Status.EXPIRED)
            case _:
                words.add(Status.HELD)
    if expired:
        words.add(Status.EXPIRED)
    return frozenset(words)


def allows(words: Collection[Status], operation: Operation) -> Allowed:
    """The strictest answer of all statuses."""
    answers = {MATRIX[word][operation] for word in words}
    for answer in (Allowed.NO, Allowed.ISOLATE):
        if answer in answers:
            return answer
    return Allowed.YES


def forbids(words: Iterable[Status], operation: Operation) -> list[Status]:
    """The statuses that do not simply say yes, in the order of the matrix: what a refusal names."""
    found = set(words)
    return [word for word in Status if word in found and MATRIX[word][operation] is not Allowed.YES]
