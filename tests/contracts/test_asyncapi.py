"""One AsyncAPI document of the whole system: complete, usable, and true to the official schema."""

import copy
import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from contracts.asyncapi import document, faults
from contracts.event import Event
from contracts.integration import DemandRaised, ItemDefined
from contracts.inventory import HoldPlaced, StockMoved
from contracts.topics import ERP_DEMANDS, EVENTS, MES_REPORTS, TOPICS
from deploy.local.cache import cache_folder, locked
from tests.contracts.bodies import MESSAGES

SPECS = "6.11.1"
"""The version of npm's @asyncapi/specs that holds the official schema (Apache-2.0); fetched once, never committed."""

REPORT = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "https://example.com/report",
    "type": "object",
    "properties": {"lot": {"$ref": "#/$defs/Lot", "description": "What was made."}},
    "$defs": {"Lot": {"type": "object", "properties": {"id": {"type": "string"}}}},
}


def made() -> dict[str, Any]:
    """A document with all that a document can have."""
    examples: dict[str, list[dict[str, Any]]] = {}
    for message in MESSAGES.values():
        examples.setdefault(message["headers"]["ce_type"], []).append(message)
    return document(
        {"trace": list(EVENTS.values()), "allocation": [StockMoved, HoldPlaced, DemandRaised, ItemDefined]},
        {MES_REPORTS.name: REPORT},
        hears_foreign={"integration": [MES_REPORTS, ERP_DEMANDS]},
        examples=examples,
        partitions=12,
    )


WHOLE = json.dumps(made())


def whole() -> dict[str, Any]:
    """A copy of it, to look at or to break."""
    copied: dict[str, Any] = json.loads(WHOLE)
    return copied


@pytest.fixture(scope="module")
def official() -> jsonschema_rs.Validator:
    """The official schema of AsyncAPI 3.0."""
    folder = cache_folder()
    kept = folder / f"asyncapi-3.0.0-of-specs-{SPECS}.json"
    with locked(folder / "asyncapi.lock"):
        if not kept.exists():
            fetch_official(folder, kept)
    return jsonschema_rs.validator_for(json.loads(kept.read_text()))


def fetch_official(folder: Path, kept: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("no npm on this machine to fetch the official schema of AsyncAPI with")
    packed = subprocess.run(
        ["npm", "pack", "--silent", f"@asyncapi/specs@{SPECS}", "--pack-destination", str(folder)],
        capture_output=True,
        text=True,
        timeout=90,
    )
    if packed.returncode:
        pytest.skip(f"npm cannot fetch the official schema of AsyncAPI: {packed.stderr.strip()[-200:]}")
    archive = folder / packed.stdout.strip().splitlines()[-1]
    with tarfile.open(archive) as package:
        schema = package.extractfile("package/schemas/3.0.0.json")
        assert schema is not None
        kept.write_bytes(schema.read())
    archive.unlink()


def test_the_document_is_what_the_official_schema_asks(official: jsonschema_rs.Validator) -> None:
    assert [f"{error.instance_path}: {error.message}"[:300] for error in official.iter_errors(whole())] == []
    assert official.is_valid(document({}))


@pytest.mark.parametrize(
    ("where", "wrong"),
    [
        (("asyncapi",), "2.6.0"),
        (("info",), {}),
        (("surprise",), {}),
        (("operations", "trace.says.trace.recalls.v1", "action"), "publish"),
        (("channels", "inventory.stock.v1", "bindings", "kafka", "partitions"), "six"),
        (("components", "schemas", "StockMoved", "properties", "quantity", "type"), "decimal"),
    ],
)
def test_the_official_schema_refuses_a_wrong_document(
    official: jsonschema_rs.Validator, where: tuple[str, ...], wrong: object
) -> None:
    broken = whole()
    inner = broken
    for name in where[:-1]:
        inner = inner[name]
    inner[where[-1]] = wrong
    assert not official.is_valid(broken)


def test_no_reference_leads_nowhere() -> None:
    assert faults(whole()) == []
    assert faults(document({})) == []


@pytest.mark.parametrize(
    "wrong",
    [
        "#/components/schemas/StockMooved",
        "#/components/schemas/StockMoved/properties/0",
        "https://example.com/x.json",
        "#x",
    ],
)
def test_a_reference_that_leads_nowhere_is_named(wrong: str) -> None:
    broken = whole()
    broken["components"]["messages"]["inventory.StockMoved"]["payload"] = {"$ref": wrong}
    assert faults(broken) == [
        f"#/components/messages/inventory.StockMoved/payload/$ref: the reference {wrong!r} leads nowhere"
    ]


def test_the_official_schema_lets_such_a_reference_pass_so_we_must_look_ourselves(
    official: jsonschema_rs.Validator,
) -> None:
    broken = whole()
    broken["components"]["messages"]["inventory.StockMoved"]["payload"] = {"$ref": "#/components/schemas/StockMooved"}
    assert official.is_valid(broken)


def test_an_operation_with_a_message_of_another_channel_is_named() -> None:
    broken = whole()
    operation = broken["operations"]["trace.says.trace.recalls.v1"]
    operation["messages"] = [{"$ref": "#/channels/inventory.stock.v1/messages/StockMoved"}]
    assert len(faults(broken)) == 1
    assert "is not one of '#/channels/trace.recalls.v1'" in faults(broken)[0]


def test_every_topic_is_a_channel_and_every_event_a_message_of_it() -> None:
    channels = whole()["channels"]
    assert list(channels) == [topic.name for topic in TOPICS]
    for topic in TOPICS:
        if not topic.foreign:
            assert list(channels[topic.name]["messages"]) == [event.__name__ for event in topic.events]
    assert list(channels["mes.production-reports.v1"]["messages"]) == ["MesProductionReports"]


def test_the_catalog_and_the_sites_are_compacted_and_all_else_is_kept_for_ever() -> None:
    kafka = {name: channel["bindings"]["kafka"] for name, channel in whole()["channels"].items()}
    configured = {name: binding["topicConfiguration"] for name, binding in kafka.items()}
    for name in ("integration.catalog.v1", "inventory.sites.v1"):
        assert configured.pop(name) == {"cleanup.policy": ["compact"]}
    assert all(kept == {"cleanup.policy": ["delete"], "retention.ms": -1} for kept in configured.values())
    assert {binding["partitions"] for binding in kafka.values()} == {12}


def test_a_service_sends_what_it_owns_and_receives_what_it_hears_and_nothing_more() -> None:
    operations = whole()["operations"]
    assert [name for name in operations if name.startswith("allocation.")] == [
        "allocation.says.allocation.outbound.v1",
        "allocation.hears.integration.catalog.v1",
        "allocation.hears.integration.demands.v1",
        "allocation.hears.inventory.stock.v1",
    ]
    heard = operations["allocation.hears.inventory.stock.v1"]
    assert heard["action"] == "receive"
    assert [message["$ref"] for message in heard["messages"]] == [
        "#/channels/inventory.stock.v1/messages/StockMoved",
        "#/channels/inventory.stock.v1/messages/HoldPlaced",
    ]
    assert operations["integration.hears.erp.demands.v1"]["action"] == "receive"
    assert "integration.hears.erp.acknowledgements.v1" not in operations


def test_what_is_heard_and_nobody_says_is_refused() -> None:
    class Whispered(Event):
        item_id: str

    with pytest.raises(
        ValueError, match=r"trace hears test_asyncapi\.Whispered: contracts/topics\.py has no such thing"
    ):
        document({"trace": [Whispered]})


def test_a_foreign_body_keeps_its_definitions_under_its_own_name() -> None:
    schemas = whole()["components"]["schemas"]
    assert schemas["MesProductionReports"]["properties"]["lot"] == {
        "allOf": [{"$ref": "#/components/schemas/MesProductionReports.Lot"}],
        "description": "What was made.",
    }
    assert schemas["MesProductionReports.Lot"] == REPORT["$defs"]["Lot"]  # type: ignore[index]
    assert "$id" not in schemas["MesProductionReports"]


def test_the_examples_are_what_the_document_itself_promises() -> None:
    described = whole()
    checked = 0
    for message in described["components"]["messages"].values():
        for example in message.get("examples", ()):
            for part in ("headers", "payload"):
                schema = {"allOf": [message[part]], "components": described["components"]}
                jsonschema_rs.validate(schema, example[part], validate_formats=True)
                checked += 1
    assert checked == 2 * len(MESSAGES)


def test_the_document_is_the_same_every_time_and_leaves_its_arguments_alone() -> None:
    before = copy.deepcopy(REPORT)
    assert json.dumps(made()) == WHOLE
    assert before == REPORT
