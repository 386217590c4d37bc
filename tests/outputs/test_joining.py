"""Clean lines, paragraphs and hyphens (``vary.outputs.text``)."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vary.outputs.text import clean_line, join_lines, split_paragraphs, words_of


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["one", "two"], "one two"),
        ([" one ", "", "two"], "one two"),
        ([], ""),
        (["an exam-", "ple"], "an example"),
        (["an exam\u2010", "ple"], "an example"),
        (["Exam-", "ple."], "Example."),
        (["при-", "мер"], "пример"),
        (["soft\u00ad", "hyphen"], "softhyphen"),
        # The hyphen stays where it may belong to the word.
        (["well-", "known"], "well-known"),
        (["a rule-", "based one"], "a rule-based one"),
        (["state-of-the-", "art"], "state-of-the-art"),
        (["Anglo-", "Saxon"], "Anglo-Saxon"),
        (["COVID-", "like"], "COVID-like"),
        (["e-", "mail"], "e-mail"),
        (["1990-", "1995"], "1990-1995"),
        (["covid-", "19"], "covid-19"),
        (["so-", "called"], "so-called"),
        (["short-", "age"], "shortage"),
        (["two-", "and three-storey"], "two- and three-storey"),
        # A dash is no hyphen.
        (["this -", "that"], "this - that"),
        (["this \u2013", "that"], "this \u2013 that"),
        (["word\u2014", "word"], "word\u2014word"),
        (["either/", "or"], "either/or"),
        (["-", "a"], "- a"),
        (["x--", "y"], "x-- y"),
        # Scripts without blanks between words.
        (["使用本软件", "处理文件"], "使用本软件处理文件"),
        (["他说，", "“你好”"], "他说，“你好”"),
        (["我们使用", "Python 编程"], "我们使用Python 编程"),
        (["in Python 3，", "we call it 蛇"], "in Python 3， we call it 蛇"),
        (["日本語の", "テスト"], "日本語のテスト"),
        (["ภาษา", "ไทย"], "ภาษาไทย"),
        (["한국어", "문장"], "한국어 문장"),
    ],
)
def test_lines_become_a_paragraph(lines: list[str], expected: str) -> None:
    assert join_lines(lines) == expected


def test_words_seen_elsewhere_decide() -> None:
    assert join_lines(["the co-", "operation"], words_of("their co-operation")) == "the co-operation"
    assert join_lines(["a well-", "known"], words_of("Wellknown")) == "a wellknown"
    assert join_lines(["the air-", "craft"], words_of("Aircraft, air-craft")) == "the aircraft"


def test_words_of() -> None:
    assert words_of("State-of-the-art, 3 cats' eyes_2") == {"state-of-the-art", "cats", "eyes"}


@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cc", "Cs"]), max_size=20), max_size=6))
def test_joining_loses_nothing_but_hyphens_and_blanks(lines: list[str]) -> None:
    def core(text: str) -> list[str]:
        return [c for c in text if not c.isspace() and c not in "-\u2010\u00ad"]

    assert core(join_lines(lines)) == core("".join(lines))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  e\u0301te\u0301 ", "été"),
        ("a\tb\r\nc", "a b c"),
        ("a\x00b\x1bc\ufeff", "abc"),
        ("a\ud800b", "a\ufffdb"),
        ("全角，ＡＢＣ　１２", "全角，ＡＢＣ　１２"),
        ("שָׁלוֹם", unicodedata.normalize("NFC", "שָׁלוֹם")),
        ("a  b", "a  b"),
    ],
)
def test_clean_line(text: str, expected: str) -> None:
    assert clean_line(text) == expected


@given(st.text())
def test_a_clean_line_is_one_line_in_nfc(text: str) -> None:
    line = clean_line(text)
    assert len(line.splitlines()) <= 1
    assert unicodedata.is_normalized("NFC", line)
    assert clean_line(line) == line
    assert "\x00" not in line


def test_split_paragraphs() -> None:
    assert split_paragraphs("\n\na\nb\n \n\nc\r\nd\n") == [["a", "b"], ["c", "d"]]
    assert split_paragraphs("") == []
