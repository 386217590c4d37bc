"""Pages of very many marks: the search compares few of them, and finds what comparing all would find."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from vary.assembly import build_page
from vary.inputs import gutters, layout, lines
from vary.inputs.gutters import Rows, _labels, _nearest
from vary.inputs.layout import _best_gutter
from vary.inputs.lines import BOTTOM, LEFT, RIGHT, TOP, _neighbours, _owners
from vary.inputs.page_image import PageImage
from vary.inputs.windows import PageWindows, find_lines, line_windows, whole_window

Boxes = NDArray[Any]

PAGE = PageImage(Image.new("RGB", (400, 300)), "x", 0)


def scattered(rng: np.random.Generator, count: int) -> Boxes:
    """Boxes in rows and between them; with few coordinates, so that many are equal."""
    left, top = rng.integers(0, 40, count) * 5, rng.integers(0, 30, count) * 4
    sides = rng.integers(1, 12, (2, count)) * rng.choice([1, 2, 5], (2, count))
    return np.stack([left, top, left + sides[0], top + sides[1]], axis=1).astype(np.float32)


def best_gutter(boxes: Boxes, sizes: Boxes, ids: Boxes) -> float | None:
    """Every edge with every band, one after the other."""
    best, best_score = None, 0.0
    ids = ids[np.argsort((boxes[ids, TOP] + boxes[ids, BOTTOM]) / 2, kind="stable")]
    for edge in np.unique(boxes[ids, LEFT])[1:].tolist():
        right = boxes[ids, LEFT] >= edge - 0.01
        left = (boxes[ids, RIGHT] <= edge - layout.GUTTER * sizes[ids]) & ~right
        band = np.cumsum(~left & ~right)
        score = -0.05 * int((~left & ~right).sum())
        for number in np.unique(band):
            here, there = ids[left & (band == number)], ids[right & (band == number)]
            if len(here) and len(there) and not is_grid(boxes, sizes, here, there):
                score += min(len(here), len(there))
        if left.any() and score > best_score + 0.01:
            best, best_score = float((edge + boxes[ids, RIGHT][left].max()) / 2), score
    return best


def is_grid(boxes: Boxes, sizes: Boxes, left: Boxes, right: Boxes) -> bool:
    widths = (boxes[:, RIGHT] - boxes[:, LEFT]) / sizes
    here, there = np.median(widths[left]), np.median(widths[right])
    centre = (boxes[:, TOP] + boxes[:, BOTTOM]) / 2
    inside = (centre[right][:, None] > boxes[left, TOP]) & (centre[right][:, None] < boxes[left, BOTTOM])
    if inside.any(axis=1).mean() < 0.7:
        return False
    return bool(
        there <= layout.NUMBER or (max(here, there) <= layout.CELL and inside.any(axis=0).mean() >= 0.4)
    )


def test_the_best_gutter_is_that_of_all_edges_and_bands() -> None:
    none = grids = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        boxes = scattered(rng, int(rng.integers(2, 60))).astype(np.float64)
        if seed % 2:  # a table or two columns
            boxes[:, LEFT] = rng.choice([0, 90, 180], len(boxes))
            boxes[:, RIGHT] = boxes[:, LEFT] + rng.integers(3, 85, len(boxes))
        sizes = rng.integers(2, 9, len(boxes)).astype(np.float64)
        ids = rng.permutation(len(boxes))[: max(2, len(boxes) - 3)]
        expected = best_gutter(boxes, sizes, ids)
        assert _best_gutter(boxes, sizes, ids) == expected
        none += expected is None
        sides = np.argsort(boxes[:, TOP] + boxes[:, BOTTOM], kind="stable")
        left = boxes[sides, LEFT] < 80
        if left.any() and not left.all():
            expected_grid = is_grid(boxes, sizes, sides[left], sides[~left])
            assert layout._is_grid(boxes, sizes, sides, left) == expected_grid
            grids += expected_grid
    assert 5 < none < 145
    assert grids > 5


def test_segments_that_face_a_channel_are_those_of_all_pairs() -> None:
    for seed in range(60):
        rng = np.random.default_rng(seed)
        extent = scattered(rng, int(rng.integers(1, 50)))
        rows, chosen = Rows.of(extent), rng.random(len(extent)) < 0.6
        ids = np.flatnonzero(chosen)
        centre = (extent[:, TOP] + extent[:, BOTTOM]) / 2
        for side, sign in ((LEFT, -1), (RIGHT, 1)):
            facing = {
                int(one)
                for one in ids
                if not any(
                    extent[other, TOP] < centre[one] < extent[other, BOTTOM]
                    and sign * extent[other, side] > sign * extent[one, side]
                    for other in ids
                )
            }
            found = _nearest(rows, chosen, side).tolist()
            assert set(found) == facing
            assert len(found) == len(facing)
        reach = float(rng.integers(1, 9))
        for one, label in zip(ids, _labels(extent, ids, reach) if len(ids) else (), strict=True):
            before = extent[one, LEFT] - extent[:, RIGHT]
            joined = (before > -reach) & (before < 3 * reach)
            joined &= (extent[:, TOP] < centre[one]) & (centre[one] < extent[:, BOTTOM])
            joined[one] = False
            short = extent[one, RIGHT] - extent[one, LEFT] <= gutters.LABEL_WIDTH * reach
            assert label == (short and not joined.any())


def neighbours(extent: Boxes, size: Boxes, foot: Boxes) -> list[tuple[int, int, float, float]]:
    top, bottom = extent[:, TOP], extent[:, BOTTOM]
    reach = np.maximum(size[:, None], size)
    overlap = np.minimum(bottom[:, None], bottom) - np.maximum(top[:, None], top)
    shared = overlap / np.minimum((bottom - top)[:, None], bottom - top)
    alike = (shared >= 0.85) | ((shared >= 0.5) & (np.abs(foot[:, None] - foot) <= 0.35 * reach))
    alike &= reach <= 2.4 * np.minimum(size[:, None], size)
    gap = extent[:, LEFT] - extent[:, RIGHT][:, None]
    middle = extent[:, LEFT] + extent[:, RIGHT]
    alike &= (gap >= -4 * reach) & (gap <= lines.LABEL_GAP * reach) & (middle > middle[:, None])
    masked = np.where(alike, gap, np.inf)
    here, there = np.arange(len(extent)), masked.argmin(axis=1)
    nearest = masked[here, there]
    close = np.isfinite(nearest) & (nearest <= masked.min(axis=0)[there] + reach[here, there])
    return [
        (int(h), int(t), float(gap[h, t]), float(reach[h, t]))
        for h, t in zip(*np.array((here, there))[:, close], strict=True)
    ]


def owners(extent: Boxes, size: Boxes, body: Boxes) -> list[int]:
    owner = np.full(len(extent), -1)
    for piece in range(len(extent)):
        best = np.inf
        left, top, right, bottom = extent[piece]
        x, y = (left + right) / 2, (top + bottom) / 2
        for line in np.flatnonzero(body):
            box, em = extent[line], size[line]
            away_x, away_y = max(0, box[0] - right, left - box[2]), max(0, box[1] - y, y - box[3])
            inside = box[0] < x < box[2]
            near = away_x <= 1.2 * em and away_y <= (0.4 if inside else 0.3) * em and bottom - top <= 1.3 * em
            if body[piece]:
                near &= size[piece] <= 0.62 * em or (inside and away_y == 0)
                near &= right - left < 0.5 * (box[2] - box[0]) and away_y <= 0.3 * em
                near &= inside or (away_x <= size[piece] and right - left <= 2.4 * size[piece])
            if near and line != piece and away_x + 2 * away_y < best:
                best, owner[piece] = away_x + 2 * away_y, line
    chained = (owner >= 0) & (owner[owner] >= 0)
    return np.where(chained, -1, owner).tolist()


def test_neighbours_and_owners_are_those_of_all_pairs() -> None:
    pairs = adopted = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        extent = scattered(rng, int(rng.integers(1, 60)))
        height = extent[:, BOTTOM] - extent[:, TOP]
        size = np.maximum(1, height - rng.integers(0, 3, len(extent))).astype(np.float32)
        foot = extent[:, BOTTOM] - rng.integers(0, 3, len(extent)).astype(np.float32)
        body = rng.random(len(extent)) < 0.5
        found = _neighbours(extent, size, foot)
        assert found == neighbours(extent, size, foot)
        owner = _owners(extent, size, body).tolist()
        assert owner == owners(extent, size, body)
        pairs, adopted = pairs + len(found), adopted + sum(line >= 0 for line in owner)
    assert pairs > 100
    assert adopted > 100


def dots(height: int) -> NDArray[np.uint8]:
    """As many dots a square inch on every page."""
    rng = np.random.default_rng(0)
    page = np.full((height, 600), 255, np.uint8)
    for top, left in rng.integers(0, (height - 6, 594), (height * 600 // 160, 2)):
        side = int(rng.integers(3, 6))
        page[top : top + side, left : left + side] = 0
    return page


def test_twice_the_marks_are_twice_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    work: Counter[str] = Counter()

    def count(module: Any, name: str, amount: Callable[..., int]) -> None:
        plain = getattr(module, name)

        def counting(*args: Any) -> Any:
            work[f"{module.__name__}.{name}"] += amount(*args)
            return plain(*args)

        monkeypatch.setattr(module, name, counting)

    monkeypatch.setattr(lines, "MOST_SEGMENTS", 10**6)
    count(lines, "counted", lambda first, many: int(many.sum()))  # pairs, and the pixels of rectangles
    count(lines, "is_gutter", lambda *_: 1)
    count(layout, "_are_grids", lambda *_: 1)
    costs = []
    for height in (500, 1000):
        work.clear()
        assert len(find_lines(dots(height)).lines) > 50
        costs.append(dict(work))
    small, large = costs
    assert set(small) == {
        "vary.inputs.lines.counted",
        "vary.inputs.lines.is_gutter",
        "vary.inputs.layout._are_grids",
    }
    for name, amount in small.items():
        assert amount > 20, name
        assert large[name] <= 2.5 * amount, name


def test_marks_without_a_letter_height_are_no_lines_and_that_is_said() -> None:
    """Dots of a turned screen run together to rows as high as many of them: none has a base line."""
    y, x = np.mgrid[0:900, 0:700].astype(np.float32)
    across, along = x * np.cos(0.26) + y * np.sin(0.26), y * np.cos(0.26) - x * np.sin(0.26)
    screen = np.where(np.cos(across * np.pi / 3) + np.cos(along * np.pi / 3) > 0.6, 0, 255).astype(np.uint8)
    found = find_lines(screen)
    assert found.shapeless > 0
    assert min((line.text_height for line in found.lines), default=9.0) >= 1
    numbers = [line.block for line in found.lines]
    assert sorted(set(numbers)) == list(range(len(set(numbers))))
    windows = line_windows(screen)
    assert windows.shapeless == found.shapeless
    assert not whole_window(screen).blank
    message = build_page(PAGE, windows, [], seconds=1.0).message
    assert f"{found.shapeless} row(s) of marks without the height of letters were not read" in message


def test_marks_that_are_not_compared_are_counted_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    page = dots(300)
    assert line_windows(page).unseen == 0
    monkeypatch.setattr(lines, "MOST_SEGMENTS", 40)
    assert line_windows(page).unseen > 100
    windows = PageWindows([], True, 0.0, unseen=7)
    message = build_page(PAGE, windows, [], seconds=1.0).message
    assert "only the 2500 largest of 2507 groups of marks were searched" in message
