"""Steps that leave points where they are, of ink, lens, sensor and transmission.

Images are uint8, (H, W) gray or (H, W, 3) RGB; `em` is the size of the smallest text in px, which bounds what
stays readable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vary.datagen.degradation.geometry import Image, paper_value

__all__ = ["PIXEL_STEPS", "Step", "as_image", "shaded", "shifted"]

Step = Callable[[Image, float, float, np.random.Generator], Image]
"""Image, strength 0 to 1, em in px, source of chance."""


def as_image(values: object) -> Image:
    """uint8 values; fractions are cut off."""
    return np.asarray(values).astype(np.uint8, copy=False)


def shaded(image: Image, factor: NDArray[Any]) -> Image:
    """The image times a float32 factor of at most 1 a pixel, (H, W), or a row or column of them."""
    if image.ndim == 2:
        return as_image(image * factor)
    whole = np.ascontiguousarray(np.broadcast_to(factor, image.shape[:2]), dtype=np.float32)
    return as_image(cv2.multiply(image, cv2.merge([whole] * 3), dtype=cv2.CV_8U))


def shifted(image: Image, change: NDArray[Any]) -> Image:
    """The image plus a change (H, W), within 0 and 255."""
    if image.ndim == 2:
        return as_image(np.clip(image + change, 0, 255))
    return as_image(cv2.add(image, cv2.merge([change] * 3), dtype=cv2.CV_8U))


def _ink(image: Image, strength: float, em: float, rng: np.random.Generator) -> Image:
    """Bleeding or worn ink: a morphological step mixed in, weaker for small type."""
    kernel = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    worn = rng.random() < 0.4
    changed = cv2.dilate(image, kernel) if worn else cv2.erode(image, kernel)
    share = min(1.0, em / 24) * (0.2 + (0.35 if worn else 0.5) * strength)
    return as_image(cv2.addWeighted(image, 1 - share, changed, share, 0))


def _blur(image: Image, strength: float, em: float, rng: np.random.Generator) -> Image:
    sigma = min(0.3 + 0.9 * strength, 0.055 * em)
    return as_image(cv2.GaussianBlur(image, (0, 0), sigma))


def _defocus(image: Image, strength: float, em: float, rng: np.random.Generator) -> Image:
    radius = min(0.5 + 1.3 * strength, 0.06 * em)
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    kernel = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32)
    return as_image(cv2.filter2D(image, -1, kernel / kernel.sum()))


def _motion(image: Image, strength: float, em: float, rng: np.random.Generator) -> Image:
    size = 3 if em < 22 or strength < 0.5 else 5
    kernel = np.zeros((size, size), dtype=np.float32)
    line = [np.eye(size), np.fliplr(np.eye(size)), np.outer(np.arange(size) == size // 2, np.ones(size))]
    kernel += line[int(rng.integers(3))] / size
    return as_image(cv2.filter2D(image, -1, kernel))


def _normal(image: Image, rng: np.random.Generator) -> NDArray[np.int16]:
    """Gaussian noise of standard deviation 32, cut from a small tile so that large pages cost little."""
    tile = np.round(rng.standard_normal((256, 256), dtype=np.float32) * 32).astype(np.int16)
    height, width = image.shape[:2]
    tile = np.tile(tile, (height // 256 + 2, width // 256 + 2))
    top, left = (int(v) for v in rng.integers(0, 256, 2))
    return tile[top : top + height, left : left + width]


def _noise(image: Image, strength: float, em: float, rng: np.random.Generator) -> Image:
    sigma = 1.5 + 15 * strength**2
    return shifted(image, _normal(image, rng) * np.float32(sigma / 32))


def _speckle(image: Image, strength: float, em: float, rng: np.random.Generator) -> Image:
    share = np.float32((0.02 + 0.1 * strength) / 32)
    factor = 1 + _normal(image, rng) * share
    if image.ndim == 2:
        return as_image(np.clip(image * factor, 0, 255))
    return as_image(cv2.multiply(image, cv2.merge([factor] * 3), dtype=cv2.CV_8U))


def _salt(image: Image, strength: float, em: float, rng: np.random.Generator) -> Image:
    image = image.copy()
    pixels = image.reshape(image.shape[0] * image.shape[1], -1)
    count = int(len(pixels) * (0.0003 + 0.004 * strength**2))
    places = rng.integers(0, len(pixels), count)
    pixels[places] = np.where(rng.random(count) < 0.5, 0, 255).astype(np.uint8)[:, None]
    return image


def _downscale(image: Image, strength: float, em: float, rng: np.random.Generator) -> Image:
    target = max(9.0, em * (0.75 - 0.35 * strength))
    if target >= em:
        return image
    height, width = image.shape[:2]
    small = (max(8, round(width * target / em)), max(8, round(height * target / em)))
    shrink = [cv2.INTER_AREA, cv2.INTER_LINEAR][int(rng.integers(2))]
    grow = [cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_NEAREST][int(rng.choice(3, p=[0.5, 0.4, 0.1]))]
    coarse = cv2.resize(image, small, interpolation=shrink)
    return as_image(cv2.resize(coarse, (width, height), interpolation=grow))


def _fax(image: Image, strength: float, em: float, rng: np.random.Generator) -> Image:
    """Black or white, nothing between; an RGB page keeps its three channels."""
    gray = as_image(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)) if image.ndim == 3 else image
    (paper,) = paper_value(gray)
    extremes = np.percentile(gray, [1, 99])
    if np.abs(extremes - paper).max() < 60:  # hardly any ink on the page
        extremes = np.array([gray.min(), gray.max()])
    other = float(extremes[np.abs(extremes - paper).argmax()])
    threshold = paper + (other - paper) * (0.4 + 0.2 * strength)
    _, binary = cv2.threshold(gray, threshold, 255, cv2.THRESH_BINARY)
    return as_image(cv2.cvtColor(binary, cv2.COLOR_GRAY2RGB) if image.ndim == 3 else binary)


def _jpeg(image: Image, strength: float, em: float, rng: np.random.Generator) -> Image:
    quality = round(90 - 70 * strength) if em >= 18 else round(90 - 50 * strength)
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    if image.ndim == 2:
        _, data = cv2.imencode(".jpg", image, options)
        return as_image(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE))
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    return as_image(cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB))


PIXEL_STEPS: dict[str, Step] = {
    "ink": _ink,
    "blur": _blur,
    "defocus": _defocus,
    "motion": _motion,
    "noise": _noise,
    "speckle": _speckle,
    "salt": _salt,
    "downscale": _downscale,
    "fax": _fax,
    "jpeg": _jpeg,
}
