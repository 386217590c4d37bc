"""Precisions that PyTorch computes: the restored weights' answers, little memory on the way, stored once."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from authors_files import byte_tokenizer, opt_600k_file, opt_model, toy_folder
from checkpoints import chat_config, chat_model, chat_processor
from factories import random_model, tiny_nano_config, tiny_opt_config, tiny_toy_config
from vary import quantized, weight_only
from vary.engine.decoders.interface import Decoder, Entry
from vary.engine.decoders.library import LibraryDecoder
from vary.engine.generation import generate
from vary.engine.grouped_linear import grouped_linears
from vary.engine.grouping import round_grouped
from vary.engine.precisions import precision
from vary.errors import NativeError
from vary.memory import memory_needed
from vary.model.configuration import VaryConfig
from vary.model.modeling import VaryForConditionalGeneration
from vary.quantized import load_quantized
from vary.weight_only import load_at_precision, load_weight_only
from vary.weights.sources import open_source

CPU = torch.device("cpu")


def missing() -> None:
    raise NativeError("the native kernels were not built with this installation; install a C++ compiler")


@pytest.fixture
def no_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vary.quantized.load_library", missing)


def wide_config() -> VaryConfig:
    """A tiny Vary-toy whose heads are as wide as the kernels want them."""
    settings = chat_config().to_dict()
    settings["text_config"] |= {"hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 2}
    return VaryConfig(**settings | {"projector_dim": 32})


def saved(folder: Path, model: VaryForConditionalGeneration) -> Path:
    model.save_pretrained(folder)
    chat_processor(model.config).save_pretrained(folder)
    return folder


@torch.inference_mode()
def scores(model: VaryForConditionalGeneration, decoder: Decoder | None = None) -> Tensor:
    """Of a few tokens behind an image, read by a decoder."""
    decoder = decoder or LibraryDecoder(model)
    pixels = chat_processor(model.config).build_inputs(
        [np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)], "Read this."
    )
    features = model.get_image_features(**{name: pixels[name] for name in pixels if name.startswith("pixel")})
    embeddings = model.model.embed(pixels["input_ids"], features)[0]
    return decoder.read([Entry(decoder.open(), embeddings, 5)])


def restored(model: VaryForConditionalGeneration, name: str) -> VaryForConditionalGeneration:
    """The float model, its language model's matrices replaced by what whole numbers stand for.

    Embeddings stay what they are, also where the head shared them.
    """
    for place, module in model.named_modules():
        if isinstance(module, nn.Linear) and place.startswith(("model.language_model", "lm_head")):
            table = round_grouped(module.weight, precision(name)).restored
            module.weight = nn.Parameter(table[:, : module.in_features])
    return model


@pytest.mark.parametrize("name", ["int8", "int4", "int4-g128"])
@pytest.mark.parametrize("make", [tiny_toy_config, tiny_opt_config], ids=["heads of 6", "opt"])
def test_the_scores_of_the_restored_weights(
    name: str, make: Callable[[], VaryConfig], tmp_path: Path, no_kernels: None
) -> None:
    model = chat_model(chat_config(make))
    found = load_at_precision(saved(tmp_path, model), CPU, quantize=name)
    assert found.decoder is None
    assert found.name == f"PyTorch {precision(name).name} (no native kernels)"
    assert "install a C++ compiler" in found.notes[0]
    torch.testing.assert_close(scores(found.model), scores(restored(model, name)), atol=2e-5, rtol=1e-4)
    assert len(grouped_linears(found.model)) == 2 * (7 if make is tiny_toy_config else 6) + 1


def test_models_that_the_kernels_refuse_are_decoded_by_pytorch(tmp_path: Path) -> None:
    folder = saved(tmp_path, chat_model(chat_config()))  # heads 6 wide
    with pytest.raises(NativeError):
        load_quantized(folder, quantize="int4")
    found = load_at_precision(folder, CPU, quantize="int4")
    assert found.decoder is None
    assert found.name.startswith("PyTorch int4-g32 (")
    assert len(found.notes) == 1


def test_the_native_decoder_scores_alike(tmp_path: Path) -> None:
    """It rounds activations to 8 bits too, so scores differ a little."""
    model = chat_model(wide_config())
    folder = saved(tmp_path, model)
    native, _, decoder = load_quantized(folder, quantize="int8")
    source = open_source(folder)
    ours = scores(load_weight_only(source, precision("int8"), None, CPU))
    theirs = scores(native, decoder)
    assert (ours - theirs).abs().max() < 0.1 * ours.std()


def test_greedy_answers_are_the_native_decoder_s(tmp_path: Path) -> None:
    folder = saved(tmp_path, chat_model(wide_config(), letters="abc"))
    native, processor, decoder = load_quantized(folder, quantize="int8")
    ours = load_weight_only(open_source(folder), precision("int8"), None, CPU)
    inputs = processor.build_inputs([np.full((64, 64, 3), 90, np.uint8)], "Read this.")
    expected = generate(native, inputs, 5, decoder=decoder)[0].ids
    assert generate(ours, inputs, 5)[0].ids == expected


@pytest.mark.parametrize("name", ["int4", "int8", "bfloat16", "float32"])
@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float32], ids=str)
def test_memory_is_what_was_planned_and_the_float_matrices_are_gone(
    name: str, dtype: torch.dtype | None, tmp_path: Path, no_kernels: None
) -> None:
    source = open_source(saved(tmp_path, chat_model(chat_config()).to(torch.bfloat16)))
    model = load_weight_only(source, precision(name), dtype, CPU)
    taken = sum(tensor.nbytes for tensor in model.state_dict().values())
    vision = source.config.vision_vocabulary_config
    working = 256 * vision.grid[0] * vision.grid[1] * vision.hidden_size
    assert memory_needed(source, dtype, name).device == taken + working
    text = model.model.language_model
    floats = [key for key, tensor in text.named_parameters() if tensor.ndim == 2]
    if precision(name).group:
        assert floats == ["embed_tokens.weight"]
        assert not [key for key, _ in model.lm_head.named_parameters()]
        assert text.embed_tokens.weight.dtype == torch.bfloat16  # its own, which is no wider
    else:
        assert {text.get_parameter(key).dtype for key in floats} == {getattr(torch, name)}
    assert model.dtype == (dtype or torch.bfloat16)
    assert scores(model).isfinite().all()


@pytest.mark.parametrize(
    ("name", "device"), [("bfloat16", "cpu"), ("bfloat16", "meta"), ("float32", "cpu")], ids=str
)
def test_a_float_type_is_the_language_model_s(
    name: str, device: str, tmp_path: Path, no_kernels: None
) -> None:
    """On a CPU bfloat16 is how matrices are stored, as for the native kernels: products are in float32."""
    model, kind = chat_model(chat_config()), getattr(torch, name)
    source = open_source(saved(tmp_path, model))
    found = load_weight_only(source, precision(name), torch.float32, torch.device(device))
    text = (*model.model.language_model.named_parameters(), *model.lm_head.named_parameters())
    for key, parameter in text:
        if device != "cpu":
            parameter.data = parameter.data.to(kind)
        elif parameter.ndim == 2 and "embed" not in key:
            parameter.data = parameter.data.to(kind).float()
    torch.testing.assert_close(scores(found), scores(model), atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_a_ctc_branch_keeps_its_head_whatever_the_language_model_is(tmp_path: Path) -> None:
    model = random_model(tiny_nano_config())
    model.save_pretrained(tmp_path)
    source = open_source(tmp_path)
    states = torch.randn(3, 24)
    for name, dtype in (("int4", torch.bfloat16), ("float32", torch.bfloat16), ("bfloat16", torch.float32)):
        found = load_weight_only(source, precision(name), dtype, CPU)
        weight = model.lm_head.weight.to(dtype)
        assert torch.equal(found.lm_head.weight, weight)
        assert found.scores(states.to(dtype), torch.tensor([4, 7])).dtype == dtype
        decoder = LibraryDecoder(found)
        assert decoder.read([Entry(decoder.open(), decoder.embed([5, 6]), 2)]).shape == (2, 96)


def test_one_layer_is_in_memory_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_kernels: None
) -> None:
    before: list[weakref.ref[Tensor]] = []
    rounding = weight_only.grouped_tensors

    def watched(weights: Tensor, *args: Any) -> dict[str, Tensor]:
        assert sum(one() is not None for one in before) < 7  # the matrices of a layer
        before.append(weakref.ref(weights))
        return rounding(weights, *args)

    monkeypatch.setattr(weight_only, "grouped_tensors", watched)
    load_at_precision(saved(tmp_path, chat_model(chat_config())), CPU, quantize="int8")
    assert len(before) == 15


@pytest.mark.parametrize("tied", [False, True])
def test_other_formats_and_tied_heads(tied: bool, tmp_path: Path) -> None:
    """The authors' own, whose queries, keys and values lie in one tensor, and OPT's with its embeddings."""
    if tied:
        model, place = opt_model(), opt_600k_file(tmp_path / "opt", opt_model())
    else:
        model = random_model(tiny_toy_config())
        place = toy_folder(tmp_path / "toy", model)
        byte_tokenizer(place / "qwen.tiktoken")
    found = load_weight_only(open_source(place), precision("int8"), None, CPU)
    expected = restored(model, "int8")
    embeddings = [one.get_input_embeddings().weight for one in (found, expected)]
    assert torch.equal(*embeddings)
    states = torch.randn(1, 4, 24)
    with torch.inference_mode():
        both = [
            one.lm_head(one.model.language_model(inputs_embeds=states).last_hidden_state)
            for one in (found, expected)
        ]
    torch.testing.assert_close(*both, atol=2e-5, rtol=1e-4)


def test_stored_once_and_again_when_the_weights_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_kernels: None
) -> None:
    monkeypatch.setattr(weight_only, "SMALL", 0)
    folder = saved(tmp_path / "checkpoint", chat_model(chat_config()))
    first = scores(load_at_precision(folder, CPU, quantize="int4").model)
    file = folder / "language-model.int4-g32.grouped"
    number = file.stat().st_ino
    monkeypatch.setattr(weight_only, "grouped_tensors", None)  # nothing is rounded
    assert torch.equal(scores(load_at_precision(folder, CPU, quantize="int4").model), first)
    monkeypatch.undo()
    monkeypatch.setattr("vary.quantized.load_library", missing)
    monkeypatch.setattr(weight_only, "SMALL", 0)
    file.write_bytes(b"nothing of the kind")
    assert torch.equal(scores(load_at_precision(folder, CPU, quantize="int4").model), first)
    weights = folder / "model.safetensors"
    state = load_file(weights)
    state["lm_head.weight"] = -state["lm_head.weight"]
    save_file(state, weights, {"format": "pt"})
    torch.testing.assert_close(
        scores(load_at_precision(folder, CPU, quantize="int4").model), -first, atol=0.2, rtol=0.2
    )
    assert file.stat().st_ino != number
    assert not list(folder.glob("*.partial"))


def test_where_nothing_can_be_stored_it_is_rounded_by_every_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_kernels: None
) -> None:
    monkeypatch.setattr(weight_only, "SMALL", 0)
    monkeypatch.setenv("VARY_HOME", str(tmp_path / "home"))
    folder = saved(tmp_path / "checkpoint", chat_model(chat_config()))
    beside, at_home = quantized.packed_places(open_source(folder), precision("int4"), "grouped")
    for place in (beside, at_home):
        place.mkdir(parents=True)  # as good as a folder that refuses
    assert scores(load_at_precision(folder, CPU, quantize="int4").model).isfinite().all()
    assert not list(tmp_path.rglob("*.partial"))


def test_what_is_stored_follows_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_kernels: None, caplog: pytest.LogCaptureFixture
) -> None:
    """Of it only sizes matter to whole numbers and scales; rotary positions are the model's."""
    monkeypatch.setattr(weight_only, "SMALL", 0)
    folder = saved(tmp_path / "checkpoint", chat_model(chat_config()))
    before = scores(load_at_precision(folder, CPU, quantize="int4").model)
    told = json.loads((folder / "config.json").read_text())
    told["text_config"]["rope_parameters"] = {"rope_type": "default", "rope_theta": 50.0}
    (folder / "config.json").write_text(json.dumps(told))
    found = scores(load_at_precision(folder, CPU, quantize="int4").model)
    file = folder / "language-model.int4-g32.grouped"
    assert caplog.messages == [
        f"the weights of checkpoint are rounded to int4-g32 once, which takes a while, and stored in {file}"
    ]
    file.unlink()
    assert not torch.equal(found, before)
    assert torch.equal(found, scores(load_at_precision(folder, CPU, quantize="int4").model))


def test_a_damaged_file_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_kernels: None
) -> None:
    monkeypatch.setattr(weight_only, "SMALL", 0)
    folder = saved(tmp_path / "checkpoint", chat_model(chat_config()))
    (folder / "model.safetensors").chmod(0o640)
    load_at_precision(folder, CPU, quantize="int8")
    file = folder / "language-model.int8-g64.grouped"
    assert file.stat().st_mode & 0o777 == 0o640
    whole = file.read_bytes()
    middle = len(whole) // 2
    file.write_bytes(whole[:middle] + bytes(4096) + whole[middle + 4096 :])
    load_at_precision(folder, CPU, quantize="int8")
    assert file.read_bytes() == whole
