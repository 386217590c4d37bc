"""How a sheet looks: paper, margins, columns, sizes, heads, and the preamble that says so to LaTeX."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vary.datagen.formula.latex import MACROS
from vary.datagen.formula.sheet import Sheet
from vary.datagen.formula.spans import Words
from vary.datagen.formula.typefaces import Typeface

__all__ = ["Style", "document", "draw_style"]

_PAPERS = ((595.28, 841.89), (595.28, 841.89), (612.0, 792.0), (498.9, 708.66), (419.53, 595.28), (540, 666))
"""Sides in PostScript points: A4, letter, B5, A5, a book."""
POINTS_PER_BIG_POINT = 72.27 / 72


@dataclass(frozen=True, slots=True)
class Style:
    """The look of a sheet; lengths in PostScript points."""

    paper: tuple[float, float]
    margin: float
    size: int
    """Size of the type in points: 10, 11 or 12."""
    columns: int
    spread: float
    indent: float
    gap: float
    """Between blocks."""
    first_page: int
    head: str
    """`none`, `number` at the foot, `running`: a head with a rule and the number."""
    numbered_headings: bool
    after_number: str
    centred_headings: bool
    italic_statements: bool
    numbered_share: float
    numbered_by_section: bool
    after_label: str
    table_size: str
    table_stretch: str


def draw_style(rng: np.random.Generator, language: str, two_columns_share: float) -> Style:
    """A style for a document in `en`, `zh` or `mixed`."""

    def pick(*options: str) -> str:
        return options[int(rng.integers(len(options)))]

    paper = _PAPERS[int(rng.integers(len(_PAPERS)))]
    columns = 2 if paper[0] > 530 and rng.random() < two_columns_share else 1
    size = 10 if columns == 2 else int(rng.choice([10, 11, 12]))
    indented = bool(rng.random() < 0.65)
    stretch = float(rng.choice([1.0, 1.0, 1.2, 1.4]))
    return Style(
        paper=paper,
        margin=float(rng.uniform(0.07, 0.14) * paper[0]),
        size=size,
        columns=columns,
        spread=float(rng.choice([1.0, 1.0, 1.1, 1.25])) * (1.15 if language != "en" else 1.0),
        indent=(2.0 if language != "en" else 1.5) * size if indented else 0.0,
        gap=float(rng.uniform(2, 4)) if indented else float(rng.uniform(5, 10)),
        first_page=int(rng.integers(1, 300)),
        head=pick("none", "number", "number", "running"),
        numbered_headings=bool(rng.random() < 0.7),
        after_number=pick("", "", "."),
        centred_headings=bool(rng.random() < 0.25),
        italic_statements=bool(rng.random() < 0.6) and language == "en",
        numbered_share=float(rng.choice([0.0, 0.3, 0.7])),
        numbered_by_section=bool(rng.random() < 0.4),
        after_label=pick(": ", ". "),
        table_size=pick(r"\normalsize ", r"\normalsize ", r"\small ", r"\footnotesize "),
        table_stretch=rf"\renewcommand{{\arraystretch}}{{{stretch}}}",
    )


def document(sheet: Sheet, style: Style, typeface: Typeface, running: str) -> str:
    """The source of a sheet after `common_preamble`; `running` is the text of a running head."""
    width, height = (round(side, 2) for side in style.paper)
    lines = [
        rf"\documentclass[{style.size}pt{',twocolumn' if style.columns == 2 else ''}]{{article}}",
        rf"\usepackage[paperwidth={width}bp,paperheight={height}bp,margin={style.margin:.1f}bp]{{geometry}}",
        r"\usepackage{booktabs}",
        typeface.preamble,
        r"\providecommand{\square}{\mdlgwhtsquare}",  # unicode-math's name
        # Not every face has a bullet, not every mathematics font the large backslash.
        r"\renewcommand{\labelitemi}{$\bullet$}",
        *([r"\AtBeginDocument{\let\setminus\smallsetminus}"] if typeface.program == "xelatex" else []),
        MACROS,
        rf"\linespread{{{style.spread:.3f}}}",
        _heads(style, sheet.typeset([Words(running)])),
        r"\tolerance=3000 \emergencystretch=4em \hfuzz=1pt \hbadness=10000 \vbadness=10000 \raggedbottom",
        rf"\tracinglostchars=2 \VaryGap={style.gap:.1f}bp \VaryIndent={style.indent:.1f}bp",
        r"\begin{document}",
        rf"\setcounter{{page}}{{{style.first_page}}}",
        *(block.source for block in sheet.blocks if not block.alone),
    ]
    alone = [block.source for block in sheet.blocks if block.alone]
    if alone:
        lines += [r"\clearpage\onecolumn\pagestyle{empty}\VaryGap=40bp", *alone]
    return "\n".join([*lines, r"\end{document}", ""])


def _heads(style: Style, running: str) -> str:
    if style.head == "running":
        return (
            r"\makeatletter\def\@oddhead{\vbox{\hbox to \textwidth{\small "
            + running
            + r"\hfil\thepage}\vskip 2pt \hrule}}\def\@oddfoot{}\makeatother"
        )
    return rf"\pagestyle{{{'plain' if style.head == 'number' else 'empty'}}}"
