"""Text while its ids arrive: whole characters, and together the text of all ids."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkpoints import SPECIAL, byte_tokenizer
from vary.engine.streaming import TextPieces, text_guard

TOKENIZER = byte_tokenizer()


def decode(ids: Sequence[int]) -> str:
    return str(TOKENIZER.decode(list(ids), skip_special_tokens=True))


def with_word_marks(ids: Sequence[int]) -> str:
    """A tokenizer that drops the blank before the first word, as some do."""
    return "".join(f" word{number}" for number in ids).lstrip()


def pieces_of(ids: Sequence[int], make: Callable[[Sequence[int]], str], sizes: Sequence[int]) -> list[str]:
    pieces, found, start = TextPieces(make), [], 0
    for size in [*sizes, len(ids)]:
        found.append(pieces.feed(ids[start : start + size]))
        start += size
    return [*found, pieces.rest()]


SIZES = st.lists(st.integers(1, 5), max_size=60)


@given(text=st.text(), sizes=SIZES)
def test_pieces_of_text_are_whole_characters_and_lose_nothing(text: str, sizes: list[int]) -> None:
    found = pieces_of(list(text.encode("utf-8", "replace")), decode, sizes)
    assert "".join(found) == text.encode("utf-8", "replace").decode()
    if "\ufffd" not in text:
        assert all("\ufffd" not in piece for piece in found)


@given(ids=st.lists(st.integers(0, 255) | st.sampled_from(sorted(SPECIAL.values()))), sizes=SIZES)
def test_pieces_of_anything_are_the_text_of_all_ids(ids: list[int], sizes: list[int]) -> None:
    assert "".join(pieces_of(ids, decode, sizes)) == decode(ids)


@given(ids=st.lists(st.integers(0, 9)), sizes=SIZES)
def test_words_keep_the_blanks_between_them(ids: list[int], sizes: list[int]) -> None:
    assert "".join(pieces_of(ids, with_word_marks, sizes)) == with_word_marks(ids)


def test_a_character_comes_with_its_last_byte() -> None:
    pieces = TextPieces(decode)
    assert [pieces.feed([byte]) for byte in "a漢é".encode()] == ["a", "", "", "漢", "", "é"]
    assert pieces.feed([0xE6]) == ""
    assert pieces.rest() == "\ufffd"
    assert pieces.rest() == ""


@pytest.mark.parametrize("text", ["no end " * 300, "漢字" * 700])
def test_the_guard_hears_text_of_several_bytes_a_character(text: str) -> None:
    guard = text_guard(decode)
    ids = list(text.encode())
    places = [place for place, token in enumerate(ids) if guard([token]) is not None]
    assert places
    finding = guard([0])
    assert finding is not None
    assert decode(ids[: finding.keep_tokens]) in text
    assert "\ufffd" not in decode(ids[: finding.keep_tokens])
