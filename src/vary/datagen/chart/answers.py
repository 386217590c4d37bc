"""What a model shall write of a chart: the text of a Python dict of `title` and `data`.

`data` is, in the order in which the chart shows it:

- a chart of one series: `{category: value}`;
- of several, a radar chart of several and a heat map: `{series: {category: value}}`;
- a box plot: `{category: {'min': .., 'q1': .., 'median': .., 'q3': .., 'max': ..}}`, the words in Chinese on
  a Chinese chart;
- a scatter chart: `[[x, y], ..]` from left to right, or `{series: [[x, y], ..]}`;
- a pie or donut chart whose parts are written as percentages: `{category: '12.5%'}`.

Numbers stand without unit and without commas between thousands.
"""

from __future__ import annotations

from typing import Any

from vary.datagen.chart.content import FIVE_NUMBERS, ChartContent
from vary.datagen.chart.numbers import plain_number

__all__ = ["chart_answer", "chart_data"]


def chart_answer(content: ChartContent) -> str:
    """The answer about a chart, as Python writes the dict."""
    return repr({"title": content.title, "data": chart_data(content)})


def chart_data(content: ChartContent) -> dict[str, Any] | list[Any]:
    """What stands under `data`, as JSON values."""
    if content.kind == "scatter":
        groups = [
            [[plain_number(x), plain_number(y)] for x, y in sorted(points)]
            for points in content.values.tolist()
        ]
        return dict(zip(content.series, groups, strict=True)) if content.series else groups[0]
    if content.kind == "box":
        keys = FIVE_NUMBERS[content.language]
        return {
            category: dict(zip(keys, map(plain_number, five), strict=True))
            for category, five in zip(content.categories, content.values.tolist(), strict=True)
        }
    if content.percent:
        return dict(zip(content.categories, content.percentages, strict=True))
    rows = [
        dict(zip(content.categories, map(plain_number, row), strict=True)) for row in content.values.tolist()
    ]
    return dict(zip(content.series, rows, strict=True)) if content.series else rows[0]
