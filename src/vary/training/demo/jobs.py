"""The comparison as jobs, one for each model that is trained; several at once where there are cores."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vary.training.demo.comparison import Parts, answer, train_arm, write_answers
from vary.training.demo.data_sets import MULTITASK, TESTED, read_tests, sources, tuning_sources
from vary.training.demo.sizes import DemoSize
from vary.training.demo.times import Times

__all__ = ["Job", "run_jobs"]

Progress = Callable[[str, Mapping[str, Any]], None]
"""Called with the stage's name and a row of its log."""


@dataclass(frozen=True, slots=True)
class Job:
    """A model to train and to ask, in the folder of a demonstration."""

    folder: Path
    size: DemoSize
    arm: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.arm}, seed {self.seed}"

    @property
    def answers(self) -> Path:
        """Where its answers are stored."""
        return self.folder / "answers" / f"{self.arm}-{self.seed}.jsonl"


def run_jobs(jobs: Sequence[Job], times: Times, *, workers: int, progress: Progress) -> None:
    """Does the jobs that have no answers yet, `workers` at a time; more than one in processes of their own.

    Progress is every row of a log with one worker, with more the end of each job.

    Raises:
        TrainingError: as the recipes do.
    """
    missing = [job for job in jobs if not job.answers.exists()]
    if not missing:
        return
    with times.stage("comparison", processors=False):
        workers = min(workers, len(missing))
        if workers == 1:
            for job in missing:
                times.add(job.name, _work(job, progress))
            return
        threads = max(1, torch.get_num_threads() // workers)
        # Not forked: OpenCV's and PyTorch's threads do not survive a fork.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, context, torch.set_num_threads, (threads,)) as pool:
            futures = {pool.submit(_work, job): job for job in missing}
            try:
                for future in as_completed(futures):
                    times.add(futures[future].name, future.result())
                    progress(futures[future].name, {"step": "done"})
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


def _work(job: Job, progress: Progress | None = None) -> dict[str, float]:
    """Trains a model, stores its answers to all held-out samples, and says how long the processors worked."""
    begun = time.process_time()
    data = {
        "multitask": sources(job.folder / "data", MULTITASK),
        "tuning": tuning_sources(job.folder / "data", job.size),
    }
    model, processor = train_arm(
        Parts(job.folder / "vocabulary", job.folder / "clip", job.folder / "language"),
        job.arm,
        data,
        job.folder / job.arm / f"seed-{job.seed}",
        size=job.size,
        seed=job.seed,
        progress=lambda row: None if progress is None else progress(job.name, row),
    )
    tests = read_tests(job.folder / "data")
    found = [each for task in TESTED for each in answer(model, processor, tests[task])]
    write_answers(job.answers, found)
    return {"processor_seconds": time.process_time() - begun}
