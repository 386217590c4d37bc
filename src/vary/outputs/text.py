"""Text as people expect it: clean lines, and lines joined to paragraphs."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Set

__all__ = ["clean_line", "join_lines", "source_line", "split_paragraphs", "split_source", "words_of"]

_CONTEXT = 100  # characters on each side that decide how two lines join
_SOFT_HYPHEN = "\N{SOFT HYPHEN}"
_HYPHENS = "-\N{HYPHEN}"
_WORD = re.compile(r"[^\W\d_]+(?:[-\u2010][^\W\d_]+)*")
_BROKEN_WORD = re.compile(r"([^\W\d_]+(?:[-\u2010][^\W\d_]+)*)[-\u2010]$")
_FIRST_WORD = re.compile(r"[^\W\d_]+")
_DROPPED = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ufeff]")
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\ufeff]")
_LINE_BREAKS = re.compile(r"\s*[\t\n\x0b\x0c\r\x1c-\x1f\x85\u2028\u2029]+\s*")
_SURROGATES = re.compile(r"[\ud800-\udfff]")

_CONJUNCTIONS = frozenset({"and", "or", "to", "und", "oder", "et", "ou", "y", "o", "e"})
"""After a hyphen that stands for the rest of a word: ``two- and three-storey``."""

# One word a line, as the formatter would have them, they would fill a page.
# fmt: off
_COMPOUND_FIRST = frozenset({
    "cross", "full", "half", "high", "long", "low", "mid", "multi", "near", "non", "self", "semi", "short",
    "well", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
})
_COMPOUND_LAST = frozenset({
    "based", "driven", "fold", "friendly", "known", "like", "minded", "old", "oriented", "related", "scale",
    "shaped", "sized", "speaking", "specific", "term",
})
"""Parts of words that keep their hyphen more often than not: ``well-known``, ``rule-based``."""
_COMPOUNDS = frozenset({
    "first-class", "full-time", "left-hand", "part-time", "real-time", "right-hand", "so-called",
    "state-owned", "two-thirds", "world-wide", "year-old",
})
_ENDINGS = frozenset({"age", "ed", "en", "er", "est", "ing", "less", "ly", "ment", "ness"})
"""No words of their own, so no parts of a compound: ``short-age``."""
# fmt: on

_SPACELESS = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x312F),  # CJK radicals, punctuation, kana, Bopomofo
    (0x31A0, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0xFE30, 0xFE4F),
    (0xFF00, 0xFF9F),  # full-width forms, half-width kana; not Hangul
    (0x20000, 0x3FFFF),
)
"""Code points of scripts that put no blank between words."""


def clean_line(text: str) -> str:
    """``text`` as one line in NFC: no control characters, no blanks at the ends.

    Line breaks and tabs inside become a blank; a lone surrogate becomes U+FFFD.
    """
    text = _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", text)
    return _DROPPED.sub("", _LINE_BREAKS.sub(" ", unicodedata.normalize("NFC", text))).strip()


def split_paragraphs(text: str) -> list[list[str]]:
    """The clean lines of a longer text, grouped where empty lines part them."""
    paragraphs: list[list[str]] = [[]]
    for line in map(clean_line, text.splitlines()):
        if line:
            paragraphs[-1].append(line)
        elif paragraphs[-1]:
            paragraphs.append([])
    return [lines for lines in paragraphs if lines]


def source_line(text: str) -> str:
    """A line of source text as it is, indentation and tabs too, but for blanks at its end, control characters
    and lone surrogates.
    """
    return _CONTROLS.sub("", _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", text)).rstrip()


def split_source(text: str) -> list[list[str]]:
    """The lines of Markdown, LaTeX or code, grouped where empty lines part them; indentation stays."""
    paragraphs: list[list[str]] = [[]]
    for line in map(source_line, text.splitlines()):
        if line:
            paragraphs[-1].append(line)
        elif paragraphs[-1]:
            paragraphs.append([])
    return [lines for lines in paragraphs if lines]


def words_of(text: str) -> frozenset[str]:
    """The words of ``text`` in lower case, compounds with their hyphens: evidence for ``join_lines``."""
    return frozenset(match[0].casefold().replace("\u2010", "-") for match in _WORD.finditer(text))


def join_lines(lines: Iterable[str], words: Set[str] = frozenset()) -> str:
    """The lines of a paragraph as one line.

    Between words comes a blank; between Chinese, Japanese or Thai characters comes nothing.  A word that was
    broken by a hyphen is mended where that is likely (lower-case letters on both sides, not a known kind of
    compound); otherwise it keeps its hyphen.  ``words`` (see ``words_of``) are words seen elsewhere, which
    decide before any rule does.
    """
    joined = ""
    for line in map(str.strip, lines):
        if not line:
            continue
        joined = _join(joined, line, words) if joined else line
    return joined


def join_pieces(left: str, right: str) -> str:
    """Two parts of one line, as it stood before it was cut between words or characters."""
    return (
        left + ("" if _spaceless_boundary(left, right) else " ") + right if left and right else left + right
    )


def _join(left: str, right: str, words: Set[str]) -> str:
    if left.endswith(_SOFT_HYPHEN):
        return left.removesuffix(_SOFT_HYPHEN) + right
    if left[-1] in _HYPHENS and left[-2:-1].isalnum() and right[0].isalnum():
        return _join_at_hyphen(left, right, words)
    if left[-1] in "\N{EM DASH}/" and left[-2:-1].isalnum():
        return left + right
    return left + ("" if _spaceless_boundary(left, right) else " ") + right


def _join_at_hyphen(left: str, right: str, words: Set[str]) -> str:
    broken, rest = _BROKEN_WORD.search(left[-_CONTEXT:]), _FIRST_WORD.match(right)
    if broken is None or rest is None:
        return left + right  # digits: 1990-1995
    first, last = broken[1].casefold().replace("\u2010", "-"), rest[0].casefold()
    if last in _CONJUNCTIONS:
        return f"{left} {right}"
    if not (left[-2].islower() and right[0].islower()):
        return left + right
    seen_whole = first + last in words
    compound = f"{first}-{last}"
    seen_compound = compound in words or compound in _COMPOUNDS
    if seen_whole != seen_compound:
        return left[:-1] + right if seen_whole else left + right
    is_compound = "-" in first or first in _COMPOUND_FIRST or last in _COMPOUND_LAST
    is_compound = is_compound and last not in _ENDINGS
    is_soft = not is_compound and len(first) > 1 and len(last) > 1
    return left[:-1] + right if is_soft else left + right


def _spaceless_boundary(left: str, right: str) -> bool:
    sides = _is_spaceless(left[-1]), _is_spaceless(right[0])
    if all(sides) or not any(sides):
        return all(sides)
    letters = [character for character in left[-_CONTEXT:] + right[:_CONTEXT] if character.isalpha()]
    return 2 * sum(map(_is_spaceless, letters)) >= len(letters)


def _is_spaceless(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in _SPACELESS)
