"""Tables: their LaTeX and HTML, parsed back by parsers of the tests' own, have the cells that were drawn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latex_tables import html_grid, latex_grid
from vary.datagen.formula.spans import DELIMITERS, Formula, Words
from vary.datagen.formula.table_drawing import draw_table
from vary.datagen.formula.tables import RULES, Cell, Table

BRACKETS = DELIMITERS["brackets"]


@given(st.integers(0, 2**32), st.sampled_from(("en", "zh", "mixed")))
def test_cells_come_back(seed: int, language: str) -> None:
    text = r"A 50% & more_of {x} \ y #1 ^ ~ <b>"
    table = draw_table(np.random.default_rng(seed), language, sentence=lambda length: text[:length].strip())
    assert 2 <= table.columns <= 8
    for row in range(table.rows):
        assert any(cell.row == row for cell in table.cells), "a row in which nothing begins"
    grid = [[cell.strip() for cell in row] for row in table.grid()]
    assert latex_grid(table.latex(BRACKETS)) == grid
    shown = html_grid(table.html(BRACKETS))
    assert [[cell.replace(r"\(", "").replace(r"\)", "") for cell in row] for row in shown] == table.grid()


def test_every_kind_of_table_comes_up() -> None:
    tables = [draw_table(np.random.default_rng(seed), "en") for seed in range(300)]
    assert {table.rules for table in tables} == set(RULES)
    assert {table.columns for table in tables} == set(range(2, 9))
    cells = [cell for table in tables for cell in table.cells]
    assert any(cell.columns > 1 for cell in cells)
    assert any(cell.rows > 1 and cell.row == 0 for cell in cells)
    assert any(cell.rows > 1 and cell.row > 0 for cell in cells)
    assert any(isinstance(span, Formula) for cell in cells for span in cell.spans)
    texts = " ".join(cell.text for cell in cells)
    for sign in ("%", "$", "€", " kg", r"\pm"):
        assert sign in texts, sign
    without = [
        draw_table(np.random.default_rng(seed), "en", shows=lambda sign: sign == "$") for seed in range(300)
    ]
    assert not set("€£¥") & {sign for table in without for cell in table.cells for sign in cell.text}


def head_and_body(rules: str) -> Table:
    def words(text: str) -> tuple[Words, ...]:
        return (Words(text),)

    cells = (
        Cell(0, 0, words("a"), rows=2),
        Cell(0, 1, words("b"), columns=2),
        Cell(1, 1, words("c")),
        Cell(1, 2, (Formula("x^{2}"),)),
        Cell(2, 0, words("d"), rows=2),
        Cell(2, 1, words("1%")),
        Cell(2, 2, ()),
        Cell(3, 1, (Words("2", bold=True),)),
        Cell(3, 2, words("3")),
    )
    return Table(4, 3, "lcr", rules, cells, header_rows=2)


def test_the_forms_of_a_table() -> None:
    grid = head_and_body("grid").latex(BRACKETS)
    assert grid.splitlines() == [
        r"\begin{tabular}{|l|c|r|}",
        r"\hline \multirow{2}{*}{a} & \multicolumn{2}{c|}{b} \\",
        r"\cline{2-3} & c & \(x^{2}\) \\",
        r"\hline \multirow{2}{*}{d} & 1\% &  \\",
        r"\cline{2-3} & \textbf{2} & 3 \\",
        r"\hline",
        r"\end{tabular}",
    ]
    booktabs = head_and_body("booktabs")
    # Answers have Mathpix's rules; what is typeset has those of booktabs.
    assert booktabs.latex(BRACKETS).count(r"\hline") == 3
    assert r"\cline{2-3} & c" in booktabs.latex(BRACKETS)
    source = booktabs.source(lambda cell: cell.text)
    assert [source.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    assert r"\cmidrule(lr){2-3}" in source
    assert r"\hline" not in source
    assert r"\hline" not in head_and_body("none").latex(BRACKETS)
    assert head_and_body("grid").html(DELIMITERS["dollars"]) == (
        '<table><tr><td rowspan="2">a</td><td colspan="2">b</td></tr><tr><td>c</td><td>$x^{2}$</td></tr>'
        '<tr><td rowspan="2">d</td><td>1%</td><td></td></tr><tr><td><b>2</b></td><td>3</td></tr></table>'
    )


def test_a_table_with_a_hole_is_a_mistake() -> None:
    with pytest.raises(AssertionError):
        Table(2, 2, "ll", "grid", (Cell(0, 0, ()), Cell(0, 1, ()), Cell(1, 0, ())))
