"""Contact sheets: what a data set looks like, each line's picture with its text below."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vary.datagen.fonts import FontFace, load_font

__all__ = ["contact_sheet"]

_TEXT_SIZE = 13
_PADDING = 6


def contact_sheet(
    lines: Sequence[tuple[NDArray[np.uint8], str]],
    *,
    width: int = 1600,
    face: FontFace | None = None,
) -> Image.Image:
    """An RGB sheet, `width` px wide or as wide as the widest picture needs, of (image, text) pairs.

    Pictures stand in rows, each with its text below in red, set in `face` (Pillow's own font without one).
    """
    width = max([width, *(image.shape[1] + 2 * _PADDING for image, _ in lines)])
    font = _caption_font(face)
    cells = [(Image.fromarray(image), text) for image, text in lines]
    places: list[tuple[int, int]] = []
    x, y, row = _PADDING, _PADDING, 0
    for picture, text in cells:
        needed = max(picture.width, int(font.getlength(text)) + 1)
        if x > _PADDING and x + needed + _PADDING > width:
            x, y, row = _PADDING, y + row + _PADDING, 0
        places.append((x, y))
        x += needed + 3 * _PADDING
        row = max(row, picture.height + round(1.5 * _TEXT_SIZE))
    sheet = Image.new("RGB", (width, y + row + _PADDING), (214, 222, 232))
    draw = ImageDraw.Draw(sheet)
    for (picture, text), (left, top) in zip(cells, places, strict=True):
        sheet.paste(picture, (left, top))
        draw.text((left, top + picture.height + 1), text, font=font, fill=(176, 0, 32))
    return sheet


def _caption_font(face: FontFace | None) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    if face is None:
        return ImageFont.load_default(_TEXT_SIZE)
    return load_font(face.path, face.index, _TEXT_SIZE, int(ImageFont.Layout.BASIC))
