"""The wordings of the prompts: complete, distinct, and drawn in the shares that are promised."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from importlib import resources

import numpy as np
import pytest

from vary.datagen.prompts import PUBLISHED_SHARE, draw_prompt, published_prompt, wordings
from vary.errors import DataError
from vary.inputs.tasks import TASKS, Subject, resolve_task, task_of_prompt

STORED = json.loads(resources.files("vary.datagen").joinpath("prompts.json").read_text(encoding="utf-8"))


def _sets() -> Iterator[tuple[str, str, str]]:
    for task, languages in STORED.items():
        for language, kinds in languages.items():
            for kind in kinds:
                yield task, language, kind


def test_every_task_has_wordings_in_both_languages() -> None:
    assert set(TASKS) <= set(STORED)
    for task, languages in STORED.items():
        assert set(languages) == {"en", "zh"}, task
        subject = TASKS[task].subject if task in TASKS else Subject.NONE
        kinds = {
            Subject.NONE: {"plain"},
            Subject.OPTIONAL: {"plain", "subject"},
            Subject.REQUIRED: {"subject"},
        }
        assert all(set(found) == kinds[subject] for found in languages.values()), task


@pytest.mark.parametrize(("task", "language", "kind"), list(_sets()))
def test_wordings_are_distinct_and_clean(task: str, language: str, kind: str) -> None:
    found = STORED[task][language][kind]
    assert len(found) >= 10
    folded = {"".join(wording.casefold().split()).strip(".。:：") for wording in found}
    assert len(folded) == len(found), "two wordings differ in blanks, capitals or a stop alone"
    for wording in found:
        assert wording == " ".join(wording.split())
        assert wording.count("{}") == (1 if kind == "subject" else 0), wording
        rest = wording.replace("{}", "")
        assert "{" not in rest
        assert "}" not in rest
        assert any("\u4e00" <= character <= "\u9fff" for character in wording) == (language == "zh"), wording


def test_no_wording_belongs_to_two_tasks() -> None:
    every = Counter(wording for task, language, kind in _sets() for wording in STORED[task][language][kind])
    assert [wording for wording, count in every.items() if count > 1] == []


def test_published_wordings_come_first() -> None:
    for task in TASKS.values():
        for language, published in task.prompts.items():
            assert wordings(task.name, language)[: len(published)] == published
        if task.about:
            assert wordings(task.name, "en", subject=True)[0] == task.about


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("task", list(TASKS))
def test_the_published_wording_is_what_the_reader_asks(task: str, language: str) -> None:
    for given in ("", "the left woman"):
        if (
            bool(given)
            not in {
                Subject.NONE: {False},
                Subject.OPTIONAL: {False, True},
                Subject.REQUIRED: {True},
            }[TASKS[task].subject]
        ):
            continue
        asked = resolve_task(task, TASKS, language, given or None).prompt
        published = published_prompt(task, language, subject=bool(given))
        assert published is not None
        assert published.replace("{}", given) == asked
        rng = np.random.default_rng(3)
        drawn = Counter(draw_prompt(task, language, rng, given) for _ in range(2000))
        assert abs(drawn[asked] / 2000 - PUBLISHED_SHARE) < 0.05
        expected = {w.replace("{}", given) for w in wordings(task, language, subject=bool(given))}
        assert set(drawn) == expected | {asked}, "every wording comes up, and no other"
        assert task_of_prompt(asked) == task


def test_a_table_as_html_has_wordings_of_its_own() -> None:
    rng = np.random.default_rng(0)
    drawn = {draw_prompt("table_html", "en", rng) for _ in range(400)}
    assert drawn == set(wordings("table_html", "en"))


def test_draws_depend_on_the_generator_alone() -> None:
    def drawn(seed: int) -> list[str]:
        rng = np.random.default_rng(seed)
        return [draw_prompt("ocr", "mixed", rng) for _ in range(50)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert {wording.isascii() for wording in drawn(1)} == {True, False}, "mixed draws both languages"


def test_the_subject_is_put_in_as_it_stands() -> None:
    rng = np.random.default_rng(0)
    subject = "a {} and {0} or %s \\1"
    assert all(subject in draw_prompt("locate", "en", rng, subject) for _ in range(60))
    drawn = {
        draw_prompt("locate", language, rng, "the man.") for language in ("en", "zh") for _ in range(200)
    }
    assert "Detect an object: the man." in drawn
    assert not [prompt for prompt in drawn if ".." in prompt or ".。" in prompt]


@pytest.mark.parametrize(
    ("task", "language", "subject", "found"),
    [
        ("ocrr", "en", "", "ocr, markdown, table, table_html, chart, .* did you mean 'ocr'"),
        ("ocr", "fr", "", "en, zh and, at random, mixed"),
        ("ask", "en", "  ", "needs a subject"),
        ("ocr", "zh", "cats", "takes no subject"),
        ("table_html", "zh", "cats", "takes no subject"),
    ],
)
def test_what_is_not_there_is_refused(task: str, language: str, subject: str, found: str) -> None:
    with pytest.raises(DataError, match=found):
        draw_prompt(task, language, np.random.default_rng(0), subject)
