"""How a chart looks: its size, colours, font, legend and lines, whatever draws it."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, replace

import numpy as np

from vary.datagen.chart.content import ChartContent
from vary.datagen.fonts import FontFace

__all__ = ["ChartStyle", "colour_of", "draw_style", "ink_on", "looser", "paler"]

_PALETTES = (
    ("#4c72b0", "#dd8452", "#55a868", "#c44e52", "#8172b3", "#937860", "#da8bc3", "#8c8c8c"),
    ("#0b6e99", "#f2a541", "#6a994e", "#bc4749", "#7353ba", "#386641", "#e76f51", "#577590"),
    ("#2a9d8f", "#e9c46a", "#f4a261", "#e76f51", "#264653", "#8ab17d", "#b56576", "#6d597a"),
    ("#003f5c", "#7a5195", "#ef5675", "#ffa600", "#2f4b7c", "#a05195", "#f95d6a", "#ff7c43"),
    ("#1d3557", "#457b9d", "#a8dadc", "#e63946", "#f1a208", "#2a6f97", "#89a894", "#bc6c25"),
    ("#3d5a80", "#98c1d9", "#ee6c4d", "#293241", "#81b29a", "#f2cc8f", "#e07a5f", "#6b705c"),
    ("#5b8ff9", "#5ad8a6", "#5d7092", "#f6bd16", "#e8684a", "#6dc8ec", "#9270ca", "#ff9d4d"),
)
_GRAYS = ("#222222", "#6e6e6e", "#a6a6a6", "#d0d0d0", "#444444", "#8a8a8a", "#bdbdbd", "#e2e2e2")
_OWN_COLOURS = frozenset({"pie", "donut", "rose", "funnel"})
_TOLD_BY_COLOUR = frozenset({"lines", "mixed", "scatter", "radar"})
"""Thin marks, which grays would not tell apart."""
_MAY_HAVE_OWN_COLOURS = frozenset({"bar", "bar_horizontal", "box"})


@dataclass(frozen=True)
class ChartStyle:
    """The look of one chart.

    Attributes:
        width, height: px of the image.
        face: the font of all text.
        title_size, text_size: em in px.
        palette: colours of series, or of categories where there is one series.
        background, foreground: of the whole; text and axes are in the foreground's colour.
        many_colours: whether each category of a single series has a colour of its own.
        grid: whether lines go through the ticks.
        legend: `top`, `bottom` or `right`.
        title_left: whether the title stands left and not in the middle.
        axis_names: whether the axes' names are shown, with the unit.
        rotation: of the categories' words below the axis, degrees: 0, 30, 45 or 90.
        grouped: whether commas part thousands.
        bar_share: how much of its place a bar takes, 0 to 1.
        line_width: px.
        markers: whether the points of lines are marked.
        smooth: whether lines are curved between their points.
        frame: whether the plot has a frame on all sides.
        variant: 0 to 1, what else a renderer decides by chance.
    """

    width: int
    height: int
    face: FontFace
    title_size: float
    text_size: float
    palette: tuple[str, ...]
    background: str
    foreground: str
    many_colours: bool
    grid: bool
    legend: str
    title_left: bool
    axis_names: bool
    rotation: int
    grouped: bool
    bar_share: float
    line_width: float
    markers: bool
    smooth: bool
    frame: bool
    variant: float


def draw_style(
    content: ChartContent,
    face: FontFace,
    width: tuple[int, int],
    height: tuple[int, int],
    rng: np.random.Generator,
) -> ChartStyle:
    """A look for a chart, sides drawn from `width` and `height` px."""
    text = float(rng.uniform(12, 17))
    longest = max((len(word) for word in content.categories), default=0)
    count = len(content.categories) or 1
    across = int(rng.integers(width[0], width[1] + 1))
    # Words that would run into each other lie askew, where the kind has words below an axis.
    wide = longest * text * (1.0 if content.language == "zh" else 0.56)
    room = 0.8 * across / count
    rotation = 0 if wide < room else int(rng.choice([30, 45, 45, 90]))
    if rotation == 0 and rng.random() < 0.08:
        rotation = 45
    palette = _palette(rng, grays=content.kind not in _TOLD_BY_COLOUR)
    dark = rng.random() < 0.07
    return ChartStyle(
        width=across,
        height=int(rng.integers(height[0], height[1] + 1)),
        face=face,
        title_size=text * float(rng.uniform(1.1, 1.6)),
        text_size=text,
        palette=palette,
        background=_background(dark, rng),
        foreground="#eeeeee" if dark else str(rng.choice(["#000000", "#222222", "#333333", "#404a5a"])),
        many_colours=bool(rng.random() < 0.3),
        grid=bool(rng.random() < 0.6),
        legend=str(rng.choice(["top", "bottom", "right"], p=[0.45, 0.25, 0.3])),
        title_left=bool(rng.random() < 0.25),
        axis_names=bool(rng.random() < 0.75),
        rotation=rotation,
        grouped=bool(rng.random() < 0.3),
        bar_share=float(rng.uniform(0.45, 0.88)),
        line_width=float(rng.uniform(1.3, 3.5)),
        markers=bool(rng.random() < 0.65),
        smooth=bool(rng.random() < 0.2),
        frame=bool(rng.random() < 0.4),
        variant=float(rng.random()),
    )


def looser(style: ChartStyle, attempt: int) -> ChartStyle:
    """The style with more room for its words, for the next attempt at a chart whose words collided."""
    rotation = {0: 45, 30: 90, 45: 90}.get(style.rotation, 90) if attempt > 1 else style.rotation
    return replace(
        style,
        width=round(style.width * 1.15),
        height=round(style.height * 1.12),
        text_size=max(11.5, style.text_size * 0.9),
        title_size=max(13.0, style.title_size * 0.85),
        rotation=rotation,
        axis_names=style.axis_names and attempt < 2,
    )


def _palette(rng: np.random.Generator, *, grays: bool) -> tuple[str, ...]:
    chance = rng.random()
    if chance < 0.06 and grays:
        return _GRAYS
    if chance < 0.25:  # hues evenly around the circle from a random first
        start, saturation, value = rng.uniform(0, 1), rng.uniform(0.4, 0.85), rng.uniform(0.55, 0.92)
        return tuple(_hex((start + 0.382 * number) % 1, saturation, value) for number in range(8))
    known = _PALETTES[int(rng.integers(len(_PALETTES)))]
    first = int(rng.integers(len(known)))
    return known[first:] + known[:first]


def _background(dark: bool, rng: np.random.Generator) -> str:
    if dark:
        return _hex(float(rng.uniform(0.5, 0.75)), float(rng.uniform(0.1, 0.5)), float(rng.uniform(0.1, 0.2)))
    if rng.random() < 0.7:
        return "#ffffff"
    return _hex(float(rng.uniform(0, 1)), float(rng.uniform(0.01, 0.07)), float(rng.uniform(0.95, 1.0)))


def _hex(hue: float, saturation: float, value: float) -> str:
    parts = colorsys.hsv_to_rgb(hue, saturation, value)
    return "#" + "".join(f"{round(part * 255):02x}" for part in parts)


def ink_on(colour: str) -> str:
    """Black or white, whichever is read better on `colour` (#rrggbb)."""
    red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    return "#000000" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.55 else "#ffffff"


def paler(colour: str) -> str:
    """A colour between black and white, so that lines of either stand out from it."""
    parts = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return "#" + "".join(f"{round(0.55 * part + 0.45 * 0xB8):02x}" for part in parts)


def colour_of(content: ChartContent, style: ChartStyle, series: int, category: int) -> str:
    """The colour of a mark: its series', or its category's where every category has its own."""
    own = content.kind in _OWN_COLOURS or (style.many_colours and content.kind in _MAY_HAVE_OWN_COLOURS)
    return style.palette[(category if own else series) % len(style.palette)]
