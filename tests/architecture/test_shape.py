"""Every service has the same shape, and rules touch nothing but values."""

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("receiving", "inventory", "allocation", "trace", "integration")
FORBIDDEN_IN_DOMAIN = {
    "asyncio", "asyncpg", "aiokafka", "fastapi", "delivery", "faststream", "httpx", "logging", "os", "pathlib",
    "random", "secrets", "socket", "sqlite3", "starlette", "structlog", "subprocess", "threading", "time", "uuid_utils",
}  # fmt: skip
CLOCKS_AND_IDS = {"now", "utcnow", "today", "uuid4", "uuid1", "uuid7", "monotonic", "perf_counter"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_the_shape_of_every_other(name: str) -> None:
    home = ROOT / "services" / name
    for part in ("__main__.py", "app.py", "store.py", "queries.py", "README.md", "domain/__init__.py"):
        assert (home / part).exists() or (home / part.removesuffix(".py")).is_dir(), f"{name} has no {part}"
    assert any((home / entry).exists() for entry in ("api.py", "api")), f"{name} has no api"
    assert any((home / entry).exists() for entry in ("handlers.py", "handlers")), f"{name} has no handlers"
    assert sorted((home / "migrations").glob("0001_*.sql")), f"{name} has no first migration"
    service = importlib.import_module(f"services.{name}.app").service
    assert service.name == name
    assert service.package == f"services.{name}"


@pytest.mark.parametrize("path", sorted(ROOT.glob("services/*/domain/**/*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_rule_reads_no_clock_makes_no_id_and_does_no_input_or_output(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            assert not {alias.name.partition(".")[0] for alias in node.names} & FORBIDDEN_IN_DOMAIN, ast.unparse(node)
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").partition(".")[0] not in FORBIDDEN_IN_DOMAIN, ast.unparse(node)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert node.func.attr not in CLOCKS_AND_IDS, f"line {node.lineno}: {ast.unparse(node)}"
        elif isinstance(node, ast.AsyncFunctionDef | ast.Await):
            pytest.fail(f"line {node.lineno}: a rule does not wait")


def test_sql_that_changes_state_stands_only_in_stores() -> None:
    """All SQL of a service sits in `store` and `queries`; what is in `queries` only reads."""
    for path in sorted(ROOT.glob("services/*/**/*.py")):
        where = path.relative_to(ROOT / "services").parts[1].removesuffix(".py")
        texts = [
            node.value.upper()
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        writes = [text for text in texts if any(f"{verb} " in text for verb in ("INSERT INTO", "DELETE FROM"))]
        if where != "store":
            assert not writes, f"{path.relative_to(ROOT)} writes: {writes[0][:80]}"


@pytest.mark.parametrize("name", SERVICES)
def test_no_two_parts_of_a_store_have_a_method_of_one_name(name: str) -> None:
    """The first part would answer for the other without anybody noticing."""
    for store in vars(importlib.import_module(f"services.{name}.store")).values():
        if isinstance(store, type) and all(
            part.__module__.startswith(f"services.{name}.store") for part in store.__bases__
        ):
            defined = [method for part in store.__bases__ for method in vars(part) if not method.startswith("__")]
            assert sorted(defined) == sorted({*defined}), store
