"""Text and Markdown renderings, and the table of formats."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from vary.errors import DocumentError
from vary.outputs.document import Block, Box, Document, Line, Page
from vary.outputs.render import FORMATS, render
from vary.outputs.text import clean_line

COMMONMARK = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def block(*texts: str, kind: str = "paragraph", height: float | None = None) -> Block:
    box = None if height is None else Box(0, 0, 100, height)
    return Block([Line(text, box=box) for text in texts], kind)


def document(*blocks: Block, **options: Any) -> Document:
    return Document("a.png", (Page(1, 1000, 1000, "a.png", blocks=blocks, **options),))


def three_pages() -> Document:
    return Document(
        "a.pdf",
        (
            Page(1, 100, 100, "a.pdf", blocks=[block("First", "page")]),
            Page(2, 0, 0, "a.pdf", status="failed", message="page 2 of a.pdf: broken --> sorry"),
            Page(3, 100, 100, "a.pdf", status="blank"),
            Page(4, 100, 100, "a.pdf", status="truncated", blocks=[block("Last")]),
        ),
    )


def test_formats() -> None:
    assert FORMATS == {"text": ".txt", "markdown": ".md", "json": ".json", "csv": ".csv"}
    assert render(three_pages()) == render(three_pages(), "text")
    assert Document.from_json(render(three_pages(), "json")) == three_pages()
    assert json.loads(render(three_pages(), "json"))["pages"][1]["status"] == "failed"
    assert render(three_pages(), "markdown") == three_pages().markdown()
    with pytest.raises(DocumentError, match="no format 'html'; choose one of text, markdown, json, csv"):
        render(three_pages(), "html")


def test_text() -> None:
    assert render(three_pages(), "text") == "First\npage\n\nLast\n"
    assert render(three_pages(), "text", page_breaks=True) == "First\npage\n\f\f\fLast\n"
    assert render(Document("a"), "text") == ""


def test_markdown_pages() -> None:
    assert render(three_pages(), "markdown") == (
        "First page\n\n<!-- page 2: failed: page 2 of a.pdf: broken - -> sorry -->\n\n"
        "<!-- page 4: truncated -->\n\nLast\n"
    )
    assert render(three_pages(), "markdown", page_breaks=True) == (
        "<!-- page 1 -->\n\nFirst page\n\n"
        "<!-- page 2: failed: page 2 of a.pdf: broken - -> sorry -->\n\n"
        "<!-- page 3 -->\n\n<!-- page 4: truncated -->\n\nLast\n"
    )
    assert render(Document("a"), "markdown") == ""


@given(st.text(alphabet="->! a\n<", max_size=12))
def test_no_message_ends_its_comment(message: str) -> None:
    source = render(document(status="failed", message=message), "markdown")
    tokens = COMMONMARK.parse(source)
    assert [token.type for token in tokens] == ["html_block"]
    assert source.index("-->") == len(source) - 4


def test_markdown_blocks() -> None:
    read = document(
        block("A Study of", "Things", kind="heading", height=40),
        block("An exam-", "ple of", "text.", height=20),
        block("Method", kind="heading", height=24),
        block("Road 1", "12345 Town", kind="text", height=20),
        block("| a |", "|---|", kind="markdown"),
        block("", " "),
        block("中文的", "段落", height=20),
    )
    assert render(read, "markdown") == (
        "# A Study of Things\n\nAn example of text.\n\n## Method\n\n"
        "Road 1  \n12345 Town\n\n| a |\n|---|\n\n中文的段落\n"
    )


def test_headings_without_boxes_or_body_are_of_the_second_level() -> None:
    assert render(document(block("Title", kind="heading"), block("text")), "markdown").startswith(
        "## Title\n"
    )
    assert render(document(block("Title", kind="heading", height=90)), "markdown") == "## Title\n"


def test_heading_levels_do_not_depend_on_the_scan_resolution() -> None:
    large = Page(
        1, 2000, 2000, "a", blocks=[block("Title", kind="heading", height=60), block("b", height=60)]
    )
    small = Page(2, 500, 500, "a", blocks=[block("Title", kind="heading", height=30), block("b", height=15)])
    assert render(Document("a", (large, small)), "markdown") == "## Title\n\nb\n\n# Title\n\nb\n"


def test_words_of_the_document_mend_its_hyphens() -> None:
    read = document(block("the co-", "operation"), block("a co-operation"))
    assert render(read, "markdown") == "the co-operation\n\na co-operation\n"


@pytest.mark.parametrize(
    "text",
    [
        "2 * 3 = 6",
        "snake_case_name",
        "a_b, c_d",
        "5 < 6 and 7 > 3",
        "AT&T & Co.",
        "C# and F#",
        "Total: $5.00 (10%)",
        "[1] Smith, J. (2020).",
        "He said: hello!",
        "~5 and ~6",
        "C:\\Users\\name",
        "the * footnote",
        "-5 degrees",
        "+1 for it",
        "1.5 litres",
        "#hashtag",
        "a | b",
        "e.g. 3.",
        "it`s",
        "“quoted” – ‘text’…",
    ],
)
def test_what_does_not_act_is_not_escaped(text: str) -> None:
    assert render(document(block(text)), "markdown") == f"{text}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("*bold*", r"\*bold\*"),
        ("a _b_ c", r"a \_b\_ c"),
        ("1. One", r"1\. One"),
        ("1986) A year", r"1986\) A year"),
        ("- item", r"\- item"),
        ("# 5", r"\# 5"),
        ("> 5", r"\> 5"),
        ("<b>", r"\<b>"),
        ("&amp;", r"\&amp;"),
        ("[a](b)", r"[a\](b)"),
        ("`a`", r"\`a\`"),
        ("a\\*b", "a\\\\*b"),
        ("---", r"\---"),
        ("_____", r"\_____"),
    ],
)
def test_what_acts_is_escaped(text: str, expected: str) -> None:
    assert render(document(block(text)), "markdown") == f"{expected}\n"


def shown(source: str) -> list[tuple[str, str]]:
    """The blocks that a Markdown reader shows: kind and plain text; anything but text inside is named."""
    found, kind = [], ""
    for token in COMMONMARK.parse(source):
        if token.type == "inline":
            pieces = []
            for child in token.children or []:
                if child.type in {"text", "text_special"}:
                    pieces.append(child.content)
                elif child.type == "hardbreak":
                    pieces.append("\n")
                else:
                    pieces.append(f"<{child.type}>")
            found.append((kind, "".join(pieces)))
        elif token.type in {"paragraph_open", "heading_open"}:
            kind = token.tag
        elif not token.type.endswith("_close"):
            found.append((token.type, token.content))
    return found


marked_text = st.text(
    alphabet=st.sampled_from("ab1 *_`~#>-+=.)(][!<&;:|\\/\"'x?中，"), min_size=1, max_size=14
) | st.lists(
    st.sampled_from(
        ["**", "a", " ", "[x](y)", "<b>", "&lt;", "1. ", "---", "```", "| - |", "\\", "~~", "_", "***"]
    ),
    min_size=1,
    max_size=6,
).map("".join)


@settings(deadline=None, max_examples=500)
@given(st.lists(marked_text, min_size=1, max_size=3), st.sampled_from(["paragraph", "text", "heading"]))
@example(["a", "==="], "text")
@example(["| a |", "| - |"], "text")
@example(["a:", "b", ":-"], "text")
@example(["[a]: b"], "paragraph")
@example(["~~~"], "paragraph")
@example(["a #"], "heading")
@example(["#"], "heading")
@example(["a\\", "b"], "text")
@example(["<div"], "paragraph")
@example(["**a", "b**"], "text")
@example(["* * *"], "paragraph")
@example(["a*b*"], "paragraph")
@example(["[a[b]](c)"], "paragraph")
def test_a_markdown_reader_shows_the_very_text(lines: list[str], kind: str) -> None:
    cleaned = [line for line in map(clean_line, lines) if line]
    if kind != "text":
        cleaned = cleaned[:1]
    source = render(document(block(*cleaned, kind=kind)), "markdown")
    if not cleaned:
        assert source == ""
        return
    tag = {"heading": "h2"}.get(kind, "p")
    assert shown(source) == [(tag, "\n".join(cleaned))]
