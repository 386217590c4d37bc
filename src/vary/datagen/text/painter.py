"""Documents of plain lines painted with PIL, for pages that no typesetter made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFont

from vary.datagen.lines.layout import LineLimits, break_paragraph, justify
from vary.datagen.lines.painting import LinePlan, PagePlan, Typesetter, paint_page
from vary.datagen.text.content import Block, Document, Marginals, plain
from vary.datagen.text.families import FamilyList
from vary.datagen.text.pdf_glyphs import PageGlyphs

__all__ = ["PaintedPages"]

_TRACKING = 1e-6
"""Px after each character: so little cannot be seen, but they are painted one by one, without kerning."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A line to paint: its text, its left end and what is added to each blank, in px."""

    text: str
    left: float
    gap: float = 0.0
    before: float = 0.0


class PaintedPages:
    """The pages of a document, painted at `scale` px a point: first their glyphs, then their images."""

    def __init__(self, document: Document, families: FamilyList, scale: float, oversample: int = 1) -> None:
        self._document, self._scale, self._oversample = document, scale, oversample
        style = document.style
        self._face = families.families[style.text_family].regular
        self._size = style.size * scale
        self._font = Typesetter.make(self._face, self._size * oversample, raqm=False)
        self._width = (style.width - style.margins[1] - style.margins[3]) * scale
        self._pages = self._paginate()

    def __len__(self) -> int:
        return len(self._pages)

    def _advance(self, text: str) -> float:
        return self._font.advance(text) / self._oversample

    def _paginate(self) -> list[list[LinePlan]]:
        style = self._document.style
        top, _, bottom, left = (value * self._scale for value in style.margins)
        pitch = self._size * (0.72 + style.leading)
        end = style.height * self._scale - bottom
        pages: list[list[LinePlan]] = [[]]
        baseline = top + 0.9 * self._size
        for row in self._rows():
            baseline += row.before if pages[-1] else 0.0
            if baseline + 0.25 * self._size > end:
                pages.append([])
                baseline = top + 0.9 * self._size
            pages[-1].append(LinePlan(row.text, "", left + row.left, baseline, row.gap))
            baseline += pitch
        return pages

    def _rows(self) -> Iterator[_Row]:
        style = self._document.style
        for block in self._document.blocks:
            before = self._size * (0.8 if block.kind == "heading" else style.spacing)
            if block.kind in ("verse", "lines"):
                for number, part in enumerate(block.parts):
                    yield from self._filled(plain(part), block, before if number == 0 else 0.0, 0.0)
            elif block.parts:
                indent = style.indent * self._size if block.kind == "paragraph" else 0.0
                yield from self._filled(plain(block.parts[0]), block, before, indent)

    def _filled(self, text: str, block: Block, before: float, indent: float) -> Iterator[_Row]:
        """The lines of one text, broken, aligned and justified."""
        style = self._document.style
        scale = self._oversample
        limits = LineLimits((self._width - indent) * scale, 10_000)
        lines = list(break_paragraph(text, self._font, limits, {}))
        align = block.align or (style.heading_align if block.kind == "heading" else style.alignment)
        for number, line in enumerate(lines):
            natural = self._advance(line)
            start = indent if number == 0 else 0.0
            slack = max(0.0, self._width - natural)
            gap = 0.0
            if align == "justify" and number < len(lines) - 1:
                gap = justify(line, natural, self._width - start, self._size)
            start = {"center": slack / 2, "right": slack}.get(align, start)
            yield _Row(line, start, gap, before if number == 0 else 0.0)

    def _plans(self, number: int) -> list[LinePlan]:
        """The lines of a page with its header and footer, in the order in which they are read."""
        document, style = self._document, self._document.style
        page = document.first_page + number
        height = style.height * self._scale
        head = (style.margins[0] * self._scale - 1.2 * self._size) if style.margins[0] else 0.0
        foot = height - style.margins[2] * self._scale + 1.6 * self._size
        return [
            *self._marginal(document.header_of(page), page, head),
            *self._pages[number],
            *self._marginal(document.footer_of(page), page, foot),
        ]

    def _marginal(self, marginals: Marginals, page: int, baseline: float) -> Iterator[LinePlan]:
        left = self._document.style.margins[3] * self._scale
        for place, text in enumerate((marginals.left, marginals.centre, marginals.right)):
            if text:
                text = text.replace("{page}", str(page))
                slack = self._width - self._advance(text)
                yield LinePlan(text, "", left + slack * place / 2, baseline)

    def glyphs(self, number: int) -> PageGlyphs:
        """The glyphs of page `number`, from 0, as those of a PDF file."""
        characters: list[str] = []
        inks: list[tuple[float, ...]] = []
        rooms: list[tuple[float, ...]] = []
        for line in self._plans(number):
            x = line.left
            for character in line.text:
                step = self._advance(character) + _TRACKING
                if character == " ":
                    x += step + line.gap
                    continue
                left, top, right, bottom = (v / self._oversample for v in _bounds(self._font, character))
                characters.append(character)
                inks.append((x + left, line.baseline + top, x + right, line.baseline + bottom))
                rooms.append(
                    (x, line.baseline - 0.85 * self._size, x + step, line.baseline + 0.25 * self._size)
                )
                x += step
        style = self._document.style
        shape = (len(characters), 4)
        return PageGlyphs(
            style.width,
            style.height,
            "".join(characters),
            np.array(inks, dtype=np.float64).reshape(shape) / self._scale,
            np.array(rooms, dtype=np.float64).reshape(shape) / self._scale,
        )

    def image(self, number: int) -> NDArray[np.uint8] | None:
        """Page `number`, (H, W) gray; None where a line could not be painted whole."""
        style = self._document.style
        plans = self._plans(number)
        plan = PagePlan(
            face=self._face,
            size=self._size,
            width=round(style.width * self._scale),
            height=round(style.height * self._scale),
            lines=tuple(replace(line, source="") for line in plans),
            scale=self._oversample,
            tracking=_TRACKING,
            paper=_gray(style.paper),
            ink=_gray(style.ink),
        )
        painted = paint_page(plan)
        return painted.gray if len(painted.lines) == len(plans) else None


def _gray(colour: str) -> int:
    red, green, blue = (int(colour[n : n + 2], 16) for n in (0, 2, 4))
    return round(0.299 * red + 0.587 * green + 0.114 * blue)


def _bounds(font: Typesetter, character: str) -> tuple[float, float, float, float]:
    return _cached_bounds(font.font, character)


@lru_cache(maxsize=32768)
def _cached_bounds(font: ImageFont.FreeTypeFont, character: str) -> tuple[float, float, float, float]:
    """The ink of a character from the start of its baseline; `getbbox` counts its advance width, too."""
    mask, (left, top) = font.getmask2(character, mode="L", anchor="ls")
    ink = mask.getbbox() or (0, 0, 0, 0)
    return float(left + ink[0]), float(top + ink[1]), float(left + ink[2]), float(top + ink[3])
