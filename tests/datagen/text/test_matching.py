"""Glyphs against the text they should be: what is found, what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from typeset_pages import document, page, paragraph
from vary.datagen.text.content import Block, Marginals, Span, spans
from vary.datagen.text.matching import Matcher, PageMismatch


def test_lines_words_and_their_boxes() -> None:
    matched = Matcher(document(paragraph("one two three four"))).match(
        page((50, "one two"), (66, "three four"))
    )
    assert [line.text for line in matched.lines] == ["one two", "three four"]
    assert [word.text for line in matched.lines for word in line.words] == ["one", "two", "three", "four"]
    assert matched.lines[0].box == (20, 50, 54, 58)
    assert matched.lines[1].words[1].box == (50, 66, 69, 74)


def test_a_broken_word_is_known_as_one() -> None:
    matched = Matcher(document(paragraph("a wonderful day"))).match(page((50, "a won-"), (66, "derful day")))
    assert [line.text for line in matched.lines] == ["a won-", "derful day"]
    assert [line.broken for line in matched.lines] == [True, False]
    assert [word.text for word in matched.lines[0].words] == ["a", "won-"]


def test_a_hyphen_of_the_text_is_no_broken_word() -> None:
    matched = Matcher(document(paragraph("well-known"))).match(page((50, "well-"), (66, "known")))
    assert [line.broken for line in matched.lines] == [False, False]


def test_chinese_words_end_where_the_writing_changes() -> None:
    matched = Matcher(document(paragraph("使用TiDB查询，然后执行。"))).match(
        page((50, "使用TiDB查询，然后执行。"))
    )
    assert [word.text for word in matched.lines[0].words] == ["使用", "TiDB", "查询，", "然后执行。"]


def test_pages_go_on_where_the_one_before_ended() -> None:
    matcher = Matcher(
        document(paragraph("one two three"), footer=Marginals(centre="- {page} -"), first_page=7)
    )
    first = matcher.match(page((50, "one"), (270, "- 7 -")))
    second = matcher.match(page((50, "two three"), (270, "- 8 -")))
    assert [line.area for line in first.lines] == ["body", "footer"]
    assert [line.text for line in second.lines] == ["two three", "- 8 -"]
    assert matcher.finished


def test_headers_differ_by_page_and_are_checked() -> None:
    made = document(
        paragraph("x y"), header=Marginals(left="odd"), header_even=Marginals(left="even"), first_page=2
    )
    assert [line.text for line in Matcher(made).match(page((20, "even"), (50, "x"))).lines] == ["even", "x"]
    with pytest.raises(PageMismatch, match="header differs"):
        Matcher(made).match(page((20, "odd"), (50, "x")))


def test_footnotes_stand_after_the_text_that_has_their_marks() -> None:
    block = Block("paragraph", ((Span("one."), Span("1", "mark"), Span(" two")),))
    made = document(block, notes={1: spans("a note")})
    matched = Matcher(made).match(page((50, "one.1 two"), (200, "1 a note")))
    assert [(line.area, line.text) for line in matched.lines] == [("body", "one.1 two"), ("note", "1a note")]
    assert [word.text for word in matched.lines[0].words] == ["one.", "1", "two"]
    with pytest.raises(PageMismatch, match="footnote missing"):
        Matcher(made).match(page((50, "one.1 two")))


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (((50, "one tw o three"), (66, "more")), "text differs"),  # a word too many
        (((50, "one three"),), "text differs"),  # a word missing
        (((50, "one t-wo three"),), "text differs"),  # a hyphen inside a line
        (((50, "ome two"),), "text differs"),
        (((50, "one two"), (54, "three")), "lines overlap"),
        (((50, "one two"), (270, "9")), "footer differs"),
        ((), "no text"),
    ],
)
def test_what_is_not_the_text_is_refused(rows: tuple[tuple[float, str], ...], reason: str) -> None:
    with pytest.raises(PageMismatch, match=reason):
        Matcher(document(paragraph("one two three"))).match(page(*rows))


def test_text_that_leaves_the_page_is_refused() -> None:
    with pytest.raises(PageMismatch, match="off the page"):
        Matcher(document(paragraph("one two three"))).match(page((50, "one two three"), width=20))


def test_a_glyph_without_ink_is_a_missing_one() -> None:
    glyphs = page((50, "one two"))
    glyphs.ink[2, 2:] = glyphs.ink[2, :2]
    with pytest.raises(PageMismatch, match="glyph without ink"):
        Matcher(document(paragraph("one two"))).match(glyphs)


def test_a_few_glyphs_may_have_no_name_and_no_more() -> None:
    made = document(paragraph("abcdefg abc"))
    glyphs = page((50, "abcdefg abc"))
    few = replace(glyphs, text="\0" + glyphs.text[1:])
    assert Matcher(made).match(few).lines[0].text == "abcdefg abc"
    many = replace(glyphs, text="\0" * 7 + glyphs.text[7:])
    with pytest.raises(PageMismatch, match="text differs"):
        Matcher(made).match(many)


def test_compatible_characters_and_ligatures_are_the_same() -> None:
    made = document(paragraph("ﬁve ‐ µ"))
    assert Matcher(made).match(page((50, "five - μ"))).lines[0].text == "ﬁve ‐ µ"


def test_the_second_of_two_hyphens_at_the_end_of_a_line_is_not_lost() -> None:
    """PDFium drops it from the text; the page shows it."""
    matched = Matcher(document(paragraph("one -- and two"))).match(page((50, "one -"), (66, "and two")))
    assert [line.text for line in matched.lines] == ["one --", "and two"]
    assert [word.text for word in matched.lines[0].words] == ["one", "--"]
