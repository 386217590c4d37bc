"""The configuration of the PDF engine."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vary.errors import DataError

__all__ = ["ANSWERS", "LANGUAGES", "MOST_PAGES", "SHARES", "PdfConfig"]

ANSWERS = ("paragraphs", "lines")
LANGUAGES = ("en", "zh")
SHARES = (("train", 0.94), ("validation", 0.03), ("test", 0.03))
MOST_PAGES = 200
"""Of one document: its pages are held in memory together."""
_BOUNDS = (
    ("max_pages_per_document", 1, MOST_PAGES),
    ("max_side_px", 100, 10_000),
    ("max_broken_share", 0, 1),
    ("max_turned_share", 0, 1),
    ("max_foreign_share", 0, 1),
    ("max_unseen_share", 0, 1),
    ("clean_share", 0, 1),
)


@dataclass(frozen=True, kw_only=True)
class PdfConfig:
    """What is made of PDF files.

    Attributes:
        files: PDF files, and folders that are searched for them.
        split: only the documents of this split are taken.
        shares: the splits and their shares; which one a document belongs to follows from its bytes.
        languages: of `en` (anything in Latin letters) and `zh`; pages in others are left out.
        dpi: bounds of the resolution; one is drawn for each page. A reader that sees 1024 px of a page has 88
            for an inch of A4.
        max_pages_per_document: so many pages are drawn from a longer document.
        answer: `paragraphs`: lines of a paragraph joined, hyphenation undone, a newline between paragraphs;
            `lines`: as on the page.
        min_characters, max_characters: of a page's text; pages beyond are left out.
        max_broken_share: of characters without a meaning: private use, replacement, not mapped, mojibake.
        max_turned_share: of characters that do not stand upright; fewer are left out of the answer.
        max_foreign_share: of words in scripts of other languages.
        max_unseen_share: of words without ink on the painted page.
        max_side_px: the resolution is lowered where a side of the image would be longer.
        word_boxes: whether boxes of words stand beside those of lines.
        clean_share: share of pages without any degradation.
        licence: of the documents.
        seed: of pages, resolutions, wordings and degradations.
    """

    files: tuple[str, ...]
    split: str = "train"
    shares: tuple[tuple[str, float], ...] = SHARES
    languages: tuple[str, ...] = LANGUAGES
    dpi: tuple[float, float] = (72.0, 150.0)
    max_pages_per_document: int = 32
    answer: str = "paragraphs"
    min_characters: int = 50
    max_characters: int = 8000
    max_broken_share: float = 0.005
    max_turned_share: float = 0.02
    max_foreign_share: float = 0.1
    max_unseen_share: float = 0.05
    max_side_px: int = 3000
    word_boxes: bool = True
    clean_share: float = 0.5
    licence: str = "see the documents"
    seed: int = 0

    def __post_init__(self) -> None:
        self._check_splits()
        unknown = sorted(set(self.languages) - set(LANGUAGES))
        if unknown or not self.languages:
            raise DataError(f"languages {list(self.languages)}: expected some of {list(LANGUAGES)}")
        if self.answer not in ANSWERS:
            raise DataError(f"answer is {self.answer!r}: expected one of {', '.join(ANSWERS)}")
        low, high = self.dpi
        if not 20 <= low <= high <= 600:
            raise DataError(f"dpi is ({low}, {high}): expected 20 <= first <= second <= 600")
        if not 1 <= self.min_characters <= self.max_characters:
            raise DataError(
                f"min_characters {self.min_characters}, max_characters {self.max_characters}: expected "
                "1 <= first <= second"
            )
        for name, least, most in _BOUNDS:
            if not least <= getattr(self, name) <= most:
                raise DataError(f"{name} is {getattr(self, name)}: expected {least} to {most}")

    def _check_splits(self) -> None:
        names, values = [name for name, _ in self.shares], [share for _, share in self.shares]
        if self.split not in names:
            raise DataError(f"split {self.split!r}: expected one of {', '.join(names)}")
        if (
            len(set(names)) < len(names)
            or not all(share > 0 for share in values)
            or not math.isclose(sum(values), 1)
        ):
            raise DataError(f"shares {self.shares}: expected different names with shares above 0, 1 together")
