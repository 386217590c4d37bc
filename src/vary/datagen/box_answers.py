"""Boxes as the models write them: answers, and the prompt for detections with the rule of thirty boxes.

An answer is `name: [x1, y1, x2, y2], [..]; other name: [..]`: left, top, right, bottom of the image, its
width and height counted as 1000 each, whole numbers of at least three digits (arXiv 2401.12503, 3.2.2).  An
edge is rounded to the nearest number, halves up, so it is wrong by half a thousandth of the image at most.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from vary.datagen.prompts import draw_prompt
from vary.datagen.sample import Box
from vary.errors import DataError

__all__ = ["MOST_BOXES", "SIDE", "box_answer", "detection_prompt", "normalised_edges"]

SIDE = 1000
"""What an image's width and height count as, each."""
MOST_BOXES = 30
"""With more boxes in an image the prompt names some of its classes: an answer of all would be too long."""

_SEPARATORS = re.compile(r"[;；\n\r]")
_ENDS = re.compile(r"^[\s,，、.。\]］】]|[\s:：\[［【]$")
_LIKE_A_BOX = re.compile(r"[\[［【][\d\s,，、.+\-−]*\d[\d\s,，、.+\-−]*[\]］】]")


def box_answer(boxes: Sequence[Box], width: float, height: float) -> str:
    """The answer that tells `boxes` of an image of `width` and `height` px.

    Names come in the order of their first box, and a name's boxes in the order given.  A single box without
    a name (label "") is written as a bare bracket.

    Raises:
        DataError: if there is no box, the image has no size, a box has no area, lies beyond the image by more
            than a pixel or has an edge that is no number, or a name would be read back as another.
    """
    if not boxes:
        raise DataError("no box to answer with: an image without objects has no detection answer")
    groups: dict[str, list[str]] = {}
    for box in boxes:
        edges = normalised_edges(box, width, height)
        groups.setdefault(box.label, []).append("[" + ", ".join(f"{edge:03d}" for edge in edges) + "]")
    if "" in groups and len(boxes) > 1:
        raise DataError(f"{len(boxes)} boxes, of which one has no name: only a single box may be without one")
    return "; ".join(
        f"{_checked(name)}: {', '.join(brackets)}" if name else brackets[0]
        for name, brackets in groups.items()
    )


def normalised_edges(box: Box, width: float, height: float) -> tuple[int, int, int, int]:
    """Left, top, right, bottom from 0 to `SIDE`; edges at most a pixel outside of the image are clipped.

    Raises:
        DataError: as `box_answer`.
    """
    edges = (box.left, box.top, box.right, box.bottom)
    if not (math.isfinite(width) and math.isfinite(height) and width > 0 and height > 0):
        raise DataError(f"an image of {width} x {height} px; expected a width and a height above 0")
    if not all(map(math.isfinite, edges)) or box.left >= box.right or box.top >= box.bottom:
        raise DataError(
            f"box {edges} of {box.label!r}: expected left < right and top < bottom; leave such a box out"
        )
    if min(box.left, box.top) < -1 or box.right > width + 1 or box.bottom > height + 1:
        raise DataError(
            f"box {edges} of {box.label!r} lies beyond its image of {width} x {height} px; "
            "check whether the box belongs to this image and counts its pixels"
        )
    left, top, right, bottom = (
        min(max(math.floor(edge / side * SIDE + 0.5), 0), SIDE)
        for edge, side in zip(edges, (width, height, width, height), strict=True)
    )
    return left, top, right, bottom


def detection_prompt(
    boxes: Sequence[Box], language: str, rng: np.random.Generator
) -> tuple[str, tuple[Box, ...]]:
    """The question about an image with `boxes`, and those of them that the answer shall tell.

    Up to `MOST_BOXES` boxes all objects are asked for.  With more, classes are drawn and named in the
    prompt, as many as have no more than `MOST_BOXES` boxes together; if every class has more, it is one.
    Another draw asks for other classes of the same image.

    Raises:
        DataError: if there is no box, or a name cannot stand in an answer.
    """
    if not boxes:
        raise DataError("no box to ask for: an image without objects has no detection prompt")
    if len(boxes) <= MOST_BOXES:
        return draw_prompt("detect", language, rng), tuple(boxes)
    counts: dict[str, int] = {}
    for box in boxes:
        counts[_checked(box.label)] = counts.get(box.label, 0) + 1
    names = list(counts)
    chosen: list[str] = []
    total = 0
    for place in rng.permutation(len(names)):
        if total + counts[names[place]] <= MOST_BOXES:
            chosen.append(names[place])
            total += counts[names[place]]
    if chosen:
        chosen = chosen[: int(rng.integers(1, len(chosen) + 1))]
    else:
        chosen = [names[int(rng.integers(len(names)))]]
    subject = ("、" if language == "zh" else ", ").join(chosen)
    asked = set(chosen)
    return draw_prompt("detect", language, rng, subject), tuple(box for box in boxes if box.label in asked)


def _checked(name: str) -> str:
    """The name itself, if it comes back as it is when the answer is taken apart."""
    if not name or _SEPARATORS.search(name) or _ENDS.search(name) or _LIKE_A_BOX.search(name):
        raise DataError(
            f"the name {name!r} of a box: expected words without ';' and line breaks that neither begin nor "
            "end with blanks, brackets, colons or commas; rename the class"
        )
    return name
