"""`from_parts`: the text and the features of the parts stay as they are, only the projector is new."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModel,
)

from factories import page_batch, random_model, randomise, tiny_nano_config, tiny_toy_config
from factories import tiny_vision_vocabulary as vocabulary_settings
from text_models import KINDS, OTHERS, ROWS, some_ids, text_folder, text_model, tokenizer_of
from vary.model.configuration import VaryConfig, VisionVocabularyConfig
from vary.model.loading import load_model
from vary.model.modeling import VaryForConditionalGeneration
from vary.model.vision_vocabulary import VisionVocabulary

AWKWARD = "a.b c/模型"
CLIP_SIZES = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
MODELS = [(kind, tied) for kind in KINDS for tied in (False, True)]
GREEDY = {"max_new_tokens": 6, "do_sample": False}

# A process that has only imported the package reads checkpoints and writes what they answer.
FRESH = """
import sys, torch
import vary.model.modeling
from transformers import AutoModelForImageTextToText
torch.set_num_threads(1)
for folder in sys.argv[1:]:
    model = AutoModelForImageTextToText.from_pretrained(folder)
    batch = torch.load(folder + "/inputs.pt", weights_only=True)
    with torch.no_grad():
        torch.save(model(**batch).logits, folder + "/logits.pt")
"""


def a_vocabulary(**changes: Any) -> VisionVocabulary:
    network = VisionVocabulary(VisionVocabularyConfig(**vocabulary_settings(**changes))).eval()
    randomise(network, 1)
    return network


def a_clip(**changes: Any) -> CLIPVisionModel:
    network = CLIPVisionModel(CLIPVisionConfig(**{**CLIP_SIZES, **changes})).eval()
    randomise(network, 2)
    return network


def grafted(text: Any, **parts: Any) -> VaryForConditionalGeneration:
    torch.manual_seed(3)
    return VaryForConditionalGeneration.from_parts(
        **{"vision_vocabulary": a_vocabulary(), "text": text, **parts}
    )


def pages(model: VaryForConditionalGeneration, images: list[int]) -> dict[str, Tensor]:
    """A batch with the image tokens of this model."""
    config: VaryConfig = model.config
    batch = page_batch(config, images)
    theirs = {91: config.image_token_id, 92: config.image_start_token_id, 93: config.image_end_token_id}
    ids = batch["input_ids"].clone()
    for old, new in theirs.items():
        ids[batch["input_ids"] == old] = new
    return {**batch, "input_ids": ids}


def states_differ(first: dict[str, Tensor], second: dict[str, Tensor]) -> list[str]:
    assert first.keys() == second.keys()
    return [name for name in first if not torch.equal(first[name], second[name])]


@torch.no_grad()
@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize(("kind", "tied"), MODELS)
def test_text_alone_is_scored_as_before(kind: str, tied: bool, clip: bool) -> None:
    causal = text_model(kind, tied=tied)
    model = grafted(causal, clip=a_clip() if clip else None)
    ids, mask = some_ids(), torch.ones(2, 9, dtype=torch.long)
    mask[0, :3] = 0
    expected = causal(input_ids=ids, attention_mask=mask).logits
    found = model(input_ids=ids, attention_mask=mask).logits
    assert found.shape[-1] == ROWS + 3
    assert torch.equal(found[..., :ROWS][mask.bool()], expected[mask.bool()])
    assert (model.lm_head.weight is model.get_input_embeddings().weight) == tied
    assert model.config.tie_word_embeddings == model.config.text_config.tie_word_embeddings == tied
    assert not model.training


@pytest.mark.parametrize(("kind", "tied"), MODELS)
def test_text_alone_is_continued_as_before(kind: str, tied: bool) -> None:
    """A new token's score is the mean of all others': greedy decoding never takes one."""
    causal = text_model(kind, tied=tied)
    model = grafted(causal)
    prompt = {"input_ids": some_ids(5), "attention_mask": torch.ones(2, 5, dtype=torch.long)}
    for settings in ({}, {"num_beams": 3}):
        expected = causal.generate(**prompt, max_new_tokens=12, do_sample=False, **settings)
        assert model.generate(**prompt, max_new_tokens=12, do_sample=False, **settings).tolist() == (
            expected.tolist()
        )


@torch.no_grad()
def test_new_rows_are_the_mean_of_the_old_ones() -> None:
    causal = text_model("qwen2")
    model = grafted(causal)
    for grown, old in (
        (model.get_input_embeddings().weight, causal.get_input_embeddings().weight),
        (model.lm_head.weight, causal.lm_head.weight),
    ):
        assert torch.equal(grown[:ROWS], old)
        torch.testing.assert_close(grown[ROWS:], old.mean(0, keepdim=True).expand(3, -1))


@torch.no_grad()
def test_images_are_seen_as_before() -> None:
    vocabulary, clip = a_vocabulary(), a_clip()
    model = grafted(text_model("llama"), vision_vocabulary=vocabulary, clip=clip)
    batch = pages(model, [2, 1])
    features = model.get_image_features(batch["pixel_values"], pixel_values_clip=batch["pixel_values_clip"])
    tokens = vocabulary(batch["pixel_values"])
    assert torch.equal(features.last_hidden_state, tokens)
    hidden = clip(batch["pixel_values_clip"], output_hidden_states=True).hidden_states[-2][:, 1:]
    assert torch.equal(model.model.clip_features(batch["pixel_values_clip"]), hidden)
    projector = model.model.projector
    expected = torch.cat([projector.clip(hidden), projector.vision_vocabulary(tokens)], dim=-1)
    torch.testing.assert_close(features.pooler_output, expected)
    assert (model.config.projector_dim, expected.shape) == (12, (3, 4, 24))


@torch.no_grad()
@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize(("kind", "tied"), MODELS)
def test_it_is_written_and_read(kind: str, tied: bool, clip: bool, tmp_path: Path) -> None:
    model = grafted(text_model(kind, tied=tied), clip=a_clip() if clip else None)
    folder = tmp_path / AWKWARD
    model.save_pretrained(folder)
    strict, theirs = load_model(folder), AutoModelForImageTextToText.from_pretrained(folder)
    assert states_differ(model.state_dict(), strict.state_dict()) == []
    assert states_differ(model.state_dict(), theirs.state_dict()) == []
    assert strict.config.text_config.vocab_size == ROWS + 3
    assert strict.config.projector_dim == (12 if clip else 24)
    batch = pages(model, [1, 2])
    assert torch.equal(strict(**batch).logits, model(**batch).logits)


@torch.no_grad()
def test_a_fresh_process_reads_it(tmp_path: Path) -> None:
    folders, expected = [], []
    for kind in KINDS:
        model = grafted(text_model(kind), clip=a_clip())
        folder = tmp_path / kind / AWKWARD
        model.save_pretrained(folder)
        batch = pages(model, [1])
        torch.save(batch, folder / "inputs.pt")
        folders.append(folder)
        expected.append(model(**batch).logits)
    subprocess.run([sys.executable, "-c", FRESH, *folders], check=True, timeout=300, cwd=tmp_path)
    for folder, logits in zip(folders, expected, strict=True):
        assert torch.equal(torch.load(folder / "logits.pt", weights_only=True), logits)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize(("kind", "tied"), MODELS)
def test_generation_over_images_needs_no_cache(kind: str, tied: bool, attention: str) -> None:
    model = grafted(text_model(kind, tied=tied), clip=a_clip())
    model.set_attn_implementation(attention)
    model.generation_config.suppress_tokens = [model.config.image_token_id]
    batch = pages(model, [2, 0, 1])
    cached = model.generate(**batch, **GREEDY)
    assert cached.tolist() == model.generate(**batch, **GREEDY, use_cache=False).tolist()
    assert cached.shape[1] == batch["input_ids"].shape[1] + 6


@pytest.mark.parametrize("kind", OTHERS)
def test_other_architectures(kind: str) -> None:
    """Text as before, and images with and without a cache, for positions and attention of all sorts."""
    causal = text_model(kind)
    model = grafted(causal)
    prompt = {"input_ids": some_ids(), "attention_mask": torch.ones(2, 9, dtype=torch.long)}
    prompt["attention_mask"][0, :3] = 0
    with torch.no_grad():
        kept = prompt["attention_mask"].bool()
        expected, found = causal(**prompt).logits, model(**prompt).logits[..., :ROWS]
    assert torch.equal(found[kept], expected[kept])
    assert model.generate(**prompt, **GREEDY).tolist() == causal.generate(**prompt, **GREEDY).tolist()
    model.generation_config.suppress_tokens = [model.config.image_token_id]
    batch = pages(model, [2, 0, 1])
    cached = model.generate(**batch, **GREEDY)
    assert cached.tolist() == model.generate(**batch, **GREEDY, use_cache=False).tolist()


def test_the_text_depends_on_the_image() -> None:
    model = grafted(text_model("qwen3"))
    batch = pages(model, [1])
    with torch.no_grad():
        first = model(**batch).logits
        other = model(**{**batch, "pixel_values": -batch["pixel_values"]}).logits
    assert not torch.allclose(first[:, -1], other[:, -1], atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_with_all_else_frozen_only_the_projector_learns(kind: str) -> None:
    model = grafted(text_model(kind), clip=a_clip())
    model.requires_grad_(False)
    model.model.projector.requires_grad_(True)
    before = copy.deepcopy(model.state_dict())
    batch = pages(model, [1, 2])
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.02)
    losses = []
    for _ in range(3):
        loss = model(**batch, labels=batch["input_ids"]).loss
        optimizer.zero_grad()
        loss.backward()
        with_gradient = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
        assert with_gradient == {name for name, _ in model.named_parameters() if ".projector." in name}
        optimizer.step()
        losses.append(loss.item())
    changed = set(states_differ(before, model.state_dict()))
    assert changed == {name for name in before if ".projector." in name}
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("kind", KINDS)
def test_layers_can_be_checkpointed(kind: str) -> None:
    """Gradients with recomputed activations are those without."""
    model = grafted(text_model(kind, attention_dropout=0.0, dropout=0.0), clip=a_clip()).train()
    batch = pages(model, [1])
    gradients = []
    for recompute in (False, True):
        if recompute:
            model.activation_checkpointing_enable()
        model.zero_grad()
        model(**batch, labels=batch["input_ids"], use_cache=False).loss.backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)


def test_layers_of_the_language_model_are_not_split_between_devices() -> None:
    assert "LlamaDecoderLayer" in grafted(text_model("llama"))._no_split_modules
    assert "Qwen3DecoderLayer" in grafted(text_model("qwen3"))._no_split_modules


def test_modules_stay_as_they_are() -> None:
    causal, vocabulary, clip = text_model("llama").train(), a_vocabulary().train(), a_clip()
    causal.model.layers[0].eval()
    parts = (causal, vocabulary, clip)
    states = [copy.deepcopy(part.state_dict()) for part in parts]
    configs = [part.config.to_dict() for part in parts]
    modes = [[module.training for module in part.modules()] for part in parts]
    model = grafted(causal, vision_vocabulary=vocabulary, clip=clip)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    model.config.text_config.hidden_size = 1
    for part, state, config, mode in zip(parts, states, configs, modes, strict=True):
        assert states_differ(part.state_dict(), state) == []
        assert part.config.to_dict() == config
        assert [module.training for module in part.modules()] == mode


def test_the_projector_follows_the_seed_and_nothing_else_does() -> None:
    text, vocabulary = text_model("qwen2"), a_vocabulary()

    def build(seed: int) -> dict[str, Tensor]:
        torch.manual_seed(seed)
        parts = {"vision_vocabulary": vocabulary, "text": text}
        state: dict[str, Tensor] = VaryForConditionalGeneration.from_parts(**parts).state_dict()
        return state

    assert states_differ(build(1), build(1)) == []
    assert states_differ(build(1), build(2)) == ["model.projector.vision_vocabulary.weight"]
    weight = build(1)["model.projector.vision_vocabulary.weight"]
    assert 0.015 < weight.std() < 0.025  # the language model's initializer_range
    assert not build(1)["model.projector.vision_vocabulary.bias"].any()


@torch.no_grad()
def test_folders_and_modules_make_the_same_model(tmp_path: Path) -> None:
    text, vocabulary, clip = text_model("qwen2"), a_vocabulary(), a_clip()
    text.save_pretrained(tmp_path / "text")
    vocabulary.save_pretrained(tmp_path / "vocabulary")
    clip.save_pretrained(tmp_path / "clip")
    modules = grafted(text, vision_vocabulary=vocabulary, clip=clip)
    folders = grafted(
        str(tmp_path / "text"), vision_vocabulary=tmp_path / "vocabulary", clip=tmp_path / "clip"
    )
    assert states_differ(modules.state_dict(), folders.state_dict()) == []
    modules.save_pretrained(tmp_path / "whole")
    again = grafted(tmp_path / "text", vision_vocabulary=tmp_path / "whole", clip=tmp_path / "whole")
    assert states_differ(modules.state_dict(), again.state_dict()) == []
    from_whole = grafted(text, vision_vocabulary=modules, clip=modules)
    assert states_differ(modules.state_dict(), from_whole.state_dict()) == []


@torch.no_grad()
def test_the_whole_of_clip_gives_its_vision_model(tmp_path: Path) -> None:
    small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = CLIPConfig(vision_config=CLIP_SIZES, text_config={**small, "vocab_size": 50}, projection_dim=8)
    whole = CLIPModel(config).eval()
    randomise(whole.vision_model, 4)
    whole.save_pretrained(tmp_path)
    text = text_model("llama")
    expected = grafted(text, clip=whole.vision_model).state_dict()
    assert states_differ(expected, grafted(text, clip=whole).state_dict()) == []
    assert states_differ(expected, grafted(text, clip=tmp_path).state_dict()) == []
    assert grafted(text, clip=config).model.clip is not None
    assert grafted(text, clip=config.vision_config).config.projector_dim == 12


def test_configurations_make_random_parts() -> None:
    text = text_model("qwen3").config
    model = grafted(text, vision_vocabulary=a_vocabulary().config, clip=a_clip().config)
    assert model.config.text_config.vocab_size == ROWS + 3
    assert text.vocab_size == ROWS
    assert model(**pages(model, [1])).logits.isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_one_type_for_all(dtype: torch.dtype, tmp_path: Path) -> None:
    text_model("llama").to(torch.bfloat16).save_pretrained(tmp_path / "text")
    model = grafted(tmp_path / "text", clip=a_clip(), dtype=dtype)
    assert {p.dtype for p in model.parameters()} == {dtype}
    assert model.config.dtype == dtype
    if dtype == torch.bfloat16:
        assert grafted(tmp_path / "text", clip=a_clip()).dtype == torch.bfloat16
        causal = AutoModelForCausalLM.from_pretrained(tmp_path / "text")
        logits = model(input_ids=some_ids()).logits[..., :ROWS]
        assert torch.equal(logits, causal(input_ids=some_ids()).logits)
    assert grafted(text_model("llama").to(torch.bfloat16)).dtype == torch.bfloat16
    converted = grafted(text_model("llama").to(torch.bfloat16), dtype=dtype)
    assert {p.dtype for p in converted.parameters()} == {dtype}


@pytest.mark.parametrize("kind", KINDS)
def test_image_tokens_follow_the_tokenizer_into_spare_rows(kind: str, tmp_path: Path) -> None:
    folder = text_folder(tmp_path, kind)
    model = grafted(folder)
    known = len(tokenizer_of(kind))
    ids = (model.config.image_start_token_id, model.config.image_end_token_id, model.config.image_token_id)
    assert ids == (known, known + 1, known + 2)
    assert model.lm_head.weight.shape[0] == ROWS
    causal = text_model(kind)
    assert torch.equal(model.lm_head.weight, causal.lm_head.weight)


def test_embeddings_grow_to_the_tokenizer() -> None:
    tokenizer = tokenizer_of("qwen2")
    rows = len(tokenizer)
    model = grafted(text_model("qwen2", vocab_size=rows + 1), tokenizer=tokenizer)
    assert model.config.image_start_token_id == rows
    assert model.lm_head.weight.shape[0] == model.get_input_embeddings().weight.shape[0] == rows + 3


def test_image_tokens_may_be_named() -> None:
    ids = {"image_start_token_id": 1, "image_end_token_id": 2, "image_token_id": ROWS}
    model = grafted(text_model("llama"), **ids)
    assert {name: getattr(model.config, name) for name in ids} == ids
    assert model.lm_head.weight.shape[0] == ROWS + 1


def test_an_answer_ends_as_the_language_models_or_its_tokenizers() -> None:
    causal = text_model("qwen2")
    causal.generation_config.eos_token_id = [11, 12]
    causal.generation_config.temperature = 0.3
    causal.generation_config.do_sample = True
    tokenizer = tokenizer_of("qwen2")
    turn = tokenizer.convert_tokens_to_ids("<|im_end|>")
    settings = grafted(causal, tokenizer=tokenizer).generation_config
    assert settings.eos_token_id == [11, 12, turn]
    assert settings.pad_token_id == tokenizer.pad_token_id
    assert not settings.do_sample
    assert grafted(causal).generation_config.eos_token_id == [11, 12]
    assert grafted(text_model("qwen2")).generation_config.eos_token_id is None


def test_lines_of_variable_width_with_and_without_their_ctc_branch() -> None:
    nano = random_model(tiny_nano_config())
    model = grafted(text_model("llama"), vision_vocabulary=nano)
    assert model.config.window == "lines"
    assert model.config.vision_vocabulary_config.ctc_frames == 0
    assert not [name for name in model.state_dict() if ".ctc." in name]
    kept = grafted(text_model("llama"), vision_vocabulary=nano, keep_ctc=True)
    names = [name for name in kept.state_dict() if ".ctc." in name]
    assert names
    assert [name for name in names if not torch.equal(kept.state_dict()[name], nano.state_dict()[name])] == []
    fresh = grafted(text_model("llama"), vision_vocabulary=nano.config.vision_vocabulary_config)
    assert [name for name in fresh.state_dict() if ".ctc." in name] == names


def test_options_go_into_the_configuration() -> None:
    model = grafted(text_model("llama"), clip=a_clip(), vision_select_layer=-3, languages=("de",))
    assert (model.config.vision_select_layer, tuple(model.config.languages)) == (-3, ("de",))
    assert tuple(model.config.tasks) == ()  # nothing is trained
    assert tuple(grafted(text_model("llama"), tasks=("ocr",)).config.tasks) == ("ocr",)


def test_a_toy_gets_another_language_model() -> None:
    """The vision half of Vary-toy in front of a Qwen3."""
    toy = random_model(tiny_toy_config())
    model = grafted(text_model("qwen3"), vision_vocabulary=toy, clip=toy)
    theirs, ours = toy.state_dict(), model.state_dict()
    names = [name for name in ours if name.startswith(("model.vision_vocabulary.", "model.clip."))]
    assert names
    assert [name for name in names if not torch.equal(ours[name], theirs[name])] == []
