"""Samples degraded with everything that is known of places on them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vary.datagen.degradation.geometry import Geometry
from vary.datagen.degradation.profiles import PAGES, Degradation, draw_degradation
from vary.datagen.sample import Box, Sample

__all__ = ["degrade", "moved_box"]


def degrade(
    sample: Sample,
    rng: np.random.Generator,
    *,
    clean_share: float,
    em: float,
    profiles: dict[str, float] | None = None,
    behind: NDArray[np.uint8] | None = None,
    degradation: Degradation | None = None,
) -> Sample:
    """A sample as a scanner, camera, copier or fax would show it; its boxes move with the image.

    What was done is in `details["degradation"]`, such as `scan: rotate=0.31 blur=0.77`.  A sample without an
    image stays as it is.  An answer that tells boxes is written after this, from the boxes that come out.

    Args:
        sample: uint8 image, gray (H, W) or RGB (H, W, 3); the result has as many channels.
        rng: what is drawn from; the result depends on the sample and it alone.
        clean_share: share of samples that stay as they are, 0 to 1.
        em: size of the smallest text in px, which bounds how much is done to it.
        profiles: how often each profile comes (default: `PAGES`).
        behind: the page whose ink may bleed through; without one it is made from the page itself.
        degradation: what is done, instead of drawing it.
    """
    if sample.image is None:
        return sample
    drawn = degradation or draw_degradation(rng, clean_share, PAGES if profiles is None else profiles)
    image, geometry = drawn.apply(sample.image, em, rng, behind)
    height, width = image.shape[:2]
    boxes = _moved_boxes(sample.boxes, geometry, width, height) if drawn.steps else sample.boxes
    return replace(sample, image=image, boxes=boxes, details={**sample.details, "degradation": str(drawn)})


def moved_box(box: Box, geometry: Geometry, width: int, height: int) -> Box:
    """The upright box around a box that has moved, within an image of `width` x `height` px.

    A box's edges lie between pixels: its left edge 10 is the left edge of the pixels of column 10.
    """
    return _moved_boxes((box,), geometry, width, height)[0]


def _moved_boxes(boxes: tuple[Box, ...], geometry: Geometry, width: int, height: int) -> tuple[Box, ...]:
    """`moved_box` of all boxes at once: a page of text has a thousand."""
    if not geometry.moves or not boxes:
        return boxes
    corners = np.array([(box.left, box.top, box.right, box.bottom) for box in boxes])
    left, top, right, bottom = corners.T[..., None]
    steps = np.linspace(0.0, 1.0, 17)
    across, down = left + (right - left) * steps, top + (bottom - top) * steps
    sides = [(across, top), (across, bottom), (left, down), (right, down)]
    rim = np.stack([np.stack(np.broadcast_arrays(x, y), axis=-1) for x, y in sides], axis=1)
    moved = geometry.apply(rim.reshape(-1, 2) - 0.5).reshape(len(boxes), -1, 2) + 0.5
    limits = np.array([width, height, width, height])
    around = np.clip(np.concatenate([moved.min(axis=1), moved.max(axis=1)], axis=1), 0, limits)
    return tuple(
        replace(box, left=place[0], top=place[1], right=place[2], bottom=place[3])
        for box, place in zip(boxes, np.round(around, 2).tolist(), strict=True)
    )
