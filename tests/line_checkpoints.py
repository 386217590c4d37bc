"""Random line checkpoints in folders, of a size that the native kernels compute, and lines for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from factories import random_model, small_nano_config
from vary.assets import nano_vocabulary
from vary.model.configuration import VaryConfig
from vary.model.presets import nano_processor

WORDS = "Quick brown foxes jump over 13 lazy dogs; judge my vow (1984), e-mail & co."


def line_config(**changes: Any) -> VaryConfig:
    """vary-nano, 64 wide, with 544 ids and two tables: sizes of 16 and heads of 32."""
    settings = small_nano_config(64).to_dict()
    settings["text_config"] |= {"vocab_size": 544, "max_position_embeddings": 320}
    vision, text = (changes.pop(name, {}) for name in ("vision", "text"))
    settings["vision_vocabulary_config"] |= {"stem_channels": (10, 21, 32), "num_hidden_layers": 2, **vision}
    settings["text_config"] |= text
    settings["text_config"].pop("layer_types", None)
    return VaryConfig(**settings | changes)


def write_checkpoint(
    folder: Path, config: VaryConfig, *, seed: int = 0, dtype: torch.dtype = torch.float32
) -> Path:
    """Writes a random model, its tokenizer and its processor."""
    random_model(config, seed).to(dtype).save_pretrained(folder)
    nano_processor(nano_vocabulary()).save_pretrained(folder)
    return folder


def painted_line(width: int, text: str = WORDS, seed: int = 0) -> NDArray[np.uint8]:
    """A line of print, (32, width)."""
    rng = np.random.default_rng(seed)
    page = Image.new("L", (width, 32), 250)
    ImageDraw.Draw(page).text((3, 2), text, fill=20, font=ImageFont.load_default(22))
    line = np.asarray(page).astype(np.float32)
    return np.clip(line + rng.normal(0, 4, line.shape), 0, 255).astype(np.uint8)


def many_lines(widths: Sequence[int]) -> list[NDArray[np.uint8]]:
    """Lines of several kinds: print, noise, nothing at all."""
    rng = np.random.default_rng(1)
    kinds = [
        lambda width: painted_line(width, WORDS[width % 40 :], seed=width),
        lambda width: rng.integers(0, 256, (32, width), dtype=np.uint8),
        lambda width: np.full((32, width), 255, np.uint8),
    ]
    return [kinds[number % 3](width) for number, width in enumerate(widths)]
