"""Stage 1 of the demonstration: a vision vocabulary is written with a small decoder and taken out."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import nn

from vary.model.configuration import VisionVocabularyConfig
from vary.model.grafting import graft_processor
from vary.model.modeling import VaryForConditionalGeneration
from vary.model.parts import from_parts
from vary.model.processing import VaryProcessor
from vary.model.vision_vocabulary import VisionVocabulary
from vary.model.vocabulary_folder import load_vision_vocabulary, save_vision_vocabulary
from vary.training.data.sources import DataSource
from vary.training.demo.fitting import Progress
from vary.training.demo.language import decoder_config, make_tokenizer
from vary.training.demo.sizes import SIDE, DemoSize, run_settings
from vary.training.recipes import VocabularyRecipe, train_vocabulary

__all__ = ["ARMS", "arm_vocabulary", "new_vocabulary", "write_out", "write_vocabulary"]

RATE = 1e-3
ARMS = ("with", "without", "untrained")
"""The new vocabulary; CLIP alone; and a vocabulary network of random weights, which sees as many pixels."""


def vision_config() -> VisionVocabularyConfig:
    """A vision vocabulary network in miniature: 64 patches, merged to 16 tokens."""
    return VisionVocabularyConfig(
        image_size=SIDE,
        patch_size=8,
        stem="conv",
        stem_channels=(16, 32),
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        mlp_ratio=2.0,
        window_size=0,
        global_attention_layers=(0, 1),
        neck_channels=48,
        merge_channels=(64,),
        merge_strides=((2, 2),),
        initializer_range=0.1,
    )


def new_vocabulary(seed: int) -> VisionVocabulary:
    """The network with random weights."""
    torch.manual_seed(seed)
    return VisionVocabulary(vision_config()).eval()


def write_vocabulary(
    data: tuple[DataSource, ...], folder: Path, *, size: DemoSize, seed: int, progress: Progress
) -> tuple[VaryForConditionalGeneration, VaryProcessor]:
    """Trains a new network and a small decoder with random weights, and returns both with their processor.

    Raises:
        TrainingError: as the recipe does.
    """
    tokenizer = make_tokenizer()
    network = new_vocabulary(seed)
    model = from_parts(
        vision_vocabulary=network,
        text=decoder_config(tokenizer),
        tokenizer=tokenizer,
        dtype=torch.float32,
    )
    write_out(model)
    processor = graft_processor(model.config, tokenizer, layout="plain")
    recipe = VocabularyRecipe(
        data=data,
        batch=size.batch,
        keep_examples=True,
        export_dtype="float32",
        settings=run_settings(size.vocabulary_steps, batch=size.batch, rate=RATE, seed=seed),
    )
    trained = train_vocabulary(recipe, model, processor, folder, resume=True, progress=progress, cpu=True)
    save_vision_vocabulary(trained.model.vision_vocabulary, processor.image_processor, folder / "vocabulary")
    return trained.eval(), processor


def arm_vocabulary(arm: str, folder: Path, seed: int) -> VisionVocabulary:
    """The vocabulary network of an arm, of the same size in all of them.

    Without the new vocabulary the network's last convolution is zero: every page gives the same tokens, CLIP
    is all that the model sees, and nothing else differs, neither parameters nor tokens nor work.
    """
    if arm == "untrained":
        return new_vocabulary(seed)
    network = load_vision_vocabulary(folder / "vocabulary", dtype=torch.float32)
    if arm == "without":
        network = copy.deepcopy(network)
        last = network.merge[-1]
        assert isinstance(last, nn.Conv2d)
        nn.init.zeros_(last.weight)
    return network


def write_out(model: VaryForConditionalGeneration) -> None:
    """Has attention computed as matrix products, which on a CPU trains faster on short sequences."""
    model.set_attn_implementation("eager")
    model.config.vision_vocabulary_config._attn_implementation = "eager"
    model.model.vision_vocabulary.config._attn_implementation = "eager"
