"""The named tasks and the exact prompts that the models of the family were trained with.

Wordings are those of the papers (arXiv 2312.06109 and 2401.12503): a model does best what it was trained on,
so a task has a fixed prompt, and a checkpoint refuses a task that it was not trained for.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from vary.errors import TaskError

__all__ = [
    "FREE_PROMPT",
    "LANGUAGES",
    "TASKS",
    "ResolvedTask",
    "Subject",
    "Task",
    "check_prompt",
    "resolve_task",
    "task_of_prompt",
]

LANGUAGES = ("en", "zh")
FREE_PROMPT = "ask"
"""The task whose checkpoints take free prompts."""
TEXT_TASKS = frozenset({"ocr", "markdown", "table"})
"""The tasks that read text. Models make some up where a page has none, so they are not shown such pages."""


class Subject(StrEnum):
    """Whether a task speaks of something that the user names: classes, an object, a question."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class Task:
    """A task: its name, what it does, and by language the prompts it is known under, the one to use first.

    `about` is the prompt with a subject, which stands at `{}`.
    """

    name: str
    description: str
    prompts: Mapping[str, tuple[str, ...]]
    about: str | None = None

    @property
    def subject(self) -> Subject:
        """Whether the task takes a subject."""
        if self.about is None:
            return Subject.NONE
        return Subject.OPTIONAL if self.prompts else Subject.REQUIRED


@dataclass(frozen=True, slots=True)
class ResolvedTask:
    """What to ask the model: the task's name (`"prompt"` for a free prompt) and the exact text.

    `subject` is what the user named, of a task that takes a subject.
    """

    name: str
    prompt: str
    subject: str = ""

    @property
    def about_text(self) -> bool:
        """Whether a page without text has no answer."""
        return self.name in TEXT_TASKS


_TASKS = (
    Task(
        "ocr",
        "all text of the page, in reading order",
        {"en": ("Provide the ocr results of this image.",), "zh": ("写出这幅图中所有文字。",)},
    ),
    Task(
        "markdown",
        "the page as Markdown, formulas and tables in LaTeX",
        {
            "en": ("Convert the image to markdown format.", "Convert the image to markdown/latex format."),
            "zh": ("将这幅图转成markdown格式。",),
        },
    ),
    Task("table", "a table in LaTeX", {"en": ("Convert this table to latex format.",)}),
    Task(
        "chart", "a chart as a Python dict of title and data", {"en": ("Convert this chart to python-dict",)}
    ),
    Task(
        "caption", "the picture in a sentence", {"en": ("Describe the content of this image in a sentence.",)}
    ),
    Task(
        "detect",
        "objects and their boxes: all, or the classes that are named, separated by commas",
        {"en": ("Detect all objects in this image.",)},
        about="Detect {} in this image",
    ),
    Task("locate", "the box of one described object", {}, about="Detect an object: {}."),
    Task(
        "ask",
        "a short answer to a question",
        {},
        # The papers give the question and the sentence after it, not what stands between them.
        about="{} Answer the following questions using a single word or phrase:",
    ),
)

TASKS: Mapping[str, Task] = MappingProxyType({task.name: task for task in _TASKS})
"""All tasks of the family by name."""


def resolve_task(
    name: str | None,
    known_tasks: Iterable[str],
    language: str = "en",
    prompt: str | None = None,
    prompts: Mapping[str, str] | None = None,
) -> ResolvedTask:
    """Find the exact prompt of a task, in English where the papers have none in that language.

    `prompt` is the subject of a task that has one (`detect`: classes, `locate`: object, `ask`: question).
    Without a name it is a free prompt, sent as it is, blanks at its ends too; without either the checkpoint's
    first task is meant.  `prompts` are a checkpoint's own wordings by task, whatever the language: sent as
    they are, the subject put at `{}` where one stands in them; an empty one asks without words.

    Raises `TaskError` when the checkpoint does not know the task (the message lists those it knows), when a
    subject is missing or not wanted, when the prompt is no text, or when the language is unknown.
    """
    known = tuple(known_tasks)
    check_prompt(prompt or "")
    subject = prompt.strip() if prompt else ""
    if language not in LANGUAGES:
        raise TaskError(
            f"there are no prompts in language '{language}'; expected one of {', '.join(LANGUAGES)}"
        )
    if name is None and prompt and subject:
        if FREE_PROMPT not in known:
            raise TaskError(f"this checkpoint takes no free prompts; its tasks are {_listed(known)}")
        return ResolvedTask("prompt", prompt)
    if name is None and known:
        name = known[0]
    if name is None or name not in known or name not in TASKS:
        raise _unknown(name, known)
    task, own = TASKS[name], (prompts or {}).get(name)
    asked = _prompt(task, language, subject) if own is None else _own_prompt(task, own, subject)
    return ResolvedTask(name, asked, subject)


def check_prompt(prompt: str) -> None:
    """Raises `TaskError` for a lone surrogate, which is what becomes of bytes that are no UTF-8."""
    for place, character in enumerate(prompt, start=1):
        if "\ud800" <= character <= "\udfff":
            raise TaskError(f"character {place} of the prompt is none that UTF-8 has; write the prompt anew")


def task_of_prompt(prompt: str) -> str | None:
    """Name the task whose prompt this is, whatever its language and subject; None for a free prompt."""
    prompt = prompt.strip()
    for task in TASKS.values():
        if any(prompt in wordings for wordings in task.prompts.values()):
            return task.name
    for task in TASKS.values():
        before, _, after = (task.about or "").partition("{}")
        if task.about and prompt.startswith(before) and prompt.endswith(after):
            return task.name
    return None


def _prompt(task: Task, language: str, subject: str) -> str:
    if subject and task.about is None:
        raise TaskError(
            f"task '{task.name}' has a fixed prompt and takes no other; leave out the task or the prompt"
        )
    if subject and task.about is not None:
        closing = task.about.rpartition("{}")[2]
        return task.about.format(subject.removesuffix(closing) if closing == "." else subject)
    if not task.prompts:
        raise TaskError(f"task '{task.name}' needs a prompt to say what is meant: {task.description}")
    return task.prompts.get(language, task.prompts["en"])[0]


def _own_prompt(task: Task, own: str, subject: str) -> str:
    """A checkpoint's own wording of a task."""
    if "{}" in own:
        if not subject:
            raise TaskError(f"task '{task.name}' needs a prompt to say what is meant: {task.description}")
        return own.replace("{}", subject)
    if subject:
        raise TaskError(
            f"this checkpoint has a fixed prompt for task '{task.name}' and takes no other; leave out the "
            "task or the prompt"
        )
    return own


def _unknown(name: str | None, known: tuple[str, ...]) -> TaskError:
    if name is None:
        return TaskError("this checkpoint names no tasks; give a prompt, or use a checkpoint that lists them")
    if name in TASKS:
        return TaskError(f"this checkpoint was not trained for task '{name}'; it knows {_listed(known)}")
    close = difflib.get_close_matches(name.lower(), {**dict.fromkeys(known), **TASKS}, n=1)
    hint = f"; did you mean '{close[0]}'?" if close else ""
    return TaskError(f"unknown task '{name}'; this checkpoint knows {_listed(known)}{hint}")


def _listed(known: tuple[str, ...]) -> str:
    return ", ".join(known) or "none"
