"""What happens to a printed page before it is read: scanners, cameras, faxes, copies, JPEG.

`draw_degradation` chooses the steps of one page; `Degradation.apply` runs them over the gray page once and
returns the page with the `Geometry` that moves points along, so that line boxes stay true.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Degradation", "Geometry", "draw_degradation"]

Gray = NDArray[np.uint8]
Points = NDArray[np.float64]
Step = tuple[str, float]


@dataclass(frozen=True)
class Geometry:
    """How points of the painted page move: a 3 x 3 matrix, then a vertical wave (amplitude, length in px,
    phase)."""

    matrix: Points = field(default_factory=lambda: np.eye(3))
    wave: tuple[float, float, float] = (0.0, 1.0, 0.0)

    def apply(self, points: Points) -> Points:
        """Move points (N, 2), x before y, in page px."""
        moved = np.column_stack([points, np.ones(len(points))]) @ self.matrix.T
        moved = moved[:, :2] / moved[:, 2:]
        amplitude, length, phase = self.wave
        if amplitude:
            moved = moved.copy()
            moved[:, 1] += amplitude * np.sin(2 * np.pi * moved[:, 0] / length + phase)
        return moved


@dataclass(frozen=True)
class Degradation:
    """The steps of one page, in order: names with a strength between 0 and 1."""

    profile: str
    steps: tuple[Step, ...] = ()

    def apply(self, gray: Gray, em: float, rng: np.random.Generator) -> tuple[Gray, Geometry]:
        """Run the steps over a gray page (H, W); `em` is the font size in px, which bounds what stays
        readable."""
        geometry = Geometry()
        for name, strength in self.steps:
            if name in _MOVING:
                gray, geometry = _MOVING[name](gray, strength, rng, geometry)
            else:
                gray = _STEPS[name](gray, strength, em, rng)
        return gray, geometry


def draw_degradation(rng: np.random.Generator, clean_share: float) -> Degradation:
    """Choose a page's fate: `clean` with probability `clean_share`, else a light touch, a scan, a fax or
    worse."""
    if rng.random() < clean_share:
        return Degradation("clean")
    profile = str(
        rng.choice(["light", "scan", "low resolution", "photo", "fax"], p=[0.34, 0.38, 0.12, 0.10, 0.06])
    )
    names: list[str] = []

    def maybe(probability: float, *options: str) -> None:
        if rng.random() < probability:
            names.append(str(rng.choice(options)))

    if profile == "light":
        names += [
            str(n)
            for n in rng.choice(["blur", "noise", "jpeg", "rotate", "texture", "ink"], 2, replace=False)
        ]
    elif profile == "scan":
        maybe(0.35, "ink")
        maybe(0.75, "rotate")
        maybe(0.15, "wave")
        maybe(0.45, "texture", "light")
        maybe(0.7, "blur", "blur", "defocus")
        maybe(0.65, "noise", "noise", "speckle", "salt")
        maybe(0.6, "jpeg")
    elif profile == "low resolution":
        maybe(0.3, "rotate")
        names.append("downscale")
        maybe(0.3, "noise")
        maybe(0.5, "jpeg")
    elif profile == "photo":
        names += ["perspective", "light"]
        maybe(0.5, "wave")
        maybe(0.7, "blur", "defocus", "motion")
        maybe(0.6, "noise")
        maybe(0.7, "jpeg")
    else:
        maybe(0.5, "rotate")
        maybe(0.5, "blur")
        maybe(0.5, "noise", "salt")
        names.append("fax")
        maybe(0.3, "jpeg")
    order = list(_ORDER)
    steps = tuple((name, float(rng.random())) for name in sorted(names, key=order.index))
    return Degradation(profile, steps)


# steps that move points


def _background(gray: Gray) -> float:
    """The paper's gray value: the median of the page's rim."""
    return float(np.median(np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])))


def _warp(gray: Gray, matrix: Points, geometry: Geometry) -> tuple[Gray, Geometry]:
    height, width = gray.shape
    corners = Geometry(matrix).apply(
        np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=float)
    )
    shift = np.eye(3)
    shift[:2, 2] = -corners.min(axis=0)
    size = np.ceil(corners.max(axis=0) - corners.min(axis=0)).astype(int)
    whole = shift @ matrix
    moved = cv2.warpPerspective(
        gray, whole, (int(size[0]), int(size[1])), flags=cv2.INTER_LINEAR, borderValue=_background(gray)
    )
    return moved, Geometry(whole @ geometry.matrix, geometry.wave)


def _rotate(
    gray: Gray, strength: float, rng: np.random.Generator, geometry: Geometry
) -> tuple[Gray, Geometry]:
    angle = np.deg2rad(2.5 * strength * (1 if rng.random() < 0.5 else -1))
    cosine, sine = np.cos(angle), np.sin(angle)
    return _warp(gray, np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1.0]]), geometry)


def _perspective(
    gray: Gray, strength: float, rng: np.random.Generator, geometry: Geometry
) -> tuple[Gray, Geometry]:
    height, width = gray.shape
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32)
    reach = 0.012 * (0.3 + strength) * np.array([width, height])
    target = (corners + rng.uniform(-reach, reach, (4, 2))).astype(np.float32)
    return _warp(gray, cv2.getPerspectiveTransform(corners, target).astype(np.float64), geometry)


def _wave(gray: Gray, strength: float, rng: np.random.Generator, geometry: Geometry) -> tuple[Gray, Geometry]:
    height, width = gray.shape
    amplitude, length, phase = (
        0.5 + 1.5 * strength,
        float(rng.uniform(1.0, 3.0) * max(width, 400)),
        rng.uniform(0, 6),
    )
    columns = np.arange(width, dtype=np.float32)
    offset = (amplitude * np.sin(2 * np.pi * columns / length + phase)).astype(np.float32)
    rows = np.arange(height, dtype=np.float32)[:, None] - offset[None, :]
    grid = np.broadcast_to(columns, (height, width)).copy()
    moved = cv2.remap(gray, grid, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return moved, Geometry(geometry.matrix, (amplitude, length, float(phase)))


# steps that leave points where they are


def _gray(values: object) -> Gray:
    return np.asarray(values).astype(np.uint8, copy=False)


def _ink(gray: Gray, strength: float, em: float, rng: np.random.Generator) -> Gray:
    """Bleeding or worn ink: a morphological step mixed in, weaker for small type."""
    kernel = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    worn = rng.random() < 0.4
    changed = cv2.dilate(gray, kernel) if worn else cv2.erode(gray, kernel)
    share = min(1.0, em / 24) * (0.2 + (0.35 if worn else 0.5) * strength)
    return _gray(cv2.addWeighted(gray, 1 - share, changed, share, 0))


def _blur(gray: Gray, strength: float, em: float, rng: np.random.Generator) -> Gray:
    sigma = min(0.3 + 0.9 * strength, 0.055 * em)
    return _gray(cv2.GaussianBlur(gray, (0, 0), sigma))


def _defocus(gray: Gray, strength: float, em: float, rng: np.random.Generator) -> Gray:
    radius = min(0.5 + 1.3 * strength, 0.06 * em)
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    kernel = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32)
    return _gray(cv2.filter2D(gray, -1, kernel / kernel.sum()))


def _motion(gray: Gray, strength: float, em: float, rng: np.random.Generator) -> Gray:
    size = 3 if em < 22 or strength < 0.5 else 5
    kernel = np.zeros((size, size), dtype=np.float32)
    line = [np.eye(size), np.fliplr(np.eye(size)), np.outer(np.arange(size) == size // 2, np.ones(size))]
    kernel += line[int(rng.integers(3))] / size
    return _gray(cv2.filter2D(gray, -1, kernel))


def _normal(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.int16]:
    """Gaussian noise of standard deviation 32, cut from a small tile so that large pages cost little."""
    tile = np.round(rng.standard_normal((256, 256), dtype=np.float32) * 32).astype(np.int16)
    tile = np.tile(tile, (shape[0] // 256 + 2, shape[1] // 256 + 2))
    top, left = (int(v) for v in rng.integers(0, 256, 2))
    return tile[top : top + shape[0], left : left + shape[1]]


def _noise(gray: Gray, strength: float, em: float, rng: np.random.Generator) -> Gray:
    sigma = 1.5 + 15 * strength**2
    return _gray(np.clip(gray + _normal(gray.shape, rng) * np.float32(sigma / 32), 0, 255))


def _speckle(gray: Gray, strength: float, em: float, rng: np.random.Generator) -> Gray:
    share = np.float32((0.02 + 0.1 * strength) / 32)
    return _gray(np.clip(gray * (1 + _normal(gray.shape, rng) * share), 0, 255))


def _salt(gray: Gray, strength: float, em: float, rng: np.random.Generator) -> Gray:
    gray = gray.copy()
    count = int(gray.size * (0.0003 + 0.004 * strength**2))
    places = rng.integers(0, gray.size, count)
    gray.reshape(-1)[places] = np.where(rng.random(count) < 0.5, 0, 255).astype(np.uint8)
    return gray


def _smooth_field(shape: tuple[int, int], cells: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """A smooth random field, -1 to 1, with about `cells` bumps a side."""
    coarse = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
    return np.asarray(
        cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR), dtype=np.float32
    )


def _light(gray: Gray, strength: float, em: float, rng: np.random.Generator) -> Gray:
    field_ = _smooth_field(gray.shape, int(rng.integers(2, 5)), rng)
    factor = 1 - (0.08 + 0.3 * strength) * (field_ + 1) / 2
    return _gray(gray * factor)


def _texture(gray: Gray, strength: float, em: float, rng: np.random.Generator) -> Gray:
    fine = _smooth_field(gray.shape, max(8, min(gray.shape) // 6), rng) * (2 + 7 * strength)
    coarse = _smooth_field(gray.shape, 6, rng) * (2 + 8 * strength)
    return _gray(np.clip(gray + fine + coarse - 4, 0, 255))


def _downscale(gray: Gray, strength: float, em: float, rng: np.random.Generator) -> Gray:
    target = max(9.0, em * (0.75 - 0.35 * strength))
    if target >= em:
        return gray
    height, width = gray.shape
    small = (max(8, round(width * target / em)), max(8, round(height * target / em)))
    shrink = [cv2.INTER_AREA, cv2.INTER_LINEAR][int(rng.integers(2))]
    grow = [cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_NEAREST][int(rng.choice(3, p=[0.5, 0.4, 0.1]))]
    coarse = cv2.resize(gray, small, interpolation=shrink)
    return _gray(cv2.resize(coarse, (width, height), interpolation=grow))


def _fax(gray: Gray, strength: float, em: float, rng: np.random.Generator) -> Gray:
    paper = _background(gray)
    extremes = np.percentile(gray, [1, 99])
    if np.abs(extremes - paper).max() < 60:  # hardly any ink on the page
        extremes = np.array([gray.min(), gray.max()])
    other = float(extremes[np.abs(extremes - paper).argmax()])
    threshold = paper + (other - paper) * (0.4 + 0.2 * strength)
    _, binary = cv2.threshold(gray, threshold, 255, cv2.THRESH_BINARY)
    return _gray(binary)


def _jpeg(gray: Gray, strength: float, em: float, rng: np.random.Generator) -> Gray:
    quality = round(90 - 70 * strength) if em >= 18 else round(90 - 50 * strength)
    _, data = cv2.imencode(".jpg", gray, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return _gray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE))


_MOVING: dict[str, Callable[[Gray, float, np.random.Generator, Geometry], tuple[Gray, Geometry]]] = {
    "rotate": _rotate,
    "perspective": _perspective,
    "wave": _wave,
}
_STEPS: dict[str, Callable[[Gray, float, float, np.random.Generator], Gray]] = {
    "ink": _ink,
    "blur": _blur,
    "defocus": _defocus,
    "motion": _motion,
    "noise": _noise,
    "speckle": _speckle,
    "salt": _salt,
    "light": _light,
    "texture": _texture,
    "downscale": _downscale,
    "fax": _fax,
    "jpeg": _jpeg,
}
_ORDER = (
    *("ink", "rotate", "perspective", "wave", "texture", "light", "defocus", "motion", "blur", "downscale"),
    *("noise", "speckle", "salt", "fax", "jpeg"),
)
