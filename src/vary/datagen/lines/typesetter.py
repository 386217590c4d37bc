"""A face at one size: advance widths, and glyphs that are drawn once and set as often as a page needs them.

A page of text has sixty different characters and a thousand in all; drawing a glyph takes thirty times as
long as setting one that is drawn already.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from PIL import ImageFont

from vary.datagen.fonts import SHAPING, FontFace, load_font, shapes_safely

__all__ = ["Box", "Glyph", "Placed", "Typesetter", "ink_box"]

Box = tuple[int, int, int, int]
"""left, top, right, bottom in px."""

_LIGATURES = re.compile(r"f[fijlbhkt]+|t[ti]+|Th|Qu|IJ|.", re.DOTALL)
"""Units of shaped text: what fonts draw as one glyph, else single characters."""
_KERNED = "AVAWAYATLTTaTeToVaVoWeYoPa.F,r.y,w.v.fokaryvewexo'1'"
"""A font that kerns nothing here kerns nothing."""
_FULL_WIDTH = "\u2e80"
"""From here on characters have cells of one width, which are not kerned."""
_REFERENCE = 256
"""Px em at which shaped text is measured: it is not hinted, so that lengths at other sizes follow, to 1/64
px, and a face need be asked only once."""


class Glyph(NamedTuple):
    """A drawn character or ligature: its coverage, and in px from the pen where that lies and where it has
    ink."""

    mask: Any
    left: int
    top: int
    ink: Box


Placed = tuple[Glyph, int, int]
"""A glyph and the column and row of its pen, in whole px of the canvas."""


def ink_box(placed: Iterable[Placed]) -> Box | None:
    """The box around the ink of some glyphs on their canvas; None around no glyphs."""
    boxes = [(x + ink[0], y + ink[1], x + ink[2], y + ink[3]) for (_, _, _, ink), x, y in placed]
    if not boxes:
        return None
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


class _Kerning:
    """How far apart a face sets its glyphs in shaped text, in shares of the em."""

    def __init__(self, face: FontFace) -> None:
        self._font = load_font(face.path, face.index, _REFERENCE, int(ImageFont.Layout.RAQM))
        self._lengths: dict[str, float] = {}
        self._steps: dict[tuple[str, str], float] = {}
        plain = self._font.getlength(_KERNED, features=[*SHAPING, "-kern"])
        self._kerns = plain != self._font.getlength(_KERNED, features=SHAPING)

    def step(self, before: str, unit: str) -> float:
        """The way of the pen from `before` to `unit`; nothing is kerned at blanks."""
        if not self._kerns or before == " " or unit == " ":
            return self._length(before)
        if before >= _FULL_WIDTH and unit >= _FULL_WIDTH:
            return self._length(before)
        pair = (before, unit)
        step = self._steps.get(pair)
        if step is None:
            step = self._steps[pair] = self._measured(before + unit) - self._length(unit)
        return step

    def _length(self, unit: str) -> float:
        length = self._lengths.get(unit)
        if length is None:
            length = self._lengths[unit] = self._measured(unit)
        return length

    def _measured(self, text: str) -> float:
        return self._font.getlength(text, features=SHAPING) / _REFERENCE


@lru_cache(maxsize=128)
def _kerning(face: FontFace) -> _Kerning:
    return _Kerning(face)


class _CharacterWidths(dict[str, float]):
    """The advance widths of characters, asked for once each."""

    def __init__(self, font: ImageFont.FreeTypeFont) -> None:
        super().__init__()
        self.font = font

    def __missing__(self, character: str) -> float:
        width = self[character] = float(self.font.getlength(character))
        return width


class _Glyphs(dict[str, Glyph | None]):
    """The glyphs of characters and ligatures, drawn once each; None for those without ink.

    A single character's glyph is the same with and without shaping, which takes longer.
    """

    def __init__(self, font: ImageFont.FreeTypeFont, shaped: ImageFont.FreeTypeFont | None) -> None:
        super().__init__()
        self._font, self._shaped = font, shaped

    def __missing__(self, unit: str) -> Glyph | None:
        if self._shaped and len(unit) > 1:
            mask, (left, top) = self._shaped.getmask2(unit, mode="L", anchor="ls", features=SHAPING)
        else:
            mask, (left, top) = self._font.getmask2(unit, mode="L", anchor="ls")
        ink = mask.getbbox()
        glyph = None
        if ink is not None:
            glyph = Glyph(mask, left, top, (left + ink[0], top + ink[1], left + ink[2], top + ink[3]))
        self[unit] = glyph
        return glyph


class Typesetter:
    """A face at a size in px em, which sets text with or without shaping (kerning and ligatures).

    What it sets is what PIL paints of the same text, up to a pixel here and there.
    """

    def __init__(self, face: FontFace, size: float, shaped: bool) -> None:
        self.font = load_font(face.path, face.index, size, int(ImageFont.Layout.BASIC))
        shaping = load_font(face.path, face.index, size, int(ImageFont.Layout.RAQM)) if shaped else None
        self._kerning = _kerning(face) if shaped else None
        self._widths = _CharacterWidths(self.font)
        self._glyphs = _Glyphs(self.font, shaping)

    @staticmethod
    def make(face: FontFace, size: float, raqm: bool) -> Typesetter:
        """A face at `size` px; `raqm` asks for kerning and ligatures, which only a safe face gets."""
        return _made(face, size, raqm and shapes_safely(face))

    @property
    def size(self) -> float:
        """The em in px."""
        return float(self.font.size)

    def advance(self, text: str) -> float:
        """The advance width of `text` in px, without kerning (asking for every word's takes longer than
        painting it)."""
        widths = self._widths
        return sum([widths[character] for character in text])

    def bounds(self, text: str) -> tuple[float, float, float, float]:
        """The ink box of `text`: left, top, right, bottom in px from the start of its baseline."""
        return self.font.getbbox(text, anchor="ls")

    def set(self, text: str, x: float, y: float) -> list[Placed] | None:
        """The glyphs of `text`, its baseline starting at (x, y) px; None where a character has no ink.

        Pens stand on whole pixels, like those of PIL.
        """
        kerning, widths, glyphs, size = self._kerning, self._widths, self._glyphs, self.size
        row = math.ceil(y - 0.5)
        placed: list[Placed] = []
        before = ""
        for unit in _LIGATURES.findall(text) if kerning else text:
            if before:
                x += kerning.step(before, unit) * size if kerning else widths[before]
            before = unit
            glyph = glyphs[unit]
            if glyph is not None:
                placed.append((glyph, math.floor(x + 0.5), row))
            elif not unit.isspace():
                return None
        return placed


@lru_cache(maxsize=8)  # what a page or a document is set in; the next one's size is another
def _made(face: FontFace, size: float, shaped: bool) -> Typesetter:
    return Typesetter(face, size, shaped)
