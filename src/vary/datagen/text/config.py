"""The configuration of the text engine."""

from __future__ import annotations

from dataclasses import dataclass

from vary.datagen.corpus import LANGUAGES
from vary.errors import DataError

__all__ = ["ANSWERS", "TextEngineConfig"]

ANSWERS = ("paragraphs", "lines")
_MOST_PAGES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class TextEngineConfig:
    """What the pages of a `TextEngine` are made of."""

    corpus: tuple[str, ...]
    """Text files, one paragraph a line (`.txt`, `.txt.xz`)."""
    seed: int = 0
    split: str = "train"
    """Pages of splits with different names differ, at the same seed."""
    languages: tuple[str, ...] = ("en", "zh")
    language_weights: tuple[float, ...] | None = None
    """How often a document is in each language; None: equally often."""
    mixed_share: float = 0.1
    """Share of documents in both languages, where both are asked for."""
    licence: str = "see the corpus"
    """Licence of the texts, written beside every sample."""
    layouts: tuple[str, ...] | None = None
    """Names of `LAYOUTS`; None: all of them."""
    made_up_share: float = 0.04
    """Share of the paragraphs that are not corpus text: random words, figures, code, punctuation."""
    browser_share: float = 0.25
    """Share of the pages that Chromium typesets."""
    painted_share: float = 0.05
    """Share of the pages that are painted without a typesetter; Typst has the rest."""
    pages_per_draw: int = 16
    """About how many pages one index gives, twice as many of Chromium's: it is started for many at once."""
    exclude_fonts: tuple[str, ...] = ()
    """Patterns of font families to leave out, besides the evaluation's."""
    font_folders: tuple[str, ...] | None = None
    """Where to look for fonts instead of the system's folders."""
    font_sizes: tuple[float, float] = (7.5, 18.0)
    """Bounds of the text's size in points."""
    widest_column: float | None = None
    """Most em of the text in the width of a page without its margins; None: any number."""
    dpi: tuple[float, float] = (72.0, 150.0)
    """Bounds of the resolution of the page images: a reader that sees 1024 px of a page has 88 for an inch of
    A4, and gets the same from 150 as from a finer scan."""
    min_text_px: float = 9.0
    """Smallest em of the text in px of the image: the resolution is raised where it would be smaller."""
    max_side_px: int = 2400
    """Longest side of an image: the resolution is lowered where it would be longer."""
    clean_share: float = 0.45
    """Share of pages without any degradation."""
    answer: str = "paragraphs"
    """Form of the plain text (task `ocr`). `paragraphs`: the lines of a paragraph joined, hyphenation undone,
    a newline between blocks. `lines`: as on the page."""
    markdown_share: float = 0.25
    """Share of pages with the task `markdown` instead of `ocr`."""
    marginals_in_ocr: bool = True
    """Whether headers, footers and page numbers belong to the answer of `ocr`."""
    marginals_in_markdown: bool = False
    """Whether they belong to the answer of `markdown`."""
    word_boxes: bool = True
    """Whether boxes of words stand beside those of lines."""

    def __post_init__(self) -> None:
        self._check_shares()
        for name in ("font_sizes", "dpi"):
            low, high = getattr(self, name)
            if not 1 <= low <= high <= 600:
                raise DataError(f"{name} is ({low}, {high}): expected 1 <= first <= second <= 600")
        if self.widest_column is not None and self.widest_column < 8:
            raise DataError(f"widest_column is {self.widest_column}: expected at least 8 em")
        if not 1 <= self.pages_per_draw <= _MOST_PAGES:
            raise DataError(f"pages_per_draw is {self.pages_per_draw}: expected 1 to {_MOST_PAGES}")
        if not 200 <= self.max_side_px <= 10_000:
            raise DataError(f"max_side_px is {self.max_side_px}: expected 200 to 10000")
        if self.answer not in ANSWERS:
            raise DataError(f"answer is {self.answer!r}: expected one of {', '.join(ANSWERS)}")
        self._check_languages()

    def _check_shares(self) -> None:
        for name in (
            "mixed_share",
            "browser_share",
            "painted_share",
            "made_up_share",
            "clean_share",
            "markdown_share",
        ):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise DataError(f"{name} is {value}: expected a share between 0 and 1")
        if self.browser_share + self.painted_share > 1.0:
            raise DataError(
                f"browser_share {self.browser_share} and painted_share {self.painted_share} are more than 1 "
                "together: Typst has what they leave"
            )

    def _check_languages(self) -> None:
        unknown = sorted(set(self.languages) - set(LANGUAGES))
        if unknown or not self.languages:
            raise DataError(f"languages {list(self.languages)}: expected some of {list(LANGUAGES)}")
        if self.language_weights is not None and len(self.language_weights) != len(self.languages):
            raise DataError(
                f"{len(self.language_weights)} language_weights for {len(self.languages)} languages"
            )

    @property
    def typst_share(self) -> float:
        """Share of the draws that Typst typesets."""
        return max(0.0, 1.0 - self.browser_share - self.painted_share)
