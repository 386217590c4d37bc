"""How matplotlib draws what is no plot of axes: circles, radars, funnels, heat maps."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vary.datagen.chart.labels import tick_labels, value_label
from vary.datagen.chart.matplotlib_drawing import Drawing
from vary.datagen.chart.numbers import Axis
from vary.datagen.chart.style import colour_of, ink_on

__all__ = ["circle", "funnel", "heat_map", "radar"]


def circle(drawing: Drawing) -> None:
    """Pies, donuts and roses, all of wedges."""
    from matplotlib.patches import Wedge

    content, style, axes = drawing.content, drawing.style, drawing.axes
    values = content.values[0]
    rose = content.kind == "rose"
    parts = np.full(len(values), 1 / len(values)) if rose else values / values.sum()
    radii = np.sqrt(values / values.max()) if rose else np.ones(len(values))
    ring = 0.35 + 0.25 * style.variant if content.kind == "donut" else None
    inner = 0.12 if rose else 0.0
    angle = 90.0
    in_legend = style.variant < 0.45
    for category, part in enumerate(parts.tolist()):
        end = angle - 360 * part
        colour = colour_of(content, style, 0, category)
        radius = float(max(radii[category], inner + 0.05))
        width = radius - inner if rose else ring
        wedge = Wedge(
            (0, 0), radius, end, angle, width=width, facecolor=colour, edgecolor=style.background, linewidth=1
        )
        axes.add_patch(wedge)
        drawing.mark(0, category, wedge)
        if in_legend:
            drawing.handles.append(wedge)
        _write_at_wedge(drawing, category, (angle + end) / 2, radius, ring, part, in_legend)
        angle = end
    axes.set_aspect("equal")
    axes.set_xlim(-1.3, 1.3)
    axes.set_ylim(-1.18, 1.18)
    axes.set_axis_off()


def _write_at_wedge(
    drawing: Drawing,
    category: int,
    angle: float,
    radius: float,
    ring: float | None,
    part: float,
    in_legend: bool,
) -> None:
    """The name outside, unless it stands in the legend; the value inside, or outside where it is tight."""
    content, style = drawing.content, drawing.style
    x, y = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    ink = ink_on(colour_of(content, style, 0, category))
    value = value_label(content, style, 0, category)
    side = "left" if x > 0.15 else "right" if x < -0.15 else "center"
    inside = content.kind != "rose" and part > 0.055
    if inside:
        middle = 1 - ring / 2 if ring else 0.68
        drawing.write(value, x * middle, y * middle, color=ink)
    rows = ([] if in_legend else [content.categories[category]]) + ([] if inside else [value])
    line = style.text_size * 1.25
    for row, text in enumerate(rows):
        shift = (6 * x, 6 * y + line * ((len(rows) - 1) / 2 - row) + line * 0.35 * y)
        drawing.write(text, x * radius * 1.02, y * radius * 1.02, shift=shift, ha=side)


def radar(drawing: Drawing) -> None:
    """Rows around a circle, the numbers at one spoke."""
    content, style, axes = drawing.content, drawing.style, drawing.axes
    scale, count = content.axis, len(content.categories)
    assert scale is not None
    directions = _directions(np.arange(count + 1) / count)
    _radar_web(drawing, scale, directions)
    for number, row in enumerate(content.values):
        colour = colour_of(content, style, number, 0)
        points = directions[:-1] * ((row - scale.low) / (scale.high - scale.low))[:, None]
        closed = np.concatenate([points, points[:1]])
        (line,) = axes.plot(
            *closed.T,
            color=colour,
            linewidth=drawing.points(style.line_width),
            marker="o" if style.markers else None,
            markersize=drawing.points(4 + style.line_width),
        )
        axes.fill(*closed.T, color=colour, alpha=0.08 + 0.2 * style.variant)
        if content.series:
            drawing.handles.append(line)
        for category, (x, y) in enumerate(points.tolist()):
            drawing.mark(number, category, (x, y, 4 + style.line_width))
            if content.labelled:
                drawing.write(value_label(content, style, number, category), x, y, shift=(0, 5), va="bottom")
    axes.set_aspect("equal")
    axes.set_xlim(-1.02, 1.02)
    axes.set_ylim(-1.02, 1.02)
    axes.set_axis_off()


def _radar_web(drawing: Drawing, scale: Axis, directions: NDArray[np.float64]) -> None:
    """Rings through the ticks, spokes to the categories, and what is written at both."""
    content, style = drawing.content, drawing.style
    if style.variant < 0.4:  # straight from spoke to spoke
        ring, beside = directions, (directions[0] + directions[1]) / 2
    else:
        ring, beside = (
            _directions(np.linspace(0, 1, 121)),
            _directions(np.array([0.5 / len(content.categories)]))[0],
        )
    labels = tick_labels(scale, style)
    radii = np.linspace(0, 1, len(labels))[1:]
    spokes = (np.array([[0, 0], end]) for end in directions[:-1])
    for line in (*(radius * ring for radius in radii), *spokes):
        drawing.axes.plot(*line.T, color=style.foreground, alpha=0.25, linewidth=0.8, zorder=0.5)
    # The numbers stand on the rings between the first two spokes; the web's middle has no room for one.
    for radius, label in zip(radii, labels[1:], strict=True):
        drawing.write(label, *(radius * beside))
    for (x, y), name in zip(directions.tolist(), content.categories, strict=False):
        side = "left" if x > 0.15 else "right" if x < -0.15 else "center"
        away = 6 + 0.6 * style.text_size * abs(y)
        drawing.write(name, x, y, shift=(away * x, away * y), ha=side, size=style.text_size)


def _directions(turns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points of the unit circle, (N, 2), so many turns from its top clockwise."""
    return np.stack([np.sin(2 * np.pi * turns), np.cos(2 * np.pi * turns)], axis=1)


def funnel(drawing: Drawing) -> None:
    """Steps below each other, as wide as their values."""
    from matplotlib.patches import Polygon

    content, style, axes = drawing.content, drawing.style, drawing.axes
    widths = content.values[0] / content.values[0].max()
    count = len(widths)
    for category, width in enumerate(widths.tolist()):
        below = widths[category + 1] if category + 1 < count and style.variant < 0.6 else width
        colour = colour_of(content, style, 0, category)
        corners = [(-width / 2, category), (width / 2, category), (below / 2, category + 0.92)]
        corners.append((-below / 2, category + 0.92))
        shape = Polygon(np.array(corners), closed=True, facecolor=colour)
        axes.add_patch(shape)
        drawing.mark(0, category, shape)
        text = value_label(content, style, 0, category)
        # A narrow step has its value beside it.
        if width > 0.25:
            drawing.write(text, 0, category + 0.46, color=ink_on(colour))
        else:
            drawing.write(text, width / 2, category + 0.46, shift=(6, 0), ha="left")
    drawing.label_axis("y", np.arange(count) + 0.46, content.categories, ticks=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlim(-0.53, 0.53)
    axes.set_ylim(count, -0.08)


def heat_map(drawing: Drawing) -> None:
    """Cells coloured by their values, which stand in them."""
    from matplotlib.colors import LinearSegmentedColormap, to_hex

    content, style, axes = drawing.content, drawing.style, drawing.axes
    colours = LinearSegmentedColormap.from_list("own", ["#f7f7f2", style.palette[0]])
    low, high = content.values.min(), content.values.max()
    parts = (content.values - low) / ((high - low) or 1.0)
    rows, columns = content.values.shape
    mesh = axes.pcolormesh(
        np.arange(columns + 1),
        np.arange(rows + 1),
        parts,
        cmap=colours,
        edgecolors=style.background,
        vmin=0,
        vmax=1,
    )
    mesh.set_linewidth(1.0)
    for row in range(rows):
        for column in range(columns):
            ink = ink_on(to_hex(colours(float(parts[row, column]))))
            drawing.mark(row, column, (column, row, column + 1, row + 1))
            drawing.write(value_label(content, style, row, column), column + 0.5, row + 0.5, color=ink)
    drawing.name_categories(np.arange(columns) + 0.5, ticks=False)
    drawing.label_axis("y", np.arange(rows) + 0.5, content.series, ticks=False)
    axes.invert_yaxis()
