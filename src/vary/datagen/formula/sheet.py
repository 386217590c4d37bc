"""A sheet: the blocks of a document and the tables after it, each with its source and its answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from vary.datagen.formula.spans import Delimiters, Formula, Span, escaped_start, typeset_words
from vary.datagen.formula.tables import Cell, Table

__all__ = ["Block", "Mark", "Sheet"]


@dataclass(frozen=True, slots=True)
class Mark:
    """Something whose place is written: `kind` is `formula`, `cell` or `table`, `label` what it says."""

    kind: str
    number: int
    label: str
    block: int


@dataclass(frozen=True)
class Block:
    """A piece of a document that is not broken between pages.

    `markdown` is its part of the page's answer; `alone` blocks stand after the document, for their table
    only; `templates` names the formulas' structures.
    """

    number: int
    kind: str
    source: str = field(repr=False)
    markdown: str
    table: Table | None = None
    templates: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    alone: bool = False


class Sheet:
    """Collects blocks, numbers what is in them, and writes both forms of each."""

    def __init__(self, program: str, delimiters: Delimiters) -> None:
        self.program, self.delimiters = program, delimiters
        self.blocks: list[Block] = []
        self.marks: list[Mark] = []

    @property
    def next_number(self) -> int:
        """The number that the next block gets."""
        return len(self.blocks) + 1

    def mark(self, kind: str, label: str) -> int:
        """Number something of the next block."""
        self.marks.append(Mark(kind, len(self.marks), label, self.next_number))
        return self.marks[-1].number

    def typeset(self, spans: Sequence[Span]) -> str:
        """Source of text with formulas."""
        out = []
        for span in spans:
            if isinstance(span, Formula):
                out.append(rf"\VaryFormula{{{self.mark('formula', span.latex)}}}{{{span.latex}}}")
            else:
                text = typeset_words(span.text, self.program)
                out.append(rf"\textbf{{{text}}}" if span.bold else text)
        return "".join(out)

    def markdown(self, spans: Sequence[Span]) -> str:
        """A paragraph's answer."""
        return escaped_start(self.delimiters.markdown(spans))

    def display(self, latex: str, tag: str = "") -> tuple[str, str]:
        """Source and answer of a displayed formula, numbered `(tag)` where there is one."""
        number = self.mark("formula", latex)
        answer = latex + (rf" \tag{{{tag}}}" if tag else "")
        return rf"\VaryDisplay{{{number}}}{{{tag}}}{{{latex}}}", self.delimiters.block(answer)

    def table(self, table: Table) -> tuple[str, str]:
        """Source and answer of a table."""
        number = self.mark("table", "table")

        def cell_source(cell: Cell) -> str:
            cell_number = self.mark("cell", self.delimiters.latex(cell.spans))
            wrapped = (
                table.width is not None
                and cell.columns == 1
                and cell.column == table.columns - 1
                and cell.row >= table.header_rows
            )
            name = "VaryLines" if wrapped else "VaryCell"
            return rf"\{name}{{{cell_number}}}{{{self.typeset(cell.spans)}}}"

        source = table.source(cell_source)
        return rf"\VaryTable{{{number}}}{{{source}}}", table.latex(self.delimiters)

    def add(
        self,
        kind: str,
        source: str,
        markdown: str,
        *,
        table: Table | None = None,
        templates: Sequence[str] = (),
        origins: Sequence[str] = (),
        alone: bool = False,
        keep: bool = False,
    ) -> None:
        """Add a block; `keep` says that no page ends behind it."""
        number = self.next_number
        if keep:
            source += r"\global\VaryKeeptrue"
        self.blocks.append(
            Block(
                number,
                kind,
                f"\\begin{{varyblock}}{{{number}}}\n{source}\n\\end{{varyblock}}",
                markdown,
                table,
                tuple(templates),
                tuple(origins),
                alone,
            )
        )
