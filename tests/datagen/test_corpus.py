"""Paragraphs: cleaned, told apart by language, refused with the file's name."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest

from vary.datagen.corpus import Corpus, clean_text, language_of, read_paragraphs
from vary.errors import DataError


def test_text_is_normalised_and_single_spaced() -> None:
    assert clean_text("  cafe\u0301\u00a0 au\u200b lait\t\u0007now \ufeff") == "caf\u00e9 au lait now"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("plain words", "en"),
        ("中文句子", "zh"),
        ("TiDB 是数据库", "zh"),
        ("a long English sentence with 一 sign", "en"),
    ],
)
def test_language(text: str, language: str) -> None:
    assert language_of(text) == language


def test_reads_text_and_xz_and_names_lines(tmp_path: Path) -> None:
    plain, packed = tmp_path / "a.txt", tmp_path / "b.txt.xz"
    plain.write_text("one\n\n  three \n", encoding="utf-8")
    packed.write_bytes(lzma.compress(b"vier\n"))
    found = [(p.text, p.source) for path in (plain, packed) for p in read_paragraphs(path)]
    assert found == [("one", "a.txt#1"), ("three", "a.txt#3"), ("vier", "b.txt.xz#1")]


@pytest.mark.parametrize(
    ("content", "reason"), [(b"\xff\xfe\x00bad", "not a readable UTF-8"), (None, "there is no such file")]
)
def test_unreadable_corpus_is_named(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "broken.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=rf"broken\.txt: {reason}"):
        list(read_paragraphs(path))


def test_broken_xz_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.txt.xz"
    path.write_bytes(lzma.compress(b"text " * 5000)[:-20])
    with pytest.raises(DataError, match="broken"):
        list(read_paragraphs(path))


def test_a_language_without_text_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "en.txt"
    path.write_text("only English here\n", encoding="utf-8")
    with pytest.raises(DataError, match="'zh'"):
        Corpus.load([path], ["en", "zh"])
    with pytest.raises(DataError, match="klingon"):
        Corpus.load([path], ["klingon"])
