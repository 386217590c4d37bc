"""How far a reading is from the truth.  Pure functions of texts: no files, no model.

A character error rate is edits over characters of the truth, both in canonical form: NFKC, with every run of
white space made one blank, and in Chinese removed, because a line break means nothing between Han characters.
A reading cannot lose more than the whole page: its edits are capped at the length of the truth, so that one
page of runaway text does not drown the others.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from vary.errors import MissingDependencyError

__all__ = [
    "UNSPACED_LANGUAGES",
    "ErrorRate",
    "canonical_text",
    "edit_distance",
    "edit_operations",
    "error_rate",
    "total",
]

_WHITE_SPACE = re.compile(r"\s+")
UNSPACED_LANGUAGES = frozenset({"zh"})
"""Texts in these are compared without white space."""


@dataclass(frozen=True, slots=True)
class ErrorRate:
    """Edits and truth characters of one page or of many; rates are pooled, not averaged over pages."""

    edits: int = 0
    characters: int = 0

    @property
    def rate(self) -> float:
        """Edits per character of the truth, 0 to 1; 0.0 where the truth is empty."""
        return self.edits / self.characters if self.characters else 0.0

    def __add__(self, other: ErrorRate) -> ErrorRate:
        return ErrorRate(self.edits + other.edits, self.characters + other.characters)


def canonical_text(text: str, language: str) -> str:
    """The form in which texts are compared: NFKC, one blank per run of white space ("zh": none), no ends."""
    blank = "" if language in UNSPACED_LANGUAGES else " "
    return _WHITE_SPACE.sub(blank, unicodedata.normalize("NFKC", text)).strip()


def edit_distance(left: str, right: str) -> int:
    """The Levenshtein distance in code points.  Raises MissingDependencyError without rapidfuzz."""
    return int(_levenshtein().distance(left, right))


def edit_operations(left: str, right: str) -> list[tuple[int, str]]:
    """The fewest edits that make `right` of `left`: the place in `left`, and `replace`, `delete` or `insert`
    (before the place).  Raises MissingDependencyError without rapidfuzz.
    """
    return [(edit.src_pos, edit.tag) for edit in _levenshtein().editops(left, right)]


def _levenshtein() -> Any:
    try:
        from rapidfuzz.distance import Levenshtein
    except ImportError as error:
        raise MissingDependencyError(
            "evaluation needs the package rapidfuzz, which is not installed: pip install 'vary-toy[train]'"
        ) from error
    return Levenshtein


def error_rate(prediction: str, truth: str, language: str) -> ErrorRate:
    """The capped character error rate of one page's text; `language` is a code such as "en" or "zh"."""
    expected = canonical_text(truth, language)
    edits = edit_distance(canonical_text(prediction, language), expected)
    return ErrorRate(min(edits, len(expected)), len(expected))


def total(rates: Iterable[ErrorRate]) -> ErrorRate:
    """The pooled rate of several pages."""
    return sum(rates, ErrorRate())
