"""Where the texts of matplotlib's charts stand: what lies around a plot, and each line of text as drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.transforms import IdentityTransform, blended_transform_factory
from numpy.typing import NDArray

from vary.datagen.chart.crowding import PaintedText, line_quad
from vary.datagen.chart.matplotlib_drawing import Drawing

__all__ = ["RecordingRenderer", "arrange"]

_EDGE, _GAP = 5.0, 7.0
"""px that stay free at the edges of the picture, and between the plot and what lies around it."""


class RecordingRenderer(RendererAgg):
    """Agg that remembers the lines of text it has drawn.

    Attributes:
        texts: the lines, in the order in which they were drawn.
    """

    def __init__(self, width: int, height: int, dpi: int) -> None:
        super().__init__(width, height, dpi)
        self.texts: list[PaintedText] = []
        self._sizes: dict[tuple[str, float], tuple[float, float, float]] = {}

    def get_text_width_height_descent(self, s: str, prop: Any, ismath: Any) -> tuple[float, float, float]:
        """As Agg's, but every text of a chart, which has one font, is shaped once: that takes long."""
        key = s, prop.get_size_in_points()
        if key not in self._sizes:
            self._sizes[key] = super().get_text_width_height_descent(s, prop, ismath)
        return self._sizes[key]

    def draw_text(
        self,
        gc: Any,
        x: float,
        y: float,
        s: str,
        prop: Any,
        angle: float,
        ismath: Any = False,
        mtext: Any = None,
    ) -> None:
        """Draw a line of text whose baseline begins at (x, y) px from the upper left corner."""
        super().draw_text(gc, x, y, s, prop, angle, ismath, mtext)
        if s.strip():
            width = self.get_text_width_height_descent(s, prop, ismath)[0]
            em = float(self.points_to_pixels(prop.get_size_in_points()))
            self.texts.append(PaintedText(s, line_quad(x, y, width, em, angle)))


def arrange(drawing: Drawing, renderer: RecordingRenderer) -> None:
    """Title, legend and names of the axes around the picture, and the plot in what they leave free.

    matplotlib's constrained layout comes to the same by measuring every artist twice.
    """
    style, plot = drawing.style, drawing.axes.transAxes
    pixels = IdentityTransform()
    left, low, right, high = _EDGE, _EDGE, style.width - _EDGE, style.height - _EDGE

    def write(x: float, y: float, text: str, size: float, **options: Any) -> Any:
        """The rectangle of a new text."""
        font = drawing.font(size)
        artist = drawing.figure.text(x, y, text, fontproperties=font, color=style.foreground, **options)
        return artist.get_window_extent(renderer)

    place = (
        {"x": 0.02 * style.width, "ha": "left"}
        if style.title_left
        else {"x": style.width / 2, "ha": "center"}
    )
    options: dict[str, Any] = {"y": high, "va": "top", "transform": pixels, **place}
    high -= write(text=drawing.content.title, size=style.title_size, **options).height + _GAP
    if drawing.handles:
        # Beside the picture or below it; above it, over the plot's middle.
        anchors: dict[str, Any] = {
            "right": ("center right", (right, style.height / 2), pixels),
            "bottom": ("lower center", (style.width / 2, low), pixels),
            "top": ("upper center", (0.5, high), blended_transform_factory(plot, pixels)),
        }
        size = _legend(drawing, *anchors[style.legend]).get_window_extent(renderer)
        right -= size.width + _GAP if style.legend == "right" else 0
        low += size.height + _GAP if style.legend == "bottom" else 0
        high -= size.height + _GAP if style.legend == "top" else 0
    if drawing.names["x"]:
        under = {"transform": blended_transform_factory(plot, pixels), "ha": "center", "va": "bottom"}
        low += write(0.5, low, drawing.names["x"], style.text_size, **under).height + _GAP / 2
    if drawing.names["y"]:
        beside = {"transform": blended_transform_factory(pixels, plot), "ha": "left", "va": "center"}
        left += write(left, 0.5, drawing.names["y"], style.text_size, rotation=90, **beside).width + _GAP / 2
    _place_plot(drawing, np.array([[left, low], [right, high]]), renderer)


def _legend(drawing: Drawing, where: Any, anchor: tuple[float, float], transform: Any) -> Any:
    style, content = drawing.style, drawing.content
    return drawing.figure.legend(
        loc=where,
        bbox_to_anchor=anchor,
        bbox_transform=transform,
        borderaxespad=0,
        labels=list(content.series or content.categories),
        handles=drawing.handles,
        ncols=1 if style.legend == "right" else min(len(drawing.handles), 4),
        prop=drawing.font(style.text_size),
        labelcolor=style.foreground,
        facecolor=style.background,
        edgecolor="none" if style.variant < 0.6 else "#888888",
    )


def _place_plot(drawing: Drawing, free: NDArray[np.float64], renderer: RecordingRenderer) -> None:
    """Make the plot so large that it fills `free`, (left, low), (right, high) px, with the texts at it.

    How far the texts reach over the plot is measured in one nearly as large; where its sides are equal it may
    have become much larger, and is measured again.
    """
    corners = free + np.ptp(free, axis=0) * [[0.08, 0.06], [-0.02, -0.02]]
    for _ in range(1 if drawing.axes.get_aspect() == "auto" else 2):
        _move_plot(drawing, corners)
        texts = np.array([text.get_window_extent(renderer).extents for text in drawing.texts])
        low = np.maximum(corners[0] - texts[:, :2].min(axis=0), 0)
        high = np.maximum(texts[:, 2:].max(axis=0) - corners[1], 0)
        corners = free + np.stack([low, -high])
    _move_plot(drawing, corners)


def _move_plot(drawing: Drawing, corners: NDArray[np.float64]) -> None:
    """Put the plot into a rectangle, (left, low), (right, high) px."""
    (left, low), (right, high) = corners / (drawing.style.width, drawing.style.height)
    drawing.axes.set_position((left, low, right - left, high - low))
    drawing.axes.apply_aspect()
