"""The demonstration's report: a table and a plot, and in words no more than the figures say."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vary.errors import MissingDependencyError

__all__ = ["claims", "table", "write_report"]

NAMES = {
    "with": "with the new vocabulary",
    "without": "CLIP alone",
    "untrained": "a vocabulary of random weights",
}
COLOURS = {"with": "#1b7f4d", "without": "#b5462f", "untrained": "#7a7a7a"}
TITLES = {"ocr": "Text", "caption": "Captions", "detect": "Boxes"}
WORDS = {"helps": "helps", "hurts": "hurts", "unclear": "makes no clear difference"}
RULE = (
    "The new vocabulary is said to help (or to hurt) where every seed says so and the mean gain lies beyond "
    "two standard errors; else the difference is not clear."
)


def write_report(report: Mapping[str, Any], folder: Path) -> None:
    """Writes `report.md` and `report.png`.

    Raises:
        MissingDependencyError: without matplotlib.
    """
    (folder / "report.md").write_text(as_markdown(report), encoding="utf-8")
    draw(report, folder)


def claims(report: Mapping[str, Any]) -> list[str]:
    """A sentence on each task: what the verdict, the means and the spreads say."""
    sentences = []
    for task, found in report["tasks"].items():
        new, old = found["arms"]["with"], found["arms"]["without"]
        gain = found["gains"]["without"]
        sentences.append(
            f"{TITLES[task]}: the new vocabulary {WORDS[gain['verdict']]} ({found['measure']} "
            f"{_figure(old)} without it, {_figure(new)} with it)."
        )
    return sentences


def as_markdown(report: Mapping[str, Any]) -> str:
    """The report as text."""
    settings = report["settings"]
    seeds = settings["seeds"]
    lines = [
        "# Does a new vision vocabulary help?",
        "",
        *(f"- {sentence}" for sentence in claims(report)),
        "",
        RULE,
        "",
        "![The figures of each seed, and the loss of multi-task training](report.png)",
        "",
        f"Means over {seeds} seed{'s' if seeds > 1 else ''} and standard deviations, on {settings['tests']} "
        "held-out samples of each task:",
        "",
        *table(report),
        "",
        "## What was compared",
        "",
        *_conditions(report),
    ]
    return "\n".join(lines) + "\n"


def _conditions(report: Mapping[str, Any]) -> list[str]:
    """How the figures came about: the towers, what is the same in every model, steps, hardware, time."""
    settings, hardware, towers = report["settings"], report["hardware"], report["towers"]
    vocabulary, clip, threads = towers["vocabulary"], towers["clip"], hardware["threads"]
    clock, processors = (
        sum(each.get(what, 0.0) for each in report["times"].values()) / 60
        for what in ("seconds", "processor_seconds")
    )
    return [
        f"Stage 1 reads held-out pages with a character error rate of "
        f"{vocabulary['character_error_rate']:.3f} (allowed: {vocabulary['at_most']}). CLIP finds the "
        f"caption of {clip['accuracy']:.0%} of {clip['pictures']} pictures among {clip['captions']}.",
        "",
        "All models have the same networks, parameters and image tokens. In those of one seed the projector, "
        "the language model, the data and its order are the same. For CLIP alone the vocabulary network's "
        "last convolution is zero.",
        "",
        f"Steps of {settings['batch']} samples: CLIP {settings['clip_steps']}, language model "
        f"{settings['language_steps']}, stage 1 {settings['vocabulary_steps']}; each model then "
        f"{settings['multitask_steps']} of multi-task training and {settings['tuning_steps']} of tuning.",
        "",
        f"{hardware['processor']}, {hardware['cores']} cores ({hardware['instructions']}), torch "
        f"{hardware['torch']}, {threads} thread{'s' if threads > 1 else ''}, {hardware['workers']} "
        f"models trained at a time: {clock:.1f} minutes by the clock, {processors:.1f} of processor time; "
        f"vary {report['version']}.",
    ]


def table(report: Mapping[str, Any]) -> list[str]:
    """The figures of every arm, and what the new vocabulary gains over each other one."""
    tasks = report["tasks"]
    arms = list(next(iter(tasks.values()))["arms"])
    rows = [
        "| | " + " | ".join(f"{TITLES[task]}: {found['measure']}" for task, found in tasks.items()) + " |",
        "|---|" + "---|" * len(tasks),
    ]
    rows += [
        f"| {NAMES[arm]} | " + " | ".join(_figure(found["arms"][arm]) for found in tasks.values()) + " |"
        for arm in arms
    ]
    for arm in arms:
        if arm != "with":
            cells = [
                f"{_figure(found['gains'][arm], signed=True)}, {found['gains'][arm]['verdict']}"
                for found in tasks.values()
            ]
            rows.append(f"| gain over {NAMES[arm]} | " + " | ".join(cells) + " |")
    return rows


def _figure(moments: Mapping[str, Any], *, signed: bool = False) -> str:
    return f"{moments['mean']:{'+' if signed else ''}.3f} ± {moments['spread']:.3f}"


def draw(report: Mapping[str, Any], folder: Path) -> None:
    """The plot: bars of means with the seeds as dots, and multi-task training's loss."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("plots need matplotlib: pip install 'vary-toy[train]'") from error
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(report["tasks"]) + 1)
    for axes, (task, found) in zip(panels, report["tasks"].items(), strict=False):
        for place, (arm, moments) in enumerate(found["arms"].items()):
            axes.bar(place, moments["mean"], color=COLOURS[arm], alpha=0.75)
            axes.plot([place] * len(moments["seeds"]), moments["seeds"], "k.", markersize=5)
        axes.set_xticks(range(len(found["arms"])), list(found["arms"]))
        axes.set_ylim(0, 1)
        better = "less" if found["less_is_better"] else "more"
        axes.set(title=f"{TITLES[task]}: {found['measure']}\n({better} is better)")
        axes.title.set_fontsize(10)
    axes = panels[-1]
    settings = report["settings"]
    for arm in next(iter(report["tasks"].values()))["arms"]:
        for number in range(settings["seeds"]):
            log = folder / arm / f"seed-{settings['seed'] + number}" / "multitask" / "log.csv"
            steps, losses = _losses(log)
            axes.plot(steps, losses, color=COLOURS[arm], label=arm if number == 0 else None, linewidth=1)
    axes.set(title="Multi-task training: loss", xlabel="step", ylim=(0, None))
    axes.title.set_fontsize(10)
    axes.legend(fontsize=8)
    figure.savefig(folder / "report.png", dpi=100)


def _losses(log: Path) -> tuple[list[int], list[float]]:
    """Steps and losses of a run's log."""
    with log.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [int(row["step"]) for row in rows], [float(row["loss"]) for row in rows]
