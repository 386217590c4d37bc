"""Charts drawn by matplotlib: figures as objects on the Agg canvas, no state of pyplot, one font file."""

from __future__ import annotations

import numpy as np

from vary.datagen.chart.content import ChartContent
from vary.datagen.chart.crowding import PaintedChart
from vary.datagen.chart.matplotlib_drawing import DPI, Drawing
from vary.datagen.chart.style import ChartStyle
from vary.datagen.sample import Box
from vary.errors import MissingDependencyError

__all__ = ["paint_with_matplotlib"]


def paint_with_matplotlib(content: ChartContent, style: ChartStyle) -> PaintedChart:
    """Draw a chart.

    Raises:
        MissingDependencyError: without matplotlib.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("charts need matplotlib: pip install 'vary-toy[synth]'") from error
    from vary.datagen.chart.matplotlib_kinds import DRAWERS
    from vary.datagen.chart.matplotlib_layout import RecordingRenderer, arrange

    # A user's settings must not change the data; texts are never formulas.
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams["text.parse_math"] = False
        figure = Figure(figsize=(style.width / DPI, style.height / DPI), dpi=DPI, facecolor=style.background)
        renderer = RecordingRenderer(style.width, style.height, DPI)
        drawing = Drawing(content, style, figure, figure.add_axes((0.0, 0.0, 1.0, 1.0)))
        _dress(drawing)
        DRAWERS[content.kind](drawing)
        arrange(drawing, renderer)
        figure.draw(renderer)
        image = np.asarray(renderer.buffer_rgba())[..., :3].copy()
        return PaintedChart(image, tuple(renderer.texts), _boxes(drawing, image.shape[0]))


def _dress(drawing: Drawing) -> None:
    """Colours of axes and frame."""
    axes, style = drawing.axes, drawing.style
    axes.set_facecolor(style.background)
    axes.xaxis.set_visible(False)  # `label_axis` draws ticks
    axes.yaxis.set_visible(False)
    for side, spine in axes.spines.items():
        spine.set_color(style.foreground)
        spine.set_linewidth(0.8)
        if side in ("top", "right") and not style.frame:
            spine.set_visible(False)


def _boxes(drawing: Drawing, height: int) -> tuple[Box, ...]:
    """The boxes of the marks, px from the upper left corner."""
    boxes = []
    for name, artist in drawing.marks:
        if isinstance(artist, tuple) and len(artist) == 4:
            corners = drawing.axes.transData.transform((artist[:2], artist[2:]))
            (left, low), (right, high) = corners.min(axis=0), corners.max(axis=0)
        elif isinstance(artist, tuple):
            x, y, radius = artist
            across, up = drawing.axes.transData.transform((x, y))
            left, right, low, high = across - radius, across + radius, up - radius, up + radius
        else:
            extent = artist.get_window_extent()
            left, right, low, high = extent.x0, extent.x1, extent.y0, extent.y1
        if right > left and high > low:
            edges = (left, height - high, right, height - low)
            left, top, right, bottom = (round(float(edge), 2) for edge in edges)
            boxes.append(Box(name, left, top, right, bottom))
    return tuple(boxes)
