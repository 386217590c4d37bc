"""A language model's weights as the GPU decoder reads them: matrices that share their input lie in one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vary.engine.packing import TextShape
from vary.model.modeling import VaryForConditionalGeneration

__all__ = ["DecoderWeights", "LayerWeights"]


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """Of one layer; C is the hidden size, Q the queries' width, K the keys', I the inner width.

    Attributes:
        input_norm, post_norm: (C,).
        qkv, qkv_bias: (Q + 2 K, C) and (Q + 2 K,).
        out: (C, Q).
        gate_up: (2 I, C).
        down: (C, I).
    """

    input_norm: Tensor
    qkv: Tensor
    qkv_bias: Tensor
    out: Tensor
    post_norm: Tensor
    gate_up: Tensor
    down: Tensor


@dataclass(frozen=True, slots=True)
class DecoderWeights:
    """Of a decoder of the Qwen2 kind.

    Attributes:
        shape: its sizes.
        embedding, head: (V, C).
        norm: (C,), before the head.
        cosines, sines: of the rotary positions, (context, head_dim / 2), float32.
    """

    shape: TextShape
    embedding: Tensor
    layers: tuple[LayerWeights, ...]
    norm: Tensor
    head: Tensor
    cosines: Tensor
    sines: Tensor

    @classmethod
    def of(cls, model: VaryForConditionalGeneration) -> DecoderWeights:
        """The weights of a model, which goes on using the same memory.

        Raises:
            NativeError: for a language model of another kind.
        """
        shape = TextShape.of(model.config.text_config)
        text = model.model.language_model
        layers = tuple(_layer(layer) for layer in text.layers)
        # As the library computes them: frequencies on the model's device, their products in float32.
        device = model.lm_head.weight.device
        frequencies = text.rotary_emb.inv_freq.to(device, torch.float32)
        angles = torch.arange(shape.context, device=device, dtype=torch.float32)[:, None] * frequencies
        return cls(
            shape,
            text.embed_tokens.weight.detach(),
            layers,
            text.norm.weight.detach(),
            model.lm_head.weight.detach(),
            angles.cos(),
            angles.sin(),
        )


def _layer(layer: Any) -> LayerWeights:
    attention, perceptron = layer.self_attn, layer.mlp
    queries = [attention.q_proj, attention.k_proj, attention.v_proj]
    biases = [part.bias for part in queries]
    assert all(bias is not None for bias in biases)
    return LayerWeights(
        input_norm=layer.input_layernorm.weight.detach(),
        qkv=_joined([part.weight for part in queries]),
        qkv_bias=_joined(biases),
        out=attention.o_proj.weight.detach(),
        post_norm=layer.post_attention_layernorm.weight.detach(),
        gate_up=_joined([perceptron.gate_proj.weight, perceptron.up_proj.weight]),
        down=perceptron.down_proj.weight.detach(),
    )


def _joined(parameters: list[nn.Parameter]) -> Tensor:
    """The parameters in one tensor, row after row; they become parts of it, so that nothing lies twice."""
    whole = torch.cat([parameter.detach() for parameter in parameters])
    for parameter, part in zip(parameters, whole.split([len(one) for one in parameters]), strict=True):
        parameter.data = part
    return whole
