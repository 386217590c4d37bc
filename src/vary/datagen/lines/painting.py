"""A page plan painted with PIL, with the place of every line; and found lines matched to painted ones.

Everything is painted as ink coverage (0 bare paper, 255 full ink) and coloured at the end, so that
light-on-dark pages and faint inks are the same code.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vary.datagen.fonts import SHAPING, FontFace, load_font, shapes_safely

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
Box = tuple[int, int, int, int]
"""left, top, right, bottom in px."""


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
class Typesetter:
    """A face at a size, in px em: advance widths and ink of texts, with or without shaping."""

    font: ImageFont.FreeTypeFont
    features: list[str] | None
    widths: dict[str, float]

    @classmethod
    def make(cls, face: FontFace, size: float, raqm: bool) -> Typesetter:
        """A face at `size` px; `raqm` asks for kerning and ligatures, which only a safe face gets."""
        shaped = raqm and shapes_safely(face)
        layout = ImageFont.Layout.RAQM if shaped else ImageFont.Layout.BASIC
        font = load_font(face.path, face.index, size, int(layout))
        return cls(font, SHAPING if shaped else None, _character_widths(face, size))

    @property
    def size(self) -> float:
        """The em in px."""
        return float(self.font.size)

    def advance(self, text: str) -> float:
        """The advance width of `text` in px, without kerning (asking for every word's takes longer than
        painting it)."""
        widths = self.widths
        return sum([widths[character] for character in text])

    def bounds(self, text: str) -> tuple[float, float, float, float]:
        """The ink box of `text`: left, top, right, bottom in px from the start of its baseline."""
        return self.font.getbbox(text, anchor="ls", features=self.features)

    def stamp(self, canvas: ImageDraw.ImageDraw, text: str, x: float, y: float) -> Box | None:
        """Paint `text` on an ink canvas, its baseline starting at (x, y).

        Returns its ink box; None, and nothing is painted, where it has no ink or would run off the canvas.
        """
        column, row = math.floor(x), math.floor(y)
        mask, (left, top) = self.font.getmask2(
            text, mode="L", anchor="ls", start=(x - column, y - row), features=self.features
        )
        ink = mask.getbbox()
        if ink is None:
            return None
        left, top = left + column, top + row
        box = (left + ink[0], top + ink[1], left + ink[2], top + ink[3])
        width, height = canvas.im.size
        if box[0] < 0 or box[1] < 0 or box[2] > width or box[3] > height:
            return None
        canvas.draw.draw_bitmap((left, top), mask, 255)
        return box


class _CharacterWidths(dict[str, float]):
    """The advance widths of characters, asked for once each."""

    def __init__(self, font: ImageFont.FreeTypeFont) -> None:
        super().__init__()
        self.font = font

    def __missing__(self, character: str) -> float:
        width = self[character] = float(self.font.getlength(character))
        return width


@lru_cache(maxsize=512)
def _character_widths(face: FontFace, size: float) -> dict[str, float]:
    return _CharacterWidths(load_font(face.path, face.index, size, int(ImageFont.Layout.BASIC)))


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
    return PaintedPage(table[ink], painted)


def _x_height(font: Typesetter) -> float:
    _, top, _, bottom = font.bounds("x")
    return bottom - top


def _paint_line(
    canvas: ImageDraw.ImageDraw, font: Typesetter, plan: PagePlan, line: LinePlan
) -> tuple[float, float, float, float] | None:
    """Add one line to the ink; returns its ink box in ink px, or None where a part of it could not be
    painted."""
    scale = plan.scale
    x, y = line.left * scale, line.baseline * scale
    tracking = plan.tracking * scale
    if not (line.gap or tracking or line.underlined):
        box = font.stamp(canvas, line.text, x, y)
        return None if box is None else _union([box])
    boxes = []
    blank = font.advance(" ") + line.gap * scale + tracking
    for number, word in enumerate(line.text.split(" ")):
        start = x
        for piece in word if tracking else (word,):
            boxes.append(font.stamp(canvas, piece, x, y))
            x += font.advance(piece) + tracking
        if number in line.underlined:
            thickness = max(1.0, 0.05 * font.size)
            top = y + max(0.11 * font.size, 1.5)
            canvas.rectangle(
                (round(start), round(top), round(x - tracking), round(top + thickness) - 1), fill=255
            )
        x += blank
    painted = [box for box in boxes if box is not None]
    return _union(painted) if len(painted) == len(boxes) else None


def _union(boxes: Sequence[Box]) -> tuple[float, float, float, float]:
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return float(min(lefts)), float(min(tops)), float(max(rights)), float(max(bottoms))


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
    for number, (left, top, right, bottom) in enumerate(found):
        held = []
        for index, line in enumerate(truth):
            inside = min(bottom, line.core_bottom) - max(top, line.core_top)
            across = min(right, line.right) - max(left, line.left)
            core = max(line.core_bottom - line.core_top, 1.0)
            if across > 0 and inside > 0.3 * core:
                held.append((index, core - inside))
        if len(held) != 1:
            dropped["nothing painted here" if not held else "several lines in one"] += 1
            continue
        index, lost = held[0]
        line = truth[index]
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
