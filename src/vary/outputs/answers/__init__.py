"""What models write about a page, taken apart: boxes and charts, never by evaluating it.

The parsers raise nothing, whatever they are given, and need time in proportion to the text.  What they could
not use they say in notes; the text itself is the caller's to keep.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from vary.outputs.answers.boxes import LabelledBox, ParsedBoxes, parse_boxes
from vary.outputs.answers.charts import ParsedChart, parse_chart
from vary.outputs.answers.tables import ChartTable, chart_table, detection_rows
from vary.outputs.document import BlockKind

__all__ = [
    "KIND_OF_TASK",
    "ChartTable",
    "LabelledBox",
    "ParsedBoxes",
    "ParsedChart",
    "chart_table",
    "detection_rows",
    "parse_boxes",
    "parse_chart",
]

KIND_OF_TASK: Mapping[str, BlockKind] = MappingProxyType(
    {
        "markdown": BlockKind.MARKDOWN,
        "table": BlockKind.LATEX,
        "chart": BlockKind.CHART,
        "detect": BlockKind.DETECTION,
        "locate": BlockKind.DETECTION,
    }
)
"""What the answer to a task is; the answers to all others are `BlockKind.TEXT`."""
