"""Charts drawn by matplotlib: figures as objects on the Agg canvas, no state of pyplot, one font file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from vary.datagen.chart.content import ChartContent
from vary.datagen.chart.crowding import PaintedChart, PaintedText, rotated_quad
from vary.datagen.chart.labels import across_name, mark_name, tick_labels, value_name
from vary.datagen.chart.style import ChartStyle
from vary.datagen.sample import Box
from vary.errors import MissingDependencyError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Drawing", "paint_with_matplotlib"]

DPI = 100
_POINT = 72 / DPI
"""Points in a px."""


@dataclass
class Drawing:
    """A chart in the making: what the functions of the kinds draw with."""

    content: ChartContent
    style: ChartStyle
    figure: Figure
    axes: Axes
    handles: list[Any] = field(default_factory=list)
    """Of the legend, one for each series (or category)."""
    marks: list[tuple[str, Any]] = field(default_factory=list)
    """Names of marks and their artists, or what stands for one: (x, y, radius in px) of a point, (left, low,
    right, high) of a cell, in the axes' numbers."""

    def font(self, px: float) -> Any:
        """The chart's font at an em of `px`."""
        from matplotlib.font_manager import FontProperties

        return FontProperties(fname=self.style.face.path, size=px * _POINT)

    def write(
        self, text: str, x: float, y: float, *, shift: tuple[float, float] = (0, 0), **options: Any
    ) -> None:
        """A text at the axes' (x, y), moved by `shift` px right and up."""
        options = {"ha": "center", "va": "center", "color": self.style.foreground, **options}
        self.axes.annotate(
            text,
            (x, y),
            xytext=(shift[0] * _POINT, shift[1] * _POINT),
            textcoords="offset points",
            fontproperties=self.font(options.pop("size", self.style.text_size * 0.92)),
            annotation_clip=False,
            **options,
        )

    def mark(self, series: int, category: int, artist: Any) -> None:
        """Remember the artist of a mark for its box."""
        self.marks.append((mark_name(self.content, series, category), artist))

    def points(self, px: float) -> float:
        """px as matplotlib's points."""
        return px * _POINT

    def name_categories(self, places: Any, axis: str = "x") -> None:
        """The categories' words at `places` of an axis."""
        turn = self.style.rotation if axis == "x" else 0
        side = {"ha": "center" if turn in (0, 90) else "right", "rotation_mode": "anchor"} if turn else {}
        if turn == 90:
            side = {"ha": "right", "va": "center", "rotation_mode": "anchor"}
        self.ticks(axis, places, list(self.content.categories), rotation=turn, **side)

    def number_axis(self, axis: str = "y") -> None:
        """Ticks and ends of the axis of values."""
        values = self.content.axis if axis == "y" or self.content.across is None else self.content.across
        assert values is not None
        self.ticks(axis, values.ticks, tick_labels(values, self.style))
        (self.axes.set_xlim if axis == "x" else self.axes.set_ylim)(values.low, values.high)

    def ticks(self, axis: str, places: Any, labels: list[str], **options: Any) -> None:
        """Texts at places of an axis, and nowhere else."""
        setter = self.axes.set_xticks if axis == "x" else self.axes.set_yticks
        setter(
            list(places),
            labels=labels,
            fontproperties=self.font(self.style.text_size),
            color=self.style.foreground,
            **options,
        )

    def name_axes(self, values: str = "y") -> None:
        """The names of both axes; `values` is the one of the values."""
        names = {values: value_name(self.content, self.style)}
        names["x" if values == "y" else "y"] = across_name(self.content, self.style)
        for axis, setter in (("x", self.axes.set_xlabel), ("y", self.axes.set_ylabel)):
            if names[axis]:
                setter(
                    names[axis], fontproperties=self.font(self.style.text_size), color=self.style.foreground
                )


def paint_with_matplotlib(content: ChartContent, style: ChartStyle) -> PaintedChart:
    """Draw a chart.

    Raises:
        MissingDependencyError: without matplotlib.
    """
    try:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("charts need matplotlib: pip install 'vary-toy[synth]'") from error
    from vary.datagen.chart.matplotlib_kinds import DRAWERS

    # A user's settings must not change the data; texts are never formulas.
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams["text.parse_math"] = False
        figure = Figure(
            figsize=(style.width / DPI, style.height / DPI),
            dpi=DPI,
            facecolor=style.background,
            layout="constrained",
        )
        canvas = FigureCanvasAgg(figure)
        polar = content.kind == "radar"
        drawing = Drawing(content, style, figure, figure.add_subplot(projection="polar" if polar else None))
        _dress(drawing)
        DRAWERS[content.kind](drawing)
        _title_and_legend(drawing)
        canvas.draw()
        image = np.asarray(canvas.buffer_rgba())[..., :3].copy()
        return PaintedChart(image, _texts(drawing, canvas.get_renderer()), _boxes(drawing, image.shape[0]))


def _dress(drawing: Drawing) -> None:
    """Colours of axes, frame and grid."""
    axes, style = drawing.axes, drawing.style
    axes.set_facecolor(style.background)
    axes.tick_params(colors=style.foreground, length=drawing.points(4))
    for side, spine in axes.spines.items():
        spine.set_color(style.foreground)
        spine.set_linewidth(0.8)
        if side in ("top", "right") and not style.frame:
            spine.set_visible(False)
    axes.set_axisbelow(True)


def _title_and_legend(drawing: Drawing) -> None:
    style, content = drawing.style, drawing.content
    place = {"x": 0.02, "ha": "left"} if style.title_left else {}
    drawing.figure.suptitle(
        content.title, fontproperties=drawing.font(style.title_size), color=style.foreground, **place
    )
    if not drawing.handles:
        return
    options: dict[str, Any] = {
        "labels": list(content.series or content.categories),
        "handles": drawing.handles,
        "ncols": 1 if style.legend == "right" else min(len(drawing.handles), 4),
        "prop": drawing.font(style.text_size),
        "labelcolor": style.foreground,
        "facecolor": style.background,
        "edgecolor": "none" if style.variant < 0.6 else "#888888",
    }
    if style.legend == "top" and content.kind != "radar":
        # A legend of the figure would stand at the height of the title.
        drawing.axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), **options)
    else:
        beside = style.legend == "right"
        drawing.figure.legend(loc="outside right center" if beside else "outside lower center", **options)


def _texts(drawing: Drawing, renderer: Any) -> tuple[PaintedText, ...]:
    """All visible texts and where they stand, px from the upper left corner."""
    from matplotlib.text import Text

    height = drawing.style.height
    found = []
    for artist in drawing.figure.findobj(Text):
        assert isinstance(artist, Text)
        text = artist.get_text()
        if not text.strip() or not artist.get_visible():
            continue
        box = artist.get_window_extent(renderer)
        wide, high, _ = renderer.get_text_width_height_descent(text, artist.get_fontproperties(), False)
        turn = float(artist.get_rotation()) % 180
        quad = rotated_quad(box.x0, height - box.y1, box.x1, height - box.y0, wide, high, turn)
        if turn in (0, 90):
            quad = rotated_quad(box.x0, height - box.y1, box.x1, height - box.y0, box.width, box.height, 0.0)
        found.append(PaintedText(text, quad))
    return tuple(found)


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
