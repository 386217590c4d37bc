"""The CTC branch: greedy reading and alignment, against brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vary.engine.ctc import align, greedy_reading

BLANK = 0


def collapsed(path: tuple[int, ...]) -> list[int]:
    return [token for token, _ in itertools.groupby(path) if token != BLANK]


def test_greedy_reading_drops_blanks_and_repeats_within_the_valid_frames() -> None:
    path = [0, 3, 3, 0, 3, 1, 1, 2, 2]
    scores = torch.full((len(path), 4), -9.0)
    scores[range(len(path)), path] = -0.1
    reading = greedy_reading(scores, 7, BLANK)
    assert reading.ids == [3, 3, 1]
    assert reading.logprob == pytest.approx(-0.1)


@given(st.integers(0, 10_000), st.lists(st.integers(1, 2), max_size=3), st.integers(1, 6))
def test_alignment_is_the_best_of_all_paths(seed: int, ids: list[int], frames: int) -> None:
    scores = np.random.default_rng(seed).normal(size=(frames, 3)).astype(np.float32)
    paths = [path for path in itertools.product(range(3), repeat=frames) if collapsed(path) == ids]
    spans = align(scores, ids, BLANK)
    if not paths:
        assert spans is None
        return
    best = max(paths, key=lambda path: sum(scores[frame, token] for frame, token in enumerate(path)))
    groups = [
        (token, [frame for frame, _ in group])
        for token, group in itertools.groupby(enumerate(best), key=lambda pair: pair[1])
    ]
    expected = [(frames_of[0], frames_of[-1]) for token, frames_of in groups if token != BLANK]
    assert spans == expected


def test_an_empty_text_has_no_spans() -> None:
    assert align(np.zeros((4, 3), np.float32), [], BLANK) == []


def test_what_the_branch_holds_impossible_has_no_place() -> None:
    scores = np.zeros((5, 3), np.float32)
    scores[:, 2] = -np.inf
    assert align(scores, [1, 2], BLANK) is None
    assert align(scores, [1], BLANK) is not None
