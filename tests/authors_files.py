"""Checkpoints in the authors' layouts, made from models of ours by the name maps."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import GotOcr2Config, GotOcr2ForConditionalGeneration

from factories import random_model, randomise, tiny_opt_config, tiny_toy_config
from vary.model.checkpoint_files import checkpoint_files
from vary.model.configuration import VaryConfig
from vary.model.modeling import VaryForConditionalGeneration
from vary.model.tokenization import QWEN_SPECIAL_TOKENS, write_tiktoken
from vary.weights.files import TensorFiles
from vary.weights.formats.names import OPT_600K_NAMES, OPT_NAMES, QWEN_NAMES, NameMap

HEADS = {"num_attention_heads": 4}
"""A decoder 24 wide has no whole number of heads of 128, as a file without configuration should."""


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


def toy_folder(folder: Path, model: VaryForConditionalGeneration, **settings: Any) -> Path:
    folder.mkdir(parents=True)
    torch.save(authors_state(model.state_dict(), QWEN_NAMES), folder / "pytorch_model.bin")
    content = {**authors_settings(model.config), "_their_own": ["key", 1.0], **settings}
    (folder / "config.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def opt_folder(folder: Path, model: VaryForConditionalGeneration) -> Path:
    folder.mkdir(parents=True)
    torch.save(authors_state(model.state_dict(), OPT_NAMES), folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps(authors_settings(model.config)), encoding="utf-8")
    return folder


def opt_600k_file(folder: Path, model: VaryForConditionalGeneration) -> Path:
    """A training file, as LAVIS writes it; OPT's heads are not 64 wide here, so a config.json says so."""
    folder.mkdir(parents=True)
    state = authors_state(model.state_dict(), OPT_600K_NAMES)
    torch.save({"model": state, "optimizer": {"state": {}}, "epoch": 3}, folder / "checkpoint_3.pth")
    (folder / "config.json").write_text(json.dumps(HEADS), encoding="utf-8")
    return folder / "checkpoint_3.pth"


def opt_model() -> VaryForConditionalGeneration:
    config = tiny_opt_config()
    config.text_config.update({"bos_token_id": 2, "eos_token_id": 2, "pad_token_id": 1})
    return random_model(config)


def speaking_toy() -> VaryForConditionalGeneration:
    """A tiny Vary-toy whose ids are those of `byte_tokenizer`."""
    config = tiny_toy_config()
    config.text_config.vocab_size = 256 + len(QWEN_SPECIAL_TOKENS)
    for place, name in enumerate(("image_token_id", "image_end_token_id", "image_start_token_id"), start=1):
        setattr(config, name, config.text_config.vocab_size - place)
    return random_model(config)


def byte_tokenizer(path: Path) -> Path:
    """A vocabulary of the 256 bytes, behind which Qwen's special tokens get their ids."""
    write_tiktoken((bytes([value]) for value in range(256)), path)
    return path


def tensors_of(path: Path) -> dict[str, Tensor]:
    files = TensorFiles(checkpoint_files(path))
    return {name: tensor.clone() for name, tensor in files.read(files.info).items()}


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert {name: found[name].dtype for name in found} == {name: expected[name].dtype for name in expected}
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


def tiny_got() -> GotOcr2ForConditionalGeneration:
    """GOT-OCR2.0 of Transformers, tiny and random: its vision network makes 4 tokens of 128 pixels."""
    config = GotOcr2Config(
        vision_config={
            "image_size": 128,
            "hidden_size": 24,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "mlp_dim": 96,
            "window_size": 3,
            "global_attn_indexes": [1, 3],
            "output_channels": 12,
        },
        text_config={
            "model_type": "qwen2",
            "vocab_size": 96,
            "hidden_size": 48,
            "intermediate_size": 40,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "rope_theta": 1e6,
        },
        image_token_index=95,
    )
    model = GotOcr2ForConditionalGeneration(config).eval()
    randomise(model)
    model.tie_weights()
    return model
