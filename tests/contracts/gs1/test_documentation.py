"""The examples in the documentation are true."""

from __future__ import annotations

import doctest
from datetime import date
from types import ModuleType

import pytest

from contracts import gs1
from contracts.gs1 import batch_no, checks


@pytest.mark.parametrize("module", [gs1, batch_no, checks])
def test_the_examples_print_what_they_say(module: ModuleType) -> None:
    result = doctest.testmod(module, extraglobs={"date": date})
    assert result.attempted > 0
    assert result.failed == 0
