"""What docs/operations.md says, and what rules and dashboard ask for, as data."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql_parser
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "operations.md"
RULES = ROOT / "deploy" / "observability" / "rules.yml"
DASHBOARD = ROOT / "deploy" / "observability" / "dashboard.json"

TARGET_LABELS = {"job", "service", "instance"}
"""What Prometheus puts on every series of a target."""


def sections(page: Path = PAGE) -> dict[str, str]:
    """The text below each heading, by the heading's anchor as GitHub makes it."""
    parts = re.split(r"^#+ (.+)$", page.read_text("utf-8"), flags=re.MULTILINE)
    return {anchor(title): text for title, text in zip(parts[1::2], parts[2::2], strict=True)}


def anchor(title: str) -> str:
    """The anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")


def metric_rows() -> dict[str, dict[str, tuple[str, frozenset[str]]]]:
    """Whose metrics (`every service` or a service's name) → metric → unit and labels, from the page's tables."""
    found: dict[str, dict[str, tuple[str, frozenset[str]]]] = {}
    for title, text in sections().items():
        if title.startswith("of-"):
            rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \| [^|]+ \|$", text, flags=re.MULTILINE)
            found[title.removeprefix("of-").replace("-", " ")] = {
                name: (unit.strip(), frozenset(re.findall(r"`(\w+)`", labels))) for name, unit, labels in rows
            }
    return found


def shell_lines() -> list[str]:
    """Every command of the page that is meant to be run as it stands."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def rules() -> list[dict[str, Any]]:
    """Every alert."""
    return [rule for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"] for rule in group["rules"]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A query of a rule or a panel."""

    where: str
    query: str


def queries() -> Iterator[Asked]:
    """Every query that an alert or a panel asks, with Grafana's variables filled in."""
    for rule in rules():
        yield Asked(f"alert {rule['alert']}", rule["expr"])
    for panel in json.loads(DASHBOARD.read_text("utf-8"))["panels"]:
        for target in panel.get("targets", ()):
            query = target["expr"].replace("$__rate_interval", "1m").replace("$service", ".*")
            yield Asked(f"panel {panel['title']}", query)


def selected(query: str) -> tuple[list[tuple[str, Mapping[str, str]]], set[str]]:
    """The metrics that a query selects, each with the labels it must equal ('' for other conditions), and the labels it
    groups or joins by. Raises `ValueError` for what is no PromQL."""
    metrics: list[tuple[str, Mapping[str, str]]] = []
    grouped: set[str] = set()

    def visit(node: Any) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            equal = promql_parser.MatchOp.Equal
            metrics.append((node.name, {m.name: m.value if m.op == equal else "" for m in node.matchers.matchers}))
        elif isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            grouped.update(node.modifier.labels)
        return True

    promql_parser.walk(promql_parser.parse(query), visit)
    return metrics, grouped
