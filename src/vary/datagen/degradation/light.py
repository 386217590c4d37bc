"""Steps that leave points where they are, of paper and light: bleed-through, texture, shadows, a cast.

None of them covers ink: what stands below a shadow can still be read.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vary.datagen.degradation.geometry import Image, paper_value
from vary.datagen.degradation.pixels import Step, as_image, shaded, shifted

__all__ = ["LIGHT_STEPS", "bleed_through"]


def bleed_through(image: Image, other: Image, strength: float, em: float) -> Image:
    """The ink of the page behind, mirrored, shows faintly through the paper.

    `other` is that page, of any size, gray or RGB; it is laid over the whole image.
    """
    height, width = image.shape[:2]
    behind = as_image(cv2.cvtColor(other, cv2.COLOR_RGB2GRAY)) if other.ndim == 3 else other
    (paper,) = paper_value(behind)
    behind = as_image(cv2.resize(behind, (width, height), interpolation=cv2.INTER_AREA)[:, ::-1])
    behind = as_image(cv2.GaussianBlur(behind, (0, 0), 0.6 + 0.04 * em))  # paper scatters light
    ink = (behind.astype(np.float32) - np.float32(paper)) * np.float32(0.06 + 0.16 * strength)
    if paper_value(image)[0] > 127 >= paper or paper_value(image)[0] <= 127 < paper:
        ink = -ink  # a dark page behind a light one darkens, and the other way round
    return shifted(image, ink)


def _bleed(image: Image, strength: float, em: float, rng: np.random.Generator) -> Image:
    """A page behind that is set like this one: its own, turned by a random part of its height."""
    turn = int(rng.uniform(0.15, 0.85) * image.shape[0])
    gray = as_image(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)) if image.ndim == 3 else image
    return bleed_through(image, np.roll(gray, turn, axis=0), strength, em)


def _smooth_field(shape: tuple[int, int], cells: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """A smooth random field, -1 to 1, with about `cells` bumps a side."""
    coarse = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
    return np.asarray(
        cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR), dtype=np.float32
    )


def _size(image: Image) -> tuple[int, int]:
    return image.shape[0], image.shape[1]


def _light(image: Image, strength: float, em: float, rng: np.random.Generator) -> Image:
    field = _smooth_field(_size(image), int(rng.integers(2, 5)), rng)
    factor = 1 - (0.08 + 0.3 * strength) * (field + 1) / 2
    return shaded(image, factor)


def _texture(image: Image, strength: float, em: float, rng: np.random.Generator) -> Image:
    fine = _smooth_field(_size(image), max(8, min(_size(image)) // 6), rng) * (2 + 7 * strength)
    coarse = _smooth_field(_size(image), 6, rng) * (2 + 8 * strength)
    if image.ndim == 2:
        return as_image(np.clip(image + fine + coarse - 4, 0, 255))
    return shifted(image, fine + coarse - 4)


def _gradient(image: Image, strength: float, em: float, rng: np.random.Generator) -> Image:
    """A lamp at one side: the page gets darker in a straight line away from it."""
    height, width = _size(image)
    angle = rng.uniform(0, 2 * np.pi)
    x = np.linspace(-0.5, 0.5, width, dtype=np.float32) * np.float32(np.cos(angle))
    y = np.linspace(-0.5, 0.5, height, dtype=np.float32) * np.float32(np.sin(angle))
    along = (x[None] + y[:, None]) / np.float32(abs(np.cos(angle)) + abs(np.sin(angle))) + np.float32(0.5)
    factor = 1 - np.float32(0.12 + 0.4 * strength) * along
    return shaded(image, factor)


def _gutter(image: Image, strength: float, em: float, rng: np.random.Generator) -> Image:
    """The shadow of a book's spine along the left or right edge of a copy."""
    width = image.shape[1]
    away = np.arange(width, dtype=np.float32) / np.float32(width)
    away = away[::-1] if rng.random() < 0.5 else away
    reach = np.float32(rng.uniform(0.02, 0.05 + 0.06 * strength))
    factor = 1 - np.float32(0.25 + 0.4 * strength) * np.exp(-((away / reach) ** 2))
    return shaded(image, factor[None])


def _fingers(image: Image, strength: float, em: float, rng: np.random.Generator) -> Image:
    """Soft shadows of fingers, or of whoever holds the camera, which come in from the page's rim."""
    height, width = _size(image)
    small = (max(8, width // 8), max(8, height // 8))  # a soft thing needs few pixels
    mask = np.zeros((small[1], small[0]), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        along, reach = float(rng.uniform(0.05, 0.95)), float(rng.uniform(0.08, 0.15 + 0.2 * strength))
        side = int(rng.integers(4))
        start = [(along, -0.1), (along, 1.1), (-0.1, along), (1.1, along)][side]
        inward = [(0, 1), (0, -1), (1, 0), (-1, 0)][side]
        lean = float(rng.uniform(-0.08, 0.08))
        end = (
            start[0] + inward[0] * (0.1 + reach) + lean * (inward[0] == 0),
            start[1] + inward[1] * (0.1 + reach) + lean * (inward[1] == 0),
        )
        points = [(round(px * small[0]), round(py * small[1])) for px, py in (start, end)]
        thick = max(2, round(float(rng.uniform(0.04, 0.09)) * small[0]))
        cv2.line(mask, points[0], points[1], 1.0, thick, cv2.LINE_AA)
    mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), max(1.0, 0.012 * small[0])), dtype=np.float32)
    mask = np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)
    factor = 1 - np.float32(0.25 + 0.3 * strength) * np.clip(mask, 0, 1)
    return shaded(image, factor)


def _cast(image: Image, strength: float, em: float, rng: np.random.Generator) -> Image:
    """Yellowed paper or a lamp's colour; a gray page only gets darker."""
    warm = rng.random() < 0.75
    factors = 1 - (0.03 + 0.22 * strength) * (
        np.array([0.1, 0.35, 1.0]) if warm else np.array([0.9, 0.4, 0.1])
    )
    if image.ndim == 2:
        return as_image(image * np.float32(factors @ np.array([0.299, 0.587, 0.114])))
    return as_image(cv2.transform(image, np.diag(factors)))


LIGHT_STEPS: dict[str, Step] = {
    "bleed": _bleed,
    "texture": _texture,
    "light": _light,
    "gradient": _gradient,
    "gutter": _gutter,
    "fingers": _fingers,
    "cast": _cast,
}
