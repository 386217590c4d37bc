"""The text layer of a PDF page, as a guess of what stands on it."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pypdfium2

__all__ = ["page_text"]

MAX_CHARACTERS = 200_000
"""Of a page; one of more is no page to read, and its text would take long."""
READABLE = 0.5
"""At least this share of a layer's characters must be letters or digits; else the fonts lie about them."""

_LINE_END = re.compile(r"\r\n?|[\u2028\u2029\x0b\x0c]")
_HYPHEN_AT_LINE_END = re.compile(r"[\x02\ufffe\u00ad]")
_BLANKS = re.compile(r"[^\S\n]+")


def page_text(page: pypdfium2.PdfPage) -> str:
    """The text within a page's box, line by line, in the order of the file; empty where there is none.

    The order is mostly that of reading.  Hyphens at the ends of lines stay.  A layer of characters that mean
    nothing, such as those of fonts without a table of them, counts as none.
    """
    import pypdfium2

    try:
        layer = page.get_textpage()
    except pypdfium2.PdfiumError:
        return ""
    try:
        if not 0 < layer.count_chars() <= MAX_CHARACTERS:
            return ""
        text = str(layer.get_text_bounded(errors="replace"))
    except pypdfium2.PdfiumError:
        return ""
    finally:
        layer.close()
    text = _HYPHEN_AT_LINE_END.sub("-", _LINE_END.sub("\n", text))
    kept = "".join(letter for letter in text if letter == "\n" or _means_something(letter))
    words = sum(unicodedata.category(letter)[0] in "LN" for letter in kept)
    if not words or words < READABLE * sum(not letter.isspace() for letter in text):
        return ""
    lines = (_BLANKS.sub(" ", line).strip() for line in kept.split("\n"))
    return "\n".join(line for line in lines if line)


def _means_something(letter: str) -> bool:
    """Whether a character is none of the private use areas, no control and no replacement."""
    return (
        unicodedata.category(letter) not in ("Co", "Cc", "Cn", "Cs") and letter != "\N{REPLACEMENT CHARACTER}"
    )
