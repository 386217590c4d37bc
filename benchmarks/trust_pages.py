"""Pages on which a reader can only go wrong: noise, bare paper, pictures, codes; and forms and tables.

`KINDS` maps a kind to what draws it from a random generator: the page, uint8 (H, W) or (H, W, 3), and
the words that stand on it; none on most.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vary.datagen.scene.config import SceneConfig
from vary.datagen.scene.engine import SceneEngine

__all__ = ["KINDS", "WITH_WORDS", "Drawn", "draw"]

Pixels = NDArray[np.uint8]
Chance = np.random.Generator
Drawn = tuple[Pixels, list[str]]

LABELS = (
    "Name",
    "Address",
    "Date",
    "City",
    "Telephone",
    "Signature",
    "Order number",
    "Country",
    "E-mail",
    "Yes",
    "No",
)
COLUMNS = ("Item", "Price", "Weight", "Year", "Total", "Share", "Colour", "Length")


def draw(kind: str, seed: int, index: int) -> Drawn:
    """Page `index` of a kind; it depends on the three alone."""
    return KINDS[kind](np.random.default_rng([seed, list(KINDS).index(kind), index]))


def _size(rng: Chance) -> tuple[int, int]:
    """Height and width of a page, 60 to 150 dpi more or less."""
    height = int(rng.integers(700, 1755))
    return height, int(height * rng.uniform(0.6, 0.8))


def _pixels(values: NDArray[np.floating]) -> Pixels:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def _jpeg(pixels: Pixels, quality: int) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def _clouds(rng: Chance, shape: tuple[int, int], octaves: int = 6) -> NDArray[np.float32]:
    """Fractal noise from 0 to 1: shapes of all sizes, as natural pictures have them."""
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        small = rng.normal(size=(3 * 2**octave, 2 * 2**octave)).astype(np.float32)
        total += cv2.resize(small, shape[::-1], interpolation=cv2.INTER_CUBIC) / 2**octave
    low, high = float(total.min()), float(total.max())
    return (total - low) / (high - low)


def _gaussian(rng: Chance) -> Drawn:
    shape = _size(rng)
    noise = rng.uniform(60, 250) + rng.normal(0, rng.uniform(5, 80), shape)
    if rng.random() < 0.4:  # grains of several pixels
        noise = cv2.GaussianBlur(noise, (0, 0), float(rng.uniform(0.7, 3))) * 1.5
    return _pixels(noise), []


def _salt_and_pepper(rng: Chance) -> Drawn:
    shape = _size(rng)
    page = np.full(shape, rng.integers(128, 256), np.uint8)
    share = float(10 ** rng.uniform(-4, -0.7))
    dots = rng.random(shape)
    page[dots < share], page[dots > 1 - share / 2] = 0, 255
    if rng.random() < 0.5:
        page = 255 - cv2.dilate(255 - page, np.ones((int(rng.integers(1, 4)),) * 2, np.uint8))
    return page, []


def _jpeg_noise(rng: Chance) -> Drawn:
    page, _ = _gaussian(rng)
    return _jpeg(page, int(rng.integers(3, 30))), []


def _gradient(rng: Chance) -> Drawn:
    height, width = _size(rng)
    y, x = np.mgrid[0:height, 0:width] / height
    angle, start, stop = rng.uniform(0, 6.3), *rng.uniform(0, 255, 2)
    slope = np.cos(angle) * x + np.sin(angle) * y
    if rng.random() < 0.4:
        slope = np.hypot(x - rng.uniform(0, 0.7), y - rng.uniform(0, 1))
    page = _pixels(start + (stop - start) * slope)
    return (_jpeg(page, int(rng.integers(5, 60))) if rng.random() < 0.5 else page), []


def _halftone(rng: Chance) -> Drawn:
    """Dots of a printing screen, whose size follows a picture; or two gratings, one over the other."""
    height, width = shape = _size(rng)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    period, angle = rng.uniform(4, 14), rng.uniform(0, 1.5)
    across, along = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    waves = np.cos(2 * np.pi * across / period)
    if rng.random() < 0.5:
        other = period * rng.uniform(0.9, 1.1)
        return _pixels(128 + 60 * (waves + np.cos(2 * np.pi * along / other + 0.1 * np.sin(y / 40)))), []
    screen = waves + np.cos(2 * np.pi * along / period)
    return _pixels(255.0 * (screen / 4 + 0.5 < _clouds(rng, shape))), []


def _paper(rng: Chance) -> Drawn:
    """Blank paper: fibres, folds, spots, holes, a staple, the scanner's dark edges."""
    height, width = shape = _size(rng)
    page = _pixels(
        rng.uniform(190, 252)
        - rng.uniform(0, 40) * _clouds(rng, shape)
        + rng.normal(0, rng.uniform(0, 5), shape)
    )
    tone = int(rng.integers(0, 120))
    if rng.random() < 0.5:  # the scanner's edge, and the dark table beside the sheet
        edge = int(rng.integers(2, 40))
        skewed = np.array([[0, 0], [edge, 0], [edge // 2, height], [0, height]], np.int32)
        cv2.fillPoly(page, [skewed], tone)
        page[-int(rng.integers(1, 12)) :] = tone
    if rng.random() < 0.5:  # punch holes
        radius = max(5, height // 140)
        for share in (0.4, 0.6) if rng.random() < 0.6 else (0.15, 0.38, 0.62, 0.85):
            cv2.circle(page, (width // 18, int(share * height)), radius, tone, -1, cv2.LINE_AA)
    if rng.random() < 0.4:  # a staple
        start = (int(width * 0.05), int(height * 0.04))
        cv2.line(page, start, (start[0] + width // 40, start[1] - height // 100), tone, 2, cv2.LINE_AA)
    for _ in range(int(rng.integers(0, 4))):  # folds
        row = int(rng.uniform(0.2, 0.8) * height)
        band = page[row : row + 3].astype(np.float64) - rng.uniform(5, 30)
        page[row : row + 3] = _pixels(band)
    for _ in range(int(rng.integers(0, 30))):  # spots, hairs
        spot = (int(rng.integers(width)), int(rng.integers(height)))
        if rng.random() < 0.6:
            cv2.circle(page, spot, int(rng.integers(1, 4)), int(rng.integers(0, 160)), -1, cv2.LINE_AA)
        else:
            angle = int(rng.integers(360))
            cv2.ellipse(page, spot, (int(rng.integers(5, 40)), 8), angle, 0, 150, tone, 1, cv2.LINE_AA)
    return _jpeg(page, int(rng.integers(30, 90))), []


def _picture(rng: Chance) -> Drawn:
    """A drawn scene or a fractal landscape, as a photograph would have it."""
    if rng.random() < 0.5:
        scene = SceneEngine(SceneConfig(seed=int(rng.integers(2**31)), negative_share=0.0)).scene(0)
        pixels = scene.image
    else:
        shape = _size(rng)
        parts = [_clouds(rng, shape, 8) for _ in range(3)]
        pixels = _pixels(np.stack(parts, -1) * rng.uniform(120, 255, 3))
        if rng.random() < 0.6:  # hard edges: leaves, stones
            pixels = np.where(parts[0][..., None] > 0.5, pixels, _pixels(pixels * 0.35))
    return _jpeg(pixels, int(rng.integers(20, 95))), []


def _line_art(rng: Chance) -> Drawn:
    height, width = shape = _size(rng)
    page = np.full(shape, 255, np.uint8)
    for _ in range(int(rng.integers(4, 60))):
        kind, thick = rng.integers(4), int(rng.integers(1, 4))
        a, b = (rng.integers(0, (width, height), (2, 2))).tolist()
        if kind == 0:
            cv2.line(page, a, b, 0, thick, cv2.LINE_AA)
        elif kind == 1:
            cv2.rectangle(page, a, b, 0, thick)
        elif kind == 2:
            axes = (int(rng.integers(4, width // 3)), int(rng.integers(4, width // 3)))
            cv2.ellipse(
                page, a, axes, int(rng.integers(180)), 0, int(rng.integers(60, 361)), 0, thick, cv2.LINE_AA
            )
        else:
            steps = rng.normal(0, width / 12, (int(rng.integers(4, 40)), 2)).cumsum(axis=0) + a
            cv2.polylines(page, [steps.astype(np.int32)], False, 0, thick, cv2.LINE_AA)
    return page, []


def _code(rng: Chance) -> Drawn:
    """Bar codes and squares of modules, one to four on a page, upright or turned."""
    height, width = shape = _size(rng)
    page = np.full(shape, 255, np.uint8)
    for number in range(int(rng.integers(1, 5))):
        module = int(rng.integers(2, 9))
        if rng.random() < 0.5:
            bars = np.repeat(rng.random(60) < 0.5, rng.integers(1, 4, 60) * module)
            pattern = np.repeat(bars[None], int(rng.integers(40, 160)), axis=0)
        else:
            cells = rng.random((int(rng.integers(21, 45)),) * 2) < 0.5
            for corner in (
                (slice(0, 7), slice(0, 7)),
                (slice(0, 7), slice(-7, None)),
                (slice(-7, None), slice(0, 7)),
            ):
                cells[corner] = np.pad(np.pad(np.ones((3, 3), bool), 1), 1, constant_values=True)
            pattern = np.kron(cells, np.ones((module, module), bool))
        pattern = np.rot90(pattern, int(rng.integers(4)))[: height // 4 - 10, : width - 40]
        top, left = 5 + number * height // 4, int(rng.integers(0, width - pattern.shape[1] - 20)) + 10
        page[top : top + pattern.shape[0], left : left + pattern.shape[1]][pattern] = 0
    return page, []


def _form(rng: Chance) -> Drawn:
    """Boxes, ruled lines, cells for single letters and boxes to tick, with a few words."""
    height, width = shape = _size(rng)
    page = Image.new("L", shape[::-1], 255)
    size = max(14, height // 70)
    pen, face = ImageDraw.Draw(page), ImageFont.load_default(size)
    words: list[str] = []
    y = height // 14
    while y < 0.9 * height:
        kind, x, tall = rng.integers(5), width // 10, int(height / rng.uniform(25, 40))
        if rng.random() < 0.6:
            word = LABELS[rng.integers(len(LABELS))]
            pen.text((x, y), word, 0, face)
            words += word.split()
            x += round(pen.textlength(word, face)) + size
        end = int(width * rng.uniform(0.75, 0.92))
        if kind == 0:
            pen.rectangle((x, y - 3, end, y + tall), outline=0, width=2)
        elif kind == 1:
            pen.line((x, y + size, end, y + size), fill=0, width=int(rng.integers(1, 3)))
        elif kind == 2:
            for left in range(x, end - tall, tall):
                pen.rectangle((left, y - 3, left + tall, y + tall), outline=0)
        elif kind == 3:
            for left in range(x, end - tall, 4 * tall):
                pen.rectangle((left, y, left + size, y + size), outline=0, width=2)
        else:
            for left in range(x, end, 6):
                pen.line((left, y + size, left + 2, y + size), fill=0)
        y += 2 * tall
    return np.asarray(page), words


def _table(rng: Chance) -> Drawn:
    """A ruled table of figures, some cells empty; now and then without any words."""
    height, width = shape = _size(rng)
    page = Image.new("L", shape[::-1], 255)
    size = max(13, height // 80)
    pen, face = ImageDraw.Draw(page), ImageFont.load_default(size)
    columns, pitch = int(rng.integers(2, 7)), int(1.9 * size)
    rows = int(rng.integers(4, max(5, int(0.8 * height / pitch))))
    left, top, cell, filled = width // 12, height // 12, int(width * 0.84 / columns), rng.uniform(0, 1)
    words: list[str] = []
    for row in range(rows + 1):
        pen.line((left, top + row * pitch, left + columns * cell, top + row * pitch), fill=0)
    for column in range(columns + 1):
        pen.line((left + column * cell, top, left + column * cell, top + rows * pitch), fill=0)
    for row in range(rows):
        for column in range(columns):
            if rng.random() > filled:
                continue
            word = COLUMNS[rng.integers(len(COLUMNS))] if row == 0 else f"{rng.uniform(1, 999):.2f}"
            pen.text((left + column * cell + 6, top + row * pitch + size // 3), word, 0, face)
            words.append(word)
    return np.asarray(page), words


KINDS: dict[str, Callable[[Chance], Drawn]] = {
    "gaussian noise": _gaussian,
    "salt and pepper": _salt_and_pepper,
    "noise as JPEG": _jpeg_noise,
    "gradient": _gradient,
    "halftone, moire": _halftone,
    "bare paper": _paper,
    "picture": _picture,
    "line art": _line_art,
    "bar and square codes": _code,
    "form": _form,
    "table": _table,
}
WITH_WORDS = ("form", "table")
"""The kinds that hold words."""
