"""The error rate: its canonical form, its cap, and its arithmetic."""

from __future__ import annotations

import builtins
import unicodedata
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vary.errors import MissingDependencyError
from vary.evaluation.metrics import ErrorRate, canonical_text, edit_distance, error_rate, total

TEXT = st.text(max_size=40)


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("  a\n\n b\tc ", "en", "a b c"),
        ("ﬁve ２", "en", "five 2"),
        ("中 文\n字", "zh", "中文字"),
        ("中 文\n字", "en", "中 文 字"),
        ("（ａ）", "zh", "(a)"),
        ("\u00a0\u3000", "en", ""),
    ],
)
def test_canonical_text(text: str, language: str, expected: str) -> None:
    assert canonical_text(text, language) == expected


@given(TEXT, st.sampled_from(["en", "zh"]))
def test_canonical_text_is_stable(text: str, language: str) -> None:
    # A free-standing accent is a blank and a combining mark in NFKC, which joins what is left of the blank.
    assume(not any(" " in unicodedata.normalize("NFKC", character) != " " for character in text))
    once = canonical_text(text, language)
    assert canonical_text(once, language) == once


@pytest.mark.parametrize(
    ("left", "right", "edits"), [("", "", 0), ("kitten", "sitting", 3), ("", "abc", 3), ("中文字", "中字", 1)]
)
def test_edit_distance(left: str, right: str, edits: int) -> None:
    assert edit_distance(left, right) == edits


@given(TEXT, TEXT)
def test_error_rate_is_between_nothing_and_everything(prediction: str, truth: str) -> None:
    rate = error_rate(prediction, truth, "en")
    assert 0 <= rate.edits <= rate.characters == len(canonical_text(truth, "en"))
    assert error_rate(truth, truth, "en").edits == 0


def test_runaway_text_costs_one_page_at_most() -> None:
    assert error_rate("junk " * 1000, "short", "en") == ErrorRate(5, 5)


def test_an_empty_reading_loses_every_character() -> None:
    assert error_rate("", "one two", "en").rate == 1.0


def test_an_empty_truth_has_no_rate_to_lose() -> None:
    assert error_rate("something", " \n", "en") == ErrorRate(0, 0)
    assert ErrorRate(0, 0).rate == 0.0


def test_rates_are_pooled_over_characters_not_averaged_over_pages() -> None:
    pooled = total([ErrorRate(1, 1), ErrorRate(0, 99)])
    assert pooled == ErrorRate(1, 100)
    assert pooled.rate == pytest.approx(0.01)


def test_a_missing_rapidfuzz_names_the_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("rapidfuzz"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingDependencyError, match=r"pip install 'vary-toy\[train\]'"):
        edit_distance("a", "b")
