"""Charts as the models write them: the text of a Python dict of `title` and `data`, or JSON.

A recursive descent parser of its own: nothing is evaluated, depth and length are limited, and the time is in
proportion to the text.  Beyond Python's and JSON's literals it understands what models are known to write
instead: a code fence around them, text before and behind, full-width punctuation, quotes that should have
been escaped (`'Kid's toys'`), words without quotes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vary.outputs.answers.notes import Notes, excerpt

__all__ = ["MAX_CHARACTERS", "MAX_DEPTH", "ParsedChart", "parse_chart"]

MAX_CHARACTERS = 1_000_000
"""Of an answer; no model of the family writes a tenth of it."""
MAX_DEPTH = 64
"""Dicts and lists within each other."""
MAX_DIGITS = 400
"""Characters of a number; what is longer is kept as text."""

_BLANKS = re.compile(r"\s*")
_FENCE = re.compile(r"```[\w+-]*")
_CLOSERS = {"'": "'", '"': '"', "“": "”", "‘": "’"}
_UNESCAPED = {opener: re.compile(rf"[^\\{closer}]*") for opener, closer in _CLOSERS.items()}
_AFTER_STRING = re.compile(r"\s*(?:[,:}\])，：）]|$)")
_WORD = re.compile(
    r"""[^\s,:{}\[\]()，：（）'"“‘][^\s,:{}\[\]()，：（）]*"""
    r"""(?:[^\S\n\r]+[^\s,:{}\[\]()，：（）'"“‘][^\s,:{}\[\]()，：（）]*)*"""
)
_INTEGER = re.compile(r"[+-]?(?:0|[1-9][0-9]*(?:_[0-9]+)*)")
_FLOAT = re.compile(r"[+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][+-]?[0-9]+)?")
_CONSTANTS = {"None": None, "null": None, "True": True, "true": True, "False": False, "false": False}
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "\n": ""}
_ESCAPED_AS_THEY_ARE = frozenset("\\/'\"“”‘’")
_HEXADECIMAL = {
    "x": re.compile("[0-9a-fA-F]{2}"),
    "u": re.compile("[0-9a-fA-F]{4}"),
    "U": re.compile("[0-9a-fA-F]{8}"),
}
_OCTAL = re.compile("[0-7]{1,3}")
_LOW_SURROGATE = re.compile(r"\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_SURROGATES = re.compile("[\ud800-\udfff]")
_MARKS = {"，": ",", "：": ":", "（": "(", "）": ")"}
_ENDS = {"{": "}", "[": "]", "(": ")"}
_NAMES = {"{": "a dict", "[": "a list", "(": "a tuple"}


@dataclass(frozen=True, slots=True)
class ParsedChart:
    """What a chart's answer says, as JSON values, and what was odd about it.

    `data` is a dict or a list; None where the answer is cut off or malformed, which a note explains.
    """

    data: dict[str, Any] | list[Any] | None
    notes: tuple[str, ...]


def parse_chart(text: str) -> ParsedChart:
    """The dict or list in `text` as JSON values; never raises.

    Tuples become lists, keys strings.  A key that stands twice keeps both values, the second under
    `key (2)`; numbers that JSON cannot hold become text, NaN and infinity None: each with a note.
    """
    notes = Notes()
    try:
        return ParsedChart(_parse(text, notes), notes.texts())
    except _MalformedError as error:
        return ParsedChart(None, (f"the chart could not be taken apart: {error}",))


class _MalformedError(Exception):
    """The text is no dict or list; the message says where and why."""


def _parse(text: str, notes: Notes) -> dict[str, Any] | list[Any]:
    if len(text) > MAX_CHARACTERS:
        raise _MalformedError(f"it has {len(text):,} characters, the limit is {MAX_CHARACTERS:,}")
    start = _beginning(text)
    if start is None:
        raise _MalformedError(f"expected a dict, found '{excerpt(text)}'" if text.strip() else "it is empty")
    before = _FENCE.sub("", text[:start]).strip()
    if before:
        notes.add("text before the dict was left out", before)
    parser = _Parser(text, start, notes)
    value = parser.value(0)
    behind = _FENCE.sub("", text[parser.position :]).strip(" \t\r\n;.。")
    if behind:
        notes.add("text behind the dict was left out", behind)
    if isinstance(value, dict) and not {"title", "data"} <= value.keys():
        missing = " and ".join(key for key in ("title", "data") if key not in value)
        notes.add(f"the dict has no {missing}")
    return value


def _beginning(text: str) -> int | None:
    """Where the dict begins; a list only counts where nothing but a fence stands before it."""
    fence = _FENCE.match(text, _skip_blanks(text, 0))
    start = _skip_blanks(text, fence.end() if fence else 0)
    if text[start : start + 1] == "[":
        return start
    found = text.find("{")
    return found if found >= 0 else None


def _skip_blanks(text: str, position: int) -> int:
    match = _BLANKS.match(text, position)
    return match.end() if match else position


class _Parser:
    """One pass over a text; every method begins at `position` and leaves it behind what it read."""

    def __init__(self, text: str, position: int, notes: Notes) -> None:
        self.position = position
        self._text = text
        self._notes = notes

    def value(self, depth: int) -> Any:
        """Any value, `depth` containers deep."""
        mark = self._peek()
        if mark in _ENDS:
            if depth >= MAX_DEPTH:
                raise _MalformedError(f"more than {MAX_DEPTH} dicts and lists stand within each other")
            return self._dict(depth + 1) if mark == "{" else self._list(mark, depth + 1)
        return self._string() if mark in _CLOSERS else self._scalar(self._word())

    def _dict(self, depth: int) -> dict[str, Any]:
        content: dict[str, Any] = {}
        counts: dict[str, int] = {}

        def entry() -> None:
            key = self._key()
            self._expect(":", f"a colon behind the key '{excerpt(key)}'")
            unused = key
            while unused in content:
                counts[key] = counts.get(key, 1) + 1
                unused = f"{key} ({counts[key]})"
            if unused != key:
                self._notes.add("a key stands more than once; its later values got a number", key)
            content[unused] = self.value(depth)

        self._entries("{", entry)
        return content

    def _list(self, opening: str, depth: int) -> list[Any]:
        content: list[Any] = []
        self._entries(opening, lambda: content.append(self.value(depth)))
        return content

    def _entries(self, opening: str, entry: Callable[[], None]) -> None:
        """What stands between brackets, parted by commas; one comma may follow the last."""
        closing = _ENDS[opening]
        self.position += 1
        while self._peek() != closing:
            entry()
            if self._peek() != closing:
                self._expect(",", f"a comma or '{closing}' within {_NAMES[opening]}")
        self.position += 1

    def _key(self) -> str:
        if self._peek() in _CLOSERS:
            return self._string()
        word = self._word()
        if word not in _CONSTANTS and not _INTEGER.fullmatch(word) and not _FLOAT.fullmatch(word):
            self._notes.add("text without quotes", word)
        return word

    def _peek(self) -> str:
        """The next mark behind blanks, in half width; raises at the end of the text."""
        self.position = _skip_blanks(self._text, self.position)
        if self.position >= len(self._text):
            raise _MalformedError("it ends before it is complete")
        mark = self._text[self.position]
        return _MARKS.get(mark, mark)

    def _expect(self, mark: str, meaning: str) -> None:
        found = self._peek()
        if found != mark:
            raise _MalformedError(
                f"expected {meaning}, found '{excerpt(found)}' at character {self.position + 1}"
            )
        self.position += 1

    def _word(self) -> str:
        match = _WORD.match(self._text, self.position)
        if match is None:
            mark = excerpt(self._text[self.position])
            raise _MalformedError(f"expected a value, found '{mark}' at character {self.position + 1}")
        self.position = match.end()
        return _clean(match[0])

    def _scalar(self, word: str) -> Any:
        """What a word without quotes means."""
        if word in _CONSTANTS:
            return _CONSTANTS[word]
        if _NOT_FINITE.fullmatch(word):
            self._notes.add("a number that is none became null", word)
            return None
        if len(word) <= MAX_DIGITS:
            if _INTEGER.fullmatch(word):
                return int(word)
            if _FLOAT.fullmatch(word) and math.isfinite(number := float(word)):
                return number
        self._notes.add("text without quotes", word)
        return word

    def _string(self) -> str:
        """A string in quotes of any kind; a quote within it counts as text where nothing ends behind it."""
        text, opening = self._text, self._text[self.position]
        closing, run = _CLOSERS[opening], _UNESCAPED[opening]
        pieces: list[str] = []
        start = self.position
        self.position += 1
        while True:
            match = run.match(text, self.position)
            if match is None or match.end() >= len(text):
                raise _MalformedError(f"the string at character {start + 1} has no end")
            pieces.append(match[0])
            self.position = match.end() + 1
            if text[match.end()] == "\\":
                pieces.append(self._escape())
            elif _AFTER_STRING.match(text, self.position):
                return _clean("".join(pieces))
            else:
                around = text[max(start, match.end() - 15) : match.end() + 15]
                self._notes.add("a quote within a string was taken for text", around)
                pieces.append(closing)

    def _escape(self) -> str:
        """What stands behind a backslash; one that means nothing is kept."""
        text = self._text
        mark = text[self.position : self.position + 1]
        if octal := _OCTAL.match(text, self.position):
            self.position = octal.end()
            return chr(int(octal[0], 8))
        if (pattern := _HEXADECIMAL.get(mark)) and (digits := pattern.match(text, self.position + 1)):
            self.position = digits.end()
            code = int(digits[0], 16)
            if 0xD800 <= code < 0xDC00 and (low := _LOW_SURROGATE.match(text, self.position)):
                self.position = low.end()
                code = 0x10000 + ((code - 0xD800) << 10) + int(low[1], 16) - 0xDC00
            return chr(code) if code <= 0x10FFFF else "\N{REPLACEMENT CHARACTER}"
        if mark in _ESCAPES:
            self.position += 1
            return _ESCAPES[mark]
        if mark and mark in _ESCAPED_AS_THEY_ARE:
            self.position += 1
            return mark
        return "\\"


def _clean(text: str) -> str:
    """Lone surrogates, which no file holds, become replacement characters."""
    return _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", text)
