"""Text to paint: paragraphs of text files, one paragraph a line, cleaned and told apart by language."""

from __future__ import annotations

import hashlib
import lzma
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vary.errors import DataError

__all__ = [
    "LANGUAGES",
    "Corpus",
    "Paragraph",
    "clean_text",
    "file_sha256",
    "is_han",
    "language_of",
    "read_paragraphs",
]

LANGUAGES = ("en", "zh")
_CONTROL = re.compile(
    r"[\u0000-\u0008\u000e-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u202a-\u202e\u2060\ufeff\ufffd]"
)
_HAN_SHARE = 0.2
FEWEST_PARAGRAPHS = 8
"""In how many paragraphs a character is found that is worth looking for: others are slips, or names."""


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A cleaned paragraph and where it comes from: `source` is `file name#line number` (from 1)."""

    text: str
    source: str
    language: str


def is_han(character: str) -> bool:
    """Whether a character is a CJK ideograph."""
    code = ord(character)
    return (
        0x4E00 <= code <= 0x9FFF
        or 0x3400 <= code <= 0x4DBF
        or 0x20000 <= code <= 0x323AF
        or 0xF900 <= code <= 0xFAFF
    )


def clean_text(text: str) -> str:
    """NFC, without control and invisible characters, every run of white space one blank, none at the ends."""
    return " ".join(_CONTROL.sub("", unicodedata.normalize("NFC", text)).split())


def language_of(text: str) -> str:
    """`zh` where at least a fifth of the visible characters are Han, else `en`."""
    visible = [character for character in text if not character.isspace()]
    han = sum(map(is_han, visible))
    return "zh" if visible and han >= _HAN_SHARE * len(visible) else "en"


def read_paragraphs(path: str | Path) -> Iterator[Paragraph]:
    """The paragraphs of a `.txt` or `.txt.xz` file, UTF-8, one a line; empty lines are skipped.

    Raises `DataError`, naming the file, when it cannot be read.
    """
    path = Path(path)
    opener = lzma.open if path.suffix == ".xz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                text = clean_text(line)
                if text:
                    yield Paragraph(text, f"{path.name}#{number}", language_of(text))
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file; check the name and the current folder") from error
    except (OSError, EOFError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable UTF-8 text file (.txt or .txt.xz), {error}") from error


def file_sha256(path: str | Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read, {error}") from error


@dataclass(frozen=True)
class Corpus:
    """All paragraphs of some files, by language, in the order of the files."""

    paragraphs: dict[str, tuple[Paragraph, ...]]

    @cached_property
    def places(self) -> dict[str, dict[str, NDArray[np.int32]]]:
        """By language and visible character, in the order of the characters, the numbers of the paragraphs
        that have it, where those are `FEWEST_PARAGRAPHS` or more."""
        found: dict[str, dict[str, NDArray[np.int32]]] = {}
        for language, paragraphs in self.paragraphs.items():
            lists: dict[str, list[int]] = {}
            for number, paragraph in enumerate(paragraphs):
                for character in set(paragraph.text):
                    lists.setdefault(character, []).append(number)
            found[language] = {
                character: np.array(lists[character], np.int32)
                for character in sorted(lists)
                if character != " " and len(lists[character]) >= FEWEST_PARAGRAPHS
            }
        return found

    @classmethod
    def load(cls, files: Iterable[str | Path], languages: Iterable[str] = ("en",)) -> Corpus:
        """Read `files` and keep the paragraphs of `languages`.

        Raises `DataError` for an unknown language and for one without a single paragraph.
        """
        wanted = tuple(languages)
        unknown = sorted(set(wanted) - set(LANGUAGES))
        if unknown or not wanted:
            raise DataError(f"languages {list(wanted)}: expected some of {list(LANGUAGES)}")
        files = [Path(file) for file in files]
        kept: dict[str, list[Paragraph]] = {language: [] for language in wanted}
        for file in files:
            for paragraph in read_paragraphs(file):
                if paragraph.language in kept:
                    kept[paragraph.language].append(paragraph)
        found = [language for language, paragraphs in kept.items() if paragraphs]
        for language, paragraphs in kept.items():
            if not paragraphs:
                names = ", ".join(str(file) for file in files) or "no file"
                raise DataError(
                    f"no paragraph in language {language!r} in {names}: give a corpus file that has some, or "
                    f"languages without it ({', '.join(found) or 'there are none'})"
                )
        return cls({language: tuple(paragraphs) for language, paragraphs in kept.items()})
