"""Which scripts a text is written in, and so which language it is taken for."""

from __future__ import annotations

import re

__all__ = ["language_of", "script_shares"]

_SCRIPTS = {
    "latin": re.compile(r"[A-Za-zÀ-ÖØ-öø-ɏḀ-ỿ]+(?:['’][A-Za-z]+)?"),
    "han": re.compile(r"[〇㐀-䶿一-鿿豈-﫿\U00020000-\U000323af]"),
    "kana": re.compile(r"[ぁ-ゟァ-ヺー-ヿㇰ-ㇿｦ-ﾟ]"),
    "hangul": re.compile(r"[가-힣ᄀ-ᇿ㄰-㆏]"),
    "cyrillic": re.compile(r"[Ѐ-ԯ]+"),
    "greek": re.compile(r"[Ͱ-Ͽἀ-῿]{2,}"),  # a single letter is a formula's
    "arabic": re.compile(r"[؀-ۿݐ-ݿࢠ-ࣿﭐ-﷿ﹰ-ﻼ]+"),
    "hebrew": re.compile(r"[֐-׿]+"),
    "indic": re.compile(r"[ऀ-ෟ]+"),
    "thai": re.compile(r"[฀-๿]+"),
}
_MOST_OF_ENGLISH = 0.05
_LEAST_OF_CHINESE = 0.7
_MOST_OF_OTHERS = 0.2


def script_shares(text: str) -> dict[str, float]:
    """The share of each script in `text`, of 1 in all; empty where it has no letters.

    What counts is a word of a script that writes words, a character of one that does not.
    """
    counts = {name: len(pattern.findall(text)) for name, pattern in _SCRIPTS.items()}
    total = sum(counts.values())
    return {name: count / total for name, count in counts.items() if count}


def language_of(text: str) -> str:
    """`en` (anything in Latin letters, and what has no letters), `zh`, `mixed` of both, or `other`."""
    shares = script_shares(text)
    han, latin = shares.get("han", 0.0), shares.get("latin", 0.0)
    if shares and 1.0 - han - latin > _MOST_OF_OTHERS:
        return "other"
    if han <= _MOST_OF_ENGLISH:
        return "en"
    return "zh" if han >= _LEAST_OF_CHINESE else "mixed"
