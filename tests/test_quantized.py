"""Checkpoints with packed weights: the same answers, files that are made once, and where they may lie."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

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
from vary.quantized import load_quantized, packed_model, packed_places, text_weights
from vary.weights.sources import HEAD, Source, open_source

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
    found, processor, decoder = load_quantized(folder, quantize="float32")  # packed in memory
    assert answer(found, processor, decoder) == answer(model, processor)
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_where_nothing_can_be_stored_it_is_packed_in_memory(
    number: int,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: VaryForConditionalGeneration,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refused(**_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setenv("VARY_HOME", str(tmp_path / "home"))
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(tempfile, "mkstemp", refused)
    found, processor, decoder = load_quantized(folder, quantize="float32")
    assert answer(found, processor, decoder) == answer(model, processor)
    assert sorted(tmp_path.rglob("*")) == before
    [said] = caplog.messages
    assert said.startswith("the float32 weights of checkpoint are packed by every start, which takes a while")
    assert said.count(os.strerror(number)) == 2
    assert "name a folder with room (VARY_HOME)" in said


def test_packing_is_announced_once_before_it_begins(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def watched(source: Source) -> Callable[[str], Tensor]:
        weight = text_weights(source)

        def read(name: str) -> Tensor:
            assert caplog.messages or "proj.weight" not in name  # a matrix
            return weight(name)

        return read

    monkeypatch.setattr("vary.quantized.text_weights", watched)
    load_quantized(folder, quantize="int8")
    load_quantized(folder, quantize="int8")
    file = folder / "language-model.int8-g64.packed"
    assert caplog.messages == [
        f"the int8-g64 weights of checkpoint are packed once, which takes a while, and stored in {file}"
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"rope_parameters": {"rope_type": "default", "rope_theta": 50.0}},
        {"rms_norm_eps": 0.1},
        {"max_position_embeddings": 96},
        {"num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 64},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_packed_again_when_the_configuration_changes(changes: dict[str, Any], folder: Path) -> None:
    load_quantized(folder, quantize="float32")
    told = json.loads((folder / "config.json").read_text())
    told["text_config"] |= changes
    (folder / "config.json").write_text(json.dumps(told))
    *_, decoder = load_quantized(folder, quantize="float32")
    whole = VaryForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    states = torch.randn(3, 64)
    with torch.inference_mode():
        expected = whole.lm_head(whole.model.language_model(inputs_embeds=states[None]).last_hidden_state[0])
    found = decoder.read([Entry(decoder.open(), states, 3)])
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=2e-3)  # keys and values in float16
    assert decoder.context == told["text_config"]["max_position_embeddings"]


def test_a_damaged_packed_file_is_made_anew(folder: Path) -> None:
    load_quantized(folder, quantize="int8")
    file = folder / "language-model.int8-g64.packed"
    whole = file.read_bytes()
    middle = len(whole) // 2
    file.write_bytes(whole[:middle] + bytes(4096) + whole[middle + 4096 :])
    with pytest.raises(NativeError, match="it is damaged"):
        PackedModel.open(file)
    load_quantized(folder, quantize="int8")
    assert file.read_bytes() == whole


def test_packed_weights_are_as_private_as_the_checkpoint_s(folder: Path) -> None:
    (folder / "model.safetensors").chmod(0o640)
    load_quantized(folder, quantize="int8")
    assert (folder / "language-model.int8-g64.packed").stat().st_mode & 0o777 == 0o640


WRITES_FOR_EVER = """
import sys, time
from pathlib import Path
import torch
from vary.engine.stored_tensors import write_tensors

def parts():
    yield "first", torch.zeros(9)
    print("begun", flush=True)
    time.sleep(600)

plan = dict.fromkeys(("first", "second"), torch.zeros(9, device="meta"))
write_tensors(Path(sys.argv[1]), plan, parts(), {})
"""


def test_what_a_killed_process_left_is_removed_and_what_one_writes_is_not(folder: Path) -> None:
    file = folder / "language-model.int8-g64.packed"
    with subprocess.Popen(
        [sys.executable, "-c", WRITES_FOR_EVER, str(file)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            [left] = folder.glob("*.partial")
            load_quantized(folder, quantize="int8")  # at the same time
            assert list(folder.glob("*.partial")) == [left]
        finally:
            process.kill()
    assert left.is_file()
    assert process.wait() != 0
    load_quantized(folder, quantize="int8")
    assert not list(folder.glob("*.partial"))


def test_two_may_pack_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts: list[int] = []
    both = Barrier(2, lambda: parts.append(len(list(folder.glob("*.partial")))), timeout=60)

    def met(source: Source) -> Callable[[str], Tensor]:
        weight = text_weights(source)

        def read(name: str) -> Tensor:
            if name == HEAD:  # the last matrix
                both.wait()
            return weight(name)

        return read

    monkeypatch.setattr("vary.quantized.text_weights", met)
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda _: packed_model(open_source(folder), precision("int4")), range(2)))
    assert parts == [2]
    again = packed_model(open_source(folder), precision("int4"))
    for one in found:
        assert all(torch.equal(one.tensors[name], again.tensors[name]) for name in again.tensors)
    assert not list(folder.glob("*.partial"))


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
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: VaryForConditionalGeneration,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("vary.quantized.SMALL", 64 << 20)
    found, processor, decoder = load_quantized(folder, quantize="float32")
    assert answer(found, processor, decoder) == answer(model, processor)
    assert not list(folder.glob("*.packed"))
    assert caplog.messages == []


def test_an_unknown_precision(folder: Path) -> None:
    with pytest.raises(NativeError, match="unknown precision 'int3'"):
        load_quantized(folder, quantize="int3")
