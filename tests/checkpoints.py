"""Whole checkpoints, tiny and random: models that write readable nonsense, with tokenizers and processors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from factories import random_model, tiny_toy_config
from vary.model.chat_templates import CHAT_TEMPLATES
from vary.model.configuration import VaryConfig
from vary.model.image_processing import PUBLISHED_IMAGE_SETTINGS, VaryImageProcessor
from vary.model.modeling import VaryForConditionalGeneration
from vary.model.presets import ALL_TASKS
from vary.model.processing import VaryProcessor
from vary.model.tokenization import QWEN_PATTERN, QWEN_SPECIAL_TOKENS, tokenizer_from_ranks, wrap_tokenizer

SPECIAL = {token: 256 + index for index, token in enumerate(QWEN_SPECIAL_TOKENS)}
"""Vary's special tokens behind the 256 bytes, which are all that the tiny vocabulary has."""


def byte_tokenizer() -> Any:
    """A tokenizer of Qwen's kind whose only tokens are bytes."""
    ranks = {bytes([value]): value for value in range(256)}
    return wrap_tokenizer(
        tokenizer_from_ranks(ranks, special_tokens=SPECIAL, pattern=QWEN_PATTERN, nfc=True),
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
    )


def chat_config(
    make: Callable[[], VaryConfig] = tiny_toy_config, positions: int = 2048, **changes: Any
) -> VaryConfig:
    """A tiny configuration with the byte vocabulary, for questions and every other task."""
    settings = make().to_dict()
    settings["text_config"] |= {
        "vocab_size": 256 + len(SPECIAL),
        "max_position_embeddings": positions,
        "eos_token_id": SPECIAL["<|im_end|>"],
        "pad_token_id": SPECIAL["<|endoftext|>"],
    }
    return VaryConfig(
        **settings
        | {
            "image_token_id": SPECIAL["<imgpad>"],
            "image_start_token_id": SPECIAL["<img>"],
            "image_end_token_id": SPECIAL["</img>"],
            "tasks": ALL_TASKS,
            "languages": ("en", "zh"),
            **changes,
        }
    )


def native_chat_config() -> VaryConfig:
    """As `chat_config`, with a language model of sizes that the native kernels compute."""
    settings = chat_config().to_dict()
    settings["text_config"] |= {"hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 2}
    return VaryConfig(**settings | {"projector_dim": 32})


def chat_model(
    config: VaryConfig, seed: int = 0, *, letters: str | None = None
) -> VaryForConditionalGeneration:
    """A random model; with `letters` it writes these and the end of text, and hardly anything else."""
    model = random_model(config, seed)
    if letters is not None:
        kept = [*letters.encode(), SPECIAL["<|im_end|>"]]
        head = torch.zeros_like(model.lm_head.weight)
        head[kept] = model.lm_head.weight[kept].detach()
        with torch.no_grad():
            model.lm_head.weight.copy_(head)
    return model


def chat_processor(config: VaryConfig) -> VaryProcessor:
    """The processor of such a model, with both published layouts."""
    vision = config.vision_vocabulary_config
    settings: dict[str, Any] = {
        **PUBLISHED_IMAGE_SETTINGS["vary_toy"],
        "size": {"height": vision.height, "width": vision.width},
    }
    if config.clip_config is None:
        settings = {name: value for name, value in settings.items() if not name.startswith("clip")}
    else:
        settings["clip_size"] = config.clip_config.image_size
    return VaryProcessor(
        VaryImageProcessor(**settings),
        byte_tokenizer(),
        image_seq_length=config.image_seq_length,
        chat_template=CHAT_TEMPLATES["vary_qwen"],
    )
