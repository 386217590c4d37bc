"""A document in the making: its texts' writers, its style, its blocks so far and how much room they take."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from vary.datagen.corpus import Paragraph, is_han
from vary.datagen.text.author import Author
from vary.datagen.text.content import Block, Document, Marginals, Span, Spans, Style, plain, spans

__all__ = ["Draft"]

_MOST_BLOCKS = 1500
_NUMERALS = "零一二三四五六七八九十"


@dataclass
class Draft:
    """Blocks of one document; `authors` writes in each of its languages, every draw comes from `rng`.

    `italic` says whether the text's family has an italic face.
    """

    language: str
    style: Style
    authors: Sequence[Author]
    rng: np.random.Generator
    pages: int
    italic: bool = True
    blocks: list[Block] = field(default_factory=list)
    notes: dict[int, Spans] = field(default_factory=dict)
    lines: float = 0.0
    """Roughly how many lines the blocks fill."""

    @property
    def author(self) -> Author:
        """Who writes next: on a page in both languages, either."""
        return self.authors[int(self.rng.integers(len(self.authors)))]

    def restyle(self, **changes: Any) -> None:
        """Change the style: before the first block is added."""
        self.style = replace(self.style, **changes)

    # how much there is

    @property
    def characters_in_line(self) -> float:
        """About how many characters a line of a column holds."""
        wide = self.language == "zh"
        return max(2.0, self.style.column_width / self.style.size / (1.0 if wide else 0.5))

    @property
    def lines_in_page(self) -> float:
        """About how many lines all columns of a page hold."""
        style = self.style
        height = style.height - style.margins[0] - style.margins[2]
        return max(1.0, height / (style.size * (0.72 + style.leading)) * style.columns)

    @property
    def full(self) -> bool:
        """Whether the blocks fill the wanted pages, with something to spare."""
        return self.lines > 1.12 * self.pages * self.lines_in_page or len(self.blocks) > _MOST_BLOCKS

    def filled(self, share: float) -> bool:
        """Whether the blocks fill a share of one page."""
        return self.lines > share * self.lines_in_page

    # adding blocks

    def add(
        self,
        kind: str,
        *parts: Spans | str,
        level: int = 0,
        align: str = "",
        source: str = "made-up",
        lines: float | None = None,
    ) -> None:
        """Add a block; `lines` is the room it takes where its text does not tell."""
        made = tuple(spans(part) if isinstance(part, str) else part for part in parts)
        self.blocks.append(Block(kind, made, level, align, source))
        if lines is None:
            lines = sum(math.ceil((len(plain(part)) + 1) / self.characters_in_line) for part in made)
            lines += self.style.spacing
        self.lines += lines

    def heading(self, text: str, level: int = 2) -> None:
        """A heading; level 1 is a title."""
        self.add("heading", text, level=level, lines=3.5 - 0.5 * level)

    def paragraph(self, low: int = 80, high: int = 600, *, kind: str = "paragraph", **more: Any) -> None:
        """A paragraph of the corpus, words emphasised now and then."""
        author = self.author
        written = author.paragraph(low, high)
        self.add(kind, self.marked(written, author), source=written.source, **more)

    def marked(self, paragraph: Paragraph, author: Author, share: float = 0.15) -> Spans:
        """The paragraph's text with some words strong, in italics or as code, in a `share` of cases."""
        text = paragraph.text
        if not author.chance(share):
            return spans(text)
        chosen = _Chooser(text, author).choose(1 + author.below(2), self.italic)
        done: list[Span] = []
        last = 0
        for start, end, style in chosen:
            done += spans(text[last:start]) + spans(text[start:end], style)
            last = end
        return (*done, *spans(text[last:]))

    # small things

    def number(self, value: int) -> str:
        """A number for headings: `3`, or in Chinese now and then `三`."""
        if self.language == "zh" and value <= 10 and self.style.heading_scale > 1.3:
            return _NUMERALS[value]
        return str(value)

    def printable(self, options: str) -> str:
        """One of the characters that the fonts have; the first where they have none."""
        fit = [c for c in options if all(author.prints(c) for author in self.authors)]
        return fit[int(self.rng.integers(len(fit)))] if fit else options[0]

    def chance(self, probability: float) -> bool:
        """True with a probability."""
        return bool(self.rng.random() < probability)

    def below(self, high: int) -> int:
        """A whole number from 0 to `high` - 1."""
        return int(self.rng.integers(high))

    def page_number(self) -> Marginals:
        """A footer with the page's number, in one of its usual forms."""
        form = self.author.pick(
            ("{page}", "- {page} -", "{page}", self.authors[0].say("Page {page}", "第 {page} 页"))
        )
        place = self.below(4)
        return Marginals(centre=form) if place < 2 else Marginals(**{("left", "right")[place - 2]: form})

    def document(self, layout: str, **more: Any) -> Document:
        """The document that the blocks make."""
        return Document(
            layout=layout,
            language=self.language,
            style=self.style,
            blocks=tuple(self.blocks),
            notes=dict(self.notes),
            pages=self.pages,
            **more,
        )


class _Chooser:
    """Chooses places of a text to emphasise."""

    def __init__(self, text: str, author: Author) -> None:
        self.text, self.author = text, author

    def choose(self, count: int, italic: bool) -> list[tuple[int, int, str]]:
        """Up to `count` places (start, end, style) in order, apart from each other."""
        chosen: list[tuple[int, int, str]] = []
        last = 0
        for found in re.finditer(r"[A-Za-z]{3,}(?: [A-Za-z]{2,}){0,2}|[\u4e00-\u9fff]{2,6}", self.text):
            if len(chosen) == count or found.start() < last:
                break
            if not self.author.chance(0.12):
                continue
            before = self.text[found.start() - 1 : found.start()]
            after = self.text[found.end() : found.end() + 1]
            han = is_han(found.group()[0])
            if not han and (before not in ("", " ") or after not in ("", " ", ",")):
                continue
            styles = ["strong"] if han else ["strong", "code", *(["emphasis"] * 2 if italic else [])]
            chosen.append((found.start(), found.end(), self.author.pick(styles)))
            last = found.end() + 2
        return chosen
