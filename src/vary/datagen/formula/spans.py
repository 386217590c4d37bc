"""Text with formulas in it, and its two forms: what TeX typesets and what the answer says.

The answers follow Mathpix's Markdown: formulas in a line between `\\(` and `\\)`, displayed ones in lines of
their own between `\\[` and `\\]` (or `$` and `$$`), characters that Markdown would act on behind a backslash.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = [
    "DELIMITERS",
    "Delimiters",
    "Formula",
    "Span",
    "Words",
    "escaped_latex",
    "escaped_markdown",
    "escaped_start",
    "typeset_words",
]


@dataclass(frozen=True, slots=True)
class Words:
    """Plain text; `bold` text stands between `**` in the answer."""

    text: str
    bold: bool = False


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula within a line, LaTeX without delimiters."""

    latex: str


Span = Words | Formula


@dataclass(frozen=True, slots=True)
class Delimiters:
    """What stands around formulas in an answer."""

    inline: tuple[str, str]
    display: tuple[str, str]

    def line(self, latex: str) -> str:
        """A formula within a line."""
        return f"{self.inline[0]}{latex}{self.inline[1]}"

    def block(self, latex: str) -> str:
        """A displayed formula: three lines."""
        return f"{self.display[0]}\n{latex}\n{self.display[1]}"

    def markdown(self, spans: Iterable[Span]) -> str:
        """Text with formulas as Markdown."""
        out = []
        for span in spans:
            if isinstance(span, Formula):
                out.append(self.line(span.latex))
            else:
                text = escaped_markdown(span.text)
                out.append(f"**{text}**" if span.bold else text)
        return "".join(out)

    def latex(self, spans: Iterable[Span]) -> str:
        """Text with formulas as LaTeX, for cells of a table."""
        out = []
        for span in spans:
            if isinstance(span, Formula):
                out.append(self.line(span.latex))
            else:
                text = escaped_latex(span.text)
                out.append(rf"\textbf{{{text}}}" if span.bold else text)
        return "".join(out)


DELIMITERS = {
    "brackets": Delimiters((r"\(", r"\)"), (r"\[", r"\]")),
    "dollars": Delimiters(("$", "$"), ("$$", "$$")),
}
"""The styles of delimiters by name; `brackets` is Mathpix's for pictures."""

_MARKDOWN = re.compile(r"[\\`*_$<]")
_LINE_START = re.compile(r"^(\s*)([#>+-]|\d+\.(?=\s))")
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: "\\" + character for character in "{}$&#%_"},
}
# What pdfLaTeX's text fonts would join to another character, or draw as another one.
_PDFLATEX = {
    **_LATEX,
    "'": r"\textquotesingle{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "’": r"\textquoteright{}",
    "‘": r"\textquoteleft{}",
    "–": r"\textendash{}",
    "—": r"\textemdash{}",
    "…": r"\textellipsis{}",
}


def escaped_markdown(text: str) -> str:
    """`text` so that Markdown shows it as it is."""
    return _MARKDOWN.sub(r"\\\g<0>", text)


def escaped_start(markdown: str) -> str:
    """Escape a first character that would make a list, a heading or a quotation of a paragraph.

    A list's `1)` stays as it is, since `\\)` ends a formula.
    """
    found = _LINE_START.match(markdown)
    if not found:
        return markdown
    sign = found[2]
    escaped = f"{sign[:-1]}\\{sign[-1]}"
    return found[1] + escaped + markdown[found.end() :]


def escaped_latex(text: str) -> str:
    """`text` as LaTeX source, as an answer has it."""
    return "".join(_LATEX.get(character, character) for character in text)


def typeset_words(text: str, program: str) -> str:
    """`text` as source for `pdflatex` or `xelatex`, so that each character comes out as itself."""
    if program != "pdflatex":
        return escaped_latex(text)
    text = re.sub(r"-(?=-)|,(?=,)", lambda found: f"{found[0]}\0", text)
    out = "".join(_PDFLATEX.get(character, character) for character in text)
    return out.replace("\0", "{}")
