"""TrueType fonts cut to the characters of a few pages: a Chinese one of 50 MB to one of some 100 kB.

Chromium reads a font whole, hands it from process to process, and embeds it whole where it cannot cut it
itself, which takes longer than all else that it does for a page.
"""

from __future__ import annotations

import io
import logging
import struct

__all__ = ["thin_font"]


def thin_font(path: str, index: int, characters: str) -> bytes | None:
    """The font file with no more than `characters`, kerned and shaped as before.

    `index` is the face's number in a collection.  None for what is no TrueType font, or is damaged: it is to
    be used as it is.

    Raises:
        OSError: if the file cannot be read.
    """
    from fontTools import subset
    from fontTools.ttLib import TTFont, TTLibError

    logging.getLogger("fontTools").setLevel(logging.ERROR)  # its talk is of tables that are left out
    options = subset.Options(name_IDs=["*"])
    try:
        with open(path, "rb") as whole, TTFont(whole, fontNumber=index, lazy=True) as font:
            if "glyf" not in font:
                return None
            subsetter = subset.Subsetter(options)
            subsetter.populate(text=characters)
            subsetter.subset(font)
            file = io.BytesIO()
            font.save(file)
            return file.getvalue()
    except (TTLibError, struct.error, AssertionError, AttributeError, LookupError, TypeError, ValueError):
        return None  # the library says in many ways that tables are damaged
