"""A document as Markdown: headings, paragraphs in one line each, tables, and comments where a page went
wrong.
"""

from __future__ import annotations

from statistics import median

from vary.outputs.document import Block, BlockKind, Document, Page
from vary.outputs.render.markdown_escape import comment, escape_heading, escape_lines
from vary.outputs.render.markdown_tables import fenced, render_chart, render_detections
from vary.outputs.text import clean_line, join_lines, words_of

__all__ = ["render_markdown"]

_TITLE_RATIO = 1.6
"""A heading whose text is this many times as high as the body's is of the first level."""


def render_markdown(document: Document, *, page_breaks: bool = False) -> str:
    """The document as CommonMark, with a line break at its end.

    A page whose status is neither ``ok`` nor ``blank`` is announced by a comment ``<!-- page 3: failed: why
    -->``; with ``page_breaks`` every page is, as ``<!-- page 3 -->``.
    """
    words = words_of(document.text)
    body = _body_height(document)
    parts: list[str] = []
    for page in document.pages:
        if not page.ok or page_breaks:
            parts.append(_announcement(page))
        parts += filter(None, (_block(block, page, words, body) for block in page.blocks))
    return "\n\n".join(parts) + "\n" if parts else ""


def _announcement(page: Page) -> str:
    words = [f"page {page.number}"]
    if not page.ok:
        words += [str(page.status), page.message]
    return comment(": ".join(filter(None, words)))


def _block(block: Block, page: Page, words: frozenset[str], body: float | None) -> str:
    if block.kind == BlockKind.MARKDOWN:
        return block.text.strip("\n")
    if block.kind == BlockKind.LATEX:
        return fenced(block.text, "latex")
    if block.kind == BlockKind.CHART or block.data is not None:
        return render_chart(block)
    if block.kind == BlockKind.DETECTION or block.detections:
        return render_detections(block, page)
    lines = [line for line in (clean_line(line.text) for line in block.lines) if line]
    if not lines:
        return ""
    if block.kind == BlockKind.TEXT:
        return "  \n".join(escape_lines(lines))
    text = join_lines(lines, words)
    if block.kind == BlockKind.HEADING:
        return f"{_heading_marks(block, page, body)} {escape_heading(text)}"
    return escape_lines([text])[0]


def _heading_marks(block: Block, page: Page, body: float | None) -> str:
    """``#`` where the heading is much higher than the body's text, ``##`` elsewhere and where it is not
    known.
    """
    height = _text_height(block, page)
    is_title = height is not None and body is not None and height >= _TITLE_RATIO * body
    return "#" if is_title else "##"


def _body_height(document: Document) -> float | None:
    """The height of the text that is no heading: the median over its lines, relative to their pages."""
    heights = [
        height
        for page in document.pages
        for block in page.blocks
        if block.kind != BlockKind.HEADING
        for height in _line_heights(block, page)
    ]
    return median(heights) if heights else None


def _text_height(block: Block, page: Page) -> float | None:
    heights = _line_heights(block, page)
    return median(heights) if heights else None


def _line_heights(block: Block, page: Page) -> list[float]:
    """Heights of the lines' boxes in parts of the page's height."""
    return [line.box.height / page.height for line in block.lines if line.box is not None and page.height > 0]
