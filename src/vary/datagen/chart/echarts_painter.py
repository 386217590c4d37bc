"""Charts drawn by ECharts: options to SVG in one node process, pixels, texts and marks off the SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vary.datagen.chart.content import ChartContent
from vary.datagen.chart.crowding import PaintedChart
from vary.datagen.chart.echarts_options import Option, chart_option
from vary.datagen.chart.echarts_process import EchartsProcess, find_node_modules
from vary.datagen.chart.labels import mark_name
from vary.datagen.chart.outlines import Outlines, outlines_of
from vary.datagen.chart.style import ChartStyle
from vary.datagen.sample import Box

if TYPE_CHECKING:
    from vary.datagen.chart.svg import DrawnMark

__all__ = ["EchartsPainter"]


class EchartsPainter:
    """Draws charts with the ECharts of a folder of node packages.

    It can be pickled: a copy starts a process of its own when it first draws.

    Attributes:
        folder: the folder of node packages.
    """

    def __init__(self, node_modules: str | None = None) -> None:
        self.folder = find_node_modules(node_modules)
        self._process: EchartsProcess | None = None

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_process": None}

    def paint(self, content: ChartContent, style: ChartStyle) -> PaintedChart:
        """Draw a chart.

        Raises:
            DataError: if ECharts cannot draw it.
            MissingDependencyError: without node or matplotlib.
        """
        if self._process is None:
            self._process = EchartsProcess(self.folder)
        outlines = outlines_of(style.face)
        from vary.datagen.chart.svg import painted_svg

        option = chart_option(content, style, outlines)
        svg = self._process.render(option, style.width, style.height, _advances(option, outlines))
        image, texts, marks = painted_svg(svg, outlines, style.width, style.height)
        return PaintedChart(image, texts, _boxes(content, marks))

    def close(self) -> None:
        """End the node process; the next chart starts another."""
        if self._process is not None:
            self._process.close()


def _advances(option: Option, outlines: Outlines) -> dict[str, int]:
    """The widths of all characters of an option, in thousandths of the em."""
    characters: set[str] = set("0123456789.,-%")
    stack: list[object] = [option]
    while stack:
        value = stack.pop()
        if isinstance(value, str):
            characters.update(value)
        elif isinstance(value, dict):
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)
    return {character: round(outlines.advance(character) * 1000) for character in sorted(characters - {"\n"})}


def _boxes(content: ChartContent, marks: tuple[DrawnMark, ...]) -> tuple[Box, ...]:
    """The marks by name; those of a radar chart stand for whole rows and are left out.

    ECharts says nothing of a funnel's steps.
    """
    if content.kind == "radar":
        return ()
    boxes: dict[tuple[int, int], Box] = {}
    for mark in marks:
        series, number = mark.series, mark.number
        if content.kind == "heatmap":
            series, number = divmod(number, len(content.categories))
        left, top, right, bottom = (round(edge, 2) for edge in mark.edges)
        if right > left and bottom > top:
            boxes[series, number] = Box(mark_name(content, series, number), left, top, right, bottom)
    return tuple(boxes.values())
