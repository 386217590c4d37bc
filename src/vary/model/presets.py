"""The members of the family, as configurations; parameter counts are what the meta device reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vary.errors import CheckpointError
from vary.model.chat_templates import CHAT_TEMPLATES
from vary.model.configuration import VaryConfig
from vary.model.image_processing import PUBLISHED_IMAGE_SETTINGS, VaryImageProcessor
from vary.model.processing import VaryProcessor
from vary.model.tokenization import load_character_tokenizer

__all__ = ["CHINESE_ROWS", "PRESETS", "Preset", "nano_processor", "preset_config"]

CHINESE_ROWS = 6912
"""Ids of vary-nano's vocabulary up to which every character of GB 2312's first level is found, and all but 1%
of the characters of a Chinese corpus with many old books."""
QWEN_TOKENS = {"image_token_id": 151859, "image_start_token_id": 151857, "image_end_token_id": 151858}
ALL_TASKS = ("ocr", "markdown", "table", "chart", "caption", "detect", "locate", "ask")
CLIP_L14 = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 224,
    "patch_size": 14,
}


def qwen1(hidden_size: int, intermediate_size: int, num_heads: int, num_layers: int) -> dict[str, object]:
    """Qwen-1 as the library's Qwen2, which holds it exactly; `intermediate_size` is the true inner width."""
    return {
        "model_type": "qwen2",
        "vocab_size": 151860,
        "hidden_size": hidden_size,
        "intermediate_size": intermediate_size,
        "num_hidden_layers": num_layers,
        "num_attention_heads": num_heads,
        "num_key_value_heads": num_heads,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": 151645,
        "pad_token_id": 151643,
    }


def vary_toy() -> VaryConfig:
    """Vary-toy (arXiv 2401.12503): vocabulary network, CLIP-L/14 and Qwen-1.8B."""
    return VaryConfig(
        vision_vocabulary_config={},
        clip_config=dict(CLIP_L14),
        text_config=qwen1(2048, 5504, 16, 24),
        projector_dim=1024,
        tasks=ALL_TASKS,
        languages=("en", "zh"),
        **QWEN_TOKENS,
    )


def vary_base_qwen() -> VaryConfig:
    """Vary-base (arXiv 2312.06109) with Qwen-7B."""
    return VaryConfig(
        vision_vocabulary_config={},
        clip_config=dict(CLIP_L14),
        text_config=qwen1(4096, 11008, 32, 32),
        projector_dim=2048,
        tasks=ALL_TASKS,
        languages=("en", "zh"),
        **QWEN_TOKENS,
    )


def vary_tiny() -> VaryConfig:
    """Vary-tiny: the vocabulary network and OPT-125M, with which the vocabulary is written.

    OPT's own vocabulary of 50265 tokens, then `<imgpad>`, `<img>` and `</img>` in the order in which the
    authors' training code adds them (`vary_opt.py`); 4096 positions.
    """
    return VaryConfig(
        vision_vocabulary_config={},
        text_config={
            "model_type": "opt",
            "vocab_size": 50268,
            "hidden_size": 768,
            "ffn_dim": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "max_position_embeddings": 4096,
            "word_embed_proj_dim": 768,
            "bos_token_id": 2,
            "eos_token_id": 2,
            "pad_token_id": 1,
        },
        image_token_id=50265,
        image_start_token_id=50266,
        image_end_token_id=50267,
        projector_dim=768,
        tie_word_embeddings=True,
        tasks=("ocr", "chart"),
        prompts={"ocr": "", "chart": ""},  # it is shown the image and nothing else
        languages=("en", "zh"),
    )


def vary_nano(vocab_size: int = 512) -> VaryConfig:
    """vary-nano: reads text lines 32 pixels high; small enough for a CPU.

    Its token ids follow `assets/nano/nano.tiktoken`, whose first 512 are a Latin vocabulary: an English
    checkpoint has that many rows, one that reads Chinese too has more (`CHINESE_ROWS`).
    """
    width = 192
    return VaryConfig(
        vision_vocabulary_config={
            "image_size": (32, 2048),
            "num_channels": 1,
            "stem": "conv",
            "stem_channels": (24, 48, 96),
            "hidden_size": width,
            "num_hidden_layers": 6,
            "num_attention_heads": 3,
            "window_size": 0,
            "global_attention_layers": (),
            "use_absolute_position": False,
            "neck_channels": width,
            "merge_channels": (width,),
            "merge_strides": ((2, 1),),
            "variable_width": True,
            "ctc_frames": 4,
            "ctc_hidden_size": width,
            "initializer_range": 0.03,
        },
        text_config={
            "model_type": "qwen2",
            "vocab_size": vocab_size,
            "hidden_size": width,
            "intermediate_size": 512,
            "num_hidden_layers": 3,
            "num_attention_heads": 3,
            "num_key_value_heads": 3,
            "max_position_embeddings": 1024,
            "rms_norm_eps": 1e-6,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
            "initializer_range": 0.03,
            "tie_word_embeddings": True,
            "bos_token_id": None,
            "eos_token_id": 1,
            "pad_token_id": 0,
        },
        image_token_id=4,
        image_start_token_id=2,
        image_end_token_id=3,
        projector_dim=width,
        tie_word_embeddings=True,
        window="lines",
        tasks=("ocr",),
        languages=("en",),
    )


@dataclass(frozen=True, slots=True)
class Preset:
    """A named configuration and the number of parameters that it builds."""

    config: Callable[[], VaryConfig]
    parameters: int


PRESETS = {
    "vary-toy": Preset(vary_toy, 2_237_365_504),
    "vary-base-qwen": Preset(vary_base_qwen, 8_123_649_280),
    "vary-tiny": Preset(vary_tiny, 223_165_440),
    "vary-nano": Preset(vary_nano, 5_449_512),
}


def preset_config(name: str) -> VaryConfig:
    """The configuration of a preset by name, with or without `vary-` in front.

    Raises:
        CheckpointError: if there is none of that name; the message lists all.
    """
    preset = PRESETS.get(name) or PRESETS.get(f"vary-{name}")
    if preset is None:
        raise CheckpointError(f"no preset '{name}'; there are {', '.join(PRESETS)}")
    return preset.config()


def nano_processor(vocabulary: str | Path) -> VaryProcessor:
    """vary-nano's processor with the characters of a `.tiktoken` file."""
    return VaryProcessor(
        VaryImageProcessor(**PUBLISHED_IMAGE_SETTINGS["vary_nano"]),
        load_character_tokenizer(vocabulary),
        chat_template=CHAT_TEMPLATES["vary_nano"],
    )
