"""Templates of plain equations, and of formulas of chemistry, physics' units, statistics and learning."""

from __future__ import annotations

from vary.datagen.formula.grammar import GREEK, KINDS, Grammar
from vary.datagen.formula.notation import bracketed

__all__ = ["TEMPLATES"]

_BRACES = (r"\{", r"\}")
_ELEMENTS = ("H", "C", "N", "O", "Na", "Mg", "Al", "S", "Cl", "K", "Ca", "Fe", "Cu", "Zn", "Ag", "P")
_UNITS = (r"\mathrm{m}", r"\mathrm{kg}", r"\mathrm{s}", r"\mathrm{J}", r"\mathrm{K}", r"\mathrm{mol}")


def equation(g: Grammar) -> str:
    return f"{g.sum()} {g.relation()} {g.sum()}"


def definition(g: Grammar) -> str:
    f, x = g.symbol("function"), g.symbol("variable")
    return f"{f}({x}) = {g.sum()}"


def chain(g: Grammar) -> str:
    return f"{g.product(0)} = {g.sum(g.depth - 1)} = {g.sum(g.depth - 1, 2)}"


def nested_fraction(g: Grammar) -> str:
    a, b = g.sum(0, 2), g.sum(0, 2)
    inner = rf"\frac{{{g.sum(0, 2)}}}{{{g.sum(0, 2)}}}"
    return rf"{g.letter()} = \frac{{{a} + {inner}}}{{{b} - {g.fraction(0)}}}"


def continued_fraction(g: Grammar) -> str:
    a = g.pick(KINDS["constant"]).lower()
    tail = rf"\cfrac{{1}}{{{a}_{{3}} + \cdots}}"
    return rf"{g.letter()} = {a}_{{0}} + \cfrac{{1}}{{{a}_{{1}} + \cfrac{{1}}{{{a}_{{2}} + {tail}}}}}"


def roots(g: Grammar) -> str:
    return rf"{g.letter()} = {g.root(g.depth)} {g.pick('+-')} {g.root(g.depth - 1)}"


def quadratic(g: Grammar) -> str:
    x, a, b, c = (g.symbol(kind) for kind in ("variable", "constant", "constant", "constant"))
    return rf"{x}_{{1,2}} = \frac{{-{b} \pm \sqrt{{{b}^{{2}} - 4 {a} {c}}}}}{{2 {a}}}"


def accents(g: Grammar) -> str:
    x, y = g.symbol("variable"), g.symbol("variable")
    wide = g.pick((r"\overline", r"\widehat", r"\widetilde"))
    dots = g.pick((rf"\dot{{{x}}}", rf"\ddot{{{x}}}"))
    return rf"{wide}{{{x} {y}}} = \hat{{{x}}} + \bar{{{y}}} \, {dots} {g.pick('+-')} {g.sum(0, 2)}"


def greek(g: Grammar) -> str:
    a, b, c = (g.symbol("greek") for _ in range(3))
    left = rf"{a}_{{{g.pick(KINDS['index'])}}}"
    return rf"{left} = {b} {c} {g.pick('+-')} {g.pick(GREEK)}^{{2}} {g.pick('+-')} {g.sum()}"


def text_condition(g: Grammar) -> str:
    words = g.text("for all ", "对任意 ")
    return rf"{g.sum(g.depth - 1, 2)} {g.relation()} {g.sum(0, 1)} \quad {words} {g.condition()}"


def text_where(g: Grammar) -> str:
    a = g.symbol("variable")
    return rf"{a} = {g.sum(g.depth - 1, 2)}, \quad {g.text('where ', '其中 ')} {g.letter()} = {g.sum(0, 2)}"


def words_fraction(g: Grammar) -> str:
    pairs = (
        ("distance", "距离"),
        ("time", "时间"),
        ("true positives", "真阳性数"),
        ("all samples", "样本总数"),
    )
    top, bottom = (pairs[g.number(0, 4)] for _ in range(2))
    return rf"{g.symbol('variable')} = \frac{{{g.text(*top)}}}{{{g.text(*bottom)}}} \times 100 \%"


def reaction(g: Grammar) -> str:
    def molecule() -> str:
        parts = []
        for _ in range(g.number(1, 4)):
            count = g.number(1, 7)
            parts.append(rf"\mathrm{{{g.pick(_ELEMENTS)}}}" + (f"_{{{count}}}" if count > 1 else ""))
        amount = g.number(1, 5)
        return (f"{amount} " if amount > 1 else "") + " ".join(parts)

    arrow = g.pick((r"\rightarrow", r"\rightleftharpoons", r"\xrightarrow{\Delta}"))
    return f"{molecule()} + {molecule()} {arrow} {molecule()} + {molecule()}"


def ion(g: Grammar) -> str:
    a, b = g.pick(_ELEMENTS), g.pick(("SO", "CO", "NO", "PO"))
    charge = g.pick(("+", "2+", "3+"))
    return (
        rf"\mathrm{{{a}}}^{{{charge}}} + \mathrm{{{b}}}_{{{g.number(3, 5)}}}^{{{g.pick(('-', '2-', '3-'))}}}"
    )


def quantity(g: Grammar) -> str:
    value = rf"{g.number(1, 10)}.{g.number(0, 1000):03d} \times 10^{{{g.number(-34, 24)}}}"
    unit = rf"{g.pick(_UNITS)} \cdot {g.pick(_UNITS)}^{{-{g.number(1, 4)}}}"
    return rf"{g.letter()} = {value} \, {unit}"


def probability(g: Grammar) -> str:
    a, b = g.symbol("set"), g.symbol("set")
    p = g.pick(("P", r"\mathbb{P}", r"\operatorname{Pr}"))
    return rf"{p}({a} \mid {b}) = \frac{{{p}({b} \mid {a}) \, {p}({a})}}{{{p}({b})}}"


def expectation(g: Grammar) -> str:
    x, mu = g.pick("XYZ"), g.pick((r"\mu", rf"\mathbb{{E}}[{g.pick('XYZ')}]"))
    square = f"({x} - {mu})^{{2}}"
    return rf"\operatorname{{Var}}({x}) = \mathbb{{E}}[{square}] = {g.sum(0, 2)}"


def density(g: Grammar) -> str:
    x, mu, sigma = g.symbol("variable"), g.pick((r"\mu", "m", "0")), g.pick((r"\sigma", "s"))
    centred = x if mu == "0" else f"({x} - {mu})"
    return (
        rf"f({x}) = \frac{{1}}{{{sigma} \sqrt{{2 \pi}}}} "
        rf"\exp \left( -\frac{{{centred}^{{2}}}}{{2 {sigma}^{{2}}}} \right)"
    )


def optimisation(g: Grammar) -> str:
    t = g.pick((r"\theta", r"\mathbf{w}", "x", r"\beta"))
    name = g.pick((r"\operatorname*{arg\,min}", r"\min", r"\max", r"\operatorname*{arg\,max}"))
    loss = rf"\mathcal{{L}}({t}) + \lambda \|{t}\|_{{2}}^{{2}}"
    return rf"{t}^{{*}} = {name}_{{{t}}} {bracketed(loss, *_BRACES)}"


def loss(g: Grammar) -> str:
    y, n = g.pick("yzp"), g.pick("nNm")
    inner = rf"{y}_{{i}} \log \hat{{{y}}}_{{i}} + (1 - {y}_{{i}}) \log (1 - \hat{{{y}}}_{{i}})"
    return rf"\mathcal{{L}} = -\frac{{1}}{{{n}}} \sum_{{i=1}}^{{{n}}} \left[ {inner} \right]"


def overbraces(g: Grammar) -> str:
    a, n = g.letter(), g.pick("nkm")
    brace, script = g.pick(("over ^", "under _")).split()
    note = g.text(f"{n} terms", f"共 {n} 项") if g.chance(0.5) else n
    return rf"\{brace}brace{{{a} + {a} + \cdots + {a}}}{script}{{{note}}} = {n} {a}"


def listing(g: Grammar) -> str:
    x, n = g.symbol("variable"), g.pick("nmk")
    sign, relation = g.pick(("+", ",", r"\cdot")), g.pick((r"\geq", "=", "<"))
    dots = r"\ldots" if sign == "," else r"\cdots"
    return rf"{x}_{{1}} {sign} {x}_{{2}} {sign} {dots} {sign} {x}_{{{n}}} {relation} {g.symbol('greek')}"


TEMPLATES = (
    equation,
    definition,
    chain,
    nested_fraction,
    continued_fraction,
    roots,
    quadratic,
    accents,
    greek,
    text_condition,
    text_where,
    words_fraction,
    reaction,
    ion,
    quantity,
    probability,
    expectation,
    density,
    optimisation,
    loss,
    overbraces,
    listing,
)
