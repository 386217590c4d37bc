"""Where the words of a page go: paragraphs broken into lines, lines set in columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from vary.datagen.corpus import is_han
from vary.datagen.lines.painting import Typesetter

__all__ = ["LineLimits", "break_paragraph", "justify"]

Advance = Callable[[str], float]

_NOT_FIRST = set("，。、；：？！）》」』】〉〕”’·～％…—,.;:?!)]}%'\"")
_NOT_LAST = set("（《「『【〈〔“‘([{")


@dataclass(frozen=True, slots=True)
class LineLimits:
    """What a line may hold: `width` px (in the font's own px), `characters`, and `words` (None: any
    number)."""

    width: float
    characters: int
    words: int | None = None


def _units(text: str) -> list[tuple[str, bool]]:
    """The unbreakable pieces of a text, each with whether a blank stands before it."""
    units: list[tuple[str, bool]] = []
    for word in text.split(" "):
        blank = bool(units)
        if word.isascii():
            if word:
                units.append((word, blank))
            continue
        piece = ""
        for character in word:
            breakable = is_han(character) or ord(character) >= 0x3000
            glued = bool(piece) and (piece[-1] in _NOT_LAST or character in _NOT_FIRST)
            before = bool(piece) and (is_han(piece[-1]) or ord(piece[-1]) >= 0x3000)
            if piece and (breakable or before) and not glued:
                units.append((piece, blank))
                piece, blank = "", False
            piece += character
        if piece:
            units.append((piece, blank))
    return units


def break_paragraph(
    text: str, font: Typesetter, limits: LineLimits, widths: dict[str, float], *, hyphenate: bool = False
) -> Iterator[str]:
    """The lines of a paragraph, filled greedily; a piece too long for any line is cut where it must be.

    `widths` is the caller's cache of the advance widths of words in `font`, with tracking.  With
    `hyphenate`, long words are broken with a hyphen where they do not fit (their place is not a linguist's).
    """

    def advance(piece: str) -> float:
        if piece not in widths:
            widths[piece] = font.advance(piece)
        return widths[piece]

    blank_width = advance(" ")
    line, width, words = "", 0.0, 0
    queue = _units(text)[::-1]
    while queue:
        piece, blank = queue.pop()
        gap = blank and bool(line)
        more = advance(piece) + (blank_width if gap else 0.0)
        full = width + more > limits.width or len(line) + len(piece) + gap > limits.characters
        full = full or (limits.words is not None and bool(line) and gap and words >= limits.words)
        if not full:
            line += (" " if gap else "") + piece
            width += more
            words += gap or not words
            continue
        head = _hyphenated(piece, limits, width + blank_width, len(line) + 1, advance) if hyphenate else 0
        if line and head and gap:
            queue.append((piece[head:], False))
            line += " " + piece[:head] + "-"
        elif not line:
            fits = _fitting(piece, limits, advance)
            queue.append((piece[fits:], False)) if fits < len(piece) else None
            line = piece[:fits]
        else:
            queue.append((piece, False))
        yield line
        line, width, words = "", 0.0, 0
    if line:
        yield line


def _fitting(piece: str, limits: LineLimits, advance: Advance) -> int:
    """How many characters of a piece that is too long for a line go on one, at least 1."""
    count = min(len(piece), limits.characters)
    while count > 1 and advance(piece[:count]) > limits.width:
        count -= 1
    return max(count, 1)


def _hyphenated(piece: str, limits: LineLimits, width: float, characters: int, advance: Advance) -> int:
    """How many letters of a word fit before a hyphen, 0 if fewer than two would stand on either side."""
    if not (piece.isalpha() and piece.isascii() and len(piece) >= 6):
        return 0
    for count in range(len(piece) - 3, 1, -1):
        fits = width + advance(piece[:count] + "-") <= limits.width
        if fits and characters + count + 1 <= limits.characters:
            return count
    return 0


def justify(text: str, natural: float, width: float, em: float) -> float:
    """What to add to every blank (px) so that the line fills `width`; 0 where the gaps would be absurd."""
    blanks = text.count(" ")
    gap = (width - natural) / blanks if blanks else 0.0
    return gap if gap < 0.5 * em else 0.0
