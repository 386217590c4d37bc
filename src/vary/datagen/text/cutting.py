"""Pages typeset by Typst as the line engine takes them: a gray page and the true place of each line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from vary.datagen.corpus import Corpus
from vary.datagen.fonts import FontCatalogue
from vary.datagen.lines.painting import LinePage, LinePlan, PaintedLine
from vary.datagen.lines.planning import LineEngineConfig
from vary.datagen.text.config import TextEngineConfig
from vary.datagen.text.engine import TextEngine, TypesetPage
from vary.datagen.text.layouts import TYPST
from vary.datagen.text.matching import PrintedLine
from vary.inputs.windows import TEXT_SHARE

__all__ = ["LINE_LAYOUTS", "TypesetLines", "rows_of"]

LINE_LAYOUTS = (
    *("plain", "article", "two columns", "newspaper", "book", "footnotes", "letter", "poem", "dialogue"),
    *("lists", "code", "dictionary", "index", "questions"),
)
"""The layouts whose lines stand alone in their rows, mostly, as the reader finds them."""

_POINTS_PER_INCH = 72.0
_WIDEST_GAP = 1.6
"""Of two texts in one row that are one line, em."""


class TypesetLines:
    """Pages for a `LineEngine`, from the corpus, fonts and sizes of its configuration.

    Raises:
        MissingDependencyError: where Typst is not installed.
    """

    def __init__(self, config: LineEngineConfig, fonts: FontCatalogue, corpus: Corpus) -> None:
        low, high = config.font_sizes
        settings = TextEngineConfig(
            corpus=config.corpus,
            seed=config.seed,
            split=config.split,
            languages=config.languages,
            language_weights=config.language_weights,
            mixed_share=0.0,
            licence=config.licence,
            layouts=LINE_LAYOUTS,
            browser_share=0.0,
            painted_share=0.0,
            pages_per_draw=1,
            font_sizes=(8.0, 14.0),
            dpi=(max(36.0, _POINTS_PER_INCH * low / 8.0), min(300.0, _POINTS_PER_INCH * high / 14.0)),
            min_text_px=low,
            widest_column=max(8.0, 0.85 * config.max_width_px / (TEXT_SHARE * config.line_height)),
            made_up_share=min(1.0, config.made_up_share),
        )
        self._engine = TextEngine(settings, fonts=fonts, corpus=corpus)

    def page(self, rng: np.random.Generator, language: str) -> tuple[LinePage | None, Counter[str]]:
        """A page in `language` and why there is none; what it shows depends on the state of `rng`."""
        dropped: Counter[str] = Counter()
        for page in self._engine.pages(TYPST, rng, dropped, (language,)):
            return _line_page(self._engine, page, language), dropped
        return None, dropped


def _line_page(engine: TextEngine, page: TypesetPage, language: str) -> LinePage:
    style = page.document.style
    family = engine.family_of(style)
    size = style.size * page.scale
    blocks = page.document.blocks
    lines = []
    for row in rows_of(page.printed.lines, style.size):
        box = np.array([line.box for line in row]) * page.scale
        cores = np.array([line.core for line in row]) * page.scale
        block = row[0].piece.block
        lines.append(
            PaintedLine(
                plan=LinePlan(
                    text=" ".join(line.text for line in row),
                    source=blocks[block].source if block >= 0 else "made-up",
                    left=float(box[:, 0].min()),
                    baseline=float(cores[-1, 1]),
                ),
                left=float(box[:, 0].min()),
                top=float(box[:, 1].min()),
                right=float(box[:, 2].max()),
                bottom=float(box[:, 3].max()),
                core_top=float(cores[-1, 0]),
                core_bottom=float(cores[-1, 1]),
            )
        )
    return LinePage(_gray(page.image), lines, size, family.regular.name, family.name, language)


def rows_of(lines: Sequence[PrintedLine], size: float) -> list[list[PrintedLine]]:
    """Lines grouped to what reads as one: an item's marker and its text, a label and its value nearby.

    `size` is the em in points.
    """
    rows: list[list[PrintedLine]] = []
    for line in lines:
        if rows and line.piece.before == " " and line.piece is not rows[-1][-1].piece:
            last = rows[-1][-1]
            middle = (line.core[0] + line.core[1]) / 2
            near = 0 <= line.box[0] - last.box[2] <= _WIDEST_GAP * size
            if near and last.box[1] - size / 2 <= middle <= last.box[3] + size / 2:
                rows[-1].append(line)
                continue
        rows.append([line])
    return rows


def _gray(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if image.ndim == 2:
        return image
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
