"""A signature is bound to its record: nothing in it can change unseen."""

import datetime as dt
import json
import uuid
from dataclasses import fields, replace
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.receiving.domain.inspection import (
    Record,
    canonical,
    inspection_problem,
    record_hash,
    signature_holds,
)

QUANTITIES = st.decimals(min_value=0, max_value=10**9, places=6)
TEXTS = st.text(min_size=1, max_size=30)
RECORDS = st.builds(
    Record,
    inspection_id=st.uuids(),
    batch_id=st.uuids(),
    item_id=TEXTS,
    site_id=TEXTS,
    released=QUANTITIES,
    rejected=QUANTITIES,
    unit=st.sampled_from(["KGM", "C62"]),
    reason=st.none() | TEXTS,
    certificate=st.none() | TEXTS,
    signer=TEXTS,
    signer_name=TEXTS,
    meaning=TEXTS,
    signed_at=st.datetimes(timezones=st.just(dt.UTC)),
)


@given(RECORDS)
def test_a_signature_holds_however_the_database_writes_its_numbers_and_times(record: Record) -> None:
    shanghai = dt.timezone(dt.timedelta(hours=8))
    if not dt.datetime(2, 1, 1, tzinfo=dt.UTC) < record.signed_at < dt.datetime(9998, 1, 1, tzinfo=dt.UTC):
        return
    same = replace(
        record,
        released=Decimal(f"{record.released:f}").quantize(Decimal("0.0000001")),
        signed_at=record.signed_at.astimezone(shanghai),
    )
    assert signature_holds(same, record_hash(record))


@given(RECORDS, RECORDS, st.sampled_from([field.name for field in fields(Record)]))
def test_a_record_with_any_field_changed_is_not_what_was_signed(record: Record, other: Record, name: str) -> None:
    changed = replace(record, **{name: getattr(other, name)})
    assert signature_holds(changed, record_hash(record)) == (getattr(record, name) == getattr(other, name))


def test_the_canonical_record_is_sorted_json_without_spaces() -> None:
    record = Record(
        uuid.UUID(int=1), uuid.UUID(int=2), "WMP-25", "HRB-1", Decimal("97.50"), Decimal(0), "KGM", None, None,
        "chen.mei", "陈梅", "approval", dt.datetime(2026, 3, 2, 9, tzinfo=dt.UTC),
    )  # fmt: skip
    written = canonical(record).decode()
    assert written.startswith('{"batch_id":"00000000-0000-0000-0000-000000000002","certificate":null,')
    read: dict[str, Any] = json.loads(written)
    assert list(read) == sorted(read)
    assert (read["released"], read["rejected"], read["signer_name"]) == ("97.5", "0", "陈梅")
    assert read["signed_at"] == "2026-03-02T09:00:00.000000+00:00"


@given(QUANTITIES, QUANTITIES, QUANTITIES)
def test_a_decision_never_goes_beyond_what_is_pending(released: Decimal, rejected: Decimal, pending: Decimal) -> None:
    problem = inspection_problem(released, rejected, "why", pending=pending, unit="KGM", where="here")
    assert (problem is None) == (0 < released + rejected <= pending)
