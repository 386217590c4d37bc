"""Whole pages of text: documents drawn from a corpus, typeset, checked against their text, and degraded."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vary.datagen.corpus import Corpus
from vary.datagen.degradation import degrade
from vary.datagen.fonts import FontCatalogue, FontFace, find_fonts
from vary.datagen.prompts import draw_prompt
from vary.datagen.provenance import file_records, package_versions, settings_record
from vary.datagen.sample import Box, Draw, Record, Sample
from vary.datagen.text.answers import line_text, markdown, paragraph_text
from vary.datagen.text.browser import browser_version, find_browser, print_html
from vary.datagen.text.config import TextEngineConfig
from vary.datagen.text.content import Document, Style
from vary.datagen.text.families import Family, FamilyList
from vary.datagen.text.html_source import WIDTH_STEP, html_source, page_fonts, sheet_widths
from vary.datagen.text.layouts import BROWSER, PAINTER, TYPST
from vary.datagen.text.matching import Matcher, PageMismatch, PrintedPage
from vary.datagen.text.painter import PaintedPages
from vary.datagen.text.pdf_glyphs import PageGlyphs, PdfPages
from vary.datagen.text.typst_pages import typeset, typst_fonts
from vary.datagen.text.typst_source import TypstFont
from vary.datagen.text.writing import check_layouts, draw_document

__all__ = ["TextEngine", "TypesetPage"]

_LOST = frozenset(
    {"text differs", "header differs", "footer differs", "footnote missing", "glyph without ink"}
)
"""After these the place in the document's text is not known, and its other pages cannot be checked."""
_MOST_PAGES_OF_A_DOCUMENT = 4
_BROWSER_SHEETS = 2
"""Chromium prints so many times as many pages at once: its start takes as long as they do."""


@dataclass(frozen=True)
class TypesetPage:
    """A checked page of a document, its image in uint8, and how many px a point has on it."""

    document: Document
    printed: PrintedPage
    image: NDArray[np.uint8]
    scale: float
    renderer: str


class TextEngine:
    """Pages of text by number; an index gives a sheet of documents, about `pages_per_draw` pages, or twice
    as many where Chromium sets them.

    `fonts` and `corpus` default to what the configuration names; pass them to share them between engines.
    Making an engine takes seconds (fonts are opened and checked), unpickling it does not.

    Raises:
        DataError: if a layout, a font or a text is missing.
        MissingDependencyError: if Typst or Chromium has a share and is not installed.
    """

    name = "text"

    def __init__(
        self, config: TextEngineConfig, *, fonts: FontCatalogue | None = None, corpus: Corpus | None = None
    ) -> None:
        self.config = config
        check_layouts(config.layouts)
        if config.browser_share:
            find_browser()  # before what takes longer
        self.corpus = corpus or Corpus.load(config.corpus, config.languages)
        self.fonts = fonts or find_fonts(exclude=config.exclude_fonts, folders=config.font_folders)
        self._families = FamilyList.of(self.fonts)
        self._typst: dict[FontFace, TypstFont] = typst_fonts(self.fonts) if config.typst_share else {}

    @property
    def length(self) -> None:
        """It can go on for ever."""
        return None

    @cached_property
    def _usable(self) -> dict[str, list[bool]]:
        """By renderer, which families it can take."""
        families = self._families.families
        return {
            TYPST: [all(face in self._typst for face in family.faces) for family in families],
            # The instances of a variable font cannot be told apart by file and number.
            BROWSER: [not any("[" in face.path for face in family.faces) for family in families],
            PAINTER: [True] * len(families),
        }

    def describe(self) -> Record:
        """Settings, texts, fonts and versions."""
        config = self.config
        versions: dict[str, Any] = dict(package_versions("fonttools", "typst", "pypdfium2"))
        if config.browser_share:
            versions["chromium"] = browser_version()
        return {
            "split": config.split,
            "seed": config.seed,
            "config": settings_record(config, leave_out=("seed", "split", "corpus", "font_folders")),
            "files": file_records(config.corpus),
            "fonts": {family: [f.style for f in faces] for family, faces in self.fonts.by_family().items()},
            "versions": versions,
        }

    def draw(self, index: int) -> Draw:
        """The samples of the documents of sheet `index`."""
        config = self.config
        rng = np.random.default_rng([config.seed, zlib.crc32(config.split.encode()), index])
        # Of draws, not of pages: one of Chromium's has twice the pages.
        shares = np.array([config.typst_share, config.browser_share / _BROWSER_SHEETS, config.painted_share])
        renderer = (TYPST, BROWSER, PAINTER)[int(rng.choice(3, p=shares / shares.sum()))]
        dropped: Counter[str] = Counter()
        counts: Counter[str] = Counter()
        samples = []
        for page in self.pages(renderer, rng, dropped):
            sample = self._sample(page, rng)
            counts.update((f"layouts/{page.document.layout}", f"renderers/{renderer}"))
            samples.append(sample)
        return Draw(tuple(samples), counts, dropped)

    # documents and pages

    def pages(
        self,
        renderer: str,
        rng: np.random.Generator,
        dropped: Counter[str],
        languages: Sequence[str | None] = (None,),
    ) -> Iterator[TypesetPage]:
        """The checked pages of a sheet; what cannot be used is counted in `dropped`.

        `languages` are those of its documents in turn, None for one that is drawn.
        """
        documents = self._documents(renderer, rng, dropped, languages)
        if renderer == BROWSER:
            yield from self._printed(documents, rng, dropped)
            return
        for document in documents:
            scale = self._scale(document, rng)
            if renderer == PAINTER:
                oversample = 2 if document.style.size * scale < 30 and rng.random() < 0.6 else 1
                painted = PaintedPages(document, self._families, scale, oversample)
                numbers = range(min(len(painted), document.pages))
                yield from self._checked(document, painted, numbers, scale, renderer, dropped)
                continue
            with PdfPages(typeset(document, self._families, self.fonts, self._typst)) as pdf:
                numbers = range(min(len(pdf), document.pages))
                yield from self._checked(document, pdf, numbers, scale, renderer, dropped)

    def _documents(
        self,
        renderer: str,
        rng: np.random.Generator,
        dropped: Counter[str],
        languages: Sequence[str | None],
    ) -> list[Document]:
        documents: list[Document] = []
        left = self.config.pages_per_draw * (_BROWSER_SHEETS if renderer == BROWSER else 1)
        while left > 0:
            pages = min(left, 1 + int(rng.integers(_MOST_PAGES_OF_A_DOCUMENT)))
            language = languages[len(documents) % len(languages)]
            document = draw_document(
                self.config,
                self.corpus,
                self._families,
                self._usable[renderer],
                renderer,
                pages,
                rng,
                language,
            )
            documents.append(document)
            left -= document.pages
        return documents

    def _printed(
        self, documents: list[Document], rng: np.random.Generator, dropped: Counter[str]
    ) -> Iterator[TypesetPage]:
        """The pages of documents that Chromium prints in one file."""
        widths = sheet_widths(documents)
        scales = [self._scale(document, rng) for document in documents]
        with PdfPages(
            print_html(html_source(documents, self._families), page_fonts(documents, self._families))
        ) as pdf:
            owners = [_owner(pdf.width(number), widths) for number in range(len(pdf))]
            for which, document in enumerate(documents):
                numbers = [number for number, owner in enumerate(owners) if owner == which]
                if not numbers:
                    dropped["page not printed"] += 1
                    continue
                first = document.first_page // 100 * 100 + numbers[0] + 1
                document = replace(document, first_page=first)
                chosen = numbers[: document.pages]
                yield from self._checked(document, pdf, chosen, scales[which], BROWSER, dropped)

    def _checked(
        self,
        document: Document,
        pages: PdfPages | PaintedPages,
        numbers: Sequence[int],
        scale: float,
        renderer: str,
        dropped: Counter[str],
    ) -> Iterator[TypesetPage]:
        matcher = Matcher(document)
        for place, number in enumerate(numbers):
            glyphs: PageGlyphs = pages.glyphs(number)
            try:
                printed = matcher.match(glyphs)
            except PageMismatch as mismatch:
                reason = str(mismatch)
                lost = reason in _LOST
                dropped[reason] += len(numbers) - place if lost else 1
                if lost:
                    return
                continue
            if isinstance(pages, PdfPages):
                image = pages.image(number, scale, coloured=document.style.coloured)
            else:
                painted = pages.image(number)
                if painted is None:
                    dropped["not painted whole"] += 1
                    continue
                image = painted
            yield TypesetPage(document, printed, image, scale, renderer)

    def _scale(self, document: Document, rng: np.random.Generator) -> float:
        """Px of the image a point."""
        config = self.config
        low, high = np.log(config.dpi)
        scale = float(np.exp(rng.uniform(low, high))) / 72.0
        style = document.style
        scale = max(scale, config.min_text_px / (0.8 * style.size))
        return min(scale, config.max_side_px / max(style.width, style.height))

    def family_of(self, style: Style) -> Family:
        """The family of a style's running text."""
        return self._families.of_style(style)[0][-1]

    # samples

    def _sample(self, page: TypesetPage, rng: np.random.Generator) -> Sample:
        config, document = self.config, page.document
        # The painter has one font and no bold letters: its pages do not show what Markdown would tell.
        task = "markdown" if page.renderer != PAINTER and rng.random() < config.markdown_share else "ocr"
        if task == "markdown":
            answer = markdown(page.printed, document, marginals=config.marginals_in_markdown)
        else:
            write = line_text if config.answer == "lines" else paragraph_text
            answer = write(page.printed, document, marginals=config.marginals_in_ocr)
        style = document.style
        sources = _sources(page)
        sample = Sample(
            image=page.image,
            task=task,
            prompt=draw_prompt(task, document.language, rng),
            answer=answer,
            source=sources[0],
            licence=config.licence,
            language=document.language,
            boxes=tuple(page_boxes(page, words=config.word_boxes)),
            details={
                "layout": document.layout,
                "renderer": page.renderer,
                "fonts": sorted({family.name for s in self._families.of_style(style)[:2] for family in s}),
                "size": round(style.size * page.scale, 2),
                "dpi": round(72 * page.scale, 1),
                "page": page.printed.number,
                "sources": sources,
            },
        )
        em = 0.82 * style.size * page.scale
        return degrade(sample, rng, clean_share=config.clean_share, em=em)


def _owner(width: float, widths: Sequence[float]) -> int:
    """The number of the document whose pages are so wide."""
    number = int(np.argmin([abs(width - other) for other in widths]))
    return number if abs(widths[number] - width) < WIDTH_STEP / 2 else -1


def _sources(page: TypesetPage) -> list[str]:
    """Where the texts of a page come from, each once, in order."""
    blocks = page.document.blocks
    numbers = [line.piece.block for line in page.printed.lines if line.piece.block >= 0]
    found = [blocks[number].source for number in dict.fromkeys(numbers)]
    return [source for source in dict.fromkeys(found) if source != "made-up"] or ["made-up"]


def page_boxes(page: TypesetPage, *, words: bool) -> Iterator[Box]:
    """The boxes of a page's lines in reading order, each followed by those of its words, in px."""
    height, width = page.image.shape[:2]
    texts: list[tuple[str, str]] = []
    places: list[tuple[float, float, float, float]] = []
    for line in page.printed.lines:
        texts.append((line.text, "line"))
        places.append(line.box)
        if words:
            texts += [(word.text, "word") for word in line.words]
            places += [word.box for word in line.words]
    corners = np.array(places).reshape(-1, 4) * page.scale
    corners = np.clip(corners, 0.0, (width, height, width, height)).round(2)
    for (text, level), (left, top, right, bottom) in zip(texts, corners.tolist(), strict=True):
        yield Box(text, left, top, right, bottom, level)
