"""Calibration: lines judged against texts, bins counted by hand, ranks against pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vary.evaluation.calibration import area_under_curve, calibration, exact_lines
from vary.evaluation.reliability_plot import plot_calibrations

FOX = "The quick brown fox\njumps over the lazy dog.\n\nAnd again."


@pytest.mark.parametrize(
    ("lines", "exact"),
    [
        (["The quick brown fox", "jumps over the lazy dog.", "And again."], [1, 1, 1]),
        (["The quick", "brown fox jumps over", "the lazy dog. And", "again."], [1, 1, 1, 1]),  # other breaks
        (["The quick brown fux", "jumps over the lazy dog.", "And again."], [0, 1, 1]),
        (["The quick brown fox", "jumps  over\tthe lazy dog.", "And again."], [1, 1, 1]),
        (["The quick brown fox", "jumps over the lazy dog", "And again."], [1, 0, 0]),  # either may lack it
        (["The quick brown f", "ox jumps over the lazy dog.", "And again."], [0, 0, 1]),  # a word cut in two
        (["The quick brown fox", "~~~", "jumps over the lazy dog.", "And again."], [1, 0, 1, 1]),
        (["The quick brown fox", "", "jumps over the lazy dog.", "And again."], [1, 0, 1, 1]),
        ([], []),
    ],
)
def test_lines_are_exact_where_their_text_stands(lines: list[str], exact: list[int]) -> None:
    assert exact_lines(lines, FOX, "en") == list(map(bool, exact))


def test_chinese_needs_no_white_space() -> None:
    assert exact_lines(["電腦 有", "", "三台。"], "電腦有三\n台。", "zh") == [True, False, True]
    assert exact_lines(["電腦有", "四台。"], "電腦有三台。", "zh") == [True, False]


def test_what_stands_nowhere_is_not_exact() -> None:
    assert exact_lines(["noise"], "", "en") == [False]


@given(st.lists(st.text("ab ", min_size=1, max_size=12), min_size=1, max_size=6))
def test_the_truth_itself_is_exact(lines: list[str]) -> None:
    assert exact_lines(lines, "\n".join(lines), "en") == [bool(line.strip()) for line in lines]


def test_bins_counted_by_hand() -> None:
    found = calibration([0.95, 0.95, 0.9, 0.1], [True, False, True, False], bins=2)
    assert (found.lines, found.exact, found.confidence) == (4, 0.5, pytest.approx(0.725))
    assert [(each.lines, each.exact) for each in found.bins] == [(1, 0.0), (3, pytest.approx(2 / 3))]
    assert found.ece == pytest.approx((0.1 + 3 * abs(2.8 / 3 - 2 / 3)) / 4)
    assert [each.lines for each in found.bins_mass] == [2, 2]
    assert found.ece_mass == pytest.approx((2 * abs(0.5 - 0.5) + 2 * abs(0.95 - 0.5)) / 4)


def test_what_is_right_on_average_may_be_wrong_everywhere() -> None:
    assert calibration([1.0, 0.0], [False, True]).ece == 1.0
    assert calibration([1.0, 0.0], [True, False]).ece == 0.0


def test_drawn_as_it_says_it_is_calibrated() -> None:
    rng = np.random.default_rng(0)
    values = rng.beta(4, 1, 20000)
    exact = rng.random(20000) < values
    assert calibration(values.tolist(), exact.tolist()).ece < 0.01
    assert calibration((values**3).tolist(), exact.tolist()).ece > 0.1


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=30))
def test_the_area_is_the_share_of_pairs_in_order(lines: list[tuple[int, bool]]) -> None:
    good, bad = ([value for value, flag in lines if flag is wanted] for wanted in (True, False))
    area = area_under_curve(np.array([v for v, _ in lines], float), np.array([f for _, f in lines]))
    if not good or not bad:
        assert area is None
    else:
        pairs = [(one > other) + 0.5 * (one == other) for one in good for other in bad]
        assert area == pytest.approx(np.mean(pairs))


def test_no_lines_are_an_error() -> None:
    with pytest.raises(ValueError, match="0 confidences for 0 lines"):
        calibration([], [])


def test_the_plot_is_a_small_picture(tmp_path: Path) -> None:
    found = calibration([0.2, 0.9, 0.95, 1.0], [False, True, True, True])
    plot_calibrations({"en": found, "zh": found}, tmp_path / "plot.png")
    picture = (tmp_path / "plot.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 150_000
