"""Continuous batching: answers are decoded side by side, and where one ends the next question joins.

Questions come with images.  These are encoded a few at a time, when there is room for the next answer: so the
vision branches have enough to do at once, and not more lies encoded than will soon be asked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import torch

from vary.engine.decoding import Decoded, DecodingLoop, Prompt

__all__ = ["ENCODED", "ContinuousBatch"]

ENCODED = 8
"""Images that are encoded at once, at most; `vary bench` measures many pages with as many."""

Question = TypeVar("Question")


class ContinuousBatch(Generic[Question]):
    """Questions in, answers out as they end.

    Where an accelerator's memory does not suffice, fewer images are encoded and fewer answers decoded at a
    time from then on; those that were on their way go on where they were.

    Args:
        loop: decodes; nothing was added to it.
        encode: makes prompts of some questions.
        rows: the most answers that are decoded at a time.
    """

    def __init__(
        self, loop: DecodingLoop, encode: Callable[[Sequence[Question]], list[Prompt]], rows: int
    ) -> None:
        self._loop, self._encode, self._rows = loop, encode, rows
        self._at_once = min(rows, ENCODED)
        self._due: deque[Question] = deque()
        self._ready: deque[Prompt] = deque()
        self._added = 0

    @property
    def wanted(self) -> int:
        """How many more questions are worth adding now: enough to encode them together."""
        free, waiting = self._free, len(self._due) + len(self._ready)
        return max(0, max(free, self._at_once) - waiting) if free > len(self._ready) else 0

    def add(self, question: Question) -> int:
        """Lets a question wait for its turn; its number, counted from 0.  They begin in their order."""
        self._due.append(question)
        self._added += 1
        return self._added - 1

    def step(self) -> list[tuple[int, Decoded]]:
        """Encodes what is due, and reads some tokens of every answer; those that ended, with their numbers.

        Raises:
            torch.OutOfMemoryError: where memory does not suffice for a single image or answer.
        """
        encoding = True
        try:
            self._fill()
            encoding = False
            return self._loop.step()
        except torch.OutOfMemoryError:
            if self._at_once == 1 and encoding and not len(self._loop):
                raise
            if self._rows == 1 and not encoding:
                raise
        self._take_less(encoding)  # outside of the handler, which keeps what did not fit
        return []

    def close(self) -> None:
        """Gives up what is on its way."""
        self._due.clear()
        self._ready.clear()
        self._loop.close()

    @property
    def _free(self) -> int:
        return self._rows - len(self._loop)

    def _fill(self) -> None:
        """Begins as many answers as there is room for."""
        while self._free > 0 and (self._ready or self._due):
            if not self._ready:
                some = [self._due[place] for place in range(min(self._at_once, len(self._due)))]
                self._ready.extend(self._encode(some))
                for _ in some:
                    self._due.popleft()
            self._loop.add(self._ready[0])  # numbers the answers as `add` numbers the questions
            self._ready.popleft()

    def _take_less(self, encoding: bool) -> None:
        """Halves what is done at a time."""
        if encoding and self._at_once > 1:
            self._at_once //= 2
            return
        self._rows = max(1, min(self._rows, len(self._loop)) // 2)
        self._at_once = min(self._at_once, self._rows)
        self._loop.fall_back(self._rows)
