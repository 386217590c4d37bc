"""Every decoding option does what it says: the same tokens as the library with the same option, by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from factories import alone, page_batch, random_model, tiny_opt_config, tiny_toy_config
from vary.engine.generation import generate
from vary.engine.guards import LoopFinding
from vary.engine.sampling import Sampling
from vary.errors import VaryError
from vary.model.configuration import VaryConfig
from vary.model.modeling import VaryForConditionalGeneration
from vary.model.vision_vocabulary import VisionVocabulary

END = 55
STEPS = 12
BOTH = [tiny_toy_config, tiny_opt_config]


def a_model(make: Callable[[], VaryConfig], seed: int = 0) -> VaryForConditionalGeneration:
    """A random model whose text ends at END, which happens now and then."""
    config = make()
    config.text_config.eos_token_id = END
    return random_model(config, seed)


def by_the_library(
    model: VaryForConditionalGeneration, batch: dict[str, Tensor], **options: Any
) -> list[int]:
    """The new tokens of the only row, the end of text and what follows it left out."""
    if (seed := options.pop("seed", None)) is not None:
        torch.manual_seed(seed)
    options = {"do_sample": "temperature" in options, "top_k": 0, "max_new_tokens": STEPS, **options}
    ids = model.generate(**batch, **options)[0, batch["input_ids"].shape[1] :].tolist()
    return ids[: ids.index(END)] if END in ids else ids


OPTIONS: list[dict[str, Any]] = [  # what our own loop draws is in test_drawing.py
    {},
    {"repetition_penalty": 1.8},
    {"no_repeat_ngram_size": 2},
    {"temperature": 1.3, "seed": 5},
    {"temperature": 0.7, "top_k": 4, "seed": 6},
    {"temperature": 2.0, "top_p": 0.6, "seed": 7},
    {"temperature": 1.5, "top_k": 20, "top_p": 0.9, "repetition_penalty": 1.3, "seed": 8},
    {"num_beams": 3},
    {"num_beams": 5, "no_repeat_ngram_size": 2},
    {"num_beams": 4, "repetition_penalty": 1.5},
    {"num_beams": 2, "temperature": 1.5, "seed": 9},
]


def by_library_or_certain(options: dict[str, Any]) -> bool:
    return "temperature" not in options or "num_beams" in options


@pytest.mark.parametrize("options", [one for one in OPTIONS if by_library_or_certain(one)], ids=str)
@pytest.mark.parametrize("make", BOTH)
def test_an_option_gives_what_the_library_gives(
    make: Callable[[], VaryConfig], options: dict[str, Any]
) -> None:
    for seed in range(2):
        model = a_model(make, seed)
        batch = page_batch(model.config, [1], seed=seed)
        [found] = generate(model, batch, STEPS, sampling=Sampling(**options))
        assert found.ids == by_the_library(model, batch, **options)


def test_every_option_changes_something() -> None:
    """Else the comparison above would compare nothing."""
    model = a_model(tiny_toy_config)
    batch = page_batch(model.config, [1])
    plain = generate(model, batch, STEPS)[0].ids

    def ids(**options: Any) -> list[int]:
        return generate(model, batch, STEPS, sampling=Sampling(**options))[0].ids

    assert [options for options in OPTIONS[1:] if ids(**options) == plain] == []
    drawn = {tuple(ids(temperature=2.0, top_k=1, seed=seed)) for seed in range(3)}
    assert drawn == {tuple(plain)}, "the likeliest token alone is greedy decoding, whatever the seed"


def test_what_a_checkpoint_prefers_has_no_effect() -> None:
    model = a_model(tiny_toy_config)
    batch = page_batch(model.config, [1])
    plain = generate(model, batch, STEPS)[0]
    model.generation_config.update(
        do_sample=True,
        temperature=3.0,
        top_p=0.5,
        repetition_penalty=2.0,
        num_beams=3,
        no_repeat_ngram_size=1,
    )
    again = generate(model, batch, STEPS)[0]
    assert (again.ids, again.logprobs) == (plain.ids, plain.logprobs)


def raw_logprobs(
    model: VaryForConditionalGeneration, batch: dict[str, Tensor], ids: list[int]
) -> list[float]:
    """The log-probability of every id by one forward over the whole text, without a cache."""
    whole = torch.cat([batch["input_ids"], torch.tensor([ids])], dim=1)
    with torch.no_grad():
        scores = model(
            **{**batch, "input_ids": whole, "attention_mask": torch.ones_like(whole)}, use_cache=False
        ).logits[0]
    table = scores.float().log_softmax(-1)[-len(ids) - 1 : -1]
    return [float(row[token]) for row, token in zip(table, ids, strict=True)]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("make", BOTH)
def test_logprobs_are_the_models_own_whatever_chose_the_tokens(
    make: Callable[[], VaryConfig], options: dict[str, Any]
) -> None:
    model = a_model(make, 1)
    batch = page_batch(model.config, [1], seed=1)
    [found] = generate(model, batch, STEPS, sampling=Sampling(**options))
    values = found.logprobs if found.end_logprob is None else [*found.logprobs, found.end_logprob]
    ids = found.ids if found.end_logprob is None else [*found.ids, END]
    assert values == pytest.approx(raw_logprobs(model, batch, ids), abs=1e-4)


@pytest.mark.parametrize(
    "options",
    [{}, {"num_beams": 3}, {"repetition_penalty": 1.8}, {"num_beams": 3, "repetition_penalty": 1.8}],
    ids=str,
)
@pytest.mark.parametrize("make", BOTH)
def test_rows_with_limits_of_their_own_are_as_alone(
    make: Callable[[], VaryConfig], options: dict[str, Any]
) -> None:
    model = a_model(make, 2)
    batch = page_batch(model.config, [2, 0, 1], seed=2)
    limits = [4, 9, 1]
    together = generate(model, batch, limits, sampling=Sampling(**options))
    for row, (found, limit) in enumerate(zip(together, limits, strict=True)):
        single = alone(model.config, batch, row)
        assert found.ids == by_the_library(model, single, **options, max_new_tokens=limit)
        [again] = generate(model, single, limit, sampling=Sampling(**options))
        assert (found.ids, found.finish_reason) == (again.ids, again.finish_reason)
        assert found.logprobs == pytest.approx(again.logprobs, abs=1e-4)
        assert found.finish_reason == "stop" or len(found.ids) == limit


def test_beams_find_a_likelier_answer_than_greed() -> None:
    better = 0
    for seed in range(6):
        model = a_model(tiny_toy_config, seed)
        batch = page_batch(model.config, [1], seed=seed)
        [greedy], [beams] = (generate(model, batch, 6, sampling=Sampling(num_beams=n)) for n in (1, 6))
        if greedy.finish_reason == beams.finish_reason == "length":
            assert sum(beams.logprobs) >= sum(greedy.logprobs) - 1e-4
            better += sum(beams.logprobs) > sum(greedy.logprobs) + 1e-4
    assert better


def test_a_guard_sees_the_answer_that_beams_chose_and_cuts_it() -> None:
    model = a_model(tiny_toy_config)
    batch = page_batch(model.config, [1])
    [free] = generate(model, batch, STEPS, sampling=Sampling(num_beams=3))
    seen: list[int] = []

    def guard(ids: Any) -> LoopFinding | None:
        seen.extend(ids)
        return LoopFinding("repeat", 1, 3, 0, None, 2, None, "enough") if len(seen) == 4 else None

    [cut] = generate(model, batch, STEPS, sampling=Sampling(num_beams=3), guards=[guard])
    assert seen == free.ids[:4]
    assert (cut.ids, cut.finish_reason) == (free.ids[:2], "loop")
    assert cut.logprobs == free.logprobs[:2]


def test_images_are_encoded_once_for_all_beams(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    encode = VisionVocabulary.encode

    def counted(self: VisionVocabulary, pixels: Tensor, *args: Any) -> Any:
        calls.append(len(pixels))
        return encode(self, pixels, *args)

    monkeypatch.setattr(VisionVocabulary, "encode", counted)
    model = a_model(tiny_toy_config)
    generate(model, page_batch(model.config, [2, 1]), 4, sampling=Sampling(num_beams=3))
    assert calls == [3]


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1.0},
        {"temperature": float("inf")},
        {"temperature": float("nan")},
        {"top_k": -1},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"repetition_penalty": 0.0},
        {"num_beams": 0},
        {"no_repeat_ngram_size": -2},
        {"seed": 2**64},
        {"seed": -(2**63) - 1},
    ],
    ids=str,
)
def test_impossible_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(VaryError, match=next(iter(wrong))):
        Sampling(**wrong)


@pytest.mark.parametrize("temperature", [1e-5, 1e-30, 5e-324])
def test_the_smallest_temperatures_take_the_likeliest_token(temperature: float) -> None:
    """Scores divided by them are infinite, if nothing is done about it."""
    model = a_model(tiny_toy_config)
    batch = page_batch(model.config, [1])
    [plain] = generate(model, batch, STEPS)
    [drawn] = generate(model, batch, STEPS, sampling=Sampling(temperature=temperature, seed=1))
    assert drawn.ids == plain.ids


@pytest.mark.parametrize("penalty", [1e-300, 1e-40, 1e-20, 1e40, 1e300])
@pytest.mark.parametrize("seed", [0, 2**64 - 1, -(2**63)])
def test_no_penalty_and_no_seed_is_too_much(penalty: float, seed: int) -> None:
    model = a_model(tiny_toy_config)
    sampling = Sampling(temperature=1e-5, repetition_penalty=penalty, seed=seed)
    [found] = generate(model, page_batch(model.config, [1]), STEPS, sampling=sampling)
    assert found.ids


def test_only_plain_decoding_is_greedy() -> None:
    assert Sampling().greedy
    assert Sampling(seed=3, top_k=2, top_p=0.5).greedy
    for options in OPTIONS[1:]:
        assert not Sampling(**options).greedy
