"""Boxes out of answers: exact on valid ones, and never more than a note on others."""

from __future__ import annotations

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from vary.outputs.answers import parse_boxes

Entries = list[tuple[str, list[tuple[int, int, int, int]]]]


def found(text: str) -> list[tuple[str, tuple[int, int, int, int]]]:
    return [(box.label, box.edges) for box in parse_boxes(text).boxes]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cat: [012, 045, 345, 999]", [("cat", (12, 45, 345, 999))]),
        ("[012, 045, 345, 1000]", [("", (12, 45, 345, 1000))]),
        ("cat: [1,2,3,4], [5,6,7,8].", [("cat", (1, 2, 3, 4)), ("cat", (5, 6, 7, 8))]),
        ("a cat: [1,2,3,4]; dog: [5,6,7,8];", [("a cat", (1, 2, 3, 4)), ("dog", (5, 6, 7, 8))]),
        ("猫：【001，002，003，004】；狗：［1、2、3、4］。", [("猫", (1, 2, 3, 4)), ("狗", (1, 2, 3, 4))]),
        ("cat: [1,2,3,4]\ndog: [5,6,7,8]\r\n", [("cat", (1, 2, 3, 4)), ("dog", (5, 6, 7, 8))]),
        ("cat:\n[1,2,3,4],\n[5,6,7,8]", [("cat", (1, 2, 3, 4)), ("cat", (5, 6, 7, 8))]),
        ("cat:\n\n  [ 1 2 3 4 ]", [("cat", (1, 2, 3, 4))]),
        ("cat: [1,2,3,4], dog: [5,6,7,8]", [("cat", (1, 2, 3, 4)), ("dog", (5, 6, 7, 8))]),
        ("cat [1,2,3,4] and [5,6,7,8]", [("cat", (1, 2, 3, 4)), ("cat", (5, 6, 7, 8))]),
        ("the clock: 12:30, big: [1,2,3,4]", [("the clock: 12:30, big", (1, 2, 3, 4))]),
        (
            "sign [EXIT]: [1,2,3,4]; note [1]: [5,6,7,8]",
            [("sign [EXIT]", (1, 2, 3, 4)), ("note [1]", (5, 6, 7, 8))],
        ),
        ("[[1,2,3,4],[5,6,7,8]]", [("", (1, 2, 3, 4)), ("", (5, 6, 7, 8))]),
        ("x: [０１２, 045, 345, 999]", [("x", (12, 45, 345, 999))]),
    ],
)
def test_valid_answers(text: str, expected: list[object]) -> None:
    assert found(text) == expected
    assert parse_boxes(text).notes == ()


@pytest.mark.parametrize(
    ("text", "expected", "note"),
    [
        ("cat: [300, 400, 100, 200]", [("cat", (100, 200, 300, 400))], "another order"),
        (
            "cat: [1, 2, 1200, 999]",
            [("cat", (1, 2, 1000, 999))],
            "beyond 0 to 1000 were clipped ('[1, 2, 1200",
        ),
        ("cat: [-5, 2, 3, 4]", [("cat", (0, 2, 3, 4))], "clipped"),
        (f"cat: [1, 2, {'9' * 5000}, 4]", [("cat", (1, 2, 1000, 4))], "clipped"),
        ("cat: [1, 2, 3], [1, 2, 3, 4]", [("cat", (1, 2, 3, 4))], "four whole numbers from 0 to 1000"),
        ("cat: [0.1, 0.2, 0.3, 0.4]; dog: [1,2,3,4]", [("dog", (1, 2, 3, 4))], "four whole numbers"),
        (
            "cat: [1,2,3,4]; dog: [012, 0",
            [("cat", (1, 2, 3, 4))],
            "the answer ends within a box ('dog: [012, 0')",
        ),
        ("cat: [1,2,3,4]; dog:", [("cat", (1, 2, 3, 4))], "text without a box was left out ('dog:')"),
        ("cat; dog: [1,2,3,4]", [("dog", (1, 2, 3, 4))], "text without a box was left out ('cat')"),
        ("There is no cat.", [], "no box was found in the answer ('There is no cat.')"),
        ("cat: [x1, y1, x2, y2]", [], "no box was found"),
        ("", [], "no box was found in the answer"),
    ],
)
def test_what_is_odd_is_said_and_the_rest_kept(text: str, expected: list[object], note: str) -> None:
    assert found(text) == expected
    [said] = parse_boxes(text).notes
    assert note in said


def test_a_thousand_broken_boxes_are_one_note() -> None:
    [note] = parse_boxes("cat: [1,2,3,4], " + "[1,2], " * 1000).notes
    assert note == "expected four whole numbers from 0 to 1000 in a box (1000 times, first '[1,2]')"


def test_spans_say_where_the_boxes_stand() -> None:
    text = "猫: [001, 002, 003, 004], [5,6,7,8]; dog: 【9，9，9，9】"
    spans = [text[slice(*box.span)] for box in parse_boxes(text).boxes]
    assert spans == ["[001, 002, 003, 004]", "[5,6,7,8]", "【9，9，9，9】"]


edges = st.tuples(*[st.integers(0, 1000)] * 4).map(
    lambda e: (min(e[0], e[2]), min(e[1], e[3]), max(e[0], e[2]), max(e[1], e[3]))
)
characters = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters=";；[]［］【】\u2028\u2029")
names = st.text(characters, min_size=1, max_size=12).filter(
    lambda name: name.strip() == name and name.strip(" :：,，、.。") == name
)


@settings(max_examples=150)
@given(
    st.lists(st.tuples(names, st.lists(edges, min_size=1, max_size=4)), min_size=1, max_size=5),
    st.sampled_from(["{:03d}", "{}"]),
    st.sampled_from([", ", ",", "，"]),
    st.sampled_from(["; ", ";\n", "；", "\n"]),
    st.sampled_from(["", ".", ";", "。", "\n"]),
)
@example([("a", [(0, 0, 0, 0)]), ("and", [(1, 1, 1, 1)])], "{}", ",", "; ", "")
def test_a_valid_answer_comes_back_exactly(
    entries: Entries, form: str, comma: str, semicolon: str, end: str
) -> None:
    def box(values: tuple[int, int, int, int]) -> str:
        return f"[{comma.join(form.format(value) for value in values)}]"

    text = semicolon.join(f"{name}: {comma.join(map(box, boxes))}" for name, boxes in entries) + end
    parsed = parse_boxes(text)
    assert found(text) == [(name, values) for name, boxes in entries for values in boxes]
    assert parsed.notes == ()


@settings(max_examples=150)
@given(edges)
def test_a_bare_box_comes_back_exactly(values: tuple[int, int, int, int]) -> None:
    assert found("[{:03d}, {:03d}, {:03d}, {:03d}]".format(*values)) == [("", values)]


MARKS = "[]【】:：;；,，.。-−+\n\r ²٣\0\ud800"
WORDS = ("cat", "and", "012", "1000", "0x1", "1e9", "nan", "9" * 50, "[1,2,3,4]", "[1]:", "cat: [1,2,3,4]")
fragments = st.sampled_from([*MARKS, *WORDS])


@settings(max_examples=200)
@given(st.text() | st.lists(fragments, max_size=30).map("".join))
def test_nothing_is_ever_raised_and_boxes_are_boxes(text: str) -> None:
    parsed = parse_boxes(text)
    for box in parsed.boxes:
        left, top, right, bottom = box.edges
        assert 0 <= left <= right <= 1000
        assert 0 <= top <= bottom <= 1000
        assert text[box.span[0]] in "[［【"
    assert bool(parsed.boxes) or bool(parsed.notes)
    assert len(parsed.notes) < 8
    assert all(len(note) < 200 for note in parsed.notes)


HOSTILE = (
    "[",
    "[1",
    ":",
    "[1,2,3,4]",
    "[1] ",
    "x;",
    "\n",
    " ",
    "cat:\n",
    "[0",
    "0",
    "[[1,2,3,4],",
    "[1]:",
    ";",
    "a ,",
)


@pytest.mark.parametrize("piece", HOSTILE)
@pytest.mark.parametrize("end", ["", "[1,2,3,4]", ":"])
def test_a_long_hostile_answer_is_no_more_than_long(piece: str, end: str) -> None:
    """200,000 characters: with any step that is not linear, the test runs into its time limit."""
    text = piece * (200_000 // len(piece)) + end
    assert len(parse_boxes(text).notes) < 8


@settings(max_examples=150)
@given(st.lists(edges, min_size=1, max_size=5), st.data())
def test_one_damaged_character_costs_little(
    boxes: list[tuple[int, int, int, int]], data: st.DataObject
) -> None:
    """The boxes around it are all there."""
    text = "; ".join(
        f"thing {n}: [{e[0]:03d}, {e[1]:03d}, {e[2]:03d}, {e[3]:03d}]" for n, e in enumerate(boxes)
    )
    place = data.draw(st.integers(0, len(text) - 1))
    assume(text[place] not in "[]")
    damaged = text[:place] + data.draw(st.sampled_from(["", "x", ";", "\n", ":"])) + text[place + 1 :]
    assert len(parse_boxes(damaged).boxes) >= len(boxes) - 1
