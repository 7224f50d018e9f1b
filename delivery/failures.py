"""Failures come in three kinds, each with one place to go (the tree is drawn in `delivery`)."""

import asyncpg
from aiokafka.errors import KafkaConnectionError, KafkaError


class DeliveryError(Exception):
    """A failure that the delivery layer knows what to do with."""


class SlowDown(DeliveryError):
    """The database or the brokers are away or busy: try the same again later, for ever."""


class NeverWorks(DeliveryError):
    """This message can never take effect, however often it is tried. The text says why, for the operator."""


class Stopped(DeliveryError):
    """Too many messages were parked in a row: something is misconfigured, and going on would skip everything."""


_TRANSIENT_SQLSTATES = frozenset(
    {
        "40001",  # serialization_failure
        "40P01",  # deadlock_detected
        "55P03",  # lock_not_available
        "57014",  # query_canceled: the statement time-out
        "25P03",  # idle_in_transaction_session_timeout
        "25006",  # read_only_sql_transaction: a fail-over is under way
        "53100",  # disk_full
        "53200",  # out_of_memory
        "53300",  # too_many_connections
        "58030",  # io_error
    }
)
_TRANSIENT_CLASSES = ("08", "57P")  # connection failures; the server shuts down or starts up


_NO_VALUE = frozenset(
    {
        "22000",  # the driver cannot write it in the column's type
        "22001",  # string_data_right_truncation
        "22003",  # numeric_value_out_of_range
        "22008",  # datetime_field_overflow
        "22021",  # character_not_in_repertoire
        "22P05",  # untranslatable_character
    }
)


def is_no_value(error: BaseException) -> bool:
    """Whether `error` says that a value of the message in work is none that the database can hold, ever."""
    return isinstance(error, asyncpg.PostgresError) and (error.sqlstate or "") in _NO_VALUE


def is_slow_down(error: BaseException) -> bool:
    """Whether `error` speaks of the infrastructure, not of the message in work."""
    if isinstance(error, asyncpg.InvalidCachedStatementError | asyncpg.OutdatedSchemaCacheError):
        return True  # a migration changed a table meanwhile; the driver prepares anew when it is asked again
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return state in _TRANSIENT_SQLSTATES or state.startswith(_TRANSIENT_CLASSES)
    if isinstance(error, asyncpg.InterfaceError):
        return "closed" in str(error) or "connection" in str(error)
    if isinstance(error, asyncpg.InternalClientError):
        # The server's goodbye was read and the end of the connection not yet: its driver takes no more questions.
        return str(error).startswith("cannot switch to state")
    if isinstance(error, KafkaError):
        return bool(error.retriable) or isinstance(error, KafkaConnectionError)
    return isinstance(error, SlowDown | OSError | TimeoutError)
