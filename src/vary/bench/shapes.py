"""Which models are measured: shapes by name, the decoder's sizes, and operations of a forward pass."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoModel

from vary.bench.names import SHAPES
from vary.errors import CheckpointError, did_you_mean
from vary.model.configuration import VaryConfig
from vary.model.loading import quiet_library
from vary.model.presets import preset_config

__all__ = ["DecoderSize", "decoder_only", "encode_flops", "encoder_only", "shape_config"]


def shape_config(name: str) -> VaryConfig:
    """The configuration of a shape.

    Raises:
        CheckpointError: if there is none of that name.
    """
    if name not in SHAPES:
        raise CheckpointError(
            f"no shape '{name}'; there are {', '.join(SHAPES)}{did_you_mean(name, SHAPES)}; a checkpoint's "
            "folder is given without --shape"
        )
    return _tiny() if name == "tiny" else preset_config(name)


def _tiny() -> VaryConfig:
    """Vary-toy with everything small: both branches, groups of all sizes divide its matrices."""
    toy = preset_config("vary-toy")
    text: dict[str, Any] = {
        **toy.text_config.to_dict(),
        "vocab_size": 192,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 2048,
        "eos_token_id": None,
        "pad_token_id": 0,
    }
    text.pop("layer_types", None)
    return VaryConfig(
        vision_vocabulary_config={
            "image_size": 128,
            "hidden_size": 48,
            "num_hidden_layers": 4,
            "num_attention_heads": 3,
            "window_size": 3,
            "global_attention_layers": (1, 3),
            "neck_channels": 16,
            "merge_channels": (32, 48),
        },
        clip_config={
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
        },
        text_config=text,
        projector_dim=64,
        image_token_id=187,
        image_start_token_id=188,
        image_end_token_id=189,
        tasks=toy.tasks,
        languages=toy.languages,
    )


def encoder_only(config: VaryConfig) -> VaryConfig:
    """The same vision branches and projector in front of a language model of next to nothing."""
    small = copy.deepcopy(config)
    text = small.text_config
    text.num_hidden_layers, text.vocab_size, text.intermediate_size = 1, 8, 8
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:1]
    if hasattr(text, "ffn_dim"):
        text.ffn_dim = 8
    text.pad_token_id = None
    small.image_token_id, small.image_start_token_id, small.image_end_token_id = 5, 6, 7
    return small


def decoder_only(config: VaryConfig) -> VaryConfig:
    """The same language model behind a vision branch of next to nothing."""
    fields = config.to_dict()
    fields.update(
        vision_vocabulary_config={
            "image_size": 32,
            "hidden_size": 8,
            "num_hidden_layers": 1,
            "num_attention_heads": 1,
            "window_size": 0,
            "global_attention_layers": (),
            "neck_channels": 8,
            "merge_channels": (8,),
            "merge_strides": ((2, 2),),
        },
        clip_config=None,
        projector_dim=config.text_config.hidden_size,
    )
    for derived in ("model_type", "architectures", "transformers_version", "dtype"):
        fields.pop(derived, None)
    return VaryConfig(**fields)


@dataclass(frozen=True, slots=True)
class DecoderSize:
    """The sizes of a language model that a peer's graph and the figures need.

    Attributes:
        kind: the library's name of its architecture.
        layers, width, inner, heads, key_value_heads, head_width, vocabulary: of its layers and its head.
        rope_theta, epsilon: of its rotation and its norms.
        tied: whether the head is the embedding.
        matrices: weights of the linear layers of all its layers, without head and embedding.
    """

    kind: str
    layers: int
    width: int
    inner: int
    heads: int
    key_value_heads: int
    head_width: int
    vocabulary: int
    rope_theta: float
    epsilon: float
    tied: bool
    matrices: int

    @classmethod
    def of(cls, config: VaryConfig) -> DecoderSize:
        """Read off a configuration; the model is built on the meta device, so that it takes no memory."""
        text = config.text_config
        with torch.device("meta"), quiet_library():
            decoder = AutoModel.from_config(text)
        linear = [module for module in decoder.modules() if isinstance(module, nn.Linear)]
        rope = getattr(text, "rope_parameters", None) or {}
        heads = text.num_attention_heads
        return cls(
            kind=text.model_type,
            layers=text.num_hidden_layers,
            width=text.hidden_size,
            inner=getattr(text, "intermediate_size", None) or text.ffn_dim,
            heads=heads,
            key_value_heads=getattr(text, "num_key_value_heads", None) or heads,
            head_width=getattr(text, "head_dim", None) or text.hidden_size // heads,
            vocabulary=text.vocab_size,
            rope_theta=float(rope.get("rope_theta", 0.0)),
            epsilon=float(getattr(text, "rms_norm_eps", 0.0)),
            tied=bool(config.tie_word_embeddings),
            matrices=sum(module.weight.numel() for module in linear),
        )

    @property
    def read_per_token(self) -> int:
        """Weights that a step reads: every layer's matrices and the head."""
        return self.matrices + self.vocabulary * self.width

    def flops(self, tokens: int, held: int = 0) -> float:
        """Of reading `tokens` behind `held` others and scoring the last one; masked pairs count too."""
        pairs = tokens * (held + tokens)
        attention = 4.0 * pairs * self.heads * self.head_width * self.layers
        return 2.0 * tokens * self.matrices + attention + 2.0 * self.vocabulary * self.width


def encode_flops(config: VaryConfig) -> float:
    """Of one image through both branches and the projector, as the papers' networks are written.

    The relative positions count as their own small products, not as the wider attention into which ours folds
    them; windows count with the padding at the grid's edge; CLIP counts up to the layer that is used.
    """
    vision = config.vision_vocabulary_config
    rows, columns = vision.grid
    patches, width = rows * columns, vision.hidden_size
    total = 2.0 * patches * vision.num_channels * vision.patch_size**2 * width
    for layer in range(vision.num_hidden_layers):
        window = 0 if layer in vision.global_attention_layers else vision.window_size
        down, across = window or rows, window or columns
        windows = -(-rows // down) * -(-columns // across)
        seen = windows * down * across
        total += 8.0 * seen * width**2 + 4.0 * windows * (down * across) ** 2 * width
        total += 2.0 * seen * (down + across) * width
        total += 4.0 * patches * width * int(width * vision.mlp_ratio)
    neck = vision.neck_channels
    total += 2.0 * patches * (width * neck + 9 * neck**2)
    before = neck
    for channels, (vertical, horizontal) in zip(vision.merge_channels, vision.merge_strides, strict=True):
        rows, columns = -(-rows // vertical), -(-columns // horizontal)
        total += 2.0 * rows * columns * 9 * before * channels
        before = channels
    total += 2.0 * rows * columns * before * config.projector_dim
    return total + _clip_flops(config)


def _clip_flops(config: VaryConfig) -> float:
    clip = config.clip_config
    if clip is None:
        return 0.0
    patches, width = (clip.image_size // clip.patch_size) ** 2, clip.hidden_size
    tokens, chosen = patches + 1, config.vision_select_layer
    used = chosen if chosen >= 0 else clip.num_hidden_layers + 1 + chosen
    layer = 2.0 * tokens * (4 * width**2 + 2 * width * clip.intermediate_size) + 4.0 * tokens**2 * width
    stem = 2.0 * patches * clip.num_channels * clip.patch_size**2 * width
    return stem + used * layer + 2.0 * patches * width * config.projector_dim
