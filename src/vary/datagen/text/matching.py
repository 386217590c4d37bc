"""The glyphs of a typeset page matched to the document's own text: lines and words with their boxes.

A page's answer is taken from the source, never from the PDF; so every page is checked here.  In the order of
the PDF's content, its glyphs must be the header, the text from where the page before ended, the footnotes of
the page, and the footer, without one character more or less, but for the hyphens of broken words.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vary.datagen.corpus import is_han
from vary.datagen.text.content import Document, Piece, Span, body_pieces, spans
from vary.datagen.text.pdf_glyphs import PageGlyphs

__all__ = ["Matcher", "PageMismatch", "PrintedLine", "PrintedPage", "PrintedWord"]

Box = tuple[float, float, float, float]

_HYPHENS = frozenset("-\u2010\u00ad")
_OVERLAP = 0.12
_UNNAMED = "\0"
_MOST_UNNAMED = 4
"""So many different characters of a page may be told by their place alone; more would be missing ones."""


class PageMismatch(Exception):
    """A page does not show what it should; the message is a short reason to count."""


@dataclass(frozen=True, slots=True)
class PrintedWord:
    """What stands between two blanks of a line, and the box of its ink in points; see `_starts_word` for
    Chinese."""

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


class _Stream:
    """The visible characters of some pieces in a row, each with its piece and place."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self.pieces = pieces
        self.characters: list[str] = []
        self.owners: list[int] = []
        self.places: list[int] = []
        self.unnamed: set[str] = set()
        """The characters that unnamed glyphs of the page stood for."""
        self.lost: set[int] = set()
        """Positions that the page shows and PDFium does not tell."""
        for owner, piece in enumerate(pieces):
            for place, character in enumerate(piece.text):
                if character.isspace():
                    continue
                for shown in _shown(character):
                    self.characters.append(shown)
                    self.owners.append(owner)
                    self.places.append(place)

    def match(self, glyphs: str, first: int, at: int) -> tuple[list[int], int]:
        """The stream's positions of `glyphs[first:]`, matched from position `at`, as far as they match.

        A hyphen that the text does not have is -1.  Returns the positions and the stream's next one.
        """
        found: list[int] = []
        characters, total = self.characters, len(self.characters)
        for glyph in glyphs[first:]:
            if at < total and self._same(characters[at], glyph):
                found.append(at)
                at += 1
            elif glyph in _HYPHENS and found and found[-1] >= 0:
                found.append(-1)
            elif self._hyphen_lost(at, glyph):
                self.lost.add(at)
                found.append(at + 1)
                at += 2
            else:
                break
        return found, at

    def _same(self, character: str, glyph: str) -> bool:
        if character == glyph or _folded(character) == _folded(glyph):
            return True
        if glyph != _UNNAMED:
            return False
        self.unnamed.add(character)
        return len(self.unnamed) <= _MOST_UNNAMED

    def _hyphen_lost(self, at: int, glyph: str) -> bool:
        """Whether the text has the second of two hyphens before `glyph`: PDFium drops it at a line's end."""
        characters = self.characters
        return (
            0 < at < len(characters) - 1
            and characters[at] in _HYPHENS
            and characters[at - 1] in _HYPHENS
            and _folded(characters[at + 1]) == _folded(glyph)
        )


class Matcher:
    """Matches the pages of one document, one after the other."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._body = _Stream(body_pieces(document))
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
        head = _Stream(_marginal_pieces(document.header_of(number).texts(number), -1))
        lines += self._whole(head, glyphs, np.flatnonzero(areas == 0), "header")
        lines += self._body_lines(glyphs, np.flatnonzero(areas == 1))
        foot = _Stream(_marginal_pieces(document.footer_of(number).texts(number), -2))
        lines += self._whole(foot, glyphs, np.flatnonzero(areas == 2), "footer")
        _check_inside(glyphs)
        _check_apart([line.box for line in lines])
        return PrintedPage(glyphs.width, glyphs.height, number, tuple(lines))

    def _whole(
        self, stream: _Stream, glyphs: PageGlyphs, chosen: NDArray[np.intp], area: str
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
            notes = _Stream(self._note_pieces(lines))
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


@lru_cache(maxsize=65536)
def _folded(character: str) -> str:
    """The character as fonts may give it back: one glyph can stand for several characters."""
    if character in _HYPHENS:
        return "-"
    return unicodedata.normalize("NFKC", character)


def _shown(character: str) -> str:
    return unicodedata.normalize("NFKC", character) if "\ufb00" <= character <= "\ufb06" else character


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
    stream: _Stream, found: Sequence[int], glyphs: PageGlyphs, chosen: NDArray[np.intp], area: str
) -> list[PrintedLine]:
    """Group matched glyphs to lines: a line ends with its piece, or where the next glyph stands elsewhere."""
    if not found:
        return []
    room = glyphs.room[chosen]
    starts = _line_starts(stream, found, room)
    ink = glyphs.ink[chosen]
    lines = []
    for begin, end in zip(starts, [*starts[1:], len(found)], strict=True):
        lines.append(_line(stream, found[begin:end], ink[begin:end], area))
    return lines


def _line_starts(stream: _Stream, found: Sequence[int], room: NDArray[np.float64]) -> list[int]:
    owners: list[int] = []
    for position in found:
        owners.append(owners[-1] if position < 0 else stream.owners[position])
    owner = np.array(owners)
    left, top, _, bottom = room.T
    middle = (top + bottom) / 2
    elsewhere = (
        (owner[1:] != owner[:-1])
        | (middle[1:] < top[:-1])
        | (middle[1:] > bottom[:-1])
        | (left[1:] < left[:-1] - 0.2 * (bottom - top)[:-1])
    )
    return [0, *(np.flatnonzero(elsewhere) + 1).tolist()]


def _line(stream: _Stream, found: Sequence[int], ink: NDArray[np.float64], area: str) -> PrintedLine:
    if any(position < 0 for position in found[:-1]):
        raise PageMismatch("text differs")  # a hyphen inside a line that the text does not have
    broken = found[-1] < 0
    known = found[:-1] if broken else found
    piece = stream.pieces[stream.owners[known[0]]]
    text = piece.text
    places = [stream.places[position] for position in known]
    marks = _mark_places(piece)
    firsts = [0] + [
        number
        for number in range(1, len(places))
        if places[number] != places[number - 1]
        and _starts_word(text, places[number - 1], places[number], marks)
    ]
    if not ((ink[:, 2] > ink[:, 0]) & (ink[:, 3] > ink[:, 1])).all():
        raise PageMismatch("glyph without ink")
    lows = np.minimum.reduceat(ink[:, :2], firsts)
    highs = np.maximum.reduceat(ink[:, 2:], firsts)
    lasts = [*(number - 1 for number in firsts[1:]), len(places) - 1]
    ends = [places[last] + 1 + (known[last] + 1 in stream.lost) for last in lasts]
    words = []
    for number, first in enumerate(firsts):
        label = text[places[first] : ends[number]]
        if broken and number == len(firsts) - 1:
            label += "-"
        words.append(PrintedWord(label, (*lows[number].tolist(), *highs[number].tolist())))
    box = (*lows.min(axis=0).tolist(), *highs.max(axis=0).tolist())
    core = _core([text[place] for place in places], ink)
    return PrintedLine(piece, places[0], ends[-1], broken, area, box, core, tuple(words))


_SMALL = frozenset("acemnorsuvwxz")
_STANDING = frozenset("abcdefhiklmnorstuvwxzABCDEFGHIKLMNOPRSTUVWXYZ0123456789")


def _core(characters: Sequence[str], ink: NDArray[np.float64]) -> tuple[float, float]:
    """The rows from the top of small letters to the baseline, in points."""
    boxes = ink[: len(characters)]
    small = np.array([character in _SMALL for character in characters])
    standing = np.array([character in _STANDING for character in characters])
    han = np.array([_han(character) for character in characters])
    if small.any():
        return float(np.median(boxes[small, 1])), float(np.median(boxes[standing, 3]))
    if han.any():
        top, bottom = float(np.median(boxes[han, 1])), float(np.median(boxes[han, 3]))
        return top + 0.35 * (bottom - top), bottom - 0.08 * (bottom - top)
    if standing.any():
        top, bottom = float(np.median(boxes[standing, 1])), float(np.median(boxes[standing, 3]))
        return top + 0.3 * (bottom - top), bottom
    return float(boxes[:, 1].min()), float(boxes[:, 3].max())


def _mark_places(piece: Piece) -> frozenset[int]:
    """Where the raised numbers of a piece begin."""
    places: set[int] = set()
    place = 0
    for span in piece.spans:
        if span.style == "mark":
            places.update((place, place + len(span.text)))
        place += len(span.text)
    return frozenset(places)


def _starts_word(text: str, before: int, place: int, marks: frozenset[int]) -> bool:
    """Whether a word begins: after a blank, at a footnote's number, where Chinese and other writing meet, and
    after a Chinese mark of punctuation."""
    if place - before > 1 or place in marks:
        return True
    last, character = text[before], text[place]
    if _wide(last) != _wide(character):
        return True
    return _wide(last) and not _han(last) and _han(character)


@lru_cache(maxsize=65536)
def _han(character: str) -> bool:
    return is_han(character)


@lru_cache(maxsize=65536)
def _wide(character: str) -> bool:
    return is_han(character) or "\u3000" <= character <= "\u303f" or "\uff00" <= character <= "\uffef"
