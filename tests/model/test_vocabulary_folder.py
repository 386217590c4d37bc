"""Vision vocabularies as folders: every tensor back in its place, in any type, out of a checkpoint too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoImageProcessor, AutoModel

from factories import random_model, tiny_nano_config, tiny_opt_config, tiny_toy_config
from vary.errors import CheckpointError
from vary.model.image_processing import PUBLISHED_IMAGE_SETTINGS, VaryImageProcessor
from vary.model.vision_vocabulary import VisionVocabulary
from vary.model.vocabulary_folder import (
    fitted_image_processor,
    load_image_processor,
    load_vision_vocabulary,
    save_vision_vocabulary,
)

AWKWARD = "a.b c/模型"
SMALL = {**PUBLISHED_IMAGE_SETTINGS["vary_toy"], "size": {"height": 128, "width": 128}}
CONFIGS = [tiny_toy_config, tiny_nano_config]


def same(first: VisionVocabulary, second: VisionVocabulary) -> bool:
    ours, theirs = first.state_dict(), second.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("make", CONFIGS)
def test_a_round_trip_is_exact(make: object, dtype: torch.dtype, tmp_path: Path) -> None:
    network = random_model(make()).model.vision_vocabulary.to(dtype)
    folder = tmp_path / AWKWARD
    save_vision_vocabulary(network, fitted_image_processor(network.config, None), folder)
    loaded = VisionVocabulary.from_folder(folder)
    assert same(network, loaded)
    assert (loaded.dtype, loaded.training) == (dtype, False)
    theirs = AutoModel.from_pretrained(folder)
    assert isinstance(theirs, VisionVocabulary)
    assert same(network, theirs)
    other = load_vision_vocabulary(str(folder), dtype=torch.float32)
    assert {p.dtype for p in other.parameters()} == {torch.float32}
    assert same(network.float(), other)


def test_names_are_the_networks_own(tmp_path: Path) -> None:
    network = random_model(tiny_toy_config()).model.vision_vocabulary
    save_vision_vocabulary(network, fitted_image_processor(network.config, None), tmp_path)
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        assert set(file.keys()) == set(network.state_dict())
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "vary_vision_vocabulary"


@torch.no_grad()
@pytest.mark.parametrize("shards", ["10GB", "40KB"])
def test_out_of_a_whole_checkpoint_nothing_else_is_read(
    shards: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_model(tiny_toy_config())
    model.save_pretrained(tmp_path, max_shard_size=shards)
    read: list[str] = []
    opened = safe_open

    class Watched:
        def __init__(self, *args: object, **kwargs: object) -> None:
            self.file = opened(*args, **kwargs)

        def __enter__(self) -> Watched:
            self.file.__enter__()
            return self

        def __exit__(self, *args: object) -> None:
            self.file.__exit__(*args)

        def keys(self) -> list[str]:
            return list(self.file.keys())

        def get_tensor(self, name: str) -> torch.Tensor:
            read.append(name)
            return self.file.get_tensor(name)

    monkeypatch.setattr("vary.model.vocabulary_folder.safe_open", Watched)
    loaded = load_vision_vocabulary(tmp_path)
    assert same(model.model.vision_vocabulary, loaded)
    assert set(read) == {f"model.vision_vocabulary.{name}" for name in loaded.state_dict()}


@torch.no_grad()
def test_alone_it_encodes_images_as_within_the_model(tmp_path: Path) -> None:
    model = random_model(tiny_opt_config())
    save_vision_vocabulary(model.model.vision_vocabulary, VaryImageProcessor(**SMALL), tmp_path)
    shown = np.random.default_rng(0).integers(0, 255, (90, 70, 3), dtype=np.uint8)
    pixels = AutoImageProcessor.from_pretrained(tmp_path)(shown, return_tensors="pt")
    assert set(pixels) == {"pixel_values"}
    expected = VaryImageProcessor(**SMALL)(shown, return_tensors="pt")["pixel_values"]
    assert torch.equal(pixels["pixel_values"], expected)
    tokens = VisionVocabulary.from_folder(tmp_path)(pixels["pixel_values"])
    assert tokens.shape == (1, 4, 20)
    assert torch.equal(tokens, model.get_image_features(expected).last_hidden_state)


def test_preprocessing_loses_only_what_is_clips() -> None:
    config = tiny_toy_config().vision_vocabulary_config
    kept = fitted_image_processor(config, VaryImageProcessor(**SMALL))
    assert kept.clip_size is None
    assert not [name for name in kept.to_dict() if name.startswith("clip_")]
    assert kept.model_input_names == ["pixel_values"]
    assert set(kept.variants or {}) == {"mindocr"}
    mindocr = (kept.variants or {})["mindocr"]
    assert list(mindocr["image_mean"]) == [0.485, 0.456, 0.406]
    assert not [name for name in mindocr if name.startswith("clip_")]


def test_a_folder_without_preprocessing_has_none(tmp_path: Path) -> None:
    assert load_image_processor(tmp_path) is None
    (tmp_path / "preprocessor_config.json").write_text('{"mode": "triangle"}')
    with pytest.raises(CheckpointError, match="image processor cannot be loaded"):
        load_image_processor(tmp_path)
    assert fitted_image_processor(tiny_nano_config().vision_vocabulary_config, None).line_height == 32


def test_tensors_that_do_not_belong_are_listed(tmp_path: Path) -> None:
    network = random_model(tiny_toy_config()).model.vision_vocabulary
    save_vision_vocabulary(network, fitted_image_processor(network.config, None), tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    lost = tensors.pop("blocks.1.attn.rel_pos_w")
    tensors["neck.0.weight"] = tensors["neck.0.weight"][:1].clone()
    save_file({**tensors, "blocks.1.attn.relative": lost}, file, {"format": "pt"})
    with pytest.raises(CheckpointError) as caught:
        load_vision_vocabulary(tmp_path)
    for part in (
        "missing: 1 tensors, blocks.1.attn.rel_pos_w",
        "unexpected: 1 tensors, blocks.1.attn.relative",
        "mismatched: 1 tensors, neck.0.weight is (1, 24, 1, 1), expected (12, 24, 1, 1)",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("files", "match"),
    [
        ({}, r"config\.json cannot be read"),
        ({"config.json": "["}, r"config\.json is no JSON"),
        ({"config.json": "[]"}, r"config\.json holds a list, but a JSON object is expected"),
        ({"config.json": '{"model_type": "qwen2"}'}, "take it out of a checkpoint of another format with"),
        ({"config.json": '{"model_type": "vary"}'}, "take it out of a checkpoint of another format with"),
        (
            {"config.json": '{"model_type": "vary_vision_vocabulary", "hidden_size": 10}'},
            "makes no vision vocabulary",
        ),
        (
            {"config.json": '{"model_type": "vary_vision_vocabulary"}'},
            "holds no weights; expected one of model",
        ),
        (
            {
                "config.json": '{"model_type": "vary_vision_vocabulary"}',
                "model.safetensors.index.json": '{"weight_map": {"a": "b.safetensors"}}',
            },
            r"lacks b\.safetensors of model\.safetensors\.index\.json; fetch the missing files",
        ),
        (
            {
                "config.json": '{"model_type": "vary_vision_vocabulary"}',
                "model.safetensors.index.json": '{"weight_map": {}}',
            },
            "has no weight_map",
        ),
        (
            {
                "config.json": '{"model_type": "vary_vision_vocabulary"}',
                "model.safetensors": "broken",
            },
            "safetensors files cannot be read",
        ),
        (
            {
                "config.json": '{"model_type": "vary_vision_vocabulary"}',
                "pytorch_model.bin": "never opened",
            },
            r"holds pytorch_model\.bin, but safetensors are expected here; convert the checkpoint",
        ),
    ],
)
def test_folders_that_hold_none(files: dict[str, str], match: str, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(CheckpointError, match=match):
        load_vision_vocabulary(tmp_path)


def test_a_checkpoint_without_any_vocabulary(tmp_path: Path) -> None:
    tiny_toy_config().save_pretrained(tmp_path)
    save_file({"lm_head.weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"hold no tensor that begins with 'model\.vision_vocabulary"):
        load_vision_vocabulary(tmp_path)


@pytest.mark.parametrize("name", ["../outside.safetensors", "{folder}/outside.safetensors"])
def test_an_index_leads_to_no_other_folder(name: str, tmp_path: Path) -> None:
    network = random_model(tiny_toy_config()).model.vision_vocabulary
    inside = tmp_path / "inside"
    save_vision_vocabulary(network, fitted_image_processor(network.config, None), inside)
    (inside / "model.safetensors").rename(tmp_path / "outside.safetensors")
    weight_map = dict.fromkeys(network.state_dict(), name.replace("{folder}", str(tmp_path)))
    (inside / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(CheckpointError, match=r"index.json names files outside its directory: .*outside"):
        load_vision_vocabulary(inside)


def test_a_folder_that_is_not_there() -> None:
    with pytest.raises(CheckpointError, match="no such folder; parts are read from local folders only"):
        load_vision_vocabulary("owner/name")
