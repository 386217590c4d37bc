"""The native look through a head's scores, against PyTorch's own."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from factories import random_model, tiny_toy_config
from vary.engine.surveys import NativeSurvey, use_native_survey
from vary.errors import NativeError


def head(width: int, outputs: int, seed: int, *, bias: bool = False) -> torch.nn.Linear:
    torch.manual_seed(seed)
    made = torch.nn.Linear(width, outputs, bias=bias)
    torch.nn.init.normal_(made.weight, 0.0, 1.0)
    return made


@given(
    width=st.sampled_from([1, 7, 16, 192, 400]),
    outputs=st.sampled_from([1, 15, 16, 17, 130, 1000]),
    states=st.sampled_from([1, 5, 96, 97, 250]),
    scale=st.sampled_from([0.0, 1.0, 30.0]),
    bias=st.booleans(),
    threads=st.sampled_from([1, 2]),
)
@torch.inference_mode()
def test_the_likeliest_and_the_total_are_the_scores_own(
    width: int, outputs: int, states: int, scale: float, bias: bool, threads: int
) -> None:
    made = head(width, outputs, width + outputs, bias=bias)
    hidden = torch.randn(states, width) * scale
    never = [0, outputs // 2] if outputs > 2 else []
    scores = made(hidden).double()
    scores[:, never] = -torch.inf
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        best, totals = NativeSurvey(made)(hidden, never)
    finally:
        torch.set_num_threads(before)
    size = scores.abs().nan_to_num(posinf=0).max().clamp(min=1)
    near = float(2e-6 * size) + 1e-6
    torch.testing.assert_close(totals.double(), scores.logsumexp(-1), rtol=1e-6, atol=near)
    chosen = scores.gather(1, best[:, None])[:, 0]
    assert bool((chosen >= scores.max(-1).values - 1e-5 * size).all())  # of nearly equal ones either
    assert not set(best.tolist()) & set(never)


@torch.inference_mode()
def test_of_equal_scores_the_first_is_taken() -> None:
    made = torch.nn.Linear(4, 40, bias=False)
    made.weight.zero_()
    best, totals = NativeSurvey(made)(torch.ones(3, 4), [0, 1])
    assert best.tolist() == [2, 2, 2]
    torch.testing.assert_close(totals, torch.full((3,), 38.0).log())


@torch.inference_mode()
def test_the_same_bits_in_any_company() -> None:
    survey, hidden = NativeSurvey(head(192, 333, 3)), torch.randn(200, 192)
    best, totals = survey(hidden, [4])
    for first, last in ((0, 1), (50, 150), (96, 200)):
        some, sums = survey(hidden[first:last], [4])
        assert torch.equal(some, best[first:last])
        assert torch.equal(sums, totals[first:last])


def test_a_model_in_half_precision_is_refused() -> None:
    with pytest.raises(NativeError, match="bfloat16"):
        use_native_survey(random_model(tiny_toy_config()).to(torch.bfloat16))
