"""What holds for every event: closed for its speaker, tolerant for its listeners, exact to the digit."""

import json
import re
from collections import Counter
from decimal import Decimal
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from contracts.event import Event, Topic
from contracts.integration import CostPosted
from contracts.inventory import StockMoved
from contracts.schema import schema_of
from contracts.topics import EVENTS, TOPICS
from contracts.values import Delta, Money, Quantity, QuantityOrZero
from tests.contracts.bodies import MESSAGES, Steps, at, places, put

SCHEMAS = {event.event_type: schema_of(topic, event) for topic in TOPICS for event in topic.events}

every_message = pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)


def event_of(message: dict[str, Any]) -> type[Event]:
    return EVENTS[message["headers"]["ce_type"]]


def schema_of_message(message: dict[str, Any]) -> dict[str, Any]:
    return SCHEMAS[message["headers"]["ce_type"]]


def objects_in(message: dict[str, Any]) -> list[Steps]:
    found = places(schema_of_message(message), message["value"])
    return [place.steps for place in found if isinstance(place.value, dict)]


def test_every_topic_is_called_owner_subject_version() -> None:
    assert all(re.fullmatch(r"[a-z]+\.[a-z-]+\.v[1-9][0-9]*", topic.name) for topic in TOPICS)
    for name in (
        "stock",
        "inventory.Stock.v1",
        "inventory.stock",
        "inventory.stock.v0",
        "a.b.c.v1",
        "inventory.stock.v1\n",
    ):
        with pytest.raises(ValueError, match=r"owner\.subject\.vN"):
            Topic(name, "a wrong name", ())


def test_every_event_is_said_on_exactly_one_topic_and_that_is_its_owners() -> None:
    said = Counter(event for topic in TOPICS for event in topic.events)
    declared = {event for event in Event.__subclasses__() if event.__module__.startswith("contracts.")}
    assert set(said) == declared
    assert set(said.values()) == {1}
    assert all(event.event_type == f"{topic.owner}.{event.__name__}" for topic in TOPICS for event in topic.events)


@every_message
def test_a_speaker_is_refused_an_unknown_field_at_every_depth(message: dict[str, Any]) -> None:
    for steps in objects_in(message):
        wrong = put(message["value"], (*steps, "surprise"), 1)
        with pytest.raises(ValidationError, match=r"surprise\n  Extra inputs are not permitted"):
            event_of(message).model_validate_json(json.dumps(wrong))
        assert not jsonschema_rs.is_valid(schema_of_message(message), wrong)


@every_message
def test_a_listener_ignores_unknown_fields_at_every_depth(message: dict[str, Any]) -> None:
    event, heard = event_of(message), message["value"]
    for steps in objects_in(message):
        heard = put(heard, (*steps, "x_tomorrow"), {"nested": [1.5, None]})
    assert event.read(json.dumps(heard).encode()) == event.read(json.dumps(message["value"]).encode())


@every_message
def test_a_listener_reads_a_value_that_it_does_not_know_as_unknown(message: dict[str, Any]) -> None:
    for place in places(schema_of_message(message), message["value"]):
        if "enum" in place.schema:
            heard = put(message["value"], place.steps, "of_tomorrow")
            said_again = json.loads(event_of(message).read(json.dumps(heard).encode()).write())
            assert at(said_again, place.steps) == "unknown"


def test_there_are_listed_values_and_decimals_to_test_with() -> None:
    found = [place for message in MESSAGES.values() for place in places(schema_of_message(message), message["value"])]
    assert len({tuple(place.schema["enum"]) for place in found if "enum" in place.schema}) > 15
    assert sum("not" in place.schema for place in found) > 30


@every_message
def test_a_decimal_that_comes_as_a_json_number_is_refused(message: dict[str, Any]) -> None:
    for place in places(schema_of_message(message), message["value"]):
        if "[0-9]{1,1" in place.schema.get("pattern", ""):
            heard = put(message["value"], place.steps, 0.5)
            with pytest.raises(ValidationError, match=r"0\.5 is a binary float: send decimals as text, such as '0\.5'"):
                event_of(message).read(json.dumps(heard).encode())


def test_a_decimal_that_was_computed_as_a_float_is_refused_when_it_is_said() -> None:
    message = MESSAGES["integration.erp-postings.v1/CostPosted full"]["value"]
    with pytest.raises(ValidationError, match="binary float"):
        CostPosted.model_validate(CostPosted.read(json.dumps(message).encode()).model_dump() | {"value": 0.1 + 0.2})


@given(st.decimals(min_value=Decimal("-1e14"), max_value=Decimal("1e14"), places=6))
def test_a_decimal_survives_exactly_as_the_text_that_it_was(number: Decimal) -> None:
    posted = MESSAGES["integration.erp-postings.v1/CostPosted full"]["value"] | {"quantity": format(number, "f")}
    for _ in range(3):
        posted = json.loads(CostPosted.read(json.dumps(posted).encode()).write())
    assert posted["quantity"] == format(number, "f")


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        (SCHEMAS["inventory.StockMoved"]["properties"]["quantity"], Quantity),
        (SCHEMAS["allocation.DemandCancelled"]["properties"]["freed"], QuantityOrZero),
        (SCHEMAS["integration.CostPosted"]["properties"]["quantity"], Delta),
        (SCHEMAS["integration.CostPosted"]["properties"]["value"], Money),
    ],
    ids=["Quantity", "QuantityOrZero", "Delta", "Money"],
)
@given(number=st.decimals(allow_nan=False, allow_infinity=False), scale=st.integers(-20, 9))
def test_every_decimal_that_the_code_can_say_is_one_that_its_schema_allows_and_the_other_way_round(
    schema: dict[str, Any], kind: Any, number: Decimal, scale: int
) -> None:
    number = number.scaleb(scale - number.adjusted()) if number else number
    text = format(number, "f")
    value = TypeAdapter(kind)
    try:
        said = json.loads(value.dump_json(value.validate_python(text)))
    except ValidationError:
        assert not jsonschema_rs.is_valid(schema, text)
    else:
        assert said == text
        assert jsonschema_rs.is_valid(schema, said)


@every_message
def test_a_key_is_what_it_was_when_the_message_was_written(message: dict[str, Any]) -> None:
    read = event_of(message).read(json.dumps(message["value"]).encode())
    assert read.key == message["key"] == message["headers"]["ce_subject"]


def test_stock_and_what_asks_for_it_share_the_item_as_key_and_the_catalog_tells_items_from_partners() -> None:
    keys = {event.event_type: event.key_field for event in EVENTS.values()}
    catalog = {keys.pop("integration.ItemDefined"), keys.pop("integration.PartnerDefined")}
    assert catalog == {"catalog_key"}
    assert keys.pop("inventory.SiteDefined") == "site_id"
    assert set(keys.values()) == {"item_id"}
    assert MESSAGES["integration.catalog.v1/ItemDefined full"]["key"] == "item/WMP-25"
    assert MESSAGES["integration.catalog.v1/PartnerDefined full"]["key"] == "partner/S-0117"


def test_what_has_no_value_is_left_out_and_never_null() -> None:
    minimal = MESSAGES["inventory.stock.v1/StockMoved minimal"]["value"]
    assert json.loads(StockMoved.read(json.dumps(minimal).encode()).write()) == minimal
    assert '"null"' not in json.dumps(SCHEMAS)
