"""Text while its ids arrive: whole characters only, and the loop guard over ids and text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vary.engine.guards import LoopFinding, LoopGuard

__all__ = ["TextPieces", "text_guard"]

Decode = Callable[[Sequence[int]], str]
"""Ids to text, special tokens left out."""

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class TextPieces:
    """Cuts the text of growing ids into pieces that never split a character.

    The pieces together are the text of all ids.  A piece is what the newest ids add to the text of those
    before them, since some tokenizers write a word differently at the beginning of a text.
    """

    def __init__(self, decode: Decode) -> None:
        self._decode = decode
        self._before: list[int] = []
        self._new: list[int] = []

    def feed(self, ids: Sequence[int]) -> str:
        """The text that these ids complete; empty while they end within a character."""
        self._new += ids
        piece = self._piece()
        # Bytes of an unfinished character decode to a replacement mark: they wait for the rest.
        if not piece or piece.endswith(_REPLACEMENT):
            return ""
        self._before, self._new = self._new, []
        return piece

    def rest(self) -> str:
        """What is left at the end: bytes that make no character."""
        piece = self._piece()
        self._before, self._new = [], []
        return piece

    def _piece(self) -> str:
        known = self._decode(self._before)
        return self._decode([*self._before, *self._new])[len(known) :]


def text_guard(
    decode: Decode, expected_length: int | None = None
) -> Callable[[Sequence[int]], LoopFinding | None]:
    """A loop guard over the ids and the text of one answer; see `LoopGuard` for the length."""
    guard, pieces = LoopGuard(expected_length=expected_length), TextPieces(decode)

    def feed(ids: Sequence[int]) -> LoopFinding | None:
        return guard.feed(ids, pieces.feed(ids))

    return feed
