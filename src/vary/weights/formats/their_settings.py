"""The way back of `layouts`: `config.json` of another format, from a configuration of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vary.errors import CheckpointError
from vary.model.configuration import VaryConfig
from vary.weights.formats.layouts import LAYOUTS, Layout

__all__ = ["choose_layout", "their_settings"]

BY_NAME = {layout.name: layout for layout in LAYOUTS}
TARGETS = {
    "authors": ("vary-qwen", "vary-opt", "vary-tiny-600k"),
    "mindspore": ("mindocr",),
    "got-ocr2": ("got-ocr2",),
}
"""What a checkpoint may be converted to, beside our own format, and the layouts that this can mean."""


UNREAD = frozenset(
    {
        *("model_type", "image_token_len", "use_im_start_end", "max_position_embeddings"),
        *("image_seq_length", "vision_config"),
    }
)
"""What is not taken from a `config.json` when it is read, so that the model cannot have changed it either."""


def choose_layout(target: str, config: VaryConfig, origin: str | None) -> Layout:
    """The layout in which a model is written for a target.

    Args:
        target: one of `TARGETS`.
        config: the model's.
        origin: the layout that it was converted from, if it was; it is taken where it fits.

    Raises:
        CheckpointError: if the target has no layout for such a model.
    """
    fitting = [name for name in TARGETS[target] if (_misfit(name, config) is None)]
    if not fitting:
        reasons = "; ".join(f"{BY_NAME[name].title}: {_misfit(name, config)}" for name in TARGETS[target])
        raise CheckpointError(f"this model cannot be written as '{target}': {reasons}")
    return BY_NAME[origin if origin in fitting and origin is not None else fitting[0]]


def their_settings(
    layout: Layout, config: VaryConfig, original: Mapping[str, Any], *, dtype: str | None = None
) -> dict[str, Any]:
    """The `config.json` of a layout.

    Args:
        layout: whose.
        config: ours.
        original: the file that the checkpoint once came with; its keys and their order are kept, and values
            that the model has changed since are replaced.  Empty: all that the format needs is written.
        dtype: the weights' type; None if it is still that of the original.
    """
    make = {"vary-qwen": _qwen, "mindocr": _qwen, "got-ocr2": _got}.get(layout.name, _opt)
    told = make(config)
    if original:
        told |= {} if dtype is None else dict.fromkeys(("torch_dtype", "dtype"), dtype)
        changed = {key: value for key, value in told.items() if key in original and key not in UNREAD}
        return {**original, **changed}
    named: dict[str, Any] = {"architectures": [layout.architecture]} if layout.architecture else {}
    typed = {} if dtype is None else {"torch_dtype": dtype}
    return {**named, **told, **typed, **({} if layout.name == "got-ocr2" else _vision(config))}


def _misfit(name: str, config: VaryConfig) -> str | None:
    """Why a layout cannot hold such a model, or None."""
    text = config.text_config
    wanted, has_clip = ("opt", False) if "opt" in name or "tiny" in name else ("qwen2", name != "got-ocr2")
    if text.model_type != wanted:
        return f"its decoder is {wanted}, this one is {text.model_type}"
    if (config.clip_config is not None) != has_clip:
        return "it has a CLIP branch, this one has none" if has_clip else "it has no CLIP branch"
    if config.vision_vocabulary_config.stem != "patch" or config.vision_vocabulary_config.ctc_frames:
        return "its vision vocabulary network is Vary's"
    return _qwen_misfit(text) if has_clip else None


def _qwen_misfit(text: Any) -> str | None:
    """Why the authors' configuration, which has no words for all that a Qwen2 may be, cannot say this one."""
    if text.num_key_value_heads != text.num_attention_heads:
        return f"Qwen-1 has a key head for each of its heads, this one {text.num_key_value_heads}"
    if (kind := text.rope_parameters.get("rope_type", "default")) != "default":
        return f"Qwen-1 knows no rope_type '{kind}'"
    if text.use_sliding_window:
        return "Qwen-1 has no sliding window"
    if text.hidden_act != "silu":
        return f"its MLP is gated by silu, this one by {text.hidden_act}"
    return None


def _vision(config: VaryConfig) -> dict[str, Any]:
    """What shapes do not always tell of the vision networks; the originals do not read it."""
    vision, clip = config.vision_vocabulary_config, config.clip_config
    told = {"vision_vocabulary_config": {"layer_norm_eps": vision.layer_norm_eps}}
    if clip is not None:
        told["clip_config"] = {"num_attention_heads": clip.num_attention_heads}
    return told


def _common(config: VaryConfig) -> dict[str, Any]:
    text = config.text_config
    return {
        "model_type": "vary",
        "hidden_size": text.hidden_size,
        "num_attention_heads": text.num_attention_heads,
        "num_hidden_layers": text.num_hidden_layers,
        "vocab_size": text.vocab_size,
        "im_patch_token": config.image_token_id,
        "im_start_token": config.image_start_token_id,
        "im_end_token": config.image_end_token_id,
        "image_token_len": config.image_seq_length,
        "use_im_start_end": True,
        "tie_word_embeddings": bool(config.tie_word_embeddings),
    }


def _qwen(config: VaryConfig) -> dict[str, Any]:
    text = config.text_config
    return {
        **_common(config),
        "intermediate_size": 2 * text.intermediate_size,
        "kv_channels": text.hidden_size // text.num_attention_heads,
        "layer_norm_epsilon": text.rms_norm_eps,
        "rotary_emb_base": int(text.rope_parameters["rope_theta"]),
        "rotary_pct": 1.0,
        "no_bias": True,
        "scale_attn_weights": True,
        "seq_length": text.max_position_embeddings,
        "initializer_range": text.initializer_range,
        "vision_select_layer": config.vision_select_layer,
    }


def _opt(config: VaryConfig) -> dict[str, Any]:
    text = config.text_config
    return {
        **_common(config),
        "ffn_dim": text.ffn_dim,
        "max_position_embeddings": text.max_position_embeddings,
        "word_embed_proj_dim": text.word_embed_proj_dim,
        "do_layer_norm_before": text.do_layer_norm_before,
        "activation_function": text.activation_function,
        "enable_bias": text.enable_bias,
        "layer_norm_elementwise_affine": text.layer_norm_elementwise_affine,
        "bos_token_id": text.bos_token_id,
        "eos_token_id": text.eos_token_id,
        "pad_token_id": text.pad_token_id,
    }


def _got(config: VaryConfig) -> dict[str, Any]:
    vision = config.vision_vocabulary_config
    return {
        "model_type": "got_ocr2",
        "image_seq_length": config.image_seq_length,
        "image_token_index": config.image_token_id,
        "tie_word_embeddings": bool(config.tie_word_embeddings),
        "text_config": config.text_config.to_dict(),
        "vision_config": {
            "model_type": "got_ocr2_vision",
            "image_size": vision.height,
            "patch_size": vision.patch_size,
            "hidden_size": vision.hidden_size,
            "num_hidden_layers": vision.num_hidden_layers,
            "num_attention_heads": vision.num_attention_heads,
            "mlp_dim": round(vision.hidden_size * vision.mlp_ratio),
            "window_size": vision.window_size,
            "global_attn_indexes": list(vision.global_attention_layers),
            "output_channels": vision.neck_channels,
            "layer_norm_eps": vision.layer_norm_eps,
        },
    }
