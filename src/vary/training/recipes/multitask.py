"""Stage 2: both vision networks frozen, projectors and decoder trained on all tasks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vary.model.modeling import VaryForConditionalGeneration
from vary.model.processing import VaryProcessor
from vary.training.recipes.conversations import ConversationRecipe, Part, train_conversations

__all__ = ["MultitaskRecipe", "train_multitask"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MultitaskRecipe(ConversationRecipe):
    """Stage 2, as Vary-toy's multi-task training (arXiv 2401.12503, section 3.3).

    Captions, pages, Markdown, detection, referring expressions, text alone, questions; batches of 512,
    1 epoch, AdamW, cosine from 5e-5 to 0.
    """

    trained: tuple[Part, ...] = ("projector", "decoder")
    epochs: float = 1.0


def train_multitask(
    recipe: MultitaskRecipe,
    model: VaryForConditionalGeneration,
    processor: VaryProcessor,
    folder: Path,
    **options: Any,
) -> VaryForConditionalGeneration:
    """Teaches a decoder to use vision vocabularies that are written.

    `options` are those of `train_conversations`, which says what is raised.
    """
    return train_conversations(recipe, model, processor, folder, **options)
