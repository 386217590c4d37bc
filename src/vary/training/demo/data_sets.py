"""Which data sets the demonstration learns from and is tested on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from vary.datagen.sample import Engine, Sample
from vary.datagen.shards import MANIFEST, ShardIndex, read_manifest, read_shards, write_shards
from vary.training.data.sources import DataSource
from vary.training.demo.pages import DigitPages, PagesConfig, Scenes, ScenesConfig, SceneTask, find_faces
from vary.training.demo.sizes import DemoSize

__all__ = [
    "CAPTIONS",
    "MULTITASK",
    "STAGE_1",
    "TESTED",
    "is_written",
    "read_tests",
    "read_texts",
    "sources",
    "tuning_sources",
    "write_data",
]

STAGE_1 = ("stage-1-pages", "stage-1-negatives")
CAPTIONS = "captions"
MULTITASK = ("pages", CAPTIONS, "detections")
TESTED = ("ocr", "caption", "detect")
"""The tasks with held-out samples, in the folders `test-...`."""
NEGATIVES = 0.05
"""Pictures without text beside the pages of stage 1, as a share of those."""


def is_written(folder: Path) -> bool:
    """Whether all data sets are whole: they are written one after the other."""
    last = folder / f"test-{TESTED[-1]}"
    return (last / MANIFEST).exists() and "shards" in read_manifest(last)


def write_data(folder: Path, size: DemoSize, seed: int) -> None:
    """Writes all data sets, each to a folder of its own."""
    faces = find_faces(size.faces - 1)
    digits = PagesConfig(lines=size.lines, digits=size.digits, faces=faces, seed=seed)

    def pages(split: str) -> Engine:
        return DigitPages(replace(digits, split=split))

    def scenes(task: SceneTask, split: str) -> Engine:
        # A box is a long answer; one in a picture can be learned in the steps that there are.
        most = 1 if task in {"detect", "chat"} else 2
        return Scenes(ScenesConfig(seed=seed, split=split, task=task, most=most))

    wanted: list[tuple[str, Engine, int]] = [
        ("stage-1-pages", pages("stage 1"), size.pages),
        ("stage-1-negatives", scenes("negative", "stage 1"), max(1, round(NEGATIVES * size.pages))),
        ("pages", pages("train"), size.samples),
        ("captions", scenes("caption", "captions"), size.samples),
        ("detections", scenes("detect", "detections"), size.samples),
        ("chats", scenes("chat", "chats"), size.chats),
        ("test-ocr", pages("test"), size.tests),
        ("test-caption", scenes("caption", "test captions"), size.tests),
        ("test-detect", scenes("detect", "test detections"), size.tests),
    ]
    for name, engine, samples in wanted:
        write_shards(engine, folder / name, samples=samples, samples_per_shard=samples)


def sources(folder: Path, names: Iterable[str]) -> tuple[DataSource, ...]:
    """Some of the data sets, every sample once an epoch."""
    return tuple(DataSource(folder / name) for name in names)


def tuning_sources(folder: Path, size: DemoSize) -> tuple[DataSource, ...]:
    """Conversations, and as many pages and captions, so that they are not forgotten."""
    share = size.chats / size.samples
    others = [DataSource(folder / name, weight=share) for name in ("pages", CAPTIONS)]
    return (*sources(folder, ["chats"]), *others)


def read_tests(folder: Path) -> dict[str, list[Sample]]:
    """The held-out samples by task."""
    return {task: list(read_shards(folder / f"test-{task}")) for task in TESTED}


def read_texts(folder: Path, names: Iterable[str]) -> list[str]:
    """The answers of some data sets, without their images."""
    indices = [ShardIndex(folder / name) for name in names]
    return [str(index.record(number)["answer"]) for index in indices for number in range(len(index))]
