"""What the decoding loop is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vary.engine.arrays import Array
from vary.engine.drafts import Draft
from vary.engine.guards import LoopFinding

__all__ = ["Decoded", "DraftUse", "OnIds", "Prompt", "RowGuard"]

RowGuard = Callable[[Sequence[int]], LoopFinding | None]
OnIds = Callable[[Sequence[int]], None]


@dataclass(slots=True)
class Prompt:
    """What is to be answered.

    Attributes:
        embeddings: of what the sequence does not hold yet, (T, hidden_size), T at least 1.
        limit: the most tokens that the answer may have, the end of text included.
        ids: the whole prompt, where penalties count what stands in it.
        guard: is fed every new id but the end of text, and ends the answer where it speaks.
        on_ids: hears the ids as they are chosen, the end of text included.
        draft: a guess of the answer.
        check: a guess whose log-probabilities are wanted in any case, its end of text included.  It is read
            whole, with the prompt, and stands for the draft's first chunk.
        sequence: one of the decoder's that holds the prompt's beginning; it is left open.  Otherwise one is
            opened, and closed at the end.
    """

    embeddings: Array
    limit: int
    ids: Sequence[int] = ()
    guard: RowGuard | None = None
    on_ids: OnIds | None = None
    draft: Draft | None = None
    check: Sequence[int] | None = None
    sequence: int | None = None


@dataclass(slots=True)
class DraftUse:
    """What a draft was worth.

    Attributes:
        tokens: of the answer, the end of text included.
        steps: in which they came.
        proposed, accepted: tokens of the draft that were read, and that were kept.
    """

    tokens: int = 0
    steps: int = 0
    proposed: int = 0
    accepted: int = 0

    @property
    def per_step(self) -> float:
        """Tokens of a step; 1 without a draft."""
        return self.tokens / self.steps if self.steps else 0.0

    def __add__(self, other: DraftUse) -> DraftUse:
        return DraftUse(
            self.tokens + other.tokens,
            self.steps + other.steps,
            self.proposed + other.proposed,
            self.accepted + other.accepted,
        )


@dataclass(slots=True)
class Decoded:
    """An answer.

    Attributes:
        ids: its tokens, the end of text included where it was reached.
        logprobs: the model's own log-probability of each.
        finding: what the guard saw.
        use: what the draft was worth.
        checked: the log-probabilities of what was to be checked.
    """

    ids: list[int]
    logprobs: list[float]
    finding: LoopFinding | None
    use: DraftUse
    checked: list[float] | None = None
