"""An inspector's decision about pending goods, and the hash that binds the signature to it."""

import datetime as dt
import hashlib
import json
from dataclasses import asdict, dataclass
from decimal import Decimal
from uuid import UUID

from services.receiving.domain.items import plain
from services.receiving.domain.reasons import Reason


@dataclass(frozen=True, slots=True)
class Record:
    """What is signed: the decision, who made it, when, and what the signature means. Quantities in `unit`."""

    inspection_id: UUID
    batch_id: UUID
    item_id: str
    site_id: str
    released: Decimal
    rejected: Decimal
    unit: str
    reason: str | None
    certificate: str | None
    signer: str
    signer_name: str
    meaning: str
    signed_at: dt.datetime


def canonical(record: Record) -> bytes:
    """The one way to write a record: JSON in UTF-8, keys sorted, no spaces, plain decimals, times in UTC.

    Nothing that reads the same gives another text, and nothing that reads otherwise gives the same.
    """

    def written(value: object) -> object:
        match value:
            case Decimal():
                return f"{plain(value):f}"
            case dt.datetime():
                return value.astimezone(dt.UTC).isoformat(timespec="microseconds")
            case UUID():
                return str(value)
            case _:
                return value

    fields = {name: written(value) for name, value in asdict(record).items()}
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def record_hash(record: Record) -> str:
    """SHA-256 of the canonical record, in hex."""
    return hashlib.sha256(canonical(record)).hexdigest()


def signature_holds(record: Record, signed_hash: str) -> bool:
    """Whether the record is still what was signed."""
    return record_hash(record) == signed_hash


def inspection_problem(
    released: Decimal, rejected: Decimal, reason: str | None, *, pending: Decimal, unit: str, where: str
) -> Reason | None:
    """Why a decision cannot be taken, if it cannot; `pending` is what was received and not yet decided."""
    if released < 0 or rejected < 0 or released + rejected == 0:
        return Reason("nothing_decided", f"released {released:f} and rejected {rejected:f}: one must be more than 0")
    if rejected > 0 and reason is None:
        return Reason("reason_missing", f"{rejected:f} {unit} are rejected: a reason is needed")
    if released + rejected > pending:
        return Reason(
            "more_than_pending",
            f"{released:f} + {rejected:f} = {plain(released + rejected):f} {unit} are decided, "
            f"{plain(pending):f} {unit} are pending {where}",
        )
    return None
