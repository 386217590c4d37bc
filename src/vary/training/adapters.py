"""LoRA: low-rank adapters on the decoder, by PEFT; merged into the weights when a model is exported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from vary.errors import MissingDependencyError, TrainingError
from vary.model.modeling import VaryForConditionalGeneration

__all__ = ["LoraSettings", "add_lora", "merge_lora", "save_adapter"]


@dataclass(frozen=True, slots=True)
class LoraSettings:
    """Low-rank adapters (arXiv 2106.09685) on every linear layer of the decoder.

    Attributes:
        rank: of the update.
        alpha: its scale is alpha / rank.
        dropout: on the adapters' inputs.
    """

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0


def add_lora(model: VaryForConditionalGeneration, settings: LoraSettings) -> Any:
    """Puts adapters into the decoder and freezes the rest of it; returns PEFT's handle of the model.

    `model` itself has the adapters afterwards, and computes and generates with them.

    Raises:
        MissingDependencyError: without PEFT.
        TrainingError: if the decoder has no linear layer.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise MissingDependencyError("LoRA needs PEFT: pip install 'vary-toy[train]'") from error
    decoder = model.model.language_model
    names = sorted(
        f"model.language_model.{name}"
        for name, module in decoder.named_modules()
        if isinstance(module, nn.Linear)
    )
    if not names:
        raise TrainingError("the decoder has no linear layer for adapters; train it whole")
    trained = [
        p for name, p in model.named_parameters() if p.requires_grad and ".language_model." not in name
    ]
    config = LoraConfig(
        r=settings.rank, lora_alpha=settings.alpha, lora_dropout=settings.dropout, target_modules=names
    )
    handle = get_peft_model(model, config)
    for (
        parameter
    ) in trained:  # PEFT freezes everything but its adapters; the projector is trained beside them
        parameter.requires_grad_(True)
    model.lm_head.weight.requires_grad_(False)
    return handle


def save_adapter(handle: Any, folder: Path) -> None:
    """Writes the adapters alone, for PEFT; the projector is not among them."""
    handle.save_pretrained(str(folder))


def merge_lora(handle: Any) -> VaryForConditionalGeneration:
    """The model with its adapters merged into its weights, as one without any."""
    merged: VaryForConditionalGeneration = handle.merge_and_unload()
    return merged
