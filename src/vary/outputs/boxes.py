"""Boxes and polygons in page pixels, and the 0-1000 space in which they are also written."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from vary.errors import DocumentError

__all__ = ["NORMALISED_SIDE", "Box", "Polygon", "union"]

Polygon = tuple[tuple[float, float], ...]
"""Corners (x, y) in page pixels, clockwise from the top left of the text."""

NORMALISED_SIDE = 1000
"""Width and height of a page in normalised coordinates."""


@dataclass(frozen=True, slots=True)
class Box:
    """An upright rectangle in pixels of the upright page; the origin is the page's top left corner."""

    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self) -> None:
        for name in ("left", "top", "right", "bottom"):
            object.__setattr__(self, name, float(getattr(self, name)))
        if not all(math.isfinite(edge) for edge in self.edges):
            raise DocumentError(f"a box needs finite edges, got {self.edges}")
        if self.right < self.left or self.bottom < self.top:
            raise DocumentError(f"a box needs left <= right and top <= bottom, got {self.edges}")

    @classmethod
    def around(cls, polygon: Iterable[tuple[float, float]]) -> Box:
        """The smallest box that holds every corner of ``polygon``."""
        xs, ys = zip(*polygon, strict=True)
        return cls(min(xs), min(ys), max(xs), max(ys))

    @property
    def edges(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom."""
        return self.left, self.top, self.right, self.bottom

    @property
    def width(self) -> float:
        """Pixels."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Pixels."""
        return self.bottom - self.top

    def clipped(self, width: float, height: float) -> Box:
        """The part of the box that lies on a page of ``width`` x ``height`` pixels."""
        return Box(
            min(max(self.left, 0.0), width),
            min(max(self.top, 0.0), height),
            min(max(self.right, 0.0), width),
            min(max(self.bottom, 0.0), height),
        )

    def normalised(self, width: float, height: float) -> tuple[int, int, int, int]:
        """The edges as integers 0..1000 of a page of ``width`` x ``height`` pixels, clipped to the page."""
        if width <= 0 or height <= 0:
            raise DocumentError(f"boxes of a page of {width:g} x {height:g} pixels cannot be normalised")
        box = self.clipped(width, height)
        return (
            round(box.left / width * NORMALISED_SIDE),
            round(box.top / height * NORMALISED_SIDE),
            round(box.right / width * NORMALISED_SIDE),
            round(box.bottom / height * NORMALISED_SIDE),
        )


def union(boxes: Iterable[Box | None]) -> Box | None:
    """The smallest box that holds all ``boxes`` (None among them are passed over), or None where there are
    none.
    """
    known = [box for box in boxes if box is not None]
    if not known:
        return None
    return Box(
        min(box.left for box in known),
        min(box.top for box in known),
        max(box.right for box in known),
        max(box.bottom for box in known),
    )
