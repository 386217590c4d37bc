"""The texts of a document: paragraphs of a corpus, and headings, names, dates and figures made for it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vary.datagen.corpus import Corpus, Paragraph, is_han
from vary.datagen.wording import Writer, allowed_text
from vary.errors import DataError

__all__ = ["Author"]

_TABLE_RULE = re.compile(r"([^\w\s])\1{5}")
_BREAKS = re.compile(r"[\s\u3000-\uffef]+")
_SENTENCE = {"en": re.compile(r"(?<=[.!?])\s+"), "zh": re.compile(r"(?<=[。！？；])")}
_EDGES = " ,.;:!?()[]{}\"'“”‘’*_`-–—#=|<>/\\，。、；：？！（）《》「」…·"
_TRIES = 200

_GIVEN = (
    "Anna Ben Clara David Emma Frank Grace Henry Iris Jack Karen Leo Maria Noah Olga Paul Rose Sam Tina Will"
)
_SURNAMES = (
    "Adams Brown Clark Dixon Evans Fisher Green Hughes Irving Jones King Lopez Moore Novak Owens Price "
    "Reed Stone Turner Young"
)
_GIVEN_ZH = "伟 芳 娜 敏 静 丽 强 磊 军 洋 勇 艳 杰 娟 涛 明 超 秀兰 建国 志强 晓梅 文博 子涵 雨桐"
_SURNAMES_ZH = "王 李 张 刘 陈 杨 赵 黄 周 吴 徐 孙 胡 朱 高 林 何 郭 马 罗"
_MONTHS = "January February March April May June July August September October November December"


@dataclass
class Author:
    """Writes in one language what a page's fonts can print; every draw comes from `rng`.

    `missing` gives the characters of a text that the fonts lack; `longest` bounds the words without a place
    to break, in characters.
    """

    corpus: Corpus
    language: str
    rng: np.random.Generator
    missing: Callable[[str], set[str]]
    longest: int = 26
    made_up_share: float = 0.04

    def __post_init__(self) -> None:
        self._writer = Writer(self.corpus, self.language, self.rng, self.made_up_share)
        self._printed: set[str] = set()
        self._lacking: set[str] = set()

    def prints(self, text: str) -> bool:
        """Whether the fonts have all of `text` and no word of it is too long for a line."""
        if not allowed_text(text, self.language):
            return False
        characters = set(text)
        if characters & self._lacking:
            return False
        unknown = characters - self._printed
        if unknown:
            lacking = self.missing("".join(sorted(unknown)))
            self._lacking |= lacking
            self._printed |= unknown - lacking
            if lacking:
                return False
        return max(map(len, _BREAKS.split(text))) <= self.longest

    def paragraph(self, low: int = 60, high: int = 700) -> Paragraph:
        """A paragraph of `low` to `high` characters: a whole one, or whole sentences of a longer one.

        Raises `DataError` when the corpus has none that the fonts print.
        """
        if self.language == "zh":
            low, high = max(1, low * 2 // 5), max(12, high * 2 // 5)
        best: Paragraph | None = None
        for _ in range(_TRIES):
            paragraph = self._writer.paragraph(int(self.rng.integers(low, high + 1)))
            text = paragraph.text
            if _TABLE_RULE.search(text) or not self.prints(text):
                continue
            if len(text) > high:
                text = self._sentences(text, high)
            if text and low <= len(text) <= high:
                return Paragraph(text, paragraph.source, paragraph.language)
            if text and len(text) <= high and (best is None or len(text) > len(best.text)):
                best = Paragraph(text, paragraph.source, paragraph.language)
        if best is None:
            raise DataError(
                f"{_TRIES} paragraphs in language {self.language!r} had none that these fonts print: give a "
                "larger corpus or fonts with more characters"
            )
        return best

    def _sentences(self, text: str, high: int) -> str:
        """Some whole sentences in a row, at most `high` characters; empty where the first is too long."""
        parts = [part for part in _SENTENCE[self.language].split(text) if part]
        start = int(self.rng.integers(len(parts)))
        joiner = "" if self.language == "zh" else " "
        kept = ""
        for part in parts[start:]:
            grown = f"{kept}{joiner if kept else ''}{part}"
            if len(grown) > high:
                break
            kept = grown
        return kept.strip()

    def sentence(self, high: int = 120) -> Paragraph:
        """One sentence or a short paragraph."""
        return self.paragraph(min(12, high // 2), high)

    def title(self, words: int = 7) -> str:
        """A heading: the first words of a paragraph, without the marks at their ends."""
        for _ in range(_TRIES):
            text = self.paragraph(20, 300).text
            if self.language == "zh":
                clause = re.split(r"[，。、；：？！（）《》“”「」…\s]", text)[0]
                title = clause[: 2 * words + 2]
                if sum(map(is_han, title)) >= 2:
                    return title.strip(_EDGES)
                continue
            title = " ".join(text.split(" ")[: int(self.rng.integers(2, words + 1))]).strip(_EDGES)
            if len(title) >= 5 and title[0].isalnum():
                return title[0].upper() + title[1:]
        return "概述" if self.language == "zh" else "Overview"

    def word(self) -> str:
        """A word: letters only in English, two to four Han characters in Chinese."""
        for _ in range(_TRIES):
            text = self.paragraph(20, 300).text
            if self.language == "zh":
                han = "".join(c if is_han(c) else " " for c in text).split()
                if han:
                    run = han[self.below(len(han))]
                    start = self.below(max(1, len(run) - 2))
                    return run[start : start + 2 + self.below(3)]
            else:
                words = [w.strip(_EDGES) for w in text.split(" ")]
                words = [w for w in words if w.isalpha() and w.isascii() and 3 <= len(w) <= 14]
                if words:
                    return self.pick(words)
        return "词语" if self.language == "zh" else "word"

    # small things

    def below(self, high: int) -> int:
        """A whole number from 0 to `high` - 1."""
        return int(self.rng.integers(high))

    def chance(self, probability: float) -> bool:
        """True with a probability."""
        return bool(self.rng.random() < probability)

    def pick(self, options: list[str] | tuple[str, ...] | str) -> str:
        """One of several; of a string, one of its words."""
        options = options.split() if isinstance(options, str) else options
        return options[self.below(len(options))]

    def say(self, english: str, chinese: str) -> str:
        """One of two wordings, by language."""
        return chinese if self.language == "zh" else english

    def name(self) -> str:
        """A person's name."""
        if self.language == "zh":
            return self.pick(_SURNAMES_ZH) + self.pick(_GIVEN_ZH)
        return f"{self.pick(_GIVEN)} {self.pick(_SURNAMES)}"

    def date(self) -> str:
        """A date, in one of several forms."""
        year, month, day = 1890 + self.below(150), 1 + self.below(12), 1 + self.below(28)
        if self.language == "zh":
            return self.pick(
                (f"{year}年{month}月{day}日", f"{year}-{month:02d}-{day:02d}", f"{year}年{month}月")
            )
        name = _MONTHS.split()[month - 1]
        return self.pick((f"{day} {name} {year}", f"{name} {day}, {year}", f"{year}-{month:02d}-{day:02d}"))

    def figure(self) -> str:
        """A number as tables have them."""
        value = 10 ** float(self.rng.uniform(0, 6))
        forms = (
            f"{value:.0f}",
            f"{value:,.0f}",
            f"{value:,.2f}",
            f"{value / 1e4:.1f}%",
            f"{value / 1e3:.3f}",
            f"-{value:.1f}",
            "0",
        )
        return forms[self.below(len(forms))]

    def caps(self, text: str) -> str:
        """The text in capitals now and then."""
        return text.upper() if self.chance(0.3) and self.prints(text.upper()) else text
