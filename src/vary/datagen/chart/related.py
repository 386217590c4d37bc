"""Related content (stage 2): a template's topic with categories, series and numbers that fit it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vary.datagen.chart.content import Kind, RawContent
from vary.datagen.chart.numbers import value_axis, written
from vary.datagen.chart.templates import Lists, Template, all_templates, category_lists

__all__ = ["bins", "box_values", "pair_values", "related_content", "templates_for"]

_YEARS = (1995, 2025)
_PLACE = re.compile(r"\{(\w+)\}")


@lru_cache(maxsize=256)
def templates_for(kind: Kind, language: str) -> tuple[Template, ...]:
    """The templates that a kind of chart can show: of its shapes, with series where it has several."""
    return tuple(
        template
        for template in all_templates()
        if template.language == language
        and template.shape in kind.shapes
        and (_fits_series(template, kind))
        and not (kind.name in ("bar_stacked", "area", "radar", "histogram") and template.low < 0)
    )


def _fits_series(template: Template, kind: Kind) -> bool:
    """Whether there are as many series as the kind wants: none named, or at least its fewest."""
    least, most = kind.series
    if not template.series:
        return least == 1
    return most > 1 and len(template.series) >= max(2, least)


def related_content(kind: Kind, language: str, rng: np.random.Generator) -> RawContent:
    """A template's content for a chart of `kind`, drawn from `rng`."""
    known = templates_for(kind, language)
    template = known[int(rng.integers(len(known)))]
    lists = category_lists(language)
    names = _names(lists, rng)
    title = _filled(template.titles[int(rng.integers(len(template.titles)))], names)
    series = _series(template, kind, names, rng)
    if template.shape == "pairs":
        return _pairs(template, kind, title, series, rng)
    if template.shape == "distribution":
        return _distribution(template, kind, title, language, rng)
    categories, ordered = _categories(template, kind, lists, rng)
    if template.shape == "spread":
        values = box_values(template.low, template.high, len(categories), rng)
    else:
        values = _values(template, len(series) or 1, len(categories), rng)
        if template.shape == "compare" and not ordered and len(series) < 2 and rng.random() < 0.4:
            values = -np.sort(-values, axis=1)  # a ranking
    return RawContent(
        title, categories, series, values, template.value, template.unit, "", template.decimals, template.name
    )


def _names(lists: Lists, rng: np.random.Generator) -> dict[str, str]:
    """What stands at the places of titles and series."""
    names = {name: words[int(rng.integers(len(words)))] for name, words in lists.names.items()}
    names["year"] = lists.year.format(int(rng.integers(_YEARS[0], _YEARS[1] + 1)))
    others = [city for city in lists.names["city"] if city != names["city"]]
    names["city2"] = others[int(rng.integers(len(others)))]
    return names


def _filled(pattern: str, names: dict[str, str]) -> str:
    return _PLACE.sub(lambda match: names[match[1]], pattern)


def _series(
    template: Template, kind: Kind, names: dict[str, str], rng: np.random.Generator
) -> tuple[str, ...]:
    words = [_filled(word, names) for word in template.series]
    if not words:
        return ()
    count = int(rng.integers(max(2, kind.series[0]), min(kind.series[1], len(words)) + 1))
    kept = sorted(rng.permutation(len(words))[:count].tolist())
    return tuple(words[place] for place in kept)


def _categories(
    template: Template, kind: Kind, lists: Lists, rng: np.random.Generator
) -> tuple[tuple[str, ...], bool]:
    """The categories, and whether they have an order of their own."""
    least, most = kind.categories
    if template.categories == "years":
        count = int(rng.integers(max(least, 4), most + 1))
        first = int(rng.integers(_YEARS[0], _YEARS[1] - count + 2))
        return tuple(lists.year_category.format(first + number) for number in range(count)), True
    if isinstance(template.categories, str) and template.categories in lists.ordered:
        words: Sequence[str] = lists.ordered[template.categories]
        count = len(words) if len(words) <= most and rng.random() < 0.6 else min(len(words), most)
        count = int(rng.integers(min(least, count), count + 1)) if rng.random() < 0.4 else count
        first = int(rng.integers(len(words) - count + 1))
        return tuple(words[first : first + count]), True
    words = (
        lists.unordered[template.categories] if isinstance(template.categories, str) else template.categories
    )
    count = int(rng.integers(min(least, len(words)), min(most, len(words)) + 1))
    places = rng.permutation(len(words))[:count].tolist()
    # Steps of a process and sizes come in their order, others in any.
    ordered = template.shape == "stages" or template.trend == "peak"
    if ordered or rng.random() < 0.5:
        places.sort()
    return tuple(words[place] for place in places), ordered


def _values(template: Template, series: int, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """(series, count) numbers within the template's range."""
    low, high = template.low, template.high
    if template.shape == "stages":
        falls = rng.uniform(0.35, 0.92, count - 1)
        parts = np.concatenate([[rng.uniform(0.4, 1.0)], falls]).cumprod()
        return np.maximum(high * parts, 10.0**-template.decimals * (count - np.arange(count)))[None]
    rows = []
    for _ in range(series):
        # Each series keeps to a part of the range.
        width = rng.uniform(0.35, 1.0) if series > 1 else rng.uniform(0.6, 1.0)
        start = rng.uniform(0, 1 - width)
        rows.append(low + (high - low) * (start + width * _course(template.trend, count, rng)))
    values = np.array(rows)
    if template.shape == "share":
        values = low + (high - low) * rng.dirichlet(np.full(count, 1.6), series) * rng.uniform(0.6, 1)
    return values


def _course(trend: str, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """`count` numbers from 0 to 1 that go as a trend says."""
    along = np.linspace(0, 1, count)
    if trend == "rise":
        base = along ** rng.uniform(0.6, 1.8)
    elif trend == "fall":
        base = (1 - along) ** rng.uniform(0.6, 1.8)
    elif trend == "season":
        base = 0.5 - 0.5 * np.cos(2 * np.pi * (along * rng.uniform(0.85, 1.0) + rng.uniform(-0.04, 0.04)))
    elif trend == "peak":
        base = np.exp(-((along - rng.uniform(0.35, 0.65)) ** 2) / rng.uniform(0.04, 0.12))
    elif trend == "sorted":
        return np.asarray(-np.sort(-rng.beta(1.2, 1.6, count)))
    else:
        return np.asarray(rng.uniform(0, 1, count))
    return np.asarray(np.clip(base * 0.9 + rng.normal(0, 0.06, count) + 0.05, 0, 1))


def box_values(low: float, high: float, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """(count, 5): smallest, quartiles and largest, at least a twentieth of the range apart."""
    gaps = 0.05 + rng.dirichlet(np.full(6, 2.0), count) * 0.7
    return np.asarray(low + (high - low) * gaps.cumsum(axis=1)[:, :5])


def _pairs(
    template: Template, kind: Kind, title: str, series: tuple[str, ...], rng: np.random.Generator
) -> RawContent:
    assert template.across is not None
    name, left, right = template.across
    points = pair_values(len(series) or 1, int(rng.integers(*kind.categories)), template.trend, rng)
    points[..., 0] = left + points[..., 0] * (right - left)
    points[..., 1] = template.low + points[..., 1] * (template.high - template.low)
    return RawContent(
        title, (), series, points, template.value, template.unit, name, template.decimals, template.name
    )


def pair_values(series: int, count: int, trend: str, rng: np.random.Generator) -> NDArray[np.float64]:
    """(series, count, 2) points of the unit square, none upon another."""
    each = max(4, count // series)
    points: list[tuple[float, float]] = []
    tries = 0
    while len(points) < series * each:
        tries += 1
        if tries > 400:  # the first ones lie so that no other has room
            points, tries = [], 0
        x = float(rng.uniform(0, 1))
        middle = {"positive": x, "negative": 1 - x}.get(trend, 0.5)
        spread = 0.13 if trend in ("positive", "negative") else 0.35
        y = float(np.clip(middle + rng.normal(0, spread), 0, 1))
        # So far apart that the marks stay apart when both numbers are rounded.
        if all(abs(x - other) > 0.055 or abs(y - another) > 0.09 for other, another in points):
            points.append((x, y))
    return np.array(points).reshape(series, each, 2)


def _distribution(
    template: Template, kind: Kind, title: str, language: str, rng: np.random.Generator
) -> RawContent:
    assert template.across is not None
    name, left, right = template.across
    labels = bins(left, right, language, rng)
    counts = template.low + (template.high - template.low) * _bell(template.trend, len(labels), rng)
    return RawContent(
        title, labels, (), counts[None], template.value, template.unit, name, template.decimals, template.name
    )


def bins(left: float, right: float, language: str, rng: np.random.Generator) -> tuple[str, ...]:
    """The bins of a histogram as they are written, such as `20–30`."""
    dash = str(rng.choice(["–", "-", "~"] if language == "zh" else ["–", "-"]))
    axis = value_axis(left, right, from_zero=False, most_ticks=int(rng.integers(6, 12)))
    edges = [written(edge, axis.decimals) for edge in axis.ticks]
    return tuple(f"{first}{dash}{last}" for first, last in pairwise(edges))


def _bell(trend: str, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    along = np.linspace(0, 1, count)
    centre = rng.uniform(0.35, 0.65) if trend == "normal" else rng.uniform(0.05, 0.25)
    widths = np.where(along < centre, 0.18 if trend != "normal" else 0.2, 0.2 if trend == "normal" else 0.35)
    heights = np.exp(-(((along - centre) / widths) ** 2) / 2) * np.exp(rng.normal(0, 0.12, count))
    return np.asarray(np.clip(heights * rng.uniform(0.6, 1), 0, 1))
