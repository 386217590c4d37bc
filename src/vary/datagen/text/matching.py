"""The glyphs of a typeset page matched to the document's own text: lines and words with their boxes.

A page's answer is taken from the source, never from the PDF; so every page is checked here.  In the order of
the PDF's content, its glyphs must be the header, the text from where the page before ended, the footnotes of
the page, and the footer, without one character more or less, but for the hyphens of broken words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vary.datagen.text.content import Document, Piece, Span, body_pieces, spans
from vary.datagen.text.pdf_glyphs import PageGlyphs
from vary.datagen.text.stream import HAN, SMALL, STANDING, Stream

__all__ = ["Matcher", "PageMismatch", "PrintedLine", "PrintedPage", "PrintedWord"]

Box = tuple[float, float, float, float]

_OVERLAP = 0.12


class PageMismatch(Exception):
    """A page does not show what it should; the message is a short reason to count."""


@dataclass(frozen=True, slots=True)
class PrintedWord:
    """What stands between two blanks of a line, and the box of its ink in points; see `Stream.begins`
    for Chinese."""

    text: str
    box: Box


@dataclass(frozen=True, slots=True)
class PrintedLine:
    """A part of a piece that stands on one line: characters `start` to `end` of the piece's text.

    `broken` says that a hyphen is printed after it which the text does not have; `area` is `header`, `body`,
    `note` or `footer`; the box is that of its ink, `core` the rows of its small letters (or of the middle of
    Chinese ones) from top to baseline, both in points.
    """

    piece: Piece
    start: int
    end: int
    broken: bool
    area: str
    box: Box
    core: tuple[float, float]
    words: tuple[PrintedWord, ...] = field(repr=False)

    @property
    def text(self) -> str:
        """As it is printed."""
        return self.piece.text[self.start : self.end] + ("-" if self.broken else "")

    @property
    def ends_piece(self) -> bool:
        """Whether nothing of the piece follows."""
        return not self.piece.text[self.end :].strip()


@dataclass(frozen=True)
class PrintedPage:
    """A checked page: its size in points, its number, and its lines in reading order."""

    width: float
    height: float
    number: int
    lines: tuple[PrintedLine, ...]


class Matcher:
    """Matches the pages of one document, one after the other."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._body = Stream(body_pieces(document))
        self._at = 0
        self._number = document.first_page

    @property
    def finished(self) -> bool:
        """Whether all text has been seen."""
        return self._at >= len(self._body.characters)

    def skip_page(self) -> None:
        """Count a page without matching it: what follows cannot be matched either."""
        self._number += 1

    def match(self, glyphs: PageGlyphs) -> PrintedPage:
        """The next page.

        Raises `PageMismatch` with the reason why the page cannot be used.
        """
        document, number = self._document, self._number
        self._number += 1
        top, _, bottom, _ = document.style.margins
        # Wholly in a margin: a raised number in the first line reaches into it.
        above, below = glyphs.room[:, 3] <= top, glyphs.room[:, 1] >= glyphs.height - bottom
        areas = np.where(above, 0, np.where(below, 2, 1))
        lines: list[PrintedLine] = []
        head = Stream(_marginal_pieces(document.header_of(number).texts(number), -1))
        lines += self._whole(head, glyphs, np.flatnonzero(areas == 0), "header")
        lines += self._body_lines(glyphs, np.flatnonzero(areas == 1))
        foot = Stream(_marginal_pieces(document.footer_of(number).texts(number), -2))
        lines += self._whole(foot, glyphs, np.flatnonzero(areas == 2), "footer")
        _check_inside(glyphs)
        _check_apart([line.box for line in lines])
        return PrintedPage(glyphs.width, glyphs.height, number, tuple(lines))

    def _whole(
        self, stream: Stream, glyphs: PageGlyphs, chosen: NDArray[np.intp], area: str
    ) -> list[PrintedLine]:
        """Lines of glyphs that are exactly a stream's."""
        text = "".join(glyphs.text[index] for index in chosen)
        found, at = stream.match(text, 0, 0)
        if len(found) < len(text) or at < len(stream.characters):
            raise PageMismatch(f"{area} differs")
        return _lines(stream, found, glyphs, chosen, area)

    def _body_lines(self, glyphs: PageGlyphs, chosen: NDArray[np.intp]) -> list[PrintedLine]:
        text = "".join(glyphs.text[index] for index in chosen)
        self._body.unnamed.clear()
        found, at = self._body.match(text, 0, self._at)
        if not found:
            raise PageMismatch("text differs" if text else "no text")
        lines = _lines(self._body, found, glyphs, chosen[: len(found)], "body")
        if len(found) < len(text):
            notes = Stream(self._note_pieces(lines))
            rest, end = notes.match(text, len(found), 0)
            if len(found) + len(rest) < len(text) or end < len(notes.characters):
                raise PageMismatch("text differs")
            lines += _lines(notes, rest, glyphs, chosen[len(found) :], "note")
        elif self._note_pieces(lines):
            raise PageMismatch("footnote missing")
        self._at = at
        return lines

    def _note_pieces(self, lines: Sequence[PrintedLine]) -> list[Piece]:
        """The footnotes whose marks stand on the page."""
        numbers = []
        for line in lines:
            place = 0
            for span in line.piece.spans:
                if span.style == "mark" and line.start <= place < line.end:
                    numbers.append(int(span.text))
                place += len(span.text)
        notes = self._document.notes
        return [Piece((Span(str(n), "mark"), *notes[n]), -3, n, "\n") for n in numbers]


def _marginal_pieces(texts: Sequence[str], block: int) -> list[Piece]:
    return [Piece(spans(text), block, n, " " if n else "\n") for n, text in enumerate(texts)]


def _check_inside(glyphs: PageGlyphs) -> None:
    ink = glyphs.ink
    if ink[:, :2].min() < 0 or ink[:, 2].max() > glyphs.width or ink[:, 3].max() > glyphs.height:
        raise PageMismatch("off the page")


def _check_apart(boxes: Sequence[Box]) -> None:
    """No line may cover a part of another."""
    box = np.array(boxes)
    left, top, right, bottom = box.T
    area = np.maximum((right - left) * (bottom - top), 1e-6)
    wide = np.minimum(right[:, None], right) - np.maximum(left[:, None], left)
    high = np.minimum(bottom[:, None], bottom) - np.maximum(top[:, None], top)
    shared = np.clip(wide, 0, None) * np.clip(high, 0, None) / np.minimum(area[:, None], area)
    np.fill_diagonal(shared, 0)
    if shared.max() > _OVERLAP:
        raise PageMismatch("lines overlap")


# lines and words


def _lines(
    stream: Stream, found: Sequence[int], glyphs: PageGlyphs, chosen: NDArray[np.intp], area: str
) -> list[PrintedLine]:
    """Group matched glyphs to lines: a line ends with its piece, or where the next glyph stands elsewhere."""
    if not found:
        return []
    positions, ink = np.array(found, dtype=np.intp), glyphs.ink[chosen]
    hyphens = positions < 0  # those that the text does not have
    starts = _line_starts(stream, positions, glyphs.room[chosen])
    ends = np.append(starts[1:], len(positions))
    if hyphens[starts].any() or hyphens.sum() > hyphens[ends - 1].sum():
        raise PageMismatch("text differs")  # such a hyphen inside a line
    if not (ink[:, 2:] > ink[:, :2]).all():
        raise PageMismatch("glyph without ink")
    begins = stream.begins[positions] & ~hyphens
    begins[starts] = True
    firsts = np.flatnonzero(begins)
    lasts = np.append(firsts[1:], len(positions)) - 1
    boxes = np.hstack([np.minimum.reduceat(ink[:, :2], firsts), np.maximum.reduceat(ink[:, 2:], firsts)])
    shown = positions[lasts - hyphens[lasts]]
    words = _Words(
        boxes,
        stream.place[positions[firsts]].tolist(),
        [stream.places[last] + 1 + (last + 1 in stream.lost) for last in shown.tolist()],
    )
    bounds = np.searchsorted(firsts, [*starts, len(positions)]).tolist()
    return [
        _line(stream, positions[start:end], ink[start:end], words, slice(*bounds[n : n + 2]), area)
        for n, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True))
    ]


@dataclass(frozen=True, slots=True)
class _Words:
    """The words of some lines: boxes, and the first and the behind-last place in their piece's text."""

    boxes: NDArray[np.float64]
    starts: list[int]
    ends: list[int]


def _line_starts(stream: Stream, found: NDArray[np.intp], room: NDArray[np.float64]) -> NDArray[np.intp]:
    # A hyphen that the text does not have belongs to the character before it.
    owner = stream.owner[np.where(found < 0, np.roll(found, 1), found)]
    left, top, _, bottom = room.T
    middle = (top + bottom) / 2
    elsewhere = (
        (owner[1:] != owner[:-1])
        | (middle[1:] < top[:-1])
        | (middle[1:] > bottom[:-1])
        | (left[1:] < left[:-1] - 0.2 * (bottom - top)[:-1])
    )
    return np.append(0, np.flatnonzero(elsewhere) + 1)


def _line(
    stream: Stream,
    found: NDArray[np.intp],
    ink: NDArray[np.float64],
    words: _Words,
    which: slice,
    area: str,
) -> PrintedLine:
    """The line of some glyphs, `which` of the words are its."""
    broken = bool(found[-1] < 0)
    known = found[:-1] if broken else found
    piece = stream.pieces[stream.owners[known[0]]]
    text, boxes = piece.text, words.boxes[which]
    starts, ends = words.starts[which], words.ends[which]
    labels = [text[start:end] for start, end in zip(starts, ends, strict=True)]
    if broken:
        labels[-1] += "-"
    printed = tuple(PrintedWord(label, tuple(box)) for label, box in zip(labels, boxes.tolist(), strict=True))
    box = (*boxes[:, :2].min(axis=0).tolist(), *boxes[:, 2:].max(axis=0).tolist())
    core = _core(stream.traits[known], ink)
    return PrintedLine(piece, starts[0], ends[-1], broken, area, box, core, printed)


def _core(traits: NDArray[np.uint8], ink: NDArray[np.float64]) -> tuple[float, float]:
    """The rows from the top of small letters to the baseline, in points, from the boxes of characters."""
    top, bottom = ink[: len(traits), 1], ink[: len(traits), 3]
    small, standing, han = (traits & trait != 0 for trait in (SMALL, STANDING, HAN))
    if small.any():
        return _median(top[small]), _median(bottom[standing])
    if han.any():
        high, low = _median(top[han]), _median(bottom[han])
        return high + 0.35 * (low - high), low - 0.08 * (low - high)
    if standing.any():
        high, low = _median(top[standing]), _median(bottom[standing])
        return high + 0.3 * (low - high), low
    return float(top.min()), float(bottom.max())


def _median(values: NDArray[np.float64]) -> float:
    """The median of a line's few values; numpy's own takes ten times as long."""
    ordered = np.sort(values)
    return float(ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
