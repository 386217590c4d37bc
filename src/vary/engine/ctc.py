"""The CTC branch of a line model: a first reading in one pass, and where each character stands."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vary.model.modeling import VaryForConditionalGeneration, VaryImageFeatures

__all__ = ["CTCFrames", "Place", "align", "spell"]

Scores = NDArray[np.float32]
Place = tuple[int, int, float]
"""First and last frame (inclusive) of a token, and its best log-probability in one of them."""

SCORED_AT_ONCE = 1024
"""Frames whose scores over the whole vocabulary are in memory at a time."""


class CTCFrames:
    """What the CTC branch sees of a batch of lines.

    The scores over the whole vocabulary are looked through once and not kept: of most of them nobody asks.

    Args:
        model, features: of the lines.
        blank: the id that stands for no character.
        never: ids that share the table of scores and are no text.

    Attributes:
        paths: of each line the likeliest id of every valid frame.
    """

    def __init__(
        self,
        model: VaryForConditionalGeneration,
        features: VaryImageFeatures,
        blank: int,
        never: Sequence[int],
    ) -> None:
        assert features.ctc_frames is not None
        assert features.ctc_lengths is not None
        self._model, self._blank, self._never = model, blank, list(never)
        lengths = features.ctc_lengths.tolist()
        hidden = torch.cat([row[:length] for row, length in zip(features.ctc_frames, lengths, strict=True)])
        best, totals = self._looked_through(hidden) if model.survey is None else model.survey(hidden, never)
        self.paths = [path.tolist() for path in best.split(lengths)]
        self._hidden = hidden.split(lengths)
        self._totals = totals.split(lengths)

    def _looked_through(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Of frames (N, C) the likeliest id (N,) and the logarithm of the sum of exponentials (N,)."""
        best, totals = [], []
        for part in hidden.split(SCORED_AT_ONCE):
            scores = self._model.scores(part).float()
            scores[:, self._never] = -torch.inf
            best.append(scores.argmax(-1))
            totals.append(scores.logsumexp(-1))
        return torch.cat(best), torch.cat(totals)

    def columns(self, line: int, ids: Sequence[int]) -> Tensor:
        """The log-probabilities (frames, len(ids)) of some ids in a line, on the CPU."""
        rows = torch.tensor(list(ids), device=self._hidden[line].device)
        table = self._model.scores(self._hidden[line], rows).float() - self._totals[line][:, None]
        if never := [place for place, token in enumerate(ids) if token in self._never]:
            table[:, never] = -torch.inf
        return table.cpu()

    def places(self, lines: Sequence[int], texts: Sequence[Sequence[int]]) -> list[list[Place] | None]:
        """Where each id of some lines' texts stands; None where no path is possible."""
        tables = [
            self.columns(line, [self._blank, *ids]).numpy() for line, ids in zip(lines, texts, strict=True)
        ]
        return align(tables, texts)

    def logprob(self, line: int, ids: Sequence[int]) -> float:
        """The log-probability of a text, over all its paths."""
        if not ids:
            return float(self.columns(line, [self._blank]).sum())
        symbols = sorted(set(ids) - {self._blank})
        table = self.columns(line, [self._blank, *symbols])
        places = {token: place for place, token in enumerate(symbols, 1)} | {self._blank: 0}
        target = torch.tensor([[places[token] for token in ids]])
        loss = F.ctc_loss(
            table[:, None], target, torch.tensor([len(table)]), torch.tensor([len(ids)]), reduction="sum"
        )
        return -float(loss)


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
    best = np.full((rows, states + 2), -np.inf)
    best[:, 2] = 0.0
    stay, step, jump = best[:, 2:], best[:, 1:-1], best[:, :-2]
    moves = np.zeros((frames, rows, states), np.int8)
    for frame in range(frames):
        steps = step > stay
        chosen = np.where(steps, step, stay)
        far = jump + skip
        jumps = far > chosen
        moves[frame] = np.where(jumps, 2, steps)
        best[:, 2:] = np.where(jumps, far, chosen) + emission[frame]
    last = np.array([2 * len(ids) for ids in texts])
    row = np.arange(rows)
    ends, before = stay[row, last], np.where(last > 0, stay[row, last - 1], -np.inf)
    state = np.where(ends >= before, last, last - 1)
    possible = np.isfinite(np.maximum(ends, before))
    path = np.zeros((frames, rows), np.int64)
    for frame in range(frames - 1, -1, -1):
        path[frame] = state
        state = state - moves[frame, row, state]
    return [
        _places(path[frames - len(table) :, number], table, ids) if possible[number] else None
        for number, (table, ids) in enumerate(zip(tables, texts, strict=True))
    ]


def _emissions(
    tables: Sequence[Scores], texts: Sequence[Sequence[int]], frames: int, states: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What each state emits in each frame, (frames, rows, states), and where a blank may be skipped.

    States are blank, id, blank, id, ..., blank.  Before the first frame of a shorter line stand frames that
    only the first blank can pass, for nothing.
    """
    emission = np.full((frames, len(texts), states), -np.inf)
    skip = np.full((len(texts), states), -np.inf)
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
