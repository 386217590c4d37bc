"""The authors' configurations in terms of ours.

Their code hard-wires the sizes of the vision networks, so a checkpoint says nothing of them: they are read
off the shapes of the tensors.  `clip_config` and `vision_vocabulary_config` in a `config.json` win where they
are present.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vary.errors import CheckpointError
from vary.model.configuration import VaryConfig
from vary.model.presets import ALL_TASKS, QWEN_TOKENS
from vary.weights.names import OPT_NAMES, QWEN_NAMES, NameMap

__all__ = ["LAYOUTS", "Layout", "find_layout"]

Shapes = Mapping[str, tuple[int, ...]]
Settings = Mapping[str, Any]

CLIP_HEAD_SIZE = 64  # of every published CLIP vision transformer; the shapes do not tell it


@dataclass(frozen=True, slots=True)
class Layout:
    """One family of the authors' checkpoints.

    Attributes:
        architecture: the class that `config.json` names.
        landmark: a parameter that only this family has.
        names: the name map.
        config: our configuration from `config.json` and the tensors' shapes; may raise CheckpointError.
        tied: whether the head shares the embeddings unless `config.json` says otherwise.
    """

    architecture: str
    landmark: str
    names: NameMap
    config: Callable[[Settings, Shapes], VaryConfig]
    tied: bool

    def is_tied(self, settings: Settings) -> bool:
        return bool(settings.get("tie_word_embeddings", self.tied))


def _qwen_config(settings: Settings, shapes: Shapes) -> VaryConfig:
    """Vary-toy and Vary-base; Qwen-1 writes twice the width of its MLP as `intermediate_size`."""
    for name, expected in (("no_bias", True), ("rotary_pct", 1.0), ("scale_attn_weights", True)):
        if (found := settings.get(name, expected)) != expected:
            raise CheckpointError(f"config.json says {name}={found}, but only {expected} is supported")
    hidden, heads = _integer(settings, "hidden_size"), _integer(settings, "num_attention_heads")
    if (channels := settings.get("kv_channels", hidden // heads)) * heads != hidden:
        raise CheckpointError(
            f"config.json: {heads} heads of kv_channels {channels} are not hidden_size {hidden}"
        )
    text = {
        "model_type": "qwen2",
        "vocab_size": _integer(settings, "vocab_size"),
        "hidden_size": hidden,
        "intermediate_size": _integer(settings, "intermediate_size") // 2,
        "num_hidden_layers": _integer(settings, "num_hidden_layers"),
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        # Beyond seq_length Qwen-1 changes its attention (dynamic NTK, log n), which Qwen2 does not.
        "max_position_embeddings": settings.get("seq_length", 8192),
        "rms_norm_eps": settings.get("layer_norm_epsilon", 1e-6),
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": float(settings.get("rotary_emb_base", 10000)),
        },
        "initializer_range": settings.get("initializer_range", 0.02),
        "tie_word_embeddings": QWEN.is_tied(settings),
        **_special_tokens(settings, {}),
        # A turn ends with <|im_end|>, whatever a base model's configuration says.
        **(QWEN_STOP if settings["vocab_size"] == QWEN_VOCABULARY else {}),
    }
    return VaryConfig(
        vision_vocabulary_config=_vision_vocabulary(settings, shapes, "transformer.vision_tower_high."),
        clip_config=_clip(settings, shapes, "transformer.vision_tower.vision_model."),
        text_config=text,
        vision_select_layer=settings.get("vision_select_layer", -2),
        projector_dim=_shape(shapes, "transformer.mm_projector_vary.weight", 2)[0],
        tasks=ALL_TASKS,
        languages=("en", "zh"),
        **_image_tokens(settings, QWEN_TOKENS),
        tie_word_embeddings=QWEN.is_tied(settings),
    )


def _opt_config(settings: Settings, shapes: Shapes) -> VaryConfig:
    """Vary-tiny; the positions are those of the stretched table, less OPT's offset of two."""
    hidden = _integer(settings, "hidden_size")
    vocabulary = _integer(settings, "vocab_size")
    text = {
        "model_type": "opt",
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "ffn_dim": _integer(settings, "ffn_dim"),
        "num_hidden_layers": _integer(settings, "num_hidden_layers"),
        "num_attention_heads": _integer(settings, "num_attention_heads"),
        "max_position_embeddings": _shape(shapes, "model.decoder.embed_positions.weight", 2)[0] - 2,
        "word_embed_proj_dim": settings.get("word_embed_proj_dim", hidden),
        "do_layer_norm_before": settings.get("do_layer_norm_before", True),
        "activation_function": settings.get("activation_function", "relu"),
        "enable_bias": settings.get("enable_bias", True),
        "layer_norm_elementwise_affine": settings.get("layer_norm_elementwise_affine", True),
        "dropout": settings.get("dropout", 0.1),
        "init_std": settings.get("init_std", 0.02),
        "tie_word_embeddings": OPT.is_tied(settings),
        **_special_tokens(settings, {"bos_token_id": 2, "eos_token_id": 2, "pad_token_id": 1}),
    }
    last = {
        "image_token_id": vocabulary - 3,
        "image_start_token_id": vocabulary - 2,
        "image_end_token_id": vocabulary - 1,
    }
    return VaryConfig(
        vision_vocabulary_config=_vision_vocabulary(settings, shapes, "model.vision_tower."),
        text_config=text,
        projector_dim=_shape(shapes, "model.mm_projector.weight", 2)[0],
        tasks=("ocr", "chart"),
        languages=("en", "zh"),
        **_image_tokens(settings, last),
        tie_word_embeddings=OPT.is_tied(settings),
    )


QWEN_VOCABULARY = 151860
QWEN_STOP = {"eos_token_id": 151645, "pad_token_id": 151643}
QWEN = Layout("varyQwenForCausalLM", "transformer.wte.weight", QWEN_NAMES, _qwen_config, tied=False)
OPT = Layout("varyOPTForCausalLM", "model.decoder.embed_tokens.weight", OPT_NAMES, _opt_config, tied=True)
LAYOUTS = (QWEN, OPT)


def find_layout(shapes: Shapes) -> Layout:
    """The family that a checkpoint belongs to, by its parameters.

    Raises:
        CheckpointError: if it is none that is known.
    """
    for layout in LAYOUTS:
        if layout.landmark in shapes:
            return layout
    some = ", ".join(sorted(shapes)[:5]) or "no tensors at all"
    raise CheckpointError(
        f"unknown parameter names ({some}, ...); expected the authors' Vary-toy or Vary-base, with "
        f"{QWEN.landmark}, or Vary-tiny, with {OPT.landmark}"
    )


def _integer(settings: Settings, name: str) -> int:
    if not isinstance(value := settings.get(name), int) or isinstance(value, bool) or value < 1:
        raise CheckpointError(f"config.json has {name}={value!r}, but a positive number is needed")
    return value


def _shape(shapes: Shapes, name: str, dimensions: int) -> tuple[int, ...]:
    if (shape := shapes.get(name)) is None:
        raise CheckpointError(f"{name} is missing, without which the size of the network cannot be told")
    if len(shape) != dimensions:
        raise CheckpointError(f"{name} has shape {shape}, but {dimensions} dimensions are expected")
    return shape


def _image_tokens(settings: Settings, otherwise: Mapping[str, int]) -> dict[str, int]:
    theirs = {
        "image_token_id": "im_patch_token",
        "image_start_token_id": "im_start_token",
        "image_end_token_id": "im_end_token",
    }
    return {name: settings.get(there, otherwise[name]) for name, there in theirs.items()}


def _special_tokens(settings: Settings, otherwise: Mapping[str, int]) -> dict[str, int | None]:
    return {
        name: settings[name] if settings.get(name) is not None else otherwise.get(name)
        for name in ("bos_token_id", "eos_token_id", "pad_token_id")
    }


def _count_layers(shapes: Shapes, prefix: str) -> int:
    found = [int(match[1]) for name in shapes if (match := re.match(rf"{re.escape(prefix)}(\d+)\.", name))]
    return max(found, default=-1) + 1


def _clip(settings: Settings, shapes: Shapes, prefix: str) -> dict[str, Any]:
    """The CLIP branch's configuration from its shapes, and what `config.json` says of it."""
    given = dict(settings.get("clip_config") or {})
    hidden = _shape(shapes, f"{prefix}embeddings.class_embedding", 1)[0]
    patch = _shape(shapes, f"{prefix}embeddings.patch_embedding.weight", 4)[2]
    positions = _shape(shapes, f"{prefix}embeddings.position_embedding.weight", 2)[0]
    if "num_attention_heads" not in given and hidden % CLIP_HEAD_SIZE:
        raise CheckpointError(
            f"a CLIP branch {hidden} wide has no whole number of heads of {CLIP_HEAD_SIZE}; "
            "write num_attention_heads into clip_config of config.json"
        )
    return {
        "hidden_size": hidden,
        "intermediate_size": _shape(shapes, f"{prefix}encoder.layers.0.mlp.fc1.weight", 2)[0],
        "num_hidden_layers": _count_layers(shapes, f"{prefix}encoder.layers."),
        "num_attention_heads": hidden // CLIP_HEAD_SIZE,
        "image_size": math.isqrt(positions - 1) * patch,
        "patch_size": patch,
        **given,
    }


def _vision_vocabulary(settings: Settings, shapes: Shapes, prefix: str) -> dict[str, Any]:
    """The vision vocabulary network's configuration from its shapes, and what `config.json` says of it.

    A relative position table has 2 s - 1 rows for attention over s patches and as many columns as a head is
    wide: a table for the whole grid belongs to a layer of global attention, any other to one with windows of
    s.
    """
    _, rows, columns, hidden = _shape(shapes, f"{prefix}pos_embed", 4)
    _, channels, patch, _ = _shape(shapes, f"{prefix}patch_embed.proj.weight", 4)
    layers = _count_layers(shapes, f"{prefix}blocks.")
    tables = [
        tuple(_shape(shapes, f"{prefix}blocks.{layer}.attn.rel_pos_{axis}", 2) for axis in "hw")
        for layer in range(layers)
    ]
    sides = [((height[0] + 1) // 2, (width[0] + 1) // 2) for height, width in tables]
    windows = {side for side in sides if side != (rows, columns)}
    if not tables or len(windows) > 1 or any(down != across for down, across in windows):
        raise CheckpointError(
            f"{prefix}blocks: relative positions for {sorted(windows)} patches on a grid of {rows} x "
            f"{columns}; expected one size of square windows, and the grid in layers of global attention"
        )
    return {
        "image_size": rows * patch if rows == columns else (rows * patch, columns * patch),
        "num_channels": channels,
        "patch_size": patch,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": hidden // tables[0][0][1],
        "mlp_ratio": _shape(shapes, f"{prefix}blocks.0.mlp.lin1.weight", 2)[0] / hidden,
        "window_size": next(iter(windows))[0] if windows else 0,
        "global_attention_layers": [layer for layer, side in enumerate(sides) if side == (rows, columns)],
        "neck_channels": _shape(shapes, f"{prefix}neck.0.weight", 4)[0],
        "merge_channels": [_shape(shapes, f"{prefix}net_{index}.weight", 4)[0] for index in (2, 3)],
        **(settings.get("vision_vocabulary_config") or {}),
    }
