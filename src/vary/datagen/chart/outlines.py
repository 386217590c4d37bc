"""Glyph outlines of a font file: text as SVG paths, so that nothing looks for a font by its name."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vary.datagen.fonts import FontFace
from vary.errors import MissingDependencyError

__all__ = ["Outlines", "has_bitmaps", "outlines_of"]

_EM = 1000
_MOVE, _LINE, _QUADRATIC, _CUBIC, _CLOSE = 1, 2, 3, 4, 79
_POINTS = {_MOVE: 1, _LINE: 1, _QUADRATIC: 2, _CUBIC: 3, _CLOSE: 1}
_LETTERS = {_MOVE: "M", _LINE: "L", _QUADRATIC: "Q", _CUBIC: "C"}

_Glyph = tuple[NDArray[np.float64], tuple[int, ...], float]
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

    def path(self, text: str, left: float, baseline: float, size: float) -> str:
        """The outline of a text as SVG path data, its em `size`, starting at `left` on `baseline`."""
        pieces: list[str] = []
        for character in text:
            points, codes, advance = self._glyph(character)
            placed = (points * (size, -size) + (left, baseline)).tolist()
            place = 0
            while place < len(codes):
                code = codes[place]
                count = _POINTS[code]
                if code == _CLOSE:
                    pieces.append("Z")
                else:
                    numbers = " ".join(f"{x:.2f} {y:.2f}" for x, y in placed[place : place + count])
                    pieces.append(_LETTERS[code] + numbers)
                place += count
            left += advance * size
        return "".join(pieces)

    def _glyph(self, character: str) -> _Glyph:
        known = self._glyphs.get(character)
        if known is None:
            from matplotlib.ft2font import LoadFlags

            index = self._font.get_char_index(ord(character))
            glyph = self._font.load_glyph(index, flags=LoadFlags.NO_HINTING)
            points, codes = self._font.get_path()
            scaled = np.asarray(points, dtype=np.float64).reshape(-1, 2) / _EM
            known = (scaled, tuple(int(code) for code in codes), glyph.horiAdvance / 64 / _EM)
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
