"""Charts, detections and source in Markdown, as a Markdown reader shows them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from vary.outputs.document import Block, Box, Detection, Document, Line, Page
from vary.outputs.render import render
from vary.outputs.text import clean_line

COMMONMARK = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def markdown(block: Block) -> str:
    return render(Document("a.png", (Page(1, 1000, 2000, "a.png", blocks=[block]),)), "markdown")


def shown(token: Token) -> str:
    """What a cell shows; anything but text in it is named."""
    children = token.children or []
    return "".join(c.content if c.type in {"text", "text_special"} else f"<{c.type}>" for c in children)


def table_of(source: str) -> list[list[str]]:
    """The cells of the one table, header first."""
    rows: list[list[str]] = []
    for token in COMMONMARK.parse(source):
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and rows and token.level >= 4:
            rows[-1].append(shown(token))
    return rows


def test_a_chart_is_its_title_and_a_table() -> None:
    data = {"title": "Sales *2020*", "data": {"A": {"x": 1, "y": 2.5}, "B|C": {"x": None}}}
    source = markdown(Block([Line(str(data))], "chart", data=data, note="odd --> note"))
    assert source == (
        "<!-- odd - -> note -->\n\nSales \\*2020\\*\n\n"
        "| series | x | y |\n| --- | --- | --- |\n| A | 1 | 2.5 |\n| B&#124;C |  |  |\n"
    )
    assert table_of(source) == [["series", "x", "y"], ["A", "1", "2.5"], ["B|C", "", ""]]


@pytest.mark.parametrize("content", [{"A": {"x": {"p": 1}}}, {}, {"A": 1, "B": [2]}])
def test_the_json_follows_where_a_table_does_not_say_it_all(content: Any) -> None:
    data = {"title": "", "data": content}
    fences = [t for t in COMMONMARK.parse(markdown(Block((), "chart", data=data))) if t.type == "fence"]
    assert [(fence.info, json.loads(fence.content)) for fence in fences] == [("json", data)]


def test_a_chart_without_values_is_the_words_of_the_model() -> None:
    source = markdown(Block([Line("{'title': 'a',"), Line("  'data': ```")], "chart", note="cut off"))
    assert source == "<!-- cut off -->\n\n````\n{'title': 'a',\n  'data': ```\n````\n"
    assert markdown(Block((), "chart")) == ""


def test_latex_is_fenced() -> None:
    source = markdown(Block([Line(r"\begin{tabular}{c}"), Line("  a & b"), Line(r"\end{tabular}")], "latex"))
    [fence] = COMMONMARK.parse(source)
    assert (fence.info, fence.content) == ("latex", "\\begin{tabular}{c}\n  a & b\n\\end{tabular}\n")


def test_detections_name_their_space() -> None:
    found = [Detection("cat", Box(0, 0, 100.26, 200), 0.876), Detection("_a_ | b", Box(1, 2, 3, 4))]
    source = markdown(Block([Line("cat: ..")], "detection", detections=found))
    assert source.startswith(
        "Boxes: left, top, right, bottom in pixels of the page (1000 x 2000, origin at the top left), and "
        "from 0 to 1000 of its width and height.\n\n| label |"
    )
    assert table_of(source) == [
        ["label", "pixels", "0-1000", "confidence"],
        ["cat", "0, 0, 100.3, 200", "0, 0, 100, 100", "0.88"],
        ["_a_ | b", "1, 2, 3, 4", "1, 1, 3, 2", ""],
    ]


def test_an_answer_without_boxes_is_text() -> None:
    block = Block([Line("There is *no* cat.")], "detection", note="no box was found in the answer")
    assert markdown(block) == "<!-- no box was found in the answer -->\n\nThere is \\*no\\* cat.\n"
    assert markdown(Block((), "detection")) == ""


marked = st.text(alphabet="ab *_`~#|\\<>&[]()!-:\n$", max_size=10) | st.text(max_size=6)


@settings(max_examples=200)
@given(st.lists(marked, min_size=1, max_size=3), marked)
def test_a_markdown_reader_shows_the_very_cells(labels: list[str], title: str) -> None:
    found = [Detection(label, Box(0, 0, 1, 1)) for label in labels]
    rows = table_of(markdown(Block((), "detection", detections=found)))
    assert [row[0] for row in rows[1:]] == [clean_line(label) for label in labels]
    data = {"title": title, "data": dict.fromkeys(labels, 1)}
    rows = table_of(markdown(Block((), "chart", data=data)))
    assert [row[0] for row in rows[1:]] == [clean_line(label) for label in dict.fromkeys(labels)]
