"""Drafts: a cheap guess of an answer, followed while the answer is written, and what it says comes next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["TOKEN_COST", "ChunkLength", "Draft", "Follower", "IdDraft", "TextDraft"]

Symbols = NDArray[np.int64]
Ratings = NDArray[np.float64]

BEHIND, AHEAD = 256, 512
"""Symbols of the draft around the place in it among which the answer is looked for."""
SUBSTITUTED, OPENED, EXTENDED = 1.0, 1.2, 0.2
"""Cost of a symbol that the draft has otherwise; of a stretch that only one of them has, and of each symbol
of it.  An equal symbol earns a quarter of its information in bits, as the draft's frequencies are."""
BREAK = 0.8
"""A place before a blank is worth this more: tokens, and so the answer so far, like to end there."""
LOST = 20.0
"""No place in the window is worse than the best by more than this: so much evidence makes a jump."""
SURE_RUN = 24
"""After so many equal symbols in a row the place is certain, and nothing else is considered."""
SEARCH, SEARCH_AFTER = 10, 16
"""So many symbols at the end of the answer are looked for in the whole draft when the best alignment has not
grown better for so many symbols."""
TOKEN_COST = 0.07
"""Of one more token in a step, in steps, where the weights are read from memory anew in every step."""
MEMORY = 0.98
"""What an observation of a proposed token counts after one more."""


class Follower:
    """Where in a reference the answer stands that is written after it, with errors on either side.

    While the two agree nothing is computed.  From a difference on, the places around are rated by the best
    alignment of the answer that ends there (one row of the table for each symbol, gaps cheap to extend, in a
    window of the reference, so that a step costs the same however long the page is); an answer that agrees
    with none of them is looked for in the whole reference.

    Args:
        reference: its symbols.
        breaks: for each of them and for the end, whether the answer so far would like to end before it.

    Attributes:
        place: the reference's symbol that probably comes next, 0 to its length.
    """

    def __init__(self, reference: Symbols, breaks: NDArray[np.bool_] | None = None) -> None:
        self.reference = reference
        self.place = 0
        self._liked: Ratings | None = None if breaks is None else BREAK * breaks.astype(np.float64)
        self._earned = _information(reference)
        self._recent: list[int] = []
        self._run = 0
        self._start = 0
        self._ratings: Ratings | None = None
        self._inserted: Ratings = np.zeros(0)
        self._peak, self._since_peak = 0.0, 0

    def follow(self, symbols: Sequence[int]) -> None:
        """Takes what the answer has grown by."""
        self._recent = [*self._recent, *symbols][-SEARCH:]
        first = 0
        if self._ratings is None:
            first = self._agreeing(symbols)
            self.place += first
            if first == len(symbols):
                return
            self._look_around()
        for symbol in symbols[first:]:
            self._rate(symbol)
        if self._run >= SURE_RUN:
            self._ratings = None
        elif self._since_peak >= SEARCH_AFTER:
            self._search()

    def _agreeing(self, symbols: Sequence[int]) -> int:
        """How many symbols are those of the reference, from the place on."""
        reference = self.reference[self.place : self.place + len(symbols)]
        for number, (ours, theirs) in enumerate(zip(symbols, reference.tolist(), strict=False)):
            if ours != theirs:
                return number
        return len(reference)

    def _look_around(self) -> None:
        """Begins to rate the places around the present one."""
        self._start = max(0, self.place - BEHIND)
        places = np.arange(self._start, min(len(self.reference), self.place + AHEAD) + 1)
        far = np.abs(places - self.place)
        self._ratings = np.where(far > 0, np.maximum(-OPENED - EXTENDED * far, -LOST), 0.0)
        self._ratings[places < self.place] = -LOST
        self._inserted = np.full(len(places), -2 * LOST)
        self._peak, self._since_peak, self._run = 0.0, 0, 0

    def _rate(self, symbol: int) -> None:
        """One more symbol of the answer: one more row of the table of alignments."""
        assert self._ratings is not None
        end = self._start + len(self._ratings) - 1
        if self.place - self._start > BEHIND + AHEAD // 2 and end < len(self.reference):
            self._slide()
            end = self._start + len(self._ratings) - 1
        before = self._ratings
        equal = self.reference[self._start : end] == symbol
        steps = before[:-1] + np.where(equal, self._earned[self._start : end], -SUBSTITUTED)
        self._inserted = np.maximum(self._inserted, before - OPENED) - EXTENDED
        rated = self._inserted.copy()
        np.maximum(rated[1:], steps, out=rated[1:])
        best = int(rated.argmax())
        ramp = _ramp(len(rated))
        skipped = np.maximum.accumulate(rated + ramp) - ramp - OPENED
        self._ratings = np.maximum(np.maximum(rated, skipped), rated[best] - LOST)
        agrees = best > 0 and bool(equal[best - 1]) and rated[best] == steps[best - 1]
        self._run = self._run + 1 if agrees else 0
        self._since_peak += 1
        if rated[best] > self._peak:
            self._peak, self._since_peak = float(rated[best]), 0
        if self._liked is not None:
            best = int((rated + self._liked[self._start : end + 1]).argmax())
        self.place = self._start + best

    def _slide(self) -> None:
        """Moves the window after the place."""
        assert self._ratings is not None
        shift = self.place - BEHIND - self._start
        length = min(len(self.reference), self.place + AHEAD) + 1 - self._start - shift
        floor = self._ratings.max() - LOST
        unknown: Ratings = np.full(length - len(self._ratings) + shift, float(floor))
        self._ratings = np.concatenate([self._ratings[shift:], unknown])
        self._inserted = np.concatenate([self._inserted[shift:], unknown])
        self._start += shift

    def _search(self) -> None:
        """Looks for the end of the answer in the whole reference, nearest to the present place."""
        tail = self._recent[-SEARCH:]
        if len(tail) < SEARCH or len(self.reference) < SEARCH:
            return
        ends = np.flatnonzero(self.reference[SEARCH - 1 :] == tail[-1]) + SEARCH - 1
        for back in range(1, SEARCH):
            if len(ends) == 0:
                return
            ends = ends[self.reference[ends - back] == tail[-1 - back]]
        if len(ends):
            self.place = int(ends[np.abs(ends + 1 - self.place).argmin()]) + 1
            self._look_around()
            self._run = SEARCH


def _information(reference: Symbols) -> Ratings:
    """What each symbol of the reference earns where the answer has it too."""
    if len(reference) == 0:
        return np.zeros(0)
    _, places, counts = np.unique(reference, return_inverse=True, return_counts=True)
    bits: Ratings = np.log2(len(reference) / counts)[places]
    return np.clip(bits / 4, 0.4, 2.5)


@lru_cache(maxsize=8)
def _ramp(count: int) -> Ratings:
    ramp: Ratings = np.arange(count, dtype=np.float64) * EXTENDED
    ramp.setflags(write=False)
    return ramp


class Draft(Protocol):
    """A guess of one answer.  Its end needs no id: where it ends, the model's own next one is read anyway."""

    def propose(self, count: int) -> list[int]:
        """The ids, at most so many, that come next by the draft."""

    def follow(self, ids: Sequence[int]) -> None:
        """Takes the ids by which the answer has grown."""


class IdDraft:
    """A draft that is given as ids."""

    def __init__(self, ids: Sequence[int]) -> None:
        self.ids = list(ids)
        self._follower = Follower(np.array(self.ids, np.int64))

    def propose(self, count: int) -> list[int]:
        """The next ids of the draft."""
        return self.ids[self._follower.place : self._follower.place + count]

    def follow(self, ids: Sequence[int]) -> None:
        """Aligns the answer with the draft."""
        self._follower.follow(ids)


class TextDraft:
    """A draft that is given as text: aligned in characters, and cut into tokens anew after every difference.

    Where the answer and the draft spell a word differently, the tokens of the draft's text from there on are
    others than those of the whole text, which is why ids alone are found again later.

    Args:
        text: the guess.
        encode: text to ids, without special tokens.
        decode: ids to text.
    """

    PIECE = 320
    """Characters that are cut into tokens at once."""

    def __init__(
        self,
        text: str,
        encode: Callable[[str], Sequence[int]],
        decode: Callable[[Sequence[int]], str],
    ) -> None:
        self.text = text
        self._encode, self._decode = encode, decode
        letters = _characters(text)
        self._follower = Follower(letters, np.append(letters == ord(" "), False))
        self._queue: list[int] = []
        self._pending: list[int] = []

    def propose(self, count: int) -> list[int]:
        """The tokens of the draft's text from the present place on."""
        if len(self._queue) < count and not self._pending:
            self._fill()
        return self._queue[:count]

    def follow(self, ids: Sequence[int]) -> None:
        """Aligns the text of the answer with the draft's."""
        agreed = 0
        while agreed < min(len(ids), len(self._queue)) and ids[agreed] == self._queue[agreed]:
            agreed += 1
        self._queue = self._queue[agreed:] if agreed == len(ids) else []
        self._pending += ids
        text = self._decode(self._pending)
        if text.endswith("\N{REPLACEMENT CHARACTER}") and len(self._pending) < 4:
            return  # within a character
        self._pending = []
        self._follower.follow(_characters(text).tolist())

    def _fill(self) -> None:
        """Cuts the text behind the present place into tokens; the last of them may be cut wrongly."""
        start = self._follower.place
        piece = self.text[start : start + self.PIECE]
        ids = list(self._encode(piece))
        whole = start + len(piece) == len(self.text)
        self._queue = ids if whole else ids[: max(1, len(ids) - 2)]


def _characters(text: str) -> Symbols:
    """The code points of a text."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.int64)


@dataclass(slots=True)
class ChunkLength:
    """How many tokens of a draft are worth checking at once.

    Of k proposed tokens, each right with probability p, (1 - p^(k+1)) / (1 - p) tokens come of a step that
    costs 1 + cost * k; k makes the most of it.  p is measured as decoding goes on, the last tokens counting
    most.

    Attributes:
        cost: of one more token in a step, in steps.
        most: no longer chunk than this.
    """

    cost: float = TOKEN_COST
    most: int = 32
    right: float = 4.5
    wrong: float = 0.5

    def best(self) -> int:
        """The length that makes the most of a step; 0 where checking does not pay."""
        share = self.right / (self.right + self.wrong)
        return _best_length(round(min(share, 0.998), 3), self.cost, self.most)

    def learn(self, right: int, wrong: int) -> None:
        """Takes how many proposed tokens were right, and whether one was wrong (0 or 1)."""
        faded = MEMORY ** (right + wrong)
        self.right = self.right * faded + right
        self.wrong = max(0.02, self.wrong * faded) + wrong


@lru_cache(maxsize=4096)
def _best_length(share: float, cost: float, most: int) -> int:
    def gain(length: int) -> float:
        return (1 - share ** (length + 1)) / (1 - share) / (1 + cost * length)

    return max(range(most + 1), key=gain)
