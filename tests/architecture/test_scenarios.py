"""The table of scenarios tells the truth: every test that it names is there."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLES = (ROOT / "docs/scenarios.md").read_text()
ROWS = re.findall(r"^\| (\d+) \| (.+?) \| (.+?) \|$", TABLES, re.MULTILINE)
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


@cache
def functions_of(path: str) -> frozenset[str]:
    """The names of the test functions of a file; none when there is no such file."""
    file = ROOT / path
    tree = ast.parse(file.read_text() if file.exists() else "")
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    )


def test_every_test_that_the_table_of_scenarios_names_exists() -> None:
    missing = [
        f"{number}: {path}::{name}"
        for number, _, shown_by in ROWS
        for path, name in NAMED.findall(shown_by)
        if name not in functions_of(path)
    ]
    assert missing == []


def test_every_scenario_has_a_test_or_says_that_it_is_not_built() -> None:
    bare = [number for number, _, shown_by in ROWS if not NAMED.search(shown_by) and "**not built**" not in shown_by]
    assert bare == []


def test_the_table_of_scenarios_tells_each_number_once_in_order() -> None:
    numbers = [int(number) for number, _, _ in ROWS]
    assert numbers == sorted(set(numbers))
    # What is neither a heading nor a row was not understood above, and would not be checked.
    assert len(numbers) == len(re.findall(r"^\| (?!number|---)", TABLES, re.MULTILINE))
