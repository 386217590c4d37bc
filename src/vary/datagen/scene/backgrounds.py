"""What objects stand before: plain colours, gradients, patterns, rough surfaces, simple landscapes."""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

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


def _as_image(values: NDArray[np.floating]) -> Image:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def _plain(height: int, width: int, rng: Chance) -> Image:
    return _as_image(np.broadcast_to(_pale(rng), (height, width, 3)))


def _gradient(height: int, width: int, rng: Chance) -> Image:
    first = _pale(rng)
    second = np.clip(first + rng.uniform(-45, 45, 3), 0, 255)
    angle = rng.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[0:height, 0:width]
    along = rows / height * np.sin(angle) + columns / width * np.cos(angle)
    part = (along - along.min()) / (np.ptp(along) or 1.0)
    return _as_image(first + part[..., None] * (second - first))


def _stripes(height: int, width: int, rng: Chance) -> Image:
    first = _pale(rng)
    second = np.clip(first + rng.choice([-1, 1]) * rng.uniform(8, 26, 3), 0, 255)
    angle, period = rng.uniform(0, np.pi), rng.uniform(18, 90)
    rows, columns = np.mgrid[0:height, 0:width]
    phase = (rows * np.sin(angle) + columns * np.cos(angle)) / period
    if rng.random() < 0.4:  # checks
        other = (rows * np.cos(angle) - columns * np.sin(angle)) / period
        inside = (np.floor(phase) + np.floor(other)) % 2 < 1
    else:
        inside = phase % 1 < rng.uniform(0.3, 0.7)
    return _as_image(np.where(inside[..., None], first, second))


def _rough(height: int, width: int, rng: Chance) -> Image:
    """Paper, cloth, plaster."""
    base = _pale(rng)
    field = 14 * _noise(height, width, 160, rng) + 6 * _noise(height, width, 24, rng)
    field = field + rng.uniform(0, 5) * rng.standard_normal((height, width)).astype(np.float32)
    return _as_image(base + field[..., None])


def _dots(height: int, width: int, rng: Chance) -> Image:
    first = _pale(rng)
    canvas = _as_image(np.broadcast_to(first, (height, width, 3))).copy()
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
    edge = int(height * rng.uniform(0.55, 0.8))
    image = np.empty((height, width, 3))
    image[:edge], image[edge:] = wall, floor
    return _as_image(image + 5 * _noise(height, width, 120, rng)[..., None])


def landscape(height: int, width: int, rng: Chance) -> Image:
    """Sky, one or several rows of hills, and ground."""
    top = np.array([rng.uniform(120, 190), rng.uniform(180, 220), rng.uniform(225, 255)])
    low = np.array([rng.uniform(215, 250), rng.uniform(220, 245), rng.uniform(220, 250)])
    part = np.linspace(0, 1, height)[:, None, None]
    image = np.broadcast_to(top + part * (low - top), (height, width, 3)).copy()
    columns = np.arange(width)
    level = height * rng.uniform(0.35, 0.6)
    for depth in range(int(rng.integers(1, 4))):
        swing = height * rng.uniform(0.03, 0.1)
        course = level + swing * np.sin(columns / width * rng.uniform(3, 9) + rng.uniform(0, 6))
        course = course + swing * 0.4 * np.sin(columns / width * rng.uniform(10, 24) + rng.uniform(0, 6))
        colour = np.array([rng.uniform(110, 180), rng.uniform(160, 205), rng.uniform(90, 150)]) * 0.93**depth
        image[np.arange(height)[:, None] >= course] = colour
        level += height * rng.uniform(0.08, 0.18)
    grain = 7 * _noise(height, width, 90, rng) + 5 * _noise(height, width, 9, rng)
    return _as_image(image + grain[..., None])


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
