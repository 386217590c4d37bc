"""Parsers of LaTeX and HTML tables, independent of the code that writes them."""

from __future__ import annotations

import re
from html.parser import HTMLParser

Grid = list[list[str]]


def plain(latex: str) -> str:
    """The text of a cell: formulas without delimiters, escapes undone, bold dropped."""
    parts = re.split(r"(\\\(.*?\\\))", latex)
    out = []
    for part in parts:
        if part.startswith(r"\("):
            out.append(part[2:-2])
            continue
        part = re.sub(r"\\textbf\{((?:[^{}\\]|\\.)*)\}", r"\1", part)
        part = part.replace(r"\textbackslash{}", "\0").replace(r"\textasciitilde{}", "~")
        part = part.replace(r"\textasciicircum{}", "^")
        out.append(re.sub(r"\\([{}$&#%_])", r"\1", part).replace("\0", "\\"))
    return "".join(out)


def split_cells(line: str) -> list[str]:
    """The parts of a row at `&` outside braces and escapes."""
    cells, depth, start, place = [], 0, 0, 0
    while place < len(line):
        if line[place] == "\\":
            place += 2
            continue
        depth += {"{": 1, "}": -1}.get(line[place], 0)
        if line[place] == "&" and depth == 0:
            cells.append(line[start:place])
            start = place + 1
        place += 1
    return [*cells, line[start:]]


def latex_grid(latex: str) -> Grid:
    """The cells of a `tabular`; a cell over several places is repeated."""
    opening = re.match(r"\\begin\{tabular\}\{([lcr|]+)\}\n", latex)
    assert opening, latex
    columns = len(opening[1].replace("|", ""))
    assert latex.endswith("\n\\end{tabular}")
    body = latex[opening.end() : -len("\\end{tabular}")]
    rows: Grid = []
    below: dict[int, tuple[int, str]] = {}
    for line in body.splitlines():
        line = re.sub(r"^(\\hline|(\\cline\{\d+-\d+\} ?)+)", "", line).strip()
        if not line:
            continue
        assert line.endswith(r"\\"), line
        row: list[str] = []
        for part in split_cells(line[:-2]):
            part, width, height = part.strip(), 1, 1
            if found := re.fullmatch(r"\\multicolumn\{(\d+)\}\{\|?c\|?\}\{(.*)\}", part):
                width, part = int(found[1]), found[2]
            if found := re.fullmatch(r"\\multirow\{(\d+)\}\{\*\}\{(.*)\}", part):
                height, part = int(found[1]), found[2]
            text = plain(part)
            for _ in range(width):
                left, above = below.get(len(row), (0, ""))
                if left:
                    assert text == "", f"text in a place that a cell above reaches over: {line}"
                    below[len(row)] = (left - 1, above)
                    row.append(above)
                else:
                    below[len(row)] = (height - 1, text)
                    row.append(text)
        assert len(row) == columns, line
        rows.append(row)
    return rows


class _Html(HTMLParser):
    """Cells of a table by place, as HTML's own algorithm lays them out."""

    def __init__(self) -> None:
        super().__init__()
        self.places: dict[tuple[int, int], str] = {}
        self.row, self.text, self.size = -1, "", (1, 1)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.row += 1
        elif tag == "td":
            values = dict(attrs)
            self.size = int(values.get("rowspan") or 1), int(values.get("colspan") or 1)
            self.text = ""

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "td":
            column = 0
            while (self.row, column) in self.places:
                column += 1
            for row in range(self.size[0]):
                for step in range(self.size[1]):
                    self.places[self.row + row, column + step] = self.text


def html_grid(text: str) -> Grid:
    parser = _Html()
    parser.feed(text)
    rows = max(row for row, _ in parser.places) + 1
    columns = max(column for _, column in parser.places) + 1
    return [[parser.places[row, column] for column in range(columns)] for row in range(rows)]
