"""The CTC branch of a line model: a first reading in one pass, and where each character stands."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["CTCReading", "align", "greedy_reading"]

Scores = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class CTCReading:
    """A greedy reading: the ids, and the mean log-probability of the frames on its path."""

    ids: list[int]
    logprob: float


def greedy_reading(scores: Tensor, length: int, blank: int) -> CTCReading:
    """The best path through `scores` (frames, vocabulary), log-probabilities of `length` valid frames."""
    best, path = scores[:length].max(-1)
    ids = torch.unique_consecutive(path)
    return CTCReading(ids[ids != blank].tolist(), float(best.mean()) if length else 0.0)


def align(scores: Scores, ids: list[int], blank: int) -> list[tuple[int, int]] | None:
    """Where each of `ids` stands: first and last frame (inclusive) of its stretch on the best path (Viterbi).

    `scores` (frames, vocabulary) are log-probabilities.  Returns None where no path is possible.
    """
    if not ids:
        return []
    labels = np.full(2 * len(ids) + 1, blank)
    labels[1::2] = ids
    frames, states = len(scores), len(labels)
    if frames < len(ids) + sum(a == b for a, b in pairwise(ids)):
        return None
    emission = scores[:, labels]
    skip = np.full(states, -np.inf, np.float32)  # from the label before the last blank, if it is another one
    skip[3::2] = np.where(labels[3::2] != labels[1:-2:2], 0.0, -np.inf)
    best = np.full(states, -np.inf, np.float32)
    best[:2] = emission[0, :2]
    steps = np.zeros((frames, states), np.int8)
    for frame in range(1, frames):
        choices = np.stack(
            [
                best,
                np.concatenate([[-np.inf], best[:-1]]),
                np.concatenate([[-np.inf, -np.inf], best[:-2]]) + skip,
            ]
        )
        steps[frame] = choices.argmax(0)
        best = choices.max(0) + emission[frame]
    state = states - 1 if best[-1] >= best[-2] else states - 2
    if not np.isfinite(best[state]):
        return None
    spans: list[list[int]] = [[frames, -1] for _ in ids]
    for frame in range(frames - 1, -1, -1):
        if state % 2:
            span = spans[state // 2]
            span[0], span[1] = frame, max(span[1], frame)
        state -= int(steps[frame, state])
    return [(first, last) for first, last in spans]
