"""Drawings of things out of doors: nature, animals, food, vehicles, toys, plain shapes."""

from __future__ import annotations

import numpy as np

from vary.datagen.scene.sketch import Sketch

__all__ = ["DRAWINGS"]

Chance = np.random.Generator


def _house(s: Sketch, rng: Chance) -> None:
    if rng.random() < 0.6:
        s.rectangle(0.66, 0.08, 0.78, 0.4, "brick")
    s.rectangle(0.12, 0.45, 0.88, 0.96, "light")
    s.polygon((0.02, 0.47), (0.5, rng.uniform(0.04, 0.16)), (0.98, 0.47))
    s.rectangle(0.42, 0.64, 0.58, 0.96, "dark")
    for x in (0.2, 0.66):
        s.rectangle(x, 0.58, x + 0.14, 0.74, "glass")


def _tree(s: Sketch, rng: Chance) -> None:
    s.rectangle(0.44, 0.6, 0.56, 0.98, "wood")
    if rng.random() < 0.5:
        for top, half in ((0.02, 0.22), (0.2, 0.3), (0.4, 0.38)):
            s.polygon((0.5, top), (0.5 + half, top + 0.3), (0.5 - half, top + 0.3))
    else:
        for x, y in ((0.32, 0.4), (0.68, 0.4), (0.5, 0.26), (0.5, 0.48)):
            s.ellipse(x, y, 0.24)
        s.ellipse(0.42, 0.26, 0.08, tone="light")


def _sun(s: Sketch, rng: Chance) -> None:
    s.star(0.5, 0.5, 0.5, 0.34, int(rng.integers(10, 15)))
    s.ellipse(0.5, 0.5, 0.3, tone="light")


def _moon(s: Sketch, rng: Chance) -> None:
    s.ellipse(0.5, 0.5, 0.48)
    s.ellipse(0.5 + rng.uniform(0.2, 0.28), 0.42, 0.42, tone="hole")


def _cloud(s: Sketch, rng: Chance) -> None:
    for x, y, r in ((0.24, 0.6, 0.2), (0.46, 0.44, 0.26), (0.72, 0.54, 0.22)):
        s.ellipse(x, y + rng.uniform(-0.03, 0.03), r)
    s.rectangle(0.2, 0.56, 0.78, 0.8, round_=0.12)


def _flower(s: Sketch, rng: Chance) -> None:
    s.line((0.5, 0.4), (0.5, 0.97), width=0.05, tone="leaf")
    s.ellipse(0.62, 0.74, 0.14, 0.06, "leaf")
    petals = int(rng.integers(5, 9))
    for angle in np.arange(petals) * 2 * np.pi / petals:
        s.ellipse(0.5 + 0.19 * np.cos(angle), 0.28 + 0.19 * np.sin(angle), 0.12)
    s.ellipse(0.5, 0.28, 0.11, tone="flame")


def _leaf(s: Sketch, rng: Chance) -> None:
    wide = rng.uniform(0.22, 0.32)
    s.line((0.5, 0.7), (0.5, 0.98), width=0.04, tone="dark")
    along = np.linspace(0, np.pi, 24)
    left = [(0.5 - wide * float(np.sin(a)) ** 1.2, 0.03 + 0.27 * float(a)) for a in along]
    right = [(1 - x, y) for x, y in reversed(left)]
    s.polygon(*left, *right)
    s.line((0.5, 0.12), (0.5, 0.85), width=0.025, tone="dark")
    for y in (0.35, 0.5, 0.65):
        s.line((0.5, y), (0.5 + wide * 0.6, y - 0.1), width=0.018, tone="dark")
        s.line((0.5, y), (0.5 - wide * 0.6, y - 0.1), width=0.018, tone="dark")


def _apple(s: Sketch, rng: Chance) -> None:
    s.line((0.5, 0.25), (0.54, 0.05), width=0.05, tone="wood")
    s.ellipse(0.67, 0.13, 0.13, 0.06, "leaf")
    s.ellipse(0.34, 0.56, 0.3, 0.36)
    s.ellipse(0.66, 0.56, 0.3, 0.36)
    s.ellipse(0.3, 0.42, 0.07, 0.1, "light")


def _pear(s: Sketch, rng: Chance) -> None:
    s.line((0.5, 0.22), (0.56, 0.03), width=0.05, tone="wood")
    s.ellipse(0.5, 0.36, 0.18, 0.2)
    s.ellipse(0.5, 0.68, rng.uniform(0.28, 0.34), 0.29)
    s.polygon((0.33, 0.36), (0.67, 0.36), (0.78, 0.6), (0.22, 0.6))
    s.ellipse(0.36, 0.62, 0.06, 0.1, "light")


def _banana(s: Sketch, rng: Chance) -> None:
    bend = rng.uniform(0.22, 0.32)
    s.ellipse(0.5, 0.1, 0.48, 0.75, start=5, end=175)
    s.ellipse(0.5, 0.1, 0.5, 0.75 - bend, "hole", start=0, end=180)
    s.line((0.05, 0.24), (0.03, 0.14), width=0.06, tone="wood")
    s.line((0.95, 0.24), (0.96, 0.2), width=0.04, tone="wood")


def _carrot(s: Sketch, rng: Chance) -> None:
    for turn in (-0.16, 0.0, 0.16):
        s.line((0.5, 0.3), (0.5 + turn, 0.04), width=0.08, tone="leaf")
    half = rng.uniform(0.15, 0.2)
    s.polygon((0.5 - half, 0.28), (0.5 + half, 0.28), (0.5, 0.98))
    s.ellipse(0.5, 0.28, half, 0.06)
    for y in (0.42, 0.56, 0.7):
        s.line((0.46, y), (0.54, y), width=0.02, tone="dark")


def _mushroom(s: Sketch, rng: Chance) -> None:
    s.rectangle(0.38, 0.5, 0.62, 0.96, "skin", round_=0.08)
    s.ellipse(0.5, 0.55, 0.47, 0.47, start=180, end=360)
    for x, y in ((0.3, 0.38), (0.52, 0.22), (0.7, 0.4)):
        s.ellipse(x, y, rng.uniform(0.04, 0.07), tone="white")


def _ice_cream(s: Sketch, rng: Chance) -> None:
    s.polygon((0.26, 0.42), (0.74, 0.42), (0.5, 0.98), tone="wood")
    s.ellipse(0.5, 0.3, 0.28)
    s.rectangle(0.24, 0.36, 0.76, 0.45, "light", round_=0.04)
    if rng.random() < 0.5:
        s.ellipse(0.5, 0.05, 0.06, tone="brick")


def _cake(s: Sketch, rng: Chance) -> None:
    s.rectangle(0.06, 0.5, 0.94, 0.92)
    s.rectangle(0.06, 0.66, 0.94, 0.72, "light")
    s.rectangle(0.04, 0.42, 0.96, 0.54, "white", round_=0.05)
    for x in np.linspace(0.2, 0.8, int(rng.integers(2, 5))):
        s.rectangle(x - 0.02, 0.22, x + 0.02, 0.43, "accent")
        s.ellipse(x, 0.17, 0.025, 0.05, "flame")


def _cherry(s: Sketch, rng: Chance) -> None:
    s.line((0.3, 0.65), (0.56, 0.08), (0.74, 0.6), width=0.035, tone="leaf")
    s.ellipse(0.28, 0.74, 0.2)
    s.ellipse(0.74, 0.68, 0.2)
    s.ellipse(0.22, 0.68, 0.05, tone="light")
    s.ellipse(0.68, 0.62, 0.05, tone="light")


def _fish(s: Sketch, rng: Chance) -> None:
    s.polygon((0.66, 0.5), (0.98, rng.uniform(0.18, 0.3)), (0.98, rng.uniform(0.7, 0.82)), tone="dark")
    s.polygon((0.34, 0.32), (0.5, 0.1), (0.6, 0.34), tone="dark")
    s.ellipse(0.4, 0.5, 0.38, rng.uniform(0.2, 0.26))
    s.ellipse(0.18, 0.45, 0.045, tone="white")
    s.ellipse(0.18, 0.45, 0.022, tone="black")
    s.curve(0.2, 0.5, 0.14, -50, 50, 0.02, "dark")


def _bird(s: Sketch, rng: Chance) -> None:
    s.polygon((0.66, 0.5), (0.99, 0.34), (0.92, 0.62), tone="dark")
    s.ellipse(0.48, 0.56, 0.32, 0.22)
    s.ellipse(0.24, 0.36, 0.17)
    s.polygon((0.1, 0.33), (0.0, 0.4), (0.1, 0.43), tone="flame")
    s.ellipse(0.2, 0.33, 0.025, tone="black")
    s.ellipse(0.54, 0.52, 0.18, 0.11, "light")
    for x in (0.42, 0.54):
        s.line((x, 0.76), (x, 0.94), width=0.025, tone="black")


def _cat(s: Sketch, rng: Chance) -> None:
    s.curve(0.78, 0.66, 0.14, -90, 120, 0.07, "dark")
    s.ellipse(0.52, 0.72, 0.3, 0.26)
    s.polygon((0.16, 0.3), (0.2, 0.04), (0.38, 0.2))
    s.polygon((0.6, 0.3), (0.56, 0.04), (0.38, 0.2))
    s.ellipse(0.38, 0.34, 0.23, 0.2)
    for x in (0.3, 0.46):
        s.ellipse(x, 0.31, 0.035, tone="white")
        s.ellipse(x, 0.31, 0.018, tone="black")
    s.polygon((0.35, 0.39), (0.41, 0.39), (0.38, 0.43), tone="black")


def _butterfly(s: Sketch, rng: Chance) -> None:
    wing = rng.uniform(0.19, 0.24)
    for side in (-1, 1):
        s.ellipse(0.5 + side * 0.25, 0.34, 0.23, wing)
        s.ellipse(0.5 + side * 0.2, 0.7, 0.16, wing * 0.8, "dark")
        s.ellipse(0.5 + side * 0.27, 0.34, 0.09, tone="light")
        s.line((0.5, 0.2), (0.5 + side * 0.12, 0.04), width=0.02, tone="black")
    s.ellipse(0.5, 0.5, 0.04, 0.34, "black")


def _snail(s: Sketch, rng: Chance) -> None:
    s.rectangle(0.04, 0.74, 0.96, 0.9, "skin", round_=0.08)
    s.line((0.12, 0.78), (0.08, 0.46), width=0.07, tone="skin")
    s.ellipse(0.56, 0.5, 0.32)
    for radius in (0.22, 0.12):
        s.curve(0.56, 0.5, radius, 0, 330, 0.045, "dark")


def _car(s: Sketch, rng: Chance) -> None:
    s.polygon((0.2, 0.5), (0.34, 0.24), (0.68, 0.24), (0.82, 0.5))
    s.polygon((0.28, 0.48), (0.38, 0.29), (0.5, 0.29), (0.5, 0.48), tone="glass")
    s.polygon((0.54, 0.48), (0.54, 0.29), (0.65, 0.29), (0.74, 0.48), tone="glass")
    s.rectangle(0.02, 0.47, 0.98, 0.7, round_=0.06)
    _wheels(s, (0.24, 0.76), 0.7, 0.12)


def _bus(s: Sketch, rng: Chance) -> None:
    s.rectangle(0.01, 0.22, 0.99, 0.74, round_=0.05)
    count = int(rng.integers(4, 6))
    for x in np.linspace(0.06, 0.94 - 0.8 / count, count):
        s.rectangle(x, 0.3, x + 0.8 / count - 0.03, 0.5, "glass")
    s.rectangle(0.01, 0.57, 0.99, 0.62, "light")
    _wheels(s, (0.2, 0.78), 0.75, 0.09)


def _truck(s: Sketch, rng: Chance) -> None:
    s.rectangle(0.3, rng.uniform(0.16, 0.26), 0.99, 0.68)
    s.polygon((0.02, 0.68), (0.02, 0.48), (0.1, 0.32), (0.27, 0.32), (0.27, 0.68), tone="dark")
    s.polygon((0.07, 0.48), (0.13, 0.37), (0.22, 0.37), (0.22, 0.48), tone="glass")
    s.rectangle(0.02, 0.66, 0.99, 0.71, "black")
    _wheels(s, (0.15, 0.6, 0.82), 0.73, 0.09)


def _wheels(s: Sketch, places: tuple[float, ...], level: float, radius: float) -> None:
    for x in places:
        s.ellipse(x, level, radius, tone="black")
        s.ellipse(x, level, radius * 0.45, tone="metal")


def _bicycle(s: Sketch, rng: Chance) -> None:
    for x in (0.22, 0.78):
        s.curve(x, 0.66, 0.18, 0, 360, 0.04, "black")
    s.line((0.22, 0.66), (0.4, 0.38), (0.68, 0.38), (0.5, 0.66), (0.22, 0.66), width=0.045)
    s.line((0.4, 0.38), (0.5, 0.66), width=0.045)
    s.line((0.78, 0.66), (0.66, 0.28), (0.76, 0.24), width=0.045)
    s.line((0.33, 0.3), (0.46, 0.3), width=0.05, tone="black")


def _boat(s: Sketch, rng: Chance) -> None:
    s.rectangle(0.47, 0.04, 0.51, 0.72, "wood")
    s.polygon((0.53, 0.08), (0.53, 0.62), (rng.uniform(0.84, 0.95), 0.62))
    s.polygon((0.45, 0.16), (0.45, 0.62), (0.16, 0.62), tone="light")
    s.polygon((0.04, 0.68), (0.96, 0.68), (0.8, 0.92), (0.2, 0.92), tone="dark")


def _rocket(s: Sketch, rng: Chance) -> None:
    s.polygon((0.4, 0.78), (0.6, 0.78), (0.5, rng.uniform(0.93, 0.99)), tone="flame")
    s.polygon((0.34, 0.5), (0.14, 0.84), (0.36, 0.76), tone="dark")
    s.polygon((0.66, 0.5), (0.86, 0.84), (0.64, 0.76), tone="dark")
    s.ellipse(0.5, 0.42, 0.18, 0.41)
    s.rectangle(0.36, 0.66, 0.64, 0.79)
    s.ellipse(0.5, 0.36, 0.09, tone="white")
    s.ellipse(0.5, 0.36, 0.06, tone="glass")


def _balloon(s: Sketch, rng: Chance) -> None:
    s.line((0.5, 0.66), (0.47, 0.8), (0.53, 0.97), width=0.018, tone="black")
    s.polygon((0.5, 0.62), (0.43, 0.72), (0.57, 0.72))
    s.ellipse(0.5, 0.34, rng.uniform(0.27, 0.31), 0.33)
    s.ellipse(0.4, 0.22, 0.06, 0.09, "light")


def _kite(s: Sketch, rng: Chance) -> None:
    s.line((0.5, 0.66), (0.58, 0.82), (0.46, 0.97), width=0.02, tone="black")
    s.polygon((0.5, 0.02), (0.82, 0.3), (0.5, 0.72), (0.18, 0.3))
    s.polygon((0.5, 0.02), (0.82, 0.3), (0.5, 0.3), tone="light")
    s.polygon((0.5, 0.3), (0.18, 0.3), (0.5, 0.72), tone="dark")


def _ball(s: Sketch, rng: Chance) -> None:
    s.ellipse(0.5, 0.5, 0.48)
    if rng.random() < 0.5:
        s.ellipse(0.5, 0.5, 0.48, 0.16, "dark")
    else:
        s.ellipse(0.5, 0.5, 0.16, 0.48, "dark")
    s.ellipse(0.3, 0.3, 0.07, tone="light")


def _mountain(s: Sketch, rng: Chance) -> None:
    s.polygon((0.45, 0.9), (0.74, rng.uniform(0.3, 0.4)), (1.0, 0.9), tone="dark")
    s.polygon((0.0, 0.9), (0.38, 0.12), (0.76, 0.9))
    s.polygon((0.28, 0.325), (0.38, 0.12), (0.48, 0.325), (0.41, 0.29), (0.36, 0.36), tone="white")


def _heart(s: Sketch, rng: Chance) -> None:
    turn = np.linspace(0, 2 * np.pi, 60)
    x = 0.5 + 0.03 * 16 * np.sin(turn) ** 3
    y = 0.48 - 0.03 * (13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn) - np.cos(4 * turn))
    s.polygon(*zip(x.tolist(), y.tolist(), strict=True))


def _star(s: Sketch, rng: Chance) -> None:
    s.star(0.5, 0.53, 0.5, rng.uniform(0.19, 0.25), 5)


def _circle(s: Sketch, rng: Chance) -> None:
    s.ellipse(0.5, 0.5, 0.48)


def _triangle(s: Sketch, rng: Chance) -> None:
    s.polygon((0.5, 0.06), (0.98, 0.92), (0.02, 0.92))


def _square(s: Sketch, rng: Chance) -> None:
    s.rectangle(0.05, 0.05, 0.95, 0.95)


def _arrow(s: Sketch, rng: Chance) -> None:
    half = rng.uniform(0.08, 0.14)
    s.rectangle(0.02, 0.5 - half, 0.6, 0.5 + half)
    s.polygon((0.58, 0.22), (0.98, 0.5), (0.58, 0.78))


DRAWINGS = {
    "house": _house,
    "tree": _tree,
    "sun": _sun,
    "moon": _moon,
    "cloud": _cloud,
    "flower": _flower,
    "leaf": _leaf,
    "apple": _apple,
    "pear": _pear,
    "banana": _banana,
    "carrot": _carrot,
    "mushroom": _mushroom,
    "ice cream": _ice_cream,
    "cake": _cake,
    "cherry": _cherry,
    "fish": _fish,
    "bird": _bird,
    "cat": _cat,
    "butterfly": _butterfly,
    "snail": _snail,
    "car": _car,
    "bus": _bus,
    "truck": _truck,
    "bicycle": _bicycle,
    "sailing boat": _boat,
    "rocket": _rocket,
    "balloon": _balloon,
    "kite": _kite,
    "ball": _ball,
    "mountain": _mountain,
    "heart": _heart,
    "star": _star,
    "circle": _circle,
    "triangle": _triangle,
    "square": _square,
    "arrow": _arrow,
}
"""By class, what draws one; each leaves its ink in a square of side 1."""
