"""A chart in the making: what the functions of matplotlib's kinds draw with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from vary.datagen.chart.content import ChartContent
from vary.datagen.chart.labels import across_name, mark_name, tick_labels, value_name
from vary.datagen.chart.style import ChartStyle

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties
    from matplotlib.text import Text

__all__ = ["DPI", "Drawing"]

DPI = 100
_POINT = 72 / DPI
"""Points in a px."""
_TICK, _PAD = 4.0, 5.0
"""px of a tick, and between it and its text."""


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
    texts: list[Text] = field(default_factory=list)
    """At the plot: ticks and values."""
    names: dict[str, str] = field(default_factory=lambda: {"x": "", "y": ""})
    """Of the axes; empty where none is shown."""

    def font(self, px: float) -> FontProperties:
        """The chart's font at an em of `px`."""
        return _font(self.style.face.path, px * _POINT)

    def write(
        self, text: str, x: float, y: float, *, shift: tuple[float, float] = (0, 0), **options: Any
    ) -> None:
        """A text at the axes' (x, y), moved by `shift` px right and up."""
        options = {"ha": "center", "va": "center", "color": self.style.foreground, **options}
        artist = self.axes.annotate(
            text,
            (x, y),
            xytext=(shift[0] * _POINT, shift[1] * _POINT),
            textcoords="offset points",
            fontproperties=self.font(options.pop("size", self.style.text_size * 0.92)),
            annotation_clip=False,
            **options,
        )
        self.texts.append(artist)

    def mark(self, series: int, category: int, artist: Any) -> None:
        """Remember the artist of a mark for its box."""
        self.marks.append((mark_name(self.content, series, category), artist))

    def points(self, px: float) -> float:
        """px as matplotlib's points."""
        return px * _POINT

    def name_categories(self, places: Any, axis: str = "x", *, ticks: bool = True) -> None:
        """The categories' words at `places` of an axis."""
        turn = self.style.rotation if axis == "x" else 0
        side = {"rotation": turn, "ha": "right", "rotation_mode": "anchor"} if turn else {}
        if turn == 90:
            side["va"] = "center"
        self.label_axis(axis, places, self.content.categories, ticks=ticks, **side)

    def number_axis(self, axis: str = "y") -> None:
        """Ticks, ends and grid of an axis of numbers."""
        values = self.content.axis if axis == "y" or self.content.across is None else self.content.across
        assert values is not None
        axes, style = self.axes, self.style
        self.label_axis(axis, values.ticks, tick_labels(values, style))
        look: Any = {"color": style.foreground, "alpha": 0.18, "linewidth": 0.8, "zorder": 0.5}
        if axis == "x":
            axes.set_xlim(values.low, values.high)
            if style.grid:
                axes.vlines(values.ticks, 0, 1, transform=axes.get_xaxis_transform(), **look)
        else:
            axes.set_ylim(values.low, values.high)
            if style.grid:
                axes.hlines(values.ticks, 0, 1, transform=axes.get_yaxis_transform(), **look)

    def label_axis(
        self, axis: str, places: Any, labels: Sequence[str], *, ticks: bool = True, **options: Any
    ) -> None:
        """Texts at places of an axis, with ticks.

        matplotlib's own ticks are made of five artists each, and take as long as all the rest of a chart.
        """
        from matplotlib.lines import Line2D
        from matplotlib.markers import TICKDOWN, TICKLEFT, MarkerStyle

        style, axes, zeros = self.style, self.axes, np.zeros(len(places))
        gap = _PAD + (_TICK if ticks else 0)
        if axis == "x":
            where, x, y, marker = axes.get_xaxis_transform(), places, zeros, MarkerStyle(TICKDOWN)
            options = {"shift": (0, -gap), "va": "top", **options}
        else:
            where, x, y, marker = axes.get_yaxis_transform(), zeros, places, MarkerStyle(TICKLEFT)
            options = {"shift": (-gap, 0), "ha": "right", "va": "center_baseline", **options}
        if ticks:
            line = Line2D(
                x,
                y,
                linestyle="none",
                marker=marker,
                markersize=_TICK * _POINT,
                markeredgewidth=0.8,
                color=style.foreground,
                transform=where,
                clip_on=False,
            )
            axes.add_artist(line)
        for across, up, label in zip(x, y, labels, strict=True):
            self.write(label, across, up, xycoords=where, size=style.text_size, **options)

    def name_axes(self, values: str = "y") -> None:
        """Name both axes; `values` is the one of the values."""
        across = "x" if values == "y" else "y"
        self.names = {
            values: value_name(self.content, self.style),
            across: across_name(self.content, self.style),
        }


@lru_cache(maxsize=16)
def _font(path: str, points: float) -> FontProperties:
    from matplotlib.font_manager import FontProperties

    return FontProperties(fname=path, size=points)
