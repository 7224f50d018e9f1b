"""Delivery: each event takes effect once.

A consumer group reads a *chunk*; in one database transaction events already handled are dropped, handlers are called
in order, state is written and what they announce is put in the outbox; then the offsets are acknowledged. A *relay*
moves outbox rows to Kafka in order. HTTP commands take the same way. This package knows no word of any business.

    Service ── what a service is made of: handlers, commands, HTTP, watches
      hears / hears_foreign / does ── mark a handler of events, of foreign messages, of commands
      Work ── the transaction a handler works in: `db`, `now`, `lock`, `cause`
      Said ── an announcement with the event that caused it
      Answer / Refusal ── what a command's caller gets

Failures (`delivery.failures`):

    DeliveryError
     ├── SlowDown     the database or the brokers are away: back off, keep the chunk, for ever
     ├── NeverWorks   this message can never take effect: park it, and later ones of its key behind it
     └── Stopped      too many parked in a row: the consumer waits for a person
    anything else     a bug: the chunk is retried item by item, the culprit is parked
"""

from delivery.app import Service, Survey, Watch, build
from delivery.commands import Answer, Desk, Refusal, desk
from delivery.database import Connection, NewRows, Pool, Write, columns, snapshot, unseen, write_together
from delivery.envelope import Envelope, new_id
from delivery.failures import DeliveryError, NeverWorks, SlowDown, Stopped
from delivery.handling import (
    Announcement,
    Announcements,
    ForeignMessage,
    Said,
    Work,
    does,
    hears,
    hears_foreign,
    takes_up,
)
from delivery.main import main
from delivery.problems import Problem, problem_responses
from delivery.reading import Page, reading
from delivery.rebuilding import Derived, Refold, Refolded, Rehear
from delivery.security import Person, requires
from delivery.settings import Settings
from delivery.turns import in_turns

__all__ = [
    "Announcement",
    "Announcements",
    "Answer",
    "Connection",
    "DeliveryError",
    "Derived",
    "Desk",
    "Envelope",
    "ForeignMessage",
    "NeverWorks",
    "NewRows",
    "Page",
    "Person",
    "Pool",
    "Problem",
    "Refold",
    "Refolded",
    "Refusal",
    "Rehear",
    "Said",
    "Service",
    "Settings",
    "SlowDown",
    "Stopped",
    "Survey",
    "Watch",
    "Work",
    "Write",
    "build",
    "columns",
    "desk",
    "does",
    "hears",
    "hears_foreign",
    "in_turns",
    "main",
    "new_id",
    "problem_responses",
    "reading",
    "requires",
    "snapshot",
    "takes_up",
    "unseen",
    "write_together",
]
