"""The official GS1 data, on machines that have it beside the repository; its tests are skipped elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

_BESIDE = Path(__file__).parents[3].parent / "shared" / "data"


def official(name: str) -> str:
    """The text of an official file; skips the calling test where it is absent."""
    path = _BESIDE / name
    if not path.is_file():
        pytest.skip(f"official GS1 data {name} is not beside the repository")
    return path.read_text("utf-8")
