"""Stage 1: writing a vision vocabulary with a small decoder; everything is trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vary.model.modeling import VaryForConditionalGeneration
from vary.model.processing import VaryProcessor
from vary.training.recipes.conversations import ConversationRecipe, Part, train_conversations

__all__ = ["VocabularyRecipe", "train_vocabulary"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VocabularyRecipe(ConversationRecipe):
    """Stage 1, as Vary-tiny was trained (arXiv 2312.06109, section 3.2).

    Pages with the text of their text layer, rendered charts and, as negatives, natural images with a fixed
    sentence; batches of 512, 3 epochs, AdamW, cosine from 5e-5 to 0.  Vary-tiny+ (arXiv 2401.12503), which
    gave Vary-toy its vocabulary, goes on from there with detection among the tasks, for 2 epochs.
    """

    trained: tuple[Part, ...] = ("vision_vocabulary", "clip", "projector", "decoder")
    epochs: float = 3.0


def train_vocabulary(
    recipe: VocabularyRecipe,
    model: VaryForConditionalGeneration,
    processor: VaryProcessor,
    folder: Path,
    **options: Any,
) -> VaryForConditionalGeneration:
    """Writes a vision vocabulary; `vary vocabulary extract` takes it out of `folder/model`.

    `options` are those of `train_conversations`, which says what is raised.
    """
    return train_conversations(recipe, model, processor, folder, **options)
