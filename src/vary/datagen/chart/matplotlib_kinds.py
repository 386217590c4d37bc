"""How matplotlib draws each kind of chart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from vary.datagen.chart.labels import value_label
from vary.datagen.chart.matplotlib_drawing import Drawing
from vary.datagen.chart.matplotlib_shapes import circle, funnel, heat_map, radar
from vary.datagen.chart.style import colour_of, ink_on, paler

__all__ = ["DRAWERS"]

_MARKERS = ("o", "s", "^", "D", "v")
_DASHES = ("-", "--", "-.", ":")


def _vertical_bars(drawing: Drawing) -> None:
    """Bars beside each other or stacked, of one series or several, and histograms."""
    content, style, axes = drawing.content, drawing.style, drawing.axes
    series, count = content.values.shape
    stacked, histogram = content.kind == "bar_stacked", content.kind == "histogram"
    places = np.arange(count)
    whole = 1.0 if histogram else style.bar_share
    width = whole if stacked else whole / series
    base = np.zeros(count)
    for number in range(series):
        shift = 0.0 if stacked else (number - (series - 1) / 2) * width
        values = content.values[number]
        bars = axes.bar(
            places + shift,
            values,
            width,
            bottom=base if stacked else 0,
            color=[colour_of(content, style, number, category) for category in range(count)],
            edgecolor=style.background if histogram or stacked else "none",
            linewidth=0.8,
        )
        for category, bar in enumerate(bars.patches):
            drawing.mark(number, category, bar)
        _write_at_bars(drawing, number, places + shift, base, values, stacked=stacked)
        if content.series:
            drawing.handles.append(bars)
        base = base + values if stacked else base
    drawing.name_categories(places)
    axes.set_xlim(-0.5 - 0.1 * (not histogram), count - 0.5 + 0.1 * (not histogram))
    drawing.number_axis()
    drawing.name_axes()
    if content.values.min() < 0:
        axes.axhline(0, color=style.foreground, linewidth=0.8)


def _write_at_bars(
    drawing: Drawing,
    number: int,
    places: NDArray[np.float64],
    base: NDArray[np.float64],
    values: NDArray[np.float64],
    *,
    stacked: bool,
) -> None:
    if not drawing.content.labelled:
        return
    style = drawing.style
    for category, value in enumerate(values.tolist()):
        text = value_label(drawing.content, style, number, category)
        if stacked:
            ink = ink_on(colour_of(drawing.content, style, number, category))
            drawing.write(text, places[category], base[category] + value / 2, color=ink)
        else:
            up = value >= 0
            drawing.write(
                text, places[category], value, shift=(0, 3 if up else -3), va="bottom" if up else "top"
            )


def _horizontal_bars(drawing: Drawing) -> None:
    content, style, axes = drawing.content, drawing.style, drawing.axes
    count = len(content.categories)
    places = np.arange(count)
    colours = [colour_of(content, style, 0, category) for category in range(count)]
    bars = axes.barh(places, content.values[0], style.bar_share, color=colours)
    for category, bar in enumerate(bars.patches):
        drawing.mark(0, category, bar)
        if content.labelled:
            value = float(content.values[0, category])
            right = value >= 0
            drawing.write(
                value_label(content, style, 0, category),
                value,
                category,
                shift=(4 if right else -4, 0),
                ha="left" if right else "right",
            )
    drawing.name_categories(places, "y")
    axes.invert_yaxis()
    drawing.number_axis("x")
    drawing.name_axes("x")
    if content.values.min() < 0:
        axes.axvline(0, color=style.foreground, linewidth=0.8)


def _lines(drawing: Drawing) -> None:
    """One line or several, and the area below one."""
    content = drawing.content
    for number in range(len(content.values)):
        _line(drawing, number)
    if content.kind == "area":
        low = content.axis.low if content.axis is not None else 0.0
        drawing.axes.fill_between(
            np.arange(len(content.categories)),
            content.values[0],
            max(low, 0.0) if low >= 0 else 0.0,
            color=colour_of(content, drawing.style, 0, 0),
            alpha=0.25 + 0.5 * drawing.style.variant,
        )
    _finish_lines(drawing)


def _line(drawing: Drawing, number: int) -> None:
    content, style = drawing.content, drawing.style
    places = np.arange(len(content.categories))
    size = 3 + 1.6 * style.line_width
    dashed = style.variant < 0.25 and len(content.values) > 1
    marker = _MARKERS[number % len(_MARKERS)] if style.variant < 0.5 else "o"
    (line,) = drawing.axes.plot(
        places,
        content.values[number],
        color=colour_of(content, style, number, 0),
        linewidth=drawing.points(style.line_width),
        linestyle=_DASHES[number % len(_DASHES)] if dashed else "-",
        marker=marker if style.markers else None,
        markersize=drawing.points(size),
        clip_on=False,
    )
    if content.series:
        drawing.handles.append(line)
    for category, value in enumerate(content.values[number].tolist()):
        drawing.mark(number, category, (category, value, size / 2 + 1))
        if content.labelled:
            text = value_label(content, style, number, category)
            drawing.write(text, category, value, shift=(0, size / 2 + 3), va="bottom")


def _finish_lines(drawing: Drawing) -> None:
    count = len(drawing.content.categories)
    drawing.name_categories(np.arange(count))
    drawing.axes.set_xlim(-0.4, count - 0.6)
    drawing.number_axis()
    drawing.name_axes()


def _mixed(drawing: Drawing) -> None:
    """Bars of the first series and a line of the second."""
    content, style = drawing.content, drawing.style
    places = np.arange(len(content.categories), dtype=np.float64)
    bars = drawing.axes.bar(
        places, content.values[0], style.bar_share * 0.8, color=colour_of(content, style, 0, 0)
    )
    drawing.handles.append(bars)
    for category, bar in enumerate(bars.patches):
        drawing.mark(0, category, bar)
    _write_at_bars(drawing, 0, places, np.zeros(len(places)), content.values[0], stacked=False)
    _line(drawing, 1)
    _finish_lines(drawing)


def _scatter(drawing: Drawing) -> None:
    content, style = drawing.content, drawing.style
    size = 5 + 2.2 * style.line_width
    for number, points in enumerate(content.values):
        marker = _MARKERS[number % len(_MARKERS)] if style.variant < 0.6 else "o"
        dots = drawing.axes.scatter(
            points[:, 0],
            points[:, 1],
            s=drawing.points(size) ** 2,
            color=colour_of(content, style, number, 0),
            marker=marker,
            clip_on=False,
            zorder=3,
        )
        if content.series:
            drawing.handles.append(dots)
        for place, (x, y) in enumerate(points.tolist()):
            drawing.mark(number, place, (x, y, size / 2 + 1))
    drawing.number_axis("x")
    drawing.number_axis("y")
    drawing.name_axes()


def _box_plot(drawing: Drawing) -> None:
    content, style, axes = drawing.content, drawing.style, drawing.axes
    names = ("whislo", "q1", "med", "q3", "whishi")
    stats = [{**dict(zip(names, five, strict=True)), "fliers": []} for five in content.values.tolist()]
    ink = {"color": style.foreground, "linewidth": drawing.points(1.4)}
    places = np.arange(len(stats))
    drawn = axes.bxp(
        stats,
        positions=places,
        widths=0.35 + 0.3 * style.variant,
        patch_artist=True,
        showfliers=False,
        boxprops={"edgecolor": style.foreground, "linewidth": drawing.points(1.4)},
        whiskerprops=ink,
        capprops=ink,
        medianprops={**ink, "linewidth": drawing.points(2.2)},
    )
    for category, box in enumerate(drawn["boxes"]):
        box.set_facecolor(paler(colour_of(content, style, 0, category)))
        drawing.mark(0, category, box)
    drawing.name_categories(places)
    axes.set_xlim(-0.6, len(stats) - 0.4)
    drawing.number_axis()
    drawing.name_axes()


DRAWERS: Mapping[str, Callable[[Drawing], None]] = MappingProxyType(
    {
        "bar": _vertical_bars,
        "bar_horizontal": _horizontal_bars,
        "bar_grouped": _vertical_bars,
        "bar_stacked": _vertical_bars,
        "line": _lines,
        "lines": _lines,
        "area": _lines,
        "mixed": _mixed,
        "pie": circle,
        "donut": circle,
        "rose": circle,
        "scatter": _scatter,
        "histogram": _vertical_bars,
        "box": _box_plot,
        "radar": radar,
        "funnel": funnel,
        "heatmap": heat_map,
    }
)
"""The function that draws each kind."""
