"""Running text with formulas: sentences of a corpus that the fonts show, and some around formulas."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from vary.datagen.corpus import Corpus
from vary.datagen.formula.grammar import Grammar
from vary.datagen.formula.phrases import LEADS, PHRASES
from vary.datagen.formula.spans import Formula, Span, Words
from vary.datagen.formula.templates import draw_inline

__all__ = ["Prose", "chinese_blanks"]

_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"“])|(?<=[。！？])")
_LONGEST_WORD = re.compile(r"[^\s\u2e80-\uffef]{31}")
_TRIES = 40
_HAN = r"\u2e80-\u2fff\u3400-\u9fff\uf900-\ufaff"
_CHINESE_MARKS = r"\u3000-\u303f\uff00-\uffef‘’“”—…"
_MARK_BLANKS = re.compile(rf" *([{_CHINESE_MARKS}]) *")
_HAN_BLANKS = re.compile(rf"(?<=[{_HAN}]) +(?=[{_HAN}])")
_HAN_EDGE = re.compile(rf"(?<=[{_HAN}])(?=[A-Za-z0-9])|(?<=[A-Za-z0-9])(?=[{_HAN}])")
_BAD_STARTS = frozenset("-*#>+|=~_.,:;)]}&%$@/\\")


def chinese_blanks(text: str) -> str:
    """`text` with the blanks that a Chinese page shows, whatever was typed: none between Chinese characters
    and around their punctuation, one between them and Latin letters or figures."""
    return _HAN_EDGE.sub(" ", _HAN_BLANKS.sub("", _MARK_BLANKS.sub(r"\1", text)))


class Prose:
    """Text for one sheet; `shows` says whether the sheet's fonts have all characters of a text."""

    def __init__(
        self,
        corpus: Corpus,
        language: str,
        rng: np.random.Generator,
        shows: Callable[[str], bool],
        *,
        depth: int = 2,
        curl: Callable[[str], str] | None = None,
    ) -> None:
        self.corpus, self.language, self.rng, self.shows = corpus, language, rng, shows
        self.depth, self.curl = depth, curl
        self.main = "en" if language == "en" else "zh"
        self._sources: list[str] = []

    def take_sources(self) -> tuple[str, ...]:
        """Where the text since the last call comes from, each once."""
        found = tuple(dict.fromkeys(self._sources))
        self._sources = []
        return found

    def grammar(self) -> Grammar:
        """A grammar for one formula."""
        return Grammar(self.rng, int(self.rng.integers(1, self.depth + 1)), self.main == "zh")

    def pick(self, options: tuple[str, ...]) -> str:
        """One of `options`."""
        return options[int(self.rng.integers(len(options)))]

    def spoken(self) -> str:
        """The language of the next sentence."""
        if self.language == "mixed":
            return "zh" if self.rng.random() < 0.6 else "en"
        return self.language

    def sentence(self, language: str, longest: int = 240) -> str:
        """A sentence of the corpus; a plain one of our own where the fonts show none of those drawn."""
        pool = self.corpus.paragraphs[language]
        for _ in range(_TRIES):
            paragraph = pool[int(self.rng.integers(len(pool)))]
            parts = [part.strip() for part in _SENTENCE.split(paragraph.text)]
            text = parts[int(self.rng.integers(len(parts)))]
            text = self._as_shown(text, language)
            if self._fits(text, language, longest):
                self._sources.append(paragraph.source)
                return text
        self._sources.append("made-up")
        return "The details are given below." if language == "en" else "具体情况见下文。"

    def _as_shown(self, text: str, language: str) -> str:
        """Quotation marks as typesetters have them, blanks as the page shows them."""
        if language == "zh":
            return chinese_blanks(text).strip()
        return text if self.curl is None or self.language == "mixed" else self.curl(text)

    def _fits(self, text: str, language: str, longest: int) -> bool:
        shortest = 12 if language == "en" else 6
        if not shortest <= len(text) <= longest or text[0] in _BAD_STARTS or _LONGEST_WORD.search(text):
            return False
        if language == "en" and self.language == "mixed" and set(text) & set("‘’“”—…"):
            return False  # on a Chinese page they are Chinese, and wide
        if "\\" in text:
            return False  # beside brackets it would look like a formula's delimiter
        return self.shows(text)

    def phrase(self, language: str) -> list[Span]:
        """A sentence around formulas."""
        self._sources.append("made-up")
        return self.filled(self.pick(PHRASES[language]))

    def filled(self, text: str) -> list[Span]:
        """`text` with a formula at each `@`."""
        spans: list[Span] = []
        for number, part in enumerate(text.split("@")):
            if number:
                spans.append(Formula(draw_inline(self.grammar())))
            if part:
                spans.append(Words(part))
        return spans

    def paragraph(self, sentences: int) -> list[Span]:
        """Some sentences, one in three around formulas; others with a formula or a bold word among theirs."""
        spans: list[Span] = []
        for number in range(sentences):
            language = self.spoken()
            if number and (language == "en" or self.language == "mixed"):
                spans.append(Words(" "))
            kind = self.rng.random()
            if kind < 0.35:
                spans += self.phrase(language)
            elif kind < 0.6 and language == "en":
                spans += self._interrupted(self.sentence(language))
            else:
                spans.append(Words(self.sentence(language)))
        spans = _merged(spans)
        if self.language != "mixed":
            return spans
        return [
            Words(chinese_blanks(span.text), span.bold) if isinstance(span, Words) else span for span in spans
        ]

    def lead(self) -> list[Span]:
        """What comes before a displayed formula."""
        text = self.pick(LEADS[self.main])
        text = text[:1].upper() + text[1:]
        if self.main == "en" and self.rng.random() < 0.5:
            return [Words(f"{self.sentence('en', 160)} {text}")]
        return [Words(text)]

    def _interrupted(self, text: str) -> list[Span]:
        """A sentence with a formula between two words, or with a bold word."""
        words = text.split(" ")
        if len(words) < 4:
            return [Words(text)]
        place = int(self.rng.integers(1, len(words)))
        before, after = " ".join(words[:place]), " ".join(words[place:])
        if self.rng.random() < 0.3:
            first, _, rest = after.partition(" ")
            if first.isalpha() and rest:
                return [Words(before + " "), Words(first, bold=True), Words(" " + rest)]
        return [Words(before + " "), Formula(draw_inline(self.grammar())), Words(" " + after)]


def _merged(spans: list[Span]) -> list[Span]:
    """Neighbouring plain words as one span."""
    out: list[Span] = []
    for span in spans:
        last = out[-1] if out else None
        if isinstance(span, Words) and isinstance(last, Words) and last.bold == span.bold:
            out[-1] = Words(last.text + span.text, span.bold)
        else:
            out.append(span)
    return out
