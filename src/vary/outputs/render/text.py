"""A document as plain text: the lines as they stand on the page."""

from __future__ import annotations

from vary.outputs.document import PAGE_JOINER, Document

__all__ = ["FORM_FEED", "render_text"]

FORM_FEED = "\f"


def render_text(document: Document, *, page_breaks: bool = False) -> str:
    """``document.text`` with a line break at its end; nothing at all where there is no text.

    With ``page_breaks`` a form feed stands between pages, also around those without text, so that the n-th
    piece is the n-th page.
    """
    pages = [page.text for page in document.pages]
    if page_breaks:
        return FORM_FEED.join(f"{text}\n" if text else "" for text in pages)
    text = PAGE_JOINER.join(filter(None, pages))
    return f"{text}\n" if text else ""
