"""A page plan painted with PIL, with the place of every line; and found lines matched to painted ones.

Everything is painted as ink coverage (0 bare paper, 255 full ink) and coloured at the end, so that
light-on-dark pages and faint inks are the same code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vary.datagen.fonts import FontFace
from vary.datagen.lines.typesetter import Box, Typesetter, ink_box

__all__ = [
    "LinePage",
    "LinePlan",
    "PagePlan",
    "PaintedLine",
    "PaintedPage",
    "Typesetter",
    "match_lines",
    "paint_page",
]

Gray = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class LinePlan:
    """One line to paint: where its column starts and its baseline stands (page px), and its text.

    `gap` is added to every blank (px, justified text), `underlined` are the numbers of the words with a rule
    below.
    """

    text: str
    source: str
    left: float
    baseline: float
    gap: float = 0.0
    underlined: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class PagePlan:
    """All that a painted page is made of.

    `size` is the em in page px; `scale` paints that many times larger and shrinks, which gives the unhinted
    look of a PDF renderer; `raqm` shapes with kerning and ligatures; `tracking` is extra px after each
    character; `paper` and `ink` are gray values; `rules` are filled rectangles (left, top, right, bottom) in
    page px.
    """

    face: FontFace
    size: float
    width: int
    height: int
    lines: tuple[LinePlan, ...]
    scale: int = 1
    raqm: bool = False
    tracking: float = 0.0
    paper: int = 255
    ink: int = 0
    rules: tuple[tuple[float, float, float, float], ...] = ()

    @property
    def font(self) -> Typesetter:
        """The font at the size in which it is painted (before shrinking by `scale`)."""
        return Typesetter.make(self.face, self.size * self.scale, self.raqm)


@dataclass(frozen=True, slots=True)
class PaintedLine:
    """Where a painted line's ink lies, in page px: its box and the band between x-height and baseline."""

    plan: LinePlan
    left: float
    top: float
    right: float
    bottom: float
    core_top: float
    core_bottom: float

    @property
    def text(self) -> str:
        """The exact text of the line."""
        return self.plan.text


@dataclass(frozen=True)
class PaintedPage:
    """A painted page: gray (H, W) uint8, and its lines from top to bottom, column by column."""

    gray: Gray
    lines: list[PaintedLine] = field(repr=False)


@dataclass(frozen=True)
class LinePage:
    """A page to cut lines from, whoever made it: gray (H, W), its lines' true places, and for the records the
    em of its text in px, its font, the font's family and the language."""

    gray: Gray
    lines: list[PaintedLine] = field(repr=False)
    size: float
    font: str
    family: str
    language: str


def paint_page(plan: PagePlan) -> PaintedPage:
    """Paint every line of a plan; a line that cannot be painted whole is left out of the result."""
    scale = plan.scale
    picture = Image.new("L", (plan.width * scale, plan.height * scale), 0)
    canvas = ImageDraw.Draw(picture)
    font = plan.font
    x_height = _x_height(font)
    painted = []
    for line in plan.lines:
        box = _paint_line(canvas, font, plan, line)
        if box is None:
            continue
        left, top, right, bottom = (value / scale for value in box)
        core_top = line.baseline - x_height / scale
        painted.append(PaintedLine(line, left, top, right, bottom, core_top, line.baseline))
    for rule in plan.rules:
        canvas.rectangle([round(value * scale) for value in rule], fill=255)
    ink: Gray = np.asarray(picture)
    if scale > 1:
        ink = cv2.resize(ink, (plan.width, plan.height), interpolation=cv2.INTER_AREA)
    table = np.round(np.linspace(plan.paper, plan.ink, 256)).astype(np.uint8)
    return PaintedPage(np.asarray(cv2.LUT(ink, table), dtype=np.uint8), painted)


def _x_height(font: Typesetter) -> float:
    _, top, _, bottom = font.bounds("x")
    return bottom - top


def _paint_line(canvas: ImageDraw.ImageDraw, font: Typesetter, plan: PagePlan, line: LinePlan) -> Box | None:
    """Add one line to the ink; returns its ink box in ink px, or None, and nothing is painted, where a part
    of it has no ink or would run off the canvas."""
    scale = plan.scale
    x, y = line.left * scale, line.baseline * scale
    tracking = plan.tracking * scale
    rules: list[tuple[float, float]] = []
    if not (line.gap or tracking or line.underlined):
        parts = [font.set(line.text, x, y)]
    else:
        parts = []
        blank = font.advance(" ") + line.gap * scale + tracking
        for number, word in enumerate(line.text.split(" ")):
            start = x
            for piece in word if tracking else (word,):
                parts.append(font.set(piece, x, y))
                x += font.advance(piece) + tracking
            if number in line.underlined:
                rules.append((start, x - tracking))
            x += blank
    placed = [glyph for part in parts if part for glyph in part]
    box = ink_box(placed)
    if box is None or not all(parts) or not _within(box, canvas.im.size):
        return None
    for (mask, left, top, _), column, row in placed:
        canvas.draw.draw_bitmap((column + left, row + top), mask, 255)
    thickness = max(1.0, 0.05 * font.size)
    top_of_rule = y + max(0.11 * font.size, 1.5)
    for start, end in rules:
        canvas.rectangle(
            (round(start), round(top_of_rule), round(end), round(top_of_rule + thickness) - 1), fill=255
        )
    return box


def _within(box: Box, size: tuple[int, int]) -> bool:
    return box[0] >= 0 and box[1] >= 0 and box[2] <= size[0] and box[3] <= size[1]


def match_lines(
    found: Sequence[tuple[float, float, float, float]],
    truth: Sequence[PaintedLine],
    *,
    em: float,
    slack: float,
) -> tuple[list[tuple[int, int]], Counter[str]]:
    """Pair found boxes (left, top, right, bottom) with the painted lines that they hold, both in the same px.

    A pair is made only where the box holds the core of exactly one painted line, from its first to its last
    ink (within `slack` px at either end), and no other box holds that line; `em` is the font size in px.
    Returns pairs (number of the found box, number of the painted line) and the reasons why boxes or lines
    were left out.
    """
    dropped: Counter[str] = Counter()
    partners: dict[int, list[int]] = {}
    places = np.array([(line.left, line.core_top, line.right, line.core_bottom) for line in truth])
    lefts, tops, rights, bottoms = places.reshape(-1, 4).T
    cores = np.maximum(bottoms - tops, 1.0)
    for number, (left, top, right, bottom) in enumerate(found):
        inside = np.minimum(bottom, bottoms) - np.maximum(top, tops)
        across = np.minimum(right, rights) - np.maximum(left, lefts)
        held = np.flatnonzero((across > 0) & (inside > 0.3 * cores))
        if len(held) != 1:
            dropped["nothing painted here" if not len(held) else "several lines in one"] += 1
            continue
        index = int(held[0])
        lost, line = cores[index] - inside[index], truth[index]
        if lost > max(1.5, 0.2 * (line.core_bottom - line.core_top)):
            dropped["cut above or below"] += 1
        elif max(abs(left - line.left), abs(right - line.right)) > slack:
            dropped["cut left or right"] += 1
        elif bottom - top > 2.2 * em:
            dropped["too tall"] += 1
        else:
            partners.setdefault(index, []).append(number)
    pairs = [(numbers[0], index) for index, numbers in partners.items() if len(numbers) == 1]
    dropped["found twice"] += sum(len(numbers) for numbers in partners.values() if len(numbers) > 1)
    dropped["not found"] += len(truth) - len(pairs)
    return sorted(pairs), +dropped
