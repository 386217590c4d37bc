"""Choosing tokens by more than their scores: penalties for what was said, and draws, with tensors alone.

What is chosen is a function of the scores, of what was said before, and of one random number for each place
of an answer.  So it is the same, up to rounding, on every device; and it is the same however many answers are
decoded beside it, however many of its tokens a draft lets be checked at once, and however many steps are
taken before anybody looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import NoRepeatNGramLogitsProcessor

from vary.engine.sampling import Sampling

__all__ = ["Chooser", "Draws", "Past", "Place", "choose", "draw", "punish", "weigh"]

BLOCK = 512
"""Random numbers that are drawn at once."""


def punish(scores: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Scores (N, V), those of the tokens in `seen` (N, V) divided, or multiplied where they are negative."""
    return torch.where(seen, torch.where(scores < 0, scores * penalty, scores / penalty), scores)


def weigh(scores: Tensor, sampling: Sampling) -> Tensor:
    """The scores (N, V) that tokens are drawn by, -inf for those that are not kept.

    Temperature, then `top_k` (with all that are as likely as the last of them), then `top_p`, as the library
    does.
    """
    if sampling.temperature != 1:
        scores = scores / sampling.divisor
    if sampling.top_k:
        least = scores.topk(min(sampling.top_k, scores.shape[-1]), -1).values[..., -1:]
        scores = scores.masked_fill(scores < least, -torch.inf)
    if sampling.top_p < 1:
        ordered, order = scores.sort(-1)
        dropped = ordered.softmax(-1).cumsum(-1) <= 1 - sampling.top_p
        dropped[..., -1] = False
        scores = scores.masked_fill(dropped.scatter(-1, order, dropped), -torch.inf)
    return scores


def draw(scores: Tensor, uniforms: Tensor) -> Tensor:
    """Tokens (N,) drawn by scores (N, V) with random numbers (N,) from 0 to 1, 1 excluded.

    The number says where among the probabilities, one behind the other, the token lies.
    """
    sums = scores.to(uniforms.dtype).softmax(-1).cumsum(-1)
    whole = sums[:, -1:].contiguous()
    found = torch.searchsorted(sums, uniforms[:, None] * whole, right=True)
    # Rounding may lead to the very end, behind the last token that has a probability.
    return torch.minimum(found, torch.searchsorted(sums, whole))[:, 0]


def choose(scores: Tensor, sampling: Sampling, uniforms: Tensor | None) -> Tensor:
    """Tokens (N,) for scores (N, V) that were punished: drawn, or without random numbers the likeliest."""
    return scores.argmax(-1) if uniforms is None else draw(weigh(scores, sampling), uniforms)


class Past:
    """What an answer's next tokens follow from, beside the scores.

    Args:
        ids: of the prompt.
        seen: where the ids of the prompt and the answer are marked, (V,); None where it does not matter.
        seed: of the random numbers; None draws one from torch's global state.
        drawn: whether there are random numbers at all.
    """

    def __init__(self, ids: Sequence[int], seen: Tensor | None, seed: int | None, *, drawn: bool) -> None:
        self.ids, self.seen = list(ids), seen
        self._prompt = len(self.ids)
        self._uniforms = torch.empty(0, dtype=torch.float64)
        self._generator = torch.Generator() if drawn else None
        if self._generator is not None:
            self._generator.manual_seed(int(torch.randint(2**63 - 1, ())) if seed is None else seed)
        self._mark(self.ids)

    @property
    def length(self) -> int:
        """Of the answer so far."""
        return len(self.ids) - self._prompt

    def follow(self, ids: Sequence[int]) -> None:
        """Takes the ids by which the answer has grown."""
        self.ids += ids
        self._mark(ids)

    def uniforms(self, count: int) -> Tensor:
        """The random numbers (count,) of the answer's next tokens; each has its own from the beginning."""
        first = self.length
        while len(self._uniforms) < first + count:
            block = torch.rand(BLOCK, dtype=torch.float64, generator=self._generator)
            self._uniforms = torch.cat([self._uniforms, block])
        return self._uniforms[first : first + count]

    def _mark(self, ids: Sequence[int]) -> None:
        if self.seen is not None:
            self.seen[torch.tensor(list(ids), dtype=torch.long, device=self.seen.device)] = True


Place = tuple[Past, Sequence[int]]
"""An answer and the ids that a draft proposes to follow: scores come after it and after each of these."""


@dataclass(slots=True)
class Draws:
    """What a decoder needs to choose several tokens of some answers by itself.

    Attributes:
        sampling: how.
        seen: the ids that count for the penalty, (B, V); None without one.  It grows with what is chosen.
        uniforms: a random number for each answer and step, (B, steps); None where the likeliest is taken.
    """

    sampling: Sampling
    seen: Tensor | None
    uniforms: Tensor | None

    def choose(self, scores: Tensor, step: int) -> Tensor:
        """The tokens (B,) of a step, by scores (B, V); nothing waits for a device."""
        if self.seen is not None:
            scores = punish(scores, self.seen, self.sampling.penalty)
        chosen = choose(scores, self.sampling, None if self.uniforms is None else self.uniforms[:, step])
        if self.seen is not None:
            self.seen.scatter_(1, chosen[:, None], True)
        return chosen


class Chooser:
    """Chooses the tokens of some answers where more than their scores decide.

    Args:
        sampling: how.
        vocabulary: V, the number of scores.
        device: of the scores.
    """

    def __init__(self, sampling: Sampling, vocabulary: int, device: torch.device) -> None:
        self._sampling, self._vocabulary, self._device = sampling, vocabulary, device
        self._ngrams = None
        if sampling.no_repeat_ngram_size:
            self._ngrams = NoRepeatNGramLogitsProcessor(sampling.no_repeat_ngram_size)
        # Not every kind of accelerator has numbers of 64 bits.
        self._kind = torch.float64 if device.type in ("cpu", "cuda") else torch.float32

    @property
    def ahead(self) -> bool:
        """Whether tokens can be chosen where nobody looks at them: n-grams are looked for on the host."""
        return self._ngrams is None

    def begin(self, prompt: Sequence[int]) -> Past:
        """An answer behind the ids of its prompt, which count for penalties."""
        seen = None
        if self._sampling.repetition_penalty != 1:
            seen = torch.zeros(self._vocabulary, dtype=torch.bool, device=self._device)
        return Past(prompt, seen, self._sampling.seed, drawn=self._sampling.temperature > 0)

    def draws(self, answers: Sequence[Past], steps: int) -> Draws:
        """What some answers' next tokens follow from."""
        masks = [past.seen for past in answers if past.seen is not None]
        seen = torch.stack(masks) if masks else None
        return Draws(self._sampling, seen, self._uniforms([past.uniforms(steps) for past in answers], steps))

    def choose(self, scores: Tensor, places: Sequence[Place]) -> list[int]:
        """The next tokens by scores (P, V), one after the other, of all places.

        A token behind proposed ids is the one to choose if these are what was chosen.
        """
        if self._sampling.repetition_penalty != 1:
            scores = punish(scores, self._seen(places), self._sampling.penalty)
        if self._ngrams is not None:
            scores = self._without_ngrams(scores, places)
        uniforms = self._uniforms([past.uniforms(len(proposed) + 1) for past, proposed in places])
        chosen: list[int] = choose(scores, self._sampling, uniforms).tolist()
        return chosen

    def _uniforms(self, parts: Sequence[Tensor], columns: int | None = None) -> Tensor | None:
        """The random numbers on the device, one after the other or in rows; None where nothing is drawn."""
        if not self._sampling.temperature:
            return None
        # Rounded to fewer bits they might become 1.
        numbers = torch.cat(list(parts)).to(self._kind).clamp(max=1 - torch.finfo(self._kind).eps)
        numbers = numbers.to(self._device)
        return numbers if columns is None else numbers.view(-1, columns)

    def _seen(self, places: Sequence[Place]) -> Tensor:
        """What was said before each token to choose, (P, V)."""
        counts, rows, ids, first = [], list[int](), list[int](), 0
        for _, proposed in places:
            for place, token in enumerate(proposed):
                later = range(first + place + 1, first + len(proposed) + 1)
                rows += later
                ids += [token] * len(later)
            counts.append(len(proposed) + 1)
            first += counts[-1]
        masks = torch.stack([past.seen for past, _ in places if past.seen is not None])
        seen = masks.repeat_interleave(torch.tensor(counts, device=self._device), 0, output_size=first)
        if rows:
            where = torch.tensor([rows, ids], device=self._device)
            seen[where[0], where[1]] = True
        return seen

    def _without_ngrams(self, scores: Tensor, places: Sequence[Place]) -> Tensor:
        """Scores, -inf for the tokens that would repeat n tokens in a row."""
        assert self._ngrams is not None
        rows = list[Tensor]()
        for past, proposed in places:
            ids = torch.tensor([[*past.ids, *proposed]])
            for end in range(len(past.ids), ids.shape[1] + 1):
                rows.append(self._ngrams(ids[:, :end], scores[len(rows) : len(rows) + 1]))
        return torch.cat(rows)
