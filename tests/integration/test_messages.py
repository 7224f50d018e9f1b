"""What outsiders may send: the schemas that are published say the same as the code that reads."""

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from pydantic import ValidationError

from services.integration import schemas
from services.integration.messages import MeasuredOrNone, ProductionReport, digest_of
from services.integration.schemas import MESSAGES, schema_texts
from tests.integration.speaking import report

BESIDE = Path(schemas.__file__).parent
REPORT = report("M-1", consumed={("MILK", "A"): "1.5"})


def with_value(path: str, value: object) -> dict[str, Any]:
    """The report with one field changed; `...` takes it away."""
    body = copy.deepcopy(REPORT)
    *way, last = path.split(".")
    inner: Any = body
    for step in way:
        inner = inner[int(step)] if step.isdigit() else inner[step]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return body


@pytest.mark.parametrize("name", sorted(schema_texts()))
def test_the_committed_schema_is_that_of_the_code(name: str) -> None:
    assert (BESIDE / name).read_text("utf-8") == schema_texts()[name], "run: python -m services.integration.schemas"


@pytest.mark.parametrize("topic", sorted(MESSAGES))
def test_every_example_is_what_it_is_an_example_of(topic: str) -> None:
    schema = json.loads(schema_texts()[f"{topic}.json"])
    for example in schema.get("examples", []):
        jsonschema_rs.validator_for(schema, validate_formats=True).validate(example)
        MESSAGES[topic].model_validate_json(json.dumps(example))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("producedLot.quantity.value", 0.1),
        ("producedLot.quantity.value", "-1"),
        ("consumed.0.quantity.value", "1.1234567"),
        ("producedLot.lotId", "批号1"),
        ("producedLot.lotId", "A" * 21),
        ("producedLot.manufacturedOn", "2026-02-30"),
        ("producedLot.gtin", "123"),
        ("colour", "red"),
        ("producedLot.colour", "red"),
        ("consumed", ...),
        ("messageId", ...),
        ("responseState", "Finished"),
        ("sequence", 0),
    ],
)
def test_schema_and_code_refuse_the_same(path: str, value: object) -> None:
    validator = jsonschema_rs.validator_for(
        json.loads(schema_texts()["mes.production-reports.v1.json"]), validate_formats=True
    )
    assert validator.is_valid(REPORT)
    ProductionReport.model_validate_json(json.dumps(REPORT))
    wrong = with_value(path, value)
    assert not validator.is_valid(wrong)
    with pytest.raises(ValidationError):
        ProductionReport.model_validate_json(json.dumps(wrong))


def test_a_message_is_the_same_whatever_its_blanks_and_the_order_of_its_names() -> None:
    assert digest_of({"a": 1, "b": [1, 2]}) == digest_of(json.loads('{"b":[1,2],\n "a":1}'))
    assert digest_of({"a": 1}) != digest_of({"a": 2})
    one, other = (MeasuredOrNone.model_validate({"value": text, "uom": "KGM"}) for text in ("4", "4.00"))
    assert digest_of(one.model_dump()) == digest_of(other.model_dump())
