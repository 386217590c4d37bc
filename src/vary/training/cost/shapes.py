"""What a model is made of, read off its configuration: parameters by part and the decoder's matrices.

The model is built on the meta device, so that no memory is taken whatever its size.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoModel
from transformers.modeling_layers import GradientCheckpointingLayer

from vary.errors import TrainingError
from vary.model.configuration import VaryConfig
from vary.model.loading import quiet_library
from vary.model.modeling import VaryForConditionalGeneration

__all__ = [
    "PARTS",
    "DecoderShape",
    "LayerShape",
    "Matrix",
    "check_parts",
    "layers_used",
    "meta_model",
    "written_out",
]

PARTS = ("vision_vocabulary", "clip", "projector", "decoder")
"""The parts of a model as recipes name them; the head belongs to the decoder."""
READS_INPUT = ("q_proj", "k_proj", "v_proj", "qkv_proj")
"""Matrices of a decoder's layer that read what comes into it, and nothing that the layer made."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """A linear layer: its name within its layer, its widths, and whether it reads the layer's input."""

    name: str
    inputs: int
    outputs: int
    first: bool

    @property
    def size(self) -> int:
        return self.inputs * self.outputs


@dataclass(frozen=True, slots=True)
class LayerShape:
    """A layer of a decoder: its matrices in the order in which they are applied."""

    matrices: tuple[Matrix, ...]

    @property
    def inner(self) -> int:
        """The inner width of the MLP: what its last matrix reads."""
        return self.matrices[-1].inputs

    @property
    def gated(self) -> bool:
        """Whether the MLP multiplies two branches, as Qwen2's and Llama's, or has one, as OPT's."""
        outputs = sum(matrix.outputs for matrix in self.matrices[:-1] if "attn" not in matrix.name)
        return outputs >= 2 * self.inner


@dataclass(frozen=True, slots=True)
class DecoderShape:
    """A causal language model as the cost of its training sees it.

    Attributes:
        kind: the library's name of its architecture.
        width, vocabulary: of its states and its head.
        heads, key_value_heads, head_width: of its attention.
        layers: one after the other.
        eager: whether its attention is written out instead of fused.
        dropout: probability, after each half of a layer.
    """

    kind: str
    width: int
    vocabulary: int
    heads: int
    key_value_heads: int
    head_width: int
    layers: tuple[LayerShape, ...]
    eager: bool
    dropout: float

    @classmethod
    def of(cls, config: VaryConfig, model: VaryForConditionalGeneration | None = None) -> DecoderShape:
        """The decoder of a configuration; `model`, if it is there already, spares building one.

        Raises:
            TrainingError: for an architecture whose layers are not made of linear layers, such as mixtures of
                experts: its cost cannot be read off.
        """
        text = config.text_config
        if model is None:
            with torch.device("meta"), quiet_library():
                decoder = AutoModel.from_config(text)
        else:
            decoder = model.model.language_model
        layers = [module for module in decoder.modules() if isinstance(module, GradientCheckpointingLayer)]
        if not layers:
            raise TrainingError(f"the text model '{text.model_type}' has no layers whose cost is known")
        return cls(
            kind=text.model_type,
            width=text.hidden_size,
            vocabulary=text.vocab_size,
            heads=text.num_attention_heads,
            key_value_heads=getattr(text, "num_key_value_heads", None) or text.num_attention_heads,
            head_width=getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads,
            layers=tuple(_layer(layer, text.model_type) for layer in layers),
            eager=written_out(text),
            dropout=float(getattr(text, "dropout", 0.0) or 0.0),
        )


def _layer(layer: nn.Module, kind: str) -> LayerShape:
    matrices = [
        Matrix(name, module.in_features, module.out_features, name.rpartition(".")[2] in READS_INPUT)
        for name, module in layer.named_modules()
        if isinstance(module, nn.Linear)
    ]
    counted = sum(matrix.size for matrix in matrices)
    if counted != sum(parameter.numel() for parameter in layer.parameters() if parameter.ndim > 1):
        raise TrainingError(
            f"a layer of the text model '{kind}' holds matrices outside of linear layers, as mixtures of "
            "experts do; what its training costs cannot be told from its configuration"
        )
    # OPT registers k, v, q: the order among those that read the layer's input does not matter.
    return LayerShape(tuple(matrices))


def written_out(config: Any) -> bool:
    """Whether a part's attention is written out (`eager`), with a matrix of scores, instead of fused."""
    return getattr(config, "_attn_implementation", None) == "eager"


def check_parts(trained: Collection[str]) -> Collection[str]:
    """The parts that are trained, as given.

    Raises:
        TrainingError: for a part that does not exist.
    """
    for part in trained:
        if part not in PARTS:
            raise TrainingError(f"no part {part!r} to train; there are {', '.join(PARTS)}")
    return trained


def layers_used(config: VaryConfig) -> int:
    """How many of CLIP's layers lead to the state that is used; the others are not computed."""
    if config.clip_config is None:
        return 0
    states = config.clip_config.num_hidden_layers + 1
    return int(range(states)[config.vision_select_layer])


def meta_model(config: VaryConfig) -> VaryForConditionalGeneration:
    """The model without memory for its weights."""
    with torch.device("meta"), quiet_library():
        return VaryForConditionalGeneration(config)
