"""What the decoding loop does with arrays, of PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from vary.engine.choosing import logprobs_of
from vary.engine.drawing import Chooser
from vary.engine.sampling import Sampling

__all__ = ["TorchArrays"]


class TorchArrays:
    """`vary.engine.arrays.Arrays` of PyTorch, on any device."""

    def reading(self) -> AbstractContextManager[Any]:
        context: AbstractContextManager[Any] = torch.inference_mode()
        return context

    def chooser(self, sampling: Sampling, vocabulary: int, embeddings: Tensor) -> Chooser:
        return Chooser(sampling, vocabulary, embeddings.device)

    def join(self, first: Tensor, second: Tensor) -> Tensor:
        return torch.cat([first, second.to(first.dtype)])

    def suppress(self, scores: Tensor, ids: Sequence[int]) -> None:
        scores[:, list(ids)] = -torch.inf

    def likeliest(self, scores: Tensor) -> list[int]:
        ids: list[int] = scores.argmax(-1).tolist()
        return ids

    def logprobs(self, scores: Tensor, places: Sequence[int], tokens: Sequence[int]) -> Tensor:
        return logprobs_of(scores, places, tokens)

    def numbers(self, parts: Sequence[Tensor]) -> list[float]:
        numbers: list[float] = (parts[0] if len(parts) == 1 else torch.cat(list(parts))).tolist()
        return numbers
