"""Stage 2 and tuning with the new vocabulary and without it: same start, same data in the same order."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from vary.datagen.sample import Sample
from vary.model.grafting import graft_processor, load_text_tokenizer
from vary.model.loading import load_model
from vary.model.modeling import VaryForConditionalGeneration
from vary.model.parts import from_parts
from vary.model.processing import VaryProcessor
from vary.training.data.sources import DataSource
from vary.training.demo.fitting import Progress
from vary.training.demo.sizes import DemoSize, run_settings
from vary.training.demo.vocabulary import arm_vocabulary, write_out
from vary.training.recipes import MultitaskRecipe, SftRecipe, train_multitask, train_sft
from vary.training.running import MODEL_FOLDER

__all__ = ["Answer", "Parts", "answer", "graft", "read_answers", "train_arm", "write_answers"]

MULTITASK_RATE, TUNING_RATE = 4e-3, 2e-4
LONGEST_ANSWER = 64
TOGETHER = 64
"""Pictures that are answered at once."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The folders of what is grafted: `vocabulary` of stage 1, CLIP and the language model."""

    vocabulary: Path
    clip: Path
    language: Path


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model wrote about a held-out sample, and what it should have."""

    task: str
    number: int
    expected: str
    answer: str


def graft(parts: Parts, arm: str, seed: int) -> tuple[VaryForConditionalGeneration, VaryProcessor]:
    """The model of an arm before stage 2; the projector and the language model are the same in every arm."""
    network = arm_vocabulary(arm, parts.vocabulary, seed)
    torch.manual_seed(seed)  # of the projector, whatever the arm needed
    model = from_parts(
        vision_vocabulary=network,
        clip=parts.clip / "model",
        text=parts.language / "model",
        dtype=torch.float32,
    )
    write_out(model)
    tokenizer = load_text_tokenizer(parts.language / "model")
    assert tokenizer is not None, "the language model is saved with its tokenizer"
    return model, graft_processor(model.config, tokenizer, layout="plain")


def train_arm(
    parts: Parts,
    arm: str,
    data: Mapping[str, tuple[DataSource, ...]],
    folder: Path,
    *,
    size: DemoSize,
    seed: int,
    progress: Progress,
) -> tuple[VaryForConditionalGeneration, VaryProcessor]:
    """Multi-task training with both vision networks frozen, then tuning on conversations.

    `data` has the sources of `multitask` and of `tuning`.  A stage whose model lies in `folder` is not
    trained again.

    Raises:
        TrainingError: as the recipes do.
    """
    model, processor = graft(parts, arm, seed)
    common: dict[str, Any] = {"batch": size.batch, "keep_examples": True, "export_dtype": "float32"}
    options: dict[str, Any] = {"resume": True, "progress": progress, "cpu": True}
    trained = folder / "multitask" / MODEL_FOLDER
    if trained.is_dir():
        model = _loaded(trained)
    else:
        stage2 = MultitaskRecipe(
            data=data["multitask"],
            settings=run_settings(size.multitask_steps, batch=size.batch, rate=MULTITASK_RATE, seed=seed),
            **common,
        )
        model = train_multitask(stage2, model, processor, folder / "multitask", **options)
    tuned = folder / "tuned" / MODEL_FOLDER
    if tuned.is_dir():
        return _loaded(tuned), processor
    tuning = SftRecipe(
        data=data["tuning"],
        settings=run_settings(size.tuning_steps, batch=size.batch, rate=TUNING_RATE, seed=seed),
        **common,
    )
    return train_sft(tuning, model, processor, folder / "tuned", **options).eval(), processor


def _loaded(folder: Path) -> VaryForConditionalGeneration:
    model = load_model(folder, dtype=torch.float32, attention="eager")
    write_out(model)
    return model


@torch.inference_mode()
def answer(
    model: VaryForConditionalGeneration, processor: VaryProcessor, samples: Sequence[Sample]
) -> list[Answer]:
    """The greedy answers to samples that all have the same prompt."""
    assert len({sample.prompt for sample in samples}) == 1
    answers = []
    for first in range(0, len(samples), TOGETHER):
        some = samples[first : first + TOGETHER]
        images = [Image.fromarray(sample.image) for sample in some if sample.image is not None]
        inputs = processor.build_inputs(images, some[0].prompt)
        ids = model.generate(**inputs, max_new_tokens=LONGEST_ANSWER, do_sample=False)
        texts = processor.tokenizer.batch_decode(
            ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
        )
        answers += [
            Answer(sample.task, first + place, sample.answer, text)
            for place, (sample, text) in enumerate(zip(some, texts, strict=True))
        ]
    return answers


def write_answers(path: Path, answers: Sequence[Answer]) -> None:
    """Stores answers, one a line; the file has its name only when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps(
            {
                "task": each.task,
                "number": each.number,
                "expected": each.expected,
                "answer": each.answer,
            },
            ensure_ascii=False,
        )
        for each in answers
    ]
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    partial.replace(path)


def read_answers(path: Path) -> Iterator[Answer]:
    """The answers of a file that `write_answers` wrote."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield Answer(**json.loads(line))
