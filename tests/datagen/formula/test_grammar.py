"""Formulas: at least forty structures, balanced, written in one way, which both programs of LaTeX accept."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vary.datagen.formula.grammar import Grammar
from vary.datagen.formula.latex import MACROS, run_latex
from vary.datagen.formula.notation import balanced, bracketed, compact
from vary.datagen.formula.templates import DISPLAY, draw_display, draw_inline
from vary.datagen.formula.typefaces import find_maths_fonts

PREAMBLES = {
    "pdflatex": r"\usepackage[T1]{fontenc}\usepackage{amsmath,amssymb,txfonts}",
    "xelatex": r"\usepackage{amsmath,unicode-math}\setmathfont{maths.otf}[Path=./]",
}


def test_there_are_many_structures() -> None:
    assert len(DISPLAY) >= 40
    rng = np.random.default_rng(0)
    names = {draw_display(Grammar(rng))[0] for _ in range(2000)}
    assert names == set(DISPLAY), "some template is never drawn"


@given(st.integers(0, 2**32), st.integers(1, 4), st.booleans())
def test_formulas_are_balanced_and_compact(seed: int, depth: int, chinese: bool) -> None:
    grammar = Grammar(np.random.default_rng(seed), depth, chinese)
    for latex in (draw_display(grammar)[1], draw_inline(grammar)):
        assert balanced(latex), latex
        assert compact(latex) == latex
        # One way to write what looks the same.
        assert not re.search(r"\\(to|le|ge|ne|lbrace|dots|longrightarrow)(?![A-Za-z])", latex), latex
        assert not re.search(r"[_^][^{]", latex), f"a script without braces: {latex}"
        assert len(latex) < 6000
        has_han = any("\u4e00" <= character <= "\u9fff" for character in latex)
        assert chinese or not has_han


@given(st.integers(0, 2**32))
def test_a_formula_depends_on_its_seed_alone(seed: int) -> None:
    first, second = (draw_display(Grammar(np.random.default_rng(seed), 3)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("loose", "tight"),
    [
        (r"a + b = \frac{ 1 }{ 2 }", r"a+b=\frac{1}{2}"),
        (r"\alpha x \beta 2 \, d x", r"\alpha x\beta2\,dx"),
        (r"\text{ if }  x", r"\text{ if }x"),
        (r"\begin{pmatrix} a&b\\ c &d\end{pmatrix} x", r"\begin{pmatrix} a & b \\ c & d \end{pmatrix}x"),
        (r"\operatorname*{arg\,min} _{x}", r"\operatorname*{arg\,min}_{x}"),
    ],
)
def test_compact(loose: str, tight: str) -> None:
    assert compact(loose) == tight


@pytest.mark.parametrize(
    ("latex", "closed"),
    [
        (r"\frac{a}{b}", True),
        (r"\{ x \}", True),
        (r"\frac{a}{b", False),
        (r"a}", False),
        (r"\left( x \right.", True),
        (r"\left( {x \right. }", False),
        (r"\begin{cases} a \end{matrix}", False),
    ],
)
def test_balanced(latex: str, closed: bool) -> None:
    assert balanced(latex) is closed


def test_brackets_grow_around_what_is_tall() -> None:
    assert compact(bracketed("a+b")) == "(a+b)"
    assert compact(bracketed(r"\frac{a}{b}", "[", "]")) == r"\left[\frac{a}{b}\right]"


@pytest.mark.parametrize("program", PREAMBLES)
def test_every_structure_is_typeset_without_a_missing_character(program: str) -> None:
    blocks = []
    for number, name in enumerate(DISPLAY):
        for seed in range(2):
            latex = compact(DISPLAY[name](Grammar(np.random.default_rng([number, seed]), 2)))
            label = 2 * number + seed + 1
            shown = rf"\VaryDisplay{{{label}}}{{{label if seed else ''}}}{{{latex}}}"
            blocks.append(rf"\begin{{varyblock}}{{{label}}}{shown}\end{{varyblock}}")
    source = "\n".join(
        [
            r"\documentclass{article}\usepackage[paperwidth=900bp,paperheight=800bp,margin=40bp]{geometry}",
            PREAMBLES[program],
            r"\providecommand{\square}{\mdlgwhtsquare}",
            r"\AtBeginDocument{\let\setminus\smallsetminus}" if program == "xelatex" else "",
            MACROS,
            r"\begin{document}",
            *blocks,
            r"\end{document}",
        ]
    )
    assert find_maths_fonts(), "no font for formulas: apt-get install fonts-texgyre-math"
    for font in find_maths_fonts() if program == "xelatex" else [None]:
        files = [("maths.otf", str(font))] if font else []
        typeset = run_latex(program, source, height=803.0, first_page=1, files=files)
        assert typeset.error is None
        assert [fault for fault in typeset.faults.values() if "lacks" in fault] == []
        placed = {number for kind, number in typeset.places if kind == "formula"}
        expected = set(range(1, 2 * len(DISPLAY) + 1))
        assert placed | typeset.left_out == expected
        assert len(typeset.left_out) < 0.2 * len(expected)
