"""Inputs that are wrong are named, the image counts, gradients flow."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from factories import (
    START,
    line_batch,
    page_batch,
    random_model,
    tiny_nano_config,
    tiny_opt_config,
    tiny_toy_config,
)
from vary.model.configuration import VaryConfig
from vary.model.modeling import VaryForConditionalGeneration

TINY = [tiny_toy_config, tiny_opt_config, tiny_nano_config]


def a_batch(config: VaryConfig) -> dict[str, Tensor]:
    if config.window == "lines":
        return line_batch(config, [(32, 80), (48,)])
    return page_batch(config, [2, 1])


@pytest.fixture
def model() -> VaryForConditionalGeneration:
    return random_model(tiny_toy_config())


@pytest.fixture
def batch(model: VaryForConditionalGeneration) -> dict[str, Tensor]:
    return page_batch(model.config, [2, 1])


@torch.no_grad()
@pytest.mark.parametrize("make_config", TINY)
def test_the_text_depends_on_the_image(make_config: Callable[[], VaryConfig]) -> None:
    model = random_model(make_config())
    batch = a_batch(model.config)
    after_image = batch["input_ids"].shape[1] - 1
    found = model(**batch).logits[:, after_image]
    for other in (torch.zeros_like(batch["pixel_values"]), batch["pixel_values"].roll(1, 0)):
        changed = model(**{**batch, "pixel_values": other}).logits[:, after_image]
        assert ((changed - found).abs().amax(-1) > 1e-3).all()


@torch.no_grad()
def test_each_branch_counts(model: VaryForConditionalGeneration, batch: dict[str, Tensor]) -> None:
    found = model(**batch).logits
    for name in ("pixel_values", "pixel_values_clip"):
        assert not torch.allclose(model(**{**batch, name: batch[name] * 0}).logits, found, atol=1e-3)


@torch.no_grad()
def test_clip_may_have_a_type_of_its_own(
    model: VaryForConditionalGeneration, batch: dict[str, Tensor]
) -> None:
    pixels = {name: batch[name] for name in ("pixel_values", "pixel_values_clip")}
    expected = torch.stack(list(model.get_image_features(**pixels).pooler_output))
    assert model.model.clip is not None
    model.model.clip.to(torch.bfloat16)
    found = torch.stack(list(model.get_image_features(**pixels).pooler_output))
    assert found.dtype == expected.dtype == torch.float32
    assert 0 < (found - expected).norm() / expected.norm() < 1e-2


@pytest.mark.parametrize("images", [2, 4])
def test_number_of_images_must_fit_the_prompts(
    model: VaryForConditionalGeneration, batch: dict[str, Tensor], images: int
) -> None:
    wrong = page_batch(model.config, [images])
    pixels = {name: wrong[name] for name in ("pixel_values", "pixel_values_clip")}
    message = f"12 image placeholders, but the images give {4 * images} tokens.*same processor"
    with pytest.raises(ValueError, match=message):
        model(**{**batch, **pixels})
    with pytest.raises(ValueError, match=message):
        model.generate(**{**batch, **pixels}, max_new_tokens=1, do_sample=False, num_beams=2)


def test_missing_images_are_named(model: VaryForConditionalGeneration, batch: dict[str, Tensor]) -> None:
    text = {name: batch[name] for name in ("input_ids", "attention_mask")}
    with pytest.raises(
        ValueError, match=r"12 image placeholders, but no image was given; pass .* pixel_values"
    ):
        model(**text)
    with pytest.raises(ValueError, match="12 image placeholders, but no image was given"):
        model.generate(**text, max_new_tokens=1)


def test_a_branch_needs_its_pixels(model: VaryForConditionalGeneration, batch: dict[str, Tensor]) -> None:
    del batch["pixel_values_clip"]
    with pytest.raises(ValueError, match="needs pixel_values_clip for its CLIP branch"):
        model(**batch)
    single = random_model(tiny_opt_config())
    superfluous = {**page_batch(single.config, [1]), "pixel_values_clip": torch.zeros(1, 3, 28, 28)}
    with pytest.raises(ValueError, match="has no CLIP branch, but pixel_values_clip was given"):
        single(**superfluous)


def test_ambiguous_inputs_are_refused(model: VaryForConditionalGeneration, batch: dict[str, Tensor]) -> None:
    embeddings = model.get_input_embeddings()(batch["input_ids"])
    with pytest.raises(ValueError, match="either input_ids or inputs_embeds"):
        model(**batch, inputs_embeds=embeddings)
    with pytest.raises(ValueError, match="either input_ids or inputs_embeds"):
        model()
    del batch["input_ids"]
    with pytest.raises(ValueError, match="images need input_ids"):
        model(**batch, inputs_embeds=embeddings)
    pixels = (batch["pixel_values"], batch["pixel_values_clip"])
    features = model.get_image_features(pixels[0], pixel_values_clip=pixels[1])
    with pytest.raises(ValueError, match="either pixel_values or mm_encoder_outputs"):
        model(
            input_ids=torch.tensor([[START]]), pixel_values=pixels[0], mm_encoder_outputs={"image": features}
        )


@torch.no_grad()
def test_text_alone_is_read(model: VaryForConditionalGeneration) -> None:
    ids = torch.tensor([[5, 6, 7, 8]])
    embeddings = model.get_input_embeddings()(ids)
    torch.testing.assert_close(model(input_ids=ids).logits, model(inputs_embeds=embeddings).logits)


@torch.no_grad()
def test_only_the_logits_that_are_wanted(
    model: VaryForConditionalGeneration, batch: dict[str, Tensor]
) -> None:
    whole = model(**batch).logits
    torch.testing.assert_close(model(**batch, logits_to_keep=2).logits, whole[:, -2:])
    some = torch.tensor([1, 4])
    torch.testing.assert_close(model(**batch, logits_to_keep=some).logits, whole[:, some])


@torch.no_grad()
def test_outputs_of_the_library(model: VaryForConditionalGeneration, batch: dict[str, Tensor]) -> None:
    output = model(**batch, output_hidden_states=True)
    assert len(output.hidden_states) == 3
    as_tuple = model(**batch, return_dict=False)
    assert isinstance(as_tuple, tuple)
    assert torch.equal(as_tuple[0], output.logits)
    assert model.get_encoder("image") is model.model.vision_vocabulary
    assert model.get_image_features(
        batch["pixel_values"], pixel_values_clip=batch["pixel_values_clip"]
    ).keys()


@torch.no_grad()
def test_loss_is_the_mean_over_the_shifted_labels(
    model: VaryForConditionalGeneration, batch: dict[str, Tensor]
) -> None:
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    labels[:, :5] = -100
    output = model(**batch, labels=labels)
    scores = output.logits[:, :-1].log_softmax(-1)
    wanted = labels[:, 1:]
    kept = wanted != -100
    expected = -scores.gather(-1, wanted.clamp(min=0)[..., None])[..., 0][kept].mean()
    torch.testing.assert_close(output.loss, expected)


@torch.no_grad()
def test_lines_give_ctc_scores_where_labels_are_given() -> None:
    model = random_model(tiny_nano_config())
    batch = line_batch(model.config, [(32,), (80,)])
    output = model(**batch, labels=batch["input_ids"])
    assert output.ctc_logits.shape == (2, 10, 96)
    assert output.ctc_lengths.tolist() == [4, 10]
    assert model(**batch).ctc_logits is None


def gradients(model: VaryForConditionalGeneration, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    model.zero_grad(set_to_none=True)
    model(**batch, labels=batch["input_ids"], use_cache=False).loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


# CLIP's last layer and the norm after it are kept, but not used; CTC frames have a loss of their own.
UNUSED = re.compile(r"model\.clip\.(encoder\.layers\.2|post_layernorm)\.|model\.vision_vocabulary\.ctc\.")


@pytest.mark.parametrize("make_config", TINY)
def test_gradient_checkpointing_gives_the_same_gradients(make_config: Callable[[], VaryConfig]) -> None:
    model = random_model(make_config())
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    model.model.language_model.config.dropout = 0.0
    for module in model.model.language_model.modules():
        if isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0  # OPT holds its own as a number
    batch = a_batch(model.config)
    model.train()
    expected = gradients(model, batch)
    model.activation_checkpointing_enable()
    blocks = model.model.vision_vocabulary.blocks
    calls = []
    blocks[0].mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    found = gradients(model, batch)
    assert len(calls) == 2, "the block was not computed again in the backward pass"
    assert expected.keys() == found.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], atol=1e-6, rtol=1e-5, msg=name)
    without = {name for name, _ in model.named_parameters()} - found.keys()
    assert {name for name in without if not UNUSED.match(name)} == set()
