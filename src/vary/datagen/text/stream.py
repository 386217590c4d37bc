"""The text that some pages must show, as a stream of visible characters to match their glyphs with."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from vary.datagen.corpus import is_han
from vary.datagen.text.content import Piece

__all__ = ["HAN", "SMALL", "STANDING", "Stream"]

_HYPHENS = frozenset("-\u2010\u00ad")
_UNNAMED = "\0"
_MOST_UNNAMED = 4
"""So many different characters of a page may be told by their place alone; more would be missing ones."""


class Stream:
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
                ligature = "\ufb00" <= character <= "\ufb06"
                shown = unicodedata.normalize("NFKC", character) if ligature else character
                self.characters += shown
                self.owners += [owner] * len(shown)
                self.places += [place] * len(shown)

    @cached_property
    def owner(self) -> NDArray[np.intp]:
        """`owners` as an array."""
        return np.array(self.owners, dtype=np.intp)

    @cached_property
    def place(self) -> NDArray[np.intp]:
        """`places` as an array."""
        return np.array(self.places, dtype=np.intp)

    @cached_property
    def traits(self) -> NDArray[np.uint8]:
        """What the characters of the text are, bits of `SMALL`, `STANDING`, `HAN`, `_WIDE`."""
        texts = [piece.text for piece in self.pieces]
        places = zip(self.owners, self.places, strict=True)
        return np.array([_traits(texts[owner][place]) for owner, place in places], dtype=np.uint8)

    @cached_property
    def begins(self) -> NDArray[np.bool_]:
        """Whether a word begins at a position: after a blank, at a footnote's number, where Chinese and other
        writing meet, and after a Chinese mark of punctuation."""
        begins = np.ones(len(self.places), dtype=bool)
        step, wide = np.diff(self.place), self.traits & _WIDE
        punctuation = (wide != 0) & (self.traits & HAN == 0)
        begins[1:] = (step != 0) & (
            (step > 1) | (wide[1:] != wide[:-1]) | (punctuation[:-1] & (self.traits[1:] & HAN != 0))
        )
        for owner, piece in enumerate(self.pieces):
            if marks := _mark_places(piece):
                first, last = np.searchsorted(self.owner, (owner, owner + 1))
                places = self.place[first:last]
                begins[first:last] |= np.isin(places, marks) & (np.diff(places, prepend=-1) != 0)
        return begins

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


@lru_cache(maxsize=65536)
def _folded(character: str) -> str:
    """The character as fonts may give it back: one glyph can stand for several characters."""
    if character in _HYPHENS:
        return "-"
    return unicodedata.normalize("NFKC", character)


SMALL, STANDING, HAN, _WIDE = 1, 2, 4, 8
_SMALL_LETTERS = frozenset("acemnorsuvwxz")
_STANDING_LETTERS = frozenset("abcdefhiklmnorstuvwxzABCDEFGHIKLMNOPRSTUVWXYZ0123456789")


@lru_cache(maxsize=65536)
def _traits(character: str) -> int:
    """`SMALL` for a letter without ascender, `STANDING` for what stands on the baseline, `HAN` for a Han
    character, `_WIDE` for one and for a Chinese mark of punctuation."""
    han = is_han(character)
    wide = han or "\u3000" <= character <= "\u303f" or "\uff00" <= character <= "\uffef"
    return (
        SMALL * (character in _SMALL_LETTERS)
        + STANDING * (character in _STANDING_LETTERS)
        + HAN * han
        + _WIDE * wide
    )


def _mark_places(piece: Piece) -> list[int]:
    """Where the raised numbers of a piece begin and end."""
    places: list[int] = []
    place = 0
    for span in piece.spans:
        if span.style == "mark":
            places += (place, place + len(span.text))
        place += len(span.text)
    return places
