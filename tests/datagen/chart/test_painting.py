"""Charts as drawn: read again from their pixels and boxes, by code that knows nothing of the painters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from vary.datagen.chart.content import KINDS, ChartContent
from vary.datagen.chart.crowding import PaintedChart, missing_texts, trouble_with
from vary.datagen.chart.labels import expected_texts, mark_name
from vary.datagen.chart.numbers import reading_step
from vary.datagen.chart.style import ChartStyle, looser
from vary.datagen.fonts import FontCatalogue, FontFace
from vary.datagen.sample import Box

Painter = Callable[[ChartContent, ChartStyle], PaintedChart]
Make = Callable[[str, str, int, FontFace], tuple[ChartContent, ChartStyle]]


def _readable(
    make: Make, paint: Painter, name: str, language: str, face: FontFace, first: int = 0
) -> tuple[ChartContent, ChartStyle, PaintedChart]:
    """The first chart whose words do not collide, as the engine looks for one."""
    for seed in range(first, first + 6):
        content, style = make(name, language, seed, face)
        for attempt in range(3):
            painted = paint(content, style)
            if not trouble_with(painted, expected_texts(content, style)):
                return content, style, painted
            style = looser(style, attempt + 1)
    raise AssertionError(f"six {name} charts, and the words of none can be read")


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_can_be_drawn_in_both_languages(
    name: str, make: Make, paint: Painter, face: FontFace, chinese_fonts: FontCatalogue
) -> None:
    for language, own in (("en", face), ("zh", chinese_fonts.faces[0])):
        content, style, painted = _readable(make, paint, name, language, own)
        assert painted.image.dtype == np.uint8
        assert painted.image.shape == (style.height, style.width, 3)
        for box in (*(text.box() for text in painted.texts), *painted.marks):
            assert _is_inked(painted.image, box), f"{name}: nothing is drawn where {box} should be"
        names = {box.label for box in painted.marks}
        known = {
            mark_name(content, series, place)
            for series in range(len(content.values))
            for place in range(content.values.shape[1] if name == "scatter" else len(content.categories))
            if name != "box" or series == 0
        }
        assert names <= known
        # ECharts does not say which shapes are a radar chart's points or a funnel's steps.
        assert names == known or (name in ("radar", "funnel") and not names) or not style.markers


def _is_inked(image: np.ndarray, box: Box) -> bool:
    left, top = max(0, int(box.left) - 1), max(0, int(box.top) - 1)
    part = image[top : int(box.bottom) + 2, left : int(box.right) + 2].reshape(-1, 3).astype(int)
    return bool(np.abs(part - part[0]).max() > 12) or bool(
        np.abs(part[0] - image[0, 0].astype(int)).max() > 12
    )


def _axis_scale(painted: PaintedChart, content: ChartContent, *, across: bool = False) -> tuple[float, float]:
    """Slope and offset from px to numbers, from the middles of the words at the axis' two end ticks."""
    axis = content.across if across else content.axis
    assert axis is not None
    places = []
    for end in (axis.low, axis.high):
        # Of all words with that number, the one at the axis: the lowest, or the leftmost.
        centres = [text.quad.mean(axis=0) for text in painted.texts if _number(text.text) == end]
        centre = max(centres, key=lambda c: c[1]) if across else min(centres, key=lambda c: c[0])
        places.append(float(centre[0 if across else 1]))
    slope = (axis.high - axis.low) / (places[1] - places[0])
    return slope, axis.low - slope * places[0]


def _number(text: str) -> float | None:
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return None


def test_bars_end_where_their_values_are(make: Make, paint: Painter, face: FontFace) -> None:
    """The rows of a bar's colour above its category, read against the numbers at the axis."""
    checked = 0
    for first in (0, 10):
        content, style, painted = _readable(make, paint, "bar", "en", face, first)
        slope, offset = _axis_scale(painted, content)
        boxes = {box.label: box for box in painted.marks}
        assert content.axis is not None
        for place, category in enumerate(content.categories):
            value = float(content.values[0, place])
            if value <= content.axis.step / 2:
                continue
            column = painted.image[:, int((boxes[category].left + boxes[category].right) / 2)].astype(int)
            colour = column[int((boxes[category].top + boxes[category].bottom) / 2)]
            rows = np.flatnonzero(np.abs(column - colour).max(axis=1) < 12)
            read = slope * (float(rows[0])) + offset
            assert abs(read - value) <= 0.5 * reading_step(content.axis) + 1.5 * abs(slope), (
                category,
                read,
                value,
            )
            checked += 1
        assert style.face is face
    assert checked >= 6


@pytest.mark.parametrize("name", ["line", "lines", "area", "mixed", "bar_grouped", "histogram"])
def test_marks_stand_at_their_values(name: str, make: Make, paint: Painter, face: FontFace) -> None:
    content, style = make(name, "en", 3, face)
    style = replace(style, markers=True, rotation=45)
    painted = paint(content, style)
    slope, offset = _axis_scale(painted, content)
    boxes = {box.label: box for box in painted.marks}
    assert content.axis is not None
    for series, row in enumerate(content.values):
        for place, value in enumerate(row.tolist()):
            if name in ("bar_grouped", "histogram") or (name == "mixed" and series == 0):
                if value <= 0:
                    continue
                y = boxes[mark_name(content, series, place)].top
            else:
                box = boxes[mark_name(content, series, place)]
                y = (box.top + box.bottom) / 2
            read = slope * y + offset
            assert abs(read - value) <= 2.5 * abs(slope), (series, place, read, value)


def test_points_stand_at_their_numbers(make: Make, paint: Painter, face: FontFace) -> None:
    content, _style, painted = _readable(make, paint, "scatter", "en", face)
    up, across = _axis_scale(painted, content), _axis_scale(painted, content, across=True)
    boxes = {box.label: box for box in painted.marks}
    for series, points in enumerate(content.values):
        for place, (x, y) in enumerate(points.tolist()):
            box = boxes[mark_name(content, series, place)]
            assert abs(across[0] * (box.left + box.right) / 2 + across[1] - x) <= 2.5 * abs(across[0])
            assert abs(up[0] * (box.top + box.bottom) / 2 + up[1] - y) <= 2.5 * abs(up[0])


def test_wedges_are_as_large_as_their_parts(make: Make, paint: Painter, face: FontFace) -> None:
    content, style = make("pie", "en", 2, face)
    painted = paint(content, replace(style, many_colours=True))
    left = min(box.left for box in painted.marks)
    right = max(box.right for box in painted.marks)
    top = min(box.top for box in painted.marks)
    centre, radius = np.array([(left + right) / 2, top + (right - left) / 2]), (right - left) / 2
    # Around the pie close to its rim, from the top clockwise: how long each colour goes on.
    angles = np.radians(np.arange(0, 360, 0.25) - 90)
    x, y = centre[0] + 0.95 * radius * np.cos(angles), centre[1] + 0.95 * radius * np.sin(angles)
    ring = painted.image[np.round(y).astype(int), np.round(x).astype(int)].astype(int)
    parts = content.values[0] / content.values[0].sum()
    for place, part in enumerate(parts.tolist()):
        middle = int((parts[:place].sum() + part / 2) * len(angles))
        same = np.abs(ring - ring[middle]).max(axis=1) < 10
        assert abs(same.mean() - part) < 0.02


def test_a_labelled_radar_says_its_values(make: Make, paint: Painter, face: FontFace) -> None:
    """One label serves all points of a row in ECharts; each must have its own text, at its point."""
    content, style = make("radar", "en", 4, face)
    values = np.linspace(content.axis.low, content.axis.high, len(content.categories) + 2)[1:-1].round(1)
    one = replace(content, series=(), values=values[None], decimals=1, labelled=True)
    painted = paint(one, replace(style, axis_names=False))
    assert not missing_texts(painted.texts, expected_texts(one, style))
    centres = {text.text: text.quad.mean(axis=0) for text in painted.texts}
    middle = np.mean([centres[word] for word in one.categories], axis=0)
    for place, word in enumerate(one.categories):
        spoke = centres[word] - middle
        point = middle + spoke * (values[place] - content.axis.low) / (content.axis.high - content.axis.low)
        nearest = min(values, key=lambda value: float(np.linalg.norm(centres[f"{value:.1f}"] - point)))
        assert nearest == values[place], f"another value than that of {word} stands at its point"


def test_nothing_is_read_into_words(make: Make, paint: Painter, face: FontFace) -> None:
    """Dollars and backslashes are text; no settings of the user get in."""
    import matplotlib

    content, style = make("bar", "en", 1, face)
    odd = replace(content, title="A $x^2$ costs {a|b} 5 \\alpha & <b>")
    with matplotlib.rc_context({"axes.facecolor": "red", "font.size": 40}):
        painted = paint(odd, style)
    assert odd.title in [text.text for text in painted.texts]
    np.testing.assert_array_equal(painted.image, paint(odd, style).image)
