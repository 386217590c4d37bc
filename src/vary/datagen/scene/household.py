"""Drawings of things in a house: furniture, kitchen, clothes, tools, machines."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from vary.datagen.scene.sketch import Sketch

__all__ = ["DRAWINGS"]

Chance = np.random.Generator


def _cup(s: Sketch, rng: Chance) -> None:
    narrow = rng.uniform(0, 0.1)
    s.curve(0.76, 0.48, 0.16, -100, 110, rng.uniform(0.06, 0.1), "dark")
    s.polygon((0.1, 0.2), (0.75, 0.2), (0.75 - narrow, 0.85), (0.1 + narrow, 0.85))
    s.ellipse(0.425, 0.2, 0.325, 0.07, "light")


def _key(s: Sketch, rng: Chance) -> None:
    s.line((0.35, 0.5), (0.95, 0.5), width=0.1)
    for place in (0.75, 0.88)[: int(rng.integers(1, 3))] or (0.8,):
        s.rectangle(place, 0.5, place + 0.07, 0.7)
    s.ellipse(0.2, 0.5, 0.2, rng.uniform(0.16, 0.22))
    s.ellipse(0.2, 0.5, 0.1, 0.08, "hole")


def _clock(s: Sketch, rng: Chance) -> None:
    s.ellipse(0.5, 0.5, 0.48)
    s.ellipse(0.5, 0.5, 0.39, tone="white")
    for angle in np.radians(np.arange(0, 360, 30)):
        s.ellipse(0.5 + 0.33 * np.cos(angle), 0.5 + 0.33 * np.sin(angle), 0.025, tone="black")
    for length, width in ((0.2, 0.05), (0.3, 0.035)):
        turn = rng.uniform(0, 2 * np.pi)
        s.line(
            (0.5, 0.5), (0.5 + length * np.cos(turn), 0.5 + length * np.sin(turn)), width=width, tone="black"
        )


def _lamp(s: Sketch, rng: Chance) -> None:
    s.rectangle(0.47, 0.4, 0.53, 0.9, "accent")
    s.ellipse(0.5, 0.9, 0.22, 0.07, "accent")
    top = rng.uniform(0.12, 0.22)
    s.polygon((0.5 - top, 0.05), (0.5 + top, 0.05), (0.82, 0.48), (0.18, 0.48))


def _chair(s: Sketch, rng: Chance) -> None:
    s.rectangle(0.22, 0.05, 0.3, 0.95, "dark")
    s.rectangle(0.7, 0.5, 0.78, 0.95, "dark")
    s.rectangle(0.2, 0.05, 0.3, 0.55)
    for level in np.linspace(0.12, 0.4, int(rng.integers(2, 4))):
        s.rectangle(0.3, level, 0.34, level + 0.06)
    s.rectangle(0.2, 0.5, 0.82, 0.6)


def _table(s: Sketch, rng: Chance) -> None:
    s.rectangle(0.1, 0.35, 0.17, 0.9, "dark")
    s.rectangle(0.83, 0.35, 0.9, 0.9, "dark")
    s.rectangle(0.0, 0.27, 1.0, 0.37, round_=rng.uniform(0, 0.04))
    s.rectangle(0.1, 0.37, 0.9, 0.45, "light")


def _door(s: Sketch, rng: Chance) -> None:
    s.rectangle(0.2, 0.02, 0.8, 0.98, "dark")
    s.rectangle(0.25, 0.07, 0.75, 0.98)
    for top in (0.14, 0.55):
        s.rectangle(0.33, top, 0.67, top + 0.32, "light")
    s.ellipse(0.7, 0.52, 0.035, tone="black")


def _window(s: Sketch, rng: Chance) -> None:
    s.rectangle(0.05, 0.05, 0.95, 0.95)
    panes = int(rng.integers(2, 4))
    edges = np.linspace(0.12, 0.88, panes + 1)
    for left, right in pairwise(edges):
        for top, bottom in ((0.12, 0.5), (0.5, 0.88)):
            s.rectangle(left + 0.02, top + 0.02, right - 0.02, bottom - 0.02, "glass")


def _umbrella(s: Sketch, rng: Chance) -> None:
    s.line((0.5, 0.1), (0.5, 0.85), width=0.04, tone="black")
    s.curve(0.43, 0.85, 0.07, 0, 180, 0.04, "black")
    s.ellipse(0.5, 0.5, 0.48, 0.42, start=180, end=360)
    for x in (0.18, 0.5, 0.82):
        s.ellipse(x, 0.51, 0.16, 0.07, "hole", start=180, end=360)
    s.ellipse(0.5, 0.5, 0.16, 0.42, "light", start=180, end=360)
    s.ellipse(0.5, 0.51, 0.16, 0.07, "hole", start=180, end=360)
    s.line((0.5, 0.45), (0.5, 0.85), width=0.04, tone="black")


def _hat(s: Sketch, rng: Chance) -> None:
    high = rng.uniform(0.15, 0.4)
    s.ellipse(0.5, 0.75, 0.48, 0.12, "dark")
    s.polygon((0.24, 0.74), (0.28, high), (0.72, high), (0.76, 0.74))
    s.ellipse(0.5, high, 0.22, 0.05)
    s.polygon((0.25, 0.66), (0.75, 0.66), (0.76, 0.75), (0.24, 0.75), tone="black")


def _shirt(s: Sketch, rng: Chance) -> None:
    sleeve = rng.uniform(0.35, 0.6)
    s.polygon((0.3, 0.1), (0.0, 0.3), (0.1, sleeve), (0.28, sleeve - 0.08))
    s.polygon((0.7, 0.1), (1.0, 0.3), (0.9, sleeve), (0.72, sleeve - 0.08))
    s.polygon((0.28, 0.1), (0.72, 0.1), (0.74, 0.95), (0.26, 0.95))
    s.ellipse(0.5, 0.1, 0.13, 0.1, "hole", start=0, end=180)
    for level in (0.4, 0.55, 0.7):
        s.ellipse(0.5, level, 0.02, tone="white")


def _bag(s: Sketch, rng: Chance) -> None:
    s.curve(0.5, 0.4, 0.2, 180, 360, 0.06, "dark", down=0.28)
    s.polygon((0.12, 0.38), (0.88, 0.38), (0.96, 0.92), (0.04, 0.92))
    s.rectangle(0.1, 0.5, 0.9, 0.57, "light")
    s.rectangle(0.44, 0.47, 0.56, 0.62, "accent")


def _envelope(s: Sketch, rng: Chance) -> None:
    s.rectangle(0.02, 0.2, 0.98, 0.8)
    s.polygon((0.02, 0.2), (0.98, 0.2), (0.5, rng.uniform(0.5, 0.6)), tone="light")
    s.line((0.03, 0.21), (0.5, 0.55), (0.97, 0.21), width=0.02, tone="dark")


def _pencil(s: Sketch, rng: Chance) -> None:
    s.rectangle(0.02, 0.44, 0.12, 0.56, "accent")
    s.rectangle(0.12, 0.44, 0.18, 0.56, "metal")
    s.rectangle(0.18, 0.44, 0.8, 0.56)
    s.rectangle(0.18, 0.44, 0.8, 0.48, "light")
    s.polygon((0.8, 0.44), (0.98, 0.5), (0.8, 0.56), tone="skin")
    s.polygon((0.93, 0.483), (0.98, 0.5), (0.93, 0.517), tone="black")


def _hammer(s: Sketch, rng: Chance) -> None:
    s.rectangle(0.45, 0.25, 0.55, 0.98, "wood", round_=0.04)
    s.rectangle(0.22, 0.06, 0.7, 0.26)
    s.polygon((0.7, 0.06), (0.92, 0.16), (0.7, 0.2))
    s.rectangle(0.16, 0.04, 0.26, 0.28, "dark")


def _phone(s: Sketch, rng: Chance) -> None:
    s.rectangle(0.26, 0.02, 0.74, 0.98, round_=0.08)
    s.rectangle(0.31, 0.1, 0.69, 0.86, "glass")
    s.ellipse(0.5, 0.92, 0.04, tone="light")
    s.rectangle(0.42, 0.05, 0.58, 0.07, "dark")


def _television(s: Sketch, rng: Chance) -> None:
    s.line((0.5, 0.22), (0.3, 0.02), width=0.03, tone="black")
    s.line((0.5, 0.22), (0.7, 0.02), width=0.03, tone="black")
    s.rectangle(0.02, 0.2, 0.98, 0.9, round_=0.06)
    s.rectangle(0.09, 0.28, 0.72, 0.82, "glass", round_=0.06)
    for level in (0.35, 0.5):
        s.ellipse(0.85, level, 0.05, tone="dark")
    s.rectangle(0.16, 0.9, 0.26, 0.98, "dark")
    s.rectangle(0.74, 0.9, 0.84, 0.98, "dark")


def _camera(s: Sketch, rng: Chance) -> None:
    s.rectangle(0.35, 0.15, 0.62, 0.3, "dark")
    s.rectangle(0.02, 0.25, 0.98, 0.85, round_=0.07)
    s.ellipse(0.5, 0.55, rng.uniform(0.2, 0.25), tone="black")
    s.ellipse(0.5, 0.55, 0.13, tone="glass")
    s.rectangle(0.78, 0.32, 0.9, 0.4, "white")


def _bell(s: Sketch, rng: Chance) -> None:
    s.ellipse(0.5, 0.85, 0.09, tone="dark")
    s.ellipse(0.5, 0.42, 0.3, 0.36, start=180, end=360)
    s.polygon((0.2, 0.42), (0.8, 0.42), (0.92, 0.78), (0.08, 0.78))
    s.rectangle(0.06, 0.75, 0.94, 0.83, "dark", round_=0.03)
    s.curve(0.5, 0.06, 0.05, 0, 360, 0.035, "dark")


def _gift(s: Sketch, rng: Chance) -> None:
    s.rectangle(0.1, 0.42, 0.9, 0.96)
    s.rectangle(0.04, 0.28, 0.96, 0.44, "dark")
    s.rectangle(0.43, 0.28, 0.57, 0.96, "accent")
    s.curve(0.37, 0.2, 0.11, 0, 360, 0.06, "accent", down=0.09)
    s.curve(0.63, 0.2, 0.11, 0, 360, 0.06, "accent", down=0.09)


def _book(s: Sketch, rng: Chance) -> None:
    s.rectangle(0.14, 0.05, 0.86, 0.95, "dark", round_=0.03)
    s.rectangle(0.2, 0.88, 0.85, 0.93, "white")
    s.rectangle(0.14, 0.05, 0.86, 0.87, round_=0.03)
    s.rectangle(0.14, 0.05, 0.24, 0.87, "dark")
    s.rectangle(0.36, 0.2, 0.74, 0.32, "light")


def _bottle(s: Sketch, rng: Chance) -> None:
    shoulder = rng.uniform(0.34, 0.48)
    s.rectangle(0.43, 0.02, 0.57, 0.1, "dark")
    s.rectangle(0.44, 0.09, 0.56, shoulder)
    s.polygon(
        (0.44, shoulder - 0.08), (0.56, shoulder - 0.08), (0.7, shoulder + 0.06), (0.3, shoulder + 0.06)
    )
    s.rectangle(0.3, shoulder + 0.05, 0.7, 0.98, round_=0.04)
    s.rectangle(0.3, 0.6, 0.7, 0.8, "white")


def _glass(s: Sketch, rng: Chance) -> None:
    s.rectangle(0.47, 0.5, 0.53, 0.92, "metal")
    s.ellipse(0.5, 0.93, 0.22, 0.05, "metal")
    s.ellipse(0.5, 0.3, 0.26, 0.28, "light", start=0, end=180)
    s.rectangle(0.24, 0.06, 0.76, 0.31, "light")
    s.ellipse(0.5, 0.3, 0.235, 0.25, start=0, end=180)
    s.rectangle(0.265, rng.uniform(0.16, 0.24), 0.735, 0.305)


def _spoon(s: Sketch, rng: Chance) -> None:
    s.line((0.5, 0.3), (0.5, 0.95), width=0.07)
    s.ellipse(0.5, 0.2, rng.uniform(0.13, 0.17), 0.19)
    s.ellipse(0.5, 0.2, 0.08, 0.12, "light")


def _fork(s: Sketch, rng: Chance) -> None:
    s.line((0.5, 0.4), (0.5, 0.95), width=0.07)
    s.ellipse(0.5, 0.34, 0.16, 0.12, start=0, end=180)
    prongs = int(rng.integers(3, 5))
    for x in np.linspace(0.37, 0.63, prongs):
        s.rectangle(x - 0.025, 0.05, x + 0.025, 0.36)


def _candle(s: Sketch, rng: Chance) -> None:
    s.ellipse(0.5, 0.12, 0.06, 0.11, "flame")
    s.line((0.5, 0.2), (0.5, 0.3), width=0.02, tone="black")
    s.rectangle(0.36, 0.28, 0.64, 0.9)
    s.rectangle(0.36, 0.28, 0.44, rng.uniform(0.4, 0.6), "light", round_=0.04)
    s.rectangle(0.22, 0.88, 0.78, 0.96, "metal", round_=0.03)


def _ladder(s: Sketch, rng: Chance) -> None:
    s.line((0.32, 0.03), (0.25, 0.97), width=0.06)
    s.line((0.68, 0.03), (0.75, 0.97), width=0.06)
    for level in np.linspace(0.14, 0.86, int(rng.integers(4, 7))):
        s.line((0.31, level), (0.69, level), width=0.045, tone="dark")


def _drum(s: Sketch, rng: Chance) -> None:
    s.rectangle(0.08, 0.3, 0.92, 0.78)
    s.ellipse(0.5, 0.78, 0.42, 0.16)
    for x in np.linspace(0.14, 0.86, 6):
        s.line((x, 0.34), (0.5 + (x - 0.5) * 0.8, 0.86), width=0.02, tone="accent")
    s.ellipse(0.5, 0.3, 0.42, 0.16, "dark")
    s.ellipse(0.5, 0.29, 0.38, 0.13, "white")


def _flag(s: Sketch, rng: Chance) -> None:
    s.rectangle(0.1, 0.02, 0.16, 0.98, "metal")
    dip = rng.uniform(0.0, 0.08)
    s.polygon((0.16, 0.06), (0.5, 0.06 + dip), (0.92, 0.06), (0.92, 0.5), (0.5, 0.5 + dip), (0.16, 0.5))
    s.polygon(
        (0.16, 0.22),
        (0.5, 0.22 + dip),
        (0.92, 0.22),
        (0.92, 0.34),
        (0.5, 0.34 + dip),
        (0.16, 0.34),
        tone="light",
    )


DRAWINGS = {
    "cup": _cup,
    "key": _key,
    "clock": _clock,
    "lamp": _lamp,
    "chair": _chair,
    "table": _table,
    "door": _door,
    "window": _window,
    "umbrella": _umbrella,
    "hat": _hat,
    "shirt": _shirt,
    "handbag": _bag,
    "envelope": _envelope,
    "pencil": _pencil,
    "hammer": _hammer,
    "phone": _phone,
    "television": _television,
    "camera": _camera,
    "bell": _bell,
    "gift": _gift,
    "book": _book,
    "bottle": _bottle,
    "wine glass": _glass,
    "spoon": _spoon,
    "fork": _fork,
    "candle": _candle,
    "ladder": _ladder,
    "drum": _drum,
    "flag": _flag,
}
"""By class, what draws one; each leaves its ink in a square of side 1."""
