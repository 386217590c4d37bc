"""Contact sheets: what a data set looks like; lines, pages with their boxes, conversations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vary.datagen.fonts import COMMON_CHINESE, FontFace, covering_face, load_font
from vary.datagen.sample import Box, Sample

__all__ = ["LEVEL_COLOURS", "caption_face", "contact_sheet", "is_line"]

LEVEL_COLOURS = {
    "line": (214, 40, 40),
    "word": (30, 110, 220),
    "object": (0, 140, 60),
    "cell": (190, 110, 0),
    "formula": (150, 30, 170),
}
"""The colour of a box by its level; other levels are gray."""
_OTHER = (110, 110, 110)

_TEXT_SIZE = 13
_LINE_STEP = round(1.4 * _TEXT_SIZE)
_PADDING = 6
_CELL_WIDTH = 384
_MAX_CELL_HEIGHT = 560
_PROMPT_LINES, _ANSWER_LINES, _TEXT_LINES = 3, 6, 24
_SHOWN = 800
"""No more characters of a text than this are looked at, nor more rounds than there are lines."""
_GROUND, _PAPER = (214, 222, 232), (255, 255, 255)
_PROMPT, _ANSWER, _NOTE = (20, 60, 140), (176, 0, 32), (90, 100, 110)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def contact_sheet(
    samples: Sequence[Sample], *, width: int = 1600, face: FontFace | None = None, boxes: bool = True
) -> Image.Image:
    """An RGB sheet, `width` px wide, of samples in rows.

    A text line stands at its own size with its answer below; a page is scaled to a column, its boxes drawn in
    the colours of their levels, with the prompt (blue) and the beginning of the answer (red) below; a sample
    without an image shows its rounds.  Texts are set in `face` (Pillow's own font without one).
    """
    font = _caption_font(face)
    cells = [_cell(sample, font, width - 2 * _PADDING, boxes) for sample in samples]
    levels = sorted({box.level for sample in samples for box in sample.boxes}) if boxes else []
    head = _LINE_STEP + _PADDING if levels else 0
    places: list[tuple[int, int]] = []
    x, y, row = _PADDING, _PADDING + head, 0
    for cell in cells:
        if x > _PADDING and x + cell.width + _PADDING > width:
            x, y, row = _PADDING, y + row + _PADDING, 0
        places.append((x, y))
        x += cell.width + 2 * _PADDING
        row = max(row, cell.height)
    sheet = Image.new("RGB", (width, y + row + _PADDING), _GROUND)
    for cell, place in zip(cells, places, strict=True):
        sheet.paste(cell, place)
    x, draw = _PADDING, ImageDraw.Draw(sheet)
    for level in levels:
        text = f"[{_printable(level)[:40]}]"
        draw.text((x, _PADDING), text, font=font, fill=LEVEL_COLOURS.get(level, _OTHER))
        x += int(font.getlength(text)) + 2 * _PADDING
    return sheet


def is_line(sample: Sample) -> bool:
    """Whether a sample is a cut text line rather than a page: low, and all answer."""
    return sample.image is not None and sample.image.shape[0] <= 64 and not sample.prompt


def caption_face(samples: Iterable[Sample]) -> FontFace | None:
    """A face for the texts of samples: one that covers all of them if there is one, else their Chinese; None
    where Pillow's own font will do."""
    shown = "".join(text for sample in samples for text in _texts(sample))
    foreign = {character for character in shown if character > "\u00ff" and character.isprintable()}
    if not foreign:
        return None
    chinese = "".join(sorted(c for c in foreign if "\u2e80" <= c <= "\u9fff"))
    for wanted in ("".join(sorted(foreign)), chinese, COMMON_CHINESE if chinese else ""):
        face = covering_face(wanted + "abcxyz") if wanted else None
        if face is not None:
            return face
    return None


def _texts(sample: Sample) -> list[str]:
    later = [text for turn in sample.later[:_TEXT_LINES] for text in turn]
    return [text[:_SHOWN] for text in (sample.system or "", sample.prompt, sample.answer, *later)]


def _cell(sample: Sample, font: Font, widest: int, boxes: bool) -> Image.Image:
    """One sample as a picture, `widest` px wide at most."""
    if sample.image is None:
        return _text_cell(sample, font)
    if is_line(sample):
        picture = _scaled(sample.image, widest, 64)
        text = _printable(sample.answer)
        wide = min(widest, max(picture.width, int(font.getlength(text)) + 1))
        return _stacked(picture, [(text, _ANSWER)], wide, font)
    picture = _scaled(sample.image, _CELL_WIDTH, _MAX_CELL_HEIGHT)
    if boxes:
        _draw_boxes(picture, sample.boxes, picture.width / sample.image.shape[1])
    lines = [(line, _PROMPT) for line in _wrapped(sample.prompt, font, _CELL_WIDTH, _PROMPT_LINES)]
    answer = "\n".join(
        [sample.answer, *(f"{question}\n{reply}" for question, reply in sample.later[:_TEXT_LINES])]
    )
    lines += [(line, _ANSWER) for line in _wrapped(answer, font, _CELL_WIDTH, _ANSWER_LINES)]
    lines += [(line, _NOTE) for line in _wrapped(_note(sample), font, _CELL_WIDTH, 2)]
    return _stacked(picture, lines, _CELL_WIDTH, font)


def _note(sample: Sample) -> str:
    """Where a sample comes from, its size, and what was done to it."""
    assert sample.image is not None
    size = f"{sample.image.shape[1]} x {sample.image.shape[0]}"
    return ", ".join([sample.source, size, str(sample.details.get("degradation", ""))]).rstrip(", ")


def _text_cell(sample: Sample, font: Font) -> Image.Image:
    rounds = [(sample.prompt, sample.answer), *sample.later[:_TEXT_LINES]]
    parts = [(sample.system, _NOTE)] if sample.system else []
    parts += [part for question, answer in rounds for part in ((question, _PROMPT), (answer, _ANSWER))]
    lines = [
        (line, colour)
        for text, colour in parts
        for line in _wrapped(text, font, _CELL_WIDTH - 2 * _PADDING, _ANSWER_LINES)
    ]
    if len(lines) > _TEXT_LINES:
        lines = [*lines[:_TEXT_LINES], ("…" if isinstance(font, ImageFont.FreeTypeFont) else "...", _NOTE)]
    card = Image.new("RGB", (_CELL_WIDTH, len(lines) * _LINE_STEP + 2 * _PADDING), _PAPER)
    _write(card, lines, _PADDING, _PADDING, font)
    return card


def _scaled(image: NDArray[np.uint8], width: int, height: int) -> Image.Image:
    """The image as RGB, made smaller where it is larger than this, never larger."""
    picture = Image.fromarray(image)
    scale = min(1.0, width / picture.width, height / picture.height)
    if scale < 1:
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    return picture.convert("RGB")


def _draw_boxes(picture: Image.Image, boxes: Sequence[Box], scale: float) -> None:
    """Outlines around what the boxes hold; the largest first, so that none is hidden."""
    draw = ImageDraw.Draw(picture)

    def area(box: Box) -> float:
        return (box.right - box.left) * (box.bottom - box.top)

    for box in sorted(boxes, key=area, reverse=True):
        edges = [value * scale for value in (box.left, box.top, box.right, box.bottom)]
        # An edge between two pixels is drawn on the outer one; what lies outside is drawn at the rim.
        left, top = (min(max(int(value) - 1, -1), 10_000) for value in edges[:2])
        right, bottom = (min(max(int(value), -1), 10_000) for value in edges[2:])
        if right >= left and bottom >= top:
            draw.rectangle((left, top, right, bottom), outline=LEVEL_COLOURS.get(box.level, _OTHER))


def _stacked(
    picture: Image.Image, lines: Sequence[tuple[str, tuple[int, int, int]]], width: int, font: Font
) -> Image.Image:
    """A picture with lines of text below."""
    cell = Image.new("RGB", (width, picture.height + len(lines) * _LINE_STEP + 2), _GROUND)
    cell.paste(picture, (0, 0))
    _write(cell, lines, 0, picture.height + 1, font)
    return cell


def _write(
    picture: Image.Image,
    lines: Sequence[tuple[str, tuple[int, int, int]]],
    left: int,
    top: int,
    font: Font,
) -> None:
    draw = ImageDraw.Draw(picture)
    for number, (line, colour) in enumerate(lines):
        draw.text((left, top + number * _LINE_STEP), line, font=font, fill=colour)


def _wrapped(text: str, font: Font, width: int, most: int) -> list[str]:
    """The first lines of a text, broken where `width` px are full, between words where there are any."""
    lines: list[str] = []
    for paragraph in text[:_SHOWN].splitlines():
        line = ""
        # Chinese has no blanks: every character there is a piece of its own.
        for piece in re.findall(r"[\u2e80-\uffef]|[^\s\u2e80-\uffef]+\s*|\s+", _printable(paragraph)):
            while piece and font.getlength(line + piece.rstrip()) > width:
                if line.strip():
                    lines.append(line)
                    line = ""
                    continue
                fits = max(
                    1, next(n for n in range(len(piece), -1, -1) if font.getlength(piece[:n]) <= width)
                )
                lines.append(piece[:fits])
                piece = piece[fits:]
            line += piece
            if len(lines) > most:
                break
        if line.strip():
            lines.append(line)
        if len(lines) > most:
            break
    if len(lines) > most or len(text) > _SHOWN:
        lines = lines[:most]
        lines[-1] = lines[-1].rstrip()[:-3] + "..."
    return lines


def _printable(text: str) -> str:
    """The text on one line, without what a font has no glyph for at all."""
    return "".join(c if c.isprintable() else " " for c in text[:_SHOWN])


def _caption_font(face: FontFace | None) -> Font:
    if face is None:
        return ImageFont.load_default(_TEXT_SIZE)
    return load_font(face.path, face.index, _TEXT_SIZE, int(ImageFont.Layout.BASIC))
