"""Drawings made of filled shapes, and how they become pixels with an exact mask.

A drawing lives in a square of side 1, y downwards; its shapes are painted in their order, and shapes of the
tone `hole` cut out what was painted before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Ink", "Sketch", "Tones", "rendered"]

_SAMPLES = 3
"""Subpixels across a pixel."""
_SHIFT = 4
"""Binary digits of a subpixel that corners are placed with."""

Points = NDArray[np.float64]
Colour = tuple[int, int, int]
Tones = dict[str, Colour]


@dataclass
class Sketch:
    """Shapes and their tones: `main`, `dark`, `light`, `accent`, `black`, `white`, `hole`."""

    shapes: list[tuple[Points, str]] = field(default_factory=list)

    def polygon(self, *corners: tuple[float, float], tone: str = "main") -> None:
        """A filled polygon."""
        self.shapes.append((np.array(corners, dtype=np.float64), tone))

    def rectangle(
        self, left: float, top: float, right: float, bottom: float, tone: str = "main", round_: float = 0.0
    ) -> None:
        """A rectangle, its corners rounded by `round_`."""
        if round_ <= 0:
            self.polygon((left, top), (right, top), (right, bottom), (left, bottom), tone=tone)
            return
        radius = min(round_, (right - left) / 2, (bottom - top) / 2)
        corners = [(right, top, -90), (right, bottom, 0), (left, bottom, 90), (left, top, 180)]
        points: list[tuple[float, float]] = []
        for x, y, start in corners:
            centre_x = x - radius if x == right else x + radius
            centre_y = y - radius if y == bottom else y + radius
            points += _arc(centre_x, centre_y, radius, radius, start, start + 90, 8)
        self.polygon(*points, tone=tone)

    def ellipse(
        self,
        x: float,
        y: float,
        across: float,
        down: float | None = None,
        tone: str = "main",
        start: float = 0,
        end: float = 360,
    ) -> None:
        """An ellipse around (x, y) with these radii, or a part of it closed by a straight line.

        Angles in degrees, 0 to the right, 90 downwards.
        """
        self.polygon(*_arc(x, y, across, across if down is None else down, start, end, 40), tone=tone)

    def line(self, *points: tuple[float, float], width: float, tone: str = "main") -> None:
        """A line with round ends and joints."""
        for first, second in pairwise(points):
            along = np.subtract(second, first)
            length = math.hypot(*along) or 1e-9
            x, y = -along[1] / length * width / 2, along[0] / length * width / 2
            self.polygon(
                (first[0] + x, first[1] + y),
                (second[0] + x, second[1] + y),
                (second[0] - x, second[1] - y),
                (first[0] - x, first[1] - y),
                tone=tone,
            )
        for point in points:
            self.ellipse(*point, width / 2, tone=tone)

    def curve(
        self,
        x: float,
        y: float,
        radius: float,
        start: float,
        end: float,
        width: float,
        tone: str = "main",
        down: float | None = None,
    ) -> None:
        """An arc drawn with a pen of `width`; angles as in `ellipse`, the vertical radius `down`."""
        tall = radius if down is None else down
        outer = _arc(x, y, radius + width / 2, tall + width / 2, start, end, 40)
        inner = _arc(x, y, radius - width / 2, tall - width / 2, start, end, 40)
        self.polygon(*outer, *reversed(inner), tone=tone)

    def star(self, x: float, y: float, radius: float, inner: float, spikes: int, tone: str = "main") -> None:
        """A star whose first spike points up."""
        angles = np.radians(np.arange(2 * spikes) * 180 / spikes - 90)
        radii = np.where(np.arange(2 * spikes) % 2 == 0, radius, inner)
        self.polygon(*zip(x + radii * np.cos(angles), y + radii * np.sin(angles), strict=True), tone=tone)


def _arc(
    x: float, y: float, across: float, down: float, start: float, end: float, steps: int
) -> list[tuple[float, float]]:
    return [(x + across * cosine, y + down * sine) for cosine, sine in _directions(start, end, steps)]


@lru_cache(maxsize=256)
def _directions(start: float, end: float, steps: int) -> tuple[tuple[float, float], ...]:
    """Points of the unit circle; most arcs are whole or halves."""
    angles = np.radians(np.linspace(start, end, steps + 1))
    return tuple(zip(np.cos(angles).tolist(), np.sin(angles).tolist(), strict=True))


@dataclass(frozen=True)
class Ink:
    """A drawing in pixels: `colour` (h, w, 3) times its `cover` (h, w), float32 from 0 to 1."""

    colour: NDArray[np.float32]
    cover: NDArray[np.float32]

    @cached_property
    def solid(self) -> NDArray[np.bool_]:
        """(h, w): the pixels that are at least half covered."""
        return self.cover >= 0.5


def rendered(
    sketch: Sketch,
    tones: Tones,
    size: float,
    *,
    turn: float = 0.0,
    mirrored: bool = False,
    stretch: float = 1.0,
    outline: Colour | None = None,
    shade: float = 0.0,
) -> Ink:
    """A drawing in pixels.

    Args:
        sketch: the shapes.
        tones: colours by tone, RGB.
        size: px that the longer side of its ink has before it is turned.
        turn: degrees clockwise.
        mirrored: left for right.
        stretch: how much wider than drawn.
        outline: colour of a line around all of it, None for none.
        shade: how much darker it gets towards its bottom, 0 to 1.
    """
    shapes = [
        (points * (stretch, 1.0) * ((-1, 1) if mirrored else (1, 1)), tone) for points, tone in sketch.shapes
    ]
    solid = np.concatenate([points for points, tone in shapes if tone != "hole"])
    extent = float((solid.max(axis=0) - solid.min(axis=0)).max())
    angle = math.radians(turn)
    matrix = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    scale = size * _SAMPLES / extent
    shapes = [(points @ matrix * scale, tone) for points, tone in shapes]
    solid = np.concatenate([points for points, tone in shapes if tone != "hole"])
    border = max(1, round(0.018 * size * _SAMPLES)) if outline is not None else 0
    low, high = solid.min(axis=0), solid.max(axis=0)
    # Whole pixels, with room for the outline.
    margin = _SAMPLES * math.ceil((border + 1) / _SAMPLES)
    width, height = (_SAMPLES * math.ceil(float(side) / _SAMPLES) + 2 * margin for side in high - low)
    # The outline is what else of its colour lies within the wider cover.
    ground = (0, 0, 0) if outline is None else outline
    colour = np.zeros((height, width, 3), np.uint8)
    cv2.rectangle(colour, (0, 0), (width, height), ground, cv2.FILLED)
    cover = np.zeros((height, width), np.uint8)
    for points, tone in shapes:
        corners = np.round((points - low + margin) * 2**_SHIFT).astype(np.int32)
        hole = tone == "hole"
        cv2.fillPoly(cover, [corners], 0 if hole else 255, shift=_SHIFT)
        cv2.fillPoly(colour, [corners], ground if hole else tones[tone], shift=_SHIFT)
    if border:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * border + 1, 2 * border + 1))
        cover = np.asarray(cv2.dilate(cover, kernel), dtype=np.uint8)
    ink = _reduced(colour, cover)
    ramp = 1 - shade * np.linspace(0, 1, len(ink.cover), dtype=np.float32)
    return replace(ink, colour=ink.colour * ramp[:, None, None])


def _reduced(colour: NDArray[np.uint8], cover: NDArray[np.uint8]) -> Ink:
    """From subpixels to pixels; colours are averaged where there is ink."""
    size = (cover.shape[1] // _SAMPLES, cover.shape[0] // _SAMPLES)
    # By a whole factor, INTER_AREA is the mean of each block; bytes are several times faster than fractions.
    inked = cv2.bitwise_and(colour, colour, mask=cover)
    blocks = cv2.resize(inked, size, interpolation=cv2.INTER_AREA)
    parts = cv2.resize(cover, size, interpolation=cv2.INTER_AREA)
    return Ink(blocks.astype(np.float32), parts.astype(np.float32) / 255)
