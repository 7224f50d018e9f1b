"""What outsiders read is what the code says: schemas, golden messages, and the command that keeps them so."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema_rs
import pytest

import contracts.schema
import deploy.publish
from contracts.envelope import HEADERS, headers_of
from contracts.event import Event, Topic
from contracts.examples import fields_declared, fields_shown
from contracts.schema import Schema, path_of, schema_of, schemas, text_of
from contracts.topics import TOPICS
from contracts.values import Quantity
from delivery.envelope import Envelope, read_envelope
from deploy.publish import Listeners, Refused, main, release
from tests.contracts.bodies import FOLDER, MESSAGES

SAID = [(topic, event) for topic in TOPICS for event in topic.events]
every_event = pytest.mark.parametrize(("topic", "event"), SAID, ids=[event.event_type for _, event in SAID])


def golden_of(topic: Topic, event: type[Event]) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = json.loads((FOLDER / "golden" / path_of(topic, event)).read_text())
    return messages


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of everything that is published, to break."""
    for name in ("schemas", "golden", "released"):
        shutil.copytree(FOLDER / name, tmp_path / name)
    shutil.copy(FOLDER / "asyncapi.json", tmp_path)
    return tmp_path


def test_the_committed_files_are_what_the_code_says(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, "".join(capfd.readouterr())


@every_event
def test_an_event_has_a_minimal_golden_message_and_every_field_stands_in_one(topic: Topic, event: type[Event]) -> None:
    schema, messages = schema_of(topic, event), golden_of(topic, event)
    minimal = next(message["value"] for message in messages if message["name"] == "minimal")
    assert set(minimal) == set(schema["required"])
    shown = {field for message in messages for field in fields_shown(schema, message["value"])}
    assert shown == set(fields_declared(schema))


@every_event
def test_a_golden_message_is_what_its_schema_and_the_envelope_allow(topic: Topic, event: type[Event]) -> None:
    body = jsonschema_rs.validator_for(schema_of(topic, event), validate_formats=True)
    headers = jsonschema_rs.validator_for(
        {"allOf": [HEADERS, {"properties": headers_of(topic, event)}]}, validate_formats=True
    )
    for message in golden_of(topic, event):
        body.validate(message["value"])
        headers.validate(message["headers"])


def test_the_golden_envelopes_show_every_header_and_the_delivery_library_speaks_the_same() -> None:
    full = MESSAGES["inventory.stock.v1/StockMoved full"]
    envelope = read_envelope(full["headers"], full["key"].encode())
    spoken = {name: value.decode() for name, value in envelope.headers()}
    assert list(spoken) == list(full["headers"]) == list(HEADERS["properties"])
    assert spoken | {"ce_time": ""} == full["headers"] | {"ce_time": ""}
    least = Envelope(envelope.event_id, envelope.type, envelope.source, envelope.time, "k", correlation_id="c")
    assert {name for name, _ in least.headers()} == set(HEADERS["required"])
    assert jsonschema_rs.validator_for(HEADERS, validate_formats=True).is_valid(spoken)


@every_event
def test_a_schema_is_closed_at_every_depth_and_says_what_it_is(topic: Topic, event: type[Event]) -> None:
    schema = schema_of(topic, event)
    assert schema["$id"] == f"urn:batchwise:{topic.name}:{event.__name__}"
    assert (schema["title"], bool(schema["description"])) == (event.__name__, True)
    objects = [part for part in (schema, *schema.get("$defs", {}).values()) if part["type"] == "object"]
    assert all(part["additionalProperties"] is False for part in objects)
    assert not any("title" in field for part in objects for field in part["properties"].values())


def test_a_decimal_with_a_limit_that_text_cannot_say_is_refused_and_not_published_wider() -> None:
    class Dose(Event):
        amount: Quantity | None = None

    def made(**limits: Any) -> Schema:
        return contracts.schema._decimal_text({"type": "decimal", "max_digits": 21, "decimal_places": 6, **limits})

    assert schema_of(Topic("inventory.doses.v1", "", (Dose,)), Dose)["properties"]["amount"] == made(gt=0)
    for limits in ({"gt": 5}, {"le": 100}, {"multiple_of": 2}):
        with pytest.raises(ValueError, match="only digits and places"):
            made(**limits) if "gt" not in limits else made(**limits, le=9)
    with pytest.raises(ValueError, match="a bound other than 0"):
        made(gt=5)


def test_every_pattern_is_read_by_ecmascript_in_unicode_mode_as_json_schema_asks() -> None:
    if shutil.which("node") is None:
        pytest.skip("no node on this machine: patterns are read by Python and Rust alone")
    program = """
        const patterns = []
        const collect = (name, value) => (name === "pattern" ? patterns.push(value) : 0, value)
        JSON.parse(require("fs").readFileSync(0), collect)
        for (const pattern of patterns) new RegExp(pattern, "u")
        console.log(patterns.length)
    """
    done = subprocess.run(
        ["node", "-e", program], input=json.dumps([*schemas().values(), HEADERS]), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100


def test_publishing_writes_what_is_missing_and_then_finds_nothing_more_to_do(tmp_path: Path) -> None:
    assert main([], tmp_path) == 0
    assert main(["--check"], tmp_path) == 0
    assert {str(path.relative_to(tmp_path / "schemas")) for path in tmp_path.glob("schemas/*/*")} == set(schemas())
    assert (tmp_path / "asyncapi.json").exists()


def test_a_committed_schema_that_the_code_does_not_say_is_shown_as_a_diff(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "schemas" / "inventory.stock.v1" / "HoldLifted.json"
    path.write_text(path.read_text().replace('"maxLength": 400', '"maxLength": 40'))
    assert main(["--check"], folder) == 1
    shown = capsys.readouterr()
    assert '-      "maxLength": 40,' in shown.out
    assert '+      "maxLength": 400,' in shown.out
    assert "run `make contracts`" in shown.err
    assert main([], folder) == 0
    assert main(["--check"], folder) == 0


def test_a_schema_of_an_event_that_is_not_said_any_more_is_removed(folder: Path) -> None:
    stale = folder / "schemas" / "inventory.stock.v1" / "StockVanished.json"
    stale.write_text("{}")
    assert main(["--check"], folder) == 1
    assert main([], folder) == 0
    assert not stale.exists()


@pytest.mark.parametrize("what", ["changed", "gone"])
def test_a_golden_message_that_was_rewritten_is_refused_and_nothing_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    path = folder / "golden" / "inventory.stock.v1" / "HoldLifted.json"
    messages = json.loads(path.read_text())
    if what == "changed":
        messages[0]["value"]["sequence"] = 7
    else:
        del messages[0]
    path.write_text(text_of(messages))
    (folder / "asyncapi.json").unlink()
    for arguments in ([], ["--check"]):
        assert main(arguments, folder) == 1
        assert f"golden/inventory.stock.v1/HoldLifted.json minimal: {what}" in capsys.readouterr().err
    assert not (folder / "asyncapi.json").exists()
    assert json.loads(path.read_text()) == messages


def test_a_message_that_a_person_adds_becomes_golden_and_those_before_stay(folder: Path) -> None:
    path = folder / "golden" / "inventory.stock.v1" / "HoldLifted.json"
    messages = json.loads(path.read_text())
    path.write_text(text_of([*messages, messages[1] | {"name": "of a whole site"}]))
    assert main([], folder) == 0
    digests = json.loads((folder / "golden" / "digests.json").read_text())
    before = json.loads((FOLDER / "golden" / "digests.json").read_text())
    assert digests.keys() - before.keys() == {"inventory.stock.v1/HoldLifted.json of a whole site"}
    assert digests | before == digests


def with_hold_lifted(monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], required: Sequence[str] = ()) -> Schema:
    """Let the code say another schema of `HoldLifted`."""
    path, now = "inventory.stock.v1/HoldLifted.json", schemas()
    now[path]["properties"] |= change
    now[path]["required"] += required
    monkeypatch.setattr(deploy.publish, "schemas", lambda: now)
    return now[path]


def test_a_release_takes_a_new_optional_field(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release(folder)  # whatever else became new since the last release
    now = with_hold_lifted(monkeypatch, {"shift": {"type": "string"}})
    assert release(folder) == ["released contracts/released/v1/inventory.stock.v1/HoldLifted.json"]
    assert json.loads((folder / "released/v1/inventory.stock.v1/HoldLifted.json").read_text()) == now
    assert release(folder) == []


def test_a_release_refuses_what_needs_a_new_topic_version_and_so_does_every_check(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_hold_lifted(monkeypatch, {"shift": {"type": "string"}}, ["shift"])
    with pytest.raises(Refused, match=r"HoldLifted\.json shift: newly required"):
        release(folder)
    assert main(["release"], folder) == 1
    assert "shift" not in (folder / "released/v1/inventory.stock.v1/HoldLifted.json").read_text()
    assert main([], folder) == 1
    assert "new topic version" in capsys.readouterr().err


def test_what_a_service_hears_is_read_from_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {topic.owner for topic in TOPICS if not topic.foreign}
    mes = next(topic for topic in TOPICS if topic.owner == "mes")
    stock = next(topic for topic in TOPICS if topic.name == "inventory.stock.v1")

    def service(name: str) -> SimpleNamespace:
        handlers = [
            SimpleNamespace(events=stock.events[:2]),
            SimpleNamespace(events=stock.events[1:2]),
            SimpleNamespace(events=(), foreign_topic=mes),
        ]
        says = [topic for topic in TOPICS if topic.owner == name]
        return SimpleNamespace(service=SimpleNamespace(says=says, hears=handlers), FOREIGN_PAYLOADS={mes.name: {}})

    monkeypatch.setattr(deploy.publish.importlib.util, "find_spec", lambda module: module)
    monkeypatch.setattr(deploy.publish.importlib, "import_module", lambda module: service(module.split(".")[1]))
    found = deploy.publish.listeners()
    expected = Listeners(
        {name: list(stock.events[:2]) for name in names}, {name: [mes] for name in names}, {mes.name: {}}
    )
    assert found == expected

    monkeypatch.setattr(deploy.publish.importlib, "import_module", lambda module: service("inventory"))
    with pytest.raises(
        Refused, match=r"integration says \['inventory\.alerts\.v1', 'inventory\.sites\.v1', 'inventory\.stock\.v1'\]"
    ):
        deploy.publish.listeners()
