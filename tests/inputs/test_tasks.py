"""The named tasks: exact prompts, refusals and the way back from a prompt."""

from __future__ import annotations

import subprocess
import sys

import pytest

from vary.errors import TaskError
from vary.inputs.tasks import LANGUAGES, TASKS, Subject, resolve_task, task_of_prompt

ALL = tuple(TASKS)


@pytest.mark.parametrize(
    ("name", "language", "prompt", "expected"),
    [
        ("ocr", "en", None, "Provide the ocr results of this image."),
        ("ocr", "zh", None, "写出这幅图中所有文字。"),
        ("markdown", "en", None, "Convert the image to markdown format."),
        ("markdown", "zh", None, "将这幅图转成markdown格式。"),
        ("table", "en", None, "Convert this table to latex format."),
        ("table", "zh", None, "Convert this table to latex format."),
        ("chart", "en", None, "Convert this chart to python-dict"),
        ("caption", "en", None, "Describe the content of this image in a sentence."),
        ("detect", "en", None, "Detect all objects in this image."),
        ("detect", "en", "cat, dog", "Detect cat, dog in this image"),
        ("locate", "en", "the left woman", "Detect an object: the left woman."),
        ("locate", "en", "the left woman.", "Detect an object: the left woman."),
        ("ask", "en", " Who? ", "Who? Answer the following questions using a single word or phrase:"),
    ],
)
def test_prompts_are_those_of_the_papers(name: str, language: str, prompt: str | None, expected: str) -> None:
    resolved = resolve_task(name, ALL, language, prompt)
    assert (resolved.name, resolved.prompt) == (name, expected)
    assert task_of_prompt(expected) == name


def test_a_free_prompt_is_sent_as_it_is_by_a_checkpoint_that_answers_questions() -> None:
    resolved = resolve_task(None, ALL, prompt="Write a {haiku} about this.")
    assert (resolved.name, resolved.prompt) == ("prompt", "Write a {haiku} about this.")
    assert task_of_prompt(resolved.prompt) is None
    with pytest.raises(TaskError, match="takes no free prompts; its tasks are ocr"):
        resolve_task(None, ("ocr",), prompt="Write a haiku.")


@pytest.mark.parametrize("prompt", ["OCR: ", " Read\n", "a\t"])
def test_a_free_prompt_keeps_its_blanks(prompt: str) -> None:
    assert resolve_task(None, ALL, prompt=prompt).prompt == prompt


def test_the_subject_of_a_task_is_kept_beside_its_prompt() -> None:
    assert resolve_task("locate", ALL, prompt=" the left woman ").subject == "the left woman"
    assert resolve_task("ocr", ALL).subject == ""


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("own", ["OCR: ", "OCR with format: ", "", "  "])
def test_a_checkpoint_may_have_its_own_wording_which_is_sent_as_it_is(own: str, language: str) -> None:
    assert resolve_task("ocr", ALL, language, prompts={"ocr": own}).prompt == own
    assert resolve_task(None, ("ocr",), language, prompts={"ocr": own}).prompt == own
    assert resolve_task("caption", ALL, prompts={"ocr": own}).prompt == TASKS["caption"].prompts["en"][0]
    with pytest.raises(TaskError, match="fixed prompt for task 'ocr'"):
        resolve_task("ocr", ALL, prompt="x", prompts={"ocr": own})


def test_a_checkpoints_own_wording_has_a_place_for_the_subject() -> None:
    prompts = {"locate": "{} {x} OCR: ", "detect": "Everything: "}
    assert resolve_task("locate", ALL, prompt="[0, {}, 1]", prompts=prompts).prompt == "[0, {}, 1] {x} OCR: "
    with pytest.raises(TaskError, match="'locate' needs a prompt"):
        resolve_task("locate", ALL, prompts=prompts)
    with pytest.raises(TaskError, match="takes no other"):
        resolve_task("detect", ALL, prompt="cat", prompts=prompts)


def test_without_task_and_prompt_the_first_task_of_the_checkpoint_is_meant() -> None:
    assert resolve_task(None, ("markdown", "ocr")).name == "markdown"
    with pytest.raises(TaskError, match="names no tasks"):
        resolve_task(None, ())


def test_a_task_that_the_checkpoint_does_not_know_is_refused_with_those_it_knows() -> None:
    with pytest.raises(TaskError, match=r"not trained for task 'table'; it knows ocr, chart$"):
        resolve_task("table", ("ocr", "chart"))


@pytest.mark.parametrize(
    ("typed", "meant"), [("orc", "ocr"), ("Markdwn", "markdown"), ("captions", "caption")]
)
def test_a_misspelt_task_is_guessed(typed: str, meant: str) -> None:
    with pytest.raises(TaskError, match=rf"unknown task '{typed}'.*knows ocr.*did you mean '{meant}'\?"):
        resolve_task(typed, ALL)
    with pytest.raises(TaskError, match=r"unknown task 'xyzzy'; this checkpoint knows ocr$"):
        resolve_task("xyzzy", ("ocr",))


def test_subjects_are_asked_for_and_unwanted_ones_refused() -> None:
    assert [name for name, task in TASKS.items() if task.subject is Subject.REQUIRED] == ["locate", "ask"]
    assert [name for name, task in TASKS.items() if task.subject is Subject.OPTIONAL] == ["detect"]
    with pytest.raises(TaskError, match="'locate' needs a prompt"):
        resolve_task("locate", ALL, prompt="  ")
    with pytest.raises(TaskError, match="'ocr' has a fixed prompt"):
        resolve_task("ocr", ALL, prompt="read it")


@pytest.mark.parametrize("name", [None, "locate"])
def test_a_prompt_that_is_no_text_is_refused(name: str | None) -> None:
    """What becomes of an argument whose bytes are no UTF-8."""
    with pytest.raises(TaskError, match="character 4 of the prompt is none that UTF-8 has"):
        resolve_task(name, ALL, prompt="cat\udcff")


def test_an_unknown_language_is_refused() -> None:
    assert LANGUAGES == ("en", "zh")
    with pytest.raises(TaskError, match="language 'fr'; expected one of en, zh"):
        resolve_task("ocr", ALL, "fr")


def test_every_wording_leads_back_to_its_task() -> None:
    for task in TASKS.values():
        for wordings in task.prompts.values():
            assert {task_of_prompt(wording) for wording in wordings} == {task.name}


def test_importing_the_tasks_loads_no_torch() -> None:
    code = "import sys, vary.inputs.tasks; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
