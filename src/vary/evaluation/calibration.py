"""Whether confidence means what it says: lines judged against the truth, and the errors of their confidence.

A line's confidence is right if of all lines with 0.9 nine in ten are read exactly.  Pure functions of texts
and numbers: no files, no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vary.evaluation.metrics import UNSPACED_LANGUAGES, canonical_text, edit_operations

__all__ = ["BINS", "Bin", "Calibration", "area_under_curve", "calibration", "exact_lines"]

BINS = 15
"""Bins of an expected calibration error, unless another number is asked for."""
REPLACED, DELETED = 1, 2

Values = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Bin:
    """Lines of like confidence: how many, their mean confidence, and the share that is exact."""

    lines: int
    confidence: float
    exact: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """How good the confidences of some lines are.

    Attributes:
        lines, exact, confidence: how many, the share that is exact, the mean confidence.
        ece: the expected calibration error over bins of equal width: the mean over the lines of the distance
            between a bin's mean confidence and its share of exact lines.
        ece_mass: the same over bins of equally many lines.
        area: the probability that an exact line has more confidence than another, a half for equal ones; None
            where all lines are exact, or none.
        bins, bins_mass: of equal width, from the least confidence up, without the empty ones; of equal mass.
    """

    lines: int
    exact: float
    confidence: float
    ece: float
    ece_mass: float
    area: float | None
    bins: tuple[Bin, ...]
    bins_mass: tuple[Bin, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON-serialisable."""
        return asdict(self)


def exact_lines(lines: Sequence[str], truth: str, language: str) -> list[bool]:
    """For each line that was read of a page, whether exactly its text stands there.

    The truth need not have the page's line breaks: the lines together are aligned with the whole truth by the
    fewest edits, in the form in which error rates are counted (`canonical_text`).  A line is exact if there
    is no edit inside of it nor at its ends; what is missing between two lines counts against both.  A line
    without text is never exact.  Raises MissingDependencyError without rapidfuzz.
    """
    texts = [canonical_text(line, language) for line in lines]
    blank = "" if language in UNSPACED_LANGUAGES else " "
    read = blank.join(filter(None, texts))
    changed = np.zeros(len(read) + 1, np.uint8)  # the worst edit at each character, and after the last
    added = np.zeros(len(read) + 1, bool)  # whether the truth has more in front of it
    for place, kind in edit_operations(read, canonical_text(truth, language)):
        if kind == "insert":
            added[place] = True
        else:
            changed[place] = DELETED if kind == "delete" else REPLACED
    starts = np.cumsum([0, *(len(text) + len(blank) for text in texts if text)])
    spans = [(int(start), int(end) - len(blank)) for start, end in pairwise(starts)]
    # Where nothing of a line stands there, its blanks are its own and no error of the lines beside it.
    alien = [bool((changed[start:end] == DELETED).all()) for start, end in spans]
    found = []
    for number, (start, end) in enumerate(spans):
        left = start if number == 0 or alien[number - 1] else start - len(blank)
        right = end if number + 1 == len(spans) or alien[number + 1] else end + len(blank)
        found.append(not changed[left:right].any() and not added[left : right + 1].any())
    ended = iter(found)
    return [bool(text) and next(ended) for text in texts]


def calibration(confidences: Sequence[float], exact: Sequence[bool], *, bins: int = BINS) -> Calibration:
    """What the confidences of lines are worth.  Raises ValueError for no lines, or unequal numbers."""
    values, flags = np.asarray(confidences, np.float64), np.asarray(exact, np.bool_)
    if not len(values) or len(values) != len(flags):
        raise ValueError(f"{len(values)} confidences for {len(flags)} lines; expected as many, at least one")
    wide = np.minimum((values * bins).astype(np.int64), bins - 1)
    by_width = [_bin(values, flags, np.flatnonzero(wide == number)) for number in range(bins)]
    order = np.argsort(values, kind="stable")
    by_mass = [_bin(values, flags, part) for part in np.array_split(order, min(bins, len(order)))]
    filled = tuple(one for one in by_width if one.lines)
    return Calibration(
        lines=len(values),
        exact=float(flags.mean()),
        confidence=float(values.mean()),
        ece=_error(filled),
        ece_mass=_error(by_mass),
        area=area_under_curve(values, flags),
        bins=filled,
        bins_mass=tuple(by_mass),
    )


def area_under_curve(values: Values, flags: Flags) -> float | None:
    """The area under the ROC curve of values against flags, by ranks; None unless both flags occur."""
    positive = int(flags.sum())
    negative = len(flags) - positive
    if not positive or not negative:
        return None
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]  # equal values share the mean of their ranks
    return float((ranks[flags].sum() - positive * (positive + 1) / 2) / (positive * negative))


def _bin(values: Values, flags: Flags, members: NDArray[np.intp]) -> Bin:
    if not len(members):
        return Bin(0, 0.0, 0.0)
    return Bin(len(members), float(values[members].mean()), float(flags[members].mean()))


def _error(bins: Sequence[Bin]) -> float:
    total = sum(one.lines for one in bins)
    return sum(one.lines * abs(one.confidence - one.exact) for one in bins) / total
