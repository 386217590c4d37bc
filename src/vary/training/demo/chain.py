"""The demonstration from beginning to end: data, towers, stage 1, the graft, stage 2, tuning, the report."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from vary import __version__
from vary.datagen.sample import Engine, Sample
from vary.datagen.shards import MANIFEST, ShardIndex, read_manifest, read_shards, write_shards
from vary.errors import TrainingError
from vary.training.demo.clip import retrieval, train_clip
from vary.training.demo.comparison import Answer, Parts, answer, read_answers, train_arm, write_answers
from vary.training.demo.language import train_language_model
from vary.training.demo.pages import DigitPages, PagesConfig, Scenes, ScenesConfig, SceneTask, find_faces
from vary.training.demo.report import write_report
from vary.training.demo.scores import Judges, score, summarise
from vary.training.demo.sizes import DemoSize
from vary.training.demo.vocabulary import ARMS, NEGATIVES, write_vocabulary
from vary.training.running import MODEL_FOLDER, write_json
from vary.training.sources import DataSource

__all__ = ["REPORT_FILE", "run_demo"]

SETTINGS_FILE, TIMES_FILE, REPORT_FILE = "demo.json", "times.json", "report.json"
ANSWERS_FOLDER = "answers"
TESTED = ("ocr", "caption", "detect")
StageProgress = Callable[[str, Mapping[str, Any]], None]
"""Called with the stage's name and a row of its log."""


@dataclass(frozen=True, slots=True)
class _Demo:
    """A demonstration in a folder."""

    folder: Path
    size: DemoSize
    seed: int
    judges: Judges
    progress: StageProgress

    def data(self, name: str) -> Path:
        return self.folder / "data" / name

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[Mapping[str, Any]], None]]:
        """Notes how long a stage took, by the clock and of the processors."""
        wall, processors = time.monotonic(), time.process_time()
        yield lambda row: self.progress(name, row)
        path = self.folder / TIMES_FILE
        times = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        took = {"seconds": time.monotonic() - wall, "processor_seconds": time.process_time() - processors}
        write_json(path, {**times, name: took})


def run_demo(
    size: DemoSize,
    folder: Path,
    *,
    seeds: int,
    judges: Judges,
    seed: int = 0,
    progress: StageProgress = lambda _name, _row: None,
) -> dict[str, Any]:
    """Shows the method in `folder` and returns the report, which lies there too.

    Args:
        size: how large everything is.
        folder: of the whole run; called again, it goes on where it stopped.
        seeds: how often the comparison is repeated: with other projectors and another order of the data.
        judges: how answers are judged.
        seed: of the data, the towers and the first comparison.
        progress: called with rows of the stages' logs.

    Raises:
        TrainingError: if the folder holds a demonstration of another size or seed, a stage fails, or the new
            vocabulary does not read: then there is nothing to compare.
    """
    _begin(folder, size, seed)
    demo = _Demo(folder, size, seed, judges, progress)
    _write_data(demo)
    tests = {name: list(read_shards(demo.data(f"test-{name}"))) for name in TESTED}
    towers = _towers(demo, tests)
    parts = Parts(folder / "vocabulary", folder / "clip", folder / "language")
    answers: dict[str, list[list[Answer]]] = {arm: [] for arm in ARMS}
    for number in range(seeds):
        for arm in ARMS:
            answers[arm].append(_compared(demo, parts, arm, seed + number, tests))
    report = {
        "version": __version__,
        "settings": {**asdict(size), "seed": seed, "seeds": seeds},
        "hardware": _hardware(),
        "times": json.loads((folder / TIMES_FILE).read_text(encoding="utf-8")),
        "towers": towers,
        "tasks": summarise(answers, judges),
    }
    write_json(folder / REPORT_FILE, report)
    write_report(report, folder)
    return report


def _begin(folder: Path, size: DemoSize, seed: int) -> None:
    """Writes down what is made here.  Raises TrainingError if something else is."""
    folder.mkdir(parents=True, exist_ok=True)
    path, settings = folder / SETTINGS_FILE, {**asdict(size), "seed": seed}
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        different = [name for name, value in settings.items() if before.get(name) != value]
        if different:
            was = ", ".join(f"{name} {before.get(name)}" for name in different)
            raise TrainingError(
                f"{folder} holds a demonstration with other settings ({was}); go on with those, or choose "
                "another folder"
            )
        return
    if any(folder.iterdir()):
        raise TrainingError(f"{folder} is not empty, and holds no demonstration; choose another folder")
    write_json(path, settings)


def _write_data(demo: _Demo) -> None:
    """All data sets; nothing is done if the last of them is whole."""
    size, seed = demo.size, demo.seed
    last = demo.data(f"test-{TESTED[-1]}")
    if (last / MANIFEST).exists() and "shards" in read_manifest(last):
        return
    with demo.stage("data"):
        faces = find_faces(size.faces - 1)
        digits = PagesConfig(lines=size.lines, digits=size.digits, faces=faces, seed=seed)

        def pages(split: str) -> Engine:
            return DigitPages(replace(digits, split=split))

        def scenes(task: SceneTask, split: str) -> Engine:
            return Scenes(ScenesConfig(seed=seed, split=split, task=task))

        wanted: list[tuple[str, Engine, int]] = [
            ("pages", pages("train"), size.pages),
            ("captions", scenes("caption", "captions"), size.scenes),
            ("detections", scenes("detect", "detections"), size.scenes),
            ("negatives", scenes("negative", "negatives"), max(1, round(NEGATIVES * size.scenes))),
            ("chats", scenes("chat", "chats"), size.scenes),
            ("test-ocr", pages("test"), size.tests),
            ("test-caption", scenes("caption", "test captions"), size.tests),
            ("test-detect", scenes("detect", "test detections"), size.tests),
        ]
        for name, engine, samples in wanted:
            write_shards(engine, demo.data(name), samples=samples, samples_per_shard=samples)


def _towers(demo: _Demo, tests: Mapping[str, Sequence[Sample]]) -> dict[str, Any]:
    """CLIP, the language model and the vocabulary, where they are not there yet; what each is worth.

    Raises:
        TrainingError: if the vocabulary does not read held-out pages.
    """
    size, seed, folder = demo.size, demo.seed, demo.folder
    common: dict[str, Any] = {"batch": size.batch, "seed": seed}
    if not (folder / "clip" / MODEL_FOLDER).is_dir():
        with demo.stage("clip") as progress:
            pictures = list(read_shards(demo.data("captions")))
            train_clip(pictures, folder / "clip", steps=size.clip_steps, progress=progress, **common)
    if not (folder / "language" / MODEL_FOLDER).is_dir():
        with demo.stage("language") as progress:
            texts = _texts(demo.data(name) for name in ("pages", "captions", "detections"))
            train_language_model(
                texts, folder / "language", steps=size.language_steps, progress=progress, **common
            )
    read = folder / ANSWERS_FOLDER / "stage-1.jsonl"
    if not read.exists():
        with demo.stage("vocabulary") as progress:
            sources = tuple(DataSource(demo.data(name)) for name in ("pages", "negatives"))
            model, processor = write_vocabulary(
                sources, folder / "vocabulary", size=size, seed=seed, progress=progress
            )
            write_answers(read, answer(model, processor, tests["ocr"]))
    error_rate = score("ocr", list(read_answers(read)), demo.judges)
    if error_rate > size.readable:
        raise TrainingError(
            f"the new vocabulary reads held-out pages with a character error rate of {error_rate:.3f}, more "
            f"than {size.readable}: there is nothing to compare; train it longer (vocabulary_steps)"
        )
    return {
        "clip": retrieval(folder / "clip", tests["caption"]),
        "vocabulary": {"character_error_rate": error_rate, "at_most": size.readable},
    }


def _texts(folders: Iterable[Path]) -> list[str]:
    """The answers of some data sets, without their images."""
    indices = [ShardIndex(folder) for folder in folders]
    return [str(index.record(number)["answer"]) for index in indices for number in range(len(index))]


def _compared(
    demo: _Demo, parts: Parts, arm: str, seed: int, tests: Mapping[str, Sequence[Sample]]
) -> list[Answer]:
    """The answers of an arm to all held-out samples; those that are stored are read."""
    name = f"{arm}, seed {seed}"
    path = demo.folder / ANSWERS_FOLDER / f"{arm}-{seed}.jsonl"
    if not path.exists():
        share = demo.size.scenes / demo.size.pages
        data = {
            "multitask": tuple(DataSource(demo.data(each)) for each in ("pages", "captions", "detections")),
            "tuning": (DataSource(demo.data("chats")), DataSource(demo.data("pages"), weight=share)),
        }
        folder = demo.folder / arm / f"seed-{seed}"
        with demo.stage(name) as progress:
            model, processor = train_arm(
                parts, arm, data, folder, size=demo.size, seed=seed, progress=progress
            )
            write_answers(path, [each for task in TESTED for each in answer(model, processor, tests[task])])
    return list(read_answers(path))


def _hardware() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "processor": _processor_name(),
        "cores": os.cpu_count(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _processor_name() -> str:
    """As the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
