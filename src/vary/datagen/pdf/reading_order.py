"""Words to lines, columns and paragraphs: the order in which a page is read.

A page is cut where a tall white gutter has running text on both sides: what is above it comes first, then the
left, then the right, then what is below; each part is cut in the same way.  What stands side by side in short
pieces, as the cells of a table do, is no column and is read line by line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vary.datagen.pdf.text_layer import Word, is_cjk

__all__ = ["Line", "Region", "goes_on", "joined_lines", "paragraphs", "regions", "words_within"]

_CELL = 0.2
"""em: the width of a cell of the grid in which gutters are looked for; rows are half an em high."""
_GUTTER_CELLS = 3
_LEAST_LINES = 3
_LEAST_LETTERS = 14
"""A column's lines have so many letters, a Chinese character counting as two; a table's cells have fewer."""
_LEAST_WIDTH = 6.0
"""em."""
_DEEPEST = 12
_MOST_CELLS = 4_000_000

_ENDS = frozenset(".!?:。！？：…;；")
_LABEL = re.compile(
    r"(?:[•‣◦▪·–—*-]|\(?\d{1,3}[.)]|\(?[a-zA-Z][.)]|（?[一二三四五六七八九十]{1,3}[、）.])\s*\S"
)


@dataclass(frozen=True)
class Line:
    """Words side by side, from left to right."""

    words: tuple[Word, ...]

    @cached_property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of its fonts, px."""
        return (
            min(word.left for word in self.words),
            min(word.top for word in self.words),
            max(word.right for word in self.words),
            max(word.bottom for word in self.words),
        )

    @cached_property
    def ink(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of what is painted, px."""
        inks = [word.ink for word in self.words]
        return (
            min(ink[0] for ink in inks),
            min(ink[1] for ink in inks),
            max(ink[2] for ink in inks),
            max(ink[3] for ink in inks),
        )

    @cached_property
    def em(self) -> float:
        """The height of its text, px."""
        return _median([word.height for word in self.words for _ in word.text])

    @cached_property
    def middle(self) -> float:
        """px from the top, of most of its text."""
        return _median([word.middle for word in self.words for _ in word.text])

    @cached_property
    def text(self) -> str:
        """The words with blanks between them; none between Chinese characters that are close."""
        parts = [self.words[0].text]
        for before, word in pairwise(self.words):
            close = word.left - before.right < 0.5 * max(before.height, word.height)
            parts.append(
                ("" if close and is_cjk(before.text[-1]) and is_cjk(word.text[0]) else " ") + word.text
            )
        return "".join(parts)

    @property
    def hyphen(self) -> bool:
        """Whether it ends within a word."""
        return self.words[-1].hyphen


@dataclass(frozen=True)
class Region:
    """A part of the page that is read line by line, such as a column."""

    lines: tuple[Line, ...]


def regions(words: Sequence[Word]) -> list[Region]:
    """The page's parts in reading order."""
    return [Region(tuple(_lines(part))) for part in _cut(list(words), 0) if part]


def _cut(words: list[Word], depth: int) -> list[list[Word]]:
    gutter = _gutter(words) if depth < _DEEPEST and len(words) >= 2 * _LEAST_LINES else None
    if gutter is None:
        return [words]
    x, top, bottom = gutter
    within = [word for word in words if top <= word.middle <= bottom]
    parts = (
        [word for word in words if word.middle < top],
        [word for word in within if (word.left + word.right) / 2 < x],
        [word for word in within if (word.left + word.right) / 2 >= x],
        [word for word in words if word.middle > bottom],
    )
    return [found for part in parts if part for found in _cut(part, depth + 1)]


def _gutter(words: list[Word]) -> tuple[float, float, float] | None:
    """x, top and bottom of the tallest gutter between two columns, px; None where there is none."""
    em = float(np.median([word.height for word in words]))
    left, top = min(word.left for word in words), min(word.top for word in words)
    wide = int((max(word.right for word in words) - left) / (_CELL * em)) + 1
    high = int((max(word.bottom for word in words) - top) / (0.5 * em)) + 1
    if wide * high > _MOST_CELLS or wide <= _GUTTER_CELLS:
        return None
    taken = np.zeros((high, wide), dtype=np.int32)
    for word in words:
        # The middle of its height: lines are close, and fonts' ascents overlap.
        rows = slice(int((word.middle - 0.3 * word.height - top) / (0.5 * em)), None)
        last = int((word.middle + 0.3 * word.height - top) / (0.5 * em))
        rows = slice(max(rows.start, 0), last + 1)
        columns = slice(int((word.left - left) / (_CELL * em)), int((word.right - left) / (_CELL * em)) + 1)
        taken[rows, columns] = 1
    column, first, last_row = _tallest(taken)
    if column < 0:
        return None
    x = left + column * _CELL * em
    found = _trimmed(words, x, top + first * 0.5 * em, top + (last_row + 1) * 0.5 * em, em)
    return found if found is not None and _has_columns(words, *found, em) else None


def _tallest(taken: NDArray[np.int32]) -> tuple[int, int, int]:
    """The column in the middle of the gutter that has text on both sides in most rows, and its first and last
    row; -1 where there is none."""
    high, wide = taken.shape
    sums = np.concatenate([np.zeros((high, 1), np.int32), np.cumsum(taken, axis=1, dtype=np.int32)], axis=1)
    before, behind = sums[:, : wide - _GUTTER_CELLS + 1], sums[:, _GUTTER_CELLS:]
    blank = before == behind
    both = blank & (before > 0) & (sums[:, -1:] - behind > 0)
    run = np.zeros(blank.shape[1], np.int64)
    start = np.zeros_like(run)
    best, best_start, best_end = np.zeros_like(run), np.zeros_like(run), np.full_like(run, -1)
    for row in range(high):
        start = np.where(blank[row], start, row + 1)
        run = np.where(blank[row], run + both[row], 0)
        better = blank[row] & (run >= best) & (run > 0)
        best = np.where(better, run, best)
        best_start, best_end = np.where(better, start, best_start), np.where(better, row, best_end)
    if not best.max():
        return -1, 0, 0
    # Of those the tallest: where the last lines of a column alone are wider, they do not cut it off.
    height = np.where(best == best.max(), best_end - best_start, -1)
    places = np.flatnonzero(height == height.max())
    stretches = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
    widest = max(stretches, key=len)
    place = int(widest[len(widest) // 2])
    return place + _GUTTER_CELLS // 2, int(best_start[place]), int(best_end[place])


def _trimmed(
    words: list[Word], x: float, top: float, bottom: float, em: float
) -> tuple[float, float, float] | None:
    """The gutter without a running head above its columns, and a foot below them, that happen to leave it
    white."""
    rows = _lines([word for word in words if top <= word.middle <= bottom])
    if len(rows) < _LEAST_LINES:
        return None
    gaps = [max(after.box[1] - before.box[3], 0.0) for before, after in pairwise(rows)]
    far = max(0.7 * em, 2.0 * float(np.median(gaps)))
    if gaps[0] > far:
        top = (rows[0].box[3] + rows[1].box[1]) / 2
    if gaps[-1] > far:
        bottom = (rows[-2].box[3] + rows[-1].box[1]) / 2
    return x, top, bottom


def _has_columns(words: list[Word], x: float, top: float, bottom: float, em: float) -> bool:
    """Whether both sides of a gutter are running text."""
    for side in (0, 1):
        lines = _lines(
            [w for w in words if top <= w.middle <= bottom and ((w.left + w.right) / 2 >= x) == bool(side)]
        )
        if len(lines) < _LEAST_LINES:
            return False
        letters = [sum(2 if is_cjk(c) else 1 for word in line.words for c in word.text) for line in lines]
        widths = [line.box[2] - line.box[0] for line in lines]
        if np.median(letters) < _LEAST_LETTERS or np.median(widths) < _LEAST_WIDTH * em:
            return False
    return True


def _lines(words: list[Word]) -> list[Line]:
    """Words that stand beside each other, as lines from top to bottom."""
    found: list[list[Word]] = []
    spans: list[tuple[float, float]] = []
    for word in sorted(words, key=lambda word: (word.middle, word.left)):
        for place in range(len(found) - 1, max(len(found) - 4, -1), -1):
            top, bottom = spans[place]
            overlap = min(bottom, word.bottom) - max(top, word.top)
            if overlap > 0.5 * min(bottom - top, word.height):
                found[place].append(word)
                if word.height > bottom - top:
                    spans[place] = word.top, word.bottom
                break
        else:
            found.append([word])
            spans.append((word.top, word.bottom))
    lines = [Line(tuple(sorted(line, key=lambda word: word.left))) for line in found]
    return sorted(lines, key=lambda line: line.middle)


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


# paragraphs


def paragraphs(region: Region) -> list[list[Line]]:
    """The region's lines by paragraph: parted by distance, size, indentation, and lines that end early."""
    lines = region.lines
    if not lines:
        return []
    leads = [after.middle - before.middle for before, after in pairwise(lines)]
    usual = float(np.median(leads)) if leads else 0.0
    found = [[lines[0]]]
    for place in range(1, len(lines)):
        if _begins(lines, place, usual):
            found.append([])
        found[-1].append(lines[place])
    return found


def _begins(lines: tuple[Line, ...], place: int, usual: float) -> bool:
    """Whether a paragraph begins with line `place`."""
    before, line = lines[place - 1], lines[place]
    em = max(min(before.em, line.em), 1e-6)
    if max(before.em, line.em) > 1.2 * em:
        return True
    lead = line.middle - before.middle
    if lead > 1.3 * max(usual, 1.05 * em) and lead > usual + 0.3 * em:
        return True
    near = [other for other in lines[max(place - 4, 0) : place + 4] if abs(other.em - line.em) < 0.2 * em]
    left, right = min(other.box[0] for other in near), max(other.box[2] for other in near)
    if line.box[0] < before.box[0] - 0.7 * em and _LABEL.match(line.text):
        return True
    following = lines[place + 1] if place + 1 < len(lines) else None
    indented = line.box[0] > left + 0.8 * em and before.box[0] < line.box[0] - 0.5 * em
    if indented and following is not None and following.box[0] < line.box[0] - 0.5 * em:
        return True
    first = line.words[0]
    needed = em if is_cjk(first.text[0]) else first.right - first.left + 0.25 * em
    return not before.hyphen and before.box[2] + needed < right - 0.6 * em


def goes_on(before: Sequence[Line], following: Sequence[Line]) -> bool:
    """Whether a region's last paragraph goes on in the next region's first one, as from column to column."""
    last, first = before[-1], following[0]
    if max(last.em, first.em) > 1.1 * min(last.em, first.em):
        return False
    if last.hyphen:
        return True
    full = len(before) == 1 or last.box[2] > max(line.box[2] for line in before) - 2.0 * last.em
    ending, beginning = last.text[-1], first.text[0]
    if is_cjk(ending) or is_cjk(beginning):
        return full and ending not in _ENDS and len(before) > 1
    return beginning.islower() and ending not in _ENDS


def joined_lines(lines: Sequence[Line], whole_words: frozenset[str] = frozenset()) -> str:
    """A paragraph's lines as one, hyphenation undone.

    A hyphen at a line's end stays if the word with it is among `whole_words`, those that the page has within
    its lines, or if no small letter follows.
    """
    text = lines[0].text
    for before, line in pairwise(lines):
        following = line.text
        last = text[-1:]
        if before.hyphen or (last == "-" and text[-2:-1].isalpha()):
            text = _unhyphenated(text, following, whole_words)
        elif not (is_cjk(last) or is_cjk(following[:1])):
            text += " "
        text += following
    return text


def _unhyphenated(text: str, following: str, whole_words: frozenset[str]) -> str:
    head, tail = text.rsplit(None, 1)[-1], following.split(None, 1)[0]
    if not following[:1].islower() or _bare(head + tail) in whole_words:
        return text
    return text[:-1]


def _bare(word: str) -> str:
    return word.strip(".,;:!?()[]\"'“”‘’").casefold()


def words_within(parts: Sequence[Region]) -> frozenset[str]:
    """The words that stand within lines, so that their hyphens are their own."""
    return frozenset(
        _bare(word.text)
        for part in parts
        for line in part.lines
        for word in line.words
        if "-" in word.text and not word.text.endswith("-")
    )
