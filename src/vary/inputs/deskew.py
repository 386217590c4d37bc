"""The skew of a page and its removal."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from vary.inputs.ink import Components, Gray
from vary.inputs.lines import segments

__all__ = ["deskew_matrix", "estimate_skew", "rotate"]

Reals = NDArray[np.float64]

MAX_SKEW = 10.0
"""Degrees to either side that are searched."""
MIN_SKEW = 0.05
"""Degrees below which a page is left as it is."""
MIN_SPREAD = 4e3
"""Square pixels: with less text than a few words, lines fitted to it lead astray."""
SMALL_SKEW, MIN_GAIN = 0.15, 1.02
"""Below the first, in degrees, the profile must gain by the second: straight pages are not resampled."""
MAX_CHANGE = 2.0
"""Degrees by which the fit may correct the profile, whose angle is vague for short text."""
MAX_POINTS = 24_000
NORMAL_WIDTH = 1240
"""Bins of the profiles are pixels of a page of this width."""
SEARCH = ((0.4, 4.0), (0.1, 2.0))
"""(step in degrees, bin in normal pixels) from coarse to fine; each stage looks around the best of the
last."""


def estimate_skew(found: Components, text: NDArray[np.bool_]) -> float:
    """Degrees by which the text lines fall to the right (clockwise positive), 0 where there is too little
    text.

    Every angle makes a profile of the lower edges of the text components (`text` (N,) chooses them); the
    angle with the most uneven profile wins.  Then a straight line is fitted to the feet of each phrase, since
    profiles of several columns may lock to each other's lines.
    """
    boxes = found.boxes[text]
    if len(boxes) < 6:
        return 0.0
    size = float(np.percentile(found.height[text], 75))
    reach = np.percentile(boxes[:, 2], 95) - np.percentile(boxes[:, 0], 5)
    if reach < 6 * size:
        return 0.0
    x, y = _lower_edges(found, text)
    if len(x) < 50:
        return 0.0
    best = 0.0
    span = MAX_SKEW
    for step, cell in SEARCH:
        angles = best + np.arange(-round(span / step), round(span / step) + 1) * step
        best = float(angles[np.argmax([_unevenness(x, y, angle, cell) for angle in angles])])
        span = step * 1.5
    best = _fit_feet(boxes.astype(np.float64), found.labels.shape, best)
    if abs(best) < SMALL_SKEW and _unevenness(x, y, best, 1.0) < MIN_GAIN * _unevenness(x, y, 0.0, 1.0):
        return 0.0
    return best if abs(best) >= MIN_SKEW else 0.0


def _fit_feet(boxes: Reals, shape: tuple[int, int], skew: float) -> float:
    """`skew` refined by one regression over the lower edges of the components within their phrases."""
    x: Reals = (boxes[:, 0] + boxes[:, 2]) / 2.0
    height: Reals = boxes[:, 3] - boxes[:, 1]
    level = boxes.copy()
    level[:, 1::2] -= ((x - shape[1] / 2) * math.tan(math.radians(skew)))[:, None]
    phrase = segments(level.astype(np.float32), shape)
    weight = (np.bincount(phrase)[phrase] >= 5).astype(np.float64)
    order = np.lexsort((level[:, 3], phrase))
    starts = np.searchsorted(phrase[order], np.arange(phrase.max() + 2))
    feet: Reals = level[:, 3]
    foot: Reals = feet[order][(starts[:-1] + starts[1:]) // 2][phrase]
    tangent = 0.0
    for share in (0.2, 0.15, 0.12, 0.12, 0.12):
        away = feet - foot - tangent * (x - _means(x, weight, phrase))
        near = weight * (np.abs(away) <= share * height + 0.5)
        across, down = x - _means(x, near, phrase), feet - _means(feet, near, phrase)
        spread = float((near * across * across).sum())
        if spread < MIN_SPREAD:
            return 0.0
        tangent = float((near * across * down).sum()) / spread
        foot = _means(feet - tangent * (x - _means(x, weight, phrase)), near, phrase)
    change = math.degrees(math.atan(tangent))
    return skew + change if abs(change) < MAX_CHANGE else skew


def _means(values: Reals, weight: Reals, group: NDArray[np.intp]) -> Reals:
    """(N,) for each value the weighted mean of its group."""
    total = np.bincount(group, weight)
    means = np.bincount(group, weight * values) / np.maximum(total, 1e-9)
    return np.asarray(means[group], dtype=np.float64)


def _lower_edges(
    found: Components, text: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    left, top = found.boxes[text, :2].min(axis=0) // (2, 1) * (2, 1)
    right, bottom = found.boxes[text, 2:].max(axis=0)
    labels = found.labels[top : bottom + 1, left:right:2]
    keep = np.concatenate(([False], text))
    ink = keep.take(labels)
    edges = np.flatnonzero(ink[:-1] > ink[1:])
    edge_y, edge_x = np.divmod(edges[:: max(1, math.ceil(len(edges) / MAX_POINTS))], ink.shape[1])
    scale = NORMAL_WIDTH / found.labels.shape[1]
    x = (edge_x + left // 2).astype(np.float32) * (2 * scale)
    y = (edge_y + top).astype(np.float32) * scale
    return x - x.mean(), y - y.mean() if len(y) else y


def _unevenness(x: NDArray[np.float32], y: NDArray[np.float32], angle: float, cell: float) -> float:
    tangent = math.tan(math.radians(angle))
    rows = (y - x * np.float32(tangent)) * np.float32(math.cos(math.radians(angle)) / cell)
    counts = np.bincount((rows - rows.min()).astype(np.intp))
    return float(counts @ counts)


def deskew_matrix(shape: tuple[int, int], skew: float) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """(2, 3) matrix from page pixels to deskewed pixels, and the (height, width) that holds the whole
    page."""
    height, width = shape
    if skew == 0.0:
        return np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), shape
    cosine, sine = math.cos(math.radians(skew)), math.sin(math.radians(skew))
    new_width = math.ceil(width * cosine + height * abs(sine))
    new_height = math.ceil(height * cosine + width * abs(sine))
    turn = np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0]])
    turn[:, 2] = (new_width / 2, new_height / 2) - turn[:, :2] @ (width / 2, height / 2)
    return turn, (new_height, new_width)


def rotate(image: Gray, matrix: NDArray[np.float64], shape: tuple[int, int], fill: int) -> Gray:
    """The image under `matrix` on a canvas of `shape` (height, width); what lies outside is `fill`."""
    shifted = matrix.copy()  # cv2 counts from pixel centres, our matrices from the corner of the page
    shifted[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    flags = cv2.INTER_CUBIC if fill else cv2.INTER_LINEAR
    turned = cv2.warpAffine(
        image, shifted, shape[::-1], flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=fill
    )
    return np.asarray(turned, dtype=np.uint8)
