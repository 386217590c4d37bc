"""A read document: Document -> Page -> Block -> Line -> Word.

Everything is frozen and comparable; sequences become tuples.  Boxes are in pixels of the upright page.

Confidence is between 0 and 1.  A line's is the probability that the whole line is right, where the checkpoint
holds what makes one (`vary.engine.confidence`).  Else it is, as a word's always is, the mean, over its
characters, of the probability that the model gave to what it wrote (a token's probability counts once for
each of its characters).  A block's, page's and document's is the mean over all characters below that have
one: of whole lines, the share of the text that is expected to stand in lines without an error.  White space
does not count.  A detection's is the mean over the characters of its box as the model wrote it.  None: not
known.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from vary.errors import DocumentError
from vary.outputs.boxes import Box, Polygon, union
from vary.outputs.checks import finite, json_value, member, probability, set_fields

__all__ = [
    "BLOCK_JOINER",
    "LINE_JOINER",
    "PAGE_JOINER",
    "SCHEMA_VERSION",
    "Block",
    "BlockKind",
    "Box",
    "Detection",
    "Document",
    "FinishReason",
    "Line",
    "Page",
    "PageStatus",
    "Provenance",
    "Word",
    "mean_over_characters",
    "status_of",
]

SCHEMA_VERSION = "1.1"
"""Of the JSON form; described by ``document.schema.json``.  1.1 added what blocks hold beside lines."""

LINE_JOINER = "\n"
"""Between the lines of a block in ``.text``."""
BLOCK_JOINER = "\n\n"
"""Between the blocks of a page in ``.text``."""
PAGE_JOINER = "\n\n"
"""Between the pages of a document in ``.text``."""


class PageStatus(StrEnum):
    """How reading a page went, from best to worst.  ``ok`` and ``blank`` are successes."""

    BLANK = "blank"
    """There is no text on the page."""
    OK = "ok"
    LOW_CONFIDENCE = "low_confidence"
    """Read, but the text may well be wrong or incomplete."""
    TRUNCATED = "truncated"
    """The length limit ended the text."""
    LOOPED = "looped"
    """The model began to repeat itself; the text ends before that."""
    FAILED = "failed"
    """The page could not be read; ``message`` says why."""

    @classmethod
    def worst(cls, statuses: Iterable[PageStatus]) -> PageStatus:
        """The worst of ``statuses``, ``failed`` where there are none."""
        order = list(cls)
        return max(statuses, key=order.index, default=cls.FAILED)


class FinishReason(StrEnum):
    """Why the model stopped writing a line."""

    STOP = "stop"
    """It said that the text ends."""
    LENGTH = "length"
    """The length limit."""
    LOOP = "loop"
    """The loop guard."""


class BlockKind(StrEnum):
    """What a block is."""

    PARAGRAPH = "paragraph"
    """Lines of running text: where they break has no meaning."""
    HEADING = "heading"
    TEXT = "text"
    """Lines that stay lines."""
    MARKDOWN = "markdown"
    """Lines of Markdown, as a model wrote them."""
    LATEX = "latex"
    """Lines of LaTeX, as a model wrote them."""
    CHART = "chart"
    """A chart: its values in ``data``, the model's words in the lines."""
    DETECTION = "detection"
    """Objects on the page: ``detections``, the model's words in the lines."""


_STATUS_OF_FINISH = {
    FinishReason.STOP: PageStatus.OK,
    FinishReason.LENGTH: PageStatus.TRUNCATED,
    FinishReason.LOOP: PageStatus.LOOPED,
}


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a line."""

    text: str
    box: Box | None = None
    confidence: float | None = None

    def __post_init__(self) -> None:
        set_fields(self, confidence=probability(self.confidence))


@dataclass(frozen=True, slots=True)
class Line:
    """What was read in one reading window, or one line of it where the window is a whole page."""

    text: str
    polygon: Polygon | None = None
    """The window on the page."""
    box: Box | None = None
    """Around ``polygon`` where it is not given."""
    confidence: float | None = None
    words: tuple[Word, ...] = ()
    finish_reason: FinishReason = FinishReason.STOP

    def __post_init__(self) -> None:
        polygon = None if self.polygon is None else tuple((float(x), float(y)) for x, y in self.polygon)
        set_fields(
            self,
            polygon=polygon,
            box=Box.around(polygon) if self.box is None and polygon else self.box,
            confidence=probability(self.confidence),
            words=tuple(self.words),
            finish_reason=member(FinishReason, self.finish_reason, "finish_reason"),
        )


@dataclass(frozen=True, slots=True)
class Detection:
    """An object that was found on the page."""

    label: str
    """Its name, as the model wrote it or as it was asked for."""
    box: Box
    confidence: float | None = None

    def __post_init__(self) -> None:
        set_fields(self, confidence=probability(self.confidence))


@dataclass(frozen=True, slots=True)
class Block:
    """Lines that belong together, in reading order, and what was taken from them."""

    lines: tuple[Line, ...] = ()
    kind: BlockKind = BlockKind.PARAGRAPH
    box: Box | None = None
    """Around the lines' boxes where it is not given."""
    detections: tuple[Detection, ...] = ()
    """In the model's order."""
    data: Any = field(default=None, hash=False)
    """The values of a chart, as JSON values; None where there are none or they could not be read."""
    note: str = ""
    """What in the model's words could not be used, or was put right."""

    def __post_init__(self) -> None:
        lines = tuple(self.lines)
        set_fields(
            self,
            lines=lines,
            kind=member(BlockKind, self.kind, "kind"),
            box=union(line.box for line in lines) if self.box is None else self.box,
            detections=tuple(self.detections),
            data=json_value(self.data, "the data of a block"),
        )

    @property
    def text(self) -> str:
        """The lines that hold text, joined by ``LINE_JOINER``."""
        return LINE_JOINER.join(line.text for line in self.lines if line.text)

    @property
    def confidence(self) -> float | None:
        """Mean over the characters of the lines."""
        return _mean_of_lines(self.lines)


@dataclass(frozen=True, slots=True)
class Page:
    """One page: its blocks in reading order and how the reading went."""

    number: int
    """1-based, in its file."""
    width: int
    """Pixels of the upright page; 0 where the page could not be opened."""
    height: int
    source: str
    """The file as it was named, or ``<bytes>``, ``<image>``, ``<array>``."""
    status: PageStatus = PageStatus.OK
    message: str = ""
    """Why the status is not ``ok``, or what was odd."""
    blocks: tuple[Block, ...] = ()
    dpi: float | None = None
    rotation: int = 0
    """Degrees clockwise by which the stored page was turned."""
    skew: float = 0.0
    """Degrees by which the text lines slope; boxes and polygons are on the page as it is, not deskewed."""
    seconds: float | None = None
    """Time spent on reading."""

    def __post_init__(self) -> None:
        set_fields(
            self,
            number=int(self.number),
            width=int(self.width),
            height=int(self.height),
            status=member(PageStatus, self.status, "status"),
            blocks=tuple(self.blocks),
            dpi=finite(self.dpi, "dpi"),
            rotation=int(self.rotation),
            skew=finite(self.skew, "skew"),
            seconds=finite(self.seconds, "seconds"),
        )

    @property
    def text(self) -> str:
        """The blocks that hold text, joined by ``BLOCK_JOINER``."""
        return BLOCK_JOINER.join(text for block in self.blocks if (text := block.text))

    @property
    def lines(self) -> tuple[Line, ...]:
        """The lines of all blocks."""
        return tuple(line for block in self.blocks for line in block.lines)

    @property
    def detections(self) -> tuple[Detection, ...]:
        """The detections of all blocks."""
        return tuple(found for block in self.blocks for found in block.detections)

    @property
    def confidence(self) -> float | None:
        """Mean over the characters of the page."""
        return _mean_of_lines(self.lines)

    @property
    def ok(self) -> bool:
        """Whether the page was read without trouble: ``ok`` or ``blank``."""
        return self.status in {PageStatus.OK, PageStatus.BLANK}


@dataclass(frozen=True, slots=True)
class Provenance:
    """Which model read the document, and how it was asked."""

    name: str = ""
    version: str = ""
    vary_version: str = ""
    task: str = ""
    prompt: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    """Whatever else decides the result; JSON values only."""

    def __post_init__(self) -> None:
        try:
            settings = dict(self.settings)
        except (TypeError, ValueError) as error:
            raise DocumentError(f"the settings of a provenance must be an object: {error}") from error
        set_fields(self, settings=json_value(settings, "the settings of a provenance"))


@dataclass(frozen=True, slots=True)
class Document:
    """What was read out of one source."""

    source: str
    pages: tuple[Page, ...] = ()
    model: Provenance = field(default_factory=Provenance)
    schema_version: str = SCHEMA_VERSION

    def __post_init__(self) -> None:
        set_fields(self, pages=tuple(self.pages))

    @property
    def text(self) -> str:
        """The pages that hold text, joined by ``PAGE_JOINER``."""
        return PAGE_JOINER.join(text for page in self.pages if (text := page.text))

    @property
    def confidence(self) -> float | None:
        """Mean over the characters of the document."""
        return _mean_of_lines([line for page in self.pages for line in page.lines])

    @property
    def status(self) -> PageStatus:
        """The worst status of the pages; ``failed`` where there is no page."""
        return PageStatus.worst(page.status for page in self.pages)

    @property
    def ok(self) -> bool:
        """Whether there are pages and every one is ``ok`` or ``blank``."""
        return bool(self.pages) and all(page.ok for page in self.pages)

    def markdown(self, *, page_breaks: bool = False) -> str:
        """The document as Markdown; ``page_breaks`` marks where each page begins."""
        from vary.outputs.render.markdown import render_markdown

        return render_markdown(self, page_breaks=page_breaks)

    def to_json(self, *, indent: int | None = 2) -> str:
        """The document as JSON that follows ``document.schema.json``."""
        from vary.outputs.schema import dumps

        return dumps(self, indent=indent)

    @classmethod
    def from_json(cls, text: str | bytes) -> Document:
        """The document that ``to_json`` wrote.  Raises DocumentError, naming the place, for anything else."""
        from vary.outputs.schema import loads

        return loads(text)


def status_of(blocks: Sequence[Block], *, minimum_confidence: float = 0.0) -> PageStatus:
    """The status of a page that was read: the worst of its lines' ends and of its confidence.

    No lines: ``blank``.  Lines without any text: ``low_confidence``, for ink was found and nothing read in
    it.
    """
    lines = [line for block in blocks for line in block.lines]
    if not lines:
        return PageStatus.BLANK
    statuses = [_STATUS_OF_FINISH[line.finish_reason] for line in lines]
    confidence = _mean_of_lines(lines)
    unsure = confidence is not None and confidence < minimum_confidence
    if unsure or not any(line.text.strip() for line in lines):
        statuses.append(PageStatus.LOW_CONFIDENCE)
    return PageStatus.worst(statuses)


def mean_over_characters(pieces: Iterable[tuple[str, float | None]]) -> float | None:
    """The mean of values that belong to pieces of text, each weighing its characters without white space.

    Pieces whose value is None are left out; None where nothing is left.
    """
    total, count = 0.0, 0
    for text, value in pieces:
        if value is None:
            continue
        characters = sum(not character.isspace() for character in text)
        total += value * characters
        count += characters
    return min(1.0, max(0.0, total / count)) if count else None


def _mean_of_lines(lines: Iterable[Line]) -> float | None:
    return mean_over_characters((line.text, line.confidence) for line in lines)
