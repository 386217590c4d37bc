"""What stored answers come to, arm by arm and seed by seed, and by which rule something may be claimed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vary.training.demo.comparison import Answer

__all__ = ["MEASURES", "Judges", "Measure", "gain_record", "score", "summarise", "verdict"]

Edges = tuple[float, float, float, float]
Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Judges:
    """How answers are judged.

    Attributes:
        distance: edits between two texts.
        boxes: the names and edges of the boxes that an answer tells.
    """

    distance: Callable[[str, str], int]
    boxes: Callable[[str], Sequence[tuple[str, Edges]]]


@dataclass(frozen=True, slots=True)
class Measure:
    """What a task is measured by, and whether less of it is better."""

    name: str
    less_is_better: bool = False


MEASURES: Mapping[str, Measure] = {
    "ocr": Measure("character error rate", less_is_better=True),
    "caption": Measure("captions that are exact"),
    "detect": Measure("overlap of boxes (IoU)"),
}


def score(task: str, answers: Sequence[Answer], judges: Judges) -> float:
    """A task's figure over some answers, 0 to 1.

    `ocr`: edits per character of the true texts, no more than a page's characters on each page; `caption`:
    the share of exact answers; `detect`: the mean overlap, over true boxes and those that are too many, of a
    true box and the best one of its name.
    """
    if task == "ocr":
        edits = sum(min(judges.distance(each.answer, each.expected), len(each.expected)) for each in answers)
        return edits / sum(len(each.expected) for each in answers)
    if task == "caption":
        return sum(each.answer.strip() == each.expected for each in answers) / len(answers)
    overlaps = 0.0
    places = 0
    for each in answers:
        true, found = judges.boxes(each.expected), judges.boxes(each.answer)
        overlaps += sum(
            max((_overlap(edges, other) for label, other in found if label == name), default=0.0)
            for name, edges in true
        )
        places += max(len(true), len(found))
    return overlaps / places


def _overlap(one: Edges, other: Edges) -> float:
    """Intersection over union of two boxes; 0 where both are empty."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(0.0, width) * max(0.0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    together = sum(areas) - common
    return common / together if together > 0 else 0.0


def summarise(answers: Mapping[str, Sequence[Sequence[Answer]]], judges: Judges) -> Record:
    """The figures of every task.

    Args:
        answers: by arm and seed, of all tasks; `with` and `without` are compared, others are told beside.
        judges: how answers are judged.

    Returns:
        By task its `measure`, the `arms` (`seeds`, `mean`, `spread`: the standard deviation over seeds), and
        what the new vocabulary gains over CLIP alone and, where that was trained, over a random one.
    """
    tasks: Record = {}
    for task, measure in MEASURES.items():
        by_arm = {
            arm: [score(task, [each for each in one if each.task == task], judges) for one in seeds]
            for arm, seeds in answers.items()
        }
        tasks[task] = {
            "measure": measure.name,
            "less_is_better": measure.less_is_better,
            "arms": {arm: {"seeds": seeds, **_moments(seeds)} for arm, seeds in by_arm.items()},
            "gains": {
                arm: gain_record(by_arm["with"], seeds, less_is_better=measure.less_is_better)
                for arm, seeds in by_arm.items()
                if arm != "with"
            },
        }
    return tasks


def gain_record(new: Sequence[float], old: Sequence[float], *, less_is_better: bool) -> Record:
    """What is gained, seed by seed (each pair began alike and saw the same data), and the verdict."""
    sign = -1 if less_is_better else 1
    gains = [sign * (a - b) for a, b in zip(new, old, strict=True)]
    return {"seeds": gains, **_moments(gains), "verdict": verdict(gains)}


def verdict(gains: Sequence[float]) -> str:
    """`helps` or `hurts` if every seed says so and the mean lies beyond two standard errors, else `unclear`.

    One seed has no spread, so it decides nothing.
    """
    if len(gains) < 2:
        return "unclear"
    mean, error = statistics.mean(gains), statistics.stdev(gains) / math.sqrt(len(gains))
    if min(gains) > 0 and mean > 2 * error:
        return "helps"
    if max(gains) < 0 and -mean > 2 * error:
        return "hurts"
    return "unclear"


def _moments(values: Sequence[float]) -> Record:
    return {
        "mean": statistics.mean(values),
        "spread": statistics.stdev(values) if len(values) > 1 else 0.0,
    }
