"""Which tokens follow: chosen by `Sampling` where more than the scores decide, and how likely they were."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vary.engine.sampling import Sampling

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["Chooser", "agreeing", "logprobs_of"]


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


class Chooser:
    """Chooses the tokens of one answer where more than its scores decide.

    Every answer draws by itself, from a generator that begins at the seed: so it does not depend on what is
    decoded beside it, nor on how many of its tokens were checked at once.

    Args:
        sampling: how.
        prompt: the ids before the answer, which count for penalties.
        device: of the scores.
    """

    def __init__(self, sampling: Sampling, prompt: Sequence[int], device: torch.device) -> None:
        import torch

        self._prompt = list(prompt)
        self._drawn = sampling.temperature > 0
        self._processors = sampling.processors(torch.ones((1, 1), dtype=torch.long, device=device))
        self._processors += sampling.warpers()
        self._generator = sampling.generator(device)

    def choose(self, scores: Tensor, answer: Sequence[int], proposed: Sequence[int]) -> list[int]:
        """The next tokens: the proposed ones as long as they are chosen, and one that was chosen anyhow.

        Args:
            scores: (P, vocabulary), the first after the answer, each further one after one more proposed id.
            answer: the ids so far.
            proposed: P - 1 ids.
        """
        import torch

        chosen: list[int] = []
        past = torch.tensor([[*self._prompt, *answer, *proposed]], dtype=torch.long, device=scores.device)
        known = len(self._prompt) + len(answer)
        for place in range(len(scores)):
            row = self._processors(past[:, : known + place], scores[place : place + 1].clone())
            if self._drawn:
                token = int(torch.multinomial(row.softmax(-1), 1, generator=self._generator))
            else:
                token = int(row.argmax(-1))
            chosen.append(token)
            if place < len(proposed) and token != proposed[place]:
                break
        return chosen
