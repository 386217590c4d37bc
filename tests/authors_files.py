"""Checkpoints in the authors' layout, made from models of ours by the name maps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vary.model.configuration import VaryConfig
from vary.weights.names import NameMap


def authors_state(state: Mapping[str, Tensor], names: NameMap) -> dict[str, Tensor]:
    """A state dict of ours under the authors' names."""
    parts: dict[str, dict[int, Tensor]] = defaultdict(dict)
    for ours, tensor in state.items():
        place = names.theirs(ours)
        assert place is not None
        parts[place.name][place.part] = tensor
    return {name: torch.cat([found[i] for i in sorted(found)]) for name, found in parts.items()}


def authors_settings(config: VaryConfig, *, vision: bool = True) -> dict[str, Any]:
    """The keys of the authors' `config.json`; with `vision` the sizes of the branches, which theirs lacks."""
    text, clip = config.text_config, config.clip_config
    settings: dict[str, Any] = {
        "model_type": "vary",
        "hidden_size": text.hidden_size,
        "num_attention_heads": text.num_attention_heads,
        "num_hidden_layers": text.num_hidden_layers,
        "vocab_size": text.vocab_size,
        "vision_select_layer": config.vision_select_layer,
        "im_patch_token": config.image_token_id,
        "im_start_token": config.image_start_token_id,
        "im_end_token": config.image_end_token_id,
        "bos_token_id": text.bos_token_id,
        "eos_token_id": text.eos_token_id,
        "pad_token_id": text.pad_token_id,
    }
    if text.model_type == "opt":
        settings |= {
            "architectures": ["varyOPTForCausalLM"],
            "ffn_dim": text.ffn_dim,
        }
    else:
        settings |= {
            "architectures": ["varyQwenForCausalLM"],
            "intermediate_size": 2 * text.intermediate_size,
            "kv_channels": text.hidden_size // text.num_attention_heads,
            "layer_norm_epsilon": text.rms_norm_eps,
            "seq_length": text.max_position_embeddings,
            "tie_word_embeddings": False,
        }
    if vision and clip is not None:
        settings["clip_config"] = {"num_attention_heads": clip.num_attention_heads}
    return settings
