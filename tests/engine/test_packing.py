"""Packing of weights: what rounding loses, sizes, the file, and files that are not what they should be."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import OPTConfig, Qwen2Config, Qwen2ForCausalLM

from vary.engine.packing import (
    MatrixPlan,
    PackedModel,
    TextShape,
    pack_matrix,
    pack_model,
    unpack_matrix,
    write_packed,
)
from vary.engine.precisions import PRECISIONS, Precision, precision
from vary.errors import NativeError

CONFIG = Qwen2Config(
    hidden_size=64,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    intermediate_size=72,
    vocab_size=50,
    max_position_embeddings=64,
)


def tensors_of(config: Qwen2Config) -> Callable[[str], Tensor]:
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(config)
    state = {**model.model.state_dict(), "lm_head.weight": model.lm_head.weight.detach()}
    return state.__getitem__


def packed(table: Tensor, kind: Precision, **options: int) -> Tensor:
    values, scales = pack_matrix(table, kind, threads=1, **options)
    return unpack_matrix(MatrixPlan(*table.shape, kind), values, scales)


@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 150),
    name=st.sampled_from(sorted(PRECISIONS)),
    size=st.floats(1e-4, 1e3),
    seed=st.integers(0, 1000),
)
@example(rows=19, columns=97, name="int4-g128", size=1.0, seed=67)  # a weight is cut off by more than a step
@settings(max_examples=60, deadline=None)
def test_a_weight_is_off_by_at_most_half_a_step(
    rows: int, columns: int, name: str, size: float, seed: int
) -> None:
    torch.manual_seed(seed)
    table = torch.randn(rows, columns) * size
    kind = precision(name)
    found = packed(table, kind)
    if kind.kind == "float32":
        assert torch.equal(found, table)
    elif kind.kind == "bfloat16":
        assert torch.equal(found, table.bfloat16().float())
    else:
        _, raw = pack_matrix(table, kind, threads=1)
        scales = torch.from_numpy(raw).float().view(-1, -(-columns // kind.group), 16).transpose(1, 2)
        steps = scales.reshape(-1, scales.shape[2])[:rows].repeat_interleave(kind.group, 1)[:, :columns]
        least, most = {"int8": (-127, 127), "int4": (-8, 7)}[kind.kind]
        # What lies beyond the integers is cut off: 4 bits' scales are tried up to 9.6 for the largest weight.
        inside = torch.where(
            steps >= 0, table.clamp(least * steps, most * steps), table.clamp(most * steps, least * steps)
        )
        assert ((found - inside).abs() <= 0.501 * steps.abs() + 1e-7).all()
        for start in range(0, columns, kind.group):
            group = slice(start, start + kind.group)
            peak = table[:, group].abs().amax(1, keepdim=True)
            # A step is at most 30 % wider than the plain one; it is a float16, 6e-8 apart where it is least.
            assert (steps[:, group].abs() - 6e-8 <= 1.3 * peak / most).all()
            assert ((table - inside)[:, group].abs() <= 0.28 * peak + 1e-6).all()


@pytest.mark.parametrize("name", ["int4-g32", "int4-g64", "int4-g128", "int8-g64"])
def test_the_scale_that_is_searched_loses_less(name: str) -> None:
    torch.manual_seed(0)
    table = torch.randn(64, 512)
    kind = precision(name)
    plain, searched = ((packed(table, kind, tries=tries) - table).pow(2).mean() for tries in (0, 5))
    assert searched <= plain
    if kind.kind == "int4":
        assert searched < 0.95 * plain
        # Rounding to whole multiples of the largest over seven, the textbook's way, loses more.
        groups = table.view(64, -1, kind.group)
        step = groups.abs().amax(-1, keepdim=True) / 7
        textbook = ((groups / step).round() * step - groups).pow(2).mean()
        assert searched < 0.8 * textbook


def test_importance_moves_the_loss_to_other_columns() -> None:
    torch.manual_seed(0)
    table = torch.randn(64, 256)
    importance = torch.ones(256)
    importance[::4] = 100.0
    kind = precision("int4-g64")
    values, scales = pack_matrix(table, kind, importance=importance, threads=1)
    weighed = (unpack_matrix(MatrixPlan(64, 256, kind), values, scales) - table)[:, ::4].pow(2).mean()
    assert weighed < (packed(table, kind) - table)[:, ::4].pow(2).mean()


def test_zeros_stay_zeros() -> None:
    for name in PRECISIONS:
        assert not packed(torch.zeros(3, 40), precision(name)).any()


def test_threads_pack_the_same_bytes() -> None:
    torch.manual_seed(0)
    table = torch.randn(100, 100)
    one, three = (pack_matrix(table, precision("int4"), threads=count) for count in (1, 3))
    assert all(np.array_equal(a.view(np.uint8), b.view(np.uint8)) for a, b in zip(one, three, strict=True))


@pytest.mark.parametrize("name", ["int4", "int8-g128", "bfloat16", "float32"])
def test_a_file_gives_back_what_was_packed(tmp_path: Path, name: str) -> None:
    file = tmp_path / "packed"
    weight = tensors_of(CONFIG)
    write_packed(file, CONFIG, weight, precision(name), "these weights")
    model = PackedModel.open(file, "these weights")
    assert model.shape == TextShape.of(CONFIG)
    assert model.precision == precision(name)
    assert torch.equal(model.embed(torch.tensor([3, 49])), weight("embed_tokens.weight")[[3, 49]])
    plan = model.shape.matrices(model.precision)["layers.1.out"]
    values = model.tensors["layers.1.out.values"].numpy()
    scales = model.tensors.get("layers.1.out.scales", torch.zeros(0)).numpy()
    expected = packed(weight("layers.1.self_attn.o_proj.weight"), model.precision)
    assert torch.equal(unpack_matrix(plan, values, scales), expected)
    assert [path.name for path in tmp_path.iterdir()] == ["packed"]
    assert all(
        tensor.data_ptr() % 64 == 0 for key, tensor in model.tensors.items() if key.endswith(".values")
    )


@pytest.mark.parametrize("name", ["int4", "bfloat16"])
def test_in_memory_as_in_a_file(tmp_path: Path, name: str) -> None:
    weight, kind = tensors_of(CONFIG), precision(name)
    write_packed(tmp_path / "packed", CONFIG, weight, kind, "")
    stored, made = PackedModel.open(tmp_path / "packed"), pack_model(CONFIG, weight, kind)
    assert (made.shape, made.precision) == (stored.shape, stored.precision)
    assert made.tensors.keys() == stored.tensors.keys()
    for key, tensor in made.tensors.items():
        assert torch.equal(tensor, stored.tensors[key])
        assert tensor.data_ptr() % 64 == 0 or not key.endswith(".values")
    assert made.tensors["embedding"].data_ptr() != weight("embed_tokens.weight").data_ptr()


def test_a_damaged_file_is_refused(file: Path) -> None:
    raw = bytearray(file.read_bytes())
    raw[-5] ^= 1
    file.write_bytes(raw)
    with pytest.raises(NativeError, match=r"it is damaged.*; delete it to have it packed again"):
        PackedModel.open(file)


def test_a_tied_embedding_keeps_its_type(tmp_path: Path) -> None:
    weight = tensors_of(CONFIG)
    write_packed(
        tmp_path / "packed", CONFIG, lambda name: weight(name).bfloat16(), precision("int8"), "bfloat16"
    )
    table = PackedModel.open(tmp_path / "packed").tensors["embedding"]
    assert table.dtype == torch.bfloat16


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "packed"
    write_packed(path, CONFIG, tensors_of(CONFIG), precision("int4"), "these weights")
    return path


def rewritten(file: Path, **metadata: str) -> Path:
    """The file with other metadata."""
    raw = file.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    header["__metadata__"] |= metadata
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + size :])
    return file


def test_files_that_are_not_what_they_should_be(file: Path, tmp_path: Path) -> None:
    with pytest.raises(NativeError, match="packed from other weights; delete it"):
        PackedModel.open(file, "those weights")
    with pytest.raises(NativeError, match="packed for another configuration of the model; delete it"):
        PackedModel.open(file, shape=replace(TextShape.of(CONFIG), theta=50.0))
    short = tmp_path / "short"
    short.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(NativeError, match="no packed decoder"):
        PackedModel.open(short)
    with pytest.raises(NativeError, match="no packed decoder"):
        PackedModel.open(tmp_path / "nothing")
    other = tmp_path / "other"
    save_file({"a": torch.zeros(3)}, other)
    with pytest.raises(NativeError, match="no packed decoder; expected a file that vary packed"):
        PackedModel.open(other)
    missing = {name: tensor for name, tensor in load_file(file).items() if name != "layers.1.out.values"}
    raw = file.read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    save_file(missing, other, header["__metadata__"])
    with pytest.raises(NativeError, match=r"layers\.1\.out\.values"):
        PackedModel.open(other)


def test_a_shape_that_its_tensors_do_not_have(file: Path) -> None:
    shape = {**json.loads(_metadata(file)["shape"]), "vocabulary": 1_000_000}
    with pytest.raises(NativeError, match="of another size than the model's"):
        PackedModel.open(rewritten(file, shape=json.dumps(shape)))


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"version": "0"}, "packed for version 0 of the kernels"),
        ({"precision": "int3"}, "unknown precision 'int3'"),
        ({"shape": "{}"}, "no packed decoder"),
        ({"shape": "nonsense"}, "no packed decoder"),
        ({"shape": '{"hidden": "wide"}'}, "no packed decoder"),
    ],
)
def test_metadata_that_make_no_sense(file: Path, metadata: dict[str, str], message: str) -> None:
    with pytest.raises(NativeError, match=message):
        PackedModel.open(rewritten(file, **metadata))


def _metadata(file: Path) -> dict[str, str]:
    raw = file.read_bytes()
    metadata: dict[str, str] = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"]
    return metadata


def test_nothing_is_left_of_a_file_that_could_not_be_written(tmp_path: Path) -> None:
    weight = tensors_of(CONFIG)

    def fails(name: str) -> Tensor:
        if name == "layers.1.mlp.up_proj.weight":
            raise OSError("no space left")
        return weight(name)

    with pytest.raises(OSError, match="no space left"):
        write_packed(tmp_path / "packed", CONFIG, fails, precision("int4"), "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": 96, "num_attention_heads": 2}, "multiple of 32, not 48"),
        ({"hidden_act": "gelu"}, "another activation than silu"),
        ({"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 0}, "a sliding window"),
        ({"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}, "type 'linear'"),
    ],
)
def test_models_that_the_kernels_do_not_compute(changes: dict[str, object], message: str) -> None:
    with pytest.raises(NativeError, match=message):
        TextShape.of(Qwen2Config(**{**CONFIG.to_dict(), **changes}))


def test_another_kind_of_model_is_refused_by_name() -> None:
    with pytest.raises(NativeError, match="'opt'"):
        TextShape.of(OPTConfig())


def test_an_unknown_precision_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(NativeError, match=r"int4-g64.*did you mean 'int4-g32'"):
        precision("int4-g33")
