"""Small documents, and pages of glyphs on a grid, for tests of the text engine."""

from __future__ import annotations

import numpy as np

from vary.datagen.text.content import Block, Document, Style, spans
from vary.datagen.text.pdf_glyphs import PageGlyphs

STYLE = Style(
    width=200,
    height=300,
    margins=(40, 20, 40, 20),
    size=10,
    leading=0.6,
    spacing=0,
    indent=0,
    text_family=0,
    heading_family=0,
    code_family=0,
)


def document(*blocks: Block, **more: object) -> Document:
    return Document("plain", "en", STYLE, blocks, **more)


def paragraph(text: str) -> Block:
    return Block("paragraph", (spans(text),), source="a#1")


def page(*rows: tuple[float, str], width: float = 5.0) -> PageGlyphs:
    """A page on which every character is 5 points wide and 8 high; a row is its top and its text."""
    text, boxes = "", []
    for top, row in rows:
        for place, character in enumerate(row):
            if character != " ":
                text += character
                boxes.append((20 + place * width, top, 24 + place * width, top + 8))
    box = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    return PageGlyphs(200, 300, text, box, box + np.array([0, -2, 1, 2]))
