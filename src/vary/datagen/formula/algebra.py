"""Templates of formulas of algebra: matrices, systems, cases, sets, maps, arrows, norms."""

from __future__ import annotations

from vary.datagen.formula.grammar import KINDS, Grammar
from vary.datagen.formula.notation import aligned, bracketed, environment

__all__ = ["TEMPLATES"]

_BRACES = (r"\{", r"\}")


def _matrix_rows(g: Grammar, rows: int, columns: int) -> list[list[str]]:
    if g.chance(0.3):
        a = g.pick(KINDS["constant"]).lower()
        return [[rf"{a}_{{{r}{c}}}" for c in range(1, columns + 1)] for r in range(1, rows + 1)]
    if g.chance(0.25):
        a = g.pick(KINDS["constant"]).lower()
        ends = ("1", "2", None, "n")
        return [
            [
                (r"\vdots" if c != "dots" else r"\ddots")
                if r is None
                else (r"\cdots" if c == "dots" else rf"{a}_{{{r}{c}}}")
                for c in ("1", "2", "dots", "n")
            ]
            for r in ends
        ]
    numbers = g.chance(0.5)
    return [[str(g.number(-9, 20)) if numbers else g.sum(0, 1) for _ in range(columns)] for _ in range(rows)]


def _matrix(g: Grammar, kind: str | None = None) -> str:
    size = g.number(2, 4)
    kind = kind or g.pick(("pmatrix", "bmatrix", "pmatrix", "bmatrix", "matrix"))
    return environment(kind, _matrix_rows(g, size, g.number(2, 5)))


def set_builder(g: Grammar) -> str:
    x, space = g.symbol("variable"), g.pick(KINDS["space"])
    relation = g.pick((r"\leq", "<", ">", "="))
    condition = f"{g.sum(g.depth - 1, 2)} {relation} {g.digits()}"
    inner = rf"{x} \in {space} \mid {condition}"
    return f"{g.symbol('set')} = {bracketed(inner, *_BRACES)}"


def set_algebra(g: Grammar) -> str:
    a, b, c = (g.symbol("set") for _ in range(3))
    return g.pick(
        (
            rf"{a} \cap ({b} \cup {c}) = ({a} \cap {b}) \cup ({a} \cap {c})",
            rf"({a} \cup {b})^{{c}} = {a}^{{c}} \cap {b}^{{c}}",
            rf"{a} \setminus {b} \subseteq {a} \subset {a} \cup {c}",
            rf"|{a} \cup {b}| = |{a}| + |{b}| - |{a} \cap {b}|",
            rf"\bigcup_{{i=1}}^{{\infty}} {a}_{{i}} \supset \bigcap_{{i=1}}^{{n}} {b}_{{i}} \neq \emptyset",
        )
    )


def quantified(g: Grammar) -> str:
    x, n = g.symbol("variable"), g.symbol("index")
    small = g.pick((r"\varepsilon", r"\delta"))
    return (
        rf"\forall {small} > 0 \; \exists {n}_{{0}} \in \mathbb{{N}} : \; {n} \geq {n}_{{0}} "
        rf"\Rightarrow |{x}_{{{n}}} - {g.pick(KINDS['constant'])}| < {small}"
    )


def mapping(g: Grammar) -> str:
    f, x = g.symbol("function"), g.symbol("variable")
    a, b = g.pick(KINDS["space"]), g.pick(KINDS["set"])
    return rf"{f}: {a} \rightarrow {b}, \quad {x} \mapsto {g.sum()}"


def matrix_product(g: Grammar) -> str:
    kind = g.pick(("pmatrix", "bmatrix"))
    size = g.number(2, 4)
    left = environment(kind, [[str(g.number(-9, 10)) for _ in range(size)] for _ in range(size)])
    unknown = [[rf"{g.pick('xyuv')}_{{{row}}}"] for row in range(1, size + 1)]
    right = environment(kind, [[g.sum(0, 1)] for _ in range(size)])
    return f"{left} {environment(kind, unknown)} = {right}"


def matrix(g: Grammar) -> str:
    return f"{g.symbol('matrix')} = {_matrix(g)}"


def determinant(g: Grammar) -> str:
    a = environment("vmatrix", [["a", "b"], ["c", "d"]])
    if g.chance(0.3):
        return f"{a} = a d - b c"
    size = g.number(2, 4)
    return f"{environment('vmatrix', _matrix_rows(g, size, size))} = {g.sum(0, 2)}"


def augmented(g: Grammar) -> str:
    columns = g.number(2, 4)
    rows = [[str(g.number(-9, 10)) for _ in range(columns + 1)] for _ in range(g.number(2, 4))]
    return rf"\left[ {environment('array', rows, 'r' * columns + '|r')} \right]"


def eigenvalues(g: Grammar) -> str:
    a, v = g.symbol("matrix"), g.symbol("vector")
    return rf"{a} {v} = \lambda {v}, \quad \det({a} - \lambda I) = {g.sum(0, 3)} = 0"


def cases(g: Grammar) -> str:
    f, x = g.symbol("function"), g.symbol("variable")
    count = g.number(2, 4)
    rows = []
    for number in range(count):
        last = number == count - 1 and g.chance(0.5)
        condition = (
            g.text("otherwise", "其他情形")
            if last
            else rf"{g.text('if ', '当 ')} {x} {g.pick(('<', '>', '='))} {g.number(-5, 20)}"
        )
        rows.append([g.sum(g.depth - 1, 2) + ",", condition])
    return rf"{f}({x}) = {environment('cases', rows)}"


def linear_system(g: Grammar) -> str:
    names = ("x", "y", "z")[: g.number(2, 4)]
    rows = []
    for _ in names:
        terms = [f"{g.number(2, 10)} {name}" for name in names]
        left = terms[0] + "".join(f" {g.pick('+-')} {term}" for term in terms[1:])
        rows.append((left, f"= {g.number(-20, 40)}"))
    return rf"\left\{{ {aligned(rows)} \right."


def derivation(g: Grammar) -> str:
    first = (g.product(0), f"= {g.sum(g.depth - 1)}")
    rest = [("", f"{g.relation()} {g.sum(g.depth - 1, 2)}") for _ in range(g.number(1, 4))]
    return aligned([first, *rest])


def equations(g: Grammar) -> str:
    return aligned([(g.product(0), f"= {g.sum(g.depth - 1, 2)}") for _ in range(g.number(2, 5))])


def gathered(g: Grammar) -> str:
    rows = [[f"{g.sum(g.depth - 1, 2)} = {g.sum(0, 2)}"] for _ in range(g.number(2, 4))]
    return environment("gathered", rows)


def recurrence(g: Grammar) -> str:
    a, n = g.pick("abuxyTF"), g.symbol("index")
    right = rf"{g.digits()} {a}_{{{n}-1}} {g.pick('+-')} {g.sum(0, 1)} {a}_{{{n}-2}}"
    return rf"{a}_{{{n}}} = {right}, \quad {a}_{{0}} = {g.number(0, 5)}, \; {a}_{{1}} = {g.number(0, 5)}"


def binomial(g: Grammar) -> str:
    x, y, n = g.symbol("variable"), g.symbol("variable"), g.pick("nmN")
    if g.chance(0.5):
        return rf"({x} + {y})^{{{n}}} = \sum_{{k=0}}^{{{n}}} \binom{{{n}}}{{k}} {x}^{{{n}-k}} {y}^{{k}}"
    pascal = rf"\binom{{{n}-1}}{{k}} + \binom{{{n}-1}}{{k-1}}"
    return rf"\binom{{{n}}}{{k}} = \frac{{{n}!}}{{k!({n}-k)!}} = {pascal}"


def norms(g: Grammar) -> str:
    x, y = g.symbol("vector"), g.symbol("vector")
    p = g.pick(("1", "2", r"\infty", "p", "F"))
    factor = g.pick(("", "C", r"\sqrt{2}"))
    return rf"\|{x} + {y}\|_{{{p}}} \leq \|{x}\|_{{{p}}} + {factor} \|{y}\|_{{{p}}}"


def inner_product(g: Grammar) -> str:
    x, y = g.symbol("vector"), g.symbol("vector")
    return rf"\langle {x},{y} \rangle = {x}^{{T}} {y} = \sum_{{i=1}}^{{n}} {_pair(x, y)}"


def _pair(x: str, y: str) -> str:
    """Components of two vectors, in plain letters."""
    plain = [name.split("{")[1].rstrip("}") for name in (x, y)]
    return " ".join(rf"{name}_{{i}}" for name in plain)


def arrows(g: Grammar) -> str:
    a, b, c = (g.symbol("set") for _ in range(3))
    f, h = g.pick("fgh"), g.pick((r"\pi", r"\iota", r"\varphi"))
    over = g.pick((rf"\xrightarrow{{{f}}}", rf"\xrightarrow{{{f} \circ {h}}}"))
    last = g.pick((r"\hookrightarrow", r"\leftrightarrow"))
    return rf"{a} {over} {b} \xrightarrow{{{h}}} {c} {last} {a} \times {c}"


def sequence(g: Grammar) -> str:
    names = [g.pick(("A", "B", "C", "M", "N", "H_{n}(X)", "H_{n-1}(A)", r"\ker f")) for _ in range(3)]
    return r"0 \rightarrow " + r" \rightarrow ".join(names) + r" \rightarrow 0"


def implication(g: Grammar) -> str:
    sign = g.pick((r"\Rightarrow", r"\Leftrightarrow", r"\Longrightarrow"))
    return rf"{g.sum(0, 2)} {g.relation()} {g.digits()} \quad {sign} \quad {g.sum(g.depth - 1, 2)} = 0"


def congruence(g: Grammar) -> str:
    a, p = g.symbol("constant"), g.pick(("p", "n", "7", "m"))
    return rf"{a}^{{{p}-1}} \equiv {g.digits()} \pmod{{{p}}}"


TEMPLATES = (
    set_builder,
    set_algebra,
    quantified,
    mapping,
    matrix_product,
    matrix,
    determinant,
    augmented,
    eigenvalues,
    cases,
    linear_system,
    derivation,
    equations,
    gathered,
    recurrence,
    binomial,
    norms,
    inner_product,
    arrows,
    sequence,
    implication,
    congruence,
)
