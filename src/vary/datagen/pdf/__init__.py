"""The PDF engine: real documents as page images with the text of their text layer.

The way of the data::

    documents.py       files found, hashed, each in one split
      -> text_layer.py     a page's words and boxes, and what speaks against them
      -> filters.py        pages that are not learned from, by reason
      -> reading_order.py  columns, lines, paragraphs
      -> engine.py         the painted page, the answer, the boxes
"""

from __future__ import annotations

from vary.datagen.pdf.config import PdfConfig
from vary.datagen.pdf.documents import split_of
from vary.datagen.pdf.engine import PdfEngine

__all__ = ["PdfConfig", "PdfEngine", "split_of"]
