"""What a decoder is: a causal language model that holds the keys and values of some growing sequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from vary.engine.arrays import Array

if TYPE_CHECKING:  # it loads PyTorch
    from vary.engine.drawing import Draws

__all__ = ["Decoder", "Entry", "RunsAhead"]


@dataclass(frozen=True, slots=True)
class Entry:
    """New tokens of one sequence, read behind what the decoder holds of it.

    Attributes:
        sequence: the number that `Decoder.open` gave.
        embeddings: of the new tokens, (T, hidden_size), T at least 1.
        scored: of how many of the last of them the scores are wanted, 0 to T.
    """

    sequence: int
    embeddings: Array
    scored: int = 1


class Decoder(Protocol):
    """A causal language model with the keys and values of some sequences.

    What it computes of a sequence does not depend on the other sequences of a call, up to the rounding of
    matrix products of other sizes (`exact` says whether up to the last bit).

    Attributes:
        name: which implementation and precision this is, for people: "native int4 (AVX2)".
        vocabulary_size: V, the number of scores.
        hidden_size: C, the width of embeddings.
        context: how many tokens a sequence may hold; None where the model knows no end.
        exact: whether the scores of a token are the same bits however its sequence was cut into calls and
            whatever else was in them.
        alone: whether the model has no modules of its own for what this computes.
        token_cost: of one more token in a step of one sequence, in steps: how dear a draft is to check.
    """

    name: str
    vocabulary_size: int
    hidden_size: int
    context: int | None
    exact: bool
    alone: bool
    token_cost: float

    def open(self) -> int:
        """Begins an empty sequence; its number."""

    def close(self, sequence: int) -> None:
        """Forgets a sequence."""

    def length(self, sequence: int) -> int:
        """How many tokens a sequence holds."""

    def cut(self, sequence: int, length: int) -> None:
        """Forgets all but the first `length` tokens of a sequence."""

    def embed(self, ids: Sequence[int]) -> Array:
        """The embeddings (T, hidden_size) of token ids, as `Entry` takes them."""

    def read(self, entries: Sequence[Entry]) -> Array:
        """Reads new tokens of some sequences, each named once.

        Returns the wanted scores (sum of `scored`, vocabulary_size) in float32, on the device of the model,
        entry after entry and in each in the order of its tokens; of NumPy's arrays what stands for them, see
        `vary.engine.arrays.Scores`.

        Raises:
            ContextError: if a sequence grew longer than `context`.
        """


@runtime_checkable
class RunsAhead(Protocol):
    """A decoder that also chooses: several steps of tokens, before anybody looks at them.

    Attributes:
        ahead: steps that are worth taking at once: more save time, and are in vain where an answer ends.
    """

    ahead: int

    def run(
        self,
        sequences: Sequence[int],
        ids: Sequence[int],
        steps: int,
        suppressed: Sequence[int] = (),
        draws: Draws | None = None,
    ) -> tuple[list[list[int]], Array]:
        """Reads a token of each sequence, then the next one, which it chooses, and so on.

        Args:
            sequences: each named once.
            ids: the token of each that is read first.
            steps: tokens that are read, at least 1.
            suppressed: ids that are never chosen.
            draws: how the next tokens are chosen, a row for each sequence; without it they are the likeliest.

        Returns:
            The tokens chosen after each one read, of every sequence `steps`, the last of which is not read;
            and their log-probabilities (sequences, steps) among what is not suppressed.

        Raises:
            ContextError: if a sequence grew longer than `context`.
        """
