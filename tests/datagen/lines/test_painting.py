"""Painted pages: every line where it is said to be, and found lines paired without mistakes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vary.datagen.degradation.geometry import Geometry, Matrix, Wave
from vary.datagen.fonts import FontCatalogue
from vary.datagen.lines.engine import _moved as moved_lines
from vary.datagen.lines.painting import LinePlan, PagePlan, PaintedLine, match_lines, paint_page

TEXTS = ("Typography quickly", "jumps, (over) it", "no descender or")


@pytest.fixture
def plan(catalogue: FontCatalogue) -> PagePlan:
    face = next(face for face in catalogue.faces if face.name == "DejaVu Sans Book")
    lines = tuple(LinePlan(text, "test", 20.0, 40.0 + 40 * row) for row, text in enumerate(TEXTS))
    return PagePlan(face=face, size=20, width=320, height=160, lines=lines)


@pytest.mark.parametrize(
    "change", [{}, {"scale": 2}, {"raqm": True}, {"tracking": 1.5}, {"paper": 30, "ink": 240}]
)
def test_boxes_are_the_ink(plan: PagePlan, change: dict[str, int]) -> None:
    plan = replace(plan, **change)
    page = paint_page(plan)
    assert page.gray.shape == (160, 320)
    ink = np.abs(page.gray.astype(int) - plan.paper) > 25
    assert [line.text for line in page.lines] == list(TEXTS)
    for line in page.lines:
        rows = slice(round(line.plan.baseline) - 20, round(line.plan.baseline) + 12)
        ys, xs = np.nonzero(ink[rows])
        measured = (xs.min(), ys.min() + rows.start, xs.max() + 1, ys.max() + 1 + rows.start)
        assert np.allclose(measured, (line.left, line.top, line.right, line.bottom), atol=1.01)
        assert line.top < line.core_top < line.core_bottom <= line.bottom + 0.5
    assert page.gray[0, 0] == plan.paper


def test_a_gap_widens_the_blanks_only(plan: PagePlan) -> None:
    first = plan.lines[0]
    narrow = paint_page(replace(plan, lines=(first,))).lines[0]
    wide = paint_page(replace(plan, lines=(replace(first, gap=10.0),))).lines[0]
    assert wide.left == narrow.left
    assert wide.right - narrow.right == pytest.approx(10, abs=1.5)


def test_underlining_adds_ink_below_and_keeps_the_box(plan: PagePlan) -> None:
    line = plan.lines[2]
    plain = paint_page(replace(plan, lines=(line,)))
    ruled = paint_page(replace(plan, lines=(replace(line, underlined=(0, 1, 2)),)))
    below = round(line.baseline) + 1
    assert (plain.gray[below:] == 255).all()
    assert (ruled.gray[below:] < 128).sum() > 100
    assert ruled.lines[0].bottom == plain.lines[0].bottom


def test_a_line_that_runs_off_the_page_is_not_painted(plan: PagePlan) -> None:
    long = LinePlan("far too long a line " * 4, "test", 20.0, 40.0)
    spread = replace(long, gap=1.0)  # set word by word: the first ones would fit
    for line in (long, spread, replace(spread, underlined=(0,))):
        page = paint_page(replace(plan, lines=(line,)))
        assert page.lines == []
        assert (page.gray == plan.paper).all()


def painted(left: float, top: float, right: float, bottom: float) -> PaintedLine:
    line = LinePlan("text", "test", left, bottom - 5)
    return PaintedLine(line, left, top, right, bottom, core_top=top + 5, core_bottom=bottom - 5)


TRUTH = [painted(10, 10, 200, 30), painted(10, 40, 150, 60)]


def test_lines_move_with_the_page() -> None:
    """Against each point of each edge moved by itself."""
    matrix = np.array([[0.99, -0.1, 7.0], [0.1, 0.99, -3.0]])
    geometry = Geometry(
        (Wave(2.0, 90.0, 0.4), Matrix(np.array([[1, 0.02, 3], [-0.01, 1, 2], [0, 1e-5, 1.0]])))
    )
    for line, moved in zip(TRUTH, moved_lines(TRUTH, geometry, matrix), strict=True):
        edges = []
        for row in (line.top, line.bottom, line.core_top, line.core_bottom):
            points = np.array([(x, row) for x in np.linspace(line.left, line.right, 9)])
            edges.append(geometry.apply(points) @ matrix[:, :2].T + matrix[:, 2])
        core = np.concatenate(edges[2:])
        assert moved.plan is line.plan
        assert moved.left == pytest.approx(core[:, 0].min())
        assert moved.right == pytest.approx(core[:, 0].max())
        assert moved.top == pytest.approx(edges[0][:, 1].min())
        assert moved.bottom == pytest.approx(edges[1][:, 1].max())
        assert moved.core_top == pytest.approx(np.median(edges[2][:, 1]))
        assert moved.core_bottom == pytest.approx(np.median(edges[3][:, 1]))
    assert moved_lines([], geometry, matrix) == []


def test_exact_boxes_are_paired() -> None:
    pairs, dropped = match_lines([(10, 41, 151, 59), (11, 10, 200, 30)], TRUTH, em=16, slack=2)
    assert pairs == [(0, 1), (1, 0)]
    assert not dropped


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ([(10, 10, 200, 60)], "several lines in one"),
        ([(10, 10, 180, 30)], "cut left or right"),
        ([(25, 10, 200, 30)], "cut left or right"),
        ([(10, 10, 200, 21)], "cut above or below"),
        ([(300, 10, 400, 30)], "nothing painted here"),
        ([(10, 70, 200, 90)], "nothing painted here"),
        ([(10, 10, 200, 30), (11, 11, 199, 29)], "found twice"),
        ([(10, 10, 100, 30), (110, 10, 200, 30)], "cut left or right"),
    ],
)
def test_a_doubtful_box_is_dropped_and_counted(
    found: list[tuple[float, float, float, float]], reason: str
) -> None:
    pairs, dropped = match_lines(found, TRUTH, em=16, slack=2)
    assert pairs == []
    assert dropped[reason] == len(found)
    assert dropped["not found"] == 2
