"""Tiny random models of every member of the family, and inputs for them.

Sizes are small, but odd where it matters: windows that do not divide the grid, several images a prompt, every
parameter random (relative positions too, which start as zeros).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vary.model.configuration import VaryConfig
from vary.model.modeling import VaryForConditionalGeneration
from vary.model.presets import preset_config

torch.set_num_threads(1)  # tiny matrices; threads only cost

IMAGE, START, END, PAD = 91, 92, 93, 0
TOKENS = {"image_token_id": IMAGE, "image_start_token_id": START, "image_end_token_id": END}


def tiny_text(**changes: object) -> dict[str, object]:
    """A Qwen2 of 2 layers, 24 wide, with 96 tokens and no end token."""
    return {
        "model_type": "qwen2",
        "vocab_size": 96,
        "hidden_size": 24,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 256,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": PAD,
        **changes,
    }


def tiny_vision_vocabulary(**changes: object) -> dict[str, object]:
    """A vision vocabulary network of 4 layers for 128 pixels: a grid of 8 x 8, windows of 3, 4 tokens."""
    return {
        "image_size": 128,
        "hidden_size": 24,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "window_size": 3,
        "global_attention_layers": (1, 3),
        "neck_channels": 12,
        "merge_channels": (16, 20),
        **changes,
    }


def tiny_toy_config() -> VaryConfig:
    """Vary-toy, tiny: 4 tokens an image, from both branches."""
    return VaryConfig(
        vision_vocabulary_config=tiny_vision_vocabulary(),
        clip_config={
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
        },
        text_config=tiny_text(),
        projector_dim=12,
        **TOKENS,
    )


def tiny_opt_config() -> VaryConfig:
    """Vary-tiny, tinier: the vocabulary branch and OPT."""
    return VaryConfig(
        vision_vocabulary_config=tiny_vision_vocabulary(),
        text_config={
            "model_type": "opt",
            "vocab_size": 96,
            "hidden_size": 24,
            "ffn_dim": 40,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 128,
            "word_embed_proj_dim": 24,
            "bos_token_id": None,
            "eos_token_id": None,
            "pad_token_id": PAD,
        },
        projector_dim=24,
        tie_word_embeddings=True,
        **TOKENS,
    )


def tiny_nano_config() -> VaryConfig:
    """vary-nano, tiny: gray lines 32 x 256 pixels at most, a token for every 16 pixels, CTC frames."""
    return VaryConfig(
        vision_vocabulary_config={
            "image_size": (32, 256),
            "num_channels": 1,
            "stem": "conv",
            "stem_channels": (4, 8, 8),
            "hidden_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 3,
            "window_size": 0,
            "global_attention_layers": (),
            "use_absolute_position": False,
            "neck_channels": 24,
            "merge_channels": (24,),
            "merge_strides": ((2, 1),),
            "variable_width": True,
            "ctc_frames": 2,
            "ctc_hidden_size": 24,
        },
        text_config=tiny_text(tie_word_embeddings=True),
        projector_dim=24,
        tie_word_embeddings=True,
        window="lines",
        **TOKENS,
    )


def small_nano_config(width: int = 24, initializer_range: float = 0.3) -> VaryConfig:
    """The preset vary-nano with its own token ids, but narrow; large weights make its texts differ."""
    settings = preset_config("vary-nano").to_dict()
    settings["projector_dim"] = width
    settings["vision_vocabulary_config"] |= {
        "hidden_size": width,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "stem_channels": (width // 6, width // 3, width // 2),
        "neck_channels": width,
        "merge_channels": (width,),
        "ctc_hidden_size": width,
        "initializer_range": initializer_range,
    }
    settings["text_config"].pop("layer_types", None)  # follows from the number of layers
    settings["text_config"] |= {
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "initializer_range": initializer_range,
    }
    return VaryConfig(**settings)


def random_model(config: VaryConfig, seed: int = 0) -> VaryForConditionalGeneration:
    """A model in evaluation mode in which every number is random and matters."""
    model = VaryForConditionalGeneration(config).eval()
    randomise(model, seed)
    return model


def randomise(module: torch.nn.Module, seed: int = 0) -> None:
    """Fills all parameters and running statistics; matrices keep the size of what they multiply."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in sorted(module.state_dict().items()):
            if not tensor.is_floating_point():
                continue
            noise = torch.randn(tensor.shape, generator=generator)
            if name.endswith("running_var"):
                tensor.copy_(1 + 0.1 * noise.abs())
            elif tensor.ndim == 1:
                tensor.copy_(0.1 * noise + (1 if name.endswith("weight") else 0))
            elif "embed" in name or "rel_pos" in name:
                tensor.copy_(0.5 * noise)
            else:
                tensor.copy_(noise * tensor[0].numel() ** -0.5)


def page_batch(config: VaryConfig, images: Sequence[int], *, seed: int = 0) -> dict[str, Tensor]:
    """A batch for a network of fixed size: prompt i has `images[i]` images and words of its own."""
    generator = torch.Generator().manual_seed(seed)
    count, vision = sum(images), config.vision_vocabulary_config
    prompts = [
        _prompt([config.image_seq_length] * number, words=3 + 2 * index, generator=generator)
        for index, number in enumerate(images)
    ]
    batch = left_padded(prompts)
    batch["pixel_values"] = torch.randn(count, 3, vision.height, vision.width, generator=generator)
    if config.clip_config is not None:
        side = config.clip_config.image_size
        batch["pixel_values_clip"] = torch.randn(count, 3, side, side, generator=generator)
    return batch


def line_batch(
    config: VaryConfig, widths: Sequence[Sequence[int]], *, seed: int = 0, pad_to: int | None = None
) -> dict[str, Tensor]:
    """A batch of lines: prompt i has one line for each of the widths (pixels) in `widths[i]`.

    What lies right of a line is not zero but noise: it must not matter.
    """
    generator = torch.Generator().manual_seed(seed)
    all_widths = [width for group in widths for width in group]
    height, patch = config.vision_vocabulary_config.height, config.vision_vocabulary_config.patch_size
    prompts = [
        _prompt([width // patch for width in group], words=2 + index, generator=generator)
        for index, group in enumerate(widths)
    ]
    batch = left_padded(prompts)
    full = pad_to or max(all_widths)
    batch["pixel_values"] = torch.randn(len(all_widths), 1, height, full, generator=generator)
    batch["pixel_widths"] = torch.tensor(all_widths)
    return batch


def _prompt(slots: Sequence[int], *, words: int, generator: torch.Generator) -> list[int]:
    """Words, then every image as start, placeholders and end, then words again."""
    text = torch.randint(1, 90, (words + 2,), generator=generator).tolist()
    return [*text[:2], *(token for n in slots for token in (START, *[IMAGE] * n, END)), *text[2:]]


def left_padded(prompts: Sequence[Sequence[int]], *, length: int = 0) -> dict[str, Tensor]:
    """`input_ids` and `attention_mask` of prompts, padded on the left to the longest, or to `length`."""
    longest = max(length, *map(len, prompts), 0)
    ids = torch.full((len(prompts), longest), PAD)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, longest - len(prompt) :] = 1
    return {"input_ids": ids, "attention_mask": mask}


def alone(config: VaryConfig, batch: dict[str, Tensor], row: int) -> dict[str, Tensor]:
    """Row `row` of a batch as a batch of its own, without any padding."""
    starts = (batch["input_ids"] == START).sum(-1).tolist()
    images = slice(sum(starts[:row]), sum(starts[: row + 1]))
    kept = batch["attention_mask"][row].bool()
    result = {name: batch[name][row, kept][None] for name in ("input_ids", "attention_mask")}
    if starts[row] == 0:
        return result
    for name in ("pixel_values", "pixel_values_clip", "pixel_widths"):
        if name in batch:
            result[name] = batch[name][images]
    if "pixel_widths" in result:
        result["pixel_values"] = result["pixel_values"][..., : int(result["pixel_widths"].max())]
    return result
