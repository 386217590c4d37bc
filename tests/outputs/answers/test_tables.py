"""Charts and detections as rows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vary.outputs.answers import chart_table, detection_rows
from vary.outputs.document import Block, Box, Detection, Page


@pytest.mark.parametrize(
    ("content", "header", "rows"),
    [
        ({"a": 1, "b": 2.5}, ("category", "value"), [("a", 1), ("b", 2.5)]),
        ({"a": None, "b": True, "c": "x"}, ("category", "value"), [("a", ""), ("b", "true"), ("c", "x")]),
        ({"A": {"x": 1, "y": 2}, "B": {"x": 3}}, ("series", "x", "y"), [("A", 1, 2), ("B", 3, "")]),
        ({"A": {"x": 1}, "B": {"y": 2, "x": 3}}, ("series", "x", "y"), [("A", 1, ""), ("B", 3, 2)]),
        ({"A": [1, 2], "B": [3]}, ("series", "1", "2"), [("A", 1, 2), ("B", 3, "")]),
        ([{"x": 1, "y": 2}, {"y": 3}], ("x", "y"), [(1, 2), ("", 3)]),
        ([[1, 2], [3]], ("1", "2"), [(1, 2), (3, "")]),
        ([1, 2], ("value",), [(1,), (2,)]),
        (7, ("value",), [(7,)]),
        ({}, ("category", "value"), []),
    ],
)
def test_even_charts(content: Any, header: tuple[str, ...], rows: list[Any]) -> None:
    table = chart_table({"title": "T", "data": content})
    assert (table.title, table.header, list(table.rows), table.nested) == ("T", header, rows, False)


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ({"A": 1, "B": {"x": 2}}, [("A", "", 1), ("B", "x", 2)]),
        ({"A": {"x": {"p": 1}}, "B": {}}, [("A", "x", "p", 1), ("B", "", "", "{}")]),
        ({"A": [1, [2, 3]]}, [("A", "1", "", 1), ("A", "2", "1", 2), ("A", "2", "2", 3)]),
        ([{"x": [1]}, 5], [("1", "x", "1", 1), ("2", "", "", 5)]),
        ([{}, {}], [("1", "{}"), ("2", "{}")]),
        ([[]], [("1", "[]")]),
    ],
)
def test_uneven_charts_have_a_row_per_value(content: Any, rows: list[Any]) -> None:
    table = chart_table({"title": "T", "data": content})
    assert list(table.rows) == rows
    assert table.header == (*(f"level {n + 1}" for n in range(len(rows[0]) - 1)), "value")
    assert table.nested


def test_a_chart_without_the_usual_keys_is_its_own_data() -> None:
    assert chart_table({"a": 1}).rows == (("a", 1),)
    assert chart_table({"title": "T", "x": {"p": 1}}).rows == (("x", 1),)
    assert chart_table([1]).rows == ((1,),)
    assert chart_table({"title": {"de": "T"}, "data": 1}).title == '{"de": "T"}'


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=200)
@given(json_values)
def test_every_row_is_as_long_as_the_header_and_no_value_is_lost(value: Any) -> None:
    table = chart_table({"title": "", "data": value})
    assert {len(row) for row in table.rows} <= {len(table.header)}
    cells = [cell for row in table.rows for cell in row]
    for leaf in leaves(value):
        assert leaf in cells


def leaves(value: Any) -> list[Any]:
    """The numbers and texts that a table must show somewhere."""
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in leaves(inner)]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in leaves(inner)]
    return [value] if isinstance(value, str) or type(value) is int else []


def test_many_columns_of_few_values_do_not_fill_the_memory() -> None:
    content = {f"s{n}": {f"c{n}": n} for n in range(3000)}
    table = chart_table({"title": "", "data": content})
    assert table.nested
    assert len(table.rows) == 3000


def test_detections_have_pixels_and_thousandths() -> None:
    found = [Detection("猫", Box(10, 20, 110.123, 220), 0.98765), Detection("", Box(0, 0, 200, 400))]
    page = Page(3, 200, 400, "a.png", blocks=[Block(kind="detection", detections=found)])
    assert detection_rows(page) == [
        (3, "猫", 10.0, 20.0, 110.12, 220.0, 50, 50, 551, 550, 0.9877),
        (3, "", 0.0, 0.0, 200.0, 400.0, 0, 0, 1000, 1000, ""),
    ]
    assert detection_rows(Page(1, 0, 0, "x", blocks=page.blocks))[0][6:10] == ("", "", "", "")
