"""What the decoding loop does with arrays, be they PyTorch's or NumPy's: all that it asks of either."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vary.engine.sampling import Sampling
from vary.errors import NativeError

if TYPE_CHECKING:  # it loads PyTorch
    from vary.engine.drawing import Chooser

__all__ = ["Array", "Arrays", "NumpyArrays", "Scores", "arrays_of"]

Array = Any
"""A tensor or an array; whoever works with it knows which."""


class Arrays(Protocol):
    """What is done with the arrays of one library.

    Nothing but `likeliest`, `numbers` and the choice of a `chooser` waits for an accelerator.
    """

    def reading(self) -> AbstractContextManager[Any]:
        """What is computed within needs no gradients."""

    def chooser(self, sampling: Sampling, vocabulary: int, embeddings: Array) -> Chooser:
        """Chooses tokens where more than the scores decide; the scores lie where the embeddings do."""

    def join(self, first: Array, second: Array) -> Array:
        """Embeddings (T, C) and (U, C) to (T + U, C), in the type of the first."""

    def suppress(self, scores: Array, ids: Sequence[int]) -> None:
        """Takes ids out of the choice, in place."""

    def likeliest(self, scores: Array) -> list[int]:
        """The id with the highest score in each row."""

    def logprobs(self, scores: Array, places: Sequence[int], tokens: Sequence[int]) -> Array:
        """The log-probability (N,) of a token at each of some rows."""

    def numbers(self, parts: Sequence[Array]) -> list[float]:
        """The numbers of some arrays, one after the other."""


class Scores(Protocol):
    """Scores of some states over the whole vocabulary, which need not be written out."""

    def suppress(self, ids: Sequence[int]) -> None:
        """Takes ids out of the choice; before anything else is asked."""

    def likeliest(self) -> NDArray[np.int32]:
        """The id (P,) with the highest score of each state."""

    def logprobs(self, places: Sequence[int], tokens: Sequence[int]) -> NDArray[np.float32]:
        """The log-probability (N,) of a token at each of some states."""


class NumpyArrays:
    """`Arrays` of NumPy, without PyTorch; the scores are `Scores`."""

    def reading(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def chooser(self, sampling: Sampling, vocabulary: int, embeddings: Array) -> Chooser:
        raise NativeError("tokens are drawn and repetitions punished by PyTorch; leave the light model out")

    def join(self, first: Array, second: Array) -> Array:
        return np.concatenate([first, second], dtype=first.dtype)

    def suppress(self, scores: Scores, ids: Sequence[int]) -> None:
        scores.suppress(ids)

    def likeliest(self, scores: Scores) -> list[int]:
        ids: list[int] = scores.likeliest().tolist()
        return ids

    def logprobs(self, scores: Scores, places: Sequence[int], tokens: Sequence[int]) -> NDArray[np.float32]:
        return scores.logprobs(places, tokens)

    def numbers(self, parts: Sequence[Array]) -> list[float]:
        numbers: list[float] = np.concatenate(parts).tolist()
        return numbers


def arrays_of(array: Array) -> Arrays:
    """What is done with arrays of this kind."""
    if isinstance(array, np.ndarray):
        return NumpyArrays()
    from vary.engine.torch_arrays import TorchArrays

    return TorchArrays()
