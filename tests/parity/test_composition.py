"""Whole models equal the library's own parts, put together by hand."""

from __future__ import annotations

import torch
from transformers import CLIPVisionModel, OPTForCausalLM, Qwen2ForCausalLM

from factories import IMAGE, page_batch, random_model, tiny_opt_config, tiny_toy_config


@torch.no_grad()
def test_clip_branch_is_the_state_before_the_last_layer_without_the_class_token() -> None:
    model = random_model(tiny_toy_config())
    pixels = page_batch(model.config, [2])["pixel_values_clip"]
    clip = CLIPVisionModel(model.config.clip_config).eval()
    clip.load_state_dict(model.model.clip.state_dict(), strict=True)
    embeddings = clip.pre_layrnorm(clip.embeddings(pixels))
    for layer in clip.encoder.layers[:-1]:
        embeddings = layer(embeddings, attention_mask=None)
    expected = embeddings[:, 1:]
    assert expected.shape == (2, 4, 16)
    torch.testing.assert_close(model.model.clip_features(pixels), expected, atol=1e-6, rtol=0)


@torch.no_grad()
def test_vary_tiny_is_opt_behind_the_vision_vocabulary() -> None:
    model = random_model(tiny_opt_config())
    batch = page_batch(model.config, [1])
    opt = OPTForCausalLM(model.config.text_config).eval()
    decoder = {f"model.{name}": value for name, value in model.model.language_model.state_dict().items()}
    opt.load_state_dict({**decoder, "lm_head.weight": model.lm_head.weight}, strict=True)
    assert opt.lm_head.weight.data_ptr() == opt.model.decoder.embed_tokens.weight.data_ptr(), "OPT is tied"

    image = model.model.projector.vision_vocabulary(model.model.vision_vocabulary(batch["pixel_values"]))
    ids = batch["input_ids"]
    embeddings = opt.model.decoder.embed_tokens(ids)
    embeddings[ids == IMAGE] = image.flatten(0, 1)
    expected = opt(inputs_embeds=embeddings, attention_mask=torch.ones_like(ids)).logits
    torch.testing.assert_close(model(**batch).logits, expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_vary_toy_is_qwen2_behind_both_branches_clip_first() -> None:
    model = random_model(tiny_toy_config())
    batch = page_batch(model.config, [1])
    qwen = Qwen2ForCausalLM(model.config.text_config).eval()
    decoder = {f"model.{name}": value for name, value in model.model.language_model.state_dict().items()}
    qwen.load_state_dict({**decoder, "lm_head.weight": model.lm_head.weight}, strict=True)

    clip = model.model.clip_features(batch["pixel_values_clip"])
    vocabulary = model.model.vision_vocabulary(batch["pixel_values"])
    projector = model.model.projector
    image = torch.cat([projector.clip(clip), projector.vision_vocabulary(vocabulary)], dim=-1)
    ids = batch["input_ids"]
    embeddings = qwen.model.embed_tokens(ids)
    embeddings[ids == IMAGE] = image.flatten(0, 1)
    expected = qwen(inputs_embeds=embeddings).logits
    torch.testing.assert_close(model(**batch).logits, expected, atol=1e-5, rtol=0)
