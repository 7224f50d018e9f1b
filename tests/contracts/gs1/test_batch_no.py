"""A batch number is 1 to 20 characters of GS1 AI 10, and a refusal names what is wrong with it."""

from __future__ import annotations

import pytest

from contracts.gs1 import batch_no_problem, is_batch_no


@pytest.mark.parametrize("text", ["A", "BATCH-20251101-001", "20251119-001-A", "!\"%&'()*+,-./:;<=>?_", "x" * 20])
def test_what_a_label_can_carry_is_a_batch_number(text: str) -> None:
    assert is_batch_no(text)
    assert batch_no_problem(text) is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("LOT 7#", "batch number 'LOT 7#' has ' ' and '#': only the GS1 AI-10 characters are allowed, 20 at most"),
        (
            "批次 批",
            "batch number '批次 批' has '批', '次' and ' ': only the GS1 AI-10 characters are allowed, 20 at most",
        ),
        (
            "x" * 21,
            f"batch number '{'x' * 21}' has 21 characters: only the GS1 AI-10 characters are allowed, 20 at most",
        ),
        (
            "#" + "x" * 20,
            (
                f"batch number '#{'x' * 20}' has '#' and 21 characters: "
                "only the GS1 AI-10 characters are allowed, 20 at most"
            ),
        ),
        ("", "batch number '' is empty: 1 to 20 GS1 AI-10 characters are needed"),
        ("A\n", "batch number 'A\\n' has '\\n': only the GS1 AI-10 characters are allowed, 20 at most"),
    ],
)
def test_a_refused_batch_number_is_told_which_characters_are_wrong(text: str, sentence: str) -> None:
    assert not is_batch_no(text)
    assert batch_no_problem(text) == sentence
