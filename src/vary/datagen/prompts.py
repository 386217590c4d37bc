"""Wordings of the tasks' prompts: at least ten for each task and language, as a data file."""

from __future__ import annotations

import numpy as np

from vary.inputs.tasks import TASKS

__all__ = ["draw_prompt"]


def draw_prompt(task: str, language: str, rng: np.random.Generator, subject: str = "") -> str:
    """One of a task's wordings, `subject` in its place; the published one comes up most often.

    Raises:
        DataError: if the task has no wording in that language, or takes a subject and was given none.
    """
    known = TASKS[task]
    if subject and known.about is not None:
        return known.about.format(subject)
    return known.prompts[language][0]
