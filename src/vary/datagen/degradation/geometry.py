"""Steps that move points: a turned or tilted page, a wavy feed, a bent book; and how points move with them.

Images are uint8, (H, W) gray or (H, W, 3) RGB.  Points are (x, y) in px, the first pixel's centre at 0, 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["MOVING", "Geometry", "paper_value"]

Image = NDArray[np.uint8]
Points = NDArray[np.float64]


class Move(Protocol):
    """One movement of points."""

    def apply(self, points: Points) -> Points:
        """Move points (N, 2)."""
        ...


@dataclass(frozen=True)
class Matrix:
    """A projective map, 3 x 3."""

    matrix: Points

    def apply(self, points: Points) -> Points:
        """Move points (N, 2)."""
        moved = np.column_stack([points, np.ones(len(points))]) @ self.matrix.T
        return np.asarray(moved[:, :2] / moved[:, 2:])


@dataclass(frozen=True)
class Wave:
    """Rows pushed up and down along the page: amplitude and length in px, phase in radians."""

    amplitude: float
    length: float
    phase: float

    def apply(self, points: Points) -> Points:
        """Move points (N, 2)."""
        moved = points.copy()
        moved[:, 1] += self.amplitude * np.sin(2 * np.pi * moved[:, 0] / self.length + self.phase)
        return moved


@dataclass(frozen=True)
class Bend:
    """A page of an open book, which dips towards its spine.

    A column moves from `before` to `after` (two rising tables, px); its rows move by `drop` and towards the
    row `middle` by the share `pull`, both (columns,), given at `before`; everything is put `lower` px down.
    """

    before: Points
    after: Points
    drop: Points
    pull: Points
    middle: float
    lower: float

    def apply(self, points: Points) -> Points:
        """Move points (N, 2)."""
        x, y = points[:, 0], points[:, 1]
        drop, pull = np.interp(x, self.before, self.drop), np.interp(x, self.before, self.pull)
        down = y + drop + pull * (self.middle - y) + self.lower
        return np.column_stack([np.interp(x, self.before, self.after), down])


@dataclass(frozen=True)
class Geometry:
    """How points of the page move: one movement after the other."""

    moves: tuple[Move, ...] = field(default=())

    def apply(self, points: Points) -> Points:
        """Move points (N, 2), x before y, in page px."""
        for move in self.moves:
            points = move.apply(points)
        return points

    def then(self, move: Move) -> Geometry:
        """These movements and one more."""
        return Geometry((*self.moves, move))


def paper_value(image: Image) -> tuple[float, ...]:
    """The paper's value, one a channel: the median of the page's rim."""
    rim = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    return tuple(float(value) for value in np.atleast_1d(np.median(rim, axis=0)))


def _warp(image: Image, matrix: Points) -> tuple[Image, Move]:
    height, width = image.shape[:2]
    corners = Matrix(matrix).apply(np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=float))
    shift = np.eye(3)
    shift[:2, 2] = -corners.min(axis=0)
    size = np.ceil(corners.max(axis=0) - corners.min(axis=0)).astype(int)
    whole = shift @ matrix
    moved = cv2.warpPerspective(
        image, whole, (int(size[0]), int(size[1])), flags=cv2.INTER_LINEAR, borderValue=paper_value(image)
    )
    return np.asarray(moved, dtype=np.uint8), Matrix(whole)


def _rotate(image: Image, strength: float, rng: np.random.Generator) -> tuple[Image, Move]:
    angle = np.deg2rad(2.5 * strength * (1 if rng.random() < 0.5 else -1))
    cosine, sine = np.cos(angle), np.sin(angle)
    return _warp(image, np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1.0]]))


def _perspective(image: Image, strength: float, rng: np.random.Generator) -> tuple[Image, Move]:
    height, width = image.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32)
    reach = 0.012 * (0.3 + strength) * np.array([width, height])
    target = (corners + rng.uniform(-reach, reach, (4, 2))).astype(np.float32)
    return _warp(image, cv2.getPerspectiveTransform(corners, target).astype(np.float64))


def _wave(image: Image, strength: float, rng: np.random.Generator) -> tuple[Image, Move]:
    height, width = image.shape[:2]
    amplitude, length, phase = (
        0.5 + 1.5 * strength,
        float(rng.uniform(1.0, 3.0) * max(width, 400)),
        rng.uniform(0, 6),
    )
    columns = np.arange(width, dtype=np.float32)
    offset = (amplitude * np.sin(2 * np.pi * columns / length + phase)).astype(np.float32)
    rows = np.arange(height, dtype=np.float32)[:, None] - offset[None, :]
    grid = np.broadcast_to(columns, (height, width)).copy()
    moved = cv2.remap(image, grid, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, dtype=np.uint8), Wave(amplitude, length, float(phase))


def _bend(image: Image, strength: float, rng: np.random.Generator) -> tuple[Image, Move]:
    """The page dips towards a spine at its left or right: lines curve, letters there get narrower, and the
    dip lies in shadow."""
    height, width = image.shape[:2]
    spine_left = bool(rng.random() < 0.5)
    reach = float(rng.uniform(0.10, 0.22))
    before = np.arange(width, dtype=np.float64)
    away = before / max(width - 1, 1)
    dip = np.exp(-(away if spine_left else 1 - away) / reach)
    scale = 1 - (0.15 + 0.3 * strength) * dip  # how wide a column of the page looks
    after = np.concatenate([[0.0], np.cumsum((scale[1:] + scale[:-1]) / 2)])
    drop = float(rng.uniform(-1, 1)) * 0.03 * strength * height * dip
    pull = (0.01 + 0.035 * strength) * dip
    middle = float(rng.uniform(0.3, 0.7)) * height
    ends = np.concatenate([drop + pull * middle, height - 1 + drop + pull * (middle - height + 1)])
    lower = float(-np.floor(min(ends.min(), 0)))
    size = (int(np.ceil(after[-1])) + 1, int(np.ceil(max(ends.max(), height - 1) + lower)) + 1)
    bend = Bend(before, after, drop, pull, middle, lower)
    # Where each column and row of the new page came from.
    columns = np.interp(np.arange(size[0]), after, before)
    old_drop, old_pull = np.interp(columns, before, drop), np.interp(columns, before, pull)
    rows = np.arange(size[1])[:, None] - (lower + old_drop + old_pull * middle)[None]
    rows = (rows / (1 - old_pull)[None]).astype(np.float32)
    grid = np.broadcast_to(columns.astype(np.float32), rows.shape).copy()
    moved = cv2.remap(image, grid, rows, cv2.INTER_LINEAR, borderValue=paper_value(image))
    shade = (1 - (0.2 + 0.35 * strength) * np.interp(columns, before, dip) ** 1.5).astype(np.float32)
    if image.ndim == 3:
        shade = np.repeat(shade, 3)
    shaded = moved.reshape(size[1], -1) * shade[None]
    return shaded.astype(np.uint8).reshape(moved.shape), bend


MOVING: dict[str, Callable[[Image, float, np.random.Generator], tuple[Image, Move]]] = {
    "rotate": _rotate,
    "perspective": _perspective,
    "wave": _wave,
    "bend": _bend,
}
"""By name: image, strength and a source of chance in; image and the movement of its points out."""
