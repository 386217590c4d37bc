"""A tiny model that can learn pages, painted pages with their text, and recipes for them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from checkpoints import chat_config, chat_processor
from factories import tiny_opt_config, tiny_text
from vary.model.configuration import VaryConfig
from vary.model.modeling import VaryForConditionalGeneration
from vary.model.processing import VaryProcessor
from vary.training.data.sources import DataSource
from vary.training.recipes import MultitaskRecipe
from vary.training.settings import RunSettings

SIDE = 64
PROMPT = "Provide the ocr results of this image."


def learner_config(**changes: Any) -> VaryConfig:
    """A page model of one branch that learns in seconds: 64 x 64 pixels, 16 tokens, two Qwen2 layers."""

    def make() -> VaryConfig:
        return VaryConfig(
            vision_vocabulary_config={
                "image_size": SIDE,
                "patch_size": 8,
                "hidden_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "window_size": 0,
                "global_attention_layers": (0, 1),
                "neck_channels": 32,
                "merge_channels": (32,),
                "merge_strides": ((2, 2),),
                "initializer_range": 0.2,  # so narrow a network learns nothing from the usual 0.02
            },
            text_config=tiny_text(hidden_size=48, intermediate_size=96, initializer_range=0.2),
            projector_dim=48,
            image_token_id=91,
            image_start_token_id=92,
            image_end_token_id=93,
            initializer_range=0.2,
        )

    return chat_config(make, positions=512, **changes)


def learner(config: VaryConfig | None = None, seed: int = 0) -> VaryForConditionalGeneration:
    """A new model with the library's own small random weights."""
    from transformers import set_seed

    set_seed(seed)
    return VaryForConditionalGeneration(config or learner_config())


def opt_learner(seed: int = 0) -> VaryForConditionalGeneration:
    """The tiny OPT of the factories, which has dropout and learned positions."""
    return learner(chat_config(tiny_opt_config, positions=512), seed)


def page(text: str, side: int = SIDE) -> NDArray[np.uint8]:
    """A white RGB page with a word on it, large enough to be told from others."""
    image = Image.new("RGB", (side, side), "white")
    font = ImageFont.load_default(22)
    ImageDraw.Draw(image).text((2, 16), text, fill="black", font=font)
    return np.asarray(image)


def write_llava(folder: Path, texts: Sequence[str], *, prompt: str = PROMPT) -> Path:
    """A LLaVA file of painted pages."""
    folder.mkdir(parents=True, exist_ok=True)
    records = []
    for number, text in enumerate(texts):
        Image.fromarray(page(text)).save(folder / f"{number}.png")
        records.append(
            {
                "id": str(number),
                "image": f"{number}.png",
                "conversations": [
                    {"from": "human", "value": f"<image>\n{prompt}"},
                    {"from": "gpt", "value": text},
                ],
            }
        )
    path = folder / "pages.json"
    path.write_text(json.dumps(records, ensure_ascii=False), encoding="utf-8")
    return path


def small_recipe(data: Path | Sequence[DataSource], **changes: Any) -> MultitaskRecipe:
    """A recipe of a few quick float32 steps in which everything is trained."""
    sources = (DataSource(data),) if isinstance(data, Path) else tuple(data)
    settings = RunSettings(
        steps=6,
        learning_rate=3e-3,
        schedule="constant",
        precision="no",
        micro_batch=2,
        workers=0,
        log_every=1,
        save_every=0,
        evaluate_every=0,
        tensorboard=False,
    )
    stepping = {name: changes.pop(name) for name in list(changes) if hasattr(settings, name)}
    fields: dict[str, Any] = {
        "trained": ("vision_vocabulary", "projector", "decoder"),
        "batch": 4,
        "epochs": 1.0,
        "export_dtype": "float32",
        **changes,
    }
    return MultitaskRecipe(data=sources, settings=replace(settings, **stepping), **fields)


def processor_of(model: VaryForConditionalGeneration) -> VaryProcessor:
    """The byte processor for such a model."""
    return chat_processor(model.config)
