"""The page code's fast paths, each compared with the plain way to the same numbers."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vary.inputs.ink import (
    BACKGROUND_KERNEL,
    RIM,
    _background,
    _holds_square,
    _is_even,
    components,
    gray_quantile,
)
from vary.inputs.lines import LEFT, TOP, _leader, _painted
from vary.inputs.measure import _FREE, _INK, _OTHER, _contrast
from vary.inputs.windows import find_lines

MASKS = {"dust": 0.02, "text": 0.2, "dense": 0.55, "full": 1.0, "blank": 0.0}


@pytest.mark.parametrize("share", MASKS.values(), ids=MASKS.keys())
@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (83, 61), (64, 128)])
def test_components_are_those_of_opencv(share: float, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    strength = np.where(rng.random(shape) < share, rng.integers(128, 256, shape), 127).astype(np.uint8)
    mask = (strength >= 128).view(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8, ltype=cv2.CV_32S)
    found = components(strength)
    assert len(found.boxes) == count - 1
    assert np.array_equal(found.labels, labels)
    assert np.array_equal(found.boxes[:, :2], stats[1:, :2])
    assert np.array_equal(found.width, stats[1:, cv2.CC_STAT_WIDTH])
    assert np.array_equal(found.height, stats[1:, cv2.CC_STAT_HEIGHT])
    assert np.array_equal(found.area, stats[1:, cv2.CC_STAT_AREA])


def test_components_within_margins_have_the_numbers_of_the_whole_page() -> None:
    rng = np.random.default_rng(6)
    for _ in range(60):
        strength = np.zeros((50, 60), np.uint8)
        top, left, height, width = (int(value) for value in rng.integers((0, 0, 1, 1), (30, 40, 21, 21)))
        strength[top : top + height, left : left + width] = 255 * (rng.random((height, width)) < 0.4)
        _, labels = cv2.connectedComponents(strength // 255, connectivity=8, ltype=cv2.CV_32S)
        found = components(strength)
        assert np.array_equal(found.labels, labels)
        for number, (x, y, right, bottom) in enumerate(found.boxes.tolist(), start=1):
            rows, columns = np.nonzero(labels == number)
            assert (x, y, right, bottom) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_no_square_of_ink_is_overlooked() -> None:
    rng = np.random.default_rng(7)
    with_squares = without = 0
    for _ in range(600):
        ink = np.zeros(tuple(rng.integers(1, 40, 2)), np.uint8)
        for _ in range(int(rng.integers(1, 5))):
            top, left = int(rng.integers(-3, ink.shape[0])), int(rng.integers(-3, ink.shape[1]))
            height, width = rng.integers(3, 10, 2)
            ink[max(0, top) : top + height, max(0, left) : left + width] = 1
        opened = cv2.morphologyEx(ink, cv2.MORPH_OPEN, np.ones((RIM, RIM), np.uint8)).any()
        with_squares += opened
        without += not _holds_square(ink)
        assert _holds_square(ink) or not opened
    assert with_squares > 100
    assert without > 100


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_quantiles_of_gray_levels_are_those_of_numpy(share: float) -> None:
    rng = np.random.default_rng(1)
    for count in (1, 2, 3, 4, 5, 6, 7, 1000, 1001):
        for levels in (2, 10, 256):
            values = (rng.integers(0, levels, (1, count)) * (255 // (levels - 1))).astype(np.uint8)
            assert gray_quantile(values, share) == np.quantile(values, share)
    page = rng.integers(0, 256, (40, 30), dtype=np.uint8)
    assert gray_quantile(page[::3, ::7], share) == np.quantile(page[::3, ::7], share)


def test_an_even_background_is_the_median() -> None:
    """Where the median is not computed, it would have been the paper's gray everywhere."""
    rng = np.random.default_rng(2)
    even = 0
    for number in range(30):
        page = np.full((int(rng.integers(20, 200)), int(rng.integers(20, 200))), 240, np.uint8)
        for _ in range(number // 3):  # up to nine words, which may lie on each other
            top, left = int(rng.integers(0, page.shape[0])), int(rng.integers(0, page.shape[1]))
            page[top : top + 12, left : left + 45] = rng.integers(0, 200)
        median = cv2.medianBlur(page, BACKGROUND_KERNEL)
        even += _is_even(page, 240)
        assert not _is_even(page, 240) or (median == 240).all()
        assert np.array_equal(_background(page), median)
    assert 5 < even < 30


def test_rectangles_are_painted_as_one_by_one() -> None:
    rng = np.random.default_rng(3)
    corners = rng.integers(0, 70, (200, 2))
    rectangles = np.concatenate([corners, corners + rng.integers(0, 20, (200, 2))], axis=1).astype(np.int32)
    for some in (rectangles, rectangles[:3], rectangles[:0]):
        expected = np.zeros((60, 50), np.uint8)  # some rectangles lie outside, in part or as a whole
        for left, top, right, bottom in some.tolist():
            expected[top:bottom, left:right] = 1
        assert np.array_equal(_painted(some, (60, 50)), expected)
    assert (rectangles[:, TOP] > 60).any()
    assert (rectangles[:, LEFT] > 50).any()


def test_joined_numbers_have_the_leader_that_relabelling_gives() -> None:
    rng = np.random.default_rng(4)
    leader, joined = list(range(40)), np.arange(40)
    for here, there in rng.integers(0, 40, (60, 2)).tolist():
        leader[_leader(leader, there)] = _leader(leader, here)
        joined[joined == joined[there]] = joined[here]
        assert [_leader(leader, number) for number in range(40)] == joined.tolist()


@pytest.mark.parametrize("kinds", [(_FREE, _INK, _OTHER), (_INK, _OTHER), (_FREE, _OTHER), (_INK,)])
def test_contrast_is_that_of_the_medians(kinds: tuple[int, ...]) -> None:
    rng = np.random.default_rng(5)
    for size in (1, 2, 9, 400):
        kind = rng.choice(np.array(kinds, np.uint16), (1, size))
        window = rng.integers(0, 256, (1, size), dtype=np.uint8)
        contrast, inverted = _contrast(kind, window)
        ink, ground = window[kind == _INK], window[kind == _FREE]
        ground = ground if len(ground) else window[kind == _OTHER]
        if not len(ink) or not len(ground):
            assert (contrast, inverted) == (255.0, False)
            continue
        upper = [int(np.sort(values)[len(values) // 2]) for values in (ink, ground)]
        assert (contrast, inverted) == (abs(upper[0] - upper[1]), upper[0] > upper[1])


def test_pages_of_specks_are_read_without_harm() -> None:
    """Specks may belong to no line at all."""
    without = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        page = np.full(tuple(rng.integers(30, 220, 2)), 255, np.uint8)
        for _ in range(int(rng.integers(1, 7))):
            top, left = int(rng.integers(0, page.shape[0])), int(rng.integers(0, page.shape[1]))
            page[top : top + int(rng.integers(1, 12)), left : left + int(rng.integers(1, 12))] = 0
        without += not find_lines(page).lines
    assert 10 < without < 150
