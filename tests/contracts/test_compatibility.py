"""What may change within a topic version, and that everything else is found."""

import copy
import json
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from contracts.compatibility import Rule, problems, reader_problems, released_problems
from contracts.event import Event, Part, Topic
from contracts.inventory import MovementReason, StockMoved
from contracts.schema import Schema, decimal_pattern, schema_of, schemas
from contracts.topics import EVENTS, STOCK
from contracts.values import Code, Listed, Quantity
from tests.contracts.bodies import MESSAGES, RELEASED, bodies, kept

without_shrinking = settings(max_examples=4, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow])
"""The error names the field already, and shrinking a body of thirty fields takes minutes."""

MOVED = schema_of(STOCK, StockMoved)


def changed(change: Callable[[Schema], object]) -> Schema:
    """The schema of a stock movement with a planted change."""
    now = copy.deepcopy(MOVED)
    change(now)
    return now


def drop(name: str) -> Callable[[Schema], object]:
    def change(now: Schema) -> None:
        del now["properties"][name]
        now["required"] = [field for field in now["required"] if field != name]

    return change


def rename(name: str, other: str) -> Callable[[Schema], object]:
    def change(now: Schema) -> None:
        now["properties"][other] = now["properties"].pop(name)
        now["required"] = [other if field == name else field for field in now["required"]]

    return change


def field(name: str, **keywords: Any) -> Callable[[Schema], object]:
    return lambda now: now["properties"][name].update(keywords)


def within(definition: str, name: str, **keywords: Any) -> Callable[[Schema], object]:
    return lambda now: now["$defs"][definition]["properties"][name].update(keywords)


def nullable(name: str) -> Callable[[Schema], object]:
    return lambda now: now["properties"].update({name: {"anyOf": [now["properties"][name], {"type": "null"}]}})


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (drop("reference"), "reference: field removed"),
        (drop("sequence"), "sequence: field removed"),
        (rename("reason_text", "remark"), "reason_text: renamed?: it is gone, and 'remark' of the same shape is new"),
        (rename("unit", "base_unit"), "base_unit: newly required"),
        (lambda now: now["required"].append("reference"), "reference: optional → required"),
        (lambda now: now["$defs"]["Place"]["required"].append("site_id"), "to_place.site_id: optional → required"),
        (lambda now: now["required"].remove("unit"), "unit: required → optional: listeners of today rely on it"),
        (field("sequence", type="string"), "sequence: type changed: type was integer, is string"),
        (field("sequence", type="number"), "sequence: widened: type was integer, is number"),
        (field("effective_at", format="date"), "effective_at: type changed: format was date-time, is date"),
        (field("reason_text", maxLength=200), "reason_text: narrowed: maxLength was 400, is 200"),
        (field("reason_text", maxLength=800), "reason_text: widened: maxLength was 400, is 800"),
        (field("reason_text", minLength=5), "reason_text: narrowed: minLength was 1, is 5"),
        (field("reason_text", pattern="^[a-z]+$"), "reason_text: narrowed: pattern was ^[^\\x00]*$, is ^[a-z]+$"),
        (field("reason_text", format="uri"), "reason_text: narrowed: format was none, is uri"),
        (within("BatchFacts", "batch_no", pattern="^[0-9]+$"), "batch.batch_no: narrowed: pattern was"),
        (field("sequence", minimum=100), "sequence: narrowed: minimum was 1, is 100"),
        (field("sequence", maximum=999), "sequence: narrowed: maximum was none, is 999"),
        (field("sequence", multipleOf=10), "sequence: narrowed: multipleOf was none, is 10"),
        (field("quantity", pattern=decimal_pattern(15, 4)), "quantity: narrowed: decimal places were 6, are 4"),
        (field("quantity", pattern=decimal_pattern(12, 6)), "narrowed: digits before the point were 15, are 12"),
        (field("quantity", pattern=decimal_pattern(15, 8)), "quantity: widened: decimal places were 6, are 8"),
        (lambda now: now["properties"]["quantity"].pop("not"), "quantity: widened: not was"),
        (lambda now: now["$defs"]["Quality"]["enum"].remove("rejected"), "enum value removed: 'rejected' was a value"),
        (field("unit", enum=["KGM", "C62"]), "unit: narrowed: only KGM, C62 is allowed now"),
        (field("unit", const="KGM"), "unit: narrowed: only KGM is allowed now"),
        (nullable("reference"), "reference: null newly allowed"),
        (
            within("BatchFacts", "supplier_id", default="S-1"),
            "supplier_id: default changed: absent meant none, and means S-1",
        ),
    ],
)
def test_a_change_that_somebody_could_stumble_over_is_found_and_named(
    change: Callable[[Schema], object], found: str
) -> None:
    lines = [str(problem) for problem in problems(MOVED, changed(change))]
    assert any(found in line for line in lines), lines


@pytest.mark.parametrize(
    "change",
    [
        lambda now: now["properties"].update(pallet={"type": "string", "maxLength": 20}),
        lambda now: now["$defs"]["BatchFacts"]["properties"].update(grade={"type": "string", "default": "A"}),
        lambda now: now["$defs"]["MovementReason"]["enum"].insert(0, "sampling"),
        lambda now: now["properties"]["sequence"].update(description="In other words.", title="Sequence"),
        lambda now: now.update({"description": "In other words.", "$id": "urn:batchwise:elsewhere"}),
        lambda now: (
            now["$defs"].update(Gründe=now["$defs"]["MovementReason"])
            or now["properties"].update(reason={"$ref": "#/$defs/Gründe"})
        ),
    ],
    ids=["new optional field", "new optional field within", "new listed value", "words", "words of all", "definition"],
)
def test_a_new_optional_field_a_new_listed_value_and_other_words_are_allowed(
    change: Callable[[Schema], object],
) -> None:
    now = changed(change)
    assert now != MOVED
    assert problems(MOVED, now) == []


def test_null_that_is_no_longer_allowed_is_found() -> None:
    found = problems(changed(nullable("reference")), MOVED)
    assert [(problem.path, problem.rule) for problem in found] == [("reference", Rule.NULL_REFUSED)]


def test_a_value_added_to_a_list_without_unknown_is_found_because_listeners_of_today_cannot_read_it() -> None:
    closed = {"type": "string", "enum": ["a", "b"]}
    found = problems(closed, {"type": "string", "enum": ["a", "b", "c"]})
    assert [str(problem) for problem in found] == [
        "(the event): enum value added to a list without `unknown`: listeners of today cannot read 'c'"
    ]


def test_lists_are_compared_with_what_is_in_them() -> None:
    before = {"type": "array", "items": {"type": "string", "maxLength": 20}}
    now = {"type": "array", "minItems": 1, "items": {"type": "string", "maxLength": 10}}
    assert [str(problem) for problem in problems(before, now)] == [
        "(the event): narrowed: minItems was none, is 1",
        "[]: narrowed: maxLength was 20, is 10",
    ]


def test_alternatives_are_compared_one_by_one() -> None:
    text, number = {"type": "string"}, {"type": "integer"}
    assert problems({"anyOf": [text, number]}, {"anyOf": [number, text]}) == []
    assert [one.rule for one in problems({"anyOf": [text, number]}, {"anyOf": [text]})] == [Rule.TYPE_CHANGED]
    assert [one.rule for one in problems({"anyOf": [text]}, {"anyOf": [text, number]})] == [Rule.WIDENED]


def test_a_definition_that_contains_itself_is_compared_once() -> None:
    def tree(longest: int) -> Schema:
        node = {"properties": {"name": {"type": "string", "maxLength": longest}, "inner": {"$ref": "#/$defs/Node"}}}
        return {"$ref": "#/$defs/Node", "$defs": {"Node": {"type": "object", **node}}}

    assert [str(one) for one in problems(tree(20), tree(10))] == ["name: narrowed: maxLength was 20, is 10"]


def test_a_reference_that_leads_nowhere_is_an_error_and_no_silence() -> None:
    with pytest.raises(ValueError, match="'Nothing' leads nowhere"):
        problems(MOVED, changed(lambda now: now["properties"].update(unit={"$ref": "#/$defs/Nothing"})))


def test_a_released_event_that_is_not_said_any_more_is_found_and_a_new_event_is_welcome() -> None:
    found = released_problems({"a.b.v1/Old.json": MOVED}, {"a.b.v1/New.json": MOVED})
    assert [(one.path, one.rule) for one in found] == [("a.b.v1/Old.json", Rule.EVENT_REMOVED)]


class ReasonsThatAListenerKnows(Listed):
    RECEIPT = "receipt"
    ISSUE = "issue"
    UNKNOWN = "unknown"


class FactsThatAListenerNeeds(Part):
    batch_no: str


class ListenersStockMoved(Event):
    """A listener's own, smaller model of a movement."""

    key_field: ClassVar[str] = "item_id"

    item_id: Code
    batch: FactsThatAListenerNeeds
    quantity: Quantity
    reason: MovementReason


def schema_of_listener(**fields: Any) -> Schema:
    model = type("Narrower", (ListenersStockMoved,), {"__annotations__": fields, "__module__": __name__})
    return schema_of(Topic("inventory.stock.v1", "heard", (model,)), model)


def test_a_listener_may_declare_only_what_it_needs() -> None:
    assert reader_problems(MOVED, schema_of_listener()) == []
    assert {one.rule for one in problems(MOVED, schema_of_listener())} >= {Rule.REMOVED}


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"reason": ReasonsThatAListenerKnows}, "reason: enum value removed: 'pick' was a value"),
        ({"quantity": int}, "quantity: type changed: type was string, is integer"),
        ({"item_id": Code | None, "reference": str}, "reference: optional → required"),
        ({"shift": str}, "shift: newly required"),
    ],
)
def test_a_listener_that_would_misread_what_was_released_is_found(fields: dict[str, Any], found: str) -> None:
    lines = [str(problem) for problem in reader_problems(MOVED, schema_of_listener(**fields))]
    assert any(found in line for line in lines), lines


def test_a_listed_value_that_a_listener_lacks_raises_nothing_so_only_the_checker_finds_it() -> None:
    class Forgetful(ListenersStockMoved):
        reason: ReasonsThatAListenerKnows  # type: ignore[assignment]

    picked = MESSAGES["inventory.stock.v1/StockMoved minimal"]["value"] | {"reason": "pick"}
    assert Forgetful.read(json.dumps(picked).encode()).reason == "unknown"


def test_what_the_code_says_today_may_take_the_place_of_everything_that_was_released() -> None:
    assert len(RELEASED) >= 31
    assert [str(problem) for problem in released_problems(RELEASED, schemas())] == []


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_every_message_that_was_ever_golden_is_read_and_said_again_with_the_same_facts(message: dict[str, Any]) -> None:
    event = EVENTS[message["headers"]["ce_type"]]
    heard = event.read(json.dumps(message["value"]).encode())
    said_again = json.loads(heard.write())
    assert kept(message["value"], said_again)
    assert event.read(json.dumps(said_again).encode()) == heard


@pytest.mark.parametrize("path", RELEASED)
@without_shrinking
@given(data=st.data())
def test_whatever_a_released_schema_allows_is_read_today(path: str, data: st.DataObject) -> None:
    topic, _, event = path.removesuffix(".json").partition("/")
    body = data.draw(bodies(RELEASED[path]))
    EVENTS[f"{topic.partition('.')[0]}.{event}"].read(json.dumps(body).encode())


def test_such_drawing_finds_a_narrowed_field() -> None:
    class Narrowed(StockMoved):
        sequence: int = Field(ge=1, le=3)

    @settings(without_shrinking, max_examples=50)
    @given(body=bodies(RELEASED["inventory.stock.v1/StockMoved.json"]))
    def read_all(body: Any) -> None:
        Narrowed.read(json.dumps(body).encode())

    with pytest.raises(ValidationError, match="less than or equal to 3"):
        read_all()
