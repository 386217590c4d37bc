"""What a page of text looks like: its configuration, and the plan of one page drawn from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from vary.datagen.corpus import Corpus
from vary.datagen.fonts import FontCatalogue, FontFace
from vary.datagen.lines.layout import LineLimits, break_paragraph, justify
from vary.datagen.lines.painting import LinePlan, PagePlan, Typesetter
from vary.datagen.wording import Writer, allowed_text
from vary.errors import DataError
from vary.inputs.windows import TEXT_SHARE

__all__ = ["FontFamilies", "LineEngineConfig", "PagePlanner"]

FontFamilies = tuple[list[tuple[FontFace, ...]], NDArray[np.float64]]
"""The faces of every family and the probabilities of the families."""

_ALIGNMENTS = ("left", "justified", "centred", "right")
_LIST_SHARE = 0.06
"""Of the paragraphs, those that are items of a list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineEngineConfig:
    """What the pages of a `LineEngine` are made of.

    A curriculum asks for short lines first: `max_chars`, `max_words` and `max_width_px` bound what is
    *painted* on a line (nothing is cut off), so that a page of short lines has no less text.
    """

    corpus: tuple[str, ...]
    """Text files, one paragraph a line (`.txt`, `.txt.xz`)."""
    seed: int = 0
    split: str = "train"
    """Pages of splits with different names differ, at the same seed."""
    languages: tuple[str, ...] = ("en",)
    language_weights: tuple[float, ...] | None = None
    """How often a page is in each language; None: equally often."""
    licence: str = "see the corpus"
    """Licence of the texts, written beside every sample."""
    exclude_fonts: tuple[str, ...] = ()
    """Patterns of font families to leave out, besides the evaluation's."""
    font_folders: tuple[str, ...] | None = None
    """Where to look for fonts instead of the system's folders."""
    clean_share: float = 0.45
    """Share of pages without any degradation."""
    made_up_share: float = 0.2
    """Share of the paragraphs that are not corpus text: random words, figures, code, punctuation."""
    rare_share: float = 0.0
    """Share of the paragraphs that are chosen for a character that they have, every character of the corpus
    as often as any other: a rare one of thousands comes up often enough to be learned."""
    characters: str = ""
    """Characters that are to be learned and that the corpus has too seldom, or not at all: most of the
    paragraphs of `rare_share` are written with them."""
    typeset_share: float = 0.0
    """Share of pages that Typst sets, with headings, lists, columns and full justification, instead of the
    painter; their lines have the lengths that come of it, and longer ones than are wanted are left out."""
    min_chars: int = 1
    max_chars: int = 120
    """Bounds of the characters of a line."""
    max_words: int | None = None
    columns: tuple[int, int] = (6, 100)
    """Bounds of the column's width in characters."""
    max_width_px: int = 1024
    """Widest cut line, in px of the window."""
    line_height: int = 32
    lines_per_page: tuple[int, int] = (10, 36)
    font_sizes: tuple[float, float] = (11.0, 40.0)
    """Bounds of the em in page px; smaller sizes come more often than larger ones."""
    jitter: float = 1.0
    """Scale of the random errors of position and size added when lines are cut; 0: none."""

    def __post_init__(self) -> None:
        for name, (low, high) in {
            "columns": self.columns,
            "lines_per_page": self.lines_per_page,
            "font_sizes": self.font_sizes,
            "min_chars, max_chars": (self.min_chars, self.max_chars),
        }.items():
            if not 1 <= low <= high:
                raise DataError(f"{name} is ({low}, {high}): expected 1 <= first <= second")
        for name in ("made_up_share", "rare_share", "typeset_share"):
            if not 0.0 <= (share := getattr(self, name)) <= 1.0:
                raise DataError(f"{name} is {share}: expected a share between 0 and 1")
        if self.characters and not self.rare_share:
            raise DataError(
                "characters are given, and rare_share, of the paragraphs they come in, is 0: raise it"
            )
        if self.max_width_px < 2 * self.line_height:
            raise DataError(
                f"max_width_px is {self.max_width_px}: expected at least {2 * self.line_height} (two heights)"
            )
        if self.language_weights is not None and len(self.language_weights) != len(self.languages):
            raise DataError(
                f"{len(self.language_weights)} language_weights for {len(self.languages)} languages"
            )


class PagePlanner:
    """Draws one page's plan: font, size, column, spacing, texts."""

    def __init__(
        self,
        config: LineEngineConfig,
        corpus: Corpus,
        families: FontFamilies,
        language: str,
        rng: np.random.Generator,
    ) -> None:
        self.config, self.families, self.language, self.rng = config, families, language, rng
        low, high = np.log(config.font_sizes)
        self.size = float(np.exp(low + (high - low) * rng.beta(1.3, 1.7)))
        if rng.random() < 0.5:
            self.size = float(round(self.size))
        self.scale = 2 if rng.random() < 0.45 and self.size <= 30 else 1
        self.raqm = bool(rng.random() < 0.5)
        self.tracking = float(rng.uniform(-0.02, 0.12) * self.size) if rng.random() < 0.08 else 0.0
        self.alignment = str(rng.choice(_ALIGNMENTS, p=[0.55, 0.33, 0.07, 0.05]))
        self.pitch = self.size * float(1.0 + 0.8 * rng.beta(1.6, 2.6))
        self.hyphenate = bool(rng.random() < 0.15)
        self.writer = Writer(
            *(corpus, language, rng, config.made_up_share, config.rare_share, config.characters),
            list_share=_LIST_SHARE,
            paints=lambda character: not self.face.missing(character),
        )
        self.face = self._draw_face()

    @property
    def font(self) -> Typesetter:
        """The page's font, at the size in which it is painted."""
        return Typesetter.make(self.face, self.size * self.scale, self.raqm)

    def _draw_face(self) -> FontFace:
        groups, shares = self.families
        faces = groups[int(self.rng.choice(len(groups), p=shares))]
        weights = np.array([FontCatalogue.face_weight(face) for face in faces])
        return faces[int(self.rng.choice(len(faces), p=weights / weights.sum()))]

    @cached_property
    def column(self) -> tuple[float, LineLimits]:
        """The column's width in page px and what its lines may hold (in px of the painted font)."""
        config, rng = self.config, self.rng
        low, high = config.columns
        high = max(low, min(high, config.max_chars))
        characters = float(rng.uniform(low, high))
        if self.language == "zh":
            characters *= 0.55
        em = self.size * self.scale
        sample = "国" if self.language == "zh" else "the quick brown fox jumps over a lazy dog, 1875."
        mean = self.font.advance(sample) / len(sample)
        top, bottom = self.font.bounds("dp")[1::2]
        widest = 0.9 * config.max_width_px / (config.line_height * TEXT_SHARE) * (bottom - top)
        width = min(max(mean * characters, 2.5 * em), widest)
        limit = LineLimits(
            width - self.tracking * self.scale * characters, config.max_chars, config.max_words
        )
        return width / self.scale, limit

    def plan(self) -> PagePlan:
        """The page's plan."""
        rng = self.rng
        count = int(rng.integers(self.config.lines_per_page[0], self.config.lines_per_page[1] + 1))
        width, limits = self.column
        texts = self._texts(count, limits)
        margin = float(rng.uniform(0.7, 2.5) * self.size) + 4
        font = self.font
        lines: list[LinePlan] = []
        baseline = margin + self.size
        indent = float(rng.uniform(1, 2.5) * self.size) if rng.random() < 0.25 else 0.0
        paragraph_gap = float(rng.choice([0.0, 0.5, 1.0], p=[0.5, 0.3, 0.2])) * self.pitch
        underlined_page = rng.random() < 0.07
        for text, source, first, last in texts:
            if first and lines:
                baseline += paragraph_gap
            natural = font.advance(text) / self.scale + self.tracking * len(text)
            start = indent if first and indent + natural <= width else 0.0
            gap = 0.0
            if self.alignment == "justified" and not last:
                gap = justify(text, natural, width - start, self.size)
            slack = max(0.0, width - natural)
            start += {"centred": slack / 2, "right": slack}.get(self.alignment, 0.0)
            underlined: tuple[int, ...] = ()
            if underlined_page and rng.random() < 0.3:
                words = text.count(" ") + 1
                begin = int(rng.integers(words))
                underlined = tuple(range(begin, min(words, begin + int(rng.integers(1, 8)))))
            lines.append(LinePlan(text, source, margin + start, baseline, gap, underlined))
            baseline += self.pitch
        paper, ink = self._colours()
        return PagePlan(
            face=self.face,
            size=self.size,
            width=math.ceil(width + 2 * margin + 0.5 * self.size),
            height=math.ceil(baseline - self.pitch + 0.5 * self.size + margin),
            lines=tuple(lines),
            scale=self.scale,
            raqm=self.raqm,
            tracking=self.tracking,
            paper=paper,
            ink=ink,
        )

    def _texts(self, count: int, limits: LineLimits) -> list[tuple[str, str, bool, bool]]:
        """Lines of text: text, source, and whether it is the first and the last of its paragraph."""
        texts: list[tuple[str, str, bool, bool]] = []
        widths: dict[str, float] = {}
        font = self.font
        failures, painted = 0, set(" ")  # the characters that the face is known to paint
        while len(texts) < count:
            length = int(limits.width / (0.5 * font.size) * self.rng.uniform(0.3, 2.5)) + 1
            paragraph = self.writer.paragraph(length)
            unseen = set(paragraph.text) - painted
            if not allowed_text(paragraph.text, self.language) or self.face.missing(unseen):
                failures += 1
                if failures > 60:
                    self.face, failures = self._draw_face(), 0
                    widths, font, painted = {}, self.font, set(" ")
                continue
            painted |= unseen
            text = self._excerpt(paragraph.text, count * 3)
            broken = break_paragraph(text, font, limits, widths, hyphenate=self.hyphenate)
            lines = list(islice(broken, max(2, count // 2)))
            last = len(lines) - 1
            texts += [
                (line, paragraph.source, number == 0, number == last)
                for number, line in enumerate(lines)
                if line.strip() == line and line
            ]
        return texts[:count]

    def _excerpt(self, text: str, words: int) -> str:
        """A part of a long paragraph, so that every part of it is seen on narrow columns too."""
        if self.language == "zh":
            if len(text) <= 4 * words:
                return text
            start = int(self.rng.integers(len(text) - words))
            return text[start : start + 4 * words].strip()
        parts = text.split(" ")
        if len(parts) <= 2 * words or self.rng.random() < 0.4:
            return text
        start = int(self.rng.integers(len(parts) - words))
        return " ".join(parts[start:])

    def _colours(self) -> tuple[int, int]:
        rng = self.rng
        kind = rng.random()
        if kind < 0.62:
            return 255, 0
        if kind < 0.92:
            return int(rng.integers(200, 256)), int(rng.integers(0, 110))
        if kind < 0.96:
            paper = int(rng.integers(120, 200))
            return paper, max(0, paper - int(rng.integers(90, 200)))
        return int(rng.integers(0, 90)), int(rng.integers(180, 256))
