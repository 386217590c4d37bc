"""Wordings of the tasks' prompts: at least ten for each task and language, as a data file.

`prompts.json` holds, by task and language, `plain` wordings and those with a `subject`, which stands at `{}`.
Where the papers have a wording it comes first.  Besides the tasks of `vary.inputs.tasks` there are wordings
for `table_html`, a table as HTML, which no published model was asked for.
"""

from __future__ import annotations

import json
from functools import lru_cache
from importlib import resources

import numpy as np

from vary.errors import DataError, did_you_mean
from vary.inputs.tasks import TASKS

__all__ = ["PUBLISHED_SHARE", "draw_prompt", "published_prompt", "wordings"]

PUBLISHED_SHARE = 0.5
"""How often the published wording comes up: it is the one that `vary read --task` asks with."""

_FULL_STOPS = (".", "。")


def draw_prompt(task: str, language: str, rng: np.random.Generator, subject: str = "") -> str:
    """One of a task's wordings, `subject` in its place.

    With probability `PUBLISHED_SHARE` it is exactly what the reader asks with (in English where the papers
    have no wording in that language), else any of the others, all alike.  In language `mixed` the wording is
    English or Chinese.

    Raises:
        DataError: if the task has no wording in that language, takes a subject and was given none, or takes
            none and was given one; the message lists what there is.
    """
    if language == "mixed":
        language = ("en", "zh")[int(rng.integers(2))]
    subject = subject.strip()
    known = wordings(task, language, subject=bool(subject))
    published = published_prompt(task, language, subject=bool(subject))
    others = [wording for wording in known if wording != published]
    if published is not None and rng.random() < PUBLISHED_SHARE:
        return _filled(published, subject)
    return _filled(others[int(rng.integers(len(others)))], subject)


def wordings(task: str, language: str, *, subject: bool = False) -> tuple[str, ...]:
    """All wordings of a task in `en` or `zh`, the published ones first; with `{}` where `subject`.

    Raises `DataError` where there are none, listing what there is.
    """
    languages = _all_wordings().get(task)
    if languages is None:
        known = ", ".join(_all_wordings())
        raise DataError(
            f"there are no wordings for task '{task}'; there are some for {known}"
            + did_you_mean(task, _all_wordings())
        )
    if language not in languages:
        raise DataError(
            f"there are no wordings for task '{task}' in language '{language}'; there are some in "
            f"{', '.join(languages)} and, at random, mixed"
        )
    found = languages[language].get("subject" if subject else "plain")
    if found is None:
        wanted = "takes no subject; leave it out" if subject else "needs a subject: what is to be asked about"
        raise DataError(f"task '{task}' {wanted}")
    return found


def published_prompt(task: str, language: str, *, subject: bool = False) -> str | None:
    """The wording that the reader asks a task with, `{}` for the subject; None if there is none."""
    if task not in TASKS:
        return None
    known = TASKS[task]
    if subject:
        return known.about
    return known.prompts.get(language, known.prompts["en"])[0] if known.prompts else None


def _filled(wording: str, subject: str) -> str:
    """`subject` at `{}`; one full stop where both the subject and the wording would have theirs."""
    before, place, after = wording.partition("{}")
    if place and after.startswith(_FULL_STOPS) and subject.endswith(_FULL_STOPS):
        subject = subject[:-1].rstrip()
    return before + subject + after


@lru_cache(maxsize=1)
def _all_wordings() -> dict[str, dict[str, dict[str, tuple[str, ...]]]]:
    text = resources.files("vary.datagen").joinpath("prompts.json").read_text(encoding="utf-8")
    return {
        task: {
            language: {kind: tuple(found) for kind, found in kinds.items()}
            for language, kinds in languages.items()
        }
        for task, languages in json.loads(text).items()
    }
