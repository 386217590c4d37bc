"""What was read in a page's windows, put together: lines, blocks, the page and its status."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from statistics import median

from vary.engine.confidence import LineConfidence, sense_of
from vary.engine.lines import LineReading
from vary.inputs.lines import MOST_SEGMENTS
from vary.inputs.page_image import PageImage
from vary.inputs.tasks import ResolvedTask
from vary.inputs.windows import PageWindows, Window
from vary.outputs.answers import KIND_OF_TASK, LabelledBox, parse_boxes, parse_chart
from vary.outputs.boxes import NORMALISED_SIDE, union
from vary.outputs.document import (
    Block,
    BlockKind,
    Box,
    Detection,
    FinishReason,
    Line,
    Page,
    PageStatus,
    Word,
    mean_over_characters,
    status_of,
)
from vary.outputs.text import clean_line, join_pieces, split_paragraphs, split_source
from vary.outputs.words import cut_words

__all__ = ["answer_blocks", "build_page", "legible", "line_blocks", "line_page"]

HEADING_HEIGHT, HEADING_LINES = 1.25, 3
"""A heading's text is so many times as high as the page's usual text, in at most so many lines."""
MINIMUM_CONFIDENCE, MINIMUM_EXACT = 0.6, 0.4
"""Pages below are marked `low_confidence`: where confidence is a mean over characters, and where it is the
probability of whole lines (painted validation pages below had a median of 8 wrong characters in 100, those
above of 1)."""
SENSE, SHORT_SENSE, SHORT_TEXT = 0.65, 0.8, 3
"""What makes less sense, 0 to 1, does not read as text; up to so many characters agree by chance, and need
more."""
SURE = 0.9
"""What a line needs in order to stay where most of what was found on a page does not read as text, or none of
it is longer than `SHORT_TEXT`."""
FEW_MARKS = 4
"""So many marks that do not read as text, such as punch holes, a staple, dirt, may lie on a blank page."""
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

_ENDS = {
    PageStatus.LOOPED: "the answer ran into a repetition and was cut before it",
    PageStatus.TRUNCATED: "the answer was cut at the length limit; raise max_new_tokens, if the model's "
    "positions reach further",
}

Decode = Callable[[Sequence[int]], str]


def legible(readings: Sequence[LineReading], decode: Decode) -> list[int]:
    """Which readings read as text; the rest are marks in which a reader sees characters that are not there.

    See `vary.engine.confidence.sense_of`; docs/confidence.md says how the limits were set.
    """
    sense = [sense_of(reading) for reading in readings]
    texts = ["".join(decode(reading.generation.ids).split()) for reading in readings]
    kept = [
        number
        for number, text in enumerate(texts)
        if text and sense[number] >= (SENSE if len(text) > SHORT_TEXT else SHORT_SENSE)
    ]
    if len(readings) - len(kept) > len(kept):
        return [number for number in kept if sense[number] >= SURE and len(texts[number]) > SHORT_TEXT]
    if all(
        len(texts[number]) <= SHORT_TEXT for number in kept
    ):  # a page number, or a fold that looks like a dash
        return [number for number in kept if sense[number] >= SURE and any(map(str.isalnum, texts[number]))]
    return kept


def line_blocks(
    windows: Sequence[Window],
    readings: Sequence[LineReading],
    decode: Decode,
    confidence: LineConfidence | None = None,
) -> list[Block]:
    """Lines that were read one by one, in the blocks in which they were found.

    `confidence` gives the lines theirs; without it a line's is the mean over its characters.
    """
    heights = [window.text_height for window in windows]
    usual = median(heights) if heights else 0.0
    blocks = []
    for number in sorted({window.block for window in windows}):
        members = [index for index, window in enumerate(windows) if window.block == number]
        lines = list[Line]()
        for index in members:
            window, line = windows[index], _line(windows[index], readings[index], decode, confidence)
            before = windows[index - 1] if lines else window
            if window.piece > before.piece and (window.block, window.line) == (before.block, before.line):
                lines[-1] = _continued(lines[-1], line, exact=confidence is not None)
            else:
                lines.append(line)
        tall = median(heights[index] for index in members) >= HEADING_HEIGHT * usual
        heading = tall and len(lines) <= HEADING_LINES < len(windows)
        blocks.append(Block(tuple(lines), BlockKind.HEADING if heading else BlockKind.PARAGRAPH))
    return blocks


def line_page(
    page: PageImage,
    windows: PageWindows,
    readings: Sequence[LineReading],
    decode: Decode,
    confidence: LineConfidence | None,
    *,
    seconds: float,
) -> Page:
    """The page of lines that were read one by one, a reading for each window.

    Without the checkpoint's `confidence` there is no telling text from marks, and everything stays.
    """
    if confidence is None:
        return build_page(page, windows, line_blocks(windows.windows, readings, decode), seconds=seconds)
    kept = legible(readings, decode)
    chosen = [windows.windows[number] for number in kept], [readings[number] for number in kept]
    return build_page(
        page,
        windows,
        line_blocks(*chosen, decode, confidence),
        seconds=seconds,
        minimum_confidence=MINIMUM_EXACT,
        marks=len(readings) - len(kept),
    )


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


def build_page(
    page: PageImage,
    windows: PageWindows,
    blocks: Sequence[Block],
    *,
    seconds: float,
    minimum_confidence: float = MINIMUM_CONFIDENCE,
    marks: int = 0,
) -> Page:
    """The page of the document, its status, and whatever a user should know about it.

    `marks` counts what was found and left out because it does not read as text.
    """
    status = PageStatus.BLANK if windows.blank else status_of(blocks, minimum_confidence=minimum_confidence)
    reasons = _reasons(status, blocks)
    lines = sum(len(block.lines) for block in blocks)
    if status is PageStatus.OK and windows.faint > lines:
        status = PageStatus.LOW_CONFIDENCE  # show-through is less than a page's text: this is a faint page
    if status in (PageStatus.OK, PageStatus.BLANK) and marks > max(lines, FEW_MARKS):
        status = PageStatus.LOW_CONFIDENCE
    return Page(
        number=page.index + 1,
        width=page.width,
        height=page.height,
        source=page.source,
        status=status,
        message="; ".join([*page.notes, *_left_out(windows), *_marks(marks), *reasons, *_notes(blocks)]),
        blocks=tuple(blocks),
        dpi=page.dpi,
        rotation=page.rotation,
        skew=windows.skew,
        seconds=seconds,
    )


def _line(window: Window, reading: LineReading, decode: Decode, confidence: LineConfidence | None) -> Line:
    """A line that was read in a window of its own, with its words."""
    answer, frames = reading.generation, max(1, reading.frames)
    pieces = _pieces(answer.ids, decode)
    words = cut_words(
        pieces if reading.spans else [],
        reading.probabilities,
        [(first / frames, (last + 1) / frames) for first, last in reading.spans or []],
        window.place,
    )
    mean = mean_over_characters(zip(pieces, reading.probabilities, strict=True))
    return Line(
        text=clean_line(decode(answer.ids)),
        polygon=window.polygon,
        confidence=mean if mean is None or confidence is None else confidence(reading),
        words=words,
        finish_reason=FinishReason(answer.finish_reason),
    )


def _continued(line: Line, piece: Line, *, exact: bool) -> Line:
    """A line with the next piece of it, which was read in a window of its own.

    `exact` says that their confidences are the probabilities that they have no error; the line has none if
    neither piece has.
    """
    assert line.polygon is not None
    assert piece.polygon is not None
    text, words, following = join_pieces(line.text, piece.text), line.words, piece.words
    if words and following and not text.startswith(f"{line.text} "):
        first, second = words[-1], following[0]
        both = [(word.text, word.confidence) for word in (first, second) if word.confidence is not None]
        middle = Word(first.text + second.text, union([first.box, second.box]), mean_over_characters(both))
        words, following = words[:-1], (middle, *following[1:])
    known = [(part.text, part.confidence) for part in (line, piece) if part.confidence is not None]
    ends = [part.finish_reason for part in (line, piece) if part.finish_reason is not FinishReason.STOP]
    return Line(
        text=text,
        polygon=(line.polygon[0], piece.polygon[1], piece.polygon[2], line.polygon[3]),
        confidence=math.prod(value for _, value in known) if exact and known else mean_over_characters(known),
        words=(*words, *following),
        finish_reason=ends[0] if ends else FinishReason.STOP,
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


def _left_out(windows: PageWindows) -> list[str]:
    """What was found on the page and is in none of its windows."""
    left: list[str] = []
    if windows.faint:
        left.append(
            f"{windows.faint} faint line(s) were taken for show-through and not read;"
            " raise the contrast if they are text"
        )
    if windows.shapeless:
        left.append(f"{windows.shapeless} row(s) of marks without the height of letters were not read")
    if windows.unseen:
        left.append(
            f"only the {MOST_SEGMENTS} largest of {MOST_SEGMENTS + windows.unseen} groups of marks were"
            " searched for text; if some is missing, crop the page to it"
        )
    return left


def _marks(marks: int) -> list[str]:
    if not marks:
        return []
    found = "1 mark that does" if marks == 1 else f"{marks} marks that do"
    return [f"{found} not read as text left out; if it is text, turn the page upright or scan it anew"]


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
