"""What the peers' hand-built graphs share: the tensors of a Qwen2 layer by name, and rotary tables."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vary.bench.contestants.protocol import Order
from vary.bench.shapes import DecoderSize
from vary.bench.weights import HEAD, LANGUAGE, Weights
from vary.model.configuration import VaryConfig

__all__ = ["Matrix", "Qwen2Tensors", "graph_refusal", "rotary_tables"]


def graph_refusal(config: VaryConfig, device: str, group: int) -> str:
    """Why a graph of quantised Qwen2 layers cannot be built for a model or device; empty where it can."""
    if device != "cpu":
        return f"it is measured on CPUs only, not on {device}"
    text = config.text_config
    if text.model_type != "qwen2":
        return f"its graph is built for qwen2 decoders, this model's is {text.model_type}"
    for name, width in (("hidden", text.hidden_size), ("inner", text.intermediate_size)):
        if width % group:
            return (
                f"groups of {group} do not divide the {name} width {width}; ask for another, such as int4-g64"
            )
    return ""


@dataclass(frozen=True, slots=True)
class Matrix:
    """A linear layer: the names of its weights, of its bias or "", and its widths."""

    weight: str
    bias: str
    outputs: int
    inputs: int


class Qwen2Tensors:
    """The tensors of a Qwen2 decoder, layer by layer."""

    def __init__(self, order: Order) -> None:
        self.size: DecoderSize = order.size
        self.weights: Weights = order.weights

    def vector(self, layer: int, name: str) -> Tensor:
        """Such as `input_layernorm.weight` of a layer."""
        return self.weights.tensor(f"{LANGUAGE}layers.{layer}.{name}")

    @property
    def norm(self) -> Tensor:
        """The scale of the last norm."""
        return self.weights.tensor(f"{LANGUAGE}norm.weight")

    def matrix(self, layer: int, name: str) -> Matrix:
        """Such as `self_attn.q_proj` of a layer."""
        weight = f"{LANGUAGE}layers.{layer}.{name}.weight"
        outputs, inputs = self.weights.shape(weight)
        biased = name.endswith(("q_proj", "k_proj", "v_proj"))
        return Matrix(weight, f"{weight.removesuffix('weight')}bias" if biased else "", outputs, inputs)

    @property
    def head(self) -> Matrix:
        """The scores."""
        outputs, inputs = self.weights.shape(HEAD)
        return Matrix(HEAD, "", outputs, inputs)


def rotary_tables(size: DecoderSize, positions: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines (positions, head_width / 2) of the rotations."""
    steps = torch.arange(0, size.head_width, 2, dtype=torch.float64) / size.head_width
    angles = torch.arange(positions, dtype=torch.float64)[:, None] * size.rope_theta**-steps
    return angles.cos().float(), angles.sin().float()
