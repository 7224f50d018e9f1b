"""Settings are documented in one place, and refused with a clear message when they are wrong."""

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from delivery import Settings

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("receiving", "inventory", "allocation", "trace", "integration")


def every_setting() -> Iterator[tuple[str, str, object]]:
    """Whose it is, its name, its default."""
    kinds: list[tuple[str, type[BaseSettings]]] = [("every service", Settings)]
    for name in SERVICES:
        service = importlib.import_module(f"services.{name}.app").service
        kinds += [(name, kind) for kind in service.settings]
    for whose, kind in kinds:
        for field, about in kind.model_fields.items():
            assert about.description, f"{field} says nothing"
            yield whose, field.upper(), "" if about.is_required() else about.get_default(call_default_factory=True)


def test_every_setting_is_in_the_one_page_with_its_default() -> None:
    page = (ROOT / "docs" / "settings.md").read_text("utf-8")
    rows = {cells[0].strip(" `"): cells for line in page.splitlines() if len(cells := line.strip("|").split("|")) == 3}
    for _, name, default in every_setting():
        assert name in rows, f"{name} is not in docs/settings.md"
        if default not in ("", None, {}):
            assert f"`{default}`" in rows[name][1], f"{name}: docs/settings.md says {rows[name][1]}, it is {default!r}"
    known = {name for _, name, _ in every_setting()} | {"setting", "---", "OTEL_EXPORTER_OTLP_ENDPOINT"}
    assert rows.keys() <= known, f"docs/settings.md names what is no setting: {sorted(rows.keys() - known)}"


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"DATABASE_DSN": ""}, "DATABASE_DSN is missing: This service's own PostgreSQL database"),
        ({"HTTP_PORT": "70000"}, "HTTP_PORT is '70000': Input should be less than or equal to 65535"),
        ({"TOPIC_PREFIX": "A B"}, "TOPIC_PREFIX is 'A B'"),
        ({"TOKEN_ISSUER": "http://plain.example"}, "must be an https:// URL, or batchwise-local"),
        ({"ENVIRONMENT": "production"}, "the local issuer's demo users must not reach production"),
        ({"TOKEN_JWKS": ""}, "TOKEN_JWKS is missing"),
        ({"BATCH_NUMBER_PATTERN": "X#{seq}"}, "BATCH_NUMBER_PATTERN is 'X#{seq}'"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(changed: dict[str, str], says: str) -> None:
    environment = {
        "DATABASE_DSN": "postgresql://nobody@127.0.0.1:1/none",
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "TOKEN_ISSUER": "batchwise-local",
        "TOKEN_JWKS": "jwks.json",
        "ENVIRONMENT": "local",
    }
    refused = subprocess.run(
        [sys.executable, "-m", "services.receiving", "serve"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment, **changed},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert refused.returncode == 2
    assert says in refused.stderr
    assert "Traceback" not in refused.stderr
