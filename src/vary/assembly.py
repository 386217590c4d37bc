"""What was read in a page's windows, put together: lines, blocks, the page and its status."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from statistics import median

from vary.engine.lines import LineReading
from vary.inputs.page_image import PageImage
from vary.inputs.tasks import ResolvedTask
from vary.inputs.windows import PageWindows, Window
from vary.outputs.answers import KIND_OF_TASK, LabelledBox, parse_boxes, parse_chart
from vary.outputs.boxes import NORMALISED_SIDE
from vary.outputs.document import (
    Block,
    BlockKind,
    Box,
    Detection,
    FinishReason,
    Line,
    Page,
    PageStatus,
    mean_over_characters,
    status_of,
)
from vary.outputs.text import clean_line, split_paragraphs, split_source
from vary.outputs.words import cut_words

__all__ = ["answer_blocks", "build_page", "line_blocks"]

HEADING_HEIGHT, HEADING_LINES = 1.25, 3
"""A heading's text is so many times as high as the page's usual text, in at most so many lines."""
MINIMUM_CONFIDENCE = 0.6
"""Pages below are marked `low_confidence`."""
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

_ENDS = {
    PageStatus.LOOPED: "the answer ran into a repetition and was cut before it",
    PageStatus.TRUNCATED: "the answer was cut at the length limit; raise max_new_tokens, if the model's "
    "positions reach further",
}

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
    windows: Sequence[Window], readings: Sequence[LineReading], task: ResolvedTask, decode: Decode
) -> list[Block]:
    """What was written about whole pages; its lines have no places of their own.

    Text and Markdown come in their own paragraphs.  An answer in LaTeX, a chart or boxes is one block, with
    what could be taken from it; a note says what could not, and the words stay in the lines.
    """
    blocks = []
    for window, reading in zip(windows, readings, strict=True):
        kind, answer = KIND_OF_TASK.get(task.name, BlockKind.TEXT), decode(reading.generation.ids)
        split = split_paragraphs if kind is BlockKind.TEXT else split_source
        paragraphs = [_answer_lines(lines, reading) for lines in split(answer) or [[""]]]
        box = Box.around(window.polygon)
        if kind in (BlockKind.TEXT, BlockKind.MARKDOWN):
            blocks += [Block(lines, kind, box) for lines in paragraphs]
            continue
        lines = tuple(line for paragraph in paragraphs for line in paragraph)
        if kind is BlockKind.CHART:
            chart = parse_chart(answer)
            blocks.append(Block(lines, kind, box, data=chart.data, note="; ".join(chart.notes)))
        elif kind is BlockKind.DETECTION:
            parsed = parse_boxes(answer)
            subject = task.subject.removesuffix(".") if task.name == "locate" else ""
            found = _detections(parsed.boxes, box, subject, reading, decode)
            blocks.append(Block(lines, kind, box, found, note="; ".join(parsed.notes)))
        else:
            blocks.append(Block(lines, kind, box))
    return blocks


def _answer_lines(texts: Sequence[str], reading: LineReading) -> tuple[Line, ...]:
    confidence, reason = _mean(reading.probabilities), FinishReason(reading.generation.finish_reason)
    return tuple(Line(text, confidence=confidence, finish_reason=reason) for text in texts)


def _detections(
    boxes: Sequence[LabelledBox], window: Box, subject: str, reading: LineReading, decode: Decode
) -> tuple[Detection, ...]:
    """Boxes in thousandths of a window, on the page.  The window was shown whole, squeezed into the model's
    square, so each axis has its own scale.  A box without a name is the `subject` that was asked for.
    """
    pieces = _pieces(reading.generation.ids, decode)
    # Where each token's text ends in the answer: pieces put together are the answer, or there is no telling.
    known = "".join(pieces) == decode(reading.generation.ids)
    ends = list(accumulate(map(len, pieces))) if known else []
    found = []
    for box in boxes:
        left, top, right, bottom = (edge / NORMALISED_SIDE for edge in box.edges)
        place = Box(
            window.left + left * window.width,
            window.top + top * window.height,
            window.left + right * window.width,
            window.top + bottom * window.height,
        )
        label = clean_line(box.label) or clean_line(subject)
        first, last = bisect_right(ends, box.span[0]), bisect_left(ends, box.span[1])
        spelled = zip(pieces[first : last + 1], reading.probabilities[first : last + 1], strict=True)
        found.append(Detection(label, place, mean_over_characters(spelled) if known else None))
    return tuple(found)


def build_page(page: PageImage, windows: PageWindows, blocks: Sequence[Block], *, seconds: float) -> Page:
    """The page of the document, its status, and whatever a user should know about it."""
    status = PageStatus.BLANK if windows.blank else status_of(blocks, minimum_confidence=MINIMUM_CONFIDENCE)
    reasons = _reasons(status, blocks)
    if status is PageStatus.OK and windows.faint > sum(len(block.lines) for block in blocks):
        status = PageStatus.LOW_CONFIDENCE  # show-through is less than a page's text: this is a faint page
    return Page(
        number=page.index + 1,
        width=page.width,
        height=page.height,
        source=page.source,
        status=status,
        message="; ".join([*page.notes, *_faint(windows.faint), *reasons, *_notes(blocks)]),
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


def _notes(blocks: Sequence[Block]) -> list[str]:
    return [block.note for block in blocks if block.note]


def _reasons(status: PageStatus, blocks: Sequence[Block]) -> list[str]:
    """What a user should know about a page that is not `ok`."""
    lines = [line for block in blocks for line in block.lines]
    if status is PageStatus.LOW_CONFIDENCE:
        return ["the model was unsure of what it read; check the page, and turn it upright if it is not"]
    if all(line.box is None for line in lines):  # one answer about the whole page
        return [_ENDS[status]] if status in _ENDS else []
    if status is PageStatus.LOOPED:
        looped = sum(line.finish_reason is FinishReason.LOOP for line in lines)
        return [f"{looped} of {len(lines)} lines ran into a repetition and were cut before it"]
    if status is PageStatus.TRUNCATED:
        cut = sum(line.finish_reason is FinishReason.LENGTH for line in lines)
        return [f"{cut} of {len(lines)} lines reached the length limit; raise max_new_tokens"]
    return []
