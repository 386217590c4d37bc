"""ECharts options of each kind of chart: what it says and how it looks, as JSON values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from vary.datagen.chart.content import ChartContent
from vary.datagen.chart.echarts_parts import (
    MARGIN,
    Chart,
    Option,
    bottom_of,
    category_axis_option,
    grid_option,
    legend,
    legend_names,
    right_of,
    top_of,
    upright_option,
    value_axis_option,
)
from vary.datagen.chart.labels import across_name, tick_labels, value_label, value_name
from vary.datagen.chart.outlines import Outlines
from vary.datagen.chart.style import ChartStyle, colour_of, ink_on, paler

__all__ = ["Option", "chart_option"]

_SYMBOLS = ("circle", "rect", "triangle", "diamond", "roundRect")
_DASHES = ("solid", "dashed", "dotted")
_NAME_GAP = 12
"""px between the web of a radar chart and the names around it."""


def chart_option(content: ChartContent, style: ChartStyle, outlines: Outlines) -> Option:
    """The whole option of a chart."""
    chart = Chart(content, style, outlines)
    option: Option = {
        "animation": False,
        "backgroundColor": style.background,
        "color": list(style.palette),
        "textStyle": {"fontFamily": "chart", "fontSize": style.text_size, "color": style.foreground},
        "title": {
            "text": content.title,
            "left": MARGIN if style.title_left else "center",
            "top": MARGIN - 4,
            "padding": 0,
            "textStyle": {"fontSize": style.title_size, "fontWeight": "normal", "color": style.foreground},
        },
    }
    option.update(_OPTIONS[content.kind](chart))
    names = legend_names(chart)
    if names:
        option["legend"] = legend(chart, names)
    return option


def _name(chart: Chart, number: int) -> Option:
    return {"name": chart.content.series[number]} if chart.content.series else {}


def _bar(chart: Chart, number: int) -> Option:
    content, style = chart.content, chart.style
    data: list[Option] = []
    stacked = content.kind == "bar_stacked"
    for category, value in enumerate(content.values[number].tolist()):
        colour = colour_of(content, style, number, category)
        item: Option = {"value": value, "itemStyle": {"color": colour}}
        if content.labelled:
            sides = ("right", "left") if content.kind == "bar_horizontal" else ("top", "bottom")
            item["label"] = (
                chart.label(number, category, position="inside", color=ink_on(colour))
                if stacked
                else chart.label(number, category, position=sides[value < 0])
            )
        data.append(item)
    gap = 0 if content.kind == "histogram" else round(100 * (1 - style.bar_share))
    bar: Option = {
        "type": "bar",
        "data": data,
        "barCategoryGap": f"{gap}%",
        "barGap": "6%",
        **_name(chart, number),
    }
    bar["itemStyle"] = {"color": colour_of(content, style, number, 0)}
    if content.kind == "histogram":
        for item in data:
            item["itemStyle"].update(borderColor=style.background, borderWidth=1)
    return {**bar, "stack": "all"} if stacked else bar


def _bars(chart: Chart) -> Option:
    return upright_option(chart, [_bar(chart, number) for number in range(len(chart.content.values))])


def _horizontal_bars(chart: Chart) -> Option:
    content, style = chart.content, chart.style
    assert content.axis is not None
    grid = grid_option(chart)
    grid["right"] += chart.style.text_size
    return {
        "grid": grid,
        "yAxis": category_axis_option(chart, list(content.categories), inverse=True),
        "xAxis": value_axis_option(chart, content.axis, horizontal=True, name=value_name(content, style)),
        "series": [_bar(chart, 0)],
    }


def _line(chart: Chart, number: int) -> Option:
    content, style = chart.content, chart.style
    data: list[Option] = []
    for category, value in enumerate(content.values[number].tolist()):
        item: Option = {"value": value}
        if content.labelled:
            item["label"] = chart.label(number, category, position="top")
        data.append(item)
    dashed = style.variant < 0.25 and len(content.values) > 1
    colour = colour_of(content, style, number, 0)
    line: Option = {
        "type": "line",
        "data": data,
        "smooth": style.smooth,
        # Labels hang on the symbols; without markers they are too small to be seen.
        "showSymbol": style.markers or content.labelled,
        "symbol": _SYMBOLS[number % len(_SYMBOLS)] if style.variant < 0.5 else "circle",
        "symbolSize": 4 + 1.6 * style.line_width if style.markers else 1,
        "lineStyle": {"width": style.line_width, "type": _DASHES[number % 3] if dashed else "solid"},
        "itemStyle": {"color": colour},
        **_name(chart, number),
    }
    if content.kind == "area":
        line["areaStyle"] = {"opacity": 0.25 + 0.5 * style.variant}
    return line


def _lines(chart: Chart) -> Option:
    series = [_line(chart, number) for number in range(len(chart.content.values))]
    return upright_option(chart, series, boundaryGap=chart.style.variant < 0.7)


def _mixed(chart: Chart) -> Option:
    return upright_option(chart, [_bar(chart, 0), _line(chart, 1)])


def _circle(chart: Chart) -> Option:
    content, style = chart.content, chart.style
    inside = chart.in_legend and content.kind != "rose"
    data: list[Option] = []
    for category, value in enumerate(content.values[0].tolist()):
        colour = colour_of(content, style, 0, category)
        text = value_label(content, style, 0, category)
        lines = text if chart.in_legend else f"{content.categories[category]}\n{text}"
        label = chart.label(0, category, formatter=lines, position="inside" if inside else "outside")
        label["color"] = ink_on(colour) if inside else style.foreground
        data.append(
            {
                "name": content.categories[category],
                "value": value,
                "itemStyle": {"color": colour, "borderColor": style.background, "borderWidth": 1},
                "label": {**label, "lineHeight": style.text_size * 1.25, "fontSize": style.text_size},
            }
        )
    top, right = top_of(chart), right_of(chart) - MARGIN
    height = style.height - top - bottom_of(chart)
    radius = 0.5 * min(height, style.width - right) * (0.84 if inside else 0.66)
    inner = radius * {"donut": 0.45 + 0.2 * style.variant, "rose": 0.15}.get(content.kind, 0.0)
    series: Option = {
        "type": "pie",
        "data": data,
        "radius": [inner, radius],
        "center": [(style.width - right) / 2, top + height / 2],
        "avoidLabelOverlap": True,
        "labelLine": {"length": 10, "length2": 12},
    }
    return {"series": [{**series, "roseType": "area"} if content.kind == "rose" else series]}


def _scatter(chart: Chart) -> Option:
    content, style = chart.content, chart.style
    assert content.axis is not None
    assert content.across is not None
    series = [
        {
            "type": "scatter",
            "data": points.tolist(),
            "symbol": _SYMBOLS[number % len(_SYMBOLS)] if style.variant < 0.6 else "circle",
            "symbolSize": 6 + 2 * style.line_width,
            "itemStyle": {"color": colour_of(content, style, number, 0)},
            "clip": False,
            **_name(chart, number),
        }
        for number, points in enumerate(content.values)
    ]
    across = value_axis_option(chart, content.across, horizontal=True, name=across_name(content, style))
    grid = grid_option(chart)
    grid["right"] += style.text_size
    return {
        "grid": grid,
        "xAxis": across,
        "yAxis": value_axis_option(chart, content.axis, horizontal=False, name=value_name(content, style)),
        "series": series,
    }


def _box_plot(chart: Chart) -> Option:
    content, style = chart.content, chart.style
    data = [
        {
            "value": five,
            "itemStyle": {
                "color": paler(colour_of(content, style, 0, category)),
                "borderColor": style.foreground,
                "borderWidth": 1.4,
            },
        }
        for category, five in enumerate(content.values.tolist())
    ]
    return upright_option(
        chart, [{"type": "boxplot", "data": data, "boxWidth": [20, 40 + 30 * style.variant]}]
    )


def _radar(chart: Chart) -> Option:
    content, style = chart.content, chart.style
    axis = content.axis
    assert axis is not None
    # The numbers stand at the first spoke alone.
    indicators: list[Option] = [
        {"name": word, "min": axis.low, "max": axis.high, **({"axisLabel": {"show": False}} if place else {})}
        for place, word in enumerate(content.categories)
    ]
    labels = tick_labels(axis, style)
    height = style.height - top_of(chart) - bottom_of(chart)
    right = right_of(chart) - MARGIN
    # Names stand above, below and beside the web.
    down = height / 2 - 1.3 * style.text_size
    across = (style.width - right) / 2 - chart.width(list(content.categories))
    data: list[Option] = []
    for number, row in enumerate(content.values.tolist()):
        item: Option = {
            "value": row,
            **_name(chart, number),
            "itemStyle": {"color": colour_of(content, style, number, 0)},
            "areaStyle": {"opacity": 0.08 + 0.2 * style.variant},
        }
        if content.labelled:
            texts = [value_label(content, style, number, place) for place in range(len(row))]
            item["label"] = chart.label(number, 0, formatter={"texts": texts}, position="top")
        data.append(item)
    return {
        "radar": {
            "indicator": indicators,
            "shape": "circle" if style.variant < 0.4 else "polygon",
            "splitNumber": len(labels) - 1,
            "radius": min(down, across) - _NAME_GAP,
            "axisNameGap": _NAME_GAP,
            "center": [(style.width - right) / 2, top_of(chart) + height / 2],
            "axisName": {"fontSize": style.text_size, "color": style.foreground},
            "axisLabel": {
                "show": True,
                "formatter": {"low": axis.low, "step": axis.step, "labels": ["", *labels[1:]]},
                "fontSize": style.text_size * 0.9,
                "color": style.foreground,
            },
            "splitArea": {"show": False},
            "splitLine": {"lineStyle": {"color": style.foreground, "opacity": 0.25}},
            "axisLine": {"lineStyle": {"color": style.foreground, "opacity": 0.35}},
        },
        "series": [
            {
                "type": "radar",
                "data": data,
                "symbolSize": 3 + style.line_width if style.markers else 1,
                "lineStyle": {"width": style.line_width},
            }
        ],
    }


def _funnel(chart: Chart) -> Option:
    content, style = chart.content, chart.style
    data: list[Option] = []
    for category, value in enumerate(content.values[0].tolist()):
        colour = colour_of(content, style, 0, category)
        text = value_label(content, style, 0, category)
        label = chart.label(0, category, position="inside", color=ink_on(colour))
        if not chart.in_legend:
            label = chart.label(
                0, category, position="right", formatter=f"{content.categories[category]}\n{text}"
            )
        label.update(fontSize=style.text_size, lineHeight=style.text_size * 1.25)
        name = content.categories[category]
        data.append(
            {"name": name, "value": value, "label": label, "itemStyle": {"color": colour, "borderWidth": 0}}
        )
    beside = 0 if chart.in_legend else chart.width(list(content.categories)) + 30
    return {
        "series": [
            {
                "type": "funnel",
                "data": data,
                "sort": "none",
                "min": 0,
                "minSize": "22%",
                "gap": 2,
                "left": 40,
                "right": right_of(chart) + beside + 20,
                "top": top_of(chart) + 8,
                "bottom": bottom_of(chart) + 6,
            }
        ]
    }


def _heat_map(chart: Chart) -> Option:
    content, style = chart.content, chart.style
    low, high = float(content.values.min()), float(content.values.max())
    pale = np.array([0xF7, 0xF7, 0xF2])
    full = np.array([int(style.palette[0][place : place + 2], 16) for place in (1, 3, 5)])
    data: list[Option] = []
    for row, values in enumerate(content.values.tolist()):
        for column, value in enumerate(values):
            part = (value - low) / ((high - low) or 1.0)
            colour = "#" + "".join(f"{round(c):02x}" for c in (pale + part * (full - pale)).tolist())
            label = chart.label(row, column, color=ink_on(colour), fontSize=style.text_size * 0.92)
            data.append({"value": [column, row, value], "label": label})
    return {
        "grid": grid_option(chart),
        "xAxis": category_axis_option(chart, list(content.categories), rotate=style.rotation),
        "yAxis": category_axis_option(chart, list(content.series), inverse=True),
        "visualMap": {
            "show": False,
            "min": low,
            "max": high if high > low else low + 1,
            "inRange": {"color": ["#f7f7f2", style.palette[0]]},
        },
        "series": [
            {
                "type": "heatmap",
                "data": data,
                "itemStyle": {"borderColor": style.background, "borderWidth": 1},
            }
        ],
    }


_OPTIONS: Mapping[str, Callable[[Chart], Option]] = MappingProxyType(
    {
        "bar": _bars,
        "bar_horizontal": _horizontal_bars,
        "bar_grouped": _bars,
        "bar_stacked": _bars,
        "line": _lines,
        "lines": _lines,
        "area": _lines,
        "mixed": _mixed,
        "pie": _circle,
        "donut": _circle,
        "rose": _circle,
        "scatter": _scatter,
        "histogram": _bars,
        "box": _box_plot,
        "radar": _radar,
        "funnel": _funnel,
        "heatmap": _heat_map,
    }
)
