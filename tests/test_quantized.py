"""Checkpoints with packed weights: the same answers, files that are made once, and where they may lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from authors_files import opt_folder, opt_model, toy_folder
from checkpoints import chat_config, chat_model, chat_processor
from vary.engine.decoders.interface import Entry
from vary.engine.decoders.native import NativeDecoder
from vary.engine.generation import generate
from vary.engine.packing import PackedModel
from vary.engine.precisions import precision
from vary.errors import CheckpointError, NativeError
from vary.model.configuration import VaryConfig
from vary.model.modeling import VaryForConditionalGeneration
from vary.quantized import load_quantized, packed_model, packed_places
from vary.weights.sources import open_source

PROMPT = "Read this."


def config(**changes: bool) -> VaryConfig:
    """A tiny Vary-toy whose heads are as wide as the kernels want them."""
    settings = chat_config().to_dict()
    settings["text_config"] |= {"hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 2}
    return VaryConfig(**settings | {"projector_dim": 32, **changes})


@pytest.fixture(autouse=True)
def no_model_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vary.quantized.SMALL", 0)


@pytest.fixture
def model() -> VaryForConditionalGeneration:
    return chat_model(config())


@pytest.fixture
def folder(tmp_path: Path, model: VaryForConditionalGeneration) -> Path:
    place = tmp_path / "checkpoint"
    model.save_pretrained(place)
    chat_processor(model.config).save_pretrained(place)
    return place


def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)


def answer(model: VaryForConditionalGeneration, processor: object, decoder: object = None) -> list[int]:
    inputs = processor.build_inputs([image()], PROMPT)
    return generate(model, inputs, 40, decoder=decoder)[0].ids


@torch.inference_mode()
def test_the_same_answer_as_from_the_whole_model(folder: Path, model: VaryForConditionalGeneration) -> None:
    found, processor, decoder = load_quantized(folder, quantize="float32")
    inputs = processor.build_inputs([image()], PROMPT)
    pixels = {name: inputs[name] for name in inputs if name.startswith("pixel")}
    assert torch.equal(
        found.get_image_features(**pixels).pooler_output, model.get_image_features(**pixels).pooler_output
    )
    assert answer(found, processor, decoder) == answer(model, processor)
    assert decoder.name.startswith("native float32 (")
    assert not any(name.startswith(("model.language_model", "lm_head")) for name in found.state_dict())
    with pytest.raises(RuntimeError, match="decoded by the native kernels"):
        found(**inputs)


def test_eight_bits_answer_alike(folder: Path, model: VaryForConditionalGeneration) -> None:
    found, processor, decoder = load_quantized(folder, quantize="int8")
    whole = answer(model, processor)
    same = sum(a == b for a, b in zip(answer(found, processor, decoder), whole, strict=False))
    assert same >= 5  # random weights: once they differ, all that follows does


def test_packed_once_and_again_when_the_weights_change(folder: Path) -> None:
    load_quantized(folder, quantize="int4")
    file = folder / "language-model.int4-g32.packed"
    first = file.stat()
    load_quantized(folder, quantize="int4-g32")  # another name of the same
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (first.st_ino, first.st_mtime_ns)
    weights = folder / "model.safetensors"
    state = load_file(weights)
    state["lm_head.weight"] = -state["lm_head.weight"]
    save_file(state, weights, {"format": "pt"})
    *_, decoder = load_quantized(folder, quantize="int4")
    assert file.stat().st_ino != first.st_ino
    states = torch.randn(3, 64)
    again = NativeDecoder(PackedModel.open(file))
    both = [one.read([Entry(one.open(), states, 3)]) for one in (decoder, again)]
    assert torch.equal(*both)


def test_a_broken_packed_file_is_made_anew(folder: Path) -> None:
    file = folder / "language-model.int8-g64.packed"
    file.write_bytes(b"nothing of the kind")
    *_, decoder = load_quantized(folder, quantize="int8")
    with safe_open(file, "pt") as stream:
        assert stream.metadata()["precision"] == "int8-g64"
    assert decoder.vocabulary_size == config().text_config.vocab_size


def test_where_the_folder_cannot_be_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: VaryForConditionalGeneration
) -> None:
    monkeypatch.setenv("VARY_HOME", str(tmp_path / "home"))
    beside, at_home = packed_places(open_source(folder), precision("float32"))
    beside.mkdir()  # as good as a folder that refuses, for a test that root runs too
    found, processor, decoder = load_quantized(folder, quantize="float32")
    assert at_home.is_file()
    assert at_home.is_relative_to(tmp_path / "home")
    assert answer(found, processor, decoder) == answer(model, processor)
    at_home.unlink()
    at_home.mkdir()
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    found, processor, decoder = load_quantized(folder, quantize="float32")
    assert answer(found, processor, decoder) == answer(model, processor)  # though its file is gone
    assert list(temporary.iterdir()) == []
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(NativeError, match=r"cannot be stored: .*make room there, or name a folder with room"):
        load_quantized(folder, quantize="float32")


def test_another_format(tmp_path: Path, model: VaryForConditionalGeneration, folder: Path) -> None:
    """The authors' own, whose queries, keys and values lie in one tensor."""
    theirs = toy_folder(tmp_path / "theirs", model)
    *_, ours = load_quantized(folder, quantize="int8")
    source = open_source(theirs)
    assert source.layout.name == "vary-qwen"
    decoder = NativeDecoder(packed_model(source, precision("int8")))
    states = torch.randn(5, 64)
    both = [one.read([Entry(one.open(), states, 5)]) for one in (ours, decoder)]
    assert torch.equal(*both)


def test_a_tied_head(tmp_path: Path) -> None:
    model = chat_model(config(tie_word_embeddings=True))
    model.save_pretrained(tmp_path)
    chat_processor(model.config).save_pretrained(tmp_path)
    found, processor, decoder = load_quantized(tmp_path, quantize="float32")
    assert answer(found, processor, decoder) == answer(model, processor)


def test_what_the_kernels_do_not_compute_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    place = opt_folder(tmp_path / "opt", opt_model())
    with pytest.raises((NativeError, CheckpointError)):
        load_quantized(place, quantize="int4")
    assert not list(place.glob("*.packed"))


def test_of_a_small_model_nothing_is_stored(
    folder: Path, monkeypatch: pytest.MonkeyPatch, model: VaryForConditionalGeneration
) -> None:
    monkeypatch.setattr("vary.quantized.SMALL", 64 << 20)
    found, processor, decoder = load_quantized(folder, quantize="float32")
    assert answer(found, processor, decoder) == answer(model, processor)
    assert not list(folder.glob("*.packed"))


def test_an_unknown_precision(folder: Path) -> None:
    with pytest.raises(NativeError, match="unknown precision 'int3'"):
        load_quantized(folder, quantize="int3")
