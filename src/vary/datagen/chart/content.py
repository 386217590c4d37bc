"""What a chart says: its kind, words and numbers, before anything is drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from vary.datagen.chart.numbers import Axis, reading_step, rounded, value_axis

__all__ = ["FIVE_NUMBERS", "KINDS", "SHAPES", "ChartContent", "Kind", "RawContent", "finished"]

SHAPES = ("time", "compare", "share", "stages", "profile", "pairs", "distribution", "spread", "matrix")
"""What relation a template's numbers have: each kind of chart shows some of them."""

FIVE_NUMBERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "en": ("min", "q1", "median", "q3", "max"),
        "zh": ("最小值", "下四分位数", "中位数", "上四分位数", "最大值"),
    }
)
"""The keys of a box plot's values in an answer."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of chart: what it shows, how much of it, and how often its values are written at the marks.

    `series` and `categories` are the fewest and the most; `labelled` is a probability: 1 where the marks
    alone tell no number, 0 where there is no room.
    """

    name: str
    shapes: tuple[str, ...]
    series: tuple[int, int]
    categories: tuple[int, int]
    labelled: float

    @property
    def several(self) -> bool:
        """Whether the series have names."""
        return self.series[1] > 1


_KINDS = (
    Kind("bar", ("time", "compare", "share", "stages", "profile"), (1, 1), (3, 12), 0.6),
    Kind("bar_horizontal", ("compare", "share", "stages", "profile"), (1, 1), (3, 10), 0.6),
    Kind("bar_grouped", ("time", "compare", "profile", "matrix"), (2, 4), (2, 6), 0.5),
    Kind("bar_stacked", ("time", "compare", "matrix"), (2, 4), (3, 8), 0.5),
    Kind("line", ("time",), (1, 1), (5, 14), 0.5),
    Kind("lines", ("time",), (2, 4), (5, 12), 0.3),
    Kind("area", ("time",), (1, 1), (5, 14), 0.3),
    Kind("mixed", ("time",), (2, 2), (4, 8), 0.15),
    Kind("pie", ("share",), (1, 1), (3, 8), 1.0),
    Kind("donut", ("share",), (1, 1), (3, 8), 1.0),
    Kind("rose", ("share", "compare"), (1, 1), (4, 8), 1.0),
    Kind("scatter", ("pairs",), (1, 3), (5, 16), 0.0),
    Kind("histogram", ("distribution",), (1, 1), (5, 10), 0.5),
    Kind("box", ("spread",), (1, 1), (2, 6), 0.0),
    Kind("radar", ("profile",), (1, 3), (4, 8), 0.4),
    Kind("funnel", ("stages",), (1, 1), (3, 6), 1.0),
    Kind("heatmap", ("matrix",), (2, 6), (3, 7), 1.0),
)
KINDS: Mapping[str, Kind] = MappingProxyType({kind.name: kind for kind in _KINDS})
"""Every kind of chart by name."""

WITHOUT_AXIS = frozenset({"pie", "donut", "rose", "funnel", "heatmap"})
"""Kinds whose values stand only in writing."""
_LINE_OF_TEXT = 0.045
"""How high a line of text is in a plot, as a part of its height."""
_FROM_ZERO = frozenset(
    {"bar", "bar_horizontal", "bar_grouped", "bar_stacked", "area", "mixed", "histogram", "radar"}
)


@dataclass(frozen=True)
class RawContent:
    """Words, and numbers as they were drawn, not yet rounded.

    Attributes:
        categories: along the axis, around the circle, bins of a histogram, columns of a heat map.
        series: names in the legend, rows of a heat map; empty where there is one without a name.
        values: (series, categories); of a box plot (categories, 5); of a scatter chart (series, points, 2).
        value_name, unit, category_name: at the axes; empty where there is none.
        decimals: digits behind the point that the values are written with.
        source: the template's name, or `random`.
    """

    title: str
    categories: tuple[str, ...]
    series: tuple[str, ...]
    values: NDArray[np.float64]
    value_name: str
    unit: str
    category_name: str
    decimals: int
    source: str


@dataclass(frozen=True, kw_only=True)
class ChartContent(RawContent):
    """All that a chart says; every number is exactly what is drawn.

    Attributes:
        kind: a name of `KINDS`.
        language: `en` or `zh`.
        axis: of the values; None for kinds whose values stand only in writing.
        across: the axis of a scatter chart's first numbers.
        labelled: whether the values are written at the marks.
        percent: whether parts of the whole are written instead of the values (pie, donut).
    """

    kind: str
    language: str
    axis: Axis | None
    across: Axis | None
    labelled: bool
    percent: bool

    @property
    def percentages(self) -> tuple[str, ...]:
        """The parts of the whole as they are written, one digit behind the point."""
        parts = self.values[0] / self.values[0].sum() * 100
        return tuple(f"{part:.1f}%" for part in parts)


def finished(raw: RawContent, kind: Kind, language: str, rng: np.random.Generator) -> ChartContent:
    """The content with its axes chosen and its numbers rounded to what the chart shows.

    Numbers that are written at the marks have the content's decimals; others are rounded to what can be read
    off the axis (`reading_step`), and not finer than the decimals.  Marks are drawn at the rounded numbers.
    """
    labelled = bool(rng.random() < kind.labelled) and _has_room(raw, kind)
    percent = kind.name in ("pie", "donut") and bool(rng.random() < 0.4)
    axis = across = None
    values = raw.values
    if kind.name == "scatter":
        across = _axis_of(kind, values[..., 0], labelled)
        axis = _axis_of(kind, values[..., 1], labelled)
        values = np.stack(
            [_snapped(values[..., 0], reading_step(across)), _snapped(values[..., 1], reading_step(axis))], -1
        )
    elif kind.name in WITHOUT_AXIS:
        values = _snapped(values, 10.0**-raw.decimals)
    else:
        axis = _axis_of(kind, values.sum(0) if kind.name == "bar_stacked" else values, labelled)
        finest = 10.0**-raw.decimals
        step = finest if labelled else max(finest, reading_step(axis))
        values = _snapped(values, step)
        # Rounding up may have carried a stack of values beyond the axis.
        axis = _axis_of(kind, values.sum(0) if kind.name == "bar_stacked" else values, labelled, least=axis)
    return ChartContent(
        **{**vars(raw), "values": values},
        kind=kind.name,
        language=language,
        axis=axis,
        across=across,
        labelled=labelled,
        percent=percent,
    )


def _has_room(raw: RawContent, kind: Kind) -> bool:
    """Whether values can be written at the marks of several rows without running into each other."""
    if kind.name not in ("lines", "radar") or len(raw.series) < 2:
        return True
    values = _snapped(raw.values, 10.0**-raw.decimals)
    axis = _axis_of(kind, values, labelled=True)
    gaps = np.diff(np.sort(values, axis=0), axis=0)
    return kind.name == "lines" and float(gaps.min()) >= _LINE_OF_TEXT * (axis.high - axis.low)


def _axis_of(kind: Kind, values: NDArray[np.float64], labelled: bool, least: Axis | None = None) -> Axis:
    low, high = float(values.min()), float(values.max())
    if least is not None and least.low <= low and high <= least.high:
        return least
    from_zero = kind.name in _FROM_ZERO or 0 < low < 0.35 * high
    headroom = 0.08 if labelled else 0.02
    return value_axis(
        low, high, from_zero=from_zero, most_ticks=6 if kind.name == "radar" else 8, headroom=headroom
    )


def _snapped(values: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    """The nearest whole multiples of `step`, without the noise of the multiplication."""
    decimals = max(0, 2 - math.floor(math.log10(step)))
    snapped = np.round(values / step) * step
    return np.vectorize(lambda value: rounded(float(value), decimals), otypes=[np.float64])(snapped)
