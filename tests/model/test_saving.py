"""Checkpoints in the library's own format: written, read, read from an odd directory by a new process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModel, AutoModelForImageTextToText

from factories import (
    line_batch,
    page_batch,
    random_model,
    tiny_nano_config,
    tiny_opt_config,
    tiny_toy_config,
)
from vary.model.configuration import VaryConfig
from vary.model.modeling import VaryForConditionalGeneration, VaryModel

TINY = [tiny_toy_config, tiny_opt_config, tiny_nano_config]
AWKWARD = "a.b c/模型"

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
        logits = model(**batch).logits
    torch.save({"logits": logits, "type": type(model).__name__}, folder + "/result.pt")
"""


@torch.no_grad()
@pytest.mark.parametrize("make_config", TINY)
def test_round_trip_is_exact(make_config: Callable[[], VaryConfig], tmp_path: Path) -> None:
    model = random_model(make_config())
    model.save_pretrained(tmp_path)
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path)
    assert isinstance(loaded, VaryForConditionalGeneration)
    assert not loaded.training
    ours, theirs = model.state_dict(), loaded.state_dict()
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    embeddings = loaded.get_input_embeddings().weight
    assert (loaded.lm_head.weight is embeddings) == model.config.tie_word_embeddings
    whole = AutoModel.from_pretrained(tmp_path)
    assert isinstance(whole, VaryModel)
    assert torch.equal(whole.get_input_embeddings().weight, embeddings)


def test_names_in_the_file_are_those_of_the_model(tmp_path: Path) -> None:
    """The names are a public contract: converters and other engines rely on them."""
    model = random_model(tiny_toy_config())
    model.save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        names = set(file.keys())
    assert names == set(model.state_dict())
    assert {
        "lm_head.weight",
        "model.vision_vocabulary.merge.1.weight",
        "model.vision_vocabulary.blocks.0.attn.rel_pos_h",
        "model.clip.encoder.layers.0.self_attn.q_proj.weight",
        "model.projector.clip.bias",
        "model.projector.vision_vocabulary.weight",
        "model.language_model.layers.0.self_attn.q_proj.bias",
    } <= names


def test_shards_make_the_same_model(tmp_path: Path) -> None:
    model = random_model(tiny_toy_config())
    model.save_pretrained(tmp_path, max_shard_size="40KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    loaded = VaryForConditionalGeneration.from_pretrained(tmp_path)
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in model.state_dict().items())


@torch.no_grad()
def test_a_fresh_process_reads_an_awkward_directory(tmp_path: Path) -> None:
    toy, nano = random_model(tiny_toy_config()), random_model(tiny_nano_config())
    batches = page_batch(toy.config, [1, 2]), line_batch(nano.config, [(48,), (80,)])
    folders = [tmp_path / name / AWKWARD for name in ("toy", "nano")]
    for model, batch, folder in zip((toy, nano), batches, folders, strict=True):
        model.save_pretrained(folder)
        torch.save(batch, folder / "inputs.pt")
    subprocess.run([sys.executable, "-c", FRESH, *folders], check=True, timeout=300, cwd=tmp_path)
    for model, batch, folder in zip((toy, nano), batches, folders, strict=True):
        found = torch.load(folder / "result.pt", weights_only=True)
        assert found["type"] == "VaryForConditionalGeneration"
        assert torch.equal(found["logits"], model(**batch).logits)


@torch.no_grad()
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_attention_of_the_library_can_be_chosen(attention: str, tmp_path: Path) -> None:
    model = random_model(tiny_toy_config())
    model.save_pretrained(tmp_path)
    loaded = VaryForConditionalGeneration.from_pretrained(tmp_path, attn_implementation=attention)
    assert loaded.model.language_model.config._attn_implementation == attention
    batch = page_batch(model.config, [1, 2])
    real = batch["attention_mask"].bool()
    expected = model(**batch).logits[real]
    torch.testing.assert_close(loaded(**batch).logits[real], expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_bfloat16_stays_near(tmp_path: Path) -> None:
    model = random_model(tiny_nano_config())
    model.save_pretrained(tmp_path)
    loaded = VaryForConditionalGeneration.from_pretrained(tmp_path, dtype=torch.bfloat16)
    batch = line_batch(model.config, [(48,), (160,)])
    real = batch["attention_mask"].bool()
    logits = loaded(**batch).logits
    assert logits.dtype == torch.bfloat16
    likeness = torch.cosine_similarity(logits[real].float(), model(**batch).logits[real], dim=-1)
    assert likeness.min() > 0.995
