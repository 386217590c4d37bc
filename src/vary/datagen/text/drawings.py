"""Drawings without text for figures: a few shapes, as numbers, for every renderer to draw in its own way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Drawing", "Shape", "drawing"]

_COLOURS = ("4e79a7", "f28e2b", "e15759", "76b7b2", "59a14f", "edc948", "b07aa1", "9c755f", "bab0ac")
_GRAYS = ("222222", "555555", "888888", "bbbbbb", "dddddd")


@dataclass(frozen=True, slots=True)
class Shape:
    """A shape in a drawing of 1 by 1: `rectangle`, `ellipse` or `line` from (x, y), w wide and h high."""

    kind: str
    x: float
    y: float
    w: float
    h: float
    colour: str
    filled: bool = True


@dataclass(frozen=True, slots=True)
class Drawing:
    """Shapes, the drawing's width as a share of the column, and its height as a share of its width."""

    shapes: tuple[Shape, ...]
    width: float
    aspect: float
    framed: bool


def drawing(number: int, *, coloured: bool) -> Drawing:
    """The drawing with a number: bars, a curve, or shapes thrown together."""
    rng = np.random.default_rng(number)
    colours = _COLOURS if coloured else _GRAYS
    kind = rng.random()
    if kind < 0.35:
        shapes = _bars(rng, colours)
    elif kind < 0.6:
        shapes = _curve(rng, colours)
    else:
        shapes = _scene(rng, colours)
    return Drawing(
        tuple(shapes),
        round(float(rng.uniform(0.45, 0.95)), 3),
        round(float(rng.uniform(0.35, 0.75)), 3),
        bool(rng.random() < 0.6),
    )


def _colour(rng: np.random.Generator, colours: tuple[str, ...]) -> str:
    return colours[int(rng.integers(len(colours)))]


def _bars(rng: np.random.Generator, colours: tuple[str, ...]) -> list[Shape]:
    count = int(rng.integers(3, 12))
    step = 0.84 / count
    one = _colour(rng, colours)
    shapes = [Shape("line", 0.08, 0.92, 0.86, 0.0, "333333"), Shape("line", 0.08, 0.06, 0.0, 0.86, "333333")]
    for number in range(count):
        height = float(rng.uniform(0.08, 0.8))
        colour = one if rng.random() < 0.7 else _colour(rng, colours)
        shapes.append(Shape("rectangle", 0.1 + number * step, 0.92 - height, 0.7 * step, height, colour))
    return shapes


def _curve(rng: np.random.Generator, colours: tuple[str, ...]) -> list[Shape]:
    shapes = [Shape("line", 0.06, 0.94, 0.9, 0.0, "333333"), Shape("line", 0.06, 0.05, 0.0, 0.89, "333333")]
    for _ in range(int(rng.integers(1, 4))):
        colour = _colour(rng, colours)
        steps = np.clip(np.cumsum(rng.normal(0, 0.07, 14)) + rng.uniform(0.3, 0.7), 0.05, 0.9)
        for number in range(13):
            rise = float(steps[number + 1] - steps[number])
            shapes.append(Shape("line", 0.08 + number * 0.065, float(steps[number]), 0.065, rise, colour))
    return shapes


def _scene(rng: np.random.Generator, colours: tuple[str, ...]) -> list[Shape]:
    shapes = []
    for _ in range(int(rng.integers(3, 12))):
        w, h = (float(v) for v in rng.uniform(0.08, 0.45, 2))
        x, y = float(rng.uniform(0.02, 0.96 - w)), float(rng.uniform(0.02, 0.96 - h))
        kind = str(rng.choice(["rectangle", "ellipse", "ellipse", "line"]))
        shapes.append(Shape(kind, x, y, w, h, _colour(rng, colours), bool(rng.random() < 0.7)))
    return shapes
