"""Charts and detections as rows of cells, for CSV and Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vary.outputs.document import Page

__all__ = ["DETECTION_COLUMNS", "ChartTable", "chart_table", "detection_rows"]

Cell = str | int | float
Path = tuple[str, ...]

DETECTION_COLUMNS = (
    "page",
    "label",
    "left",
    "top",
    "right",
    "bottom",
    "left_1000",
    "top_1000",
    "right_1000",
    "bottom_1000",
    "confidence",
)
"""Edges in pixels of the page, then in thousandths of its width and height."""


@dataclass(frozen=True, slots=True)
class ChartTable:
    """A chart as a table; every row is as long as the header."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    nested: bool
    """Whether it is so deep or uneven that each value got a row of its own, led by the keys on the way."""


def detection_rows(page: Page) -> list[tuple[Cell, ...]]:
    """The detections of a page in the order of `DETECTION_COLUMNS`."""
    rows: list[tuple[Cell, ...]] = []
    for block in page.blocks:
        for found in block.detections:
            normalised: Sequence[Cell] = [""] * 4
            if page.width and page.height:
                normalised = found.box.normalised(page.width, page.height)
            edges = [round(edge, 2) for edge in found.box.edges]
            confidence = "" if found.confidence is None else round(found.confidence, 4)
            rows.append((page.number, found.label, *edges, *normalised, confidence))
    return rows


def chart_table(data: Any) -> ChartTable:
    """A chart's data (see `Block.data`) as a table.

    - `{category: value}`: a row per category;
    - `{series: {category: value}}` and `{series: [values]}`: a row per series, a column per category;
    - `[{column: value}]` and `[[values]]`: a row per entry;
    - anything deeper or uneven: a row per value, led by the keys on the way to it.
    """
    title, content = "", data
    if isinstance(data, Mapping):
        title = _text(data.get("title", ""))
        content = data.get("data", {key: value for key, value in data.items() if key != "title"})
    header, rows, nested = _table(content)
    return ChartTable(title, header, rows, nested)


def _table(content: Any) -> tuple[tuple[str, ...], tuple[tuple[Cell, ...], ...], bool]:
    if not isinstance(content, Mapping | list):
        return ("value",), ((_cell(content),),), False
    entries = list(content.values()) if isinstance(content, Mapping) else content
    if not any(isinstance(entry, Mapping | list) for entry in entries):
        if isinstance(content, Mapping):
            return ("category", "value"), tuple((key, _cell(value)) for key, value in content.items()), False
        return ("value",), tuple((_cell(value),) for value in content), False
    named = ("series",) if isinstance(content, Mapping) else ()
    names = [(key,) for key in content] if isinstance(content, Mapping) else [()] * len(entries)
    for kind in (Mapping, list):
        if all(isinstance(entry, kind) and _is_flat(entry) for entry in entries):
            columns = _columns(entries)
            if (*named, *columns) and len(columns) * len(entries) <= 4 * sum(map(len, entries)) + 1000:
                rows = ((*name, *_row(entry, columns)) for name, entry in zip(names, entries, strict=True))
                return (*named, *columns), tuple(rows), False
    return _long_table(content)


def _is_flat(entry: Mapping[str, Any] | list[Any]) -> bool:
    values = entry.values() if isinstance(entry, Mapping) else entry
    return not any(isinstance(value, Mapping | list) for value in values)


def _columns(entries: Sequence[Any]) -> list[str]:
    """The keys of all entries, each once, in the order in which they are met; lists are numbered from 1."""
    if isinstance(entries[0], Mapping):
        return list(dict.fromkeys(key for entry in entries for key in entry))
    return [str(number + 1) for number in range(max(map(len, entries)))]


def _row(entry: Mapping[str, Any] | list[Any], columns: Sequence[str]) -> Iterable[Cell]:
    if isinstance(entry, Mapping):
        return (_cell(entry.get(column)) for column in columns)
    return [*map(_cell, entry), *[""] * (len(columns) - len(entry))]


def _long_table(content: Any) -> tuple[tuple[str, ...], tuple[tuple[Cell, ...], ...], bool]:
    """A row for each value: the keys on the way to it (entries of lists counted from 1), and the value."""
    found: list[tuple[Path, Cell]] = []
    pending: list[tuple[Path, Any]] = [((), content)]
    while pending:
        path, value = pending.pop()
        if isinstance(value, Mapping) and value:
            pending += [((*path, key), inner) for key, inner in reversed(list(value.items()))]
        elif isinstance(value, list) and value:
            pending += [((*path, str(n + 1)), value[n]) for n in reversed(range(len(value)))]
        else:
            found.append((path, _cell(value)))
    depth = max(len(path) for path, _ in found)
    header = (*(f"level {number + 1}" for number in range(depth)), "value")
    return header, tuple((*path, *[""] * (depth - len(path)), value) for path, value in found), True


def _cell(value: Any) -> Cell:
    """A value in a cell: numbers and text as they are, nothing for None, the rest as JSON."""
    if value is None:
        return ""
    if isinstance(value, str) or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    return json.dumps(value, ensure_ascii=False)


def _text(value: Any) -> str:
    return str(_cell(value))
