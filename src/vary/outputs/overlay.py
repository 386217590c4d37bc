"""A page with what was found on it drawn over it: detections with their names, else lines by confidence."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Iterator
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont, features

from vary.errors import DocumentError
from vary.outputs.boxes import Polygon
from vary.outputs.document import Detection, Line, Page
from vary.outputs.text import clean_line

__all__ = ["draw_overlay", "has_boxes"]

Color = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

PALETTE: tuple[Color, ...] = (
    (214, 39, 40),
    (31, 119, 180),
    (44, 160, 44),
    (148, 103, 189),
    (255, 127, 14),
    (23, 190, 207),
    (227, 119, 194),
    (140, 86, 75),
)
"""Colours of names, in the order in which they are met."""
UNKNOWN: Color = (110, 110, 110)
"""Of lines whose confidence is not known."""
LOWEST_CONFIDENCE = 0.5
"""Lines of this confidence or less are red; they turn to yellow and green towards 1."""
PIXELS_PER_STROKE, PIXELS_PER_LETTER = 500, 55
"""A page so many pixels long is drawn with strokes of one pixel, and letters of one pixel."""
LABEL_LETTERS = 40
FALLBACK_FONTS: tuple[str, ...] = (
    "NotoSansCJK-Regular.ttc",
    "NotoSansSC-Regular.otf",
    "SourceHanSansSC-Regular.otf",
    "wqy-microhei.ttc",
    "DroidSansFallbackFull.ttf",
    "PingFang.ttc",
    "Hiragino Sans GB.ttc",
    "msyh.ttc",
    "simsun.ttc",
    "DejaVuSans.ttf",
    "Arial Unicode.ttf",
    "arial.ttf",
)
"""Looked for, in this order, among the system's fonts where Pillow's own cannot show a name."""
NO_CHARACTER = "\uffff"
"""Its picture is a font's sign for what it cannot show."""


def has_boxes(page: Page) -> bool:
    """Whether there is anything to draw."""
    return bool(page.detections) or any(True for _ in _outlines(page))


def draw_overlay(image: Image.Image, page: Page) -> Image.Image:
    """A copy of the page's image, RGB, with its detections; without any, with its lines.

    A name that no font at hand can show is replaced by the detection's number (`#3`), counted as in the JSON.

    Raises DocumentError where the image is not as large as the page.
    """
    if image.size != (page.width, page.height):
        raise DocumentError(
            f"page {page.number} has {page.width} x {page.height} pixels, this image {image.width} x "
            f"{image.height}; give the image that was read"
        )
    drawn = image.convert("RGB") if image.mode != "RGB" else image.copy()
    draw = ImageDraw.Draw(drawn)
    stroke = max(2, round(max(image.size) / PIXELS_PER_STROKE))
    if page.detections:
        colors: dict[str, Color] = {}
        for number, found in enumerate(page.detections, start=1):
            color = colors.setdefault(found.label, PALETTE[len(colors) % len(PALETTE)])
            _draw_detection(draw, found, number, color, stroke)
    else:
        for polygon, line in _outlines(page):
            around = _widened(polygon, stroke)
            draw.line([*around, around[0]], _confidence_color(line.confidence), stroke, joint="curve")
    return drawn


def _outlines(page: Page) -> Iterator[tuple[Polygon, Line]]:
    """The lines that have a place, each with its corners."""
    for line in page.lines:
        if line.polygon:
            yield line.polygon, line
        elif line.box is not None:
            left, top, right, bottom = line.box.edges
            yield ((left, top), (right, top), (right, bottom), (left, bottom)), line


def _widened(polygon: Polygon, pixels: float) -> Polygon:
    """The corners moved outwards: a line's box touches its letters, and they should stay readable."""
    x0, y0 = (sum(values) / len(polygon) for values in zip(*polygon, strict=True))
    return tuple((x + math.copysign(pixels, x - x0), y + math.copysign(pixels, y - y0)) for x, y in polygon)


def _confidence_color(confidence: float | None) -> Color:
    if confidence is None:
        return UNKNOWN
    share = max(0.0, (confidence - LOWEST_CONFIDENCE) / (1 - LOWEST_CONFIDENCE))
    red, green, blue = colorsys.hsv_to_rgb(share / 3, 0.95, 0.8)
    return round(255 * red), round(255 * green), round(255 * blue)


def _draw_detection(
    draw: ImageDraw.ImageDraw, found: Detection, number: int, color: Color, stroke: int
) -> None:
    """The outline, on the inner side of the edges, and the name on a plate above it, or in it at the top."""
    width, height = draw.im.size
    left, top, right, bottom = found.box.clipped(width, height).edges
    draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=color, width=stroke)
    text, font = _shown_label(found, number, max(12, round(max(width, height) / PIXELS_PER_LETTER)))
    margin = stroke + 1
    text_left, text_top, text_right, text_bottom = draw.textbbox((0, 0), text, font)
    plate_width = text_right - text_left + 2 * margin
    plate_height = text_bottom - text_top + 2 * margin
    x = max(0.0, min(left, width - plate_width))
    y = top - plate_height if top >= plate_height else min(top, height - plate_height)
    draw.rectangle((x, y, x + plate_width - 1, y + plate_height - 1), fill=color)
    draw.text((x + margin - text_left, y + margin - text_top), text, "white", font)


def _shown_label(found: Detection, number: int, size: int) -> tuple[str, Font]:
    """The name as far as it is shown, with its confidence, and a font for it; or the detection's number."""
    name = clean_line(found.label)
    name = f"{name[:LABEL_LETTERS]}…" if len(name) > LABEL_LETTERS else name
    confidence = "" if found.confidence is None else f" {found.confidence:.2f}"
    if name:
        for font in _fonts(size):
            for text in (name, name.removesuffix("…")):
                if _can_show(font, text):
                    return text + confidence, font
    return f"#{number}{confidence}", _default_font(size)


def _fonts(size: int) -> Iterator[Font]:
    yield _default_font(size)
    for name in FALLBACK_FONTS:
        if (font := _installed_font(name, size)) is not None:
            yield font


@lru_cache
def _default_font(size: int) -> Font:
    return ImageFont.load_default(size if features.check("freetype2") else None)


@lru_cache(maxsize=64)
def _installed_font(name: str, size: int) -> Font | None:
    """A font by its file's name, looked for where the system keeps its fonts."""
    try:
        return ImageFont.truetype(name, size)
    except (OSError, ImportError):
        return None


def _can_show(font: Font, text: str) -> bool:
    """Whether a font has a picture of every character."""
    if not isinstance(font, ImageFont.FreeTypeFont):
        return text.isascii()  # Pillow's bitmap font
    try:
        nothing = bytes(font.getmask(NO_CHARACTER))
        return all(character.isspace() or bytes(font.getmask(character)) != nothing for character in text)
    except (UnicodeError, OSError):
        return False
