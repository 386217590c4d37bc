"""Recipes: what is trained, on what, and how, as functions of a typed description.

`train_lines` and `train_vocabulary` write a vision vocabulary (stage 1), `train_multitask` teaches a decoder
to use it (stage 2), `train_sft` tunes the whole to instructions.
"""

from __future__ import annotations

from vary.training.recipes.conversations import ConversationRecipe
from vary.training.recipes.lines import LinesRecipe, train_lines
from vary.training.recipes.multitask import MultitaskRecipe, train_multitask
from vary.training.recipes.sft import SftRecipe, train_sft
from vary.training.recipes.vocabulary import VocabularyRecipe, train_vocabulary

__all__ = [
    "ConversationRecipe",
    "LinesRecipe",
    "MultitaskRecipe",
    "SftRecipe",
    "VocabularyRecipe",
    "train_lines",
    "train_multitask",
    "train_sft",
    "train_vocabulary",
]
