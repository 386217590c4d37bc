"""Formulas and tables to learn to read: documents typeset by LaTeX, page by page, with their Markdown."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vary.datagen.corpus import Corpus
from vary.datagen.degradation import degrade
from vary.datagen.fonts import FontCatalogue, find_fonts
from vary.datagen.formula.composing import Composer
from vary.datagen.formula.configuration import FormulaEngineConfig
from vary.datagen.formula.formats import common_preamble, format_file
from vary.datagen.formula.latex import run_latex
from vary.datagen.formula.pages import SheetSamples, paint_pages, smallest_em
from vary.datagen.formula.phrases import HEADINGS
from vary.datagen.formula.prose import Prose
from vary.datagen.formula.sheet import Sheet
from vary.datagen.formula.spans import DELIMITERS
from vary.datagen.formula.style import POINTS_PER_BIG_POINT, Style, document, draw_style
from vary.datagen.formula.typefaces import Typeface, Typefaces, program_versions
from vary.datagen.provenance import file_records, package_versions, settings_record
from vary.datagen.sample import Draw, Record
from vary.datagen.wording import curled

__all__ = ["FormulaEngine", "FormulaEngineConfig"]


class FormulaEngine:
    """Typesets sheets of pages and tables.

    `fonts` and `corpus` default to what the configuration names.  The engine can be pickled; making one takes
    seconds (fonts are opened and checked), unpickling it does not.

    Raises:
        MissingDependencyError: if LaTeX or a package of it is not installed.
    """

    name = "formula"

    def __init__(
        self,
        config: FormulaEngineConfig,
        *,
        fonts: FontCatalogue | None = None,
        corpus: Corpus | None = None,
    ) -> None:
        self.config = config
        self.corpus = corpus or Corpus.load(config.corpus, config.corpus_languages)
        self.fonts = fonts or find_fonts(exclude=config.exclude_fonts, folders=config.font_folders)
        self.typefaces = Typefaces(
            self.fonts, xelatex_share=config.xelatex_share, computer_modern=config.computer_modern
        )
        self.typefaces.check(config.languages)
        # Made here once: workers, which get the engine pickled, find the files.
        self._formats = {name: format_file(name) for name in self.typefaces.formats(config.languages)}

    @property
    def length(self) -> int | None:
        """None: sheets without end."""
        return None

    def draw(self, index: int) -> Draw:
        """The pages and tables of sheet `index`.

        Raises:
            DataError: if LaTeX does not finish in time.
        """
        config = self.config
        rng = self._rng(index)
        sheet, style, typeface, language, running = self._sheet(rng)
        typeset = run_latex(
            typeface.program,
            document(sheet, style, typeface, running),
            height=style.paper[1] * POINTS_PER_BIG_POINT,
            first_page=style.first_page,
            files=typeface.files,
            start=self._start(typeface.format),
            time_limit=config.time_limit,
        )
        counts, dropped = Counter({"sheets": 1}), Counter[str]()
        if typeset.error is not None:
            return Draw((), counts, Counter({"LaTeX refused the sheet": 1}))
        dropped["block too large for its page"] += len(typeset.left_out)
        pages = paint_pages(typeset.pdf, self._resolutions(style, rng))
        made = SheetSamples(config, sheet, style, typeface, typeset, language, index, rng)
        samples = [
            degrade(sample, rng, clean_share=config.clean_share, em=smallest_em(dict(sample.details)))
            for sample in made.make(pages, dropped)
        ]
        counts["pages"] = sum(sample.task == "markdown" for sample in samples)
        counts["tables"] = len(samples) - counts["pages"]
        return Draw(tuple(samples), counts, +dropped)

    def source(self, index: int) -> str:
        """The LaTeX document of sheet `index`, to look at."""
        rng = self._rng(index)
        sheet, style, typeface, _, running = self._sheet(rng)
        return common_preamble(typeface.format) + document(sheet, style, typeface, running)

    def describe(self) -> Record:
        """What the samples depend on: settings, hashes of the corpus, fonts, versions."""
        return {
            "split": self.config.split,
            "seed": self.config.seed,
            "config": settings_record(
                self.config, leave_out=("seed", "split", "corpus", "font_folders", "time_limit")
            ),
            "files": file_records(self.config.corpus),
            "fonts": self.typefaces.describe(),
            "versions": {**package_versions("fonttools", "pypdfium2"), **program_versions()},
        }

    def _start(self, name: str) -> Path:
        """The file of a format; one of this process where that of the first has gone or is elsewhere."""
        path = self._formats[name]
        return path if path.is_file() else format_file(name)

    def _rng(self, index: int) -> np.random.Generator:
        return np.random.default_rng([self.config.seed, zlib.crc32(self.config.split.encode()), index])

    def _resolutions(self, style: Style, rng: np.random.Generator) -> Iterator[float]:
        """A resolution for each page, such that the type is not smaller than it may be."""
        low, high = self.config.dpi
        low = min(high, max(low, 72 * self.config.smallest_em / style.size))
        while True:
            yield float(np.exp(rng.uniform(np.log(low), np.log(high))))

    def _sheet(self, rng: np.random.Generator) -> tuple[Sheet, Style, Typeface, str, str]:
        """The sheet, its look, its fonts, its language and its running head."""
        config = self.config
        weights = np.array(config.language_weights or [1.0] * len(config.languages))
        language = config.languages[int(rng.choice(len(weights), p=weights / weights.sum()))]
        style = draw_style(rng, language, config.two_columns_share)
        typeface = self.typefaces.draw(language, rng)
        curl = curled if rng.random() < 0.7 else None
        prose = Prose(self.corpus, language, rng, typeface.shows, depth=config.depth, curl=curl)
        sheet = Sheet(typeface.program, DELIMITERS[config.delimiters])
        blocks, tables = (int(rng.integers(low, high + 1)) for low, high in (config.blocks, config.tables))
        Composer(sheet, prose, style, rng).compose(blocks, tables)
        return sheet, style, typeface, language, prose.pick(HEADINGS[prose.main])
