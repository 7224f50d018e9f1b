"""How a service says what it hears and does: decorators, the transaction they work in, and what they announce."""

import datetime as dt
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, TypeVar

from delivery.envelope import Envelope

if TYPE_CHECKING:
    from delivery.commands import Answer
    from delivery.database import Connection, NewRows, Write


class EventLike(Protocol):
    """What delivery needs of an event: its type, its key, its text."""

    event_type: ClassVar[str]

    @property
    def key(self) -> str:
        """The partition key."""

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Parse a body; raises `ValueError` that names the field."""

    def write(self) -> bytes:
        """The body."""


class TopicLike(Protocol):
    """What delivery needs of a topic."""

    @property
    def name(self) -> str:
        """The topic's name, without a prefix."""

    @property
    def events(self) -> Sequence[type[EventLike]]:
        """The events that are said there."""

    @property
    def compacted(self) -> bool:
        """Whether Kafka keeps only the last event of each key."""

    @property
    def foreign(self) -> bool:
        """Whether a system that is not ours speaks there, without our envelope."""


@dataclass(frozen=True, slots=True)
class Said:
    """An announcement and what caused it: the heard event or the command, as the handler got it."""

    event: EventLike
    because: object


Announcement = EventLike | Said
Announcements = Sequence[Announcement]


@dataclass(frozen=True, slots=True)
class ForeignMessage:
    """A record of a foreign topic, as it came. `position` is `topic/partition/offset`, unique for ever."""

    topic: str
    position: str
    key: str
    headers: Mapping[str, str]
    body: bytes


class Work:
    """The one transaction that a handler works in. Nobody but the delivery layer commits."""

    __slots__ = ("_at_end", "_causes", "_held", "db", "now")

    def __init__(self, db: "Connection", now: dt.datetime) -> None:
        self.db = db
        self.now = now
        self._causes: dict[int, Envelope] = {}
        self._held: set[str] = set()
        self._at_end: list[Write | NewRows] = []

    def cause(self, heard: object) -> Envelope:
        """Who is behind an event or command that a handler was given: actor, time, correlation."""
        return self._causes[id(heard)]

    def know(self, heard: object, envelope: Envelope) -> None:
        """Remember the envelope of what a handler is about to be given."""
        self._causes[id(heard)] = envelope

    def write_at_end(self, *parts: "Write | NewRows") -> None:
        """Have rows written when the handler is done, in one round trip with what it says.

        Each is of a table of its own, which the handler does not look at after this.
        """
        self._at_end += parts

    def take_at_end(self) -> "list[Write | NewRows]":
        """What is still to be written, from now on by the caller."""
        parts, self._at_end = self._at_end, []
        return parts

    async def lock(self, keys: Iterable[str]) -> None:
        """Wait until no other transaction of this service works on `keys`; held until the commit.

        Keys are taken in one order everywhere, so two chunks that share keys wait instead of blocking each other.
        A handler that learns of further keys calls this before it reads what belongs to them.
        """
        if wanted := self.take_note(keys):
            await self.db.execute(locked(1), wanted)

    def take_note(self, keys: Iterable[str]) -> list[str]:
        """Those of `keys` that are not held yet; from now on they count as held, so the caller locks them at once."""
        wanted = sorted({*keys} - self._held)
        self._held.update(wanted)
        return wanted


def locked(place: int) -> str:
    """SQL that waits for the keys in the text array `$place` and gives a row for each."""
    return locked_of(f"unnest(${place}::text[]) AS key")


def locked_of(keys: str) -> str:
    """SQL that waits for the keys in the column `key` of what `keys` names, and gives a row for each.

    Whoever finds keys in the statement that locks them tells `Work.take_note` of them.
    """
    return f"""
        SELECT pg_advisory_xact_lock(lock_id)
        FROM (SELECT DISTINCT hashtextextended(key, 0) AS lock_id
              FROM {keys}
              ORDER BY lock_id) AS in_one_order
    """


EventHandler = Callable[[Work, Sequence[Any]], Awaitable[Announcements]]
Remembrance = Callable[[Work, Sequence[Any]], Awaitable[Sequence[EventLike]]]
"""Takes up own events after a restore; returns those whose cause took its whole effect with them."""
CommandHandler = Callable[[Work, Sequence[Any]], Awaitable[Sequence["Answer"]]]

H = TypeVar("H", bound=Callable[..., Awaitable[Any]])


def hears(*events: type[EventLike]) -> Callable[[H], H]:
    """Mark a handler: it is given, in order per key, the events of a chunk that are of these types."""

    def mark(handler: H) -> H:
        handler.events = events  # type: ignore[attr-defined]
        return handler

    return mark


def hears_foreign(topic: TopicLike) -> Callable[[H], H]:
    """Mark a handler of a foreign topic: it is given `ForeignMessage`s and raises `NeverWorks` for one to be parked."""

    def mark(handler: H) -> H:
        handler.foreign_topic = topic  # type: ignore[attr-defined]
        handler.events = ()  # type: ignore[attr-defined]
        return handler

    return mark


def takes_up(*events: type[EventLike]) -> Callable[[H], H]:
    """Mark what makes rows again of the service's own events, when its database was restored from before them.

    It is given, in order per key, own events that the database does not know, and says nothing. It returns those whose
    cause took its whole effect with them: what caused them counts as heard, and is dropped when it comes again.
    """

    def mark(handler: H) -> H:
        handler.events = events  # type: ignore[attr-defined]
        return handler

    return mark


def does(*commands: type) -> Callable[[H], H]:
    """Mark a handler of commands: it is given those that wait, and returns one `Answer` for each, in their order."""

    def mark(handler: H) -> H:
        handler.commands = commands  # type: ignore[attr-defined]
        return handler

    return mark
