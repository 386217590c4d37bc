"""What happens to a printed page before it is read: scanners, cameras, faxes, copies, bent books.

`draw_degradation` chooses the steps of one page; `Degradation.apply` runs them once and returns the page with
the `Geometry` that moves points along.  `degrade` does both to a sample, boxes and all.
"""

from __future__ import annotations

from vary.datagen.degradation.geometry import MOVING, Geometry
from vary.datagen.degradation.profiles import LINES, PAGES, STEPS, Degradation, draw_degradation
from vary.datagen.degradation.samples import degrade, moved_box

__all__ = [
    "LINES",
    "MOVING",
    "PAGES",
    "STEPS",
    "Degradation",
    "Geometry",
    "degrade",
    "draw_degradation",
    "moved_box",
]
