"""Why a PDF page is not learned from: no true text layer, a broken encoding, another language, odd text."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from vary.datagen.pdf.config import PdfConfig
from vary.datagen.pdf.text_layer import MAX_CHARACTERS, PageText, Word
from vary.datagen.scripts import language_of, script_shares

__all__ = ["language_reason", "layer_reason", "text_reason", "unseen_share"]

_SCAN = 0.5
"""An image that covers more of a page without text, or with text that nobody sees, is a scan."""
_INVISIBLE = 0.1
_DOWNWARDS = 0.2
_MOST_WORDS = 200
_LEAST_CONTRAST = 24
"""Gray levels within a word's box, of 255: less than this is no ink."""

_MOJIBAKE = re.compile(
    "[ÃÂ][\u0080-\u00bf]|â€[\u0080-\u00bf\u2018-\u2022™œž¢]|ï»¿|ï¿½|[\u00a1-\u00ff]{4,}|锟斤拷|烫烫|屯屯"
)
"""UTF-8 read as Latin-1 or Windows-1252, GBK as Latin-1, and what comes of doing so twice."""
_CID = re.compile(r"\(cid:\d+\)")
_LETTERS = re.compile(r"[a-z]")
_VOWELS = re.compile(r"[aeiouy]")
_CAPITAL_WITHIN = re.compile(r"[a-z][A-Z]|[A-Z]{2}[a-z]")


def layer_reason(page: PageText, config: PdfConfig) -> str | None:
    """What is wrong with a text layer as such, or None; before anything is painted."""
    characters = page.counts["characters"]
    if characters > MAX_CHARACTERS:
        return "too much text"
    scan = page.image_share > _SCAN
    if characters < config.min_characters:
        return "scan without text" if scan else "no text" if not characters else "too little text"
    if page.share("invisible") > _INVISIBLE:
        return "recognised text over a scan" if scan else "invisible text"
    if page.share("private") + page.share("unmapped") > config.max_broken_share:
        return "broken encoding: glyphs without a character"
    if page.share("turned") > config.max_turned_share:
        return "turned text"
    if page.share("downwards") > _DOWNWARDS:
        return "text from top to bottom"
    return None


def text_reason(text: str, config: PdfConfig) -> str | None:
    """What is wrong with a page's text, or None."""
    letters = len("".join(text.split()))
    if letters < config.min_characters:
        return "too little text"
    if len(text) > config.max_characters:
        return "too much text"
    if sum(map(len, _CID.findall(text))) > config.max_broken_share * letters:
        return "broken encoding: (cid:..)"
    if sum(map(len, _MOJIBAKE.findall(text))) > max(config.max_broken_share * letters, 4):
        return "broken encoding: bytes read in another encoding"
    if _is_gibberish(text):
        return "broken encoding: letters that make no words"
    return language_reason(text, config)


def language_reason(text: str, config: PdfConfig) -> str | None:
    """`language X` where a text is in none of the languages asked for, or has too much of other scripts."""
    language = language_of(text)
    known = {*config.languages, "mixed"} if {"en", "zh"} <= set(config.languages) else set(config.languages)
    if language not in known:
        return f"language {language}"
    scripts = {"latin"} | ({"han"} if "zh" in known or "mixed" in known else set())
    foreign = sum(share for script, share in script_shares(text).items() if script not in scripts)
    return "language other" if foreign > config.max_foreign_share else None


def _is_gibberish(text: str) -> bool:
    """Whether Latin letters stand as no language has them: glyph numbers taken for letters give such text."""
    small = len(_LETTERS.findall(text))
    if small < 150:
        return False
    vowels = len(_VOWELS.findall(text)) / small
    return not 0.25 < vowels < 0.6 or len(_CAPITAL_WITHIN.findall(text)) > 0.15 * small


def unseen_share(words: tuple[Word, ...], gray: NDArray[np.uint8]) -> float:
    """The share of words in whose boxes the painted page (H, W) shows no ink: white on white, covered, cut.

    Two hundred words are looked at, evenly over the page.
    """
    if not words:
        return 0.0
    step = max(len(words) // _MOST_WORDS, 1)
    looked_at = words[::step]
    unseen = 0
    height, width = gray.shape
    for word in looked_at:
        left, top, right, bottom = word.ink
        part = gray[
            max(int(top), 0) : min(int(np.ceil(bottom)) + 1, height),
            max(int(left), 0) : min(int(np.ceil(right)) + 1, width),
        ]
        unseen += part.size == 0 or int(part.max()) - int(part.min()) < _LEAST_CONTRAST
    return unseen / len(looked_at)
