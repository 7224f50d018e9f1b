"""Headers of an event: what is missing, what no database holds, what no calendar has."""

import pytest

from delivery.envelope import LONGEST_HEADER, NotAnEnvelope, read_envelope

GOOD = {"ce_id": "1", "ce_source": "bells", "ce_type": "bells.Rung", "ce_time": "2026-03-02T09:00:00+08:00"}


def test_the_four_headers_of_an_event_are_enough() -> None:
    envelope = read_envelope(GOOD, b"a")
    assert (envelope.event_id, envelope.key, envelope.correlation_id, envelope.actor) == ("1", "a", "1", None)


@pytest.mark.parametrize(
    ("header", "value", "says"),
    [
        ("ce_id", "", "header 'ce_id' is missing"),
        ("ce_id", "a\x00b", "header 'ce_id' has 3 characters"),
        ("ce_source", "x" * (LONGEST_HEADER + 1), "at most 2000, and no NUL"),
        ("ce_correlationid", "a\x00b", "header 'ce_correlationid' has 3 characters"),
        ("ce_causationid", "x" * 100_000, "header 'ce_causationid' has 100000 characters"),
        ("ce_actor", "\x00", "header 'ce_actor' has 1 characters"),
        ("traceparent", "x" * 100_000, "header 'traceparent' has 100000 characters"),
        ("ce_time", "yesterday", "not an RFC 3339 time"),
        ("ce_time", "x" * 100_000, "not an RFC 3339 time"),
        ("ce_time", "2026-03-02T09:00:00", "it has no offset from UTC"),
        ("ce_time", "0001-01-01T00:00:00+14:00", "the year must be 2 to 9998"),
        ("ce_time", "9999-12-31T23:59:59-14:00", "the year must be 2 to 9998"),
    ],
)
def test_a_header_that_cannot_be_used_is_named_with_its_limit(header: str, value: str, says: str) -> None:
    with pytest.raises(NotAnEnvelope) as refused:
        read_envelope({**GOOD, header: value}, b"a")
    assert says in str(refused.value)
    assert len(str(refused.value)) < 300
