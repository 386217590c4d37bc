"""How far a proposal agrees with what was chosen, and how likely tokens were."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["agreeing", "logprobs_of"]


def agreeing(chosen: Sequence[int], proposed: Sequence[int]) -> int:
    """How many of the proposed tokens, from the first on, are those that were chosen."""
    for place, (ours, theirs) in enumerate(zip(chosen, proposed, strict=False)):
        if ours != theirs:
            return place
    return min(len(chosen), len(proposed))


def logprobs_of(scores: Tensor, places: Sequence[int], tokens: Sequence[int]) -> Tensor:
    """The log-probability (N,) of a token at each of some places in scores (P, vocabulary)."""
    import torch

    needed = sorted(set(places))
    if 2 * len(needed) < len(scores):
        scores = scores[torch.tensor(needed, device=scores.device)]
        order = {place: number for number, place in enumerate(needed)}
        places = [order[place] for place in places]
    where = torch.tensor([list(places), list(tokens)], device=scores.device)
    return scores.log_softmax(-1)[where[0], where[1]]
