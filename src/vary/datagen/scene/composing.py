"""Scenes put together: objects placed one after the other, and who owns which pixel in the end."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vary.datagen.scene.classes import CLASSES, COLOURS, ObjectClass, tones_of
from vary.datagen.scene.sketch import Ink, Sketch, rendered

__all__ = ["Composer", "Placed", "Scene", "Wanted", "drawn_objects"]

_TRIES = 14
"""Places that are tried for an object before it is left out."""
_LEAST_CONTRAST = 75.0
"""Distance in RGB between an object's colour and what lies around it."""

Window = tuple[slice, slice]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Wanted:
    """An object to place: its class, its colour's name, and the px of its longer side."""

    kind: ObjectClass
    colour: str
    size: float


@dataclass(frozen=True, slots=True)
class Placed:
    """An object of a scene: its class and colour, the bounds of its visible ink, and its visible share.

    Edges lie between pixels: `left` is the left edge of the leftmost visible pixel.
    """

    kind: ObjectClass
    colour: str
    left: int
    top: int
    right: int
    bottom: int
    visible: float


@dataclass(frozen=True)
class Scene:
    """A picture, its objects, and `owner` (H, W): the number of the object that shows at a pixel, or -1."""

    image: NDArray[np.uint8]
    objects: tuple[Placed, ...]
    owner: NDArray[np.int16]
    dropped: Counter[str]


class Composer:
    """Places objects on a picture, the later ones before the earlier ones.

    An object stays visible to at least `least_visible` of its ink, whatever covers it and however far it
    reaches over the edge.
    """

    def __init__(self, image: NDArray[np.uint8], least_visible: float, rng: np.random.Generator) -> None:
        height, width = image.shape[:2]
        self._canvas = image.copy()
        self._owner = np.full((height, width), -1, np.int16)
        self._placed: list[tuple[Wanted, Window, int]] = []  # the last: pixels of its ink
        self._visible = np.zeros(0, np.int64)
        self._least = least_visible
        self._rng = rng
        self.dropped: Counter[str] = Counter()

    def place(self, wanted: Wanted) -> bool:
        """Put an object somewhere; False, and counted, if there is no place for it."""
        rng, kind = self._rng, wanted.kind
        sketch = Sketch()
        kind.drawing(sketch, rng)
        outlined = rng.random() < 0.45
        ink = rendered(
            sketch,
            tones_of(wanted.colour, rng),
            wanted.size,
            turn=float(rng.uniform(-kind.turn, kind.turn)) if kind.turn else 0.0,
            mirrored=bool(rng.random() < 0.5),
            stretch=float(rng.uniform(0.9, 1.1)),
            outline=((28, 28, 32) if rng.random() < 0.8 else (250, 250, 250)) if outlined else None,
            shade=float(rng.uniform(0, 0.12)),
        )
        height, width = self._owner.shape
        inked = int(np.count_nonzero(ink.solid))
        for _ in range(_TRIES):
            top = int(rng.integers(-ink.cover.shape[0] // 8, height - ink.cover.shape[0] * 7 // 8 + 1))
            left = int(rng.integers(-ink.cover.shape[1] // 8, width - ink.cover.shape[1] * 7 // 8 + 1))
            here, part = self._window(ink, top, left)
            solid = ink.solid[part]
            hidden = self._hidden(here, solid)
            if self._fits(solid, inked, hidden) and self._stands_out(here, solid, wanted.colour):
                self._paint(ink, here, part)
                self._visible = np.append(self._visible - hidden, np.count_nonzero(solid))
                self._placed.append((wanted, here, inked))
                return True
        self.dropped["no place for an object"] += 1
        return False

    def scene(self) -> Scene:
        """What has been composed."""
        objects = []
        for number, (wanted, here, inked) in enumerate(self._placed):
            mine = self._owner[here] == number
            rows, columns = np.flatnonzero(mine.any(axis=1)), np.flatnonzero(mine.any(axis=0))
            top, left = here[0].start, here[1].start
            objects.append(
                Placed(
                    wanted.kind,
                    wanted.colour,
                    left + int(columns[0]),
                    top + int(rows[0]),
                    left + int(columns[-1]) + 1,
                    top + int(rows[-1]) + 1,
                    float(self._visible[number]) / inked,
                )
            )
        return Scene(self._canvas, tuple(objects), self._owner, self.dropped)

    def _fits(self, solid: Mask, inked: int, hidden: NDArray[np.int64]) -> bool:
        """Whether it shows enough of itself, and leaves enough of what it covers."""
        if np.count_nonzero(solid) < self._least * inked:
            return False
        return all(
            self._visible[number] - hidden[number] >= self._least * self._placed[number][2]
            for number in np.flatnonzero(hidden).tolist()
        )

    def _hidden(self, here: Window, solid: Mask) -> NDArray[np.int64]:
        """How many pixels of each object would be covered."""
        covered = self._owner[here][solid]
        return np.bincount(covered[covered >= 0], minlength=len(self._placed))

    def _stands_out(self, here: Window, solid: Mask, colour: str) -> bool:
        """Whether its colour differs from what it is put upon."""
        behind = cv2.mean(self._canvas[here], solid.view(np.uint8))[:3]
        return math.dist(behind, COLOURS[colour]) >= _LEAST_CONTRAST

    def _paint(self, ink: Ink, here: Window, part: Window) -> None:
        clear = 1 - ink.cover[part][..., None]
        self._canvas[here] = self._canvas[here] * clear + ink.colour[part] + np.float32(0.5)
        self._owner[here][ink.solid[part]] = len(self._placed)

    def _window(self, ink: Ink, top: int, left: int) -> tuple[Window, Window]:
        """The part of the picture that the ink covers, and the part of the ink that lies on the picture."""
        height, width = self._owner.shape
        rows, columns = ink.cover.shape
        y, x = max(top, 0), max(left, 0)
        bottom, right = min(top + rows, height), min(left + columns, width)
        return (slice(y, bottom), slice(x, right)), (
            slice(y - top, bottom - top),
            slice(x - left, right - left),
        )


def drawn_objects(
    count: int,
    names: Sequence[str],
    sizes: tuple[float, float],
    rng: np.random.Generator,
    colours: Sequence[str] = (),
) -> list[Wanted]:
    """`count` objects of some classes, the larger ones first, so that small ones stand before them."""
    wanted = []
    for _ in range(count):
        kind = CLASSES[names[int(rng.integers(len(names)))]]
        usual = kind.colours if kind.colours and rng.random() < 0.7 else tuple(COLOURS)
        pool = [colour for colour in colours if colour in usual] or list(usual)
        size = float(np.exp(rng.uniform(*np.log(sizes))))
        wanted.append(Wanted(kind, pool[int(rng.integers(len(pool)))], size))
    return sorted(wanted, key=lambda item: -item.size)
