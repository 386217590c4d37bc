"""The frames of a model's CTC branch, scored by its head, on the model's device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vary.model.modeling import VaryForConditionalGeneration, VaryImageFeatures

__all__ = ["ModelFrames"]

SCORED_AT_ONCE = 1024
"""Frames whose scores over the whole vocabulary are in memory at a time."""


class ModelFrames:
    """`vary.engine.ctc.FrameScores` of a model.

    The scores over the whole vocabulary are looked through once and not kept: of most of them nobody asks.

    Args:
        model, features: of the lines.
        never: ids that share the table of scores and are no text.

    Attributes:
        paths: of each line the likeliest id of every valid frame.
    """

    def __init__(
        self, model: VaryForConditionalGeneration, features: VaryImageFeatures, never: Sequence[int]
    ) -> None:
        assert features.ctc_frames is not None
        assert features.ctc_lengths is not None
        self._model, self._never = model, list(never)
        lengths = features.ctc_lengths.tolist()
        hidden = torch.cat([row[:length] for row, length in zip(features.ctc_frames, lengths, strict=True)])
        best, totals = self._looked_through(hidden) if model.survey is None else model.survey(hidden, never)
        self.paths: list[list[int]] = [path.tolist() for path in best.split(lengths)]
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

    def columns(self, line: int, ids: Sequence[int]) -> NDArray[np.float32]:
        """The log-probabilities (frames, len(ids)) of some ids in a line."""
        rows = torch.tensor(list(ids), device=self._hidden[line].device)
        table = self._model.scores(self._hidden[line], rows).float() - self._totals[line][:, None]
        if never := [place for place, token in enumerate(ids) if token in self._never]:
            table[:, never] = -torch.inf
        found: NDArray[np.float32] = table.cpu().numpy()
        return found
