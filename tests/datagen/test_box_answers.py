"""Boxes written by the data engine come back from the parser of answers; the rule of thirty boxes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vary.datagen.box_answers import MOST_BOXES, box_answer, detection_prompt, normalised_edges
from vary.datagen.sample import Box
from vary.errors import DataError
from vary.outputs.answers import parse_boxes

NAMES = st.sampled_from(["cat", "traffic light", "红色的杯子", "bread/bun", "a: b", "note [x], 2", "3 cups"])
PART = st.floats(0, 1, allow_nan=False)


@st.composite
def _pages(draw: st.DrawFn) -> tuple[list[Box], float, float]:
    width, height = draw(st.integers(1, 5000)), draw(st.integers(1, 5000))
    boxes = []
    for _ in range(draw(st.integers(1, 12))):
        left, right = sorted((draw(PART) * width, draw(PART) * width))
        top, bottom = sorted((draw(PART) * height, draw(PART) * height))
        boxes.append(Box(draw(NAMES), left, top, max(right, left + 1e-3), max(bottom, top + 1e-3)))
    return boxes, width, height


@given(_pages())
def test_an_answer_comes_back_within_half_a_unit(page: tuple[list[Box], float, float]) -> None:
    boxes, width, height = page
    parsed = parse_boxes(box_answer(boxes, width, height))
    assert not parsed.notes
    order = list(dict.fromkeys(box.label for box in boxes))
    expected = sorted(boxes, key=lambda box: order.index(box.label))
    assert [box.label for box in parsed.boxes] == [box.label for box in expected]
    for found, box in zip(parsed.boxes, expected, strict=True):
        exact = (box.left / width, box.top / height, box.right / width, box.bottom / height)
        for number, edge in zip(found.edges, exact, strict=True):
            assert abs(number - min(edge, 1) * 1000) <= 0.5 + 1e-6


def test_the_form_is_the_papers() -> None:
    boxes = [Box("cat", 12, 45, 345, 999), Box("dog", 0, 0, 1000, 1000), Box("cat", 1, 2, 3.5, 4.4)]
    assert box_answer(boxes, 1000, 1000) == (
        "cat: [012, 045, 345, 999], [001, 002, 004, 004]; dog: [000, 000, 1000, 1000]"
    )
    assert box_answer([Box("", 1, 2, 3, 4)], 10, 10) == "[100, 200, 300, 400]"


def test_each_axis_has_its_own_scale_and_slight_overhang_is_clipped() -> None:
    assert normalised_edges(Box("x", 10, 10, 20, 20), 100, 50) == (100, 200, 200, 400)
    assert normalised_edges(Box("x", -0.9, -1, 100.5, 51), 100, 50) == (0, 0, 1000, 1000)


@pytest.mark.parametrize(
    ("box", "size", "words"),
    [
        (Box("a;b", 0, 0, 1, 1), (10, 10), "rename the class"),
        (Box("a\nb", 0, 0, 1, 1), (10, 10), "rename the class"),
        (Box("a:", 0, 0, 1, 1), (10, 10), "rename the class"),
        (Box(" a", 0, 0, 1, 1), (10, 10), "rename the class"),
        (Box("a [1, 2, 3, 4]", 0, 0, 1, 1), (10, 10), "rename the class"),
        (Box("a", 2, 0, 2, 1), (10, 10), "left < right"),
        (Box("a", float("nan"), 0, 2, 1), (10, 10), "left < right"),
        (Box("a", 0, 0, 12, 1), (10, 10), "beyond its image"),
        (Box("a", 0, 0, 1, 1), (0, 10), "above 0"),
    ],
)
def test_what_cannot_be_written_is_refused(box: Box, size: tuple[int, int], words: str) -> None:
    with pytest.raises(DataError, match=words):
        box_answer([box], *size)


def test_no_box_and_boxes_without_names_are_refused() -> None:
    with pytest.raises(DataError, match="no box"):
        box_answer([], 10, 10)
    with pytest.raises(DataError, match="without one"):
        box_answer([Box("", 0, 0, 1, 1), Box("a", 0, 0, 1, 1)], 10, 10)


def _boxes(**counts: int) -> list[Box]:
    return [Box(name, 0, 0, 1, 1) for name, count in counts.items() for _ in range(count)]


def test_up_to_thirty_boxes_all_are_asked_for() -> None:
    boxes = _boxes(cat=15, dog=15)
    assert len(boxes) == MOST_BOXES
    prompt, asked = detection_prompt(boxes, "en", np.random.default_rng(0))
    assert list(asked) == boxes
    assert "cat" not in prompt


def test_beyond_thirty_boxes_classes_are_named_and_all_their_boxes_told() -> None:
    boxes = _boxes(cat=12, dog=25, bird=3, cup=6)
    seen = set()
    for seed in range(40):
        prompt, asked = detection_prompt(boxes, "en", np.random.default_rng(seed))
        names = list(dict.fromkeys(box.label for box in asked))
        assert 0 < len(asked) <= MOST_BOXES
        assert len(asked) == sum(box.label in names for box in boxes)
        assert all(name in prompt for name in names)
        assert not [name for name in ("cat", "dog", "bird", "cup") if name in prompt and name not in names]
        seen.add(tuple(sorted(names)))
    assert len(seen) > 3, "the same classes are asked for whatever the seed"


def test_a_class_of_more_than_thirty_boxes_is_told_alone() -> None:
    prompt, asked = detection_prompt(_boxes(cat=31, dog=40), "en", np.random.default_rng(3))
    assert len({box.label for box in asked}) == 1
    assert len(asked) in (31, 40)
    assert asked[0].label in prompt
