"""What is written on a page: running text, and made-up strings so that no character stays rare.

A `Writer` yields paragraphs for one page.  About four in five are corpus text; the rest are random words,
numbers, dates, prices, identifiers, addresses, capitals, accented words and strings of punctuation.  Corpus
text can be taken for a rare character in it, so that all of them come up.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from vary.datagen.corpus import Corpus, Paragraph, is_han

__all__ = ["LATIN_ALPHABET", "Writer", "allowed_text", "curled"]

_TYPOGRAPHIC = "–—‘’“”„…•†‹›€™œŒ"
_LATIN_MARKS = "¡¢£¥§©«®°±²³¶·¹»¼½¾¿×÷ªºµ"
_ACCENTED = "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝÞßàáâãäåæçèéêëìíîïðñòóôõöøùúûüýþÿ"
LATIN_ALPHABET = frozenset(
    "".join(map(chr, range(0x20, 0x7F))) + _TYPOGRAPHIC + "‚‡‰′″ﬁﬂ" + _LATIN_MARKS + _ACCENTED
)
"""The characters that English pages may show; paragraphs with others are passed over."""

_ACCENTS_OF = {
    base: [c for c in _ACCENTED if unicodedata.normalize("NFD", c)[0] == base]
    for base in string.ascii_letters
}
_ACCENTS_OF.update({"s": ["ß"], "d": ["ð"], "D": ["Ð"], "t": ["þ"]})
_RULE = re.compile(r"([^\w\s])\1{7}")
_CHINESE_MARKS = "，。、；：？！（）《》“”‘’「」『』【】—…·～％￥＋－＝／＆＠＃"
_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July", "August"),
    *("September", "October", "November", "December"),
)
_ENDINGS = (
    *("com", "org", "net", "io", "edu", "co.uk", "de", "gov", "info"),
    *("html", "pdf", "py", "txt", "md", "png"),
)
_PAIRS = ("()", "[]", "{}", "<>", "“”", "‘’", '""', "''", "«»", "**", "``", "__", "||")
_AFTER = (".", ",", ";", ":", "!", "?", "...", "…", " –", " —", "::", "", "", " -", " &", " /", " +")
_LIST_MARKS = "••••–—·*-"
"""What items of a list begin with."""
_RARE_STRINGS = 0.25
"""Of the paragraphs for rare characters, the share that are strings of such characters and no sentences."""
_WANTED_PARAGRAPHS, _WANTED_CHARACTERS = 0.7, 0.25
"""Where characters are wanted: of the paragraphs for rare ones those for them, and how much of such a one's
text they are."""
_UNITS = ("kg", "cm", "mm", "km/h", "°C", "MB", "m²", "ml", "px", "x", "th")


def allowed_text(text: str, language: str) -> bool:
    """Whether `text` has only characters of the language's alphabet (any, for Chinese: the fonts decide)."""
    return language == "zh" or LATIN_ALPHABET.issuperset(text)


@dataclass
class Writer:
    """Paragraphs in `language` for one page; every draw comes from `rng`."""

    corpus: Corpus
    language: str
    rng: np.random.Generator
    made_up_share: float = 0.2
    rare_share: float = 0.0
    """Share of the paragraphs that are taken for one of their characters, each as often as any other."""
    characters: str = ""
    """Characters that the corpus has too seldom, or not at all: most of those paragraphs are written with
    them, in the places of other characters of the same kind."""
    list_share: float = 0.0
    """Share of the corpus's paragraphs that are written as items of a list, with a mark before them."""
    paints: Callable[[str], bool] = field(default=lambda _: True)
    """Whether the page's font has a character: others are not looked for."""

    def __post_init__(self) -> None:
        self._curly = self.rng.random() < 0.3
        self._pool = self.corpus.paragraphs[self.language]
        self._kinds: tuple[tuple[float, Callable[[], str]], ...] = (
            (0.16, self._random_words),
            (0.20, self._figures),
            (0.14, self._code),
            (0.08, self._capitals),
            (0.08, self._title_case),
            (0.10, self._accented_words),
            (0.16, self._any_characters),
            (0.08, self._punctuated),
        )

    def paragraph(self, length: int) -> Paragraph:
        """A paragraph; made-up ones have about `length` characters, those of the corpus their own length."""
        if self.rare_share and self.rng.random() < self.rare_share:
            return self._rare_paragraph(length)
        if self.rng.random() >= self.made_up_share:
            paragraph = self._pool[self._number(0, len(self._pool))]
            if _RULE.search(paragraph.text) and self.rng.random() < 0.8:
                return self.paragraph(length)  # lines of a plain-text table, mostly
            text = curled(paragraph.text) if self._curly else paragraph.text
            return Paragraph(self._list_mark() + text, paragraph.source, paragraph.language)
        if self.language == "zh" and self.rng.random() < 0.6:
            text = self._fill(length, self._chinese_characters)
        else:
            weights = np.array([weight for weight, _ in self._kinds])
            kind = self._kinds[int(self.rng.choice(len(self._kinds), p=weights / weights.sum()))][1]
            text = self._fill(length, kind)
        return Paragraph(unicodedata.normalize("NFC", text), "made-up", self.language)

    def _rare_paragraph(self, length: int) -> Paragraph:
        """A paragraph of the corpus, from shortly before a character that was drawn, or a string of such."""
        if self._wanted and self.rng.random() < _WANTED_PARAGRAPHS:
            wanted = self._paragraph_with_wanted(length)
            if wanted is not None:
                return wanted
        places = self.corpus.places[self.language]
        if self.rng.random() < _RARE_STRINGS:
            text = self._fill(length, lambda: self._string_of(self._found_characters))
            return Paragraph(unicodedata.normalize("NFC", text), "made-up", self.language)
        character = self._drawn(self._found_characters)
        if character is None:
            return self._pool[self._number(0, len(self._pool))]
        paragraph = self._pool[int(self.rng.choice(places[character]))]
        start = max(0, paragraph.text.index(character) - self._number(0, 60))
        if start and self.language != "zh":  # not within a word
            start = paragraph.text.rfind(" ", 0, start) + 1
        text = paragraph.text[start:].lstrip()
        return Paragraph(curled(text) if self._curly else text, paragraph.source, paragraph.language)

    def _list_mark(self) -> str:
        """What stands before an item of a list; nothing before most paragraphs."""
        if not self.list_share or self.rng.random() >= self.list_share:
            return ""
        mark = self._pick(_LIST_MARKS)
        return f"{mark} " if self.paints(mark) else ""

    def _drawn(self, characters: Sequence[str]) -> str | None:
        """One of some characters, each as likely as any other, that the font has; None without."""
        for _ in range(20 if characters else 0):
            character = characters[self._number(0, len(characters))]
            if self.paints(character):
                return character
        return None

    @cached_property
    def _wanted(self) -> str:
        """The wanted characters of this language."""
        chinese = self.language == "zh"
        return "".join(c for c in self.characters if is_han(c) == chinese)

    def _paragraph_with_wanted(self, length: int) -> Paragraph | None:
        """A paragraph of the corpus in which some letters are wanted ones instead, or a string of these; None
        where the font has none of them."""
        if self._drawn(self._wanted) is None:
            return None
        if self.rng.random() < _RARE_STRINGS:
            text = self._fill(length, lambda: self._string_of(self._wanted))
            return Paragraph(text, "made-up", self.language)
        letters = list(self._pick_paragraph())
        for place, letter in enumerate(letters):
            fits = is_han(letter) if self.language == "zh" else letter.isalpha()
            if fits and self.rng.random() < _WANTED_CHARACTERS:
                letters[place] = self._drawn(self._wanted) or letter
        return Paragraph("".join(letters), "made-up", self.language)

    @cached_property
    def _found_characters(self) -> tuple[str, ...]:
        return tuple(self.corpus.places[self.language])

    def _string_of(self, characters: Sequence[str]) -> str:
        drawn = (self._drawn(characters) for _ in range(self._number(2, 12)))
        text = "".join(character for character in drawn if character)
        mark = self.language == "zh" and self.rng.random() < 0.3
        return (text + self._pick(_CHINESE_MARKS) if mark else text) or "1"

    def _fill(self, length: int, piece: Callable[[], str]) -> str:
        pieces: list[str] = []
        size = 0
        while size < length:
            pieces.append(piece())
            size += len(pieces[-1]) + 1
        return " ".join(pieces)

    # the kinds of made-up text: each returns one or a few words

    def _pick(self, options: Sequence[str]) -> str:
        return options[int(self.rng.integers(len(options)))]

    def _number(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high))

    def _word(self) -> str:
        """A word of the corpus, as it stands there."""
        for _ in range(8):
            words = self._pick_paragraph().split()
            word = words[self._number(0, len(words))]
            if len(word) <= 20:
                return word
        return "word"

    def _letters(self) -> str:
        """A word of the corpus without its punctuation, at least one letter or digit."""
        for _ in range(8):
            letters = "".join(c for c in self._word() if c.isalnum() and c.isascii())
            if letters:
                return letters
        return "a"

    def _pick_paragraph(self) -> str:
        return self._pool[self._number(0, len(self._pool))].text

    def _random_words(self) -> str:
        return self._word()

    def _capitals(self) -> str:
        return self._word().upper() if self.language == "en" else self._letters().upper()

    def _title_case(self) -> str:
        return self._letters().capitalize()

    def _accented_words(self) -> str:
        letters = list(self._letters())
        for place, letter in enumerate(letters):
            if _ACCENTS_OF.get(letter) and self.rng.random() < 0.35:
                letters[place] = self._pick(_ACCENTS_OF[letter])
        return "".join(letters)

    def _chinese_characters(self) -> str:
        pool = [c for c in self._pick_paragraph() if is_han(c)] or ["中"]
        count = self._number(2, 12)
        text = "".join(self._pick(pool) for _ in range(count))
        return text + (self._pick(_CHINESE_MARKS) if self.rng.random() < 0.6 else "")

    def _any_characters(self) -> str:
        """A string in which every printable ASCII character, and now and then a typographic one, is equally
        likely."""
        characters = string.digits + string.ascii_letters + string.punctuation
        rare = self.rng.random() < 0.3
        pool = _TYPOGRAPHIC + _LATIN_MARKS + _ACCENTED if rare else characters
        return "".join(self._pick(pool) for _ in range(self._number(1, 5 if rare else 9)))

    def _punctuated(self) -> str:
        around, ending = self._pick(_PAIRS), self._pick(_AFTER)
        return f"{around[0]}{self._word()}{around[1]}{ending}"

    def _figures(self) -> str:
        number = self._number
        value = 10 ** self.rng.uniform(0, 6)
        kinds: tuple[Callable[[], str], ...] = (
            lambda: str(number(0, 10 ** number(1, 9))),
            lambda: f"{value:,.2f}",
            lambda: self._pick("$€£¥") + f"{value:,.{self._pick('02')}f}",
            lambda: f"{value / 10**4:.{number(0, 4)}f}%",
            lambda: self._pick("./-").join(
                (f"{number(1, 32):02d}", f"{number(1, 13):02d}", str(number(1900, 2040)))
            ),
            lambda: f"{number(1900, 2040)}-{number(1, 13):02d}-{number(1, 32):02d}",
            lambda: f"{number(1, 32)} {self._pick(_MONTHS)} {number(1500, 2040)}",
            lambda: f"{self._pick(_MONTHS)[:3]}. {number(1, 32)}, {number(1800, 2040)}",
            lambda: (
                f"{number(0, 24)}:{number(0, 60):02d}"
                + self._pick(("", " am", " pm", f":{number(0, 60):02d}"))
            ),
            lambda: f"+{number(1, 99)} ({number(10, 999)}) {number(100, 999)}-{number(1000, 9999)}",
            lambda: f"{number(1, 100)} {self._pick('+-×÷=<>/*')} {number(1, 1000)}",
            lambda: f"({number(1, 40)})" if number(0, 2) else f"{number(1, 40)}.{number(1, 20)}.",
            lambda: f"{number(2, 100)}{self._pick(_UNITS)}",
            lambda: f"pp. {number(1, 400)}{self._pick('-–')}{number(400, 900)}",
            lambda: "".join(self._pick("IVXLCDM") for _ in range(number(1, 6))) + self._pick((".", "", ")")),
            lambda: f"[{number(1, 200)}]",
        )
        return kinds[number(0, len(kinds))]()

    def _code(self) -> str:
        word, number = self._letters, self._number
        kinds: tuple[Callable[[], str], ...] = (
            lambda: f"{word().lower()}_{word().lower()}",
            lambda: f"{word()}.{word()}({word()})",
            lambda: f"https://{word().lower()}.{self._pick(_ENDINGS)}/{word()}?{word()}={number(0, 999)}",
            lambda: f"{word().lower()}@{word().lower()}.{self._pick(_ENDINGS)}",
            lambda: f"/{word().lower()}/{word()}.{self._pick(_ENDINGS)}",
            lambda: f"C:\\{word()}\\{word()}.{self._pick(_ENDINGS)}",
            lambda: f"{word().lower()}[{number(0, 99)}] = {word()}",
            lambda: f"__{word().lower()}__",
            lambda: f"0x{number(0, 2**32):08X}" if number(0, 2) else f"{number(0, 2**40):x}",
            lambda: (
                f"--{word().lower()}={word()}" if number(0, 2) else f"-{self._pick(string.ascii_letters)}"
            ),
            lambda: f"{{'{word()}': {number(0, 99)}}}" if number(0, 2) else f"<{word()}>",
            lambda: f"if {word()} {self._pick(('==', '!=', '>=', '<', '&&', '||', '->', ':='))} {word()};",
            lambda: f"{word().upper()}-{number(1, 99999)}",
            lambda: f"#{word()} ${word()} ~{word()} ^{number(0, 9)} `{word()}`",
            lambda: f"v{number(0, 12)}.{number(0, 30)}.{number(0, 9)}",
        )
        return kinds[number(0, len(kinds))]()


def curled(text: str) -> str:
    """Straight quotes, double hyphens and dots as a typesetter would have them."""
    out: list[str] = []
    previous = " "
    for character in text:
        opening = previous in " ([{—–-/“‘"
        if character == '"':
            character = "“" if opening else "”"
        elif character == "'":
            character = "‘" if opening else "’"
        out.append(character)
        previous = character
    return "".join(out).replace("--", "—")
