"""The demonstration from beginning to end: data, towers, stage 1, the graft, stage 2, tuning, the report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vary import __version__
from vary.datagen.sample import Sample
from vary.datagen.shards import read_shards
from vary.errors import TrainingError
from vary.training.demo.clip import retrieval, train_clip
from vary.training.demo.comparison import answer, read_answers, write_answers
from vary.training.demo.data_sets import (
    CAPTIONS,
    MULTITASK,
    STAGE_1,
    is_written,
    read_tests,
    read_texts,
    sources,
    write_data,
)
from vary.training.demo.jobs import Job, Progress, run_jobs
from vary.training.demo.language import train_language_model
from vary.training.demo.report import write_report
from vary.training.demo.scores import Judges, score, summarise
from vary.training.demo.sizes import DemoSize
from vary.training.demo.times import Times, hardware
from vary.training.demo.vocabulary import ARMS, write_vocabulary
from vary.training.running import MODEL_FOLDER, write_json

__all__ = ["REPORT_FILE", "run_demo"]

SETTINGS_FILE, TIMES_FILE, REPORT_FILE = "demo.json", "times.json", "report.json"


def run_demo(
    size: DemoSize,
    folder: Path,
    *,
    seeds: int,
    judges: Judges,
    seed: int = 0,
    workers: int = 1,
    progress: Progress = lambda _name, _row: None,
) -> dict[str, Any]:
    """Shows the method in `folder` and returns the report, which lies there too.

    Args:
        size: how large everything is.
        folder: of the whole run; called again, it goes on where it stopped.
        seeds: how often the comparison is repeated: with other projectors and another order of the data.
        judges: how answers are judged.
        seed: of the data, the towers and the first comparison.
        workers: models that are trained at once for the comparison.
        progress: called with rows of the stages' logs.

    Raises:
        TrainingError: if the folder holds a demonstration of another size or seed, a stage fails, or the new
            vocabulary does not read: then there is nothing to compare.
    """
    _begin(folder, size, seed)
    times = Times(folder / TIMES_FILE)
    data = folder / "data"
    if not is_written(data):
        with times.stage("data"):
            write_data(data, size, seed)
    towers = _towers(folder, size, seed, read_tests(data), judges, times, progress)
    jobs = {arm: [Job(folder, size, arm, seed + number) for number in range(seeds)] for arm in ARMS}
    in_turn = [job for one_seed in zip(*jobs.values(), strict=True) for job in one_seed]
    run_jobs(in_turn, times, workers=workers, progress=progress)
    answers = {arm: [list(read_answers(job.answers)) for job in jobs[arm]] for arm in ARMS}
    report = {
        "version": __version__,
        "settings": {**asdict(size), "seed": seed, "seeds": seeds},
        "hardware": {**hardware(), "workers": workers},
        "times": times.read(),
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


def _towers(
    folder: Path,
    size: DemoSize,
    seed: int,
    tests: Mapping[str, Sequence[Sample]],
    judges: Judges,
    times: Times,
    progress: Progress,
) -> dict[str, Any]:
    """CLIP, the language model and the vocabulary, where they are not there yet; what each is worth.

    Raises:
        TrainingError: if the vocabulary does not read held-out pages.
    """
    data = folder / "data"
    if not (folder / "clip" / MODEL_FOLDER).is_dir():
        with times.stage("clip"):
            pictures = list(read_shards(data / CAPTIONS))
            train_clip(
                pictures,
                folder / "clip",
                steps=size.clip_steps,
                seed=seed,
                progress=lambda row: progress("CLIP", row),
            )
    if not (folder / "language" / MODEL_FOLDER).is_dir():
        with times.stage("language"):
            train_language_model(
                read_texts(data, MULTITASK),
                folder / "language",
                steps=size.language_steps,
                batch=size.batch,
                seed=seed,
                progress=lambda row: progress("language model", row),
            )
    read = folder / "answers" / "stage-1.jsonl"
    if not read.exists():
        with times.stage("vocabulary"):
            model, processor = write_vocabulary(
                sources(data, STAGE_1),
                folder / "vocabulary",
                size=size,
                seed=seed,
                progress=lambda row: progress("stage 1", row),
            )
            write_answers(read, answer(model, processor, tests["ocr"]))
    error_rate = score("ocr", list(read_answers(read)), judges)
    if error_rate > size.readable:
        raise TrainingError(
            f"the new vocabulary reads held-out pages with a character error rate of {error_rate:.3f}, more "
            f"than {size.readable}: there is nothing to compare; train it longer (vocabulary_steps)"
        )
    return {
        "clip": retrieval(folder / "clip", tests["caption"]),
        "vocabulary": {"character_error_rate": error_rate, "at_most": size.readable},
    }
