"""`generate`: the cache, images encoded once, beams and several answers over ragged images."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache

from factories import (
    alone,
    line_batch,
    page_batch,
    random_model,
    tiny_nano_config,
    tiny_opt_config,
    tiny_toy_config,
)
from vary.model.configuration import VaryConfig
from vary.model.modeling import VaryForConditionalGeneration, VaryImageFeatures, repeat_images

TINY = [tiny_toy_config, tiny_opt_config, tiny_nano_config]
PIXELS = ("pixel_values", "pixel_values_clip", "pixel_widths")


def a_batch(config: VaryConfig) -> dict[str, Tensor]:
    if config.window == "lines":
        return line_batch(config, [(32, 80), (), (48,)])
    return page_batch(config, [2, 0, 1])


@pytest.fixture
def encodings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of images in every call of the vision vocabulary network."""
    from vary.model.vision_vocabulary import VisionVocabulary

    calls: list[int] = []
    encode = VisionVocabulary.encode

    def counted(self: VisionVocabulary, pixels: Tensor, *args: Tensor) -> tuple[Tensor, Tensor | None]:
        calls.append(len(pixels))
        return encode(self, pixels, *args)

    monkeypatch.setattr(VisionVocabulary, "encode", counted)
    return calls


@torch.no_grad()
@pytest.mark.parametrize("chunk", [1, 2, 5])
@pytest.mark.parametrize("make_config", TINY)
def test_cached_logits_equal_uncached_ones(make_config: Callable[[], VaryConfig], chunk: int) -> None:
    model = random_model(make_config())
    batch = a_batch(model.config)
    more = torch.randint(1, 90, (3, 11), generator=torch.Generator().manual_seed(3))
    ids = torch.cat([batch["input_ids"], more], dim=1)
    mask = torch.cat([batch["attention_mask"], torch.ones_like(more)], dim=1)
    expected = model(**{**batch, "input_ids": ids, "attention_mask": mask}, use_cache=False).logits

    cache = DynamicCache(config=model.config.text_config)
    start = batch["input_ids"].shape[1]
    found = [model(**batch, past_key_values=cache).logits]
    for begin in range(start, ids.shape[1], chunk):
        end = min(begin + chunk, ids.shape[1])
        step = model(input_ids=ids[:, begin:end], attention_mask=mask[:, :end], past_key_values=cache)
        found.append(step.logits)
    logits = torch.cat(found, dim=1)
    torch.testing.assert_close(logits[mask.bool()], expected[mask.bool()], atol=1e-5, rtol=0)


@pytest.mark.parametrize("make_config", TINY)
def test_generation_without_cache_gives_the_same_ids(make_config: Callable[[], VaryConfig]) -> None:
    model = random_model(make_config())
    model.generation_config.suppress_tokens = [model.config.image_token_id]  # else it is taken for a slot
    batch = a_batch(model.config)
    cached = model.generate(**batch, max_new_tokens=6, do_sample=False)
    uncached = model.generate(**batch, max_new_tokens=6, do_sample=False, use_cache=False)
    assert cached.tolist() == uncached.tolist()


@pytest.mark.parametrize("make_config", TINY)
def test_images_are_encoded_once(make_config: Callable[[], VaryConfig], encodings: list[int]) -> None:
    model = random_model(make_config())
    batch = a_batch(model.config)
    answer = model.generate(**batch, max_new_tokens=5, do_sample=False)
    assert len(encodings) == 1
    model.generate(**batch, max_new_tokens=5, do_sample=False, num_beams=3)
    assert encodings == [encodings[0]] * 2

    pixels = {name: batch.pop(name) for name in PIXELS if name in batch}
    with torch.no_grad():
        features = model.get_image_features(**pixels)
    encodings.clear()
    for _ in range(2):
        again = model.generate(
            **batch,
            mm_encoder_outputs={"image": copy.copy(features)},
            max_new_tokens=5,
            do_sample=False,
        )
        assert again.tolist() == answer.tolist()
    assert encodings == []


@pytest.mark.parametrize("settings", [{"num_beams": 3}, {"num_beams": 4, "num_return_sequences": 2}])
@pytest.mark.parametrize("make_config", TINY)
def test_beams_over_ragged_images(make_config: Callable[[], VaryConfig], settings: dict[str, int]) -> None:
    model = random_model(make_config())
    batch = a_batch(model.config)
    count = settings.get("num_return_sequences", 1)
    length = batch["input_ids"].shape[1]
    answers = model.generate(**batch, max_new_tokens=5, do_sample=False, **settings)
    assert len(answers) == 3 * count
    for row in range(3):
        single = alone(model.config, batch, row)
        expected = model.generate(**single, max_new_tokens=5, do_sample=False, **settings)
        found = answers[row * count : (row + 1) * count, length:]
        assert found.tolist() == expected[:, single["input_ids"].shape[1] :].tolist(), f"row {row}"


def test_several_samples_of_every_prompt_start_from_its_own_images() -> None:
    model = random_model(tiny_toy_config())
    batch = page_batch(model.config, [2, 0, 1])
    settings = {"do_sample": True, "top_k": 1, "max_new_tokens": 5}  # the best token only, so it is greedy
    greedy = model.generate(**batch, **settings)
    sampled = model.generate(**batch, **settings, num_return_sequences=3)
    assert sampled.tolist() == greedy.repeat_interleave(3, 0).tolist()


def test_encoder_outputs_survive_a_search_with_beams() -> None:
    model = random_model(tiny_toy_config())
    batch = page_batch(model.config, [1, 2])
    pixels = {name: batch.pop(name) for name in PIXELS if name in batch}
    with torch.no_grad():
        features = model.get_image_features(**pixels)
    before = features.pooler_output.clone()
    first, second = (
        model.generate(
            **batch, mm_encoder_outputs={"image": features}, max_new_tokens=4, num_beams=2, do_sample=False
        )
        for _ in range(2)
    )
    assert torch.equal(features.pooler_output, before)
    assert first.tolist() == second.tolist()


def test_images_repeat_as_groups() -> None:
    one, two, three = (torch.full((size, 1), float(size)) for size in (1, 2, 3))
    repeated = repeat_images(VaryImageFeatures(pooler_output=[one, two, three]), [3, 0, 3], 2).pooler_output
    assert [len(image) for image in repeated] == [1, 2, 1, 2, 3, 3]


def test_a_placeholder_that_the_model_writes_is_only_a_token() -> None:
    """A random model may write `<imgpad>`; decoding goes on."""
    model = random_model(tiny_toy_config())
    batch = page_batch(model.config, [1])
    token = model.config.image_token_id
    answer = model.generate(
        **batch, max_new_tokens=3, do_sample=False, prefix_allowed_tokens_fn=lambda *_: [token]
    )
    assert answer[0, -3:].tolist() == [token] * 3


def test_a_cache_goes_on_where_it_ended(encodings: list[int]) -> None:
    """A second turn over one page: only the new tokens are read."""
    model = random_model(tiny_toy_config())
    batch = page_batch(model.config, [1])
    settings = {"max_new_tokens": 4, "do_sample": False}
    cache = DynamicCache(config=model.config.text_config)
    first = model.generate(**batch, past_key_values=cache, **settings)
    longer = torch.cat([first, torch.tensor([[11, 12]])], dim=1)
    turn = {"input_ids": longer, "attention_mask": torch.ones_like(longer)}
    encodings.clear()
    second = model.generate(**turn, past_key_values=cache, **settings)
    assert encodings == []
    whole = model.generate(**{**batch, **turn}, **settings)
    assert second.tolist() == whole.tolist()


def test_the_language_models_end_token_ends_an_answer() -> None:
    config = tiny_toy_config()
    free = random_model(config)
    batch = page_batch(config, [1])
    third = free.generate(**batch, max_new_tokens=3, do_sample=False)[0, -1].item()
    config.text_config.eos_token_id = third
    model: VaryForConditionalGeneration = random_model(config)
    assert model.generate(**batch, max_new_tokens=9, do_sample=False)[0, -1] == third
