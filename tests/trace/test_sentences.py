"""Timelines: every event of the system has a sentence."""

import json
from pathlib import Path
from uuid import UUID

import pytest

import contracts
from contracts.event import Event
from contracts.inventory import MovementReason
from contracts.topics import EVENTS, TOPICS
from contracts.values import Quality
from services.trace.domain.names import item_subject, name_id, partner_subject
from services.trace.domain.sentences import detail_of, lines_of, sentence_of
from services.trace.handlers import HEARD, NOT_HEARD
from tests.trace.stories import allocated, batch_id, bin_, customer, moved, produced

GOLDEN = Path(contracts.__file__ or "").parent / "golden"


def golden() -> list[tuple[str, str, Event]]:
    """Every released message of every event."""
    return [
        (event_type, message["name"], EVENTS[event_type].read(json.dumps(message["value"]).encode()))
        for topic in TOPICS
        for event_type in (event.event_type for event in topic.events)
        for message in json.loads((GOLDEN / topic.name / f"{event_type.partition('.')[2]}.json").read_text("utf-8"))
    ]


@pytest.mark.parametrize(
    "event",
    [pytest.param(event, id=f"{kind} {name}") for kind, name, event in golden() if type(event) not in NOT_HEARD],
)
def test_every_event_has_a_sentence_that_a_person_can_read(event: Event) -> None:
    lines = lines_of(event)
    assert lines
    for line in lines:
        assert len(line.sentence) > 10
        assert "None" not in line.sentence
        assert not line.sentence.endswith((" ", ":", ","))
        assert json.dumps(detail_of(event, line.subject))
    assert sentence_of(event) == lines[0].sentence


def test_no_event_of_the_system_is_without_a_sentence() -> None:
    assert {kind for kind, _, _ in golden()} == set(EVENTS)


def test_an_event_without_a_sentence_is_refused_by_name() -> None:
    class Sneezed(Event):
        item_id: str

    with pytest.raises(LookupError, match=r"Sneezed.*sentences\.py"):
        lines_of(Sneezed(item_id="A"))


def test_trace_hears_every_event_of_the_others_that_has_a_timeline() -> None:
    of_others = {kind for kind in EVENTS if not kind.startswith("trace.")}
    assert {event.event_type for event in HEARD} == of_others - {event.event_type for event in NOT_HEARD}


def test_a_promise_is_told_to_each_batch_with_its_own_share_only() -> None:
    event = allocated("MIX", "M1", "10", "C-1", "SO-1")
    other = event.shares[0].model_copy(update={"batch_id": batch_id("MIX", "M2"), "reservation_id": UUID(int=1)})
    event = event.model_copy(update={"shares": (*event.shares, other)})
    first, second = lines_of(event)
    assert first.sentence == "10 KGM promised to C-1 for 2026-03-20 (SO-1, fefo)"
    assert second.subject == batch_id("MIX", "M2")
    assert [share["batch_id"] for share in detail_of(event, second.subject)["shares"]] == [str(second.subject)]


def test_a_movement_is_told_with_both_its_places() -> None:
    assert sentence_of(moved("MIX", "M1", "2.50", bin_("A-1"), customer("C-1"))) == (
        "2.5 KGM transferred from HRB-1/A-1 (released) to customer C-1"
    )


def test_why_goods_were_rejected_is_told_of_the_rejected_goods_only() -> None:
    told = [
        sentence_of(
            moved(
                "MIX", "M1", quantity, bin_("DOCK", Quality.PENDING), bin_("DOCK", to), reason, reason_text="Moisture"
            )
        )
        for quantity, to, reason in (
            ("60", Quality.RELEASED, MovementReason.INSPECTION),
            ("2", Quality.REJECTED, MovementReason.INSPECTION),
            ("1", Quality.RELEASED, MovementReason.STATUS_CHANGE),
        )
    ]
    assert told == [
        "60 KGM changed by inspection from HRB-1/DOCK (pending) to HRB-1/DOCK (released)",
        "2 KGM changed by inspection from HRB-1/DOCK (pending) to HRB-1/DOCK (rejected): Moisture",
        "1 KGM changed in status from HRB-1/DOCK (pending) to HRB-1/DOCK (released): Moisture",
    ]


def test_production_is_told_under_the_name_of_what_was_made() -> None:
    [line] = lines_of(produced("MIX", "M1", ("RAW", "R1", "5"), ("RAW", "R1", "6"), ("RAW", "R2", "6")))
    assert line.subject == name_id("MIX", "M1")
    assert "from 2 batches" in line.sentence


def test_names_items_and_partners_never_share_a_subject() -> None:
    assert (
        len({name_id("A", "B"), name_id("A", "b"), item_subject("A"), item_subject("A B"), partner_subject("A")}) == 5
    )
