"""From a typeset sheet to samples: pages painted by PDFium, boxes in px, tables cut out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vary.datagen.formula.configuration import FormulaEngineConfig
from vary.datagen.formula.latex import Place, Typeset
from vary.datagen.formula.sheet import Block, Sheet
from vary.datagen.formula.spans import DELIMITERS
from vary.datagen.formula.style import Style
from vary.datagen.formula.typefaces import Typeface
from vary.datagen.prompts import draw_prompt
from vary.datagen.sample import Box, Record, Sample
from vary.errors import DataError

__all__ = ["PaintedPage", "SheetSamples", "paint_pages"]

POINTS_PER_INCH = 72.27
"""TeX's points, in which places are given; PDF has 72 an inch."""
_SCRIPT_SHARE = 0.7
"""Size of scripts, as a share of the type's."""
_TABLE_SIZES = {r"\normalsize ": 1.0, r"\small ": 0.9, r"\footnotesize ": 0.8}


@dataclass(frozen=True)
class PaintedPage:
    """A page in gray, (H, W), and its resolution."""

    gray: NDArray[np.uint8]
    dpi: float


def paint_pages(pdf: bytes, resolutions: Iterable[float]) -> list[PaintedPage]:
    """All pages of a PDF, each at its resolution (the iterable may be longer).

    Raises `DataError` for bytes that are no PDF.
    """
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(pdf)
    except pypdfium2.PdfiumError as error:
        raise DataError(f"LaTeX wrote {len(pdf)} bytes that are no readable PDF: {error}") from error
    try:
        painted = []
        for page, dpi in zip(document, resolutions, strict=False):
            bitmap = page.render(scale=dpi / 72, grayscale=True)
            gray = np.asarray(bitmap.to_numpy(), dtype=np.uint8)
            painted.append(PaintedPage(gray.reshape(gray.shape[:2]).copy(), dpi))
            bitmap.close()
            page.close()
        return painted
    finally:
        document.close()


@dataclass(frozen=True)
class SheetSamples:
    """A typeset sheet and what its samples need to know of it."""

    config: FormulaEngineConfig
    sheet: Sheet
    style: Style
    typeface: Typeface
    typeset: Typeset
    language: str
    index: int
    rng: np.random.Generator

    def make(self, pages: list[PaintedPage], dropped: Counter[str]) -> Iterator[Sample]:
        """Each page of the document, then each table; `dropped` counts what cannot be told exactly."""
        for number, page in enumerate(pages):
            blocks = [block for block in self.sheet.blocks if self._page_of(block) == number]
            faults = [
                self.typeset.faults[block.number] for block in blocks if block.number in self.typeset.faults
            ]
            shown = [block for block in blocks if not block.alone]
            if shown and faults:
                dropped[faults[0]] += 1
            elif shown:
                yield self._page(shown, page, number)
            for block in blocks:
                fault = self.typeset.faults.get(block.number)
                if block.table is not None and fault is None:
                    yield self._table(block, page, number)
                elif block.alone and fault is not None:
                    dropped[fault] += 1

    def _page_of(self, block: Block) -> int | None:
        place = self.typeset.places.get(("block", block.number))
        return None if place is None else place.page

    def _page(self, blocks: list[Block], page: PaintedPage, number: int) -> Sample:
        scale = page.dpi / POINTS_PER_INCH
        outlines = [
            _box(block.kind, self.typeset.places["block", block.number], scale, "object") for block in blocks
        ]
        numbers = {block.number for block in blocks}
        sources, licence = self._provenance(blocks)
        return Sample(
            image=page.gray,
            task="markdown",
            prompt=draw_prompt("markdown", self.language, self.rng),
            answer="\n\n".join(block.markdown for block in blocks),
            language=self.language,
            boxes=(*outlines, *self._marked(numbers, scale)),
            details={
                **self._details(number, page),
                "sources": sources,
                "columns": self.style.columns,
                "blocks": [block.kind for block in blocks],
                "templates": [name for block in blocks for name in block.templates],
            },
            source=sources[0],
            licence=licence,
        )

    def _table(self, block: Block, page: PaintedPage, number: int) -> Sample:
        """The table of a block, cut out of its page with a margin that holds nothing else."""
        table = block.table
        assert table is not None
        scale = page.dpi / POINTS_PER_INCH
        mark = next(m for m in self.sheet.marks if m.block == block.number and m.kind == "table")
        place = self.typeset.places["table", mark.number]
        reach = (2.0, 14.0) if block.alone else (1.5, 4.0)
        sides = [float(self.rng.uniform(*reach)) for _ in range(4)]
        height, width = page.gray.shape
        left = max(0, math.floor((place.left - sides[0]) * scale))
        top = max(0, math.floor((place.top - sides[1]) * scale))
        right = min(width, math.ceil((place.right + sides[2]) * scale))
        bottom = min(height, math.ceil((place.bottom + sides[3]) * scale))
        delimiters = DELIMITERS[self.config.delimiters]
        forms = {"latex": table.latex(delimiters), "html": table.html(delimiters)}
        form = self.config.table_form
        if form == "both":
            form = ("latex", "html")[int(self.rng.integers(2))]
        details = self._details(number, page)
        sources, licence = self._provenance([block])
        details["em"] = round(details["em"] * _TABLE_SIZES[self.style.table_size], 2)
        boxes = (_moved(box, left, top) for box in self._marked({block.number}, scale, within=place))
        return Sample(
            image=np.ascontiguousarray(page.gray[top:bottom, left:right]),
            task="table",
            prompt=draw_prompt("table" if form == "latex" else "table_html", self.language, self.rng),
            answer=forms[form],
            language=self.language,
            boxes=tuple(boxes),
            details={
                **details,
                **forms,
                "sources": sources,
                "form": form,
                "rules": table.rules,
                "rows": table.rows,
                "columns": table.columns,
            },
            source=sources[0],
            licence=licence,
        )

    def _marked(self, blocks: set[int], scale: float, within: Place | None = None) -> Iterator[Box]:
        """Boxes of the formulas, tables and cells of blocks; `within` keeps those inside a table."""
        levels = {"formula": "formula", "cell": "cell", "table": "object"}
        for mark in self.sheet.marks:
            place = self.typeset.places.get((mark.kind, mark.number))
            if mark.block not in blocks or place is None or not mark.label:
                continue
            if within is not None and (mark.kind == "table" or not _inside(place, within)):
                continue
            yield _box(mark.label, place, scale, levels[mark.kind])

    def _details(self, number: int, page: PaintedPage) -> Record:
        return {
            "program": self.typeface.program,
            "font": self.typeface.name,
            "sheet": self.index,
            "page": number,
            "dpi": round(page.dpi, 1),
            "em": round(self.style.size * page.dpi / POINTS_PER_INCH, 2),
        }

    def _provenance(self, blocks: list[Block]) -> tuple[list[str], str]:
        """Sources and licence of what blocks are made of."""
        origins = dict.fromkeys(origin for block in blocks for origin in block.origins)
        origins.pop("made-up", None)
        licence = self.config.licence if origins else "CC0-1.0"
        return list(origins) or ["made-up"], licence


def smallest_em(details: Record) -> float:
    """Size in px of a sample's smallest type: that of scripts."""
    return float(details["em"]) * _SCRIPT_SHARE


def _box(label: str, place: Place, scale: float, level: str) -> Box:
    left, top, right, bottom = (
        round(edge * scale, 2) for edge in (place.left, place.top, place.right, place.bottom)
    )
    return Box(label, left, top, right, bottom, level)


def _moved(box: Box, left: float, top: float) -> Box:
    right, bottom = round(box.right - left, 2), round(box.bottom - top, 2)
    return Box(box.label, round(box.left - left, 2), round(box.top - top, 2), right, bottom, box.level)


def _inside(place: Place, outer: Place) -> bool:
    x, y = (place.left + place.right) / 2, (place.top + place.bottom) / 2
    return outer.left <= x <= outer.right and outer.top <= y <= outer.bottom
