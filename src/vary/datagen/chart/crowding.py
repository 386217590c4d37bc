"""Words on a chart: where they stand, and whether they run into each other or off the image."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vary.datagen.sample import Box

__all__ = ["PaintedChart", "PaintedText", "Quad", "line_quad", "missing_texts", "trouble_with"]

ASCENT, DESCENT = 0.88, 0.22
"""How far letters reach above and below their baseline, in parts of the em."""

_LEAST_INK = 40
"""How far apart the values of a channel are at least where a text stands."""
_SHRINK = 0.86
"""Words' quads hold their lines' ascent and descent; they may touch by what is left here."""

Quad = NDArray[np.float64]
"""Corners, (4, 2) px, in order around."""


@dataclass(frozen=True)
class PaintedText:
    """A text on a chart and its corners."""

    text: str
    quad: Quad

    def box(self) -> Box:
        """The upright rectangle around it."""
        left, top = np.round(self.quad.min(axis=0), 2).tolist()
        right, bottom = np.round(self.quad.max(axis=0), 2).tolist()
        return Box(self.text, left, top, right, bottom, level="word")


@dataclass(frozen=True)
class PaintedChart:
    """A drawn chart: uint8 (H, W, 3), its texts, and the boxes of its marks."""

    image: NDArray[np.uint8]
    texts: tuple[PaintedText, ...]
    marks: tuple[Box, ...]


def line_quad(left: float, baseline: float, width: float, em: float, degrees: float = 0.0) -> Quad:
    """The corners of a line of text of `width` px, from the upper left one clockwise.

    It begins at (left, baseline) and is turned around this point by `degrees` against the clock.
    """
    angle = math.radians(degrees)
    along = np.array([math.cos(angle), -math.sin(angle)]) * width
    up = np.array([-math.sin(angle), -math.cos(angle)]) * em
    corners = [ASCENT * up, ASCENT * up + along, along - DESCENT * up, -DESCENT * up]
    return np.array([left, baseline]) + corners


def trouble_with(chart: PaintedChart, expected: Iterable[str]) -> str:
    """Why a chart cannot be read: words missing, cut off, invisible or upon each other; empty if it can."""
    missing = missing_texts(chart.texts, expected)
    if missing:
        return "words missing"
    height, width = chart.image.shape[:2]
    for text in chart.texts:
        if text.quad.min() < -0.5 or (text.quad.max(axis=0) > (width + 0.5, height + 0.5)).any():
            return "words cut off"
        if not _has_ink(chart.image, text.quad):
            return "words without ink"
    quads = [_shrunk(text.quad) for text in chart.texts]
    for number, quad in enumerate(quads):
        for other in quads[number + 1 :]:
            if _overlap(quad, other):
                return "words upon each other"
    return ""


def _has_ink(image: NDArray[np.uint8], quad: Quad) -> bool:
    """Whether anything is drawn where a text should stand."""
    left, top = np.maximum(np.floor(quad.min(axis=0)), 0).astype(int)
    right, bottom = np.ceil(quad.max(axis=0)).astype(int)
    part = image[top:bottom, left:right].reshape(-1, 3)
    return len(part) > 0 and int(np.ptp(part, axis=0).max()) >= _LEAST_INK


def missing_texts(texts: Sequence[PaintedText], expected: Iterable[str]) -> list[str]:
    """The expected texts that were not drawn, as often as they are expected."""
    drawn = Counter(text.text for text in texts)
    return list((Counter(expected) - drawn).elements())


def _shrunk(quad: Quad) -> Quad:
    """The quad, lower across the line by `_SHRINK`."""
    middle = (quad[[0, 1]] + quad[[3, 2]]) / 2
    half = (quad[[3, 2]] - quad[[0, 1]]) / 2 * _SHRINK
    return np.array([middle[0] - half[0], middle[1] - half[1], middle[1] + half[1], middle[0] + half[0]])


def _overlap(first: Quad, second: Quad) -> bool:
    """Whether two convex quads share more than their edges: no edge of either parts them."""
    if (first.max(0) <= second.min(0)).any() or (second.max(0) <= first.min(0)).any():
        return False
    for quad in (first, second):
        sides = np.roll(quad, -1, axis=0) - quad
        normals = np.stack([-sides[:, 1], sides[:, 0]], axis=1)
        for normal in normals[:2]:
            one, two = first @ normal, second @ normal
            if one.max() <= two.min() or two.max() <= one.min():
                return False
    return True
