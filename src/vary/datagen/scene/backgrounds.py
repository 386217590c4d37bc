"""What objects stand before: plain colours, gradients, patterns, rough surfaces, simple landscapes."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vary.datagen.degradation.pixels import shifted

__all__ = ["BACKGROUNDS", "background", "landscape"]

Image = NDArray[np.uint8]
Chance = np.random.Generator
_Colour = NDArray[np.float64]


def _pale(rng: Chance) -> _Colour:
    """A colour that most objects stand out from: pale, now and then dark."""
    hue = float(rng.uniform(0, 1))
    if rng.random() < 0.15:
        parts = colorsys.hsv_to_rgb(hue, float(rng.uniform(0.1, 0.5)), float(rng.uniform(0.12, 0.28)))
    else:
        parts = colorsys.hsv_to_rgb(hue, float(rng.uniform(0.02, 0.26)), float(rng.uniform(0.8, 0.99)))
    return np.array(parts) * 255


def _noise(height: int, width: int, cells: float, rng: Chance) -> NDArray[np.float32]:
    """Smooth noise from -1 to 1 whose hills are `cells` px wide."""
    rows, columns = max(2, round(height / cells)), max(2, round(width / cells))
    small = rng.uniform(-1, 1, (rows, columns)).astype(np.float32)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.float32)


def _plain(height: int, width: int, rng: Chance) -> Image:
    return _filled(height, width, _pale(rng))


def _filled(height: int, width: int, colour: _Colour) -> Image:
    return np.full((height, width, 3), np.round(colour), np.uint8)


def _between(part: NDArray[Any], first: _Colour, second: _Colour) -> Image:
    """Pixels from `first` where `part` (H, W) is 0 to `second` where it is 1, in 256 steps."""
    steps = first + np.linspace(0, 1, 256)[:, None] * (second - first)
    index = np.asarray(part * np.float32(255), dtype=np.uint8)
    return np.asarray(cv2.applyColorMap(index, np.round(steps).astype(np.uint8)[:, None]), dtype=np.uint8)


def _places(height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Rows (H, 1) and columns (1, W) in px."""
    return np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)[None]


def _gradient(height: int, width: int, rng: Chance) -> Image:
    first = _pale(rng)
    second = np.clip(first + rng.uniform(-45, 45, 3), 0, 255)
    angle = float(rng.uniform(0, 2 * np.pi))
    rows, columns = _places(height, width)
    down, across = rows / height * math.sin(angle), columns / width * math.cos(angle)
    span = float(np.ptp(down) + np.ptp(across))
    return _between((down - down.min()) / span + (across - across.min()) / span, first, second)


def _stripes(height: int, width: int, rng: Chance) -> Image:
    first = _pale(rng)
    second = np.clip(first + rng.choice([-1, 1]) * rng.uniform(8, 26, 3), 0, 255)
    angle, period = float(rng.uniform(0, np.pi)), float(rng.uniform(18, 90))
    rows, columns = _places(height, width)
    sine, cosine = math.sin(angle) / period, math.cos(angle) / period
    phase = rows * sine + columns * cosine
    if rng.random() < 0.4:  # checks
        inside = (np.floor(phase) + np.floor(rows * cosine - columns * sine)) % 2 < 1
    else:
        inside = phase % 1 < rng.uniform(0.3, 0.7)
    return _between(inside, second, first)


def _rough(height: int, width: int, rng: Chance) -> Image:
    """Paper, cloth, plaster."""
    base = _filled(height, width, _pale(rng))
    field = 14 * _noise(height, width, 160, rng) + 6 * _noise(height, width, 24, rng)
    grain = rng.standard_normal((height, width), dtype=np.float32)
    return shifted(base, field + np.float32(rng.uniform(0, 5)) * grain)


def _dots(height: int, width: int, rng: Chance) -> Image:
    first = _pale(rng)
    canvas = _filled(height, width, first)
    second = np.clip(first + rng.choice([-1, 1]) * rng.uniform(10, 28, 3), 0, 255)
    step = int(rng.integers(24, 70))
    radius = max(2, int(step * rng.uniform(0.12, 0.3)))
    for number, y in enumerate(range(0, height + step, step)):
        for x in range((number % 2) * step // 2, width + step, step):
            cv2.circle(canvas, (x, y), radius, second.tolist(), -1, cv2.LINE_AA)
    return canvas


def _room(height: int, width: int, rng: Chance) -> Image:
    """A wall above a floor."""
    wall, floor = _pale(rng), _pale(rng) * 0.85
    image = _filled(height, width, wall)
    image[int(height * rng.uniform(0.55, 0.8)) :] = np.round(floor)
    return shifted(image, 5 * _noise(height, width, 120, rng))


def landscape(height: int, width: int, rng: Chance) -> Image:
    """Sky, one or several rows of hills, and ground."""
    top = np.array([rng.uniform(120, 190), rng.uniform(180, 220), rng.uniform(225, 255)])
    low = np.array([rng.uniform(215, 250), rng.uniform(220, 245), rng.uniform(220, 250)])
    image = _between(np.broadcast_to(np.linspace(0, 1, height)[:, None], (height, width)), top, low)
    columns = np.arange(width)
    level = height * rng.uniform(0.35, 0.6)
    for depth in range(int(rng.integers(1, 4))):
        swing = height * rng.uniform(0.03, 0.1)
        course = level + swing * np.sin(columns / width * rng.uniform(3, 9) + rng.uniform(0, 6))
        course = course + swing * 0.4 * np.sin(columns / width * rng.uniform(10, 24) + rng.uniform(0, 6))
        colour = np.array([rng.uniform(110, 180), rng.uniform(160, 205), rng.uniform(90, 150)]) * 0.93**depth
        hill = [*zip(columns, np.ceil(course), strict=True), (width, height), (-1, height)]
        cv2.fillPoly(image, [np.array(hill, dtype=np.int32)], np.round(colour).tolist())
        level += height * rng.uniform(0.08, 0.18)
    return shifted(image, 7 * _noise(height, width, 90, rng) + 5 * _noise(height, width, 9, rng))


BACKGROUNDS: tuple[tuple[str, float, Callable[[int, int, Chance], Image]], ...] = (
    ("plain", 0.2, _plain),
    ("gradient", 0.18, _gradient),
    ("stripes", 0.12, _stripes),
    ("rough", 0.18, _rough),
    ("dots", 0.08, _dots),
    ("room", 0.1, _room),
    ("landscape", 0.14, landscape),
)
"""Name, share, and what paints it."""


def background(height: int, width: int, rng: Chance) -> tuple[str, Image]:
    """A kind of background and its pixels, uint8 (height, width, 3)."""
    shares = np.array([share for _, share, _ in BACKGROUNDS])
    name, _, paint = BACKGROUNDS[int(rng.choice(len(BACKGROUNDS), p=shares / shares.sum()))]
    return name, paint(height, width, rng)
