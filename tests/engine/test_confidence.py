"""The map from a reading to the probability that its line is right, and its fit."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vary.engine.confidence import LineConfidence, doubt_of, fit_confidence, sense_of
from vary.engine.generation import Generation
from vary.engine.lines import LineReading
from vary.errors import CheckpointError

MAP = LineConfidence(half=1.4, slope=1.5)


def reading(probabilities: list[float], *, end: float | None = -0.01, finish: str = "stop") -> LineReading:
    ids = list(range(len(probabilities)))
    generation = Generation(ids, [math.log(max(p, 1e-30)) for p in probabilities], finish, end)
    return LineReading(generation, probabilities, None, 0)


def test_the_formula() -> None:
    doubt = -math.log(0.9 * 0.8) + 0.05
    assert MAP(reading([0.9, 0.8], end=-0.05)) == pytest.approx(1 / (1 + (doubt / 1.4) ** 1.5))


@pytest.mark.parametrize(("decoder", "frames"), [([0.9, 0.9], [0.5, 0.5]), ([1e-9, 1e-9], [0.9, 0.8])])
def test_the_surer_branch_counts(decoder: list[float], frames: list[float]) -> None:
    generation = Generation([1, 2], [math.log(p) for p in decoder], "stop", -0.02)
    joint = [math.sqrt(a * b) for a, b in zip(decoder, frames, strict=True)]
    both = LineReading(generation, joint, [(0, 0), (1, 1)], 2)
    doubts = -sum(map(math.log, decoder)) + 0.02, -sum(map(math.log, frames))
    assert doubt_of(both) == pytest.approx(min(doubts))
    assert doubt_of(LineReading(generation, decoder, None, 0)) == pytest.approx(doubts[0])
    assert sense_of(both) == pytest.approx(max(np.mean(decoder), np.mean(frames)))
    assert sense_of(LineReading(generation, decoder, None, 0)) == pytest.approx(np.mean(decoder))


def test_half_is_where_half_of_the_lines_are_right() -> None:
    assert MAP(reading([math.exp(-1.4)], end=0.0)) == pytest.approx(0.5)


def test_confidence_falls_with_doubt_and_length() -> None:
    sure = MAP(reading([0.99] * 20))
    assert sure > MAP(reading([0.99] * 60))
    assert sure > MAP(reading([0.99] * 19 + [0.5]))
    assert sure > MAP(reading([0.99] * 20, end=-1.0))


@pytest.mark.parametrize("finish", ["loop", "length"])
def test_a_line_that_did_not_end_is_not_right(finish: str) -> None:
    assert MAP(reading([1.0, 1.0], end=None, finish=finish)) == 0.0


@pytest.mark.parametrize("probabilities", [[], [1.0] * 300, [0.0] * 300, [1e-300]])
def test_extremes_stay_probabilities(probabilities: list[float]) -> None:
    assert 0.0 <= MAP(reading(probabilities, end=0.0)) <= 1.0
    assert 0.0 <= LineConfidence(1e-6, 1e6)(reading(probabilities, end=0.0)) <= 1.0


def test_the_fit_finds_the_map_that_made_the_lines() -> None:
    rng = np.random.default_rng(1)
    readings = [reading(rng.uniform(0.9 ** rng.integers(0, 8), 1, 10).tolist()) for _ in range(6000)]
    exact = [bool(rng.random() < MAP(one)) for one in readings]
    found = fit_confidence(readings, exact)
    assert found.half == pytest.approx(MAP.half, rel=0.1)
    assert found.slope == pytest.approx(MAP.slope, rel=0.1)
    means = np.mean([found(one) for one in readings]), np.mean(exact)
    assert means[0] == pytest.approx(means[1], abs=0.005)


def test_the_fit_stays_finite_where_lines_are_told_apart_without_an_error() -> None:
    found = fit_confidence([reading([0.999]), reading([0.1])] * 5, [True, False] * 5)
    assert all(math.isfinite(value) for value in found.as_dict().values())


def test_the_fit_needs_lines_of_both_kinds() -> None:
    with pytest.raises(ValueError, match="2 of 2 lines are exact"):
        fit_confidence([*[reading([0.9])] * 2, reading([0.9], finish="loop")], [True, True, False])


def test_nothing_makes_no_sense() -> None:
    assert sense_of(reading([])) == 0.0


def test_a_doubt_is_never_nothing() -> None:
    assert doubt_of(reading([1.0], end=0.0)) > 0


def test_a_model_that_is_surest_where_it_is_wrong_has_no_map() -> None:
    with pytest.raises(ValueError, match="doubtful lines are exact as often"):
        fit_confidence([reading([0.999]), reading([0.1])] * 5, [False, True] * 5)


def test_configurations_hold_two_numbers_or_none() -> None:
    assert LineConfidence.of(None) is None
    assert LineConfidence.of(MAP.as_dict()) == MAP
    for wrong in (
        {"half": 1.0},
        {**MAP.as_dict(), "more": 1},
        {"half": "1", "slope": 1},
        [1, 2],
        {"half": 0, "slope": 1},
    ):
        with pytest.raises(CheckpointError, match="expected numbers above 0 for half and slope"):
            LineConfidence.of(wrong)
    with pytest.raises(CheckpointError):
        LineConfidence.of({"half": math.nan, "slope": 1.0})
