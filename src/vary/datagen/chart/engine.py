"""The chart engine: charts of many kinds, by two renderers, with the Python dict that they show."""

from __future__ import annotations

import zlib
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vary.datagen.chart.answers import chart_answer
from vary.datagen.chart.config import ChartConfig
from vary.datagen.chart.content import KINDS, ChartContent, finished
from vary.datagen.chart.crowding import PaintedChart, trouble_with
from vary.datagen.chart.echarts_painter import EchartsPainter
from vary.datagen.chart.echarts_process import echarts_version
from vary.datagen.chart.labels import expected_texts
from vary.datagen.chart.made_up import random_content
from vary.datagen.chart.matplotlib_painter import paint_with_matplotlib
from vary.datagen.chart.outlines import has_bitmaps
from vary.datagen.chart.related import related_content
from vary.datagen.chart.style import ChartStyle, draw_style, looser
from vary.datagen.corpus import Corpus
from vary.datagen.degradation import degrade
from vary.datagen.fonts import COMMON_CHINESE, FontCatalogue, FontFace, find_fonts
from vary.datagen.prompts import draw_prompt
from vary.datagen.provenance import file_records, package_versions, settings_record
from vary.datagen.sample import Draw, Record, Sample
from vary.errors import DataError

__all__ = ["ChartEngine", "DrawnChart"]

_ATTEMPTS = 4
"""How often a chart whose words collide is drawn again with more room."""
_FACES = 12
"""How many fonts are tried for one that paints all characters of a chart."""
_LICENCE = "Apache-2.0"
"""Of the templates, which are part of this package."""

_PROFILES = {"light": 0.34, "scan": 0.34, "low resolution": 0.14, "photo": 0.18}
"""How charts are degraded: nothing that takes colours away or lays a second chart over the first."""

Families = tuple[list[tuple[FontFace, ...]], NDArray[np.float64]]


@dataclass(frozen=True)
class DrawnChart:
    """A chart before it is degraded: what it says, how it looks, who drew it."""

    content: ChartContent
    style: ChartStyle
    renderer: str
    painted: PaintedChart


class ChartEngine:
    """Draws charts by number; making one takes seconds (fonts are opened), unpickling one does not.

    Raises:
        DataError: if no font covers a language, or a corpus cannot be read.
        MissingDependencyError: if ECharts is asked for and not installed.
    """

    name = "chart"
    length = None

    def __init__(self, config: ChartConfig, *, fonts: FontCatalogue | None = None) -> None:
        self.config = config
        # First what may be missing: looking for fonts takes long.
        self._echarts = EchartsPainter(config.node_modules) if "echarts" in config.renderers else None
        self.corpus = Corpus.load(config.corpus, config.languages) if config.corpus else None
        self.fonts = fonts or find_fonts(exclude=config.exclude_fonts, folders=config.font_folders)
        self._families = {language: self._families_for(language) for language in config.languages}

    def draw(self, index: int) -> Draw:
        """The chart of index `index`; none if its words have no font or collide, which is counted."""
        config = self.config
        rng = np.random.default_rng([config.seed, zlib.crc32(config.split.encode()), index])
        drawn = self._drawn(rng)
        if isinstance(drawn, str):
            return Draw((), dropped=Counter({drawn: 1}))
        sample = degrade(
            self._sample(drawn, rng),
            rng,
            clean_share=config.clean_share,
            em=0.9 * drawn.style.text_size,
            profiles=_PROFILES,
        )
        return Draw((sample,), counts=Counter({f"{drawn.renderer} {drawn.content.kind}": 1}))

    def chart(self, index: int) -> DrawnChart | None:
        """The chart of an index before it is degraded; None if it is dropped."""
        seed, split = self.config.seed, zlib.crc32(self.config.split.encode())
        drawn = self._drawn(np.random.default_rng([seed, split, index]))
        return None if isinstance(drawn, str) else drawn

    def describe(self) -> Record:
        """Settings, texts, fonts and versions."""
        config = self.config
        left_out = ("seed", "split", "corpus", "font_folders", "node_modules")
        versions: dict[str, Any] = package_versions("fonttools", "matplotlib")
        if self._echarts is not None:
            versions["echarts"] = echarts_version(self._echarts.folder)
        return {
            "split": config.split,
            "seed": config.seed,
            "config": settings_record(config, leave_out=left_out),
            "files": file_records(config.corpus),
            "fonts": {family: [f.style for f in faces] for family, faces in self.fonts.by_family().items()},
            "versions": versions,
        }

    def _drawn(self, rng: np.random.Generator) -> DrawnChart | str:
        """A chart, or why there is none."""
        config = self.config
        language, renderer = _one(config.languages, rng), _one(config.renderers, rng)
        kind = KINDS[_one(config.kinds, rng)]
        by_chance = rng.random() < {"random": 1.0, "related": 0.0, "both": 0.5}[config.content]
        raw = (
            random_content(kind, language, rng, self.corpus)
            if by_chance
            else related_content(kind, language, rng)
        )
        content = finished(raw, kind, language, rng)
        face = self._face(content, renderer, rng)
        if face is None:
            return "no font paints all its characters"
        style = draw_style(content, face, config.width, config.height, rng)
        trouble = ""
        for attempt in range(_ATTEMPTS):
            painted = self._paint(content, style, renderer)
            trouble = trouble_with(painted, expected_texts(content, style))
            if not trouble:
                return DrawnChart(content, style, renderer, painted)
            style = looser(style, attempt + 1)
        return trouble

    def _paint(self, content: ChartContent, style: ChartStyle, renderer: str) -> PaintedChart:
        if renderer == "matplotlib":
            return paint_with_matplotlib(content, style)
        assert self._echarts is not None
        return self._echarts.paint(content, style)

    def _sample(self, drawn: DrawnChart, rng: np.random.Generator) -> Sample:
        content, config = drawn.content, self.config
        own_words = content.source == "random" and self.corpus is not None
        return Sample(
            image=drawn.painted.image,
            task="chart",
            prompt=draw_prompt("chart", content.language, rng),
            answer=chart_answer(content),
            source=content.source,
            licence=config.licence if own_words else _LICENCE,
            language=content.language,
            boxes=(*(text.box() for text in drawn.painted.texts), *drawn.painted.marks),
            details={
                "kind": content.kind,
                "renderer": drawn.renderer,
                "labelled": content.labelled,
                "font": drawn.style.face.name,
                "size": round(drawn.style.text_size, 2),
            },
        )

    def _face(self, content: ChartContent, renderer: str, rng: np.random.Generator) -> FontFace | None:
        """A face with which a renderer paints every character of the chart; families by their weights."""
        families, shares = self._families[content.language]
        words = (content.title, *content.categories, *content.series, content.value_name, content.unit)
        figures = "0123456789.,-%" + ("（）" if content.language == "zh" else "()")
        characters = set("".join((*words, content.category_name, figures)))
        for _ in range(_FACES):
            faces = families[int(rng.choice(len(families), p=shares))]
            weights = np.array([FontCatalogue.face_weight(face) for face in faces])
            face = faces[int(rng.choice(len(faces), p=weights / weights.sum()))]
            if not face.missing(characters) and not (renderer == "matplotlib" and has_bitmaps(face)):
                return face
        return None

    def _families_for(self, language: str) -> Families:
        known = self.fonts.covering(COMMON_CHINESE) if language == "zh" else self.fonts
        # Fonts in collections behind the first are not found by matplotlib's font files.
        fonts = FontCatalogue(tuple(face for face in known.faces if face.index == 0))
        if not fonts.faces:
            raise DataError(
                f"no font covers language {language!r}: install one (vary/datagen/font_packages.txt)"
            )
        groups, weights = fonts.by_family(), fonts.family_weights()
        share = np.array([weights[family] for family in groups])
        if language != "zh":
            chinese = set(fonts.covering(COMMON_CHINESE).families)
            share *= np.where([family in chinese for family in groups], 0.15, 1.0)
        return list(groups.values()), share / share.sum()


def _one(names: tuple[str, ...], rng: np.random.Generator) -> str:
    return names[int(rng.integers(len(names)))]
