"""What the sheets of a `FormulaEngine` are made of."""

from __future__ import annotations

from dataclasses import dataclass

from vary.datagen.formula.spans import DELIMITERS
from vary.errors import DataError

__all__ = ["SHEET_LANGUAGES", "TABLE_FORMS", "FormulaEngineConfig"]

SHEET_LANGUAGES = ("en", "zh", "mixed")
TABLE_FORMS = ("latex", "html", "both")


@dataclass(frozen=True, slots=True, kw_only=True)
class FormulaEngineConfig:
    """One index is one *sheet*: a document of some pages, typeset in one run of LaTeX, and tables after it.

    Each page becomes a sample of the task `markdown`, each table one of the task `table`.
    """

    corpus: tuple[str, ...]
    """Text files, one paragraph a line (`.txt`, `.txt.xz`)."""
    seed: int = 0
    split: str = "train"
    """Sheets of splits with different names differ, at the same seed."""
    languages: tuple[str, ...] = ("en",)
    """Some of `en`, `zh`, `mixed`; `mixed` takes its sentences from both languages."""
    language_weights: tuple[float, ...] | None = None
    """How often a sheet is in each language; None: equally often."""
    licence: str = "see the corpus"
    """Licence of the texts, written beside every sample."""
    exclude_fonts: tuple[str, ...] = ()
    """Patterns of font families to leave out, besides the evaluation's."""
    font_folders: tuple[str, ...] | None = None
    """Where to look for XeLaTeX's text fonts instead of the system's folders."""
    clean_share: float = 0.45
    """Share of images without any degradation."""
    blocks: tuple[int, int] = (14, 30)
    """Bounds of a sheet's blocks: paragraphs, headings, formulas, lists, tables; about seven fill a page."""
    tables: tuple[int, int] = (1, 4)
    """Bounds of the tables that stand after the document, for the task `table` alone."""
    table_form: str = "latex"
    """Form of the answers to `table`: `latex`, `html`, or `both`, one in two each."""
    delimiters: str = "brackets"
    """What stands around formulas: `brackets`, as Mathpix has it, or `dollars`."""
    dpi: tuple[float, float] = (72.0, 200.0)
    """Bounds of the pages' resolution."""
    smallest_em: float = 11.0
    """Smallest type in px: low resolutions come with large type only."""
    xelatex_share: float = 0.5
    """Share of English sheets that XeLaTeX typesets, in the installed fonts; Chinese ones always are."""
    depth: int = 3
    """How far fractions, roots and brackets may be nested, 1 to 4."""
    two_columns_share: float = 0.2
    """Share of documents in two columns."""
    computer_modern: bool = False
    """Set half of pdfLaTeX's sheets in LaTeX's own fonts, which are held out for evaluation otherwise."""
    time_limit: float = 120.0
    """Seconds that LaTeX may take for a sheet."""

    def __post_init__(self) -> None:
        _check_bounds("blocks", self.blocks, 1, 200)
        _check_bounds("tables", self.tables, 0, 60)
        _check_bounds("dpi", self.dpi, 36, 600)
        _check_bounds("depth", (self.depth, self.depth), 1, 4)
        _check_bounds("time_limit", (self.time_limit, self.time_limit), 1, 3600)
        _check_bounds("smallest_em", (self.smallest_em, self.smallest_em), 0, 100)
        for name in ("clean_share", "xelatex_share", "two_columns_share"):
            value = getattr(self, name)
            _check_bounds(name, (value, value), 0, 1)
        unknown = [language for language in self.languages if language not in SHEET_LANGUAGES]
        if unknown or not self.languages:
            raise DataError(f"languages {list(self.languages)}: expected some of {list(SHEET_LANGUAGES)}")
        if self.language_weights is not None and (
            len(self.language_weights) != len(self.languages)
            or min(self.language_weights) < 0
            or sum(self.language_weights) <= 0
        ):
            raise DataError(
                f"language_weights {self.language_weights}: expected {len(self.languages)} numbers of at "
                "least 0, not all 0, one for each language"
            )
        for name, known in (("table_form", TABLE_FORMS), ("delimiters", tuple(DELIMITERS))):
            if getattr(self, name) not in known:
                raise DataError(f"{name} is {getattr(self, name)!r}: expected one of {', '.join(known)}")

    @property
    def corpus_languages(self) -> tuple[str, ...]:
        """The languages whose texts are needed."""
        return ("en", "zh") if "mixed" in self.languages else self.languages


def _check_bounds(name: str, bounds: tuple[float, float], low: float, high: float) -> None:
    if not low <= bounds[0] <= bounds[1] <= high:
        found = f"{bounds[0]:g}" if bounds[0] == bounds[1] else f"({bounds[0]:g}, {bounds[1]:g})"
        raise DataError(f"{name} is {found}: expected numbers from {low:g} to {high:g}, the smaller first")
