"""The structures of formulas: what a displayed formula and one in a line of text can be.

A template is a function of a `Grammar` that returns LaTeX; its name goes into the samples' details.  None is
taken from a document: they are the forms that textbooks of many fields share.
"""

from __future__ import annotations

from collections.abc import Callable

from vary.datagen.formula import algebra, analysis, sciences
from vary.datagen.formula.grammar import GREEK, KINDS, Grammar
from vary.datagen.formula.notation import compact

__all__ = ["DISPLAY", "draw_display", "draw_inline"]

Template = Callable[[Grammar], str]

DISPLAY: dict[str, Template] = {
    template.__name__: template for template in (*analysis.TEMPLATES, *algebra.TEMPLATES, *sciences.TEMPLATES)
}
"""Templates of displayed formulas by name."""


def _short(g: Grammar) -> str:
    """A formula of a line of text: nothing tall."""
    x, f, n = g.symbol("variable"), g.symbol("function"), g.symbol("index")
    a, space = g.symbol("constant"), g.pick(KINDS["space"])
    return g.pick(
        (
            x,
            a,
            g.pick(GREEK),
            rf"{x}_{{{n}}}",
            rf"{x} \in {space}",
            rf"{f}({x})",
            rf"{f}: {g.pick(KINDS['set'])} \rightarrow {space}",
            f"{x} = {g.sum(0, 2)}",
            f"{g.sum(0, 2)} {g.relation()} {g.sum(0, 1)}",
            rf"{x}^{{2}} {g.pick('+-')} {a} {x} = 0",
            rf"{n} = 1,2,\ldots,{a}",
            rf"\|{g.pick(KINDS['vector'])}\| \leq {a}",
            rf"O({n} \log {n})",
            rf"{a} \times {n}",
            rf"\sqrt{{{g.sum(0, 2)}}}",
            rf"\frac{{{g.digits()}}}{{{g.number(2, 10)}}}",
            rf"\frac{{{x}}}{{{a}}}",
            rf"\sum_{{{n}=1}}^{{N}} {x}_{{{n}}}",
            rf"\lim_{{{x} \rightarrow 0}} {f}({x})",
            rf"\int_{{0}}^{{1}} {f}({x}) {g.differential(x)}",
            rf"{g.symbol('matrix')} \in \mathbb{{R}}^{{m \times n}}",
            rf"{g.symbol('set')} \subset {g.symbol('set')}",
            rf"{g.digits()}^{{\circ}}",
            rf"\hat{{{x}}}_{{{n}}}",
            rf"{f}'({x}) > 0",
            rf"{g.number(1, 10)} \times 10^{{{g.number(-9, 10)}}}",
            rf"\mathrm{{{g.pick(('H', 'O', 'N', 'Cl', 'Fe'))}}}_{{{g.number(2, 5)}}}",
            rf"({x}_{{1}},{x}_{{2}},\ldots,{x}_{{{n}}})",
            rf"|{x} - {a}| < \varepsilon",
            rf"{a} \mid {n}",
        )
    )


def draw_display(g: Grammar) -> tuple[str, str]:
    """A displayed formula as `(template's name, LaTeX)`."""
    name = g.pick(tuple(DISPLAY))
    return name, compact(DISPLAY[name](g))


def draw_inline(g: Grammar) -> str:
    """A formula for a line of text."""
    return compact(_short(g))
