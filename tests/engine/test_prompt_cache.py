"""A cache that goes on: the same tokens as without one, and nothing is read twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from factories import IMAGE, page_batch, random_model, tiny_opt_config, tiny_text, tiny_toy_config
from vary.engine.decoders.library import LibraryDecoder
from vary.engine.generation import generate
from vary.engine.prompt_cache import PromptCache
from vary.engine.sampling import Sampling
from vary.errors import VaryError
from vary.model.configuration import VaryConfig
from vary.model.modeling import VaryForConditionalGeneration, VaryImageFeatures

BOTH = [tiny_toy_config, tiny_opt_config]
PIXELS = ("pixel_values", "pixel_values_clip")
OPTIONS: list[dict[str, Any]] = [
    {},
    {"num_beams": 3},
    {"temperature": 1.5, "seed": 3},
    {"repetition_penalty": 1.5, "no_repeat_ngram_size": 3},
]


def encode(model: VaryForConditionalGeneration, batch: dict[str, Tensor]) -> VaryImageFeatures:
    with torch.inference_mode():
        return model.get_image_features(**{name: batch[name] for name in PIXELS if name in batch})


def ask(
    model: VaryForConditionalGeneration,
    ids: list[int],
    features: VaryImageFeatures | None,
    limit: int = 5,
    **options: Any,
) -> Any:
    prompt = torch.tensor([ids])
    inputs: dict[str, Any] = {"input_ids": prompt, "attention_mask": torch.ones_like(prompt)}
    if features is not None:
        inputs["mm_encoder_outputs"] = {"image": features}
    return generate(model, inputs, limit, **options)[0]


@contextmanager
def counted_steps(model: VaryForConditionalGeneration) -> Iterator[list[tuple[int, int]]]:
    """(rows, tokens) of every forward of the language model."""
    steps: list[tuple[int, int]] = []

    def note(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        steps.append(tuple(kwargs["inputs_embeds"].shape[:2]))

    hook = model.model.language_model.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield steps
    finally:
        hook.remove()


@pytest.fixture
def library_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every text model is taken for one whose keys and values only the library can keep."""
    monkeypatch.setattr(LibraryDecoder, "supports", staticmethod(lambda model: False))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("make", BOTH)
def test_the_librarys_cache_gives_what_ours_gives(
    make: Callable[[], VaryConfig], options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_model(make())
    model.generation_config.suppress_tokens = [IMAGE]
    batch = page_batch(model.config, [1])
    features = encode(model, batch)
    ids = batch["input_ids"][0].tolist()
    sampling = Sampling(**options)

    def two_turns() -> list[Any]:
        cache = PromptCache(model)
        first = ask(model, ids, features, sampling=sampling, cache=cache)
        return [first, ask(model, [*ids, *first.ids, 7, 8], features, sampling=sampling, cache=cache)]

    ours = two_turns()
    monkeypatch.setattr(LibraryDecoder, "supports", staticmethod(lambda model: False))
    theirs = two_turns()
    assert [turn.ids for turn in ours] == [turn.ids for turn in theirs]
    for turn, other in zip(ours, theirs, strict=True):
        assert turn.logprobs == pytest.approx(other.logprobs, abs=1e-4)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("new", [1, 2, 5])
@pytest.mark.parametrize("make", BOTH)
def test_turn_after_turn_equals_decoding_anew(
    make: Callable[[], VaryConfig], new: int, options: dict[str, Any]
) -> None:
    """Prompts that grow by 1, 2 or 5 tokens behind each answer."""
    model = random_model(make())
    model.generation_config.suppress_tokens = [IMAGE]  # without a cache it would be taken for a slot
    batch = page_batch(model.config, [1])
    features = encode(model, batch)
    cache = PromptCache(model)
    sampling = Sampling(**options)
    ids = batch["input_ids"][0].tolist()
    for turn in range(4):
        found = ask(model, ids, features, sampling=sampling, cache=cache)
        anew = ask(model, ids, features, sampling=sampling)
        assert found.ids == anew.ids, f"turn {turn}"
        assert found.logprobs == pytest.approx(anew.logprobs, abs=1e-4)
        ids = [*ids, *found.ids, *range(2 + turn, 2 + turn + new)]
        assert cache.ids == ids[: len(cache.ids)]


@pytest.mark.parametrize("beams", [1, 3])
def test_only_what_is_new_is_read(beams: int) -> None:
    model = random_model(tiny_toy_config())
    batch = page_batch(model.config, [1])
    features = encode(model, batch)
    cache = PromptCache(model)
    sampling = Sampling(num_beams=beams)
    ids = batch["input_ids"][0].tolist()
    with counted_steps(model) as steps:
        first = ask(model, ids, features, sampling=sampling, cache=cache)
    assert sum(tokens for rows, tokens in steps if rows == 1) == len(ids) + 4
    with counted_steps(model) as steps:
        ask(model, [*ids, *first.ids, 7, 8, 9], features, sampling=sampling, cache=cache)
    # The answer's last token had not been read yet; then three new ones, then four of the second answer.
    assert sum(tokens for rows, tokens in steps if rows == 1) == 1 + 3 + 4
    if beams > 1:
        assert {tokens for rows, tokens in steps if rows == beams} == {1}


def test_a_prompt_that_turns_off_goes_back_to_where_it_did() -> None:
    model = random_model(tiny_toy_config())
    batch = page_batch(model.config, [1, 1])
    both = encode(model, batch).pooler_output
    features = VaryImageFeatures(pooler_output=both[:1])
    ids = batch["input_ids"][1].tolist()
    cache = PromptCache(model)
    ask(model, ids, features, cache=cache)
    other = [*ids[:-2], 5, 6, 7]
    assert cache.shared(other, features) == len(ids) - 2
    assert ask(model, other, features, cache=cache).ids == ask(model, other, features).ids
    shorter = other[:-1]
    assert cache.shared(shorter, features) == len(shorter) - 1
    assert ask(model, shorter, features, cache=cache).ids == ask(model, shorter, features).ids
    image = ids.index(IMAGE)
    within = [*ids[: image + 2], *ids[image:]]  # the first image tokens are kept, the others move
    more = VaryImageFeatures(pooler_output=torch.cat([both[0], both[1][:2]])[None])
    assert ask(model, within, more, cache=cache).ids == ask(model, within, more).ids
    changed = [*ids[: image + 2], 3, *ids[image + 2 :]]
    ask(model, ids, features, cache=cache)
    assert cache.shared(changed, features) == image + 2
    assert ask(model, changed, features, cache=cache).ids == ask(model, changed, features).ids


def test_another_image_is_another_beginning() -> None:
    model = random_model(tiny_toy_config())
    batch = page_batch(model.config, [1, 1])
    first, second = (VaryImageFeatures(pooler_output=one[None]) for one in encode(model, batch).pooler_output)
    ids = batch["input_ids"][1].tolist()
    cache = PromptCache(model)
    answers = [ask(model, ids, features, cache=cache).logprobs for features in (first, second, first)]
    assert answers[0] == pytest.approx(answers[2], abs=1e-4)
    assert answers[0] != pytest.approx(answers[1], abs=1e-2)
    assert answers[1] == pytest.approx(ask(model, ids, second).logprobs, abs=1e-4)


def test_without_images_too() -> None:
    model = random_model(tiny_opt_config())
    cache = PromptCache(model)
    first = ask(model, [5], None, cache=cache)
    assert first.ids == ask(model, [5], None).ids
    beams = ask(model, [6], None, cache=cache, sampling=Sampling(num_beams=2))
    assert beams.ids == ask(model, [6], None, sampling=Sampling(num_beams=2)).ids


@pytest.mark.parametrize("beams", [1, 2])
def test_a_prompt_that_ends_in_its_image(beams: int) -> None:
    model = random_model(tiny_toy_config())
    features = encode(model, page_batch(model.config, [1]))
    ids = [5, 6, *[IMAGE] * 4]
    cache = PromptCache(model)
    sampling = Sampling(num_beams=beams)
    for _ in range(2):
        found = ask(model, ids, features, cache=cache, sampling=sampling)
        assert found.ids == ask(model, ids, features, sampling=sampling).ids


@pytest.mark.parametrize("beams", [1, 2])
@pytest.mark.parametrize("step", [0, 1, 3])
@pytest.mark.parametrize("layer", [0, 1])
def test_an_interrupted_step_leaves_a_cache_to_go_on_with(layer: int, step: int, beams: int) -> None:
    """The interruption comes between the two layers of a step, so that their caches differ in length."""
    model = random_model(tiny_toy_config())
    batch = page_batch(model.config, [1])
    features = encode(model, batch)
    ids = batch["input_ids"][0].tolist()
    cache = PromptCache(model)
    sampling = Sampling(num_beams=beams)
    first = ask(model, ids, features, cache=cache, sampling=sampling)
    longer = [*ids, *first.ids, 7, 8, 9]
    calls: list[int] = []

    def stop(module: Any, args: Any) -> None:
        calls.append(1)
        if len(calls) > step:
            raise KeyboardInterrupt

    hook = model.model.language_model.layers[layer].register_forward_pre_hook(stop)
    with pytest.raises(KeyboardInterrupt):
        ask(model, longer, features, cache=cache, sampling=sampling)
    hook.remove()
    assert len(ids) <= len(cache.ids) <= len(longer)
    assert cache.ids == longer[: len(cache.ids)]
    assert (
        ask(model, longer, features, cache=cache, sampling=sampling).ids
        == ask(model, longer, features, sampling=sampling).ids
    )


@pytest.mark.usefixtures("library_cache")
def test_an_interruption_while_it_forgets_leaves_a_cache_to_go_on_with() -> None:
    class Interrupting:
        def __getitem__(self, index: Any) -> Any:
            raise KeyboardInterrupt

    model = random_model(tiny_toy_config())
    cache = PromptCache(model)
    ids = [5, 6, 7, 8, 9, 10]
    ask(model, ids, None, cache=cache)
    layer = cache.cache.layers[1]
    keys, layer.keys = layer.keys, Interrupting()
    with pytest.raises(KeyboardInterrupt):
        cache.cut(3)
    layer.keys = keys
    assert cache.ids == ids[:3]
    assert ask(model, ids, None, cache=cache).ids == ask(model, ids, None).ids


def test_an_interrupted_first_prompt_leaves_an_empty_cache() -> None:
    model = random_model(tiny_opt_config())
    cache = PromptCache(model)

    def stop(module: Any, args: Any) -> None:
        raise KeyboardInterrupt

    hook = model.model.language_model.decoder.layers[1].register_forward_pre_hook(stop)
    with pytest.raises(KeyboardInterrupt):
        ask(model, [5, 6, 7], None, cache=cache)
    hook.remove()
    assert cache.ids == []
    assert ask(model, [5, 6, 7], None, cache=cache).ids == ask(model, [5, 6, 7], None).ids


def test_layers_that_forget_are_read_anew() -> None:
    """A sliding window has dropped its beginning, so nothing of it can be kept."""
    config = tiny_toy_config().to_dict()
    config["text_config"] = tiny_text(use_sliding_window=True, sliding_window=8, max_window_layers=0)
    model = random_model(VaryConfig(**config))
    cache = PromptCache(model)
    ids = list(range(1, 30))
    for prompt in (ids, [*ids, 40, 41], [*ids[:20], 50]):
        for beams in (1, 2):
            sampling = Sampling(num_beams=beams)
            assert (
                ask(model, prompt, None, cache=cache, sampling=sampling).ids
                == ask(model, prompt, None, sampling=sampling).ids
            )


def test_long_prompts_are_read_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model(tiny_toy_config())
    batch = page_batch(model.config, [2])
    features = encode(model, batch)
    ids = batch["input_ids"][0].tolist()
    expected = {beams: ask(model, ids, features, sampling=Sampling(num_beams=beams)) for beams in (1, 3)}
    monkeypatch.setattr("vary.engine.prompt_cache.CHUNK", 3)
    monkeypatch.setattr("vary.engine.prompt_cache.SCORED_AT_ONCE", 2)
    for beams, answer in expected.items():
        with counted_steps(model) as steps:
            found = ask(model, ids, features, cache=PromptCache(model), sampling=Sampling(num_beams=beams))
        assert max(tokens for _, tokens in steps) == 3
        assert found.ids == answer.ids
        assert found.logprobs == pytest.approx(answer.logprobs, abs=1e-4)


def test_a_cache_is_for_one_prompt_with_encoded_images() -> None:
    model = random_model(tiny_toy_config())
    cache = PromptCache(model)
    with pytest.raises(VaryError, match="2 prompts were given"):
        generate(model, page_batch(model.config, [1, 1]), 3, cache=cache)
    with pytest.raises(VaryError, match="mm_encoder_outputs"):
        generate(model, page_batch(model.config, [1]), 3, cache=cache)
