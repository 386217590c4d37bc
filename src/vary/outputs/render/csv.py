"""Charts and detections as CSV: comma separated values in UTF-8 with a header, lines ended by a line feed."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

from vary.errors import DocumentError
from vary.outputs.answers import KIND_OF_TASK
from vary.outputs.answers.tables import DETECTION_COLUMNS, chart_table, detection_rows
from vary.outputs.document import BlockKind, Document, Page

__all__ = ["CSV_KINDS", "render_csv"]

CSV_KINDS = (BlockKind.CHART, BlockKind.DETECTION)
"""The blocks that a CSV file can hold."""
_LINE_ENDS = re.compile("\r\n?")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]")
_NUMBER = re.compile(r"\s*[+-]?[\d.,\s]*%?")
"""A number as people write it, or a dash that stands for none."""


def render_csv(document: Document, *, page_breaks: bool = False) -> str:
    """The document's detections as one table, and each of its charts as a table of its own.

    A cell of text that a spreadsheet would compute (`=1+1`, `@SUM(A1)`) has an apostrophe in front: the words
    on a page are not to act.  Control characters are left out.

    Tables are parted by an empty line.  Where the document has several pages, a chart's first column is its
    page; a detection's always is.  Where nothing was found, the table of detections has no rows.  Answers
    that could not be taken apart follow in a table of page and text.  ``page_breaks`` changes nothing.

    Raises DocumentError for a document of another task without charts and detections.
    """
    del page_breaks
    blocks = [(page, block) for page in document.pages for block in page.blocks]
    asked = KIND_OF_TASK.get(document.model.task)
    kinds = {asked} | {block.kind for _, block in blocks}
    detections = [row for page in document.pages for row in detection_rows(page)]
    charts = [(page, block.data) for page, block in blocks if block.data is not None]
    if not (detections or charts or kinds.intersection(CSV_KINDS)):
        raise DocumentError(_refusal(document.model.task))
    tables: list[str] = []
    if detections or BlockKind.DETECTION in kinds:
        tables.append(_table(DETECTION_COLUMNS, detections))
    tables += [_chart(page, data, several=len(document.pages) > 1) for page, data in charts]
    texts = [
        (page.number, block.text)
        for page, block in blocks
        if block.kind in CSV_KINDS and block.text and block.data is None and not block.detections
    ]
    if texts:
        tables.append(_table(("page", "text"), texts))
    return "\n".join(tables)


def _chart(page: Page, data: Any, *, several: bool) -> str:
    table = chart_table(data)
    if not several:
        return _table(table.header, table.rows)
    return _table(("page", *table.header), [(page.number, *row) for row in table.rows])


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    for row in [header, *rows]:
        writer.writerow([_text(cell) if isinstance(cell, str) else cell for cell in row])
    return stream.getvalue()


def _text(cell: str) -> str:
    """The text of a cell as text for whoever opens the file: a spreadsheet, a terminal."""
    # The writer quotes line feeds, but carriage returns only where they end its own lines.
    cell = _CONTROLS.sub("", _LINE_ENDS.sub("\n", cell))
    return f"'{cell}" if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell) else cell


def _refusal(task: str) -> str:
    asked = f" (its task was '{task}')" if task else ""
    tasks = ", ".join(name for name, kind in KIND_OF_TASK.items() if kind in CSV_KINDS)
    return (
        f"a CSV file holds charts and detections, and this document has neither{asked}; "
        f"choose another format, or a task that gives them: {tasks}"
    )
