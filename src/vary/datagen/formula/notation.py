"""One way to write each formula: LaTeX without superfluous blanks, delimiters that fit what they enclose.

What looks the same on a page must be written in one way only, or a reader is taught to guess.  So the
grammar writes `\\rightarrow` and never `\\to`, `\\leq` and never `\\le`, braces around every script,
`\\left(` only around what is tall, and `compact` takes away every blank that TeX does not need.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["aligned", "balanced", "bracketed", "compact", "environment", "is_tall"]

_TOKEN = re.compile(
    r"\\(?:begin|end)\{[A-Za-z]+\*?\}(?:\{[lcr|]+\})?"  # an environment's edge, with columns
    r"|\\text\{[^{}]*\}"  # text keeps its blanks
    r"|\\[A-Za-z]+\*?"  # a control word
    r"|\\."  # a control symbol
    r"|\s+"
    r"|.",
    re.DOTALL,
)
_TALL = re.compile(
    r"\\(?:frac|cfrac|binom|sum|prod|int|iint|oint|bigcup|bigcap|begin|overbrace|underbrace|substack)\b"
)
_BEGIN, _END = "\\begin{", "\\end{"


def compact(latex: str) -> str:
    """`latex` with single blanks where TeX needs one, around `&` and `\\\\`, and within environments.

    Idempotent; what TeX typesets does not change.
    """
    out: list[str] = []
    for token in _TOKEN.findall(latex):
        if token.isspace():
            continue
        if out and _parted(out[-1], token):
            out.append(" ")
        out.append(token)
    return "".join(out)


def _parted(left: str, right: str) -> bool:
    """Whether a blank stands between two tokens."""
    if re.fullmatch(r"\\[A-Za-z]+", left) and right[0].isascii() and right[0].isalpha():
        return True  # `\alpha x`
    spaced = ("&", "\\\\")
    return left in spaced or right in spaced or left.startswith(_BEGIN) or right.startswith(_END)


def is_tall(latex: str) -> bool:
    """Whether delimiters around `latex` have to grow."""
    return _TALL.search(latex) is not None


def bracketed(inner: str, left: str = "(", right: str = ")") -> str:
    """`inner` between delimiters, growing ones (`\\left(`) where it is tall."""
    if is_tall(inner):
        return rf"\left{left} {inner} \right{right}"
    return f"{left} {inner} {right}"


def environment(name: str, rows: Sequence[Sequence[str]], columns: str = "") -> str:
    """An environment of rows of cells: `pmatrix`, `cases`, `aligned`, `array` (which needs `columns`)."""
    body = r" \\ ".join(" & ".join(row) for row in rows)
    return rf"\begin{{{name}}}{f'{{{columns}}}' if columns else ''} {body} \end{{{name}}}"


def aligned(rows: Sequence[tuple[str, str]]) -> str:
    """Lines aligned at the second part of each: `(left side, relation and right side)`."""
    return environment("aligned", rows)


def balanced(latex: str) -> bool:
    """Whether braces, environments and `\\left`/`\\right` are closed in order."""
    opened: list[str] = []
    for token in _TOKEN.findall(latex):
        edge = re.match(r"\\(begin|end)\{([A-Za-z]+\*?)\}", token)
        if token == "{" or token == r"\left":
            opened.append({"{": "}"}.get(token, r"\right"))
        elif edge and edge[1] == "begin":
            opened.append(edge[2])
        elif token in ("}", r"\right") or edge:
            closing = edge[2] if edge else token
            if not opened or opened.pop() != closing:
                return False
    return not opened
