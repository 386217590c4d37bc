"""Text lines to learn to read: pages painted from a corpus, found and cut by the reader's own code.

`LineEngine(config).page(index)` depends on the configuration and the index alone, whatever process asks for
it.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vary.datagen.corpus import Corpus
from vary.datagen.degradation import Geometry, draw_degradation
from vary.datagen.fonts import COMMON_CHINESE, FontCatalogue, find_fonts
from vary.datagen.lines.painting import LinePage, PagePlan, PaintedLine, match_lines, paint_page
from vary.datagen.lines.planning import FontFamilies, LineEngineConfig, PagePlanner
from vary.datagen.provenance import file_records, package_versions, settings_record
from vary.datagen.sample import Draw, Record, Sample
from vary.errors import DataError
from vary.inputs.windows import CutJitter, cut_line, find_lines

if TYPE_CHECKING:
    from vary.datagen.text.cutting import TypesetLines

__all__ = ["LineEngine", "LineEngineConfig", "LineSample", "PageSamples"]


@dataclass(frozen=True, slots=True)
class LineSample:
    """A cut text line and exactly what is written on it.

    `image`: uint8 (line_height, W), dark text on light; `box`: left, top, right, bottom of its ink on the
    page in px, before deskewing; `size`: em in page px; `degradation`: the profile's name and steps.
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


class LineEngine:
    """Paints pages of text and cuts them into line samples: an `Engine` without end.

    `fonts` and `corpus` default to what the configuration names; pass them to share them between engines.
    The engine can be pickled; making one takes seconds (fonts are opened and checked), unpickling it does
    not.
    """

    name = "lines"

    def __init__(
        self, config: LineEngineConfig, *, fonts: FontCatalogue | None = None, corpus: Corpus | None = None
    ) -> None:
        self.config = config
        self.corpus = corpus or Corpus.load(config.corpus, config.languages)
        self.fonts = fonts or find_fonts(exclude=config.exclude_fonts, folders=config.font_folders)
        self._families = {language: self._families_for(language) for language in config.languages}
        if config.rare_share:
            _ = self.corpus.places  # found once, and not again by every worker
        self._typeset: TypesetLines | None = None
        if config.typeset_share:
            from vary.datagen.text.cutting import TypesetLines

            self._typeset = TypesetLines(config, self.fonts, self.corpus)

    def with_config(self, config: LineEngineConfig) -> LineEngine:
        """An engine with another configuration on the same corpus and fonts: a curriculum's next stage."""
        return LineEngine(config, fonts=self.fonts, corpus=self.corpus)

    @property
    def length(self) -> None:
        """There is always another page."""
        return None

    def draw(self, index: int) -> Draw:
        """The lines of page `index` (0 and up) as samples; the page's font and place are in the details."""
        page = self.page_samples(index)
        counts = Counter({"pages": 1, "painted_lines": page.painted})
        counts.update(f"families/{line.family}" for line in page.samples)
        return Draw(tuple(map(_sample, page.samples)), counts, page.dropped)

    def describe(self) -> Record:
        """Settings, texts, fonts and versions."""
        config = self.config
        return {
            "split": config.split,
            "seed": config.seed,
            "config": settings_record(config, leave_out=("seed", "split", "corpus", "font_folders")),
            "files": file_records(config.corpus),
            "fonts": {family: [f.style for f in faces] for family, faces in self.fonts.by_family().items()},
            "versions": package_versions("fonttools"),
        }

    def _families_for(self, language: str) -> FontFamilies:
        fonts = self.fonts.covering(COMMON_CHINESE) if language == "zh" else self.fonts
        if not fonts.faces:
            raise DataError(
                f"no font covers language {language!r}: install one (vary/datagen/font_packages.txt)"
            )
        groups, weights = fonts.by_family(), fonts.family_weights()
        share = np.array([weights[family] for family in groups])
        chinese = set(self.fonts.covering(COMMON_CHINESE).families) if language != "zh" else set()
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
        rng, language = self._start(index)
        typeset, lost = self._typeset_page(rng, language)
        if typeset is None and lost:
            return PageSamples(index, [], 0, lost, np.full((1, 1), 255, np.uint8))
        page = typeset or self._painted_page(rng, language)
        degradation = draw_degradation(rng, config.clean_share)
        gray, geometry = degradation.apply(page.gray, page.size, rng)
        found = find_lines(gray)
        truth = _moved(page.lines, geometry, found.matrix)
        boxes = [(line.left, line.top, line.right, line.bottom) for line in found.lines]
        slack = 1.5 + 0.07 * page.size + (0.0 if degradation.profile == "clean" else 1.5)
        pairs, dropped = match_lines(boxes, truth, em=page.size, slack=slack)
        samples = []
        polygons = found.polygons(found.lines)
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
                    font=page.font,
                    family=page.family,
                    size=page.size,
                    language=language,
                    box=_bounds(polygons[number]),
                    page_index=index,
                    line_index=which,
                    source=line.plan.source,
                    licence=config.licence if line.plan.source != "made-up" else "CC0-1.0",
                    degradation=str(degradation),
                )
            )
        return PageSamples(index, samples, len(page.lines), dropped, gray)

    def plan(self, index: int) -> PagePlan:
        """What is painted on page `index`, if it is not typeset."""
        rng, language = self._start(index)
        if self._typeset is not None:
            rng.random()  # as `_typeset_page` draws
        return self._planned(rng, language)

    def _start(self, index: int) -> tuple[np.random.Generator, str]:
        """What page `index` is drawn from, and its language."""
        config = self.config
        rng = np.random.default_rng([config.seed, zlib.crc32(config.split.encode()), index])
        return rng, str(rng.choice(list(config.languages), p=_shares(config)))

    def _planned(self, rng: np.random.Generator, language: str) -> PagePlan:
        return PagePlanner(self.config, self.corpus, self._families[language], language, rng).plan()

    def _painted_page(self, rng: np.random.Generator, language: str) -> LinePage:
        plan = self._planned(rng, language)
        page = paint_page(plan)
        return LinePage(page.gray, page.lines, plan.size, plan.face.name, plan.face.family, language)

    def _typeset_page(self, rng: np.random.Generator, language: str) -> tuple[LinePage | None, Counter[str]]:
        """A page that Typst sets, for a share of the pages; None with the reasons where it cannot be used."""
        if self._typeset is None or rng.random() >= self.config.typeset_share:
            return None, Counter()
        return self._typeset.page(rng, language)

    def _unfit(self, image: NDArray[np.uint8], text: str) -> str | None:
        """Why a cut line cannot be learnt from, or None."""
        if image.shape[1] > self.config.max_width_px:
            return "wider than max_width_px"
        if len(text) < self.config.min_chars:
            return "fewer than min_chars"
        if len(text) > self.config.max_chars:
            return "more than max_chars"
        if self.config.max_words is not None and text.count(" ") >= self.config.max_words:
            return "more than max_words"
        if image.shape[1] < 2 * len(text):
            return "less than 2 px a character"
        return None


def _sample(line: LineSample) -> Sample:
    return Sample(
        image=line.image,
        task="ocr",
        prompt="",  # a line model reads what it is shown
        answer=line.text,
        source=line.source,
        licence=line.licence,
        language=line.language,
        details={
            "font": line.font,
            "family": line.family,
            "size": round(line.size, 2),
            "degradation": line.degradation,
            "page": line.page_index,
            "line": line.line_index,
            "page_box": list(line.box),
        },
    )


def _shares(config: LineEngineConfig) -> NDArray[np.float64]:
    shares = np.array(config.language_weights or [1.0] * len(config.languages), dtype=np.float64)
    return np.asarray(shares / shares.sum(), dtype=np.float64)


def _moved(
    lines: Sequence[PaintedLine], geometry: Geometry, matrix: NDArray[np.float64]
) -> list[PaintedLine]:
    """Painted lines in px of the deskewed page: nine points along each of their four edges are moved."""
    edges = [
        (line.left, line.right, line.top, line.bottom, line.core_top, line.core_bottom) for line in lines
    ]
    places = np.array(edges).reshape(-1, 6, 1)
    across = places[:, 0:1] + (places[:, 1:2] - places[:, 0:1]) * np.linspace(0.0, 1.0, 9)
    points = np.stack(np.broadcast_arrays(across, places[:, 2:]), axis=-1)
    moved = geometry.apply(points.reshape(-1, 2)) @ matrix[:, :2].T + matrix[:, 2]
    x, y = np.moveaxis(moved.reshape(-1, 4, 9, 2), -1, 0)  # (lines, edges, points) each
    middle = np.sort(y[:, 2:], axis=2)[:, :, 4]
    columns = (
        x[:, 2:].min(axis=(1, 2)),
        y[:, 0].min(axis=1),
        x[:, 2:].max(axis=(1, 2)),
        y[:, 1].max(axis=1),
        middle[:, 0],
        middle[:, 1],
    )
    numbers = np.stack(columns, axis=1).tolist()
    return [PaintedLine(line.plan, *row) for line, row in zip(lines, numbers, strict=True)]


def _bounds(polygon: tuple[tuple[float, float], ...]) -> tuple[float, float, float, float]:
    xs, ys = zip(*polygon, strict=True)
    return round(min(xs), 1), round(min(ys), 1), round(max(xs), 1), round(max(ys), 1)


def _draw_jitter(rng: np.random.Generator, scale: float) -> CutJitter | None:
    if not scale:
        return None
    shift, size, left, right = rng.standard_normal(4).tolist()
    return CutJitter(
        shift=0.7 * scale * shift,
        scale=math.exp(0.045 * scale * size),
        left=min(max(scale * left, -1.5), 6.0),
        right=min(max(scale * right, -1.5), 6.0),
    )
