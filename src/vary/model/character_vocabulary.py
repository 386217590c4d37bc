"""vary-nano's vocabulary: one token for each character, in a `.tiktoken` file.

A line reader must spell, not guess words, so every known character is one token and any other character is
written as its UTF-8 bytes.  The order is chosen so that a prefix of the table is a vocabulary of its own:

====================  ==================================================================================
ids                   tokens
====================  ==================================================================================
0 .. 15               special tokens (`vary.model.tokenization.NANO_SPECIAL_TOKENS`), not in the file
16 .. 271             the 256 bytes: printable ASCII, the line feed, then the others in ascending order
272 .. 511            Latin and Greek letters, typographic punctuation, common symbols
512 ..                rarer letters and symbols, kana, CJK punctuation, full-width forms
then to 5503          the 4,055 most frequent Han characters, the most frequent first
5504 .. 6909          the others of GB 2312's first level, the common ones of mainland China, likewise
then to the end       all others, likewise
====================  ==================================================================================

A checkpoint for English has `LATIN_VOCABULARY_SIZE` rows in its tables; more rows are added when it learns
Chinese, and no id changes.
"""

from __future__ import annotations

import lzma
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from vary.errors import DataError
from vary.model.tokenization import NANO_SPECIAL_TOKENS, write_tiktoken

__all__ = [
    "FIRST_RANK",
    "LATIN_VOCABULARY_SIZE",
    "build_character_vocabulary",
    "rebuild_character_vocabulary",
]

FIRST_RANK = len(NANO_SPECIAL_TOKENS)
"""The id of the first token of the file; the ids below it are special tokens."""

LATIN_VOCABULARY_SIZE = 512
"""The length of the prefix that holds the special tokens, the bytes and the Latin part."""

_LATIN_PART = (
    # typographic punctuation
    "–—‘’“”„‚…•†‡‹›‰′″⁄ﬁﬂ"
    # Latin-1 punctuation and symbols
    "¡¢£¥§©«¬®°±²³¶·¹»¼½¾¿×÷ªºµ"
    # Latin-1 letters
    "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝÞßàáâãäåæçèéêëìíîïðñòóôõöøùúûüýþÿ"
    # the letters of Latin Extended-A that living European languages and pinyin write
    "ĀāĂăĄąĆćČčĎďĐđĒēĖėĘęĚěĞğĪīİıŁłŃńŇňŌōŐőŒœŘřŚśŞşŠšŤťŪūŮůŰűŸŹźŻżŽž"
    # Greek, without the capitals that look like Latin ones
    "ΓΔΘΛΞΠΣΦΨΩαβγδεζηθικλμνξοπρςστυφχψω"
    # symbols: currency, marks, arrows, mathematics, bullets
    "€™←↑→↓↔⇒−≈≠≤≥∞∑∏√∂∇∫∈∀∃■□●○▪►◆★✓─│"
)
"""Exactly the `LATIN_VOCABULARY_SIZE - FIRST_RANK - 256` characters that follow the bytes."""

_FURTHER_LETTERS = (
    # the rest of Latin-1 and of Latin Extended-A, and the letters that Romanian and pinyin add
    "¤¦¨¯´¸ĈĉĊċĔĕĜĝĞĠġĢģĤĥĦħĨĩĬĭĮįĲĳĴĵĶķĸĹĺĻļĽľĿŀŅņŉŊŋŎŏŔŕŖŗŜŝŢţŦŧŨũŬŭŲųŴŵŶŷſ"
    "ȘșȚțǍǎǏǐǑǒǓǔǕǖǗǘǙǚǛǜẞ"
    "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧΆΈΉΊΌΎΏΐΪΫάέήίΰϊϋόύώϑϕϵ"
    "ЄІЇҐєіїґЎўЂЃЅЈЉЊЋЌЏђѓѕјљњћќџ"
    "‐‑‒―‖‛‟⁂⁇⁈⁉※№℃℉ℓ℗℠Ωⅆ⅓⅔⅛⅜⅝⅞⁰⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿ₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ﬀﬃﬄ"
    "₠₡₣₤₦₧₨₩₫₭₮₱₲₴₵₸₹₺₽₿￠￡￣￥￦"
    "↔↕↖↗↘↙↦↩↪↵⇐⇑⇓⇔⟨⟩⟵⟶⟷⟹"
    "∀∁∃∄∅∆∇∉∋∌∎∏∓∔∖∗∘∙∛∝∟∠∡∣∤∥∦∧∨∩∪∫∬∭∮∴∵∶∷∸∼∽≃≅≌≍≐≒≔≜≝≟≡≢≦≧≪≫≮≯≺≻⊂⊃⊄⊆⊇⊊⊕⊖⊗⊘⊙⊢⊤⊥⊨⋀⋁⋂⋃⋄⋅⋆⋮⋯⋱⌈⌉⌊⌋⌒"
    "▪▫▬▲△▴▶▷▸►▼▽▾◀◁◂◄◆◇◉◊◎◦★☆☐☑☒☎☞♀♂♠♡♣♥♦♪♫✅✓✔✕✗✘❌❖➔➢➤"
)
"""Further characters of Latin, Greek, Cyrillic and symbol repertoires; GB2312 and the corpora add theirs."""

_FULL_WIDTH = "".join(chr(code) for code in (*range(0x3001, 0x3020), *range(0xFF01, 0xFF5F)))
_CJK_PUNCTUATION = "　·・—…‘’“”《》〈〉「」『』【】〔〕〖〗，。、；：？！（）～"
_MINIMUM_COUNT = 5
_FREQUENT_HAN = 4055
"""Han characters that stand where their frequency in the corpora put them: their ids were trained before it
was seen that the corpora, much of them old books, lack many of today's common characters."""


def build_character_vocabulary(corpora: Iterable[str]) -> list[bytes]:
    """Make the table of tokens, in the order of their ids from `FIRST_RANK` on.

    `corpora` are texts (paragraphs, lines, whole books: only their characters count).  Every character that
    occurs at least five times in them has a token, and so has every character of GB2312, whatever its count.
    Han characters stand last, the most frequent first; behind the `_FREQUENT_HAN` first ones those of GB
    2312's first level come before the others.  The result depends on the counts only, not on the order of the
    texts.
    """
    counts: Counter[str] = Counter()
    for text in corpora:
        counts.update(text)
    wanted = {character for character, count in counts.items() if count >= _MINIMUM_COUNT} | _gb2312(
        0xA1, 0xF7
    )
    wanted = {character for character in wanted if ord(character) > 127 and _is_visible(character)}
    han = sorted(filter(_is_han, wanted), key=lambda character: (-counts[character], ord(character)))
    common = _gb2312(0xB0, 0xD7)
    han[_FREQUENT_HAN:] = sorted(han[_FREQUENT_HAN:], key=lambda character: character not in common)
    others = sorted(character for character in wanted if not _is_han(character))

    single_bytes = [*range(0x20, 0x7F), ord("\n")]
    single_bytes += [value for value in range(256) if value not in single_bytes]
    assert len(_LATIN_PART) == LATIN_VOCABULARY_SIZE - FIRST_RANK - 256, len(_LATIN_PART)
    characters = [*_LATIN_PART, *_CJK_PUNCTUATION, *_FULL_WIDTH, *_FURTHER_LETTERS, *others, *han]
    tokens = [bytes([value]) for value in single_bytes]
    return tokens + [character.encode() for character in dict.fromkeys(characters)]


def rebuild_character_vocabulary(corpus_paths: Iterable[Path], path: Path) -> int:
    """Write `path` (`.tiktoken`) anew from text files (UTF-8, plain or `.xz`); return its number of tokens.

    Raises `DataError` when a corpus is missing or not UTF-8.
    """
    tokens = build_character_vocabulary(_read_corpus(Path(corpus)) for corpus in corpus_paths)
    write_tiktoken(tokens, path, first_rank=FIRST_RANK)
    return len(tokens)


def _read_corpus(path: Path) -> str:
    opener = lzma.open if path.suffix == ".xz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            return file.read()
    except (OSError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise DataError(
            f"cannot read the corpus {path}: {error}; expected UTF-8 text, plain or .xz"
        ) from error


def _gb2312(first: int, last: int) -> set[str]:
    """The characters of some rows of GB 2312, from Python's codec: 94 cells each, not all of them used.

    Rows are 0xA1 to 0xF7; the Han characters of the first level are in rows 0xB0 to 0xD7.
    """
    characters: set[str] = set()
    for row in range(first, last + 1):
        for cell in range(0xA1, 0xFF):
            characters.update(bytes((row, cell)).decode("gb2312", errors="ignore"))
    return characters


def _is_han(character: str) -> bool:
    name = unicodedata.name(character, "")
    return name.startswith(("CJK UNIFIED IDEOGRAPH", "CJK COMPATIBILITY IDEOGRAPH"))


def _is_visible(character: str) -> bool:
    """Whether a character can be seen on paper: no controls, no marks without a letter, no U+FFFD."""
    return character != "\ufffd" and (character == "\u3000" or unicodedata.category(character)[0] in "LNPS")
