"""What a line measures: baseline, height of its text, polarity and contrast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vary.inputs.ink import THRESHOLD, Components, Gray
from vary.inputs.lines import Group, quantile

__all__ = [
    "ASCENT",
    "Measured",
    "PageLetters",
    "TextHeight",
    "TextLine",
    "measure",
    "page_letters",
    "text_height",
]

ASCENT = 0.77
"""Share of the text height above the baseline: ascenders reach 0.74 em above it, descenders 0.22 em below."""
X_HEIGHT = 0.7
"""Height of x over height of ascenders, where only one of both is seen."""
SMALL = (0.45, 0.84)
"""Columns of ink that end at this share of the tall letters' height are those of small letters."""
LETTERS_SHARE = 0.45
"""With at least this share of such columns a block is set in small letters, below in capitals, digits or
Chinese."""
SQUARE_SHARE, MIXED_SHARE = 0.35, 0.56
"""Chinese has fewer such columns than the first; with Latin words in it, or strokes close together, than the
second."""
SQUARE_COUNT = 60
"""A page with so many glyphs and without small letters is not all capitals, it is Chinese."""
FAINT, FAINT_REACH = 64, 0.6
"""Half of the ink threshold, and the letter heights around a line in which such faint ink belongs to it."""
FEW = 5
"""So few glyphs are Chinese only with more strokes than 8 or E have."""
MAX_COLUMNS = 500
_FREE, _INK, _OTHER = 0, 256, 512
"""Kinds of pixels, so that a kind plus a gray level tells both."""
_NEIGHBOURS = np.array((1.0, 1.5, 1.0))


@dataclass(frozen=True, slots=True)
class TextLine:
    """One line of text on the deskewed page; left, top, right, bottom bound its ink, in pixels.

    `text_height` is the distance from ascenders to descenders that the letters of its block have, whichever
    of them this line shows; `x_height` that of its common small letters (for Chinese the height of the
    characters). `block` and `line` count from 0, on the page and in the block.
    """

    left: float
    top: float
    right: float
    bottom: float
    baseline: float
    x_height: float
    text_height: float
    block: int
    line: int
    inverted: bool = False
    """Light text on dark ground."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A line before its block is known.  Heights are pixels above `baseline`, the row where most letters
    stand."""

    box: tuple[float, float, float, float]
    size: float
    """Height of the taller letters, from their components."""
    baseline: float
    ascents: NDArray[np.float32]
    """(columns,) upper end of the ink in each column that has some, at most `MAX_COLUMNS` of them."""
    tall: float
    """Height of ascenders and capitals above the baseline, if the line has any."""
    pieces: float
    """Components per glyph."""
    strokes: float
    """Strokes that a column crosses on average: below 2 in letters, 2 to 3 in sharp Chinese."""
    fill: float
    """Share of the box that is ink."""
    contrast: float
    inverted: bool
    count: int
    """Glyphs: components above each other count as one."""

    @property
    def x_height(self) -> float:
        """The commonest height of a column."""
        return _mode(self.ascents)


class TextHeight(NamedTuple):
    """Letters of a block in pixels: ascender to descender, common letters, and how far its baseline lies
    above the row that `Measured` took for it (not 0 for square characters, which have no letters that stand
    on one)."""

    full: float
    small: float
    lift: float


class PageLetters(NamedTuple):
    """What the page's text at large is like."""

    square: bool | None
    """Chinese and the like."""
    x_height: float | None
    tall: float | None


def measure(group: Group, found: Components, gray: Gray, strength: Gray) -> Measured:
    """Measures a group of components on the gray page and the ink strength that they were found on."""
    left, top, right, bottom = (int(edge) for edge in group.box)
    step = 1 + (right - left) // MAX_COLUMNS
    kinds = np.full(len(found.area) + 1, _OTHER, np.uint16)
    kinds[0], kinds[group.members + 1] = _FREE, _INK
    kind = kinds[found.labels[top:bottom, left:right:step]]
    contrast, inverted = _contrast(kind, gray[top:bottom, left:right:step])
    ink = kind == _INK
    fill = np.count_nonzero(ink) / ink.size
    begun = np.count_nonzero(ink[1:] > ink[:-1]) + np.count_nonzero(ink[0])
    # Ends of the ink in each column that has some, as maxima over numbered rows: argmax goes along columns,
    # against the order in memory.
    rows = np.arange(1, len(ink) + 1, dtype=np.int32)[:, None]
    lower = (ink * rows).max(axis=0)
    upper = len(ink) - (ink * rows[::-1]).max(axis=0)
    upper, lower = upper[lower > 0], lower[lower > 0]
    boxes = found.boxes[group.members]
    boxes = boxes[(boxes[:, 3] - boxes[:, 1]) >= 0.25 * group.size]
    glyph_tops = _glyph_tops(boxes)
    few = len(glyph_tops) < FEW
    baseline = quantile(boxes[:, 3] - top, 0.5) if few else _mode(lower.astype(np.float32))
    return Measured(
        _stretch(group, strength),
        group.size,
        top + baseline,
        (baseline - upper).astype(np.float32),
        quantile(top + baseline - glyph_tops, 0.93),
        len(boxes) / len(glyph_tops),
        begun / max(1, len(lower)),
        fill,
        contrast,
        inverted,
        len(glyph_tops),
    )


def _stretch(group: Group, strength: Gray) -> tuple[float, float, float, float]:
    """The box of a line, longer by faint ink at its ends: in blurred scans a full stop stays below the
    threshold that letters pass."""
    left, top, right, bottom = (int(edge) for edge in group.box)
    reach = max(2, round(FAINT_REACH * group.size))
    rows = strength[top:bottom]
    before, behind = (
        _faint(rows[:, max(0, left - reach) : left][:, ::-1]),
        _faint(rows[:, right : right + reach]),
    )
    return (float(left - before), float(top), float(right + behind), float(bottom))


def _faint(strip: Gray) -> int:
    """Columns up to the last one with faint ink before other ink begins, 0 if there is hardly any."""
    if not strip.size or strip.max() < FAINT:
        return 0
    strong = np.flatnonzero((strip >= THRESHOLD).any(axis=0))
    faint = strip[:, : strong[0] if len(strong) else None] >= FAINT
    columns = np.flatnonzero(faint.sum(axis=0) >= 2)
    return int(columns[-1]) + 1 if len(columns) and faint.sum() >= 4 else 0


def _glyph_tops(boxes: NDArray[np.int32]) -> NDArray[np.int32]:
    """The upper edges of the boxes, (N, 4), after joining those that overlap horizontally: (glyphs,)."""
    boxes = boxes[np.argsort(boxes[:, 0], kind="stable")]
    reach = np.maximum.accumulate(boxes[:, 2])
    width = boxes[:, 2] - boxes[:, 0]
    apart = boxes[1:, 0] > reach[:-1] - 0.25 * np.minimum(width[1:], width[:-1])
    starts = np.flatnonzero(np.concatenate(([True], apart)))
    return np.asarray(np.minimum.reduceat(boxes[:, 1], starts), dtype=np.int32)


def _mode(values: NDArray[np.float32]) -> float:
    """The commonest value, within a pixel either way."""
    if not len(values):
        return 0.0
    rows = np.maximum(np.rint(values), 0).astype(np.intp)
    peak = np.convolve(np.bincount(rows), _NEIGHBOURS, mode="same").argmax()
    near = np.abs(values - peak) <= 1.5
    chosen = values[near]
    return float(np.add.reduce(chosen) / len(chosen)) if len(chosen) else float(peak)


def _contrast(kind: NDArray[np.uint16], window: Gray) -> tuple[float, bool]:
    """Gray levels between ink and ground, and whether the ink is the lighter one.

    `kind`: of each pixel of the window `_FREE`, `_INK` of the line or `_OTHER` ink.
    """
    levels = np.bincount((kind + window).ravel(), minlength=3 * 256).reshape(3, 256)
    below = np.cumsum(levels, axis=1)
    free, ink, other = below[:, -1].tolist()
    if not ink or not (free or other):
        return 255.0, False
    ground, around = (below[0], free) if free else (below[2], other)
    medians = (below[1].searchsorted(ink // 2, side="right"), ground.searchsorted(around // 2, side="right"))
    difference = int(medians[0]) - int(medians[1])
    return float(abs(difference)), difference > 0


def page_letters(lines: Sequence[Measured]) -> PageLetters:
    """Judges the page by its common lines; unknown on a page of a few glyphs."""
    count = sum(line.count for line in lines)
    if count < SQUARE_COUNT:
        return PageLetters(None, None, None)
    size = quantile(np.repeat([line.size for line in lines], [line.count for line in lines]), 0.5)
    common = [line for line in lines if abs(line.size - size) <= 0.2 * size]
    tall, share, mode = _profile(common)
    if share < SQUARE_SHARE or (share < MIXED_SHARE and _strokes(common) > 1.85):
        return PageLetters(True, None, None)
    return PageLetters(False, mode, tall)


def text_height(lines: Sequence[Measured], page: PageLetters) -> TextHeight:
    """The heights that the letters of a block have in common.

    A block with letters of one height only shows capitals or digits, or small letters if those of the page
    are as high.  Square characters stand on their lower edge, a fifth of the text height below the baseline
    of letters.
    """
    tall, share, mode = _profile(lines)
    strokes = _strokes(lines)
    square = share < MIXED_SHARE if page.square else share < SQUARE_SHARE and strokes > 2.15
    if page.square is None:
        pieces = float(np.average([line.pieces for line in lines], weights=[line.count for line in lines]))
        few = sum(line.count for line in lines) < FEW
        square = share < MIXED_SHARE and strokes > (3.2 if few else 1.8 if pieces > 1.2 else 2.15)
    if square:
        full = 1.05 * tall
        return TextHeight(full, tall, (1 - ASCENT - 0.03) * full)
    if share >= LETTERS_SHARE:
        return TextHeight(tall / ASCENT, mode, 0.0)
    if page.x_height and page.tall and abs(tall - page.x_height) < abs(tall - page.tall):
        return TextHeight(tall / X_HEIGHT / ASCENT, tall, 0.0)
    return TextHeight(tall / ASCENT, tall * X_HEIGHT, 0.0)


def _strokes(lines: Sequence[Measured]) -> float:
    return float(np.average([line.strokes for line in lines], weights=[line.count for line in lines]))


def _profile(lines: Sequence[Measured]) -> tuple[float, float, float]:
    """(height of tall letters, share of columns of small letters, their commonest height) over some lines."""
    tops = np.array([line.tall for line in lines])
    weights = np.array([line.count for line in lines], dtype=np.float64)
    order = np.argsort(tops)
    total = np.cumsum(weights[order])
    tall = float(tops[order][int(np.searchsorted(total, 0.7 * total[-1]))])
    ascents = np.concatenate([line.ascents for line in lines])
    small = (ascents > SMALL[0] * tall) & (ascents < SMALL[1] * tall)
    solid = ascents > 0.3 * tall
    return tall, float(small.sum() / max(1, solid.sum())), _mode(ascents[small])
