"""Text lines to learn to read: pages painted from a corpus, found and cut by the reader's own code.

`TextEngine(config).page(index)` depends on the configuration and the index alone, whatever process asks for it.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vary.datagen.corpus import Corpus
from vary.datagen.degradation import Degradation, Geometry, draw_degradation
from vary.datagen.fonts import COMMON_CHINESE, FontCatalogue, FontFace, find_fonts
from vary.datagen.layout import LineLimits, break_paragraph, justify
from vary.datagen.painting import LinePlan, PagePlan, PaintedLine, Typesetter, match_lines, paint_page
from vary.datagen.wording import Writer, allowed_text
from vary.errors import DataError
from vary.inputs.windows import TEXT_SHARE, CutJitter, cut_line, find_lines

__all__ = ["LineSample", "PageSamples", "TextEngine", "TextEngineConfig"]

_ALIGNMENTS = ("left", "justified", "centred", "right")


@dataclass(frozen=True, slots=True, kw_only=True)
class TextEngineConfig:
    """What the pages of a `TextEngine` are made of.

    A curriculum asks for short lines first: `max_chars`, `max_words` and `max_width_px` bound what is *painted* on a
    line (nothing is cut off), so that a page of short lines has no less text.
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
        if self.max_width_px < 2 * self.line_height:
            raise DataError(
                f"max_width_px is {self.max_width_px}: expected at least twice line_height = {2 * self.line_height}"
            )
        if self.language_weights is not None and len(self.language_weights) != len(self.languages):
            raise DataError(f"{len(self.language_weights)} language_weights for {len(self.languages)} languages")


@dataclass(frozen=True, slots=True)
class LineSample:
    """A cut text line and exactly what is written on it.

    `image`: uint8 (line_height, W), dark text on light; `box`: left, top, right, bottom of its ink on the page in px,
    before deskewing; `size`: em in page px; `degradation`: the profile's name and steps.
    """

    image: NDArray[np.uint8] = field(repr=False)
    text: str
    font: str
    family: str
    size: float
    language: str
    box: tuple[float, float, float, float]
    page_index: int
    line_index: int
    source: str
    licence: str
    degradation: str


@dataclass(frozen=True)
class PageSamples:
    """The samples of one page, how many lines were painted, and why the others were left out."""

    index: int
    samples: list[LineSample]
    painted: int
    dropped: Counter[str]
    page: NDArray[np.uint8] = field(repr=False)
    """The page that the reader's code saw, gray (H, W)."""


class TextEngine:
    """Paints pages of text and cuts them into line samples.

    `fonts` and `corpus` default to what the configuration names; pass them to share them between engines.  The
    engine can be pickled; making one takes seconds (fonts are opened and checked), unpickling it does not.
    """

    def __init__(
        self, config: TextEngineConfig, *, fonts: FontCatalogue | None = None, corpus: Corpus | None = None
    ) -> None:
        self.config = config
        self.corpus = corpus or Corpus.load(config.corpus, config.languages)
        self.fonts = fonts or find_fonts(exclude=config.exclude_fonts, folders=config.font_folders)
        self._families = {language: self._families_for(language) for language in config.languages}

    def with_config(self, config: TextEngineConfig) -> TextEngine:
        """An engine with another configuration on the same corpus and fonts: a curriculum's next stage."""
        return TextEngine(config, fonts=self.fonts, corpus=self.corpus)

    def _families_for(self, language: str) -> tuple[list[tuple[FontFace, ...]], NDArray[np.float64]]:
        fonts = self.fonts.covering(COMMON_CHINESE) if language == "zh" else self.fonts
        if not fonts.faces:
            raise DataError(
                f"no installed font covers language {language!r}: install one (vary/datagen/font_packages.txt)"
            )
        groups, weights = fonts.by_family(), fonts.family_weights()
        chinese = set(self.fonts.covering(COMMON_CHINESE).families) if language != "zh" else set()
        share = np.array([1.0 if language == "zh" else weights[family] for family in groups])
        share *= np.where([family in chinese for family in groups], 0.15, 1.0)
        return list(groups.values()), share / share.sum()

    def page(self, index: int) -> list[LineSample]:
        """The line samples of page `index` (0 and up)."""
        return self.page_samples(index).samples

    def lines(self, first: int = 0, step: int = 1) -> Iterator[LineSample]:
        """Samples without end, from pages `first`, `first + step`, ...: one of `step` workers' share."""
        index = first
        while True:
            yield from self.page(index)
            index += step

    def page_samples(self, index: int) -> PageSamples:
        """The samples of page `index` with the reasons why lines were left out."""
        config = self.config
        rng = np.random.default_rng([config.seed, zlib.crc32(config.split.encode()), index])
        language = str(rng.choice(list(config.languages), p=_shares(config)))
        plan = _PagePlanner(self, language, rng).plan()
        page = paint_page(plan)
        degradation = draw_degradation(rng, config.clean_share)
        gray, geometry = degradation.apply(page.gray, plan.size, rng)
        found = find_lines(gray)
        truth = [_moved(line, geometry, found.matrix) for line in page.lines]
        boxes = [(line.left, line.top, line.right, line.bottom) for line in found.lines]
        slack = 1.5 + 0.07 * plan.size + (0.0 if degradation.profile == "clean" else 1.5)
        pairs, dropped = match_lines(boxes, truth, em=plan.size, slack=slack)
        samples = []
        for number, which in pairs:
            line = page.lines[which]
            jitter = _draw_jitter(rng, config.jitter)
            image = cut_line(found.gray, found.lines[number], line_height=config.line_height, jitter=jitter)
            reason = self._unfit(image, line.text)
            if reason:
                dropped[reason] += 1
                continue
            samples.append(
                LineSample(
                    image=image,
                    text=line.text,
                    font=plan.face.name,
                    family=plan.face.family,
                    size=plan.size,
                    language=language,
                    box=_bounds(found.polygon(found.lines[number])),
                    page_index=index,
                    line_index=which,
                    source=line.plan.source,
                    licence=config.licence if line.plan.source != "made-up" else "CC0-1.0",
                    degradation=_described(degradation),
                )
            )
        return PageSamples(index, samples, len(page.lines), dropped, gray)

    def _unfit(self, image: NDArray[np.uint8], text: str) -> str | None:
        """Why a cut line cannot be learnt from, or None."""
        if image.shape[1] > self.config.max_width_px:
            return "wider than max_width_px"
        if len(text) < self.config.min_chars:
            return "fewer than min_chars"
        if image.shape[1] < 2 * len(text):
            return "less than 2 px a character"
        return None


def _shares(config: TextEngineConfig) -> NDArray[np.float64]:
    shares = np.array(config.language_weights or [1.0] * len(config.languages), dtype=np.float64)
    return shares / shares.sum()


def _described(degradation: Degradation) -> str:
    steps = " ".join(f"{name}={strength:.2f}" for name, strength in degradation.steps)
    return f"{degradation.profile}: {steps}" if steps else degradation.profile


def _moved(line: PaintedLine, geometry: Geometry, matrix: NDArray[np.float64]) -> PaintedLine:
    """A painted line in px of the deskewed page."""
    places = np.linspace(line.left, line.right, 9)
    rows = (line.top, line.bottom, line.core_top, line.core_bottom)
    points = np.array([(x, y) for y in rows for x in places])
    moved = geometry.apply(points) @ matrix[:, :2].T + matrix[:, 2]
    x, y = moved[:, 0].reshape(4, -1), moved[:, 1].reshape(4, -1)
    return PaintedLine(
        plan=line.plan,
        left=float(x[2:].min()),
        right=float(x[2:].max()),
        top=float(y[0].min()),
        bottom=float(y[1].max()),
        core_top=float(np.median(y[2])),
        core_bottom=float(np.median(y[3])),
    )


def _bounds(polygon: tuple[tuple[float, float], ...]) -> tuple[float, float, float, float]:
    xs, ys = zip(*polygon, strict=True)
    return round(min(xs), 1), round(min(ys), 1), round(max(xs), 1), round(max(ys), 1)


def _draw_jitter(rng: np.random.Generator, scale: float) -> CutJitter | None:
    if not scale:
        return None
    shift, size, left, right = rng.standard_normal(4)
    return CutJitter(
        shift=float(0.7 * scale * shift),
        scale=float(np.exp(0.045 * scale * size)),
        left=float(np.clip(1.0 * scale * left, -1.5, 6)),
        right=float(np.clip(1.0 * scale * right, -1.5, 6)),
    )


class _PagePlanner:
    """Draws one page's plan: font, size, column, spacing, texts."""

    def __init__(self, engine: TextEngine, language: str, rng: np.random.Generator) -> None:
        config = engine.config
        self.engine, self.config, self.language, self.rng = engine, config, language, rng
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
        self.writer = Writer(engine.corpus, language, rng, config.made_up_share)
        self.face = self._draw_face()

    @property
    def font(self) -> Typesetter:
        """The page's font, at the size in which it is painted."""
        return Typesetter.make(self.face, self.size * self.scale, self.raqm)

    def _draw_face(self) -> FontFace:
        families, shares = self.engine._families[self.language]
        faces = families[int(self.rng.choice(len(families), p=shares))]
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
        limit = LineLimits(width - self.tracking * self.scale * characters, config.max_chars, config.max_words)
        return width / self.scale, limit

    def plan(self) -> PagePlan:
        """The page's plan."""
        rng = self.rng
        count = int(rng.integers(self.config.lines_per_page[0], self.config.lines_per_page[1] + 1))
        width, limits = self.column
        texts = self._texts(count, limits)
        margin = float(rng.uniform(0.7, 2.5) * self.size) + 4
        font = self.font
        lines, baseline = [], margin + self.size
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
        failures = 0
        while len(texts) < count:
            length = int(limits.width / (0.5 * font.size) * self.rng.uniform(0.3, 2.5)) + 1
            paragraph = self.writer.paragraph(length)
            if not allowed_text(paragraph.text, self.language) or self.face.missing(paragraph.text):
                failures += 1
                if failures > 60:
                    self.face, failures = self._draw_face(), 0
                    widths, font = {}, self.font
                continue
            text = self._excerpt(paragraph.text, count * 3)
            lines = list(break_paragraph(text, font, limits, widths, hyphenate=self.hyphenate))
            lines = lines[: max(2, count // 2)]
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

