"""Running LaTeX: places are exact, what does not fit or lacks a character is told, nothing gets out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vary.datagen.formula.latex import MACROS, run_latex
from vary.datagen.formula.pages import paint_pages
from vary.datagen.formula.spans import DELIMITERS, Formula, Words, escaped_start, typeset_words
from vary.errors import DataError

PAPER = (300.0, 400.0)
HEIGHT = PAPER[1] * 72.27 / 72


def document(body: str, preamble: str = "") -> str:
    return "\n".join(
        [
            r"\documentclass{article}",
            rf"\usepackage[paperwidth={PAPER[0]}bp,paperheight={PAPER[1]}bp,margin=40bp]{{geometry}}",
            r"\usepackage{amsmath}\hfuzz=1pt\pagestyle{empty}",
            preamble,
            MACROS,
            r"\begin{document}\setcounter{page}{7}\tracinglostchars=2",
            body,
            r"\end{document}",
        ]
    )


def block(number: int, content: str) -> str:
    return rf"\begin{{varyblock}}{{{number}}}{content}\end{{varyblock}}"


@pytest.mark.parametrize("program", ["pdflatex", "xelatex"])
def test_places_are_where_the_ink_is(program: str) -> None:
    body = [
        block(1, r"\noindent\VaryTable{0}{\rule{30pt}{20pt}\rule[-9pt]{20pt}{9pt}}"),
        block(2, r"\VaryKeeptrue\noindent\rule{10pt}{200pt}"),
        block(3, r"\noindent\kern40pt\VaryCell{1}{\rule{60pt}{30pt}}"),
        block(4, r"\noindent\VaryTable{2}{\rule{30pt}{150pt}}"),
    ]
    typeset = run_latex(program, document("\n".join(body)), height=HEIGHT, first_page=7)
    assert typeset.error is None
    assert {key: place.page for key, place in typeset.places.items() if key[0] == "block"} == {
        ("block", 1): 0,
        ("block", 2): 0,
        ("block", 3): 0,
        ("block", 4): 1,
    }
    pages = paint_pages(typeset.pdf, [288.0, 288.0])
    for key, size in {("table", 0): (50, 29), ("cell", 1): (60, 30), ("table", 2): (30, 150)}.items():
        place = typeset.places[key]
        assert place.right - place.left == pytest.approx(size[0], abs=0.01)
        assert place.bottom - place.top == pytest.approx(size[1], abs=0.01)
        scale = 288 / 72.27
        window = pages[place.page].gray[
            int(place.top * scale) - 8 : int(place.bottom * scale) + 8,
            int(place.left * scale) - 8 : int(place.right * scale) + 8,
        ]
        rows, columns = np.nonzero(window < 128)
        found = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        expected = [
            (place.left * scale) % 1 + 8,
            (place.top * scale) % 1 + 8,
            8 + (place.left * scale) % 1 + size[0] * scale,
            8 + (place.top * scale) % 1 + size[1] * scale,
        ]
        assert np.abs(np.array(found) - expected).max() <= 1.0


def test_what_does_not_fit_is_left_out_or_named() -> None:
    wide = r"\VaryDisplay{0}{}{" + "+".join("abcdefghijklmnopq" * 3) + "}"
    body = [
        block(1, wide),
        block(2, r"\rule{1pt}{390bp}"),
        block(3, r"\noindent\hbox{\rule{400pt}{2pt}}"),
        block(4, "plain text"),
        block(5, r"\font\x=cmr10 \x \char200"),
    ]
    typeset = run_latex("pdflatex", document("\n".join(body)), height=HEIGHT, first_page=7)
    assert typeset.left_out == {1, 2}
    assert typeset.faults[3] == "a line beyond the margin"
    assert typeset.faults[5] == "a character that the font lacks"
    assert 4 not in typeset.faults
    assert ("block", 4) in typeset.places
    assert ("formula", 0) not in typeset.places


def test_a_document_that_latex_refuses_is_told() -> None:
    typeset = run_latex("pdflatex", document(r"\nosuchcommand"), height=HEIGHT, first_page=7)
    assert typeset.error is not None
    assert "Undefined control sequence" in typeset.error
    assert "nosuchcommand" in typeset.error
    assert typeset.pdf == b""


def test_time_is_bounded() -> None:
    endless = document(r"\def\x{\x}\x")
    with pytest.raises(DataError, match="did not finish a sheet within 1 s"):
        run_latex("pdflatex", endless, height=HEIGHT, first_page=7, time_limit=1.0)


def test_no_shell_and_no_file_outside(tmp_path: Path) -> None:
    target = tmp_path / "written"
    shell = document(rf"\immediate\write18{{touch {target}}}")
    assert run_latex("pdflatex", shell, height=HEIGHT, first_page=7).error is None
    assert not target.exists()
    for body in (
        rf"\newwrite\w\immediate\openout\w={target}.tex \immediate\write\w{{x}}\immediate\closeout\w",
        r"\newwrite\w\immediate\openout\w=../escaped.tex \immediate\write\w{x}\immediate\closeout\w",
    ):
        run_latex("pdflatex", document(body), height=HEIGHT, first_page=7)
    assert list(tmp_path.iterdir()) == []
    secret = tmp_path / "secret.tex"
    secret.write_text("secret", encoding="utf-8")
    assert run_latex("pdflatex", document(rf"\input{{{secret}}}"), height=HEIGHT, first_page=7).error


@pytest.mark.parametrize("program", ["pdflatex", "xelatex"])
def test_every_character_is_printed_as_itself(program: str) -> None:
    """Signs of TeX, dashes and quotation marks that its fonts would join, read from the text layer."""
    import pypdfium2

    text = r"""a\b {c} $d & #e %f _g ^h ~i <j> |k| "l" 'm' `n` -- --- ,, '' `` ?` !` << >> fi ffi"""
    text += " 5-6 “q” ‘r’ – —"
    preambles = {
        "pdflatex": r"\usepackage[utf8]{inputenc}\usepackage[T1]{fontenc}\usepackage{textcomp,txfonts}",
        "xelatex": r"\usepackage{fontspec}\defaultfontfeatures[\rmfamily]{}\setmainfont{f.ttf}[Path=./]",
    }
    import matplotlib

    font = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    source = document(block(1, r"\raggedright\noindent " + typeset_words(text, program)), preambles[program])
    files = [("f.ttf", str(font))] if program == "xelatex" else []
    typeset = run_latex(program, source, height=HEIGHT, first_page=7, files=files)
    assert typeset.error is None
    assert typeset.faults == {}
    found = pypdfium2.PdfDocument(typeset.pdf)[0].get_textpage().get_text_range()
    for ligature, letters in (("\ufb01", "fi"), ("\ufb03", "ffi"), ("\ufb00", "ff")):
        found = found.replace(ligature, letters)
    assert found.split() == text.split()


def test_markdown_keeps_characters_that_it_would_act_on() -> None:
    brackets, dollars = DELIMITERS["brackets"], DELIMITERS["dollars"]
    spans = [Words("a_b *c* $5 `x` \\ <i> "), Words("bold", bold=True), Words(" "), Formula("x_{1}")]
    assert brackets.markdown(spans) == r"a\_b \*c\* \$5 \`x\` \\ \<i> **bold** \(x_{1}\)"
    assert dollars.markdown(spans).endswith("$x_{1}$")
    assert brackets.latex(spans[-3:]) == r"\textbf{bold} \(x_{1}\)"
    starts = {
        "# a": r"\# a",
        "- a": r"\- a",
        "12. a": r"12\. a",
        "1) a": "1) a",
        "1.5 a": "1.5 a",
        "a": "a",
    }
    assert {text: escaped_start(text) for text in starts} == starts
