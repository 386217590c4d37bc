"""How large the demonstration is: its data, its networks, its steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from vary.training.settings import RunSettings

__all__ = ["SIDE", "SIZES", "DemoSize", "run_settings"]

SIDE = 64
"""Pixels of a page's side; the vision vocabulary sees all of them, CLIP a sixteenth."""
BETAS = (0.9, 0.99)
"""Adam's: runs of some hundred steps cannot wait for the usual average over a thousand."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoSize:
    """A size of the demonstration.

    Attributes:
        lines, digits: the most lines of a page, and the most digits of a line.
        faces: how many fonts the pages are set in.
        pages: of stage 1.
        samples: of each of the tasks in multi-task training.
        chats: conversations for tuning, which sees as many pages and captions.
        tests: held-out samples of each task.
        batch: samples a step, in every stage.
        clip_steps, language_steps: of CLIP and of the language model.
        vocabulary_steps, multitask_steps, tuning_steps: of the three stages of the recipe.
        readable: stage 1 has to read held-out pages with at most this character error rate.
    """

    lines: int
    digits: int
    faces: int
    pages: int
    samples: int
    chats: int
    tests: int
    batch: int = 32
    clip_steps: int
    language_steps: int
    vocabulary_steps: int
    multitask_steps: int
    tuning_steps: int
    readable: float


SIZES: Mapping[str, DemoSize] = MappingProxyType(
    {
        "small": DemoSize(
            lines=2,
            digits=4,
            faces=4,
            pages=6000,
            samples=2000,
            chats=500,
            tests=100,
            clip_steps=800,
            language_steps=200,
            vocabulary_steps=1500,
            multitask_steps=700,
            tuning_steps=50,
            readable=0.1,
        ),
        "ci": DemoSize(
            lines=2,
            digits=1,
            faces=1,
            pages=1500,
            samples=300,
            chats=100,
            tests=32,
            batch=16,
            clip_steps=100,
            language_steps=60,
            vocabulary_steps=1000,
            multitask_steps=100,
            tuning_steps=20,
            readable=0.35,
        ),
    }
)


def run_settings(steps: int, *, batch: int, rate: float, seed: int) -> RunSettings:
    """How a stage steps: float32, everything in one process, a row of the log every twentieth of the run."""
    return RunSettings(
        steps=steps,
        learning_rate=rate,
        betas=BETAS,
        precision="no",
        micro_batch=batch,
        seed=seed,
        workers=0,
        log_every=max(1, steps // 20),
        save_every=0,
        evaluate_every=0,
        tensorboard=False,
    )
