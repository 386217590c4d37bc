"""The words on a chart as they are written: values, ticks, names of axes; and all that must be there."""

from __future__ import annotations

from vary.datagen.chart.content import ChartContent
from vary.datagen.chart.numbers import Axis, written
from vary.datagen.chart.style import ChartStyle

__all__ = ["across_name", "expected_texts", "mark_name", "tick_labels", "value_label", "value_name"]

_NAMED_AXES = frozenset(
    {
        *("bar", "bar_horizontal", "bar_grouped", "bar_stacked", "line", "lines", "area", "mixed"),
        *("scatter", "histogram", "box"),
    }
)


def value_label(content: ChartContent, style: ChartStyle, series: int, category: int) -> str:
    """What is written at a mark."""
    if content.percent:
        return content.percentages[category]
    return written(float(content.values[series, category]), content.decimals, grouped=style.grouped)


def tick_labels(axis: Axis, style: ChartStyle) -> list[str]:
    """What is written at the ticks of an axis."""
    return [written(tick, axis.decimals, grouped=style.grouped) for tick in axis.ticks]


def value_name(content: ChartContent, style: ChartStyle) -> str:
    """The name of the axis of values with its unit; empty where none is shown."""
    if not style.axis_names or content.kind not in _NAMED_AXES or not content.value_name:
        return ""
    if not content.unit:
        return content.value_name
    brackets = "（{}）" if content.language == "zh" else " ({})"
    return content.value_name + brackets.format(content.unit)


def across_name(content: ChartContent, style: ChartStyle) -> str:
    """The name of the other axis; empty where none is shown."""
    shown = style.axis_names or content.kind == "scatter"
    return content.category_name if shown and content.kind in _NAMED_AXES else ""


def mark_name(content: ChartContent, series: int, category: int) -> str:
    """What a mark is called in the boxes: `category`, or `series, category`."""
    if content.kind == "scatter":
        x, y = content.values[series, category]
        point = f"{x:g}, {y:g}"
        return f"{content.series[series]}, {point}" if content.series else point
    name = content.categories[category]
    return f"{content.series[series]}, {name}" if content.series else name


def expected_texts(content: ChartContent, style: ChartStyle) -> list[str]:
    """Every text that a reader of the chart needs, once for each time that it must stand there."""
    texts = [content.title, *content.categories, *content.series]
    if content.labelled:
        texts += [
            value_label(content, style, series, category)
            for series in range(len(content.values))
            for category in range(len(content.categories))
        ]
    for axis in (content.axis, content.across):
        if axis is not None:
            ticks = tick_labels(axis, style)
            texts += ticks[1:] if content.kind == "radar" else ticks  # its middle has no room for one
    texts += [value_name(content, style), across_name(content, style)]
    return [text for text in texts if text]
