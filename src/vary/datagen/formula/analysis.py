"""Templates of formulas of analysis and physics: sums, integrals, limits, derivatives, transforms."""

from __future__ import annotations

from vary.datagen.formula.grammar import GREEK, KINDS, Grammar
from vary.datagen.formula.notation import bracketed

__all__ = ["TEMPLATES"]

_SUM, _PRODUCT = r"\sum", r"\prod"


def _big(g: Grammar, name: str) -> str:
    """A large operator with its limits, over a term."""
    i, n = g.symbol("index"), g.pick(("n", "N", "m", r"\infty", "k", "K"))
    below = g.pick((rf"{i}=1", rf"{i}=0", rf"{i}=1", rf"{i} \in {g.pick(KINDS['set'])}"))
    above = f"^{{{n}}}" if "=" in below else ""
    return rf"{name}_{{{below}}}{above} {_indexed(g, i)}"


def _indexed(g: Grammar, i: str) -> str:
    """A term that depends on the index `i`."""
    a, x = g.pick(KINDS["constant"]), g.pick(KINDS["variable"])
    return g.pick(
        (
            rf"{a}_{{{i}}}",
            rf"{a}_{{{i}}} {x}^{{{i}}}",
            rf"{x}_{{{i}}}^{{2}}",
            rf"\frac{{{g.sum(0, 1)}}}{{{i}^{{{g.number(2, 5)}}}}}",
            rf"\frac{{(-1)^{{{i}}}}}{{{i}!}} {x}^{{{i}}}",
            rf"{g.pick(KINDS['function'])}({x}_{{{i}}})",
            rf"({x}_{{{i}}} - \bar{{{x}}})^{{2}}",
        )
    )


def _integral(g: Grammar, sign: str = r"\int") -> str:
    x = g.symbol("variable")
    low, high = g.pick(("0", "a", r"-\infty", "-1", r"-\pi")), g.pick(("1", "b", r"\infty", "T", r"\pi", "2"))
    limits = "" if g.chance(0.2) else rf"_{{{low}}}^{{{high}}}"
    inner = rf"{g.pick(KINDS['function'])}({x})" if g.chance(0.4) else g.sum(g.depth - 1, 2)
    return rf"{sign}{limits} {inner} {g.differential(x)}"


def summation(g: Grammar) -> str:
    return f"{_big(g, _SUM)} {g.relation()} {g.sum(g.depth - 1, 2)}"


def double_sum(g: Grammar) -> str:
    i, j = g.symbol("index"), g.symbol("index")
    a, x = g.symbol("constant"), g.symbol("variable")
    return rf"{g.letter()} = \sum_{{{i}=1}}^{{n}} \sum_{{{j}=1}}^{{m}} {a}_{{{i}{j}}} {x}_{{{i}}} {x}_{{{j}}}"


def stacked_sum(g: Grammar) -> str:
    i, j = g.symbol("index"), g.symbol("index")
    below = rf"\substack{{1 \leq {i},{j} \leq n \\ {i} \neq {j}}}"
    return rf"\sum_{{{below}}} {g.pick(KINDS['constant'])}_{{{i}{j}}} {g.relation()} {g.sum(0, 2)}"


def product_formula(g: Grammar) -> str:
    return f"{g.letter()} = {_big(g, _PRODUCT)}"


def series(g: Grammar) -> str:
    f, x, a = g.symbol("function"), g.symbol("variable"), g.pick(("a", "0", "x_{0}"))
    around = x if a == "0" else bracketed(f"{x} - {a}")
    return rf"{f}({x}) = \sum_{{n=0}}^{{\infty}} \frac{{{f}^{{(n)}}({a})}}{{n!}} {around}^{{n}}"


def integral(g: Grammar) -> str:
    return f"{_integral(g)} = {g.sum(g.depth - 1, 2)}"


def double_integral(g: Grammar) -> str:
    x, y = g.symbol("variable"), g.symbol("variable")
    area = g.pick(KINDS["set"])
    f = g.pick(KINDS["function"])
    return rf"\iint_{{{area}}} {f}({x},{y}) {g.differential(x)} {g.differential(y)} = {_integral(g)}"


def contour_integral(g: Grammar) -> str:
    curve = g.pick(("C", r"\gamma", r"\partial D", r"\Gamma"))
    a = g.symbol("constant")
    return rf"\oint_{{{curve}}} \frac{{f(z)}}{{z - {a}}} {g.differential('z')} = 2 \pi i \, f({a})"


def antiderivative(g: Grammar) -> str:
    f, x = g.pick(("f", "g", "h")), g.symbol("variable")
    value = rf"\left. {f.upper()}({x}) \right|_{{a}}^{{b}}"
    return rf"\int_{{a}}^{{b}} {f}({x}) {g.differential(x)} = {value} = {f.upper()}(b) - {f.upper()}(a)"


def limit(g: Grammar) -> str:
    x = g.symbol("variable")
    to = g.pick(("0", r"\infty", "a", r"0^{+}", r"-\infty", "1"))
    return rf"\lim_{{{x} \rightarrow {to}}} {g.product()} = {g.sum(0, 1)}"


def derivative_limit(g: Grammar) -> str:
    f, x, h = g.pick(("f", "g", "u")), g.symbol("variable"), g.pick(("h", r"\Delta x", r"\varepsilon"))
    return rf"{f}'({x}) = \lim_{{{h} \rightarrow 0}} \frac{{{f}({x} + {h}) - {f}({x})}}{{{h}}}"


def derivative(g: Grammar) -> str:
    f, x = g.symbol("function"), g.symbol("variable")
    order = g.pick(("", "", "^{2}", "^{n}"))
    top = f"d{order} {f}" if order else f"d {f}"
    return rf"\frac{{{top}}}{{d {x}{order}}} {g.relation()} {g.sum()}"


def partial_equation(g: Grammar) -> str:
    u, a = g.symbol("function"), g.symbol("greek")
    terms = [rf"\frac{{\partial^{{2}} {u}}}{{\partial {x}^{{2}}}}" for x in ("x", "y", "z")[: g.number(1, 4)]]
    right = bracketed(" + ".join(terms)) if len(terms) > 1 else terms[0]
    return rf"\frac{{\partial {u}}}{{\partial t}} = {a} {right}"


def gradient(g: Grammar) -> str:
    f, v = g.symbol("function"), g.symbol("vector")
    return g.pick(
        (
            rf"\nabla \cdot {v} = \frac{{\rho}}{{\varepsilon_{{0}}}}",
            rf"\nabla \times {v} = -\frac{{\partial \mathbf{{B}}}}{{\partial t}}",
            rf"\nabla^{{2}} {f} = {g.sum(0, 2)}",
            rf"{v} = -\nabla {f} + {g.fraction(0)} \mathbf{{e}}_{{r}}",
        )
    )


def transform(g: Grammar) -> str:
    return (
        rf"\hat{{f}}(\xi) = \int_{{-\infty}}^{{\infty}} f(x) e^{{-2 \pi i x \xi}} {g.differential('x')}"
        if g.chance(0.5)
        else rf"F(s) = \mathcal{{L}}\{{f(t)\}} = \int_{{0}}^{{\infty}} f(t) e^{{-s t}} {g.differential('t')}"
    )


def asymptotic(g: Grammar) -> str:
    n = g.pick("nNmx")
    inner = g.pick((rf"{n} \log {n}", rf"{n}^{{{g.number(2, 4)}}}", rf"\sqrt{{{n}}}", rf"2^{{{n}}}"))
    kind = g.pick(("O", r"\Theta", r"\Omega", "o"))
    return rf"T({n}) = {g.number(2, 9)} \, T({n}/{g.number(2, 5)}) + {kind}({inner})"


def physics(g: Grammar) -> str:
    return g.pick(
        (
            r"i \hbar \frac{\partial}{\partial t} \psi(\mathbf{r},t) = \hat{H} \psi(\mathbf{r},t)",
            rf"E^{{2}} = (m c^{{2}})^{{2}} + (p c)^{{{g.number(2, 4)}}}",
            rf"\frac{{d}}{{d t}} \frac{{\partial L}}{{\partial \dot{{q}}_{{{g.pick('ijk')}}}}} - "
            rf"\frac{{\partial L}}{{\partial q_{{{g.pick('ijk')}}}}} = {g.pick(('0', 'Q_{i}'))}",
            rf"G_{{\mu \nu}} = \frac{{{g.number(2, 9)} \pi G}}{{c^{{4}}}} T_{{\mu \nu}}",
            rf"\Delta S = \int_{{{g.pick('12a')}}}^{{{g.pick('3bf')}}} \frac{{\delta Q}}{{T}} \geq 0",
        )
    )


def tensor(g: Grammar) -> str:
    a, b = g.pick("TRFA"), g.pick("gh")
    i, j, k = (g.pick(GREEK[:14]) for _ in range(3))
    return rf"{a}_{{{i} {j}}} = {b}_{{{i} {k}}} {a}^{{{k}}}_{{{j}}} + \delta_{{{i} {j}}}"


TEMPLATES = (
    summation,
    double_sum,
    stacked_sum,
    product_formula,
    series,
    integral,
    double_integral,
    contour_integral,
    antiderivative,
    limit,
    derivative_limit,
    derivative,
    partial_equation,
    gradient,
    transform,
    asymptotic,
    physics,
    tensor,
)
