"""Fonts, ECharts and small charts for the tests of the chart engine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from vary.datagen.chart.content import KINDS, ChartContent, finished
from vary.datagen.chart.crowding import PaintedChart
from vary.datagen.chart.echarts_painter import EchartsPainter
from vary.datagen.chart.matplotlib_painter import paint_with_matplotlib
from vary.datagen.chart.outlines import has_bitmaps
from vary.datagen.chart.related import related_content
from vary.datagen.chart.style import ChartStyle, draw_style
from vary.datagen.fonts import COMMON_CHINESE, PRINTABLE_ASCII, FontCatalogue, FontFace, find_fonts

ROOT = Path(__file__).parent.parent.parent.parent

Painter = Callable[[ChartContent, ChartStyle], PaintedChart]


@pytest.fixture(scope="session")
def node_modules() -> str:
    """The folder of node packages; ECharts must be there."""
    folder = Path(os.environ.get("VARY_NODE_MODULES") or ROOT / ".node" / "node_modules")
    if not (folder / "echarts").is_dir():
        pytest.fail(f"no ECharts in {folder}: npm install --prefix .node echarts@6")
    return str(folder)


@pytest.fixture(scope="session")
def chinese_fonts() -> FontCatalogue:
    """The installed fonts for Chinese that every painter is given; there must be one."""
    faces = find_fonts(required=PRINTABLE_ASCII + COMMON_CHINESE + "（）").faces
    usable = tuple(
        face for face in faces if face.index == 0 and face.kind == "text" and not has_bitmaps(face)
    )
    if not usable:
        pytest.fail("no Chinese font: apt-get install fonts-wqy-zenhei")
    return FontCatalogue(usable)


@pytest.fixture(scope="session")
def face(catalogue: FontCatalogue) -> FontFace:
    """A plain Latin face."""
    return next(
        face for face in catalogue.faces if face.kind == "text" and not face.italic and face.weight < 600
    )


@pytest.fixture(scope="session")
def echarts(node_modules: str) -> Iterator[EchartsPainter]:
    """One painter with its node process."""
    painter = EchartsPainter(node_modules)
    yield painter
    painter.close()


@pytest.fixture(params=["matplotlib", "echarts"])
def paint(request: pytest.FixtureRequest) -> Painter:
    """Each renderer's way to draw a chart."""
    if request.param == "matplotlib":
        return paint_with_matplotlib
    painter: EchartsPainter = request.getfixturevalue("echarts")
    return painter.paint


@pytest.fixture(scope="session")
def make() -> Callable[[str, str, int, FontFace], tuple[ChartContent, ChartStyle]]:
    """Content and look of a chart: of a kind, in a language, by a seed."""

    def make_one(name: str, language: str, seed: int, face: FontFace) -> tuple[ChartContent, ChartStyle]:
        rng = np.random.default_rng([seed, 5])
        kind = KINDS[name]
        content = finished(related_content(kind, language, rng), kind, language, rng)
        return content, draw_style(content, face, (640, 900), (420, 640), rng)

    return make_one
