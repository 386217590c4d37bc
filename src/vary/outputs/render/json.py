"""A document as JSON (see ``vary/outputs/document.schema.json``)."""

from __future__ import annotations

from vary.outputs.document import Document

__all__ = ["render_json"]


def render_json(document: Document, *, page_breaks: bool = False) -> str:
    """The document as JSON with a line break at its end.  Pages are apart whatever ``page_breaks`` says."""
    del page_breaks
    return document.to_json() + "\n"
