"""The layouts: templates that fill a draft with blocks, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from vary.datagen.text.content import Document
from vary.datagen.text.layouts import prose, structured
from vary.datagen.text.layouts.draft import Draft

__all__ = ["LAYOUTS", "Draft", "Layout"]

TYPST, BROWSER, PAINTER = "typst", "chromium", "painter"


@dataclass(frozen=True, slots=True)
class Layout:
    """A template: what fills a draft, how often it is drawn, and which renderers can set it."""

    make: Callable[[Draft], Document]
    weight: float = 1.0
    renderers: frozenset[str] = frozenset({TYPST, BROWSER})


LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "plain": Layout(prose.plain_text, 1.2, frozenset({TYPST, BROWSER, PAINTER})),
        "article": Layout(prose.article, 1.5),
        "two columns": Layout(prose.paper, 1.5),
        "newspaper": Layout(prose.newspaper),
        "book": Layout(prose.book, 1.5, frozenset({TYPST, PAINTER})),
        "footnotes": Layout(prose.footnotes, 1.0, frozenset({TYPST})),
        "letter": Layout(prose.letter, 0.8, frozenset({TYPST, BROWSER, PAINTER})),
        "poem": Layout(prose.poem, 0.7, frozenset({TYPST, BROWSER, PAINTER})),
        "dialogue": Layout(prose.dialogue, 0.7),
        "lists": Layout(structured.lists),
        "figures": Layout(structured.figures),
        "code": Layout(structured.code),
        "form": Layout(structured.form),
        "contents": Layout(structured.contents, 0.7),
        "table": Layout(structured.table),
        "dictionary": Layout(structured.dictionary, 0.7),
        "index": Layout(structured.index, 0.6),
        "slides": Layout(structured.slides, 0.8),
        "title page": Layout(structured.title_page, 0.4),
        "questions": Layout(structured.questions, 0.7),
    }
)
"""The layouts by name."""
