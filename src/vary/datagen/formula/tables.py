"""Tables: cells with spans, and their three forms: the source that is typeset, LaTeX and HTML for answers.

In answers the rules of a table are `\\hline` and `\\cline`, as in Mathpix's Markdown, whatever package drew
them; cells over several rows are `\\multirow`, over several columns `\\multicolumn`.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass, field

from vary.datagen.formula.spans import Delimiters, Formula, Span, Words

__all__ = ["RULES", "Cell", "Table"]

RULES = ("booktabs", "grid", "lines", "none")
"""How a table is ruled: three rules of booktabs, a frame around every cell, rules between rows, nothing."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell at a place of the grid, from 0; it may reach over several rows or columns."""

    row: int
    column: int
    spans: tuple[Span, ...]
    rows: int = 1
    columns: int = 1

    @property
    def text(self) -> str:
        """What the cell says; formulas as LaTeX."""
        return "".join(span.latex if isinstance(span, Formula) else span.text for span in self.spans)


@dataclass(frozen=True)
class Table:
    """A table of `rows` x `columns`: every place of the grid belongs to exactly one cell."""

    rows: int
    columns: int
    alignment: str
    """One of `l`, `c`, `r` for each column."""
    rules: str
    """One of `RULES`."""
    cells: tuple[Cell, ...] = field(repr=False)
    header_rows: int = 1
    upright: bool = False
    """Whether `lines` has a vertical rule behind the first column as well."""
    width: float | None = None
    """Width of the last column in em, where its text is broken into lines."""

    def __post_init__(self) -> None:
        places = [
            (row, column)
            for cell in self.cells
            for row in range(cell.row, cell.row + cell.rows)
            for column in range(cell.column, cell.column + cell.columns)
        ]
        assert sorted(places) == [(r, c) for r in range(self.rows) for c in range(self.columns)]
        assert len(self.alignment) == self.columns
        assert self.rules in RULES

    def latex(self, delimiters: Delimiters) -> str:
        """The table as an answer has it: `\\begin{tabular}{...}` and a line for each row."""
        return self._lines(
            self._columns(), lambda cell: delimiters.latex(cell.spans), lambda row: self._plain_rule(row)
        )

    def source(self, typeset: Callable[[Cell], str]) -> str:
        """The table as it is typeset; `typeset` gives a cell's content."""
        columns = self._columns()
        if self.width is not None:
            at = columns.rindex(self.alignment[-1])
            columns = f"{columns[:at]}p{{{self.width}em}}{columns[at + 1 :]}"
        return self._lines(columns, typeset, self._typeset_rule, multirow="\\VaryRows")

    def html(self, delimiters: Delimiters) -> str:
        """The table as HTML, without blanks or lines between its elements."""
        out = ["<table>"]
        for row in range(self.rows):
            out.append("<tr>")
            for cell in self._of_row(row):
                spans = "".join(
                    f' {name}="{count}"'
                    for name, count in (("rowspan", cell.rows), ("colspan", cell.columns))
                    if count > 1
                )
                text = "".join(_html(span, delimiters) for span in cell.spans)
                out.append(f"<td{spans}>{text}</td>")
            out.append("</tr>")
        return "".join([*out, "</table>"])

    def grid(self) -> list[list[str]]:
        """The text of each place; a cell that reaches over several is repeated."""
        out = [[""] * self.columns for _ in range(self.rows)]
        for cell in self.cells:
            for row in range(cell.row, cell.row + cell.rows):
                for column in range(cell.column, cell.column + cell.columns):
                    out[row][column] = cell.text
        return out

    # the parts of LaTeX

    def _of_row(self, row: int) -> list[Cell]:
        """The cells that begin in a row, from the left."""
        return sorted((cell for cell in self.cells if cell.row == row), key=lambda cell: cell.column)

    def _columns(self) -> str:
        if self.rules == "grid":
            return "|" + "|".join(self.alignment) + "|"
        if self.rules == "lines" and self.upright:
            return f"{self.alignment[0]}|{self.alignment[1:]}"
        return self.alignment

    def _lines(
        self,
        columns: str,
        content: Callable[[Cell], str],
        rule: Callable[[int], str],
        multirow: str = "\\multirow",
    ) -> str:
        out = [rf"\begin{{tabular}}{{{columns}}}"]
        for row in range(self.rows):
            line = " & ".join(self._row(row, content, multirow))
            out.append(f"{rule(row)} {line.lstrip()} \\\\".lstrip())
        return "\n".join([*out, *filter(None, [rule(self.rows)]), r"\end{tabular}"])

    def _row(self, row: int, content: Callable[[Cell], str], multirow: str) -> list[str]:
        """The cells of a row as they stand between `&`; places below a tall cell stay empty."""
        parts: list[str] = []
        column = 0
        while column < self.columns:
            cell = self._at(row, column)
            text = content(cell) if cell.row == row else ""
            if cell.rows > 1 and cell.row == row:
                text = f"{multirow}{{{cell.rows}}}{{*}}{{{text}}}"
            if cell.columns > 1:
                text = rf"\multicolumn{{{cell.columns}}}{{{self._edge(cell)}}}{{{text}}}"
            parts.append(text)
            column = cell.column + cell.columns
        return parts

    def _edge(self, cell: Cell) -> str:
        """The column of a `\\multicolumn`: centred, with the rules that the grid has there."""
        if self.rules == "grid":
            return "|c|" if cell.column == 0 else "c|"
        return "c"

    def _at(self, row: int, column: int) -> Cell:
        return next(
            cell
            for cell in self.cells
            if cell.row <= row < cell.row + cell.rows and cell.column <= column < cell.column + cell.columns
        )

    def _ruled(self, row: int) -> list[tuple[int, int]]:
        """The columns (first, last, from 1) over which a rule stands above `row`, below all for `rows`."""
        whole = [(1, self.columns)]
        if self.rules == "none":
            return []
        if row in (0, self.header_rows, self.rows):
            return whole
        if row < self.header_rows or self.rules == "grid":
            return self._open_columns(row, heads=row < self.header_rows and self.rules != "grid")
        return whole if self.rules == "lines" and self._open_columns(row, False) == whole else []

    def _open_columns(self, row: int, heads: bool) -> list[tuple[int, int]]:
        """Runs of columns where a cell begins in `row`; with `heads` only those below a cell of several
        columns, each on its own."""
        runs: list[tuple[int, int]] = []
        for column in range(self.columns):
            above, here = self._at(row - 1, column), self._at(row, column)
            if here.row != row or (heads and above.columns == 1):
                continue
            joined = runs and runs[-1][1] == column and not (heads and above.column == column)
            runs[-1:] = [(runs[-1][0], column + 1)] if joined else [*runs[-1:], (column + 1, column + 1)]
        return runs

    def _plain_rule(self, row: int) -> str:
        ruled = self._ruled(row)
        if ruled == [(1, self.columns)]:
            return r"\hline"
        return " ".join(rf"\cline{{{first}-{last}}}" for first, last in ruled)

    def _typeset_rule(self, row: int) -> str:
        if self.rules != "booktabs":
            return self._plain_rule(row)
        if row in (0, self.rows):
            return r"\toprule" if row == 0 else r"\bottomrule"
        if row == self.header_rows:
            return r"\midrule"
        return " ".join(rf"\cmidrule(lr){{{first}-{last}}}" for first, last in self._ruled(row))


def _html(span: Span, delimiters: Delimiters) -> str:
    text = html.escape(delimiters.line(span.latex) if isinstance(span, Formula) else span.text, quote=False)
    return f"<b>{text}</b>" if isinstance(span, Words) and span.bold else text
