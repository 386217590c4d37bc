"""Random content (stage 1): words and numbers that have nothing to do with each other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vary.datagen.chart.content import Kind, RawContent
from vary.datagen.chart.related import bins, box_values, pair_values
from vary.datagen.chart.templates import template_words
from vary.datagen.corpus import Corpus, is_han
from vary.errors import DataError

__all__ = ["RandomWords", "random_content"]

_LONGEST_LATIN = 12
_MISSES = 1000
"""After so many draws in a row that gave no new name, the source of words has no more to give."""
_MAY_BE_NEGATIVE = frozenset({"bar", "bar_horizontal", "bar_grouped", "line", "lines", "mixed"})


class RandomWords:
    """Words of a corpus, or of the templates where there is none, drawn from `rng`."""

    def __init__(self, language: str, rng: np.random.Generator, corpus: Corpus | None) -> None:
        self._language = language
        self._rng = rng
        self._paragraphs = corpus.paragraphs[language] if corpus is not None else ()
        self._known = template_words(language)

    def some(self, count: int, most_words: int) -> tuple[str, ...]:
        """`count` different names of one to `most_words` words.

        A corpus that has too few gives those it has; the templates give the rest.

        Raises:
            DataError: if the templates have too few as well.
        """
        found: dict[str, None] = {}
        paragraphs, misses = self._paragraphs, 0
        while len(found) < count:
            before = len(found)
            found[self.name(int(self._rng.integers(1, most_words + 1)))] = None
            misses = 0 if len(found) > before else misses + 1
            if misses == _MISSES:
                if not self._paragraphs:
                    raise DataError(
                        f"a chart needs {count} different names of at most {most_words} words in "
                        f"{self._language!r}: found {len(found)} in the corpus and the templates; give a "
                        "corpus of more words"
                    )
                self._paragraphs, misses = (), 0
        self._paragraphs = paragraphs
        return tuple(found)

    def name(self, words: int) -> str:
        """`words` words, parted by blanks where the language parts them."""
        draw: Callable[[], str] = self._chinese if self._language == "zh" else self._latin
        name = ("" if self._language == "zh" else " ").join(draw() for _ in range(words))
        return name[:1].upper() + name[1:]

    def _latin(self) -> str:
        for _ in range(20):
            phrase = self._paragraph() if self._paragraphs else self._pick(self._known)
            word = self._pick(phrase.split() or [""])
            letters = "".join(c for c in word if c.isascii() and c.isalpha())
            if 2 < len(letters) <= _LONGEST_LATIN:
                return letters
        return self._pick([word for word in self._known if word.isalpha() and len(word) > 2])

    def _chinese(self) -> str:
        for _ in range(20):
            if not self._paragraphs:
                return self._pick(self._known)
            text = self._paragraph()
            start = int(self._rng.integers(len(text)))
            run = text[start : start + int(self._rng.integers(2, 5))]
            if len(run) > 1 and all(map(is_han, run)):
                return run
        return self._pick(self._known)

    def _paragraph(self) -> str:
        return self._paragraphs[int(self._rng.integers(len(self._paragraphs)))].text

    def _pick(self, words: list[str] | tuple[str, ...]) -> str:
        return words[int(self._rng.integers(len(words)))]


def random_content(kind: Kind, language: str, rng: np.random.Generator, corpus: Corpus | None) -> RawContent:
    """Random words and numbers for a chart of `kind`."""
    words = RandomWords(language, rng, corpus)
    longest = 2 if language == "zh" else 3
    count = int(rng.integers(kind.categories[0], kind.categories[1] + 1))
    series = int(rng.integers(kind.series[0], kind.series[1] + 1))
    decimals = int(rng.choice([0, 0, 0, 1, 2]))
    high = 10.0 ** rng.uniform(0.5 if decimals else 1.2, 4.5 - decimals)
    low = float(rng.choice([0.02, 0.3])) * high
    if kind.name in _MAY_BE_NEGATIVE and rng.random() < 0.12:
        low = -0.6 * high
    title = words.name(int(rng.integers(1, longest + 3)))
    # A name may be that of a series and of a category at once, not that of two of either.
    names = words.some(series, 1) if series > 1 or (kind.series[0] > 1) else ()
    categories = words.some(count, 1 if count > 6 else 2)
    if kind.name == "scatter":
        categories, values = (), pair_values(series, count, "none", rng) * [high * 3, high]
    elif kind.name == "box":
        values = box_values(low, high, count, rng)
    else:
        if kind.name == "histogram":
            categories = bins(0, float(rng.choice([10, 20, 50, 100, 300])), language, rng)
        values = rng.uniform(low, high, (series, len(categories)))
    if kind.name == "funnel":
        values = -np.sort(-values, axis=1)
    has_name = rng.random() < 0.5
    return RawContent(
        title=title,
        categories=categories,
        series=names,
        values=values,
        value_name=words.name(1) if has_name else "",
        unit="",
        category_name=words.name(1) if rng.random() < 0.3 and kind.name != "box" else "",
        decimals=decimals,
        source="random",
    )
