"""Charts, detections and fenced source as Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from vary.outputs.answers.tables import chart_table
from vary.outputs.boxes import NORMALISED_SIDE
from vary.outputs.document import Block, Page
from vary.outputs.render.markdown_escape import comment, escape_cell, escape_lines
from vary.outputs.text import clean_line

__all__ = ["fenced", "render_chart", "render_detections"]


def fenced(text: str, language: str = "") -> str:
    """``text`` in a code fence that nothing in it can close; nothing where there is no text."""
    if not text.strip():
        return ""
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def render_chart(block: Block) -> str:
    """Title and table, the JSON too where the table is one of paths; without values the model's words."""
    parts = [comment(block.note)] if block.note else []
    if block.data is None:
        return "\n\n".join(filter(None, [*parts, fenced(block.text)]))
    table = chart_table(block.data)
    if table.title.strip():
        parts += escape_lines([clean_line(table.title)])
    if table.rows:
        parts.append(_table(table.header, table.rows))
    if table.nested or not table.rows:
        parts.append(fenced(json.dumps(block.data, ensure_ascii=False, indent=2), "json"))
    return "\n\n".join(parts)


def render_detections(block: Block, page: Page) -> str:
    """A table with the edges in pixels and in thousandths, led by a line that says so; the model's words
    where it names no box.
    """
    parts = [comment(block.note)] if block.note else []
    if not block.detections:
        lines = [line.text for line in block.lines if line.text]
        return "\n\n".join([*parts, *(["  \n".join(escape_lines(lines))] if lines else [])])
    parts.append(
        f"Boxes: left, top, right, bottom in pixels of the page ({page.width} x {page.height}, origin at the "
        f"top left), and from 0 to {NORMALISED_SIDE} of its width and height."
    )
    rows = []
    for found in block.detections:
        edges = ", ".join(f"{edge:.1f}".removesuffix(".0") for edge in found.box.edges)
        normalised = ""
        if page.width and page.height:
            normalised = ", ".join(map(str, found.box.normalised(page.width, page.height)))
        confidence = "" if found.confidence is None else f"{found.confidence:.2f}"
        rows.append((found.label, edges, normalised, confidence))
    parts.append(_table(("label", "pixels", f"0-{NORMALISED_SIDE}", "confidence"), rows))
    return "\n\n".join(parts)


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [_row([escape_cell(cell) for cell in header]), _row(["---"] * len(header))]
    lines += [_row([escape_cell(str(cell)) for cell in row]) for row in rows]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
