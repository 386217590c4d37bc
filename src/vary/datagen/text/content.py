"""What a typeset document says, free of how it looks: blocks of spans, and the pieces of text they print."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

__all__ = ["Block", "Document", "Marginals", "Piece", "Span", "Style", "plain", "spans"]

Spans = tuple["Span", ...]

KINDS = frozenset(
    {
        "heading",
        "paragraph",
        "quote",
        "term",
        "item",
        "code",
        "table",
        "figure",
        "field",
        "entry",
        "verse",
        "lines",
        "rule",
        "break",
    }
)
"""The kinds of block. `term` is a paragraph whose first line hangs out, `entry` a line of a table of
contents, `lines` are lines that are not filled, such as an address; `rule` and `break` (a new page) print no
text."""


@dataclass(frozen=True, slots=True)
class Span:
    """A run of text in one style: plain (``""``), `strong`, `emphasis`, `code` or `mark`, the raised number
    of a footnote."""

    text: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a document.

    Attributes:
        kind: one of `KINDS`.
        parts: what it prints, in reading order: one part for a paragraph; marker and text of an item; label
            and value of a field; title and page number of an entry; cells row by row of a table; lines.
        level: depth of a heading (1 is the title) or of an item (0 outermost); columns of a table; number of
            a figure's drawing.
        align: `left`, `center` or `right` where it is not the document's way.
        source: of its text: `file name#line number`, or `made-up`.
    """

    kind: str
    parts: tuple[Spans, ...] = ()
    level: int = 0
    align: str = ""
    source: str = "made-up"

    def __post_init__(self) -> None:
        assert self.kind in KINDS, self.kind


@dataclass(frozen=True, slots=True)
class Marginals:
    """The texts at left, centre and right of a header or footer; `{page}` stands for the page's number."""

    left: str = ""
    centre: str = ""
    right: str = ""

    def texts(self, page: int) -> tuple[str, ...]:
        """What is printed on page number `page`, empty places left out."""
        return tuple(
            text.replace("{page}", str(page)) for text in (self.left, self.centre, self.right) if text
        )


@dataclass(frozen=True, slots=True)
class Style:
    """How a document looks; lengths in points, factors of the font size (em) where it says so.

    `families` are numbers into the engine's list of font families: of the text, of headings, of code, and of
    the Latin letters on a page whose text font is Chinese (None: the text font's own).
    """

    width: float
    height: float
    margins: tuple[float, float, float, float]
    """top, right, bottom, left"""
    size: float
    leading: float
    """Space between the lines, em."""
    spacing: float
    """Space between paragraphs, em."""
    indent: float
    """Of a paragraph's first line, em."""
    text_family: int
    heading_family: int
    code_family: int
    latin_family: int | None = None
    columns: int = 1
    gutter: float = 18.0
    column_rule: bool = False
    alignment: str = "left"
    """`justify`, `left` or `center`"""
    hyphenate: bool = False
    ligatures: bool = True
    tracking: float = 0.0
    """Added after every character, em."""
    heading_scale: float = 1.25
    heading_align: str = "left"
    ink: str = "000000"
    paper: str = "ffffff"
    accent: str = "000000"
    table_lines: str = "all"
    """`all`, `rows`, `rules` (three rules) or `none`"""

    @property
    def column_width(self) -> float:
        """Width of one column in points."""
        inner = self.width - self.margins[1] - self.margins[3]
        return (inner - (self.columns - 1) * self.gutter) / self.columns

    @property
    def coloured(self) -> bool:
        """Whether anything on the page is not gray."""
        return any(len({c[0:2], c[2:4], c[4:6]}) > 1 for c in (self.ink, self.paper, self.accent))


@dataclass(frozen=True, slots=True)
class Document:
    """A document to typeset: `blocks` in reading order, `notes` the footnotes' texts by number.

    The first `full_width` blocks stand across all columns. `header_even` and `footer_even` are for pages with
    even numbers where those differ; the first page has the number `first_page`. At most `pages` of its pages
    are wanted, however many it fills.
    """

    layout: str
    language: str
    style: Style
    blocks: tuple[Block, ...]
    notes: Mapping[int, Spans] = field(default_factory=dict)
    full_width: int = 0
    header: Marginals = field(default_factory=Marginals)
    footer: Marginals = field(default_factory=Marginals)
    header_even: Marginals | None = None
    footer_even: Marginals | None = None
    header_rule: bool = False
    first_page: int = 1
    pages: int = 1

    def header_of(self, page: int) -> Marginals:
        """The header of the page with number `page`."""
        return self.header_even if self.header_even is not None and page % 2 == 0 else self.header

    def footer_of(self, page: int) -> Marginals:
        """The footer of the page with number `page`."""
        return self.footer_even if self.footer_even is not None and page % 2 == 0 else self.footer


@dataclass(frozen=True, slots=True)
class Piece:
    """A text that is printed in one go: where it stands in the document, and what parts it from the text
    before it on the page (a newline or a blank)."""

    spans: Spans
    block: int
    part: int
    before: str

    @property
    def text(self) -> str:
        """Its characters."""
        return plain(self.spans)


def plain(spans: Iterable[Span]) -> str:
    """The text of spans."""
    return "".join(span.text for span in spans)


def spans(text: str, style: str = "") -> Spans:
    """One span, or none for an empty text."""
    return (Span(text, style),) if text else ()


def body_pieces(document: Document) -> list[Piece]:
    """The pieces of all blocks in the order in which they are printed."""
    return [
        Piece(part, number, place, _before(block, place))
        for number, block in enumerate(document.blocks)
        for place, part in enumerate(block.parts)
        if plain(part).strip()
    ]


def _before(block: Block, place: int) -> str:
    if place == 0:
        return "\n"
    if block.kind in ("item", "field", "entry"):
        return " "
    if block.kind == "table":
        return " " if place % max(1, block.level) else "\n"
    return "\n"
