"""Charts and detections as CSV, read back with the csv module."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vary.errors import DocumentError
from vary.outputs.answers.tables import DETECTION_COLUMNS
from vary.outputs.document import Block, Box, Detection, Document, Line, Page, Provenance
from vary.outputs.render import render

CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def page(number: int, *blocks: Block, **options: Any) -> Page:
    return Page(number, 1000, 1000, "a.pdf", blocks=blocks, **options)


def document(*pages: Page, task: str = "") -> Document:
    return Document("a.pdf", pages, Provenance(task=task))


def chart(data: Any, text: str = "{}") -> Block:
    return Block([Line(text)], "chart", data=data)


def found(*labels: str) -> Block:
    return Block(
        [Line("x")], "detection", detections=[Detection(label, Box(0, 0, 500, 1000)) for label in labels]
    )


def test_a_chart() -> None:
    data = {"title": "T", "data": {"A": {"x": 1, "y, z": 2.5}, "B": {"x": None}}}
    assert render(document(page(1, chart(data))), "csv") == 'series,x,"y, z"\nA,1,2.5\nB,,\n'


def test_charts_of_several_pages_are_tables_of_their_own() -> None:
    first, second = chart({"title": "", "data": {"a": 1}}), chart({"title": "", "data": [[1, 2]]})
    assert render(document(page(1, first), page(4, second)), "csv") == (
        "page,category,value\n1,a,1\n\npage,1,2\n4,1,2\n"
    )


def test_detections_of_all_pages_are_one_table() -> None:
    text = render(document(page(1, found("cat", 'a, "b"')), page(2, found("狗"))), "csv")
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[0] == list(DETECTION_COLUMNS)
    assert [row[:2] for row in rows[1:]] == [["1", "cat"], ["1", 'a, "b"'], ["2", "狗"]]
    assert rows[1][2:] == ["0.0", "0.0", "500.0", "1000.0", "0", "0", "500", "1000", ""]


def test_nothing_found_is_a_table_without_rows() -> None:
    header = ",".join(DETECTION_COLUMNS) + "\n"
    assert render(document(page(1, status="blank"), task="detect"), "csv") == header
    assert render(document(page(1, Block((), "detection"))), "csv") == header
    assert render(document(page(1, status="blank"), task="chart"), "csv") == ""


def test_answers_that_could_not_be_taken_apart_are_not_lost() -> None:
    broken, read = chart(None, "{'a': [1, 2"), chart({"title": "", "data": {"a": 1}})
    assert render(document(page(1, broken)), "csv") == "page,text\n1,\"{'a': [1, 2\"\n"
    assert render(document(page(1, read), page(2, broken)), "csv") == (
        "page,category,value\n1,a,1\n\npage,text\n2,\"{'a': [1, 2\"\n"
    )
    none = Block([Line("There is no cat.")], "detection")
    assert render(document(page(1, none)), "csv").endswith("\n\npage,text\n1,There is no cat.\n")


def test_a_document_of_text_is_refused() -> None:
    with pytest.raises(DocumentError, match=r"has neither \(its task was 'ocr'\).*: chart, detect, locate"):
        render(document(page(1, Block([Line("text")])), task="ocr"), "csv")
    with pytest.raises(DocumentError, match=r"has neither; choose another format"):
        render(document(page(1, status="failed")), "csv")


@settings(max_examples=100)
@given(st.dictionaries(st.text(max_size=6), st.text(max_size=6), min_size=1, max_size=4))
def test_any_text_comes_back(values: dict[str, str]) -> None:
    """But for carriage returns, which become line feeds, controls, and the apostrophe before a formula."""
    text = render(document(page(1, chart({"title": "", "data": values}))), "csv")
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert [[cell.removeprefix("'") for cell in row] for row in rows[1:]] == [
        [CONTROLS.sub("", re.sub("\r\n?", "\n", cell)).removeprefix("'") for cell in pair]
        for pair in values.items()
    ]


@pytest.mark.parametrize(
    "hostile",
    ["=1+1", "=cmd|'/c calc'!A1", "+SUM(A1)", "-2+3", "@SUM(A1)", " =1", "\n=1", "\0=1", "＝1", "--1"],
)
def test_a_spreadsheet_finds_no_formula(hostile: str) -> None:
    """The words on a page, which the model copies, are not to act."""
    data = {"title": "", "data": {hostile: {hostile: hostile}}}
    for blocks in ([chart(data)], [found(hostile)], [chart(None, hostile)]):
        for row in csv.reader(io.StringIO(render(document(page(1, *blocks)), "csv"))):
            assert not any(re.match(r"\s*[=+\-@＝]", cell) for cell in row)
    assert render(document(page(1, found(hostile))), "csv").count("'" + hostile.lstrip("\0")[:1]) == 1


@pytest.mark.parametrize("number", ["-12%", "+3.5", "-1,200.50", "- 5", "-", ""])
def test_a_number_is_no_formula(number: str) -> None:
    assert list(csv.reader(io.StringIO(render(document(page(1, found(number))), "csv"))))[1][1] == number


def test_a_long_cell_takes_no_longer_than_it_is() -> None:
    text = "-" + "1" * 200_000 + "x"
    assert f"'{text}" in render(document(page(1, chart(None, text))), "csv")


def test_a_terminal_finds_nothing_to_obey() -> None:
    """A chart's dict may spell control characters as escapes."""
    text = render(document(page(1, chart({"title": "", "data": {"a\x1b[2J\x9b\x07": "\x7fb"}}))), "csv")
    assert text == "category,value\na[2J,b\n"
