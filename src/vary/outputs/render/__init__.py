"""Renderings of a document, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from vary.errors import DocumentError
from vary.outputs.document import Document
from vary.outputs.render.csv import render_csv
from vary.outputs.render.json import render_json
from vary.outputs.render.markdown import render_markdown
from vary.outputs.render.text import render_text

__all__ = ["FORMATS", "render"]


class _Format(NamedTuple):
    suffix: str
    render: Callable[..., str]


_TABLE = {
    "text": _Format(".txt", render_text),
    "markdown": _Format(".md", render_markdown),
    "json": _Format(".json", render_json),
    "csv": _Format(".csv", render_csv),
}

FORMATS: dict[str, str] = {name: entry.suffix for name, entry in _TABLE.items()}
"""The formats' names and the endings of their files."""


def render(document: Document, format: str = "text", *, page_breaks: bool = False) -> str:
    """``document`` in one of ``FORMATS``, ready to be written to a file in UTF-8.

    ``page_breaks`` marks where pages begin: a form feed in text, a comment in Markdown; JSON and CSV have
    their pages anyway. Raises DocumentError for a format that is not known, and for CSV where the document
    has neither charts nor detections.
    """
    if format not in _TABLE:
        raise DocumentError(f"there is no format {format!r}; choose one of {', '.join(FORMATS)}")
    return _TABLE[format].render(document, page_breaks=page_breaks)
