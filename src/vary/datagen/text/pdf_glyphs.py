"""The glyphs of a typeset page, with their boxes, and its image, both read off the PDF by PDFium."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vary.datagen.pdfium import TextPage

if TYPE_CHECKING:
    import pypdfium2

__all__ = ["PageGlyphs", "PdfPages"]


@dataclass(frozen=True)
class PageGlyphs:
    """The visible characters of a page in the order of the PDF's content.

    Attributes:
        width, height: of the page, points.
        text: one character a glyph; blanks are left out.  U+0000 stands for a glyph that the PDF does not
            name: Chromium's fonts of pictures have one such glyph each.
        ink: (N, 4) float64: left, top, right, bottom of each glyph's ink in points from the upper left
            corner.
        room: (N, 4) the same from its ascent to its descent and over its advance width.
    """

    width: float
    height: float
    text: str
    ink: NDArray[np.float64] = field(repr=False)
    room: NDArray[np.float64] = field(repr=False)


class PdfPages:
    """An open PDF file that a typesetter made."""

    def __init__(self, data: bytes) -> None:
        import pypdfium2

        self._document = pypdfium2.PdfDocument(data)
        self._open: tuple[int, pypdfium2.PdfPage] | None = None

    def __len__(self) -> int:
        return len(self._document)

    def __enter__(self) -> PdfPages:
        return self

    def __exit__(self, *_: object) -> None:
        self._release()
        self._document.close()

    def _load(self, number: int) -> pypdfium2.PdfPage:
        """Page `number`, open until another is asked for: it is parsed once for its glyphs and its image."""
        if self._open is None or self._open[0] != number:
            self._release()
            self._open = (number, self._document[number])
        return self._open[1]

    def _release(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def width(self, number: int) -> float:
        """The width of page `number` in points."""
        return float(self._document.get_page_size(number)[0])

    def glyphs(self, number: int) -> PageGlyphs:
        """The glyphs of page `number`, from 0."""
        page = self._load(number)
        text_page = page.get_textpage()
        try:
            return _read(TextPage(text_page), *page.get_size())
        finally:
            text_page.close()

    def image(self, number: int, scale: float, *, coloured: bool) -> NDArray[np.uint8]:
        """Page `number` at `scale` px a point: (H, W, 3) RGB, or (H, W) gray."""
        page = self._load(number)
        bitmap = page.render(scale=scale, grayscale=not coloured, rev_byteorder=coloured)
        try:
            pixels = np.array(bitmap.to_numpy())
        finally:
            bitmap.close()
        if coloured:
            return np.ascontiguousarray(pixels[..., :3])
        return np.ascontiguousarray(pixels[..., 0] if pixels.ndim == 3 else pixels)


def _read(textpage: TextPage, width: float, height: float) -> PageGlyphs:
    characters: list[str] = []
    indices: list[int] = []
    for index, code in _whole_codes(textpage.codes()):
        if shown := _expanded(code):
            characters += shown
            indices += [index] * len(shown)
    ink, room = textpage.boxes(indices)
    down = np.array([1.0, -1.0, 1.0, -1.0])
    corner = np.array([0.0, height, 0.0, height])
    upper_first = [0, 3, 2, 1]
    return PageGlyphs(
        width,
        height,
        "".join(characters),
        corner + down * ink[:, upper_first],
        corner + down * room[:, upper_first],
    )


def _whole_codes(codes: Sequence[int]) -> Iterable[tuple[int, int]]:
    """Index and code point of every character; the halves of a surrogate pair are one, at the second's."""
    if not any(0xD800 <= code < 0xE000 for code in codes):
        return enumerate(codes)
    whole = []
    high = 0
    for index, code in enumerate(codes):
        if 0xD800 <= code < 0xDC00:
            high = code
            continue
        if 0xDC00 <= code < 0xE000 and high:
            code = 0x10000 + ((high - 0xD800) << 10) + (code - 0xDC00)
        high = 0
        whole.append((index, code))
    return whole


@lru_cache(maxsize=65536)
def _expanded(code: int) -> str:
    """The characters of a code point, none of a blank: a ligature is several, PDFium's mark for a broken
    word is a hyphen."""
    if code == 2:
        return "-"
    if 0xFB00 <= code <= 0xFB06:
        return unicodedata.normalize("NFKC", chr(code))
    return chr(code) if code == 0 or (code > 0x20 and not chr(code).isspace()) else ""
