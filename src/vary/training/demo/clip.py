"""A small CLIP, trained on pictures and their captions: it sees colours and shapes, and hardly small text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

from vary.datagen.sample import Sample
from vary.model.image_processing import PUBLISHED_IMAGE_SETTINGS, VaryImageProcessor
from vary.model.tokenization import encode_text
from vary.training.demo.fitting import Progress, fit
from vary.training.demo.language import make_tokenizer
from vary.training.demo.sizes import SIDE

__all__ = ["CLIP_SIDE", "retrieval", "train_clip"]

CLIP_SIDE = 16
"""Pixels of CLIP's image: a page is made four times smaller for it, as 1024 are for the real one's 224."""
PATCH = 4
WIDTH = 32
RATE = 2e-3
BATCH = 64
"""Pictures that are told from each other in a step: fewer teach less."""
_CAPTION_TOKENS = 16


def clip_config(tokenizer: PreTrainedTokenizerFast) -> CLIPConfig:
    """CLIP with a vision model of three layers, of which the last but one gives the features."""
    shared = {"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_attention_heads": 2}
    return CLIPConfig(
        vision_config={
            **shared,
            "num_hidden_layers": 3,
            "image_size": CLIP_SIDE,
            "patch_size": PATCH,
            "projection_dim": WIDTH,
        },
        text_config={
            **shared,
            "num_hidden_layers": 2,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": _CAPTION_TOKENS,
            "projection_dim": WIDTH,
            "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        projection_dim=WIDTH,
    )


def train_clip(samples: Sequence[Sample], folder: Path, *, steps: int, seed: int, progress: Progress) -> None:
    """Trains CLIP on pictures with captions; `folder/model` has it in the end.

    Pictures whose captions are the same are each other's pairs too, so nothing true counts as wrong.
    """
    torch.manual_seed(seed)
    tokenizer = make_tokenizer()
    model = CLIPModel(clip_config(tokenizer))
    model.set_attn_implementation("eager")
    pixels, captions = _pixels(samples), [sample.answer for sample in samples]
    ids = _ids(captions, tokenizer)
    kinds = torch.tensor([sorted(set(captions)).index(caption) for caption in captions])

    def loss_of(step: int) -> Tensor:
        chosen = torch.from_numpy(np.random.default_rng([seed, step]).integers(len(captions), size=BATCH))
        output = model(input_ids=ids[chosen], pixel_values=pixels[chosen])
        same = (kinds[chosen, None] == kinds[None, chosen]).float()
        target = same / same.sum(1, keepdim=True)
        by_image, by_text = output.logits_per_image, output.logits_per_text
        return (F.cross_entropy(by_image, target) + F.cross_entropy(by_text, target)) / 2

    fit(model, loss_of, steps=steps, rate=RATE, log=folder / "log.csv", progress=progress)
    partial = folder / "model.partial"
    model.save_pretrained(partial)
    partial.rename(folder / "model")


@torch.inference_mode()
def retrieval(folder: Path, samples: Sequence[Sample]) -> dict[str, float]:
    """How often CLIP finds a picture's caption among all different captions of some pictures."""
    model = CLIPModel.from_pretrained(folder / "model", local_files_only=True).eval()
    captions = sorted({sample.answer for sample in samples})
    output = model(input_ids=_ids(captions, make_tokenizer()), pixel_values=_pixels(samples))
    found = output.logits_per_image.argmax(1).tolist()
    right = sum(captions[place] == sample.answer for place, sample in zip(found, samples, strict=True))
    return {"accuracy": right / len(samples), "captions": len(captions), "pictures": len(samples)}


def _pixels(samples: Sequence[Sample]) -> Tensor:
    """Pictures as the reader shows them to CLIP: (N, 3, CLIP_SIDE, CLIP_SIDE)."""
    processor = VaryImageProcessor(
        **{
            **PUBLISHED_IMAGE_SETTINGS["vary_toy"],
            "size": {"height": SIDE, "width": SIDE},
            "clip_size": CLIP_SIDE,
        }
    )
    images = [Image.fromarray(sample.image) for sample in samples if sample.image is not None]
    pixels: Tensor = processor(images, return_tensors="pt")["pixel_values_clip"]
    return pixels


def _ids(captions: Sequence[str], tokenizer: PreTrainedTokenizerFast) -> Tensor:
    """Captions with their end tokens (N, T), filled up with the padding token."""
    end, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    rows = [[*encode_text(tokenizer, caption), end] for caption in captions]
    return torch.tensor([row + [pad] * (_CAPTION_TOKENS - len(row)) for row in rows])
