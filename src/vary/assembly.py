"""What was read in a page's windows, put together: lines, blocks, the page and its status."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from vary.engine.lines import LineReading
from vary.inputs.page_image import PageImage
from vary.inputs.windows import PageWindows, Window
from vary.outputs.document import (
    Block,
    BlockKind,
    Box,
    FinishReason,
    Line,
    Page,
    PageStatus,
    mean_over_characters,
    status_of,
)
from vary.outputs.text import clean_line, split_paragraphs
from vary.outputs.words import cut_words

__all__ = ["answer_blocks", "build_page", "line_blocks"]

HEADING_HEIGHT, HEADING_LINES = 1.25, 3
"""A heading's text is so many times as high as the page's usual text, in at most so many lines."""
MINIMUM_CONFIDENCE = 0.6
"""Pages below are marked `low_confidence`."""
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

Decode = Callable[[Sequence[int]], str]


def line_blocks(windows: Sequence[Window], readings: Sequence[LineReading], decode: Decode) -> list[Block]:
    """Lines that were read one by one, in the blocks in which they were found."""
    heights = [window.text_height for window in windows]
    usual = median(heights) if heights else 0.0
    blocks = []
    for number in sorted({window.block for window in windows}):
        members = [index for index, window in enumerate(windows) if window.block == number]
        lines = tuple(_line(windows[index], readings[index], decode) for index in members)
        tall = median(heights[index] for index in members) >= HEADING_HEIGHT * usual
        heading = tall and len(members) <= HEADING_LINES < len(windows)
        blocks.append(Block(lines, BlockKind.HEADING if heading else BlockKind.PARAGRAPH))
    return blocks


def answer_blocks(
    windows: Sequence[Window], readings: Sequence[LineReading], kind: BlockKind, decode: Decode
) -> list[Block]:
    """What was written about whole pages, in its own paragraphs; its lines have no places of their own."""
    blocks = []
    for window, reading in zip(windows, readings, strict=True):
        confidence, reason = _mean(reading.probabilities), FinishReason(reading.generation.finish_reason)
        for paragraph in split_paragraphs(decode(reading.generation.ids)) or [[""]]:
            lines = tuple(Line(text, confidence=confidence, finish_reason=reason) for text in paragraph)
            blocks.append(Block(lines, kind, Box.around(window.polygon)))
    return blocks


def build_page(page: PageImage, windows: PageWindows, blocks: Sequence[Block], *, seconds: float) -> Page:
    """The page of the document, its status, and whatever a user should know about it."""
    status = PageStatus.BLANK if windows.blank else status_of(blocks, minimum_confidence=MINIMUM_CONFIDENCE)
    return Page(
        number=page.index + 1,
        width=page.width,
        height=page.height,
        source=page.source,
        status=status,
        message="; ".join([*page.notes, *_faint(windows.faint), *_reasons(status, blocks)]),
        blocks=tuple(blocks),
        dpi=page.dpi,
        rotation=page.rotation,
        skew=windows.skew,
        seconds=seconds,
    )


def _line(window: Window, reading: LineReading, decode: Decode) -> Line:
    """A line that was read in a window of its own, with its words."""
    answer, frames = reading.generation, max(1, reading.frames)
    pieces = _pieces(answer.ids, decode)
    words = cut_words(
        pieces if reading.spans else [],
        reading.probabilities,
        [(first / frames, (last + 1) / frames) for first, last in reading.spans or []],
        window.place,
    )
    return Line(
        text=clean_line(decode(answer.ids)),
        polygon=window.polygon,
        confidence=mean_over_characters(zip(pieces, reading.probabilities, strict=True)),
        words=words,
        finish_reason=FinishReason(answer.finish_reason),
    )


def _pieces(ids: Sequence[int], decode: Decode) -> list[str]:
    """The text of each token; a character that is spelled in bytes stands at the last of them."""
    pieces: list[str] = []
    pending: list[int] = []
    for token in ids:
        pending.append(token)
        text = decode(pending)
        whole = not text.endswith(REPLACEMENT) or len(pending) == 4  # no character has more bytes in UTF-8
        pieces.append(text if whole else "")
        if whole:
            pending = []
    return pieces


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _faint(lines: int) -> list[str]:
    if not lines:
        return []
    return [
        f"{lines} faint line(s) were taken for show-through and not read; raise the contrast if they are text"
    ]


def _reasons(status: PageStatus, blocks: Sequence[Block]) -> list[str]:
    """What a user should know about a page that is not `ok`."""
    lines = [line for block in blocks for line in block.lines]
    if status is PageStatus.LOW_CONFIDENCE:
        return ["the model was unsure of what it read; check the page, and turn it upright if it is not"]
    if status is PageStatus.LOOPED:
        looped = sum(line.finish_reason is FinishReason.LOOP for line in lines)
        return [f"{looped} of {len(lines)} lines ran into a repetition and were cut before it"]
    if status is PageStatus.TRUNCATED:
        cut = sum(line.finish_reason is FinishReason.LENGTH for line in lines)
        return [f"{cut} of {len(lines)} lines reached the length limit; raise max_new_tokens"]
    return []
