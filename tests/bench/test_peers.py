"""Every contestant computes the same model: peers against torch on the same weights, rounded alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vary.bench.contestants.llamacpp import LlamaCpp
from vary.bench.contestants.onnxruntime import OnnxRuntime
from vary.bench.contestants.openvino import OpenVino
from vary.bench.contestants.protocol import Contestant, Decoding, Order
from vary.bench.contestants.registry import CONTESTANTS
from vary.bench.contestants.transformers import Transformers
from vary.bench.contestants.vary import Vary
from vary.bench.phases import random_pixels
from vary.bench.quantization import group_rows
from vary.bench.shapes import shape_config
from vary.bench.weights import HEAD, LANGUAGE, RandomWeights, Weights

torch.set_num_threads(1)

CONFIG = shape_config("tiny")
WIDTH = CONFIG.text_config.hidden_size
ROUNDED_ACTIVATIONS = 0.03
"""Peers round activations to 8 bits too: how far scores may lie apart then, as a share of the largest."""


class Rounded:
    """The weights that a peer's integers stand for."""

    def __init__(self, weights: Weights, restore: Callable[[Tensor], Tensor]) -> None:
        self._weights, self._restore = weights, restore

    def shape(self, name: str) -> tuple[int, ...]:
        return self._weights.shape(name)

    def tensor(self, name: str) -> Tensor:
        tensor = self._weights.tensor(name)
        matrix = name == HEAD or (name.startswith(f"{LANGUAGE}layers") and tensor.dim() == 2)
        return self._restore(tensor) if matrix else tensor

    def rows(self, name: str, first: int, last: int) -> Tensor:
        return self.tensor(name)[first:last]


def order(precision: str, folder: Path, weights: Weights | None = None) -> Order:
    return Order(
        config=CONFIG,
        weights=weights or RandomWeights(CONFIG, seed=0),
        precision=precision,
        threads=1,
        device=torch.device("cpu"),
        folder=folder,
    )


def rows(sequences: int, tokens: int, seed: int = 1) -> Tensor:
    return torch.randn(sequences, tokens, WIDTH, generator=torch.Generator().manual_seed(seed)) * 0.02


def reference(folder: Path, weights: Weights | None = None) -> Decoding:
    decoding = Transformers().decoding(order("float32", folder, weights))
    assert decoding is not None
    return decoding


def distance(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max())


def check_same(decoding: Decoding, expected: Decoding, tolerance: float) -> None:
    """A prompt of two sequences, a step of several tokens, a cut, and the steps one by one."""
    prompt, new = rows(2, 21), rows(2, 4, seed=2)
    for one in (decoding, expected):
        one.start(2, 40)
    assert distance(decoding.read(prompt, 1), expected.read(prompt, 1)) < tolerance
    wanted = expected.read(new, 4)
    assert distance(decoding.read(new, 4), wanted) < tolerance
    decoding.cut(21)
    single = torch.cat([decoding.read(new[:, at : at + 1], 1) for at in range(4)], 1)
    assert distance(single, wanted) < tolerance
    decoding.start(1, 40)
    expected.start(1, 40)
    assert distance(decoding.read(new[:1], 2), expected.read(new[:1], 2)) < tolerance


@torch.inference_mode()
def test_our_float_decoder_is_the_librarys(tmp_path: Path) -> None:
    ours = Vary().decoding(order("float32", tmp_path))
    assert ours is not None
    check_same(ours, reference(tmp_path), 1e-5)
    assert ours.weight_bytes == 4 * order("float32", tmp_path).size.read_per_token


@torch.inference_mode()
def test_our_native_decoder_is_near_the_librarys(tmp_path: Path) -> None:
    if reason := Vary().refusal(CONFIG, "int8", "cpu"):
        pytest.skip(reason)
    ours = Vary().decoding(order("int8-g64", tmp_path))
    assert ours is not None
    check_same(ours, reference(tmp_path), 0.05)
    assert ours.weight_bytes < 1.2 * order("int8", tmp_path).size.read_per_token


@torch.inference_mode()
@pytest.mark.parametrize("precision", ["int4-g64", "int8-g32"])
@pytest.mark.parametrize("peer", [OnnxRuntime(), OpenVino()], ids=lambda peer: peer.name)
def test_a_peers_graph_is_the_model(peer: Contestant, precision: str, tmp_path: Path) -> None:
    if line := peer.missing():
        pytest.skip(f"{peer.name} is not installed: {line}")
    bits, group = (4, 64) if precision == "int4-g64" else (8, 32)
    weights = RandomWeights(CONFIG, seed=0)
    decoding = peer.decoding(order(precision, tmp_path, weights))
    assert decoding is not None
    rounded = Rounded(weights, lambda matrix: group_rows(matrix, bits, group).restored)
    check_same(decoding, reference(tmp_path, rounded), ROUNDED_ACTIVATIONS)
    per_weight = bits / 8 + 4 / group
    assert decoding.weight_bytes <= per_weight * order(precision, tmp_path).size.read_per_token


@torch.inference_mode()
@pytest.mark.parametrize("precision", ["int4", "int8"])
def test_llama_cpp_is_the_model(precision: str, tmp_path: Path) -> None:
    if line := LlamaCpp().missing():
        pytest.skip(f"llama.cpp is not installed: {line}")
    import gguf

    kind = gguf.GGMLQuantizationType.Q4_0 if precision == "int4" else gguf.GGMLQuantizationType.Q8_0

    def restore(matrix: Tensor) -> Tensor:
        packed = gguf.quants.quantize(matrix.contiguous().numpy(), kind)
        return torch.from_numpy(gguf.quants.dequantize(packed, kind)).view(matrix.shape)

    weights = RandomWeights(CONFIG, seed=0)
    decoding = LlamaCpp().decoding(order(precision, tmp_path, weights))
    assert decoding is not None
    check_same(decoding, reference(tmp_path, Rounded(weights, restore)), ROUNDED_ACTIVATIONS)


@torch.inference_mode()
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-4), ("int16", 0.02), ("int8", 0.2)])
def test_our_native_vision_is_near_torchs(precision: str, tolerance: float, tmp_path: Path) -> None:
    name = f"native {precision}"
    if reason := Vary().refusal(CONFIG, name, "cpu"):
        pytest.skip(reason)
    pixels = random_pixels(CONFIG, 1, 0, torch.device("cpu"))
    native, plain = (Vary().encoding(order(one, tmp_path)) for one in (name, "float32"))
    assert native is not None
    assert plain is not None
    assert 0 < distance(native.encode(pixels), plain.encode(pixels)) < tolerance


@torch.inference_mode()
def test_the_librarys_encoder_is_ours(tmp_path: Path) -> None:
    pixels = random_pixels(CONFIG, 2, 0, torch.device("cpu"))
    ours, theirs = (one.encoding(order("float32", tmp_path)) for one in (Vary(), Transformers()))
    assert ours is not None
    assert theirs is not None
    tokens = ours.encode(pixels)
    assert tokens.shape == (2, 4, WIDTH)
    assert distance(theirs.encode(pixels), tokens) < 1e-5


def test_every_contestant_has_its_name() -> None:
    assert all(name == contestant.name for name, contestant in CONTESTANTS.items())
    assert next(iter(CONTESTANTS)) == "vary"


def test_what_graphs_cannot_be_is_refused() -> None:
    for peer in (OnnxRuntime(), OpenVino(), LlamaCpp()):
        assert "qwen2" in peer.refusal(shape_config("vary-tiny"), "int4", "cpu")
        assert "CPU" in peer.refusal(CONFIG, "int4", "cuda")
        assert not peer.measures("float32")
        assert peer.measures("int4")
        assert peer.refusal(CONFIG, "int4", "cpu") == ""
    assert "128 do not divide" in OnnxRuntime().refusal(shape_config("vary-nano"), "int4", "cpu")
    assert OnnxRuntime().refusal(shape_config("vary-nano"), "int4-g64", "cpu") == ""
    assert not LlamaCpp().measures("int4-g128")
