"""Parts of ECharts options that kinds of charts share: legend, axes, the place of the plot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vary.datagen.chart.content import ChartContent
from vary.datagen.chart.labels import across_name, tick_labels, value_label, value_name
from vary.datagen.chart.numbers import Axis
from vary.datagen.chart.outlines import Outlines
from vary.datagen.chart.style import ChartStyle

__all__ = [
    "MARGIN",
    "Chart",
    "Option",
    "bottom_of",
    "category_axis_option",
    "grid_option",
    "legend",
    "legend_names",
    "right_of",
    "top_of",
    "upright_option",
    "value_axis_option",
]

Option = dict[str, Any]
MARGIN = 14
"""px around everything."""


@dataclass(frozen=True)
class Chart:
    """What the functions of the kinds read."""

    content: ChartContent
    style: ChartStyle
    outlines: Outlines

    def width(self, texts: list[str]) -> float:
        """px of the widest of some texts."""
        return max((self.outlines.width(text) for text in texts), default=0.0) * self.style.text_size

    @property
    def in_legend(self) -> bool:
        """Whether the names of wedges and steps stand in the legend, not beside them."""
        return self.style.variant < 0.45

    def label(self, series: int, category: int, **options: Any) -> Option:
        """What is written at a mark."""
        text = value_label(self.content, self.style, series, category)
        return {
            "show": True,
            "formatter": text,
            "color": self.style.foreground,
            "textBorderWidth": 0,
            **options,
        }


def legend_names(chart: Chart) -> list[str]:
    """What stands in the legend; empty where there is none."""
    content = chart.content
    if content.kind in ("pie", "donut", "rose", "funnel"):
        return list(content.categories) if chart.in_legend else []
    return [] if content.kind == "heatmap" else list(content.series)


def legend(chart: Chart, names: list[str]) -> Option:
    """The legend of some names, where the style has it."""
    style = chart.style
    option: Option = {
        "data": names,
        "textStyle": {"fontSize": style.text_size, "color": style.foreground},
        "itemGap": 12 + 10 * style.variant,
    }
    if style.legend == "right":
        return {**option, "orient": "vertical", "right": MARGIN, "top": "middle"}
    if style.legend == "bottom":
        return {**option, "bottom": MARGIN - 4, "left": "center"}
    return {**option, "top": top_of(chart) - style.text_size * 1.9, "left": "center"}


def top_of(chart: Chart) -> float:
    """Where the plot may begin: below the title and a legend at the top."""
    rows = 1 if chart.style.legend == "top" and legend_names(chart) else 0
    return MARGIN + chart.style.title_size * 1.35 + rows * chart.style.text_size * 2.0 + 6


def bottom_of(chart: Chart) -> float:
    """How much is kept free below the plot and its words."""
    below = chart.style.legend == "bottom" and bool(legend_names(chart))
    return MARGIN + (chart.style.text_size * 2.0 if below else 0)


def right_of(chart: Chart) -> float:
    """How much is kept free right of the plot."""
    names = legend_names(chart)
    return MARGIN + (chart.width(names) + 48 if names and chart.style.legend == "right" else 8)


# axes


def value_axis_option(chart: Chart, axis: Axis, *, horizontal: bool, name: str) -> Option:
    """An axis of numbers, with its ticks and its name."""
    style = chart.style
    labels = tick_labels(axis, style)
    gap = style.text_size * 1.9 if horizontal else chart.width(labels) + style.text_size * 1.1
    at_end = style.variant < 0.4 and not horizontal
    return {
        "type": "value",
        "min": axis.low,
        "max": axis.high,
        "interval": axis.step,
        "name": name,
        "nameLocation": "end" if at_end else "middle",
        "nameGap": style.text_size * 0.9 if at_end else gap,
        "nameTextStyle": {"fontSize": style.text_size, "color": style.foreground},
        "axisLabel": {
            "formatter": {"low": axis.low, "step": axis.step, "labels": labels},
            "fontSize": style.text_size,
            "color": style.foreground,
            "hideOverlap": False,
            "showMinLabel": True,
            "showMaxLabel": True,
        },
        "axisLine": {"show": style.frame, "lineStyle": {"color": style.foreground}},
        "axisTick": {"show": style.frame},
        "splitLine": {"show": style.grid, "lineStyle": {"color": style.foreground, "opacity": 0.15}},
    }


def category_axis_option(
    chart: Chart, words: list[str], *, name: str = "", rotate: int = 0, **options: Any
) -> Option:
    """An axis of words, turned by `rotate` degrees; `options` are added."""
    style = chart.style
    down = chart.width(words) * np.sin(np.radians(rotate)) + style.text_size * 1.9
    return {
        "type": "category",
        "data": words,
        "name": name,
        "nameLocation": "middle",
        "nameGap": float(down),
        "nameTextStyle": {"fontSize": style.text_size, "color": style.foreground},
        "axisLabel": {
            "interval": 0,
            "rotate": rotate,
            "fontSize": style.text_size,
            "color": style.foreground,
            "hideOverlap": False,
        },
        "axisLine": {"lineStyle": {"color": style.foreground}},
        "axisTick": {"alignWithLabel": True, "show": style.frame},
        **options,
    }


def grid_option(chart: Chart) -> Option:
    """The place of the plot; ECharts keeps the axes' words and names within it."""
    head = chart.style.text_size * 1.6 if chart.style.axis_names and chart.style.variant < 0.4 else 6
    return {
        "left": MARGIN,
        "right": right_of(chart),
        "top": top_of(chart) + head,
        "bottom": bottom_of(chart),
        "outerBoundsMode": "same",
        "outerBoundsContain": "all",
    }


def upright_option(chart: Chart, series: list[Option], **options: Any) -> Option:
    """Series over categories from left to right."""
    content, style = chart.content, chart.style
    assert content.axis is not None
    return {
        "grid": grid_option(chart),
        "xAxis": category_axis_option(
            chart,
            list(content.categories),
            name=across_name(content, style),
            rotate=style.rotation,
            **options,
        ),
        "yAxis": value_axis_option(chart, content.axis, horizontal=False, name=value_name(content, style)),
        "series": series,
    }
