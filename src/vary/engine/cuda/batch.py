"""What a decoder asks of a GPU: a batch of tokens through a layer, and their scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from vary.engine.cuda.weights import LayerWeights

__all__ = ["Batch", "Operations"]


@dataclass(frozen=True, slots=True)
class Batch:
    """New tokens of some sequences.

    Attributes:
        table: pages of the cache's rows, (rows, columns), int32.
        rows: of each token, (N,), int32.
        positions: of each token, (N,), int32.
        fresh: first and last token, plus one, of the sequences that begin with this batch; they are the last.
    """

    table: Tensor
    rows: Tensor
    positions: Tensor
    fresh: tuple[tuple[int, int], ...] = ()


class Operations(Protocol):
    """What computes a layer: x (N, C) in, x out; and the scores of some states."""

    def layer(self, weights: LayerWeights, x: Tensor, keys: Tensor, values: Tensor, batch: Batch) -> Tensor:
        """The states behind a layer, (N, C); keys and values of the tokens are added to its cache."""

    def scores(self, x: Tensor) -> Tensor:
        """The head's scores (N, V) in float32 of states (N, C)."""
