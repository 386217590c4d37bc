"""Charts out of answers: Python's and JSON's literals exactly, and never more than a note on the rest."""

from __future__ import annotations

import ast
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vary.outputs.answers import parse_chart
from vary.outputs.answers.charts import MAX_CHARACTERS, MAX_DEPTH


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("{'title': 'a', 'data': {'x': 1, 'y': -2.5}}", {"title": "a", "data": {"x": 1, "y": -2.5}}),
        ('{"title": "it\'s", "data": []}', {"title": "it's", "data": []}),
        (
            r"{'title': 'it\'s', 'data': 'a\nb\t\x41\u4e2d\U0001f600\101\\'}",
            {"title": "it's", "data": "a\nb\tA中😀A\\"},
        ),
        (r'{"title": "\ud83d\ude00\/\b", "data": null}', {"title": "😀/\b", "data": None}),
        (
            "{'title': None, 'data': [True, False, null, true, false]}",
            {"title": None, "data": [True, False, None, True, False]},
        ),
        ("{'title': '', 'data': ((1, 2,), (), (3),),}", {"title": "", "data": [[1, 2], [], [3]]}),
        (
            "{'title': '', 'data': [1e3, .5, 5., +7, 1_000, -0]}",
            {"title": "", "data": [1000.0, 0.5, 5.0, 7, 1000, 0]},
        ),
        (
            "{'title': '', 'data': {2020: 1, 1.5: 2, None: 3, True: 4}}",
            {"title": "", "data": {"2020": 1, "1.5": 2, "None": 3, "True": 4}},
        ),
        ("```python\n{'title': 'a', 'data': 1}\n```", {"title": "a", "data": 1}),
        (" \n{\n 'title' : 'a' ,\n 'data' : { } }.\n", {"title": "a", "data": {}}),
        ("{“title”：“销量”，“data”：{“甲”：1，“乙”：2}}", {"title": "销量", "data": {"甲": 1, "乙": 2}}),
        ("[1, 'a', [2]]", [1, "a", [2]]),
        ("```\n[1]\n```", [1]),
        ("{'title': 'a\nb', 'data': 'x'}", {"title": "a\nb", "data": "x"}),
    ],
)
def test_valid_answers(text: str, data: object) -> None:
    parsed = parse_chart(text)
    assert parsed.data == data
    assert json.dumps(parsed.data) == json.dumps(data)  # 1 is not True
    assert parsed.notes == ()


@pytest.mark.parametrize(
    ("text", "data", "note"),
    [
        ("{'title': 'Kid's toys', 'data': 1}", {"title": "Kid's toys", "data": 1}, "a quote within a string"),
        (
            "{'title': 'a', 'data': {'x': 45%}}",
            {"title": "a", "data": {"x": "45%"}},
            "text without quotes ('45%')",
        ),
        ("{title: 'a', 'data': 1}", {"title": "a", "data": 1}, "text without quotes ('title')"),
        ("{'title': 'a', 'data': 007}", {"title": "a", "data": "007"}, "text without quotes"),
        ("{'title': 'a', 'data': 1e999}", {"title": "a", "data": "1e999"}, "text without quotes"),
        (
            f"{{'title': 'a', 'data': {'9' * 5000}}}",
            {"title": "a", "data": "9" * 5000},
            "text without quotes",
        ),
        (
            "{'title': 'a', 'data': [nan, -inf, NaN, Infinity]}",
            {"title": "a", "data": [None] * 4},
            "became null (4 times",
        ),
        (
            "{'title': 'a', 'data': {'x': 1, 'x': 2, 'x': 3, 'x (2)': 4}}",
            {"title": "a", "data": {"x": 1, "x (2)": 2, "x (3)": 3, "x (2) (2)": 4}},
            "a key stands more than once",
        ),
        (
            "The chart: {'title': 'a', 'data': 1}",
            {"title": "a", "data": 1},
            "before the dict was left out ('The chart:')",
        ),
        (
            "{'title': 'a', 'data': 1} I hope so",
            {"title": "a", "data": 1},
            "behind the dict was left out ('I hope so')",
        ),
        ("{'a': 1}", {"a": 1}, "the dict has no title and data"),
        ("{'data': 1}", {"data": 1}, "the dict has no title"),
    ],
)
def test_what_is_odd_is_said_and_the_rest_kept(text: str, data: object, note: str) -> None:
    parsed = parse_chart(text)
    assert parsed.data == data
    [said] = parsed.notes
    assert note in said


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("", "it is empty"),
        ("I see no chart", "expected a dict, found 'I see no chart'"),
        ("See [1] for more", "expected a dict"),
        ("5", "expected a dict, found '5'"),
        ("{", "it ends before it is complete"),
        ("{'title': 'a', 'data': {'x': 1", "it ends before it is complete"),
        ("{'title': 'a', 'data': {'x': 'ab", "the string at character 30 has no end"),
        ("{'title': 'a' 'data': 1}", "expected a comma or '}' within a dict, found ':'"),
        ("{'a': 1 \"b\": 2}", "expected a comma or '}' within a dict, found '\"' at character 9"),
        ("{'a', 'b'}", "expected a colon behind the key 'a', found ',' at character 5"),
        ("{'a': 1]", "expected a comma or '}' within a dict, found ']'"),
        ("{'a': }", "expected a value, found '}' at character 7"),
        ("{'a': 1,, 'b': 2}", "expected a value, found ','"),
        ("{{}: 1}", "expected a value, found '{'"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), f"more than {MAX_DEPTH} dicts and lists"),
        ("{'a':" * 100_000, f"more than {MAX_DEPTH} dicts and lists"),
        ("[" + "1," * (MAX_CHARACTERS // 2) + "]", "it has 1,000,002 characters, the limit is 1,000,000"),
    ],
)
def test_what_is_cut_off_or_malformed_is_none_and_a_note(text: str, note: str) -> None:
    parsed = parse_chart(text)
    assert parsed.data is None
    [said] = parsed.notes
    assert note in said


def test_the_deepest_allowed_is_read() -> None:
    assert parse_chart("[" * MAX_DEPTH + "]" * MAX_DEPTH).data is not None


strings = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | strings
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(strings, inner, max_size=4),
    max_leaves=12,
)
charts = st.fixed_dictionaries({"title": strings, "data": values})


def exactly(value: Any) -> str:
    """Tells 1, 1.0 and True apart, and -0.0 from 0.0."""
    return repr(value)


@settings(max_examples=200)
@given(charts)
def test_what_python_writes_comes_back_exactly(chart: dict[str, Any]) -> None:
    parsed = parse_chart(repr(chart))
    assert exactly(parsed.data) == exactly(chart)
    assert parsed.notes == ()


@settings(max_examples=200)
@given(charts, st.booleans(), st.none() | st.integers(0, 4))
def test_what_json_writes_comes_back_exactly(
    chart: dict[str, Any], ascii_only: bool, indent: int | None
) -> None:
    text = json.dumps(chart, ensure_ascii=ascii_only, indent=indent)
    parsed = parse_chart(text)
    assert exactly(parsed.data) == exactly(chart)
    assert parsed.notes == ()


def as_json(value: Any) -> Any:
    """What JSON makes of Python's tuples and keys."""
    if isinstance(value, dict):
        return {str(key): as_json(inner) for key, inner in value.items()}
    return [as_json(inner) for inner in value] if isinstance(value, list | tuple) else value


@settings(max_examples=200)
@given(
    st.dictionaries(
        st.integers() | st.sampled_from(["a", 'b"', "c'", "d\\", "\n"]),
        st.lists(scalars, max_size=3).map(tuple) | scalars,
        max_size=4,
    )
)
def test_literals_mean_what_they_mean_to_python(chart: dict[Any, Any]) -> None:
    text = repr(chart)
    assert exactly(parse_chart(text).data) == exactly(as_json(ast.literal_eval(text)))


MARKS = "{}[](),:'\"“”‘’，：（）`\\ \n\t\0\ud800%#"
WORDS = (
    "'a'",
    '"b"',
    "None",
    "nan",
    "1e400",
    "-",
    "1_",
    "\\u",
    "\\x4",
    "\\ud83d",
    "\\N{DASH}",
    "9" * 500,
    "'title':",
)
fragments = st.sampled_from([*MARKS, *WORDS])


def check_json(value: Any) -> None:
    """Everything is a JSON value that files can hold."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    text.encode("utf-8")
    assert json.loads(text) == value


@settings(max_examples=300)
@given(
    st.text()
    | st.lists(fragments, max_size=30).map("".join)
    | st.lists(fragments, max_size=20).map(lambda p: "{" + "".join(p))
)
def test_nothing_is_ever_raised_and_data_is_json(text: str) -> None:
    parsed = parse_chart(text)
    check_json(parsed.data)
    assert parsed.data is not None or len(parsed.notes) == 1
    assert all(len(note) < 300 for note in parsed.notes)


@settings(max_examples=300)
@given(charts, st.data())
def test_a_damaged_answer_never_raises(chart: dict[str, Any], data: st.DataObject) -> None:
    text = repr(chart)
    place = data.draw(st.integers(0, len(text)))
    damaged = text[:place] + data.draw(fragments | st.just("")) + text[place + data.draw(st.integers(0, 3)) :]
    check_json(parse_chart(damaged).data)
    cut = parse_chart(text[:place])
    assert cut.data is None or place == len(text)


HOSTILE = (
    "[",
    "{'",
    "'",
    "a'b",
    "' ",
    "'a':1,",
    "1,",
    "a ",
    "\\",
    "1_",
    "nan,",
    "```",
    ";",
    "{}",
    "\n",
    "“",
    "('a',),",
)


@pytest.mark.parametrize("piece", HOSTILE)
@pytest.mark.parametrize("start", ["", "{", "['", "{'title': '"])
def test_a_long_hostile_answer_is_no_more_than_long(start: str, piece: str) -> None:
    """200,000 characters: with any step that is not linear, the test runs into its time limit."""
    parsed = parse_chart(start + piece * (200_000 // len(piece)))
    assert parsed.data is not None or len(parsed.notes) == 1


def test_numbers_of_any_length_are_finite_or_text() -> None:
    for digits in (1, 15, 300, 309, 400, 401, 10_000):
        for form in ("{}", "-{}", "{}.5", "1e{}", "0.{}"):
            [value] = parse_chart(f"[{form.format('9' * digits)}]").data or [None]
            assert isinstance(value, int | float | str)
            assert isinstance(value, str) or math.isfinite(value if isinstance(value, float) else 0)
