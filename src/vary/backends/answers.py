"""How long an answer may get, and its text: what all backends do alike."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache

from vary.errors import ContextError

__all__ = ["RememberedTexts", "expected_characters", "line_limit", "room_for_answer"]

PIXELS_PER_TOKEN = 2.5
"""No character is narrower, so a line's width bounds its text."""
SPARE_TOKENS = 8
REMEMBERED_IDS, REMEMBERED_TEXTS = 2, 1 << 16
"""Texts of at most so many ids are remembered, and how many of them."""


class RememberedTexts:
    """Ids to text; single tokens and pairs, which are asked for again and again, are remembered."""

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._short = lru_cache(maxsize=REMEMBERED_TEXTS)(lambda *ids: decode(ids))

    def __call__(self, ids: Sequence[int]) -> str:
        return self._short(*ids) if len(ids) <= REMEMBERED_IDS else self._decode(ids)


def line_limit(width: int) -> int:
    """The most tokens that can stand in a line of so many pixels."""
    return math.ceil(width / PIXELS_PER_TOKEN) + SPARE_TOKENS


def expected_characters(width: int) -> int:
    """The characters of text that a loop guard expects in a line of so many pixels."""
    return width // 4


def room_for_answer(name: str, context: int | None, prompt_length: int) -> int:
    """How many tokens an answer may have by the language model's positions.

    Raises:
        ContextError: if the prompt leaves none.
    """
    if context is None:
        return sys.maxsize
    if context <= prompt_length:
        raise ContextError(
            f"the prompt has {prompt_length} tokens with the image, and {name} holds {context} with the "
            "answer; give a shorter one"
        )
    return context - prompt_length
