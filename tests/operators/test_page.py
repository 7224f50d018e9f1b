"""The page for operators, the rules and the dashboard fit together: what one names, the others have."""

import importlib
import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from contracts.topics import EVENTS
from delivery.app import doors_of
from deploy.local.processes import SERVICES
from tests.operators.page import (
    DASHBOARD,
    PAGE,
    ROOT,
    RULES,
    Asked,
    anchor,
    queries,
    rules,
    sections,
    selected,
    shell_lines,
)
from tests.operators.promtool import NoPromtool, find_promtool


def test_every_alarm_says_what_is_wrong_and_leads_to_its_section_and_every_section_has_its_alarm() -> None:
    found = sections()
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names)) > 25
    for rule in rules():
        notes = rule["annotations"]
        assert len(notes["summary"]) > 15, rule["alert"]
        assert len(notes["description"]) > 5, rule["alert"]
        assert rule["labels"]["severity"] in {"critical", "warning"}
        page, _, section = notes["runbook_url"].partition("#")
        assert (ROOT / page) == PAGE
        assert section == anchor(rule["alert"])
        assert len(found[section].strip()) > 60, f"{rule['alert']}: its section says nothing"
    told = re.search(r"^## Alarms\n(.*?)^## ", PAGE.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert told is not None
    assert re.findall(r"^### (\w+)$", told[1], flags=re.MULTILINE) == names, "the page tells them in the rules' order"


def test_every_link_of_the_page_leads_somewhere() -> None:
    own = sections()
    for target in re.findall(r"\]\(([^)]+)\)", PAGE.read_text("utf-8")):
        page, _, section = target.partition("#")
        if not page:
            assert section in own, target
            continue
        there = (PAGE.parent / page).resolve()
        assert there.exists(), target
        if section:
            assert section in sections(there), target


def test_every_call_that_the_page_names_is_one_that_a_service_has() -> None:
    there = {("GET", "/health/ready"), ("GET", "/health/live"), ("GET", "/metrics")}
    for name in SERVICES:
        service = importlib.import_module(f"services.{name}.app").service
        for router in service.routers:
            there |= {(method, re.sub(r"\{\w+\}", "{}", path)) for (method, path), _ in doors_of(router)}
    named = re.findall(r"`(GET|POST|PUT|DELETE) (/[\w/{}-]+)", PAGE.read_text("utf-8"))
    assert len(named) > 8
    for method, path in named:
        assert (method, re.sub(r"\{\w+\}", "{}", path)) in there, f"{method} {path}"


def test_every_setting_that_the_page_names_is_documented() -> None:
    settings = (ROOT / "docs" / "settings.md").read_text("utf-8")
    named = set(re.findall(r"`([A-Z][A-Z_]{5,})`", PAGE.read_text("utf-8")))
    assert "CHUNK_RECORDS" in named
    assert [name for name in sorted(named - {"SERVICE"}) if f"`{name}`" not in settings] == []


def test_commands_to_run_are_of_a_kind_that_a_test_runs() -> None:
    for line in shell_lines():
        assert line.startswith(
            ("curl -sS ", "python -m services.$SERVICE ", "timeout 3 python -m services.$SERVICE ")
        ), line


@pytest.mark.parametrize("asked", list(queries()), ids=lambda asked: asked.where)
def test_every_query_is_promql_and_names_only_events_that_exist(asked: Asked) -> None:
    metrics, _ = selected(asked.query)
    assert metrics
    for _, labels in metrics:
        if labels.get("type"):
            assert labels["type"] in EVENTS


def test_the_dashboard_is_whole() -> None:
    board = json.loads(DASHBOARD.read_text("utf-8"))
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, f"{panel['title']} lies on another panel"
        assert max(x for x, _ in cells) < 24
        taken |= cells
    for panel in panels:
        assert panel["description"], panel["title"]
        assert panel["targets"], panel["title"]
        assert panel["datasource"]["uid"] == "prometheus"


def test_prometheus_scrapes_every_service_under_its_name_and_compose_brings_all_of_it() -> None:
    folder = RULES.parent
    config = yaml.safe_load((folder / "prometheus.yml").read_text("utf-8"))
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    (job,) = config["scrape_configs"]
    assert job["job_name"] == "batchwise"
    scraped = {each["labels"]["service"]: each["targets"] for each in job["static_configs"]}
    assert scraped == {name: [f"{name}:8000"] for name in SERVICES}
    assert set(SERVICES) < set(compose["services"])
    for name in ("prometheus", "grafana"):
        assert compose["services"][name]["profiles"] == ["observability"]
        for volume in compose["services"][name]["volumes"]:
            here, _, _ = volume.partition(":")
            assert here in compose["volumes"] or (ROOT / here).exists(), volume
    source = yaml.safe_load((folder / "grafana-datasource.yml").read_text("utf-8"))["datasources"][0]
    assert (source["uid"], source["url"]) == ("prometheus", "http://prometheus:9090")


def test_promtool_accepts_rules_and_configuration() -> None:
    try:
        tool = find_promtool()
    except NoPromtool as missing:
        pytest.skip(f"no promtool: {missing}")
    for arguments in (["check", "rules", str(RULES)], ["check", "config", str(RULES.parent / "prometheus.yml")]):
        done = subprocess.run([tool, *arguments], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_each_alarm_rings_at_its_limit_and_is_silent_below_it(tmp_path: Path) -> None:
    """The alarms that no test can bring about in seconds: promtool lets hours pass. The others: test_alarms.py."""
    try:
        tool = find_promtool()
    except NoPromtool as missing:
        pytest.skip(f"no promtool: {missing}")
    cases = yaml.safe_load((Path(__file__).parent / "limits.yml").read_text("utf-8"))
    groups = [
        {
            "name": f"{name} {what}",
            "interval": "1m",
            "input_series": [{"series": series, "values": values} for series, values in case[what].items()],
            "promql_expr_test": [
                {
                    "expr": 'group by (alertname) (ALERTS{alertstate="firing"})',
                    "eval_time": case["after"],
                    "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1}] if what == "rings" else [],
                }
            ],
        }
        for name, case in cases.items()
        for what in ("rings", "silent")
    ]
    file = tmp_path / "limits.yml"
    file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": groups}))
    done = subprocess.run([tool, "test", "rules", file], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[:4000]
    provoked = set(re.findall(r'"([A-Z]\w+)"', (Path(__file__).parent / "test_alarms.py").read_text("utf-8")))
    untested = {rule["alert"] for rule in rules()} - set(cases) - provoked
    assert not untested, f"no test lets these ring: {sorted(untested)}"
