"""Fine-tuning on instructions, or on data of one's own."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vary.model.modeling import VaryForConditionalGeneration
from vary.model.processing import VaryProcessor
from vary.training.recipes.conversations import ConversationRecipe, Part, train_conversations
from vary.training.settings import RunSettings

__all__ = ["SftRecipe", "train_sft"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SftRecipe(ConversationRecipe):
    """Supervised fine-tuning, as Vary-toy's on LLaVA-80K (arXiv 2401.12503, section 3.3).

    Batches of 512, 1 epoch, AdamW, cosine from 2e-5 to 0 (Vary-base: 1e-5); vision networks frozen.
    """

    trained: tuple[Part, ...] = ("projector", "decoder")
    epochs: float = 1.0
    settings: RunSettings = field(default_factory=lambda: RunSettings(learning_rate=2e-5))


def train_sft(
    recipe: SftRecipe,
    model: VaryForConditionalGeneration,
    processor: VaryProcessor,
    folder: Path,
    **options: Any,
) -> VaryForConditionalGeneration:
    """Tunes a model that was trained on all tasks.

    `options` are those of `train_conversations`, which says what is raised.
    """
    return train_conversations(recipe, model, processor, folder, **options)
