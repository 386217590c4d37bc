"""Drawn and penalised tokens: the library's distribution, and the same tokens however they are decoded."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    LogitsProcessorList,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from vary.engine.drawing import BLOCK, Chooser, Past, draw, punish, weigh
from vary.engine.sampling import Sampling

CPU = torch.device("cpu")
SAMPLINGS = st.builds(
    Sampling,
    temperature=st.sampled_from([0.05, 0.7, 1.0, 1.9]),
    top_k=st.sampled_from([0, 1, 3, 12, 500]),
    top_p=st.sampled_from([1.0, 0.95, 0.5, 0.01]),
    repetition_penalty=st.sampled_from([1.0, 1.3, 0.6]),
    seed=st.integers(0, 5),
)


def scores_of(seed: int, rows: int = 1, vocabulary: int = 40) -> Tensor:
    """Some tokens are as likely as others, and two are not to be chosen."""
    scores = 4 * torch.randn((rows, vocabulary), generator=torch.Generator().manual_seed(seed))
    scores[:, 5:9] = scores[:, 4:5]
    scores[:, [1, 20]] = -torch.inf
    return scores


def by_the_library(sampling: Sampling) -> LogitsProcessorList:
    """What the library does to scores before it draws."""
    found = LogitsProcessorList()
    if sampling.repetition_penalty != 1:
        found.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
    if sampling.no_repeat_ngram_size:
        found.append(NoRepeatNGramLogitsProcessor(sampling.no_repeat_ngram_size))
    if sampling.temperature not in (0, 1):
        found.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.temperature and sampling.top_k:
        found.append(TopKLogitsWarper(sampling.top_k))
    if sampling.temperature and sampling.top_p < 1:
        found.append(TopPLogitsWarper(sampling.top_p))
    return found


@given(st.integers(0, 100), SAMPLINGS, st.lists(st.integers(0, 39), min_size=1, max_size=20))
def test_what_is_kept_and_how_likely_it_is(seed: int, sampling: Sampling, past: list[int]) -> None:
    scores = scores_of(seed)
    expected = by_the_library(sampling)(torch.tensor([past]), scores.clone())
    seen = torch.zeros_like(scores, dtype=torch.bool)
    seen[0, past] = True
    found = weigh(punish(scores, seen, sampling.repetition_penalty), sampling)
    assert torch.equal(found.isinf(), expected.isinf())
    torch.testing.assert_close(found.softmax(-1), expected.softmax(-1))


@given(st.integers(0, 100), SAMPLINGS)
def test_the_tokens_share_the_numbers_from_0_to_1_as_they_are_likely(seed: int, sampling: Sampling) -> None:
    """Exactly: each token has the stretch of its probability, and one that is not kept has none."""
    weighed = weigh(scores_of(seed), sampling)
    numbers = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    drawn = Counter(draw(weighed.expand(len(numbers), -1), numbers).tolist())
    for token, chance in enumerate(weighed[0].double().softmax(-1).tolist()):
        assert drawn[token] / 20_000 == pytest.approx(chance, abs=1.01 / 20_000)
        assert chance > 0 or not drawn[token]


@pytest.mark.parametrize("kind", [torch.float64, torch.float32])
def test_the_ends_are_drawn_from_what_is_kept(kind: torch.dtype) -> None:
    scores = torch.full((3, 10), -torch.inf)
    scores[:, [3, 6]] = 0.0
    numbers = torch.tensor([0.0, 0.5, math.nextafter(1.0, 0.0)]).to(kind)
    assert draw(scores, numbers).tolist() == [3, 6, 6]


def test_answers_follow_the_distribution() -> None:
    """A chi-square test of what answers with different seeds draw at their third place."""
    weighed, drawn, answers = weigh(scores_of(1), Sampling(temperature=1.0, top_k=6)), Counter[int](), 4000
    for seed in range(answers):
        sampling = Sampling(temperature=1.0, top_k=6, seed=seed)
        chooser = Chooser(sampling, 40, CPU)
        past = chooser.begin([1, 2])
        past.follow([3, 4])
        [token] = chooser.choose(scores_of(1), [(past, [])])
        drawn[token] += 1
    chances = weighed[0].softmax(-1)
    kept = chances.nonzero()[:, 0].tolist()
    assert set(drawn) <= set(kept)
    square = sum(
        (drawn[token] - answers * float(chances[token])) ** 2 / (answers * float(chances[token]))
        for token in kept
    )
    assert square < 30, "at most six kinds of tokens or a few more that are as likely: 1 in 10,000"


def test_every_place_has_its_number_however_it_is_asked_for() -> None:
    whole = Past([1], None, 7, drawn=True).uniforms(2 * BLOCK + 5)
    assert float(whole.min()) >= 0
    assert float(whole.max()) < 1
    assert len(set(whole.tolist())) == len(whole)
    past, rng, done = Past([2, 3], None, 7, drawn=True), random.Random(0), 0
    while done < 2 * BLOCK - 20:
        ahead = rng.randint(1, 20)
        assert torch.equal(past.uniforms(ahead), whole[done : done + ahead])
        taken = rng.randint(1, ahead)
        past.follow([0] * taken)
        done += taken


def test_without_a_seed_answers_differ_and_follow_torch() -> None:
    def drawn() -> list[list[float]]:
        torch.manual_seed(3)
        return [Past([], None, None, drawn=True).uniforms(4).tolist() for _ in range(2)]

    first = drawn()
    assert first[0] != first[1]
    assert drawn() == first
    assert Past([], None, 0, drawn=True).uniforms(4).tolist() not in first


def one_by_one(sampling: Sampling, scores: Tensor, prompt: list[int]) -> list[int]:
    chooser = Chooser(sampling, scores.shape[1], CPU)
    past = chooser.begin(prompt)
    for row in scores:
        past.follow(chooser.choose(row[None], [(past, [])]))
    return past.ids[len(prompt) :]


@given(
    st.integers(0, 50),
    SAMPLINGS,
    st.sampled_from([0, 0, 2]),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_checking_several_at_once_changes_nothing(
    seed: int, sampling: Sampling, ngram: int, drawn: bool, rng: random.Random
) -> None:
    """Two answers side by side, with proposals that are right for a while."""
    fields: dict[str, Any] = {"no_repeat_ngram_size": ngram} | ({} if drawn else {"temperature": 0.0})
    sampling = replace(sampling, **fields)
    tables, prompts = [scores_of(seed, 14), scores_of(seed + 1, 14)], [[3, 3, 8], [9]]
    expected = [one_by_one(sampling, table, prompt) for table, prompt in zip(tables, prompts, strict=True)]
    chooser = Chooser(sampling, 40, CPU)
    pasts = [chooser.begin(prompt) for prompt in prompts]
    while any(past.length < 14 for past in pasts):
        places, scores = [], []
        for past, table, answer in zip(pasts, tables, expected, strict=True):
            if past.length == 14:
                continue
            proposed = answer[past.length :][: rng.randint(0, min(4, 13 - past.length))]
            if proposed and rng.random() < 0.4:
                proposed[rng.randrange(len(proposed))] = rng.randrange(40)
            places.append((past, proposed))
            scores.append(table[past.length : past.length + len(proposed) + 1])
        chosen = chooser.choose(torch.cat(scores), places)
        for past, proposed in places:
            own, chosen = chosen[: len(proposed) + 1], chosen[len(proposed) + 1 :]
            right = next((at for at, token in enumerate(proposed) if own[at] != token), len(proposed))
            past.follow(own[: right + 1])
    assert [past.ids[len(prompt) :] for past, prompt in zip(pasts, prompts, strict=True)] == expected


@given(st.integers(0, 50), SAMPLINGS, st.booleans(), st.lists(st.integers(1, 6), min_size=1, max_size=5))
def test_running_ahead_changes_nothing(seed: int, sampling: Sampling, drawn: bool, spans: list[int]) -> None:
    if not drawn:
        sampling = Sampling(repetition_penalty=sampling.repetition_penalty)
    length = sum(spans)
    tables, prompts = [scores_of(seed, length), scores_of(seed + 1, length)], [[3, 3, 8], [9]]
    chooser = Chooser(sampling, 40, CPU)
    pasts = [chooser.begin(prompt) for prompt in prompts]
    done = 0
    for steps in spans:
        draws = chooser.draws(pasts, steps)
        rows = [
            draws.choose(torch.stack([table[done + step] for table in tables]), step) for step in range(steps)
        ]
        for past, ids in zip(pasts, torch.stack(rows, 1).tolist(), strict=True):
            past.follow(ids)
        done += steps
    assert [past.ids[len(prompt) :] for past, prompt in zip(pasts, prompts, strict=True)] == [
        one_by_one(sampling, table, prompt) for table, prompt in zip(tables, prompts, strict=True)
    ]


class Waits(TorchDispatchMode):
    """Fails where a number of a tensor is asked for, or a shape depends on one: there a GPU is waited for."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(function)
        assert not any(part in name for part in ("_local_scalar_dense", "nonzero", "masked_select")), name
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("top_p", [1.0, 0.7])
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_choosing_ahead_waits_for_nothing(temperature: float, top_p: float) -> None:
    sampling = Sampling(temperature, top_k=4, top_p=top_p, repetition_penalty=1.4, seed=2)
    chooser = Chooser(sampling, 40, CPU)
    draws, scores = chooser.draws([chooser.begin([1, 2]), chooser.begin([3])], 2), scores_of(0, 2)
    with Waits():
        for step in range(2):
            draws.choose(scores, step)
    with pytest.raises(AssertionError, match="_local_scalar_dense"), Waits():
        int(scores.argmax())


@given(st.integers(0, 50), st.integers(1, 3), st.lists(st.integers(2, 6), min_size=1, max_size=30))
def test_no_ngram_is_said_twice(seed: int, size: int, prompt: list[int]) -> None:
    sampling = Sampling(no_repeat_ngram_size=size, repetition_penalty=1.2)
    scores, processors, past = scores_of(seed, 20), by_the_library(sampling), list(prompt)
    for row in scores:
        past.append(int(processors(torch.tensor([past]), row[None].clone()).argmax()))
    assert one_by_one(sampling, scores, prompt) == past[len(prompt) :]
