"""Glyph outlines of a font file: text as paths, so that nothing looks for a font by its name."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vary.datagen.fonts import FontFace
from vary.errors import MissingDependencyError

__all__ = ["Outlines", "has_bitmaps", "outlines_of"]

_EM = 1000

Points = NDArray[np.float64]
Codes = NDArray[np.uint8]
_Glyph = tuple[Points, Codes, float]
"""Points in parts of the em, y upwards; FreeType's code of each; the width."""


class Outlines:
    """The outlines and widths of a font file's first face, without kerning, by matplotlib's FreeType."""

    def __init__(self, path: str) -> None:
        try:
            from matplotlib.ft2font import FT2Font
        except ImportError as error:
            raise MissingDependencyError("charts need matplotlib: pip install 'vary-toy[synth]'") from error

        self._font = FT2Font(path)
        self._font.set_size(_EM, 72)
        self._glyphs: dict[str, _Glyph] = {}

    def advance(self, character: str) -> float:
        """The width of a character as a part of the em."""
        return self._glyph(character)[2]

    def width(self, text: str) -> float:
        """The width of a text as a part of the em."""
        return sum(self.advance(character) for character in text)

    def path(self, text: str, left: float, baseline: float, size: float) -> tuple[Points, Codes]:
        """The outline of a text as matplotlib's paths have it, its em `size`, from (left, baseline) on.

        Points (N, 2), y downwards, and what is done with each (N,).
        """
        glyphs = [self._glyph(character) for character in text]
        starts = np.cumsum([0.0, *(glyph[2] for glyph in glyphs[:-1])]) * size + left
        points = [
            glyph[0] * (size, -size) + (start, baseline) for glyph, start in zip(glyphs, starts, strict=True)
        ]
        return np.concatenate(points), np.concatenate([glyph[1] for glyph in glyphs])

    def _glyph(self, character: str) -> _Glyph:
        known = self._glyphs.get(character)
        if known is None:
            from matplotlib.ft2font import LoadFlags

            index = self._font.get_char_index(ord(character))
            glyph = self._font.load_glyph(index, flags=LoadFlags.NO_HINTING)
            points, codes = self._font.get_path()
            scaled = np.asarray(points, dtype=np.float64).reshape(-1, 2) / _EM
            known = (scaled, np.asarray(codes, dtype=np.uint8), glyph.horiAdvance / 64 / _EM)
            self._glyphs[character] = known
        return known


@lru_cache(maxsize=2048)
def has_bitmaps(face: FontFace) -> bool:
    """Whether a font file brings pictures of its glyphs at small sizes, which matplotlib cannot draw."""
    from matplotlib.ft2font import FT2Font

    return int(FT2Font(face.path).num_fixed_sizes) > 0


@lru_cache(maxsize=64)
def _outlines(path: str) -> Outlines:
    return Outlines(path)


def outlines_of(face: FontFace) -> Outlines:
    """The outlines of a face, opened once in a process; the face is the first of its file."""
    assert face.index == 0
    return _outlines(face.path)
