"""Words of a line, from characters whose places in the line's window are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vary.outputs.boxes import Box, Polygon
from vary.outputs.document import Word, mean_over_characters

__all__ = ["cut_words"]

Place = Callable[[float, float], Polygon]
"""The part of a line between two shares of its window's width, as corners on the page."""


def cut_words(
    pieces: Sequence[str],
    confidences: Sequence[float],
    spans: Sequence[tuple[float, float]],
    place: Place,
) -> tuple[Word, ...]:
    """Cuts a line at its white space.

    Args:
        pieces: the text of each token, in order.
        confidences: of each token.
        spans: where each token stands, as shares of the window's width, left and right.
        place: see `Place`.
    """
    words: list[Word] = []
    start = 0
    for end in range(len(pieces) + 1):
        if end < len(pieces) and not pieces[end].isspace():
            continue
        if end > start:
            text = "".join(pieces[start:end])
            left = _border(spans, start)
            right = _border(spans, end)
            confidence = mean_over_characters(
                list(zip(pieces[start:end], confidences[start:end], strict=True))
            )
            words.append(Word(text, Box.around(place(left, right)), confidence))
        start = end + 1
    return tuple(words)


def _border(spans: Sequence[tuple[float, float]], index: int) -> float:
    """Where token `index` begins: half-way to the one before it, the window's edge at the ends.

    CTC puts a character's frames at its most telling spot, not at its edges.
    """
    if index == 0:
        return 0.0
    if index >= len(spans):
        return 1.0
    return (spans[index - 1][1] + spans[index][0]) / 2
