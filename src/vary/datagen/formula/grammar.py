"""Mathematical expressions: symbols that go together, and terms of bounded depth made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from vary.datagen.formula.notation import bracketed

__all__ = ["GREEK", "KINDS", "Grammar"]

GREEK = (
    *("\\alpha", "\\beta", "\\gamma", "\\delta", "\\varepsilon", "\\zeta", "\\eta", "\\theta", "\\kappa"),
    *("\\lambda", "\\mu", "\\nu", "\\xi", "\\pi", "\\rho", "\\sigma", "\\tau", "\\varphi", "\\chi", "\\psi"),
    *("\\omega", "\\Gamma", "\\Delta", "\\Theta", "\\Lambda", "\\Phi", "\\Psi", "\\Omega"),
)

KINDS: dict[str, tuple[str, ...]] = {
    "variable": ("x", "y", "z", "t", "u", "v", "w", "s", "r", "X", "Y", "T"),
    "index": ("i", "j", "k", "l", "m", "n", "p", "q"),
    "constant": ("a", "b", "c", "d", "A", "B", "C", "K", "M", "R", "N", "P", "Q"),
    "greek": GREEK,
    "function": ("f", "g", "h", "F", "G", "H", "\\varphi", "\\psi", "\\phi", "u", "\\Phi"),
    "set": ("A", "B", "X", "Y", "S", "U", "V", "D", "E", "\\Omega", "\\mathcal{F}", "\\mathcal{A}"),
    "space": ("\\mathbb{R}", "\\mathbb{C}", "\\mathbb{N}", "\\mathbb{Z}", "\\mathbb{Q}", "\\mathbb{R}^{n}"),
    "calligraphic": tuple(rf"\mathcal{{{letter}}}" for letter in "ABCDEFGHLMNPST"),
    "vector": (*(rf"\mathbf{{{letter}}}" for letter in "abuvwxyzn"), r"\vec{u}", r"\vec{v}", r"\vec{F}"),
    "matrix": ("A", "B", "M", "P", "Q", r"\mathbf{A}", r"\mathbf{B}", r"\mathbf{W}", r"\mathbf{X}"),
}
"""Symbols by what they usually stand for."""

_OPERATORS = ("\\sin", "\\cos", "\\tan", "\\log", "\\ln", "\\exp", "\\arctan", "\\sinh", "\\cosh")
_ACCENTS = ("\\hat", "\\bar", "\\tilde", "\\dot", "\\ddot")


class Grammar:
    """Terms in the symbols of one formula; every draw comes from `rng`.

    `depth` bounds how far fractions, roots and the like are nested.  `symbol` does not give the same letter
    twice until a kind is used up, so that a formula's letters can be told apart.
    """

    def __init__(self, rng: np.random.Generator, depth: int = 2, chinese: bool = False) -> None:
        self.rng, self.depth, self.chinese = rng, depth, chinese
        self._taken: set[str] = set()

    # drawing

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return bool(self.rng.random() < probability)

    def pick(self, options: Sequence[str]) -> str:
        """One of `options`."""
        return options[int(self.rng.integers(len(options)))]

    def number(self, low: int, high: int) -> int:
        """A whole number, low <= number < high."""
        return int(self.rng.integers(low, high))

    def symbol(self, kind: str) -> str:
        """A letter of a kind (see `KINDS`) that the formula does not use yet, as long as there is one."""
        free = [letter for letter in KINDS[kind] if letter not in self._taken]
        letter = self.pick(free or KINDS[kind])
        self._taken.add(letter)
        return letter

    # the smallest parts

    def digits(self) -> str:
        """A small number, seldom a large or a decimal one."""
        kind = self.rng.random()
        if kind < 0.75:
            return str(self.number(1, 10))
        if kind < 0.9:
            return str(self.number(10, 1000))
        return f"{self.number(0, 100)}.{self.number(1, 100)}"

    def letter(self) -> str:
        """A letter of whatever kind fits a plain term."""
        kind = ("variable", "variable", "constant", "greek", "index")[self.number(0, 5)]
        return self.symbol(kind) if self.chance(0.5) else self.pick(KINDS[kind])

    def subscript(self) -> str:
        """What stands below a letter: an index, a pair, a sum, a word."""
        i = self.pick(KINDS["index"])
        return self.pick(
            (
                *(i, i, str(self.number(0, 10)), f"{i}+1", f"{i}-1", f"{i}{self.pick('jkl')}", f"{i},{i}+1"),
                *(r"\max", r"\min", "0", r"\infty", f"{i}_{{1}}", r"\mathrm{eff}"),
            )
        )

    def atom(self) -> str:
        """A number or a letter, perhaps with an accent, primes or a subscript."""
        kind = self.rng.random()
        if kind < 0.22:
            return self.digits()
        letter = self.letter()
        if kind < 0.55:
            return letter
        if kind < 0.78:
            return rf"{letter}_{{{self.subscript()}}}"
        if kind < 0.86:
            return rf"{self.pick(_ACCENTS)}{{{letter}}}"
        if kind < 0.92:
            return self.pick(KINDS["function"]) + "'" * self.number(1, 3)
        return rf"{letter}_{{{self.pick(KINDS['index'])}}}^{{{self.pick(('2', '*', '(k)', 'T', '+', '-'))}}}"

    # terms

    def factor(self, depth: int | None = None) -> str:
        """A power, root, fraction, function's value or bracket; an atom where the depth is used up."""
        depth = self.depth if depth is None else depth
        if depth <= 0 or self.chance(0.3):
            return self.atom()
        inner = depth - 1
        kinds: tuple[Callable[[], str], ...] = (
            lambda: self.power(inner),
            lambda: self.power(inner),
            lambda: self.fraction(inner),
            lambda: self.fraction(inner),
            lambda: self.root(inner),
            lambda: self.applied(inner),
            lambda: self.applied(inner),
            lambda: bracketed(self.sum(inner, 2)),
            lambda: bracketed(self.sum(inner, 1), "|", "|"),
            lambda: rf"e^{{{self.pick(('-', ''))}{self.sum(0, 1)}}}",
            lambda: rf"\lfloor {self.sum(0, 2)} \rfloor",
            lambda: rf"\binom{{{self.symbol('index')}}}{{{self.pick(KINDS['index'])}}}",
        )
        return kinds[self.number(0, len(kinds))]()

    def power(self, depth: int) -> str:
        """A base with an exponent."""
        base = self.letter() if self.chance(0.7) else bracketed(self.sum(0, 2))
        exponent = self.pick(("2", "3", "n", "k", "-1", "-2", "2n", "n+1", "1/2", "T", "*"))
        if depth > 0 and self.chance(0.2):
            exponent = self.sum(0, 2)
        return rf"{base}^{{{exponent}}}"

    def fraction(self, depth: int) -> str:
        """A fraction."""
        return rf"\frac{{{self.sum(depth, 2)}}}{{{self.sum(depth, 2)}}}"

    def root(self, depth: int) -> str:
        """A square root or one of a higher order."""
        order = f"[{self.pick(('3', '4', 'n', 'k'))}]" if self.chance(0.25) else ""
        return rf"\sqrt{order}{{{self.sum(depth, 2)}}}"

    def applied(self, depth: int) -> str:
        """A function's value."""
        if self.chance(0.45):
            name = self.pick(_OPERATORS)
            if self.chance(0.25) and name in _OPERATORS[:3]:
                name += "^{2}"
            argument = self.sum(depth, 2) if self.chance(0.4) else self.letter()
            return f"{name} {argument}" if argument in KINDS["variable"] else name + bracketed(argument)
        name = self.pick(KINDS["function"])
        arguments = [self.sum(0, 2) if self.chance(0.25) else self.letter()]
        if self.chance(0.3):
            arguments.append(self.letter())
        return name + bracketed(",".join(arguments))

    def product(self, depth: int | None = None) -> str:
        """One to three factors; a number comes first, and no two of them touch."""
        depth = self.depth if depth is None else depth
        factors = [self.factor(depth) for _ in range(1 + self.chance(0.35) + self.chance(0.1))]
        out = factors[0]
        for factor in factors[1:]:
            glued = factor[0].isdigit() or self.chance(0.06)
            out += rf" \cdot {factor}" if glued else f" {factor}"
        return out

    def sum(self, depth: int | None = None, most: int = 3) -> str:
        """One to `most` products, added or subtracted."""
        depth = self.depth if depth is None else depth
        out = ("-" if self.chance(0.06) else "") + self.product(depth)
        for _ in range(self.number(0, most)):
            out += self.pick((" + ", " + ", " - ", " - ", r" \pm ")) + self.product(depth)
        return out

    def relation(self) -> str:
        """An equals sign, mostly."""
        others = ("\\leq", "\\geq", "<", ">", "\\approx", "\\equiv", "\\sim", "\\neq", "\\ll", "\\propto")
        return "=" if self.chance(0.6) else self.pick(others)

    def differential(self, letter: str) -> str:
        """`d` and a letter, after a thin space."""
        return rf"\, d {letter}"

    def text(self, english: str, chinese: str) -> str:
        """A word or two in a formula, in the page's language; blanks at Chinese ends are not shown."""
        return rf"\text{{{chinese.strip() if self.chinese else english}}}"

    def condition(self) -> str:
        """A short condition: `x > 0`, `n = 1, 2, ...`."""
        letter, index = self.pick(KINDS["variable"]), self.pick(KINDS["index"])
        return self.pick(
            (
                f"{letter} > 0",
                rf"{letter} \geq {self.digits()}",
                rf"{letter} \in \mathbb{{R}}",
                rf"{index} = 1,2,\ldots,n",
                rf"0 < {letter} < 1",
                rf"{index} \neq {self.pick(('j', '0', '1'))}",
                rf"|{letter}| \leq {self.pick(('1', 'r', 'R'))}",
            )
        )
