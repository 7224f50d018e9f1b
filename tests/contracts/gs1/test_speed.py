"""A scanner is never waited for."""

from __future__ import annotations

from bench.gs1_parses import BOUND, SCANS, measure
from contracts.gs1 import parse


def test_one_process_parses_thirty_thousand_scans_a_second() -> None:
    assert BOUND == 30_000
    figure = measure()
    assert figure["value"] >= BOUND, figure
    assert figure["holds"]


def test_the_scans_it_is_measured_with_are_of_different_kinds() -> None:
    assert len({tuple(element.ai for element in parse(scan).elements) for scan in SCANS}) >= 8
