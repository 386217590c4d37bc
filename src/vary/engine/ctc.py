"""The CTC branch of a line model: a first reading in one pass, and where each character stands."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["CTCFrames", "FrameScores", "Place", "align", "spell", "total_logprobs"]

Scores = NDArray[np.float32]
Place = tuple[int, int, float]
"""First and last frame (inclusive) of a token, and its best log-probability in one of them."""


class FrameScores(Protocol):
    """What a CTC branch has found in the frames of some lines, but for scores that nobody asks for."""

    @property
    def paths(self) -> Sequence[Sequence[int]]:
        """Of each line the likeliest id of every valid frame."""

    def columns(self, line: int, ids: Sequence[int]) -> Scores:
        """The log-probabilities (frames, len(ids)) of some ids in a line."""


class CTCFrames:
    """What the CTC branch sees of a batch of lines.

    Args:
        scores: of the lines' frames.
        blank: the id that stands for no character.

    Attributes:
        paths: of each line the likeliest id of every valid frame.
    """

    def __init__(self, scores: FrameScores, blank: int) -> None:
        self._scores, self._blank = scores, blank
        self.paths = [list(path) for path in scores.paths]

    def places(self, lines: Sequence[int], texts: Sequence[Sequence[int]]) -> list[list[Place] | None]:
        """Where each id of some lines' texts stands; None where no path is possible."""
        return align(self._tables(lines, texts), texts)

    def logprobs(self, lines: Sequence[int], texts: Sequence[Sequence[int]]) -> list[float]:
        """The log-probability of each of some lines' texts, over all its paths."""
        return total_logprobs(self._tables(lines, texts), texts)

    def _tables(self, lines: Sequence[int], texts: Sequence[Sequence[int]]) -> list[Scores]:
        return [
            self._scores.columns(line, [self._blank, *ids]) for line, ids in zip(lines, texts, strict=True)
        ]


def spell(path: Sequence[int], blank: int) -> list[int]:
    """The ids that a path through the frames spells: neither blanks nor repetitions count."""
    return [token for token, _ in groupby(path) if token != blank]


def align(tables: Sequence[Scores], texts: Sequence[Sequence[int]]) -> list[list[Place] | None]:
    """Where each id of some texts stands on the best path (Viterbi), for all of them at once.

    Args:
        tables: of each text the log-probabilities (frames, 1 + ids) of the blank and of its ids.
        texts: the ids.

    Returns:
        For each text the place of every id, or None where no path is possible.
    """
    if not texts:
        return []
    frames, rows = max(map(len, tables)), len(texts)
    states = 2 * max(map(len, texts)) + 1
    emission, skip = _emissions(tables, texts, frames, states)
    # Two states before the first make every state's predecessors views of the same table.
    best = np.full((frames + 1, rows, states + 2), -np.inf)
    best[0, :, 2] = 0.0
    far = np.empty((rows, states))
    for frame in range(frames):
        before, now = best[frame], best[frame + 1, :, 2:]
        np.add(before[:, :-2], skip, out=far)
        np.maximum(before[:, 2:], before[:, 1:-1], out=now)
        np.maximum(now, far, out=now)
        now += emission[frame]
    last = np.array([2 * len(ids) for ids in texts])
    row, skips = np.arange(rows), skip.ravel()
    ends, before = best[-1, row, last + 2], np.where(last > 0, best[-1, row, last + 1], -np.inf)
    state = np.where(ends >= before, last, last - 1)
    possible = np.isfinite(np.maximum(ends, before))
    path = np.zeros((frames, rows), np.int64)
    for frame in range(frames - 1, -1, -1):
        path[frame] = state
        table, place = best[frame].ravel(), row * (states + 2) + state
        step, stay = table[place + 1], table[place + 2]
        far = table[place] + skips[row * states + state]
        state = state - np.where(far > np.maximum(stay, step), 2, step > stay)
    return [
        _places(path[frames - len(table) :, number], table, ids) if possible[number] else None
        for number, (table, ids) in enumerate(zip(tables, texts, strict=True))
    ]


def total_logprobs(tables: Sequence[Scores], texts: Sequence[Sequence[int]]) -> list[float]:
    """The log-probability of each text over all its paths (the forward algorithm), for all of them at once.

    Arguments as in `align`; minus infinity where no path is possible.
    """
    if not texts:
        return []
    frames, rows = max(map(len, tables)), len(texts)
    states = 2 * max(map(len, texts)) + 1
    emission, skip = _emissions(tables, texts, frames, states)
    # Probabilities and no logarithms of them, which take twice as long to add; each row by its largest: of a
    # text only paths are lost that are 1e300 times as unlikely as another one's beginning.
    largest = np.maximum(emission.max(-1, keepdims=True), np.finfo(np.float32).min)
    emitted, skips = np.exp(emission - largest, dtype=np.float64), np.exp(skip, dtype=np.float64)
    total = np.zeros((rows, states + 2))
    total[:, 2] = 1.0
    scale = largest[:, :, 0].sum(0, dtype=np.float64)
    for frame in range(frames):
        now = total[:, 2:] + total[:, 1:-1]
        now += total[:, :-2] * skips
        now *= emitted[frame]
        peak = np.maximum(now.max(-1), np.finfo(np.float64).tiny)
        scale += np.log(peak)
        np.divide(now, peak[:, None], out=total[:, 2:])
    last = np.array([2 * len(ids) for ids in texts])
    row = np.arange(rows)
    with np.errstate(divide="ignore"):  # of what is impossible
        sums = np.log(total[row, last + 2] + np.where(last > 0, total[row, last + 1], 0.0))
    values: list[float] = (sums + scale).tolist()
    return values


def _emissions(
    tables: Sequence[Scores], texts: Sequence[Sequence[int]], frames: int, states: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What each state emits in each frame, (frames, rows, states), and where a blank may be skipped.

    States are blank, id, blank, id, ..., blank.  Before the first frame of a shorter line stand frames that
    only the first blank can pass, for nothing.
    """
    emission = np.full((frames, len(texts), states), -np.inf, np.float32)
    skip = np.full((len(texts), states), -np.inf, np.float32)
    for row, (table, ids) in enumerate(zip(tables, texts, strict=True)):
        first, size = frames - len(table), 2 * len(ids) + 1
        emission[:first, row, 0] = 0.0
        emission[first:, row, 0:size:2] = table[:, :1]
        emission[first:, row, 1:size:2] = table[:, 1:]
        for number, (before, after) in enumerate(pairwise(ids), 1):
            if before != after:
                skip[row, 2 * number + 1] = 0.0
    return emission, skip


def _places(path: NDArray[np.int64], table: Scores, ids: Sequence[int]) -> list[Place]:
    """The place of each id on a path of states."""
    if not ids:
        return []
    frames = np.flatnonzero(path % 2)
    labels = path[frames] // 2
    values = table[frames, labels + 1]
    firsts = np.searchsorted(labels, np.arange(len(ids)))
    lasts = np.append(firsts[1:], len(labels)) - 1
    peaks = np.maximum.reduceat(values, firsts)
    return list(zip(frames[firsts].tolist(), frames[lasts].tolist(), peaks.tolist(), strict=True))
